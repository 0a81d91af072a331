//! What is measured in which order, and the bounds that it is held against.

#![allow(clippy::disallowed_methods)] // it waits between bursts

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::Options;
use super::cpu::pin_self;
use super::generator::Shape;
use super::keys::{self, KeyHex};
use super::lighthouse::Lighthouse;
use super::measure::{ROUNDS_PER_BURST_MAX, Run, Subject, measure};
use super::ours::{Ours, fdatasync};
use super::report::{Report, median};
use super::requests::Votes;
use super::subjects::{self, Cores, GateOptions, Process};

/// Keys behind the subjects whose cost is compared.
const KEYS: usize = 16_384;
const FEW_KEYS: usize = 1_024;
/// A slot's burst of half a million keys.
const BURST: u32 = 16_000;
const BURST_WITHIN: Duration = Duration::from_millis(500);
const BURSTS: [u32; 4] = [1_000, 4_000, BURST, 64_000];
const CONNECTIONS: usize = 64;
const BURST_CONNECTIONS: usize = 256;
const RATE: u32 = 5_000;

const SATURATION: &str = "saturation, 64 connections";
const AT_RATE: &str = "5,000/s, 64 connections";
const DURABLE: &str = "gate, durable";
const CHECKS: &str = "gate, checks only";
const DURABLE_FEW: &str = "gate, durable, 1,024 keys";
const VERIFIED: &str = "gate, durable, verified";
const DURABLE_MANY: &str = "gate, durable, all keys";

struct Bench<'a> {
    options: &'a Options,
    folder: PathBuf,
    report: Report,
    fdatasync_us: Vec<f64>,
}

