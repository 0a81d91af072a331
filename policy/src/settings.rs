//! What the operator decided: the policy document, checked and compiled by the caller.

use std::sync::{Arc, LazyLock};

use crate::bytes::checksum;
use crate::{ClientIndex, DutyType, Mode, Observation, Rule};

/// A key group, by its place in [`Policy::groups`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupIndex(pub u16);

/// The whole policy. Replaced as a whole or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// The policy of each key group; every key belongs to one.
    pub groups: Vec<GroupPolicy>,
    /// The named clients.
    pub clients: Vec<ClientPolicy>,
    /// The windows of time in which something else holds.
    pub windows: Vec<Window>,
    /// The thresholds of the score and of the tests.
    pub thresholds: Thresholds,
    /// The chain's constants that rules count with.
    pub chain: Chain,
}

/// What holds for keys of a group that the policy does not have.
static UNLISTED: LazyLock<GroupPolicy> = LazyLock::new(GroupPolicy::default);

impl Policy {
    /// What holds for the keys of a group; for one that the policy does not have, the defaults.
    pub fn group(&self, group: GroupIndex) -> &GroupPolicy {
        self.groups.get(usize::from(group.0)).unwrap_or_else(|| &UNLISTED)
    }

    /// A named client.
    pub fn client(&self, client: ClientIndex) -> Option<&ClientPolicy> {
        self.clients.get(usize::from(client.0))
    }

    /// Gives the client at a place its name, for reasons in words.
    pub fn name_client(&mut self, place: usize, name: String) {
        if self.clients.len() <= place {
            self.clients.resize_with(place + 1, ClientPolicy::default);
        }
        self.clients[place].name = name;
    }

    /// The first window that holds for a request and fits.
    pub fn window(&self, seen: &Observation, fits: impl Fn(&Window) -> bool) -> Option<&Window> {
        let now = seen.at.unix_ms;
        self.windows.iter().find(|window| {
            (window.from_ms..window.until_ms).contains(&now)
                && fits(window)
                && window.groups.contains(&seen.group)
                && window.is_of(seen.key)
        })
    }

    /// The window that is known by `id`, wherever it stands by now.
    pub fn window_by_id(&self, id: WindowId) -> Option<&Window> {
        self.windows.iter().find(|window| window.id == id)
    }
}

/// The chain's constants that rules count with; those of mainnet unless told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `SLOTS_PER_EPOCH`.
    pub slots_per_epoch: u64,
    /// `SECONDS_PER_SLOT`, in milliseconds.
    pub slot_ms: u32,
    /// `EPOCHS_PER_SYNC_COMMITTEE_PERIOD`.
    pub epochs_per_sync_period: u64,
    /// `SYNC_COMMITTEE_SIZE`.
    pub sync_committee_size: u32,
    /// Active validators of the whole network, where the operator says so: what the share of keys
    /// in the sync committee is held against (D16). `None`: it is not looked at.
    pub active_validators: Option<u64>,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            slots_per_epoch: 32,
            slot_ms: 12_000,
            epochs_per_sync_period: 256,
            sync_committee_size: 512,
            active_validators: None,
        }
    }
}

/// What holds for the keys of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupPolicy {
    /// Its name.
    pub name: String,
    /// The mode of each rule, by `Rule as usize`.
    pub modes: [Mode; Rule::ALL.len()],
    /// Who may ask for what; a client that no entry names may ask for everything when `permissions`
    /// is empty, and for nothing otherwise.
    pub permissions: Vec<Permission>,
    /// Clients that may sign for the same key at the same time (an active-active pair). Such a
    /// group has EIP-3076 alone against two live signers.
    pub active_clients: Vec<ClientIndex>,
    /// Whether a source has to be enrolled before it signs.
    pub enrolment: Enrolment,
    /// Clients that are enrolled, each with the prefixes that it may come from (empty: any).
    pub enrolled: Vec<(ClientIndex, Vec<u64>)>,
    /// Fee recipients that are right; empty means that the rule has nothing to compare with.
    pub fee_recipients: Vec<[u8; 20]>,
    /// The lowest and the highest gas limit of a registration.
    pub gas_limit: Option<(u64, u64)>,
    /// Withdrawal credentials that a deposit may name; empty means none.
    pub withdrawal_credentials: Vec<[u8; 32]>,
    /// Clients that may ask for voluntary exits, inside an exits window.
    pub exit_clients: Vec<ClientIndex>,
    /// Voluntary exits that the group may have in a day.
    pub exits_daily_max: u32,
    /// Whether a block without a proof of its fee recipient is refused.
    pub require_block_proofs: bool,
    /// Slots behind the present one that a block may have.
    pub block_lag_slots: u64,
    /// Slots ahead of the present one that a selection proof may have.
    pub selection_lookahead_slots: u64,
    /// Distinct slots an epoch for which a key may prove selection.
    pub selection_slots_max: u32,
    /// Epochs after which an owner that signed nothing for a key has left it.
    pub lease_epochs: u64,
    /// Distinct signing roots that a key may ask for in an epoch, by `DutyType as usize`.
    pub budgets: [u16; DutyType::ALL.len()],
}

