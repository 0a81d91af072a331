//! The integration tests: one binary. A test that needs a server or a client starts it itself.
//!
//! | what | where |
//! |---|---|
//! | the rules of the house | `tidy` |
//! | the path from outside: request in, status and code out | `path` |
//! | nothing conflicting, nothing unrecorded leaves, whatever crashes, fills up or lies | `crash` |
//! | one live copy of a store; commands on a running and a stopped gate | `one_live_copy` |
//! | a gate takes over from another: under load, broken off, from a service manager | `handover` |
//! | whether people are told, whoever is dead | `events` |
//! | many requests for one slot at the same moment | `twins` |
//! | the demonstration, as a person runs it | `demo` |
//! | whatever strangers send, and how they connect | `bad_input` |
//! | the admin API: callers, roles, two identities, dry runs | `admin` |
//! | what real clients sent, once more | `captures` |
//! | certificates, passwords, listeners, balancers: who is asking | `clients` |
//! | a flood of what is not urgent beside what is | `flood` |
//! | signers whose answers are not the signatures | `lying_signer` |
//! | many keys enrolled and imported at once | `scale` |
//! | dashboards and alerts ask for what is exported; with a real Prometheus too | `dashboards` |
//! | request ids, traces and spans, with a signer and a collector that look | `request_names` |
//! | what `docker/` ships, as far as no engine is needed | `containers` |
//! | seeded worlds of crashes, faults and hostile clients | `simulation` |
//! | keys go to another client, batch by batch, whatever is killed or left alive | `rotation` |
//! | several signers: who is asked, and what one that fails costs | `replicas` |
//! | one incident and one page for one cause, over restarts | `incident_response` |
//! | what has happened to others, with time that is turned | `incidents` |
//! | time that a test turns: the feature `test-clock`, which `make test` has | `test_clock` |
//! | leases, refusals that burn nothing, what outlives the gate | `policy` |
//! | the policy as a document | `policy_document` |
//! | drafts of a policy: replayed, published, rejected | `policy_replay` |
//! | processes, requests and connections for all of them | `support` |

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod admin;
mod bad_input;
mod captures;
mod clients;
mod containers;
mod crash;
mod dashboards;
mod demo;
mod events;
mod flood;
mod handover;
mod incident_response;
#[cfg(feature = "test-clock")]
mod incidents;
mod lying_signer;
mod one_live_copy;
mod path;
mod policy;
mod policy_document;
mod policy_replay;
mod replicas;
mod request_names;
mod response;
mod rotation;
mod scale;
mod simulation;
mod support;
#[cfg(feature = "test-clock")]
mod test_clock;
mod tidy;
mod twins;

#[cfg(not(feature = "test-clock"))]
#[test]
#[ignore = "NOT RUN: what needs a clock that is turned; add --features test-clock, as make test does"]
fn whatever_needs_a_test_clock() {}
