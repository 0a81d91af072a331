//! The store against a naive, complete model of EIP-3076: every message that was ever signed, each
//! new one compared with all of them by the words of the consensus specification.
//!
//! Between the requests the store is killed and opened again, a record is lost on its way to the
//! disk, history is imported, and keys are disabled and enabled.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Vote {
        key: u8,
        source: u64,
        target: u64,
        root: u8,
    },
    Block {
        key: u8,
        slot: u64,
        root: u8,
    },
    /// The process dies and another opens the store.
    Kill,
    /// The process stops in order and another opens the store.
    Stop,
    /// The disk fails under the next record, before or after it was written.
    LoseVote {
        key: u8,
        source: u64,
        target: u64,
        root: u8,
        written: bool,
    },
    Import {
        key: u8,
        source: u64,
        target: u64,
        slot: u64,
    },
    Disable {
        key: u8,
    },
    Enable {
        key: u8,
        target: u64,
        slot: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (key, epoch, slot, root) = (1u8..4, 0u64..14, 0u64..14, 1u8..4);
    let vote = (key.clone(), epoch.clone(), epoch.clone(), root.clone());
    prop_oneof![
        12 => vote.clone().prop_map(|(key, source, target, root)| {
            Step::Vote { key, source, target, root }
        }),
        8 => (key.clone(), slot.clone(), root).prop_map(|(key, slot, root)| {
            Step::Block { key, slot, root }
        }),
        2 => Just(Step::Kill),
        1 => Just(Step::Stop),
        2 => (vote, any::<bool>()).prop_map(|((key, source, target, root), written)| {
            Step::LoseVote { key, source, target, root, written }
        }),
        1 => (key.clone(), epoch.clone(), epoch.clone(), slot.clone()).prop_map(
            |(key, source, target, slot)| Step::Import { key, source, target, slot }
        ),
        1 => key.clone().prop_map(|key| Step::Disable { key }),
        1 => (key, epoch, slot).prop_map(|(key, target, slot)| Step::Enable { key, target, slot }),
    ]
}

/// Everything that is known to be signed or declared with one key: nothing is ever forgotten.
#[derive(Default)]
struct History {
    votes: Vec<SignedAttestation>,
    blocks: Vec<SignedBlock>,
    is_disabled: bool,
}

impl History {
    fn allows_vote(&self, new: &SignedAttestation) -> bool {
        let valid =
            new.source_epoch < new.target_epoch || (new.source_epoch, new.target_epoch) == (0, 0);
        valid && self.votes.iter().all(|old| !is_slashable(old, new))
    }

    fn allows_block(&self, new: &SignedBlock) -> bool {
        self.blocks
            .iter()
            .all(|old| old.slot != new.slot || old.signing_root.proves_repeat_of(&new.signing_root))
    }

    /// Beyond all of it: what even a minimal store has to sign.
    fn lies_behind_vote(&self, new: &SignedAttestation) -> bool {
        new.source_epoch < new.target_epoch
            && self.votes.iter().all(|old| {
                old.target_epoch < new.target_epoch && old.source_epoch <= new.source_epoch
            })
    }
}

/// `is_slashable_attestation_data`, both ways; an unknown root differs from every root.
fn is_slashable(one: &SignedAttestation, two: &SignedAttestation) -> bool {
    let same = (one.source_epoch, one.target_epoch) == (two.source_epoch, two.target_epoch)
        && one.signing_root.proves_repeat_of(&two.signing_root);
    let surrounds = |a: &SignedAttestation, b: &SignedAttestation| {
        a.source_epoch < b.source_epoch && b.target_epoch < a.target_epoch
    };
    !same && one.target_epoch == two.target_epoch || surrounds(one, two) || surrounds(two, one)
}

struct Machine {
    disk: MemoryDisk,
    witness: MemoryWitness,
    store: Store,
    table: Table,
    seconds: u64,
    histories: HashMap<u8, History>,
}

impl Machine {
    fn new() -> Self {
        let (disk, witness) = made();
        let (store, mut table) = open(&disk, &witness, at(0)).unwrap();
        for number in 1..4 {
            table.insert(key(number), store.enrol(key(number), Enrolment::New).unwrap());
        }
        Self { disk, witness, store, table, seconds: 0, histories: HashMap::new() }
    }

    fn reopen(&mut self) {
        self.seconds += 1;
        (self.store, self.table) = open(&self.disk, &self.witness, at(self.seconds)).unwrap();
    }

