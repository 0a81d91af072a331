//! The state of one key in memory, and the only way to advance it.

use std::sync::Arc;

use crate::engine::{Entry, KeyRecord};
use crate::health::Health;
use crate::message::{Bounds, CountedKind, KeyId, Message};
use crate::permit::{GRANTED_BY_TYPE, Permit};
use crate::recorder::{Pending, Place, Ticket};
use crate::rules::{self, AttestationRecord, BlockRecord, CountedRecord, NotSafe, Record, Safe};
use crate::signed::{PublicKey, SigningRoot};

#[cfg(test)]
mod tests;

/// The watermarks of one key.
///
/// Made by the store alone, one for each key; the owner keeps it under a lock of the key's own. It
/// is never behind the disk: it advances when a message is handed to the recorder, so that what
/// arrives next is judged against what is about to be written.
///
/// Half a million of them are held at once, so a field that few keys use costs no room in the
/// others: exits and deposits are counted outside.
#[derive(Debug)]
pub struct Watermarks {
    public_key: PublicKey,
    id: KeyId,
    is_enabled: bool,
    attestation: Option<AttestationRecord>,
    block: Option<BlockRecord>,
    counted: Option<Box<[Option<CountedRecord>; CountedKind::ALL.len()]>>,
    health: Arc<Health>,
}

/// A message that may be signed as far as the rules say, and is not recorded yet.
///
/// Dropping it records nothing: a message that policy refuses does not burn the watermark.
#[derive(Debug)]
#[must_use = "what is not recorded may not be signed"]
pub struct Checked<'a> {
    watermarks: &'a mut Watermarks,
    message: Message,
    safe: Safe,
}

impl Watermarks {
    pub(crate) fn new(record: KeyRecord, health: Arc<Health>) -> Self {
        let KeyRecord { id, public_key, is_enabled, attestation, block, counted } = record;
        let counted = counted.iter().any(Option::is_some).then(|| Box::new(counted));
        Self { public_key, id, is_enabled, attestation, block, counted, health }
    }

    /// The key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The key's row.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Whether the key may sign at all.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// The highest attestation.
    #[must_use]
    pub const fn attestation(&self) -> Option<&AttestationRecord> {
        self.attestation.as_ref()
    }

    /// The highest block.
    #[must_use]
    pub const fn block(&self) -> Option<&BlockRecord> {
        self.block.as_ref()
    }

    /// How many distinct messages of a kind were signed.
    #[must_use]
    pub fn counted(&self, kind: CountedKind) -> u32 {
        self.counted_record(kind).map_or(0, |record| record.count)
    }

    fn counted_record(&self, kind: CountedKind) -> Option<&CountedRecord> {
        self.counted.as_ref()?[kind.index()].as_ref()
    }

    /// All of it, as the store holds it.
    #[must_use]
    pub fn record(&self) -> KeyRecord {
        let Self { public_key, id, is_enabled, attestation, block, counted, health: _ } = self;
        KeyRecord {
            id: *id,
            public_key: *public_key,
            is_enabled: *is_enabled,
            attestation: *attestation,
            block: *block,
            counted: counted.as_deref().copied().unwrap_or_default(),
        }
    }

    /// Replaces all of it, where a key changes as a whole.
    pub(crate) fn set_record(&mut self, record: KeyRecord) {
        debug_assert_eq!((record.id, record.public_key), (self.id, self.public_key));
        *self = Self::new(record, Arc::clone(&self.health));
    }

    /// Replaces the record of one kind.
    fn set(&mut self, record: Record) {
        match record {
            Record::Attestation(record) => self.attestation = Some(record),
            Record::Block(record) => self.block = Some(record),
            Record::Counted(kind, record) => {
                self.counted.get_or_insert_default()[kind.index()] = Some(record);
            }
        }
    }

