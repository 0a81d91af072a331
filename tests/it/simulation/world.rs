//! The world of one seed: validator clients, one gate at a time, its disk, its witness, its clocks.
//!
//! One thread chooses what happens next. The recorder's thread writes only when it is let, so the
//! same seed gives the same run.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use portcullis::clock::Now;
use portcullis::eth::SigningRoot;
use portcullis::sign::Granted;
use portcullis::web3signer::request::SigningRequest;
use slashing_db::testing::MemoryDisk;
use slashing_db::witness::Witness;
use slashing_db::witness::testing::MemoryWitness;
use slashing_db::{BootTime, Pending, Permit, RecordError, RenewError, Store};

use super::chain::{
    GENESIS_S, SLOT_NS, SLOTS_PER_EPOCH, attests_in, block, justified, public_key, randao, vote,
};
use super::oracle::{Admitted, Circumstances, LeaseModel, Said, Signer, explains, slot_of};
use super::process::{PLACES, Process, params};
use crate::chance::Chance;

/// All keys; some of them are enrolled later.
pub(super) const KEYS: usize = 64;
const KEYS_AT_FIRST: usize = 56;
const FIRST_EPOCH: u64 = 100;
/// How long a client goes on asking for a vote, in slots.
const VOTE_TRIES_SLOTS: u64 = 8;

/// What may happen beside honest duties.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// Nothing.
    Calm,
    /// Everything.
    Wild,
}

/// One request of a client; an honest duty by its number.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) key: usize,
    pub(super) honest: Option<u64>,
    pub(super) request: SigningRequest,
}

/// Queued, not durable.
pub(super) struct Waiting {
    pub(super) ask: Ask,
    pub(super) root: SigningRoot,
    pub(super) pending: Pending,
}

/// Durable or in no need of it, and not forwarded.
pub(super) struct Permitted {
    pub(super) ask: Ask,
    pub(super) root: SigningRoot,
    pub(super) permit: Permit,
}

/// A process and what it holds in its hands: all this a crash takes away.
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) disk: MemoryDisk,
    pub(super) lease: LeaseModel,
    pub(super) admitted: Vec<Admitted>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) permitted: Vec<Permitted>,
    pub(super) reserved_epoch: u64,
    pub(super) reserved_slot: u64,
    pub(super) renewed_ns: u64,
    /// What the wall clock was wrong by at the last renewal that was granted.
    pub(super) renewed_under_skew_ns: i64,
    pub(super) is_poisoned: bool,
    pub(super) is_held: bool,
}

/// A duty of an honest client, until it is signed or its time is over.
struct Honest {
    ask: Ask,
    until_slot: u64,
    reason: Option<&'static str>,
}

/// A copy of the disk that somebody may open later.
pub(super) struct Copy {
    pub(super) disk: MemoryDisk,
    /// Whether the witness has heard of something that the copy does not have.
    pub(super) is_stale: bool,
}

/// What happened, in figures.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) duties: u64,
    pub(super) requests: u64,
    pub(super) honest: u64,
    pub(super) honest_signed: u64,
    pub(super) lost: BTreeMap<&'static str, u64>,
    pub(super) refused: BTreeMap<&'static str, u64>,
    pub(super) mishaps: BTreeMap<&'static str, u64>,
    /// A digest of the whole run.
    pub(super) digest: u64,
}

pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) weather: Weather,
    pub(super) true_ns: u64,
    /// The gate's wall clock, less the true time.
    pub(super) skew_ns: i64,
    pub(super) boot: u64,
    pub(super) booted_ns: u64,
    pub(super) witness: MemoryWitness,
    pub(super) running: Running,
    pub(super) copy: Option<Copy>,
    pub(super) signer: Signer,
    pub(super) figures: Figures,
    honest: BTreeMap<u64, Honest>,
}

impl World {
    pub(super) fn new(seed: u64, weather: Weather) -> Self {
        let true_ns = GENESIS_S * 1_000_000_000 + FIRST_EPOCH * SLOTS_PER_EPOCH * SLOT_NS;
        let now = Now { unix_ns: true_ns, boot: BootTime(1) };
        let disk = MemoryDisk::new();
        let state = Store::init_with(&params(now, 0), &mut disk.engine()).expect("a new store");
        let witness = MemoryWitness::new(state);
        let (process, records) = Process::start(&disk, &witness, now, 0).expect("a new store");
        let mut world = Self {
            chance: Chance::new(seed),
            weather,
            true_ns,
            skew_ns: 0,
            boot: 0,
            booted_ns: true_ns - 1,
            witness,
            running: Running::new(process, disk, &records, now),
            copy: None,
            signer: Signer::default(),
            figures: Figures::default(),
            honest: BTreeMap::new(),
        };
        for key in 0..KEYS_AT_FIRST {
            world.enrol_new(key);
        }
        world
    }

