//! What honest life brings: B1 to B18, planned for each cohort and for the whole world.

use policy::{Message, WindowKind};

use crate::calendar::{Action, Calendar, all, epochs};
use crate::draw::Draw;
use crate::label::Label;
use crate::world::{
    BACKUP, Kind, PRIMARY, SLOTS_PER_DAY, SLOTS_PER_EPOCH, STRANGER, TARGET, World, draw_set,
    substitute,
};

const SLOTS_PER_HOUR: f64 = 300.0;

/// The scenario that a cohort is in when nothing is planned for it.
pub(crate) const fn base_scenario(kind: Kind) -> u8 {
    match kind {
        Kind::Plain | Kind::Quiet | Kind::TwoPrefixes => 1,
        Kind::Distributed | Kind::SeveralNodes => 14,
        Kind::ActivePair => 16,
        Kind::Small => 17,
    }
}

/// Plans everything honest.
pub(crate) fn plan(world: &World, calendar: &mut Calendar, draw: &mut Draw) {
    for cohort in 0..world.cohorts.len() as u16 {
        let label = Label::Benign(base_scenario(world.cohorts[usize::from(cohort)].kind));
        let Label::Benign(scenario) = label else { continue };
        let start = crate::world::FIRST_SLOT;
        let planted = calendar.plant(scenario, start);
        calendar.at(start, Action::Scenario { cohort, planted, label, host: None });
    }
    plan_fleet(world, calendar, draw);
    plan_new_keys(world, calendar, draw);
    for cohort in 0..world.cohorts.len() as u16 {
        Planner { world, calendar, draw, cohort }.plan();
    }
}

/// What concerns everybody at once.
fn plan_fleet(world: &World, calendar: &mut Calendar, draw: &mut Draw) {
    let (first, last) = (world.first_scored_slot(), world.last_slot());
    let scored = last - first;
    let days = scored as f64 / SLOTS_PER_DAY as f64;
    for _ in 0..(days * draw.between(0.5, 0.9)).ceil() as u64 {
        let start = first + draw.below(scored - 200);
        let planted = Some(calendar.plant(2, start));
        calendar.at(start, Action::LateBlocks { planted });
        calendar.at(start + 150, Action::LateBlocks { planted: None });
    }
    let hours = draw.between(10.0, 14.0).min(days * 6.0);
    let start = first + draw.below(scored - (hours * SLOTS_PER_HOUR) as u64 - 64);
    let planted = Some(calendar.plant(3, start));
    calendar.at(start, Action::NoFinality { planted });
    let end = start + (hours * SLOTS_PER_HOUR) as u64;
    calendar.at(end, Action::NoFinality { planted: None });
    calendar.plant(10, world.fork_epoch * SLOTS_PER_EPOCH);
    for ms in [400, -400] {
        let start = first + draw.below(scored - 400);
        let planted = calendar.plant(12, start);
        calendar.at(start, Action::GateClock { planted, ms });
        calendar.at(start + draw.whole(100, 300), Action::GateClock { planted, ms: 0 });
    }
    for hours in [draw.between(0.005, 0.02), draw.between(0.8, 1.2)] {
        let slots = ((hours * SLOTS_PER_HOUR) as u64).max(1);
        let start = first + draw.below(scored - 600);
        let planted = calendar.plant(15, start);
        calendar.at(start, Action::GateDown { planted, until: start + slots });
        calendar.set_down(start, start + slots + 1);
    }
    for _ in 0..(days * draw.between(0.5, 1.5)).ceil() as u64 {
        let epoch = (first + draw.below(scored - 64)) / SLOTS_PER_EPOCH + 1;
        let start = epoch * SLOTS_PER_EPOCH + draw.below(3);
        let planted = calendar.plant(18, start);
        calendar.at(start, Action::Reorg { planted });
    }
}

