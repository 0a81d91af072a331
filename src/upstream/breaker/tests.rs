use super::Readiness::{Due, Ready, Resting};
use super::*;

fn after(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

#[test]
fn three_failures_in_a_row_and_only_they_put_it_to_rest() {
    let (breaker, now) = (Breaker::default(), Instant::now());
    assert!(!breaker.failed(now));
    assert!(!breaker.failed(now));
    breaker.succeeded();
    assert!(!breaker.failed(now) && !breaker.failed(now));
    assert_eq!(breaker.readiness(now), Ready);
    assert!(breaker.failed(now), "the third");
    assert_eq!(breaker.readiness(now), Resting);
    assert!(!breaker.failed(now), "it is not said twice");
    breaker.succeeded();
    assert_eq!(breaker.readiness(now), Ready);
}

/// Whatever many requests were under way when it fell, it rests no longer for them.
#[test]
fn failures_while_it_rests_change_nothing() {
    let (breaker, start) = (Breaker::default(), Instant::now());
    for _ in 0..500 {
        breaker.failed(start);
    }
    assert_eq!(breaker.readiness(after(start, 999)), Resting);
    assert_eq!(breaker.readiness(after(start, 1_000)), Due);
}

#[test]
fn one_request_sees_whether_it_is_back_and_each_failure_doubles_the_pause() {
    let (breaker, start) = (Breaker::default(), Instant::now());
    for _ in 0..3 {
        let _ = breaker.failed(start);
    }
    let mut now = start;
    for pause in [1, 2, 4, 8, 16, 16] {
        let due = now + Duration::from_secs(pause);
        assert!(!breaker.take_probe(due - Duration::from_millis(1)), "{pause}");
        assert_eq!(breaker.readiness(due), Due, "{pause}");
        assert!(breaker.take_probe(due));
        assert!(!breaker.take_probe(due), "one at a time");
        assert_eq!(breaker.readiness(due), Resting);
        breaker.failed(due);
        now = due;
    }
    assert!(breaker.take_probe(now + Duration::from_secs(16)));
    breaker.succeeded();
    assert_eq!(breaker.readiness(now), Ready);
}

/// A probe whose request vanished without an outcome must not keep the replica out for ever.
#[test]
fn a_lost_probe_is_followed_by_another() {
    let (breaker, start) = (Breaker::default(), Instant::now());
    for _ in 0..3 {
        let _ = breaker.failed(start);
    }
    assert!(breaker.take_probe(after(start, 1_000)));
    assert!(breaker.take_probe(after(start, 2_000)));
}

#[test]
fn one_that_cannot_be_reached_rests_at_once_and_is_tried_when_it_can() {
    let (breaker, start) = (Breaker::default(), Instant::now());
    assert!(breaker.unreachable(start));
    assert_eq!(breaker.readiness(start), Resting);
    breaker.reachable(start);
    assert_eq!(breaker.readiness(start), Due, "a request decides, not a look at the door");
    assert!(breaker.take_probe(start));
}

#[test]
fn one_that_lies_rests_for_long_though_it_can_be_reached() {
    let (breaker, start) = (Breaker::default(), Instant::now());
    assert!(breaker.distrust(start));
    breaker.reachable(after(start, 1));
    assert_eq!(breaker.readiness(after(start, 59_999)), Resting);
    assert_eq!(breaker.readiness(after(start, 60_000)), Due);
}
