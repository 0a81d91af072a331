//! The integration tests: one binary. A test that needs a server or a client starts it itself.
//!
//! | what | where |
//! |---|---|
//! | the rules of the house | `tidy` |
//! | the path from outside: request in, status and code out | `path` |
//! | one live copy: copies, second gates, snapshots, suspension, kills while opening | `one_live_copy` |
//! | twins of one slot, all at once | `twins` |
//! | the gate's own code in a world of crashes and liars, by seed | `simulation` |
//! | seeded random numbers | `chance` |
//! | processes, requests and connections for all of them | `support` |

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod chance;
mod one_live_copy;
mod path;
mod simulation;
mod support;
mod tidy;
mod twins;
