//! All that may go wrong between any two steps.

use portcullis::clock::Now;
use portcullis::control::{Command, Reply, execute};
use portcullis::enrolment::{Declaration, Keys};
use serde_json::json;
use slashing_db::testing::{Fault, MemoryDisk};
use slashing_db::witness::OpenRefused;
use slashing_db::witness::testing::Failure;
use slashing_db::{KeyRecord, OpenError, RenewError, SealError};

use super::chain::{GVR, SLOT_NS, SLOTS_PER_EPOCH, block, justified, public_key};
use super::oracle::{Admitted, LeaseModel, Said, slot_of};
use super::process::{Process, store_now};
use super::world::{Ask, Copy, KEYS, Running, World};

const SECOND_NS: u64 = 1_000_000_000;

impl Running {
    pub(super) fn new(process: Process, disk: MemoryDisk, records: &[KeyRecord], now: Now) -> Self {
        let loaded = |key: usize| {
            let record = records.iter().find(|it| it.public_key.0 == public_key(key).0);
            record.map(Admitted::loaded).unwrap_or_default()
        };
        disk.pause();
        let mut running = Self {
            process,
            disk,
            lease: LeaseModel::default(),
            admitted: (0..KEYS).map(loaded).collect(),
            waiting: Vec::new(),
            permitted: Vec::new(),
            reserved_epoch: 0,
            reserved_slot: 0,
            renewed_ns: now.unix_ns,
            renewed_under_skew_ns: 0,
            is_poisoned: false,
            is_held: false,
        };
        running.renewed(now);
        running
    }

    /// What a renewal at `now` grants.
    pub(super) fn renewed(&mut self, now: Now) {
        let now = store_now(now);
        self.lease.renewed(now.boot.0);
        self.reserved_epoch = self.reserved_epoch.max(now.epoch + 2);
        self.reserved_slot = self.reserved_slot.max(now.slot + 32);
    }

    /// The store has failed: wait until it says so everywhere.
    pub(super) fn end(&mut self) {
        self.process.gate.store.wait_for_poison();
        self.is_poisoned = true;
        self.lease.end();
    }
}

impl World {
    /// Something happens.
    pub(super) fn mishap(&mut self) {
        let name = self.chance.pick(&[
            "crash",
            "crash",
            "reboot",
            "clean restart",
            "disk fault",
            "crash while renewing",
            "crash before forwarding",
            "witness fault",
            "suspension",
            "clock jump",
            "clock set right",
            "clock set right",
            "clock set right",
            "disable",
            "enable by floor",
            "enable by floor",
            "import",
            "enrol",
            "copy",
            "copy opened",
            "take-over",
        ]);
        *self.figures.mishaps.entry(name).or_default() += 1;
        match name {
            "crash" => self.crash(false),
            "reboot" => self.crash(true),
            "clean restart" => self.seal_and_restart(),
            "disk fault" => self.disk_fault(),
            "crash while renewing" => self.crash_while_renewing(),
            "crash before forwarding" => self.crash_before_forwarding(),
            "witness fault" => {
                let failure = self.chance.pick(&FAILURES);
                self.witness.fail_next(failure);
                self.renew();
            }
            "suspension" => self.suspend(),
            "clock jump" => self.jump(),
            "clock set right" => {
                self.skew_ns = 0;
                self.set_clock();
            }
            "disable" => self.disable(),
            "enable by floor" => self.enable(),
            "import" => self.import(),
            "enrol" => self.enrol_one(),
            "copy" => {
                self.copy = Some(Copy { disk: self.running.disk.snapshot(), is_stale: false });
            }
            "copy opened" => self.open_copy(),
            _ => self.take_over(),
        }
        let boot = self.running.process.now().boot.0;
        if !self.running.lease.is_live(boot) && self.chance.one_in(3) {
            self.crash(false); // as the process does that has lost its lease or its store
        }
    }

    /// The process is gone, with all that it held; the disk has what was committed.
    fn crash(&mut self, is_reboot: bool) {
        self.boot += u64::from(is_reboot);
        let (disk, witness) = (self.running.disk.snapshot(), self.witness_copy());
        self.witness = witness;
        if is_reboot {
            self.booted_ns = self.true_ns - 1;
        }
        self.restart(disk, true);
    }

