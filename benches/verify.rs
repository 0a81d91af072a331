//! `cargo bench --bench verify`: what it costs to hold signatures over one root against their keys,
//! beside `blst`'s own way of doing it. All of it in processor time of one thread, which other
//! work on the machine disturbs little.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use blst::BLST_ERROR;
use blst::min_pk::{AggregatePublicKey, AggregateSignature, PublicKey, Signature};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput};
use portcullis::bls::SecretKey;
use portcullis::bls::batch::{Claim, Verifier};
use portcullis::clock::thread_cpu;
use slashing_db::SideTable;

const ROOT: [u8; 32] = [7; 32];
const DOMAIN_SEPARATION_TAG: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
const SIZES: [usize; 8] = [1, 2, 4, 8, 16, 64, 256, 512];
const COEFFICIENT_BITS: usize = 64;

/// The same signatures, for either.
struct Batch {
    claims: Vec<Claim>,
    keys: Vec<PublicKey>,
}

impl Batch {
    fn new(size: usize) -> Self {
        let claims: Vec<Claim> = (0..size as u64)
            .map(|index| {
                let secret = SecretKey::interop(index);
                Claim { public_key: secret.public_key(), signature: secret.sign(&ROOT) }
            })
            .collect();
        let key = |claim: &Claim| PublicKey::key_validate(&claim.public_key.to_bytes()).unwrap();
        Self { keys: claims.iter().map(key).collect(), claims }
    }

    fn first(&self, size: usize) -> Self {
        Self { claims: self.claims[..size].to_vec(), keys: self.keys[..size].to_vec() }
    }

    /// As the gate does it: from the bytes of the answers to a verdict for each.
    fn by_the_gate(&self, verifier: &mut Verifier) {
        let verdicts = verifier.verify(&ROOT, black_box(&self.claims)).unwrap();
        assert!(verdicts.iter().all(Result::is_ok));
    }

    /// By `blst`'s safe interface, with the same checks: every point decoded and in its group, and
    /// coefficients from the operating system.
    fn by_blst(&self) {
        let signatures: Vec<Signature> = black_box(&self.claims)
            .iter()
            .map(|claim| Signature::uncompress(&claim.signature).unwrap())
            .collect();
        let mut coefficients = vec![0; signatures.len() * COEFFICIENT_BITS / 8];
        let flags = rustix::rand::GetRandomFlags::empty();
        rustix::rand::getrandom(&mut coefficients, flags).unwrap();
        let key = AggregatePublicKey::aggregate_with_randomness(
            &self.keys,
            &coefficients,
            COEFFICIENT_BITS,
            false,
        );
        let signature = AggregateSignature::aggregate_with_randomness(
            &signatures,
            &coefficients,
            COEFFICIENT_BITS,
            true,
        );
        let key = key.unwrap().to_public_key();
        let signature = signature.unwrap().to_signature();
        let outcome = signature.verify(false, &ROOT, DOMAIN_SEPARATION_TAG, &[], &key, false);
        assert_eq!(outcome, BLST_ERROR::BLST_SUCCESS);
    }
}

/// The processor time of the thread, in the place of the time on the wall.
struct ThreadCpu;

impl Measurement for ThreadCpu {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        thread_cpu()
    }

    fn end(&self, start: Duration) -> Duration {
        thread_cpu() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn curve(criterion: &mut Criterion<ThreadCpu>, batch: &Batch) {
    let mut group = criterion.benchmark_group("one root");
    for size in SIZES {
        let batch = batch.first(size);
        group.throughput(Throughput::Elements(size as u64));
        let mut verifier = Verifier::default();
        group.bench_function(BenchmarkId::new("gate", size), |bencher| {
            bencher.iter(|| batch.by_the_gate(&mut verifier));
        });
        group.bench_function(BenchmarkId::new("blst", size), |bencher| {
            bencher.iter(|| batch.by_blst());
        });
    }
    group.finish();
}

/// What a key costs at the first use, and at each start after it.
fn keys(criterion: &mut Criterion<ThreadCpu>, batch: &Batch) {
    let key = batch.claims[0].public_key;
    let (bytes, y) = (key.to_bytes(), key.y());
    let mut group = criterion.benchmark_group("public key");
    group.bench_function("validate", |bencher| {
        bencher.iter(|| portcullis::bls::PublicKey::from_bytes(black_box(&bytes)));
    });
    group.bench_function("validated before", |bencher| {
        bencher.iter(|| portcullis::bls::PublicKey::validated_before(black_box(&bytes), &y));
    });
    group.finish();
}

/// Medians of interleaved rounds, so that both see the same machine.
fn print_ratios(batch: &Batch) {
    println!("\n| batch | gate, us a signature | blst, us a signature | gate / blst |");
    println!("|---|---|---|---|");
    for size in SIZES {
        let batch = batch.first(size);
        let mut verifier = Verifier::default();
        let repeats = (256 / size).max(2);
        let mut measure = |by_the_gate: bool| {
            let start = thread_cpu();
            for _ in 0..repeats {
                if by_the_gate {
                    batch.by_the_gate(&mut verifier);
                } else {
                    batch.by_blst();
                }
            }
            (thread_cpu() - start).as_secs_f64() * 1e6 / (repeats * size) as f64
        };
        let (mut gate, mut blst) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            gate.push(measure(true));
            blst.push(measure(false));
        }
        let (gate, blst) = (median(gate), median(blst));
        println!("| {size} | {gate:.1} | {blst:.1} | {:.3} |", gate / blst);
    }
}

/// What a start pays for the keys that were validated before: the work of
/// `ValidatedKeys::load`, on rows such as it keeps.
fn print_loading(batch: &Batch) {
    let directory = tempfile::tempdir().unwrap();
    let claim = |row: u32| &batch.claims[row as usize % batch.claims.len()];
    let table = SideTable::open(directory.path()).unwrap();
    let rows: Vec<u32> = (0..LOADED_KEYS).collect();
    for chunk in rows.chunks(1_024) {
        let row = |row: &u32| (row.to_be_bytes(), claim(*row).public_key.y());
        table.put_batch(chunk.iter().map(row)).unwrap();
    }
    drop(table);
    let keys: Vec<[u8; 48]> =
        (0..LOADED_KEYS).map(|row| claim(row).public_key.to_bytes()).collect();
    let start = thread_cpu();
    let table = SideTable::open(directory.path()).unwrap();
    let loaded = table.iter().map(Result::unwrap).filter(|(row, y)| {
        let row = u32::from_be_bytes(row.as_ref().try_into().unwrap());
        let y = y.as_ref().try_into().unwrap();
        let key = portcullis::bls::PublicKey::validated_before(&keys[row as usize], y);
        black_box(key).is_ok()
    });
    let loaded = loaded.count();
    let took = thread_cpu() - start;
    assert_eq!(loaded, keys.len());
    println!("\n{loaded} keys that were validated before: {took:.2?} of CPU");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

const ROUNDS: usize = 11;
const LOADED_KEYS: u32 = 500_000;

fn main() {
    let batch = Batch::new(*SIZES.last().unwrap());
    let mut criterion = Criterion::default()
        .with_measurement(ThreadCpu)
        .sample_size(20)
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    curve(&mut criterion, &batch);
    keys(&mut criterion, &batch);
    criterion.final_summary();
    // `cargo test` runs every benchmark once, and measures nothing.
    if std::env::args().any(|argument| argument == "--bench") {
        print_ratios(&batch);
        print_loading(&batch);
    }
}
