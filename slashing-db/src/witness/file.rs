//! The witness as a file outside the store, owned by whoever holds the lock beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::encoding::{Garbled, decode, encode};
use super::{Witness, WitnessError, WitnessState};

/// No witness is longer, in bytes.
const MAX_BYTES: u64 = 16 * 1024;

/// A witness file whose lock this process holds, for as long as this value lives.
///
/// The kernel frees the lock when the process dies, however it dies, and keeps it while the
/// process is suspended. So on one machine nobody waits for a dead owner, and nobody overtakes a
/// sleeping one. File systems shared between machines may not carry the lock across: there the
/// lease in the file counts, see [`WitnessState::check_lease`].
#[derive(Debug)]
pub struct WitnessFile {
    path: PathBuf,
    lock_path: PathBuf,
    lock: File,
}

/// Reads a witness without owning it, for commands that only look.
///
/// # Errors
/// [`WitnessError::Missing`], [`WitnessError::Garbled`] or [`WitnessError::Io`].
pub fn read_file(path: &Path) -> Result<WitnessState, WitnessError> {
    let failed = |source: io::Error| match source.kind() {
        ErrorKind::NotFound => WitnessError::Missing { path: path.to_owned() },
        _ => io_error("read", path, source),
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    let decoded = match text.len() as u64 > MAX_BYTES {
        true => Err(Garbled::TooLong { max: MAX_BYTES }),
        false => decode(&text),
    };
    decoded.map_err(|problem| WitnessError::Garbled { path: path.to_owned(), problem })
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> WitnessError {
    WitnessError::Io { action, path: path.to_owned(), source }
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

impl WitnessFile {
    /// Owns the witness at `path`, which must exist and lie outside `store`.
    ///
    /// # Errors
    /// [`WitnessError::Owned`] if a process on this machine owns it; [`WitnessError::Missing`],
    /// [`WitnessError::Garbled`], [`WitnessError::InsideStore`] and [`WitnessError::Io`].
    pub fn own(path: &Path, store: &Path) -> Result<Self, WitnessError> {
        check_outside(path, store)?;
        read_file(path)?; // before a lock file is left beside nothing
        let owned = Self::lock(path)?;
        owned.read()?;
        Ok(owned)
    }

    /// Creates the witness of a new store, and owns it.
    ///
    /// # Errors
    /// [`WitnessError::Exists`] if there is one, whatever it says; otherwise as
    /// [`WitnessFile::own`].
    pub fn create(path: &Path, store: &Path, state: &WitnessState) -> Result<Self, WitnessError> {
        check_outside(path, store)?;
        let owned = Self::lock(path)?;
        match fs::symlink_metadata(path) {
            Ok(_) => {
                return Err(WitnessError::Exists { path: path.to_owned() });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("look for", path, error)),
        }
        owned.replace(state)?;
        Ok(owned)
    }

    fn lock(path: &Path) -> Result<Self, WitnessError> {
        let lock_path = sibling(path, ".lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| io_error("create the lock of", path, error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(WitnessError::Owned { path: path.to_owned() });
            }
            Err(error) => return Err(io_error("lock", path, error.into())),
        }
        let owned = Self { path: path.to_owned(), lock_path, lock };
        owned.check_lock()?;
        Ok(owned)
    }

    /// Where the witness is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the lock is still the file that its name leads to: otherwise somebody else could
    /// lock a new one.
    fn check_lock(&self) -> Result<(), WitnessError> {
        let failed = |error| io_error("check the lock of", &self.path, error);
        let held = self.lock.metadata().map_err(failed)?;
        match fs::symlink_metadata(&self.lock_path) {
            Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => Ok(()),
            Ok(_) => Err(WitnessError::LockReplaced { path: self.lock_path.clone() }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(WitnessError::LockReplaced { path: self.lock_path.clone() })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes beside the file, syncs, renames over it, syncs the directory: whoever reads sees the
    /// old or the new witness whole, and after this call the new one survives a power cut.
    fn replace(&self, state: &WitnessState) -> Result<(), WitnessError> {
        let temporary = sibling(&self.path, ".tmp");
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(encode(state).as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            File::open(directory(&self.path))?.sync_all()
        };
        write().map_err(|error| io_error("write", &self.path, error))
    }
}

impl Drop for WitnessFile {
    /// Unlocks by name: closing alone would leave the lock to a child process that is between fork
    /// and exec.
    fn drop(&mut self) {
        // If this fails, closing unlocks.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

impl Witness for WitnessFile {
    fn read(&self) -> Result<WitnessState, WitnessError> {
        self.check_lock()?;
        read_file(&self.path)
    }

    fn compare_and_set(
        &mut self,
        expected: &WitnessState,
        next: &WitnessState,
    ) -> Result<(), WitnessError> {
        let found = self.read()?;
        // `next` is there after a write whose directory sync failed: it is written again. Nobody
        // else can have written it, since it carries this owner's nonce.
        if found != *expected && found != *next {
            return Err(WitnessError::Changed {
                expected: Box::new(expected.clone()),
                found: Box::new(found),
            });
        }
        self.replace(next)
    }
}

/// A witness inside the store would be copied and rolled back with it.
fn check_outside(witness: &Path, store: &Path) -> Result<(), WitnessError> {
    let real = |path: &Path| match fs::canonicalize(path) {
        Ok(real) => Ok(real),
        Err(error) => Err(io_error("find the directory of", witness, error)),
    };
    let store = real(store)?;
    // Where the name leads, and where it lies: neither may be in the store.
    let lies = real(directory(witness))?;
    let leads = fs::canonicalize(witness).unwrap_or_else(|_| lies.clone());
    if lies.starts_with(&store) || leads.starts_with(&store) {
        return Err(WitnessError::InsideStore { witness: witness.to_owned(), store });
    }
    Ok(())
}
