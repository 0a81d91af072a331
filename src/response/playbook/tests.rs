#![allow(clippy::unwrap_used)]

use super::*;

/// 2026-11-20 was a Friday.
const FRIDAY_NOON_MS: u64 = 1_795_176_000_000;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

fn weekdays() -> Vec<String> {
    ["mon", "tue", "wed", "thu", "fri"].map(str::to_owned).to_vec()
}

#[test]
fn hours_are_those_of_the_place() {
    assert_eq!(crate::clock::iso8601(FRIDAY_NOON_MS / 1_000), "2026-11-20T12:00:00Z");
    let utc = Hours::new("09:00-18:00", &weekdays(), 0).unwrap();
    assert!(utc.is_at_work(FRIDAY_NOON_MS));
    assert!(utc.is_at_work(FRIDAY_NOON_MS - 3 * HOUR_MS));
    assert!(!utc.is_at_work(FRIDAY_NOON_MS - 3 * HOUR_MS - 60_000));
    assert!(!utc.is_at_work(FRIDAY_NOON_MS + 6 * HOUR_MS), "up to, and not including");
    assert!(!utc.is_at_work(FRIDAY_NOON_MS + DAY_MS), "Saturday");
    assert!(utc.is_at_work(FRIDAY_NOON_MS + 3 * DAY_MS), "Monday");
    let tokyo = Hours::new("09:00-18:00", &weekdays(), 9 * 60).unwrap();
    assert!(!tokyo.is_at_work(FRIDAY_NOON_MS), "21:00 there");
    assert!(!tokyo.is_at_work(FRIDAY_NOON_MS + 13 * HOUR_MS), "Saturday, 10:00 there");
    let new_york = Hours::new("09:00-18:00", &weekdays(), -5 * 60).unwrap();
    assert!(new_york.is_at_work(FRIDAY_NOON_MS + 2 * HOUR_MS));
}

#[test]
fn a_night_belongs_to_the_day_on_which_it_begins() {
    let friday = Hours::new("22:00-06:00", &["fri".to_owned()], 0).unwrap();
    assert!(friday.is_at_work(FRIDAY_NOON_MS + 11 * HOUR_MS));
    assert!(friday.is_at_work(FRIDAY_NOON_MS + 17 * HOUR_MS), "Saturday, 05:00");
    assert!(!friday.is_at_work(FRIDAY_NOON_MS - 7 * HOUR_MS), "Friday, 05:00");
    assert!(!friday.is_at_work(FRIDAY_NOON_MS));
}

#[test]
fn hours_are_written_as_they_are_read() {
    for text in ["always", "09:00-18:00", "22:30-06:15"] {
        assert_eq!(Hours::new(text, &weekdays(), 0).unwrap().to_string(), text);
    }
    assert_eq!(Hours::default().to_string(), "always");
    assert_eq!(Hours::new("always", &weekdays(), 0).unwrap().day_names(), weekdays());
    for wrong in ["", "9-18", "09:00", "09:00-24:00", "09:60-10:00", "09:00-09:00"] {
        assert_eq!(Hours::new(wrong, &[], 0), Err(NotHours::Span(wrong.to_owned())));
    }
    let days = ["monday".to_owned()];
    assert_eq!(Hours::new("always", &days, 0), Err(NotHours::Day("monday".to_owned())));
}
