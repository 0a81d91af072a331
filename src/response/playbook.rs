//! What is bound to what: how loud a verdict is, and what the gate does about it by itself.

use std::fmt;

use policy::{Level, Rule};

use super::Notice;
use super::breaker::Thresholds;
use crate::audit::Position;
use crate::metrics::Verdict;
use crate::sign::QUARANTINED;

pub use self::hours::{Hours, NotHours};

mod hours;
#[cfg(test)]
mod tests;

/// How loud something is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// As loud as incidents of its kind are.
    #[default]
    Usual,
    /// In figures and in the log.
    Observe,
    /// As an event that pages nobody.
    Notify,
    /// Somebody is called.
    Page,
}

/// What may be bound to a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Nothing but figures and the log.
    Observe,
    /// An event that pages nobody.
    Notify,
    /// Somebody is called.
    Page,
    /// The client that asked is put in quarantine for this key.
    QuarantinePair,
    /// The client that asked is fenced off from the keys of others in this key group.
    FenceSource,
    /// The key is stopped for everybody until a person releases it.
    FreezeKey,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 6] = [
        Self::Observe,
        Self::Notify,
        Self::Page,
        Self::QuarantinePair,
        Self::FenceSource,
        Self::FreezeKey,
    ];

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Notify => "notify",
            Self::Page => "page",
            Self::QuarantinePair => "quarantine_pair",
            Self::FenceSource => "fence_source",
            Self::FreezeKey => "freeze_key",
        }
    }

    const fn urgency(self) -> Urgency {
        match self {
            Self::Page => Urgency::Page,
            Self::Notify => Urgency::Notify,
            Self::Observe => Urgency::Observe,
            Self::QuarantinePair | Self::FenceSource | Self::FreezeKey => Urgency::Usual,
        }
    }

    /// Whether it does more than tell.
    pub const fn acts(self) -> bool {
        match self {
            Self::QuarantinePair | Self::FenceSource | Self::FreezeKey => true,
            Self::Observe | Self::Notify | Self::Page => false,
        }
    }
}

/// What a verdict is, to a playbook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// Policy has something to say of a request that is signed.
    Alert,
    /// A request is held back, or refused without further consequence.
    Hold,
    /// A request is refused.
    Refuse,
    /// It is refused because it conflicts with what was signed (EIP-3076).
    Slashable,
    /// Its source is in quarantine for the key from now on.
    Quarantine,
    /// It stops a rotation.
    HaltRotation,
    /// It is refused by a quarantine that was told already.
    Quarantined,
    /// It could not be signed: the gate's fault, or the signer's.
    Failed,
    /// A signer refused what the gate had permitted: somebody else signs with this key.
    ForeignSignature,
    /// The client sent what cannot be right.
    Rejected,
}

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 10] = [
        Self::Alert,
        Self::Hold,
        Self::Refuse,
        Self::Slashable,
        Self::Quarantine,
        Self::HaltRotation,
        Self::Quarantined,
        Self::Failed,
        Self::ForeignSignature,
        Self::Rejected,
    ];

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Hold => "hold",
            Self::Refuse => "refuse",
            Self::Slashable => "slashable",
            Self::Quarantine => "quarantine",
            Self::HaltRotation => "halt_rotation",
            Self::Quarantined => "quarantined",
            Self::Failed => "failed",
            Self::ForeignSignature => "foreign_signature",
            Self::Rejected => "rejected",
        }
    }

    /// Whether it may act beside telling: only what was refused by a judgement, or disowned by a
    /// signer, names somebody to act against.
    pub const fn may_act(self) -> bool {
        match self {
            Self::Refuse
            | Self::Slashable
            | Self::Quarantine
            | Self::HaltRotation
            | Self::ForeignSignature => true,
            Self::Alert | Self::Hold | Self::Quarantined | Self::Failed | Self::Rejected => false,
        }
    }

    /// What a notice is; `None` for one of which there is nothing to say.
    pub fn of(notice: &Notice) -> Option<Self> {
        let level = notice.decision.as_ref().map_or(Level::Observe, |decision| decision.level);
        match notice.verdict {
            Verdict::Rejected => Some(Self::Rejected),
            Verdict::Failed if notice.code == FOREIGN_SIGNATURE => Some(Self::ForeignSignature),
            Verdict::Failed => Some(Self::Failed),
            Verdict::Refused if notice.code == QUARANTINED => Some(Self::Quarantined),
            Verdict::Refused if notice.is_conflict() => Some(Self::Slashable),
            Verdict::Refused if WITHOUT_CONSEQUENCE.contains(&notice.code) => Some(Self::Hold),
            Verdict::Refused => Some(match level {
                Level::Observe | Level::Alert | Level::Refuse => Self::Refuse,
                Level::Hold => Self::Hold,
                Level::Quarantine => Self::Quarantine,
                Level::HaltRotation => Self::HaltRotation,
            }),
            Verdict::Signed => (level >= Level::Alert).then_some(Self::Alert),
        }
    }
}

