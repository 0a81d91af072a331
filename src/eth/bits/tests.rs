#![allow(clippy::unwrap_used)]

use super::{Bitlist, BitsError, Bitvector};

#[test]
fn lists_keep_their_bytes() {
    for (bytes, len) in [(vec![1], 0_usize), (vec![2], 1), (vec![0xff], 7), (vec![0, 1], 8)] {
        let list = Bitlist::from_ssz(&bytes).unwrap();
        assert_eq!((list.len(), list.bytes().len()), (len, len.div_ceil(8)));
        assert_eq!(list.to_ssz(), bytes);
    }
    for bytes in [&[][..], &[0], &[1, 0]] {
        assert_eq!(Bitlist::from_ssz(bytes), None);
    }
}

#[test]
fn lists_are_bounded() {
    let list = Bitlist::from_ssz(&[0xff, 1]).unwrap(); // eight bits
    assert_eq!(list.count_ones(), 8);
    assert!(list.tree_hash_root(8).is_ok());
    assert_eq!(list.tree_hash_root(7), Err(BitsError::TooMany { len: 8, limit: 7 }));
}

#[test]
fn lists_are_bounded_before_their_fork_is_known() {
    let mut bytes = vec![0; (1 << 20) / 8];
    bytes.push(1);
    assert_eq!(Bitlist::from_ssz(&bytes).unwrap().len(), 1 << 20);
    *bytes.last_mut().unwrap() = 2;
    assert_eq!(Bitlist::from_ssz(&bytes), None);
}

#[test]
fn vectors_have_one_length() {
    let root = |bytes: &[u8]| Bitvector::from_ssz(bytes).unwrap().tree_hash_root(4);
    assert!(root(&[0x0f]).is_ok());
    assert_eq!(root(&[0x10]), Err(BitsError::BeyondEnd { expected: 4 }));
    assert_eq!(root(&[1, 0]), Err(BitsError::Length { found: 2, expected: 4 }));
    assert_eq!(Bitvector::from_ssz(&[]), None);
}