    /// Lets slots pass until so many duties have been asked for, then settles all that is open.
    pub(super) fn run(&mut self, duties: u64) {
        while self.figures.duties < duties {
            self.pass_slot();
        }
        self.settle();
        self.forward(usize::MAX);
        self.expire(u64::MAX);
        assert_eq!(self.honest.len(), 0, "duties without an end");
        let lost: u64 = self.figures.lost.values().sum();
        assert_eq!(self.figures.honest, self.figures.honest_signed + lost);
    }

    fn pass_slot(&mut self) {
        let slot = slot_of(self.true_ns);
        let mut agenda = self.agenda(slot);
        self.chance.shuffle(&mut agenda);
        let gap_ns = SLOT_NS / (agenda.len() as u64 + 1);
        let is_calm = self.weather == Weather::Calm;
        // All at once, while the disk stands still: queues fill up.
        let is_burst = !is_calm && self.chance.one_in(4);
        for ask in agenda {
            if !is_burst && self.chance.one_in(3) {
                let ns = self.chance.below(gap_ns * 3);
                self.advance(ns);
            }
            self.ask(ask);
            if self.chance.one_in(8) {
                self.poll();
            }
            if is_calm || !is_burst && self.chance.one_in(4) {
                self.settle();
            }
            if is_calm || self.chance.one_in(3) {
                let count = self.chance.below(6);
                self.forward(usize::try_from(count).expect("a small number"));
            }
            if !is_calm && self.chance.one_in(24) {
                self.mishap();
            }
        }
        if slot_of(self.true_ns) == slot {
            let next_ns = GENESIS_S * 1_000_000_000 + (slot + 1) * SLOT_NS;
            self.advance(next_ns - self.true_ns);
        }
        if is_calm || !self.chance.one_in(4) {
            self.settle();
            self.forward(usize::MAX);
        }
        self.expire(slot);
    }

    /// What the clients ask for in `slot`.
    fn agenda(&mut self, slot: u64) -> Vec<Ask> {
        let mut agenda = Vec::new();
        let epoch = slot / SLOTS_PER_EPOCH;
        for id in self.honest.keys().copied().collect::<Vec<_>>() {
            if self.chance.one_in(2) {
                agenda.push(self.honest[&id].ask.clone());
            }
        }
        for key in (0..KEYS).filter(|key| attests_in(*key, slot)) {
            let request = vote(slot, justified(epoch), 1);
            agenda.push(self.honest(key, request, slot + VOTE_TRIES_SLOTS));
            while self.weather == Weather::Wild && self.chance.one_in(2) {
                agenda.push(self.second_vote(key, slot));
            }
        }
        if self.chance.one_in(2) {
            let key = usize::try_from(self.chance.below(KEYS as u64)).expect("an index");
            agenda.push(self.honest(key, block(slot, 1), slot + 1));
            agenda.push(self.honest(key, randao(slot), slot + 1));
            while self.weather == Weather::Wild && self.chance.one_in(2) {
                agenda.push(self.second_block(key, slot));
            }
        }
        agenda
    }

    fn honest(&mut self, key: usize, request: SigningRequest, until_slot: u64) -> Ask {
        let id = self.figures.honest;
        self.figures.honest += 1;
        self.figures.duties += 1;
        let ask = Ask { key, honest: Some(id), request };
        self.honest.insert(id, Honest { ask: ask.clone(), until_slot, reason: None });
        ask
    }

