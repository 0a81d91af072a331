//! `[admin]`: where people and their scripts reach the gate, and who they are.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Value;

use super::check::Checker;
use super::policy::moment;
use super::problem::ProblemKind;
use crate::admin::Role;
use crate::clock;
use crate::tls::{Fingerprint, IdentityFiles};

#[cfg(test)]
mod tests;

/// The admin API of the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where it listens; `None` (`off` in the file) for no listener.
    pub address: Option<SocketAddr>,
    /// The certificate that it shows; `None` for plain HTTP, which only the loopback may have.
    pub identity: Option<IdentityFiles>,
    /// The authorities whose certificates name a caller.
    pub client_ca_file: Option<PathBuf>,
    /// How long a grant may wait for its second identity and its use, in seconds.
    pub grant_ttl_s: u64,
    /// `[[admin.credentials]]`: who may call.
    pub credentials: Vec<CredentialConfig>,
}

/// One of `[[admin.credentials]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialConfig {
    /// Who it is, in the audit log.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The file whose first line is the bearer token.
    pub token_file: Option<PathBuf>,
    /// Their certificates, which are accepted without an authority.
    pub certificate_fingerprints: Vec<Fingerprint>,
    /// Names in certificates that an authority signed.
    pub certificate_names: Vec<String>,
    /// From when on it is good for nothing, in milliseconds of Unix time.
    pub expires_unix_ms: Option<u64>,
}

impl AdminConfig {
    /// The value of `admin.<field>` as it holds.
    pub(super) fn value_of(&self, field: &str) -> Option<Value> {
        let path = |path: &std::path::Path| Some(Value::from(path.display().to_string()));
        let integer = |number: u64| Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
        match (field, &self.identity) {
            ("address", _) => {
                let address = self.address.map(|address| address.to_string());
                Some(Value::from(address.unwrap_or_else(|| OFF.to_owned())))
            }
            ("tls_certificate_file", Some(files)) => path(files.paths()[0]),
            ("tls_key_file", Some(files)) => path(files.paths()[1]),
            ("tls_client_ca_file", _) => path(self.client_ca_file.as_deref()?),
            ("grant_ttl_s", _) => integer(self.grant_ttl_s),
            _ => None,
        }
    }

