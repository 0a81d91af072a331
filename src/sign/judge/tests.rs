#![allow(clippy::unwrap_used)]

use policy::{ClientIndex, GroupPolicy, Mode, Permission, Policy, Rule};
use serde_json::json;

use super::*;
use crate::eth::{DutyKind, Root, Slot};
use crate::judgement::{BaselineTable, Judgement, Kept};
use crate::sign::{Decided, Granted, Judged};
use crate::tests::{EPOCH, Rig, at, key, network};
use crate::validators::Standing;
use crate::web3signer::request;

const SLOT: u64 = EPOCH * 32;

fn source(client: u16) -> Source {
    Source { client: ClientIndex(client), certificate: 0, dialect: 1, prefix: 1 }
}

/// A gate with one key, in the first slot of [`EPOCH`].
fn gate() -> (Gate, RowIndex) {
    let rig = Rig::new();
    let one = rig.enrol(1);
    let gate = rig.into_gate(network());
    let Standing::Enrolled(row) = gate.validators.standing(&one) else { panic!("enrolled") };
    (gate, row)
}

fn block(slot: u64, state_root: u8, body_root: u8) -> Duty {
    let header = crate::eth::block::BeaconBlockHeader {
        slot: Slot(slot),
        proposer_index: 1,
        parent_root: Root([1; 32]),
        state_root: Root([state_root; 32]),
        body_root: Root([body_root; 32]),
    };
    Duty::BlockV2(crate::eth::duty::BlockV2::Header { version: crate::eth::ForkName::Fulu, header })
}

/// The code of a refusal; empty for what is granted.
fn ask(gate: &Gate, row: RowIndex, duty: &Duty, root: u8, client: u16) -> &'static str {
    let ask = Ask { duty, root: SigningRoot([root; 32]), proofs: &[], source: source(client) };
    match gate.decide(row, &ask, gate.clock.now(), Pass::First) {
        Ok(Decided::Granted(Judged { granted: Granted::Recorded(pending), .. })) => {
            let _permit = pending.wait().unwrap();
            ""
        }
        Ok(Decided::Granted(Judged { granted: Granted::AtOnce(_), .. })) => "",
        Ok(Decided::HoldUntil(_)) => "held",
        Err(not_signed) => not_signed.code(),
    }
}

fn with_group(gate: &Gate, group: GroupPolicy) {
    gate.judgement.publish(Policy { groups: vec![group], ..Policy::default() });
}

#[test]
fn what_policy_refuses_leaves_the_watermark_and_the_lease_where_they_were() {
    let (gate, row) = gate();
    assert_eq!(ask(&gate, row, &block(SLOT, 0, 9), 9, 0), "header_sanity");
    assert_eq!(ask(&gate, row, &block(SLOT, 2, 3), 3, 1), "", "no watermark, no owner yet");
    assert_eq!(ask(&gate, row, &block(SLOT, 2, 3), 3, 1), "", "an exact repeat");
    // Both steps refuse: the slashing rule is told.
    assert_eq!(ask(&gate, row, &block(SLOT, 0, 9), 9, 0), "double_block_proposal");
}

#[test]
fn a_policy_is_replaced_as_a_whole_and_the_chain_stays_the_networks() {
    let (gate, row) = gate();
    let deny = Permission { client: None, duties: u16::MAX, allow: false };
    with_group(&gate, GroupPolicy { permissions: vec![deny], ..GroupPolicy::default() });
    assert_eq!(ask(&gate, row, &block(SLOT, 2, 3), 3, 0), "client_permission");
    assert_eq!(gate.judgement.policy().chain, crate::judgement::chain(&network()));
    with_group(&gate, GroupPolicy::default());
    assert_eq!(ask(&gate, row, &block(SLOT, 2, 3), 3, 0), "");
}

#[test]
fn an_exit_needs_a_window_of_the_policy_and_a_permission_of_the_group() {
    let (gate, row) = gate();
    let body = json!({ "type": "VOLUNTARY_EXIT", "fork_info": {
        "fork": { "previous_version": "0x06007e57", "current_version": "0x06007e57", "epoch": "0" },
        "genesis_validators_root": format!("0x{}", "07".repeat(32)),
    }, "voluntary_exit": { "epoch": EPOCH.to_string(), "validator_index": "7" } });
    let exit = request::parse(body.to_string().as_bytes()).unwrap().duty;
    assert_eq!(exit.kind(), DutyKind::VoluntaryExit);
    assert_eq!(ask(&gate, row, &exit, 1, 0), "not_permitted", "the built-in policy says nothing");
    with_group(&gate, GroupPolicy::default());
    assert_eq!(ask(&gate, row, &exit, 1, 0), "exit_window");
}

