#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use policy::{
    ClientIndex, GroupIndex, GroupPolicy, Header as BlockHeader, Message, Mode, Moment,
    Observation, Outcome, Permission, Policy, Rule, ShareSet, Source,
};
use prometheus::IntCounter;
use proptest::prelude::*;

use super::read::name;
use super::replay::{Report, SharedPlaces, replay};
use super::segment::SegmentFile;
use super::*;

struct Fixed;

impl Names for Fixed {
    fn client(&self, place: u16) -> Option<String> {
        Some(format!("vc-{place}"))
    }

    fn key(&self, place: u32) -> Option<[u8; 48]> {
        Some([u8::try_from(place).unwrap(); 48])
    }
}

fn header() -> Header {
    Header {
        network: "test".to_owned(),
        begun_unix_ms: 1,
        slot_ms: 12_000,
        slots_per_epoch: 32,
        epochs_per_sync_period: 256,
        sync_committee_size: 512,
        groups: vec!["default".to_owned(), "a".to_owned()],
        rules: Rule::ALL.map(|rule| rule.as_str().to_owned()).to_vec(),
    }
}

fn observation(slot: u64, key: u32, client: u16, message: Message) -> Observation {
    Observation {
        key,
        group: GroupIndex(1),
        at: Moment { unix_ms: slot * 12_000 + 4_001, slot, epoch: slot / 32, into_slot_ms: 4_001 },
        source: Source {
            client: ClientIndex(client),
            certificate: u64::MAX,
            dialect: 7 + u64::from(client),
            prefix: 1 << 63,
        },
        message,
        root: slot << 32 | u64::from(key),
        is_repeat: slot.is_multiple_of(2),
        due_ms: 4_000,
    }
}

fn attestation(slot: u64) -> Message {
    let epoch = slot / 32;
    let (source_epoch, target_epoch) = (epoch.saturating_sub(1), epoch);
    Message::Attestation { slot, source_epoch, target_epoch, index: 0, head: slot * 31 }
}

fn judged(seen: Observation) -> Event {
    let said = Said::Allowed;
    Event::Judged(JudgedEvent { seen, after_hold: false, is_safe: true, said, rule: None })
}

/// What happens to a request that is signed.
fn signed(seen: Observation) -> [Event; 3] {
    let (key, root) = (seen.key, seen.root);
    let outcome = Outcome { shares: None, chosen_by_gate: false };
    [judged(seen), Event::Admitted { key, root }, Event::Released { key, root, outcome }]
}

fn every_kind() -> Vec<Event> {
    let block = BlockHeader { zero_state_root: true, has_broken_proof: true, ..Default::default() };
    let proven = BlockHeader { fee_recipient: Some([9; 20]), ..Default::default() };
    let messages = [
        attestation(3_205),
        Message::Block { slot: u64::MAX, header: block },
        Message::Block { slot: 0, header: proven },
        Message::RandaoReveal { epoch: 0 },
        Message::SelectionProof { slot: 3_300 },
        Message::AggregateAndProof { slot: 3_205 },
        Message::SyncMessage { slot: 3_204 },
        Message::SyncSelectionProof { slot: 3_205 },
        Message::SyncContribution { slot: 3_205 },
        Message::Registration { fee_recipient: [1; 20], gas_limit: u64::MAX, timestamp_s: 5 },
        Message::VoluntaryExit { epoch: 100 },
        Message::Deposit { withdrawal_credentials: [2; 32], amount_gwei: 32_000_000_000 },
    ];
    let mut events = Vec::new();
    for (place, message) in messages.into_iter().enumerate() {
        let place = u64::try_from(place).unwrap();
        let key = u32::try_from(place % 3).unwrap();
        events.extend(signed(observation(3_205 - place % 4, key, (key % 2) as u16, message)));
    }
    let seen = observation(9, 200, 3, attestation(9));
    events.push(Event::Judged(JudgedEvent {
        seen,
        after_hold: true,
        is_safe: false,
        said: Said::Refused,
        rule: Some(Rule::FleetRates),
    }));
    events.push(Event::Judged(JudgedEvent {
        seen: Observation { at: Moment::default(), ..seen },
        after_hold: false,
        is_safe: true,
        said: Said::Held,
        rule: None,
    }));
    let outcome = Outcome { shares: Some(ShareSet(0b1011)), chosen_by_gate: true };
    events.push(Event::Released { key: u32::MAX, root: u64::MAX, outcome });
    events
}

