use std::os::unix::fs::PermissionsExt;

use super::*;

fn checkpoint() -> Checkpoint {
    Checkpoint {
        at_unix_ms: 1,
        store_sequence: 2,
        settled: 1,
        is_last: false,
        public_key: [0; 32],
        signature: [0; 64],
    }
}

#[test]
fn a_key_is_made_once_and_for_its_owner_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("checkpoint.key");
    assert!(matches!(Key::open(&path, false), Err(KeyError::Missing(_))));
    let made = Key::open(&path, true).expect("a key").public_key();
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(Key::open(&path, true).expect("a key").public_key(), made);
    fs::write(&path, b"something else").expect("written");
    assert!(matches!(Key::open(&path, true), Err(KeyError::NotAKey(_))));
}

#[test]
fn a_signature_is_of_one_place_in_one_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = Key::open(&folder.path().join("key"), true).expect("a key");
    let (log, position, previous) = ([1; 16], Position(9), Hash([2; 32]));
    let mut checkpoint = checkpoint();
    key.sign(&log, position, &previous, &mut checkpoint);
    assert!(checkpoint.is_valid(&log, position, &previous));
    assert!(!checkpoint.is_valid(&[3; 16], position, &previous));
    assert!(!checkpoint.is_valid(&log, Position(10), &previous));
    assert!(!checkpoint.is_valid(&log, position, &Hash([3; 32])));
    let later = Checkpoint { store_sequence: 3, ..checkpoint };
    assert!(!later.is_valid(&log, position, &previous));

    let anchor = Anchor { log, position, previous, checkpoint };
    let read = Anchor::parse(&anchor.to_json().to_string()).expect("an anchor");
    assert_eq!(read, anchor);
    assert!(read.is_valid());
    assert!(!Anchor { position: Position(8), ..anchor }.is_valid());
    assert_eq!(Anchor::parse("{}"), None);
}
