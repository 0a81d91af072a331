//! Whether the store may still be used: one failure ends it for ever.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::engine::Fatal;
use crate::lease::Lease;

/// Why a store failed. Shared by all who ask.
#[derive(Debug, thiserror::Error)]
pub enum Poison {
    /// The engine could not write.
    #[error("the slashing store could not be written; every request is refused until a restart")]
    Engine(#[source] Fatal),
    /// The witness says that this store is not the live one, or cannot be written.
    #[error("the witness no longer vouches for this store; every request is refused")]
    Witness(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The recorder's thread panicked: a bug.
    #[error("the recorder panicked; every request is refused until a restart")]
    RecorderPanicked,
}

type Callback = Box<dyn FnOnce(&Poison) + Send>;

/// The state that recorder, watermarks, permits and store share.
pub(crate) struct Health {
    lease: Lease,
    poison: OnceLock<Poison>,
    is_poisoned: AtomicBool,
    /// The number that the next accepted record takes.
    next_sequence: AtomicU64,
    /// The highest number that is durable.
    durable_sequence: AtomicU64,
    callbacks: Mutex<Vec<Callback>>,
    changed: Condvar,
}

impl Health {
    /// `sequence`: the highest number that the store holds.
    pub(crate) fn new(sequence: u64) -> Self {
        Self {
            lease: Lease::new(),
            poison: OnceLock::new(),
            is_poisoned: AtomicBool::new(false),
            next_sequence: AtomicU64::new(sequence + 1),
            durable_sequence: AtomicU64::new(sequence),
            callbacks: Mutex::new(Vec::new()),
            changed: Condvar::new(),
        }
    }

    pub(crate) const fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.is_poisoned.load(Ordering::Acquire)
    }

    pub(crate) fn poison(&self) -> Option<&Poison> {
        self.poison.get()
    }

    pub(crate) fn take_sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn note_durable(&self, sequence: u64) {
        self.durable_sequence.fetch_max(sequence, Ordering::AcqRel);
    }

    pub(crate) fn durable_sequence(&self) -> u64 {
        self.durable_sequence.load(Ordering::Acquire)
    }

    /// Ends the store. The first reason stays.
    pub(crate) fn set_poison(&self, poison: Poison) {
        self.lease.poison();
        self.is_poisoned.store(true, Ordering::Release);
        if self.poison.set(poison).is_ok() {
            let _waiting = self.callbacks.lock(); // nobody is between looking and waiting
            self.changed.notify_all();
        }
    }

    /// Calls back everybody who asked for it, once the store has failed.
    pub(crate) fn tell(&self) {
        let Some(reason) = self.poison.get() else {
            return;
        };
        let callbacks = std::mem::take(&mut *self.callbacks.lock());
        for callback in callbacks {
            callback(reason);
        }
    }

    /// Calls back when the store fails: at once if it has failed already.
    pub(crate) fn on_poison(&self, callback: Callback) {
        let mut waiting = self.callbacks.lock();
        match self.poison.get() {
            None => waiting.push(callback),
            Some(reason) => {
                drop(waiting);
                callback(reason);
            }
        }
    }

    /// Blocks until the store fails.
    pub(crate) fn wait_for_poison(&self) -> &Poison {
        let mut waiting = self.callbacks.lock();
        loop {
            if let Some(reason) = self.poison.get() {
                return reason;
            }
            self.changed.wait(&mut waiting);
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("lease", &self.lease)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}
