#![allow(clippy::unwrap_used)]

use slashing_db::Enrolment;

use super::*;
use crate::bls::SecretKey;
use crate::tests::Rig;

fn point(index: u64) -> bls::PublicKey {
    SecretKey::interop(index).public_key()
}

/// A store with the first interop keys.
fn enrolled(count: u64) -> (Rig, Vec<(KeyId, bls::PublicKey)>) {
    let rig = Rig::new();
    let mut keys = Vec::new();
    for index in 0..count {
        let key = PublicKey(point(index).to_bytes());
        let watermarks = rig.store.enrol(key, Enrolment::New).unwrap();
        keys.push((watermarks.id(), point(index)));
        rig.validators.insert(watermarks);
    }
    (rig, keys)
}

#[test]
fn what_was_validated_is_there_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let (rig, keys) = enrolled(5);
    let first = ValidatedKeys::open(directory.path()).unwrap();
    let nothing = Loaded { taken: 0, damaged: 0, missing: 5 };
    assert_eq!(first.load(&rig.validators).unwrap(), nothing);
    assert_eq!(first.get(keys[0].0), None);
    let (kept, rest) = keys.split_at(3);
    first.add(&kept[1..]).unwrap();
    first.add(&kept[..1]).unwrap();
    for (id, key) in kept {
        assert_eq!(first.get(*id), Some(*key));
    }
    assert!(ValidatedKeys::open(directory.path()).is_err(), "one process at a time");
    first.close();
    first.add(rest).unwrap(); // remembered, and not kept

    let second = ValidatedKeys::open(directory.path()).unwrap();
    let loaded = Loaded { taken: 3, damaged: 0, missing: 2 };
    assert_eq!(second.load(&rig.validators).unwrap(), loaded);
    for (id, key) in kept {
        assert_eq!(second.get(*id), Some(*key));
    }
    assert!(rest.iter().all(|(id, _)| second.get(*id).is_none()));
}

#[test]
fn a_damaged_row_is_found_and_the_others_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let (rig, keys) = enrolled(6);
    let first = ValidatedKeys::open(directory.path()).unwrap();
    first.add(&keys).unwrap();
    first.close();

    let row = |index: usize| encode(&keys[index].1);
    let mut one_bit = row(1);
    one_bit[20] ^= 4;
    let mut another_format = row(2);
    another_format[0] = 2;
    let table = SideTable::open(directory.path()).unwrap();
    let damaged: [(usize, &[u8]); 4] =
        [(1, &one_bit), (2, &another_format), (3, &row(4)), (5, &row(5)[..40])];
    table.put_batch(damaged.map(|(index, row)| (encode_id(keys[index].0), row))).unwrap();
    table.put_batch([("no id", "no row")]).unwrap();
    drop(table);

    let second = ValidatedKeys::open(directory.path()).unwrap();
    let loaded = Loaded { taken: 2, damaged: 4, missing: 4 };
    assert_eq!(second.load(&rig.validators).unwrap(), loaded);
    for (index, (id, key)) in keys.iter().enumerate() {
        let expected = [0, 4].contains(&index).then_some(*key);
        assert_eq!(second.get(*id), expected, "{index}");
    }
}

#[test]
fn a_table_of_another_store_is_of_no_use_and_does_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let (_, keys) = enrolled(4);
    let others = ValidatedKeys::open(directory.path()).unwrap();
    // The same rows, of other keys.
    let moved: Vec<_> = keys.iter().zip(7..).map(|((id, _), other)| (*id, point(other))).collect();
    others.add(&moved).unwrap();
    others.close();
    let (rig, keys) = enrolled(4);
    let ours = ValidatedKeys::open(directory.path()).unwrap();
    assert_eq!(ours.load(&rig.validators).unwrap(), Loaded { taken: 0, damaged: 4, missing: 4 });
    assert!(keys.iter().all(|(id, _)| ours.get(*id).is_none()));
}

#[test]
fn what_is_no_point_is_not_validated() {
    assert_eq!(validate(&PublicKey([1; 48])), Err(BlsError::PublicKey));
    assert_eq!(validate(&PublicKey(point(0).to_bytes())), Ok(point(0)));
}

/// A key costs its 96 bytes; nothing is taken before there is one.
#[test]
fn memory_grows_by_chunks() {
    let (_, keys) = enrolled(2);
    let held = ValidatedKeys::in_memory();
    assert_eq!(held.bytes(), 0);
    held.add(&keys).unwrap();
    assert_eq!(held.bytes(), KEYS_PER_CHUNK * 96);
}
