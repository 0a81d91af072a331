//! BLS signatures of the consensus layer: minimal public keys (48 bytes), signatures of 96 bytes,
//! the proof-of-possession scheme.
//!
//! Source: consensus-specs, `phase0/beacon-chain.md`, "BLS signatures";
//! draft-irtf-cfrg-bls-signature-04. What is added to `blst` here is that a key or a signature
//! cannot be used before it was checked, and batches of signatures over one root. Only [`batch`]
//! goes below `blst`'s safe interface.

pub mod batch;

#[cfg(test)]
mod tests;

use std::fmt;

use blst::{BLST_ERROR, min_pk};
use sha2::{Digest, Sha256};

/// The ciphersuite that every consensus-layer signature uses.
const DOMAIN_SEPARATION_TAG: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

/// The order of the groups, big-endian.
const CURVE_ORDER: [u8; 32] = [
    0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05,
    0x53, 0xbd, 0xa4, 0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01,
];

/// Why a key or a signature was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlsError {
    /// Zero, or not below the order of the group. Whoever supplied the key must act.
    #[error("the secret key is not a number from 1 to the group order")]
    SecretKey,
    /// Not a compressed point of G1, the point at infinity, or outside the subgroup.
    #[error("the public key is not a valid point of the signature group")]
    PublicKey,
    /// Not a compressed point of G2, the point at infinity, or outside the subgroup.
    #[error("the signature is not a valid point of the signature group")]
    Signature,
    /// Well formed, but not this key's signature over this root.
    #[error("the signature does not belong to this public key and signing root")]
    Mismatch,
}

/// A secret key. Its bytes are overwritten when it is dropped, and `Debug` does not show them.
pub struct SecretKey(min_pk::SecretKey);

impl SecretKey {
    /// Reads a big-endian secret key, as EIP-2335 keystores hold it.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BlsError> {
        min_pk::SecretKey::from_bytes(bytes).map(Self).map_err(|_| BlsError::SecretKey)
    }

    /// The `index`-th interop key: publicly known, for tests and development networks alone.
    ///
    /// Source: ethereum/eth2.0-pm, `interop/mocked_start`: the SHA-256 of the index as a
    /// little-endian 256-bit number, read as a little-endian number, modulo the group order.
    pub fn interop(index: u64) -> Self {
        let mut preimage = [0; 32];
        preimage[..8].copy_from_slice(&index.to_le_bytes());
        let mut scalar: [u8; 32] = Sha256::digest(preimage).into();
        scalar.reverse();
        // A 256-bit number is less than three times the order: at most two rounds.
        while scalar >= CURVE_ORDER {
            subtract(&mut scalar, &CURVE_ORDER);
        }
        Self::from_bytes(&scalar)
            .expect("reduced, and no hash that is a multiple of the order is known")
    }

    /// The public key of this secret key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.sk_to_pk())
    }

    /// Signs a signing root; the signature is in its compressed form.
    pub fn sign(&self, root: &[u8; 32]) -> [u8; 96] {
        self.0.sign(root, DOMAIN_SEPARATION_TAG, &[]).compress()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A public key that is known to be a valid point: on the curve, in the subgroup, not infinity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(min_pk::PublicKey);

impl PublicKey {
    /// Reads and validates a compressed public key (consensus-specs `KeyValidate`).
    pub fn from_bytes(bytes: &[u8; 48]) -> Result<Self, BlsError> {
        // `uncompress`, not `from_bytes`: the latter would take other encodings too.
        let point = min_pk::PublicKey::uncompress(bytes).map_err(|_| BlsError::PublicKey)?;
        point.validate().map_err(|_| BlsError::PublicKey)?;
        Ok(Self(point))
    }

    /// The compressed form, which is how the consensus layer names a validator.
    pub fn to_bytes(&self) -> [u8; 48] {
        self.0.compress()
    }

    /// The y coordinate, big-endian: what the compressed form leaves out. With both, a key that was
    /// validated once is had again for a hundredth of the cost: see [`Self::validated_before`].
    pub fn y(&self) -> [u8; 48] {
        *self.0.serialize().last_chunk().expect("x and y of 48 bytes each")
    }

    /// The key of the compressed form `bytes`, which was validated before and had this y.
    ///
    /// Nothing but that it was in the subgroup is taken on trust: a y of another point, or a
    /// damaged one, does not lie on the curve with this x, or has the other sign.
    ///
    /// # Errors
    /// When `y` does not belong to `bytes`.
    pub fn validated_before(bytes: &[u8; 48], y: &[u8; 48]) -> Result<Self, BlsError> {
        let mut point = [0; 96];
        point[..48].copy_from_slice(bytes);
        point[48..].copy_from_slice(y);
        point[0] &= !ENCODING_FLAGS;
        let point = min_pk::PublicKey::deserialize(&point).map_err(|_| BlsError::PublicKey)?;
        // The sign, and that the flags were those of a finite compressed point.
        if point.compress() != *bytes || bytes[0] & INFINITY_FLAG != 0 {
            return Err(BlsError::PublicKey);
        }
        Ok(Self(point))
    }

    /// Whether `signature` is this key's signature over `root`; the signature's subgroup is
    /// checked.
    pub fn verify(&self, root: &[u8; 32], signature: &[u8; 96]) -> Result<(), BlsError> {
        let signature =
            min_pk::Signature::uncompress(signature).map_err(|_| BlsError::Signature)?;
        signature.validate(true).map_err(|_| BlsError::Signature)?;
        match signature.verify(false, root, DOMAIN_SEPARATION_TAG, &[], &self.0, false) {
            BLST_ERROR::BLST_SUCCESS => Ok(()),
            _ => Err(BlsError::Mismatch),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey(0x{})", faster_hex::hex_string(&self.to_bytes()))
    }
}

/// Room for a key that may not be there yet, and no larger than the key: 96 bytes.
#[derive(Clone, Copy, Default)]
pub struct KeySlot(min_pk::PublicKey);

impl KeySlot {
    /// The key, if it is there.
    pub fn get(&self) -> Option<PublicKey> {
        // The point at infinity, which is no valid key, stands for none.
        (self.0 != min_pk::PublicKey::default()).then_some(PublicKey(self.0))
    }
}

impl fmt::Debug for KeySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl From<PublicKey> for KeySlot {
    fn from(key: PublicKey) -> Self {
        Self(key.0)
    }
}

/// Verifies one signature. Validates the key first: who verifies often with the same key keeps a
/// [`PublicKey`] and asks that.
pub fn verify(
    public_key: &[u8; 48],
    root: &[u8; 32],
    signature: &[u8; 96],
) -> Result<(), BlsError> {
    PublicKey::from_bytes(public_key)?.verify(root, signature)
}

/// The three highest bits of an encoded point: compressed, infinite, sign of y.
const ENCODING_FLAGS: u8 = 0xe0;
const INFINITY_FLAG: u8 = 0x40;

/// `minuend -= subtrahend`, big-endian; the minuend is the larger.
fn subtract(minuend: &mut [u8; 32], subtrahend: &[u8; 32]) {
    let mut borrow = false;
    for (digit, by) in minuend.iter_mut().zip(subtrahend).rev() {
        let (less, first) = digit.overflowing_sub(*by);
        let (less, second) = less.overflowing_sub(u8::from(borrow));
        *digit = less;
        borrow = first || second;
    }
    debug_assert!(!borrow, "the minuend is the larger");
}