    pub(crate) const fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Judges a message by the rules. Nothing changes until [`Checked::record`].
    ///
    /// # Errors
    /// [`NotSafe`] when the message must not be signed.
    pub fn check(&mut self, message: &Message, bounds: &Bounds) -> Result<Checked<'_>, NotSafe> {
        self.require_enabled()?;
        let lease = self.health.lease();
        let safe = match *message {
            Message::Attestation(it) => {
                let is_reserved = lease.covers_epoch(it.target_epoch);
                rules::check_attestation(self.attestation.as_ref(), it, bounds, is_reserved)
            }
            Message::Block(it) => {
                let is_reserved = lease.covers_slot(it.slot);
                rules::check_block(self.block.as_ref(), it, bounds, is_reserved)
            }
            Message::Counted(it) => rules::check_counted(self.counted_record(it.kind), it, bounds),
        }?;
        Ok(Checked { message: *message, safe, watermarks: self })
    }

    /// Permits a message that cannot be slashed, by the type of its domain (its first four bytes).
    ///
    /// # Errors
    /// [`NotSafe`] when the key is disabled, or when the domain needs a record or is not known.
    pub fn permit(&self, domain_type: [u8; 4], root: SigningRoot) -> Result<Permit, NotSafe> {
        self.require_enabled()?;
        if !GRANTED_BY_TYPE.contains(&domain_type) {
            return Err(NotSafe::DomainNotPermitted { domain_type });
        }
        Ok(self.make_permit(root, None))
    }

    fn require_enabled(&self) -> Result<(), NotSafe> {
        if self.is_enabled {
            Ok(())
        } else {
            Err(NotSafe::KeyDisabled { public_key: self.public_key })
        }
    }

    fn make_permit(&self, signing_root: SigningRoot, sequence: Option<u64>) -> Permit {
        Permit {
            health: Arc::clone(&self.health),
            id: self.id,
            public_key: self.public_key,
            signing_root,
            sequence,
        }
    }

    /// The record that the message makes of the present one.
    fn advanced(&self, message: &Message) -> Record {
        let sequence = self.health.take_sequence();
        match *message {
            Message::Attestation(it) => Record::Attestation(AttestationRecord {
                source_epoch: it.source_epoch,
                target_epoch: it.target_epoch,
                signing_root: it.signing_root,
                sequence,
            }),
            Message::Block(it) => {
                let (slot, signing_root) = (it.slot, it.signing_root);
                Record::Block(BlockRecord { slot, signing_root, sequence })
            }
            Message::Counted(it) => {
                let (count, signing_root) = (self.counted(it.kind) + 1, it.signing_root);
                Record::Counted(it.kind, CountedRecord { count, signing_root, sequence })
            }
        }
    }

    /// The record that the message repeats.
    fn repeated(&self, message: &Message) -> Record {
        let record = match message {
            Message::Attestation(_) => self.attestation.map(Record::Attestation),
            Message::Block(_) => self.block.map(Record::Block),
            Message::Counted(it) => {
                self.counted_record(it.kind).map(|last| Record::Counted(it.kind, *last))
            }
        };
        record.expect("the rules call repeat only what equals a record")
    }
}

impl Checked<'_> {
    /// Whether this is the very message that was recorded last: signing it again signs nothing new.
    #[must_use]
    pub fn is_repeat(&self) -> bool {
        self.safe == Safe::Repeat
    }

    /// Advances the watermark in memory and hands the record to the recorder. Never blocks.
    ///
    /// A repeat is queued too, behind the record that it repeats: it can never overtake it.
    ///
    /// # Panics
    /// If `place` belongs to the recorder of another store: a bug, found before anything changes.
    pub fn record(self, place: Place) -> Pending {
        let Self { watermarks, message, safe } = self;
        assert!(
            Arc::ptr_eq(&watermarks.health, place.health()),
            "a key's records belong into the key's own store"
        );
        let id = watermarks.id;
        let (record, entry) = match safe {
            Safe::Advance => {
                let record = watermarks.advanced(&message);
                watermarks.set(record);
                (record, Entry::Advance(id, record))
            }
            Safe::Repeat => {
                let record = watermarks.repeated(&message);
                (record, Entry::Confirm(id, record))
            }
        };
        let permit = watermarks.make_permit(message.signing_root(), Some(record.sequence()));
        if cfg!(feature = "bench-unrecorded") {
            drop((place, entry));
            return Pending::new(Ticket::unrecorded(), permit);
        }
        Pending::new(place.send(entry), permit)
    }
}
