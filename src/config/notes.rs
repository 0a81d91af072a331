//! What is not wrong with a configuration, and its author may not have meant: who cannot be told
//! from whom.

use super::listeners::ListenerConfig;
use super::{Config, KeyGroup};
use crate::clients::ClientSettings;

#[cfg(test)]
mod tests;

/// A remark of `portcullis check-config`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// Nothing names a client.
    #[error(
        "the clients of {} cannot be told apart: none is configured, and each request belongs to \
         `default`",
        of_groups(groups)
    )]
    NobodyNamed {
        /// The key groups.
        groups: Vec<String>,
    },
    /// A client that no request can belong to.
    #[error("nothing names client `{client}`: no certificate, user, address or listener")]
    NeverNamed {
        /// The client.
        client: String,
    },
    /// Addresses alone name a client: whoever else comes from there is taken for it.
    #[error(
        "client `{client}` is known by its address alone, and so is whoever comes from there: the \
         clients of {} cannot be told apart on that machine",
        of_groups(groups)
    )]
    ByAddressAlone {
        /// The client.
        client: String,
        /// The key groups.
        groups: Vec<String>,
    },
    /// A listener that names a client to everybody.
    #[error(
        "whoever reaches listener `{listener}` ({address}) is client `{client}`: it asks for no \
         certificate"
    )]
    OpenListener {
        /// The listener.
        listener: String,
        /// Its address.
        address: std::net::SocketAddr,
        /// The client.
        client: String,
    },
    /// Passwords in the clear.
    #[error("passwords of [[clients]] cross the network unencrypted on listener `{listener}`")]
    PasswordInClear {
        /// The listener.
        listener: String,
    },
}

fn of_groups(groups: &[String]) -> String {
    match groups {
        [] => "all keys".to_owned(),
        [group] => format!("group `{group}` and of all other keys"),
        groups => format!("groups `{}` and of all other keys", groups.join("`, `")),
    }
}

impl Config {
    /// What its author may not have meant.
    pub fn notes(&self) -> Vec<Note> {
        let groups: Vec<String> =
            self.groups.iter().map(|group: &KeyGroup| group.name.clone()).collect();
        let listeners = self.all_listeners();
        let mut notes = Vec::new();
        let lists = self.tls.as_ref().is_some_and(|tls| tls.known_clients_file.is_some());
        let names = listeners.iter().any(|listener| listener.entrance.client.is_some());
        if self.clients.is_empty() && !lists && !names {
            notes.push(Note::NobodyNamed { groups: groups.clone() });
        }
        for client in &self.clients {
            notes.extend(of_client(client, lists, &listeners, &groups));
        }
        for ListenerConfig { name, address, entrance } in &listeners {
            let is_local = address.ip().is_loopback();
            let asks = entrance.tls.is_some_and(|auth| auth != crate::clients::ClientAuth::None);
            if let Some(client) = &entrance.client
                && !is_local
                && !asks
            {
                let (listener, client) = (name.clone(), client.clone());
                notes.push(Note::OpenListener { listener, address: *address, client });
            }
            let has_users = self.clients.iter().any(|client| client.user.is_some());
            if has_users && !is_local && entrance.tls.is_none() {
                notes.push(Note::PasswordInClear { listener: name.clone() });
            }
        }
        notes
    }
}

fn of_client(
    client: &ClientSettings,
    known_clients: bool,
    listeners: &[ListenerConfig],
    groups: &[String],
) -> Option<Note> {
    let ClientSettings { name, certificate_fingerprints, certificate_names, user, addresses } =
        client;
    let has_claim = !certificate_fingerprints.is_empty()
        || !certificate_names.is_empty()
        || user.is_some()
        || known_clients // whose names are read with the file
        || listeners.iter().any(|listener| listener.entrance.client.as_ref() == Some(name));
    let client = name.clone();
    match (has_claim, addresses.is_empty()) {
        (true, _) => None,
        (false, true) => Some(Note::NeverNamed { client }),
        (false, false) => Some(Note::ByAddressAlone { client, groups: groups.to_vec() }),
    }
}
