//! Who calls, and what they may.
//!
//! A caller is known by a bearer token, of which only the SHA-256 is held, or by the certificate of
//! the connection. Either names a credential of the configuration: a name, for the audit log, and a
//! role. Tokens and certificates are read again when their files change.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::clients::{ClientAuth, ClientSettings, Clients, Settings, TlsSettings};
use crate::clock::Clock;
use crate::config::{AdminConfig, CredentialConfig};
use crate::logging::LogLimit;
use crate::metrics::ClientMetrics;
use crate::tls::{self, TlsFileError};

/// What a caller may do. Each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Look.
    Viewer,
    /// Act on keys, windows, quarantines and the policy; ask for what two must agree on.
    Operator,
    /// Agree to what another has asked for.
    Approver,
}

impl Role {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Approver];

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
        }
    }
}

/// Who calls: an extractor for handlers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the credential.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::internal("a route without its guard"))
    }
}

/// The name that the certificate of the connection has.
#[derive(Clone, Debug)]
pub(super) struct ByCertificate(pub(super) String);

/// Why nobody is known to call. What was shown is never in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKnown {
    /// Neither a token nor a certificate.
    #[error("give a token, `Authorization: Bearer ...`, or a client certificate")]
    Nothing,
    /// The header is no bearer token.
    #[error("the Authorization header is not `Bearer` and a token")]
    NotBearer,
    /// No credential has this token.
    #[error("the token is not known")]
    WrongToken,
    /// The credential has run out.
    #[error("the credential has expired; ask whoever runs the gate for a new one")]
    Expired,
    /// The token is of one credential, the certificate of another.
    #[error("the token and the certificate are of two credentials: one of them is borrowed")]
    Contradiction,
}

impl NotKnown {
    /// The stable name, for logs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Nothing => "no_credential",
            Self::NotBearer => "not_bearer",
            Self::WrongToken => "wrong_token",
            Self::Expired => "credential_expired",
            Self::Contradiction => "credential_contradiction",
        }
    }
}

/// Why the credentials cannot be used. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file.
    #[error(transparent)]
    File(#[from] TlsFileError),
    /// Certificates.
    #[error(transparent)]
    Certificates(#[from] crate::clients::AccessError),
    /// A token that can be guessed.
    #[error(
        "the token in {} is shorter than {TOKEN_CHARS_MIN} characters: make one with `openssl rand -hex 32`",
        .0.display()
    )]
    ShortToken(PathBuf),
    /// Two names for one token: they would not be two identities.
    #[error("credentials `{0}` and `{1}` have the same token: they would not be two identities")]
    SameToken(String, String),
}

/// One credential, as it holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Who it is.
    pub name: String,
    /// What they may do.
    pub role: Role,
    token_sha256: Option<[u8; 32]>,
    expires_unix_ms: Option<u64>,
}

