//! Every course of events, up to a bound, of one store, a copy of it, their processes and the
//! witness: crashes after each step, copies at every moment, restores, restarts, signatures,
//! renewals, seals.
//!
//! Two oracles. Honest: the directory that the last owner left is never refused. Safe: a directory
//! that lacks a signature of which the witness had heard is never opened; one that lacks a
//! signature of which it had not heard can be opened only in that owner's place, before anybody
//! else came.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::*;

const STARTS: u8 = 3;
const COPIES: u8 = 2;
const SIGNATURES: usize = 2;
const RESERVATIONS: u64 = 1;

#[derive(Clone, Hash)]
struct Directory {
    local: Local,
    /// Bit i: has signature i.
    records: u8,
}

#[derive(Clone, Hash)]
struct Signature {
    claim: Claim,
    /// Whether the witness was renewed or sealed after it.
    heard: bool,
    /// Whether an owner without it came, which the witness could not have known.
    lost: bool,
}

#[derive(Clone, Hash)]
enum Phase {
    Planned(OpenPlan),
    Pended(OpenPlan),
    Claimed(OpenPlan),
    Confirmed(WitnessState),
    Live(WitnessState),
    SealedHere(WitnessState),
}

#[derive(Clone, Hash)]
struct World {
    directories: [Directory; 2],
    witness: WitnessState,
    /// The directory in use and how far its process is: the lock admits one process.
    process: Option<(usize, Phase)>,
    signatures: Vec<Signature>,
    /// The directory of the last owner, unless something else was restored over it.
    honest: Option<usize>,
    starts: u8,
    copies: u8,
}

#[derive(Default, Debug)]
struct Seen {
    worlds: u64,
    opened: u64,
    recovered: u64,
    unheard: u64,
    refused: HashSet<&'static str>,
}

fn reason(stale: &Stale) -> &'static str {
    match stale {
        Stale::OtherBinding { .. } => "other binding",
        Stale::OtherStore { .. } => "other store",
        Stale::GenerationBehind { .. } => "generation behind",
        Stale::WitnessBehind { .. } => "witness behind",
        Stale::SecondOwner { .. } => "second owner",
        Stale::CopiedWhileOpening { .. } => "copied while opening",
        Stale::SequenceBehind { .. } => "sequence behind",
        Stale::ReservationBehind { .. } => "reservation behind",
        Stale::SealMismatch { .. } => "seal mismatch",
    }
}

impl World {
    fn new() -> Self {
        let (local, witness) = new_store();
        let directory = Directory { local, records: 0 };
        Self {
            directories: [directory.clone(), directory],
            witness,
            process: None,
            signatures: Vec::new(),
            honest: Some(0),
            starts: 0,
            copies: 0,
        }
    }

    fn changed(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        change(&mut next);
        next
    }

    fn lacks(&self, directory: usize) -> impl Iterator<Item = usize> {
        let records = self.directories[directory].records;
        (0..self.signatures.len()).filter(move |i| records & 1 << i == 0)
    }

    fn start(&self, directory: usize, seen: &mut Seen) -> Option<Self> {
        let local = &self.directories[directory].local;
        let plan = match plan_open(local, &self.witness, &host(), nonce(self.starts + 1)) {
            Ok(plan) => plan,
            Err(OpenRefused::LeaseHeld(held)) => panic!("one machine only: {held}"),
            Err(OpenRefused::Stale(stale)) => {
                assert_ne!(self.honest, Some(directory), "honest store refused: {stale}");
                seen.refused.insert(reason(&stale));
                return None;
            }
        };
        for i in self.lacks(directory) {
            let Signature { claim, heard, lost } = &self.signatures[i];
            let told = *heard || *claim != self.witness.claim || local.claim != *claim;
            assert!(*lost || !told, "opened without signature {i}: {local:?} {:?}", self.witness);
            seen.unheard += u64::from(!lost);
        }
        seen.opened += 1;
        seen.recovered += u64::from(plan.recovered().is_some());
        Some(self.changed(|next| {
            next.starts += 1;
            next.process = Some((directory, Phase::Planned(plan)));
        }))
    }

    fn copy(&self, from: usize, to: usize) -> Self {
        self.changed(|next| {
            let over_owner = next.honest == Some(to);
            let same = next.directories[to].local == next.directories[from].local;
            next.directories[to] = next.directories[from].clone();
            next.copies += 1;
            if over_owner && !same {
                next.honest = None;
            }
        })
    }

