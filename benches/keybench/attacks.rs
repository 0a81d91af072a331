//! What attackers do: A1 to A21, each instance planned before anything runs. What they ask for in
//! each slot is `raid.rs`.

use std::ops::Range;

use crate::calendar::{Action, Calendar, all, epochs};
use crate::draw::Draw;
use crate::world::{Kind, PRIMARY, SLOTS_PER_DAY, SLOTS_PER_EPOCH, STRANGER, TARGET, World};

/// One instance of an attack.
#[derive(Clone, Debug)]
pub(crate) struct Attack {
    /// The number after the A.
    pub(crate) class: u8,
    /// Which of its forms.
    pub(crate) variant: u8,
    pub(crate) cohort: u16,
    pub(crate) keys: Vec<u32>,
    /// Who asks for what is harmful.
    pub(crate) host: u16,
    pub(crate) start: u64,
    /// The first slot after it.
    pub(crate) end: u64,
    /// A13: when it probes.
    pub(crate) probes: Vec<u64>,
}

/// Plans every attack of a world.
pub(crate) fn plan(world: &mut World, calendar: &mut Calendar, draw: &mut Draw) {
    let size = world.size;
    // What takes long or a whole source is placed first, while there is room.
    for class in [9, 12] {
        repeat(world, calendar, draw, class, if class == 9 { size.attacks } else { 4 });
    }
    for class in [15, 4, 7, 20, 19, 11] {
        let count = match class {
            15 => size.source_attacks * 2,
            4 | 7 => size.source_attacks / 2,
            _ => (size.source_attacks / 3).max(1),
        };
        for nth in 0..count {
            Place { world, calendar, draw }.source(class, nth as u8);
        }
    }
    for class in [13, 14, 8, 1, 2, 3, 4, 5, 6, 7, 10, 16, 17, 18, 21] {
        repeat(world, calendar, draw, class, size.attacks);
    }
}

fn repeat(world: &mut World, calendar: &mut Calendar, draw: &mut Draw, class: u8, count: u64) {
    for nth in 0..count {
        Place { world, calendar, draw }.keyed(class, nth as u8);
    }
}

struct Place<'a> {
    world: &'a mut World,
    calendar: &'a mut Calendar,
    draw: &'a mut Draw,
}

/// Epochs that an attack on single keys lasts, and how long its traces may last after it.
const fn lasts(class: u8) -> (u64, u64) {
    match class {
        4 => (8, 12),
        5 | 6 => (5, 10),
        7 => (12, 12),
        8 => (14, 10),
        9 => (260, 10),
        10 => (1, 4),
        12 => (150, 10),
        13 => (3, 5),
        14 => (40, 10),
        16..=18 => (2, 3),
        _ => (3, 5),
    }
}

