//! KeyBench: does the policy refuse what is harmful, and nothing that is honest?
//!
//! `make keybench PROFILE=ci|standard|long SALT=...`. Each world (keys, hosts, clusters, an
//! operator's policy, months of incidents compressed into days, attacks) is drawn from a hash of
//! salt and seed, within the ranges that `README.md` publishes. The engine sees a tape of requests
//! in virtual time; what each request is stands in labels beside it, final before anything is
//! scored.
//!
//! | file | what |
//! |---|---|
//! | `world.rs` | keys, hosts, cohorts, the policy |
//! | `benign.rs`, `attacks.rs` | what is planned: B1 to B18, A1 to A21; `calendar.rs` holds it |
//! | `life.rs`, `changes.rs`, `duties.rs`, `raid.rs` | what is asked for; `tape.rs` holds it |
//! | `driver.rs` | the gate's steps in virtual time; `content.rs` and `store.rs`: steps 3 and 5 |
//! | `score.rs`, `calibration.rs` | labels meet rulings; `tally.rs` holds the raw counts |
//! | `gates.rs`, `table.rs`, `statistics.rs` | what has to hold, and what is printed |

#![allow(clippy::disallowed_methods)] // it measures time

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use calendar::Calendar;
use draw::Draw;
use driver::Gate;
use life::Life;
use score::Score;
use tally::Tally;
use tape::Slot;
use world::{Size, World};

mod attacks;
mod benign;
mod calendar;
mod calibration;
mod changes;
mod content;
mod draw;
mod driver;
mod duties;
mod gates;
mod label;
mod life;
mod raid;
mod score;
#[allow(unreachable_pub)] // a test of the policy crate has it too
mod statistics;
mod store;
mod table;
#[allow(unreachable_pub)]
mod tally;
mod tape;
mod world;

/// How much is run.
struct Profile {
    name: &'static str,
    size: Size,
    seeds: std::ops::Range<u64>,
    /// Instances of each attack that has to be without a miss.
    at_least: u64,
}

const LARGE: Size = Size {
    keys: 20_000,
    days: 17,
    warm_up_days: 2,
    attacks: 42,
    source_attacks: 10,
    proofs_share: 0.25,
};

const PROFILES: [Profile; 3] = [
    Profile {
        name: "ci",
        size: Size {
            keys: 2_000,
            days: 10,
            warm_up_days: 1,
            attacks: 20,
            source_attacks: 6,
            proofs_share: 0.25,
        },
        seeds: 100..103,
        at_least: 0,
    },
    // 15 scored days of 20,000 keys: 300,000 validator-days a world.
    Profile { name: "standard", size: LARGE, seeds: 200..210, at_least: 400 },
    Profile { name: "long", size: LARGE, seeds: 300..334, at_least: 400 },
];

struct Arguments {
    profile: &'static Profile,
    salt: String,
    seeds: std::ops::Range<u64>,
    results: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("keybench: {wrong}");
            eprintln!(
                "usage: keybench [--profile ci|standard|long] [--salt TEXT] \
                 [--seeds FROM..UNTIL] [--results FOLDER]"
            );
            return ExitCode::from(2);
        }
    };
    let started = Instant::now();
    let profile = arguments.profile;
    println!("# KeyBench, profile {} (salt {:?})", profile.name, arguments.salt);
    println!("policy profile `enforce`: rules as installed, context and shares on enforce");
    let mut sum = Tally::default();
    for seed in arguments.seeds.clone() {
        sum.merge(world_of(&arguments, seed));
    }
    let is_deterministic = prove_determinism(&arguments);
    table::print(&sum);
    calibration::print(&sum);
    print_cost(&sum);
    let mut gates = gates::all(&sum, profile.at_least, profile.size.keys / 22);
    gates.push(gates::Gate {
        name: "replay",
        asked: "the same decisions, also after a restart",
        measured: (if is_deterministic { "identical" } else { "they differ" }).to_owned(),
        is_met: is_deterministic,
        is_only_shown: false,
    });
    let seconds = started.elapsed().as_secs_f64();
    if table::print_gates(&gates, profile.name, &arguments.salt, seconds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn arguments() -> Result<Arguments, String> {
    let mut profile = &PROFILES[0];
    let (mut salt, mut seeds, mut results) = (String::new(), None, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--bench" {
            continue; // cargo says so
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--profile" => {
                let found = PROFILES.iter().find(|profile| profile.name == value);
                profile = found.ok_or_else(|| format!("there is no profile {value}"))?;
            }
            "--salt" => salt = value,
            "--results" => results = Some(PathBuf::from(value)),
            "--seeds" => {
                let range = value.split_once("..").and_then(|(from, until)| {
                    Some(from.parse::<u64>().ok()?..until.parse::<u64>().ok()?)
                });
                seeds = Some(range.ok_or_else(|| format!("{value} is not FROM..UNTIL"))?);
            }
            _ => return Err(format!("{word} is not known")),
        }
    }
    Ok(Arguments { profile, salt, seeds: seeds.unwrap_or(profile.seeds.clone()), results })
}

