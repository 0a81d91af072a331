#![allow(clippy::unwrap_used)]

use super::*;

fn plan(specs: &[&str], seed: u64) -> FaultPlan {
    FaultPlan::new(specs.iter().map(|spec| spec.parse().unwrap()), seed)
}

fn strikes(plan: &mut FaultPlan, requests: usize) -> Vec<Injection> {
    (0..requests).map(|_| plan.strike()).collect()
}

#[test]
fn faults_are_written_as_they_are_read() {
    for text in [
        "slow=250",
        "refuse",
        "error:p=0.5",
        "wrong-signature:count=1",
        "swapped:after=3",
        "garbage:p=0.25:count=2:after=7",
        "hang-up:p=0.1",
        "stall",
        "die:after=100",
    ] {
        assert_eq!(text.parse::<FaultSpec>().unwrap().to_string(), text);
    }
}

#[test]
fn what_is_not_a_fault_is_refused() {
    for (text, expected) in [
        ("", "unknown fault \"\""),
        ("hangup", "unknown fault \"hangup\""),
        ("slow", "unknown fault \"slow\""),
        ("slow=", "slow= is not a whole number"),
        ("slow=1.5", "slow=1.5 is not a whole number"),
        ("die=3", "unknown fault \"die=3\""),
        ("die:after=+1", "after=+1 is not a whole number"),
        ("die:after=-1", "after=-1 is not a whole number"),
        ("die:q=1", "unknown parameter \"q=1\""),
        ("die:", "unknown parameter \"\""),
        ("die:p=1.1", "p=1.1 is not a probability"),
        ("die:p=-0.1", "p=-0.1 is not a probability"),
        ("die:p=NaN", "p=NaN is not a probability"),
    ] {
        let error = text.parse::<FaultSpec>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn count_and_after_bound_the_requests_struck() {
    let mut plan = plan(&["refuse:count=2:after=3"], 0);
    let struck: Vec<bool> =
        strikes(&mut plan, 7).iter().map(|injection| injection.fault.is_some()).collect();
    assert_eq!(struck, [false, false, false, true, true, false, false]);
    assert_eq!(plan.requests(), 7);
    assert_eq!(plan.struck().next().unwrap().1, 2);
}

#[test]
fn the_first_fault_wins_and_slowness_adds_up() {
    let mut plan = plan(&["slow=10", "error:count=1", "refuse:count=1", "slow=5:count=1"], 0);
    let expect = |ms, fault| Injection { delay: Duration::from_millis(ms), fault };
    assert_eq!(
        strikes(&mut plan, 3),
        [expect(15, Some(FaultKind::Error)), expect(10, Some(FaultKind::Refuse)), expect(10, None)]
    );
}

#[test]
fn a_seed_decides_who_is_struck() {
    let specs = ["hang-up:p=0.1", "refuse:p=0.3"];
    let first = strikes(&mut plan(&specs, 1), 10_000);
    assert_eq!(first, strikes(&mut plan(&specs, 1), 10_000));
    assert_ne!(first, strikes(&mut plan(&specs, 2), 10_000));

    let count = |kind| first.iter().filter(|injection| injection.fault == Some(kind)).count();
    let (hung_up, refused) = (count(FaultKind::HangUp), count(FaultKind::Refuse));
    assert!((850..1150).contains(&hung_up), "{hung_up}");
    // Three in ten of the nine in ten that are left: the two draws are independent.
    assert!((2500..2900).contains(&refused), "{refused}");
}

#[test]
fn certainty_and_impossibility_hold() {
    assert!(strikes(&mut plan(&["refuse:p=0"], 3), 1000).iter().all(|i| i.fault.is_none()));
    assert!(strikes(&mut plan(&["refuse:p=1"], 3), 1000).iter().all(|i| i.fault.is_some()));
}
