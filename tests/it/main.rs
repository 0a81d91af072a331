//! The integration tests: one binary. A test that needs a server or a client starts it itself.
//!
//! | what | where |
//! |---|---|
//! | the rules of the house | `tidy` |
//! | the path from outside: request in, status and code out | `path` |
//! | nothing conflicting and nothing unrecorded leaves, whatever crashes, fills up or lies | `crash` |
//! | processes, requests and connections for all of them | `support` |

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod crash;
mod path;
mod support;
mod tidy;
