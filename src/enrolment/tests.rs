#![allow(clippy::unwrap_used)]

use slashing_db::{Bounds, Message, SignedAttestation, SigningRoot};

use super::*;
use crate::tests::{CHAIN, EPOCH, Rig, at, key};

fn these(numbers: &[u8]) -> Keys {
    Keys::These(numbers.iter().map(|number| key(*number).to_string()).collect())
}

fn refused(outcome: &KeyOutcome) -> &str {
    assert_eq!(outcome.done, None);
    outcome.refused.as_deref().unwrap()
}

fn floor(source_epoch: Option<u64>) -> Declaration {
    Declaration::Floor { source_epoch }
}

const ANY_TIME: Bounds =
    Bounds { target_epoch_min: 0, target_epoch_max: u64::MAX, slot_max: u64::MAX, counted_max: 0 };

/// What the store says of a vote.
fn vote(rig: &Rig, number: u8, source_epoch: u64, target_epoch: u64) -> Result<(), &'static str> {
    let signing_root = SigningRoot([9; 32]);
    let vote = SignedAttestation { source_epoch, target_epoch, signing_root };
    rig.with(&key(number), |it| {
        let checked = it.watermarks.check(&Message::Attestation(vote), &ANY_TIME);
        checked.map(drop).map_err(|not_safe| not_safe.code())
    })
}

#[test]
fn a_key_is_enrolled_once_and_one_that_is_refused_keeps_no_other_out() {
    let rig = Rig::new();
    rig.validators.seen_at_upstream(&[key(1), key(2)]);
    let outcomes = rig.declarations().enrol(&these(&[1]), Declaration::New).unwrap();
    assert_eq!(outcomes[0].done.as_deref(), Some("enrolled as new"));
    let outcomes = rig.declarations().enrol(&these(&[1, 3]), Declaration::New).unwrap();
    assert!(refused(&outcomes[0]).contains("enrolled and enabled already"), "{outcomes:?}");
    assert_eq!(outcomes[1].refused, None);
    let outcomes = rig.declarations().enrol(&Keys::Awaiting, Declaration::New).unwrap();
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].public_key, key(2).to_string());
    let lines = rig.declarations().list();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.status == "enabled" && line.attestation.is_none()));
}

#[test]
fn where_signatures_are_verified_a_key_must_be_a_point() {
    let rig = Rig::new();
    let validated = ValidatedKeys::in_memory();
    let declarations = Declarations { validated_keys: Some(&validated), ..rig.declarations() };
    let point = bls::SecretKey::interop(0).public_key();
    let keys = vec![key(1).to_string(), PublicKey(point.to_bytes()).to_string()];
    let outcomes = declarations.enrol(&Keys::These(keys), Declaration::New).unwrap();
    assert!(refused(&outcomes[0]).contains("not a valid point"), "{outcomes:?}");
    assert_eq!(outcomes[1].refused, None);
    assert_eq!(rig.validators.public_keys(), [PublicKey(point.to_bytes())]);
    let id = rig.with(&PublicKey(point.to_bytes()), |it| it.watermarks.id());
    assert_eq!(validated.get(id), Some(point));
}

#[test]
fn nothing_is_done_for_a_list_with_something_else_than_a_key() {
    let rig = Rig::new();
    let keys = Keys::These(vec![key(1).to_string(), "0xabc".to_owned()]);
    let error = rig.declarations().enrol(&keys, Declaration::New).unwrap_err();
    assert!(matches!(error, CommandError::NotAKey(text) if text == "0xabc"));
    assert!(rig.declarations().list().is_empty());
    assert!(rig.declarations().disable(&keys).is_err());
}

#[test]
fn a_floor_lies_one_slot_ahead_of_the_clock() {
    let rig = Rig::new();
    // The last slot of the epoch: the old signer may have signed for the next one already.
    rig.hands.set(at(EPOCH * 32 + 31, 0));
    rig.declarations().enrol(&these(&[1]), floor(None)).unwrap();
    let line = &rig.declarations().list()[0];
    assert_eq!(line.attestation, Some((EPOCH, EPOCH + 1)));
    assert_eq!(line.block_slot, Some(EPOCH * 32 + 32));
    assert_eq!(vote(&rig, 1, EPOCH, EPOCH + 1), Err("double_vote"));
    assert_eq!(vote(&rig, 1, EPOCH - 1, EPOCH + 2), Err("surround_or_stale_source"));
    assert_eq!(vote(&rig, 1, EPOCH, EPOCH + 2), Ok(()));
    // Where the chain does not finalise, the source is said.
    rig.declarations().enrol(&these(&[2]), floor(Some(40))).unwrap();
    assert_eq!(rig.declarations().list()[1].attestation, Some((40, EPOCH + 1)));
}

/// A digit too many used to silence the key for ever: no record is ever lowered.
#[test]
fn the_source_of_a_floor_does_not_lie_above_its_target() {
    let rig = Rig::new();
    rig.enrol(2);
    rig.declarations().disable(&these(&[2])).unwrap();
    let before = rig.declarations().list();
    rig.hands.set(at(EPOCH * 32, 0));
    let error = rig.declarations().enrol(&these(&[1, 2]), floor(Some(EPOCH + 1))).unwrap_err();
    assert!(error.to_string().contains(&format!("epoch {EPOCH}")), "{error}");
    assert_eq!(rig.declarations().list(), before);
    rig.declarations().enrol(&these(&[1]), floor(Some(EPOCH))).unwrap();
    assert_eq!(vote(&rig, 1, EPOCH, EPOCH + 1), Ok(()));
}

