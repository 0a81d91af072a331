//! Many keys at once: enrolled and imported beside signatures, across restarts and `kill -9`.
//!
//! `cargo bench --bench scale` measures half a million; here is what has to be right.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use portcullis::bls::SecretKey;
use serde_json::{Value, json};

use crate::support::{self, GVR, Options, World, attestation, binary, key, randao};

const MANY: u64 = 20_000;

/// The interop keys after those of the signer: nothing here asks for their signatures.
static MANY_KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let indices: Vec<u64> = (1_000..1_000 + MANY).collect();
    let bytes = |index: &u64| SecretKey::interop(*index).public_key().to_bytes();
    let text = |index: &u64| portcullis::eth::PublicKey(bytes(index)).to_string();
    std::thread::scope(|scope| {
        let shares = indices.chunks(indices.len().div_ceil(cores));
        let threads: Vec<_> = shares
            .map(|share| scope.spawn(move || share.iter().map(text).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
});

/// A command on the running gate that is not waited for.
fn begin(world: &World, arguments: &[&str]) -> std::process::Child {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(world.dir.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// How many keys of each state the gate says that it has.
fn counts(http: &mut support::Http) -> [u64; 4] {
    let health: Value = serde_json::from_str(&http.get("/healthcheck").body).unwrap();
    let checks = health["checks"].as_array().unwrap();
    let keys = checks.iter().find(|check| check["id"] == "keys-check").unwrap();
    ["keys-loaded", "keys-disabled", "keys-halted", "keys-awaiting-enrolment"]
        .map(|name| keys["data"][name].as_u64().unwrap())
}

fn published(world: &World) -> Vec<String> {
    serde_json::from_str(&world.connect().get("/api/v1/eth2/publicKeys").body).unwrap()
}

/// Every enrolled key.
fn listed(world: &World) -> Vec<Value> {
    let text = world.must(&["keys", "list", "--config", "gate.toml", "--json"]);
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["status"] != "awaiting enrolment").collect()
}

fn lines_of(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn many_keys_are_enrolled_while_others_sign() {
    let mut world = World::start(Options::default());
    let mut own: Vec<String> = (0..4).map(key).collect();
    own.sort(); // as they are enrolled from the signer's list
    let many = &*MANY_KEYS;
    fs::write(world.path("keys.txt"), many.join("\n")).unwrap();
    let enrol = ["keys", "enrol", "--config", "gate.toml", "--new", "--keys-file", "keys.txt"];
    let mut enrolling = begin(&world, &enrol);
    let mut http = world.connect();
    let (epoch, mut signed) = (world.epoch(), 0);
    while enrolling.try_wait().unwrap().is_none() {
        let (status, answer) = http.sign(&own[signed % 4], &randao(epoch));
        assert_eq!(status, 200, "{answer}");
        if signed < 4 {
            let (status, answer) = http.sign(&own[signed], &attestation(epoch - 1, epoch, 7));
            assert_eq!(status, 200, "{answer}");
        }
        signed += 1;
    }
    let (stdout, stderr) = lines_of(&enrolling.wait_with_output().unwrap());
    assert_eq!(stdout.trim(), format!("enrolled as new: {MANY}"), "{stderr}");
    assert!(signed >= 4);

    // Published at once, in the order of enrolment, and counted without a walk.
    let all: Vec<String> = own.iter().chain(many).cloned().collect();
    let listed = published(&world);
    let differs = listed.iter().zip(&all).position(|(listed, enrolled)| listed != enrolled);
    assert_eq!((listed.len(), differs), (all.len(), None));
    assert_eq!(counts(&mut http), [MANY + 4, 0, 0, 0]);

    // Once more changes nothing and says so of each key.
    let (stdout, stderr) = lines_of(&world.run(&enrol));
    assert_eq!(stdout, "");
    assert!(stderr.ends_with(&format!("not done: {MANY}\n")), "{}", &stderr[..300]);
    assert_eq!(counts(&mut http), [MANY + 4, 0, 0, 0]);

    // Half of them end; their records stay, and so do the numbers across a restart.
    fs::write(world.path("half.txt"), many[..MANY as usize / 2].join("\n")).unwrap();
    world.must(&["keys", "disable", "--config", "gate.toml", "--keys-file", "half.txt"]);
    let rest: Vec<String> = own.iter().chain(&many[MANY as usize / 2..]).cloned().collect();
    for restarts in [false, true] {
        if restarts {
            world.kill_gate();
            world.start_gate();
        }
        let mut http = world.connect();
        assert_eq!(counts(&mut http), [MANY / 2 + 4, MANY / 2, 0, 0]);
        assert_eq!(published(&world), rest);
        let (status, answer) = http.sign(&many[0], &attestation(epoch - 1, epoch, 7));
        assert_eq!((status, &answer["code"]), (412, &json!("key_disabled")), "{answer}");
    }
}

#[test]
fn an_enrolment_that_is_killed_half_way_is_a_prefix_and_goes_on() {
    let mut world = World::start(Options { enrol: false, ..Options::default() });
    let many = &*MANY_KEYS;
    fs::write(world.path("keys.txt"), many.join("\n")).unwrap();
    let enrol = ["keys", "enrol", "--config", "gate.toml", "--new", "--keys-file", "keys.txt"];
    let enrolling = begin(&world, &enrol);
    let mut http = world.connect();
    let mut seen = 0;
    while seen == 0 {
        seen = counts(&mut http)[0];
    }
    world.kill_gate();
    let output = enrolling.wait_with_output().unwrap();
    assert!(!output.status.success() || seen == MANY, "a command without an answer is no success");

    world.start_gate();
    let durable = published(&world);
    assert!(durable.len() as u64 >= seen, "{seen} were enrolled, {} came back", durable.len());
    assert_eq!(durable, many[..durable.len()], "keys are enrolled in the order of the list");
    let (stdout, stderr) = lines_of(&world.run(&enrol));
    let rest = many.len() - durable.len();
    assert_eq!(stdout.trim(), format!("enrolled as new: {rest}"));
    assert!(stderr.ends_with(&format!("not done: {}\n", durable.len())));
    assert_eq!(&published(&world), many);
}

#[test]
fn an_import_that_is_killed_half_way_leaves_every_key_whole() {
    let mut world = World::start(Options { enrol: false, ..Options::default() });
    let many = &*MANY_KEYS;
    let (source, target) = (world.epoch() - 2, world.epoch() - 1);
    let slot = target * 32;
    let data: Vec<Value> = many
        .iter()
        .map(|key| {
            json!({
                "pubkey": key,
                "signed_blocks": [{ "slot": slot.to_string() }],
                "signed_attestations": [
                    { "source_epoch": source.to_string(), "target_epoch": target.to_string() },
                ],
            })
        })
        .collect();
    let metadata = json!({ "interchange_format_version": "5", "genesis_validators_root": GVR });
    let file = json!({ "metadata": metadata, "data": data });
    fs::write(world.path("history.json"), file.to_string()).unwrap();
    let import = ["slashing", "import", "--config", "gate.toml", "history.json"];
    let importing = begin(&world, &import);
    let mut http = world.connect();
    let mut seen = 0;
    while seen == 0 {
        seen = counts(&mut http)[0];
    }
    world.kill_gate();
    importing.wait_with_output().unwrap();

    world.start_gate();
    let is_whole = |line: &Value| {
        line["attestation"] == json!([source, target])
            && line["block_slot"] == json!(slot)
            && line["status"] == "enabled"
    };
    let lines = listed(&world);
    assert!(lines.len() as u64 >= seen, "{seen} were imported, {} came back", lines.len());
    assert!(lines.iter().all(is_whole), "{:?}", lines.iter().find(|line| !is_whole(line)));
    let said = world.must(&import);
    assert!(
        said.contains(&format!("{} keys in the store before, {MANY} after", lines.len())),
        "{said}"
    );
    let lines = listed(&world);
    assert_eq!(lines.len() as u64, MANY);
    assert!(lines.iter().all(is_whole));
}
