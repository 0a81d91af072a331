//! What a window is asked for with, and what of it is refused.

use std::collections::{BTreeMap, HashSet};

use policy::{ClientIndex, KeySet, WindowId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use slashing_db::PublicKey;

use super::record::{Rotation, is_owner, name_of, name_of_actor, place};
use super::{WindowError, now_ms};
use crate::audit::Actor;
use crate::sign::Gate;
use crate::validators::Status;

/// A rotation as somebody wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// What people call it.
    pub name: String,
    /// Why, in the words of who opens it.
    pub reason: String,
    /// The keys that go, in the order of the batches.
    pub keys: Vec<String>,
    /// Instead of keys: all of a key group, as it is now.
    pub group: Option<String>,
    /// The old owner.
    pub from_client: String,
    /// The new one.
    pub to_client: String,
    /// When it opens, in milliseconds of Unix time; at once, if nothing is said.
    pub opens_at_unix_ms: Option<u64>,
    /// When it is over, in milliseconds of Unix time.
    pub expires_at_unix_ms: u64,
    /// How long both clients may ask for one key, in milliseconds. Only 0 is safe, and taken.
    pub overlap_max_ms: u64,
    /// Into how many batches the keys are split; one, if nothing is said.
    pub batches: Option<u32>,
}

/// A window that is there already, as far as another must not collide with it.
pub(super) struct Other {
    id: WindowId,
    name: String,
    keys: KeySet,
    is_live: bool,
    expires_unix_ms: u64,
}

impl Other {
    pub(super) fn of(rotation: &Rotation) -> Self {
        Self {
            id: rotation.id,
            name: rotation.name.clone(),
            keys: rotation.set.clone(),
            is_live: rotation.end.is_none(),
            expires_unix_ms: rotation.expires_unix_ms,
        }
    }
}

pub(super) fn checked(
    plan: &Plan,
    actor: &Actor,
    gate: &Gate,
    others: &[Other],
) -> Result<Rotation, WindowError> {
    let now = now_ms(gate);
    if plan.name.trim().is_empty() || plan.name.chars().count() > NAME_CHARS_MAX {
        return invalid("name", format!("has 1 to {NAME_CHARS_MAX} characters"));
    }
    if plan.overlap_max_ms != 0 {
        return invalid(
            "overlap_max_ms",
            "two live signers of one key are what this gate prevents: only 0 is taken",
        );
    }
    let from = client(gate, "from_client", &plan.from_client)?;
    let to = client(gate, "to_client", &plan.to_client)?;
    if from == to {
        return invalid("to_client", "is the same as from_client");
    }
    let opens_unix_ms = plan.opens_at_unix_ms.unwrap_or(now).max(now);
    if plan.expires_at_unix_ms <= opens_unix_ms {
        return invalid("expires_at_unix_ms", "is not after its opening");
    }
    if plan.expires_at_unix_ms - opens_unix_ms > LASTS_MAX_MS {
        return invalid("expires_at_unix_ms", "is more than 14 days after its opening");
    }
    let keys = keys(plan, gate)?;
    not_of_others(gate, &keys, from, to)?;
    not_in_another(&keys, others, now)?;
    let batches = batches(plan, keys.len())?;
    let id = id(plan, now, others);
    Ok(Rotation {
        id,
        name: plan.name.clone(),
        reason: plan.reason.clone(),
        from: (from, plan.from_client.clone()),
        to: (to, plan.to_client.clone()),
        set: keys.iter().map(|(key, _)| *key).collect(),
        moved: keys.iter().map(|(key, _)| *key).filter(|key| is_owner(gate, *key, to)).collect(),
        keys,
        batches,
        opened_by: name_of_actor(actor),
        opened_unix_ms: now,
        opens_unix_ms,
        expires_unix_ms: plan.expires_at_unix_ms,
        end: None,
        is_told: false,
        page: None,
        is_closed: false,
        overlaps: BTreeMap::new(),
        is_dirty: false,
        is_end_kept: false,
        patience_unix_ms: 0,
    })
}

fn invalid<T>(field: &'static str, reason: impl Into<String>) -> Result<T, WindowError> {
    Err(WindowError::Invalid { field, reason: reason.into() })
}

/// A client that is known: one that nobody has heard of is a slip of the pen.
fn client(gate: &Gate, field: &'static str, name: &str) -> Result<ClientIndex, WindowError> {
    let names = gate.judgement.clients.names();
    let place = names.iter().position(|known| known == name);
    match place.and_then(|place| u16::try_from(place).ok()) {
        Some(place) => Ok(ClientIndex(place)),
        None => {
            invalid(field, format!("no client is named `{name}`; name it in the configuration"))
        }
    }
}

