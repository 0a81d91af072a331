use super::{Client, Random, vote};
use crate::sequential::{KeyTiming, Scope, SourceTiming};

const LIMIT: f32 = 18.0;

fn punctual(_: &mut Random, _: usize) -> f64 {
    0.0
}

#[test]
fn a_key_that_comes_to_be_late_is_noticed_and_no_other() {
    let (mut random, mut client) = (Random(1), Client::new(7, 1_000));
    client.epochs(&mut random, 0..60, &mut punctual);
    assert_eq!(client.alarming(LIMIT), 0);
    let mut noticed = None;
    for epoch in 60..90 {
        let mut late = |_: &mut Random, key: usize| if key == 400 { 300.0 } else { 0.0 };
        client.epochs(&mut random, epoch..epoch + 1, &mut late);
        if noticed.is_none() && client.keys[400].ln_s(Scope::default()) >= LIMIT {
            noticed = Some(epoch - 59);
        }
    }
    let noticed = noticed.expect("an alarm");
    assert!((5..=15).contains(&noticed), "noticed after {noticed} epochs");
    assert_eq!(client.alarming(LIMIT), usize::from(client.keys[400].ln_s > LIMIT));
}

#[test]
fn a_slow_drift_is_noticed_when_the_place_may_move_no_further() {
    let (mut random, mut client) = (Random(2), Client::new(7, 1_000));
    client.epochs(&mut random, 0..60, &mut punctual);
    let mut noticed = None;
    for epoch in 60..200 {
        let drift = 2.0 * (epoch - 60) as f64;
        let mut late = |_: &mut Random, key: usize| if key == 3 { drift } else { 0.0 };
        client.epochs(&mut random, epoch..epoch + 1, &mut late);
        if noticed.is_none() && client.keys[3].ln_s(Scope::default()) >= LIMIT {
            noticed = Some(epoch - 59);
        }
    }
    let noticed = noticed.expect("an alarm");
    assert!(noticed <= 100, "noticed after {noticed} epochs");
    let (place, _) = client.keys[3].place_ms().expect("a known place");
    assert!(place <= 75.0);
    assert!(client.keys[3].drift_ms() > 50.0, "worth an event: {}", client.keys[3].drift_ms());
}

/// A place that moves by more than 50 ms is told once, and again when it moved back and off again.
#[test]
fn a_place_that_has_moved_is_told_once() {
    let (mut random, mut client) = (Random(9), Client::new(7, 1_000));
    client.epochs(&mut random, 0..60, &mut punctual);
    let mut told = Vec::new();
    for epoch in 60..500 {
        // By steps that are nothing each: 2 ms an epoch, there and back, twice.
        let step = (epoch - 60) % 220;
        let drift = if step < 60 { 2 * step } else { 120u64.saturating_sub(2 * (step - 60)) };
        let mut late = |_: &mut Random, key: usize| if key == 3 { drift as f64 } else { 0.0 };
        for slot in epoch * 32..(epoch + 1) * 32 {
            for (key, seen) in client.votes(&mut random, slot, &mut late) {
                let state = &mut client.keys[key];
                let moved = client.timing.learn(state, client.token, &seen, Scope::default());
                let kept = KeyTiming::from_bytes(&state.to_bytes());
                assert_eq!(kept.as_ref(), Some(&*state), "also over a restart");
                told.extend(moved.map(|later_ms| (epoch, key, later_ms)));
            }
        }
    }
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|(_, key, ms)| *key == 3 && (50.0..75.0).contains(ms)), "{told:?}");
    assert!(told[1].0 >= told[0].0 + 200, "{told:?}");
}

#[test]
fn nothing_is_tested_before_enough_was_seen() {
    let (mut random, mut client) = (Random(3), Client::new(7, 64));
    // 64 keys: after 28 epochs every key has its place, and the source fewer than 2,000 events.
    let mut late = |_: &mut Random, key: usize| if key == 5 { 500.0 } else { 0.0 };
    client.epochs(&mut random, 0..22, &mut punctual);
    client.epochs(&mut random, 22..28, &mut late);
    assert!(client.keys.iter().all(|key| key.ln_s == 0.0));
}

