#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::rules::{AttestationRecord, BlockRecord, CountedRecord};
use crate::signed::SigningRoot;

const BATCHES: u64 = 100;

fn key(number: u8) -> KeyRecord {
    KeyRecord { is_enabled: true, ..KeyRecord::new(KeyId(number.into()), PublicKey([number; 48])) }
}

fn advance(sequence: u64) -> Entry {
    let signing_root = SigningRoot([7; 32]);
    let (source_epoch, target_epoch) = (sequence, sequence + 1);
    let record = AttestationRecord { source_epoch, target_epoch, signing_root, sequence };
    Entry::Advance(KeyId(1), Record::Attestation(record))
}

/// A store of 100 acknowledged batches, closed without a flush, and its log.
fn written() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = RocksEngine::create(directory.path()).unwrap();
    engine.commit(&[Entry::key(key(1))]).unwrap();
    for sequence in 1..=BATCHES {
        assert_eq!(engine.commit(&[advance(sequence)]).unwrap(), [Outcome::Recorded]);
    }
    drop(engine);
    let logs = fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().path());
    let mut logs: Vec<_> =
        logs.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    logs.sort_by_key(|path| fs::metadata(path).unwrap().len());
    let log = logs.pop().unwrap();
    (directory, log)
}

/// The highest sequence after reopening.
fn reopen(directory: &TempDir) -> Result<u64, Fatal> {
    let loaded = RocksEngine::open(directory.path())?.load()?;
    Ok(loaded.keys[0].attestation.unwrap().sequence)
}

#[test]
fn everything_comes_back_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = RocksEngine::create(directory.path()).unwrap();
    let signing_root = SigningRoot([9; 32]);
    let mut full = key(1);
    full.attestation = Some(AttestationRecord {
        source_epoch: 1,
        target_epoch: u64::MAX,
        signing_root,
        sequence: 3,
    });
    full.block = Some(BlockRecord { slot: 1 << 60, signing_root, sequence: 4 });
    full.counted[1] = Some(CountedRecord { count: 2, signing_root, sequence: 5 });
    let mut empty = key(2);
    empty.is_enabled = false;
    let exit = CountedRecord { count: 1, signing_root, sequence: 6 };
    engine
        .commit(&[
            Entry::key(full),
            Entry::key(empty),
            Entry::Meta("name", b"value".to_vec()),
            Entry::Advance(KeyId(2), Record::Counted(CountedKind::VoluntaryExit, exit)),
        ])
        .unwrap();
    drop(engine);
    empty.counted[0] = Some(exit);
    for mut engine in [
        RocksEngine::open_read_only(directory.path()).unwrap(),
        RocksEngine::open(directory.path()).unwrap(),
    ] {
        let loaded = engine.load().unwrap();
        assert_eq!(loaded.keys, [full, empty]);
        assert_eq!(loaded.meta, [("name".to_owned(), b"value".to_vec())]);
    }
}

#[test]
fn a_store_is_never_made_by_opening_it() {
    let directory = tempfile::tempdir().unwrap();
    assert!(RocksEngine::open(directory.path()).is_err());
    assert!(RocksEngine::open(&directory.path().join("absent")).is_err());
    assert!(!is_database(directory.path()));
}

#[test]
fn a_second_engine_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _engine = RocksEngine::create(directory.path()).unwrap();
    assert!(RocksEngine::open(directory.path()).is_err());
    assert!(RocksEngine::open_read_only(directory.path()).is_ok());
}

// The table of damages. With RocksDB's default recovery mode the first test opens the store and
// finds half of the acknowledged records gone.

#[test]
fn a_byte_flipped_in_the_middle_of_the_log_refuses_to_open() {
    let (directory, log) = written();
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&log, bytes).unwrap();
    let refusal = reopen(&directory).unwrap_err();
    assert!(refusal.source.to_string().contains("orrupt"), "{}", refusal.source);
}

#[test]
fn a_tail_that_was_cut_off_loses_the_last_batch_alone() {
    let (directory, log) = written();
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 30]).unwrap();
    assert_eq!(reopen(&directory).unwrap(), BATCHES - 1);
}

#[test]
fn garbage_after_the_log_loses_nothing() {
    let (directory, log) = written();
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend((0..64u8).map(|it| it.wrapping_mul(151).wrapping_add(77)));
    fs::write(&log, bytes).unwrap();
    assert_eq!(reopen(&directory).unwrap(), BATCHES);
}

#[test]
fn zeros_after_the_log_lose_nothing() {
    let (directory, log) = written();
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend([0; 4096]);
    fs::write(&log, bytes).unwrap();
    assert_eq!(reopen(&directory).unwrap(), BATCHES);
}

#[test]
fn a_record_that_does_not_decode_refuses_to_load() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = RocksEngine::create(directory.path()).unwrap();
    engine.commit(&[Entry::key(key(1)), advance(1)]).unwrap();
    let id = KeyId(1).get().to_be_bytes();
    let good = engine.db.get_cf(engine.family(ATTESTATIONS), id).unwrap().unwrap();
    let mut unknown_version = good.clone();
    unknown_version[0] = 2;
    let mut flipped = good.clone();
    flipped[9] ^= 1;
    for bad in [unknown_version, flipped, good[..good.len() - 1].to_vec(), vec![]] {
        engine.db.put_cf(engine.family(ATTESTATIONS), id, bad).unwrap();
        assert_eq!(engine.load().unwrap_err().action, "decode a record");
    }
    engine.db.put_cf(engine.family(ATTESTATIONS), id, good).unwrap();
    assert!(engine.load().is_ok());
    engine.db.put_cf(engine.family(BLOCKS), 99u32.to_be_bytes(), b"x").unwrap();
    assert!(engine.load().is_err(), "a record of no key");
}

#[test]
fn a_store_that_was_settled_has_nothing_to_replay() {
    let (directory, log) = written();
    assert!(fs::metadata(&log).unwrap().len() > BATCHES * 64);
    let mut engine = RocksEngine::open(directory.path()).unwrap();
    engine.commit(&[advance(BATCHES + 1)]).unwrap();
    engine.settle();
    drop(engine);
    let files = fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|it| it == "log"));
    let in_logs: u64 = logs.map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(in_logs < 64, "{in_logs} bytes are left to replay");
    assert_eq!(reopen(&directory).unwrap(), BATCHES + 1);
}
