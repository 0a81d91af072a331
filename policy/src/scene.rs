//! What the tests play on: an engine, a policy, keys, and a clock that they turn.

use std::collections::BTreeMap;

use crate::{ClientIndex, ClientPolicy, Decision, Engine, GroupIndex, GroupPolicy, KeyState};
use crate::{Message, Moment, Observation, Outcome, Policy, Rule, Source, Verdict};

/// Slot 0 of the tests, in milliseconds of Unix time.
const GENESIS_MS: u64 = 1_700_000_000_000;

pub(crate) struct Scene {
    pub(crate) engine: Engine,
    pub(crate) policy: Policy,
    pub(crate) keys: BTreeMap<u32, KeyState>,
    next_root: u64,
}

/// A client as it usually comes along.
pub(crate) fn source(client: u16) -> Source {
    let own = u64::from(client) + 1;
    Source {
        client: ClientIndex(client),
        certificate: own * 0x1111,
        dialect: 7,
        prefix: own * 0x0a00,
    }
}

/// So many milliseconds into a slot.
pub(crate) fn moment(slot: u64, into_slot_ms: u32) -> Moment {
    let unix_ms = GENESIS_MS + slot * 12_000 + u64::from(into_slot_ms);
    Moment { unix_ms, slot, epoch: slot / 32, into_slot_ms }
}

pub(crate) fn attestation(slot: u64) -> Message {
    let target_epoch = slot / 32;
    let source_epoch = target_epoch.saturating_sub(2);
    Message::Attestation { slot, source_epoch, target_epoch, index: 0, head: slot }
}

/// Finds the rule among what a decision says.
pub(crate) fn says(decision: &Decision, rule: Rule) -> bool {
    decision.findings.iter().any(|finding| finding.rule == rule)
}

impl Scene {
    pub(crate) fn new() -> Self {
        let clients = ["a", "b", "c"]
            .map(|name| ClientPolicy { name: name.to_owned(), ..ClientPolicy::default() });
        let policy = Policy {
            groups: vec![GroupPolicy::default()],
            clients: clients.to_vec(),
            ..Policy::default()
        };
        Self { engine: Engine::new(), policy, keys: BTreeMap::new(), next_root: 1 }
    }

    pub(crate) fn group(&mut self) -> &mut GroupPolicy {
        &mut self.policy.groups[0]
    }

    pub(crate) fn key(&mut self, key: u32) -> &mut KeyState {
        self.keys.entry(key).or_default()
    }

    /// A request with a root that was not there before.
    pub(crate) fn seen(
        &mut self,
        key: u32,
        from: Source,
        at: Moment,
        message: Message,
    ) -> Observation {
        self.next_root += 1;
        let root = self.next_root.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let group = GroupIndex(0);
        let source = from;
        Observation { key, group, at, source, message, root, is_repeat: false, due_ms: 4_000 }
    }

    /// Plays a request as the gate does, up to the released signature, and gives the decision.
    pub(crate) fn play(&mut self, seen: &Observation) -> Decision {
        let key = self.keys.entry(seen.key).or_default();
        self.engine.attempted(&self.policy, key, seen);
        let decision = self.engine.judge(&self.policy, key, seen);
        match decision.verdict {
            Verdict::Allow => {
                self.engine.admit(&self.policy, key, seen);
                self.engine.learn(
                    &self.policy,
                    key,
                    seen,
                    &Outcome { shares: None, chosen_by_gate: false },
                );
            }
            Verdict::Refuse => {
                self.engine.refused(&self.policy, key, seen, &decision);
            }
            Verdict::HoldUntil(_) => {}
        }
        decision
    }

    /// A request of a client as it usually comes along, 4 s into the slot.
    pub(crate) fn ask(&mut self, key: u32, client: u16, slot: u64, message: Message) -> Decision {
        let seen = self.seen(key, source(client), moment(slot, 4_000), message);
        self.play(&seen)
    }

    pub(crate) fn attest(&mut self, key: u32, client: u16, slot: u64) -> Decision {
        self.ask(key, client, slot, attestation(slot))
    }

    /// Every key of `keys` attests once an epoch, in the slot that is its number modulo 32.
    pub(crate) fn live(
        &mut self,
        client: u16,
        keys: std::ops::Range<u32>,
        slots: std::ops::Range<u64>,
    ) {
        for slot in slots {
            for key in keys.clone().filter(|key| u64::from(*key) % 32 == slot % 32) {
                let decision = self.attest(key, client, slot);
                assert_eq!(decision.verdict, Verdict::Allow, "slot {slot}: {decision:?}");
            }
            self.engine.tick(&self.policy, moment(slot, 11_000));
        }
    }
}
