//! Each term of the score by itself: its sign, its size, where it begins and where it ends. Every
//! case names all of its terms, so that none comes in unseen, and adds them up.

use super::*;
use crate::engine::groups;
use crate::scene::{Scene, attestation, moment, source};
use crate::sequential::KeyShares;
use crate::{ClientIndex, GroupIndex, KeySet, Message, Moment, Source, Window, WindowId};

/// 320 keys that client 0 has signed for over six epochs.
const END: u64 = 192;
const PRIOR: f32 = -16.0;

fn fleet() -> Scene {
    let mut scene = Scene::new();
    scene.live(0, 0..320, 0..END);
    scene
}

/// Somebody with nothing of the owner's.
fn stranger() -> Source {
    Source { dialect: 99, ..source(1) }
}

/// The owner's certificate and words, from another network.
fn elsewhere() -> Source {
    Source { prefix: 0x0a77, ..source(0) }
}

fn terms(scene: &mut Scene, key: u32, from: Source, at: Moment) -> Terms {
    let seen = scene.seen(key, from, at, attestation(at.slot));
    scene.key(key);
    let case_key = &scene.keys[&key];
    scene.engine.judge(&scene.policy, case_key, &seen).terms
}

/// The terms of an attestation, 4 s into a slot, are these and no others, and they add up.
#[track_caller]
fn says(scene: &mut Scene, key: u32, from: Source, slot: u64, expected: &[(Term, f32)]) {
    let terms = terms(scene, key, from, moment(slot, 4_000));
    for term in Term::ALL {
        let value = match expected.iter().find(|(of, _)| *of == term) {
            Some((_, value)) => *value,
            None if term == Term::Prior => PRIOR,
            None => 0.0,
        };
        assert_eq!(terms.0[term as usize], value, "{}: {terms:?}", term.as_str());
    }
    let sum = PRIOR + expected.iter().map(|(_, value)| value).sum::<f32>();
    assert!((terms.log_odds() - sum).abs() < 1e-5, "L is the sum: {} {sum}", terms.log_odds());
    let confidence = 1.0 / (1.0 + (-sum).exp());
    assert!((terms.confidence() - confidence).abs() < 1e-6);
}

const NOVEL: (Term, f32) = (Term::Novelty, 13.0);
const ALIVE: (Term, f32) = (Term::Liveness, 9.0);

#[test]
fn the_owner_has_the_prior_alone() {
    let mut scene = fleet();
    says(&mut scene, 0, source(0), END, &[]);
    let exit = Message::VoluntaryExit { epoch: 6 };
    let seen = scene.seen(0, stranger(), moment(END, 4_000), exit);
    let terms = scene.engine.judge(&scene.policy, &scene.keys[&0], &seen).terms;
    assert_eq!(terms.log_odds(), PRIOR, "an operator's request belongs to nobody's lease");
}

#[test]
fn novelty_falls_as_a_source_becomes_known() {
    let mut scene = fleet();
    let token = stranger().token();
    says(&mut scene, 0, stranger(), END, &[NOVEL, ALIVE]);
    let set = |scene: &Scene, place: u64, count: u64| {
        scene.engine.released.change(place, |released| released.count = count);
    };
    set(&scene, token.into(), KNOWN_TO_FLEET - 1);
    says(&mut scene, 0, stranger(), END, &[NOVEL, ALIVE]);
    set(&scene, token.into(), KNOWN_TO_FLEET);
    says(&mut scene, 0, stranger(), END, &[(Term::Novelty, 10.0), ALIVE]);
    set(&scene, groups::place(GroupIndex(0), token), KNOWN_TO_GROUP - 1);
    says(&mut scene, 0, stranger(), END, &[(Term::Novelty, 10.0), ALIVE]);
    set(&scene, groups::place(GroupIndex(0), token), KNOWN_TO_GROUP);
    says(&mut scene, 0, stranger(), END, &[(Term::Novelty, 6.0), ALIVE]);
    for epoch in [1, 2, 2] {
        scene.key(0).sources.released(token, epoch);
    }
    says(&mut scene, 0, stranger(), END, &[(Term::Novelty, 6.0), ALIVE]);
    scene.key(0).sources.released(token, 3);
    says(&mut scene, 0, stranger(), END, &[(Term::Novelty, 2.0), ALIVE]);
}

/// A key that nobody signed for yet, in a group that has its sources.
#[test]
fn a_new_key_has_novelty_alone() {
    let mut scene = fleet();
    says(&mut scene, 1_000, stranger(), END, &[NOVEL]);
    says(&mut scene, 1_000, source(0), END, &[(Term::Novelty, 6.0)]);
    says(&mut Scene::new(), 1_000, stranger(), END, &[]); // a group that has none
}

