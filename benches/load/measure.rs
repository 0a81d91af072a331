//! One measurement: load on a subject, and what it cost whom.

#![allow(clippy::disallowed_methods)] // it measures time

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::cpu::{Tree, machine_busy};
use super::generator::{Client, Shape};
use super::requests::Votes;

/// A subject that runs, and the votes that it has not seen yet.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// Nothing where the stub itself is asked.
    pub(crate) tree: Option<Tree>,
    pub(crate) votes: Votes,
}

/// What one run gave.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Processor time of all threads and processes of the subject, for each answer.
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// From the first request until the last answer.
    pub(crate) elapsed_ms: f64,
    pub(crate) errors: u64,
    /// Cores that somebody else used meanwhile.
    pub(crate) foreign_cores: f64,
}

/// More than this from anybody else, and the run is done again.
pub(crate) const FOREIGN_CORES_MAX: f64 = 0.3;
const ATTEMPTS: u32 = 4;
/// As many rounds of votes as measuring a burst may use up.
pub(crate) const ROUNDS_PER_BURST_MAX: u32 = 2 * ATTEMPTS;
const WARM_UP: Duration = Duration::from_millis(300);

/// How a run is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) shape: Shape,
    pub(crate) connections: usize,
}

/// Measures, again while others disturb it; the least disturbed run counts then.
pub(crate) fn measure(subject: &mut Subject, stub: Tree, run: Run) -> io::Result<Sample> {
    let mut best: Option<Sample> = None;
    for _ in 0..ATTEMPTS {
        let sample = once(subject, stub, run)?;
        let foreign = sample.foreign_cores;
        if best.as_ref().is_none_or(|best| foreign < best.foreign_cores) {
            best = Some(sample);
        }
        if foreign <= FOREIGN_CORES_MAX {
            break;
        }
    }
    Ok(best.expect("at least one attempt"))
}

fn once(subject: &mut Subject, stub: Tree, run: Run) -> io::Result<Sample> {
    let mut client = Client::connect(subject.address, run.connections)?;
    match run.shape {
        Shape::Closed { .. } | Shape::Rate { .. } => {
            client.run(Shape::Closed { lasting: WARM_UP }, &mut subject.votes)?;
        }
        Shape::Burst { requests, .. } => {
            // One round over every connection, then the burst meets a gate that is at rest.
            let few = Shape::Burst { requests: run.connections as u32, within: WARM_UP };
            subject.votes.begin_burst(run.connections);
            client.run(few, &mut subject.votes)?;
            std::thread::sleep(WARM_UP);
            subject.votes.begin_burst(requests as usize);
        }
    }
    let used = |of: Option<Tree>| of.map(Tree::cpu).unwrap_or_default();
    let before = (used(subject.tree), Tree::own_cpu() + stub.cpu(), machine_busy(), Instant::now());
    let outcome = client.run(run.shape, &mut subject.votes)?;
    let subject_cpu = used(subject.tree) - before.0;
    let own_cpu = Tree::own_cpu() + stub.cpu() - before.1;
    let busy = machine_busy().saturating_sub(before.2);
    let elapsed = before.3.elapsed();
    if let Some(error) = &outcome.first_error {
        eprintln!("load: {} answered: {error}", subject.name);
    }
    let foreign = busy.as_secs_f64() - subject_cpu.as_secs_f64() - own_cpu.as_secs_f64();
    Ok(Sample {
        cpu_us: subject_cpu.as_secs_f64() * 1e6 / outcome.answered.max(1) as f64,
        per_second: outcome.per_second(),
        p50_us: outcome.quantile(0.5).as_secs_f64() * 1e6,
        p99_us: outcome.quantile(0.99).as_secs_f64() * 1e6,
        elapsed_ms: outcome.elapsed.as_secs_f64() * 1e3,
        errors: outcome.errors,
        foreign_cores: (foreign / elapsed.as_secs_f64()).max(0.0),
    })
}
