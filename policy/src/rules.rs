//! The deterministic rules, one small function each: what it looks at, what it saw, what would have
//! been right. A rule that has nothing to say allocates nothing.

pub(crate) mod client;
pub(crate) mod content;
pub(crate) mod counted;
pub(crate) mod lease;
pub(crate) mod slots;

#[cfg(test)]
mod tests;

use crate::rules::lease::Standing;
use crate::score::{self, Kinship, Score};
use crate::{Decision, Engine, Evidence, Finding, GroupPolicy, KeyState, Level, Mode};
use crate::{DutyType, Observation, Policy, Rule, Terms, Verdict, Window, WindowId, WindowKind};

/// Everything that a rule may look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) policy: &'a Policy,
    pub(crate) group: &'a GroupPolicy,
    pub(crate) key: &'a KeyState,
    pub(crate) seen: &'a Observation,
    /// How the client stands to the lease of the key.
    pub(crate) standing: Standing,
    /// Who is asking, in log-odds.
    pub(crate) score: Score,
}

/// What a rule says: how grave it is if it is enforced, and why.
pub(crate) type Word = Option<(Level, Evidence)>;

type Check = fn(&Case<'_>) -> Word;

/// Who may ask, then what may be asked, then how much and by whom it was before: where several
/// refuse, the first of the gravest is the reason that is given.
const CHECKS: [(Rule, Check); 23] = [
    (Rule::ClientPermission, client::permission),
    (Rule::CertificateAddress, client::certificate_address),
    (Rule::DormantCredential, client::dormant),
    (Rule::SourceEnrolment, client::enrolment),
    (Rule::HeaderSanity, content::header),
    (Rule::BlockFeeRecipient, content::block_fee_recipient),
    (Rule::Registration, content::registration),
    (Rule::ExitWindow, content::exit),
    (Rule::DepositCredentials, content::deposit),
    (Rule::BlockWindow, slots::block),
    (Rule::RandaoWindow, slots::randao),
    (Rule::SyncWindow, slots::sync),
    (Rule::SourceLag, slots::source_lag),
    (Rule::SelectionBudget, counted::selection),
    (Rule::AggregateWithoutProof, counted::aggregate),
    (Rule::ExitDailyMax, counted::exits),
    (Rule::DutyBudget, counted::duties),
    (Rule::ClientLease, lease::contested),
    (Rule::LeaseFence, lease::fenced),
    (Rule::Quarantine, client::quarantine),
    (Rule::Context, score::word_of_context),
    (Rule::Shares, score::word_of_shares),
    (Rule::Timing, score::word_of_timing),
];

impl<'a> Case<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        policy: &'a Policy,
        key: &'a KeyState,
        seen: &'a Observation,
    ) -> Self {
        let group = policy.group(seen.group);
        let standing = lease::standing(engine, policy, group, key, seen);
        let score = Score { terms: Terms::default(), kinship: Kinship::Own };
        let mut case = Self { engine, policy, group, key, seen, standing, score };
        case.score = score::score(&case);
        case
    }

    /// The window that the case falls into.
    pub(crate) fn window_id(&self) -> Option<WindowId> {
        let kind = match (self.standing, self.seen.message.duty_type()) {
            (Standing::Rotates(window), _) => return Some(window),
            (_, DutyType::VoluntaryExit) => WindowKind::Exits,
            (_, DutyType::Deposit) => WindowKind::Deposits,
            (Standing::Contested | Standing::Fenced, _) => {
                return lease::rotation(self).map(|window| window.id);
            }
            (Standing::Apart | Standing::Free | Standing::Own, _)
            | (Standing::Paired | Standing::Follows, _) => WindowKind::Maintenance,
        };
        self.window(|window| window.kind == kind).map(|window| window.id)
    }

    /// The first window that holds now for this key and fits.
    pub(crate) fn window(&self, fits: impl Fn(&Window) -> bool) -> Option<&'a Window> {
        self.policy.window(self.seen, fits)
    }
}

/// What the rules have to say, the gravest that refuses first.
pub(crate) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (rule, check) in CHECKS {
        let mode = case.group.modes[rule as usize];
        if mode == Mode::Off {
            continue;
        }
        if let Some((level, evidence)) = check(case) {
            findings.push(Finding { rule, mode, level, evidence });
        }
    }
    // Stable: of two that are equally grave, the first stays the first.
    findings.sort_by_key(|finding| std::cmp::Reverse((finding.refuses(), finding.level)));
    findings
}

/// What follows from the findings: refused by one is refused, and only what refuses is more than
/// something to read.
pub(crate) fn conclude(decision: &mut Decision) {
    for finding in &decision.findings {
        if finding.refuses() {
            decision.verdict = Verdict::Refuse;
        }
        let level = if finding.refuses() { finding.level } else { Level::Alert };
        decision.level = decision.level.max(level);
    }
}

/// Something to say, where `is_broken`.
pub(crate) fn word(
    is_broken: bool,
    level: Level,
    what: &'static str,
    evidence: impl FnOnce() -> (String, String),
) -> Word {
    is_broken.then(|| {
        let (observed, expected) = evidence();
        (level, Evidence { what, observed, expected })
    })
}
