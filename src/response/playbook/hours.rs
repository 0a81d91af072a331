//! When somebody is at work.

use std::fmt;
use std::str::FromStr;

/// Working hours at a fixed distance from UTC: who has two times a year sets two times a year, or
/// the wider of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Minutes of the day: from the first to before the second. All day where they are equal.
    pub minutes: (u32, u32),
    /// Days of the week, Monday first.
    pub days: [bool; 7],
    /// East of Greenwich, in minutes.
    pub utc_offset_minutes: i64,
}

/// Why a text names no hours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHours {
    /// It is none.
    #[error("{0:?} is no time span: it has to be like \"09:00-18:00\", or \"always\"")]
    Span(String),
    /// It is no day.
    #[error("{0:?} is no day: mon, tue, wed, thu, fri, sat, sun")]
    Day(String),
}

/// The names of the days.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Default for Hours {
    fn default() -> Self {
        Self { minutes: (0, 0), days: [true; 7], utc_offset_minutes: 0 }
    }
}

impl Hours {
    /// Hours as they are written, on the named days.
    ///
    /// # Errors
    /// [`NotHours`]
    pub fn new(span: &str, days: &[String], utc_offset_minutes: i64) -> Result<Self, NotHours> {
        let mut on = [false; 7];
        for day in days {
            let place = DAYS.iter().position(|name| name == day);
            on[place.ok_or_else(|| NotHours::Day(day.clone()))?] = true;
        }
        let Span(from, to) = span.parse()?;
        Ok(Self { minutes: (from, to), days: on, utc_offset_minutes })
    }

    /// Whether somebody is at work at this moment (milliseconds of Unix time).
    pub fn is_at_work(&self, unix_ms: u64) -> bool {
        let minute = i64::try_from(unix_ms / 60_000).unwrap_or(i64::MAX);
        let minute = minute.saturating_add(self.utc_offset_minutes);
        let of_day = minute.rem_euclid(DAY_MINUTES);
        let day = minute.div_euclid(DAY_MINUTES);
        let (from, to) = (i64::from(self.minutes.0), i64::from(self.minutes.1));
        // A span over midnight belongs to the day on which it begins.
        let (is_within, day) = match from.cmp(&to) {
            std::cmp::Ordering::Equal => (true, day),
            std::cmp::Ordering::Less => ((from..to).contains(&of_day), day),
            std::cmp::Ordering::Greater if of_day < to => (true, day - 1),
            std::cmp::Ordering::Greater => (of_day >= from, day),
        };
        let weekday = (day + THURSDAY).rem_euclid(7);
        is_within && self.days[usize::try_from(weekday).unwrap_or(0)]
    }

    /// The days on which somebody is at work.
    pub fn day_names(&self) -> Vec<&'static str> {
        let on = DAYS.iter().zip(self.days).filter(|(_, is_on)| *is_on);
        on.map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.minutes;
        if from == to {
            return f.write_str(ALWAYS);
        }
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

struct Span(u32, u32);

impl FromStr for Span {
    type Err = NotHours;

    fn from_str(text: &str) -> Result<Self, NotHours> {
        if text == ALWAYS {
            return Ok(Self(0, 0));
        }
        let minute = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let parsed = text.split_once('-').and_then(|(from, to)| {
            let (from, to) = (minute(from.trim())?, minute(to.trim())?);
            (from != to).then_some(Self(from, to))
        });
        parsed.ok_or_else(|| NotHours::Span(text.to_owned()))
    }
}

const ALWAYS: &str = "always";
const DAY_MINUTES: i64 = 24 * 60;
/// 1970-01-01 was one; Monday is 0.
const THURSDAY: i64 = 3;
