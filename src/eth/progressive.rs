//! Progressive merkleization: trees that grow with what is in them (EIP-7916, EIP-7495).
//!
//! Gloas makes the attestation a `ProgressiveContainer` and its aggregation bits a
//! `ProgressiveBitlist`, so that the same JSON has another root than before. Chunks fill subtrees
//! of 1, 4, 16, 64, ... leaves; each level pairs its own subtree on the left with the deeper levels
//! on the right:
//!
//! ```text
//!         root
//!        /    \
//!  chunk 0     .
//!             / \
//!  chunks 1 to 4   .
//!                 / \
//!    chunks 5 to 20   0
//! ```
//!
//! Drafts of EIP-7916 had the sides the other way round until ethereum/EIPs#11032.

use super::bits::Bitlist;
use super::merkle::{BYTES_PER_CHUNK, hash_pair, mix_in_length, packed_root};
use super::types::Root;

/// `merkleize_progressive(chunks)`; the last chunk may be short and is padded with zeros.
fn progressive_root(chunks: &[u8], leaves: usize) -> Root {
    if chunks.is_empty() {
        return Root::ZERO;
    }
    let (own, deeper) = chunks.split_at(chunks.len().min(leaves * BYTES_PER_CHUNK));
    // The recursion is as deep as the logarithm of the length to the base of four.
    hash_pair(&packed_root(own, leaves), &progressive_root(deeper, 4 * leaves))
}

/// The hash tree root of a `ProgressiveBitlist`.
pub fn bitlist_root(bits: &Bitlist) -> Root {
    mix_in_length(&progressive_root(bits.bytes(), 1), bits.len())
}

/// The hash tree root of a `ProgressiveContainer(active_fields=[1] * N)` from its fields' roots.
pub fn container_root<const N: usize>(fields: [Root; N]) -> Root {
    const { assert!(N <= 8, "one byte of active fields") };
    let mut chunks = [[0; BYTES_PER_CHUNK]; N];
    for (chunk, field) in chunks.iter_mut().zip(&fields) {
        *chunk = field.0;
    }
    let mut active_fields = Root::ZERO;
    active_fields.0[0] = u8::MAX >> (8 - N);
    hash_pair(&progressive_root(chunks.as_flattened(), 1), &active_fields)
}

#[cfg(test)]
mod tests;
