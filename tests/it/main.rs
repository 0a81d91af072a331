//! The integration tests: one binary. A test that needs a server or a client starts it itself.
//!
//! | what | where |
//! |---|---|
//! | the rules of the house | `tidy` |
//! | the path from outside: request in, status and code out | `path` |
//! | whatever strangers send, and how they connect | `bad_input` |
//! | what real clients sent, once more | `captures` |
//! | a flood of what is not urgent beside what is | `flood` |
//! | processes, requests and connections for all of them | `support` |

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod bad_input;
mod captures;
mod flood;
mod path;
mod support;
mod tidy;
