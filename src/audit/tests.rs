//! The log as a whole: written, read again, opened after a kill, with a full disk.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::codec::tests::signed;
use super::read::Reader;
use super::record::{GapKind, GapRecord};
use super::verify::{Against, Verified, verify};
use super::*;
use crate::events::Events;
use crate::metrics::AuditMetrics;

mod damage;

/// Syncs at once when asked, and by itself almost never: tests ask.
pub(super) fn settings(directory: &Path) -> Settings {
    Settings {
        sync_interval: Duration::from_secs(3_600),
        checkpoint_interval: Duration::from_secs(3_600),
        reserve_bytes: 4096,
        ..Settings::of(directory.join("audit"))
    }
}

pub(super) fn start(settings: &Settings) -> Audit {
    start_over(settings, &[])
}

fn start_over(settings: &Settings, records: &[GapRecord]) -> Audit {
    let opened = Audit::open(settings.clone()).expect("the log opens");
    let metrics = AuditMetrics::unregistered();
    opened.start(records.iter().copied(), Events::off(), metrics).expect("a thread")
}

pub(super) fn write(audit: &Audit, sequence: u64) -> Position {
    audit.reserve().expect("a place").write(signed(sequence))
}

pub(super) fn action(subject: &str) -> ActionRecord {
    ActionRecord {
        at_unix_ms: 7,
        actor: Actor::Person("ada".to_owned()),
        action: "keys.disabled".to_owned(),
        subject: subject.to_owned(),
        reason: "they move".to_owned(),
        details: "{}".to_owned(),
    }
}

pub(super) fn verified(settings: &Settings) -> Verified {
    verify(&settings.directory, &Against::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn records(settings: &Settings, from: u64) -> Vec<(Position, Record)> {
    let read = Reader::open(&settings.directory, Position(from));
    read.map(|entry| entry.map(|it| (it.mark.position, it.record)).expect("readable")).collect()
}

fn sorts(settings: &Settings) -> Vec<&'static str> {
    records(settings, 0).iter().map(|(_, record)| record.sort()).collect()
}

/// A copy of the log as a kill at this moment would leave it.
fn copy(settings: &Settings, to: &Path) -> Settings {
    let there = Settings {
        directory: to.join("copy"),
        key_file: settings.key_file.clone(),
        ..settings.clone()
    };
    fs::create_dir(&there.directory).expect("a folder");
    for (_, path) in segment::list(&settings.directory).expect("segments") {
        let name = path.file_name().expect("a name");
        fs::copy(&path, there.directory.join(name)).expect("copied");
    }
    there
}

fn last_segment(settings: &Settings) -> PathBuf {
    segment::list(&settings.directory).expect("segments").pop().expect("one").1
}

#[test]
fn what_is_written_is_read_in_its_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path());
    let audit = start(&settings);
    assert_eq!(write(&audit, 1), Position(2));
    assert_eq!(audit.act(action("0xab")), Position(3));
    assert_eq!(write(&audit, 2), Position(4));
    assert!(audit.flush());
    assert!(audit.is_synced(Position(4)));
    let read = records(&settings, 2);
    assert_eq!(read[0], (Position(2), Record::Decision(signed(1))));
    assert_eq!(read[1], (Position(3), Record::Action(action("0xab"))));
    assert_eq!(read[2], (Position(4), Record::Decision(signed(2))));
    audit.close();
    assert_eq!(
        sorts(&settings),
        ["action", "decision", "action", "decision", "checkpoint", "checkpoint"]
    );
    let verified = verified(&settings);
    assert_eq!((verified.last, verified.signed_through), (Position(6), Position(6)));
    assert!(verified.repairs.is_empty());
    assert_eq!(audit.reserve().err(), Some(AuditFull));
}

#[test]
fn a_reader_goes_on_with_what_is_written_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path());
    let audit = start(&settings);
    let mut reader = Reader::open(&settings.directory, Position(2));
    write(&audit, 1);
    assert!(audit.flush());
    let entry = reader.next().expect("an entry").expect("readable");
    assert_eq!(entry.record, Record::Decision(signed(1)));
    let checkpoint = reader.next().expect("an entry").expect("readable");
    assert_eq!(checkpoint.record.sort(), "checkpoint");
    assert!(reader.next().is_none());
    write(&audit, 2);
    assert!(audit.flush());
    let next = reader.next().expect("an entry").expect("readable");
    assert_eq!(next.record, Record::Decision(signed(2)));
    let mut resumed = Reader::resume(&settings.directory, next.mark).expect("there");
    assert_eq!(resumed.next().expect("an entry").expect("readable"), next);
    assert!(resumed.next().is_none());
    audit.close();
}

