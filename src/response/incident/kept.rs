//! Every incident that is kept: in memory for who asks, on disk for the time after a restart.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use slashing_db::SideTableError;

use super::cause::Cause;
use super::record::{Incident, KEYS_MAX, Sighting};
use crate::response::{Notice, ResponseTable};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// By id, and therefore in the order in which they began.
    incidents: BTreeMap<String, Arc<Incident>>,
    /// The newest of each cause.
    causes: HashMap<Cause, String>,
    keys: HashMap<String, BTreeMap<String, u64>>,
    /// Messages and keys that were counted, by incident.
    offences: HashMap<String, HashSet<u64>>,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Change {
    touched: BTreeSet<String>,
    keys: BTreeSet<(String, String)>,
    /// Incidents that are not kept any longer, with their keys.
    pub(super) forgotten: Vec<(String, Vec<String>)>,
}

impl Change {
    pub(super) fn touch(&mut self, id: String) {
        self.touched.insert(id);
    }

    pub(super) fn key(&mut self, id: &str, key: &str) {
        self.keys.insert((id.to_owned(), key.to_owned()));
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.touched.iter().cloned().collect()
    }
}

/// What a commit of the table takes.
pub(super) type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

impl Kept {
    /// What is on disk. A row that cannot be read is left out, and said.
    pub(super) fn read(table: &ResponseTable) -> Result<Self, SideTableError> {
        let mut kept = Self::default();
        for (id, value) in table.rows(HEAD)? {
            match serde_json::from_slice::<Incident>(&value) {
                Ok(incident) => {
                    kept.causes.insert(incident.cause.clone(), incident.id.clone());
                    kept.incidents.insert(incident.id.clone(), Arc::new(incident));
                }
                Err(error) => tracing::warn!(
                    event = "incident_damaged",
                    id = %String::from_utf8_lossy(&id),
                    %error,
                    "an incident cannot be read and is left out"
                ),
            }
        }
        for (name, value) in table.rows(KEY)? {
            let name = String::from_utf8_lossy(&name).into_owned();
            let count = value.try_into().map_or(1, u64::from_be_bytes);
            if let Some((id, key)) = name.split_once(':')
                && kept.incidents.contains_key(id)
            {
                kept.keys.entry(id.to_owned()).or_default().insert(key.to_owned(), count);
            }
        }
        Ok(kept)
    }

