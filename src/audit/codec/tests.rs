use proptest::prelude::*;

use super::*;
use crate::eth::DutyKind;

pub(in crate::audit) fn signed(sequence: u64) -> DecisionRecord {
    DecisionRecord {
        at_unix_ms: 1_784_000_000_000,
        request_id: "0f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned(),
        public_key: Some([0xa5; 48]),
        client: "lighthouse-1".to_owned(),
        peer: "10.0.1.7:51234".parse().expect("an address"),
        verdict: "signed",
        code: "ok".into(),
        kind: Some("ATTESTATION"),
        signing_root: Some([7; 32]),
        times: [Some(12_000_000), None, Some(374_998), Some(374_999)],
        store_sequence: Some(sequence),
        explanation: None,
    }
}

fn round(record: &Record) -> Option<Record> {
    let mut bytes = Vec::new();
    Output(&mut bytes).record(record);
    Input(&bytes).record()
}

#[test]
fn every_duty_and_verdict_has_its_number() {
    for kind in DutyKind::ALL {
        let record = DecisionRecord { kind: Some(kind.as_str()), ..signed(1) };
        assert_eq!(round(&Record::Decision(record.clone())), Some(Record::Decision(record)));
    }
    for verdict in crate::metrics::Verdict::ALL {
        assert!(VERDICTS.contains(&verdict.as_str()), "{}", verdict.as_str());
    }
}

#[test]
fn a_signed_decision_is_small() {
    let mut bytes = Vec::new();
    Output(&mut bytes).decision(&signed(123_456_789));
    assert!(bytes.len() <= 190, "{} bytes", bytes.len());
}

#[test]
fn a_long_text_is_cut_between_two_characters() {
    let explanation = Some("é".repeat(TEXT_BYTES_MAX));
    let Some(Record::Decision(read)) =
        round(&Record::Decision(DecisionRecord { explanation, ..signed(1) }))
    else {
        panic!("not read")
    };
    let explanation = read.explanation.expect("there");
    assert!(explanation.len() <= TEXT_BYTES_MAX && explanation.len() > TEXT_BYTES_MAX - 4);
}

#[test]
fn what_the_gate_and_people_do_is_read_as_it_was_written() {
    let mut bytes = Vec::new();
    let checkpoint = Record::Checkpoint(Checkpoint {
        at_unix_ms: 1,
        store_sequence: 2,
        settled: 3,
        is_last: true,
        public_key: [4; 32],
        signature: [5; 64],
    });
    super::super::segment::frame(&mut bytes, |bytes| Output(bytes).record(&checkpoint));
    assert_eq!(is_checkpoint_of(&bytes[..CHECKPOINT_BYTES], &[4; 32]), Some(true));
    assert_eq!(is_checkpoint_of(&bytes[..CHECKPOINT_BYTES], &[5; 32]), None);
    let records = [
        Record::Action(ActionRecord {
            at_unix_ms: 5,
            actor: Actor::Person("ada".to_owned()),
            action: "keys.disabled".to_owned(),
            subject: "0xab".to_owned(),
            reason: "moved".to_owned(),
            details: "{}".to_owned(),
        }),
        checkpoint,
        Record::Cut(Cut { at_unix_ms: 1, segment: Position(2), from: 3, to: 4, hash: [5; 32] }),
        Record::Gap(Gap {
            at_unix_ms: 1,
            after_close: false,
            settled: 2,
            store_sequence: 9,
            records: vec![
                GapRecord { public_key: [6; 48], kind: GapKind::Block, sequence: 7 },
                GapRecord { public_key: [8; 48], kind: GapKind::Deposit, sequence: 9 },
            ],
            more: 1,
        }),
        Record::Removed(Removed {
            at_unix_ms: 1,
            first: Position(1),
            last: Position(2),
            bytes: 3,
            hash: [4; 32],
        }),
    ];
    for record in records {
        assert_eq!(round(&record).as_ref(), Some(&record));
        assert_eq!(record.to_json(Position(3))["position"], 3);
    }
}

proptest! {
    #[test]
    fn any_decision_is_read_as_it_was_written(
        at_unix_ms: u64,
        request_id: String,
        public_key in any::<Option<[u8; 32]>>(),
        client: String,
        peer: SocketAddr,
        code: String,
        times: [Option<u64>; 4],
        store_sequence: Option<u64>,
        explanation: Option<String>,
        verdict in 0..VERDICTS.len(),
        kind in prop::option::of(0..KINDS.len()),
    ) {
        let record = DecisionRecord {
            at_unix_ms,
            request_id,
            public_key: public_key.map(|_| [3; 48]),
            client,
            peer: SocketAddr::new(peer.ip(), peer.port()),
            verdict: VERDICTS[verdict],
            code: code.into(),
            kind: kind.map(|kind| KINDS[kind]),
            signing_root: public_key,
            times,
            store_sequence,
            explanation,
        };
        let mut bytes = Vec::new();
        Output(&mut bytes).decision(&record);
        prop_assert_eq!(Input(&bytes).record(), Some(Record::Decision(record)));
    }

    #[test]
    fn whatever_the_bytes_are_nothing_panics(bytes: Vec<u8>, tag in 0_u8..8) {
        let _ = Input(&bytes).record();
        let mut tagged = vec![tag];
        tagged.extend(bytes);
        let _ = Input(&tagged).record();
    }
}
