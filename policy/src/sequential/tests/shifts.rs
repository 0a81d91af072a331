use super::Random;
use crate::sequential::Bytes;
use crate::sequential::shifts::{BETS, Shifts, together};

/// Places that sources have: steady, spread, late in one slot of twenty, and with two habits.
const NULLS: [fn(&mut Random) -> f64; 4] = [
    |random| 3.0 * random.normal(),
    |random| 190.0 * (random.unit() - 0.5),
    |random| 5.0 * random.normal() + if random.below(20) == 0 { 100.0 } else { 0.0 },
    |random| 20.0 * random.normal() + if random.below(2) == 0 { 150.0 } else { -150.0 },
];

fn learned(random: &mut Random, null: fn(&mut Random) -> f64, slots: usize) -> Shifts {
    let mut shifts = Shifts::new();
    for _ in 0..slots {
        shifts.add(null(random) as f32);
    }
    shifts
}

/// The promise of every bet: where slots come as the null says, it pays at most 1 on average.
/// Exactly so over the null's own counts, not over draws.
#[test]
fn a_bet_pays_at_most_one_under_its_null() {
    let mut random = Random(1);
    for (nth, null) in NULLS.into_iter().enumerate() {
        for slots in [300, 2_000, 60_000] {
            let shifts = learned(&mut random, null, slots);
            let mut mean = [0.0; BETS];
            let mut mass = 0.0;
            for bin in -128..128 {
                let off_ms = bin as f32 * 8.0 + 4.0;
                let share = f64::from(shifts.share(off_ms));
                mass += share;
                for (mean, bet) in mean.iter_mut().zip(shifts.bets(off_ms)) {
                    *mean += share * f64::from(bet);
                }
            }
            assert!((mass - 1.0).abs() < 1e-4, "all of the null is looked at: {mass}");
            for mean in mean {
                assert!(mean <= 1.0 + 1e-4, "null {nth} of {slots} slots: {mean}");
            }
        }
    }
}

/// And over slots that the null has not seen: how often evidence comes up, each time from nothing,
/// is within its bound.
#[test]
fn evidence_of_nothing_is_as_rare_as_its_bound() {
    const SLOTS: u32 = 200_000;
    const LIMIT: f32 = 6.0;
    for (nth, null) in NULLS.into_iter().enumerate() {
        let mut random = Random(2 + nth as u64);
        let mut shifts = learned(&mut random, null, 300);
        let (mut ln_s, mut found) = ([0.0; BETS], 0);
        for _ in 0..SLOTS {
            let off_ms = null(&mut random) as f32;
            shifts.step(&mut ln_s, off_ms);
            shifts.add(off_ms);
            if together(&ln_s) >= LIMIT {
                (ln_s, found) = ([0.0; BETS], found + 1);
            }
        }
        let most = (SLOTS as f32 / LIMIT.exp()) as u32;
        assert!(found <= most, "null {nth}: {found} times, at most {most} expected");
    }
}

#[test]
fn a_shift_is_evidence_within_so_many_slots() {
    for (nth, null) in NULLS.into_iter().enumerate() {
        for (shift_ms, at_most) in [(100.0, 30), (-100.0, 30), (300.0, 30), (900.0, 20)] {
            let mut random = Random(9);
            let shifts = learned(&mut random, null, 6_000);
            let mut ln_s = [0.0; BETS];
            let slots = (1..200).find(|_| {
                shifts.step(&mut ln_s, (null(&mut random) + shift_ms) as f32);
                together(&ln_s) >= 16.1
            });
            let slots = slots.expect("evidence");
            assert!((6..=at_most).contains(&slots), "null {nth}, {shift_ms} ms: {slots} slots");
        }
    }
}

#[test]
fn what_is_kept_comes_back() {
    let shifts = learned(&mut Random(3), NULLS[3], 20_000);
    let mut out = Vec::new();
    shifts.put(&mut out);
    let mut bytes = Bytes(&out);
    assert_eq!(Shifts::take(&mut bytes), Some(shifts));
    assert!(bytes.0.is_empty());
    assert_eq!(Shifts::take(&mut Bytes(&out[..out.len() - 1])), None, "cut off");
    assert_eq!(Shifts::take(&mut Bytes(&[9, 0, 1, 2])), None, "more bins than there are");
}
