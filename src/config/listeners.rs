//! `[[listeners]]`: more places where validator clients connect, besides `[listen]`.

use std::net::SocketAddr;

use serde::Deserialize;

use super::check::Checker;
use super::problem::ProblemKind;
use super::{Config, ListenConfig, tls};
use crate::clients::{AddressRange, ClientAuth, ClientSettings, TlsSettings};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawListener {
    name: Option<String>,
    address: Option<String>,
    client: Option<String>,
    tls: Option<bool>,
    client_auth: Option<String>,
    proxy_protocol_from: Option<Vec<String>>,
}

/// One listener of the signing API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name, in logs; `[listen]` is named `listen`.
    pub name: String,
    /// Its address.
    pub address: SocketAddr,
    /// How its connections are known.
    pub entrance: EntranceConfig,
}

/// What a listener makes of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntranceConfig {
    /// Whose its connections are, as far as they do not say it themselves.
    pub client: Option<String>,
    /// Whether, and how, certificates are asked for; `None` without TLS.
    pub tls: Option<ClientAuth>,
    /// Connections come from these addresses alone, each with a PROXY protocol header; empty when
    /// clients connect themselves.
    pub proxy_protocol_from: Vec<AddressRange>,
}

/// The keys that `[listen]` and `[[listeners]]` share.
#[derive(Debug, Default)]
pub(super) struct RawEntrance {
    pub(super) client: Option<String>,
    pub(super) tls: Option<bool>,
    pub(super) client_auth: Option<String>,
    pub(super) proxy_protocol_from: Option<Vec<String>>,
}

/// The name of `[listen]` among the listeners.
pub(super) const FIRST: &str = "listen";

impl Config {
    /// Every listener of the signing API, `[listen]` first.
    pub fn all_listeners(&self) -> Vec<ListenerConfig> {
        let ListenConfig { address, entrance, .. } = &self.listen;
        let first = ListenerConfig {
            name: FIRST.to_owned(),
            address: *address,
            entrance: entrance.clone(),
        };
        std::iter::once(first).chain(self.listeners.iter().cloned()).collect()
    }
}

/// What the entrances of all listeners are checked against.
pub(super) struct Surroundings<'a> {
    pub(super) tls: Option<&'a TlsSettings>,
    /// Then nothing is said of the listeners that need it.
    pub(super) tls_is_wrong: bool,
    pub(super) clients: &'a [ClientSettings],
}

/// Checks `[[listeners]]`; what is wrong goes to the checker.
pub(super) fn check(
    checker: &mut Checker<'_>,
    raw: Vec<RawListener>,
    first: Option<SocketAddr>,
    around: &Surroundings<'_>,
) -> Vec<ListenerConfig> {
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = |field: &str| format!("listeners[{index}].{field}");
        let name = checker.required(&at("name"), raw.name);
        let name = name.and_then(|name| checker.name(&at("name"), name));
        let address = checker.required(&at("address"), raw.address);
        let address = address.and_then(|text| checker.address(&at("address"), &text));
        let entrance = RawEntrance {
            client: raw.client,
            tls: raw.tls,
            client_auth: raw.client_auth,
            proxy_protocol_from: raw.proxy_protocol_from,
        };
        let entrance = check_entrance(checker, &format!("listeners[{index}]"), entrance, around);
        let (Some(name), Some(address)) = (name, address) else { continue };
        if name == FIRST || listeners.iter().any(|other| other.name == name) {
            checker.wrong(&at("name"), ProblemKind::ListenerNameTwice { name });
            continue;
        }
        let taken = first.into_iter().chain(listeners.iter().map(|other| other.address));
        if address.port() != 0 && taken.into_iter().any(|other| other == address) {
            checker.wrong(&at("address"), ProblemKind::ListenerAddressTwice { address });
        }
        listeners.push(ListenerConfig { name, address, entrance });
    }
    listeners
}

/// Checks what `[listen]` and `[[listeners]]` share.
pub(super) fn check_entrance(
    checker: &mut Checker<'_>,
    path: &str,
    raw: RawEntrance,
    around: &Surroundings<'_>,
) -> EntranceConfig {
    let at = |field: &str| format!("{path}.{field}");
    let client = raw.client.and_then(|client| checker.name(&at("client"), client));
    if let Some(name) = &client
        && !around.clients.is_empty()
        && !around.clients.iter().any(|client| client.name == *name)
    {
        checker.wrong(&at("client"), ProblemKind::NoSuchClient { name: name.clone() });
    }
    if raw.tls == Some(true) && around.tls.is_none() && !around.tls_is_wrong {
        checker.wrong(&at("tls"), ProblemKind::NoTls);
    }
    let own = raw.client_auth.and_then(|text| tls::client_auth(checker, &at("client_auth"), &text));
    let tls = around.tls.filter(|_| raw.tls.unwrap_or(true));
    if own.is_some() && tls.is_none() && !around.tls_is_wrong {
        checker.wrong(&at("client_auth"), ProblemKind::NoTls);
    }
    let auth = tls.map(|tls| own.unwrap_or(tls.client_auth));
    if auth.is_some_and(|auth| auth != ClientAuth::None) && !accepts_any(around) {
        let field = if own.is_some() { at("client_auth") } else { "tls.client_auth".to_owned() };
        checker.wrong(&field, ProblemKind::NoClientCertificates);
    }
    let ranges = raw.proxy_protocol_from.unwrap_or_default();
    let ranges = ranges.iter().enumerate().filter_map(|(index, text)| {
        let path = at(&format!("proxy_protocol_from[{index}]"));
        checker.valid(&path, text.parse().map_err(ProblemKind::NotARange))
    });
    EntranceConfig { client, tls: auth, proxy_protocol_from: ranges.collect() }
}

/// Whether there is a certificate of a client that would be accepted.
fn accepts_any(around: &Surroundings<'_>) -> bool {
    let lists =
        |tls: &TlsSettings| tls.known_clients_file.is_some() || tls.client_ca_file.is_some();
    around.tls.is_some_and(lists)
        || around.clients.iter().any(|client| !client.certificate_fingerprints.is_empty())
}

/// As TOML, for the effective configuration.
pub(super) fn as_toml(listener: &ListenerConfig) -> String {
    let ListenerConfig { name, address, entrance } = listener;
    let EntranceConfig { client, tls, proxy_protocol_from } = entrance;
    let mut text = format!("\n[[listeners]]\nname = \"{name}\"\naddress = \"{address}\"\n");
    if let Some(client) = client {
        text.push_str(&format!("client = \"{client}\"\n"));
    }
    text.push_str(&format!("tls = {}\n", tls.is_some()));
    if let Some(auth) = tls {
        text.push_str(&format!("client_auth = \"{}\"\n", auth.as_str()));
    }
    if !proxy_protocol_from.is_empty() {
        let ranges = ranges_as_toml(proxy_protocol_from);
        text.push_str(&format!("proxy_protocol_from = {ranges}\n"));
    }
    text
}

/// Ranges as TOML writes a list of texts.
pub(super) fn ranges_as_toml(ranges: &[AddressRange]) -> toml::Value {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().into()
}