    /// Ends the present process and opens `disk`, through whatever goes wrong on the way.
    fn restart(&mut self, mut disk: MemoryDisk, may_fail: bool) {
        self.give_up("crashed");
        loop {
            let ordered = may_fail && self.chance.one_in(4);
            if ordered {
                self.order_fault_of_opening(&disk);
            }
            let now = self.now();
            match Process::start(&disk, &self.witness, now, self.boot) {
                Ok((process, records)) => {
                    disk.fail_commit(NEVER, Fault::Io);
                    for key in 0..KEYS {
                        let public_key = public_key(key);
                        let loaded = records.iter().find(|it| it.public_key.0 == public_key.0);
                        self.signer.assert_remembered(key, loaded);
                    }
                    let mut running = Running::new(process, disk, &records, now);
                    running.renewed_ns = self.true_ns;
                    running.renewed_under_skew_ns = self.skew_ns;
                    self.running = running;
                    if let Some(copy) = &mut self.copy {
                        copy.is_stale = true; // another generation is the live one now
                    }
                    return;
                }
                Err(OpenError::Refused(OpenRefused::LeaseHeld(held))) => {
                    self.true_ns += (held.seconds_left + 1) * SECOND_NS;
                    self.witness = self.witness_copy(); // without the fault that was not met
                    disk.fail_commit(NEVER, Fault::Io);
                }
                Err(error) => {
                    assert!(ordered, "an honest store was quarantined: {error}");
                    disk = disk.snapshot();
                    self.witness = self.witness_copy();
                }
            }
        }
    }

    fn order_fault_of_opening(&mut self, disk: &MemoryDisk) {
        if self.chance.one_in(2) {
            let fault = self.chance.pick(&[Fault::Io, Fault::IoAfterWrite]);
            let after = self.chance.below(3); // pending, confirmed, first reservation
            disk.fail_commit(after, fault);
        } else {
            let failure = self.chance.pick(&FAILURES);
            self.witness.fail_next(failure);
        }
    }

    fn give_up(&mut self, code: &'static str) {
        let waiting = std::mem::take(&mut self.running.waiting);
        let permitted = std::mem::take(&mut self.running.permitted);
        let asks = waiting.into_iter().map(|it| it.ask);
        for ask in asks.chain(permitted.into_iter().map(|it| it.ask)).collect::<Vec<_>>() {
            self.answer(&ask, code);
        }
    }

    fn seal_and_restart(&mut self) {
        self.settle();
        if self.chance.one_in(6) {
            let failure = self.chance.pick(&FAILURES);
            self.witness.fail_next(failure);
        }
        self.running.disk.resume();
        let now = self.running.process.now();
        let sealed = self.running.process.gate.store.seal(store_now(now));
        match sealed {
            // Without the witness's seal it opens as after a kill.
            Ok(()) | Err(SealError::Witness(_)) => assert!(!self.running.is_poisoned),
            Err(SealError::NotOpen) => assert!(self.running.is_poisoned),
            Err(SealError::Engine(error)) => panic!("a fault that nobody ordered: {error}"),
        }
        self.running.lease.end();
        self.forward(usize::MAX); // what is left in hand must not leave
        let disk = self.running.disk.snapshot();
        self.witness = self.witness_copy();
        self.restart(disk, true);
    }

    /// The disk fails under one of the next two batches.
    fn disk_fault(&mut self) {
        let fault = self.chance.pick(&[Fault::Io, Fault::NoSpace, Fault::IoAfterWrite]);
        let after = self.chance.below(2);
        self.running.disk.fail_commit(after, fault);
        self.settle();
        self.running.disk.fail_commit(NEVER, Fault::Io);
        let count = self.chance.below(8);
        self.forward(usize::try_from(count).expect("a small number"));
    }

    fn crash_while_renewing(&mut self) {
        self.settle();
        if self.chance.one_in(2) {
            let fault = self.chance.pick(&[Fault::Io, Fault::IoAfterWrite]);
            self.running.disk.fail_commit(0, fault);
        } else {
            let failure = self.chance.pick(&FAILURES);
            self.witness.fail_next(failure);
        }
        self.renew();
        self.crash(false);
    }

    /// A permit is redeemed, and the process dies before a byte leaves.
    fn crash_before_forwarding(&mut self) {
        let boot = self.running.process.now().boot;
        if let Some(permitted) = self.running.permitted.pop() {
            let redeemed = permitted.permit.redeem(boot);
            self.running.lease.judge(boot.0, redeemed.err());
            self.answer(&permitted.ask, "crashed");
        }
        self.crash(false);
    }

