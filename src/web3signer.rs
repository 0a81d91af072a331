//! Web3Signer's HTTP dialect, as its clients speak it and its servers answer it.
//!
//! Contract: Web3Signer's OpenAPI and routes (`core/src/main/java/.../core/routes`), and what seven
//! validator clients send in practice. Only spec types are known here; nothing decides.

pub mod request;
pub mod response;
pub mod route;
