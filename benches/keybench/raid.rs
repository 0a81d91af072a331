//! What attackers ask for, slot by slot.

use policy::{Header, Message};

use crate::attacks::Attack;
use crate::calendar::epochs;
use crate::label::Label;
use crate::life::Life;
use crate::tape::Claim;
use crate::world::{BACKUP, SLOT_MS, SLOTS_PER_EPOCH, TARGET, begin_of};

/// A6: the new owner begins with the first epoch after the start; the old one's requests do harm
/// from the epoch after that one on.
pub(crate) const fn second_epoch(attack: &Attack) -> u64 {
    (attack.start / SLOTS_PER_EPOCH + 2) * SLOTS_PER_EPOCH
}

impl Life<'_> {
    /// What every attack that goes on asks for in this slot.
    pub(crate) fn raid(&mut self) {
        for nth in 0..self.active.len() {
            let id = self.active[nth];
            let attack = self.attack(id);
            match attack.class {
                1..=3 | 13 | 19 => self.use_keys(attack, id, attack.start..attack.end),
                4 => self.use_keys(attack, id, attack.start + epochs(3.0)..attack.end),
                20 => {
                    let from = attack.start + epochs(1.0);
                    self.use_keys(attack, id, from..from + epochs(3.0));
                }
                5 => self.overlap(attack, attack.host, attack.start, Label::Attack(id)),
                6 => {
                    let host = self.world.cohorts[usize::from(attack.cohort)].hosts[TARGET];
                    let from = second_epoch(attack) - SLOTS_PER_EPOCH;
                    self.overlap(attack, host, from, Label::Victim(id));
                }
                7 => {
                    let host = self.world.cohorts[usize::from(attack.cohort)].hosts[BACKUP];
                    // Keys of an owner that is alive have been quiet for longer than its lease.
                    let wait = if attack.variant >= 100 {
                        0.5 + f64::from(attack.variant % 6) * 0.5
                    } else {
                        3.3 + f64::from(attack.variant % 4) * 0.3
                    };
                    self.overlap(attack, host, attack.start + epochs(wait), Label::Victim(id));
                }
                10 => self.burst(attack, id),
                11 => self.reveal_more(attack, id),
                16..=18 => self.ask_once(attack, id),
                21 => self.replay(attack, id),
                // 8, 9, 12, 14 and 15 are in how the owner itself behaves.
                _ => {}
            }
        }
    }

    /// The attack's keys that vote in this slot.
    fn voting(&self, attack: &Attack) -> Vec<u32> {
        let voters = self.voters(self.slot);
        let is_voting = |key: &&u32| voters.binary_search(key).is_ok();
        attack.keys.iter().filter(is_voting).copied().collect()
    }

    /// Someone else votes with the keys, before their owner does.
    fn use_keys(&mut self, attack: &Attack, id: u32, slots: std::ops::Range<u64>) {
        let is_probe = attack
            .probes
            .iter()
            .any(|probe| (*probe..probe + SLOTS_PER_EPOCH).contains(&self.slot));
        if !slots.contains(&self.slot) && !is_probe {
            return;
        }
        let count = if attack.class == 20 { 20 } else { usize::MAX };
        for key in self.voting(attack).into_iter().take(count) {
            let at = 400.0 + self.draw.between(0.0, 700.0);
            let message = self.vote_of_its_own(attack.host);
            self.ask(key, self.source_of(attack.host), at, message, Label::Attack(id));
        }
    }

    /// A vote for a head that nobody else votes for.
    fn vote_of_its_own(&mut self, host: u16) -> Message {
        let mut message = self.vote_for(self.slot, host);
        if let Message::Attestation { head, .. } = &mut message {
            *head = self.draw.number();
        }
        message
    }

    /// A second client that does the same duties at the usual time.
    fn overlap(&mut self, attack: &Attack, host: u16, from: u64, label: Label) {
        if !(from..attack.end).contains(&self.slot) {
            return;
        }
        for key in self.voting(attack) {
            let at = self.vote_time(host, 4);
            let message = self.vote_for(self.slot, host);
            self.ask(key, self.source_of(host), at, message, label);
        }
    }

    /// A10: twenty selection proofs in a minute, for slots of the present epoch.
    fn burst(&mut self, attack: &Attack, id: u32) {
        let after = self.slot - attack.start;
        if after >= 5 {
            return;
        }
        let epoch_end = (self.slot / SLOTS_PER_EPOCH + 1) * SLOTS_PER_EPOCH;
        // From the last slot of the epoch backwards, but for the one that the key votes in: to ask
        // for that proof again is no burst.
        let key = attack.keys[0];
        let is_foreign = |slot: &u64| self.voters(*slot).binary_search(&key).is_err();
        let slots: Vec<u64> = (epoch_end - SLOTS_PER_EPOCH..epoch_end)
            .rev()
            .filter(is_foreign)
            .skip(after as usize * 4)
            .take(4)
            .collect();
        for (nth, slot) in slots.into_iter().enumerate() {
            let at = 500.0 + nth as f64 * 2_900.0 + self.draw.between(0.0, 900.0);
            let message = Message::SelectionProof { slot };
            let source = self.source_of(attack.host);
            self.ask(key, source, at, message, Label::Attack(id));
        }
    }

    /// A11: three hundred RANDAO reveals in six hours, spread over the cohort.
    fn reveal_more(&mut self, attack: &Attack, id: u32) {
        if self.draw.chance(1.0 / 6.0) {
            let key = *self.draw.pick(&attack.keys);
            let at = self.draw.between(0.0, SLOT_MS as f64);
            let epoch = self.slot / SLOTS_PER_EPOCH;
            let source = self.source_of(attack.host);
            self.ask(key, source, at, Message::RandaoReveal { epoch }, Label::Attack(id));
        }
    }

    /// A21: word for word what the owner has just asked for, from somewhere else.
    fn replay(&mut self, attack: &Attack, id: u32) {
        for key in self.voting(attack) {
            let home = self.keys[key as usize].home;
            let message = self.vote_for(self.slot, home);
            let at = 8_500.0 + self.draw.between(0.0, 3_000.0);
            self.ask(key, self.source_of(attack.host), at, message, Label::Attack(id));
        }
    }

    /// A16 to A18: one request that no rule may let through.
    fn ask_once(&mut self, attack: &Attack, id: u32) {
        let is_now = match attack.class {
            // After the owner's own vote, in the first whole epoch.
            18 if attack.variant % 3 != 2 => {
                self.slot / SLOTS_PER_EPOCH == attack.start / SLOTS_PER_EPOCH + 1
                    && !self.voting(attack).is_empty()
            }
            _ => self.slot == attack.start,
        };
        if !is_now {
            return;
        }
        let (key, host) = (attack.keys[0], attack.host);
        let source = self.source_of(host);
        let at = 9_000.0 + self.draw.between(0.0, 2_000.0);
        let label = Label::Attack(id);
        let mut claim = Claim::Right;
        let mut message = self.vote_of_its_own(host);
        match attack.class {
            16 => claim = self.far_or_foreign(attack.variant, &mut message),
            17 => message = self.operators_request(attack.variant, attack.cohort),
            _ if attack.variant % 3 == 2 => {
                let slot = self.slot;
                let header = Header::default();
                let first = Message::Block { slot, header };
                self.ask(key, source, 600.0, first, Label::Victim(id));
                // Another block for the same slot, as its root shows.
                let header = Header { fee_recipient: Some(self.fee_recipient(key)), ..header };
                message = Message::Block { slot, header };
            }
            _ if attack.variant % 3 == 1 => {
                if let Message::Attestation { source_epoch, .. } = &mut message {
                    *source_epoch -= 3;
                }
            }
            _ => {}
        }
        self.ask(key, source, at, message, label);
        self.draft.claim_last(claim);
    }

    fn fee_recipient(&self, key: u32) -> [u8; 20] {
        let cohort = self.keys[key as usize].cohort;
        self.world.cohorts[usize::from(cohort)].fee_recipient
    }

    /// A16: a vote far ahead that would lock the key out for ever, or for another fork or network.
    fn far_or_foreign(&mut self, variant: u8, message: &mut Message) -> Claim {
        let ahead = [1, 2, 100, 100_000][self.draw.below(4) as usize];
        match (variant % 4, message) {
            (0, Message::Attestation { slot, target_epoch, .. }) => {
                // Whole epochs, and at least two slots, so that it is ahead of every bound.
                *slot += ahead * SLOTS_PER_EPOCH + 2;
                *target_epoch = *slot / SLOTS_PER_EPOCH;
                Claim::Right
            }
            (1, Message::Attestation { target_epoch, .. }) => {
                *target_epoch += ahead;
                Claim::Right
            }
            (2, _) => Claim::WrongFork,
            (_, _) => Claim::WrongNetwork,
        }
    }

    /// A17: an exit outside its window, a deposit to somebody else's credentials, a registration
    /// for somebody else's fee recipient.
    fn operators_request(&mut self, variant: u8, cohort: u16) -> Message {
        let mut foreign = self.world.cohorts[usize::from(cohort)].fee_recipient;
        foreign[19] ^= 1 << self.draw.below(8);
        let mut withdrawal_credentials = self.world.cohorts[usize::from(cohort)].credentials;
        withdrawal_credentials[31] ^= 1 << self.draw.below(8);
        match variant % 3 {
            0 => Message::VoluntaryExit { epoch: self.slot / SLOTS_PER_EPOCH },
            1 => Message::Deposit { withdrawal_credentials, amount_gwei: 1_000_000_000 },
            _ => Message::Registration {
                fee_recipient: foreign,
                gas_limit: 36_000_000,
                timestamp_s: begin_of(self.slot) / 1_000,
            },
        }
    }
}
