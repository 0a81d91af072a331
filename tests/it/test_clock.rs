//! Time that a test turns, for real processes: slots, epochs and leases of clients pass at once,
//! while the lease on the slashing store goes on in real time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use portcullis::clock::test_clock::VARIABLE;

use crate::support::{Options, SLOT_S, World, attestation_at, key};

/// What the store answers in the moment between the turn of the hands and the reservation of the
/// epochs that begin with it.
pub(crate) const NOT_RESERVED: &str = "not_reserved";

/// The hands of a clock that processes read.
pub(crate) struct Hands {
    file: File,
    path: PathBuf,
}

impl Hands {
    /// A clock in this file, which stands at `unix_ms`.
    pub(crate) fn new(path: PathBuf, unix_ms: u64) -> Self {
        let file = File::create(&path).expect("a file");
        let hands = Self { file, path };
        hands.set(unix_ms);
        hands
    }

    /// What a process needs in its environment to read it.
    pub(crate) fn environment(&self) -> (String, String) {
        (VARIABLE.to_owned(), self.path.to_str().expect("UTF-8").to_owned())
    }

    /// Turns the hands: the next request sees it.
    pub(crate) fn set(&self, unix_ms: u64) {
        let time = UNIX_EPOCH + Duration::from_millis(unix_ms);
        self.file.set_modified(time).expect("the time of a file");
    }
}

#[test]
fn time_passes_when_the_hands_are_turned_and_not_before() {
    let mut world = World::prepare(Options::default());
    let genesis_ms = world.genesis_time * 1_000;
    let at = |slot: u64| genesis_ms + slot * SLOT_S * 1_000;
    let hands = Hands::new(world.path("clock"), at(32 * 200));
    world.gate_environment.push(hands.environment());
    world.start_gate();
    let mut client = world.connect();
    let mut sign = |slot: u64| loop {
        let (status, body) = client.sign(&key(0), &attestation_at(slot, 100, slot / 32, 3));
        match body["code"].as_str().unwrap_or_default() {
            NOT_RESERVED => std::thread::yield_now(), // until the new epoch is
            code => return (status, code.to_owned()),
        }
    };
    assert_eq!(sign(32 * 200).0, 200);
    assert_eq!(sign(32 * 201), (400, "future_duty".to_owned()));
    hands.set(at(32 * 201));
    assert_eq!(sign(32 * 201).0, 200);
    // A month within one lease on the store, which therefore does not follow these hands.
    hands.set(at(32 * 201 + 30 * 7_200));
    assert_eq!(sign(32 * 201), (400, "past_duty".to_owned()));
    assert_eq!(sign(32 * 201 + 30 * 7_200).0, 200);
}

#[test]
fn a_clock_that_is_not_there_or_a_real_network_is_refused() {
    let world = World::prepare(Options { keys: 1, enrol: false, ..Options::default() });
    let run = |config: &str, clock: Option<&Path>| {
        let mut command = Command::new(crate::support::binary());
        command.args(["run", "--config", config]).current_dir(world.dir.path());
        command.envs(clock.map(|clock| (VARIABLE, clock)));
        let output = command.output().expect("runs");
        assert!(!output.status.success(), "it serves");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let clock = world.path("clock");
    let told = run("gate.toml", Some(&clock));
    assert!(told.contains(VARIABLE), "{told}");
    let _hands = Hands::new(clock.clone(), 1_700_000_000_000);
    let text = fs::read_to_string(world.path("gate.toml")).expect("the configuration");
    let (_, rest) = text.split_once("[listen]").expect("the next section");
    fs::write(world.path("real.toml"), format!("[network]\nname = \"hoodi\"\n[listen]{rest}"))
        .expect("written");
    for clock in [None, Some(clock.as_path())] {
        let told = run("real.toml", clock);
        assert!(told.contains("hoodi, which is a real network"), "{told}");
    }
}

/// The compiler itself is asked: without debug assertions, which is what a release profile is, the
/// module that the feature adds does not compile.
#[test]
fn a_release_build_with_the_feature_does_not_compile() {
    let refuses = |arguments: &[&str]| {
        let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
        command.args(["--crate-type", "lib", "--edition", "2024", "--emit", "metadata"]);
        command.args(["--out-dir", "/nonexistent", "src/clock/test_clock.rs"]).args(arguments);
        let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("rustc runs");
        assert!(!output.status.success(), "it has none of its dependencies");
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        told.contains("error: the feature test-clock is for tests")
    };
    assert!(refuses(&["-C", "opt-level=3"]), "as a release profile has it");
    assert!(!refuses(&["-C", "debug-assertions=on"]), "as the tests have it");
    let clock = fs::read_to_string("src/clock.rs").expect("the clock");
    assert!(clock.contains("#[cfg(feature = \"test-clock\")]\npub mod test_clock;"));
    let manifest = fs::read_to_string("Cargo.toml").expect("the manifest");
    assert!(!manifest.contains("default = ["), "no feature is on by itself");
    let (_, release) = manifest.split_once("[profile.release]").expect("its profile");
    assert!(!release.contains("debug-assertions"), "a release build must not look like a test's");
}
