use std::time::Duration;

use super::*;

#[test]
fn a_flood_of_the_lowest_class_leaves_room_for_every_higher_one() {
    let limits = Limits::default();
    let admission = Admission::new(&limits);
    let mut flood = Vec::new();
    for class in DutyClass::ALL.into_iter().rev() {
        while let Some(admitted) = admission.admit(class) {
            flood.push(admitted);
        }
        assert_eq!(admission.under_way(), limits.in_flight_ceiling(class), "{}", class.as_str());
    }
    flood.clear();
    assert_eq!(admission.under_way(), 0);
    assert!(admission.admit(DutyClass::Registration).is_some());
}

/// Whoever is urgent never waits for a turn; of the others few are worked on at once, in their
/// order, and nobody waits for ever.
#[tokio::test(start_paused = true)]
async fn a_flood_gets_few_turns_at_a_time_and_the_urgent_need_none() {
    let turns = Turns::default();
    let soon = || Instant::now() + Duration::from_secs(1);
    let mut held = Vec::new();
    for _ in 0..REGISTRATIONS_PER_ROUND {
        held.push(turns.wait(DutyClass::Registration, soon()).await.expect("a turn"));
    }
    let begun = Instant::now();
    assert!(turns.wait(DutyClass::Registration, soon()).await.is_none());
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    let begun = Instant::now();
    for class in [DutyClass::Proposal, DutyClass::Attestation, DutyClass::Aggregate] {
        for _ in 0..1_000 {
            held.push(turns.wait(class, begun).await.expect("no turn is needed"));
        }
    }
    // The two classes do not take each other's turns.
    held.push(turns.wait(DutyClass::SelectionProof, begun).await.expect("a turn"));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(held.remove(0));
    assert!(turns.wait(DutyClass::Registration, soon()).await.is_some());
}

/// All that is done with a turn is done at once. A turn that was not held for the rest of the round
/// was free again for the next task of the same round, and so for as many as there were.
#[tokio::test]
async fn a_round_of_a_core_has_no_more_turns_than_it_says() {
    use std::cell::Cell;
    use std::rc::Rc;

    let core = tokio::task::LocalSet::new();
    let (turns, worked) = (Rc::new(Turns::default()), Rc::new(Cell::new(0)));
    for _ in 0..4 * REGISTRATIONS_PER_ROUND {
        let (turns, worked) = (Rc::clone(&turns), Rc::clone(&worked));
        core.spawn_local(async move {
            let deadline = Instant::now() + Duration::from_secs(60);
            let _turn = turns.wait(DutyClass::Registration, deadline).await.expect("a turn");
            worked.set(worked.get() + 1);
        });
    }
    core.run_until(async {
        let mut before = 0;
        while worked.get() < 4 * REGISTRATIONS_PER_ROUND {
            yield_now().await;
            assert!(worked.get() - before <= REGISTRATIONS_PER_ROUND, "in one round");
            before = worked.get();
        }
    })
    .await;
}
