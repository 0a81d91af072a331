//! Where the development signer's keys come from, and how a request finds its key.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use serde::Deserialize;

use super::hex::{Hex, HexError};
use super::keystore::{self, KeystoreError};
use crate::bls::{BlsError, SecretKey};

/// The root that `--stub` signatures are made over: it belongs to no message.
pub const STUB_ROOT: [u8; 32] = *b"portcullis dev-signer stub root!";

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The first `count` interop keys, whose secrets the whole world knows.
    Interop {
        /// How many keys, from index 0.
        count: u64,
    },
    /// Every `*.json` of a directory as an EIP-2335 keystore, all with the same password.
    Keystores {
        /// The directory of the keystores.
        dir: PathBuf,
        /// The file that holds the password.
        password_file: PathBuf,
    },
    /// Every `*.yaml` and `*.yml` of a directory as a Web3Signer key file.
    KeyFiles {
        /// The directory of the key files; relative paths in them start here.
        dir: PathBuf,
    },
}

/// Why keys could not be loaded. The operator must act; the file is named.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A directory or a file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A keystore could not be opened.
    #[error("{}", path.display())]
    Keystore {
        /// The keystore.
        path: PathBuf,
        /// Why.
        source: Box<KeystoreError>,
    },
    /// A key file is not YAML of a known shape.
    #[error("{} is not a Web3Signer key file", path.display())]
    KeyFile {
        /// The key file.
        path: PathBuf,
        /// Where and why.
        source: Box<serde_saphyr::Error>,
    },
    /// A key file of a type, or a kind of key, that a development signer does not serve.
    #[error(
        "{}: {field} {value:?} is not supported, only file-raw and file-keystore with BLS keys are",
        path.display()
    )]
    Unsupported {
        /// The key file.
        path: PathBuf,
        /// `type` or `keyType`.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// A field that the type needs is absent.
    #[error("{}: {field} is missing", path.display())]
    Missing {
        /// The key file.
        path: PathBuf,
        /// The absent field.
        field: &'static str,
    },
    /// `privateKey` is not 32 bytes of hexadecimal.
    #[error("{}: privateKey", path.display())]
    Hex {
        /// The key file.
        path: PathBuf,
        /// Why.
        source: HexError,
    },
    /// `privateKey` is not a secret key.
    #[error("{}: privateKey", path.display())]
    Secret {
        /// The key file.
        path: PathBuf,
        /// Why.
        source: BlsError,
    },
    /// Two files hold one key.
    #[error("the key {0} was found twice")]
    Duplicate(Hex<48>),
    /// There is nothing to sign with.
    #[error("no key was found in {}", .0.display())]
    None(PathBuf),
}

/// One key that the signer holds.
#[derive(Debug)]
pub struct Key {
    /// The compressed public key.
    pub public_key: Hex<48>,
    /// The signature over [`STUB_ROOT`], only when signatures are stubbed.
    pub stub_signature: Option<[u8; 96]>,
    secret_key: SecretKey,
}

impl Key {
    fn new(secret_key: SecretKey, stub: bool) -> Self {
        let public_key = Hex(secret_key.public_key().to_bytes());
        let stub_signature = stub.then(|| secret_key.sign(&STUB_ROOT));
        Self { public_key, stub_signature, secret_key }
    }

    /// Signs a signing root.
    pub fn sign(&self, root: &[u8; 32]) -> [u8; 96] {
        self.secret_key.sign(root)
    }
}

/// The keys that the signer holds, found by public key.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<Key>,
    index: HashMap<Hex<48>, usize>,
}

