#![allow(clippy::unwrap_used)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::encoding::{decode, encode};
use super::*;

fn host() -> Host {
    Host { boot_id: "boot-a".into(), boot_time: BootTime(5_000_000_000), unix_seconds: 1_000 }
}

fn state() -> WitnessState {
    let binding = Binding::new("mainnet", "main", GenesisValidatorsRoot([3; 32])).unwrap();
    let store = StoreId([0xab; 16]);
    WitnessState::of_new_store(binding, store, OwnerNonce([1; 16]), &host())
}

fn live() -> WitnessState {
    state().renewed(&host(), ReservedThrough { epoch: u64::MAX, slot: 7 }, 99)
}

/// A directory with an empty store, and where its witness goes.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("store")).unwrap();
        Self { root }
    }

    fn store(&self) -> PathBuf {
        self.root.path().join("store")
    }

    fn witness(&self) -> PathBuf {
        self.root.path().join(state().binding.file_name())
    }

    fn create(&self) -> Result<WitnessFile, WitnessError> {
        WitnessFile::create(&self.witness(), &self.store(), &state())
    }

    fn own(&self) -> Result<WitnessFile, WitnessError> {
        WitnessFile::own(&self.witness(), &self.store())
    }
}

#[test]
fn is_written_for_people_and_read_back() {
    for state in [state(), live(), live().sealed(&host(), 100)] {
        let text = encode(&state);
        assert_eq!(decode(text.as_bytes()).unwrap(), state);
        let spaced = text.replace(": ", " :\t");
        assert_eq!(decode(spaced.as_bytes()).unwrap(), state, "layout means nothing");
    }
    let text = encode(&live());
    for part in ["\"network\": \"mainnet\"", "\"sequence\": 99", "\"generation\": 0", "Do not edit"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn is_refused_cut_off_at_every_length_and_damaged_at_every_byte() {
    let text = encode(&live()).into_bytes();
    for len in 0..text.len() - 1 {
        assert!(decode(&text[..len]).is_err(), "cut to {len}");
    }
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut damaged = text.clone();
            damaged[at] ^= 1 << bit;
            if let Ok(read) = decode(&damaged) {
                assert_eq!(read, live(), "byte {at}, bit {bit} changed what is read");
            }
        }
    }
}

#[test]
fn a_later_version_and_an_edit_are_named() {
    let text = encode(&live());
    let later = text.replace("\"version\": 1", "\"version\": 2");
    assert!(matches!(decode(later.as_bytes()), Err(Garbled::Version { found: 2 })));
    let edited = text.replace("\"sequence\": 99", "\"sequence\": 98");
    assert!(matches!(decode(edited.as_bytes()), Err(Garbled::Checksum { .. })));
}

#[test]
fn names_are_names_of_files() {
    let root = GenesisValidatorsRoot([0; 32]);
    let binding = Binding::new("hoodi", "set-1_b", root).unwrap();
    assert_eq!(binding.file_name(), "hoodi.set-1_b.witness.json");
    for bad in ["", "..", "a/b", "A", "a b", "a.b", "ä", &"a".repeat(65)] {
        assert!(Binding::new(bad, "set", root).is_err(), "{bad}");
        assert!(Binding::new("hoodi", bad, root).is_err(), "{bad}");
    }
}

#[test]
fn random_ids_differ() {
    assert_ne!(StoreId::random().unwrap(), StoreId::random().unwrap());
    assert_ne!(OwnerNonce::random().unwrap(), OwnerNonce([0; 16]));
}

#[test]
fn what_is_set_is_read_by_the_next_owner() {
    let place = Place::new();
    let mut owner = place.create().unwrap();
    assert_eq!(owner.read().unwrap(), state());
    owner.compare_and_set(&state(), &live()).unwrap();
    assert_eq!(read_file(&place.witness()).unwrap(), live(), "reading needs no ownership");
    drop(owner);
    assert_eq!(place.own().unwrap().read().unwrap(), live());
}

#[test]
fn compare_and_set_replaces_only_what_was_expected() {
    let place = Place::new();
    let mut owner = place.create().unwrap();
    let stranger = live().sealed(&host(), 100);
    let error = owner.compare_and_set(&stranger, &live()).unwrap_err();
    assert!(matches!(error, WitnessError::Changed { .. }), "{error}");
    assert_eq!(owner.read().unwrap(), state());
    owner.compare_and_set(&state(), &live()).unwrap();
    owner.compare_and_set(&state(), &live()).unwrap(); // the same again, after an unclear error
    assert_eq!(owner.read().unwrap(), live());
}