    /// All that may happen next.
    fn nexts(&self, seen: &mut Seen) -> Vec<Self> {
        let mut nexts = Vec::new();
        for (from, to) in [(0, 1), (1, 0)] {
            let in_use = self.process.as_ref().is_some_and(|(used, _)| *used == to);
            if self.copies < COPIES && !in_use {
                nexts.push(self.copy(from, to));
            }
        }
        match &self.process {
            None if self.starts < STARTS => {
                nexts.extend((0..2).filter_map(|directory| self.start(directory, seen)));
            }
            None => {}
            Some((directory, phase)) => {
                nexts.push(self.changed(|next| next.process = None)); // the crash
                self.steps(*directory, phase, &mut nexts);
            }
        }
        nexts
    }

    fn steps(&self, used: usize, phase: &Phase, nexts: &mut Vec<Self>) {
        let mut push = |phase: Option<Phase>, change: &dyn Fn(&mut Self)| {
            nexts.push(self.changed(|next| {
                next.process = phase.map(|phase| (used, phase));
                change(next);
            }));
        };
        match phase.clone() {
            Phase::Planned(plan) => push(Some(Phase::Pended(plan.clone())), &|next| {
                next.directories[used].local = plan.pend().clone();
            }),
            Phase::Pended(plan) => push(Some(Phase::Claimed(plan.clone())), &|next| {
                let (expected, claimed) = plan.claim();
                assert_eq!(&next.witness, expected, "the lock keeps others away");
                next.witness = claimed.clone();
                next.honest = Some(used);
                for i in next.lacks(used).collect::<Vec<_>>() {
                    next.signatures[i].lost = true;
                }
            }),
            Phase::Claimed(plan) => {
                push(Some(Phase::Confirmed(plan.claim().1.clone())), &|next| {
                    next.directories[used].local = plan.confirm();
                });
            }
            Phase::Confirmed(view) => self.renew(used, &view, nexts),
            Phase::Live(view) => self.live(used, &view, nexts),
            Phase::SealedHere(view) => push(None, &|next| {
                let sequence = next.directories[used].local.sequence;
                next.witness = view.sealed(&host(), sequence);
                next.hear();
            }),
        }
    }

    fn hear(&mut self) {
        self.signatures.iter_mut().for_each(|signature| signature.heard = true);
    }

    fn renew(&self, used: usize, view: &WitnessState, nexts: &mut Vec<Self>) {
        nexts.push(self.changed(|next| {
            assert_eq!(&next.witness, view);
            let local = &next.directories[used].local;
            let renewed = view.renewed(&host(), local.reserved_through, local.sequence);
            next.witness = renewed.clone();
            next.process = Some((used, Phase::Live(renewed)));
            next.hear();
        }));
    }

    fn live(&self, used: usize, view: &WitnessState, nexts: &mut Vec<Self>) {
        self.renew(used, view, nexts);
        if self.signatures.len() < SIGNATURES {
            nexts.push(self.changed(|next| {
                let id = next.signatures.len();
                next.directories[used].local.sequence += 1;
                next.directories[used].records |= 1 << id;
                next.signatures.push(Signature { claim: view.claim, heard: false, lost: false });
            }));
        }
        if self.directories[used].local.reserved_through.epoch < RESERVATIONS {
            nexts.push(self.changed(|next| {
                next.directories[used].local.reserved_through.epoch += 1;
            }));
        }
        nexts.push(self.changed(|next| {
            next.directories[used].local.sealed = true;
            next.process = Some((used, Phase::SealedHere(view.clone())));
        }));
    }
}

#[test]
fn honest_stores_open_and_stale_ones_do_not_in_every_course_of_events() {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut known = HashSet::new();
    let mut seen = Seen::default();
    let mut open = vec![World::new()];
    while let Some(world) = open.pop() {
        seen.worlds += 1;
        for next in world.nexts(&mut seen) {
            if known.insert(hasher.hash_one(&next)) {
                open.push(next);
            }
        }
    }
    eprintln!("{seen:?}");
    assert!(seen.worlds > 10_000 && seen.recovered > 100, "the model hardly moved: {seen:?}");
    let expected = [
        "generation behind",
        "copied while opening",
        "sequence behind",
        "reservation behind",
        "seal mismatch",
    ];
    for reason in expected {
        assert!(seen.refused.contains(reason), "never refused for {reason}: {seen:?}");
    }
    assert!(seen.unheard > 0, "the limit that the documentation states was not reached");
}
