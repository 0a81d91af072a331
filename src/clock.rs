//! The only source of time.
//!
//! Everything else is handed a [`Now`]: the wall clock for slots and epochs, and `CLOCK_BOOTTIME`
//! for leases, because that one keeps counting while a machine or a process is suspended.

#![allow(clippy::disallowed_methods)] // here alone

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use slashing_db::BootTime;

use crate::eth::{Epoch, Network, Slot};

#[cfg(feature = "test-clock")]
pub mod test_clock;
#[cfg(test)]
mod tests;

/// One reading of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since the Unix epoch, by the wall clock.
    pub unix_ns: u64,
    /// Nanoseconds since boot, suspension included.
    pub boot: BootTime,
}

impl Now {
    /// Whole seconds since the Unix epoch.
    pub fn unix_s(&self) -> u64 {
        self.unix_ns / NANOS_PER_SECOND
    }

    /// The same instant moved by `by` into the future.
    pub fn after(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self {
            unix_ns: self.unix_ns.saturating_add(by),
            boot: BootTime(self.boot.0.saturating_add(by)),
        }
    }
}

/// Where time comes from: the machine, or a simulation that turns the hands itself.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clocks.
    System,
    /// Set by the holder of the same handle; for simulations.
    Manual(ManualClock),
}

/// A clock that stands still until somebody turns it.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Now>>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Now) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Turns the hands.
    pub fn set(&self, now: Now) {
        *self.0.lock() = now;
    }
}

impl Clock {
    /// Reads the clocks.
    pub fn now(&self) -> Now {
        match self {
            Self::System => {
                let boot = clock_gettime(ClockId::Boottime);
                Now {
                    unix_ns: since_unix_epoch(),
                    boot: BootTime(
                        u64::try_from(boot.tv_sec).unwrap_or(0) * NANOS_PER_SECOND
                            + u64::try_from(boot.tv_nsec).unwrap_or(0),
                    ),
                }
            }
            Self::Manual(clock) => *clock.0.lock(),
        }
    }

    /// Whether a test turns the hands of the machine's clock: a leap is then time that passed, and
    /// says nothing of a process that was away.
    pub fn is_turned(&self) -> bool {
        match self {
            #[cfg(feature = "test-clock")]
            Self::System => test_clock::unix_ns().is_some(),
            #[cfg(not(feature = "test-clock"))]
            Self::System => false,
            Self::Manual(_) => false,
        }
    }
}

/// Slots and epochs of one network.
///
/// Spec: `slot = (time - genesis_time) / SECONDS_PER_SLOT`. Before genesis there is no slot yet;
/// duties that clients prepare then (registrations, selection proofs) count as of slot 0.
#[derive(Clone, Copy, Debug)]
pub struct SlotClock {
    genesis_ns: u64,
    slot_ns: u64,
    slots_per_epoch: u64,
}

