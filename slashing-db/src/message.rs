//! What a validator may be asked to sign, in EIP-3076's own words.

use std::fmt;
use std::str::FromStr;

/// A validator's BLS public key, compressed: the name under which its records are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 48]);

/// The signing root of a message.
///
/// A root of 32 zero bytes means "unknown" (EIP-3076 lets a record leave its root out) and, like
/// NaN, equals nothing, itself included: an unknown message is never a repeat of another.
#[derive(Clone, Copy)]
pub struct SigningRoot(pub [u8; 32]);

/// The row number of a key in its store. Never used again for another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(crate) u32);

/// An attestation to be signed (EIP-3076, `signed_attestations`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignedAttestation {
    /// The epoch of the source checkpoint.
    pub source_epoch: u64,
    /// The epoch of the target checkpoint.
    pub target_epoch: u64,
    /// The root that is signed.
    pub signing_root: SigningRoot,
}

/// A block to be signed (EIP-3076, `signed_blocks`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignedBlock {
    /// The slot of the block.
    pub slot: u64,
    /// The root that is signed.
    pub signing_root: SigningRoot,
}

/// Messages that are not slashable, but of which a key signs only so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CountedKind {
    /// A voluntary exit: it cannot be taken back.
    VoluntaryExit,
    /// A deposit: it moves money.
    Deposit,
}

impl CountedKind {
    /// Every kind, in the order of its stored number.
    pub const ALL: [Self; 2] = [Self::VoluntaryExit, Self::Deposit];

    /// The stable name: metric label, audit code and documentation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VoluntaryExit => "voluntary_exit",
            Self::Deposit => "deposit",
        }
    }

    /// The place of the kind in arrays and in the stored key.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::VoluntaryExit => 0,
            Self::Deposit => 1,
        }
    }
}

/// A message of a counted kind, to be signed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    /// What it is.
    pub kind: CountedKind,
    /// The root that is signed.
    pub signing_root: SigningRoot,
}

/// A message that only the store may permit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Message {
    /// A vote (`DOMAIN_BEACON_ATTESTER`).
    Attestation(SignedAttestation),
    /// A proposal (`DOMAIN_BEACON_PROPOSER`).
    Block(SignedBlock),
    /// An exit or a deposit.
    Counted(Counted),
}

impl Message {
    /// The root that is signed.
    #[must_use]
    pub const fn signing_root(&self) -> SigningRoot {
        match self {
            Self::Attestation(attestation) => attestation.signing_root,
            Self::Block(block) => block.signing_root,
            Self::Counted(counted) => counted.signing_root,
        }
    }
}

/// What the present time allows. Time is never read in this crate: the caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest target epoch that may still be voted for.
    pub target_epoch_min: u64,
    /// The newest target epoch: one poisoned vote far ahead would silence a key for ever.
    pub target_epoch_max: u64,
    /// The newest slot that may be proposed.
    pub slot_max: u64,
    /// How many distinct messages of a counted kind a key may sign in its life.
    pub counted_max: u32,
}

/// A string is not the hexadecimal form of the bytes that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {bytes} bytes as {} hexadecimal digits, with or without 0x before them", bytes * 2)]
pub struct NotHex {
    /// How many bytes there should have been.
    pub bytes: usize,
}

impl SigningRoot {
    /// The unknown root.
    pub const NULL: Self = Self([0; 32]);

    /// Whether the root is unknown.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0 == [0; 32]
    }
}

impl PartialEq for SigningRoot {
    fn eq(&self, other: &Self) -> bool {
        !self.is_null() && self.0 == other.0
    }
}

impl KeyId {
    /// The number itself, for indices and labels.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for PublicKey {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        parse_hex(text).map(Self)
    }
}

impl FromStr for SigningRoot {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        parse_hex(text).map(Self)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for SigningRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for SigningRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

fn parse_hex<const BYTES: usize>(text: &str) -> Result<[u8; BYTES], NotHex> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    let mut bytes = [0; BYTES];
    if digits.len() != 2 * BYTES {
        return Err(NotHex { bytes: BYTES });
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = hex_digit(pair[0]).ok_or(NotHex { bytes: BYTES })?;
        let low = hex_digit(pair[1]).ok_or(NotHex { bytes: BYTES })?;
        *byte = high << 4 | low;
    }
    Ok(bytes)
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("0x")?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
