#![allow(clippy::unwrap_used)]

use policy::{ClientIndex, GroupIndex, Source};

use super::*;

const HOUR_MS: u64 = 3_600_000;
const NOW_MS: u64 = 1_800_000_000_000;

/// Clients `one` and `two`, key groups `default` and `home`.
struct Installation;

impl Names for Installation {
    fn client(&self, name: &str) -> Option<ClientIndex> {
        ["one", "two"].iter().position(|known| *known == name).map(|at| ClientIndex(at as u16))
    }

    fn group(&self, name: &str) -> Option<GroupIndex> {
        ["default", "home"].iter().position(|known| *known == name).map(|at| GroupIndex(at as u16))
    }
}

fn hex(key: u8) -> String {
    crate::eth::PublicKey([key; 48]).to_string()
}

fn order(scope: Scope) -> Order {
    Order {
        scope,
        reason: "seen twice".to_owned(),
        actor: Actor::Person("alice".to_owned()),
        at_ms: NOW_MS,
        expires_at_ms: Some(NOW_MS + HOUR_MS),
        contest_with: None,
        by_strikes: false,
    }
}

fn imposed(quarantines: &Quarantines, scope: Scope) -> QuarantineId {
    quarantines.impose(vec![order(scope)], &Installation).pop().unwrap().unwrap()
}

fn source(client: u16) -> Source {
    Source { client: ClientIndex(client), certificate: 7, dialect: 8, prefix: 9 }
}

/// A request for key 1 of group `home`, which client `one` has the lease of.
fn asks(client: u16) -> (u8, u16, u16, bool) {
    (1, 1, client, false)
}

fn refuses(quarantines: &Quarantines, (key, group, client, is_exit): (u8, u16, u16, bool)) -> bool {
    let asked = Asked {
        public_key: &[key; 48],
        group: GroupIndex(group),
        owner: Some(ClientIndex(0)),
        source: source(client),
        is_exit,
    };
    quarantines.find(&asked).is_some()
}

fn clients(name: &str) -> String {
    name.to_owned()
}

fn step(quarantines: &Quarantines, id: QuarantineId, what: What) -> Arc<Quarantine> {
    let by = (Actor::Gate("expiry".to_owned()), "time".to_owned());
    quarantines.step(id, what, by, NOW_MS + HOUR_MS, &Installation).unwrap()
}

#[test]
fn each_scope_refuses_what_it_names_and_nothing_else() {
    let (one, two) = (0, 1);
    let exit = |key, group, client| (key, group, client, true);
    let pair = |source| Scope::Pair { client: clients("two"), source, public_key: hex(1) };
    let token = source(1).token();
    // (scope, what it refuses, what it lets pass)
    let cases = [
        (pair(None), vec![asks(two)], vec![asks(one), (2, 1, two, false)]),
        (pair(Some(token)), vec![asks(two)], vec![asks(one)]),
        (pair(Some(token ^ 1)), vec![], vec![asks(one), asks(two)]),
        (
            Scope::Key { public_key: hex(1) },
            vec![asks(one), asks(two), exit(1, 1, one)],
            vec![(2, 1, one, false)],
        ),
        (
            Scope::KeyExits { public_key: hex(1) },
            vec![exit(1, 1, one), exit(1, 1, two)],
            vec![asks(one), exit(2, 1, one)],
        ),
        (
            Scope::CohortExits { group: clients("home") },
            vec![exit(1, 1, one), exit(2, 1, two)],
            vec![asks(one), exit(3, 0, one)],
        ),
        (
            Scope::Client { client: clients("two") },
            vec![asks(two), (9, 0, two, false)],
            vec![asks(one)],
        ),
        (
            Scope::Cohort { group: clients("home") },
            vec![asks(one), asks(two)],
            vec![(3, 0, one, false)],
        ),
        (
            Scope::Source { client: clients("two"), group: clients("home") },
            vec![asks(two), (2, 1, two, false)],
            vec![asks(one), (3, 0, two, false)],
        ),
        // Fenced off from the keys of others: client one has the lease of these.
        (
            Scope::Source { client: clients("one"), group: clients("home") },
            vec![],
            vec![asks(one), asks(two)],
        ),
    ];
    for (scope, refused, passed) in cases {
        let quarantines = Quarantines::default();
        assert!(!refuses(&quarantines, asks(one)) && quarantines.is_empty());
        let id = imposed(&quarantines, scope.clone());
        for asked in &refused {
            assert!(refuses(&quarantines, *asked), "{scope}: {asked:?}");
        }
        for asked in &passed {
            assert!(!refuses(&quarantines, *asked), "{scope}: {asked:?}");
        }
        let by = (Actor::Person("bob".to_owned()), "a drill".to_owned());
        quarantines.release(id, by, NOW_MS + 1, &Installation).unwrap();
        assert!(quarantines.is_empty());
        for asked in refused {
            assert!(!refuses(&quarantines, asked), "{scope} is released: {asked:?}");
        }
    }
}

