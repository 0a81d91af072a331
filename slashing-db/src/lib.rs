//! Is this slashable, and is it written down?

pub mod message;

pub use message::{
    Bounds, Counted, CountedKind, KeyId, Message, NotHex, PublicKey, SignedAttestation,
    SignedBlock, SigningRoot,
};
