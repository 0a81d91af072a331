//! What the log is made of.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::chain::{Hash, hex};

/// Where a record stands in the chain, counted from 1 over all segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The gate itself, by a rule or a playbook that is named.
    Gate(String),
    /// A person or a program, by the name that its credential has.
    Person(String),
    /// Somebody on the same machine, over the control socket.
    Local,
}

/// A decision on one request, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// When it came, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// What the request is called.
    pub request_id: String,
    /// The key, where the path named one.
    pub public_key: Option<[u8; 48]>,
    /// The named client.
    pub client: String,
    /// Where it came from.
    pub peer: SocketAddr,
    /// `signed`, `refused`, `rejected` or `failed`; `permitted` for an exit or a deposit that is
    /// about to be forwarded, and is followed by one of the others.
    pub verdict: &'static str,
    /// The stable code of the outcome.
    pub code: Cow<'static, str>,
    /// The type of the duty, once known.
    pub kind: Option<&'static str>,
    /// Its signing root, once known.
    pub signing_root: Option<[u8; 32]>,
    /// Slot, epoch, source and target epoch, where the duty has them.
    pub times: [Option<u64>; 4],
    /// The number of the record in the slashing store, where the duty needed one.
    pub store_sequence: Option<u64>,
    /// Why, for what was not simply signed: one line of JSON.
    pub explanation: Option<String>,
}

/// Something that a person or a playbook did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRecord {
    /// When, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// Who.
    pub actor: Actor,
    /// What, as a stable word with dots: `quarantine.imposed`, `window.opened`, `keys.disabled`.
    pub action: String,
    /// To what: a key, a client, the name of a window.
    pub subject: String,
    /// Why, in the actor's words.
    pub reason: String,
    /// What came of it and what it was given: one line of JSON.
    pub details: String,
}

/// A signature over all that stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// When, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// The highest number of the slashing store that the log holds.
    pub store_sequence: u64,
    /// Up to this number of the store nothing is under way any more.
    pub settled: u64,
    /// The gate closed the log in order, and nothing follows in this run.
    pub is_last: bool,
    /// Whose signature it is: Ed25519.
    pub public_key: [u8; 32],
    /// The signature, see [`super::checkpoint`].
    pub signature: [u8; 64],
}

/// The end of a segment that was not whole when the gate started: it was killed as it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// When it was cut off, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// The first position of the segment.
    pub segment: Position,
    /// The first byte that was cut off.
    pub from: u64,
    /// The byte after the last.
    pub to: u64,
    /// SHA-256 of what was cut off.
    pub hash: [u8; 32],
}

/// Records of the slashing store that no decision of the log explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When it was found, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// The log had been closed in order: the records were made by commands, not before a crash.
    pub after_close: bool,
    /// Up to this number of the store the log was whole.
    pub settled: u64,
    /// The highest number that the store holds.
    pub store_sequence: u64,
    /// The records; no more than [`GAP_RECORDS_MAX`].
    pub records: Vec<GapRecord>,
    /// How many more there are.
    pub more: u64,
}

/// A record of the slashing store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapRecord {
    /// Its key.
    pub public_key: [u8; 48],
    /// Of what.
    pub kind: GapKind,
    /// Its number.
    pub sequence: u64,
}

/// Of what a record of the slashing store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapKind {
    /// The highest attestation.
    Attestation,
    /// The highest block.
    Block,
    /// An exit.
    VoluntaryExit,
    /// A deposit.
    Deposit,
}

/// A segment that was deleted because of its age, or for want of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// When, in milliseconds of Unix time.
    pub at_unix_ms: u64,
    /// Its first position.
    pub first: Position,
    /// Its last position.
    pub last: Position,
    /// Its length in bytes.
    pub bytes: u64,
    /// The hash of its last record, from which the next segment goes on.
    pub hash: [u8; 32],
}

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A decision.
    Decision(DecisionRecord),
    /// An action.
    Action(ActionRecord),
    /// A signature over what stands before it.
    Checkpoint(Checkpoint),
    /// A repair: the torn end of a segment was cut off.
    Cut(Cut),
    /// A repair: the store knows more than the log.
    Gap(Gap),
    /// A segment was deleted.
    Removed(Removed),
}