fn keys(plan: &Plan, gate: &Gate) -> Result<Vec<(u32, PublicKey)>, WindowError> {
    let keys: Vec<PublicKey> = match (&plan.group, plan.keys.is_empty()) {
        (Some(_), false) => return invalid("group", "give keys or a group, not both"),
        (None, true) => return invalid("keys", "names no key"),
        (Some(group), true) => of_group(gate, group)?,
        (None, false) => {
            let parsed = plan.keys.iter().map(|text| {
                let key = text.parse::<crate::eth::PublicKey>();
                key.map(|key| PublicKey(key.0)).or_else(|_| {
                    invalid("keys", format!("`{text}` is not 0x and 96 hexadecimal digits"))
                })
            });
            parsed.collect::<Result<_, _>>()?
        }
    };
    let mut seen = HashSet::with_capacity(keys.len());
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let row = place(gate, &key).and_then(|place| gate.validators.at_place(place));
        let status = row.map(|row| (row, gate.validators.with(row, |it| it.status())));
        match status {
            Some((row, Status::Enabled)) if seen.insert(key) => {
                found.push((u32::try_from(row.place()).unwrap_or(u32::MAX), key));
            }
            Some((_, Status::Enabled)) => return invalid("keys", format!("{key} is named twice")),
            Some((_, status @ (Status::Disabled | Status::Halted))) => {
                return invalid("keys", format!("{key} is {}", status.as_str()));
            }
            None => return invalid("keys", format!("{key} is not enrolled")),
        }
    }
    if found.is_empty() { invalid("group", "has no enabled key") } else { Ok(found) }
}

/// The enabled keys of a group, in the order of enrolment.
fn of_group(gate: &Gate, name: &str) -> Result<Vec<PublicKey>, WindowError> {
    let policy = gate.judgement.policy();
    let Some(place) = policy.groups.iter().position(|group| group.name == name) else {
        return invalid("group", format!("no key group is named `{name}`"));
    };
    let mut keys = Vec::new();
    gate.validators.for_each(|validator| {
        let key = *validator.watermarks.public_key();
        if validator.status() == Status::Enabled
            && usize::from(gate.judgement.group(&key).0) == place
        {
            keys.push(key);
        }
    });
    Ok(keys)
}

/// A key of a third client does not move, and a script would wait for it until the end.
fn not_of_others(
    gate: &Gate,
    keys: &[(u32, PublicKey)],
    from: ClientIndex,
    to: ClientIndex,
) -> Result<(), WindowError> {
    let names = gate.judgement.clients.names();
    for (place, key) in keys {
        let owner = gate.validators.at_place(*place).and_then(|row| {
            gate.validators.with(row, |validator| validator.baseline.state.owner())
        });
        if let Some(owner) = owner.filter(|owner| *owner != from && *owner != to) {
            let unknown = String::new();
            let owner = names.get(usize::from(owner.0)).unwrap_or(&unknown);
            return Err(WindowError::Conflict(format!(
                "the key {key} belongs to the client {owner}, not to the one that it goes from"
            )));
        }
    }
    Ok(())
}

fn not_in_another(
    keys: &[(u32, PublicKey)],
    others: &[Other],
    now_ms: u64,
) -> Result<(), WindowError> {
    for other in others.iter().filter(|it| it.is_live && now_ms < it.expires_unix_ms) {
        if let Some((_, key)) = keys.iter().find(|(key, _)| other.keys.contains(*key)) {
            let (name, id) = (&other.name, name_of(other.id));
            return Err(WindowError::Conflict(format!(
                "the key {key} is in the window {name} ({id}) already; close that one first"
            )));
        }
    }
    Ok(())
}

/// Of sizes that differ by one at most.
fn batches(plan: &Plan, keys: usize) -> Result<Vec<usize>, WindowError> {
    let count = plan.batches.unwrap_or(1) as usize;
    if count == 0 || count > keys {
        return invalid("batches", format!("is from 1 to the number of keys, {keys}"));
    }
    Ok((0..count).map(|batch| keys * (batch + 1) / count - keys * batch / count).collect())
}

/// Not that of any other window, nor 0.
fn id(plan: &Plan, now_ms: u64, others: &[Other]) -> WindowId {
    let candidates = (0u64..).map(|attempt| {
        let mut hasher = Sha256::new();
        hasher.update(plan.name.as_bytes());
        hasher.update(now_ms.to_be_bytes());
        hasher.update(attempt.to_be_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        WindowId(u64::from_be_bytes(*digest.first_chunk().expect("32 bytes")))
    });
    let mut free = candidates.filter(|id| id.0 != 0 && others.iter().all(|it| it.id != *id));
    free.next().expect("there are more numbers than windows")
}

const NAME_CHARS_MAX: usize = 128;
const LASTS_MAX_MS: u64 = 14 * 86_400_000;
