//! How many lines of one kind are written.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::clock::Now;

#[cfg(test)]
mod tests;

/// Keeps a flood of one kind of bad request from filling the log's disk: so many lines a second and
/// code, and the number of those left out in the next line. The metrics count every one.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<HashMap<&'static str, Said>>);

#[derive(Debug, Default)]
struct Said {
    second: u64,
    lines: u32,
    unsaid: u64,
}

impl LogLimit {
    /// `Some` if a line for `code` may be written now: how many were left out since the last one.
    pub(crate) fn may_say(&self, code: &'static str, now: Now) -> Option<u64> {
        let mut codes = self.0.lock();
        let said = codes.entry(code).or_default();
        if said.second != now.unix_s() {
            (said.second, said.lines) = (now.unix_s(), 0);
        }
        if said.lines >= LINES_PER_SECOND_MAX {
            said.unsaid += 1;
            return None;
        }
        said.lines += 1;
        Some(std::mem::take(&mut said.unsaid))
    }
}

const LINES_PER_SECOND_MAX: u32 = 50;
