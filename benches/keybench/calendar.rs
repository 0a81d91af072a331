//! What is planned for a world, in the order of its slots, and who is busy when.

use std::ops::Range;

use policy::{GroupIndex, Message, Window, WindowId, WindowKind};

use crate::attacks::Attack;
use crate::label::Label;
use crate::world::{Cohort, SLOTS_PER_EPOCH, World, begin_of};

/// A change in the world, at the beginning of a slot.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// From now on the honest requests of a cohort are of this scenario. Those of `host` alone, if
    /// one is named, show that the scenario occurred.
    Scenario { cohort: u16, planted: u32, label: Label, host: Option<u16> },
    /// Keys stop where they are and go on at a host later.
    Move { keys: Range<u32>, host: u16, silent_until: u64 },
    /// A client of another version: it writes its requests in another way.
    Dialect { host: u16, dialect: u64 },
    /// A third address comes into use, beside the others, or goes.
    ThirdPrefix { cohort: u16, is_used: bool },
    /// What was signed for that slot is asked for again.
    SignAgain { cohort: u16, of: u64 },
    /// Every key is registered anew.
    Register { cohort: u16 },
    /// A host is late by so much, and by something of this mean.
    Delay { host: u16, ms: f64, spread_ms: f64 },
    /// The gate's own clock is off.
    GateClock { planted: u32, ms: i64 },
    /// Another set of shares signs.
    Shares { cohort: u16, set: u32 },
    /// New keys begin.
    Join { keys: Range<u32> },
    /// The gate is not there until then; `None`: it is back.
    GateDown { planted: u32, until: u64 },
    /// Blocks come after the deadline, or no longer do.
    LateBlocks { planted: Option<u32> },
    /// The source checkpoint stands still, or no longer does.
    NoFinality { planted: Option<u32> },
    /// A block moves to another slot of the epoch's beginning: committees are computed again.
    Reorg { planted: u32 },
    /// One honest request for something rare.
    Ask { key: u32, message: Message, planted: u32 },
    /// An attack begins: its own code says what it does in each slot until it ends.
    Attack { attack: u32 },
    /// One key's requests come late by so much from now on.
    KeyDelay { key: u32, ms: i16 },
    /// A key's honest requests are those of a victim until then.
    Victim { keys: Range<u32>, attack: u32, until: u64 },
}

/// A benign scenario that was planned. The run fails if it did not occur.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planted {
    pub(crate) scenario: u8,
    pub(crate) start: u64,
}

/// The plan.
#[derive(Debug, Default)]
pub(crate) struct Calendar {
    pub(crate) actions: Vec<(u64, Action)>,
    pub(crate) windows: Vec<Window>,
    pub(crate) planted: Vec<Planted>,
    pub(crate) attacks: Vec<Attack>,
    /// By cohort: from and until when something concerns all of it.
    busy: Vec<Vec<(u64, u64)>>,
    /// When nothing reaches the gate.
    down: Vec<(u64, u64)>,
    /// Keys that something of their own is planned for.
    pub(crate) taken: Vec<bool>,
}

impl Calendar {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            busy: vec![Vec::new(); world.cohorts.len()],
            taken: vec![false; world.cohort_of.len()],
            ..Self::default()
        }
    }

    pub(crate) fn at(&mut self, slot: u64, action: Action) {
        self.actions.push((slot, action));
    }

    pub(crate) fn plant(&mut self, scenario: u8, start: u64) -> u32 {
        self.planted.push(Planted { scenario, start });
        self.planted.len() as u32 - 1
    }

    pub(crate) fn occupy(&mut self, cohort: u16, from: u64, until: u64) {
        self.busy[usize::from(cohort)].push((from, until));
    }

    pub(crate) fn set_down(&mut self, from: u64, until: u64) {
        self.down.push((from, until));
    }

    pub(crate) fn is_free(&self, cohort: u16, from: u64, until: u64) -> bool {
        let apart = |&(start, end): &(u64, u64)| until <= start || end <= from;
        self.busy[usize::from(cohort)].iter().all(apart) && self.down.iter().all(apart)
    }

    /// A window in which the keys of a cohort may go from one host to another.
    pub(crate) fn declare(
        &mut self,
        world: &World,
        cohort: u16,
        (from, to): (u16, u16),
        keys: Vec<u32>,
        slots: Range<u64>,
    ) {
        let client = |host: u16| world.hosts[usize::from(host)].source.client;
        let kind = WindowKind::Rotation { from: client(from), to: client(to) };
        self.window(cohort, kind, keys, slots);
    }

    pub(crate) fn window(
        &mut self,
        cohort: u16,
        kind: WindowKind,
        keys: Vec<u32>,
        slots: Range<u64>,
    ) {
        let name = format!("window-{}", self.windows.len());
        self.windows.push(Window {
            id: WindowId::of(&name, begin_of(slots.start)),
            name,
            kind,
            groups: vec![GroupIndex(cohort)],
            keys: keys.into_iter().collect(),
            from_ms: begin_of(slots.start),
            until_ms: begin_of(slots.end),
        });
    }

    /// How it was with a host in a slot: in a planned fault, in the eight hours after one (an
    /// attack's delay is one), or quiet.
    pub(crate) fn state_of_host(&self, slot: u64, is_it: impl Fn(u16) -> bool) -> &'static str {
        let mut state = "quiet";
        for (at, action) in self.actions.iter().take_while(|(at, _)| *at <= slot) {
            if let Action::Delay { host, ms, spread_ms } = action
                && is_it(*host)
            {
                let is_fault = *ms != 0.0 || *spread_ms != 0.0;
                state = match slot - at {
                    _ if is_fault => "in_a_fault",
                    0..2_400 => "after_a_fault",
                    _ => "quiet",
                };
            }
        }
        state
    }

    /// Puts everything in order; what is planned for the same slot keeps its order.
    pub(crate) fn finish(&mut self) {
        self.actions.sort_by_key(|(slot, _)| *slot);
        self.windows.sort_by_key(|window| window.from_ms);
    }
}

/// All keys of a cohort.
pub(crate) const fn all(cohort: &Cohort) -> Range<u32> {
    cohort.first..cohort.first + cohort.keys
}

/// Slots of so many epochs.
pub(crate) fn epochs(count: f64) -> u64 {
    (count * SLOTS_PER_EPOCH as f64) as u64
}
