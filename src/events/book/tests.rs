use super::super::tests::event;
use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const PAGER: Terms = Terms { pages: true, fallback_after: None, least: None };
const FALLBACK: Terms =
    Terms { pages: true, fallback_after: Some(MINUTE), least: Some(Severity::Warning) };
const LISTENER: Terms = Terms { pages: false, fallback_after: None, least: Some(Severity::Info) };

/// A book with its own time.
struct Desk {
    book: Book,
    now: Instant,
    sequence: u64,
}

impl Desk {
    fn new(terms: &[Terms]) -> Self {
        Self { book: Book::new(terms), now: Instant::now(), sequence: 0 }
    }

    fn page(&mut self, paging: Paging, key: &str) -> u64 {
        self.sequence += 1;
        let event = Arc::new(event(paging, key));
        let slot = Some(Slot::of_test(self.sequence));
        self.book.add_page(self.sequence, &event, slot, self.now, |_| false);
        self.sequence
    }

    fn event(&mut self, key: &str) -> Vec<usize> {
        self.sequence += 1;
        let event = Arc::new(event(Paging::None, key));
        self.book.add_event(self.sequence, &event, self.now)
    }

    fn next(&mut self, lane: usize) -> Option<u64> {
        match self.book.next(lane, 4, self.now) {
            Next::Send { sequence, .. } => Some(sequence),
            Next::Wait(_) => None,
        }
    }

    fn settle(&mut self, lane: usize, sequence: u64, outcome: &Outcome) -> Settled {
        self.book.settle(lane, sequence, outcome, 0.0, self.now)
    }

    fn accept(&mut self, lane: usize) -> (u64, Settled) {
        let sequence = self.next(lane).expect("something to send");
        (sequence, self.settle(lane, sequence, &Outcome::Accepted))
    }

