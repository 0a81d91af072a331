#![allow(clippy::unwrap_used)]

use super::{Bitlist, BitsError, Bitvector};

#[test]
fn lists_keep_their_bytes() {
    for (bytes, len) in [(vec![1], 0), (vec![2], 1), (vec![0xff], 7), (vec![0, 1], 8)] {
        let list = Bitlist::from_ssz(bytes.clone()).unwrap();
        assert_eq!((list.len(), list.to_ssz()), (len, bytes));
    }
    for bytes in [vec![], vec![0], vec![1, 0]] {
        assert_eq!(Bitlist::from_ssz(bytes), None);
    }
}

#[test]
fn lists_are_bounded() {
    let list = Bitlist::from_ssz(vec![0xff, 1]).unwrap(); // eight bits
    assert_eq!(list.count_ones(), 8);
    assert!(list.tree_hash_root(8).is_ok());
    assert_eq!(list.tree_hash_root(7), Err(BitsError::TooMany { len: 8, limit: 7 }));
}

#[test]
fn vectors_have_one_length() {
    assert!(Bitvector::from_ssz(vec![0x0f]).tree_hash_root(4).is_ok());
    let beyond = Bitvector::from_ssz(vec![0x10]).tree_hash_root(4);
    assert_eq!(beyond, Err(BitsError::BeyondEnd { expected: 4 }));
    for bytes in [vec![], vec![1, 0]] {
        let found = bytes.len();
        let root = Bitvector::from_ssz(bytes).tree_hash_root(4);
        assert_eq!(root, Err(BitsError::Length { found, expected: 4 }));
    }
}