/// B13: the last keys of two plain cohorts begin in the middle.
fn plan_new_keys(world: &World, calendar: &mut Calendar, draw: &mut Draw) {
    let (first, last) = (world.first_scored_slot(), world.last_slot());
    let plain = world.cohorts.iter().enumerate().filter(|(_, cohort)| cohort.kind == Kind::Plain);
    for (index, cohort) in plain.take(2) {
        let count = (f64::from(cohort.keys) * draw.between(0.1, 0.3)).ceil() as u32;
        let keys = all(cohort).end - count..all(cohort).end;
        let start = first + (last - first) / 4 + draw.below((last - first) / 4);
        let planted = calendar.plant(13, start);
        let (cohort, label) = (index as u16, Label::Benign(13));
        for key in keys.clone() {
            calendar.taken[key as usize] = true;
        }
        calendar.at(start, Action::Scenario { cohort, planted, label, host: None });
        calendar.at(start, Action::Join { keys });
        calendar.occupy(cohort, start - 1, start + epochs(20.0));
        rest(world, calendar, cohort, start + epochs(20.0));
    }
}

/// Nothing in particular from then on.
fn rest(world: &World, calendar: &mut Calendar, cohort: u16, slot: u64) {
    let scenario = base_scenario(world.cohorts[usize::from(cohort)].kind);
    let (planted, label) = (u32::MAX, Label::Benign(scenario));
    calendar.at(slot, Action::Scenario { cohort, planted, label, host: None });
}

struct Planner<'a> {
    world: &'a World,
    calendar: &'a mut Calendar,
    draw: &'a mut Draw,
    cohort: u16,
}

/// One scenario of a cohort: it plans from this slot on and says where it ends.
type Scenario<'a> = fn(&mut Planner<'a>, u64) -> u64;

impl<'a> Planner<'a> {
    fn plan(&mut self) {
        let scenarios: &[Scenario<'a>] = match self.world.cohorts[usize::from(self.cohort)].kind {
            Kind::Quiet => return,
            Kind::Plain => &[
                Self::failover_declared,
                Self::failover_undeclared,
                Self::failover_to_stranger,
                Self::migration,
                Self::upgrade,
                Self::node_outage,
                Self::overload,
                Self::clock_step,
                Self::rebalance,
                Self::exits_and_deposits,
            ],
            Kind::TwoPrefixes => &[Self::third_prefix, Self::upgrade, Self::overload],
            Kind::Distributed => &[Self::node_outage, Self::overload],
            Kind::SeveralNodes => &[Self::upgrade, Self::clock_step],
            Kind::ActivePair => &[Self::overload, Self::upgrade],
            Kind::Small => &[Self::failover_declared, Self::failover_undeclared, Self::upgrade],
        };
        let last = self.world.last_slot();
        let mut slot = self.world.first_scored_slot() + self.pause();
        // Another beginning for each cohort, so that every scenario occurs in every world.
        let mut next = usize::from(self.cohort);
        while slot + 2 * SLOTS_PER_DAY < last {
            if !self.calendar.is_free(self.cohort, slot, slot + SLOTS_PER_DAY) {
                // Not to the next free slot: all cohorts would begin together, behind a restart.
                slot += self.pause();
                continue;
            }
            let end = scenarios[next % scenarios.len()](self, slot);
            self.calendar.occupy(self.cohort, slot - epochs(4.0), end + epochs(6.0));
            rest(self.world, self.calendar, self.cohort, end);
            slot = end + self.pause();
            next += 1;
        }
    }

    fn pause(&mut self) -> u64 {
        let mean = if self.cohort().kind == Kind::Small { 0.5 } else { 0.8 };
        epochs(12.0) + (self.draw.exponential(mean) * SLOTS_PER_DAY as f64) as u64
    }

    fn cohort(&self) -> &crate::world::Cohort {
        &self.world.cohorts[usize::from(self.cohort)]
    }

    fn host(&self, which: usize) -> u16 {
        self.cohort().hosts[which]
    }

    fn hours(&mut self, low: f64, high: f64) -> u64 {
        (self.draw.between(low, high) * SLOTS_PER_HOUR) as u64
    }

    fn begin(&mut self, slot: u64, label: Label, host: Option<u16>) {
        let (Label::Benign(scenario) | Label::Excluded(scenario)) = label else { return };
        let planted = self.calendar.plant(scenario, slot);
        let cohort = self.cohort;
        self.calendar.at(slot, Action::Scenario { cohort, planted, label, host });
    }

