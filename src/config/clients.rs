//! `[[clients]]`: who may ask, and how each is known.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use serde::Deserialize;
use toml::Value;

use super::check::Checker;
use super::listeners::ranges_as_toml;
use super::problem::ProblemKind;
use crate::clients::{AddressRange, ClientSettings, User};
use crate::tls::Fingerprint;

#[cfg(test)]
mod tests;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawClient {
    name: Option<String>,
    certificate_fingerprints: Vec<String>,
    certificate_names: Vec<String>,
    user: Option<String>,
    password_file: Option<String>,
    addresses: Vec<String>,
}

/// What already names a client, so that nothing names two.
#[derive(Default)]
struct Taken {
    fingerprints: HashMap<Fingerprint, String>,
    certificate_names: HashMap<String, String>,
    users: HashMap<String, String>,
    addresses: HashMap<AddressRange, String>,
}

/// Checks `[[clients]]`; what is wrong goes to the checker.
pub(super) fn check(checker: &mut Checker<'_>, raw: Vec<RawClient>) -> Vec<ClientSettings> {
    let mut clients: Vec<ClientSettings> = Vec::new();
    let mut taken = Taken::default();
    for (index, raw) in raw.into_iter().enumerate() {
        let path = format!("clients[{index}]");
        let Some(client) = check_client(checker, &path, raw) else { continue };
        if clients.iter().any(|other| other.name == client.name) {
            let name = client.name.clone();
            checker.wrong(&format!("{path}.name"), ProblemKind::ClientNameTwice { name });
            continue;
        }
        let at = |field: &str| format!("{path}.{field}");
        for fingerprint in &client.certificate_fingerprints {
            let at = at("certificate_fingerprints");
            take(checker, &at, &mut taken.fingerprints, fingerprint, &client);
        }
        for name in &client.certificate_names {
            take(checker, &at("certificate_names"), &mut taken.certificate_names, name, &client);
        }
        if let Some(user) = &client.user {
            take(checker, &at("user"), &mut taken.users, &user.name, &client);
        }
        for range in &client.addresses {
            take(checker, &at("addresses"), &mut taken.addresses, range, &client);
        }
        clients.push(client);
    }
    clients
}

fn take<K: Clone + Eq + Hash + Display>(
    checker: &mut Checker<'_>,
    path: &str,
    taken: &mut HashMap<K, String>,
    key: &K,
    client: &ClientSettings,
) {
    match taken.get(key) {
        Some(other) => {
            let (what, other) = (key.to_string(), other.clone());
            checker.wrong(path, ProblemKind::NamesTwoClients { what, other });
        }
        None => {
            taken.insert(key.clone(), client.name.clone());
        }
    }
}

fn check_client(checker: &mut Checker<'_>, path: &str, raw: RawClient) -> Option<ClientSettings> {
    let at = |field: &str| format!("{path}.{field}");
    let name = checker.required(&at("name"), raw.name);
    let name = name.and_then(|name| checker.name(&at("name"), name));
    let fingerprints = raw.certificate_fingerprints.iter().enumerate();
    let certificate_fingerprints = fingerprints.filter_map(|(index, text)| {
        let path = at(&format!("certificate_fingerprints[{index}]"));
        checker.valid(&path, text.parse().map_err(ProblemKind::NotAFingerprint))
    });
    let certificate_fingerprints = certificate_fingerprints.collect();
    if raw.certificate_names.iter().any(String::is_empty) {
        checker.wrong(&at("certificate_names"), ProblemKind::Empty);
    }
    let user = match (raw.user, raw.password_file) {
        (None, None) => None,
        // RFC 7617: the first colon ends the user.
        (Some(user), _) if user.is_empty() || user.contains(':') => {
            checker.wrong(&at("user"), ProblemKind::NotAUser { value: user });
            None
        }
        (Some(name), Some(file)) => {
            let password_file = checker.path(&at("password_file"), Some(file));
            password_file.map(|password_file| User { name, password_file })
        }
        (Some(_), None) => {
            checker.wrong(&at("password_file"), ProblemKind::Missing);
            None
        }
        (None, Some(_)) => {
            checker.wrong(&at("user"), ProblemKind::Missing);
            None
        }
    };
    let addresses = raw.addresses.iter().enumerate().filter_map(|(index, text)| {
        let path = at(&format!("addresses[{index}]"));
        checker.valid(&path, text.parse().map_err(ProblemKind::NotARange))
    });
    Some(ClientSettings {
        addresses: addresses.collect(),
        name: name?,
        certificate_fingerprints,
        certificate_names: raw.certificate_names,
        user,
    })
}

/// As TOML, for the effective configuration.
pub(super) fn as_toml(client: &ClientSettings) -> String {
    let ClientSettings { name, certificate_fingerprints, certificate_names, user, addresses } =
        client;
    let mut text = format!("\n[[clients]]\nname = \"{name}\"\n");
    let mut list = |key: &str, values: Value| {
        if values.as_array().is_some_and(|values| !values.is_empty()) {
            text.push_str(&format!("{key} = {values}\n"));
        }
    };
    let fingerprints = certificate_fingerprints.iter().map(ToString::to_string);
    list("certificate_fingerprints", fingerprints.collect::<Vec<_>>().into());
    list("certificate_names", certificate_names.clone().into());
    list("addresses", ranges_as_toml(addresses));
    if let Some(User { name, password_file }) = user {
        let (name, file) = (Value::from(name.as_str()), password_file.display().to_string());
        text.push_str(&format!("user = {name}\npassword_file = {}\n", Value::from(file)));
    }
    text
}