#[test]
fn what_is_not_there_cannot_be_put_in_quarantine() {
    let quarantines = Quarantines::default();
    for scope in [
        Scope::Client { client: clients("three") },
        Scope::Cohort { group: clients("away") },
        Scope::Key { public_key: "0x12".to_owned() },
    ] {
        let result = quarantines.impose(vec![order(scope)], &Installation).pop().unwrap();
        assert!(matches!(result, Err(QuarantineError::Scope(_))), "{result:?}");
    }
    let scope = Scope::Client { client: clients("two") };
    let id = imposed(&quarantines, scope.clone());
    let again = quarantines.impose(vec![order(scope)], &Installation).pop().unwrap();
    assert!(matches!(again, Err(QuarantineError::Already(already)) if already == id));
    let by = || (Actor::Local, String::new());
    quarantines.release(id, by(), NOW_MS, &Installation).unwrap();
    let twice = quarantines.release(id, by(), NOW_MS, &Installation);
    assert!(matches!(twice, Err(QuarantineError::Over(_))));
    let nobody = quarantines.release(QuarantineId(99), by(), NOW_MS, &Installation);
    assert!(matches!(nobody, Err(QuarantineError::Unknown(_))));
}

#[test]
fn a_half_open_one_lets_a_few_through_and_ends_when_they_are_clean() {
    let quarantines = Quarantines::default();
    let id = imposed(&quarantines, Scope::Client { client: clients("two") });
    assert_eq!(step(&quarantines, id, What::HalfOpened).state, State::HalfOpen);
    assert_eq!(quarantines.probed(id, 100), Probed::Waits, "nobody has asked");
    let passed = (0..1_000).filter(|_| !refuses(&quarantines, asks(1))).count();
    assert_eq!(passed, PROBES as usize);
    assert_eq!(quarantines.probed(id, 101), Probed::Waits, "they may still be refused");
    assert_eq!(quarantines.probed(id, 102), Probed::Clean);
    assert_eq!(step(&quarantines, id, What::Expired).state, State::Expired);
    assert!(!refuses(&quarantines, asks(1)));
}

#[test]
fn a_half_open_one_closes_for_as_long_as_before_and_opens_anew() {
    let quarantines = Quarantines::default();
    let id = imposed(&quarantines, Scope::Cohort { group: clients("home") });
    step(&quarantines, id, What::HalfOpened);
    assert!(!refuses(&quarantines, asks(0)));
    let closed = step(&quarantines, id, What::Closed);
    assert_eq!(closed.expires_at_ms, Some(NOW_MS + 2 * HOUR_MS));
    assert!(refuses(&quarantines, asks(0)));
    step(&quarantines, id, What::HalfOpened);
    let passed = (0..100).filter(|_| !refuses(&quarantines, asks(0))).count();
    assert_eq!(passed, PROBES as usize, "as many as the first time");
}

#[test]
fn a_half_open_one_that_nobody_asks_about_ends() {
    let quarantines = Quarantines::default();
    let id = imposed(&quarantines, Scope::Client { client: clients("two") });
    step(&quarantines, id, What::HalfOpened);
    assert_eq!(quarantines.probed(id, 100), Probed::Waits);
    assert_eq!(quarantines.probed(id, 100 + QUIET_SLOTS), Probed::Waits);
    assert_eq!(quarantines.probed(id, 101 + QUIET_SLOTS), Probed::Quiet);
}

