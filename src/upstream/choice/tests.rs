use super::*;

use Readiness::{Due, Ready, Resting};

fn order(candidates: &[(Readiness, u32)], turn: usize, gives_probe: bool) -> Vec<usize> {
    let candidates = candidates.iter();
    let candidates = candidates.map(|&(readiness, in_flight)| Candidate { readiness, in_flight });
    Order::of(candidates, turn, |_| gives_probe).iter().collect()
}

#[test]
fn equals_take_turns() {
    let equals = [(Ready, 0); 3];
    assert_eq!(order(&equals, 0, true), [0, 1, 2]);
    assert_eq!(order(&equals, 1, true), [1, 2, 0]);
    assert_eq!(order(&equals, 2, true), [2, 0, 1]);
    assert_eq!(order(&equals, 3, true), [0, 1, 2]);
    assert_eq!(order(&equals, usize::MAX, true).len(), 3);
}

#[test]
fn whoever_has_least_in_hand_is_asked_first() {
    for turn in 0..3 {
        assert_eq!(order(&[(Ready, 5), (Ready, 0), (Ready, 2)], turn, true), [1, 2, 0]);
    }
}

/// Nobody is left out: the last one that rests is asked when all the others have failed.
#[test]
fn those_that_rest_come_last_and_all_come() {
    for turn in 0..4 {
        let order = order(&[(Resting, 0), (Ready, 90), (Resting, 7), (Ready, 3)], turn, true);
        assert_eq!(order, [3, 1, 0, 2]);
    }
}

#[test]
fn one_that_is_due_leads_if_the_probe_is_given_and_only_one_does() {
    let candidates = [(Ready, 0), (Due, 9), (Due, 0)];
    assert_eq!(order(&candidates, 0, true), [1, 0, 2]);
    assert_eq!(order(&candidates, 0, false), [0, 2, 1]);
}
