//! Incidents whose point is who took part in a signature: the policy crate by itself, under a clock
//! of our own, with participants of our own. A gate in front of one signer sees one answer.

use std::collections::BTreeMap;

use policy::{
    ClientIndex, ClientPolicy, Decision, Engine, GroupIndex, GroupPolicy, KeyState, Message, Mode,
    Moment, Observation, Outcome, Policy, Rule, ShareSet, Source, Verdict,
};

use super::fixture::{Action, Case, Expect, Row};
use crate::support::SLOT_S;

/// S, far enough from genesis for everything that looks back.
const FIRST_EPOCH: u64 = 1_000;
const SLOT_MS: u64 = SLOT_S * 1_000;

struct Play<'a> {
    case: &'a Case,
    policy: Policy,
    engine: Engine,
    keys: BTreeMap<u64, KeyState>,
    /// The first slot that the engine was not told of.
    next_slot: u64,
    alarms: BTreeMap<&'static str, Vec<String>>,
}

pub(super) fn play(told: &str, case: &Case) {
    let mut play = Play {
        case,
        policy: every_rule_enforced(case),
        engine: Engine::new(),
        keys: BTreeMap::new(),
        next_slot: FIRST_EPOCH * 32,
        alarms: BTreeMap::new(),
    };
    for (number, row) in case.sequence().iter().enumerate() {
        play.tick(row.t_ms);
        if row.action == Some(Action::Alarmed) {
            let rule = row.rule.as_deref().expect("the rule of an alarm");
            assert!(play.alarms.contains_key(rule), "{told}: {rule} is silent: {:?}", play.alarms);
            continue;
        }
        let decision = play.ask(row);
        let found = format!("{told}, request {number}, {row}: {decision:?}");
        let rule = decision.refusal().map(|finding| finding.rule.as_str());
        match row.expect {
            Expect::Sign => assert_ne!(decision.verdict, Verdict::Refuse, "{found}"),
            Expect::Refuse => {
                assert_eq!(decision.verdict, Verdict::Refuse, "{found}");
                assert!(row.rule.is_none() || rule == row.rule.as_deref(), "{found}");
            }
            Expect::Fail => panic!("{told}: the engine has no signer that fails"),
            Expect::Any => {}
        }
    }
}

/// What an operator has who takes every rule at its word, and calls a credential dormant after a
/// month.
fn every_rule_enforced(case: &Case) -> Policy {
    let group = GroupPolicy { modes: Rule::ALL.map(|_| Mode::Enforce), ..GroupPolicy::default() };
    let clients = case.clients.iter().map(|client| ClientPolicy {
        name: client.name.clone(),
        dormant_after_days: Some(30),
        ..ClientPolicy::default()
    });
    Policy { groups: vec![group], clients: clients.collect(), ..Policy::default() }
}

impl Play<'_> {
    /// Tells the engine of every slot that has begun.
    fn tick(&mut self, t_ms: u64) {
        let slot = FIRST_EPOCH * 32 + t_ms / SLOT_MS;
        while self.next_slot <= slot {
            let at = moment((self.next_slot - FIRST_EPOCH * 32) * SLOT_MS);
            for alarm in self.engine.tick(&self.policy, at) {
                let about = format!("{}: {}", alarm.about, alarm.reason);
                self.alarms.entry(alarm.rule.as_str()).or_default().push(about);
            }
            self.next_slot += 1;
        }
    }

    /// One request, as the path has it; what is held waits in vain, for nobody moves along.
    fn ask(&mut self, row: &Row) -> Decision {
        let seen = self.observe(row);
        let key = self.keys.entry(row.key).or_default();
        let decision = self.engine.judge(&self.policy, key, &seen);
        self.engine.attempted(&self.policy, key, &seen);
        if decision.verdict == Verdict::Refuse {
            self.engine.refused(&self.policy, key, &seen, &decision);
            return decision;
        }
        self.engine.admit(&self.policy, key, &seen);
        let shares = row.share_set().map(ShareSet);
        let outcome = Outcome { shares, chosen_by_gate: false };
        // Who took part is known once they have: what is refused now is withheld.
        let answer = self.engine.judge_answer(&self.policy, key, &seen, &outcome);
        if answer.verdict == Verdict::Refuse {
            return answer;
        }
        self.engine.learn(&self.policy, key, &seen, &outcome);
        decision
    }

    fn observe(&self, row: &Row) -> Observation {
        let place = self.case.clients.iter().position(|client| client.name == row.client);
        let place = place.expect("a client of the case");
        let ip = row.ip.as_ref().unwrap_or(&self.case.clients[place].ip);
        let (network, _) = ip.rsplit_once('.').expect("an IPv4 address");
        let prefix =
            network.bytes().fold(7, |hash: u64, byte| hash.rotate_left(8) ^ u64::from(byte));
        let (source, target) = row.vote();
        let epoch = |offset: i64| FIRST_EPOCH.checked_add_signed(offset).expect("after genesis");
        let message = Message::Attestation {
            slot: (FIRST_EPOCH * 32).checked_add_signed(row.slot()).expect("after genesis"),
            source_epoch: epoch(source),
            target_epoch: epoch(target),
            index: 0,
            head: u64::from(row.root),
        };
        assert_eq!(row.kind, "ATTESTATION", "the engine's stories are told in votes");
        Observation {
            key: u32::try_from(row.key).expect("few keys"),
            group: GroupIndex(0),
            at: moment(row.t_ms),
            source: Source {
                client: ClientIndex(u16::try_from(place).expect("few clients")),
                certificate: 1 + place as u64,
                dialect: 1,
                prefix,
            },
            message,
            root: row.t_ms << 8 | row.key,
            is_repeat: false,
            due_ms: 4_000,
        }
    }
}

fn moment(t_ms: u64) -> Moment {
    let unix_ms = FIRST_EPOCH * 32 * SLOT_MS + t_ms; // genesis is at 0
    let slot = unix_ms / SLOT_MS;
    let into_slot_ms = u32::try_from(unix_ms % SLOT_MS).expect("less than a slot");
    Moment { unix_ms, slot, epoch: slot / 32, into_slot_ms }
}