/// What actions are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Verdicts of a kind.
    Trigger(Trigger),
    /// What a rule refuses or says.
    Rule(Rule),
}

impl Cause {
    /// See [`Trigger::may_act`].
    pub const fn may_act(self) -> bool {
        match self {
            Self::Trigger(trigger) => trigger.may_act(),
            Self::Rule(_) => true,
        }
    }
}

/// What is bound to a cause, in place of what is usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// To what.
    pub cause: Cause,
    /// What.
    pub actions: Vec<Action>,
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause {
            Cause::Trigger(trigger) => trigger.as_str(),
            Cause::Rule(rule) => rule.as_str(),
        })?;
        f.write_str(":")?;
        self.actions.iter().try_for_each(|action| write!(f, " {}", action.as_str()))
    }
}

/// What is bound to what. Without bindings, the defaults of a careful operator hold: incidents page
/// as their kind says, strikes and breaker contain the source, and no owner is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playbook {
    /// One binding to a rule stands above one to the kind of verdict; the first of two alike holds.
    pub bindings: Vec<Binding>,
    /// When somebody is at work. Off hours, what would page if it lasted pages straight away.
    pub hours: Hours,
    /// When the breaker of a key group trips.
    pub breaker: Thresholds,
    /// How long an automatic quarantine lasts, in epochs: at most two.
    pub quarantine_epochs: u64,
}

impl Default for Playbook {
    fn default() -> Self {
        Self {
            bindings: Vec::new(),
            hours: Hours::default(),
            breaker: Thresholds { keys: 5, window_slots: 32 },
            quarantine_epochs: 2,
        }
    }
}

impl Playbook {
    /// The actions that are bound to a notice.
    pub fn actions(&self, notice: &Notice) -> &[Action] {
        let Some(trigger) = Trigger::of(notice) else { return &[] };
        let findings = notice.decision.as_ref().map_or(&[][..], |decision| &decision.findings);
        let of_rule = |binding: &&Binding| match binding.cause {
            Cause::Rule(rule) => findings.iter().any(|finding| finding.rule == rule),
            Cause::Trigger(_) => false,
        };
        let of_trigger = |binding: &&Binding| binding.cause == Cause::Trigger(trigger);
        let found = self.bindings.iter().find(of_rule);
        let found = found.or_else(|| self.bindings.iter().find(of_trigger));
        found.map_or(&[], |binding| &binding.actions)
    }

    /// How loud a notice is.
    pub fn urgency(&self, notice: &Notice) -> Urgency {
        let loudest = self.actions(notice).iter().map(|action| action.urgency()).max();
        match loudest.unwrap_or_default() {
            Urgency::Usual if self.escalates(notice) => Urgency::Page,
            urgency => urgency,
        }
    }

    /// Off hours nobody is there to see whether a refusal lasts.
    fn escalates(&self, notice: &Notice) -> bool {
        let may_page = match Trigger::of(notice) {
            Some(trigger) => trigger.may_act(),
            None => false,
        };
        may_page && !self.hours.is_at_work(notice.at.unix_ms)
    }
}

/// Something that the gate did by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What, in words, with the id that undoes it.
    pub what: String,
    /// Its record in the audit log.
    pub position: Position,
}

/// A notice, and what followed from it so far. It passes from hand to hand: quarantines, rotation,
/// incidents.
#[derive(Clone, Debug)]
pub struct Consequence {
    /// What happened.
    pub notice: Notice,
    /// How loud it is.
    pub urgency: Urgency,
    /// What the gate has done about it, in this order. In memory and on disk by now.
    pub done: Vec<Done>,
}

/// A key that is not ours to sign with, or an epoch that the store has not reserved yet.
const WITHOUT_CONSEQUENCE: [&str; 3] = ["key_disabled", "not_reserved", "superseded"];
/// The code of a duty that a signer refused after our permit.
const FOREIGN_SIGNATURE: &str = "upstream_refused";