#[test]
fn there_is_no_floor_by_a_clock_that_may_be_wrong() {
    let mut rig = Rig::new();
    rig.clock_health = ClockHealth::Unsynchronised;
    let error = rig.declarations().enrol(&these(&[1]), floor(None)).unwrap_err();
    assert!(matches!(error, CommandError::ClockNotSynchronised), "{error}");
    // A key that never signed needs no clock.
    assert!(rig.declarations().enrol(&these(&[2]), Declaration::New).is_ok());
    rig.clock_health = ClockHealth::Synchronised;
    rig.hands.set(at(EPOCH * 32 - 2, 0));
    let error = rig.declarations().enrol(&these(&[1]), floor(None)).unwrap_err();
    assert!(matches!(error, CommandError::ClockBehind { .. }), "{error}");
    assert_eq!(rig.declarations().list().len(), 1);
}

#[test]
fn a_disabled_key_comes_back_by_a_floor_and_not_as_new() {
    let rig = Rig::new();
    rig.enrol(1);
    let outcomes = rig.declarations().disable(&these(&[1, 2])).unwrap();
    assert_eq!(outcomes[0].done.as_deref(), Some("disabled"));
    assert_eq!(refused(&outcomes[1]), "not enrolled here");
    assert_eq!(vote(&rig, 1, EPOCH - 1, EPOCH), Err("key_disabled"));
    assert!(!rig.disk.key(&key(1)).unwrap().is_enabled, "on disk before it is said");
    let outcomes = rig.declarations().enrol(&these(&[1]), Declaration::New).unwrap();
    assert!(refused(&outcomes[0]).contains("was disabled in this store"), "{outcomes:?}");
    let outcomes = rig.declarations().enrol(&these(&[1]), floor(None)).unwrap();
    assert_eq!(outcomes[0].done.as_deref(), Some("enrolled with a floor"));
    assert_eq!(vote(&rig, 1, EPOCH, EPOCH + 1), Ok(()));
    assert_eq!(rig.declarations().list()[0].status, "enabled");
}

fn interchange(chain: [u8; 32], records: &[(u8, u64, u64)]) -> String {
    let chain = GenesisRoot(chain);
    let data: Vec<String> = records
        .iter()
        .map(|(number, source, target)| {
            format!(
                r#"{{"pubkey":"{}","signed_blocks":[],"signed_attestations":[{{"source_epoch":"{source}","target_epoch":"{target}"}}]}}"#,
                key(*number)
            )
        })
        .collect();
    format!(
        r#"{{"metadata":{{"interchange_format_version":"5","genesis_validators_root":"{chain}"}},"data":[{}]}}"#,
        data.join(",")
    )
}

use slashing_db::GenesisValidatorsRoot as GenesisRoot;

#[test]
fn an_import_raises_and_never_lowers_and_says_what_became_of_each_key() {
    let rig = Rig::new();
    rig.enrol(1);
    let file = interchange(CHAIN, &[(1, 10, 20), (2, 30, 40), (3, 50, EPOCH + 2)]);
    let outcome = rig.declarations().import(file.as_bytes()).unwrap();
    assert_eq!((outcome.entries, outcome.keys_before, outcome.keys_after), (3, 1, 2));
    let done: Vec<_> = outcome.keys.iter().map(|it| it.done.as_deref()).collect();
    assert_eq!(done, [Some("raised"), Some("raised"), None]);
    assert!(!refused(&outcome.keys[2]).is_empty(), "above the present epoch and one more");
    let lower = interchange(CHAIN, &[(1, 9, 19)]);
    let outcome = rig.declarations().import(lower.as_bytes()).unwrap();
    assert_eq!(outcome.keys[0].done.as_deref(), Some("unchanged"));
    assert_eq!(rig.declarations().list()[0].attestation, Some((10, 20)));
    // An import is a declaration too: what awaited it no longer does.
    assert!(matches!(rig.validators.standing(&key(2)), Standing::Enrolled(_)));
    // Another chain's file is no history of these keys.
    let foreign = interchange([8; 32], &[(1, 60, 70)]);
    assert!(matches!(
        rig.declarations().import(foreign.as_bytes()).unwrap_err(),
        CommandError::Import(_)
    ));
    assert_eq!(rig.declarations().list()[0].attestation, Some((10, 20)));
}

#[test]
fn only_what_is_disabled_is_exported_and_it_reads_again() {
    let rig = Rig::new();
    let file = interchange(CHAIN, &[(1, 10, 20), (2, 30, 40)]);
    rig.declarations().import(file.as_bytes()).unwrap();
    let mut out = Vec::new();
    assert!(matches!(
        rig.declarations().export(&Keys::All, &mut out).unwrap_err(),
        CommandError::Export(_)
    ));
    assert!(out.is_empty());
    rig.declarations().disable(&Keys::All).unwrap();
    assert_eq!(rig.declarations().export(&Keys::All, &mut out).unwrap(), 2);
    let other = Rig::new();
    let outcome = other.declarations().import(out.as_slice()).unwrap();
    assert_eq!(outcome.keys_after, 2);
    assert_eq!(other.declarations().list()[1].attestation, Some((30, 40)));
}
