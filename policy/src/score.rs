//! Who is asking: the context score of the behaviour page, 4.2, in natural log-odds whose terms add
//! up. The weights are judgement; what is measured is how often honest life reaches a score.

use crate::bytes::fold;
use crate::engine::moves::Moved;
use crate::engine::volume::Volume;
use crate::rules::client::{is_enrolled, needs_lease};
use crate::rules::lease::{Standing, is_rotation};
use crate::rules::{Case, Word, word};
use crate::sequential::Scope;
use crate::{DutyType, Enrolment, Level, Mode, Rule, Term, Terms, WindowKind};

#[cfg(test)]
mod tests;

/// Epochs in which a key was signed for from a source that make the source known to it.
const KNOWN_EPOCHS: u16 = 3;
/// Epochs that make one of two sources of a certificate the other's alternate.
const ALTERNATE_EPOCHS: u16 = 10;
/// Signatures that make a source known to a group, and to the fleet.
const KNOWN_TO_GROUP: u64 = 200;
const KNOWN_TO_FLEET: u64 = 500;
/// Epochs since a signature in which it is recent, and since a move in which it may be fenced.
const RECENT_EPOCHS: u64 = 2;
/// Other keys that moved along, beside this one, which make a move one of many.
const MOVED_ALONG: usize = 2;
/// Where only the network of a source is new, its own terms say at most this: an alert.
const SOFT_CAP: f32 = 1.5;
/// ln S from which on the share test counts in the score, what is taken off it, and its most.
const SHARES: (f32, f32, f32) = (6.0, 2.8, 26.0);

/// How the source stands to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinship {
    /// It is the key's usual one, or the key has none yet, or the duty needs none.
    Own,
    /// It and the usual one are two addresses of one client that the key knows both of.
    Alternate,
    /// It is another one that is known, or enrolled.
    Known,
    /// Nobody knows it.
    Stranger,
}

/// The score of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Score {
    pub(crate) terms: Terms,
    pub(crate) kinship: Kinship,
}

impl Score {
    /// What the source itself says, without the share test.
    pub(crate) fn of_source(&self) -> f32 {
        self.terms.log_odds() - self.terms.0[Term::Shares as usize]
    }
}

/// The score of the case. Its source terms are nothing where the source is the key's own.
pub(crate) fn score(case: &Case<'_>) -> Score {
    let mut terms = Terms::default();
    terms.0[Term::Prior as usize] = -16.0;
    let lease = &case.key.lease;
    let token = case.seen.source.token();
    let mut kinship = Kinship::Own;
    let is_own = lease.token == token || !needs_lease(case.seen.message.duty_type());
    if !is_own && lease.is_free() {
        kinship = first_source(case, token, &mut terms);
    } else if !is_own {
        kinship = foreign_source(case, token, &mut terms);
    }
    let ln_s = case.key.shares.ln_s(case.seen.at.slot, case.scope());
    if case.group.modes[Rule::Shares as usize] != Mode::Off {
        terms.0[Term::Shares as usize] = of_shares(ln_s);
    }
    Score { terms, kinship }
}

/// What the share test says in the score: nothing while it is weak, for much weak noise on top of a
/// change of source is what refused honest keys (behaviour page, 6.4).
pub(crate) fn of_shares(ln_s: f32) -> f32 {
    if ln_s >= SHARES.0 { (ln_s - SHARES.1).min(SHARES.2) } else { 0.0 }
}

/// Whether an admitted request makes its source the key's usual one: not while the usual one is
/// there and this one is doubtful, for then the victim would become the stranger.
pub(crate) fn settles(case: &Case<'_>) -> bool {
    let is_foreign = match case.score.kinship {
        Kinship::Known | Kinship::Stranger => true,
        Kinship::Own | Kinship::Alternate => false,
    };
    is_foreign
        && (case.score.of_source() < case.policy.thresholds.alert || !Owner::of(case).is_here())
}

/// A key that nobody signed for yet, in a group that has its sources already.
fn first_source(case: &Case<'_>, token: u32, terms: &mut Terms) -> Kinship {
    if case.engine.released_in(case.seen.group) < KNOWN_TO_GROUP {
        return Kinship::Own; // nothing is known yet: trust on first use
    }
    let (novelty, is_known) = novelty(case, token);
    terms.0[Term::Novelty as usize] = novelty;
    if is_known || is_enrolled(case) { Kinship::Known } else { Kinship::Stranger }
}

/// How new the source is, and whether it is known at all.
fn novelty(case: &Case<'_>, token: u32) -> (f32, bool) {
    if case.key.sources.epochs(token, case.seen.at.epoch) >= KNOWN_EPOCHS {
        (2.0, true)
    } else if case.engine.released_to(case.seen.group, token) >= KNOWN_TO_GROUP {
        (6.0, true)
    } else if case.engine.released_anywhere(token) >= KNOWN_TO_FLEET {
        (10.0, true)
    } else {
        (13.0, false)
    }
}