/// The most records that a gap lists.
pub const GAP_RECORDS_MAX: usize = 4_096;

impl GapKind {
    /// The kind in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attestation => "attestation",
            Self::Block => "block",
            Self::VoluntaryExit => "voluntary_exit",
            Self::Deposit => "deposit",
        }
    }
}

impl Record {
    /// What sort of record it is, in one word.
    pub const fn sort(&self) -> &'static str {
        match self {
            Self::Decision(_) => "decision",
            Self::Action(_) => "action",
            Self::Checkpoint(_) => "checkpoint",
            Self::Cut(_) => "repair_cut",
            Self::Gap(_) => "repair_gap",
            Self::Removed(_) => "removed",
        }
    }

    /// When it was made, in milliseconds of Unix time.
    pub const fn at_unix_ms(&self) -> u64 {
        match self {
            Self::Decision(it) => it.at_unix_ms,
            Self::Action(it) => it.at_unix_ms,
            Self::Checkpoint(it) => it.at_unix_ms,
            Self::Cut(it) => it.at_unix_ms,
            Self::Gap(it) => it.at_unix_ms,
            Self::Removed(it) => it.at_unix_ms,
        }
    }

    /// All of it by stable names; what is not there is null.
    pub fn to_json(&self, position: Position) -> Value {
        let mut value = match self {
            Self::Decision(it) => decision(it),
            Self::Action(it) => action(it),
            Self::Checkpoint(it) => json!({
                "store_sequence": it.store_sequence,
                "settled": it.settled,
                "is_last": it.is_last,
                "public_key": hex(&it.public_key),
                "signature": hex(&it.signature),
            }),
            Self::Cut(it) => json!({
                "segment": it.segment.0,
                "from": it.from,
                "to": it.to,
                "hash": hex(&it.hash),
            }),
            Self::Gap(it) => gap(it),
            Self::Removed(it) => json!({
                "first": it.first.0,
                "last": it.last.0,
                "bytes": it.bytes,
                "hash": Hash(it.hash).to_string(),
            }),
        };
        let shared = [
            ("position", json!(position.0)),
            ("record", json!(self.sort())),
            ("at_unix_ms", json!(self.at_unix_ms())),
        ];
        if let Some(object) = value.as_object_mut() {
            object.extend(shared.map(|(name, value)| (name.to_owned(), value)));
        }
        value
    }
}

fn decision(it: &DecisionRecord) -> Value {
    let [slot, epoch, source, target] = it.times;
    json!({
        "request_id": it.request_id,
        "pubkey": it.public_key.map(|key| hex(&key)),
        "client": it.client,
        "peer": it.peer.to_string(),
        "verdict": it.verdict,
        "code": it.code,
        "type": it.kind,
        "signing_root": it.signing_root.map(|root| hex(&root)),
        "slot": slot,
        "epoch": epoch,
        "source_epoch": source,
        "target_epoch": target,
        "store_sequence": it.store_sequence,
        "explanation": it.explanation.as_deref().map(or_text),
    })
}

fn action(it: &ActionRecord) -> Value {
    let (actor, name) = match &it.actor {
        Actor::Gate(rule) => ("gate", Some(rule)),
        Actor::Person(name) => ("person", Some(name)),
        Actor::Local => ("local", None),
    };
    json!({
        "actor": actor,
        "name": name,
        "action": it.action,
        "subject": it.subject,
        "reason": it.reason,
        "details": or_text(&it.details),
    })
}

fn gap(it: &Gap) -> Value {
    let records = it.records.iter().map(|record| {
        json!({
            "pubkey": hex(&record.public_key),
            "kind": record.kind.as_str(),
            "store_sequence": record.sequence,
        })
    });
    json!({
        "after_close": it.after_close,
        "settled": it.settled,
        "store_sequence": it.store_sequence,
        "records": records.collect::<Vec<_>>(),
        "more": it.more,
    })
}

/// JSON as what it is, anything else as a text.
fn or_text(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| json.into())
}