impl SlotClock {
    /// Slots of this length since `genesis_time_s`.
    pub fn new(genesis_time_s: u64, slot: Duration, slots_per_epoch: u64) -> Self {
        let slot_ns = u64::try_from(slot.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self {
            genesis_ns: genesis_time_s.saturating_mul(NANOS_PER_SECOND),
            slot_ns,
            slots_per_epoch,
        }
    }

    /// The slots of `network`, if its genesis is known.
    pub fn of(network: &Network) -> Option<Self> {
        let genesis = network.genesis()?;
        Some(Self::new(genesis.time, network.slot_duration(), network.preset().slots_per_epoch))
    }

    /// The slot in which `now` falls; slot 0 before genesis.
    pub fn slot(&self, now: Now) -> Slot {
        Slot(now.unix_ns.saturating_sub(self.genesis_ns) / self.slot_ns)
    }

    /// The epoch of `slot`.
    pub fn epoch_of(&self, slot: Slot) -> Epoch {
        Epoch(slot.0 / self.slots_per_epoch)
    }

    /// The epoch in which `now` falls.
    pub fn epoch(&self, now: Now) -> Epoch {
        self.epoch_of(self.slot(now))
    }

    /// When `slot` starts, in nanoseconds since the Unix epoch.
    pub fn start_unix_ns(&self, slot: Slot) -> u64 {
        self.genesis_ns.saturating_add(slot.0.saturating_mul(self.slot_ns))
    }

    /// How long ago the present slot began; before genesis, nothing.
    pub fn into_slot(&self, now: Now) -> Duration {
        Duration::from_nanos(now.unix_ns.saturating_sub(self.start_unix_ns(self.slot(now))))
    }

    /// How long a slot lasts.
    pub fn slot_duration(&self) -> Duration {
        Duration::from_nanos(self.slot_ns)
    }

    /// How long from `now` until nothing is due: from five sixths to eleven twelfths of a slot.
    ///
    /// Blocks are due at its beginning, attestations at a third (a quarter from Gloas on),
    /// aggregates at two thirds (a half), the payload's timeliness at three quarters. Zero before
    /// genesis.
    pub fn until_quiet(&self, now: Now) -> Duration {
        let Some(since_genesis) = now.unix_ns.checked_sub(self.genesis_ns) else {
            return Duration::ZERO;
        };
        let (begins, ends) = (self.slot_ns / 6 * 5, self.slot_ns / 12 * 11);
        let into_slot = since_genesis % self.slot_ns;
        match into_slot {
            early if early < begins => Duration::from_nanos(begins - early),
            quiet if quiet < ends => Duration::ZERO,
            late => Duration::from_nanos(self.slot_ns - late + begins),
        }
    }

    /// Slots in an epoch.
    pub fn slots_per_epoch(&self) -> u64 {
        self.slots_per_epoch
    }
}

/// What the kernel says of its own wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockHealth {
    /// Disciplined by NTP or PTP.
    Synchronised,
    /// Nobody disciplines it, or it lost its source.
    Unsynchronised,
}

/// Asks the kernel whether the wall clock is synchronised (`adjtimex(2)`, `STA_UNSYNC`).
pub fn health() -> ClockHealth {
    // SAFETY: an all-zero `timex` is a valid value (plain integers), and with `modes` = 0 the call
    // only reads kernel state into it.
    #[allow(unsafe_code)]
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        let state = libc::adjtimex(&raw mut timex);
        if timex.status & libc::STA_UNSYNC != 0 { libc::TIME_ERROR } else { state }
    };
    if state == libc::TIME_ERROR || state < 0 {
        ClockHealth::Unsynchronised
    } else {
        ClockHealth::Synchronised
    }
}

/// The processor time that this thread has used so far.
pub fn thread_cpu() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// Milliseconds since the Unix epoch, for log lines that are not part of a decision.
pub fn unix_ms() -> u64 {
    since_unix_epoch() / 1_000_000
}

/// `unix_s` as ISO 8601 in UTC, to the second.
pub fn iso8601(unix_s: u64) -> String {
    // Days to a civil date: Howard Hinnant's algorithm, years counted from March.
    let (days, second) = (unix_s / 86_400 + 719_468, unix_s % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The instant at which something that starts now and may take `budget` is late.
pub fn deadline(budget: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + budget
}

/// Sleeps, on a thread of its own, for work that is done again and again as time passes; where a
/// test turns the clock, only until it has.
pub fn rest(length: Duration) {
    #[cfg(feature = "test-clock")]
    if test_clock::unix_ns().is_some() {
        return test_clock::rest(length);
    }
    std::thread::sleep(length);
}

/// Measures how long something took. Not a point in time: only differences leave it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The time since the start or the last lap, and starts anew.
    pub fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now.duration_since(self.0);
        self.0 = now;
        lap
    }
}

fn since_unix_epoch() -> u64 {
    #[cfg(feature = "test-clock")]
    if let Some(unix_ns) = test_clock::unix_ns() {
        return unix_ns;
    }
    // A wall clock before 1970 reads as 0: every duty is then far in the future and refused.
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;
