//! What one incident is about: everything that has the same cause joins it.

use policy::{Policy, Rule, Window, WindowKind};
use serde::{Deserialize, Serialize};

use super::class::Family;
use crate::clients::DEFAULT;
use crate::metrics::Verdict;
use crate::response::Notice;

/// What tells incidents apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cause {
    /// What kind it is.
    pub family: Family,
    /// The rotation window that it fell into, else the key group, else a fault's code.
    pub scope: String,
    /// Who caused it: a client; its network beside it where the name says little.
    pub source: String,
}

impl Cause {
    /// The cause of what happened to a request.
    pub(super) fn of(notice: &Notice, policy: &Policy) -> Self {
        let family = family(notice);
        if family == Family::SecondSigner
            && let Some(window) = rotation(notice, policy)
        {
            return Self::of_rotation(&window.name);
        }
        let source = if family.is_of_a_client() { source(notice, family) } else { String::new() };
        let scope = match family {
            Family::Gate => notice.code.to_owned(),
            Family::Upstream | Family::Overload | Family::FalseSignature => String::new(),
            Family::MissingKeys | Family::Fleet => String::new(),
            Family::SecondSigner
            | Family::DoubleProposal
            | Family::Slashable
            | Family::Exit
            | Family::Deposit
            | Family::FeeRecipient
            | Family::Credential
            | Family::Content
            | Family::Mismatch
            | Family::Budget
            | Family::Clock
            | Family::Noise
            | Family::Watched => window(notice, policy).unwrap_or_else(|| group(notice, policy)),
        };
        Self { family, scope, source }
    }

    /// The cause of what the two clients of a rotation do to each other: one, whoever is refused.
    pub(super) fn of_rotation(window: &str) -> Self {
        let (scope, source) = (format!("window {window}"), "its clients".to_owned());
        Self { family: Family::SecondSigner, scope, source }
    }
}

/// The rotation that the key and the client that asked take part in, whoever refused it: where
/// EIP-3076 did, policy was not asked.
fn rotation<'a>(notice: &Notice, policy: &'a Policy) -> Option<&'a Window> {
    let client = notice.source?.client;
    let place = u32::try_from(notice.row?.place()).ok()?;
    policy.windows.iter().find(|window| match window.kind {
        WindowKind::Rotation { from, to } => {
            (client == from || client == to)
                && window.is_of(place)
                && notice.group.is_none_or(|group| window.groups.contains(&group))
                && (window.from_ms..window.until_ms).contains(&notice.at.unix_ms)
        }
        WindowKind::Exits | WindowKind::Deposits | WindowKind::Maintenance => false,
    })
}

/// The kind of what happened to a request.
fn family(notice: &Notice) -> Family {
    let findings = notice.decision.iter().flat_map(|decision| &decision.findings);
    match notice.verdict {
        Verdict::Signed => findings
            .max_by_key(|finding| finding.level)
            .map_or(Family::Watched, |it| Family::of_finding(it.rule, it.mode, it.level)),
        Verdict::Refused | Verdict::Rejected | Verdict::Failed => {
            let rule = Rule::ALL.into_iter().find(|rule| rule.as_str() == notice.code);
            let family = rule.map(Family::of_rule);
            family.unwrap_or_else(|| {
                Family::of_code(notice.code, notice.verdict, owner_asked(notice))
            })
        }
    }
}

/// Whether who asked is the owner, or the key has none.
fn owner_asked(notice: &Notice) -> bool {
    let owner = notice.normal.as_ref().and_then(|normal| normal.owner.as_deref());
    owner.is_none_or(|owner| owner == notice.client.name())
}

fn source(notice: &Notice, family: Family) -> String {
    let name = notice.client.name();
    // Whoever comes under a name that is not theirs comes from elsewhere than its bearer does.
    if name == DEFAULT || family == Family::Credential {
        format!("{name} from {}", network(notice.peer.ip()))
    } else {
        name.to_owned()
    }
}

/// The network of an address, as judgements tell networks apart.
fn network(address: std::net::IpAddr) -> String {
    match address.to_canonical() {
        std::net::IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        std::net::IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

fn window(notice: &Notice, policy: &Policy) -> Option<String> {
    let id = notice.decision.as_ref()?.window?;
    policy.window_by_id(id).map(|window| format!("window {}", window.name))
}

fn group(notice: &Notice, policy: &Policy) -> String {
    let group = notice.group.and_then(|group| policy.groups.get(usize::from(group.0)));
    group.map_or_else(String::new, |group| group.name.clone())
}
