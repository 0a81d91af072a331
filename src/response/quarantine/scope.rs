//! What a quarantine refuses.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Names;
use crate::eth::PublicKey;
use crate::metrics::SCOPES;

/// What a quarantine refuses. Clients and key groups by their configured names, keys in hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scope {
    /// A client for one key; the others sign on.
    Pair {
        /// The client.
        client: String,
        /// One way in which it comes along (the token of certificate, dialect and network), or any.
        source: Option<u32>,
        /// The key.
        public_key: String,
    },
    /// A key, for everybody.
    Key {
        /// The key.
        public_key: String,
    },
    /// The exits of a key.
    KeyExits {
        /// The key.
        public_key: String,
    },
    /// The exits of a key group.
    CohortExits {
        /// The key group.
        group: String,
    },
    /// Everything that a client asks for.
    Client {
        /// The client.
        client: String,
    },
    /// A key group, for everybody.
    Cohort {
        /// The key group.
        group: String,
    },
    /// A client for a whole key group, but for the keys of it that the client itself has the lease
    /// of: it is fenced off from those of others.
    Source {
        /// The client.
        client: String,
        /// The key group.
        group: String,
    },
}

impl Scope {
    /// The names of all kinds.
    pub const KINDS: [&str; 7] = SCOPES;

    /// The name of its kind, in metrics and lists.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Pair { .. } => "pair",
            Self::Key { .. } => "key",
            Self::KeyExits { .. } => "key_exits",
            Self::CohortExits { .. } => "cohort_exits",
            Self::Client { .. } => "client",
            Self::Cohort { .. } => "cohort",
            Self::Source { .. } => "source",
        }
    }

    /// Whether it opens halfway when its time is over.
    pub const fn half_opens(&self) -> bool {
        match self {
            Self::Client { .. } | Self::Cohort { .. } | Self::Source { .. } => true,
            Self::Pair { .. }
            | Self::Key { .. }
            | Self::KeyExits { .. }
            | Self::CohortExits { .. } => false,
        }
    }

    /// Whether it stops a key or all keys of a group, owners and all.
    pub const fn is_freeze(&self) -> bool {
        match self {
            Self::Key { .. } | Self::Cohort { .. } => true,
            Self::Pair { .. }
            | Self::KeyExits { .. }
            | Self::CohortExits { .. }
            | Self::Client { .. }
            | Self::Source { .. } => false,
        }
    }

    /// The client in it.
    pub fn client(&self) -> Option<&str> {
        match self {
            Self::Pair { client, .. } | Self::Client { client } | Self::Source { client, .. } => {
                Some(client)
            }
            Self::Key { .. }
            | Self::KeyExits { .. }
            | Self::CohortExits { .. }
            | Self::Cohort { .. } => None,
        }
    }

    /// The key group in it.
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::CohortExits { group } | Self::Cohort { group } | Self::Source { group, .. } => {
                Some(group)
            }
            Self::Pair { .. } | Self::Key { .. } | Self::KeyExits { .. } | Self::Client { .. } => {
                None
            }
        }
    }

    /// The key in it.
    pub fn public_key(&self) -> Option<&str> {
        match self {
            Self::Pair { public_key, .. }
            | Self::Key { public_key }
            | Self::KeyExits { public_key } => Some(public_key),
            Self::CohortExits { .. }
            | Self::Client { .. }
            | Self::Cohort { .. }
            | Self::Source { .. } => None,
        }
    }

    /// The key as bytes.
    pub(in crate::response) fn key(&self) -> Option<[u8; 48]> {
        let key: PublicKey = self.public_key()?.parse().ok()?;
        Some(key.0)
    }

    /// Whether what it names is there: a quarantine of nothing would be a false comfort.
    pub(super) fn check(&self, names: &dyn Names) -> Result<(), String> {
        if let Some(client) = self.client()
            && names.client(client).is_none()
        {
            return Err(format!("no client is called {client:?}"));
        }
        if let Some(group) = self.group()
            && names.group(group).is_none()
        {
            return Err(format!("no key group is called {group:?}"));
        }
        match (self.public_key(), self.key()) {
            (Some(key), None) => Err(format!("{key:?} is not a BLS public key in hex")),
            (_, _) => Ok(()),
        }
    }

    /// The same with its key written as the gate writes keys.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        let written = self.key().map(|key| PublicKey(key).to_string());
        match &mut self {
            Self::Pair { public_key, .. }
            | Self::Key { public_key }
            | Self::KeyExits { public_key } => {
                if let Some(written) = written {
                    *public_key = written;
                }
            }
            Self::CohortExits { .. }
            | Self::Client { .. }
            | Self::Cohort { .. }
            | Self::Source { .. } => {}
        }
        self
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pair { client, source: None, public_key } => {
                write!(f, "client {client} for key {public_key}")
            }
            Self::Pair { client, source: Some(token), public_key } => {
                write!(f, "source {token:08x} of client {client} for key {public_key}")
            }
            Self::Key { public_key } => write!(f, "key {public_key}"),
            Self::KeyExits { public_key } => write!(f, "exits of key {public_key}"),
            Self::CohortExits { group } => write!(f, "exits of key group {group}"),
            Self::Client { client } => write!(f, "client {client}"),
            Self::Cohort { group } => write!(f, "key group {group}"),
            Self::Source { client, group } => {
                write!(f, "client {client} for others' keys of key group {group}")
            }
        }
    }
}
