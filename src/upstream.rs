//! The signers that hold the keys, and how they are reached.

pub mod client;
