//! The integration tests: one binary. A test that needs a server or a client starts it itself.
//!
//! | what | where |
//! |---|---|
//! | the rules of the house | `tidy` |
//! | the path from outside: request in, status and code out | `path` |
//! | seeded worlds of crashes, faults and hostile clients | `simulation` |
//! | processes, requests and connections for all of them | `support` |

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod path;
mod simulation;
mod support;
mod tidy;
