//! Web3Signer's HTTP dialect, in both directions.

pub mod request;
