//! The commands.

pub mod signing_root;
