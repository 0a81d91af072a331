//! A seeded simulation of the gate, from the request to the permit, with a crash between any two
//! steps.
//!
//! What runs is the product's own code: `sign::Gate`, the table of keys, the operator's commands,
//! and a store that is opened in its two phases. Only time, disk, witness and signer are the
//! simulation's. Many validator clients ask, honest ones and second ones with the same keys; the
//! process crashes with records queued, records durable and permits in hand, while it renews and
//! while it opens; disk and witness fail before and after they wrote; clocks jump; the process
//! sleeps past its lease, alone or while another machine takes over; keys are enrolled, disabled,
//! enabled and imported in between.
//!
//! The oracle: no two conflicting signatures ever leave; every one that leaves is durable on the
//! disk at that moment, and under a lease; no honest store is ever refused, no stale copy ever
//! opened; every refusal gives a reason that a naive model finds true, and no honest duty is lost
//! without one. `SIMULATION_SEED` repeats a run.

mod chain;
mod mishap;
mod oracle;
mod process;
mod world;

use world::{Figures, Weather, World};

/// Runs worlds of `duties` each, on as many threads as there are seeds; prints their figures.
fn simulate(seeds: &[u64], duties: u64) {
    std::thread::scope(|scope| {
        for seed in seeds {
            let run = move || {
                println!("SIMULATION_SEED={seed}, {duties} duties");
                let mut world = World::new(*seed, Weather::Wild);
                world.run(duties);
                report(*seed, &world);
                assert_eventful(&world.figures);
            };
            std::thread::Builder::new()
                .name(format!("simulation-{seed}"))
                .spawn_scoped(scope, run)
                .unwrap();
        }
    });
}

fn report(seed: u64, world: &World) {
    let Figures { duties, requests, honest, honest_signed, .. } = world.figures;
    let signed = world.signer.signed;
    println!(
        "seed {seed}: {duties} duties in {requests} requests, {signed} signatures left; of \
         {honest} honest duties {honest_signed} were signed\n  lost: {:?}\n  refused: {:?}\n  \
         happened: {:?}",
        world.figures.lost, world.figures.refused, world.figures.mishaps
    );
}

/// A simulation in which nothing happens proves nothing.
fn assert_eventful(figures: &Figures) {
    assert_eq!(figures.mishaps.len(), 17, "{:?}", figures.mishaps);
    for code in [
        "double_vote",
        "surround_or_stale_source",
        "double_block_proposal",
        "stale_slot",
        "overloaded",
        "store_poisoned",
        "lease_lapsed",
        "key_disabled",
        "future_duty",
        "past_duty",
        "not_reserved",
        "crashed",
    ] {
        assert!(figures.refused.contains_key(code), "{code} never came: {:?}", figures.refused);
    }
    assert!(figures.honest_signed * 2 > figures.honest, "most honest duties are signed");
}

fn seeds(default: &[u64]) -> Vec<u64> {
    match std::env::var("SIMULATION_SEED") {
        Ok(seed) => vec![seed.parse().expect("SIMULATION_SEED is a number")],
        Err(_) => default.to_vec(),
    }
}

#[test]
fn simulation_nothing_conflicting_leaves_and_everything_that_leaves_is_recorded() {
    simulate(&seeds(&[1, 2]), 100_000);
}

#[test]
fn simulation_in_calm_weather_no_duty_is_lost() {
    let mut world = World::new(7, Weather::Calm);
    world.run(5_000);
    let unenrolled = ["unknown_key"]; // clients may ask for keys that nobody enrolled
    let lost: Vec<_> =
        world.figures.lost.keys().filter(|code| !unenrolled.contains(code)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(world.figures.honest_signed > 4_000);
}

#[test]
fn simulation_repeats_itself_by_its_seed() {
    let digest = |seed| {
        let mut world = World::new(seed, Weather::Wild);
        world.run(3_000);
        world.figures.digest
    };
    assert_eq!(digest(3), digest(3));
    assert_ne!(digest(3), digest(4));
}

/// `make soak`: seeds that nobody has tried before.
#[test]
#[ignore = "takes minutes; `make soak` runs it"]
fn soak_simulation() {
    let first = portcullis::clock::unix_ms();
    let fresh: Vec<u64> = (first..first + 10).collect();
    for pair in seeds(&fresh).chunks(2) {
        simulate(pair, 100_000);
    }
}
