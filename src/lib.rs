//! Portcullis.

pub mod server;
pub mod upstream;
