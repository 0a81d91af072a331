//! The integration tests: one binary.
//!
//! | what | where |
//! |---|---|
//! | the rules of the house | `tidy` |

#![allow(clippy::unwrap_used)]

mod tidy;
