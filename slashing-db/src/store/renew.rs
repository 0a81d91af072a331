//! Staying the owner: reservations ahead of signing, the lease, and the clean stop.

use std::sync::atomic::Ordering;

use super::{Now, Owner, Store, commit};
use crate::engine::Fatal;
use crate::health::Poison;
use crate::lease::{BootTime, LeaseLapsed};
use crate::recorder::RecordError;
use crate::witness::{ReservedThrough, WitnessError, WitnessState};

/// How many epochs are reserved ahead. One is used, one is there while the next is reserved.
const EPOCHS_AHEAD: u64 = 2;
/// How many slots are reserved ahead: two epochs of mainnet.
const SLOTS_AHEAD: u64 = 64;
/// The time is made durable in the store at least so often; the witness has it with each renewal.
const TIME_DURABLE_S: u64 = 60;

/// Why the lease was not extended.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The reservation could not be written. The store is poisoned or closed.
    #[error("the reservation could not be written")]
    Record(#[source] RecordError),
    /// The witness could not be written. Try again: what is signed ends with the lease.
    #[error("the witness could not be written; the lease runs out unless a renewal succeeds")]
    Witness(#[source] WitnessError),
    /// Another owns the store. It is poisoned.
    #[error("another process owns this store now: nothing more is signed here")]
    Lost(#[source] WitnessError),
    /// It was sealed. Nothing more to renew.
    #[error("the store is sealed: nothing more is signed here")]
    Sealed,
    /// It lapsed before this renewal. Restart the process.
    #[error(transparent)]
    Lapsed(#[from] LeaseLapsed),
}

/// Why the store was not sealed. It can be opened again all the same.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It was sealed or had failed before.
    #[error("the store is not open any more")]
    NotOpen,
    /// The seal could not be written.
    #[error("the seal could not be written")]
    Engine(#[source] Fatal),
    /// The witness could not be written.
    #[error("the store is sealed, but its witness could not be told")]
    Witness(#[source] WitnessError),
}

impl Store {
    /// Reserves ahead and extends the lease. Call it each second, from one thread, and never from
    /// where it may not block: it writes the store and the witness.
    ///
    /// `now` must be read for this call: the lease runs from then. A lease that has run out by then
    /// is never renewed: whoever was suspended past it signs nothing more, whichever of its threads
    /// wakes first.
    ///
    /// # Errors
    /// [`RenewError`]; signing goes on until the lease ends, unless the store was lost.
    pub fn renew(&self, now: Now) -> Result<(), RenewError> {
        let mut owner = self.owner.lock();
        if owner.witness.is_none() {
            return Err(RenewError::Sealed);
        }
        if let Err(lapsed @ LeaseLapsed::Lapsed) = self.health.lease().is_live(now.boot) {
            return Err(lapsed.into());
        }
        self.now_unix_s.store(now.unix_s, Ordering::Relaxed);
        self.reserve_ahead(&mut owner, now)?;
        // Durable before the witness hears of it.
        let sequence = self.health.durable_sequence();
        let reserved = owner.identity.local.reserved_through;
        owner.settle_doubt().map_err(|error| self.judge(error))?;
        let next = owner.said.renewed(&self.host(now), reserved, sequence);
        owner.say(next).map_err(|error| self.judge(error))?;
        self.last_unix_s.fetch_max(now.unix_s, Ordering::Relaxed);
        let lease = self.health.lease();
        lease.reserve_through(reserved.epoch, reserved.slot);
        lease.extend(now.boot.lease_end());
        Ok(lease.is_live(now.boot)?)
    }

    /// Why nothing can be signed at `now`, if nothing can.
    #[must_use]
    pub fn fault(&self, now: BootTime) -> Option<LeaseLapsed> {
        self.health.lease().is_live(now).err()
    }

    /// When the lease runs out unless it is renewed.
    #[must_use]
    pub fn lease_end(&self) -> BootTime {
        self.health.lease().end()
    }

    /// Stops cleanly: writes what waits, seals the store and then its witness with the exact last
    /// sequence, and lets go of both. Nothing is signed from its beginning on; from its end on
    /// another process may open the store, although this one still lives.
    ///
    /// # Errors
    /// [`SealError`]; the store then is as after a crash, which an opening recovers from.
    pub fn seal(&self, now: Now) -> Result<(), SealError> {
        self.health.lease().poison();
        let mut owner = self.owner.lock();
        let mut engine = self.stop().ok_or(SealError::NotOpen)?;
        if self.health.is_poisoned() {
            return Err(SealError::NotOpen);
        }
        let sequence = self.health.durable_sequence();
        owner.identity.local.sealed = true;
        owner.identity.local.sequence = sequence;
        owner.identity.last_unix_s = owner.identity.last_unix_s.max(now.unix_s);
        commit(engine.as_mut(), owner.identity.entry()).map_err(SealError::Engine)?;
        owner.settle_doubt().map_err(SealError::Witness)?;
        let next = owner.said.sealed(&self.host(now), sequence);
        owner.say(next).map_err(SealError::Witness)?;
        engine.settle();
        drop(engine);
        owner.witness = None;
        Ok(())
    }

    /// Makes a further reservation durable here, once the last one is half used.
    fn reserve_ahead(&self, owner: &mut Owner, now: Now) -> Result<(), RenewError> {
        let held = owner.identity.local.reserved_through;
        let is_ample = held.epoch >= now.epoch.saturating_add(EPOCHS_AHEAD)
            && held.slot >= now.slot.saturating_add(SLOTS_AHEAD / 2);
        let is_timely = now.unix_s < owner.identity.last_unix_s.saturating_add(TIME_DURABLE_S);
        if is_ample && is_timely {
            return Ok(());
        }
        let mut next = owner.identity.clone();
        next.last_unix_s = next.last_unix_s.max(now.unix_s);
        next.local.reserved_through = held.max(ReservedThrough {
            epoch: now.epoch.saturating_add(EPOCHS_AHEAD),
            slot: now.slot.saturating_add(SLOTS_AHEAD),
        });
        self.recorder.send(next.entry()).wait().map_err(RenewError::Record)?;
        owner.identity = next;
        Ok(())
    }

    fn judge(&self, error: WitnessError) -> RenewError {
        let is_lost = match &error {
            WitnessError::Changed { .. }
            | WitnessError::LockReplaced { .. }
            | WitnessError::Garbled { .. }
            | WitnessError::Missing { .. } => true,
            WitnessError::Io { .. }
            | WitnessError::Exists { .. }
            | WitnessError::Owned { .. }
            | WitnessError::InsideStore { .. } => false,
        };
        if !is_lost {
            return RenewError::Witness(error);
        }
        self.health.set_poison(Poison::Witness(error.to_string().into()));
        self.health.tell();
        RenewError::Lost(error)
    }
}

impl Owner {
    /// Finds out what became of a write that failed, by trying the very same again.
    fn settle_doubt(&mut self) -> Result<(), WitnessError> {
        if let (Some(doubtful), Some(witness)) = (&self.in_doubt, &mut self.witness) {
            witness.compare_and_set(&self.said, doubtful)?;
            self.said = doubtful.clone();
            self.in_doubt = None;
        }
        Ok(())
    }

    fn say(&mut self, next: WitnessState) -> Result<(), WitnessError> {
        let Some(witness) = &mut self.witness else {
            return Ok(()); // sealed: what was said last stands
        };
        let result = witness.compare_and_set(&self.said, &next);
        match result {
            Ok(()) => self.said = next,
            Err(_) => self.in_doubt = Some(next),
        }
        result
    }
}
