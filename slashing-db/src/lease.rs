//! The lease under which a live store signs, checked just before a request is forwarded.
//!
//! The owner of a store renews its lease at the [witness](crate::witness) every
//! [`RENEW_INTERVAL_NS`], for [`LEASE_NS`] each time. A process that was suspended, or that could
//! not reach its witness, finds the lease lapsed and signs nothing more: meanwhile another may have
//! taken the store over. Nothing here reads a clock; times are passed in.

use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(test)]
mod tests;

/// How long a lease lasts from the moment its renewal began, in nanoseconds of [`BootTime`]: 10 s.
pub const LEASE_NS: u64 = 10_000_000_000;

/// How often the owner renews, in nanoseconds: each second, which leaves room for several failed
/// renewals before the lease lapses.
pub const RENEW_INTERVAL_NS: u64 = 1_000_000_000;

/// A moment on `CLOCK_BOOTTIME`, in nanoseconds since boot.
///
/// That clock goes on while the machine is suspended and is never set, which is why a lease is
/// measured on it: neither a laptop's lid nor a wrong NTP server makes a lapsed lease live again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(pub u64);

impl BootTime {
    /// The end of a lease whose renewal began at this moment.
    ///
    /// Take the time before the witness is written, not after: the lease must not outlast what
    /// the witness says.
    pub fn lease_end(self) -> Self {
        Self(self.0.saturating_add(LEASE_NS))
    }
}

/// Why nothing may be signed under the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseLapsed {
    /// The witness has not granted a lease yet.
    #[error("no lease yet: the store is still being opened")]
    NotHeld,
    /// The lease ran out before it was renewed.
    #[error(
        "the lease lapsed before it was renewed (process suspended, or witness out of reach): \
         nothing more is signed; restart this process"
    )]
    Lapsed,
    /// The store or its witness failed.
    #[error("the store or its witness failed: nothing more is signed; restart this process")]
    Poisoned,
}

// The three states in which nothing is signed are values that no real end of a lease has, so that
// one word holds everything and a late extension cannot race with the discovery of the lapse.
const NOT_HELD: u64 = 0;
const POISONED: u64 = u64::MAX;
const LAPSED: u64 = u64::MAX - 1;
const LAST_END: u64 = u64::MAX - 2;

/// The lease of this process: one writer renews, every signing task checks.
///
/// Once a check has found it lapsed, it stays lapsed until the process ends: between the lapse and
/// a late renewal another owner may have signed.
#[derive(Debug, Default)]
pub struct Lease {
    until: AtomicU64,
    // One more than what is reserved, so that 0 means "nothing", not "epoch 0".
    epochs: AtomicU64,
    slots: AtomicU64,
}

impl Lease {
    /// A lease that is not held and reserves nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Extends the lease, after the witness has durably granted it. Never shortens it, and never
    /// revives one that was seen lapsed or was poisoned.
    pub fn extend(&self, until: BootTime) {
        let end = until.0.min(LAST_END);
        // The closure always gives a value, so the update cannot fail.
        let _ = self.until.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
            Some(held.max(end)) // LAPSED and POISONED are greater than every end
        });
    }

    /// Whether a signature may leave at `now`.
    ///
    /// # Errors
    /// [`LeaseLapsed`] when it may not. After [`LeaseLapsed::Lapsed`] every later call fails too.
    pub fn is_live(&self, now: BootTime) -> Result<(), LeaseLapsed> {
        let mut until = self.until.load(Ordering::Acquire);
        loop {
            match until {
                NOT_HELD => return Err(LeaseLapsed::NotHeld),
                LAPSED => return Err(LeaseLapsed::Lapsed),
                POISONED => return Err(LeaseLapsed::Poisoned),
                end if now.0 < end => return Ok(()),
                end => match self.until.compare_exchange(
                    end,
                    LAPSED,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                ) {
                    Ok(_) => return Err(LeaseLapsed::Lapsed),
                    Err(changed) => until = changed,
                },
            }
        }
    }

    /// When it ends; 0 when it is not held, or has ended for good.
    pub fn end(&self) -> BootTime {
        match self.until.load(Ordering::Acquire) {
            NOT_HELD | LAPSED | POISONED => BootTime(0),
            end => BootTime(end),
        }
    }

    /// Ends the lease for ever, because the store or its witness failed.
    pub fn poison(&self) {
        self.until.store(POISONED, Ordering::Release);
    }

    /// Notes what the witness has durably reserved: the last epoch and slot that may be signed for.
    /// Never lowers it.
    pub fn reserve_through(&self, epoch: u64, slot: u64) {
        self.epochs.fetch_max(epoch.saturating_add(1), Ordering::AcqRel);
        self.slots.fetch_max(slot.saturating_add(1), Ordering::AcqRel);
    }

    /// Whether an attestation with this target epoch lies within the reservation.
    pub fn covers_epoch(&self, target_epoch: u64) -> bool {
        target_epoch < self.epochs.load(Ordering::Acquire)
    }

    /// Whether a block of this slot lies within the reservation.
    pub fn covers_slot(&self, slot: u64) -> bool {
        slot < self.slots.load(Ordering::Acquire)
    }
}