fn foreign_source(case: &Case<'_>, token: u32, terms: &mut Terms) -> Kinship {
    let (lease, source) = (&case.key.lease, &case.seen.source);
    let certificate = fold(source.certificate);
    let is_same_client = source.client == lease.owner;
    let is_same_certificate =
        is_same_client && certificate != 0 && certificate == lease.certificate;
    let (is_same_dialect, is_same_prefix) =
        (fold(source.dialect) == lease.dialect, fold(source.prefix) == lease.prefix);
    let sighted = |token| case.key.sources.epochs(token, case.seen.at.epoch);
    let sightings = sighted(token).min(sighted(lease.token));
    if is_same_certificate && sightings >= ALTERNATE_EPOCHS {
        return Kinship::Alternate;
    }
    let (novelty, is_known) = novelty(case, token);
    let owner = Owner::of(case);
    let fence = fence(case, certificate, &owner);
    let is_declared = fence == 0.0 && is_declared(case);
    let is_enrolled = is_enrolled(case);
    // A renewed certificate of the same client, from the same place in the same words, is as good;
    // so is another network that this certificate often comes from.
    let is_known_home =
        || is_same_certificate && case.engine.released_at_home(source) >= KNOWN_TO_GROUP;
    let is_at_home = is_same_prefix && (is_same_certificate || is_same_client && is_same_dialect)
        || is_known_home();
    let lineage = match () {
        () if fence > 0.0 => 0.0, // what two live signers have in common speaks for neither
        () if is_at_home => -5.0,
        () if is_same_dialect => -1.0,
        () => 0.0,
    };
    let (moved, _) = case.moved();
    let co_movement = match () {
        () if moved < MOVED_ALONG => 0.0,
        () if is_same_certificate => -8.0,
        () if owner.is_alive == Some(false) => -2.0,
        () => 0.0,
    };
    let mut set = |term: Term, value: f32| terms.0[term as usize] = value;
    set(Term::Novelty, novelty);
    set(Term::Lineage, lineage);
    set(Term::Liveness, owner.term());
    set(Term::CoMovement, co_movement);
    set(Term::Declared, if is_declared { -12.0 } else { 0.0 });
    set(Term::Enrolled, if is_enrolled && !owner.is_here() { -6.0 } else { 0.0 });
    set(Term::Fence, fence);
    let is_pinned = case.group.enrolment == Enrolment::Strict;
    if is_same_certificate && is_same_dialect && !is_pinned {
        terms.0[Term::Cap as usize] = (SOFT_CAP - terms.log_odds()).min(0.0);
    }
    if is_known || is_enrolled { Kinship::Known } else { Kinship::Stranger }
}

/// The usual source of the key: whether it is there, and whether it signed for this key of late.
struct Owner {
    /// `None` while the gate has not been back for long enough to tell.
    is_alive: Option<bool>,
    is_recent: bool,
}

impl Owner {
    fn of(case: &Case<'_>) -> Self {
        let (at, lease) = (case.seen.at, &case.key.lease);
        let back = case.engine.back();
        let look = |volume: &Volume| volume.is_alive(at, &case.policy.chain, back);
        let is_alive = case.engine.sources.read(lease.token.into(), look).flatten();
        let quiet = case.key.sources.epochs_since(lease.token, at.epoch);
        let quiet = quiet.unwrap_or(at.epoch.saturating_sub(u64::from(lease.last_epoch)));
        Self { is_alive, is_recent: quiet <= RECENT_EPOCHS }
    }

    /// Whether it signs for the key as it did.
    fn is_here(&self) -> bool {
        self.is_alive != Some(false) && self.is_recent
    }

    fn term(&self) -> f32 {
        match (self.is_alive, self.is_recent) {
            (None, _) => 0.0,
            (Some(true), true) => 9.0,
            (Some(true), false) => 2.0,
            (Some(false), _) => -2.0,
        }
    }
}

/// Whether the source lost the key a moment ago to one with another certificate: then both are
/// alive, the more so where the new one is slow to show.
fn fence(case: &Case<'_>, certificate: u32, owner: &Owner) -> f32 {
    let (lease, source) = (&case.key.lease, &case.seen.source);
    if case.standing == Standing::Paired || lease.former_token == 0 {
        return 0.0;
    }
    let is_back = if certificate == 0 {
        source.token() == lease.former_token && source.client != lease.owner
    } else {
        certificate == lease.former_certificate && certificate != lease.certificate
    };
    let moved = u64::from(lease.token_moved_epoch);
    if !is_back || case.seen.at.epoch > moved + RECENT_EPOCHS {
        return 0.0;
    }
    if owner.is_alive == Some(true) { 10.0 } else { 19.0 }
}

/// Whether the operator declared that the key goes from its owner to this client, or that both may
/// sign.
fn is_declared(case: &Case<'_>) -> bool {
    let (owner, client) = (case.key.lease.owner, case.seen.source.client);
    case.standing == Standing::Paired
        || case.window(|window| is_rotation(window, owner, client)).is_some_and(|window| {
            let moved_ms = u64::from(case.key.lease.moved_s) * 1000;
            moved_ms < window.from_ms && !case.engine.is_halted(window.id)
        })
}

