//! Quarantines on disk, and what is said of their changes.

use slashing_db::SideTableError;

use super::{Quarantine, QuarantineId, ResponseTable, State};
use crate::audit::Actor;

/// What became of a quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It began.
    Imposed,
    /// It holds for longer: nobody is told.
    Prolonged,
    /// It lets a few requests through.
    HalfOpened,
    /// It closed again.
    Closed,
    /// Somebody has ended it, or its cause is gone.
    Released,
    /// Its time is over.
    Expired,
}

impl What {
    /// The stable name of the action.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Imposed => "quarantine.imposed",
            Self::Prolonged => "quarantine.prolonged",
            Self::HalfOpened => "quarantine.half_opened",
            Self::Closed => "quarantine.closed",
            Self::Released => "quarantine.released",
            Self::Expired => "quarantine.expired",
        }
    }

    /// The same for people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Imposed => "put in quarantine",
            Self::Prolonged => "kept in quarantine",
            Self::HalfOpened => "let out of quarantine on trial",
            Self::Closed => "put in quarantine again",
            Self::Released => "released from quarantine",
            Self::Expired => "out of quarantine",
        }
    }

    /// Whether anything is refused afterwards.
    pub const fn leaves_in_force(self) -> bool {
        self.state().is_in_force()
    }

    pub(super) const fn state(self) -> State {
        match self {
            Self::Imposed | Self::Prolonged | Self::Closed => State::Active,
            Self::HalfOpened => State::HalfOpen,
            Self::Released => State::Released,
            Self::Expired => State::Expired,
        }
    }
}

/// One change, to be written down and told.
#[derive(Clone, Debug)]
pub struct Change {
    /// Of which quarantine.
    pub id: QuarantineId,
    /// What became of it.
    pub what: What,
    /// By whom.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// When, in milliseconds of Unix time.
    pub at_ms: u64,
}

impl Change {
    pub(super) fn prolonged(id: QuarantineId) -> Self {
        let actor = Actor::Gate(String::new());
        Self { id, what: What::Prolonged, actor, reason: String::new(), at_ms: 0 }
    }
}

/// An actor in one word: `person:alice`, `gate:breaker`, `local`.
pub fn name_of(actor: &Actor) -> String {
    match actor {
        Actor::Gate(rule) => format!("gate:{rule}"),
        Actor::Person(name) => format!("person:{name}"),
        Actor::Local => "local".to_owned(),
    }
}

/// What was kept.
pub(super) struct Kept {
    pub(super) rows: Vec<Quarantine>,
    pub(super) last: u64,
}

/// # Errors
/// A table that cannot be read, or a row that says nothing.
pub(super) fn read(
    table: &ResponseTable,
) -> Result<Kept, Box<dyn std::error::Error + Send + Sync>> {
    let mut kept = Kept { rows: Vec::new(), last: 0 };
    for (key, value) in table.rows(PREFIX)? {
        if key == LAST {
            let number: [u8; 8] = value.try_into().map_err(|_| "a count of quarantines is torn")?;
            kept.last = kept.last.max(u64::from_be_bytes(number));
            continue;
        }
        let row: Quarantine = serde_json::from_slice(&value)?;
        kept.last = kept.last.max(row.id.0);
        kept.rows.push(row);
    }
    Ok(kept)
}

pub(super) fn write<'a>(
    table: &ResponseTable,
    rows: impl Iterator<Item = &'a std::sync::Arc<Quarantine>>,
    last: u64,
    purged: &[u64],
) -> Result<(), SideTableError> {
    let place = |id: u64| [PREFIX, &id.to_be_bytes()[..]].concat();
    let rows = rows.map(|row| {
        let value = serde_json::to_vec(&**row).expect("plain texts and numbers");
        (place(row.id.0), Some(value))
    });
    let purged = purged.iter().map(|id| (place(*id), None));
    let last = ([PREFIX, LAST].concat(), Some(last.to_be_bytes().to_vec()));
    table.commit(rows.chain(purged).chain([last]))
}

const PREFIX: &[u8] = b"quarantine:";
/// Longer than a number: no row has this key.
const LAST: &[u8] = b"last number";
