//! Portcullis.

pub mod bls;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod dev_signer;
pub mod enrolment;
pub mod eth;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod server;
pub mod sign;
pub mod upstream;
pub mod validators;
pub mod web3signer;