#[test]
fn a_baseline_is_the_same_after_a_restart() {
    let (gate, row) = gate();
    let directory = tempfile::tempdir().unwrap();
    let table = BaselineTable::open(directory.path()).unwrap();
    let judgement = Judgement::new(Default::default(), &network(), table, Kept::default());
    let gate = Gate { judgement, ..gate };
    assert_eq!(gate.judgement.clients.index("one"), ClientIndex(0));
    let duty = block(SLOT, 2, 3);
    let asked = Ask { duty: &duty, root: SigningRoot([3; 32]), proofs: &[], source: source(0) };
    let decided = gate.decide(row, &asked, gate.clock.now(), Pass::First).unwrap();
    let Decided::Granted(judged) = decided else { panic!("it is not held") };
    learn(&gate, row, &judged.seen, &Outcome { shares: None, chosen_by_gate: false });
    let state = gate.validators.with(row, |validator| validator.baseline.state.clone());
    assert_ne!(state, policy::KeyState::new());
    gate.judgement.table.save(&gate.judgement, &gate.validators, 7).unwrap();
    assert!(gate.validators.with(row, |validator| !validator.baseline.is_dirty));
    gate.judgement.table.close();

    let rig = Rig::new();
    let one = rig.enrol(1);
    rig.enrol(2);
    let table = BaselineTable::open(directory.path()).unwrap();
    let kept = table.kept().unwrap();
    assert_eq!((kept.clients.as_slice(), kept.at_unix_ms), (&["one".to_owned()][..], 7));
    assert_eq!(kept.engine.unwrap().to_bytes(), gate.judgement.engine.to_bytes());
    assert_eq!(table.load(&rig.validators).unwrap(), 1);
    assert_eq!(rig.with(&one, |validator| validator.baseline.state.clone()), state);
    assert_eq!(rig.with(&key(2), |it| it.baseline.state.clone()), policy::KeyState::new());
}

#[test]
fn a_moment_is_counted_in_slots_of_the_network() {
    let slots = Rig::new().slots;
    let now = moment(slots, at(SLOT + 33, 4_321));
    assert_eq!((now.slot, now.epoch, now.into_slot_ms), (SLOT + 33, EPOCH + 1, 4_321));
}

/// Some write members in alphabetical order: then what comes first depends on what is asked for,
/// and the client is the same.
#[test]
fn a_dialect_is_the_same_for_every_type_of_duty() {
    let (gate, _) = gate();
    let metrics = crate::metrics::ClientMetrics::unregistered();
    let clients = crate::clients::Clients::load(Default::default(), gate.clock.clone(), metrics);
    let client = clients.unwrap().named("one");
    let asker = Asker { origin: Origin::default(), head: 77 };
    let dialect = |first, is_spaced| {
        asker.source(&gate, &client, Style { first, is_spaced, claims_root: true }).dialect
    };
    assert_eq!(dialect(Member::Object, false), dialect(Member::ForkInfo, false));
    assert_ne!(dialect(Member::Object, false), dialect(Member::Type, false));
    assert_ne!(dialect(Member::Type, false), dialect(Member::SigningRoot, false));
    assert_ne!(dialect(Member::Type, false), dialect(Member::Type, true));
}

/// The certificate and the words of a key's owner, from another network: an alert, and an open
/// question that others who move along would answer.
#[test]
fn what_has_waited_is_refused_by_what_refuses_and_not_by_an_alert() {
    let enforced = |hold: f32| {
        let (gate, row) = gate();
        let mut group = GroupPolicy::default();
        group.modes[Rule::Context as usize] = Mode::Enforce;
        let mut policy = Policy { groups: vec![group], ..Policy::default() };
        policy.thresholds.hold = hold;
        gate.judgement.publish(policy);
        (gate, row)
    };
    let from = |prefix| Source { certificate: 5, prefix, ..source(0) };
    let proof = |slot| Duty::AggregationSlot(crate::eth::duty::AggregationSlot { slot });
    let ask = |(gate, row): &(Gate, RowIndex), slot, prefix, pass| {
        let duty = &proof(Slot(slot));
        let root = SigningRoot([slot as u8; 32]);
        let ask = Ask { duty, root, proofs: &[], source: from(prefix) };
        gate.decide(*row, &ask, gate.clock.now(), pass)
    };
    for (hold, code) in [(2.2, ""), (1.0, "context")] {
        let gate = enforced(hold);
        assert!(matches!(ask(&gate, SLOT, 1, Pass::First), Ok(Decided::Granted(_))));
        let first = ask(&gate, SLOT + 1, 2, Pass::First);
        assert!(matches!(first, Ok(Decided::HoldUntil(_))), "{first:?}");
        match ask(&gate, SLOT + 1, 2, Pass::AfterHold) {
            Ok(Decided::Granted(judged)) => {
                assert_eq!(code, "", "{judged:?}");
                let told = &judged.decision.findings[0];
                assert_eq!((told.mode, told.level), (Mode::Enforce, Level::Alert), "{told:?}");
            }
            Ok(Decided::HoldUntil(_)) => panic!("held twice"),
            Err(not_signed) => assert_eq!(not_signed.code(), code),
        }
    }
}
