#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn defaults_do_not_contradict_each_other() {
    assert_eq!(Limits::default().check(), []);
}

#[test]
fn classes_are_indexed_by_their_place_in_the_order() {
    for (index, class) in DutyClass::ALL.into_iter().enumerate() {
        assert_eq!(class as usize, index);
    }
}

#[test]
fn each_class_leaves_room_for_the_ones_above_it() {
    let limits = Limits::default();
    for pair in DutyClass::ALL.windows(2) {
        assert!(limits.in_flight_ceiling(pair[0]) > limits.in_flight_ceiling(pair[1]), "{pair:?}");
    }
}

/// The recorder keeps an eighth of its places for blocks. What is left used to be less than the
/// attestations that are admitted, and on a slow disk the last thousand of a slot were refused.
#[test]
fn every_attestation_that_is_admitted_finds_a_place_at_the_recorder() {
    let limits = Limits::default();
    let places = limits.recorder_queue_max - limits.recorder_queue_max / 8;
    assert!(places >= limits.in_flight_ceiling(DutyClass::Attestation), "{places}");
    assert!(limits.recorder_queue_max >= limits.in_flight_ceiling(DutyClass::Proposal));
}

#[test]
fn a_zero_and_an_inversion_are_both_reported() {
    let limits =
        Limits { header_bytes_max: 0, registration_in_flight_ceiling: 8_193, ..Limits::default() };
    let errors = limits.check();
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0], LimitsError::Zero { field: "header_bytes_max" });
    assert_eq!(
        errors[1].to_string(),
        "8193 is more than limits.selection_proof_in_flight_ceiling (8192), and may not be"
    );
}

/// A request leaves only under a lease that covers its whole budget: one of ten seconds was never
/// covered, and nothing was signed at all.
#[test]
fn a_budget_is_shorter_than_what_is_always_left_of_a_lease() {
    let longest = Limits { request_budget_ms: 7_000, ..Limits::default() };
    assert_eq!(longest.check(), []);
    let longer = Limits { request_budget_ms: 7_001, ..Limits::default() };
    let errors = longer.check();
    assert_eq!(errors.iter().map(LimitsError::field).collect::<Vec<_>>(), ["request_budget_ms"]);
    let reason = errors[0].to_string();
    assert!(reason.starts_with("7001 is more than 7000, "), "{reason}");
}

#[test]
fn every_field_of_the_struct_is_named() {
    let table = toml::Table::try_from(Limits::default()).unwrap();
    let mut names: Vec<_> = Limits::default().named().map(|(name, _)| name).to_vec();
    assert_eq!(table.len(), names.len());
    for (name, value) in Limits::default().named() {
        assert_eq!(table[name].as_integer().unwrap(), i64::try_from(value).unwrap(), "{name}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(table.len(), names.len());
}
