//! One seed's world: the machine, the clients, the signer's oracle, and the steps of the game.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use policy::{ClientIndex, Source};
use portcullis::clock::ClockHealth;
use portcullis::enrolment::{Declaration, Declarations, Keys};
use portcullis::sign::judge::{self as sign, Pass};
use portcullis::sign::{Decided, Granted};
use portcullis::validators::Standing;
use slashing_db::testing::Fault;
use slashing_db::witness::testing::Failure;
use slashing_db::{Pending, Permit, SigningRoot};

use super::clients::{Ask, Chain, Client, anything, duties, slashable};
use super::machine::{EXITS_IN_ALL, EXITS_PER_KEY, Machine, SLOTS_PER_EPOCH};
use super::random::Random;
use super::signer::History;

/// Milliseconds that a commit is waited for.
const HELD_TRIES: u32 = 5_000;

/// Whether anything ever goes wrong in a world, beside hostile clients and kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Fair,
    Foul,
}

/// What happened, for the assertion that enough did.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) duties: u64,
    pub(super) left: u64,
    pub(super) events: BTreeMap<&'static str, u64>,
    pub(super) refused: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.duties += other.duties;
        self.left += other.left;
        for (event, count) in &other.events {
            *self.events.entry(event).or_default() += count;
        }
        for (code, count) in &other.refused {
            *self.refused.entry(code).or_default() += count;
        }
    }

    fn count(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }
}

pub(super) struct World {
    weather: Weather,
    random: Random,
    machine: Machine,
    histories: Vec<History>,
    justified: u64,
    again: Vec<Ask>,
    /// Permits that wait for the signer.
    on_the_way: Vec<(Ask, Permit)>,
    /// The skew of the wall clock at the last renewal.
    renewed_at: i64,
    /// Keys that an operator has disabled and not brought back yet.
    away: Vec<usize>,
    pub(super) tally: Tally,
}