    /// How long a host has been silent when another takes over without a word: a large one may be
    /// failed over by a machine, a small one is by people, who wait out two epochs.
    fn gap(&mut self) -> u64 {
        let requests = f64::from(self.cohort().keys) / SLOTS_PER_EPOCH as f64;
        if requests < 3.0 {
            epochs(self.draw.between(2.3, 8.0))
        } else if self.draw.chance(0.3) {
            epochs(self.draw.between(0.2, 1.0))
        } else {
            epochs(self.draw.between(1.0, 8.0))
        }
    }

    fn go(&mut self, slot: u64, host: u16, silent_until: u64) {
        let keys = all(self.cohort());
        self.calendar.at(slot, Action::Move { keys, host, silent_until });
    }

    fn failover_declared(&mut self, slot: u64) -> u64 {
        if !self.cohort().is_named {
            return self.failover_undeclared(slot); // nobody can declare what has no name
        }
        let (home, there) = (self.host(PRIMARY), self.host(BACKUP));
        let stay = self.hours(4.0, 20.0);
        self.begin(slot, Label::Benign(4), Some(there));
        for (start, pair) in [(slot, (home, there)), (slot + stay, (there, home))] {
            let gap = epochs(self.draw.between(0.03, 2.0)).max(1);
            let slots = start - 32..start + gap + epochs(4.0);
            self.calendar.declare(self.world, self.cohort, pair, Vec::new(), slots);
            self.go(start, pair.1, start + gap);
        }
        slot + stay + epochs(6.0)
    }

    fn failover_undeclared(&mut self, slot: u64) -> u64 {
        let (home, there) = (self.host(PRIMARY), self.host(BACKUP));
        self.begin(slot, Label::Benign(5), Some(there));
        let stay = self.hours(4.0, 20.0);
        let gap = self.gap();
        self.go(slot, there, slot + gap);
        let gap = self.gap();
        self.go(slot + stay, home, slot + stay + gap);
        slot + stay + gap + epochs(6.0)
    }

    fn failover_to_stranger(&mut self, slot: u64) -> u64 {
        let (home, there) = (self.host(PRIMARY), self.host(STRANGER));
        self.begin(slot, Label::Excluded(6), Some(there));
        let stay = self.hours(4.0, 12.0);
        let gap = self.gap();
        self.go(slot, there, slot + gap);
        // The way back, to a host that is enrolled, counts.
        self.begin(slot + stay, Label::Benign(5), Some(home));
        let gap = self.gap();
        self.go(slot + stay, home, slot + stay + gap);
        slot + stay + gap + epochs(6.0)
    }

    fn migration(&mut self, slot: u64) -> u64 {
        let (home, there) = (self.host(PRIMARY), self.host(TARGET));
        self.begin(slot, Label::Benign(7), Some(there));
        let is_declared = self.cohort().is_named && self.draw.chance(0.7);
        let keys = all(self.cohort());
        let batch = keys.len().div_ceil(10);
        let mut end = slot;
        for from in keys.clone().step_by(batch) {
            let keys = from..(from + batch as u32).min(keys.end);
            let gap = if is_declared {
                let gap = epochs(self.draw.between(0.2, 3.0));
                let listed = keys.clone().collect();
                let slots = end - 32..end + gap + epochs(4.0);
                self.calendar.declare(self.world, self.cohort, (home, there), listed, slots);
                gap
            } else {
                epochs(self.draw.between(3.2, 6.0))
            };
            self.calendar.at(end, Action::Move { keys, host: there, silent_until: end + gap });
            end += epochs(self.draw.between(2.0, 6.0));
        }
        end += epochs(10.0);
        let gap = self.gap().max(epochs(2.5));
        self.go(end, home, end + gap);
        end + gap + epochs(6.0)
    }

    fn upgrade(&mut self, slot: u64) -> u64 {
        let host = self.host(PRIMARY);
        self.begin(slot, Label::Benign(8), Some(host));
        let back = slot + self.draw.whole(2, 20);
        self.go(slot, host, back);
        let dialect = self.draw.number();
        self.calendar.at(back, Action::Dialect { host, dialect });
        self.calendar.at(back, Action::SignAgain { cohort: self.cohort, of: slot - 1 });
        self.calendar.at(back, Action::Register { cohort: self.cohort });
        back + epochs(6.0)
    }

