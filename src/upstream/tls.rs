//! TLS to a set of signers: who may vouch for them, what the gate shows, both read again when their
//! files change. A connection that stands keeps what it was made with.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::UpstreamTls;
use crate::tls::{self, TlsFileError};

#[cfg(test)]
mod tests;

/// Why there is no TLS to a set of signers. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum SignerTlsError {
    /// A file of the configuration.
    #[error(transparent)]
    File(#[from] TlsFileError),
    /// The system trusts nobody.
    #[error("the system has no certificates of authorities: name them in tls_ca_file")]
    NoSystemRoots,
    /// The cryptography lacks what TLS 1.2 and 1.3 need.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// TLS to one set of signers. Shared by all cores.
pub struct SignerTls {
    files: UpstreamTls,
    config: ArcSwap<rustls::ClientConfig>,
    seen: Mutex<Vec<Option<Stamp>>>,
}

/// What tells that a file is another: when it was written, its length, its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    written: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl SignerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// See [`SignerTlsError`].
    pub fn load(files: &UpstreamTls) -> Result<Self, SignerTlsError> {
        let seen = Mutex::new(stamps(files)); // first: a change while they are read is seen later
        let config = ArcSwap::from_pointee(client_config(files)?);
        Ok(Self { files: files.clone(), config, seen })
    }

    /// Reads the files again if one of them is another than before; says whether it did. What is
    /// in force stays so when they cannot be used.
    ///
    /// # Errors
    /// See [`SignerTlsError`]. Said once for each change.
    pub fn reload_if_changed(&self) -> Result<bool, SignerTlsError> {
        let now = stamps(&self.files);
        let before = std::mem::replace(&mut *self.seen.lock(), now.clone());
        if before == now {
            return Ok(false);
        }
        self.config.store(Arc::new(client_config(&self.files)?));
        Ok(true)
    }

    /// Shakes hands over `stream` with the signer that must be `name`.
    ///
    /// # Errors
    /// The signer is not who it should be, or does not want us.
    pub(super) async fn connect(
        &self,
        name: ServerName<'static>,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(self.config.load_full()).connect(name, stream).await
    }
}

impl std::fmt::Debug for SignerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignerTls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// How a connection to somebody begins who is trusted by these files.
///
/// # Errors
/// See [`SignerTlsError`].
pub fn client_config(files: &UpstreamTls) -> Result<rustls::ClientConfig, SignerTlsError> {
    let roots = match &files.ca_file {
        Some(file) => tls::load_roots(file)?,
        None => system_roots()?,
    };
    let builder = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match &files.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = tls::load_identity(identity)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from((*key).clone())))
        }
    })
}

fn system_roots() -> Result<RootCertStore, SignerTlsError> {
    let mut roots = RootCertStore::empty();
    // A single odd file among them is no reason to trust nobody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(SignerTlsError::NoSystemRoots);
    }
    Ok(roots)
}

fn stamps(files: &UpstreamTls) -> Vec<Option<Stamp>> {
    use std::os::unix::fs::MetadataExt;
    let stamp = |path: &PathBuf| {
        let file = fs::metadata(path).ok()?;
        Some(Stamp { written: file.modified().ok(), length: file.len(), inode: file.ino() })
    };
    files.files().map(|(_, path)| stamp(path)).collect()
}
