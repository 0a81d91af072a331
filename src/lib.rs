//! Portcullis: an inline, Web3Signer-compatible signing gate.
//!
//! It stands between Ethereum validator clients and the signers that hold their keys. Every request
//! for a signature is parsed, its signing root recomputed, held against EIP-3076 and the
//! configuration, recorded durably, and only then forwarded. What is slashable never reaches a
//! signer.
//!
//! # Where to start
//!
//! [`sign`] is the path of one request: nine steps on one screen. Then one of: what is slashable
//! (`slashing_db::rules`), what a root is ([`eth`]), what is answered ([`server::respond`]).
//!
//! # What is where
//!
//! | module | holds |
//! |---|---|
//! | [`sign`] | the path; why something was not signed; what is said of it |
//! | [`eth`] | the consensus specification, and nothing of ours |
//! | [`web3signer`] | the HTTP dialect, both directions |
//! | [`validators`] | the table of keys, each with its lock |
//! | [`validated_keys`] | the keys as points, validated once |
//! | [`judgement`] | what requests are judged by: the policy, the engine, who has which place |
//! | [`response`] | what happens after a verdict: quarantines, rotation windows, incidents |
//! | [`events`] | what people and their programs are told, and how it reaches them |
//! | [`audit`] | the log of every decision and action, which shows what was changed later |
//! | [`recording`] | what was judged, on disk, and judged once more by a draft of a policy |
//! | [`enrolment`] | how keys begin and end, by declaration |
//! | [`upstream`] | the signers: pooled connections, twins, verification, which keys they have |
//! | [`clients`] | who is asking: certificate, listener, password, address |
//! | [`server`] | listeners, workers, bounds, drain; the only table of statuses |
//! | [`tls`] | certificates, keys and passwords from files, for both sides of the gate |
//! | [`admin`] | the API for people and their scripts, on a listener of its own |
//! | [`control`] | an operator's commands to the running gate, over a Unix socket |
//! | [`trace`] | what a request is called: its id, its trace, its span |
//! | [`handover`] | sockets and store pass to the gate that follows, for upgrades |
//! | [`systemd`] | readiness and watchdog, for a service manager |
//! | [`config`], [`limits`], [`clock`], [`metrics`], [`logging`] | what their names say |
//! | [`cli`] | the commands |
//! | [`bls`] | signatures, one and by the batch; the only FFI |
//! | [`dev_signer`] | a signer for development |
//!
//! The member crate `slashing_db` answers "is this slashable, and is it written down?", `policy`
//! answers "is this usual for this very key?". Neither knows the other, nor this crate.
//!
//! # What is never where
//!
//! - A forward without a `slashing_db::Permit`, which only the store can make and which is spent by
//!   the forward: it does not compile.
//! - A lock held across an `.await`, or two keys' locks at once.
//! - The clock outside [`clock`]; a status of the signing side outside [`server::respond`]; RocksDB
//!   outside `slashing_db`; a wildcard arm over duties, forks or verdicts.
//!
//! `tests/it/tidy.rs` holds these.

pub mod admin;
pub mod audit;
pub mod bls;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
pub mod control;
pub mod dev_signer;
pub mod enrolment;
pub mod eth;
pub mod events;
pub mod handover;
pub mod judgement;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod recording;
pub mod response;
pub mod server;
pub mod sign;
pub mod systemd;
pub mod tls;
pub mod trace;
pub mod upstream;
pub mod validated_keys;
pub mod validators;
pub mod web3signer;

#[cfg(test)]
mod tests;
