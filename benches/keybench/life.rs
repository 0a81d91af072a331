//! Life, slot by slot: the calendar's changes take place, honest keys do their duties, attackers
//! do theirs (`raid.rs`), and all of it becomes a tape with labels beside it.

use policy::{Message, ShareSet, Source};

use crate::attacks::Attack;
use crate::calendar::{Action, Calendar};
use crate::draw::{Draw, mix};
use crate::duties::root_of;
use crate::label::Label;
use crate::tape::{Claim, Draft, Request, Slot};
use crate::world::{FIRST_SLOT, Host, Kind, SLOTS_PER_EPOCH, World, begin_of, substitute};

/// How it is with one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyLife {
    pub(crate) home: u16,
    pub(crate) cohort: u16,
    pub(crate) is_here: bool,
    pub(crate) has_proofs: bool,
    pub(crate) delay_ms: i16,
    pub(crate) silent_until: u64,
    /// The attack that this key is or was on, and until when that shows.
    pub(crate) victim: u32,
    pub(crate) victim_until: u64,
}

/// How it is with one host.
#[derive(Clone, Debug)]
pub(crate) struct HostLife {
    pub(crate) host: Host,
    pub(crate) delay_ms: f64,
    pub(crate) spread_ms: f64,
    /// The slot that `base_ms` is of, and how many keys it has done in it.
    slot: u64,
    base_ms: f64,
    done: u32,
}

/// How it is with one cohort.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CohortLife {
    pub(crate) label: Label,
    pub(crate) planted: u32,
    pub(crate) marks: Option<u16>,
    pub(crate) set: u32,
    pub(crate) is_third_used: bool,
}

/// When duties are due, milliseconds into the slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) vote: u32,
    pub(crate) aggregate: u32,
}

/// The world as it lives.
pub(crate) struct Life<'a> {
    pub(crate) world: &'a World,
    pub(crate) calendar: &'a Calendar,
    pub(crate) next_action: usize,
    pub(crate) draw: Draw,
    pub(crate) keys: Vec<KeyLife>,
    pub(crate) hosts: Vec<HostLife>,
    pub(crate) cohorts: Vec<CohortLife>,
    pub(crate) active: Vec<u32>,
    /// By epoch modulo 3: the keys of each of its slots, and the slot of each key.
    duties: [Vec<Vec<u32>>; 3],
    pub(crate) seed: u64,
    pub(crate) draft: Draft,
    /// How often each planted scenario showed itself.
    pub(crate) occurred: Vec<u64>,
    /// Validator-epochs of keys that were there, in scored time.
    pub(crate) scored_epochs: u64,
    pub(crate) slot: u64,
    block_ms: Option<f64>,
    pub(crate) late_blocks: Option<u32>,
    pub(crate) no_finality: Option<(u32, u64)>,
    pub(crate) committee: (u64, Vec<u32>),
    pub(crate) clock_ms: i64,
    pub(crate) clock_planted: u32,
    pub(crate) down: Option<(u32, u64)>,
}

impl<'a> Life<'a> {
    pub(crate) fn new(world: &'a World, calendar: &'a Calendar, mut draw: Draw) -> Self {
        let seed = draw.number();
        let has_proofs =
            |key: u64| mix(&[seed, key, 3]) % 1_000 < (world.size.proofs_share * 1_000.0) as u64;
        let keys = world.cohort_of.iter().zip(0..).map(|(cohort, key)| KeyLife {
            home: world.cohorts[usize::from(*cohort)].hosts[0],
            cohort: *cohort,
            is_here: true,
            has_proofs: has_proofs(key),
            delay_ms: 0,
            silent_until: 0,
            victim: 0,
            victim_until: 0,
        });
        let hosts = world.hosts.iter().map(|host| HostLife {
            host: host.clone(),
            delay_ms: 0.0,
            spread_ms: 0.0,
            slot: 0,
            base_ms: 0.0,
            done: 0,
        });
        let cohorts = world.cohorts.iter().map(|cohort| CohortLife {
            label: Label::Benign(1),
            planted: u32::MAX,
            marks: None,
            set: cohort.shares.unwrap_or(0),
            is_third_used: false,
        });
        let mut life = Self {
            world,
            calendar,
            next_action: 0,
            draw,
            keys: keys.collect(),
            hosts: hosts.collect(),
            cohorts: cohorts.collect(),
            active: Vec::new(),
            duties: std::array::from_fn(|_| vec![Vec::new(); SLOTS_PER_EPOCH as usize]),
            seed,
            draft: Draft::default(),
            occurred: vec![0; calendar.planted.len()],
            scored_epochs: 0,
            slot: FIRST_SLOT,
            block_ms: None,
            late_blocks: None,
            no_finality: None,
            committee: (u64::MAX, Vec::new()),
            clock_ms: 0,
            clock_planted: 0,
            down: None,
        };
        // New keys are not here before they join.
        for (_, action) in &calendar.actions {
            if let Action::Join { keys } = action {
                for key in keys.clone() {
                    life.keys[key as usize].is_here = false;
                }
            }
        }
        life.assign(FIRST_SLOT / SLOTS_PER_EPOCH);
        life
    }

