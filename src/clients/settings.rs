//! What the configuration says of clients: which files, which names.

use std::path::{Path, PathBuf};

use super::{AddressRange, ClientAuth};
use crate::tls::{Fingerprint, IdentityFiles};

/// Everything that clients are told apart by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[tls]`, if connections are encrypted.
    pub tls: Option<TlsSettings>,
    /// `[[clients]]`
    pub clients: Vec<ClientSettings>,
}

/// `[tls]`: what the gate shows, and whose certificates it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The gate's own certificate and key.
    pub identity: IdentityFiles,
    /// Whether clients show a certificate, on listeners that do not say it themselves.
    pub client_auth: ClientAuth,
    /// Certificates that are accepted as they are: Web3Signer's known clients.
    pub known_clients_file: Option<PathBuf>,
    /// Authorities whose certificates are accepted.
    pub client_ca_file: Option<PathBuf>,
    /// Certificates that are not accepted any more.
    pub client_crl_file: Option<PathBuf>,
}

/// One of `[[clients]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Its name, in logs, metrics and rules.
    pub name: String,
    /// Its certificates, which are accepted without an authority.
    pub certificate_fingerprints: Vec<Fingerprint>,
    /// Names in certificates that an authority signed, or that are known: a subject's common name
    /// or a DNS name.
    pub certificate_names: Vec<String>,
    /// Its user.
    pub user: Option<User>,
    /// Where it comes from.
    pub addresses: Vec<AddressRange>,
}

/// A user of HTTP basic authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// The file whose first line is the password.
    pub password_file: PathBuf,
}

impl Settings {
    /// Every file that is read, and read again when it changes.
    pub fn files(&self) -> Vec<&Path> {
        let mut files: Vec<&Path> = Vec::new();
        if let Some(tls) = &self.tls {
            files.extend(tls.identity.paths());
            let lists = [&tls.known_clients_file, &tls.client_ca_file, &tls.client_crl_file];
            files.extend(lists.into_iter().flatten().map(PathBuf::as_path));
        }
        files.extend(self.users().map(|(_, user)| user.password_file.as_path()));
        files
    }

    /// Those of the files that nobody else may read.
    pub fn secret_files(&self) -> Vec<&Path> {
        let identity = self.tls.iter().flat_map(|tls| tls.identity.secret_paths());
        identity.chain(self.users().map(|(_, user)| user.password_file.as_path())).collect()
    }

    /// Every user, with the client that it is.
    pub fn users(&self) -> impl Iterator<Item = (&ClientSettings, &User)> {
        self.clients.iter().filter_map(|client| Some((client, client.user.as_ref()?)))
    }
}
