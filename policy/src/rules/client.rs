//! Who may ask: permissions, addresses, dormant credentials, enrolment, quarantine.

use super::lease::Standing;
use super::{Case, Word, word};
use crate::engine::counts::credential;
use crate::{ClientIndex, DutyType, Enrolment, Level, Permission};

/// P01: of the lines that fit, an explicit denial wins; without any line everything is allowed.
pub(crate) fn permission(case: &Case<'_>) -> Word {
    let (client, duty) = (case.seen.source.client, case.seen.message.duty_type());
    let fits = |line: &&Permission| {
        line.client.is_none_or(|named| named == client) && line.duties & duty.bit() != 0
    };
    let lines = &case.group.permissions;
    if lines.is_empty() {
        return None;
    }
    let is_denied = lines.iter().filter(fits).any(|line| !line.allow);
    let is_allowed = !is_denied && lines.iter().any(|line| fits(&line));
    word(!is_allowed, Level::Refuse, "client", || {
        let by = if is_denied { "a permission denies it" } else { "no permission names it" };
        let observed = format!("{} asks for {duty:?}: {by}", client_name(case));
        (observed, format!("a client that may ask for {duty:?} in group {}", case.group.name))
    })
}

/// P02: a client that is bound to networks comes from one of them.
pub(crate) fn certificate_address(case: &Case<'_>) -> Word {
    let client = case.policy.client(case.seen.source.client)?;
    let bound = &client.prefixes;
    let is_elsewhere = !bound.is_empty() && !bound.contains(&case.seen.source.prefix);
    word(is_elsewhere, Level::Refuse, "source.prefix", || {
        let observed = format!("{} from network {:016x}", client.name, case.seen.source.prefix);
        (observed, format!("one of the {} networks that it is bound to", bound.len()))
    })
}

/// P03: a credential that was signed for before, but not for long. One that was never signed for
/// is new, not dormant.
pub(crate) fn dormant(case: &Case<'_>) -> Word {
    let days = case.policy.client(case.seen.source.client)?.dormant_after_days?;
    let used = case.engine.credentials.read(credential(&case.seen.source), |stamp| stamp.ms)?;
    let quiet_days = case.seen.at.unix_ms.saturating_sub(used) / 86_400_000;
    word(quiet_days >= u64::from(days), Level::Refuse, "credential", || {
        let observed = format!("{} signed nothing for {quiet_days} days", client_name(case));
        (observed, format!("a signature within {days} days, or a policy that lets it come back"))
    })
}

/// Whether the source is enrolled for the key's group.
pub(crate) fn is_enrolled(case: &Case<'_>) -> bool {
    let source = &case.seen.source;
    case.group.enrolled.iter().any(|(client, prefixes)| {
        *client == source.client && (prefixes.is_empty() || prefixes.contains(&source.prefix))
    })
}

/// D22: where enrolment is strict, a source that is not enrolled is refused.
pub(crate) fn enrolment(case: &Case<'_>) -> Word {
    let is_strict = case.group.enrolment == Enrolment::Strict;
    word(is_strict && !is_enrolled(case), Level::Refuse, "source", || {
        let prefix = case.seen.source.prefix;
        let observed = format!("{} from network {prefix:016x}", client_name(case));
        (observed, format!("a source that is enrolled for group {}", case.group.name))
    })
}

/// D25: a source that is in quarantine for this key. What began as a contest ends with it: when
/// the source has become, or may become, the owner.
pub(crate) fn quarantine(case: &Case<'_>) -> Word {
    let strikes = case.engine.strikes(case.seen)?;
    let until = strikes.quarantined_until(case.seen.at.epoch)?;
    let has_lease = match case.standing {
        Standing::Own | Standing::Free | Standing::Paired => true,
        Standing::Rotates(_) | Standing::Follows => true,
        Standing::Apart | Standing::Contested | Standing::Fenced => false,
    };
    let is_own = case.key.lease.token == case.seen.source.token();
    let is_over = is_own || strikes.is_contest && has_lease;
    word(!is_over, Level::Quarantine, "source", || {
        let observed = format!("{} in quarantine for this key", client_name(case));
        (observed, format!("none before epoch {until}"))
    })
}

/// The name of the asking client, for people.
pub(crate) fn client_name<'a>(case: &Case<'a>) -> &'a str {
    name_of(case, case.seen.source.client)
}

pub(crate) fn name_of<'a>(case: &Case<'a>, client: ClientIndex) -> &'a str {
    case.policy.client(client).map_or("an unnamed client", |client| client.name.as_str())
}

/// Whether a duty is of the kind that only the owner of the lease asks for. Exits and deposits come
/// from where operators work, and have rules of their own.
pub(crate) const fn needs_lease(duty: DutyType) -> bool {
    match duty {
        DutyType::Attestation
        | DutyType::Block
        | DutyType::RandaoReveal
        | DutyType::SelectionProof
        | DutyType::AggregateAndProof
        | DutyType::SyncMessage
        | DutyType::SyncSelectionProof
        | DutyType::SyncContribution
        | DutyType::Registration => true,
        DutyType::VoluntaryExit | DutyType::Deposit => false,
    }
}
