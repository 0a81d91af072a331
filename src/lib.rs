//! Portcullis.

pub mod cli;
pub mod eth;
pub mod web3signer;
