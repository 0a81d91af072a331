//! What failed on the way (behaviour page, 6.4). Each test shows the failure first, with the part
//! taken out that mends it, and then that the whole does not fail.

use super::{Client, Random};
use crate::sequential::{KeyTiming, Scope, SourceTiming};

const LIMIT: f32 = 18.0;
const EPOCHS: u64 = 1_000;

/// Runs a client through so many epochs, with `between` after each learned vote; gives the number
/// of keys that ever had enough evidence against them.
fn alarms(
    client: &mut Client,
    random: &mut Random,
    epochs: u64,
    late_ms: &mut dyn FnMut(&mut Random, usize) -> f64,
    between: &mut dyn FnMut(&mut SourceTiming, &SourceTiming, &mut KeyTiming),
) -> usize {
    let mut alarmed = vec![false; client.keys.len()];
    for slot in 0..epochs * 32 {
        for (key, seen) in client.votes(random, slot, late_ms) {
            let before = client.timing.clone();
            client.timing.learn(&mut client.keys[key], client.token, &seen, Scope::default());
            alarmed[key] |= client.keys[key].ln_s(Scope::default()) >= LIMIT;
            between(&mut client.timing, &before, &mut client.keys[key]);
        }
    }
    alarmed.into_iter().filter(|alarmed| *alarmed).count()
}

/// 6.4, no. 1. A client that signs for its keys in a fixed order makes some of them late in every
/// slot. Compared with all keys of the source, without a place of their own, they looked wrong for
/// ever: 299,936 signatures were withheld in 448,000 validator-days.
#[test]
fn a_key_that_is_always_last_is_not_late() {
    let client = || Client { is_fixed: true, queue_ms: 6.0, ..Client::new(7, 1_280) };
    let mut punctual = |_: &mut Random, _: usize| 0.0;
    let mut without_place = |_: &mut SourceTiming, _: &SourceTiming, key: &mut KeyTiming| {
        (key.location_ms, key.scale_ms) = (0.0, 30.0);
    };
    let failed = alarms(&mut client(), &mut Random(1), 150, &mut punctual, &mut without_place);
    assert!(failed >= 10, "the world does not show the failure: {failed} keys");
    let held = alarms(&mut client(), &mut Random(1), 150, &mut punctual, &mut |_, _, _| {});
    assert_eq!(held, 0);
}

/// 6.4, no. 2. Nulls that learned only from keys that nothing was held against lost their tails:
/// p-values became too small, so more was held against keys, so more was left out. 186,770
/// signatures were withheld in 448,000 validator-days.
#[test]
fn the_null_learns_from_the_suspicious_too() {
    let client = || Client::new(7, 320);
    let mut punctual = |_: &mut Random, _: usize| 0.0;
    let mut unsuspicious_only =
        |source: &mut SourceTiming, before: &SourceTiming, key: &mut KeyTiming| {
            if key.ln_s > 0.0 {
                source.nulls = before.nulls.clone();
            }
        };
    let failed =
        alarms(&mut client(), &mut Random(2), EPOCHS, &mut punctual, &mut unsuspicious_only);
    assert!(failed >= 10, "the world does not show the failure: {failed} keys");
    let held = alarms(&mut client(), &mut Random(2), EPOCHS, &mut punctual, &mut |_, _, _| {});
    assert_eq!(held, 0);
}