#[test]
fn lineage_is_what_a_source_has_in_common_with_the_owner() {
    let mut scene = fleet();
    let same_words = Source { dialect: source(0).dialect, ..stranger() };
    says(&mut scene, 0, same_words, END, &[NOVEL, ALIVE, (Term::Lineage, -1.0)]);
    let upgraded = Source { dialect: 8, ..source(0) };
    says(&mut scene, 0, upgraded, END, &[NOVEL, ALIVE, (Term::Lineage, -5.0)]);
    let renewed = Source { certificate: 0x9999, ..source(0) };
    says(&mut scene, 0, renewed, END, &[NOVEL, ALIVE, (Term::Lineage, -5.0)]);
    let same_network = Source { prefix: source(0).prefix, ..stranger() };
    says(&mut scene, 0, same_network, END, &[NOVEL, ALIVE]);
}

#[test]
fn liveness_asks_whether_the_owner_is_there_and_signs_for_this_key() {
    let mut scene = fleet();
    says(&mut scene, 0, stranger(), END, &[NOVEL, ALIVE]);
    // The rest of its keys live on; key 0 does not.
    scene.live(0, 1..320, END..320);
    says(&mut scene, 0, stranger(), 320, &[NOVEL, (Term::Liveness, 2.0)]);
    says(&mut scene, 1, stranger(), 320, &[NOVEL, ALIVE]);
    // All of it is silent.
    says(&mut scene, 1, stranger(), 330, &[NOVEL, (Term::Liveness, -2.0)]);
    // Nobody can tell who was silent while the gate was away.
    scene.engine.resumed(moment(330, 0));
    says(&mut scene, 1, stranger(), 330, &[NOVEL]);
}

#[test]
fn three_keys_that_move_together_are_a_move() {
    let mut scene = fleet();
    let along = |scene: &mut Scene, key: u32, from: Source, slot: u64| {
        let seen = scene.seen(key, from, moment(slot, 3_900), attestation(slot));
        scene.engine.attempted(&scene.policy, &scene.keys[&key], &seen);
    };
    let cap = Term::Cap;
    let same = [NOVEL, ALIVE, (Term::Lineage, -1.0)];
    along(&mut scene, 32, elsewhere(), END);
    says(&mut scene, 0, elsewhere(), END, &[&same[..], &[(cap, -3.5)]].concat());
    along(&mut scene, 64, elsewhere(), END);
    says(&mut scene, 0, elsewhere(), END, &[&same[..], &[(Term::CoMovement, -8.0)]].concat());
    // A minute later they are forgotten.
    says(
        &mut scene,
        0,
        elsewhere(),
        END + 6,
        &[NOVEL, (Term::Liveness, -2.0), (Term::Lineage, -1.0)],
    );
    // With another certificate they are one only where the owner is gone.
    for key in [32, 64] {
        along(&mut scene, key, stranger(), END);
    }
    says(&mut scene, 0, stranger(), END, &[NOVEL, ALIVE]);
    let moved = [NOVEL, (Term::Liveness, -2.0), (Term::CoMovement, -2.0)];
    says(&mut scene, 0, stranger(), END + 4, &moved);
}

fn rotation(from: u16, to: u16) -> Window {
    Window {
        id: WindowId::default(),
        name: "rotation".to_owned(),
        kind: WindowKind::Rotation { from: ClientIndex(from), to: ClientIndex(to) },
        groups: vec![GroupIndex(0)],
        keys: KeySet::from_iter([0]),
        from_ms: moment(END, 0).unix_ms,
        until_ms: moment(END + 64, 0).unix_ms,
    }
}

#[test]
fn a_declared_move_is_of_this_key_from_this_owner_to_this_client() {
    let mut scene = fleet();
    let declared = [NOVEL, ALIVE, (Term::Declared, -12.0)];
    scene.policy.windows = vec![rotation(0, 1)];
    says(&mut scene, 0, stranger(), END, &declared);
    says(&mut scene, 32, stranger(), END, &[NOVEL, ALIVE]); // not a key of the window
    says(&mut scene, 0, Source { dialect: 99, ..source(2) }, END, &[NOVEL, ALIVE]);
    says(&mut scene, 0, stranger(), END - 1, &[NOVEL, ALIVE]); // not yet
    scene.policy.windows = vec![rotation(1, 0)];
    says(&mut scene, 0, stranger(), END, &[NOVEL, ALIVE]);
    scene.policy.windows.clear();
    scene.group().active_clients = vec![ClientIndex(0), ClientIndex(1)];
    says(&mut scene, 0, stranger(), END, &declared);
}

