//! What honest keys ask for: votes, proofs, aggregates, proposals, the sync committee's duties,
//! registrations.

use policy::Message;

use crate::draw::mix;
use crate::label::Label;
use crate::life::Life;
use crate::world::{Kind, SLOT_MS, SLOTS_PER_EPOCH, begin_of};

impl Life<'_> {
    pub(crate) fn vote(&mut self) {
        let slot = self.slot;
        let expected = self.voters(slot).len() as u32 / self.cohorts.len() as u32;
        for nth in 0..self.voters(slot).len() {
            let key = self.voters(slot)[nth];
            let life = self.keys[key as usize];
            if !life.is_here || slot < life.silent_until {
                continue;
            }
            let at = self.vote_time(life.home, expected) + f64::from(life.delay_ms);
            self.vote_at(key, life.home, at.max(0.0));
            match self.world.cohorts[usize::from(life.cohort)].kind {
                Kind::SeveralNodes if self.draw.chance(0.2) => {
                    let again = at.max(0.0) + self.draw.between(2.0, 60.0);
                    self.vote_at(key, life.home, again);
                }
                Kind::ActivePair => {
                    let other = self.world.cohorts[usize::from(life.cohort)].hosts[1];
                    let at = self.vote_time(other, expected);
                    // Both ask one beacon node, so that both vote for the same.
                    let label = self.label_of(key, other);
                    let message = self.vote_for(slot, life.home);
                    self.ask(key, self.source_of(other), at, message, label);
                }
                Kind::Plain
                | Kind::Quiet
                | Kind::TwoPrefixes
                | Kind::Distributed
                | Kind::SeveralNodes
                | Kind::Small => {}
            }
        }
    }

    fn vote_at(&mut self, key: u32, host: u16, at: f64) {
        let label = self.label_of(key, host);
        let source = self.source_now(self.keys[key as usize].cohort, host);
        let message = self.vote_for(self.slot, host);
        if self.slot == self.world.fork_epoch * SLOTS_PER_EPOCH {
            self.mark_fork();
        }
        self.ask(key, source, at, message, label);
    }

    fn mark_fork(&mut self) {
        let fork = self.calendar.planted.iter().position(|planted| planted.scenario == 10);
        if let Some(fork) = fork {
            self.occurred[fork] += 1;
        }
    }

    /// The honest requests that are not votes.
    fn duty(&mut self, key: u32, at: f64, message: Message) {
        let life = self.keys[key as usize];
        if !life.is_here || self.slot < life.silent_until {
            return;
        }
        let label = match self.label_of(key, life.home) {
            // Drifts and odd shares are measured by votes alone.
            Label::Attack(id) if matches!(self.attack(id).class, 8 | 9 | 12 | 14) => {
                Label::Victim(id)
            }
            label => label,
        };
        let source = self.source_now(life.cohort, life.home);
        self.ask(key, source, at, message, label);
    }

    /// Selection proofs, in batches in the middle of a slot: eight slots ahead, or one.
    pub(crate) fn prove(&mut self) {
        for (ahead, is_distributed) in [(8, false), (1, true)] {
            let slot = self.slot + ahead;
            for nth in 0..self.voters(slot).len() {
                let key = self.voters(slot)[nth];
                let life = self.keys[key as usize];
                let kind = self.world.cohorts[usize::from(life.cohort)].kind;
                if life.has_proofs && (kind == Kind::Distributed) == is_distributed {
                    let at =
                        6_000.0 + f64::from(nth as u32 % 64) * 3.0 + self.draw.between(0.0, 90.0);
                    self.duty(key, at, Message::SelectionProof { slot });
                }
            }
        }
    }

    /// B18: a block of the epoch before has gone; some keys have another committee now.
    pub(crate) fn prove_again(&mut self, planted: u32) {
        let epoch_end = self.slot / SLOTS_PER_EPOCH * SLOTS_PER_EPOCH + SLOTS_PER_EPOCH;
        for slot in self.slot + 10..epoch_end {
            for nth in 0..self.voters(slot).len() {
                let key = self.voters(slot)[nth];
                if self.keys[key as usize].has_proofs && self.draw.chance(0.3) {
                    self.occurred[planted as usize] += 1;
                    let at = 6_000.0 + self.draw.between(0.0, 2_000.0);
                    let slot = epoch_end - 1 - (slot - self.slot) / 2;
                    self.duty(key, at, Message::SelectionProof { slot });
                }
            }
        }
    }

    pub(crate) fn aggregate(&mut self) {
        let slot = self.slot;
        for nth in 0..self.voters(slot).len() {
            let key = self.voters(slot)[nth];
            let life = self.keys[key as usize];
            if life.has_proofs && mix(&[slot, u64::from(key), 5]).is_multiple_of(20) {
                let at = f64::from(self.due().aggregate) + self.draw.between(5.0, 200.0);
                self.duty(key, at, Message::AggregateAndProof { slot });
            }
        }
    }

    /// Proposals of the next slot: the RANDAO reveal comes about its beginning.
    pub(crate) fn propose(&mut self) {
        let keys = self.keys.len() as u64;
        let slot = self.slot + 1;
        for _ in 0..self.draw.poisson(keys as f64 / self.world.ranges.validators) {
            let key = self.draw.below(keys) as u32;
            let cohort = &self.world.cohorts[usize::from(self.keys[key as usize].cohort)];
            let header = policy::Header {
                fee_recipient: self.draw.chance(0.5).then_some(cohort.fee_recipient),
                ..Default::default()
            };
            let is_double = cohort.kind == Kind::SeveralNodes || self.draw.chance(0.1);
            let reveal = SLOT_MS as f64 + self.draw.between(-300.0, 400.0);
            let block = reveal.max(SLOT_MS as f64) + self.draw.between(150.0, 2_000.0);
            for again in 0..=u64::from(is_double) {
                let more = again as f64 * self.draw.between(3.0, 90.0);
                let epoch = slot / SLOTS_PER_EPOCH;
                self.duty(key, reveal + more, Message::RandaoReveal { epoch });
                self.duty(key, block + more, Message::Block { slot, header });
            }
        }
    }

    pub(crate) fn sync(&mut self) {
        let slot = self.slot;
        let period = slot / SLOTS_PER_EPOCH / 256;
        if self.committee.0 != period {
            let network = self.world.ranges.validators as u64;
            let is_in = |key: &u32| mix(&[self.seed, period, u64::from(*key), 9]) % network < 512;
            self.committee = (period, (0..self.keys.len() as u32).filter(is_in).collect());
        }
        for nth in 0..self.committee.1.len() {
            let key = self.committee.1[nth];
            let due = self.due();
            let at = f64::from(due.vote) + self.draw.between(0.0, 120.0);
            self.duty(key, at, Message::SyncMessage { slot });
            if mix(&[slot, u64::from(key), 21]).is_multiple_of(8) {
                self.duty(key, 300.0, Message::SyncSelectionProof { slot });
                let at = f64::from(due.aggregate) + self.draw.between(5.0, 200.0);
                self.duty(key, at, Message::SyncContribution { slot });
            }
        }
    }

    pub(crate) fn sign_again(&mut self, cohort: u16, of: u64) {
        for nth in 0..self.voters(of).len() {
            let key = self.voters(of)[nth];
            let life = self.keys[key as usize];
            if life.cohort == cohort && life.is_here {
                let at = 50.0 + self.draw.between(0.0, 200.0); // before its next vote
                let message = self.vote_for(of, life.home);
                self.duty(key, at, message);
            }
        }
    }

    pub(crate) fn register(&mut self, cohort: u16) {
        let drawn = &self.world.cohorts[usize::from(cohort)];
        let gas_limit = 36_000_000 + self.draw.below(10) * 1_000_000;
        for nth in 0..drawn.keys {
            let at = 2_000.0 + f64::from(nth) * (4.0 * SLOT_MS as f64 / f64::from(drawn.keys));
            let timestamp_s = begin_of(self.slot) / 1_000 + 1;
            let fee_recipient = drawn.fee_recipient;
            let message = Message::Registration { fee_recipient, gas_limit, timestamp_s };
            self.duty(drawn.first + nth, at, message);
        }
    }
}