/// The tally of one world: kept from an earlier run, or run now.
fn world_of(arguments: &Arguments, seed: u64) -> Tally {
    let kept = arguments.results.as_ref().map(|folder| {
        let salt = hash_of(arguments.salt.as_bytes());
        folder.join(format!("{}-{}-{salt:016x}-{seed}.txt", arguments.profile.name, version()))
    });
    let text = kept.as_ref().and_then(|kept| std::fs::read_to_string(kept).ok());
    if let Some(tally) = text.as_deref().and_then(Tally::from_text) {
        println!("seed {seed}: kept from an earlier run");
        return tally;
    }
    let started = Instant::now();
    let (tally, _) = run(arguments.profile.size, &arguments.salt, seed, None);
    println!(
        "seed {seed}: {} requests, {} false refusals, {:.1} s",
        tally.count("events"),
        gates::false_refusals(&tally),
        started.elapsed().as_secs_f64()
    );
    if let Some(kept) = kept {
        let written = std::fs::create_dir_all(kept.parent().unwrap_or(&kept))
            .and_then(|()| std::fs::write(&kept, tally.to_text()));
        if let Err(error) = written {
            eprintln!("keybench: {} is not kept: {error}", kept.display());
        }
    }
    tally
}

fn hash_of(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    draw::mix(&words.chain([bytes.len() as u64]).collect::<Vec<_>>())
}

/// This very program: another engine's results are not its own.
fn version() -> String {
    let bytes = std::env::current_exe().and_then(std::fs::read);
    bytes.map_or_else(|_| "unknown".to_owned(), |bytes| format!("{:016x}", hash_of(&bytes)))
}

/// Plays one world; with `restart_at`, everything goes to disk and back in the middle of that slot.
fn run(size: Size, salt: &str, seed: u64, restart_at: Option<u64>) -> (Tally, u64) {
    let mut draw = Draw::of_world(salt, seed);
    let mut world = World::draw(size, &mut draw.fork());
    let mut plans = Calendar::new(&world);
    benign::plan(&world, &mut plans, &mut draw.fork());
    attacks::plan(&mut world, &mut plans, &mut draw.fork());
    plans.finish();
    let mut life = Life::new(&world, &plans, draw.fork());
    let mut gate = Gate::new(&world, &plans.windows);
    let mut score = Score::new(&world, &plans, seed);
    let (mut tape, mut labels) = (Slot::default(), Vec::new());
    let mut engine_time = Duration::ZERO;
    while life.write(&mut tape, &mut labels) {
        score.expect(&labels);
        if restart_at.is_some_and(|slot| world::FIRST_SLOT + slot == tape.slot) {
            gate.play_with_restart(&tape, &mut score);
            continue;
        }
        let started = Instant::now();
        gate.play(&tape, &mut score);
        engine_time += started.elapsed();
    }
    score.finish(&life.occurred, life.scored_epochs);
    score.tally.add("engine_ns", engine_time.as_nanos() as u64);
    (std::mem::take(&mut score.tally), score.fingerprint)
}

/// The same tape gives the same decisions, and so it does when all state was on disk in between.
fn prove_determinism(arguments: &Arguments) -> bool {
    let size =
        Size { keys: 1_400, days: 5, warm_up_days: 1, attacks: 2, source_attacks: 2, ..LARGE };
    let seed = arguments.seeds.start;
    let slot = Draw::of_world(&arguments.salt, seed).whole(9_000, 30_000);
    let fingerprint = |restart_at| run(size, &arguments.salt, seed, restart_at).1;
    let first = fingerprint(None);
    first == fingerprint(None) && first == fingerprint(Some(slot))
}

fn print_cost(tally: &Tally) {
    let events = tally.count("events").max(1);
    println!(
        "\n{events} requests, {:.3} us each in the driver (engine, steps 3 and 5, scoring)",
        tally.count("engine_ns") as f64 / 1e3 / events as f64
    );
}
