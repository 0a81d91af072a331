//! Portcullis.

pub mod config;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod server;
pub mod upstream;