impl Place<'_> {
    /// An attack on one key or a few of a cohort.
    fn keyed(&mut self, class: u8, nth: u8) {
        let (lasting, after) = lasts(class);
        let cohort = self.cohort_for(class);
        let (cohort, start) = self.room(&cohort, lasting + after);
        let end = start + lasting * SLOTS_PER_EPOCH;
        let count = match class {
            5..=7 if nth.is_multiple_of(3) => self.draw.whole(2, 10),
            _ => 1,
        };
        let Some(keys) = self.take(cohort, count) else {
            return self.keyed(class, nth);
        };
        let host = self.attacker(class, nth, cohort);
        let probes = if class == 13 { self.probes(cohort, start) } else { Vec::new() };
        let end = if class == 10 { start + 6 } else { end };
        let begin = probes.first().copied().unwrap_or(start);
        let until = end + after * SLOTS_PER_EPOCH;
        self.begin(
            Attack { class, variant: nth, cohort, keys, host, start, end, probes },
            begin,
            until,
        );
    }

    /// An attack on all keys of a cohort.
    fn source(&mut self, class: u8, nth: u8) {
        let (lasting, after) = match class {
            15 => (56, 2),
            19 => (2, 6),
            11 => (56, 2),
            _ => (14, 12),
        };
        let eligible: Vec<u16> = (0..self.world.cohorts.len() as u16)
            .filter(|index| {
                let cohort = &self.world.cohorts[usize::from(*index)];
                matches!(cohort.kind, Kind::Plain | Kind::Quiet) && cohort.is_named
            })
            .collect();
        let (cohort, start) = self.room(&eligible, lasting + after);
        let end = start + lasting * SLOTS_PER_EPOCH;
        self.calendar.occupy(cohort, start, end + after * SLOTS_PER_EPOCH);
        let host = self.attacker(class, nth, cohort);
        let range = all(&self.world.cohorts[usize::from(cohort)]);
        let keys = range.filter(|key| !self.calendar.taken[*key as usize]).collect();
        let until = end + after * SLOTS_PER_EPOCH;
        let attack = Attack {
            class,
            variant: 100 + nth,
            cohort,
            keys,
            host,
            start,
            end,
            probes: Vec::new(),
        };
        if class == 15 {
            let ms = if nth.is_multiple_of(2) { 300.0 } else { 100.0 };
            self.calendar.at(start, Action::Delay { host, ms, spread_ms: 0.0 });
            self.calendar.at(end, Action::Delay { host, ms: 0.0, spread_ms: 0.0 });
        }
        self.begin(attack, start, until);
    }

    fn begin(&mut self, attack: Attack, begin: u64, until: u64) {
        let id = self.calendar.attacks.len() as u32;
        if !matches!(attack.class, 11 | 15) {
            for keys in runs(&attack.keys) {
                self.calendar.at(begin, Action::Victim { keys, attack: id, until });
            }
        }
        self.calendar.at(begin, Action::Attack { attack: id });
        match attack.class {
            4 | 7 | 20 => self.silences(&attack, id),
            6 => self.declares(&attack),
            14 => {
                self.calendar.at(attack.start, Action::KeyDelay { key: attack.keys[0], ms: 300 });
                self.calendar.at(attack.end, Action::KeyDelay { key: attack.keys[0], ms: 0 });
            }
            12 => self.drifts(&attack),
            _ => {}
        }
        self.calendar.attacks.push(attack);
    }

    /// A4: the key is silent for three epochs before, and again before its owner is back.
    /// A7: the owner is cut off, the backup takes over, the owner comes back while it signs.
    /// A20: the owner has failed over, but the backup is not there yet.
    fn silences(&mut self, attack: &Attack, _id: u32) {
        let home = self.world.cohorts[usize::from(attack.cohort)].hosts[PRIMARY];
        let back = match attack.class {
            4 => attack.end + epochs(3.0),
            7 => attack.start + epochs(8.0),
            _ => attack.start + epochs(5.0),
        };
        for keys in runs(&attack.keys) {
            self.calendar.at(attack.start, Action::Move { keys, host: home, silent_until: back });
        }
        if attack.class == 7 {
            // When it is over, the one that came back waits out the lease of the other.
            let silent_until = attack.end + epochs(4.0);
            for keys in runs(&attack.keys) {
                self.calendar.at(attack.end, Action::Move { keys, host: home, silent_until });
            }
        }
    }

    /// A6: the keys go to the target by declaration, and the old owner does not stop.
    fn declares(&mut self, attack: &Attack) {
        let hosts = self.world.cohorts[usize::from(attack.cohort)].hosts;
        let pair = (hosts[PRIMARY], hosts[TARGET]);
        let slots = attack.start - 32..attack.end;
        self.calendar.declare(self.world, attack.cohort, pair, attack.keys.clone(), slots);
        // After it the old owner waits out the lease of the new one.
        let silent_until = attack.end + epochs(4.0);
        for keys in runs(&attack.keys) {
            let host = hosts[PRIMARY];
            self.calendar.at(attack.end, Action::Move { keys, host, silent_until });
        }
    }

    /// A12: later by 0.2 or 2 ms in each epoch.
    fn drifts(&mut self, attack: &Attack) {
        let key = attack.keys[0];
        let rate = if attack.variant.is_multiple_of(2) { 2.0 } else { 0.2 };
        for epoch in 0..150 {
            let ms = (f64::from(epoch) * rate) as i16;
            let slot = attack.start + u64::try_from(epoch).unwrap_or(0) * SLOTS_PER_EPOCH;
            self.calendar.at(slot, Action::KeyDelay { key, ms });
        }
        self.calendar.at(attack.end, Action::KeyDelay { key, ms: 0 });
    }

    /// Cohorts that an attack makes sense for.
    fn cohort_for(&self, class: u8) -> Vec<u16> {
        let fits = |index: &u16| {
            let cohort = &self.world.cohorts[usize::from(*index)];
            let is_usual = matches!(
                cohort.kind,
                Kind::Plain | Kind::Quiet | Kind::SeveralNodes | Kind::TwoPrefixes
            );
            match class {
                // By declaration two may sign there, and shares say nothing without a cluster.
                8 | 9 => cohort.shares.is_some() && !cohort.is_chosen_by_gate,
                // Leases are of named clients.
                5..=7 => is_usual && cohort.is_named,
                13 => cohort.kind == Kind::Quiet,
                10 | 16..=18 => cohort.kind != Kind::Small,
                _ => is_usual,
            }
        };
        (0..self.world.cohorts.len() as u16).filter(fits).collect()
    }

    /// A cohort and a slot from which on nothing else concerns all of it for so many epochs.
    fn room(&mut self, cohorts: &[u16], lasting: u64) -> (u16, u64) {
        assert!(!cohorts.is_empty(), "a world without a cohort for this attack");
        let (first, last) = (self.world.first_scored_slot(), self.world.last_slot());
        let scored = last - first;
        for _ in 0..200_000 {
            let cohort = *self.draw.pick(cohorts);
            let start = first + self.draw.below(scored - SLOTS_PER_EPOCH * (lasting + 8)) + 128;
            // Early in an epoch: a minute's burst is of one epoch.
            let start = start / SLOTS_PER_EPOCH * SLOTS_PER_EPOCH + self.draw.below(20);
            let end = start + lasting * SLOTS_PER_EPOCH;
            if self.calendar.is_free(cohort, start - 4 * SLOTS_PER_EPOCH, end) {
                return (cohort, start);
            }
        }
        panic!("no room for an attack of {lasting} epochs");
    }

    /// Keys that nothing else is planned for, far from the cohort's first half where rebalanced
    /// ones are.
    fn take(&mut self, cohort: u16, count: u64) -> Option<Vec<u32>> {
        let cohort = &self.world.cohorts[usize::from(cohort)];
        let half = cohort.keys / 2;
        let mut found = Vec::new();
        for _ in 0..4_000 {
            let key = cohort.first + half + self.draw.below(u64::from(cohort.keys - half)) as u32;
            if !self.calendar.taken[key as usize] && !found.contains(&key) {
                found.push(key);
            }
            if found.len() as u64 == count {
                found.sort_unstable();
                for key in &found {
                    self.calendar.taken[*key as usize] = true;
                }
                return Some(found);
            }
        }
        None
    }

    /// Who does it.
    fn attacker(&mut self, class: u8, nth: u8, cohort: u16) -> u16 {
        let hosts = self.world.cohorts[usize::from(cohort)].hosts;
        let stolen = |world: &World| world.hosts[usize::from(hosts[PRIMARY])].clone();
        match class {
            // The owner's certificate and client software, from elsewhere.
            2 | 19 => {
                let mut host = stolen(self.world);
                host.source.prefix = self.draw.number();
                self.world.hosts.push(host);
                self.world.hosts.len() as u16 - 1
            }
            // Known to the fleet: it signs for others.
            3 => {
                let others: Vec<u16> = (0..self.world.cohorts.len() as u16)
                    .filter(|other| {
                        *other != cohort && self.world.cohorts[usize::from(*other)].keys > 50
                    })
                    .collect();
                let other = *self.draw.pick(&others);
                self.world.cohorts[usize::from(other)].hosts[PRIMARY]
            }
            5 => hosts[if nth.is_multiple_of(2) { TARGET } else { STRANGER }],
            // The harm is done by the owner that does not stop, or comes back.
            6 | 7 => hosts[PRIMARY],
            // In the owner's own name, from the owner's own machine.
            8..=12 | 14..=18 => hosts[PRIMARY],
            _ => {
                // Its certificate is nobody's: it has no name.
                let index = self.world.add_host(false, self.draw);
                self.world.hosts[usize::from(index)].source.dialect = self.draw.number();
                index
            }
        }
    }

    /// A13: five to ten probes, about one a day, at times when its cohort has its usual life.
    fn probes(&mut self, cohort: u16, start: u64) -> Vec<u64> {
        let first = self.world.first_scored_slot();
        let count = self.draw.whole(5, 10);
        let span = start.saturating_sub(first) / count;
        let mut slots = Vec::new();
        for nth in 0..count {
            let slot = first + nth * span + self.draw.below(span.clamp(1, SLOTS_PER_DAY / 4));
            let epoch = slot / SLOTS_PER_EPOCH * SLOTS_PER_EPOCH;
            let is_free = self.calendar.is_free(cohort, epoch, epoch + 2 * SLOTS_PER_EPOCH);
            if is_free && epoch + 3 * SLOTS_PER_EPOCH < start && slots.last() != Some(&epoch) {
                slots.push(epoch);
            }
        }
        slots
    }
}

/// Sorted keys as ranges.
fn runs(keys: &[u32]) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for key in keys {
        match runs.last_mut() {
            Some(run) if run.end == *key => run.end += 1,
            _ => runs.push(*key..*key + 1),
        }
    }
    runs
}
