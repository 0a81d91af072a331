//! Is this slashable, and is it written down?

pub mod message;
pub mod signed;

pub use message::{Bounds, Counted, CountedKind, KeyId, Message};
pub use signed::{
    GenesisValidatorsRoot, HexError, PublicKey, SignedAttestation, SignedBlock, SigningRoot,
};