    pub(super) fn list(&self) -> Vec<Arc<Incident>> {
        self.incidents.values().rev().cloned().collect()
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Incident>> {
        self.incidents.get(id).cloned()
    }

    /// For a change. Who reads it meanwhile has it as it was.
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Incident> {
        self.incidents.get_mut(id).map(Arc::make_mut)
    }

    pub(super) fn keys(&self, id: &str) -> Vec<(String, u64)> {
        let keys = self.keys.get(id).into_iter().flatten();
        keys.map(|(key, count)| (key.clone(), *count)).collect()
    }

    pub(super) fn with_unsaid(&self) -> Vec<String> {
        let unsaid = self.incidents.values().filter(|incident| !incident.unsaid.is_empty());
        unsaid.map(|incident| incident.id.clone()).collect()
    }

    /// The newest incident of a cause, over or not.
    pub(super) fn of_cause(&self, cause: &Cause) -> Option<String> {
        self.causes.get(cause).cloned()
    }

    /// The live incident of a cause.
    pub(super) fn live_of(&self, cause: &Cause) -> Option<String> {
        let found = self.causes.get(cause).and_then(|id| self.incidents.get(id));
        found.filter(|incident| incident.is_live()).map(|incident| incident.id.clone())
    }

    /// The live incident that something joins: the one of its cause; else one of the same source
    /// and kind that has the key already, or any of them where there are many, or where it is not
    /// known into which window a request fell.
    pub(super) fn live(&self, cause: &Cause, notice: &Notice) -> Option<String> {
        if let Some(id) = self.live_of(cause) {
            return Some(id);
        }
        let live = || self.incidents.values().rev().filter(|incident| incident.is_live());
        let akin: Vec<&Arc<Incident>> = live()
            .filter(|it| it.cause.family == cause.family && it.cause.source == cause.source)
            .collect();
        let has_key =
            |id: &str| self.keys.get(id).is_some_and(|keys| keys.contains_key(&notice.public_key));
        let same_key = akin.iter().find(|incident| has_key(&incident.id));
        let any_will_do = akin.len() >= SCOPES_MAX || notice.decision.is_none();
        let found = same_key.or_else(|| akin.first().filter(|_| any_will_do));
        if let Some(incident) = found {
            return Some(incident.id.clone());
        }
        // A flood of causes: the last ones of a kind are taken together.
        let is_flooded = live().count() >= LIVE_MAX;
        let of_kind = || live().find(|incident| incident.cause.family == cause.family);
        is_flooded.then(of_kind).flatten().map(|incident| incident.id.clone())
    }

    /// Begins an incident, and gives its id.
    pub(super) fn begin(&mut self, cause: Cause, first: Sighting) -> String {
        let mut hasher = DefaultHasher::new();
        cause.hash(&mut hasher);
        let mut at_unix_ms = first.at_unix_ms;
        let id = loop {
            #[allow(clippy::cast_possible_truncation)] // to tell apart what began in one moment
            let id = format!("inc-{at_unix_ms:012x}-{:08x}", hasher.finish() as u32);
            if !self.incidents.contains_key(&id) {
                break id;
            }
            at_unix_ms += 1;
        };
        self.causes.insert(cause.clone(), id.clone());
        let incident = Incident::begin(id.clone(), cause, first);
        self.incidents.insert(id.clone(), Arc::new(incident));
        id
    }

    /// Whether this message for this key was not counted yet. A request without a root counts.
    pub(super) fn is_new_offence(&mut self, id: &str, notice: &Notice) -> bool {
        let Some(root) = notice.root else { return true };
        let mut hasher = DefaultHasher::new();
        (&notice.public_key, root.0).hash(&mut hasher);
        let offences = self.offences.entry(id.to_owned()).or_default();
        if offences.len() >= OFFENCES_MAX {
            offences.clear(); // what is repeated comes soon after the first time
        }
        offences.insert(hasher.finish())
    }

    /// Counts a key of an incident; whether it is a new one.
    pub(super) fn add_key(&mut self, id: &str, key: &str) -> bool {
        let keys = self.keys.entry(id.to_owned()).or_default();
        if let Some(count) = keys.get_mut(key) {
            *count += 1;
            return false;
        }
        if keys.len() < KEYS_MAX {
            keys.insert(key.to_owned(), 1);
        }
        true
    }

    /// The live incidents without anything new for so long.
    pub(super) fn quiet_since(&self, now_unix_ms: u64, quiet_ms: u64) -> Vec<String> {
        let is_quiet = |incident: &&Arc<Incident>| {
            incident.is_live() && now_unix_ms.saturating_sub(incident.last_seen_unix_ms) >= quiet_ms
        };
        self.incidents.values().filter(is_quiet).map(|incident| incident.id.clone()).collect()
    }

    /// Takes out what is beyond the bound: the oldest that are over.
    pub(super) fn forget(&mut self, kept_max: usize) -> Vec<(String, Vec<String>)> {
        let beyond = self.incidents.len().saturating_sub(kept_max);
        let over = self.incidents.values().filter(|incident| !incident.is_live());
        let over: Vec<String> = over.take(beyond).map(|incident| incident.id.clone()).collect();
        let mut forgotten = Vec::new();
        for id in over {
            if let Some(incident) = self.incidents.remove(&id)
                && self.causes.get(&incident.cause) == Some(&id)
            {
                self.causes.remove(&incident.cause);
            }
            self.offences.remove(&id);
            let keys = self.keys.remove(&id).unwrap_or_default();
            forgotten.push((id, keys.into_keys().collect()));
        }
        forgotten
    }

    /// The rows of what has changed.
    pub(super) fn rows(&self, change: &Change) -> Rows {
        let mut rows = Rows::new();
        for id in &change.touched {
            if let Some(incident) = self.incidents.get(id) {
                let value = serde_json::to_vec(&**incident).expect("names and numbers");
                rows.push(([HEAD, id.as_bytes()].concat(), Some(value)));
            }
        }
        for (id, key) in &change.keys {
            if let Some(count) = self.keys.get(id).and_then(|keys| keys.get(key)) {
                rows.push((key_row(id, key), Some(count.to_be_bytes().to_vec())));
            }
        }
        for (id, keys) in &change.forgotten {
            rows.push(([HEAD, id.as_bytes()].concat(), None));
            rows.extend(keys.iter().map(|key| (key_row(id, key), None)));
        }
        rows
    }
}

fn key_row(id: &str, key: &str) -> Vec<u8> {
    [KEY, id.as_bytes(), b":", key.as_bytes()].concat()
}

const HEAD: &[u8] = b"incident:head:";
const KEY: &[u8] = b"incident:key:";
/// Key groups and windows for which one source gets an incident each, of one kind.
const SCOPES_MAX: usize = 3;
/// Live incidents before causes of one kind are taken together.
const LIVE_MAX: usize = 256;
const OFFENCES_MAX: usize = 65_536;