/// A number that stands for the signing root. A key is in it where keys differ.
pub(crate) fn root_of(message: &Message, key: u32) -> u64 {
    let key = u64::from(key);
    match *message {
        Message::Attestation { slot, source_epoch, target_epoch, index, head } => {
            mix(&[1, slot, source_epoch, target_epoch, index, head])
        }
        Message::Block { slot, header } => {
            mix(&[2, slot, key, u64::from(header.fee_recipient.is_some())])
        }
        Message::RandaoReveal { epoch } => mix(&[3, epoch]),
        Message::SelectionProof { slot } => mix(&[4, slot]),
        Message::AggregateAndProof { slot } => mix(&[5, slot, key]),
        Message::SyncMessage { slot } => mix(&[6, slot]),
        Message::SyncSelectionProof { slot } => mix(&[7, slot]),
        Message::SyncContribution { slot } => mix(&[8, slot, key]),
        Message::Registration { gas_limit, timestamp_s, fee_recipient } => {
            mix(&[9, gas_limit, timestamp_s, u64::from(fee_recipient[0]), key])
        }
        Message::VoluntaryExit { epoch } => mix(&[10, epoch, key]),
        Message::Deposit { amount_gwei, withdrawal_credentials } => {
            mix(&[11, amount_gwei, u64::from(withdrawal_credentials[12]), key])
        }
    }
}