fn write(directory: &Path, segment_bytes: u64, segments_max: u64, events: &[Event]) -> IntCounter {
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    let settings =
        RecorderSettings { directory: directory.to_owned(), segment_bytes, segments_max };
    let recorder = Recorder::start(settings, &header(), Fixed, dropped.clone()).unwrap();
    for some in events.chunks(512) {
        some.iter().for_each(|event| recorder.record(*event));
        recorder.flush();
    }
    dropped
}

fn read(files: &[PathBuf]) -> (Vec<Item>, Vec<Missing>) {
    let (mut items, mut missing) = (Vec::new(), Vec::new());
    for file in files {
        let mut segment = Segment::open(file).unwrap();
        assert_eq!(segment.header(), &header());
        loop {
            let some = segment.next_block().unwrap();
            if some.is_empty() {
                break;
            }
            items.extend(some);
        }
        missing.extend(segment.missing().cloned());
    }
    (items, missing)
}

fn events_of(items: &[Item]) -> Vec<Event> {
    let of = |item: &Item| match item {
        Item::Event(event) => Some(*event),
        Item::Client { .. } | Item::Key { .. } | Item::Lost(_) => None,
    };
    items.iter().filter_map(of).collect()
}

#[test]
fn every_kind_of_event_comes_back_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let events = every_kind();
    let dropped = write(home.path(), 1 << 20, 4, &events);
    let files = segments(home.path()).unwrap();
    assert_eq!(files.len(), 1);
    let (items, missing) = read(&files);
    assert_eq!(events_of(&items), events);
    assert_eq!((missing, dropped.get()), (vec![], 0));
    let named = |wanted: &Item| items.iter().filter(|item| *item == wanted).count();
    assert_eq!(named(&Item::Client { place: 3, name: "vc-3".to_owned() }), 1);
    assert_eq!(named(&Item::Key { place: 2, public_key: [2; 48] }), 1);
    let bytes = fs::metadata(&files[0]).unwrap().len();
    let judged = events.iter().filter(|event| matches!(event, Event::Judged(_))).count() as u64;
    assert!(bytes < 2_500 + 100 * judged, "{bytes} bytes for {judged} requests");
}

/// Each file is read without the others, and the oldest go.
#[test]
fn files_are_closed_at_their_size_and_the_oldest_go() {
    let home = tempfile::tempdir().unwrap();
    let events: Vec<Event> = (0..4_096)
        .flat_map(|number| signed(observation(number, (number % 7) as u32, 1, attestation(number))))
        .collect();
    write(home.path(), 64 << 10, 3, &events);
    let files = segments(home.path()).unwrap();
    assert_eq!(files.len(), 3);
    let (items, missing) = read(&files);
    assert!(missing.is_empty());
    let kept = events_of(&items);
    assert!(!kept.is_empty() && kept.len() < events.len());
    assert_eq!(kept, events[events.len() - kept.len()..], "the last ones are kept, whole");
    let (of_last, _) = read(&files[2..]);
    assert!(of_last.iter().any(|item| matches!(item, Item::Key { .. })));
}

/// A process that is killed leaves a block cut, anywhere: what stands before it is read.
#[test]
fn a_cut_tail_costs_the_block_that_is_cut() {
    let home = tempfile::tempdir().unwrap();
    let events: Vec<Event> = (0..2_048)
        .flat_map(|n| signed(observation(n, (n % 7) as u32, 1, attestation(n))))
        .collect();
    write(home.path(), 1 << 30, 2, &events);
    let file = segments(home.path()).unwrap().remove(0);
    let whole = fs::read(&file).unwrap();
    assert!(whole.len() / 2_048 <= 64, "{} bytes a request", whole.len() / 2_048);
    let cut = home.path().join(name(1, 1, 1));
    let mut last = usize::MAX;
    for length in (1_000..whole.len()).rev().step_by(997) {
        fs::write(&cut, &whole[..length]).unwrap();
        let (items, missing) = read(std::slice::from_ref(&cut));
        let found = events_of(&items);
        assert_eq!(found, events[..found.len()]);
        assert!(found.len() <= last);
        last = found.len();
        let is_tail = matches!(missing[..], [] | [Missing::Tail { .. }]);
        assert!(is_tail, "{missing:?}");
    }
    assert!(last < events.len());
    let mut damaged = whole;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&cut, &damaged).unwrap();
    let (items, missing) = read(std::slice::from_ref(&cut));
    let found = events_of(&items);
    assert!(found.len() < events.len());
    assert_eq!(found, events[..found.len()]);
    assert!(matches!(missing[..], [Missing::Damaged { .. }]), "{missing:?}");
    fs::write(&cut, b"PCLREC\0\x02 of the future").unwrap();
    assert!(matches!(Segment::open(&cut), Err(ReadError::NotARecording { .. })));
}

