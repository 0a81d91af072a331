//! Twins: many requests for one slot of one key at the same moment.

use std::collections::BTreeSet;
use std::sync::Barrier;

use super::support::{Options, World, attestation, block, key};

const TWINS: u8 = 16;
const ROUNDS: u64 = 25;

/// Of many distinct roots for the same slot or target exactly one is signed, whoever comes first,
/// and all who asked for that one get the same signature.
#[test]
fn exactly_one_root_of_a_slot_leaves() {
    let world = World::start(Options { keys: ROUNDS, ..Options::default() });
    let (epoch, slot) = (world.epoch(), world.slot());
    for round in 0..ROUNDS {
        for kind in 0..2 {
            let barrier = Barrier::new(usize::from(TWINS));
            let answers: Vec<_> = std::thread::scope(|scope| {
                let twins: Vec<_> = (0..TWINS)
                    .map(|twin| {
                        let (world, barrier) = (&world, &barrier);
                        scope.spawn(move || {
                            let head = twin / 2; // each root is asked for twice
                            let request = match kind {
                                0 => attestation(epoch - 2, epoch, head),
                                _ => block(slot, head),
                            };
                            let mut gate = world.connect();
                            barrier.wait();
                            gate.sign(&key(round), &request)
                        })
                    })
                    .collect();
                twins.into_iter().map(|twin| twin.join().unwrap()).collect()
            });
            let signed: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).collect();
            assert_eq!(signed.len(), 2, "both who asked for the one root: {answers:?}");
            assert_eq!(signed[0].1, signed[1].1);
            assert!(answers.iter().all(|(status, _)| [200, 412].contains(status)), "{answers:?}");
        }
    }
    let distinct: BTreeSet<_> = world
        .signed()
        .iter()
        .map(|entry| (entry.pubkey.to_string(), entry.signing_root.to_string()))
        .collect();
    assert_eq!(distinct.len() as u64, 2 * ROUNDS, "one vote and one proposal of each key");
    assert!(portcullis::dev_signer::log::find_conflicts(&world.signed()).is_empty());
}