    /// A vote of a second client with the same key: lagging, on a fork, or simply the same.
    fn second_vote(&mut self, key: usize, slot: u64) -> Ask {
        let source = justified(slot / SLOTS_PER_EPOCH);
        let (slot, source, head) = match self.chance.below(8) {
            0 => (slot, source, 1),
            1 => (slot, source - 1, 1),
            2 => (slot, source + 1, 2),
            3 => (slot - SLOTS_PER_EPOCH, source + 1, 2),
            4 => (slot - SLOTS_PER_EPOCH, source - 1, 2),
            5 => (slot + SLOTS_PER_EPOCH, source - 2, 3),
            6 => (slot + 1, source, 2),
            _ => (slot, source, 2),
        };
        self.figures.duties += 1;
        Ask { key, honest: None, request: vote(slot, source, head) }
    }

    fn second_block(&mut self, key: usize, slot: u64) -> Ask {
        let (slot, body) = self.chance.pick(&[(slot, 1), (slot, 2), (slot - 1, 3), (slot + 1, 2)]);
        self.figures.duties += 1;
        Ask { key, honest: None, request: block(slot, body) }
    }

    /// Steps 3 to 7 of the path, up to the recorder's queue.
    pub(super) fn ask(&mut self, ask: Ask) {
        self.figures.requests += 1;
        let gate = &self.running.process.gate;
        let now = gate.clock.now();
        let duty = &ask.request.duty;
        let granted = gate.root(&ask.request, now).and_then(|root| {
            gate.grant(&public_key(ask.key), duty, root, now).map(|granted| (root, granted))
        });
        match granted {
            Err(not_signed) => {
                let code = not_signed.code();
                self.assert_explained(&ask, code, now);
                self.answer(&ask, code);
            }
            Ok((root, Granted::AtOnce(permit))) => {
                self.running.permitted.push(Permitted { ask, root, permit });
            }
            Ok((root, Granted::Recorded(pending))) => {
                let said = Said::of(duty).expect("slashable");
                self.running.admitted[ask.key].add(said);
                self.running.waiting.push(Waiting { ask, root, pending });
                if !self.running.is_held {
                    // The recorder is at the disk's door with this record alone.
                    self.running.disk.wait_until_held();
                    self.running.is_held = true;
                }
            }
        }
    }

    fn assert_explained(&self, ask: &Ask, code: &'static str, now: Now) {
        let running = &self.running;
        let circumstances = Circumstances {
            admitted: &running.admitted[ask.key],
            slot: slot_of(now.unix_ns),
            reach_slot: slot_of(now.unix_ns + SLOT_NS),
            reserved_epoch: running.reserved_epoch,
            reserved_slot: running.reserved_slot,
            waiting: running.waiting.len(),
            places: PLACES,
            is_poisoned: running.is_poisoned,
        };
        let duty = &ask.request.duty;
        assert!(explains(code, duty, &circumstances), "{code} does not hold of {duty:?}");
    }

