//! Leases, quarantines and what is kept of them.

use crate::Observation;
use crate::engine::volume::{Back, Volume};
use crate::scene::{Scene, attestation, moment, says, source};
use crate::{ClientIndex, Decision, Engine, GroupIndex, KeyState, Level, Message, Rule, Verdict};
use crate::{KeySet, Window, WindowId, WindowKind};

#[track_caller]
fn refused_by(decision: &Decision, rule: Rule) {
    assert_eq!(decision.refusal().map(|finding| finding.rule), Some(rule), "{decision:?}");
}

#[track_caller]
fn allowed(decision: &Decision) {
    assert_eq!(decision.verdict, Verdict::Allow, "{decision:?}");
}

fn rotation(from: u16, to: u16, slots: std::ops::Range<u64>) -> Window {
    let from_ms = moment(slots.start, 0).unix_ms;
    Window {
        id: WindowId::of("rotation", from_ms),
        name: "rotation".to_owned(),
        kind: WindowKind::Rotation { from: ClientIndex(from), to: ClientIndex(to) },
        groups: vec![GroupIndex(0)],
        keys: KeySet::default(),
        from_ms,
        until_ms: moment(slots.end, 0).unix_ms,
    }
}

fn alive(volume: &Volume, at: crate::Moment) -> bool {
    volume.is_alive(at, &crate::Chain::default(), Back::default()) == Some(true)
}

/// 320 keys that client 0 has signed for over six epochs, up to slot 192.
fn fleet() -> Scene {
    let mut scene = Scene::new();
    scene.live(0, 0..320, 0..192);
    scene
}

#[test]
fn a_second_client_is_refused_at_its_first_request_while_the_owner_lives() {
    let mut scene = fleet();
    let decision = scene.attest(0, 1, 192);
    refused_by(&decision, Rule::ClientLease);
    assert_eq!(decision.level, Level::Refuse);
    // A registration and a selection proof come earlier than the vote, and are refused likewise.
    for message in [
        Message::SelectionProof { slot: 200 },
        Message::Registration { fee_recipient: [1; 20], gas_limit: 30_000_000, timestamp_s: 1 },
        Message::RandaoReveal { epoch: 6 },
    ] {
        refused_by(&scene.ask(1, 2, 192, message), Rule::ClientLease);
    }
    allowed(&scene.attest(0, 0, 192)); // the owner goes on
}

#[test]
fn a_client_follows_an_owner_that_died_after_the_lease_wait() {
    let mut scene = fleet();
    // Client 0 stops after slot 191. Three slots later its volume is gone.
    refused_by(&scene.attest(0, 1, 192), Rule::ClientLease);
    refused_by(&scene.attest(1, 1, 193), Rule::ClientLease);
    allowed(&scene.attest(2, 1, 194));
    allowed(&scene.attest(3, 1, 195));
    // The owner comes back: two are alive.
    refused_by(&scene.attest(2, 0, 196), Rule::LeaseFence);
}

#[test]
fn a_straggler_keeps_its_own_key_and_no_other() {
    // 6.4, failure 4: one key that still asks does not keep its dead client alive for all others.
    let mut scene = fleet();
    for slot in 192..224 {
        scene.engine.tick(&scene.policy, moment(slot, 11_000));
        allowed(&scene.ask(7, 0, slot, Message::SyncMessage { slot }));
        if slot >= 194 && slot % 32 != 7 {
            allowed(&scene.attest((slot % 32) as u32, 1, slot));
        }
        refused_by(&scene.ask(7, 1, slot, Message::SyncMessage { slot }), Rule::ClientLease);
        if slot == 192 {
            break_quarantine(&mut scene, 7);
        }
    }
}

/// Two refusals put client 1 in quarantine for the key; that is not what is looked at here.
fn break_quarantine(scene: &mut Scene, key: u32) {
    assert!(scene.keys.contains_key(&key));
    scene.group().modes[Rule::Quarantine as usize] = crate::Mode::Off;
}

#[test]
fn a_key_that_its_owner_left_is_free_after_the_lease_ends() {
    let mut scene = fleet();
    // The owner lives, but no longer signs for key 3, last signed for in epoch 5.
    for slot in 192..288 {
        if slot % 32 == 3 && slot < 256 {
            refused_by(&scene.attest(3, 1, slot), Rule::ClientLease);
        } else if slot % 32 == 3 {
            allowed(&scene.attest(3, 1, slot));
        }
        for key in (0..320).filter(|key| *key != 3 && u64::from(*key) % 32 == slot % 32) {
            allowed(&scene.attest(key, 0, slot));
        }
        scene.engine.tick(&scene.policy, moment(slot, 11_000));
    }
}

