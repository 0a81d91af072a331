//! `kill -9` at random moments, each followed by the loss of what was not synced.

use super::{Rig, Syncs, Tally};

const ROUNDS: u64 = 20;
const SOAK_ROUNDS: u64 = 200;

fn kill_rounds(rounds: u64) {
    let mut rig = Rig::new();
    for _ in 0..rounds {
        rig.round(Syncs::Honest);
        rig.assert_safe();
    }
    assert!(rig.start(Syncs::Honest));
    rig.assert_serving();
    rig.world.kill_gate();
    rig.judge(); // also what the signer was still at when the last gate died
    rig.assert_safe();
    rig.report("kill -9");
    // The whole log, its sequence verified: nothing was lost of the evidence.
    assert!(rig.world.signed() == rig.log.entries, "the log has changed since it was read");
    let Tally { answers, cut, .. } = &rig.tally;
    let failed: u64 = answers.failed.values().sum();
    assert!(failed * 100 < answers.signed, "honest parts failed: {answers:?}");
    // The load was what it claims to be: duties, every kind of conflict, and kills amid writes.
    assert!(answers.signed > 20 * rounds, "{answers:?}");
    for code in ["double_vote", "surround_or_stale_source", "double_block_proposal", "stale_slot"] {
        assert!(answers.refused.contains_key(code), "{code}: {answers:?}");
    }
    assert!(cut.files > 0, "no kill came while something was unsynced");
}

#[test]
fn no_kill_makes_it_forget_a_signature() {
    kill_rounds(ROUNDS);
}

#[test]
#[ignore = "minutes: `make soak` runs it"]
fn soak_no_kill_makes_it_forget_a_signature() {
    kill_rounds(SOAK_ROUNDS);
}

/// The proof that the rounds above can fail. The syncs lie from some moment after the opening on,
/// and the witness, which is on the same disk, loses what was written since: else it would notice
/// that its store is behind, and nothing would be signed. Signatures leave whose records the cut
/// removes, and the next gates sign against them.
#[test]
fn syncs_that_lie_are_found_out() {
    let mut rig = Rig::new();
    let path = rig.world.path("witness.json");
    for _ in 0..4 {
        assert!(rig.start(Syncs::Lie { after: 8 }), "{}", rig.world.log());
        let witness = std::fs::read(&path).expect("the witness");
        rig.kill_under_load();
        std::fs::write(&path, witness).expect("the witness is rolled back");
    }
    rig.report("lying syncs");
    assert!(!rig.tally.unrecorded.is_empty(), "a lost record was not noticed");
    assert!(!rig.tally.conflicts.is_empty(), "no conflict was signed: the load is too tame");
}
