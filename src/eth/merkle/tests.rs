#![allow(clippy::unwrap_used)]

use super::{Root, container_root, hash_pair, is_valid_branch, vector_root};

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

#[test]
fn a_branch_leads_from_its_leaf_to_its_root_alone() {
    let leaves: Vec<Root> = (1..=4).map(|byte| Root([byte; 32])).collect();
    let [left, right] = [hash_pair(&leaves[0], &leaves[1]), hash_pair(&leaves[2], &leaves[3])];
    let root = hash_pair(&left, &right);
    assert!(is_valid_branch(&leaves[2], &[leaves[3], left], 6, &root));
    assert!(is_valid_branch(&right, &[left], 3, &root));
    assert!(is_valid_branch(&root, &[], 1, &root));
    assert!(!is_valid_branch(&leaves[2], &[leaves[3], left], 7, &root));
    assert!(!is_valid_branch(&leaves[1], &[leaves[3], left], 6, &root));
    assert!(!is_valid_branch(&right, &[left], 6, &root), "the branch is too short");
    assert!(!is_valid_branch(&leaves[2], &[leaves[3], left], 3, &root), "the branch is too long");
    assert!(!is_valid_branch(&root, &[], 0, &root));
}