#[test]
fn a_declared_pair_signs_side_by_side_and_a_third_does_not() {
    let mut scene = Scene::new();
    scene.group().active_clients = vec![ClientIndex(0), ClientIndex(1)];
    for slot in 0..192 {
        for key in (0..64).filter(|key| u64::from(*key) % 32 == slot % 32) {
            allowed(&scene.attest(key, (slot % 2) as u16, slot));
            allowed(&scene.attest(key, 1 - (slot % 2) as u16, slot));
        }
    }
    refused_by(&scene.attest(0, 2, 192), Rule::ClientLease);
    assert_eq!(scene.key(0).lease.moved_epoch, 0, "the lease moved between the pair");
}

#[test]
fn a_rotation_moves_the_lease_once_and_fences_the_old_owner() {
    let mut scene = fleet();
    scene.policy.windows = vec![rotation(0, 1, 192..400)];
    let decision = scene.attest(0, 1, 192);
    allowed(&decision);
    assert_eq!(decision.window, Some(scene.policy.windows[0].id));
    let overlap = scene.attest(0, 0, 193);
    refused_by(&overlap, Rule::LeaseFence);
    assert_eq!(overlap.level, Level::HaltRotation);
    scene.live(0, 3..320, 193..225);
    allowed(&scene.attest(0, 1, 225)); // what moved stays moved
    // The rotation is halted: what has not moved yet does not.
    refused_by(&scene.attest(1, 1, 225), Rule::ClientLease);
    allowed(&scene.attest(1, 0, 225));
    // Whoever is not of the rotation cannot halt it, and moves nothing.
    refused_by(&scene.attest(2, 2, 226), Rule::ClientLease);
}

#[test]
fn a_window_is_for_its_keys_and_its_time_and_its_pair() {
    let mut scene = fleet();
    let mut window = rotation(0, 1, 192..200);
    window.keys = KeySet::from_iter([0]);
    scene.policy.windows = vec![window];
    refused_by(&scene.attest(1, 1, 193), Rule::ClientLease);
    refused_by(&scene.attest(0, 2, 193), Rule::ClientLease);
    refused_by(&scene.attest(0, 1, 191), Rule::ClientLease); // not yet
    scene.live(0, 0..320, 192..200);
    refused_by(&scene.attest(0, 1, 200), Rule::ClientLease); // over
    allowed(&scene.attest(0, 1, 199));
}

/// A window that another was put in front of is still the one that is halted.
#[test]
fn a_halt_is_of_a_window_wherever_it_stands() {
    let mut scene = fleet();
    let halted = rotation(0, 1, 192..400);
    scene.policy.windows = vec![halted.clone()];
    allowed(&scene.attest(0, 1, 192));
    refused_by(&scene.attest(0, 0, 193), Rule::LeaseFence);
    assert!(scene.engine.is_halted(halted.id));
    let mut other = rotation(0, 1, 193..400);
    other.keys = KeySet::from_iter([7]);
    scene.policy.windows = vec![other.clone(), halted];
    scene.live(0, 3..320, 193..225);
    refused_by(&scene.attest(1, 1, 225), Rule::ClientLease);
    let decision = scene.attest(7, 1, 225);
    allowed(&decision);
    assert_eq!(decision.window, Some(other.id));
    assert!(scene.key(7).has_moved_by(other.id) && !scene.engine.is_halted(other.id));
    // The operator halts by hand, once.
    assert!(scene.engine.halt(other.id, 1) && !scene.engine.halt(other.id, 2));
}

/// A window that opens in the middle of a second moves a key once, also within that second.
#[test]
fn a_key_moves_once_by_a_window_however_soon() {
    let mut scene = fleet();
    scene.policy.windows = vec![rotation(0, 1, 192..400)];
    let at = moment(192, 4_000);
    scene.policy.windows[0].from_ms = at.unix_ms + 300;
    let now = |ms: u64| crate::Moment { unix_ms: at.unix_ms + ms, ..at };
    let moves = scene.seen(0, source(1), now(400), attestation(192));
    allowed(&scene.play(&moves));
    scene.key(0).lease.take(&source(0), now(500)); // back, by whatever way
    let again = scene.seen(0, source(1), now(600), attestation(193));
    refused_by(&scene.play(&again), Rule::LeaseFence);
    scene.policy.windows[0].id = WindowId(9); // by another it moves
    scene.policy.windows[0].from_ms = at.unix_ms + 1_300;
    let anew = scene.seen(0, source(1), now(1_600), attestation(193));
    allowed(&scene.play(&anew));
}

