//! What is bound to what: how loud a verdict is, and what the gate does about it by itself.

use policy::Level;

use super::Notice;
use crate::audit::Position;
use crate::metrics::Verdict;

/// How loud something is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// In figures and in the log.
    #[default]
    Observe,
    /// As an event that pages nobody.
    Notify,
    /// Somebody is called.
    Page,
}

impl Urgency {
    /// As loud as a notice is by itself: a refusal pages, what only has findings is told.
    pub fn of(notice: &Notice) -> Self {
        let level = notice.decision.as_ref().map_or(Level::Observe, |decision| decision.level);
        match (notice.verdict, level) {
            (Verdict::Signed, Level::Observe) | (Verdict::Rejected, _) => Self::Observe,
            (Verdict::Failed | Verdict::Signed, _) | (Verdict::Refused, Level::Hold) => {
                Self::Notify
            }
            (Verdict::Refused, _) => Self::Page,
        }
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
