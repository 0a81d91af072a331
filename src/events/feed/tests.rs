use super::super::Paging;
use super::super::tests::event;
use super::*;

#[test]
fn who_was_away_hears_what_happened_since() {
    let feed = Feed::default();
    let events: Vec<Arc<Event>> =
        (0..KEPT + 10).map(|_| Arc::new(event(Paging::None, "a"))).collect();
    for event in &events {
        feed.push(event);
    }
    let listening = feed.listen(Some(&events[KEPT].id));
    assert_eq!(listening.missed, events[KEPT + 1..]);
    assert!(!listening.has_gap);
    let long_gone = feed.listen(Some(&events[0].id));
    assert_eq!((long_gone.missed.len(), long_gone.has_gap), (KEPT, true));
    let mut new = feed.listen(None);
    assert!(new.missed.is_empty() && !new.has_gap);
    feed.push(&events[3]);
    assert_eq!(new.following.try_recv().unwrap(), events[3]);
}
