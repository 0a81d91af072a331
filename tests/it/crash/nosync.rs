//! The gate that does not sync, the proof with the real thing that the rounds of `kill` can fail:
//! `cargo test --features bench-nosync --test it crash`.

use super::{Rig, Syncs, prepare};

#[test]
fn a_build_that_does_not_sync_is_found_out() {
    let mut rig = Rig::new();
    for _ in 0..4 {
        rig.round(Syncs::Honest);
    }
    rig.report("no syncs");
    println!("refused to open: {}", rig.tally.refused_to_open);
    assert!(!rig.tally.unrecorded.is_empty(), "a lost record was not noticed");
}

/// And it speaks to no signer that could hold real keys.
#[test]
fn a_build_that_does_not_sync_refuses_real_signers() {
    let world = prepare();
    let signer = world.signer.as_ref().expect("the signer runs").address.to_string();
    let config = std::fs::read_to_string(world.path("gate.toml")).expect("the configuration");
    for other in ["192.0.2.1:9000", "signer.example:9000"] {
        std::fs::write(world.path("other.toml"), config.replace(&signer, other)).expect("written");
        let output = world.run(&["run", "--config", "other.toml"]);
        assert!(!output.status.success());
        let reason = String::from_utf8_lossy(&output.stderr);
        assert!(reason.contains("does not sync its records"), "{reason}");
    }
}
