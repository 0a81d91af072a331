#![allow(clippy::unwrap_used)]

use super::{BYTES_PER_CHUNK, Root, hash_pair, packed_root, progressive_root};

#[test]
fn subtrees_hold_1_4_and_16_chunks() {
    let bytes: Vec<u8> = (0..22 * BYTES_PER_CHUNK).map(|at| at as u8 | 1).collect();
    let (first, rest) = bytes.split_at(BYTES_PER_CHUNK);
    let (four, rest) = rest.split_at(4 * BYTES_PER_CHUNK);
    let (sixteen, last) = rest.split_at(16 * BYTES_PER_CHUNK);
    let mut expected = hash_pair(&packed_root(last, 64), &Root::ZERO);
    expected = hash_pair(&packed_root(sixteen, 16), &expected);
    expected = hash_pair(&packed_root(four, 4), &expected);
    expected = hash_pair(&packed_root(first, 1), &expected);
    assert_eq!(progressive_root(&bytes, 1), expected);
}

#[test]
fn nothing_has_the_zero_root() {
    assert_eq!(progressive_root(&[], 1), Root::ZERO);
}
