//! What the parts of a request cost by themselves: `cargo bench --bench pieces`.
//!
//! | group | measures |
//! |---|---|
//! | `parse` | a body, for every type of duty |
//! | `root` | its signing root, domain included |
//! | `check` | a vote against the watermarks of its key |
//! | `audit/write` | what a request waits for: a place in the audit log, and its record written in |
//! | `audit/processor` | the processor time of that and of the thread that hashes, writes and syncs |
//! | `record` | so many votes at once, from their checks until all are durable on the real disk |

#![allow(clippy::disallowed_methods)] // it measures time
#![allow(clippy::unwrap_used, missing_docs)] // criterion's macro makes an undocumented function

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use portcullis::audit::{Audit, DecisionRecord, Settings};
use portcullis::eth::{DutyKind, Epoch, Network, signing_root};
use portcullis::events::Events;
use portcullis::metrics::AuditMetrics;
use portcullis::web3signer::request;
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::value::RawValue;

#[path = "load/ours.rs"]
#[allow(dead_code)] // the load uses the rest
mod ours;

use ours::Ours;

/// A line of the vectors of signing roots.
#[derive(Deserialize)]
struct Vector {
    #[serde(rename = "type")]
    kind: String,
    network_config: String,
    body: Box<RawValue>,
}

/// For each type of duty the last body that mainnet has seen of it.
fn bodies() -> Vec<(&'static str, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/signing-roots.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let vectors: Vec<Vector> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &DutyKind| {
        let of_kind = |vector: &&Vector| {
            vector.kind == kind.as_str()
                && ["mainnet", "any"].contains(&vector.network_config.as_str())
        };
        let vector = vectors.iter().rfind(of_kind)?;
        Some((kind.as_str(), vector.body.get().to_owned()))
    };
    DutyKind::ALL.iter().filter_map(of).collect()
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for (kind, body) in bodies() {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(kind),
            body.as_bytes(),
            |bench, body| {
                bench.iter(|| request::parse(black_box(body)).unwrap());
            },
        );
    }
    group.finish();
}

fn root(criterion: &mut Criterion) {
    let network = Network::builtin("mainnet").unwrap();
    let mut group = criterion.benchmark_group("root");
    for (kind, body) in bodies() {
        let request = request::parse(body.as_bytes()).unwrap();
        let (duty, fork_info) = (&request.duty, request.fork_info.as_ref());
        group.bench_function(BenchmarkId::from_parameter(kind), |bench| {
            let now = Epoch(1 << 30);
            bench.iter(|| signing_root(black_box(duty), fork_info, None, &network, now).unwrap());
        });
    }
    group.finish();
}

/// The disk that the build is on: what is kept in memory does not sync.
fn folder() -> tempfile::TempDir {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tempfile::Builder::new().prefix("pieces").tempdir_in(target).unwrap()
}

fn check(criterion: &mut Criterion) {
    let folder = folder();
    let mut store = Ours::new(folder.path(), 16_384).unwrap();
    criterion.bench_function("check/ATTESTATION", |bench| {
        store.renew().unwrap();
        bench.iter(|| assert!(store.check()));
    });
}

fn record(criterion: &mut Criterion) {
    let folder = folder();
    let mut store = Ours::new(folder.path(), 16_384).unwrap();
    let mut group = criterion.benchmark_group("record");
    for batch in [1, 16, 64, 256, 1_024] {
        group.throughput(Throughput::Elements(batch));
        group.bench_with_input(BenchmarkId::from_parameter(batch), &batch, |bench, &batch| {
            store.renew().unwrap();
            bench.iter(|| store.record(batch as usize));
        });
    }
    group.finish();
}

fn decision(sequence: u64) -> DecisionRecord {
    DecisionRecord {
        at_unix_ms: 1_784_000_000_000,
        request_id: "0f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned(),
        public_key: Some([0xa5; 48]),
        client: "lighthouse-1".to_owned(),
        peer: "10.0.1.7:51234".parse().unwrap(),
        verdict: "signed",
        code: "ok".into(),
        kind: Some("ATTESTATION"),
        signing_root: Some([7; 32]),
        times: [Some(12_000_000), None, Some(374_998), Some(374_999)],
        store_sequence: Some(sequence),
        explanation: None,
    }
}

/// The processor time of all threads of this process.
fn processor() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// Writes `count` decisions in rounds of what the queue takes; gives the time of writing them in,
/// and the processor time of all of it.
fn write(audit: &Audit, count: u64) -> (Duration, Duration) {
    const ROUND: u64 = 8_192;
    let (used, mut written) = (processor(), Duration::ZERO);
    for round in 0..count.div_ceil(ROUND) {
        let start = Instant::now();
        for sequence in round * ROUND..count.min((round + 1) * ROUND) {
            audit.reserve().unwrap().write(decision(sequence));
        }
        written += start.elapsed();
        assert!(audit.flush());
    }
    (written, processor() - used)
}

fn audit(criterion: &mut Criterion) {
    let folder = folder();
    let opened = Audit::open(Settings::of(folder.path().join("audit"))).unwrap();
    let metrics = AuditMetrics::unregistered();
    let audit = opened.start(std::iter::empty(), Events::off(), metrics).unwrap();
    criterion.bench_function("audit/write", |bench| {
        bench.iter_custom(|count| write(&audit, count).0);
    });
    criterion.bench_function("audit/processor", |bench| {
        bench.iter_custom(|count| write(&audit, count).1);
    });
    audit.close();
}

criterion_group! {
    name = pieces;
    config = Criterion::default()
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500))
        .sample_size(20);
    targets = parse, root, check, audit, record
}
criterion_main!(pieces);