/// Measures all of it.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("load").tempdir_in(&options.folder)?;
    // Best effort: without the privilege the load runs at normal priority.
    let _ = rustix::process::setpriority_process(None, subjects::NICE);
    let mut bench = Bench {
        options,
        folder: folder.path().to_owned(),
        report: Report::new(),
        fdatasync_us: Vec::new(),
    };
    type Part<'a> = fn(&mut Bench<'a>) -> anyhow::Result<()>;
    let parts: [(&str, Part<'_>); 3] =
        [("stores", Bench::stores), ("pinned", Bench::pinned), ("bursts", Bench::bursts)];
    for (name, part) in parts {
        if options.only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        if let Err(error) = part(&mut bench) {
            bench.report.failed(name, &error); // what was measured is still worth its table
        }
    }
    Ok(bench.report)
}

/// The keys of a store, and the file that names them.
struct KeySet {
    keys: Rc<Vec<KeyHex>>,
    file: PathBuf,
}

impl KeySet {
    fn new(folder: &Path, count: usize) -> io::Result<Self> {
        let file = folder.join(format!("keys-{count}"));
        let keys = keys::public_keys(count);
        keys::write(&file, &keys)?;
        Ok(Self { keys: Rc::new(keys), file })
    }

    fn subject(&self, name: &'static str, process: &Process) -> io::Result<Subject> {
        let (address, tree) = (process.address, Some(process.tree()));
        Ok(Subject { name, address, tree, votes: Votes::new(Rc::clone(&self.keys))? })
    }
}

impl Bench<'_> {
    fn lasting(&self) -> Duration {
        Duration::from_secs_f64(self.options.seconds)
    }

    fn gate<'a>(
        &self,
        name: &str,
        keys: &'a KeySet,
        stub: SocketAddr,
        binary: &'a Path,
        workers: usize,
    ) -> GateOptions<'a> {
        let folder = self.folder.join(name);
        GateOptions { binary, folder, keys_file: &keys.file, stub, workers, verify: "off" }
    }

    fn fdatasync(&mut self) -> io::Result<()> {
        let took = fdatasync(&self.folder, 500)?;
        self.fdatasync_us.push(took.as_secs_f64() * 1e6);
        Ok(())
    }

    /// The subject alone on one core, the load and the signer on the other.
    fn pinned(&mut self) -> anyhow::Result<()> {
        let cores = Cores { subject: vec![1], load: vec![0] };
        pin_self(&cores.load)?;
        let keys = KeySet::new(&self.folder, KEYS)?;
        let few = KeySet::new(&self.folder, FEW_KEYS)?;
        let many = KeySet::new(&self.folder, self.options.keys)?;
        let stub = subjects::stub(&keys.file, 0, &cores.load)?;
        let nginx = subjects::nginx(&self.folder.join("nginx"), stub.address, &cores)?;
        let haproxy = subjects::haproxy(&self.folder.join("haproxy"), stub.address, &cores)?;
        let binary = &self.options.gate;
        let gate = |name, keys, binary| {
            subjects::gate(&self.gate(name, keys, stub.address, binary, 1), &cores)
        };
        let durable = gate("durable", &keys, binary)?;
        let unrecorded = self.options.unrecorded.as_ref();
        let checks = unrecorded.map(|binary| gate("checks", &keys, binary)).transpose()?;
        let with_few = gate("few", &few, binary)?;
        let with_many = gate("many", &many, binary)?;
        let direct = Votes::new(Rc::clone(&keys.keys))?;
        let mut at_rate = vec![
            Subject { name: "direct", address: stub.address, tree: None, votes: direct },
            keys.subject("nginx", &nginx)?,
            keys.subject("haproxy", &haproxy)?,
            keys.subject(DURABLE, &durable)?,
        ];
        if let Some(checks) = &checks {
            at_rate.push(keys.subject(CHECKS, checks)?);
        }
        let mut at_saturation =
            vec![few.subject(DURABLE_FEW, &with_few)?, many.subject(DURABLE_MANY, &with_many)?];
        let saturation =
            Run { shape: Shape::Closed { lasting: self.lasting() }, connections: CONNECTIONS };
        let rate = Shape::Rate { per_second: RATE, lasting: self.lasting() };
        let rate = Run { shape: rate, connections: CONNECTIONS };
        for _ in 0..self.options.runs {
            self.fdatasync()?;
            for subject in at_rate.iter_mut().chain(&mut at_saturation) {
                let sample = measure(subject, stub.tree(), saturation)?;
                self.report.add(SATURATION, subject.name, sample);
            }
            for subject in &mut at_rate {
                let sample = measure(subject, stub.tree(), rate)?;
                self.report.add(AT_RATE, subject.name, sample);
            }
        }
        let per_key = with_many.tree().resident_bytes() as f64 / self.options.keys as f64;
        let keys = self.options.keys;
        self.report.note(format!("resident memory with {keys} keys: {per_key:.0} B a key in all"));
        self.pinned_verdicts();
        Ok(())
    }

    fn pinned_verdicts(&mut self) {
        let cpu = |report: &Report, load, subject| {
            let median = |name| report.median(load, name, |sample| sample.cpu_us);
            median(subject).zip(median("nginx")).map(|(subject, nginx)| subject / nginx)
        };
        let bounds = [
            (SATURATION, DURABLE, 3.0, Some(2.5)),
            (AT_RATE, DURABLE, 2.0, Some(1.6)),
            (SATURATION, CHECKS, 1.75, None),
            (AT_RATE, CHECKS, 1.3, None),
        ];
        for (load, subject, bound, aim) in bounds {
            if let Some(ratio) = cpu(&self.report, load, subject) {
                let what = format!("{subject}: CPU a request to nginx's, {load}");
                self.report.at_most(&what, ratio, bound, aim, "");
            }
        }
        let p50 = |report: &Report, name| report.median(AT_RATE, name, |sample| sample.p50_us);
        let fdatasync = median(self.fdatasync_us.iter().copied());
        self.report.note(format!("fdatasync of an append of 128 bytes: median {fdatasync:.0} us"));
        if let Some((gate, nginx)) = p50(&self.report, DURABLE).zip(p50(&self.report, "nginx")) {
            let what = "gate, durable: p50 above nginx's at 5,000/s, in fdatasyncs";
            self.report.at_most(what, (gate - nginx) / fdatasync, 5.0, None, "");
        }
        let saturated =
            |report: &Report, name| report.median(SATURATION, name, |sample| sample.cpu_us);
        let (few, many) =
            (saturated(&self.report, DURABLE_FEW), saturated(&self.report, DURABLE_MANY));
        if let Some((few, many)) = few.zip(many) {
            let what = format!("CPU a request with {} keys to that with 1,024", self.options.keys);
            self.report.at_most(&what, many / few, 1.1, None, "");
        }
    }

    /// Both cores for all: a slot's burst, and a client with few connections.
    fn bursts(&mut self) -> anyhow::Result<()> {
        let cores = Cores { subject: vec![0, 1], load: vec![0, 1] };
        pin_self(&cores.load)?;
        let keys = KeySet::new(&self.folder, self.options.keys)?;
        let stub = subjects::stub(&keys.file, 0, &cores.load)?;
        let nginx = subjects::nginx(&self.folder.join("nginx-2"), stub.address, &cores)?;
        let gate = self.gate("bursts", &keys, stub.address, &self.options.gate, 2);
        let gate = subjects::gate(&gate, &cores)?;
        let mut nginx = keys.subject("nginx", &nginx)?;
        let mut gate = keys.subject(DURABLE, &gate)?;
        for _ in 0..self.options.runs {
            self.fdatasync()?;
            for requests in BURSTS.into_iter().filter(|burst| *burst as usize <= keys.keys.len()) {
                let shape = Shape::Burst { requests, within: BURST_WITHIN };
                let run = Run { shape, connections: BURST_CONNECTIONS };
                for subject in [&mut nginx, &mut gate] {
                    let sample = measure(subject, stub.tree(), run)?;
                    self.report.add(&burst_name(requests), subject.name, sample);
                }
            }
            for connections in [4, CONNECTIONS] {
                let run = Run { shape: Shape::Closed { lasting: self.lasting() }, connections };
                for subject in [&mut nginx, &mut gate] {
                    let sample = measure(subject, stub.tree(), run)?;
                    self.report.add(&two_cores(connections), subject.name, sample);
                }
            }
        }
        drop(gate);
        self.verified(&cores)?;
        self.burst_verdicts();
        Ok(())
    }

    /// A slot's burst of which every signature is verified before it is released.
    fn verified(&mut self, cores: &Cores) -> anyhow::Result<()> {
        let keys = KeySet::new(&self.folder, KEYS)?;
        let rounds = u64::from(self.options.runs * ROUNDS_PER_BURST_MAX) + 2;
        let stub = subjects::stub(&keys.file, rounds, &cores.load)?;
        let options = self.gate("verified", &keys, stub.address, &self.options.gate, 2);
        let gate = subjects::gate(&GateOptions { verify: "always", ..options }, cores)?;
        let mut gate = keys.subject(VERIFIED, &gate)?;
        let shape = Shape::Burst { requests: BURST, within: BURST_WITHIN };
        for _ in 0..self.options.runs {
            let run = Run { shape, connections: BURST_CONNECTIONS };
            let sample = measure(&mut gate, stub.tree(), run)?;
            self.report.add(&burst_name(BURST), gate.name, sample);
        }
        Ok(())
    }

    fn burst_verdicts(&mut self) {
        let (load, subject) = (burst_name(BURST), DURABLE);
        let done_after =
            |report: &Report, name| report.median(&load, name, |sample| sample.elapsed_ms);
        if let Some(done) = done_after(&self.report, subject) {
            let window = BURST_WITHIN.as_secs_f64() * 1e3;
            self.report.at_most(
                "gate, durable: 16,000 due within 500 ms answered after, in windows",
                done / window,
                1.1,
                None,
                "",
            );
        }
        if let Some(done) = done_after(&self.report, VERIFIED) {
            let what = "gate, durable and verified: the same burst answered after";
            self.report.at_most(what, done / 1e3, 4.0, None, " s");
        }
        let errors = self.report.errors();
        self.report.at_most("answers other than a signature, in all", errors as f64, 0.0, None, "");
        let throughput = |report: &Report, connections| {
            report.median(&two_cores(connections), DURABLE, |sample| sample.per_second)
        };
        let (four, all) = (throughput(&self.report, 4), throughput(&self.report, CONNECTIONS));
        if let Some((four, all)) = four.zip(all) {
            let what = "gate, durable: throughput over 4 connections to that over 64, two cores";
            self.report.at_least(what, four / all, 0.8, "");
        }
    }

    /// Durable checks per second, beside a transaction of SQLite for each.
    fn stores(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.join("stores");
        std::fs::create_dir_all(&folder)?;
        let mut ours = Ours::new(&folder, 16_384)?;
        let mut lighthouse = Lighthouse::new(&folder, 16_384)?;
        let (mut checks, mut transactions) = (Vec::new(), Vec::new());
        for _ in 0..self.options.runs {
            self.fdatasync()?;
            transactions.push(lighthouse.per_second(self.lasting())?);
            checks.push(ours.per_second(slashing_db::BATCH_MAX, self.lasting())?);
        }
        let (checks, transactions) = (median(checks), median(transactions));
        self.report.note(format!(
            "durable checks per second: {checks:.0}; a Lighthouse-like SQLite transaction for each: \
             {transactions:.0}"
        ));
        let what = "durable checks per second to SQLite transactions per second";
        self.report.at_least(what, checks / transactions, 100.0, "");
        Ok(())
    }
}

fn burst_name(requests: u32) -> String {
    format!("{requests} within 500 ms, 256 connections, two cores")
}

fn two_cores(connections: usize) -> String {
    format!("saturation, {connections} connections, two cores")
}
