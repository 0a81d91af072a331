//! Seeded worlds: keys, three clients that share them, and a gate in process whose clocks, disk and
//! witness fail between any two steps. A naive signer that forgets nothing judges what leaves.
//!
//! | what | where |
//! |---|---|
//! | the worlds and their steps | `world` |
//! | the gate, its clocks, its disk and its witness | `machine` |
//! | what is asked | `clients` |
//! | what may never have left | `signer` |
//!
//! The code under test is the product's: the gate's decision, the store, the operator's commands.
//! `SIMULATION_SEED=n` plays one seed alone: what is asked and what befalls whom is the seed's, how
//! the recorder's thread cuts its batches is not, so a rare failure may take several runs.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use world::{Tally, Weather, World};

mod clients;
mod machine;
pub(crate) mod random;
mod signer;
mod world;

/// How many requests a world lives for: some fifteen epochs.
const DUTIES_PER_SEED: u64 = 2_500;

/// Every fourth seed is fair: there no honest duty may be refused.
fn play(seed: u64) -> Tally {
    let weather = if seed.is_multiple_of(4) { Weather::Fair } else { Weather::Foul };
    let mut world = World::new(seed, weather);
    let result = catch_unwind(AssertUnwindSafe(|| {
        for third in (0..3).cycle() {
            if world.tally.duties >= DUTIES_PER_SEED {
                break;
            }
            world.play(third);
        }
    }));
    if let Err(panic) = result {
        eprintln!("the world of SIMULATION_SEED={seed} ({weather:?}) is lost");
        resume_unwind(panic);
    }
    world.tally
}

fn play_until(duties: u64) -> Tally {
    if let Ok(seed) = std::env::var("SIMULATION_SEED") {
        return play(seed.parse().expect("SIMULATION_SEED is a number"));
    }
    let mut all = Tally::default();
    for seed in 0.. {
        if all.duties >= duties {
            eprintln!("{seed} seeds: {} duties, {} left", all.duties, all.left);
            eprintln!("events: {:?}\nrefused: {:?}", all.events, all.refused);
            break;
        }
        all.add(&play(seed));
    }
    for event in EVENTS {
        assert!(all.events.get(event).is_some_and(|count| *count >= 20), "too few: {event}");
    }
    for code in CODES {
        assert!(all.refused.get(code).is_some_and(|count| *count >= 20), "too few: {code}");
    }
    assert!(all.left > all.duties / 10, "a gate that signs nothing is safe and of no use");
    all
}

/// A simulation in which these do not happen has proved nothing about them.
const EVENTS: [&str; 15] = [
    "clean stop",
    "clock set",
    "crash",
    "disk fault",
    "disk held",
    "failover",
    "fault while opening",
    "killed",
    "killed before forwarding",
    "killed while committing",
    "killed with permits unused",
    "moved back by a floor",
    "moved back by its file",
    "renewal fault",
    "suspended",
];

const CODES: [&str; 11] = [
    "double_block_proposal",
    "double_vote",
    "group_exhausted",
    "key_disabled",
    "lease_lapsed",
    "overloaded",
    "stale_slot",
    "stale_target",
    "store_poisoned",
    "surround_or_stale_source",
    "target_too_far",
];

#[test]
fn a_hundred_thousand_duties_in_worlds_that_fail() {
    play_until(100_000);
}

#[test]
#[ignore = "minutes: run by the soak"]
fn soak_a_million_duties() {
    play_until(1_000_000);
}