    /// The process sleeps past its lease, and its tasks and its lease keeper wake in any order.
    fn suspend(&mut self) {
        self.true_ns += (11 + self.chance.below(30)) * SECOND_NS;
        self.set_clock();
        if self.chance.one_in(2) {
            self.settle();
            self.forward(usize::MAX);
        }
        self.renew();
    }

    fn jump(&mut self) {
        let seconds =
            self.chance.pick(&[-8_000, -1_500, -400, -60, -13, -5, -1, 1, 5, 13, 60, 900]);
        self.skew_ns = seconds * 1_000_000_000;
        self.set_clock();
        if seconds == 900 {
            // A client whose clock jumped too is ahead of all that was reserved.
            let slot = slot_of(self.running.process.now().unix_ns);
            let key = usize::try_from(self.chance.below(KEYS as u64)).expect("an index");
            self.ask(Ask { key, honest: None, request: block(slot, 4) });
        }
    }

    /// Once the witness has heard of what the copy lacks, the copy must never open.
    pub(super) fn compare_copy(&mut self) {
        let Some(copy) = self.copy.as_mut().filter(|copy| !copy.is_stale) else { return };
        let disk = &self.running.disk;
        copy.is_stale = (0..KEYS).any(|key| {
            let key = slashing_db::PublicKey(public_key(key).0);
            let votes = |disk: &MemoryDisk| disk.key(&key).map(|it| (it.attestation, it.block));
            votes(disk) != votes(&copy.disk)
        });
    }

    fn open_copy(&mut self) {
        let Some(copy) = self.copy.take() else { return };
        if !copy.is_stale {
            return; // the documented window: the witness has not heard of what came after it
        }
        let opened = Process::start(&copy.disk, &self.witness_copy(), self.now(), self.boot);
        match opened {
            Err(OpenError::Refused(OpenRefused::Stale(_))) => {}
            Err(error) => panic!("refused for another reason: {error}"),
            Ok(_) => panic!("a stale copy was opened"),
        }
    }

    /// Another machine takes the store over while this process is suspended; then it wakes.
    fn take_over(&mut self) {
        let boot = self.running.process.now().boot.0;
        // A lease is honoured on other machines by the wall clock: both clocks must be right.
        let was_right = self.running.renewed_under_skew_ns == 0;
        if self.skew_ns != 0 || !was_right || !self.running.lease.is_live(boot) {
            return;
        }
        let disk = self.running.disk.snapshot();
        let early = Process::start(&disk.snapshot(), &self.witness_copy(), self.now(), u64::MAX);
        let held = matches!(early, Err(OpenError::Refused(OpenRefused::LeaseHeld(_))));
        assert!(held, "two machines at once: {:?}", early.err());
        self.true_ns += (12 + self.chance.below(5)) * SECOND_NS;
        let sleeper_booted_ns = self.booted_ns;
        self.boot += 1;
        self.booted_ns = self.true_ns - 1;

        let now = self.now();
        let (process, records) = loop {
            match Process::start(&disk, &self.witness, self.now(), self.boot) {
                Ok(opened) => break opened,
                Err(OpenError::Refused(OpenRefused::LeaseHeld(held))) => {
                    // The witness was last written under a clock that ran ahead.
                    self.true_ns += (held.seconds_left + 1) * SECOND_NS;
                }
                Err(error) => panic!("an honest store was quarantined: {error}"),
            }
        };
        let mut running = Running::new(process, disk, &records, now);
        running.renewed(self.now());
        running.renewed_ns = self.true_ns;
        self.set_clock();
        let sleeper = std::mem::replace(&mut self.running, running);
        self.set_clock();
        self.wake(sleeper, sleeper_booted_ns);
        if let Some(copy) = &mut self.copy {
            copy.is_stale = true;
        }
    }

    /// A process that lost its lease to another one wakes up: nothing that it holds may leave.
    fn wake(&mut self, sleeper: Running, booted_ns: u64) {
        let boot_ns = self.true_ns - booted_ns;
        sleeper.process.set_clock(self.true_ns, boot_ns);
        sleeper.disk.resume();
        if self.chance.one_in(2) {
            let renewed = sleeper.process.renew();
            assert!(matches!(renewed, Err(RenewError::Lapsed(_))), "{renewed:?}");
        }
        let mut permits: Vec<_> =
            sleeper.permitted.into_iter().map(|it| (it.ask, it.permit)).collect();
        for waiting in sleeper.waiting {
            match waiting.pending.wait() {
                Ok(permit) => permits.push((waiting.ask, permit)),
                Err(error) => self.answer(&waiting.ask, error.code()),
            }
        }
        let boot = sleeper.process.now().boot;
        for (ask, permit) in permits {
            assert!(permit.redeem(boot).is_err(), "signed under a lease that another holds");
            self.answer(&ask, "lease_lapsed");
        }
    }

