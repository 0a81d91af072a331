//! What the parts of a request cost by themselves: `cargo bench --bench pieces`.
//!
//! | group | measures |
//! |---|---|
//! | `parse` | a body, for every type of duty |
//! | `root` | its signing root, domain included |
//! | `check` | a vote against the watermarks of its key |
//! | `record` | so many votes at once, from their checks until all are durable on the real disk |

#![allow(clippy::unwrap_used, missing_docs)] // criterion's macro makes an undocumented function

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use portcullis::eth::{DutyKind, Epoch, Network, signing_root};
use portcullis::web3signer::request;
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

criterion_group! {
    name = pieces;
    config = Criterion::default()
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500))
        .sample_size(20);
    targets = parse, root, check, record
}
criterion_main!(pieces);