#[test]
fn two_strikes_put_a_source_in_quarantine_for_the_key_and_the_contest_ends_it() {
    let mut scene = fleet();
    scene.group().lease_epochs = 8;
    let first = scene.seen(0, source(1), moment(192, 4_000), attestation(192));
    refused_by(&scene.play(&first), Rule::ClientLease);
    let again = Observation { at: moment(193, 0), ..first };
    assert!(!says(&scene.play(&again), Rule::Quarantine), "the same request again is one strike");
    scene.live(0, 1..320, 192..195);
    scene.attest(0, 1, 195);
    let quarantined = scene.attest(0, 1, 195);
    refused_by(&quarantined, Rule::Quarantine);
    assert_eq!(quarantined.level, Level::Quarantine);
    assert!(!says(&scene.attest(1, 1, 195), Rule::Quarantine), "another key");
    scene.live(0, 0..320, 195..260); // the victim keeps earning
    assert!(!says(&scene.attest(0, 1, 260), Rule::Quarantine), "it expires within two epochs");
    for slot in [260, 261] {
        scene.attest(5, 1, slot);
    }
    refused_by(&scene.attest(5, 1, 261), Rule::Quarantine);
    allowed(&scene.attest(5, 1, 263)); // the owner is gone: the contest has ended
}

#[test]
fn while_the_gate_was_away_nobody_was_silent() {
    let mut scene = fleet();
    let back = moment(192 + 300, 0); // an hour
    scene.engine.resumed(back);
    refused_by(&scene.attest(0, 1, 493), Rule::ClientLease);
    allowed(&scene.attest(0, 0, 493));
    allowed(&scene.attest(2, 1, 492 + 32 * 3)); // two epochs later silence counts again
}

#[test]
fn a_small_client_is_alive_between_its_duties() {
    // One key: up to 63 slots lie between two of its votes.
    let mut volume = Volume::default();
    for epoch in 0..20 {
        volume.asked(moment(epoch * 32 + (epoch * 7) % 32, 4_000), true);
    }
    let last = 19 * 32 + (19 * 7) % 32;
    assert!(alive(&volume, moment(last + 40, 0)));
    assert!(alive(&volume, moment(last + 63, 0)));
    assert!(!alive(&volume, moment(last + 66, 0)));
}

#[test]
fn a_burst_at_the_start_of_an_epoch_does_not_raise_what_is_usual() {
    let mut volume = Volume::default();
    for slot in 0..320 {
        if slot % 32 == 0 {
            (0..1_000).for_each(|_| volume.asked(moment(slot, 100), false));
        }
        (0..10).for_each(|_| volume.asked(moment(slot, 4_000), true));
    }
    assert!(alive(&volume, moment(320, 100)));
    assert!(alive(&volume, moment(321, 0)));
    assert!(!alive(&volume, moment(323, 0)));
}

/// A client whose votes could not be recorded for a moment asked two hundred times for one of them.
/// What it asked for afterwards, as always, was then too little to be alive, and its keys were for
/// the taking.
#[test]
fn a_storm_of_repeats_does_not_make_its_client_look_dead() {
    let mut scene = Scene::new();
    scene.live(0, 0..32, 0..256);
    let seen = scene.seen(0, source(0), moment(256, 4_000), attestation(256));
    let repeat = Observation { is_repeat: true, ..seen };
    scene.play(&seen);
    for _ in 0..200 {
        scene.engine.attempted(&scene.policy, scene.keys.get(&0).expect("a key"), &repeat);
    }
    scene.live(0, 1..32, 257..288);
    let decision = scene.attest(5, 1, 288);
    assert!(says(&decision, Rule::ClientLease), "{decision:?}");
    assert_eq!(decision.verdict, Verdict::Refuse);
}

#[test]
fn state_from_disk_is_the_state_that_was_written() {
    let mut scene = fleet();
    scene.policy.windows = vec![rotation(0, 1, 192..400)];
    scene.attest(0, 1, 192);
    scene.attest(0, 0, 193);
    scene.attest(9, 2, 193);
    let bytes = scene.engine.to_bytes();
    let read = Engine::from_bytes(&bytes).expect("what was written");
    assert_eq!(read.to_bytes(), bytes);
    for key in scene.keys.values() {
        assert_eq!(KeyState::from_bytes(&key.to_bytes()).as_ref(), Some(key));
    }
    let mut garbled = bytes.clone();
    garbled[bytes.len() / 2] ^= 1;
    assert!(Engine::from_bytes(&garbled).is_none());
    assert!(Engine::from_bytes(&bytes[..bytes.len() - 1]).is_none());
    let mut garbled = scene.key(0).to_bytes();
    garbled[100] ^= 1;
    assert!(KeyState::from_bytes(&garbled).is_none());
    assert!(KeyState::from_bytes(&garbled[1..]).is_none());
}
