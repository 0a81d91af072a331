//! The states of a window, its end told once, and its return after a restart.
#![allow(clippy::unwrap_used)]

use policy::{DutyType, Message, Observation, Source};

use super::*;
use crate::response::ResponseTable;
use crate::sign::judge::moment;
use crate::tests::{Rig, at, key, network};
use crate::validators::RowIndex;

const SLOT: u64 = crate::tests::EPOCH * 32;
const HOUR_MS: u64 = 3_600_000;

/// A gate with four keys that client `old` has, and a client `new`.
fn gate() -> Gate {
    let rig = Rig::new();
    for number in 1..=4 {
        rig.enrol(number);
    }
    let gate = rig.into_gate(network());
    for name in ["old", "new", "third"] {
        gate.judgement.clients.index(name);
    }
    for place in 0..4 {
        ask(&gate, "old", place).unwrap();
    }
    gate
}

fn row(gate: &Gate, place: u32) -> RowIndex {
    gate.validators.at_place(place).unwrap()
}

/// A request as step 6 sees it: what it admits or refuses changes the key and the windows.
fn ask(gate: &Gate, client: &str, place: u32) -> Result<Option<WindowId>, Option<WindowId>> {
    let source = Source { client: gate.judgement.clients.index(client), ..Source::default() };
    let seen = Observation {
        key: place,
        group: policy::GroupIndex(0),
        at: moment(gate.slots, gate.clock.now()),
        source,
        message: Message::SelectionProof { slot: SLOT },
        root: u64::from(source.client.0) << 32 | u64::from(place),
        is_repeat: false,
        due_ms: 0,
    };
    assert_eq!(seen.message.duty_type(), DutyType::SelectionProof);
    let (engine, policy) = (&gate.judgement.engine, gate.judgement.policy());
    let result = gate.validators.with(row(gate, place), |validator| {
        let state = &mut validator.baseline.state;
        engine.attempted(&policy, state, &seen);
        let decision = engine.judge(&policy, state, &seen);
        match decision.refusal() {
            None => Ok(engine.admit(&policy, state, &seen).and_then(|change| change.window)),
            Some(_) => Err(engine.refused(&policy, state, &seen, &decision)),
        }
    });
    match result {
        Ok(Some(window)) => gate.response.windows.moved([(window, place)]),
        Err(Some(window)) => gate.response.windows.overlapped(Overlap {
            window,
            key: place,
            client: source.client,
            at_unix_ms: seen.at.unix_ms,
        }),
        Ok(None) | Err(None) => {}
    }
    result
}

fn plan(gate: &Gate, keys: std::ops::RangeInclusive<u8>, batches: u32) -> Plan {
    Plan {
        name: "to the new cluster".to_owned(),
        reason: "planned".to_owned(),
        keys: keys.map(|number| key(number).to_string()).collect(),
        from_client: "old".to_owned(),
        to_client: "new".to_owned(),
        expires_at_unix_ms: now_ms(gate) + HOUR_MS,
        batches: Some(batches),
        ..Plan::default()
    }
}

fn state(gate: &Gate, id: &str) -> &'static str {
    gate.response.windows.list(gate).into_iter().find(|line| line.id == id).unwrap().state
}

fn ann() -> Actor {
    Actor::Person("ann".to_owned())
}

#[test]
fn a_clean_rotation_goes_from_batch_to_batch_and_completes() {
    let gate = gate();
    let windows = &gate.response.windows;
    assert!(ask(&gate, "new", 0).is_err(), "nothing moves without a window");
    let id = windows.open(&gate, &plan(&gate, 1..=4, 2), &ann()).unwrap();
    assert_eq!(state(&gate, &id), "open");
    assert_eq!(windows.proceed(&gate, &id, 1).unwrap(), Proceed::Yes);
    assert!(matches!(windows.proceed(&gate, &id, 2).unwrap(), Proceed::NotYet(_)));
    assert!(ask(&gate, "new", 0).unwrap().is_some());
    assert_eq!(ask(&gate, "new", 0), Ok(None), "it has moved once");
    assert_eq!(state(&gate, &id), "moving");
    assert!(matches!(windows.proceed(&gate, &id, 2).unwrap(), Proceed::NotYet(_)));
    ask(&gate, "new", 1).unwrap();
    assert_eq!(windows.proceed(&gate, &id, 2).unwrap(), Proceed::Yes);
    assert!(matches!(windows.proceed(&gate, &id, 3).unwrap(), Proceed::NotYet(_)));
    ask(&gate, "new", 2).unwrap();
    ask(&gate, "new", 3).unwrap();
    assert_eq!(windows.proceed(&gate, &id, 3).unwrap(), Proceed::Yes);
    assert!(windows.proceed(&gate, &id, 4).is_err() && windows.proceed(&gate, &id, 0).is_err());
    windows.follow(&gate);
    assert_eq!(state(&gate, &id), "completed");
    assert!(gate.judgement.policy().windows.is_empty(), "it holds no longer");
    let page = windows.show(&gate, &id).unwrap();
    assert_eq!(page.batches.iter().map(|it| it.moved).collect::<Vec<_>>(), [2, 2]);
    assert!(page.progress.iter().all(|it| it.progress == "moved"), "{page:?}");
}