    /// Asks every waiting record whether it is durable, as an executor does.
    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for mut waiting in std::mem::take(&mut self.running.waiting) {
            match Pin::new(&mut waiting.pending).poll(&mut context) {
                Poll::Pending => self.running.waiting.push(waiting),
                Poll::Ready(result) => self.recorded(waiting.ask, waiting.root, result),
            }
        }
    }

    /// Lets the disk write all that waits, and waits for it.
    pub(super) fn settle(&mut self) {
        self.running.disk.resume();
        for waiting in std::mem::take(&mut self.running.waiting) {
            self.recorded(waiting.ask, waiting.root, waiting.pending.wait());
        }
        while self.running.process.gate.recorder.stats().places_taken > 0 {
            std::thread::yield_now(); // given back just after the answer
        }
        self.running.disk.pause();
        self.running.is_held = false;
    }

    fn recorded(&mut self, ask: Ask, root: SigningRoot, result: Result<Permit, RecordError>) {
        match result {
            Ok(permit) => self.running.permitted.push(Permitted { ask, root, permit }),
            Err(error) => {
                assert_eq!(error, RecordError::Poisoned, "one owner, one order");
                self.running.end();
                self.answer(&ask, error.code());
            }
        }
    }

    /// Steps 8 and 9 for up to `count` permits, in any order: the lease, then the signer.
    pub(super) fn forward(&mut self, count: usize) {
        for _ in 0..count.min(self.running.permitted.len()) {
            let index = self.chance.below(self.running.permitted.len() as u64);
            let index = usize::try_from(index).expect("an index");
            let Permitted { ask, root, permit } = self.running.permitted.swap_remove(index);
            let boot = self.running.process.now().boot;
            let redeemed = permit.redeem(boot);
            self.running.lease.judge(boot.0, redeemed.err());
            match redeemed {
                Err(_) => self.answer(&ask, "lease_lapsed"),
                Ok(redeemed) => {
                    let key = slashing_db::PublicKey(public_key(ask.key).0);
                    assert_eq!((redeemed.public_key(), redeemed.signing_root().0), (&key, root.0));
                    let durable = self.running.disk.key(&key).expect("an enrolled key");
                    self.signer.sign(ask.key, Said::of(&ask.request.duty), root, &durable);
                    self.sign(&ask);
                }
            }
        }
    }

    fn sign(&mut self, ask: &Ask) {
        self.note(ask.key as u64 + 1);
        if let Some(id) = ask.honest
            && self.honest.remove(&id).is_some()
        {
            self.figures.honest_signed += 1;
        }
    }

    /// A client hears that its request was not signed.
    pub(super) fn answer(&mut self, ask: &Ask, code: &'static str) {
        self.note(code.len() as u64 * 1_000 + ask.key as u64);
        *self.figures.refused.entry(code).or_default() += 1;
        if let Some(honest) = ask.honest.and_then(|id| self.honest.get_mut(&id)) {
            honest.reason = Some(code);
        }
    }

    fn note(&mut self, event: u64) {
        let digest = self.figures.digest ^ event ^ self.true_ns;
        self.figures.digest = digest.wrapping_mul(0x0000_0100_0000_01b3);
    }

    /// The clients give up what is too late; what they lost has to have a reason.
    fn expire(&mut self, slot: u64) {
        let running = &self.running;
        let waiting = running.waiting.iter().map(|it| it.ask.honest);
        let permitted = running.permitted.iter().map(|it| it.ask.honest);
        let in_hand: Vec<u64> = waiting.chain(permitted).flatten().collect();
        let lost = &mut self.figures.lost;
        self.honest.retain(|id, honest| {
            let stays = honest.until_slot > slot || in_hand.contains(id);
            if !stays {
                let reason = honest.reason.expect("a duty was lost without a stated reason");
                *lost.entry(reason).or_default() += 1;
            }
            stays
        });
    }

    /// Time passes; the lease is renewed on the way.
    pub(super) fn advance(&mut self, ns: u64) {
        let end_ns = self.true_ns + ns;
        while self.true_ns < end_ns {
            let due_ns = self.running.renewed_ns + RENEW_NS;
            self.true_ns = if due_ns > self.true_ns { end_ns.min(due_ns) } else { end_ns };
            self.set_clock();
            if self.true_ns >= due_ns {
                self.renew();
            }
        }
    }

    pub(super) fn now(&self) -> Now {
        Now {
            unix_ns: self.true_ns.checked_add_signed(self.skew_ns).expect("after 1970"),
            boot: BootTime(self.true_ns - self.booted_ns),
        }
    }

    pub(super) fn set_clock(&self) {
        let now = self.now();
        self.running.process.set_clock(now.unix_ns, now.boot.0);
    }

    /// One turn of the lease keeper, with the disk at its disposal.
    pub(super) fn renew(&mut self) {
        self.settle();
        self.running.renewed_ns = self.true_ns;
        self.running.disk.resume();
        let boot = self.running.process.now().boot.0;
        let was_live = self.running.lease.is_live(boot);
        let result = self.running.process.renew();
        self.running.disk.pause();
        match result {
            Ok(()) => {
                assert!(was_live, "a lapsed lease was renewed");
                self.running.renewed(self.running.process.now());
                self.running.renewed_under_skew_ns = self.skew_ns;
                self.compare_copy();
            }
            Err(RenewError::Witness(_)) => {} // ordered; the lease runs on
            Err(RenewError::Record(_)) => self.running.end(),
            Err(RenewError::Lapsed(_)) => {
                assert!(!was_live, "a live lease called lapsed");
                self.running.lease.end();
            }
            Err(RenewError::Lost(error)) => panic!("lost to nobody: {error}"),
        }
    }

    /// The witness as it stands, for a world that goes on without the old process.
    pub(super) fn witness_copy(&self) -> MemoryWitness {
        MemoryWitness::new(self.witness.read().expect("there is a witness"))
    }
}

/// How often the lease is renewed here: seldom enough to be quick, thrice within a lease.
const RENEW_NS: u64 = 3_000_000_000;
