//! Every kind of damage, at every record: found, and where.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::chain::{Hash, TAG_BYTES};
use super::super::checkpoint::Anchor;
use super::super::segment::{self, HEADER_BYTES, LENGTH_BYTES, Segment, Step};
use super::super::verify::{Damage, VerifyError, What, verify};
use super::*;

const RECORDS: u64 = 240;

/// A log of some hundreds of records in several segments, and its anchors.
struct Log {
    _folder: tempfile::TempDir,
    settings: Settings,
    /// The bytes of each segment.
    files: Vec<(PathBuf, Vec<u8>)>,
    /// Each record: the segment, the first byte and the byte after the last.
    records: Vec<(usize, usize, usize)>,
    anchors: Vec<Anchor>,
}

impl Log {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let anchor_file = folder.path().join("anchors.jsonl");
        let settings = Settings {
            segment_bytes: 8_192,
            checkpoint_records: 16,
            anchor_file: Some(anchor_file.clone()),
            ..settings(folder.path())
        };
        let audit = start(&settings);
        for sequence in 1..=RECORDS {
            write(&audit, sequence);
            if sequence % 8 == 0 {
                audit.act(action("0xab"));
                assert!(audit.flush());
            }
        }
        audit.close();
        let text = fs::read_to_string(anchor_file).expect("anchors");
        let anchors = text.lines().map(|line| Anchor::parse(line).expect("an anchor")).collect();
        let mut files = Vec::new();
        let mut records = Vec::new();
        for (_, path) in segment::list(&settings.directory).expect("segments") {
            let mut segment = Segment::open(&path).expect("readable").expect("a segment");
            while let Step::Record { from, to } = segment.step().expect("readable") {
                records.push((files.len(), from as usize, to as usize));
            }
            let bytes = fs::read(&path).expect("read");
            files.push((path, bytes));
        }
        let log = Self { _folder: folder, settings, files, records, anchors };
        log.verify(&Against::default()).unwrap_or_else(|error| panic!("{error}"));
        log.verify(&log.anchored()).unwrap_or_else(|error| panic!("{error}"));
        log
    }

    fn anchored(&self) -> Against {
        Against { anchors: self.anchors.clone(), public_key: None }
    }

    fn verify(&self, against: &Against) -> Result<Verified, VerifyError> {
        verify(&self.settings.directory, against)
    }

    /// Writes a segment anew, verifies, and puts it back.
    fn with(&self, file: usize, bytes: &[u8], against: &Against) -> Result<Verified, VerifyError> {
        let (path, original) = &self.files[file];
        fs::write(path, bytes).expect("written");
        let verified = self.verify(against);
        fs::write(path, original).expect("written");
        verified
    }

    fn bytes(&self, file: usize) -> Vec<u8> {
        self.files[file].1.clone()
    }

    /// The record at `index` (from 0), with its frame.
    fn record(&self, index: usize) -> &[u8] {
        let (file, from, to) = self.records[index];
        &self.files[file].1[from..to]
    }

    /// What has to be found where the record at `index` was changed.
    #[track_caller]
    fn assert_found(&self, result: Result<Verified, VerifyError>, index: usize) -> Damage {
        let damage = damage_of(result, index);
        let (file, from, _) = self.records[index];
        assert_eq!((&damage.path, damage.from), (&self.files[file].0, from as u64), "{damage}");
        assert!(damage.to > damage.from, "{damage}");
        damage
    }
}

#[track_caller]
fn damage_of(result: Result<Verified, VerifyError>, index: usize) -> Damage {
    match result {
        Err(VerifyError::Damaged(damage)) => damage,
        other => panic!("record {index}: {other:?}"),
    }
}

#[test]
fn a_flipped_bit_is_found_in_every_byte_of_some_records_and_in_some_of_each() {
    let log = Log::new();
    assert!(log.files.len() > 3 && log.records.len() > 280, "{}", log.records.len());
    for index in 0..log.records.len() {
        let (file, from, to) = log.records[index];
        let step = if index % 60 == 3 { 1 } else { 61 };
        for at in (from..to).step_by(step) {
            let mut bytes = log.bytes(file);
            bytes[at] ^= 1 << (at % 8);
            log.assert_found(log.with(file, &bytes, &Against::default()), index);
        }
    }
}

#[test]
fn a_flipped_bit_in_a_header_is_found() {
    let log = Log::new();
    for file in 0..log.files.len() {
        for at in 0..HEADER_BYTES {
            let mut bytes = log.bytes(file);
            bytes[at] ^= 0x10;
            let damage = damage_of(log.with(file, &bytes, &Against::default()), at);
            assert_eq!((damage.path.as_path(), damage.from), (log.files[file].0.as_path(), 0));
            assert_eq!(damage.to, HEADER_BYTES as u64);
        }
    }
}

#[test]
fn swapped_records_are_found() {
    let log = Log::new();
    for index in 0..log.records.len() - 1 {
        let ((file, from, middle), (next, _, to)) = (log.records[index], log.records[index + 1]);
        if file != next {
            continue;
        }
        let mut bytes = log.bytes(file);
        let swapped = [log.record(index + 1), log.record(index)].concat();
        bytes[from..to].copy_from_slice(&swapped);
        assert!(middle > from);
        log.assert_found(log.with(file, &bytes, &Against::default()), index);
    }
}

#[test]
fn a_record_of_another_log_is_found() {
    let (log, other) = (Log::new(), Log::new());
    for index in 0..log.records.len() {
        let (file, from, to) = log.records[index];
        let mut bytes = log.bytes(file);
        bytes.splice(from..to, other.record(index).iter().copied());
        log.assert_found(log.with(file, &bytes, &Against::default()), index);
    }
    // And a whole segment.
    for file in 0..log.files.len() {
        let damage = damage_of(log.with(file, &other.files[file].1, &Against::default()), file);
        assert!(matches!(damage.what, What::Unlinked | What::Signature(_)), "{damage}");
    }
}

