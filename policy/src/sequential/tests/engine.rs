//! The tests that add up as the engine calls them.

use super::{Client, Random};
use crate::scene::{Scene, attestation, moment, says, source};
use crate::{Alarm, Engine, Level, Mode, Outcome, Rule, ShareSet, Verdict};

const USUAL: ShareSet = ShareSet(0b0_0111);
const ODD: ShareSet = ShareSet(0b1_0011);
const KEYS: u32 = 64;

fn signed_by(set: ShareSet) -> Outcome {
    Outcome { shares: Some(set), chosen_by_gate: false }
}

impl Scene {
    /// Every key attests in each of these epochs, and `sets` says who signs for it.
    fn sign(&mut self, epochs: std::ops::Range<u64>, sets: impl Fn(u32) -> ShareSet) {
        for slot in epochs.flat_map(|epoch| epoch * 32..(epoch + 1) * 32) {
            for key in (0..KEYS).filter(|key| u64::from(*key) % 32 == slot % 32) {
                let seen = self.seen(key, source(0), moment(slot, 4_000), attestation(slot));
                let state = self.keys.entry(key).or_default();
                self.engine.learn(&self.policy, state, &seen, &signed_by(sets(key)));
            }
        }
    }

    /// Whether an answer with the odd set would be withheld from key 5 in this epoch.
    fn withholds(&mut self, epoch: u64, out: Outcome, is_repeat: bool) -> bool {
        let slot = epoch * 32 + 5;
        let mut seen = self.seen(5, source(0), moment(slot, 4_000), attestation(slot));
        seen.is_repeat = is_repeat;
        let decision = self.engine.judge_answer(&self.policy, &self.keys[&5], &seen, &out);
        assert_eq!(says(&decision, Rule::Shares), decision.verdict == Verdict::Refuse);
        decision.verdict == Verdict::Refuse
    }
}

#[test]
fn the_seventh_signature_of_another_share_is_withheld() {
    let mut scene = Scene::new();
    scene.group().modes[Rule::Shares as usize] = Mode::Enforce;
    scene.sign(0..12, |_| USUAL);
    let odd = |key| if key == 5 { ODD } else { USUAL };
    for epoch in 12..18 {
        assert!(!scene.withholds(epoch, signed_by(ODD), false), "epoch {epoch}");
        scene.sign(epoch..epoch + 1, odd);
    }
    assert!(scene.withholds(18, signed_by(ODD), false));
    assert!(!scene.withholds(18, Outcome { chosen_by_gate: true, ..signed_by(ODD) }, false));
    assert!(!scene.withholds(18, Outcome { shares: None, chosen_by_gate: false }, false));
    assert!(!scene.withholds(18, signed_by(ODD), true), "the same root again is no event");
    assert!(!scene.withholds(18, signed_by(USUAL), false), "the usual set is let through");
}

#[test]
fn a_client_that_tries_again_is_one_event() {
    let mut scene = Scene::new();
    scene.sign(0..12, |_| USUAL);
    for _ in 0..20 {
        let mut seen = scene.seen(5, source(0), moment(390, 4_000), attestation(390));
        seen.is_repeat = true;
        let state = scene.keys.entry(5).or_default();
        scene.engine.learn(&scene.policy, state, &seen, &signed_by(ODD));
    }
    assert_eq!(scene.keys[&5].shares.recent().map(|(set, _)| set).collect::<Vec<_>>(), [USUAL]);
}

/// 6.4, no. 7. The test of a key's timing alarms far more often than its bound says. Whoever puts
/// it on `enforce` must not lose duties to it.
#[test]
fn timing_refuses_nothing_whatever_its_mode() {
    let mut scene = Scene::new();
    scene.group().modes[Rule::Timing as usize] = Mode::Enforce;
    scene.attest(5, 0, 100);
    let timing = &mut scene.key(5).timing;
    (timing.ln_s, timing.last_slot) = (25.0, 100);
    let decision = scene.attest(5, 0, 133);
    assert_eq!((decision.verdict, decision.level), (Verdict::Allow, Level::Alert));
    assert!(says(&decision, Rule::Timing));
    assert_eq!(decision.ln_s[0], 25.0);
    assert!(decision.terms.log_odds() < -10.0, "nor is it a term of the score");
}

/// Sources that sign as `late_ms` says until the engine tells of something; `save` in between.
fn alarms(sources: u32, late: impl Fn(u32) -> f64, save: bool) -> (u64, Vec<Alarm>) {
    let mut scene = Scene::new();
    let mut random = Random(5);
    let clients: Vec<Client> = (1..=sources).map(|token| Client::new(token, 160)).collect();
    for slot in 32..700 {
        for (number, client) in (0u32..).zip(&clients) {
            let mut late = |_: &mut Random, _: usize| if slot < 600 { 0.0 } else { late(number) };
            for (key, mut seen) in client.votes(&mut random, slot, &mut late) {
                seen.source = source(number as u16);
                let state = scene.keys.entry(number * 1_000 + key as u32).or_default();
                let out = Outcome { shares: None, chosen_by_gate: false };
                scene.engine.learn(&scene.policy, state, &seen, &out);
            }
        }
        let told = scene.engine.tick(&scene.policy, moment(slot + 1, 0));
        let told: Vec<Alarm> =
            told.into_iter().filter(|alarm| alarm.rule == Rule::SourceTiming).collect();
        if !told.is_empty() {
            return (slot, told);
        }
        if save {
            scene.engine = Engine::from_bytes(&scene.engine.to_bytes()).expect("its own bytes");
        }
    }
    (0, Vec::new())
}

#[test]
fn a_late_source_is_one_alarm_that_survives_a_restart() {
    let late = |source| if source == 2 { 200.0 } else { 0.0 };
    let (slot, told) = alarms(3, late, false);
    assert!((600..630).contains(&slot), "{told:?}");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].about.ends_with("of c") && !told[0].is_network_event, "{told:?}");
    assert_eq!(alarms(3, late, true), (slot, told));
}

#[test]
fn what_most_sources_do_is_one_alarm_of_the_network() {
    let (slot, told) = alarms(3, |_| 200.0, false);
    assert!((600..630).contains(&slot), "{told:?}");
    assert!(told.len() == 1 && told[0].is_network_event, "{told:?}");
}

/// A key that is led away from its usual time, little by little, is told to whoever asks: once,
/// and nothing is refused.
#[test]
fn a_key_that_is_led_away_is_told() {
    let mut scene = Scene::new();
    let (mut random, mut told) = (Random(3), Vec::new());
    for slot in 0..160 * 32u64 {
        for key in (0..256).filter(|key| u64::from(*key) % 32 == slot % 32) {
            let epoch = slot / 32;
            let drift = if key == 255 { 2 * epoch.saturating_sub(60) } else { 0 };
            let into_slot_ms = 4_000 + 2 * (key / 32) + random.below(9) as u32 + drift as u32;
            let seen = scene.seen(key, source(0), moment(slot, into_slot_ms), attestation(slot));
            let decision = scene.play(&seen);
            assert_eq!(decision.verdict, Verdict::Allow, "{decision:?}");
        }
        if (90 * 32..125 * 32).contains(&slot) && slot % 32 == 31 {
            // What waits to be told outlives a restart.
            scene.engine = Engine::from_bytes(&scene.engine.to_bytes()).expect("its own bytes");
        }
        let (drifts, more) = scene.engine.drifted(&scene.policy);
        assert_eq!(more, 0);
        told.extend(drifts);
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].key == 255 && told[0].later_ms > 50.0, "{told:?}");
}
