//! Whether a replica is asked first, last, or once to see whether it is back.
//!
//! A breaker orders; it never refuses. Where nobody else is left, a replica that failed is asked all
//! the same: a duty that is tried late is worth more than one that is not tried.
//!
//! After a few failures in a row a replica rests. When its pause is over one request asks it first,
//! and that one's outcome ends the rest or doubles the pause.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// What a breaker says of its replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is among those asked first.
    Ready,
    /// It rested long enough: one request may ask it first.
    Due,
    /// It is asked when nobody else is left.
    Resting,
}

/// See the module. Shared by all cores.
#[derive(Debug, Default)]
pub struct Breaker {
    troubled: AtomicBool, // false: nothing but successes, and the lock is not needed
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    rest: Option<Rest>,
}

#[derive(Debug)]
struct Rest {
    until: Instant,
    pause: Duration,
    is_probed: bool, // a request is under way that sees whether the replica is back
}

impl Breaker {
    /// What to do with the replica now.
    pub fn readiness(&self, now: Instant) -> Readiness {
        if !self.troubled.load(Ordering::Relaxed) {
            return Readiness::Ready;
        }
        match &self.state.lock().rest {
            None => Readiness::Ready,
            Some(rest) if rest.until <= now => Readiness::Due,
            Some(_) => Readiness::Resting,
        }
    }

    /// Takes the one request that may ask first after a rest; the next one may when another pause
    /// has gone by without an outcome.
    pub fn take_probe(&self, now: Instant) -> bool {
        match &mut self.state.lock().rest {
            Some(rest) if rest.until <= now => {
                rest.until = now + rest.pause;
                rest.is_probed = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// It gave a signature in good time.
    pub fn succeeded(&self) {
        if self.troubled.load(Ordering::Relaxed) {
            *self.state.lock() = State::default();
            self.troubled.store(false, Ordering::Relaxed);
        }
    }

    /// It failed, or is late. Says whether it rests from now on.
    pub fn failed(&self, now: Instant) -> bool {
        self.troubled.store(true, Ordering::Relaxed);
        let state = &mut *self.state.lock();
        state.failures += 1;
        let pause = match &state.rest {
            // Those that were under way when it fell say nothing new.
            Some(rest) if now < rest.until && !rest.is_probed => return false,
            Some(rest) => (rest.pause * 2).min(PAUSE_MAX),
            None if state.failures < FAILURES_MAX => return false,
            None => PAUSE_MIN,
        };
        let is_new = state.rest.is_none();
        state.rest = Some(Rest { until: now + pause, pause, is_probed: false });
        is_new
    }

    /// It cannot be reached: it rests at once. Says whether that is new.
    pub fn unreachable(&self, now: Instant) -> bool {
        self.rest_for(UNREACHABLE, now)
    }

    /// It gave a wrong answer: it rests at once and for long. Says whether that is new.
    pub fn distrust(&self, now: Instant) -> bool {
        self.rest_for(DISTRUST, now)
    }

    /// It can be reached again, after it could not: the next request may see.
    pub fn reachable(&self, now: Instant) {
        if self.troubled.load(Ordering::Relaxed)
            && let Some(rest) = &mut self.state.lock().rest
            && rest.pause < DISTRUST
        {
            rest.until = rest.until.min(now);
        }
    }

    fn rest_for(&self, pause: Duration, now: Instant) -> bool {
        self.troubled.store(true, Ordering::Relaxed);
        let state = &mut *self.state.lock();
        let is_new = state.rest.is_none();
        let pause = state.rest.as_ref().map_or(pause, |rest| rest.pause.max(pause));
        state.rest = Some(Rest { until: now + pause, pause, is_probed: false });
        is_new
    }
}

/// Failures in a row after which a replica rests.
const FAILURES_MAX: u32 = 3;
/// The first pause; it doubles with each failed probe.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause: a replica that is back must not stay idle for an epoch.
const PAUSE_MAX: Duration = Duration::from_secs(16);
/// The pause of one that cannot be reached: longer than until it is looked for again, so that no
/// request is spent on it meanwhile.
const UNREACHABLE: Duration = Duration::from_secs(5);
/// The pause after a wrong answer.
const DISTRUST: Duration = Duration::from_secs(60);
