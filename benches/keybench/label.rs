//! The truth about a request: final before anything is scored, and never on the tape.

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Label {
    /// Honest, by its scenario B1 to B18: a refusal is a false one.
    Benign(u8),
    /// Honest, of the scenarios that the gate excludes: B6, and B9 with a prefix not enrolled.
    Excluded(u8),
    /// A harmful request of this attack.
    Attack(u32),
    /// An honest request for a key that this attack is or was on: a row of its own.
    Victim(u32),
}