#[test]
fn a_record_that_is_replayed_or_taken_out_is_found() {
    let log = Log::new();
    for index in 1..log.records.len() {
        let (file, from, to) = log.records[index];
        let mut bytes = log.bytes(file);
        bytes.splice(from..from, log.record(index - 1).iter().copied());
        log.assert_found(log.with(file, &bytes, &Against::default()), index);

        let mut bytes = log.bytes(file);
        bytes.drain(from..to);
        let is_last_of_file = log.records.get(index + 1).is_none_or(|(next, ..)| *next != file);
        if !is_last_of_file {
            log.assert_found(log.with(file, &bytes, &Against::default()), index);
        } else if index + 1 < log.records.len() {
            let damage = damage_of(log.with(file, &bytes, &Against::default()), index);
            assert_eq!(damage.path, log.files[file + 1].0, "{damage}");
        }
    }
}

#[test]
fn segments_that_are_missing_doubled_or_swapped_are_found() {
    let log = Log::new();
    for file in 1..log.files.len() - 1 {
        let (path, bytes) = &log.files[file];
        fs::remove_file(path).expect("removed");
        let damage = damage_of(log.verify(&Against::default()), file);
        assert_eq!(damage.path, log.files[file + 1].0);
        fs::write(path, bytes).expect("written");

        let next = &log.files[file + 1];
        fs::write(path, &next.1).expect("written");
        fs::write(&next.0, bytes).expect("written");
        assert_eq!(damage_of(log.verify(&Against::default()), file).path, *path);
        fs::write(path, &log.files[file].1).expect("written");
        assert!(damage_of(log.verify(&Against::default()), file).path == next.0);
        fs::write(&next.0, &next.1).expect("written");
    }
    log.verify(&log.anchored()).expect("all is back");
}

#[test]
fn a_cut_at_every_boundary_is_found_with_an_anchor() {
    let log = Log::new();
    let last = log.files.len() - 1;
    for (index, (file, from, _)) in log.records.iter().copied().enumerate() {
        // Everything from this record on is gone.
        for (path, _) in &log.files[file + 1..] {
            fs::remove_file(path).expect("removed");
        }
        let cut = &log.files[file].1[..from];
        let damage = damage_of(log.with(file, cut, &log.anchored()), index);
        let (end, anchored) = (Position(index as u64), log.anchors.last().expect("one").position);
        assert_eq!(damage.what, What::CutOff { end, anchored }, "{damage}");
        assert_eq!(
            (damage.path.as_path(), damage.from),
            (log.files[file].0.as_path(), from as u64)
        );
        // Without an anchor nobody can tell.
        log.with(file, cut, &Against::default()).expect("a log that ends earlier");
        for (path, bytes) in &log.files[file + 1..] {
            fs::write(path, bytes).expect("written");
        }
    }
    // A cut within a record needs no anchor.
    for (index, (file, from, to)) in log.records.iter().copied().enumerate() {
        for at in [from + 1, from + LENGTH_BYTES, to - 1] {
            let result = log.with(file, &log.files[file].1[..at], &Against::default());
            let damage = log.assert_found(result, index);
            let torn = matches!(damage.what, What::Torn(_));
            assert!(torn, "{damage}; segment {file} of {last}");
        }
    }
}

/// Somebody changes a record and computes every hash behind it anew, but has not the key.
#[test]
fn a_log_that_was_written_anew_is_found_at_the_next_checkpoint() {
    let log = Log::new();
    let mut found = 0;
    for index in (0..log.records.len()).step_by(7) {
        let (file, from, to) = log.records[index];
        let mut bytes = log.bytes(file);
        if bytes[from + LENGTH_BYTES] != 1 {
            continue; // a checkpoint or an action
        }
        bytes[to - TAG_BYTES - 1] ^= 1; // the lowest byte of the store's number
        rehash(&mut bytes, &log.files[file].0);
        let damage = damage_of(log.with(file, &bytes, &Against::default()), index);
        assert!(matches!(damage.what, What::Signature(_)), "{damage}");
        assert_eq!(damage.path, log.files[file].0);
        assert!(damage.from <= from as u64 && damage.to >= to as u64, "{damage}: {from} to {to}");
        assert!(damage.to - damage.from < 8_192, "{damage}");
        found += 1;
    }
    assert!(found > 20, "{found}");
}

/// Somebody writes a whole log anew, with a key of their own: an anchor or the key tells.
#[test]
fn another_log_in_its_place_is_found_with_an_anchor_or_the_key() {
    let (log, other) = (Log::new(), Log::new());
    let result = verify(&other.settings.directory, &log.anchored());
    assert!(matches!(result, Err(VerifyError::ForeignAnchors { .. })), "{result:?}");
    let public_key = Some(log.anchors[0].checkpoint.public_key);
    let against = Against { anchors: Vec::new(), public_key };
    let damage = damage_of(verify(&other.settings.directory, &against), 0);
    assert!(matches!(damage.what, What::ForeignKey(_)), "{damage}");
    log.verify(&against).expect("its own key");

    let mut changed = log.anchored();
    changed.anchors[0].checkpoint.store_sequence += 1;
    let result = log.verify(&changed);
    assert!(matches!(result, Err(VerifyError::BadAnchor(_))), "{result:?}");
}

fn rehash(bytes: &mut [u8], path: &Path) {
    let segment = Segment::open(path).expect("readable").expect("a segment");
    let start: Hash = segment.start;
    segment::seal(&mut bytes[HEADER_BYTES..], start);
}