/// What the score leads to. A block is worth more than the doubt: it is refused later.
pub(crate) fn word_of_context(case: &Case<'_>) -> Word {
    let (score, limits) = (&case.score, &case.policy.thresholds);
    let odds = score.terms.log_odds();
    let is_stranger = score.kinship == Kinship::Stranger;
    if odds < limits.alert && !is_stranger {
        return None;
    }
    let hold = match case.seen.message.duty_type() {
        DutyType::Block | DutyType::RandaoReveal => limits.block,
        DutyType::Attestation
        | DutyType::SelectionProof
        | DutyType::AggregateAndProof
        | DutyType::SyncMessage
        | DutyType::SyncSelectionProof
        | DutyType::SyncContribution
        | DutyType::Registration
        | DutyType::VoluntaryExit
        | DutyType::Deposit => limits.hold,
    };
    let level = match () {
        () if odds < hold => Level::Alert,
        () if odds < limits.quarantine => Level::Hold,
        () => Level::Refuse,
    };
    word(true, level, "source", || {
        let named = Term::ALL.iter().filter(|term| score.terms.0[**term as usize] != 0.0);
        let terms = named.map(|term| {
            let nats = score.terms.0[*term as usize];
            format!("{} {nats:+.1}", term.as_str())
        });
        let terms: Vec<String> = terms.collect();
        let stranger = if is_stranger { ", a source that nobody knows" } else { "" };
        let observed = format!("log-odds {odds:.1} ({}){stranger}", terms.join(", "));
        (observed, format!("below {:.1}; refused from {hold:.1} on", limits.alert))
    })
}

/// When to ask again, where other keys may yet move along and change what is decided. A request
/// that has waited does not wait again, nor does one whose duty is lost by waiting.
pub(crate) fn hold(case: &Case<'_>) -> Option<u64> {
    let may_wait = match case.seen.message.duty_type() {
        DutyType::Attestation | DutyType::SyncMessage | DutyType::SelectionProof => true,
        DutyType::Block
        | DutyType::RandaoReveal
        | DutyType::AggregateAndProof
        | DutyType::SyncSelectionProof
        | DutyType::SyncContribution
        | DutyType::Registration
        | DutyType::VoluntaryExit
        | DutyType::Deposit => false,
    };
    let is_enforced = case.group.modes[Rule::Context as usize] == Mode::Enforce;
    let limits = &case.policy.thresholds;
    let is_foreign = matches!(case.score.kinship, Kinship::Known | Kinship::Stranger);
    let is_open = (limits.alert..=limits.quarantine).contains(&case.score.of_source());
    if !may_wait || !is_enforced || !is_foreign || !is_open || limits.micro_hold_ms == 0 {
        return None;
    }
    let (moved, has_waited) = case.moved();
    let waits = moved < MOVED_ALONG && !has_waited && !case.key.lease.is_free();
    waits.then(|| case.seen.at.unix_ms + u64::from(limits.micro_hold_ms))
}

/// S2: which shares sign for this key. What is gathered refuses the next signature.
pub(crate) fn word_of_shares(case: &Case<'_>) -> Word {
    let ln_s = case.key.shares.ln_s(case.seen.at.slot, case.scope());
    let limit = case.policy.thresholds.shares;
    word(ln_s >= limit, Level::Hold, "shares", || shares_evidence(case, ln_s, limit))
}

/// The sets of late, and how much they say.
pub(crate) fn shares_evidence(case: &Case<'_>, ln_s: f32, limit: f32) -> (String, String) {
    let recent = case.key.shares.recent();
    let sets: Vec<String> = recent.map(|(set, _)| format!("{:#b}", set.0)).collect();
    let observed = format!("ln S {ln_s:.1} against the sets of late, {}", sets.join(" "));
    (observed, format!("below {limit:.1}, as the rest of the group"))
}

/// S1: when in its source's slot this key signs. It is said, and refuses nothing.
pub(crate) fn word_of_timing(case: &Case<'_>) -> Word {
    let ln_s = case.key.timing.ln_s(case.scope());
    let limit = case.policy.thresholds.timing;
    word(ln_s >= limit, Level::Alert, "time in the slot", || {
        let place = case.key.timing.place_ms().map_or_else(String::new, |(at, spread)| {
            format!(" around {at:.0} ms after its source's median, spread {spread:.0} ms")
        });
        (format!("ln S {ln_s:.1}"), format!("below {limit:.1}{place}"))
    })
}

impl Case<'_> {
    /// What the sequential tests may count.
    pub(crate) fn scope(&self) -> Scope {
        let rests = self.window(|window| window.kind == WindowKind::Maintenance).is_some();
        Scope { since_slot: self.engine.resumed_slot(), rests }
    }

    /// How many other keys moved along from this key's source to the asking one, and whether this
    /// key has asked before and waited.
    pub(crate) fn moved(&self) -> (usize, bool) {
        let place = Moved::place(self.key.lease.token, self.seen.source.token());
        let look = |moved: &Moved| moved.count(self.seen.key, self.seen.at.unix_ms);
        self.engine.moves.read(place, look).unwrap_or((0, false))
    }
}
