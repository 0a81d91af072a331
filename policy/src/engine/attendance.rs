//! Which shares of a group still take part: one that has not for a month may be lost, which shows
//! only when it is needed (StakeHound, 2021). An alarm, never a refusal.

use super::counts::day;
use crate::bytes::{Reader, Writer};
use crate::{Moment, ShareSet};

#[cfg(test)]
mod tests;

/// Days without a part in any signature after which a share is missed.
pub(crate) const MISSED_AFTER_DAYS: u16 = 30;

/// When each share last took part.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attendance {
    days: [u16; 32], // since 1970, and 1; 0 for never
    missed: u32,     // shares that were told of
}

impl Attendance {
    /// These took part in a signature that was released.
    pub(crate) fn took_part(&mut self, set: ShareSet, at: Moment) {
        let today = today(at);
        for (place, last) in self.days.iter_mut().enumerate() {
            if set.0 >> place & 1 == 1 {
                *last = today;
            }
        }
        self.missed &= !set.0;
    }

    /// The shares that have come to be missed while others signed, each told of once.
    pub(crate) fn newly_missed(&mut self, at: Moment, rests: bool) -> Vec<usize> {
        let today = today(at);
        let is_signing = self.days.iter().any(|last| today - last.min(&today) <= 1);
        if rests || !is_signing {
            return Vec::new();
        }
        let is_missed = |last: u16| last != 0 && today - last.min(today) >= MISSED_AFTER_DAYS;
        let is_told = |place: usize| self.missed >> place & 1 == 1;
        let places = (0..self.days.len()).filter(|place| !is_told(*place));
        let missed: Vec<usize> = places.filter(|place| is_missed(self.days[*place])).collect();
        for place in &missed {
            self.missed |= 1 << place;
        }
        missed
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.all_u16(&self.days);
        out.u32(self.missed);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { days: from.all_u16()?, missed: from.u32()? })
    }
}

fn today(at: Moment) -> u16 {
    u16::try_from(day(at.unix_ms) + 1).unwrap_or(u16::MAX)
}
