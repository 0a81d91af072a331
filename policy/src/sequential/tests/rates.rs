use super::Random;
use crate::sequential::rates::Counted;
use crate::sequential::{Excess, Rates, Scope};

/// A group of so many keys among a million.
struct Group {
    random: Random,
    rates: Rates,
    keys: f64,
    slot: u64,
}

impl Group {
    fn new(seed: u64, keys: f64) -> Self {
        Self { random: Random(seed), rates: Rates::default(), keys, slot: 0 }
    }

    fn poisson(&mut self, mean: f64) -> u32 {
        let (mut n, mut product) = (0, self.random.unit());
        while product > (-mean).exp() {
            n += 1;
            product *= self.random.unit();
        }
        n
    }

    fn slot(&mut self, extra: f64) -> Option<Excess> {
        self.rates.attested();
        self.rates.attestations = (self.keys / 32.0) as u32; // as if each was said
        let reveals = self.poisson(self.keys / 1e6 + extra);
        (0..reveals).for_each(|_| self.rates.signed(Counted::RandaoReveal));
        self.slot += 1;
        self.rates.tick(self.slot, Scope::default())
    }
}

const DAY: u64 = 7_200;

#[test]
fn what_is_usual_alarms_nobody() {
    for (seed, keys) in [(1, 2_000.0), (2, 20_000.0), (3, 100_000.0)] {
        let mut group = Group::new(seed, keys);
        for _ in 0..30 * DAY {
            assert_eq!(group.slot(0.0), None, "{keys} keys, slot {}", group.slot);
        }
    }
}

#[test]
fn three_hundred_reveals_more_are_found() {
    // In an hour, and in six hours.
    for (slots, at_most) in [(300, 30), (1_800, 300)] {
        let mut group = Group::new(4, 20_000.0);
        for _ in 0..30 * DAY {
            group.slot(0.0);
        }
        let extra = 300.0 / f64::from(slots);
        let found = (1..=slots).find_map(|after| group.slot(extra).map(|excess| (after, excess)));
        let (after, excess) = found.expect("an excess");
        assert!(after <= at_most, "after {after} slots");
        assert_eq!(excess.of, Counted::RandaoReveal);
        assert!(excess.seen > excess.expected + 10.0, "{excess:?}");
        assert!(group.slot(extra).is_none(), "once, while it lasts");
    }
}

#[test]
fn a_group_that_was_down_and_comes_back_is_not_in_excess() {
    let mut group = Group::new(5, 20_000.0);
    for day in 0..40 {
        group.keys = if day % 2 == 0 { 20_000.0 } else { 2_000.0 };
        for _ in 0..DAY {
            assert_eq!(group.slot(0.0), None, "day {day}");
        }
    }
}

#[test]
fn registrations_again_and_again_are_found() {
    let mut group = Group::new(6, 2_000.0);
    for _ in 0..DAY {
        group.slot(0.0);
    }
    let found = (0..50).find_map(|_| {
        (0..3).for_each(|_| group.rates.signed(Counted::Registration));
        group.slot(0.0)
    });
    assert_eq!(found.expect("an excess").of, Counted::Registration);
}

#[test]
fn the_state_survives_the_disk() {
    let mut group = Group::new(7, 20_000.0);
    for _ in 0..DAY {
        group.slot(0.1);
    }
    let mut bytes = Vec::new();
    group.rates.put(&mut bytes);
    bytes.push(0xaa);
    let mut rest = &bytes[..];
    assert_eq!(Rates::take(&mut rest), Some(group.rates));
    assert_eq!(rest, [0xaa]);
    for end in 0..bytes.len() - 1 {
        assert_eq!(Rates::take(&mut &bytes[..end]), None, "cut after {end}");
    }
}
