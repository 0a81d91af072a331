#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use slashing_db::{
    AttestationRecord, BlockRecord, BootTime, Counted, CountedKind, LeaseLapsed, Message, NotSafe,
    Record, RecordError, SignedAttestation, SignedBlock,
};

use super::*;
use crate::bls::batch::Flaw;
use crate::eth::{DutyKind, Epoch, Root, Signature, SigningRoot, Slot, Version};
use crate::limits::DutyClass;
use crate::sign::{Fault, Refusal};
use crate::upstream::UpstreamFault;
use crate::upstream::client::{Stage, UpstreamError};
use crate::upstream::verify::Defect;

const COMPAT: Compat = Compat { mismatch_500: false };

fn not_safe() -> Vec<NotSafe> {
    let signing_root = slashing_db::SigningRoot([1; 32]);
    let vote = SignedAttestation { source_epoch: 1, target_epoch: 2, signing_root };
    let voted = AttestationRecord { source_epoch: 1, target_epoch: 2, signing_root, sequence: 0 };
    let block = SignedBlock { slot: 1, signing_root };
    let proposed = BlockRecord { slot: 1, signing_root, sequence: 0 };
    let exit = Counted { kind: CountedKind::VoluntaryExit, signing_root };
    vec![
        NotSafe::DoubleVote { attempted: vote, recorded: voted },
        NotSafe::SurroundOrStaleSource { attempted: vote, recorded: voted },
        NotSafe::StaleTarget { attempted: vote, recorded: voted },
        NotSafe::SourceExceedsTarget { attempted: vote },
        NotSafe::DoubleBlockProposal { attempted: block, recorded: proposed },
        NotSafe::StaleSlot { attempted: block, recorded: proposed },
        NotSafe::TargetTooFar { attempted: vote, target_epoch_max: 1 },
        NotSafe::TargetTooOld { attempted: vote, target_epoch_min: 3 },
        NotSafe::SlotTooFar { attempted: block, slot_max: 0 },
        NotSafe::NotReserved { attempted: Message::Attestation(vote) },
        NotSafe::CountExceeded { attempted: exit, count: 1, counted_max: 1 },
        NotSafe::KeyDisabled { public_key: slashing_db::PublicKey([1; 48]) },
        NotSafe::DomainNotPermitted { domain_type: [0; 4] },
        NotSafe::Superseded { recorded: Record::Attestation(voted) },
    ]
}

fn rejections() -> Vec<(u16, Rejection)> {
    let (claimed, computed) = (SigningRoot([1; 32]), SigningRoot([2; 32]));
    let (target, slot, epoch) = (Epoch(1), Slot(64), Epoch(2));
    vec![
        (413, Rejection::Body(BodyError::TooLarge { limit: 1 })),
        (408, Rejection::Body(BodyError::Timeout)),
        (400, Rejection::Body(BodyError::Incomplete)),
        (400, Rejection::Malformed(RequestError::Empty)),
        (400, Rejection::Root(RootError::MissingForkInfo { kind: DutyKind::Attestation })),
        (400, Rejection::Root(RootError::Mismatch { claimed, computed })),
        (
            400,
            Rejection::ForeignNetwork {
                found: Root([1; 32]),
                expected: Root([2; 32]),
                network: "test".to_owned(),
            },
        ),
        (400, Rejection::ForkVersion { found: Version([1; 4]), expected: Version([2; 4]), epoch }),
        (400, Rejection::TargetNotOfSlot { target, slot, epoch }),
        (400, Rejection::FutureDuty { field: "block.slot", found: 2, max: 1 }),
        (400, Rejection::PastDuty { found: 1, min: 2 }),
        (400, Rejection::SourceExceedsTarget { source_epoch: epoch, target }),
        (
            400,
            Rejection::CommitteeIndex {
                field: "attestation.index",
                found: 1,
                since: "electra",
                allowed: "0",
            },
        ),
        (404, Rejection::BadIdentifier),
        (404, Rejection::UnknownKey),
        (404, Rejection::AwaitingEnrolment),
    ]
}

fn upstream_faults() -> Vec<UpstreamFault> {
    let timeouts = [Stage::Queue, Stage::Connect, Stage::Response, Stage::Body];
    let mut faults: Vec<UpstreamFault> = timeouts
        .map(|stage| UpstreamFault::Transport(UpstreamError::Timeout { stage }))
        .into_iter()
        .collect();
    let no_json = serde_json::from_str::<u8>("").unwrap_err();
    faults.extend([
        UpstreamFault::Transport(UpstreamError::Connect(io::ErrorKind::ConnectionRefused.into())),
        UpstreamFault::Transport(UpstreamError::BodyTooLarge { limit: 1 }),
        UpstreamFault::Transport(UpstreamError::Overloaded),
        UpstreamFault::UnknownKey,
        UpstreamFault::Refused,
        UpstreamFault::Status(503),
        UpstreamFault::NotASignature { bytes: 2 },
        UpstreamFault::NotAKeyList(no_json),
        UpstreamFault::BadSignature(Defect::Signature(Flaw::Mismatch)),
        UpstreamFault::VerifyTimeout,
        UpstreamFault::VerifyFailed,
        UpstreamFault::Abandoned,
    ]);
    faults
}

