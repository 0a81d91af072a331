//! SSZ merkleization with limits that are known at run time, because the preset is.
//!
//! Containers are hashed in place on the stack; lists and bit fields go through `tree_hash`'s
//! streaming hasher, which pads without hashing zeros. Source: consensus-specs,
//! `ssz/simple-serialize.md`, "Merkleization".

use ethereum_hashing::{ZERO_HASHES, hash_fixed};
use tree_hash::{Hash256, MerkleHasher};

use super::types::{ExecutionAddress, PublicKey, Root, Signature};

/// Bytes in a chunk, the leaf of every tree.
pub const BYTES_PER_CHUNK: usize = 32;

/// The parent of two nodes.
pub fn hash_pair(left: &Root, right: &Root) -> Root {
    let mut nodes = [0; 2 * BYTES_PER_CHUNK];
    nodes[..BYTES_PER_CHUNK].copy_from_slice(&left.0);
    nodes[BYTES_PER_CHUNK..].copy_from_slice(&right.0);
    Root(hash_fixed(&nodes))
}

/// The root of a container whose fields have these roots, and of a vector of as many chunks.
pub fn container_root<const N: usize>(mut nodes: [Root; N]) -> Root {
    let depth = N.next_power_of_two().trailing_zeros() as usize;
    let mut len = N;
    for zero in &ZERO_HASHES[..depth] {
        for pair in 0..len.div_ceil(2) {
            let right = if 2 * pair + 1 < len { nodes[2 * pair + 1] } else { Root(*zero) };
            nodes[pair] = hash_pair(&nodes[2 * pair], &right);
        }
        len = len.div_ceil(2);
    }
    nodes[0]
}

/// `merkleize(pack(bytes), limit)`: the root of a tree of `limit` chunks that begins with `bytes`.
///
/// The caller has checked that `bytes` fit into `limit` chunks.
pub(crate) fn packed_root(bytes: &[u8], limit: usize) -> Root {
    debug_assert!(bytes.len() <= limit * BYTES_PER_CHUNK, "checked by the caller");
    Root(tree_hash::merkle_root(bytes, limit).0)
}

/// The root of `List[T, limit]`, T composite, from the roots of its elements, which are `length`.
///
/// The caller has checked that there are no more than `limit`.
pub(crate) fn list_root(roots: impl ExactSizeIterator<Item = Root>, limit: usize) -> Root {
    let length = roots.len();
    mix_in_length(&vector_root(roots, limit), length)
}

/// The root of a tree of `leaves` leaves that begins with `roots`.
pub(crate) fn vector_root(roots: impl Iterator<Item = Root>, leaves: usize) -> Root {
    let mut hasher = MerkleHasher::with_leaves(leaves);
    for root in roots {
        hasher.write(&root.0).expect("the caller checked the limit");
    }
    Root(hasher.finish().expect("the caller checked the limit").0)
}

/// `mix_in_length`: what tells lists apart that differ in trailing zeros alone.
pub(crate) fn mix_in_length(root: &Root, length: usize) -> Root {
    Root(tree_hash::mix_in_length(&Hash256::from(root.0), length).0)
}

/// `is_valid_merkle_branch`, by generalized index: whether `branch`, the siblings from the leaf up,
/// leads from `leaf` at `index` to `root`.
pub fn is_valid_branch(leaf: &Root, branch: &[Root], index: u64, root: &Root) -> bool {
    // As many siblings as the index has bits below its highest one.
    if index.checked_ilog2().is_none_or(|depth| depth as usize != branch.len()) {
        return false;
    }
    let up = |(node, index): (Root, u64), sibling: &Root| {
        let parent =
            if index & 1 == 1 { hash_pair(sibling, &node) } else { hash_pair(&node, sibling) };
        (parent, index >> 1)
    };
    branch.iter().fold((*leaf, index), up).0 == *root
}

impl PublicKey {
    /// The hash tree root of the key as `Bytes48`.
    pub fn tree_hash_root(&self) -> Root {
        let mut chunks = [0; 2 * BYTES_PER_CHUNK];
        chunks[..self.0.len()].copy_from_slice(&self.0);
        Root(hash_fixed(&chunks))
    }
}

impl Signature {
    /// The hash tree root of the signature as `Bytes96`.
    pub fn tree_hash_root(&self) -> Root {
        let (chunks, rest) = self.0.as_chunks::<BYTES_PER_CHUNK>();
        debug_assert!(rest.is_empty());
        container_root([Root(chunks[0]), Root(chunks[1]), Root(chunks[2])])
    }
}

impl ExecutionAddress {
    /// The hash tree root of the address as `Bytes20`.
    pub fn tree_hash_root(&self) -> Root {
        let mut chunk = [0; BYTES_PER_CHUNK];
        chunk[..self.0.len()].copy_from_slice(&self.0);
        Root(chunk)
    }
}

#[cfg(test)]
mod tests;