    /// Writes the next slot; `false` when the world is over.
    pub(crate) fn write(&mut self, tape: &mut Slot, labels: &mut Vec<Label>) -> bool {
        if self.slot == self.world.last_slot() {
            return false;
        }
        let slot = self.slot;
        if slot.is_multiple_of(SLOTS_PER_EPOCH) {
            self.assign(slot / SLOTS_PER_EPOCH + 1);
            if slot >= self.world.first_scored_slot() {
                let here = self.keys.iter().filter(|key| key.is_here).count();
                self.scored_epochs += here as u64;
            }
        }
        self.act();
        self.active.retain(|attack| self.calendar.attacks[*attack as usize].end > slot);
        self.draw_block();
        self.vote();
        self.prove();
        self.aggregate();
        self.propose();
        self.sync();
        self.raid();
        (tape.slot, tape.is_restarted, tape.is_down) = (slot, false, false);
        if let Some((planted, until)) = self.down {
            if slot < until {
                tape.is_down = true;
                self.draft.discard();
            } else {
                tape.is_restarted = true;
                self.occurred[planted as usize] += 1;
                self.down = None;
            }
        }
        tape.clock_ms = self.clock_ms;
        if self.clock_ms != 0 {
            self.occurred[self.clock_planted as usize] += 1;
        }
        self.draft.finish(begin_of(slot), begin_of(slot + 1), tape, labels);
        self.slot += 1;
        true
    }

    /// Draws who votes in which slot of an epoch.
    fn assign(&mut self, epoch: u64) {
        let duties = &mut self.duties[(epoch % 3) as usize];
        duties.iter_mut().for_each(Vec::clear);
        for key in 0..self.keys.len() as u64 {
            let slot = mix(&[self.seed, epoch, key]) % SLOTS_PER_EPOCH;
            duties[slot as usize].push(key as u32);
        }
    }

    /// The keys that vote in this slot.
    pub(crate) fn voters(&self, slot: u64) -> &[u32] {
        let epoch = (slot / SLOTS_PER_EPOCH % 3) as usize;
        &self.duties[epoch][(slot % SLOTS_PER_EPOCH) as usize]
    }

    pub(crate) fn due(&self) -> Due {
        if self.slot / SLOTS_PER_EPOCH >= self.world.fork_epoch {
            Due { vote: 3_000, aggregate: 6_000 }
        } else {
            Due { vote: 4_000, aggregate: 8_000 }
        }
    }

