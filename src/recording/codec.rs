//! The bytes of a recording's entries: variable-length integers, times as differences.
//!
//! An entry begins with its tag. What an event names by its place (a client, a key, a source) is
//! told in an entry of its own, or for a source in the event, before it is named for the first time
//! in a file: each file is read without the others.

use std::collections::HashMap;

use policy::{
    ClientIndex, GroupIndex, Header as BlockHeader, Message, Moment, Observation, Outcome, Rule,
    ShareSet, Source,
};

use super::event::{Event, JudgedEvent, Said};

pub(super) const JUDGED: u8 = 0;
pub(super) const ADMITTED: u8 = 1;
pub(super) const RELEASED: u8 = 2;
pub(super) const CLIENT: u8 = 3;
pub(super) const KEY: u8 = 4;
pub(super) const LOST: u8 = 5;

/// What was written or read so far in this file.
#[derive(Default)]
pub(super) struct State {
    last: Moment,
    sources: Vec<Source>,
    places: HashMap<Source, u64>,
}

pub(super) struct Output<'a>(pub(super) &'a mut Vec<u8>);

impl Output<'_> {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// The difference from what was expected, small in both directions.
    fn near(&mut self, number: u64, expected: u64) {
        let difference = number.wrapping_sub(expected).cast_signed();
        self.number((difference << 1 ^ difference >> 63).cast_unsigned());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn event(&mut self, state: &mut State, event: &Event) {
        match event {
            Event::Judged(judged) => self.judged(state, judged),
            Event::Admitted { key, root } => {
                self.byte(ADMITTED);
                self.number(u64::from(*key));
                self.bytes(&root.to_le_bytes());
            }
            Event::Released { key, root, outcome } => {
                let Outcome { shares, chosen_by_gate } = outcome;
                self.byte(RELEASED);
                self.number(u64::from(*key));
                self.bytes(&root.to_le_bytes());
                self.byte(u8::from(*chosen_by_gate) | u8::from(shares.is_some()) << 1);
                if let Some(shares) = shares {
                    self.number(u64::from(shares.0));
                }
            }
        }
    }

    fn judged(&mut self, state: &mut State, event: &JudgedEvent) {
        let JudgedEvent { seen, after_hold, is_safe, said, rule } = event;
        let Observation { key, group, at, source, message, root, is_repeat, due_ms } = seen;
        self.byte(JUDGED);
        let said = match said {
            Said::Allowed => 0,
            Said::Held => 1,
            Said::Refused => 2,
        };
        let flags = u8::from(*after_hold) | u8::from(*is_safe) << 1 | u8::from(*is_repeat) << 2;
        self.byte(flags | said << 3 | u8::from(rule.is_some()) << 5);
        if let Some(rule) = rule {
            self.byte(*rule as u8);
        }
        self.number(u64::from(*key));
        self.number(u64::from(group.0));
        self.near(at.unix_ms, state.last.unix_ms);
        self.near(at.slot, state.last.slot);
        self.near(at.epoch, state.last.epoch);
        self.number(u64::from(at.into_slot_ms));
        state.last = *at;
        self.source(state, source);
        self.bytes(&root.to_le_bytes());
        self.number(u64::from(*due_ms));
        self.message(at, message);
    }

    fn source(&mut self, state: &mut State, source: &Source) {
        let next = state.places.len() as u64;
        let place = *state.places.entry(*source).or_insert(next);
        self.number(place);
        if place == next {
            let Source { client, certificate, dialect, prefix } = source;
            self.number(u64::from(client.0));
            for part in [certificate, dialect, prefix] {
                self.bytes(&part.to_le_bytes());
            }
        }
    }

    fn message(&mut self, at: &Moment, message: &Message) {
        self.byte(message.duty_type() as u8);
        match message {
            Message::Attestation { slot, source_epoch, target_epoch, index, head } => {
                self.near(*slot, at.slot);
                self.near(*source_epoch, at.epoch);
                self.near(*target_epoch, at.epoch);
                self.number(*index);
                self.bytes(&head.to_le_bytes());
            }
            Message::Block { slot, header } => {
                let BlockHeader {
                    zero_parent_root,
                    zero_state_root,
                    zero_body_root,
                    fee_recipient,
                    has_broken_proof,
                } = header;
                self.near(*slot, at.slot);
                let zeros = u8::from(*zero_parent_root)
                    | u8::from(*zero_state_root) << 1
                    | u8::from(*zero_body_root) << 2;
                let has_recipient = u8::from(fee_recipient.is_some());
                self.byte(zeros | u8::from(*has_broken_proof) << 3 | has_recipient << 4);
                self.bytes(fee_recipient.as_ref().map_or(&[], |address| address.as_slice()));
            }
            Message::RandaoReveal { epoch } | Message::VoluntaryExit { epoch } => {
                self.near(*epoch, at.epoch);
            }
            Message::SelectionProof { slot }
            | Message::AggregateAndProof { slot }
            | Message::SyncMessage { slot }
            | Message::SyncSelectionProof { slot }
            | Message::SyncContribution { slot } => self.near(*slot, at.slot),
            Message::Registration { fee_recipient, gas_limit, timestamp_s } => {
                self.bytes(fee_recipient);
                self.number(*gas_limit);
                self.number(*timestamp_s);
            }
            Message::Deposit { withdrawal_credentials, amount_gwei } => {
                self.bytes(withdrawal_credentials);
                self.number(*amount_gwei);
            }
        }
    }
}