#[test]
fn missing_is_an_error_and_leaves_nothing_behind() {
    let place = Place::new();
    let error = place.own().unwrap_err();
    assert!(matches!(error, WitnessError::Missing { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("slashing init") && text.contains("floor"), "{text}");
    assert_eq!(fs::read_dir(place.root.path()).unwrap().count(), 1, "only the store");
}

#[test]
fn a_garbled_file_is_neither_absent_nor_replaced() {
    let place = Place::new();
    drop(place.create().unwrap());
    let whole = fs::read(place.witness()).unwrap();
    for text in [&b""[..], b"{}", &whole[..whole.len() / 2], &[0; 512], &[b' '; 20_000]] {
        fs::write(place.witness(), text).unwrap();
        let error = place.own().unwrap_err();
        assert!(matches!(error, WitnessError::Garbled { .. }), "{error}");
        assert!(matches!(place.create().unwrap_err(), WitnessError::Exists { .. }));
        assert_eq!(fs::read(place.witness()).unwrap(), text);
    }
}

#[test]
fn what_a_crash_left_beside_the_file_means_nothing() {
    let place = Place::new();
    drop(place.create().unwrap());
    let temporary = format!("{}.tmp", place.witness().display());
    fs::write(&temporary, &encode(&live())[..40]).unwrap();
    let mut owner = place.own().unwrap();
    assert_eq!(owner.read().unwrap(), state());
    owner.compare_and_set(&state(), &live()).unwrap();
    assert!(!Path::new(&temporary).exists());
}

#[test]
fn a_second_owner_is_refused_until_the_first_is_gone() {
    let place = Place::new();
    let owner = place.create().unwrap();
    assert!(matches!(place.own().unwrap_err(), WitnessError::Owned { .. }));
    assert!(matches!(place.create().unwrap_err(), WitnessError::Owned { .. }));
    drop(owner);
    place.own().unwrap();
}

#[test]
fn an_owner_whose_lock_file_was_removed_stops() {
    let place = Place::new();
    let mut owner = place.create().unwrap();
    let lock = format!("{}.lock", place.witness().display());
    fs::remove_file(&lock).unwrap();
    let gone = owner.compare_and_set(&state(), &live()).unwrap_err();
    assert!(matches!(gone, WitnessError::LockReplaced { .. }), "{gone}");
    let second = place.own().unwrap();
    let replaced = owner.compare_and_set(&state(), &live()).unwrap_err();
    assert!(matches!(replaced, WitnessError::LockReplaced { .. }), "{replaced}");
    assert_eq!(second.read().unwrap(), state());
}

#[test]
fn a_witness_inside_the_store_is_refused() {
    let place = Place::new();
    let store = place.store();
    for inside in [store.join("w.json"), store.join("../store/w.json")] {
        let error = WitnessFile::create(&inside, &store, &state()).unwrap_err();
        assert!(matches!(error, WitnessError::InsideStore { .. }), "{error}");
    }
    drop(place.create().unwrap());
    let inside = store.join("w.json");
    fs::rename(place.witness(), &inside).unwrap();
    std::os::unix::fs::symlink(&inside, place.witness()).unwrap();
    assert!(matches!(place.own().unwrap_err(), WitnessError::InsideStore { .. }));
}

/// The owner of [`a_killed_owner_is_gone_at_once_and_a_suspended_one_is_not`], in a process of its
/// own.
#[test]
fn owner_process() {
    let Some(root) = env::var_os("PORTCULLIS_TEST_WITNESS") else {
        return;
    };
    let root = PathBuf::from(root);
    let _owner =
        WitnessFile::own(&root.join(state().binding.file_name()), &root.join("store")).unwrap();
    println!("owned");
    loop {
        std::thread::park();
    }
}

fn start_owner(place: &Place) -> Child {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["witness::tests::owner_process", "--exact", "--nocapture"])
        .env("PORTCULLIS_TEST_WITNESS", place.root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let owned = lines.map(Result::unwrap).any(|line| line.contains("owned"));
    assert!(owned, "the owner died");
    child
}

#[test]
fn a_killed_owner_is_gone_at_once_and_a_suspended_one_is_not() {
    let place = Place::new();
    drop(place.create().unwrap());
    for _ in 0..5 {
        let mut owner = start_owner(&place);
        assert!(matches!(place.own().unwrap_err(), WitnessError::Owned { .. }));
        kill_process(Pid::from_child(&owner), Signal::STOP).unwrap();
        assert!(matches!(place.own().unwrap_err(), WitnessError::Owned { .. }));
        owner.kill().unwrap();
        owner.wait().unwrap();
        drop(place.own().unwrap());
    }
}