    /// Carries out an operator's command in the running process, with whatever waits before it.
    fn command(&mut self, command: &Command, input: &[u8]) -> Reply {
        self.running.disk.resume();
        let process = &self.running.process;
        let reply = execute(&process.declarations(), command, input, std::io::sink());
        self.settle();
        reply
    }

    /// Whether a command for one key was carried out.
    fn is_done(reply: &Reply) -> bool {
        match reply {
            Reply::Outcomes(outcomes) => outcomes.iter().all(|it| it.done.is_some()),
            Reply::Imported(imported) => {
                imported.keys.iter().all(|it| it.done.as_deref() == Some("raised"))
            }
            _ => false,
        }
    }

    fn some_key(&mut self, choose: impl Fn(&Admitted) -> bool) -> Option<usize> {
        let from = usize::try_from(self.chance.below(KEYS as u64)).expect("an index");
        let admitted = &self.running.admitted;
        (from..KEYS).chain(0..from).find(|key| choose(&admitted[*key]))
    }

    fn disable(&mut self) {
        let Some(key) = self.some_key(|it| it.is_enabled) else { return };
        let reply = self.command(&Command::Disable { keys: these(key) }, b"");
        assert!(Self::is_done(&reply) || self.running.is_poisoned, "{reply:?}");
        self.running.admitted[key].is_enabled = false;
    }

    fn enable(&mut self) {
        let Some(key) = self.some_key(|it| it.is_enrolled && !it.is_enabled) else { return };
        let now = self.running.process.now();
        let declaration = Declaration::Floor { source_epoch: None };
        let reply = self.command(&Command::Enrol { keys: these(key), declaration }, b"");
        if Self::is_done(&reply) {
            let target = slot_of(now.unix_ns + SLOT_NS) / SLOTS_PER_EPOCH;
            let admitted = &mut self.running.admitted[key];
            admitted.is_enabled = true;
            admitted.add(Said::Vote { source: target - 1, target });
            admitted.add(Said::Block { slot: slot_of(now.unix_ns) + 1 });
        }
    }

    fn enrol_one(&mut self) {
        if let Some(key) = self.some_key(|it| !it.is_enrolled)
            && !self.running.is_poisoned
        {
            self.enrol_new(key);
        }
    }

    /// Enrols a key that never signed.
    pub(super) fn enrol_new(&mut self, key: usize) {
        let command = Command::Enrol { keys: these(key), declaration: Declaration::New };
        let reply = self.command(&command, b"");
        assert!(Self::is_done(&reply), "{reply:?}");
        self.running.admitted[key].is_enrolled = true;
        self.running.admitted[key].is_enabled = true;
    }

    /// Takes over a history that lies behind, at or just beyond what the gate has.
    fn import(&mut self) {
        let Some(key) = self.some_key(|it| it.is_enrolled) else { return };
        let epoch = slot_of(self.running.process.now().unix_ns) / SLOTS_PER_EPOCH;
        let target = epoch + self.chance.below(5) - 3;
        let source = justified(target) - self.chance.below(2);
        let slot = target * SLOTS_PER_EPOCH + self.chance.below(SLOTS_PER_EPOCH);
        let file = json!({
            "metadata": {
                "interchange_format_version": "5",
                "genesis_validators_root": GVR.to_string(),
            },
            "data": [{
                "pubkey": public_key(key).to_string(),
                "signed_blocks": [{ "slot": slot.to_string() }],
                "signed_attestations": [{
                    "source_epoch": source.to_string(), "target_epoch": target.to_string(),
                }],
            }],
        });
        let reply = self.command(&Command::Import, file.to_string().as_bytes());
        if Self::is_done(&reply) {
            let admitted = &mut self.running.admitted[key];
            admitted.is_enabled = true;
            admitted.add(Said::Vote { source, target });
            admitted.add(Said::Block { slot });
        }
    }
}

fn these(key: usize) -> Keys {
    Keys::These(vec![public_key(key).to_string()])
}

const FAILURES: [Failure; 2] = [Failure::BeforeWriting, Failure::AfterWriting];
/// After so many more commits than any run has: takes an ordered fault back.
const NEVER: u64 = 1 << 40;