    fn sign(&mut self, number: u8, message: &Message) -> Result<u64, &'static str> {
        let now = at(self.seconds);
        let watermarks = self.table.get_mut(&key(number)).unwrap();
        let place = self.store.recorder().reserve(Priority::Block).map_err(|_| "no place")?;
        let checked = watermarks.check(message, &OPEN).map_err(|it| it.code())?;
        let permit = checked.record(place).wait().map_err(|error| {
            // The engine's own order is another line of defence: here it must never be needed.
            assert_eq!(error, RecordError::Poisoned, "one owner, one order");
            "not recorded"
        })?;
        let redeemed = permit.redeem(now.boot).map_err(|_| "lease lapsed")?;
        Ok(redeemed.sequence().unwrap())
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Vote { key, source, target, root } => self.vote(key, source, target, root)?,
            Step::Block { key, slot, root } => self.block(key, slot, root)?,
            Step::Kill => self.reopen(),
            Step::Stop => {
                self.store.seal(at(self.seconds)).unwrap();
                self.reopen();
            }
            Step::LoseVote { key, source, target, root, written } => {
                let fault = if written { Fault::IoAfterWrite } else { Fault::Io };
                self.disk.fail_commit(0, fault);
                let lost = self.sign(key, &attestation(source, target, root));
                prop_assert!(lost.is_err(), "signed without a record");
                self.disk.fail_commit(1 << 40, fault);
                self.reopen(); // the record may be there or not: nothing left, both are right
            }
            Step::Import { key, source, target, slot } => self.import(key, source, target, slot),
            Step::Disable { key: number } => {
                let watermarks = self.table.get_mut(&key(number)).unwrap();
                self.store.disable(watermarks).wait().unwrap();
                self.histories.entry(number).or_default().is_disabled = true;
            }
            Step::Enable { key: number, target, slot } => self.enable(number, target, slot),
        }
        Ok(())
    }

    fn vote(
        &mut self,
        number: u8,
        source: u64,
        target: u64,
        root: u8,
    ) -> Result<(), TestCaseError> {
        let message = attestation(source, target, root);
        let held = self.table[&key(number)].attestation().copied();
        let verdict = self.sign(number, &message);
        let history = self.histories.entry(number).or_default();
        let Message::Attestation(new) = message else { unreachable!() };
        if verdict.is_ok() {
            prop_assert!(!history.is_disabled);
            prop_assert!(history.allows_vote(&new), "{new:?} beside {:?}", history.votes);
            history.votes.push(new);
        } else if !history.is_disabled && history.lies_behind_vote(&new) {
            // Only a record that was written when its vote was lost may stand in the way: by its
            // target, or, once an import has brought that target, by its source alone.
            let unknown = held.is_some_and(|it| {
                let votes = &history.votes;
                !votes.iter().any(|old| old.target_epoch >= it.target_epoch)
                    || !votes.iter().any(|old| old.source_epoch >= it.source_epoch)
            });
            prop_assert!(unknown, "{new:?} refused: {verdict:?} after {:?}", history.votes);
        }
        Ok(())
    }

    fn block(&mut self, number: u8, slot: u64, root: u8) -> Result<(), TestCaseError> {
        let new = SignedBlock { slot, signing_root: SigningRoot([root; 32]) };
        let verdict = self.sign(number, &Message::Block(new));
        let history = self.histories.entry(number).or_default();
        if verdict.is_ok() {
            prop_assert!(!history.is_disabled);
            prop_assert!(history.allows_block(&new), "{new:?} beside {:?}", history.blocks);
            history.blocks.push(new);
        } else if !history.is_disabled {
            let behind = history.blocks.iter().any(|old| old.slot >= slot);
            prop_assert!(behind, "{new:?} refused: {verdict:?} after {:?}", history.blocks);
        }
        Ok(())
    }

    fn import(&mut self, number: u8, source: u64, target: u64, slot: u64) {
        let file = format!(
            r#"{{"metadata":{{"interchange_format_version":"5","genesis_validators_root":"{}"}},
            "data":[{{"pubkey":"{}","signed_blocks":[{{"slot":"{slot}"}}],"signed_attestations":
            [{{"source_epoch":"{source}","target_epoch":"{target}"}}]}}]}}"#,
            GenesisValidatorsRoot([4; 32]),
            key(number)
        );
        let bounds = ImportBounds { epoch_max: u64::MAX, slot_max: u64::MAX };
        let report = self.store.import(file.as_bytes(), &mut self.table, bounds).unwrap();
        let history = self.histories.entry(number).or_default();
        match &report.keys[0].1 {
            Imported::Refused(_) => {} // not newer than what a disabled key has
            Imported::Raised | Imported::Unchanged => {
                history.is_disabled = false;
                let signing_root = SigningRoot::NULL;
                history.votes.push(SignedAttestation {
                    source_epoch: source,
                    target_epoch: target,
                    signing_root,
                });
                history.blocks.push(SignedBlock { slot, signing_root });
            }
        }
    }

    fn enable(&mut self, number: u8, target_epoch: u64, slot: u64) {
        let watermarks = self.table.get_mut(&key(number)).unwrap();
        let floor = Floor { source_epoch: target_epoch.saturating_sub(1), target_epoch, slot };
        let Ok(changing) = self.store.enable(watermarks, floor) else { return };
        changing.wait().unwrap();
        let history = self.histories.entry(number).or_default();
        history.is_disabled = false;
        let (source_epoch, signing_root) = (floor.source_epoch, SigningRoot::NULL);
        history.votes.push(SignedAttestation { source_epoch, target_epoch, signing_root });
        history.blocks.push(SignedBlock { slot, signing_root });
    }
}

fn attestation(source_epoch: u64, target_epoch: u64, root: u8) -> Message {
    let signing_root = SigningRoot([root; 32]);
    Message::Attestation(SignedAttestation { source_epoch, target_epoch, signing_root })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_the_store_signs_a_complete_history_allows(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut machine = Machine::new();
        for step in &steps {
            machine.run(step)?;
        }
    }
}
