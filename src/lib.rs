//! Portcullis.

pub mod bls;
pub mod cli;
pub mod clock;
pub mod dev_signer;
