use super::*;

const OWNER: ClientIndex = ClientIndex(0);
const OTHER: ClientIndex = ClientIndex(1);
const GROUP: GroupIndex = GroupIndex(2);

fn at(slot: u64) -> Moment {
    Moment { unix_ms: slot * 12_000, slot, epoch: slot / 32, into_slot_ms: 0 }
}

fn breaker() -> Breaker {
    Breaker::new(Thresholds { keys: 5, window_slots: 32 })
}

fn asks(breaker: &mut Breaker, offender: ClientIndex, keys: std::ops::Range<u32>, slot: u64) {
    for key in keys {
        breaker.note(Evidence { at: at(slot), offender, owner: OWNER, group: GROUP, key });
    }
}

/// The owner asks for something in every slot.
fn alive(now: u64) -> impl Fn(ClientIndex, GroupIndex, u64) -> bool {
    move |client, _, since_ms| client == OWNER && now * 12_000 > since_ms
}

#[test]
fn many_keys_of_a_live_owner_trip_it_once() {
    let mut breaker = breaker();
    asks(&mut breaker, OTHER, 0..5, 100);
    assert_eq!(breaker.tripped(at(100), alive(100)), [], "the owner has not shown itself since");
    let trips = breaker.tripped(at(101), alive(101));
    assert_eq!(trips, [Trip { offender: OTHER, owner: OWNER, group: GROUP, keys: 5 }]);
    assert_eq!(breaker.tripped(at(101), alive(101)), []);
    assert!(breaker.is_idle());
}

#[test]
fn repeats_of_one_key_are_one_key() {
    let mut breaker = breaker();
    for _ in 0..1_000 {
        asks(&mut breaker, OTHER, 0..4, 100);
    }
    assert_eq!(breaker.tripped(at(101), alive(101)), []);
    asks(&mut breaker, OTHER, 4..5, 101);
    assert_eq!(breaker.tripped(at(102), alive(102)).len(), 1);
}

#[test]
fn keys_outside_the_window_do_not_add_up() {
    let mut breaker = breaker();
    for key in 0..50 {
        let slot = 100 + u64::from(key) * 9; // four keys a window
        asks(&mut breaker, OTHER, key..key + 1, slot);
        assert_eq!(breaker.tripped(at(slot + 1), alive(slot + 1)), []);
    }
    assert_eq!(breaker.tripped(at(1_000), alive(1_000)), []);
    assert!(breaker.is_idle(), "what is over is forgotten");
}

#[test]
fn a_client_that_has_the_leases_never_trips_it() {
    let mut breaker = breaker();
    asks(&mut breaker, OWNER, 0..1_000, 100);
    assert!(breaker.is_idle());
}

#[test]
fn a_standby_of_a_dead_client_does_not_trip_it() {
    let mut breaker = breaker();
    for slot in 100..140 {
        asks(&mut breaker, OTHER, 0..500, slot);
        assert_eq!(breaker.tripped(at(slot), |_, _, since| since < 99 * 12_000), []);
    }
}

#[test]
fn each_client_and_each_group_counts_apart() {
    let mut breaker = breaker();
    asks(&mut breaker, OTHER, 0..4, 100);
    asks(&mut breaker, ClientIndex(2), 4..8, 100);
    for key in 8..12 {
        let group = GroupIndex(3);
        breaker.note(Evidence { at: at(100), offender: OTHER, owner: OWNER, group, key });
    }
    assert_eq!(breaker.tripped(at(101), alive(101)), []);
}

#[test]
fn none_is_never() {
    let mut breaker = Breaker::new(Thresholds { keys: 0, window_slots: 32 });
    asks(&mut breaker, OTHER, 0..100, 100);
    assert!(breaker.is_idle());
}
