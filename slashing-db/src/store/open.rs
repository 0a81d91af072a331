//! Opening: two-phase with the witness, so that a copy of the directory signs nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use super::identity::{Identity, IdentityError, has_unfinished_import};
use super::{Keys, Now, OpenParams, Owner, RenewError, Store, commit};
use crate::engine::{Engine, Fatal, KeyRecord, Loaded};
use crate::health::Health;
use crate::recorder::Recorder;
use crate::watermarks::Watermarks;
use crate::witness::{
    BEGIN_ANEW, BadName, Binding, Host, OpenRefused, OwnerNonce, Witness, WitnessError, plan_open,
};

/// Where a store's records and its witness are kept.
pub struct Parts {
    /// The records.
    pub engine: Box<dyn Engine>,
    /// The witness.
    pub witness: Box<dyn Witness>,
}

/// A store that has been read and is not owned yet: see [`Store::read`].
pub struct Opening<'a> {
    params: &'a OpenParams,
    parts: Parts,
    loaded: Loaded,
}

/// Why a store was not opened. Nothing may be signed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no store: only `slashing init` makes one.
    #[error("{} holds no slashing store: run `portcullis slashing init`", .0.display())]
    NoStore(std::path::PathBuf),
    /// There is none, and yet it had a witness.
    #[error(
        "{} holds no slashing store, but its witness {} is there: the store was moved or lost. If it \
         was moved, set slashing.directory to where it is now; if it is lost, {}",
        .directory.display(),
        .witness.display(),
        BEGIN_ANEW
    )]
    StoreLost {
        /// Where the store should be.
        directory: std::path::PathBuf,
        /// Its witness.
        witness: std::path::PathBuf,
    },
    /// Its making was cut short.
    #[error("the store in {} is half made: run `portcullis slashing init` again", .0.display())]
    HalfMade(std::path::PathBuf),
    /// It cannot live there.
    #[cfg(feature = "rocksdb")]
    #[error(transparent)]
    Directory(#[from] super::DirectoryError),
    /// The configuration names what cannot be named.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The records cannot be read or written.
    #[error(transparent)]
    Engine(#[from] Fatal),
    /// The store does not say who it is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The configuration is of another network or key set.
    #[error(
        "the store is of {store}, the configuration is of {configured}: correct the network or \
         slashing.key_set in the configuration, or give this network a store of its own"
    )]
    OtherBinding {
        /// What the store was made for.
        store: Box<Binding>,
        /// What the configuration says.
        configured: Box<Binding>,
    },
    /// The witness cannot be asked, or another owns it.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// This is not the live copy, or another machine's lease still runs.
    #[error(transparent)]
    Refused(#[from] OpenRefused),
    /// The kernel gave no random numbers, or no thread.
    #[error("the system gives no {what}")]
    System {
        /// What it did not give.
        what: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The first lease was not granted.
    #[error("the first lease was not granted")]
    Renew(#[from] RenewError),
}

impl Store {
    /// Opens the store in a directory, with its witness file. Never creates either.
    ///
    /// # Errors
    /// [`OpenError`] says why nothing may be signed, and who must act.
    #[cfg(feature = "rocksdb")]
    pub fn open(params: &OpenParams) -> Result<(Self, Vec<Watermarks>), OpenError> {
        Self::read(params)?.own(params.now)
    }

    /// Does what takes long in an opening, and claims nothing: the log of a large store that was
    /// killed may take seconds to replay, on a slow disk longer than a lease lasts. The lease is
    /// taken by [`Opening::own`], from a time that is read after this.
    ///
    /// # Errors
    /// As [`Store::open`].
    #[cfg(feature = "rocksdb")]
    pub fn read(params: &OpenParams) -> Result<Opening<'_>, OpenError> {
        use crate::engine::rocks::{RocksEngine, is_database};
        use crate::witness::WitnessFile;

        if params.directory.join(super::init::HALF_MADE).exists() {
            return Err(OpenError::HalfMade(params.directory.clone()));
        }
        if !is_database(&params.directory) {
            if params.witness.exists() {
                let (directory, witness) = (params.directory.clone(), params.witness.clone());
                return Err(OpenError::StoreLost { directory, witness });
            }
            return Err(OpenError::NoStore(params.directory.clone()));
        }
        super::directory::require_local(&params.directory)?;
        let witness = Box::new(WitnessFile::own(&params.witness, &params.directory)?);
        let engine = Box::new(RocksEngine::open(&params.directory)?);
        Opening::of(params, Parts { engine, witness })
    }

    /// Opens a store on an engine and a witness of the caller's. The two paths are not used.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(
        params: &OpenParams,
        parts: Parts,
    ) -> Result<(Self, Vec<Watermarks>), OpenError> {
        Opening::of(params, parts)?.own(params.now)
    }

    /// Makes the records and the witness state of a new store on parts of the caller's, for tests
    /// and simulations; gives the state that the witness must begin with.
    ///
    /// # Errors
    /// [`OpenError`] when a name is none or the engine fails.
    pub fn init_with(
        params: &OpenParams,
        engine: &mut dyn Engine,
    ) -> Result<crate::witness::WitnessState, OpenError> {
        let (identity, state) = new_store(params.binding()?, params.now, &params.boot_id)?;
        commit(engine, identity.entry())?;
        Ok(state)
    }
}

