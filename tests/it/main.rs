//! The integration tests: one binary. A test that needs a server or a client starts it itself.
//!
//! | what | where |
//! |---|---|
//! | the rules of the house | `tidy` |
//! | the path from outside: request in, status and code out | `path` |
//! | the demonstration, as a person runs it | `demo` |
//! | processes, requests and connections for all of them | `support` |

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod demo;
mod path;
mod support;
mod tidy;
