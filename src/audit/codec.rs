//! The bytes of a record: a tag, then its fields, numbers as variable-length integers.
//!
//! A signed attestation takes some 170 bytes with its frame. What is written once is read for
//! years: the numbers of tags, verdicts and types never change their meaning.

use std::net::{IpAddr, SocketAddr};

use super::record::{
    ActionRecord, Actor, Checkpoint, Cut, DecisionRecord, Gap, GapKind, GapRecord, Position,
    Record, Removed,
};

#[cfg(test)]
pub(super) mod tests;

const DECISION: u8 = 1;
const ACTION: u8 = 2;
const CHECKPOINT: u8 = 3;
const CUT: u8 = 4;
const GAP: u8 = 5;
const REMOVED: u8 = 6;

/// Verdicts by their number.
const VERDICTS: [&str; 5] = ["signed", "refused", "rejected", "failed", "permitted"];
/// Types of duties by their number; a new one goes to the end.
const KINDS: [&str; 13] = [
    "ATTESTATION",
    "BLOCK",
    "BLOCK_V2",
    "RANDAO_REVEAL",
    "DEPOSIT",
    "VOLUNTARY_EXIT",
    "AGGREGATION_SLOT",
    "AGGREGATE_AND_PROOF",
    "AGGREGATE_AND_PROOF_V2",
    "SYNC_COMMITTEE_MESSAGE",
    "SYNC_COMMITTEE_SELECTION_PROOF",
    "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF",
    "VALIDATOR_REGISTRATION",
];
/// A text that is longer is cut: no record outgrows its frame.
pub(super) const TEXT_BYTES_MAX: usize = 64 << 10;

const HAS_KEY: u8 = 1;
const HAS_ROOT: u8 = 1 << 1;
const HAS_TIMES: [u8; 4] = [1 << 2, 1 << 3, 1 << 4, 1 << 5];
const HAS_SEQUENCE: u8 = 1 << 6;
const HAS_EXPLANATION: u8 = 1 << 7;

pub(super) struct Output<'a>(pub(super) &'a mut Vec<u8>);

impl Output<'_> {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn text(&mut self, text: &str) {
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    pub(super) fn record(&mut self, record: &Record) {
        match record {
            Record::Decision(it) => self.decision(it),
            Record::Action(it) => self.action(it),
            Record::Checkpoint(it) => self.checkpoint(it),
            Record::Cut(Cut { at_unix_ms, segment, from, to, hash }) => {
                self.byte(CUT);
                for number in [*at_unix_ms, segment.0, *from, *to] {
                    self.number(number);
                }
                self.bytes(hash);
            }
            Record::Gap(it) => self.gap(it),
            Record::Removed(Removed { at_unix_ms, first, last, bytes, hash }) => {
                self.byte(REMOVED);
                for number in [*at_unix_ms, first.0, last.0, *bytes] {
                    self.number(number);
                }
                self.bytes(hash);
            }
        }
    }

    pub(super) fn decision(&mut self, it: &DecisionRecord) {
        self.byte(DECISION);
        let mut flags = 0;
        let mut set = |flag: u8, is_there: bool| flags |= if is_there { flag } else { 0 };
        set(HAS_KEY, it.public_key.is_some());
        set(HAS_ROOT, it.signing_root.is_some());
        for (flag, time) in HAS_TIMES.into_iter().zip(it.times) {
            set(flag, time.is_some());
        }
        set(HAS_SEQUENCE, it.store_sequence.is_some());
        set(HAS_EXPLANATION, it.explanation.is_some());
        self.byte(flags);
        self.byte(place(&VERDICTS, it.verdict));
        self.byte(it.kind.map_or(0, |kind| place(&KINDS, kind) + 1));
        self.number(it.at_unix_ms);
        self.text(&it.request_id);
        self.text(&it.client);
        self.peer(it.peer);
        self.text(&it.code);
        self.bytes(it.public_key.as_ref().map_or(&[], |key| key.as_slice()));
        self.bytes(it.signing_root.as_ref().map_or(&[], |root| root.as_slice()));
        for time in it.times.into_iter().flatten() {
            self.number(time);
        }
        if let Some(sequence) = it.store_sequence {
            self.number(sequence);
        }
        if let Some(explanation) = &it.explanation {
            self.text(explanation);
        }
    }

    fn peer(&mut self, peer: SocketAddr) {
        match peer.ip() {
            IpAddr::V4(ip) => {
                self.byte(4);
                self.bytes(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.byte(6);
                self.bytes(&ip.octets());
            }
        }
        self.bytes(&peer.port().to_le_bytes());
    }

    pub(super) fn action(&mut self, it: &ActionRecord) {
        self.byte(ACTION);
        self.number(it.at_unix_ms);
        let (actor, name) = match &it.actor {
            Actor::Gate(rule) => (0, rule.as_str()),
            Actor::Person(name) => (1, name.as_str()),
            Actor::Local => (2, ""),
        };
        self.byte(actor);
        for text in [name, &it.action, &it.subject, &it.reason, &it.details] {
            self.text(text);
        }
    }

    pub(super) fn checkpoint(&mut self, it: &Checkpoint) {
        self.byte(CHECKPOINT);
        self.byte(u8::from(it.is_last));
        // Of one length, so that the place of a checkpoint is known before it is made.
        for number in [it.at_unix_ms, it.store_sequence, it.settled] {
            self.bytes(&number.to_le_bytes());
        }
        self.bytes(&it.public_key);
        self.bytes(&it.signature);
    }

    fn gap(&mut self, it: &Gap) {
        self.byte(GAP);
        self.byte(u8::from(it.after_close));
        for number in [it.at_unix_ms, it.settled, it.store_sequence, it.more] {
            self.number(number);
        }
        self.number(it.records.len() as u64);
        for GapRecord { public_key, kind, sequence } in &it.records {
            self.bytes(public_key);
            self.byte(match kind {
                GapKind::Attestation => 0,
                GapKind::Block => 1,
                GapKind::VoluntaryExit => 2,
                GapKind::Deposit => 3,
            });
            self.number(*sequence);
        }
    }
}

