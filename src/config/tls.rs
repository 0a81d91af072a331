//! `[tls]`: the gate's certificate, and whose certificates it accepts.

use std::path::Path;

use serde::Deserialize;
use toml::Value;

use super::check::Checker;
use super::problem::ProblemKind;
use crate::clients::{ClientAuth, TlsSettings};
use crate::tls::IdentityFiles;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTls {
    certificate: Option<String>,
    key: Option<String>,
    pkcs12_file: Option<String>,
    pkcs12_password_file: Option<String>,
    client_auth: Option<String>,
    known_clients_file: Option<String>,
    client_ca_file: Option<String>,
    client_crl_file: Option<String>,
}

/// Checks `[tls]`; `None` where it is not there, or wrong.
pub(super) fn check(checker: &mut Checker<'_>, raw: RawTls) -> Option<TlsSettings> {
    let given = [
        &raw.certificate,
        &raw.key,
        &raw.pkcs12_file,
        &raw.pkcs12_password_file,
        &raw.client_auth,
        &raw.known_clients_file,
        &raw.client_ca_file,
        &raw.client_crl_file,
    ];
    if given.iter().all(|value| value.is_none()) {
        return None;
    }
    let identity = identity(checker, &raw);
    let mut optional =
        |path: &str, value: Option<String>| value.and_then(|value| checker.path(path, Some(value)));
    let known_clients_file = optional("tls.known_clients_file", raw.known_clients_file);
    let client_ca_file = optional("tls.client_ca_file", raw.client_ca_file);
    let client_crl_file = optional("tls.client_crl_file", raw.client_crl_file);
    let client_auth = match raw.client_auth {
        Some(text) => client_auth(checker, "tls.client_auth", &text)?,
        // Who lists clients wants no others.
        None if known_clients_file.is_some() || client_ca_file.is_some() => ClientAuth::Required,
        None => ClientAuth::None,
    };
    Some(TlsSettings {
        identity: identity?,
        client_auth,
        known_clients_file,
        client_ca_file,
        client_crl_file,
    })
}

/// Reads `none`, `optional` or `required`.
pub(super) fn client_auth(checker: &mut Checker<'_>, path: &str, text: &str) -> Option<ClientAuth> {
    let found = ClientAuth::ALL.into_iter().find(|auth| auth.as_str() == text);
    if found.is_none() {
        let known = "none, optional, required";
        checker.wrong(path, ProblemKind::NotOneOf { value: text.to_owned(), known });
    }
    found
}

fn identity(checker: &mut Checker<'_>, raw: &RawTls) -> Option<IdentityFiles> {
    let pem = raw.certificate.is_some() || raw.key.is_some();
    let pkcs12 = raw.pkcs12_file.is_some() || raw.pkcs12_password_file.is_some();
    match (pem, pkcs12) {
        (true, false) => {
            let certificate = checker.path("tls.certificate", raw.certificate.clone());
            let key = checker.path("tls.key", raw.key.clone());
            Some(IdentityFiles::Pem { certificate: certificate?, key: key? })
        }
        (false, true) => {
            let store = checker.path("tls.pkcs12_file", raw.pkcs12_file.clone());
            let password_file =
                checker.path("tls.pkcs12_password_file", raw.pkcs12_password_file.clone());
            Some(IdentityFiles::Pkcs12 { store: store?, password_file: password_file? })
        }
        (true, true) | (false, false) => {
            checker.wrong("tls", ProblemKind::TlsIdentity);
            None
        }
    }
}

/// The value of one key of the section, for the effective configuration.
pub(super) fn value_of(tls: &TlsSettings, path: &str) -> Option<Value> {
    let shown = |file: &Path| Value::String(file.display().to_string());
    let (pem, pkcs12) = match &tls.identity {
        IdentityFiles::Pem { certificate, key } => (Some((certificate, key)), None),
        IdentityFiles::Pkcs12 { store, password_file } => (None, Some((store, password_file))),
    };
    match path.strip_prefix("tls.")? {
        "certificate" => pem.map(|(certificate, _)| shown(certificate)),
        "key" => pem.map(|(_, key)| shown(key)),
        "pkcs12_file" => pkcs12.map(|(store, _)| shown(store)),
        "pkcs12_password_file" => pkcs12.map(|(_, password_file)| shown(password_file)),
        "client_auth" => Some(Value::String(tls.client_auth.as_str().to_owned())),
        "known_clients_file" => tls.known_clients_file.as_deref().map(shown),
        "client_ca_file" => tls.client_ca_file.as_deref().map(shown),
        "client_crl_file" => tls.client_crl_file.as_deref().map(shown),
        _ => None,
    }
}
