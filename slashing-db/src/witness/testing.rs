//! A witness in memory, for tests of what stands on one. It survives nothing: never sign with it.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Witness, WitnessError, WitnessState};

/// A witness that all its clones share, as processes share a file; without the lock of
/// [`WitnessFile`](super::WitnessFile), so that two owners may race.
#[derive(Debug, Clone, Default)]
pub struct MemoryWitness {
    state: Arc<Mutex<Option<WitnessState>>>,
    failing: Arc<Mutex<Option<Failure>>>,
}

/// How a [`MemoryWitness`] fails the next compare-and-set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing is written.
    BeforeWriting,
    /// The new state is written, but the caller hears of an error.
    AfterWriting,
}

impl MemoryWitness {
    /// A witness that says `state`.
    pub fn new(state: WitnessState) -> Self {
        Self { state: Arc::new(Mutex::new(Some(state))), ..Self::default() }
    }

    /// A witness that is missing.
    pub fn missing() -> Self {
        Self::default()
    }

    /// Fails the next compare-and-set in this way.
    pub fn fail_next(&self, failure: Failure) {
        *self.failing.lock() = Some(failure);
    }

    fn failed() -> WitnessError {
        WitnessError::Io {
            action: "write",
            path: PathBuf::from("memory"),
            source: std::io::Error::other("failure asked for by a test"),
        }
    }
}

impl Witness for MemoryWitness {
    fn read(&self) -> Result<WitnessState, WitnessError> {
        let state = self.state.lock().clone();
        state.ok_or_else(|| WitnessError::Missing { path: PathBuf::from("memory") })
    }

    fn compare_and_set(
        &mut self,
        expected: &WitnessState,
        next: &WitnessState,
    ) -> Result<(), WitnessError> {
        let mut state = self.state.lock();
        let Some(found) = state.as_ref() else {
            return Err(WitnessError::Missing { path: PathBuf::from("memory") });
        };
        if found != expected && found != next {
            return Err(WitnessError::Changed {
                expected: Box::new(expected.clone()),
                found: Box::new(found.clone()),
            });
        }
        match self.failing.lock().take() {
            None => *state = Some(next.clone()),
            Some(Failure::BeforeWriting) => return Err(Self::failed()),
            Some(Failure::AfterWriting) => {
                *state = Some(next.clone());
                return Err(Self::failed());
            }
        }
        Ok(())
    }
}
