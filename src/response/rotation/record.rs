//! One rotation window, in memory and on disk.

use std::collections::{BTreeMap, HashSet};

use policy::{ClientIndex, GroupIndex, KeySet, Window, WindowId, WindowKind};
use serde::{Deserialize, Serialize};
use slashing_db::{PublicKey, SideTableError};

use super::follow::{Kind, News};
use super::{Overlap, ResponseTable, WindowError, details};
use crate::audit::Actor;
use crate::sign::Gate;
use crate::validators::Standing;

/// One window.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    pub(super) id: WindowId,
    pub(super) name: String,
    pub(super) reason: String,
    /// The old owner and the new one: place and name.
    pub(super) from: (ClientIndex, String),
    pub(super) to: (ClientIndex, String),
    /// Place and public key, in the order of the batches.
    pub(super) keys: Vec<(u32, PublicKey)>,
    pub(super) set: KeySet,
    /// How many keys each batch has.
    pub(super) batches: Vec<usize>,
    pub(super) opened_by: String,
    pub(super) opened_unix_ms: u64,
    pub(super) opens_unix_ms: u64,
    pub(super) expires_unix_ms: u64,
    pub(super) end: Option<End>,
    /// Whether its end was told.
    pub(super) is_told: bool,
    /// The incident whose page its halt joins.
    pub(super) page: Option<String>,
    /// Somebody has looked at the halt and closed the window.
    pub(super) is_closed: bool,
    /// Keys that both clients asked for.
    pub(super) overlaps: BTreeMap<u32, Overlap>,
    /// Keys whose lease has moved, and is on disk.
    pub(super) moved: HashSet<u32>,
    /// Whether there is more than is on disk.
    pub(super) is_dirty: bool,
    /// Whether its end is on disk.
    pub(super) is_end_kept: bool,
    /// Until when its halt waits for the incident whose page it joins.
    pub(super) patience_unix_ms: u64,
}

/// How a window ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ending {
    Completed,
    Halted,
    Expired,
}

/// The end of a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) how: Ending,
    pub(super) at_unix_ms: u64,
    pub(super) by: String,
    pub(super) reason: String,
}

impl End {
    fn by_the_gate(how: Ending, at_unix_ms: u64, reason: impl Into<String>) -> Self {
        Self { how, at_unix_ms, by: GATE.to_owned(), reason: reason.into() }
    }

    pub(super) fn halted_before_a_crash(at_unix_ms: u64) -> Self {
        Self::by_the_gate(Ending::Halted, at_unix_ms, "both clients asked for a key")
    }
}

impl Rotation {
    /// Whether it is part of the policy: also while it is halted, for what overlaps then is still
    /// of this rotation.
    pub(super) fn holds(&self) -> bool {
        match &self.end {
            None => true,
            Some(end) => end.how == Ending::Halted && !self.is_closed,
        }
    }

    pub(super) fn compiled(&self, groups: usize) -> Window {
        Window {
            id: self.id,
            name: self.name.clone(),
            kind: WindowKind::Rotation { from: self.from.0, to: self.to.0 },
            groups: (0u16..).map(GroupIndex).take(groups).collect(), // the keys say which
            keys: self.set.clone(),
            from_ms: self.opens_unix_ms,
            until_ms: self.expires_unix_ms,
        }
    }

    /// Keys that have not moved yet, each with the client that it goes to.
    pub(super) fn pending(&self) -> Vec<(u32, ClientIndex)> {
        let keys = self.keys.iter().map(|(key, _)| *key);
        keys.filter(|key| !self.moved.contains(key)).map(|key| (key, self.to.0)).collect()
    }

    pub(super) fn moved_by_leases(&self, gate: &Gate) -> HashSet<u32> {
        let has_moved = |key: &u32| {
            let state = |look: &dyn Fn(&policy::KeyState) -> bool| {
                let row = gate.validators.at_place(*key);
                row.is_some_and(|row| gate.validators.with(row, |it| look(&it.baseline.state)))
            };
            state(&|key| key.owner() == Some(self.to.0) || key.has_moved_by(self.id))
        };
        self.set.iter().filter(has_moved).collect()
    }

    /// The first overlap ends it.
    pub(super) fn overlapped(&mut self, overlap: Overlap) {
        let is_new = self.overlaps.insert(overlap.key, overlap).is_none();
        self.is_dirty |= is_new;
        if self.end.is_none() {
            let both = format!("{} and {}", self.from.1, self.to.1);
            let reason = format!("{both} both asked for {}", self.public_key(overlap.key));
            self.end = Some(End::by_the_gate(Ending::Halted, overlap.at_unix_ms, reason));
        }
    }

    /// Whether the request that halted it was not heard of yet; then it is not told yet, so that it
    /// joins the page of that request's incident. A notice may get lost: it has its patience.
    pub(super) fn awaits_its_notice(&mut self, page: Option<&String>, now_ms: u64) -> bool {
        if !self.is_halted() || self.is_told || self.page.is_some() {
            return false;
        }
        self.page = page.cloned();
        let first_ms = self.overlaps.values().map(|it| it.at_unix_ms).min();
        let until_ms = first_ms.map_or(0, |first| first + NOTICE_MS).max(self.patience_unix_ms);
        self.page.is_none() && now_ms < until_ms
    }

