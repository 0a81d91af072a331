//! The store as a whole: begun by declaration, opened by one owner, never made by running.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::{Engine, Fatal};
use crate::health::{Health, Poison};
use crate::lease::BootTime;
use crate::message::KeyId;
use crate::recorder::{RecordError, Recorder, Thread};
use crate::signed::{GenesisValidatorsRoot, PublicKey};
use crate::watermarks::Watermarks;
use crate::witness::{Binding, Host, Witness, WitnessState};

#[cfg(feature = "rocksdb")]
mod directory;
mod enrol;
mod export;
mod identity;
mod import;
#[cfg(feature = "rocksdb")]
mod init;
mod open;
#[cfg(feature = "rocksdb")]
mod read_only;
mod renew;
#[cfg(test)]
mod tests;

#[cfg(feature = "rocksdb")]
pub use directory::DirectoryError;
pub use enrol::{EnrolError, Enrolling, Enrolment, Floor, KEYS_IN_FLIGHT_MAX};
pub use export::ExportError;
pub use identity::{Identity, IdentityError};
pub use import::{ImportBounds, ImportError, ImportReport, Imported, KeyTable, NotImported};
#[cfg(feature = "rocksdb")]
pub use init::{InitError, InitParams};
pub use open::{OpenError, Opening, Parts};
#[cfg(feature = "rocksdb")]
pub use read_only::ReadOnlyStore;
pub use renew::{RenewError, SealError};

/// The time, passed in: nothing in this crate reads a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_BOOTTIME`, read for this call.
    pub boot: BootTime,
    /// Seconds since 1970.
    pub unix_s: u64,
    /// The epoch of the present slot.
    pub epoch: u64,
    /// The present slot.
    pub slot: u64,
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct OpenParams {
    /// The store's directory.
    pub directory: PathBuf,
    /// The witness file, outside the directory.
    pub witness: PathBuf,
    /// The network that the configuration names.
    pub network: String,
    /// The genesis validators root that the configuration pins: never learnt from a request.
    pub genesis_validators_root: GenesisValidatorsRoot,
    /// The set of keys, so that one network may have several stores.
    pub key_set: String,
    /// The time: [`Opening::own`] takes a later one.
    pub now: Now,
    /// The machine's boot id: see [`boot_id`].
    pub boot_id: String,
    /// How many requests may wait for the recorder; an eighth is kept for blocks.
    pub places_max: usize,
    /// A clock that never goes back, by which the recorder measures its commits.
    pub monotonic: fn() -> Duration,
}

/// The kernel's boot id, which tells one run of a machine from the next.
///
/// # Errors
/// When `/proc` is not there.
pub fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// An open store: its recorder, its witness, and the keys that it knows.
///
/// The watermarks themselves are given away when it is opened: each belongs under its key's lock.
pub struct Store {
    recorder: Recorder,
    health: Arc<Health>,
    thread: Mutex<Option<Thread>>,
    owner: Mutex<Owner>,
    keys: Mutex<Keys>,
    boot_id: String,
    unfinished_import: bool,
    /// The time of the last renewal, in seconds since 1970: read under a key's lock, so no lock.
    now_unix_s: AtomicU64,
    /// The highest time that was ever made durable.
    last_unix_s: AtomicU64,
}

/// What stands between this store and its witness.
struct Owner {
    identity: Identity,
    /// Let go of by the seal, so that a successor may own it while this process still ends.
    witness: Option<Box<dyn Witness>>,
    /// What the witness says, as far as it is known.
    said: WitnessState,
    /// What it may say instead: a write that failed without a word about what was written.
    in_doubt: Option<WitnessState>,
}

/// Every key that was ever enrolled: a row number is never used twice.
#[derive(Default)]
struct Keys {
    known: BTreeMap<PublicKey, bool>,
    next_id: u32,
}

impl Store {
    /// The handle by which places are reserved.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Why the store failed, if it has. It stays failed until the process ends.
    #[must_use]
    pub fn poisoned(&self) -> Option<&Poison> {
        self.health.poison()
    }

    /// Calls back once when the store fails, at once if it has: the process must end, and not well.
    ///
    /// The callback must not call the store: it runs where the store failed.
    pub fn on_poison(&self, callback: impl FnOnce(&Poison) + Send + 'static) {
        self.health.on_poison(Box::new(callback));
    }

    /// Blocks until the store fails.
    pub fn wait_for_poison(&self) -> &Poison {
        self.health.wait_for_poison()
    }

    /// The network and key set.
    #[must_use]
    pub fn binding(&self) -> Binding {
        self.owner.lock().identity.local.binding.clone()
    }

    /// What the store says of itself now.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.owner.lock().identity.clone()
    }

    /// Whether an import was cut short by a crash: run it again, which is safe.
    #[must_use]
    pub const fn has_unfinished_import(&self) -> bool {
        self.unfinished_import
    }

    fn host(&self, now: Now) -> Host {
        Host { boot_id: self.boot_id.clone(), boot_time: now.boot, unix_seconds: now.unix_s }
    }

    /// Watermarks belong to the store that made them.
    fn assert_own(&self, watermarks: &Watermarks) {
        assert!(
            Arc::ptr_eq(watermarks.health(), &self.health),
            "a key's changes belong into the key's own store"
        );
    }

    /// Ends the recorder after it has written what waits. Gives the engine back, once.
    fn stop(&self) -> Option<Box<dyn Engine>> {
        self.recorder.close();
        let thread = self.thread.lock().take()?;
        thread.join().ok()
    }
}

impl Keys {
    fn take_id(&mut self) -> KeyId {
        let id = KeyId(self.next_id);
        self.next_id = self.next_id.checked_add(1).expect("no store has 2^32 keys");
        id
    }
}

impl Drop for Store {
    /// Not a clean stop: see [`Store::seal`].
    fn drop(&mut self) {
        self.health.lease().poison();
        drop(self.stop());
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("recorder", &self.recorder).finish_non_exhaustive()
    }
}

/// A failure of the store in the middle of an operation of its own.
#[derive(Debug, thiserror::Error)]
#[error("the slashing store could not write")]
pub struct NotWritten(#[source] pub RecordError);

/// The engine's word on something that must be there.
fn commit(engine: &mut dyn Engine, entry: crate::engine::Entry) -> Result<(), Fatal> {
    engine.commit(&[entry]).map(|_| ())
}
