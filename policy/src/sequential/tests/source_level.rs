use super::{Client, Random};
use crate::sequential::source_level::Class;
use crate::sequential::{Incident, Incidents, Round, Scope, SourceTiming};

const LIMIT: f32 = 16.1;

struct Fleet {
    random: Random,
    clients: Vec<Client>,
    incidents: Incidents,
    slot: u64,
}

impl Fleet {
    fn new(seed: u64, clients: usize) -> Self {
        let clients = (0..clients as u32).map(|token| Client::new(token + 1, 300)).collect();
        Self { random: Random(seed), clients, incidents: Incidents::default(), slot: 0 }
    }

    /// One slot, in which each client is late by so much; then its end.
    fn slot(&mut self, late_ms: impl Fn(usize) -> f64) -> Vec<Incident> {
        for (place, client) in self.clients.iter_mut().enumerate() {
            client.slot(&mut self.random, self.slot, &mut |_, _| late_ms(place));
        }
        self.slot += 1;
        let mut round = Round::ended_before(self.slot);
        for client in &mut self.clients {
            round.note(&mut client.timing);
        }
        round.sort();
        let mut new = Vec::new();
        for client in &mut self.clients {
            let scope = Scope::default();
            new.extend(round.test(client.token, &mut client.timing, LIMIT, scope));
        }
        self.incidents.settle(&round, new)
    }

    /// Slots until something is told, at most `max`.
    fn until_told(
        &mut self,
        max: u64,
        late_ms: impl Fn(usize) -> f64,
    ) -> Option<(u64, Vec<Incident>)> {
        (1..=max).find_map(|slots| {
            let told = self.slot(&late_ms);
            (!told.is_empty()).then_some((slots, told))
        })
    }
}

#[test]
fn a_source_that_comes_to_be_late_is_one_incident() {
    for (clients, late_ms) in [(6, 100.0), (6, 300.0), (1, 100.0), (1, 300.0)] {
        let mut fleet = Fleet::new(1, clients);
        assert_eq!(fleet.until_told(2_000, |_| 0.0), None);
        let late = |place| if place == 0 { late_ms } else { 0.0 };
        let (slots, told) = fleet.until_told(60, late).expect("an incident");
        assert!(slots <= 30, "{clients} clients, {late_ms} ms: told after {slots} slots");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].source == 1 && !told[0].is_network_event);
        assert!((told[0].late_ms - late_ms as f32).abs() < 30.0, "{told:?}");
        assert_eq!(fleet.until_told(100, late), None, "no second one of the same cause");
    }
}

/// Sources that wait for blocks see each of them 60 to 250 ms after it came: no slot of one that is
/// 100 ms late is out of the ordinary by itself.
#[test]
fn a_shift_within_what_slots_differ_by_is_noticed() {
    let mut fleet = Fleet::new(6, 10);
    let mut draws = Random(7);
    let mut slots = |slots: u64, late_ms: f64| {
        (1..=slots).find(|_| {
            let seen: Vec<f64> = (0..10).map(|_| 60.0 + 190.0 * draws.unit()).collect();
            let late = |place| if place == 0 { late_ms } else { 0.0 };
            !fleet.slot(|place| seen[place] + late(place) - 2_000.0).is_empty()
        })
    };
    assert_eq!(slots(3_000, 0.0), None);
    let found = slots(60, 100.0).expect("an incident");
    assert!(found <= 30, "told after {found} slots");
}

/// What was late for hours has put these hours into its own null, and is noticed again.
#[test]
fn a_shift_is_noticed_again_after_a_larger_one() {
    let mut fleet = Fleet::new(8, 6);
    let late = |late_ms: f64| move |place| if place == 0 { late_ms } else { 0.0 };
    assert_eq!(fleet.until_told(6_000, late(0.0)), None);
    assert!(fleet.until_told(30, late(300.0)).is_some());
    assert_eq!(fleet.until_told(1_800, late(300.0)), None, "six hours of it are one incident");
    assert_eq!(fleet.until_told(600, late(0.0)), None, "its usual place is none");
    let (slots, _) = fleet.until_told(60, late(100.0)).expect("an incident");
    assert!(slots <= 30, "told after {slots} slots");
}

#[test]
fn most_sources_at_once_are_the_network() {
    // Three clients: each is compared with the deadline, for a class of three has no median.
    let mut fleet = Fleet::new(2, 3);
    assert_eq!(fleet.until_told(2_000, |_| 0.0), None);
    let (_, told) = fleet.until_told(60, |_| 200.0).expect("an incident");
    assert!(told.len() >= 2 && told.iter().all(|incident| incident.is_network_event), "{told:?}");
}

#[test]
fn a_class_that_is_late_together_says_nothing() {
    let mut fleet = Fleet::new(3, 8);
    assert_eq!(fleet.until_told(2_000, |_| 0.0), None);
    assert_eq!(fleet.until_told(100, |_| 400.0), None);
}

#[test]
fn early_blocks_and_waits_for_the_deadline_are_compared_with_their_like() {
    // In every third slot the block comes early, and one client is slower to see it than the rest.
    let mut fleet = Fleet::new(4, 6);
    for slot in 0..3_000u64 {
        let early = slot.is_multiple_of(3);
        let told = fleet.slot(|place| match (early, place) {
            (true, 0) => -1_500.0,
            (true, _) => -2_000.0,
            (false, _) => 0.0,
        });
        assert!(told.is_empty(), "slot {slot}: {told:?}");
    }
}

#[test]
fn a_source_that_left_does_not_count_among_its_class() {
    let mut fleet = Fleet::new(5, 3);
    assert_eq!(fleet.until_told(2_000, |_| 0.0), None);
    let mut left = fleet.clients.split_off(1);
    fleet.slot += 100;
    let mut round = Round::ended_before(fleet.slot);
    for client in &mut left {
        round.note(&mut client.timing);
    }
    round.sort();
    assert_eq!(round.active(Class::Timer), 0);
    let nobody = &mut SourceTiming::default();
    assert_eq!(round.test(9, nobody, LIMIT, Scope::default()), None);
}