    pub(super) fn is_halted(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.how == Ending::Halted)
    }

    /// What has come of it by `now_ms` that nobody was told of.
    pub(super) fn follow(&mut self, now_ms: u64, names: &[String]) -> Option<News> {
        if self.end.is_none() {
            let (keys, moved) = (self.keys.len(), self.moved.len());
            if moved == keys {
                let reason = format!("all {keys} keys have moved");
                self.end = Some(End::by_the_gate(Ending::Completed, now_ms, reason));
            } else if now_ms >= self.expires_unix_ms {
                let reason = format!("its time is over; {} keys have not moved", keys - moved);
                self.end = Some(End::by_the_gate(Ending::Expired, now_ms, reason));
            }
        }
        if self.is_told {
            return None;
        }
        let end = self.end.as_ref()?;
        self.is_dirty = false;
        let kind = match end.how {
            Ending::Completed => Kind::Completed,
            Ending::Halted => Kind::Halted,
            Ending::Expired => Kind::Expired,
        };
        let mut details = details(self);
        if let Some(first) = self.overlaps.values().min_by_key(|it| it.at_unix_ms) {
            details["public_key"] = self.public_key(first.key).into();
            details["client"] = names.get(usize::from(first.client.0)).cloned().into();
        }
        Some(self.news(kind, end.at_unix_ms, &end.reason, details))
    }

    /// Ends it because a person wants it.
    pub(super) fn end_by_hand(
        &mut self,
        how: Ending,
        now_ms: u64,
        by: &str,
        reason: &str,
    ) -> Result<News, WindowError> {
        let kind = match (&self.end, how) {
            (Some(End { how: Ending::Halted, .. }), Ending::Expired) if !self.is_closed => {
                Kind::Closed
            }
            (Some(end), _) => {
                let ended = super::show::state_of(end.how);
                let reason = format!("the window {} is {ended} already", name_of(self.id));
                return Err(WindowError::Conflict(reason));
            }
            (None, Ending::Halted) => Kind::HaltedByHand,
            (None, Ending::Expired | Ending::Completed) => Kind::Closed,
        };
        if self.end.is_none() {
            let (by, reason) = (by.to_owned(), reason.to_owned());
            self.end = Some(End { how, at_unix_ms: now_ms, by, reason });
            self.is_told = true;
        }
        self.is_closed |= kind == Kind::Closed;
        Ok(self.news(kind, now_ms, reason, details(self)))
    }

    pub(super) fn opened(&self) -> News {
        self.news(Kind::Opened, self.opened_unix_ms, &self.reason, details(self))
    }

    fn news(&self, kind: Kind, at_unix_ms: u64, reason: &str, details: serde_json::Value) -> News {
        let (window, name, reason) = (self.id, self.name.clone(), reason.to_owned());
        News { window, name, kind, at_unix_ms, reason, page: self.page.clone(), details }
    }

    pub(super) fn public_key(&self, place: u32) -> String {
        let found = self.keys.iter().find(|(key, _)| *key == place);
        found.map_or_else(String::new, |(_, key)| key.to_string())
    }

    /// Its rows when it is opened.
    pub(super) fn rows(&self) -> Vec<Change> {
        let keys = self.keys.iter().flat_map(|(_, key)| key.0).collect();
        vec![self.row(), (keys_row(self.id), Some(keys))]
    }

    /// The row that changes with its state.
    pub(super) fn row(&self) -> Change {
        let contested = self.overlaps.values().map(|it| Contested {
            public_key: self.public_key(it.key),
            client: it.client.0,
            at_unix_ms: it.at_unix_ms,
        });
        let header = Header {
            name: self.name.clone(),
            reason: self.reason.clone(),
            from_client: self.from.1.clone(),
            to_client: self.to.1.clone(),
            batches: self.batches.clone(),
            opened_by: self.opened_by.clone(),
            opened_unix_ms: self.opened_unix_ms,
            opens_unix_ms: self.opens_unix_ms,
            expires_unix_ms: self.expires_unix_ms,
            end: self.end.clone(),
            is_told: self.is_told,
            page: self.page.clone(),
            is_closed: self.is_closed,
            contested: contested.collect(),
        };
        (row(self.id), Some(serde_json::to_vec(&header).unwrap_or_default()))
    }
}

type Change = (Vec<u8>, Option<Vec<u8>>);

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    name: String,
    reason: String,
    from_client: String,
    to_client: String,
    batches: Vec<usize>,
    opened_by: String,
    opened_unix_ms: u64,
    opens_unix_ms: u64,
    expires_unix_ms: u64,
    end: Option<End>,
    is_told: bool,
    page: Option<String>,
    is_closed: bool,
    contested: Vec<Contested>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Contested {
    public_key: String,
    client: u16,
    at_unix_ms: u64,
}