/// One of each outcome, with the status that it has.
fn every_not_signed() -> Vec<(u16, NotSigned)> {
    let exhausted =
        Refusal::GroupExhausted { kind: DutyKind::Deposit, group: "a".to_owned(), max: 1 };
    let refusals = not_safe().into_iter().map(Refusal::Slashable).chain([
        Refusal::NotPermitted { kind: DutyKind::VoluntaryExit },
        exhausted,
        Refusal::Halted,
    ]);
    let faults =
        upstream_faults().into_iter().map(|fault| Fault::Upstream(Arc::new(fault.into()))).chain([
            Fault::Store(RecordError::Poisoned),
            Fault::Store(RecordError::ShuttingDown),
            Fault::RecordTimeout,
            Fault::LeaseEnding,
            Fault::Overloaded { class: DutyClass::Registration },
            Fault::BodiesFull,
            Fault::Bug("a test"),
        ]);
    let mut all: Vec<(u16, NotSigned)> = Vec::new();
    all.extend(refusals.map(|it| (412, NotSigned::Refused(it))));
    all.extend(rejections().into_iter().map(|(status, it)| (status, NotSigned::Rejected(it))));
    all.extend(faults.map(|it| (500, NotSigned::Failed(it))));
    all
}

fn body(answer: Answer) -> serde_json::Value {
    use http_body_util::BodyExt;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = runtime.block_on(answer.into_body().collect()).unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

/// The code in the answer is the one on the metric and in the log, and the README tells of each.
#[test]
fn every_outcome_has_its_status_and_a_code_that_is_documented() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let mut undocumented = BTreeSet::new();
    for (status, not_signed) in every_not_signed() {
        let code = not_signed.code();
        let words = not_signed.to_string();
        let answer = signing(&Err(not_signed), Format::Text, COMPAT);
        assert_eq!(answer.status().as_u16(), status, "{code}");
        assert_eq!(answer.headers()[CONTENT_TYPE], JSON, "{code}");
        let body = body(answer);
        assert_eq!((&body["code"], &body["error"]), (&code.into(), &words.into()));
        assert_eq!(body.as_object().unwrap().len(), 2, "never a field `signature`: {body}");
        let row = readme.lines().any(|line| {
            let statuses = line.split('|').nth(1).unwrap_or_default();
            statuses.contains(&status.to_string()) && line.contains(&format!("`{code}`"))
        });
        if !row && !code.starts_with("upstream_") {
            undocumented.insert((status, code));
        }
    }
    assert_eq!(undocumented, BTreeSet::new(), "the README's table has no row for these");
}

/// One code has one meaning: shared only where two layers refuse the same thing.
#[test]
fn no_two_outcomes_share_a_code_by_accident() {
    let mut codes: Vec<&str> = every_not_signed().iter().map(|(_, it)| it.code()).collect();
    codes.sort_unstable();
    let twice: BTreeSet<&str> =
        codes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert_eq!(twice, BTreeSet::from(["malformed", "overloaded", "source_exceeds_target"]));
    for code in codes {
        assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{code}");
    }
}

#[test]
fn upstream_codes_are_all_labels() {
    for fault in upstream_faults() {
        assert!(UpstreamFault::CODES.contains(&fault.code()), "{}", fault.code());
    }
}

/// The switch is for clients that know Web3Signer's 500 alone; it makes a 500 of nothing else.
#[test]
fn the_switch_touches_hopeless_requests_alone() {
    let compat = Compat { mismatch_500: true };
    let changed: BTreeSet<&str> = every_not_signed()
        .into_iter()
        .filter(|(status, it)| self::status(it, compat).as_u16() != *status)
        .map(|(_, it)| it.code())
        .collect();
    assert_eq!(changed, BTreeSet::from(["signing_root_mismatch"]));
    let missing = RequestError::Missing { field: "aggregate_and_proof.aggregate" };
    let missing = NotSigned::Rejected(Rejection::Malformed(missing));
    assert_eq!(status(&missing, compat).as_u16(), 500);
    // What Web3Signer itself answers with 400 stays that.
    for field in ["type", "beacon_block.version", "beacon_block.block_header"] {
        let missing = NotSigned::from(RequestError::Missing { field });
        assert_eq!(status(&missing, compat).as_u16(), 400, "{field}");
    }
}

#[test]
fn a_signature_is_answered_in_both_formats() {
    let signed = Ok(Signed { signature: Signature([0xab; 96]) });
    let hex = format!("0x{}", "ab".repeat(96));
    let json = signing(&signed, Format::Json, COMPAT);
    assert_eq!(
        (json.status().as_u16(), &json.headers()[CONTENT_TYPE]),
        (200, &JSON.parse().unwrap())
    );
    assert_eq!(body(json), serde_json::json!({ "signature": hex }));
    let text = signing(&signed, Format::Text, COMPAT);
    assert_eq!(text.headers()[CONTENT_TYPE], TEXT);
    assert_eq!(hyper::body::Body::size_hint(text.body()).exact(), Some(194), "no newline");
}

#[test]
fn a_lapsed_lease_is_our_fault() {
    let lapsed: NotSigned = lapsed_lease().into();
    assert_eq!((status(&lapsed, COMPAT).as_u16(), lapsed.code()), (500, "lease_lapsed"));
}

fn lapsed_lease() -> LeaseLapsed {
    let rig = crate::tests::Rig::new();
    let key = rig.enrol(1);
    let permit = rig.with(&key, |it| {
        it.watermarks.permit([2, 0, 0, 0], slashing_db::SigningRoot([1; 32])).unwrap()
    });
    permit.redeem(BootTime(u64::MAX)).map(drop).unwrap_err()
}
