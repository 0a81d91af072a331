//! Is this usual for this very key?
//!
//! Rules, baselines, scores and the decision. Pure: no clock, no socket, no file, no logging; time
//! is passed in, and what is seen of a request is an [`Observation`] of numbers, with no public key
//! in it.
//!
//! | file | what |
//! |---|---|
//! | `observation.rs` | what is seen of one request, and of its answer |
//! | `settings.rs` | what the operator decided: the compiled policy document |
//! | `rule.rs` | every rule and signal: its name, its number, its mode |
//! | `decision.rs` | the verdict with its reasons, which add up |
//! | `engine.rs` | judge, admit, learn, tick; `engine/`: what spans keys |
//! | `rules.rs` | the deterministic rules, one small function each, in `rules/` |
//! | `score.rs` | who is asking: the context score |
//! | `sequential.rs` | what adds up: timing, shares, rates |
//! | `key.rs` | the state of one key, packed; its parts in `key/` |
//! | `describe.rs` | the state of a key in plain numbers, for people |
//! | `table.rs` | bounded maps that many threads use at once |
//!
//! # One request
//! [`Engine::judge`] reads and changes nothing. [`Engine::attempted`] notes that it was asked,
//! refused or not. [`Engine::admit`] runs under the same key lock when nothing refused: the lease
//! is taken and the budgets are spent before anything is forwarded, so that two who ask at once
//! cannot both be the first. [`Engine::judge_answer`] may withhold the signature that came back,
//! for who made it is not known earlier. [`Engine::learn`] runs once a signature was released;
//! statistics learn from nothing else.

mod bytes;
pub mod decision;
pub mod describe;
pub mod engine;
pub mod key;
pub mod observation;
pub mod rule;
mod rules;
#[cfg(test)]
mod scene;
mod score;
pub mod sequential;
pub mod settings;
mod table;

pub use decision::{Decision, Evidence, Finding, Level, Term, Terms, Verdict};
pub use describe::{Described, SourceSeen};
pub use engine::drifts::Drift;
pub use engine::{Alarm, Engine, OwnerChange, Struck};
pub use key::{Holder, KeyState};
pub use observation::{
    ClientIndex, DutyType, Header, Message, Moment, Observation, Outcome, ShareSet, Source,
};
pub use rule::{Mode, Rule};
pub use settings::{
    Chain, ClientPolicy, Enrolment, GroupIndex, GroupPolicy, KeySet, Permission, Policy,
    Thresholds, Window, WindowId, WindowKind,
};
