use super::*;

fn at(unix_ms: u64) -> Now {
    Now { unix_ns: unix_ms * 1_000_000, boot: BootTime(0) }
}

#[test]
fn slots_and_epochs_follow_the_spec() {
    let clock = SlotClock::new(1_000, Duration::from_secs(12), 32);
    for (unix_ms, slot, epoch) in [
        (0, 0, 0), // before genesis
        (1_000_000, 0, 0),
        (1_011_999, 0, 0),
        (1_012_000, 1, 0),
        (1_000_000 + 32 * 12_000, 32, 1),
    ] {
        assert_eq!(clock.slot(at(unix_ms)), Slot(slot), "at {unix_ms} ms");
        assert_eq!(clock.epoch(at(unix_ms)), Epoch(epoch), "at {unix_ms} ms");
    }
    assert_eq!(clock.start_unix_ns(Slot(1)), 1_012_000_000_000);
}

#[test]
fn slots_shorter_than_a_second_are_exact() {
    let clock = SlotClock::new(0, Duration::from_millis(500), 8);
    assert_eq!(clock.slot(at(499)), Slot(0));
    assert_eq!(clock.slot(at(500)), Slot(1));
    assert_eq!(clock.epoch(at(4_000)), Epoch(1));
}

#[test]
fn the_boot_clock_does_not_run_backwards() {
    let (first, second) = (Clock::System.now(), Clock::System.now());
    assert!(second.boot.0 >= first.boot.0);
    assert!(first.unix_s() > 1_700_000_000);
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (unix_s, date) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_606_824_023, "2020-12-01T12:00:23Z"), // mainnet's genesis
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(iso8601(unix_s), date);
    }
}

/// A network's configuration may name a slot of any length.
#[test]
fn no_length_of_a_slot_is_too_long_to_add() {
    let now = Now { unix_ns: 1, boot: BootTime(1) };
    let latest = Now { unix_ns: u64::MAX, boot: BootTime(u64::MAX) };
    assert_eq!(now.after(Duration::MAX), latest);
}

#[test]
fn the_quiet_part_of_a_slot_follows_the_aggregates() {
    let clock = SlotClock::new(1_000, Duration::from_secs(12), 32);
    for (into_slot_ms, wait_ms) in [
        (0, 10_000),
        (8_000, 2_000),
        (9_999, 1),
        (10_000, 0),
        (10_999, 0),
        (11_000, 11_000), // into the next slot's
        (11_999, 10_001),
    ] {
        let now = at(1_000_000 + 7 * 12_000 + into_slot_ms);
        assert_eq!(clock.until_quiet(now), Duration::from_millis(wait_ms), "{into_slot_ms} ms");
    }
    assert_eq!(clock.until_quiet(at(5)), Duration::ZERO, "before genesis nothing is due");
}