#[test]
fn an_overlap_halts_it_before_anybody_is_told_and_what_moved_stays() {
    let gate = gate();
    let windows = &gate.response.windows;
    let id = windows.open(&gate, &plan(&gate, 1..=4, 1), &ann()).unwrap();
    ask(&gate, "new", 0).unwrap();
    assert!(ask(&gate, "third", 1) == Err(None), "a third client halts nothing");
    assert!(ask(&gate, "old", 0).unwrap_err().is_some());
    assert_eq!(state(&gate, &id), "halted");
    assert!(ask(&gate, "new", 1).is_err(), "what has not moved does not");
    assert_eq!(ask(&gate, "new", 0), Ok(None), "what moved stays");
    assert_eq!(ask(&gate, "old", 2), Ok(None));
    let asked = || windows.proceed(&gate, &id, 1).unwrap();
    assert!(matches!(asked(), Proceed::NotYet(_)), "a crash could still forget it");
    windows.follow(&gate);
    assert!(matches!(asked(), Proceed::No(_)));
    let page = windows.show(&gate, &id).unwrap();
    assert_eq!((page.progress[0].progress, page.progress[2].progress), ("contested", "pending"));
    assert_eq!(page.progress[0].owner.as_deref(), Some("new"));
    windows.follow(&gate); // its notice may still come
    assert!(windows.has_news());
    // Another document does not bring it back, nor does it lose the halt.
    gate.judgement.publish(gate.judgement.document());
    assert!(ask(&gate, "new", 3).is_err());
    let wish = Wish { actor: &ann(), reason: "seen" };
    windows.close(&gate, &id, &wish).unwrap();
    assert_eq!(state(&gate, &id), "halted");
    assert!(windows.close(&gate, &id, &wish).is_err(), "once");
}

#[test]
fn what_cannot_be_is_not_opened() {
    let gate = gate();
    let windows = &gate.response.windows;
    let good = plan(&gate, 1..=4, 1);
    let refused = |plan: Plan, expected: &str| {
        let said = windows.open(&gate, &plan, &ann()).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    };
    refused(Plan { overlap_max_ms: 1, ..good.clone() }, "overlap_max_ms");
    refused(Plan { to_client: "nobody".to_owned(), ..good.clone() }, "to_client");
    refused(Plan { to_client: "old".to_owned(), ..good.clone() }, "to_client");
    refused(Plan { expires_at_unix_ms: now_ms(&gate), ..good.clone() }, "expires_at_unix_ms");
    refused(Plan { keys: vec![key(9).to_string()], ..good.clone() }, "not enrolled");
    refused(Plan { keys: vec![good.keys[0].clone(); 2], ..good.clone() }, "named twice");
    refused(Plan { group: Some("default".to_owned()), ..good.clone() }, "not both");
    refused(Plan { batches: Some(5), ..good.clone() }, "batches");
    refused(Plan { from_client: "third".to_owned(), ..good.clone() }, "belongs to the client old");
    windows.open(&gate, &good, &ann()).unwrap();
    refused(plan(&gate, 4..=4, 1), "already");
}

#[test]
fn time_opens_and_ends_it() {
    let rig = Rig::new();
    let hands = rig.hands.clone();
    rig.enrol(1);
    let gate = rig.into_gate(network());
    gate.judgement.clients.index("old");
    gate.judgement.clients.index("new");
    ask(&gate, "old", 0).unwrap();
    let opens = now_ms(&gate) + 1_000;
    let plan = Plan { opens_at_unix_ms: Some(opens), ..plan(&gate, 1..=1, 1) };
    let id = gate.response.windows.open(&gate, &plan, &ann()).unwrap();
    assert_eq!(state(&gate, &id), "planned");
    assert!(matches!(gate.response.windows.proceed(&gate, &id, 1).unwrap(), Proceed::NotYet(_)));
    assert_eq!(ask(&gate, "new", 0), Err(None));
    hands.set(at(SLOT, 1_000));
    assert_eq!(state(&gate, &id), "open");
    hands.set(at(SLOT, HOUR_MS));
    gate.response.windows.follow(&gate);
    assert_eq!(state(&gate, &id), "expired");
    assert!(matches!(gate.response.windows.proceed(&gate, &id, 1).unwrap(), Proceed::No(_)));
    assert!(gate.judgement.policy().windows.is_empty());
}

#[test]
fn what_was_kept_is_what_goes_on_and_progress_is_what_the_leases_say() {
    let mut gate = gate();
    let directory = tempfile::tempdir().unwrap();
    gate.response.table = ResponseTable::open(directory.path()).unwrap();
    let open = gate.response.windows.open(&gate, &plan(&gate, 1..=2, 1), &ann()).unwrap();
    let halted = gate.response.windows.open(&gate, &plan(&gate, 3..=4, 2), &ann()).unwrap();
    ask(&gate, "new", 0).unwrap();
    ask(&gate, "new", 2).unwrap();
    ask(&gate, "old", 2).unwrap_err();
    let wish = Wish { actor: &ann(), reason: "by hand" };
    assert!(gate.response.windows.halt(&gate, &halted, &wish).is_err(), "it is halted");
    gate.response.windows = Windows::default();
    gate.judgement.engine = policy::Engine::new();
    gate.judgement.set_windows(Vec::new());
    gate.response.windows.resume(&gate).unwrap();
    assert_eq!(state(&gate, &open), "moving");
    let page = gate.response.windows.show(&gate, &open).unwrap();
    assert_eq!(page.batches[0].moved, 1, "as the leases say");
    assert!(ask(&gate, "new", 1).unwrap().is_some(), "it goes on");
    // Halted by the engine and not written: the same overlap halts it again.
    ask(&gate, "old", 2).unwrap_err();
    assert_eq!(state(&gate, &halted), "halted");
    assert!(ask(&gate, "new", 3).is_err());
}
