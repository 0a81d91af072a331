//! Making a store: a declaration of its own, never a side effect of running.

use std::fs;
use std::path::{Path, PathBuf};

use super::directory::{io_error, require_local, sync};
use super::identity::{Identity, IdentityError};
use super::open::new_store;
use super::{DirectoryError, Now, OpenError, Store, commit};
use crate::engine::rocks::{RocksEngine, is_database};
use crate::engine::{Engine, Fatal};
use crate::signed::GenesisValidatorsRoot;
use crate::witness::{BadName, Binding, Host, WitnessError, WitnessFile, WitnessState, read_file};

/// The file that says that a store is not made to its end.
pub(super) const HALF_MADE: &str = "HALF-MADE";

/// What a new store is for.
#[derive(Clone, Debug)]
pub struct InitParams {
    /// Its directory: absent or empty.
    pub directory: PathBuf,
    /// The witness file, outside the directory.
    pub witness: PathBuf,
    /// The network.
    pub network: String,
    /// Its genesis validators root.
    pub genesis_validators_root: GenesisValidatorsRoot,
    /// The set of keys.
    pub key_set: String,
    /// The time.
    pub now: Now,
    /// The machine's boot id: see [`boot_id`](super::boot_id).
    pub boot_id: String,
}

/// Why a store was not made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is something in the directory.
    #[error("{} is not empty: a store is made in a directory of its own", .0.display())]
    NotEmpty(PathBuf),
    /// A store is there, whole.
    #[error("{} holds a slashing store already: `portcullis run` uses it", .0.display())]
    AlreadyMade(PathBuf),
    /// A half-made store of other names is there.
    #[error("the half-made store there is of {store}, and not of {asked}")]
    OtherBinding {
        /// What is there.
        store: Box<Binding>,
        /// What was asked for.
        asked: Box<Binding>,
    },
    /// It cannot live there.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The network or the key set cannot be named so.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The records cannot be written.
    #[error(transparent)]
    Engine(#[from] Fatal),
    /// The witness cannot be made; there may be one of these keys already.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// Something of it is damaged or missing.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Store {
    /// Makes a store and its witness. A making that was cut short is finished by the same call.
    ///
    /// # Errors
    /// [`InitError`]
    pub fn init(params: &InitParams) -> Result<(), InitError> {
        let InitParams { directory, witness, .. } = params;
        let binding =
            Binding::new(&params.network, &params.key_set, params.genesis_validators_root)?;
        begin(directory)?;
        require_local(directory)?;
        let mut engine = RocksEngine::create(directory)?;
        let loaded = engine.load()?;
        let (identity, state) = match Identity::of(&loaded) {
            Ok(identity) => resume(identity, binding, params)?,
            Err(IdentityError::Missing) => {
                let (identity, state) = new_store(binding, params.now, &params.boot_id)?;
                commit(&mut engine, identity.entry())?;
                (identity, state)
            }
            Err(error) => return Err(OpenError::Identity(error).into()),
        };
        match WitnessFile::create(witness, directory, &state) {
            Ok(_owned) => {}
            Err(WitnessError::Exists { path }) => {
                // Ours, from before the crash; or another store's, which must stay the live one.
                if read_file(witness)?.store != identity.local.store {
                    return Err(WitnessError::Exists { path }.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
        drop(engine);
        finish(directory)
    }
}

/// Marks the directory as half made, unless a whole store or something else is in it.
fn begin(directory: &Path) -> Result<(), InitError> {
    let mark = directory.join(HALF_MADE);
    if mark.exists() {
        return Ok(());
    }
    if is_database(directory) {
        return Err(InitError::AlreadyMade(directory.to_owned()));
    }
    fs::create_dir_all(directory).map_err(|error| io_error("make", directory, error))?;
    let mut entries =
        fs::read_dir(directory).map_err(|error| io_error("list", directory, error))?;
    if entries.next().is_some() {
        return Err(InitError::NotEmpty(directory.to_owned()));
    }
    fs::write(&mark, b"run `portcullis slashing init` again\n")
        .map_err(|error| io_error("write", &mark, error))?;
    Ok(sync(directory)?)
}

fn resume(
    identity: Identity,
    asked: Binding,
    params: &InitParams,
) -> Result<(Identity, WitnessState), InitError> {
    if identity.local.binding != asked {
        return Err(InitError::OtherBinding {
            store: Box::new(identity.local.binding),
            asked: Box::new(asked),
        });
    }
    let host = Host {
        boot_id: params.boot_id.clone(),
        boot_time: params.now.boot,
        unix_seconds: params.now.unix_s,
    };
    let (store, nonce) = (identity.local.store, identity.local.claim.nonce);
    Ok((identity, WitnessState::of_new_store(asked, store, nonce, &host)))
}

fn finish(directory: &Path) -> Result<(), InitError> {
    let mark = directory.join(HALF_MADE);
    fs::remove_file(&mark).map_err(|error| io_error("remove", &mark, error))?;
    sync(directory)?;
    match directory.canonicalize().ok().as_deref().and_then(Path::parent) {
        Some(parent) => Ok(sync(parent)?),
        None => Ok(()),
    }
}