    fn third_prefix(&mut self, slot: u64) -> u64 {
        let label =
            if self.cohort().is_third_enrolled { Label::Benign(9) } else { Label::Excluded(9) };
        self.begin(slot, label, None);
        let end = slot + self.hours(6.0, 18.0);
        self.calendar.at(slot, Action::ThirdPrefix { cohort: self.cohort, is_used: true });
        self.calendar.at(end, Action::ThirdPrefix { cohort: self.cohort, is_used: false });
        end + epochs(3.0)
    }

    fn node_outage(&mut self, slot: u64) -> u64 {
        let Some(set) = self.cohort().shares else {
            return self.overload(slot);
        };
        self.begin(slot, Label::Benign(11), None);
        let cohort = self.cohort;
        let end = slot + self.hours(2.0, 8.0);
        let other = substitute(set, self.draw);
        self.calendar.at(slot, Action::Shares { cohort, set: other });
        // A quarter of them are for good: the cluster is set up anew.
        let after = if self.draw.chance(0.25) { draw_set(self.draw) } else { set };
        self.calendar.at(end, Action::Shares { cohort, set: after });
        end + epochs(20.0)
    }

    fn overload(&mut self, slot: u64) -> u64 {
        let host = self.host(PRIMARY);
        self.begin(slot, Label::Benign(12), Some(host));
        let end = slot + self.draw.whole(30, 90);
        let spread_ms = self.draw.between(150.0, 450.0);
        self.calendar.at(slot, Action::Delay { host, ms: 0.0, spread_ms });
        self.calendar.at(end, Action::Delay { host, ms: 0.0, spread_ms: 0.0 });
        end + epochs(2.0)
    }

    fn clock_step(&mut self, slot: u64) -> u64 {
        let host = self.host(PRIMARY);
        self.begin(slot, Label::Benign(12), Some(host));
        let ms = if self.draw.chance(0.5) { 200.0 } else { -120.0 };
        let end = slot + self.hours(1.0, 3.0);
        self.calendar.at(slot, Action::Delay { host, ms, spread_ms: 0.0 });
        self.calendar.at(end, Action::Delay { host, ms: 0.0, spread_ms: 0.0 });
        end + epochs(2.0)
    }

    /// One key goes to another host of its operator for some hours, after two silent epochs and
    /// more, or by declaration.
    fn rebalance(&mut self, slot: u64) -> u64 {
        let (home, there) = (self.host(PRIMARY), self.host(TARGET));
        let key = self.cohort().first + self.draw.below(u64::from(self.cohort().keys) / 2) as u32;
        self.begin(slot, Label::Benign(7), Some(there));
        let stay = self.hours(3.0, 10.0);
        let is_declared = self.cohort().is_named && self.draw.chance(0.7);
        for (start, pair) in [(slot, (home, there)), (slot + stay, (there, home))] {
            let mut gap = epochs(self.draw.between(3.2, 6.0));
            if is_declared {
                gap = epochs(self.draw.between(0.2, 3.0));
                let slots = start - 32..start + gap + epochs(4.0);
                self.calendar.declare(self.world, self.cohort, pair, vec![key], slots);
            }
            let silent_until = start + gap;
            let keys = key..key + 1;
            self.calendar.at(start, Action::Move { keys, host: pair.1, silent_until });
        }
        slot + stay + epochs(12.0)
    }

    /// What people do on purpose: a few exits in an approved window, a deposit of the right kind.
    fn exits_and_deposits(&mut self, slot: u64) -> u64 {
        let end = slot + self.hours(1.0, 4.0);
        for kind in [WindowKind::Exits, WindowKind::Deposits] {
            self.calendar.window(self.cohort, kind, Vec::new(), slot..end);
        }
        let cohort = self.cohort();
        let (first, keys, credentials) = (cohort.first, cohort.keys, cohort.credentials);
        let epoch = slot / SLOTS_PER_EPOCH;
        let deposit =
            Message::Deposit { withdrawal_credentials: credentials, amount_gwei: 32_000_000_000 };
        let planted = self.calendar.plant(1, slot);
        for (after, message) in [
            (20, Message::VoluntaryExit { epoch }),
            (40, deposit),
            (80, Message::VoluntaryExit { epoch }),
        ] {
            let key = first + self.draw.below(u64::from(keys) / 2) as u32;
            self.calendar.at(slot + after, Action::Ask { key, message, planted });
        }
        end
    }
}