#[test]
fn a_break_of_the_gate_begins_every_test_anew() {
    let mut key = KeyTiming::new();
    (key.ln_s, key.last_slot) = (12.0, 99);
    assert_eq!(key.ln_s(Scope { since_slot: 99, rests: false }), 12.0);
    assert_eq!(key.ln_s(Scope { since_slot: 100, rests: false }), 0.0);
}

#[test]
fn work_on_the_nodes_is_learned_and_not_tested() {
    let (mut random, mut client) = (Random(4), Client::new(7, 1_000));
    client.epochs(&mut random, 0..60, &mut punctual);
    let scope = Scope { since_slot: 0, rests: true };
    for slot in 60 * 32..80 * 32 {
        let mut late = |_: &mut Random, key: usize| if key == 400 { 300.0 } else { 0.0 };
        for (key, seen) in client.votes(&mut random, slot, &mut late) {
            client.timing.learn(&mut client.keys[key], client.token, &seen, scope);
        }
    }
    assert!(client.alarming(LIMIT) == 0);
    assert!(client.keys[400].place_ms().expect("a known place").0 > 15.0, "it was learned");
}

#[test]
fn one_signature_from_elsewhere_moves_nothing_and_three_in_a_row_do() {
    let (mut random, mut client) = (Random(5), Client::new(7, 1_000));
    client.epochs(&mut random, 0..40, &mut punctual);
    let mut elsewhere = Client::new(8, 1_000);
    elsewhere.epochs(&mut random, 0..40, &mut punctual);
    let mut key = client.keys[10];
    let before = (key.place_ms(), key.ln_s);
    // Late in a slot of the other source, so that there is a median to stand by.
    for (times, slot) in (40 * 32..).step_by(32).take(3).enumerate() {
        elsewhere.slot(&mut random, slot, &mut punctual);
        let seen = vote(10, slot, 4_900.0);
        elsewhere.timing.learn(&mut key, 8, &seen, Scope::default());
        if times < 2 {
            assert_eq!((key.place_ms(), key.ln_s), before);
        }
    }
    assert_eq!(key.place_ms(), None, "its place at the new source is not known yet");
    assert_eq!(key.source, 8);
}

#[test]
fn the_state_survives_the_disk() {
    let (mut random, mut client) = (Random(6), Client::new(7, 1_000));
    client.epochs(&mut random, 0..30, &mut punctual);
    client.slot(&mut random, 30 * 32, &mut punctual);
    let mut bytes = Vec::new();
    client.timing.put(&mut bytes);
    bytes.push(0xaa);
    let mut rest = &bytes[..];
    assert_eq!(SourceTiming::take(&mut rest).as_ref(), Some(&client.timing));
    assert_eq!(rest, [0xaa]);
    for end in 0..bytes.len() - 1 {
        assert_eq!(SourceTiming::take(&mut &bytes[..end]), None, "cut after {end}");
    }
    for key in &client.keys {
        assert_eq!(KeyTiming::from_bytes(&key.to_bytes()).as_ref(), Some(key));
    }
    let mut garbled = client.keys[0].to_bytes();
    garbled[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(KeyTiming::from_bytes(&garbled), None);
    assert!(size_of::<KeyTiming>() <= 40 && size_of::<SourceTiming>() <= 6 * 1024);
}

#[test]
fn late_votes_repeats_and_other_duties_say_nothing_about_the_beat() {
    let (mut random, mut client) = (Random(8), Client::new(7, 1_000));
    client.epochs(&mut random, 0..30, &mut punctual);
    client.slot(&mut random, 960, &mut punctual);
    let before = (client.timing.clone(), client.keys[1]);
    let mut unchanged = |seen: &crate::Observation| {
        client.timing.learn(&mut client.keys[1], 7, seen, Scope::default());
        assert_eq!((&client.timing, client.keys[1]), (&before.0, before.1));
    };
    unchanged(&crate::Observation { is_repeat: true, ..vote(1, 960, 5_000.0) });
    let proof = crate::Message::SelectionProof { slot: 960 };
    unchanged(&crate::Observation { message: proof, ..vote(1, 960, 5_000.0) });
    let late = crate::Observation { at: vote(1, 961, 100.0).at, ..vote(1, 960, 100.0) };
    unchanged(&late);
    unchanged(&vote(1, 959, 100.0)); // of a slot that was ended
}