impl World {
    pub(super) fn new(seed: u64, weather: Weather) -> Self {
        let mut random = Random(seed);
        let keys = 16 + random.below(49) as usize;
        let places_max = match weather {
            Weather::Fair => 4_096,
            Weather::Foul => random.one_of(&[8, 24, 4_096]),
        };
        Self {
            weather,
            machine: Machine::new(keys, places_max),
            random,
            histories: (0..keys).map(|_| History::default()).collect(),
            justified: 198,
            again: Vec::new(),
            on_the_way: Vec::new(),
            renewed_at: 0,
            away: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// A third of a slot.
    pub(super) fn play(&mut self, third: u64) {
        self.machine.pass(4);
        if self.weather == Weather::Foul {
            self.befall_clocks();
        }
        self.renew();
        let asks = self.asks(third);
        let mut rest = asks.as_slice();
        while !rest.is_empty() {
            let count = (1 + self.random.below(24) as usize).min(rest.len());
            let (burst, others) = rest.split_at(count);
            self.burst(burst);
            rest = others;
        }
        if self.weather == Weather::Foul && self.random.percent(15) {
            self.operate();
        }
        for (ask, permit) in std::mem::take(&mut self.on_the_way) {
            self.leave(ask, permit);
        }
        if self.random.percent(2) {
            self.stop_cleanly();
        } else if self.random.percent(2) {
            self.crash("killed");
        }
    }

    fn chain(&self) -> Chain {
        let slot = self.machine.elapsed / 12_000_000_000;
        Chain { slot, slots_per_epoch: SLOTS_PER_EPOCH, justified: self.justified }
    }

    /// The honest client first, its twin late, the hostile one at any time.
    fn asks(&mut self, third: u64) -> Vec<Ask> {
        let keys = self.histories.len();
        let chain = self.chain();
        if chain.epoch() > self.justified + 1 && self.random.percent(30) {
            self.justified = chain.epoch() - 1 - self.random.below(2).min(chain.epoch() - 1);
        }
        let chain = self.chain();
        let mut asks = std::mem::take(&mut self.again);
        match third {
            0 => asks.extend(duties(Client::Honest, chain, keys, 1)),
            1 if self.random.percent(60) => asks.extend(duties(Client::Twin, chain, keys, 2)),
            _ => {}
        }
        for _ in 0..self.random.below(8) {
            let key = self.random.below(keys as u64) as usize;
            let random = &mut self.random;
            match self.weather {
                Weather::Foul if random.percent(40) => asks.push(anything(random, key, chain)),
                _ => asks.extend(slashable(random, key, &self.histories[key])),
            }
        }
        asks
    }

    fn befall_clocks(&mut self) {
        if self.random.percent(3) {
            self.tally.count("clock set");
            let seconds = self.random.one_of(&[-700, -90, -13, -2, 0, 0, 0, 2, 13, 90, 700]);
            self.machine.skew = seconds * 1_000_000_000;
        }
        if self.random.percent(2) {
            self.tally.count("suspended");
            self.machine.pass(11);
        }
        self.machine.pass(0);
    }

    fn renew(&mut self) {
        if self.weather == Weather::Foul && self.random.percent(4) {
            self.tally.count("renewal fault");
            match self.random.below(3) {
                0 => self.machine.witness.fail_next(Failure::BeforeWriting),
                1 => self.machine.witness.fail_next(Failure::AfterWriting),
                _ => return, // the renewing thread gets no turn
            }
            let _ = self.machine.gate().store.renew(self.machine.store_now());
            if self.random.percent(30) {
                self.crash("killed while renewing");
            }
            return;
        }
        match self.machine.gate().store.renew(self.machine.store_now()) {
            Ok(()) => self.renewed_at = self.machine.skew,
            Err(error) => {
                assert_eq!(self.weather, Weather::Foul, "{error:?}");
                self.crash("restarted for its lease");
            }
        }
    }

    /// Several requests at once, and what befalls them on the way.
    fn burst(&mut self, asks: &[Ask]) {
        if self.weather == Weather::Fair {
            let pending = self.decide(asks);
            return self.settle(pending);
        }
        match self.random.below(100) {
            0..8 => self.held(asks),
            8..12 => {
                let fault = [Fault::Io, Fault::NoSpace, Fault::IoAfterWrite, Fault::Panic];
                let fault = self.random.one_of(&fault);
                self.tally.count("disk fault");
                self.machine.disk.fail_commit(self.random.below(3), fault);
                let pending = self.decide(asks);
                self.settle(pending);
                self.crash("restarted for its disk");
            }
            12..15 => {
                let pending = self.decide(asks);
                let permits: Vec<_> =
                    pending.into_iter().map(|(_, pending)| pending.wait()).collect();
                drop(permits);
                self.crash("killed with permits unused");
            }
            15..18 => {
                for (ask, pending) in self.decide(asks) {
                    let Ok(permit) = pending.wait() else { continue };
                    let _ = permit.redeem(self.machine.now().boot);
                    self.again.push(ask);
                }
                self.crash("killed before forwarding");
            }
            18..20 if self.renewed_at == self.machine.skew => self.fail_over(asks),
            _ => {
                let pending = self.decide(asks);
                self.settle(pending);
            }
        }
    }

    /// Asks while the disk stands still: nobody may have a permit before it moves.
    fn held(&mut self, asks: &[Ask]) {
        self.machine.disk.pause();
        let pending = self.decide(asks);
        if pending.is_empty() {
            return self.machine.disk.resume();
        }
        self.wait_until_held();
        let mut still = Vec::new();
        for (ask, mut waiting) in pending {
            match pin!(&mut waiting).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => still.push((ask, waiting)),
                Poll::Ready(Ok(permit)) => self.leave(ask, permit), // the oracle looks at the disk
                Poll::Ready(Err(error)) => self.refuse(&ask, error.code()),
            }
        }
        self.tally.count("disk held");
        if self.random.percent(50) {
            self.again.extend(still.iter().map(|(ask, _)| ask.clone()));
            return self.crash("killed while committing");
        }
        self.machine.disk.resume();
        self.settle(still);
    }

    /// Waits for the commit to stand still, unless the store has failed and none will come. Nothing
    /// rests on it but how much is seen: whoever waits is looked at afterwards, whatever came.
    fn wait_until_held(&self) {
        for _ in 0..HELD_TRIES {
            let failed = self.machine.gate().store.poisoned().is_some();
            if failed || self.machine.disk.is_held() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.machine.disk.resume(); // nobody commits: let go of whoever may still come
    }

    fn decide(&mut self, asks: &[Ask]) -> Vec<(Ask, Pending)> {
        let mut pending = Vec::new();
        for ask in asks {
            self.tally.duties += 1;
            let gate = self.machine.gate();
            let key = &self.machine.keys[ask.key];
            let Standing::Enrolled(row) = gate.validators.standing(key) else {
                panic!("an enrolled key is forgotten");
            };
            let asked = sign::Ask { duty: &ask.duty, root: ask.root, proofs: &[], source: HERE };
            match gate.decide(row, &asked, self.machine.now(), Pass::First).map(granted) {
                Ok(Granted::Recorded(one)) => pending.push((ask.clone(), one)),
                Ok(Granted::AtOnce(permit)) => self.leave(ask.clone(), permit),
                Err(not_signed) => self.refuse(ask, not_signed.code()),
            }
        }
        pending
    }

    fn settle(&mut self, pending: Vec<(Ask, Pending)>) {
        for (ask, pending) in pending {
            match pending.wait() {
                Ok(permit) if self.random.percent(10) => self.on_the_way.push((ask, permit)),
                Ok(permit) => self.leave(ask, permit),
                Err(error) => self.refuse(&ask, error.code()),
            }
        }
    }

    /// The signer signs. From here on it can never be taken back.
    fn leave(&mut self, ask: Ask, permit: Permit) {
        let moment = self.machine.now().after(Duration::from_secs(2));
        let Ok(redeemed) = permit.redeem(moment.boot) else {
            return self.refuse(&ask, "lease_lapsed");
        };
        assert_eq!(*redeemed.signing_root(), SigningRoot(ask.root.0));
        assert_eq!(*redeemed.public_key(), self.machine.keys[ask.key]);
        let history = &mut self.histories[ask.key];
        let durable = self.machine.disk.key(redeemed.public_key()).expect("an enrolled key");
        let uncovered = history.uncovered(&ask.duty, ask.root, redeemed.sequence(), &durable);
        assert_eq!(uncovered, None, "{ask:?} left without a record");
        assert_eq!(history.conflict(&ask.duty, ask.root), None, "{ask:?} left");
        let is_attack = ask.client == Client::Hostile && self.weather == Weather::Fair;
        assert!(!is_attack, "{ask:?} left: it was made to be refused");
        history.add(&ask.duty, ask.root);
        assert!(history.exits.len() <= EXITS_PER_KEY, "{ask:?}: too many exits of the key");
        let exits: usize = self.histories.iter().map(|it| it.exits.len()).sum();
        assert!(exits <= EXITS_IN_ALL, "{ask:?}: too many exits of the group");
        self.tally.left += 1;
    }

    fn refuse(&mut self, ask: &Ask, code: &'static str) {
        *self.tally.refused.entry(code).or_default() += 1;
        // The disk knows better than the watermarks in memory only where there is a second owner.
        assert_ne!(code, "superseded", "{ask:?}: the watermark in memory was behind the disk");
        let is_let_down = ask.client == Client::Honest && self.weather == Weather::Fair;
        assert!(!is_let_down, "{ask:?} is honest and all is well, and yet: {code}");
    }

    fn crash(&mut self, how: &'static str) {
        self.tally.count(how);
        self.tally.count("crash");
        self.on_the_way.clear();
        drop(self.machine.lose_power());
        self.restart();
    }

    fn restart(&mut self) {
        self.tally.count("restart");
        let faults = match self.weather {
            Weather::Fair => 0,
            Weather::Foul if self.random.percent(30) => 1 + self.random.below(3),
            Weather::Foul => 0,
        };
        let faults = self.machine.restart(&mut self.random, faults);
        *self.tally.events.entry("fault while opening").or_default() += faults;
        self.renewed_at = self.machine.skew;
    }

    fn stop_cleanly(&mut self) {
        let sealed = self.machine.gate().store.seal(self.machine.store_now());
        assert!(self.weather == Weather::Foul || sealed.is_ok(), "{sealed:?}");
        self.tally.count("clean stop");
        self.on_the_way.clear();
        drop(self.machine.lose_power());
        self.restart();
    }

    /// The machine is suspended with permits in hand, another takes over, and then it wakes up.
    fn fail_over(&mut self, asks: &[Ask]) {
        let pending = self.decide(asks);
        let permits: Vec<_> = pending.into_iter().map(|(ask, it)| (ask, it.wait())).collect();
        if self.machine.gate().store.fault(self.machine.now().boot).is_some() {
            return self.crash("restarted for its lease");
        }
        let mut old_now = self.machine.store_now();
        let (old, now) = self.machine.fail_over();
        self.tally.count("failover");
        self.renewed_at = self.machine.skew;
        for (ask, permit) in permits {
            let Ok(permit) = permit else { continue };
            assert!(permit.redeem(now.boot).is_err(), "{ask:?} leaves a suspended machine");
            self.again.push(ask);
        }
        old_now.boot = now.boot;
        assert!(old.store.renew(old_now).is_err(), "two owners of one store");
        self.on_the_way.clear();
    }

    /// An operator moves a key away, and back by its file or by a floor, at once or later.
    fn operate(&mut self) {
        for (ask, permit) in std::mem::take(&mut self.on_the_way) {
            self.leave(ask, permit); // within a request's budget, long before anybody types
        }
        let floor = Declaration::Floor { source_epoch: None };
        for key in std::mem::take(&mut self.away) {
            let keys = self.named(key);
            if !self.declare(|it| it.enrol(&keys, floor).is_ok_and(|it| it[0].done.is_some())) {
                self.away.push(key); // a clock that went back, or a record ahead of it
            }
        }
        let key = self.random.below(self.histories.len() as u64) as usize;
        let keys = self.named(key);
        let mut file = Vec::new();
        let is_exported = self.declare(|it| {
            it.disable(&keys).is_ok_and(|it| it[0].done.is_some())
                && it.export(&keys, &mut file).is_ok()
        });
        if !is_exported {
            return; // the old signer may not be called dead, so nobody else starts
        }
        self.tally.count("moved away");
        let elsewhere = self.sign_elsewhere(key).filter(|_| self.random.percent(50));
        let is_back = match elsewhere {
            Some(vote) => {
                let file = with_vote(std::str::from_utf8(&file).unwrap(), vote);
                self.declare(|it| {
                    it.import(file.as_bytes()).is_ok_and(|it| it.keys[0].done.is_some())
                })
            }
            None => self.declare(|it| it.enrol(&keys, floor).is_ok_and(|it| it[0].done.is_some())),
        };
        match (is_back, elsewhere) {
            (true, Some(_)) => self.tally.count("moved back by its file"),
            (true, None) => self.tally.count("moved back by a floor"),
            (false, _) if !self.away.contains(&key) => self.away.push(key),
            (false, _) => {}
        }
    }

    fn named(&self, key: usize) -> Keys {
        Keys::These(vec![self.machine.keys[key].to_string()])
    }

    /// A command of the operator's.
    fn declare(&self, command: impl FnOnce(&Declarations<'_>) -> bool) -> bool {
        let gate = self.machine.gate();
        command(&Declarations {
            store: &gate.store,
            validators: &gate.validators,
            slots: gate.slots,
            clock: &gate.clock,
            // A slow clock is what makes a floor unsafe, and what the kernel is asked about.
            clock_health: if self.machine.skew < 0 {
                ClockHealth::Unsynchronised
            } else {
                ClockHealth::Synchronised
            },
            validated_keys: None,
        })
    }

    /// Another protected signer, which took the file over and whose clock is right, votes in the
    /// present epoch.
    fn sign_elsewhere(&mut self, key: usize) -> Option<(u64, u64, SigningRoot)> {
        let (slot, target) = (self.chain().slot, self.chain().epoch());
        let history = &mut self.histories[key];
        let highest = history.votes.iter().map(|it| it.0).max().unwrap_or(0);
        let newest = history.votes.iter().map(|it| it.1).max().unwrap_or(0);
        let source = highest.max(target.saturating_sub(2));
        if newest >= target || source >= target {
            return None;
        }
        let ask = Ask::vote(Client::Twin, key, slot, (source, target), 7);
        history.add(&ask.duty, ask.root);
        Some((source, target, SigningRoot(ask.root.0)))
    }
}

/// The interchange file of one key with one more vote.
fn with_vote(file: &str, (source, target, root): (u64, u64, SigningRoot)) -> String {
    let list = r#""signed_attestations": ["#;
    let comma = if file.contains(r#""signed_attestations": []"#) { "" } else { "," };
    let vote = format!(
        r#"{{"source_epoch":"{source}","target_epoch":"{target}","signing_root":"{root}"}}{comma}"#
    );
    assert!(file.contains(list), "{file}");
    file.replacen(list, &format!("{list}{vote}"), 1)
}

const HERE: Source = Source { client: ClientIndex(0), certificate: 0, dialect: 1, prefix: 1 };

fn granted(decided: Decided) -> Granted {
    match decided {
        Decided::Granted(judged) => judged.granted,
        Decided::HoldUntil(_) => panic!("nothing is held without a rule"),
    }
}