proptest! {
    /// Whatever stands in a block whose checksum holds: it is read, or said to be damaged.
    #[test]
    fn no_bytes_break_the_reader(content in proptest::collection::vec(any::<u8>(), 0..512)) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(name(1, 1, 1));
        let mut file = SegmentFile::create(&path, &serde_json::to_vec(&header()).unwrap()).unwrap();
        file.append(&content).unwrap();
        let draft = denying(None);
        let report = replay(draft, &SharedPlaces::default(), &[path], |_| {}).unwrap();
        prop_assert!(report.requests <= content.len() as u64);
    }
}

fn denying(client: Option<ClientIndex>) -> Policy {
    let duties = u16::MAX;
    let permissions = vec![
        Permission { client: None, duties, allow: true },
        Permission { client, duties, allow: false },
    ];
    let mut group = GroupPolicy { name: "a".to_owned(), permissions, ..GroupPolicy::default() };
    // This is about one rule: the others have tests of their own.
    group.modes = Rule::ALL.map(|_| Mode::Off);
    group.modes[Rule::ClientPermission as usize] = Mode::Enforce;
    Policy { groups: vec![GroupPolicy::default(), group], ..Policy::default() }
}

fn replayed(events: &[Event], draft: impl Fn(&SharedPlaces) -> Policy) -> (Report, Vec<u64>) {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), 1 << 30, 2, events);
    let places = SharedPlaces::default();
    let draft = draft(&places);
    let files = segments(home.path()).unwrap();
    let mut roots = Vec::new();
    let report = replay(draft, &places, &files, |request| roots.push(request.seen.root)).unwrap();
    (report, roots)
}

/// The draft knows another order of clients than the gate did: names tell who is who.
#[test]
fn a_draft_refuses_the_client_that_it_names_and_no_other() {
    let of = |slot: u64, client| observation(slot, u32::from(client), client, attestation(slot));
    let events: Vec<Event> =
        (0..320).flat_map(|slot| [signed(of(slot, 1)), signed(of(slot, 2))].concat()).collect();
    let (report, roots) = replayed(&events, |places| denying(Some(places.client("vc-2"))));
    let expected: Vec<u64> = (0..320).map(|slot| slot << 32 | 2).collect();
    assert_eq!(roots, expected);
    assert_eq!((report.requests, report.refused), (640, 320));
    assert_eq!((report.last_epoch_requests, report.last_epoch_refused), (64, 32));
    assert!(report.refuses_too_much());
    let refusals = &report.by_rule[&(Rule::ClientPermission, "a".to_owned())];
    assert_eq!((refusals.count, refusals.were_signed), (320, 320));
    assert_eq!(refusals.examples[0].public_key, [2; 48]);
    assert_eq!((refusals.examples.len(), refusals.examples[0].client.as_str()), (3, "vc-2"));
    let (report, roots) = replayed(&events, |places| denying(Some(places.client("vc-9"))));
    assert_eq!((report.refused, roots.len()), (0, 0));
    assert!(!report.refuses_too_much());
}

/// What the draft refused long ago does not stand in the way of publishing it now.
#[test]
fn the_last_epoch_decides() {
    let of = |slot: u64, client| signed(observation(slot, 1, client, attestation(slot)));
    let once = |slot: u64| {
        let events = (0..320).flat_map(|n| of(n, if n == slot { 2 } else { 1 }));
        replayed(&events.collect::<Vec<_>>(), |places| denying(Some(places.client("vc-2")))).0
    };
    assert!(!once(287).refuses_too_much(), "a slot before the last epoch");
    let last = once(288);
    assert_eq!((last.last_epoch_refused, last.last_epoch_requests), (1, 32));
    assert!(last.refuses_too_much());
}

#[test]
fn what_step_5_had_refused_is_counted_apart() {
    let seen = observation(5, 1, 2, attestation(5));
    let slashable = Event::Judged(JudgedEvent {
        seen,
        after_hold: false,
        is_safe: false,
        said: Said::Refused,
        rule: None,
    });
    let (report, _) = replayed(&[slashable], |places| denying(Some(places.client("vc-2"))));
    assert_eq!((report.requests, report.not_safe, report.refused), (1, 1, 0));
    let refused = Event::Judged(JudgedEvent {
        seen,
        after_hold: false,
        is_safe: true,
        said: Said::Refused,
        rule: Some(Rule::ClientPermission),
    });
    let (report, _) = replayed(&[refused], |places| denying(Some(places.client("vc-1"))));
    assert_eq!((report.refused, report.allowed_instead), (0, 1));
}