/// Every window of the table. One that cannot be read holds no longer: no key moves by it.
pub(super) fn read(
    table: &ResponseTable,
    gate: &Gate,
) -> Result<BTreeMap<WindowId, Rotation>, SideTableError> {
    let rows: BTreeMap<Vec<u8>, Vec<u8>> = table.rows(PREFIX)?.into_iter().collect();
    let mut known = BTreeMap::new();
    for (name, value) in &rows {
        let Some(id) = std::str::from_utf8(name).ok().and_then(id_of) else { continue };
        let keys = rows.get(&[name, KEYS].concat());
        match keys.and_then(|keys| Rotation::read(id, value, keys, gate)) {
            Some(rotation) => {
                known.insert(id, rotation);
            }
            None => tracing::error!(
                event = "window_unreadable",
                window = name_of(id),
                "a rotation window cannot be read; no key moves by it. Open another"
            ),
        }
    }
    Ok(known)
}

impl Rotation {
    fn read(id: WindowId, header: &[u8], keys: &[u8], gate: &Gate) -> Option<Self> {
        let header: Header = serde_json::from_slice(header).ok()?;
        let (keys, rest) = keys.as_chunks::<48>();
        if !rest.is_empty() || header.batches.iter().sum::<usize>() != keys.len() {
            return None;
        }
        let key = |key: &[u8; 48]| Some((place(gate, &PublicKey(*key))?, PublicKey(*key)));
        let keys: Vec<_> = keys.iter().map(key).collect::<Option<_>>()?;
        let overlaps = header.contested.iter().filter_map(|it| {
            let public_key: crate::eth::PublicKey = it.public_key.parse().ok()?;
            let key = place(gate, &PublicKey(public_key.0))?;
            let client = ClientIndex(it.client);
            Some((key, Overlap { window: id, key, client, at_unix_ms: it.at_unix_ms }))
        });
        let client = |name: String| (gate.judgement.clients.index(&name), name);
        Some(Self {
            id,
            overlaps: overlaps.collect(),
            name: header.name,
            reason: header.reason,
            from: client(header.from_client),
            to: client(header.to_client),
            set: keys.iter().map(|(key, _)| *key).collect(),
            keys,
            batches: header.batches,
            opened_by: header.opened_by,
            opened_unix_ms: header.opened_unix_ms,
            opens_unix_ms: header.opens_unix_ms,
            expires_unix_ms: header.expires_unix_ms,
            end: header.end,
            is_told: header.is_told,
            page: header.page,
            is_closed: header.is_closed,
            moved: HashSet::new(),
            is_dirty: false,
            is_end_kept: false,
            patience_unix_ms: 0,
        })
    }
}

/// The windows that are forgotten when another is opened: the oldest of those that are over.
pub(super) fn forgotten(known: &BTreeMap<WindowId, Rotation>, now_ms: u64) -> Vec<WindowId> {
    let over = |it: &&Rotation| !it.holds() || now_ms >= it.expires_unix_ms;
    let mut over: Vec<_> =
        known.values().filter(over).map(|it| (it.opened_unix_ms, it.id)).collect();
    over.sort_unstable();
    let excess = (known.len() + 1).saturating_sub(WINDOWS_MAX);
    over.into_iter().take(excess).map(|(_, id)| id).collect()
}

/// The rows of a window that is forgotten.
pub(super) fn no_rows(id: WindowId) -> [Change; 2] {
    [(row(id), None), (keys_row(id), None)]
}

/// The place of an enrolled key.
pub(super) fn place(gate: &Gate, key: &PublicKey) -> Option<u32> {
    match gate.validators.standing(key) {
        Standing::Enrolled(row) => u32::try_from(row.place()).ok(),
        Standing::Awaiting | Standing::Unknown => None,
    }
}

/// Whether a client has the lease of a key.
pub(super) fn is_owner(gate: &Gate, key: u32, client: ClientIndex) -> bool {
    let row = gate.validators.at_place(key);
    row.is_some_and(|row| gate.validators.with(row, |it| it.baseline.state.owner() == Some(client)))
}

/// The id of a window as people write it.
pub(super) fn name_of(id: WindowId) -> String {
    format!("{:016x}", id.0)
}

/// The reverse of [`name_of`].
pub(super) fn id_of(name: &str) -> Option<WindowId> {
    (name.len() == 16).then(|| u64::from_str_radix(name, 16).ok())?.map(WindowId)
}

/// Who acts, in a word.
pub(super) fn name_of_actor(actor: &Actor) -> String {
    match actor {
        Actor::Gate(_) => GATE.to_owned(),
        Actor::Person(name) => name.clone(),
        Actor::Local => "somebody on the gate's machine".to_owned(),
    }
}

fn row(id: WindowId) -> Vec<u8> {
    [PREFIX, name_of(id).as_bytes()].concat()
}

fn keys_row(id: WindowId) -> Vec<u8> {
    [PREFIX, name_of(id).as_bytes(), KEYS].concat()
}

const PREFIX: &[u8] = b"window:";
const KEYS: &[u8] = b":keys";
/// How long a halt waits for the notice of its request.
const NOTICE_MS: u64 = 1_000;
const GATE: &str = "the gate";
/// Windows that are remembered.
const WINDOWS_MAX: usize = 1_000;
