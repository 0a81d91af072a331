//! What spans keys (sources, cohorts, the fleet), and the four things that happen to a request.
//!
//! Locks: a key's lock is held by the caller; the engine's own are taken after it and never the
//! other way round, none across another.

use crate::{Decision, KeyState, Moment, Observation, Outcome, Policy, Rule};

/// Everything that spans keys. Shared by all threads.
#[derive(Debug, Default)]
pub struct Engine {}

/// Something that concerns more than one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// What noticed it.
    pub rule: Rule,
    /// The group or source that it is about, in words.
    pub about: String,
    /// What was seen, and what is normal.
    pub reason: String,
    /// Whether it is taken for an event of the network (most sources at once), not of a source.
    pub is_network_event: bool,
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges a request: reads, and changes nothing.
    pub fn judge(&self, _policy: &Policy, _key: &KeyState, _seen: &Observation) -> Decision {
        Decision::default()
    }

    /// Notes that a request was asked for, whatever was decided: the volume of a source, and the
    /// keys that move along. Once for each request, before a hold and not after it.
    pub fn attempted(&self, _policy: &Policy, _key: &KeyState, _seen: &Observation) {}

    /// Takes the lease and spends the budgets of a request that will be forwarded. Says whether the
    /// owner of the key changed, which is to be kept on disk at once.
    pub fn admit(&self, _policy: &Policy, _key: &mut KeyState, _seen: &Observation) -> bool {
        false
    }

    /// Notes what a refusal leads to: strikes, and the quarantine of a source-key pair.
    pub fn refused(
        &self,
        _policy: &Policy,
        _key: &mut KeyState,
        _seen: &Observation,
        _d: &Decision,
    ) {
    }

    /// Judges an answer before it is released: which shares signed is not known earlier. Reads, and
    /// changes nothing; what it refuses is withheld, and not learned from.
    pub fn judge_answer(
        &self,
        _policy: &Policy,
        _key: &KeyState,
        _seen: &Observation,
        _out: &Outcome,
    ) -> Decision {
        Decision::default()
    }

    /// Learns from a signature that was released.
    pub fn learn(
        &self,
        _policy: &Policy,
        _key: &mut KeyState,
        _seen: &Observation,
        _out: &Outcome,
    ) {
    }

    /// Once a slot: what spans keys is rolled on, and tested.
    pub fn tick(&self, _policy: &Policy, _at: Moment) -> Vec<Alarm> {
        Vec::new()
    }

    /// Tells the engine that the gate was not there until now: what is known of liveness is unknown
    /// for two epochs, and the sequential tests begin anew.
    pub fn resumed(&self, _at: Moment) {}

    /// What spans keys, as it is kept on disk.
    pub fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }

    /// What spans keys, from disk; `None` when it is of another version or garbled.
    pub fn from_bytes(_bytes: &[u8]) -> Option<Self> {
        Some(Self::new())
    }
}