impl<'a> Opening<'a> {
    pub(super) fn of(params: &'a OpenParams, mut parts: Parts) -> Result<Self, OpenError> {
        let loaded = parts.engine.load()?;
        Ok(Self { params, parts, loaded })
    }

    /// Becomes the owner, from `now` on, which must be read for this call.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn own(self, now: Now) -> Result<(Store, Vec<Watermarks>), OpenError> {
        let Self { params, parts: Parts { mut engine, mut witness }, loaded } = self;
        let mut identity = Identity::of(&loaded)?;
        require_binding(params, &identity)?;
        let here =
            Host { boot_id: params.boot_id.clone(), boot_time: now.boot, unix_seconds: now.unix_s };
        let nonce = OwnerNonce::random().map_err(|source| system("random numbers", source))?;
        let plan = plan_open(&identity.local, &witness.read()?, &here, nonce)?;
        // Each step is durable before the next; a crash between any two is recovered from.
        identity.local = plan.pend().clone();
        commit(engine.as_mut(), identity.entry())?;
        let (expected, claimed) = plan.claim();
        witness.compare_and_set(expected, claimed)?;
        identity.local = plan.confirm();
        commit(engine.as_mut(), identity.entry())?;

        let health = Arc::new(Health::new(identity.local.sequence));
        let (recorder, thread) =
            Recorder::start(engine, Arc::clone(&health), params.places_max, params.monotonic)
                .map_err(|source| system("thread", source))?;
        let said = claimed.clone();
        let last_unix_s = identity.last_unix_s.max(said.last_unix_seconds);
        let owner = Owner { identity, witness: Some(witness), said, in_doubt: None };
        let store = Store {
            recorder,
            health: Arc::clone(&health),
            thread: Mutex::new(Some(thread)),
            owner: Mutex::new(owner),
            keys: Mutex::new(Keys::of(&loaded.keys)),
            boot_id: params.boot_id.clone(),
            unfinished_import: has_unfinished_import(&loaded),
            now_unix_s: AtomicU64::new(now.unix_s),
            last_unix_s: AtomicU64::new(last_unix_s),
        };
        store.renew(now)?;
        let watermarks =
            loaded.keys.into_iter().map(|key| Watermarks::new(key, Arc::clone(&health)));
        Ok((store, watermarks.collect()))
    }
}

impl OpenParams {
    pub(super) fn binding(&self) -> Result<Binding, BadName> {
        Binding::new(&self.network, &self.key_set, self.genesis_validators_root)
    }
}

/// The two sides of a store that has signed nothing.
pub(super) fn new_store(
    binding: Binding,
    now: Now,
    boot_id: &str,
) -> Result<(Identity, crate::witness::WitnessState), OpenError> {
    use crate::witness::{Local, StoreId, WitnessState};

    let store = StoreId::random().map_err(|source| system("random numbers", source))?;
    let nonce = OwnerNonce::random().map_err(|source| system("random numbers", source))?;
    let host = Host { boot_id: boot_id.to_owned(), boot_time: now.boot, unix_seconds: now.unix_s };
    let local = Local::of_new_store(binding.clone(), store, nonce);
    let state = WitnessState::of_new_store(binding, store, nonce, &host);
    Ok((Identity { local, last_unix_s: now.unix_s }, state))
}

impl Keys {
    fn of(records: &[KeyRecord]) -> Self {
        Self {
            known: records.iter().map(|key| (key.public_key, key.is_enabled)).collect(),
            next_id: records.iter().map(|key| key.id.get() + 1).max().unwrap_or(0),
        }
    }
}

fn require_binding(params: &OpenParams, identity: &Identity) -> Result<(), OpenError> {
    let configured = params.binding()?;
    if identity.local.binding == configured {
        return Ok(());
    }
    Err(OpenError::OtherBinding {
        store: Box::new(identity.local.binding.clone()),
        configured: Box::new(configured),
    })
}

const fn system(what: &'static str, source: std::io::Error) -> OpenError {
    OpenError::System { what, source }
}