impl Credential {
    /// Whether it is still good at `unix_ms`.
    pub fn holds_at(&self, unix_ms: u64) -> bool {
        self.expires_unix_ms.is_none_or(|expires| unix_ms < expires)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every credential: read from the files of the configuration, and read again when they change.
pub struct Access {
    configured: Vec<CredentialConfig>,
    credentials: ArcSwap<Vec<Credential>>,
    tls: Option<Arc<Clients>>,
    clock: Clock,
    pub(super) log_limit: LogLimit,
}

impl Access {
    /// Reads every file that the section names.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(config: &AdminConfig, clock: Clock) -> Result<Arc<Self>, AccessError> {
        let tls = match tls_settings(config) {
            None => None,
            Some(settings) => {
                Some(Clients::load(settings, clock.clone(), ClientMetrics::unregistered())?)
            }
        };
        let credentials = ArcSwap::from_pointee(read(&config.credentials)?);
        let configured = config.credentials.clone();
        let log_limit = LogLimit::default();
        Ok(Arc::new(Self { configured, credentials, tls, clock, log_limit }))
    }

    /// Reads every file again: all of it holds from the next call on, or none of it.
    ///
    /// # Errors
    /// The first file that cannot be used; what held before goes on.
    pub fn reload(&self) -> Result<(), AccessError> {
        let credentials = read(&self.configured)?;
        if let Some(tls) = &self.tls {
            tls.reload()?;
        }
        self.credentials.store(Arc::new(credentials));
        Ok(())
    }

    /// Every file that is read.
    pub fn files(&self) -> Vec<PathBuf> {
        let tls = self.tls.iter().flat_map(|tls| tls.settings().files()).map(Path::to_owned);
        let tokens = self.configured.iter().filter_map(|one| one.token_file.clone());
        tls.chain(tokens).collect()
    }

    /// The token files and keys that everybody on this machine may read.
    pub fn world_readable(&self) -> Vec<PathBuf> {
        let tls = self.tls.iter().flat_map(|tls| tls.settings().secret_files()).map(Path::to_owned);
        let tokens = self.configured.iter().filter_map(|one| one.token_file.clone());
        tls.chain(tokens).filter(|file| tls::is_world_readable(file)).collect()
    }

    /// How connections begin, where they are encrypted.
    pub(super) fn tls(&self) -> Option<&Arc<Clients>> {
        self.tls.as_ref()
    }

    /// The credential of this name, if it holds now.
    pub fn named(&self, name: &str) -> Option<Credential> {
        let now = self.now_unix_ms();
        let credentials = self.credentials.load();
        credentials.iter().find(|one| one.name == name && one.holds_at(now)).cloned()
    }

    /// Who calls with these headers, over a connection that a certificate may name.
    ///
    /// # Errors
    /// [`NotKnown`]
    pub(super) fn caller(
        &self,
        headers: &HeaderMap,
        certificate: Option<&ByCertificate>,
    ) -> Result<Caller, NotKnown> {
        let by_token = match headers.get(AUTHORIZATION) {
            None => None,
            Some(header) => {
                let token = bearer(header.as_bytes()).ok_or(NotKnown::NotBearer)?;
                Some(self.by_token(token).ok_or(NotKnown::WrongToken)?)
            }
        };
        let credentials = self.credentials.load();
        let by_certificate = certificate
            .and_then(|ByCertificate(name)| credentials.iter().find(|one| one.name == *name));
        let credential = match (by_token, by_certificate.cloned()) {
            (Some(one), Some(other)) if one.name != other.name => {
                return Err(NotKnown::Contradiction);
            }
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => return Err(NotKnown::Nothing),
        };
        if !credential.holds_at(self.now_unix_ms()) {
            return Err(NotKnown::Expired);
        }
        Ok(Caller { name: credential.name, role: credential.role })
    }

    /// Every credential is compared, whether one was found or not: time tells nothing.
    fn by_token(&self, token: &[u8]) -> Option<Credential> {
        let shown = sha256(token);
        let credentials = self.credentials.load();
        let mut found = None;
        for credential in credentials.iter() {
            let known = credential.token_sha256.unwrap_or_default();
            let is_same = bool::from(known.ct_eq(&shown)) & credential.token_sha256.is_some();
            if is_same {
                found = Some(credential);
            }
        }
        found.cloned()
    }

    pub(super) fn now_unix_ms(&self) -> u64 {
        self.clock.now().unix_ns / 1_000_000
    }

    /// Says that somebody unknown called, if it was not said too often: how many were left out.
    pub(super) fn may_log(&self, code: &'static str) -> Option<u64> {
        self.log_limit.may_say(code, self.clock.now())
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("configured", &self.configured).finish_non_exhaustive()
    }
}

/// The token of an `Authorization` header (RFC 6750); the scheme in any case, as RFC 9110 has it.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(SCHEME.len())?;
    let token = scheme.eq_ignore_ascii_case(SCHEME).then_some(token)?.trim_ascii();
    (!token.is_empty()).then_some(token)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn read(configured: &[CredentialConfig]) -> Result<Vec<Credential>, AccessError> {
    let mut of_tokens = HashMap::new();
    let mut credentials = Vec::with_capacity(configured.len());
    for one in configured {
        let token_sha256 = match &one.token_file {
            None => None,
            Some(file) => {
                let token = tls::load_password(file)?;
                let token = token.as_str().trim();
                if token.len() < TOKEN_CHARS_MIN {
                    return Err(AccessError::ShortToken(file.clone()));
                }
                Some(sha256(token.as_bytes()))
            }
        };
        if let Some(hash) = token_sha256
            && let Some(other) = of_tokens.insert(hash, one.name.clone())
        {
            return Err(AccessError::SameToken(other, one.name.clone()));
        }
        credentials.push(Credential {
            name: one.name.clone(),
            role: one.role,
            token_sha256,
            expires_unix_ms: one.expires_unix_ms,
        });
    }
    Ok(credentials)
}

/// The encrypted side, in the words of the signing side's.
fn tls_settings(config: &AdminConfig) -> Option<Settings> {
    let identity = config.identity.clone()?;
    let with_certificate = |one: &&CredentialConfig| {
        !one.certificate_fingerprints.is_empty() || !one.certificate_names.is_empty()
    };
    let clients = config.credentials.iter().filter(with_certificate).map(|one| ClientSettings {
        name: one.name.clone(),
        certificate_fingerprints: one.certificate_fingerprints.clone(),
        certificate_names: one.certificate_names.clone(),
        user: None,
        addresses: Vec::new(),
    });
    let clients: Vec<ClientSettings> = clients.collect();
    let client_auth = if clients.is_empty() { ClientAuth::None } else { ClientAuth::Optional };
    let tls = TlsSettings {
        identity,
        client_auth,
        known_clients_file: None,
        client_ca_file: config.client_ca_file.clone(),
        client_crl_file: None,
    };
    Some(Settings { tls: Some(tls), clients })
}

const SCHEME: &[u8] = b"Bearer ";
const TOKEN_CHARS_MIN: usize = 32;