fn place(names: &[&str], name: &str) -> u8 {
    let place = names.iter().position(|known| *known == name);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX - 1)
}

/// What a record is about.
pub(super) enum About<'a> {
    /// A validator's key.
    Key(&'a [u8; 48]),
    /// A name: of a window, an incident, a client.
    Name(&'a str),
}

/// What is left of a record.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn fixed(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn string(&mut self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    /// The whole record; `None` where the bytes make no sense, or are more than a record.
    pub(super) fn record(mut self) -> Option<Record> {
        let record = match self.byte()? {
            DECISION => Record::Decision(self.decision()?),
            ACTION => Record::Action(self.action()?),
            CHECKPOINT => Record::Checkpoint(self.checkpoint()?),
            CUT => Record::Cut(Cut {
                at_unix_ms: self.number()?,
                segment: Position(self.number()?),
                from: self.number()?,
                to: self.number()?,
                hash: self.array()?,
            }),
            GAP => Record::Gap(self.gap()?),
            REMOVED => Record::Removed(Removed {
                at_unix_ms: self.number()?,
                first: Position(self.number()?),
                last: Position(self.number()?),
                bytes: self.number()?,
                hash: self.array()?,
            }),
            _ => return None,
        };
        self.0.is_empty().then_some(record)
    }

    /// Hands over what the record is about, without reading the rest of it: the key of a decision,
    /// the keys of a gap, the subject of an action. `None` where the bytes make no sense.
    pub(super) fn subjects(mut self, mut each: impl FnMut(About<'_>)) -> Option<()> {
        match self.byte()? {
            DECISION => {
                let flags = self.byte()?;
                self.array::<2>()?; // verdict and type
                self.number()?;
                let _ = (self.skip()?, self.skip()?, self.peer()?, self.skip()?);
                if flags & HAS_KEY != 0 {
                    each(About::Key(self.0.first_chunk()?));
                }
            }
            ACTION => {
                self.number()?;
                self.byte()?;
                let _ = (self.skip()?, self.skip()?);
                each(About::Name(self.text()?));
            }
            GAP => {
                let gap = self.gap()?;
                gap.records.iter().for_each(|record| each(About::Key(&record.public_key)));
            }
            _ => {} // about the log itself
        }
        Some(())
    }

    fn skip(&mut self) -> Option<()> {
        let length = usize::try_from(self.number()?).ok()?;
        self.0 = self.0.split_at_checked(length)?.1;
        Some(())
    }

    fn decision(&mut self) -> Option<DecisionRecord> {
        let flags = self.byte()?;
        let has = |flag: u8| flags & flag != 0;
        let verdict = VERDICTS.get(usize::from(self.byte()?))?;
        let kind = match self.byte()? {
            0 => None,
            place => Some(*KINDS.get(usize::from(place) - 1)?),
        };
        let at_unix_ms = self.number()?;
        let (request_id, client) = (self.string()?, self.string()?);
        let peer = self.peer()?;
        let code = self.text()?;
        let code = if code == "ok" { "ok".into() } else { code.to_owned().into() };
        let public_key = if has(HAS_KEY) { Some(self.array()?) } else { None };
        let signing_root = if has(HAS_ROOT) { Some(self.array()?) } else { None };
        let mut times = [None; 4];
        for (flag, time) in HAS_TIMES.into_iter().zip(&mut times) {
            *time = if has(flag) { Some(self.number()?) } else { None };
        }
        let store_sequence = if has(HAS_SEQUENCE) { Some(self.number()?) } else { None };
        let explanation = if has(HAS_EXPLANATION) { Some(self.string()?) } else { None };
        Some(DecisionRecord {
            at_unix_ms,
            request_id,
            public_key,
            client,
            peer,
            verdict,
            code,
            kind,
            signing_root,
            times,
            store_sequence,
            explanation,
        })
    }

    fn peer(&mut self) -> Option<SocketAddr> {
        let ip = match self.byte()? {
            4 => IpAddr::from(self.array::<4>()?),
            6 => IpAddr::from(self.array::<16>()?),
            _ => return None,
        };
        Some(SocketAddr::new(ip, u16::from_le_bytes(self.array()?)))
    }

    fn action(&mut self) -> Option<ActionRecord> {
        let at_unix_ms = self.number()?;
        let actor = self.byte()?;
        let name = self.string()?;
        let actor = match actor {
            0 => Actor::Gate(name),
            1 => Actor::Person(name),
            2 => Actor::Local,
            _ => return None,
        };
        Some(ActionRecord {
            at_unix_ms,
            actor,
            action: self.string()?,
            subject: self.string()?,
            reason: self.string()?,
            details: self.string()?,
        })
    }

    fn checkpoint(&mut self) -> Option<Checkpoint> {
        let is_last = self.byte()? != 0;
        Some(Checkpoint {
            is_last,
            at_unix_ms: self.fixed()?,
            store_sequence: self.fixed()?,
            settled: self.fixed()?,
            public_key: self.array()?,
            signature: self.array()?,
        })
    }

    fn gap(&mut self) -> Option<Gap> {
        let after_close = self.byte()? != 0;
        let (at_unix_ms, settled) = (self.number()?, self.number()?);
        let (store_sequence, more) = (self.number()?, self.number()?);
        let mut records = Vec::new();
        for _ in 0..self.number()? {
            let public_key = self.array()?;
            let kind = match self.byte()? {
                0 => GapKind::Attestation,
                1 => GapKind::Block,
                2 => GapKind::VoluntaryExit,
                3 => GapKind::Deposit,
                _ => return None,
            };
            records.push(GapRecord { public_key, kind, sequence: self.number()? });
        }
        Some(Gap { at_unix_ms, after_close, settled, store_sequence, records, more })
    }
}

/// The length and the bytes of a checkpoint.
pub(super) const CHECKPOINT_BYTES: usize = 4 + 2 + 3 * 8 + 32 + 64;

/// Whether `frame`, a length and as many bytes, is a checkpoint of this key, and then whether it is
/// the last of a run.
pub(super) fn is_checkpoint_of(frame: &[u8], public_key: &[u8; 32]) -> Option<bool> {
    let (length, payload) = frame.split_first_chunk::<4>()?;
    let is_whole = u32::from_le_bytes(*length) as usize == CHECKPOINT_BYTES - 4;
    if !is_whole || payload.first() != Some(&CHECKPOINT) {
        return None;
    }
    match Input(payload).record()? {
        Record::Checkpoint(it) => (it.public_key == *public_key).then_some(it.is_last),
        Record::Decision(_)
        | Record::Action(_)
        | Record::Cut(_)
        | Record::Gap(_)
        | Record::Removed(_) => None,
    }
}
