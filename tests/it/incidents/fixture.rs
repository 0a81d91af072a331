//! An incident as data: what is known of it, and the requests that a gate would have seen.
//!
//! Times and slots of a row count from S, the first slot of an epoch in which the story begins;
//! epochs from the epoch of S. One row may stand for many: for a range of keys, for each of a range
//! of epochs.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::support::SLOT_S;

/// A file of `fixtures/incidents/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Incident {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) date: String,
    /// What is documented.
    pub(super) facts: Vec<String>,
    /// Where.
    pub(super) sources: Vec<String>,
    /// What was inferred from the mechanism, and how it is told here.
    pub(super) model: String,
    /// What a gate in the path cannot see of it.
    pub(super) cannot_see: Option<String>,
    pub(super) cases: Vec<Case>,
}

/// One sequence of requests to one installation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    /// What carries the requests.
    #[serde(default)]
    pub(super) driver: Driver,
    /// How many keys the signer has.
    pub(super) keys: u64,
    /// Whether they are enrolled.
    #[serde(default = "yes")]
    pub(super) enrolled: bool,
    pub(super) clients: Vec<Client>,
    /// Lines of the gate's configuration beside listeners and clients.
    #[serde(default)]
    pub(super) config: Vec<String>,
    /// Lines of the policy document that the operator would have had.
    #[serde(default)]
    pub(super) policy: Vec<String>,
    /// More arguments of the signer.
    #[serde(default)]
    pub(super) signer: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// The rule by which the first bad request is refused; none where nothing is.
    pub(super) first_refusal: Option<String>,
    /// Whether nothing of it may wake a person up.
    #[serde(default)]
    pub(super) pages_nobody: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Driver {
    /// HTTP, against the binary.
    #[default]
    Http,
    /// The policy crate by itself, with participants of our own: a gate in front of one signer
    /// does not see who took part.
    Engine,
}

/// A validator client.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) name: String,
    /// Where it comes from, unless a row says otherwise.
    #[serde(default = "loopback")]
    pub(super) ip: String,
    /// Whether it shows a certificate of its own; otherwise it has a listener of its own.
    #[serde(default)]
    pub(super) certificate: bool,
}

/// One request, or one of many kinds of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// When, in milliseconds from S.
    pub(super) t_ms: u64,
    /// Something that happens to the gate instead of a request.
    #[serde(rename = "do")]
    pub(super) action: Option<Action>,
    #[serde(default)]
    pub(super) client: String,
    pub(super) ip: Option<String>,
    /// A second gate, if it is not the first that is asked.
    #[serde(default)]
    pub(super) at_second_gate: bool,
    #[serde(default)]
    pub(super) key: u64,
    /// The first and the last of several keys.
    keys: Option<[u64; 2]>,
    /// Milliseconds from one of the keys to the next.
    #[serde(default)]
    key_step_ms: u64,
    /// The first and the last epoch in which it is asked for again.
    epochs: Option<[u64; 2]>,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    /// The slot of the message, from S; that of `t_ms` if it is left out.
    pub(super) slot: Option<i64>,
    /// The epoch of the message; that of its slot if it is left out.
    pub(super) epoch: Option<i64>,
    /// The source epoch of a vote; the one before its target if it is left out.
    pub(super) src: Option<i64>,
    /// The target epoch of a vote; that of its slot if it is left out.
    pub(super) tgt: Option<i64>,
    /// Which of several messages: r1, r2, ...
    #[serde(default = "first")]
    pub(super) root: u8,
    /// Other values in the body, by JSON pointer.
    #[serde(default)]
    pub(super) with: BTreeMap<String, Value>,
    /// The field in which the client says the root that it expects.
    pub(super) claims: Option<String>,
    /// The fee recipient of a registration, or the one that a block's proof leads to.
    pub(super) fee_recipient: Option<String>,
    /// Who takes part in the signature; one after the other, by epoch and key.
    #[serde(default)]
    share_sets: Vec<Vec<u8>>,
    #[serde(default)]
    pub(super) expect: Expect,
    /// The code of a refusal.
    pub(super) rule: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    /// `kill -9`, and a start on the same store.
    KillAndRestart,
    /// A second gate starts beside the first, in front of the same signer, with a store of its own
    /// that knows of nothing.
    StartSecondGate,
    /// The row's client restarts with another certificate in its name.
    RenewCertificate,
    /// The engine has to have raised an alarm by the row's rule until now.
    Alarmed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Expect {
    #[default]
    Sign,
    Refuse,
    /// The signer's fault: 500.
    Fail,
    /// Nothing is said of it: the story is over.
    Any,
}

fn yes() -> bool {
    true
}

fn first() -> u8 {
    1
}

fn loopback() -> String {
    "127.0.0.1".to_owned()
}

const EPOCH_MS: u64 = 32 * SLOT_S * 1_000;

impl Incident {
    pub(super) fn load(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a file of an incident");
        let parsed = serde_json::from_str(&text);
        parsed.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// All of them, in their order.
    pub(super) fn all() -> Vec<Self> {
        let folder = fs::read_dir("fixtures/incidents").expect("the folder of incidents");
        let mut paths: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }
}

impl Case {
    /// Every single request, in the order of time.
    pub(super) fn sequence(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.rows.iter().flat_map(Row::each).collect();
        rows.sort_by_key(|row| row.t_ms);
        rows
    }
}

impl Row {
    fn each(&self) -> Vec<Self> {
        let [first_key, last_key] = self.keys.unwrap_or([self.key, self.key]);
        let [first, last] = self.epochs.unwrap_or([0, 0]);
        let mut rows = Vec::new();
        for epoch in first..=last {
            for key in first_key..=last_key {
                let later = epoch * EPOCH_MS + (key - first_key) * self.key_step_ms;
                let epochs = |offset: Option<i64>| offset.map(|offset| offset + signed(epoch));
                rows.push(Self {
                    t_ms: self.t_ms + later,
                    key,
                    slot: self.slot.map(|slot| slot + signed(32 * epoch)),
                    epoch: epochs(self.epoch),
                    src: epochs(self.src),
                    tgt: epochs(self.tgt),
                    ..self.clone()
                });
            }
        }
        rows
    }

    /// Which shares take part, as bits; none where the story does not say.
    pub(super) fn share_set(&self) -> Option<u32> {
        let turn = self.t_ms / EPOCH_MS + self.key;
        let turn = usize::try_from(turn).expect("a small number");
        let set = self.share_sets.get(turn % self.share_sets.len().max(1))?;
        Some(set.iter().fold(0, |bits, share| bits | 1 << share))
    }

    /// The slot of the message, from S.
    pub(super) fn slot(&self) -> i64 {
        self.slot.unwrap_or_else(|| signed(self.t_ms / (SLOT_S * 1_000)))
    }

    /// The epoch of the message, from that of S.
    pub(super) fn epoch(&self) -> i64 {
        self.epoch.unwrap_or_else(|| self.slot().div_euclid(32))
    }

    /// Source and target of a vote, from the epoch of S.
    pub(super) fn vote(&self) -> (i64, i64) {
        let target = self.tgt.unwrap_or_else(|| self.epoch());
        (self.src.unwrap_or(target - 1), target)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { t_ms, client, kind, key, root, .. } = self;
        write!(f, "S+{t_ms} ms {client} {kind} key {key} slot S+{} r{root}", self.slot())?;
        write!(f, " (expected: {:?} {})", self.expect, self.rule.as_deref().unwrap_or_default())
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("a small number")
}
