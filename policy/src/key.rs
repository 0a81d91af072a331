//! The state of one key: a few lines of memory, beside its watermarks and under the same lock.

mod lease;
mod ledger;
mod sources;

pub(crate) use lease::Lease;
pub(crate) use ledger::{Ledger, root};
pub(crate) use sources::{HALVED_EPOCHS, Sources};

use crate::ClientIndex;
use crate::WindowId;
use crate::bytes::{Reader, Writer, checksum};
use crate::sequential::{KeyShares, KeyTiming};

/// The form on disk. A state of another version begins anew.
const VERSION: u16 = 1;

/// What is normal for one key, packed. At most 512 bytes (design), 256 aimed for.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyState {
    /// Who owns it.
    pub(crate) lease: Lease,
    /// From where it was signed for.
    pub(crate) sources: Sources,
    /// What it was signed for.
    pub(crate) ledger: Ledger,
    /// When in its source's slot it signs.
    pub(crate) timing: KeyTiming,
    /// Which shares sign for it.
    pub(crate) shares: KeyShares,
    /// Signatures released, saturating.
    pub(crate) released: u32,
    /// The context score of the last admitted request, in half nats; [`i8::MIN`] where its source
    /// was the key's own.
    pub(crate) score: i8,
}

/// Who signs for a key, and how that usually looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Holder {
    /// The client that has the lease.
    pub owner: Option<ClientIndex>,
    /// The one that had it before, where it has moved.
    pub former: Option<ClientIndex>,
    /// The epoch in which it moved.
    pub since_epoch: Option<u64>,
    /// The last slot in which the owner was signed for.
    pub last_slot: Option<u64>,
    /// Signatures released, saturating.
    pub released: u32,
    /// When the key usually signs, in milliseconds beside its source's usual time.
    pub usual_ms: Option<f32>,
}

impl KeyState {
    /// What is known of who signs for the key, for people.
    pub fn holder(&self) -> Holder {
        let (lease, is_held) = (&self.lease, !self.lease.is_free());
        let number = |number: u32| (number != 0).then_some(u64::from(number));
        Holder {
            owner: is_held.then_some(lease.owner),
            former: number(lease.moved_epoch).map(|_| lease.former),
            since_epoch: number(lease.moved_epoch),
            last_slot: number(lease.last_slot),
            released: self.released,
            usual_ms: self.timing.place_ms().map(|(usual, _)| usual),
        }
    }

    /// The length of [`to_bytes`](Self::to_bytes).
    pub const BYTES: usize = 256;

    /// A key that nothing is known of.
    pub fn new() -> Self {
        Self {
            lease: Lease::default(),
            sources: Sources::default(),
            ledger: Ledger::default(),
            timing: KeyTiming::new(),
            shares: KeyShares::new(),
            released: 0,
            score: i8::MIN,
        }
    }

    /// The client that has the lease, if anybody has.
    pub fn owner(&self) -> Option<ClientIndex> {
        (!self.lease.is_free()).then_some(self.lease.owner)
    }

    /// When its lease last moved from one client to another, in seconds of Unix time.
    pub fn moved_s(&self) -> Option<u32> {
        (self.lease.moved_epoch != 0).then_some(self.lease.moved_s)
    }

    /// Whether this window was the last that moved its lease.
    pub fn has_moved_by(&self, window: WindowId) -> bool {
        self.lease.has_moved_by(window)
    }

    /// The state as it is kept on disk, with its version and a checksum in front.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut out = Writer::default();
        out.u32(self.released);
        out.i8(self.score);
        self.lease.write(&mut out);
        self.sources.write(&mut out);
        self.ledger.write(&mut out);
        out.bytes(&self.timing.to_bytes());
        out.bytes(&self.shares.to_bytes());
        out.u32(self.lease.moved_by);
        let mut bytes = [0; Self::BYTES];
        bytes[6..6 + out.0.len()].copy_from_slice(&out.0);
        bytes[..2].copy_from_slice(&VERSION.to_le_bytes());
        let sum = checksum(&[&bytes[..2], &bytes[6..]]);
        bytes[2..6].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The state from disk; `None` when it is of another version or garbled: the key begins anew.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let mut from = Reader(bytes);
        let (version, sum) = (from.u16()?, from.u32()?);
        if version != VERSION || sum != checksum(&[&bytes[..2], &bytes[6..]]) {
            return None;
        }
        let (released, score) = (from.u32()?, from.i8()?);
        let (mut lease, sources) = (Lease::read(&mut from)?, Sources::read(&mut from)?);
        let ledger = Ledger::read(&mut from)?;
        let (timing, rest) = from.0.split_first_chunk()?;
        let (shares, rest) = rest.split_first_chunk()?;
        let (timing, shares) = (KeyTiming::from_bytes(timing)?, KeyShares::from_bytes(shares)?);
        lease.moved_by = Reader(rest).u32()?;
        Some(Self { lease, sources, ledger, timing, shares, released, score })
    }
}

impl Default for KeyState {
    fn default() -> Self {
        Self::new()
    }
}

/// Version and checksum, the count of signatures and the score.
const HEAD: usize = 6 + 5;
/// The mark of the window that moved it last, at the end.
const MOVED_BY: usize = 4;

const _: () = assert!(
    HEAD + Lease::BYTES
        + Sources::BYTES
        + Ledger::BYTES
        + KeyTiming::BYTES
        + KeyShares::BYTES
        + MOVED_BY
        <= KeyState::BYTES
);
const _: () = assert!(size_of::<KeyState>() <= 512); // the design's bound; 256 is aimed for
