//! The gate beside plain reverse proxies, in one run: `make bench`.
//!
//! One process is the load and keeps the minutes, one is the signer behind every subject (`stub`),
//! and the subjects are processes of their own: nothing at all, nginx, haproxy, and the gate in its
//! several settings. The runs are interleaved, so that what drifts drifts for all. Processor time is
//! what the scheduler counted for all threads and processes of a subject.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

mod cpu;
mod generator;
mod http;
mod keys;
mod lighthouse;
mod measure;
#[allow(dead_code)] // the pieces use the rest
mod ours;
mod plan;
mod report;
mod requests;
mod stub;
mod subjects;

/// What is measured, and how long.
#[derive(Debug)]
pub(crate) struct Options {
    /// The release build.
    gate: PathBuf,
    /// The same with the feature `bench-unrecorded`.
    unrecorded: Option<PathBuf>,
    /// Where everything is written, on the disk that is measured too.
    folder: PathBuf,
    /// Runs of each figure.
    runs: u32,
    /// Keys in the large store.
    keys: usize,
    seconds: f64,
    /// Parts of the plan: `pinned`, `bursts`, `stores`.
    only: Option<String>,
    /// Fail where a bound does not hold.
    strict: bool,
}

fn options() -> anyhow::Result<Options> {
    let mut options = Options {
        gate: PathBuf::new(),
        unrecorded: None,
        folder: std::env::temp_dir(),
        runs: 5,
        keys: 500_000,
        seconds: 3.0,
        only: None,
        strict: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--bench" => {} // cargo says so to every bench
            "--gate" => options.gate = value()?.into(),
            "--unrecorded" => options.unrecorded = Some(value()?.into()),
            "--folder" => options.folder = value()?.into(),
            "--runs" => options.runs = value()?.parse()?,
            "--keys" => options.keys = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            "--only" => options.only = Some(value()?),
            "--strict" => options.strict = true,
            "--quick" => (options.runs, options.keys, options.seconds) = (1, 65_536, 1.0),
            other => bail!("{other} is not known"),
        }
    }
    if options.gate.as_os_str().is_empty() {
        bail!("--gate FILE: the release build of portcullis; `make bench` gives it");
    }
    Ok(options)
}

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("stub") {
        let keys = arguments.next().context("stub KEYS ROUNDS")?;
        let rounds = arguments.next().context("stub KEYS ROUNDS")?.parse()?;
        stub::run(keys.as_ref(), rounds)?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = options()?;
    let report = plan::run(&options)?;
    let text = report.markdown();
    println!("{text}");
    let path = options.folder.join("bench.md");
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    eprintln!("load: written to {}", path.display());
    let failed = !report.is_complete() || (options.strict && !report.holds());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
