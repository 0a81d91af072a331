//! What both sides of the gate need of TLS: certificates, keys, trusted authorities and passwords,
//! read from files, each failure with the file and what to do about it.
//!
//! rustls with ring: TLS 1.2 and 1.3. A certificate with its key comes as PEM or as PKCS#12
//! (RFC 7292), which Java's clients and Web3Signer have.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use p12_keystore::{KeyStore, KeyStoreEntry};
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

#[cfg(test)]
mod tests;

/// Why a file is no certificate, key, authority or password. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is larger than any such file.
    #[error("{} is larger than {FILE_BYTES_MAX} bytes: not a file of this kind", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not PEM, or breaks off.
    #[error("{} is not PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PemError,
    },
    /// It has no section of the wanted kind.
    #[error("{} holds no {wanted}", path.display())]
    Lacks {
        /// The file.
        path: PathBuf,
        /// A PEM section or PKCS#12 entry.
        wanted: &'static str,
    },
    /// The private key is encrypted, and PEM has no place for its password here.
    #[error("the key in {} is encrypted: decrypt it, or give a PKCS#12 file", path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The PKCS#12 file does not open: mostly a wrong password.
    #[error(
        "{} does not open with the password in {}: wrong password, or not PKCS#12",
        path.display(), password_file.display()
    )]
    Pkcs12 {
        /// The file.
        path: PathBuf,
        /// The file of its password.
        password_file: PathBuf,
        /// What is wrong.
        source: p12_keystore::error::Error,
    },
    /// More than one key: which one is meant cannot be told.
    #[error("{} holds {count} private keys; one is needed", path.display())]
    SeveralKeys {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The certificate or the key is not usable, or they are not of one pair.
    #[error("the certificate in {} cannot be used with its key", path.display())]
    Identity {
        /// The file of the certificate.
        path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// An authority's certificate is not usable as such.
    #[error("{} holds a certificate that cannot be trusted as an authority", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The password is empty or not UTF-8.
    #[error("{} holds no password", path.display())]
    NoPassword {
        /// The file.
        path: PathBuf,
    },
}

/// Larger files are not read: certificates and even long revocation lists have kilobytes.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Where a certificate with its private key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityFiles {
    /// Two PEM files, which may be one.
    Pem {
        /// The certificate, then those between it and its authority.
        certificate: PathBuf,
        /// The private key: PKCS#8, PKCS#1 or SEC1.
        key: PathBuf,
    },
    /// A PKCS#12 store (`.p12`, `.pfx`).
    Pkcs12 {
        /// The store.
        store: PathBuf,
        /// The file whose first line is its password.
        password_file: PathBuf,
    },
}

impl IdentityFiles {
    /// Every file of it.
    pub fn paths(&self) -> [&Path; 2] {
        match self {
            Self::Pem { certificate, key } => [certificate, key],
            Self::Pkcs12 { store, password_file } => [store, password_file],
        }
    }

    /// The files of it that nobody else may read.
    pub fn secret_paths(&self) -> Vec<&Path> {
        match self {
            Self::Pem { key, .. } => vec![key],
            Self::Pkcs12 { store, password_file } => vec![store, password_file],
        }
    }
}

/// The cryptography of every TLS connection here.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reads a certificate with its key, and checks that they belong together.
///
/// # Errors
/// [`TlsFileError`]
pub fn load_identity(files: &IdentityFiles) -> Result<Arc<CertifiedKey>, TlsFileError> {
    let (path, chain, key) = match files {
        IdentityFiles::Pem { certificate, key } => {
            (certificate, load_certificates(certificate)?, load_key(key)?)
        }
        IdentityFiles::Pkcs12 { store, password_file } => {
            let (chain, key) = load_pkcs12(store, password_file)?;
            (store, chain, key)
        }
    };
    CertifiedKey::from_der(chain, key, &provider())
        .map(Arc::new)
        .map_err(|source| TlsFileError::Identity { path: path.clone(), source })
}

