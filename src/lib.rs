//! Portcullis.

pub mod config;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod server;
pub mod upstream;
pub mod bls;
pub mod cli;
pub mod clock;
pub mod dev_signer;
pub mod cli;
pub mod eth;
pub mod web3signer;