#[test]
fn what_was_saved_holds_after_a_restart_and_what_was_released_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let table = ResponseTable::open(directory.path()).unwrap();
    let quarantines = Quarantines::default();
    let kept = imposed(&quarantines, Scope::Client { client: clients("two") });
    let over = imposed(&quarantines, Scope::Key { public_key: hex(3) });
    let half_open = imposed(&quarantines, Scope::Cohort { group: clients("default") });
    step(&quarantines, half_open, What::HalfOpened);
    let mut told = Vec::new();
    quarantines.save(&table, |one, change| told.push((one.id, change.what))).unwrap();
    let imposed_each = [kept, over, half_open].map(|id| (id, What::Imposed));
    assert_eq!(told[..3], imposed_each);
    assert_eq!(told[3..], [(half_open, What::HalfOpened)]);
    let by = (Actor::Person("bob".to_owned()), "a mistake".to_owned());
    quarantines.release(over, by, NOW_MS + 5, &Installation).unwrap();
    quarantines.save(&table, |_, _| {}).unwrap();
    imposed(&quarantines, Scope::Client { client: clients("one") }); // never acknowledged
    table.close();

    let table = ResponseTable::open(directory.path()).unwrap();
    let again = Quarantines::default();
    again.load(&table, &Installation).unwrap();
    assert_eq!(*again.get(kept).unwrap(), *quarantines.get(kept).unwrap());
    let released = again.get(over).unwrap();
    assert_eq!(released.ended.as_ref().unwrap().by, "person:bob");
    assert!(refuses(&again, asks(1)) && !refuses(&again, (3, 1, 0, false)));
    assert_eq!(again.get(half_open).unwrap().state, State::HalfOpen);
    assert_eq!((0..99).filter(|_| !refuses(&again, (9, 0, 0, false))).count(), PROBES as usize);
    let next = imposed(&again, Scope::Key { public_key: hex(4) });
    assert_eq!(next.0, half_open.0 + 1, "no number of a kept one is used again");
}

#[test]
fn strikes_are_the_engines_and_the_path_passes_them_by() {
    let quarantines = Quarantines::default();
    let scope = Scope::Pair { client: clients("two"), source: Some(1), public_key: hex(1) };
    let of_strikes = Order { by_strikes: true, ..order(scope) };
    let id = quarantines.impose(vec![of_strikes], &Installation).pop().unwrap().unwrap();
    assert!(quarantines.is_empty() && quarantines.in_force().len() == 1);
    quarantines.prolong(id, NOW_MS + 2 * HOUR_MS);
    quarantines.prolong(id, NOW_MS);
    assert_eq!(quarantines.get(id).unwrap().expires_at_ms, Some(NOW_MS + 2 * HOUR_MS));
}

#[test]
fn the_refusal_says_why_by_whom_until_when_and_how_it_ends() {
    let quarantines = Quarantines::default();
    let id = imposed(&quarantines, Scope::Client { client: clients("two") });
    assert_eq!(
        quarantines.get(id).unwrap().to_string(),
        "client two, in quarantine since 2027-01-15T08:00:00Z by person:alice, until \
         2027-01-15T09:00:00Z: seen twice; `portcullis admin quarantines release q-1` ends it"
    );
    assert_eq!("q-17".parse::<QuarantineId>().unwrap(), QuarantineId(17));
    assert!("q-x".parse::<QuarantineId>().is_err());
}

#[test]
fn the_oldest_that_are_over_are_forgotten() {
    let quarantines = Quarantines::default();
    let table = ResponseTable::default();
    for key in 0..ENDED_KEPT_MAX + 10 {
        let mut bytes = [7; 48];
        bytes[..8].copy_from_slice(&(key as u64).to_be_bytes());
        let public_key = crate::eth::PublicKey(bytes).to_string();
        let id = imposed(&quarantines, Scope::Key { public_key });
        step(&quarantines, id, What::Expired);
    }
    quarantines.save(&table, |_, _| {}).unwrap();
    let scope = Scope::Client { client: clients("two") };
    imposed(&quarantines, scope);
    quarantines.save(&table, |_, _| {}).unwrap();
    assert_eq!(quarantines.list().len(), ENDED_KEPT_MAX + 1);
    assert!(quarantines.get(QuarantineId(1)).is_err());
}
