#![allow(clippy::unwrap_used)]

use super::{Root, container_root, vector_root};

/// The tree on the stack against `tree_hash`'s streaming hasher.
fn check<const N: usize>() {
    let mut leaves = [Root::ZERO; N];
    for (number, leaf) in leaves.iter_mut().enumerate() {
        leaf.0[0] = number as u8 + 1;
    }
    assert_eq!(container_root(leaves), vector_root(leaves.into_iter(), N), "{N} leaves");
}

#[test]
fn containers_agree_with_the_streaming_hasher() {
    check::<1>();
    check::<2>();
    check::<3>();
    check::<4>();
    check::<5>();
    check::<8>();
    check::<9>();
    check::<16>();
}