#[test]
fn segments_follow_one_another_and_old_ones_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings =
        Settings { segment_bytes: 4_096, kept_bytes_max: 40_000, ..settings(folder.path()) };
    let audit = start(&settings);
    for sequence in 1..=1_000 {
        write(&audit, sequence);
        if sequence % 10 == 0 {
            assert!(audit.flush());
        }
    }
    audit.close();
    let verified = verified(&settings);
    assert!(verified.segments > 3, "{verified:?}");
    assert!(verified.first > Position(1), "{verified:?}");
    let bytes = |(_, path): &(Position, PathBuf)| fs::metadata(path).expect("a file").len();
    let kept: u64 = segment::list(&settings.directory).expect("segments").iter().map(bytes).sum();
    assert!(kept < 50_000, "{kept}");
    let read = records(&settings, 900);
    assert_eq!(read[0].0, Position(900));
    assert!(read.windows(2).all(|pair| pair[1].0.0 == pair[0].0.0 + 1));
    assert_eq!(records(&settings, 0)[0].0, verified.first);

    // What is gone without a word is missed.
    let segments = segment::list(&settings.directory).expect("segments");
    fs::remove_file(&segments[0].1).expect("removed");
    let error = verify(&settings.directory, &Against::default()).expect_err("beheaded");
    assert!(error.to_string().contains("no record says that they were deleted"), "{error}");

    let audit = start(&settings);
    write(&audit, 1_001);
    audit.close();
}

/// The index of what was deleted says who signed what and when: it goes with it.
#[test]
fn with_an_old_segment_goes_its_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings =
        Settings { segment_bytes: 4_096, kept_bytes_max: 40_000, ..settings(folder.path()) };
    let timeline = timeline::Timeline::of(settings.directory.clone());
    let stems = |extension: &str| {
        let files = fs::read_dir(&settings.directory).expect("readable");
        let paths = files.map(|entry| entry.expect("an entry").path());
        let of = paths.filter(|path| path.extension().is_some_and(|it| it == extension));
        of.filter_map(|path| path.file_stem().map(OsString::from)).collect::<BTreeSet<_>>()
    };
    let audit = start(&settings);
    let mut all = BTreeSet::new();
    for sequence in 1..=1_000 {
        write(&audit, sequence);
        if sequence % 10 == 0 {
            assert!(audit.flush());
            timeline.catch_up().expect("readable");
            all.extend(stems("index"));
        }
    }
    audit.close();
    timeline.catch_up().expect("readable");
    let mut segments = stems("audit");
    segments.pop_last(); // it is still written, and its index is in memory
    assert_eq!(stems("index"), segments);
    assert!(all.difference(&segments).count() > 3, "{all:?}");
}

#[test]
fn a_log_that_was_closed_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path());
    for run in 0..3 {
        let audit = start(&settings);
        write(&audit, run + 1);
        assert!(matches!(Audit::open(settings.clone()), Err(OpenError::Locked(_))));
        audit.close();
    }
    let verified = verified(&settings);
    assert_eq!((verified.last, verified.checkpoints), (Position(9), 3));
    assert!(!verified.is_open);
}

#[test]
fn a_torn_end_is_cut_off_and_says_so_wherever_it_is_torn() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path());
    let audit = start(&settings);
    assert!(audit.flush());
    let whole = fs::metadata(last_segment(&settings)).expect("a file").len();
    write(&audit, 1);
    assert!(audit.flush());
    let longer = fs::metadata(last_segment(&settings)).expect("a file").len();
    for length in whole + 1..longer {
        let place = tempfile::tempdir().expect("a folder");
        let torn = copy(&settings, place.path());
        let path = last_segment(&torn);
        OpenOptions::new().write(true).open(&path).expect("opens").set_len(length).expect("cut");
        let error = verify(&torn.directory, &Against::default()).expect_err("torn");
        assert!(error.to_string().contains("cut off in its middle"), "{error}");
        start(&torn).close();
        let verified = verified(&torn);
        let [(_, Record::Cut(cut))] = &verified.repairs[..] else { panic!("{verified:?}") };
        assert_eq!((cut.from, cut.to), (whole, length));
    }
    audit.close();
}

