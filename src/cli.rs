//! The commands of `portcullis`: their arguments, and what each one runs.

pub mod dev_signer;
pub mod signing_root;