/// Reads the certificates of authorities, PEM.
///
/// # Errors
/// [`TlsFileError`]; none at all is an error.
pub fn load_roots(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in load_certificates(path)? {
        roots
            .add(certificate)
            .map_err(|source| TlsFileError::Authority { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

/// Reads every certificate of a PEM file.
///
/// # Errors
/// [`TlsFileError`]; none at all is an error.
pub fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    load_pem(path, "certificate")
}

/// Reads every certificate revocation list of a PEM file.
///
/// # Errors
/// [`TlsFileError`]; none at all is an error.
pub fn load_revocations(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
    load_pem(path, "certificate revocation list (X509 CRL)")
}

fn load_pem<T: PemObject>(path: &Path, wanted: &'static str) -> Result<Vec<T>, TlsFileError> {
    let bytes = read(path)?;
    let found: Vec<T> = T::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsFileError::Pem { path: path.to_owned(), source })?;
    if found.is_empty() {
        return Err(TlsFileError::Lacks { path: path.to_owned(), wanted });
    }
    Ok(found)
}

fn load_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|source| {
        let path = path.to_owned();
        let encrypted = |text: &[u8]| {
            text.windows(ENCRYPTED_KEY.len()).any(|window| window == ENCRYPTED_KEY)
                || text.windows(ENCRYPTED_PEM.len()).any(|window| window == ENCRYPTED_PEM)
        };
        match source {
            PemError::NoItemsFound if encrypted(&bytes) => TlsFileError::EncryptedKey { path },
            PemError::NoItemsFound => TlsFileError::Lacks { path, wanted: "private key" },
            source => TlsFileError::Pem { path, source },
        }
    })
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn load_pkcs12(store: &Path, password_file: &Path) -> Result<Pair, TlsFileError> {
    let password = load_password(password_file)?;
    let opened = KeyStore::from_pkcs12(&read(store)?, &password.0);
    let opened = opened.map_err(|source| TlsFileError::Pkcs12 {
        path: store.to_owned(),
        password_file: password_file.to_owned(),
        source,
    })?;
    let mut pairs = opened.entries().filter_map(|(_, entry)| match entry {
        KeyStoreEntry::PrivateKeyChain(chain) => Some(chain),
        KeyStoreEntry::Certificate(_) => None,
    });
    let path = || store.to_owned();
    let Some(pair) = pairs.next() else {
        let wanted = "private key with its certificate";
        return Err(TlsFileError::Lacks { path: path(), wanted });
    };
    match pairs.count() {
        0 => {}
        others => return Err(TlsFileError::SeveralKeys { path: path(), count: others + 1 }),
    }
    let chain = pair.chain().iter();
    let chain = chain.map(|certificate| certificate.as_der().to_vec().into()).collect();
    Ok((chain, PrivatePkcs8KeyDer::from(pair.key().to_vec()).into()))
}

/// A password, which no log shows.
pub struct Password(String);

impl Password {
    /// The password itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Reads a password: the first line of its file.
///
/// # Errors
/// [`TlsFileError`]; an empty one is an error.
pub fn load_password(path: &Path) -> Result<Password, TlsFileError> {
    let text = String::from_utf8(read(path)?).unwrap_or_default();
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Password(line.to_owned())),
        Some(_) | None => Err(TlsFileError::NoPassword { path: path.to_owned() }),
    }
}

/// Reads a whole file, if it is not absurdly large.
///
/// # Errors
/// [`TlsFileError::Read`], [`TlsFileError::TooLarge`]
pub fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let cannot = |source| TlsFileError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(cannot)?.len() > FILE_BYTES_MAX {
        return Err(TlsFileError::TooLarge { path: path.to_owned() });
    }
    fs::read(path).map_err(cannot)
}

/// Whether everybody on this machine may read the file. A file that is not there is no secret.
pub fn is_world_readable(path: &Path) -> bool {
    const OTHERS_READ: u32 = 0o004;
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & OTHERS_READ != 0)
}

/// The SHA-256 of a certificate's DER encoding: how a certificate is named without its authority.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

/// `AA:BB:...`, as openssl and Web3Signer write it.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 32 bytes in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 fingerprint such as AA:BB:... (32 bytes)")]
pub struct NotAFingerprint(pub String);

/// With or without colons, in either case; nothing else.
impl std::str::FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let wrong = || NotAFingerprint(text.chars().take(SHOWN_CHARS_MAX).collect());
        let mut bytes = [0; 32];
        let digits = if text.contains(':') {
            let pairs: Vec<&str> = text.split(':').collect();
            if pairs.len() != bytes.len() || pairs.iter().any(|pair| pair.len() != 2) {
                return Err(wrong());
            }
            pairs.concat()
        } else {
            text.to_owned()
        };
        faster_hex::hex_decode(digits.as_bytes(), &mut bytes).map_err(|_| wrong())?;
        if digits.len() != 2 * bytes.len() {
            return Err(wrong());
        }
        Ok(Self(bytes))
    }
}

const ENCRYPTED_KEY: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
const ENCRYPTED_PEM: &[u8] = b"Proc-Type: 4,ENCRYPTED";
const SHOWN_CHARS_MAX: usize = 100;
