//! Twins: many connections ask at the same moment for different roots of one slot or one target.

use std::collections::BTreeSet;
use std::sync::Barrier;

use serde_json::Value;

use super::support::{Http, Options, World, attestation, block, key};

const ROUNDS: u64 = 50;
const TWINS: u8 = 12;

/// (status, code, signature) by twin
type Answers = Vec<(u16, Value, Value)>;

/// Each round another key. `body` makes the request of a twin.
fn ask_at_once(world: &World, body: impl Fn(u64, u8) -> Value + Sync) -> Vec<Answers> {
    let barrier = Barrier::new(usize::from(TWINS));
    let address = world.gate.as_ref().unwrap().address;
    let (barrier, body) = (&barrier, &body);
    let twin = move |number: u8| {
        let mut connection = Http::connect(address);
        let mut answers = Vec::new();
        for round in 0..ROUNDS {
            let (key, request) = (key(round), body(round, number));
            barrier.wait();
            let (status, answer) = connection.sign(&key, &request);
            answers.push((status, answer["code"].clone(), answer["signature"].clone()));
        }
        answers
    };
    let by_twin: Vec<Answers> = std::thread::scope(|scope| {
        let twins: Vec<_> = (0..TWINS).map(|number| scope.spawn(move || twin(number))).collect();
        twins.into_iter().map(|twin| twin.join().unwrap()).collect()
    });
    let round = |round: usize| by_twin.iter().map(|answers| answers[round].clone()).collect();
    (0..usize::try_from(ROUNDS).unwrap()).map(round).collect()
}

/// In every round `winners` connections have the one signature, the others a refusal with `code`.
fn assert_one_root(rounds: &[Answers], winners: usize, code: &str) {
    for (round, answers) in rounds.iter().enumerate() {
        let signed: Vec<_> = answers.iter().filter(|answer| answer.0 == 200).collect();
        assert_eq!(signed.len(), winners, "round {round}: {answers:?}");
        assert!(signed.iter().all(|answer| answer.2 == signed[0].2), "round {round}: {signed:?}");
        let refused = answers.iter().filter(|answer| answer.0 == 412 && answer.1 == code);
        assert_eq!(refused.count(), usize::from(TWINS) - winners, "round {round}: {answers:?}");
    }
}

#[test]
fn of_concurrent_twins_exactly_one_root_leaves() {
    let world = World::start(Options { keys: ROUNDS, ..Options::default() });
    let (epoch, slot) = (world.epoch(), world.slot());

    let votes = ask_at_once(&world, |_, twin| attestation(epoch - 3, epoch - 1, twin));
    assert_one_root(&votes, 1, "double_vote");
    let blocks = ask_at_once(&world, |_, twin| block(slot, twin));
    assert_one_root(&blocks, 1, "double_block_proposal");
    // Each root by two connections: whichever root wins, both have it.
    let pairs = ask_at_once(&world, |_, twin| attestation(epoch - 2, epoch, twin / 2));
    assert_one_root(&pairs, 2, "double_vote");

    let signed = world.signed();
    assert!(portcullis::dev_signer::log::find_conflicts(&signed).is_empty());
    let roots: BTreeSet<_> =
        signed.iter().map(|it| (it.pubkey.to_string(), it.signing_root.to_string())).collect();
    assert_eq!(roots.len() as u64, 3 * ROUNDS, "one root for each key and round");
    assert_eq!(signed.len() as u64, 3 * ROUNDS, "and twins of one root share one signature");
}