#[test]
fn enrolment_counts_while_the_owner_is_not_there() {
    let mut scene = fleet();
    scene.group().enrolled = vec![(ClientIndex(1), vec![stranger().prefix])];
    says(&mut scene, 0, stranger(), END, &[NOVEL, ALIVE]);
    let silent = (Term::Liveness, -2.0);
    says(&mut scene, 0, stranger(), END + 8, &[NOVEL, silent, (Term::Enrolled, -6.0)]);
    let elsewhere = Source { prefix: 5, ..stranger() };
    says(&mut scene, 0, elsewhere, END + 8, &[NOVEL, silent]);
}

/// The former owner signs on after the key has gone.
#[test]
fn a_fence_is_heavier_while_the_new_owner_has_not_shown_itself() {
    let mut scene = fleet();
    let known = (Term::Novelty, 2.0);
    scene.key(0).lease.take(&stranger(), moment(END, 1_000));
    says(&mut scene, 0, source(0), END, &[known, (Term::Fence, 19.0)]);
    // Nothing that two live signers have in common, nor a declaration, speaks for either.
    scene.policy.windows = vec![rotation(1, 0)];
    says(&mut scene, 0, source(0), END, &[known, (Term::Fence, 19.0)]);
    scene.policy.windows.clear();
    // Key 0 waits for two epochs, while the new owner lives on others.
    scene.live(1, 1_000..1_320, END..END + 70);
    scene.key(0).lease.take(&source(1), moment(END, 2_000));
    scene.key(0).lease.former_token = source(0).token();
    scene.key(0).lease.former_certificate = fold(source(0).certificate);
    let alive = (Term::Liveness, 9.0);
    scene.key(0).sources.released(source(1).token(), 8);
    let fenced = [known, alive, (Term::Fence, 10.0)];
    says(&mut scene, 0, source(0), END + 70, &fenced);
    scene.key(0).lease.token_moved_epoch -= 1;
    let over = [known, alive, (Term::Lineage, -1.0)];
    says(&mut scene, 0, source(0), END + 70, &over);
}

/// The state of a key against whose shares so much speaks.
fn shares(ln_s: f32, slot: u64) -> KeyShares {
    let mut bytes = KeyShares::new().to_bytes();
    bytes[24..28].copy_from_slice(&ln_s.to_le_bytes());
    bytes[28..32].copy_from_slice(&(slot as u32).to_le_bytes());
    KeyShares::from_bytes(&bytes).expect("a state")
}

#[test]
fn shares_count_once_they_say_much_and_not_without_end() {
    let mut scene = fleet();
    for (ln_s, value) in [(5.9, 0.0), (6.0, 3.2), (12.0, 9.2), (21.0, 18.2), (30.0, 26.0)] {
        scene.key(0).shares = shares(ln_s, END - 1);
        let term = if value == 0.0 { 0.0 } else { (ln_s - 2.8f32).min(26.0) };
        assert!((term - value).abs() < 1e-5);
        says(&mut scene, 0, source(0), END, &[(Term::Shares, term)]);
    }
    scene.group().modes[Rule::Shares as usize] = Mode::Off;
    says(&mut scene, 0, source(0), END, &[]);
}

#[test]
fn where_only_the_network_is_new_the_score_says_an_alert_at_most() {
    let mut scene = fleet();
    let same = [NOVEL, ALIVE, (Term::Lineage, -1.0)];
    says(&mut scene, 0, elsewhere(), END, &[&same[..], &[(Term::Cap, SOFT_CAP - 5.0)]].concat());
    // What it says by itself stays where that is less.
    let silent = [NOVEL, (Term::Liveness, -2.0), (Term::Lineage, -1.0)];
    says(&mut scene, 0, elsewhere(), END + 8, &silent);
    scene.group().enrolment = Enrolment::Strict;
    says(&mut scene, 0, elsewhere(), END, &same);
}

/// Two addresses of one client behind a network address translation.
#[test]
fn alternates_that_the_key_knows_well_have_no_source_terms() {
    let mut scene = fleet();
    let (own, other) = (source(0).token(), elsewhere().token());
    for epoch in 0..9 {
        scene.key(0).sources.released(own, epoch);
        scene.key(0).sources.released(other, epoch);
    }
    assert_ne!(terms(&mut scene, 0, elsewhere(), moment(END, 4_000)).log_odds(), PRIOR);
    scene.key(0).sources.released(own, 9);
    scene.key(0).sources.released(other, 9);
    says(&mut scene, 0, elsewhere(), END, &[]);
    assert_ne!(terms(&mut scene, 0, stranger(), moment(END, 4_000)).log_odds(), PRIOR);
}

#[test]
fn the_top_term_is_the_largest_beside_the_prior() {
    let mut scene = fleet();
    let score = terms(&mut scene, 0, stranger(), moment(END, 4_000));
    assert_eq!(score.top(), Term::Novelty);
}