/// What is left of a block.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl Input<'_> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.number()?).ok()
    }

    fn near(&mut self, expected: u64) -> Option<u64> {
        let folded = self.number()?;
        let difference = (folded >> 1) ^ (folded & 1).wrapping_neg();
        Some(expected.wrapping_add(difference))
    }

    fn fixed(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The event whose tag was read; `None` where the bytes make no sense.
    pub(super) fn event(
        &mut self,
        state: &mut State,
        rules: &[Option<Rule>],
        tag: u8,
    ) -> Option<Event> {
        match tag {
            JUDGED => self.judged(state, rules).map(Event::Judged),
            ADMITTED => Some(Event::Admitted { key: self.small()?, root: self.fixed()? }),
            RELEASED => {
                let (key, root) = (self.small()?, self.fixed()?);
                let flags = self.byte()?;
                let has_shares = flags & 2 != 0;
                let shares = if has_shares { Some(ShareSet(self.small()?)) } else { None };
                let outcome = Outcome { shares, chosen_by_gate: flags & 1 != 0 };
                Some(Event::Released { key, root, outcome })
            }
            _ => None,
        }
    }

    fn judged(&mut self, state: &mut State, rules: &[Option<Rule>]) -> Option<JudgedEvent> {
        let flags = self.byte()?;
        let said = match flags >> 3 & 3 {
            0 => Said::Allowed,
            1 => Said::Held,
            2 => Said::Refused,
            _ => return None,
        };
        let has_rule = flags & 1 << 5 != 0;
        let rule = if has_rule { *rules.get(usize::from(self.byte()?))? } else { None };
        let (key, group) = (self.small()?, GroupIndex(self.small()?));
        let at = Moment {
            unix_ms: self.near(state.last.unix_ms)?,
            slot: self.near(state.last.slot)?,
            epoch: self.near(state.last.epoch)?,
            into_slot_ms: self.small()?,
        };
        state.last = at;
        let source = self.source(state)?;
        let (root, due_ms) = (self.fixed()?, self.small()?);
        let message = self.message(&at)?;
        let is_repeat = flags & 4 != 0;
        let seen = Observation { key, group, at, source, message, root, is_repeat, due_ms };
        let (after_hold, is_safe) = (flags & 1 != 0, flags & 2 != 0);
        Some(JudgedEvent { seen, after_hold, is_safe, said, rule })
    }

    fn source(&mut self, state: &mut State) -> Option<Source> {
        let place = usize::try_from(self.number()?).ok()?;
        if place == state.sources.len() {
            let client = ClientIndex(self.small()?);
            let (certificate, dialect) = (self.fixed()?, self.fixed()?);
            let prefix = self.fixed()?;
            state.sources.push(Source { client, certificate, dialect, prefix });
        }
        state.sources.get(place).copied()
    }

    fn message(&mut self, at: &Moment) -> Option<Message> {
        Some(match self.byte()? {
            0 => Message::Attestation {
                slot: self.near(at.slot)?,
                source_epoch: self.near(at.epoch)?,
                target_epoch: self.near(at.epoch)?,
                index: self.number()?,
                head: self.fixed()?,
            },
            1 => {
                let slot = self.near(at.slot)?;
                let flags = self.byte()?;
                let has_recipient = flags & 1 << 4 != 0;
                let fee_recipient = if has_recipient { Some(self.array()?) } else { None };
                let header = BlockHeader {
                    zero_parent_root: flags & 1 != 0,
                    zero_state_root: flags & 2 != 0,
                    zero_body_root: flags & 4 != 0,
                    fee_recipient,
                    has_broken_proof: flags & 8 != 0,
                };
                Message::Block { slot, header }
            }
            2 => Message::RandaoReveal { epoch: self.near(at.epoch)? },
            3 => Message::SelectionProof { slot: self.near(at.slot)? },
            4 => Message::AggregateAndProof { slot: self.near(at.slot)? },
            5 => Message::SyncMessage { slot: self.near(at.slot)? },
            6 => Message::SyncSelectionProof { slot: self.near(at.slot)? },
            7 => Message::SyncContribution { slot: self.near(at.slot)? },
            8 => Message::Registration {
                fee_recipient: self.array()?,
                gas_limit: self.number()?,
                timestamp_s: self.number()?,
            },
            9 => Message::VoluntaryExit { epoch: self.near(at.epoch)? },
            10 => Message::Deposit {
                withdrawal_credentials: self.array()?,
                amount_gwei: self.number()?,
            },
            _ => return None,
        })
    }
}