    /// The credentials as TOML, for the effective configuration.
    pub(super) fn credentials_as_toml(&self) -> String {
        let mut text = String::new();
        for credential in &self.credentials {
            let CredentialConfig { name, role, token_file, .. } = credential;
            text.push_str(&format!("\n[[admin.credentials]]\nname = \"{name}\"\n"));
            text.push_str(&format!("role = \"{}\"\n", role.as_str()));
            if let Some(file) = token_file {
                let file = Value::from(file.display().to_string());
                text.push_str(&format!("token_file = {file}\n"));
            }
            let fingerprints = credential.certificate_fingerprints.iter().map(ToString::to_string);
            let fingerprints: Vec<String> = fingerprints.collect();
            if !fingerprints.is_empty() {
                let list = Value::from(fingerprints);
                text.push_str(&format!("certificate_fingerprints = {list}\n"));
            }
            if !credential.certificate_names.is_empty() {
                let list = Value::from(credential.certificate_names.clone());
                text.push_str(&format!("certificate_names = {list}\n"));
            }
            if let Some(expires) = credential.expires_unix_ms {
                text.push_str(&format!("expires = \"{}\"\n", clock::iso8601(expires / 1_000)));
            }
        }
        text
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAdmin {
    address: Option<String>,
    tls_certificate_file: Option<String>,
    tls_key_file: Option<String>,
    tls_client_ca_file: Option<String>,
    grant_ttl_s: Option<u64>,
    credentials: Vec<RawCredential>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawCredential {
    name: Option<String>,
    role: Option<String>,
    token_file: Option<String>,
    certificate_fingerprints: Vec<String>,
    certificate_names: Vec<String>,
    expires: Option<Value>,
}

/// Checks `[admin]`; what is wrong goes to the checker.
pub(super) fn check(checker: &mut Checker<'_>, raw: RawAdmin) -> AdminConfig {
    let address = match raw.address.as_deref().unwrap_or(OFF) {
        OFF => None,
        address => checker.address("admin.address", address),
    };
    let identity = match (raw.tls_certificate_file, raw.tls_key_file) {
        (None, None) => None,
        (certificate, key) => {
            let certificate = checker.path("admin.tls_certificate_file", certificate);
            let key = checker.path("admin.tls_key_file", key);
            certificate.zip(key).map(|(certificate, key)| IdentityFiles::Pem { certificate, key })
        }
    };
    let client_ca_file = raw
        .tls_client_ca_file
        .and_then(|file| checker.path("admin.tls_client_ca_file", Some(file)));
    if client_ca_file.is_some() && identity.is_none() {
        checker.wrong("admin.tls_client_ca_file", ProblemKind::NoAdminTls);
    }
    let ttl = raw.grant_ttl_s.unwrap_or(GRANT_TTL_S);
    let ttl = checker.range("admin.grant_ttl_s", ttl, 60..=7 * 86_400);
    let mut credentials: Vec<CredentialConfig> = Vec::new();
    let mut names = HashSet::new();
    for (index, raw) in raw.credentials.into_iter().enumerate() {
        let path = format!("admin.credentials[{index}]");
        let Some(credential) = check_credential(checker, &path, raw) else { continue };
        let has_certificate = !credential.certificate_fingerprints.is_empty()
            || !credential.certificate_names.is_empty();
        if has_certificate && identity.is_none() {
            checker.wrong(&path, ProblemKind::NoAdminTls);
        }
        if !credential.certificate_names.is_empty() && client_ca_file.is_none() {
            checker.wrong(&format!("{path}.certificate_names"), ProblemKind::NoAdminAuthority);
        }
        if !names.insert(credential.name.clone()) {
            let name = credential.name.clone();
            checker.wrong(&format!("{path}.name"), ProblemKind::CredentialNameTwice { name });
        }
        credentials.push(credential);
    }
    if let Some(address) = address {
        if credentials.is_empty() {
            checker.wrong("admin.address", ProblemKind::NoCredentials);
        }
        if !address.ip().is_loopback() && identity.is_none() {
            checker.wrong("admin.address", ProblemKind::AdminWithoutTls { address });
        }
    }
    AdminConfig {
        address,
        identity,
        client_ca_file,
        grant_ttl_s: ttl.unwrap_or(GRANT_TTL_S),
        credentials,
    }
}

fn check_credential(
    checker: &mut Checker<'_>,
    path: &str,
    raw: RawCredential,
) -> Option<CredentialConfig> {
    let at = |field: &str| format!("{path}.{field}");
    let name = checker.required(&at("name"), raw.name);
    let name = name.and_then(|name| checker.name(&at("name"), name));
    let role = checker.required(&at("role"), raw.role).and_then(|role| {
        let known = "viewer, operator, approver";
        let found = Role::ALL.into_iter().find(|known| known.as_str() == role);
        checker.valid(&at("role"), found.ok_or(ProblemKind::NotOneOf { value: role, known }))
    });
    let token_file = raw.token_file.map(|file| checker.path(&at("token_file"), Some(file)));
    let fingerprints = raw.certificate_fingerprints.iter().enumerate();
    let fingerprints = fingerprints.filter_map(|(index, text)| {
        let path = at(&format!("certificate_fingerprints[{index}]"));
        checker.valid(&path, text.parse().map_err(ProblemKind::NotAFingerprint))
    });
    let certificate_fingerprints: Vec<Fingerprint> = fingerprints.collect();
    if raw.certificate_names.iter().any(String::is_empty) {
        checker.wrong(&at("certificate_names"), ProblemKind::Empty);
    }
    let is_nothing = token_file.is_none()
        && raw.certificate_fingerprints.is_empty()
        && raw.certificate_names.is_empty();
    if is_nothing {
        checker.wrong(path, ProblemKind::CredentialOfNothing);
    }
    let expires = raw.expires.map(|value| {
        let found = match &value {
            Value::String(text) => text.parse().ok().and_then(moment),
            Value::Datetime(datetime) => moment(*datetime),
            _ => None,
        };
        checker.valid(&at("expires"), found.ok_or(ProblemKind::NotAMoment))
    });
    Some(CredentialConfig {
        name: name?,
        role: role?,
        token_file: match token_file {
            None => None,
            Some(file) => Some(file?),
        },
        certificate_fingerprints,
        certificate_names: raw.certificate_names,
        expires_unix_ms: match expires {
            None => None,
            Some(moment) => Some(moment?),
        },
    })
}

const OFF: &str = "off";
const GRANT_TTL_S: u64 = 3_600;