#[test]
fn a_log_that_was_changed_is_not_written_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path());
    let audit = start(&settings);
    write(&audit, 1);
    write(&audit, 2);
    audit.close();
    let path = last_segment(&settings);
    let mut bytes = fs::read(&path).expect("read");
    bytes[segment::HEADER_BYTES + 10] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let error = Audit::open(settings.clone()).expect_err("changed");
    assert!(matches!(error, OpenError::Damaged { from, .. } if from == 96), "{error}");
    assert_eq!(fs::read(&path).expect("read"), bytes, "nothing is added to evidence");
}

const KEY: [u8; 48] = [9; 48];

fn gap_record(sequence: u64) -> GapRecord {
    GapRecord { public_key: KEY, kind: GapKind::Attestation, sequence }
}

#[test]
fn what_the_store_has_and_the_log_has_not_is_written_down_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path());
    // What was before the log is none of its business.
    let audit = start_over(&settings, &[gap_record(5)]);
    write(&audit, 6);
    write(&audit, 8);
    assert!(audit.flush());
    let place = tempfile::tempdir().expect("a folder");
    let killed = copy(&settings, place.path());
    audit.close();

    let all = [5, 6, 7, 8, 9].map(gap_record);
    for run in 0..2 {
        start_over(&killed, &all).close();
        let verified = verified(&killed);
        let [(_, Record::Gap(gap))] = &verified.repairs[..] else {
            panic!("run {run}: {verified:?}")
        };
        let missing: Vec<u64> = gap.records.iter().map(|it| it.sequence).collect();
        assert_eq!((missing, gap.more, gap.after_close), (vec![7, 9], 0, false));
        assert_eq!((gap.settled, gap.store_sequence), (5, 9));
    }

    let imported = [10, 11].map(gap_record);
    start_over(&killed, &imported).close();
    let verified = verified(&killed);
    let (_, Record::Gap(gap)) = &verified.repairs[1] else { panic!("{verified:?}") };
    assert!(gap.after_close, "made by a command while the gate was stopped");
}

#[test]
fn a_gap_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path());
    start(&settings).close();
    let all: Vec<_> = (1..=5_000).map(gap_record).collect();
    start_over(&settings, &all).close();
    let verified = verified(&settings);
    let [(_, Record::Gap(gap))] = &verified.repairs[..] else { panic!("{verified:?}") };
    assert_eq!((gap.records.len(), gap.more), (4_096, 904));
}

#[test]
fn places_are_bounded_and_free_again_once_they_are_synced() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { queue_max: 8, ..settings(folder.path()) };
    let audit = start(&settings);
    let places: Vec<Place> = (0..8).map(|_| audit.reserve().expect("a place")).collect();
    assert_eq!(audit.reserve().err(), Some(AuditFull));
    drop(places);
    for sequence in 0..4 {
        write(&audit, sequence);
    }
    assert_eq!(audit.reserve_late().err(), Some(AuditFull), "half is left to the others");
    for sequence in 4..8 {
        write(&audit, sequence);
    }
    assert_eq!(audit.reserve().err(), Some(AuditFull));
    assert!(audit.flush());
    assert_eq!(audit.queue_length(), 0);
    drop(audit.reserve().expect("a place"));
    audit.close();
}

#[tokio::test]
async fn who_waits_for_a_record_is_told_when_it_is_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path());
    let audit = start(&settings);
    let position = write(&audit, 1);
    let synced = audit.synced(position);
    tokio::time::timeout(Duration::from_secs(10), synced).await.expect("synced");
    assert_eq!(records(&settings, position.0)[0].1, Record::Decision(signed(1)));
    audit.synced(position).await;
    audit.close();
    Audit::off().synced(Position(3)).await;
}

#[test]
fn a_log_of_what_was_anchored_is_not_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let anchors = folder.path().join("anchors.jsonl");
    let settings = Settings { anchor_file: Some(anchors.clone()), ..settings(folder.path()) };
    let audit = start(&settings);
    assert!(audit.flush());
    let place = tempfile::tempdir().expect("a folder");
    let early = copy(&settings, place.path());
    write(&audit, 1);
    audit.close();
    let error = Audit::open(early).expect_err("cut off");
    assert!(matches!(error, OpenError::CutOff { .. }), "{error}");
    let text = fs::read_to_string(&anchors).expect("anchors");
    assert_eq!(text.lines().filter_map(checkpoint::Anchor::parse).count(), 2, "{text}");
}
