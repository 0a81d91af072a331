//! Points in time of a policy document: RFC 3339, with an offset.

use toml::de::DeValue;
use toml::value::{Date, Datetime, Offset};

use super::reader::Item;
use crate::config::problem::ProblemKind;

/// Milliseconds of Unix time: `2026-11-21T10:00:00Z`, bare or as a text.
pub(super) fn unix_ms(item: &Item<'_>) -> Option<u64> {
    let parsed = match item.raw() {
        DeValue::Datetime(datetime) => Some(*datetime),
        DeValue::String(text) => text.parse().ok(),
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    };
    item.valid(parsed.and_then(of).ok_or(ProblemKind::NotAMoment))
}

/// Milliseconds of Unix time; `None` without a date, a time or an offset.
pub(in crate::config) fn of(datetime: Datetime) -> Option<u64> {
    let (date, time, offset) = (datetime.date?, datetime.time?, datetime.offset?);
    let offset_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let hours = days(date) * 24 + i64::from(time.hour);
    let minutes = hours * 60 + i64::from(time.minute) - offset_minutes;
    let seconds = minutes * 60 + i64::from(time.second.unwrap_or(0));
    let millis = seconds * 1_000 + i64::from(time.nanosecond.unwrap_or(0) / 1_000_000);
    u64::try_from(millis).ok()
}

/// Days from 1970-01-01: Howard Hinnant's algorithm, years counted from March.
fn days(date: Date) -> i64 {
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    let year = i64::from(date.year) - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::clock;

    #[test]
    fn moments_are_read_as_they_are_written() {
        for text in ["1970-01-01T00:00:00Z", "2000-02-29T23:59:59Z", "2026-11-21T10:00:00Z"] {
            let ms = of(text.parse().unwrap()).unwrap();
            assert_eq!(clock::iso8601(ms / 1_000), text);
        }
        let of_text = |text: &str| of(text.parse().unwrap());
        assert_eq!(of_text("2026-11-21T12:30:00+02:30"), of_text("2026-11-21T10:00:00Z"));
        assert_eq!(of_text("2026-11-21T10:00:00.250Z").unwrap() % 1_000, 250);
        assert_eq!(of_text("2026-11-21T10:00:00"), None, "no offset: whose ten o'clock?");
        assert_eq!(of_text("1969-12-31T23:59:59Z"), None);
    }
}
