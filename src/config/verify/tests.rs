#![allow(clippy::unwrap_used)]

use crate::config::VerifyMode::{Always, Off, Sampled};
use crate::config::tests::{MINIMAL, load, problems, with};
use crate::eth::DutyKind;

#[test]
fn everything_is_checked_but_registrations_are_sampled() {
    let verify = load(MINIMAL).unwrap().verify;
    for kind in DutyKind::ALL {
        let expected = if kind == DutyKind::ValidatorRegistration { Sampled } else { Always };
        assert_eq!(verify.mode_of(kind), expected, "{kind:?}");
    }
    assert!(verify.is_on());
}

#[test]
fn off_means_off_and_lists_stand_above_the_mode() {
    let verify = load(&with("[verify]\nmode = 'off'")).unwrap().verify;
    assert!(!verify.is_on());
    let lists = "[verify]\nmode = 'off'\nalways = ['BLOCK_V2']\nsampled = ['attestation']";
    let verify = load(&with(lists)).unwrap().verify;
    assert!(verify.is_on());
    assert_eq!(verify.mode_of(DutyKind::BlockV2), Always);
    assert_eq!(verify.mode_of(DutyKind::Attestation), Sampled);
    assert_eq!(verify.mode_of(DutyKind::ValidatorRegistration), Off);
    let always = "[verify]\nalways = ['VALIDATOR_REGISTRATION']";
    let verify = load(&with(always)).unwrap().verify;
    assert_eq!(verify.mode_of(DutyKind::ValidatorRegistration), Always);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (lines, wrong) in [
        ("mode = 'sometimes'", "verify.mode: `sometimes` is not one of always, sampled, off"),
        ("off = ['BLOCKS']", "verify.off: `BLOCKS` is not one of Web3Signer's types"),
        ("off = ['BLOCK']\nalways = ['BLOCK']", "verify.off: BLOCK is in another list too"),
        ("off = ['BLOCK']\nsampled = ['BLOCK']", "verify.off: BLOCK is in another list too"),
        ("sample_one_in = 0", "verify.sample_one_in: 0 is not between 1 and 1000000"),
        ("queue_max = 0", "verify.queue_max: 0 is not between 1 and 1000000"),
    ] {
        let found = problems(&with(&format!("[verify]\n{lines}")));
        assert!(found.iter().any(|line| line.contains(wrong)), "{wrong}: {found:?}");
    }
}