    fn fail(&mut self, lane: usize) -> u64 {
        let sequence = self.next(lane).expect("something to send");
        let failed = Outcome::Failed { reason: "down".to_owned(), retry_after: None };
        self.settle(lane, sequence, &failed);
        sequence
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

fn refused() -> Outcome {
    Outcome::Refused("400".to_owned())
}

#[test]
fn events_of_one_cause_go_in_their_order_and_others_beside_them() {
    let mut desk = Desk::new(&[PAGER]);
    let trigger = desk.page(Paging::Trigger, "a");
    let resolve = desk.page(Paging::Resolve, "a");
    let other = desk.page(Paging::Trigger, "b");
    assert_eq!((desk.next(0), desk.next(0), desk.next(0)), (Some(trigger), Some(other), None));
    desk.settle(0, trigger, &Outcome::Accepted);
    assert_eq!(desk.next(0), Some(resolve));
}

#[test]
fn a_page_is_over_when_its_sink_has_it() {
    let mut desk = Desk::new(&[PAGER, FALLBACK]);
    let page = desk.page(Paging::Trigger, "a");
    let (sequence, settled) = desk.accept(0);
    assert_eq!((sequence, settled.freed), (page, Some(Slot::of_test(page))));
    desk.pass(10 * MINUTE);
    assert_eq!(desk.next(1), None, "nobody needs the fallback");
    assert_eq!(desk.book.pages(), 0);
}

#[test]
fn the_fallback_gets_a_page_after_a_minute_and_its_end_at_once() {
    let mut desk = Desk::new(&[PAGER, FALLBACK]);
    let page = desk.page(Paging::Trigger, "a");
    desk.fail(0);
    desk.pass(MINUTE - Duration::from_secs(1));
    assert_eq!(desk.next(1), None);
    desk.pass(Duration::from_secs(1));
    let (sequence, settled) = desk.accept(1);
    assert_eq!((sequence, settled.freed, settled.marked), (page, None, Some(Slot::of_test(page))));
    assert_eq!(desk.book.pages(), 1, "the first sink has still to take it");
    assert_eq!(desk.book.undelivered(), (0, None));
    let resolve = desk.page(Paging::Resolve, "a");
    assert_eq!(desk.next(1), Some(resolve), "who was told of it is told of its end");
    assert_eq!(desk.accept(0).0, page);
    assert_eq!(desk.accept(0).0, resolve);
    assert_eq!(desk.book.pages(), 0);
}

#[test]
fn failures_double_the_wait_up_to_a_bound_and_one_request_tries_for_all() {
    let mut desk = Desk::new(&[PAGER]);
    for key in ["a", "b", "c"] {
        desk.page(Paging::Trigger, key);
    }
    let first = desk.fail(0);
    let mut waits = Vec::new();
    let mut tried = vec![first];
    for _ in 0..10 {
        let Next::Wait(Some(until)) = desk.book.next(0, 4, desk.now) else { panic!("no rest") };
        waits.push(until.duration_since(desk.now));
        desk.pass(waits[waits.len() - 1]);
        let sequence = desk.next(0).expect("rested");
        assert_eq!(desk.next(0), None, "one at a time while it fails");
        desk.settle(0, sequence, &Outcome::Failed { reason: String::new(), retry_after: None });
        tried.push(sequence);
    }
    let expected = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000];
    assert_eq!(waits, expected.map(Duration::from_millis));
    assert_eq!(tried[..4], [1, 2, 3, 1], "no page holds up the others");
    for jitter in [0.0, 0.5, 1.0] {
        assert_eq!(backoff(3, jitter), Duration::from_secs(2).mul_f64(1.0 - jitter / 2.0));
    }
}

#[test]
fn a_sink_that_says_when_to_come_again_is_believed_within_reason() {
    for (asked_s, waited_s) in [(7, 7), (100_000, 300)] {
        let mut desk = Desk::new(&[PAGER]);
        let page = desk.page(Paging::Trigger, "a");
        desk.next(0);
        let retry_after = Some(Duration::from_secs(asked_s));
        desk.settle(0, page, &Outcome::Failed { reason: "429".to_owned(), retry_after });
        desk.pass(Duration::from_secs(waited_s) - Duration::from_millis(1));
        assert_eq!(desk.next(0), None);
        desk.pass(Duration::from_millis(1));
        assert_eq!(desk.next(0), Some(page));
    }
}

#[test]
fn what_is_refused_goes_to_the_fallback_at_once_and_is_over_there() {
    let mut desk = Desk::new(&[PAGER, FALLBACK]);
    let page = desk.page(Paging::Trigger, "a");
    desk.next(0);
    let settled = desk.settle(0, page, &refused());
    assert_eq!((settled.wakes_fallbacks, settled.freed), (true, None));
    let (sequence, settled) = desk.accept(1);
    assert_eq!((sequence, settled.freed), (page, Some(Slot::of_test(page))));
}

#[test]
fn what_everybody_refuses_is_kept_and_tried_again() {
    let mut desk = Desk::new(&[PAGER, FALLBACK]);
    let page = desk.page(Paging::Trigger, "a");
    let resolve = desk.page(Paging::Resolve, "a");
    for lane in [0, 1] {
        assert_eq!(desk.next(lane), Some(page));
        assert_eq!(desk.settle(lane, page, &refused()).freed, None);
    }
    assert_eq!(desk.next(0), Some(resolve), "what follows is not held up");
    desk.settle(0, resolve, &refused());
    assert_eq!(desk.book.undelivered().0, 2);
    desk.pass(REFUSED_AGAIN);
    assert_eq!(desk.next(0), Some(page));
    desk.settle(0, page, &Outcome::Accepted);
    assert_eq!(desk.accept(0).0, resolve);
    assert_eq!(desk.book.pages(), 0);
}

#[test]
fn each_sink_that_pages_gets_each_page() {
    let mut desk = Desk::new(&[PAGER, PAGER]);
    let page = desk.page(Paging::Trigger, "a");
    assert_eq!(desk.accept(0).1.freed, None);
    assert_eq!(desk.accept(1), (page, Settled { freed: Some(Slot::of_test(page)), ..desk_none() }));
}

fn desk_none() -> Settled {
    Settled::default()
}

#[test]
fn what_one_sink_has_is_given_up_at_a_dead_one_after_a_day_and_nothing_else_is() {
    let mut desk = Desk::new(&[PAGER, FALLBACK]);
    let told = desk.page(Paging::Trigger, "a");
    desk.pass(MINUTE);
    desk.accept(1);
    let untold = desk.page(Paging::Trigger, "b");
    desk.pass(OWED_MAX - MINUTE - Duration::from_secs(1));
    assert_eq!(desk.book.give_up(desk.now, false), []);
    desk.pass(MINUTE + Duration::from_secs(1));
    assert_eq!(desk.book.give_up(desk.now, false), [Slot::of_test(told)]);
    desk.pass(100 * OWED_MAX);
    assert_eq!(desk.book.give_up(desk.now, true), [], "nobody was told of it");
    assert_eq!(desk.next(0), Some(untold));
}

#[test]
fn events_that_page_nobody_go_where_they_are_wanted_while_there_is_room() {
    let mut desk = Desk::new(&[PAGER, FALLBACK, LISTENER]);
    for _ in 0..EVENTS_WAITING_MAX {
        assert!(desk.event("").is_empty());
    }
    assert_eq!(desk.event(""), [1, 2], "there is no room");
    assert_eq!(desk.next(0), None, "PagerDuty gets pages alone");
    let page = desk.page(Paging::Trigger, "a");
    desk.pass(MINUTE);
    assert_eq!(desk.next(1), Some(page), "a page is before them, and has room always");
    desk.accept(2);
    assert_eq!(desk.event(""), [1]);
}

#[test]
fn a_page_is_an_event_to_those_that_do_not_page() {
    let mut desk = Desk::new(&[PAGER, LISTENER]);
    let event = Arc::new(event(Paging::Trigger, "a"));
    desk.book.add_page(1, &event, None, desk.now, |_| false);
    assert!(desk.book.add_event(1, &event, desk.now).is_empty());
    assert_eq!((desk.next(0), desk.next(1)), (Some(1), Some(1)));
    assert_eq!(desk.settle(1, 1, &Outcome::Accepted), Settled::default());
    assert_eq!(desk.book.undelivered().0, 1, "nobody was paged");
}

#[test]
fn a_page_that_the_fallback_had_before_a_restart_is_not_sent_there_again() {
    let mut desk = Desk::new(&[PAGER, FALLBACK]);
    let event = Arc::new(event(Paging::Trigger, "a"));
    desk.book.add_page(1, &event, None, desk.now, |lane| lane == 1);
    desk.pass(2 * MINUTE);
    assert_eq!((desk.next(1), desk.next(0)), (None, Some(1)));
}
