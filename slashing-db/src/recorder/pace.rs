//! When a commit begins: not before it is worth its price, unless nobody else would come.
//!
//! A sync costs about the same for one record as for sixty, and while it runs the thread that makes
//! the records waits for the processor. So commits keep a distance that is a multiple of how long
//! they were measured to take. That would be lost time where all clients wait for this very commit:
//! when as many records wait as lately came together, it begins at once. How many come is tried out
//! again and again.

use std::time::Duration;

#[cfg(test)]
mod tests;

/// A batch of this size is worth a commit, whatever else may come.
pub(super) const LARGE_BATCH: usize = 64;

/// The distance between two commits, in commits.
const PAUSE_COMMITS: u32 = 2;

/// The longest that a record waits for others.
const PAUSE_MAX: Duration = Duration::from_millis(2);

/// Of so many commits one waits out its pause, to see how many come.
const TRIAL_EVERY: u32 = 8;

/// The same while records come one by one: most likely there is one client, and it waits.
const TRIAL_OF_ONE_EVERY: u32 = 64;

/// What the recorder knows of its own commits.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long a commit takes, smoothed.
    commit: Duration,
    /// When the last one ended.
    ended: Duration,
    /// How many records lately came together.
    company: usize,
    commits: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { commit: Duration::ZERO, ended: Duration::ZERO, company: 1, commits: 0 }
    }
}

impl Pace {
    /// Takes a commit of so many records into account.
    pub(super) fn committed(&mut self, records: usize, took: Duration, ended: Duration) {
        let least =
            if self.is_trial() { self.company - self.company.div_ceil(4) } else { self.company };
        self.company = records.max(least).max(1);
        self.commit = if self.commits == 0 { took } else { (self.commit * 7 + took) / 8 };
        self.ended = ended;
        self.commits = self.commits.wrapping_add(1);
    }

    /// Until when a small batch may wait for company.
    pub(super) fn until(&self) -> Duration {
        self.ended + (self.commit * PAUSE_COMMITS).min(PAUSE_MAX)
    }

    /// As many records as are written without waiting for more.
    pub(super) fn enough(&self) -> usize {
        if self.is_trial() { LARGE_BATCH } else { self.company.min(LARGE_BATCH) }
    }

    fn is_trial(&self) -> bool {
        let every = if self.company > 1 { TRIAL_EVERY } else { TRIAL_OF_ONE_EVERY };
        self.commits % every == every - 1
    }
}