    pub(crate) fn attack(&self, attack: u32) -> &'a Attack {
        &self.calendar.attacks[attack as usize]
    }

    fn draw_block(&mut self) {
        let ranges = &self.world.ranges;
        let missed = if self.no_finality.is_some() { 0.4 } else { ranges.missed_slots };
        let block = if self.draw.chance(missed) {
            None
        } else if self.late_blocks.is_some() || self.draw.chance(ranges.late_blocks) {
            Some(self.draw.between(4_000.0, 8_000.0))
        } else {
            Some(self.draw.log_normal(ranges.block_ms, ranges.block_sigma))
        };
        self.block_ms = block;
        let planted = [self.late_blocks, self.no_finality.map(|(planted, _)| planted)];
        for planted in planted.into_iter().flatten() {
            self.occurred[planted as usize] += 1;
        }
    }

    pub(crate) fn source_of(&self, host: u16) -> Source {
        self.hosts[usize::from(host)].host.source
    }

    /// The address that a request comes from, where a cohort's host has more than one.
    pub(crate) fn source_now(&mut self, cohort: u16, host: u16) -> Source {
        let mut source = self.source_of(host);
        let drawn = &self.world.cohorts[usize::from(cohort)];
        if drawn.kind == Kind::TwoPrefixes && host == drawn.hosts[0] {
            let bits = self.draw.number() % 100;
            let is_third_used = self.cohorts[usize::from(cohort)].is_third_used;
            if is_third_used && bits < 30 {
                source.prefix = drawn.prefixes[1];
            } else if bits < 60 {
                source.prefix = drawn.prefixes[0];
            }
        }
        source
    }

    /// When the host gets to its next vote, milliseconds into the slot.
    pub(crate) fn vote_time(&mut self, host: u16, expected: u32) -> f64 {
        let due = f64::from(self.due().vote);
        let life = &mut self.hosts[usize::from(host)];
        let ranges = &self.world.ranges;
        if life.slot != self.slot {
            (life.slot, life.done) = (self.slot, 0);
            life.base_ms = match self.block_ms {
                Some(block) if life.host.is_event_driven => {
                    (block + self.draw.between(60.0, 250.0)).min(due)
                }
                Some(_) | None => due,
            };
            life.base_ms += life.host.offset_ms + life.delay_ms;
            if self.draw.chance(ranges.pause) {
                life.base_ms += self.draw.exponential(ranges.pause_ms);
            }
        }
        let place = if life.host.is_shuffled {
            self.draw.below(u64::from(expected.max(1))) as f64
        } else {
            f64::from(life.done)
        };
        life.done += 1;
        let mut at = life.base_ms + place * life.host.service_ms;
        at += life.host.jitter_ms * self.draw.bell();
        if self.draw.chance(ranges.heavy_tail) {
            at += self.draw.exponential(ranges.heavy_ms);
        }
        if life.spread_ms > 0.0 {
            at += self.draw.log_normal(life.spread_ms, 0.7);
        }
        at.max(0.0)
    }

    /// The justified epoch that votes of this epoch have as their source.
    pub(crate) fn justified(&self) -> u64 {
        match self.no_finality {
            Some((_, frozen)) => frozen,
            None => self.slot / SLOTS_PER_EPOCH - 1,
        }
    }

    /// The vote of a host for a slot: all see the same block, but for a few in a hundred slots.
    pub(crate) fn vote_for(&self, slot: u64, host: u16) -> Message {
        let is_minority = mix(&[slot, u64::from(host), 11]).is_multiple_of(200);
        let index = u64::from(
            slot / SLOTS_PER_EPOCH >= self.world.fork_epoch && mix(&[slot, 13]).is_multiple_of(8),
        );
        Message::Attestation {
            slot,
            source_epoch: self.justified().min(slot / SLOTS_PER_EPOCH - 1),
            target_epoch: slot / SLOTS_PER_EPOCH,
            index,
            head: mix(&[slot, u64::from(is_minority)]),
        }
    }

    /// What an honest request of this key from this host is.
    pub(crate) fn label_of(&mut self, key: u32, host: u16) -> Label {
        let life = &self.keys[key as usize];
        if self.slot < life.victim_until {
            return self.label_of_victim(key, host);
        }
        let cohort = &self.cohorts[usize::from(life.cohort)];
        if cohort.planted != u32::MAX && cohort.marks.is_none_or(|marks| marks == host) {
            self.occurred[cohort.planted as usize] += 1;
        }
        match cohort.label {
            Label::Benign(1) if self.no_finality.is_some() => Label::Benign(3),
            Label::Benign(1) if self.late_blocks.is_some() => Label::Benign(2),
            label => label,
        }
    }

    /// Where the harm is in what the owner itself does, it is said here.
    fn label_of_victim(&mut self, key: u32, host: u16) -> Label {
        let id = self.keys[key as usize].victim;
        let attack = self.attack(id);
        let is_on = (attack.start..attack.end).contains(&self.slot);
        let is_harm = match attack.class {
            // The old owner, in the epochs after the one in which the new one began.
            6 => host == attack.host && is_on && self.slot >= crate::raid::second_epoch(attack),
            // The one that came back, while the backup signs.
            7 => host == attack.host && is_on && self.slot >= attack.start,
            8 | 12 | 14 => is_on,
            9 => is_on && mix(&[self.slot, u64::from(key), 17]).is_multiple_of(10),
            _ => false,
        };
        if is_harm { Label::Attack(id) } else { Label::Victim(id) }
    }

    /// The shares that would sign, where a cluster does.
    pub(crate) fn shares_of(&mut self, key: u32, label: Label) -> Option<ShareSet> {
        let cohort = self.keys[key as usize].cohort;
        self.world.cohorts[usize::from(cohort)].shares?;
        let set = self.cohorts[usize::from(cohort)].set;
        let is_odd = matches!(label, Label::Attack(id) if matches!(self.attack(id).class, 8 | 9));
        let set = if is_odd {
            // Always the same odd one of this set.
            let out = set & set.wrapping_neg();
            let come = !set & 0b11111 & (!set & 0b11111).wrapping_neg();
            set & !out | come
        } else if self.draw.chance(self.world.ranges.share_noise) {
            substitute(set, &mut self.draw)
        } else {
            set
        };
        Some(ShareSet(set))
    }

    /// Puts a request into the draft, `at` milliseconds into the present slot.
    pub(crate) fn ask(
        &mut self,
        key: u32,
        source: Source,
        at: f64,
        message: Message,
        label: Label,
    ) {
        let due = self.due();
        let due_ms = match message {
            Message::Attestation { .. } | Message::SyncMessage { .. } => due.vote,
            Message::AggregateAndProof { .. } | Message::SyncContribution { .. } => due.aggregate,
            Message::Block { .. }
            | Message::RandaoReveal { .. }
            | Message::SelectionProof { .. }
            | Message::SyncSelectionProof { .. }
            | Message::Registration { .. }
            | Message::VoluntaryExit { .. }
            | Message::Deposit { .. } => 0,
        };
        let cohort = usize::from(self.keys[key as usize].cohort);
        let request = Request {
            at_ms: (begin_of(self.slot) as f64 + at) as u64,
            key,
            source,
            message,
            root: root_of(&message, key),
            claim: Claim::Right,
            due_ms,
            shares: self.shares_of(key, label),
            is_chosen_by_gate: self.world.cohorts[cohort].is_chosen_by_gate,
        };
        self.draft.push(request, label);
    }
}