/// Whether sources are learned or have to be enrolled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enrolment {
    /// A source becomes known by what it signs.
    #[default]
    Learn,
    /// A source that is not enrolled is refused.
    Strict,
}

/// One line of who may ask for what. Of the lines that fit, an explicit denial wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Who; `None` is everybody.
    pub client: Option<ClientIndex>,
    /// What, as bits `1 << DutyType as u16`.
    pub duties: u16,
    /// Whether it is allowed or denied.
    pub allow: bool,
}

/// What holds for one named client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientPolicy {
    /// Its name.
    pub name: String,
    /// The prefixes that its certificate is bound to; empty means any.
    pub prefixes: Vec<u64>,
    /// Days without a signature after which its credential is dormant; `None` means never.
    pub dormant_after_days: Option<u32>,
}

/// What a window is known by for ever: its place in the policy shifts when others are added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowId(pub u64);

impl WindowId {
    /// That of a window which has no other: of its name and its first millisecond. The same name at
    /// another time is another window.
    pub fn of(name: &str, from_ms: u64) -> Self {
        Self((u64::from(checksum(&[name.as_bytes()])) << 32) ^ from_ms)
    }
}

/// Keys by their places, found by halving: ten thousand cost what a dozen do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Arc<[u32]>);

impl KeySet {
    /// Whether the key is one of them.
    pub fn contains(&self, key: u32) -> bool {
        self.0.binary_search(&key).is_ok()
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each once, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<u32> for KeySet {
    fn from_iter<I: IntoIterator<Item = u32>>(keys: I) -> Self {
        let mut keys: Vec<u32> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        Self(keys.into())
    }
}

/// A stretch of time in which something else holds, for the keys of one group or for listed ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// What the engine knows it by.
    pub id: WindowId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: WindowKind,
    /// The groups whose keys it holds for.
    pub groups: Vec<GroupIndex>,
    /// Keys that it holds for; empty means all of the groups.
    pub keys: KeySet,
    /// Its first millisecond of Unix time.
    pub from_ms: u64,
    /// The first millisecond after it.
    pub until_ms: u64,
}

impl Window {
    /// Whether it holds for this key, if it holds for the key's group.
    pub fn is_of(&self, key: u32) -> bool {
        self.keys.is_empty() || self.keys.contains(key)
    }
}

/// What a window is for.
#[derive(Clone, Debug, PartialEq)]
pub enum WindowKind {
    /// The named client hands its keys to another: the lease of each moves once. Lowers the score
    /// for this pair alone; it never permits two owners.
    Rotation {
        /// The old owner.
        from: ClientIndex,
        /// The new one.
        to: ClientIndex,
    },
    /// Voluntary exits may be signed.
    Exits,
    /// Deposits may be signed.
    Deposits,
    /// Nodes are worked on: what is statistical about shares and timing rests.
    Maintenance,
}

/// When a score or a test has something to say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// L from which on an event is made.
    pub alert: f32,
    /// L from which on the request is refused.
    pub hold: f32,
    /// L from which on a source is quarantined for the key, twice within two epochs.
    pub quarantine: f32,
    /// L from which on a block is refused: higher, for a block is worth more.
    pub block: f32,
    /// ln S of the timing test from which on an event is made.
    pub timing: f32,
    /// ln S of the share test from which on it refuses by itself.
    pub shares: f32,
    /// ln S of the source-level test from which on an event is made.
    pub source_timing: f32,
    /// How long a request may wait for other keys to move along, in milliseconds.
    pub micro_hold_ms: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            alert: -3.0,
            hold: 2.2,
            quarantine: 4.6,
            block: 4.6,
            timing: 18.0,
            shares: 21.0,
            source_timing: 16.1,
            micro_hold_ms: 300,
        }
    }
}

impl Default for GroupPolicy {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            modes: Rule::ALL.map(Rule::default_mode),
            permissions: Vec::new(),
            active_clients: Vec::new(),
            enrolment: Enrolment::Learn,
            enrolled: Vec::new(),
            fee_recipients: Vec::new(),
            gas_limit: None,
            withdrawal_credentials: Vec::new(),
            exit_clients: Vec::new(),
            exits_daily_max: 0,
            require_block_proofs: false,
            block_lag_slots: 1,
            selection_lookahead_slots: 64,
            selection_slots_max: 3,
            lease_epochs: 2,
            budgets: DutyType::ALL.map(DutyType::default_budget),
        }
    }
}