impl KeyRing {
    /// Loads every key of `source` on all cores; one bad file fails the whole load. With `stub`
    /// each key's fixed signature is computed too.
    pub fn load(source: &KeySource, stub: bool) -> Result<Self, KeyError> {
        let jobs = jobs(source)?;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let share = jobs.len().div_ceil(cores).max(1);
        let shares: Vec<Result<Vec<Key>, KeyError>> = thread::scope(|scope| {
            let threads: Vec<_> = jobs
                .chunks(share)
                .map(|jobs| {
                    scope.spawn(move || {
                        jobs.iter().map(|job| Ok(Key::new(job.open()?, stub))).collect()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().expect("opening a key does not panic")).collect()
        });
        let mut ring = Self { keys: Vec::with_capacity(jobs.len()), index: HashMap::new() };
        for share in shares {
            for key in share? {
                ring.insert(key)?;
            }
        }
        Ok(ring)
    }

    fn insert(&mut self, key: Key) -> Result<(), KeyError> {
        if self.index.insert(key.public_key, self.keys.len()).is_some() {
            return Err(KeyError::Duplicate(key.public_key));
        }
        self.keys.push(key);
        Ok(())
    }

    /// All keys, in the order in which they were loaded.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key with this public key.
    pub fn find(&self, public_key: &Hex<48>) -> Option<&Key> {
        self.index.get(public_key).map(|&at| &self.keys[at])
    }

    /// The key that follows, for signatures that are wrong on purpose; `None` for the only key.
    pub fn neighbour(&self, public_key: &Hex<48>) -> Option<&Key> {
        let at = self.index.get(public_key)?;
        Some(&self.keys[(at + 1) % self.keys.len()]).filter(|key| key.public_key != *public_key)
    }
}

/// One key that is still to be opened; opening a keystore takes a tenth of a second or more.
#[derive(Debug)]
enum Job {
    Interop(u64),
    Keystore { path: PathBuf, password: String },
    Raw { path: PathBuf, secret: Hex<32> },
}

impl Job {
    fn open(&self) -> Result<SecretKey, KeyError> {
        match self {
            Self::Interop(index) => Ok(SecretKey::interop(*index)),
            Self::Keystore { path, password } => {
                let document = read(path)?;
                keystore::open(&document, password).map_err(|source| KeyError::Keystore {
                    path: path.clone(),
                    source: Box::new(source),
                })
            }
            Self::Raw { path, secret } => SecretKey::from_bytes(&secret.0)
                .map_err(|source| KeyError::Secret { path: path.clone(), source }),
        }
    }
}

fn jobs(source: &KeySource) -> Result<Vec<Job>, KeyError> {
    match source {
        KeySource::Interop { count } => Ok((0..*count).map(Job::Interop).collect()),
        KeySource::Keystores { dir, password_file } => {
            let password = read_text(password_file)?;
            let paths = list(dir, &["json"])?;
            let job = |path| Job::Keystore { path, password: password.clone() };
            Ok(paths.into_iter().map(job).collect())
        }
        KeySource::KeyFiles { dir } => {
            let mut jobs = Vec::new();
            for path in list(dir, &["yaml", "yml"])? {
                read_key_file(dir, &path, &mut jobs)?;
            }
            Ok(jobs)
        }
    }
}

/// One document of a Web3Signer key file. Fields of other types are ignored: their type is refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyFile {
    #[serde(rename = "type")]
    kind: String,
    key_type: Option<String>,
    private_key: Option<String>,
    keystore_file: Option<PathBuf>,
    keystore_password_file: Option<PathBuf>,
}

fn read_key_file(dir: &Path, path: &Path, jobs: &mut Vec<Job>) -> Result<(), KeyError> {
    let documents: Vec<KeyFile> = serde_saphyr::from_multiple(&read_text(path)?)
        .map_err(|source| KeyError::KeyFile { path: path.to_owned(), source: Box::new(source) })?;
    for document in documents {
        jobs.push(key_file_job(dir, path, document)?);
    }
    Ok(())
}

fn key_file_job(dir: &Path, path: &Path, document: KeyFile) -> Result<Job, KeyError> {
    let unsupported = |field, value| KeyError::Unsupported { path: path.to_owned(), field, value };
    let missing = |field| KeyError::Missing { path: path.to_owned(), field };
    if let Some(key_type) = document.key_type.filter(|kind| !kind.eq_ignore_ascii_case("BLS")) {
        return Err(unsupported("keyType", key_type));
    }
    match document.kind.as_str() {
        "file-raw" => {
            let secret = document.private_key.ok_or_else(|| missing("privateKey"))?;
            let secret = Hex::parse(&secret)
                .map_err(|source| KeyError::Hex { path: path.to_owned(), source })?;
            Ok(Job::Raw { path: path.to_owned(), secret })
        }
        "file-keystore" => {
            let keystore = document.keystore_file.ok_or_else(|| missing("keystoreFile"))?;
            let password_file =
                document.keystore_password_file.ok_or_else(|| missing("keystorePasswordFile"))?;
            let password = read_text(&dir.join(password_file))?;
            Ok(Job::Keystore { path: dir.join(keystore), password })
        }
        _ => Err(unsupported("type", document.kind)),
    }
}

/// The files of a directory with one of these extensions, sorted by name; none at all is an error.
fn list(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, KeyError> {
    let unreadable = |source| KeyError::Read { path: dir.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| extensions.contains(&extension)) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(KeyError::None(dir.to_owned()));
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    fs::read(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })
}

fn read_text(path: &Path) -> Result<String, KeyError> {
    fs::read_to_string(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })
}
