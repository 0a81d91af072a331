//! Drafts of a policy: tried on what was recorded, then in force, as a whole or not at all.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{Options, World, attestation_at, block, eventually, exit, key, randao};

const KEYS: u64 = 4;
const RECORDING: &str = "[policy]\nrecording = 'recording'\n";
const DRAFT: &str = "version = 1\n[defaults]\n\
     permissions = [{ allow = ['*'] }, { deny = ['BLOCK_V2'] }]\n";

fn options(config: &str) -> Options {
    Options { keys: KEYS, config: config.to_owned(), ..Options::default() }
}

/// Every kind of answer: signed, repeated, slashable, refused by the configuration or by policy.
fn requests(slot: u64) -> Vec<(String, Value)> {
    let epoch = slot / 32;
    let of_key = |index: u64| {
        let own = index as u8 + 1; // a body root of zeros is no body
        [
            attestation_at(slot, epoch - 1, epoch, own),
            randao(epoch),
            block(slot, own),
            attestation_at(slot, epoch - 1, epoch, own),
            attestation_at(slot, epoch - 1, epoch, own + 100),
            exit(epoch),
            block(slot, own),
        ]
        .map(|body| (key(index), body))
    };
    (0..KEYS).flat_map(of_key).collect()
}

/// Each request's status and code, in their order.
fn answers(world: &World, requests: &[(String, Value)]) -> Vec<(u16, String)> {
    let mut connection = world.connect();
    let answers = requests.iter().map(|(key, body)| {
        let (status, answer) = connection.sign(key, body);
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    });
    answers.collect()
}

/// The first bytes of each signing root, as a replay shows them.
fn roots(world: &World, requests: &[(String, Value)]) -> Vec<String> {
    let lines: String = requests.iter().map(|(_, body)| format!("{body}\n")).collect();
    fs::write(world.path("requests.jsonl"), lines).unwrap();
    let network = format!("{}/fixtures/networks/test.yaml", env!("CARGO_MANIFEST_DIR"));
    let roots = world.must(&["signing-root", "--network", &network, "requests.jsonl"]);
    roots.lines().map(|root| root[..18].to_owned()).collect()
}

/// What a replay says: the refused requests, then the whole.
fn replay(world: &World, expected_code: i32) -> (Vec<Value>, Value) {
    let output = world.run(&[
        "policy",
        "replay",
        "--policy",
        "draft.toml",
        "--config",
        "gate.toml",
        "--json",
        "recording",
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    let problem = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(expected_code), "{text}{problem}");
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let whole = lines.pop().unwrap();
    (lines, whole)
}

fn recorded(world: &World, draft: &str, requests: usize) -> (Vec<Value>, Value) {
    fs::write(world.path("draft.toml"), draft).unwrap();
    let shown = || {
        let arguments = ["policy", "replay", "--policy", "draft.toml", "--json", "recording"];
        let output = world.run(&arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        let whole: Value = serde_json::from_str(text.lines().last().unwrap_or("0")).unwrap();
        whole["requests"] == json!(requests)
    };
    eventually("the recording of every request", shown);
    let refuses = draft.contains("deny");
    replay(world, i32::from(refuses))
}

/// Acceptance: what a replay says that a draft refuses is what a gate with that policy refuses.
#[test]
fn a_replay_refuses_what_a_gate_with_that_policy_refuses() {
    let mut first = World::start(options(RECORDING));
    let slot = first.slot();
    let requests = requests(slot);
    let before = answers(&first, &requests);
    let signed = before.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!(signed, 5 * KEYS as usize, "{before:?}");
    let (replayed, whole) = recorded(&first, DRAFT, requests.len());
    assert_eq!(whole["not_safe"], json!(KEYS), "{whole}");

    first.kill_gate(); // as `kill -9` does: what was written stays
    assert_eq!(replay(&first, 1).0, replayed);

    let second = World::prepare(options("[policy]\nfile = 'draft.toml'\n"));
    fs::write(second.path("draft.toml"), DRAFT).unwrap();
    let mut second = second;
    second.start_gate();
    eventually("the same slot", || second.slot() >= slot);
    let after = answers(&second, &requests);
    let by_policy = |code: &str| ["client_permission", "exit_window"].contains(&code);
    let roots = roots(&second, &requests);
    let expected: Vec<(&str, &str, &str)> = (0..requests.len())
        .filter(|place| by_policy(&after[*place].1))
        .map(|place| (requests[place].0.as_str(), roots[place].as_str(), after[place].1.as_str()))
        .collect();
    assert_eq!(expected.len(), 3 * KEYS as usize, "{after:?}");
    let found: Vec<(&str, &str, &str)> = replayed
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap();
            (text("pubkey"), text("root_begins"), text("rule"))
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(whole["refused"], json!(expected.len()));
}

#[test]
fn a_draft_that_forbids_nothing_new_refuses_nothing() {
    let world = World::start(options(RECORDING));
    let epoch = world.epoch();
    let requests: Vec<_> = (0..KEYS).map(|index| (key(index), randao(epoch))).collect();
    assert!(answers(&world, &requests).iter().all(|(status, _)| *status == 200));
    let (refused, whole) = recorded(&world, "version = 1\n", requests.len());
    assert_eq!((refused.len(), &whole["refuses_too_much"]), (0, &json!(false)), "{whole}");
}

fn count(world: &World, event: &str) -> usize {
    world.log().matches(&format!("\"event\":\"{event}\"")).count()
}

fn randao_code(world: &World, index: u64) -> String {
    answers(world, &[(key(index), randao(world.epoch()))]).remove(0).1
}

/// Seen first, then published: and what is wrong leaves in force what was.
#[test]
fn a_draft_is_published_once_it_was_seen_to_refuse_little() {
    let config = format!("{RECORDING}file = 'policy.toml'\n");
    let world = World::prepare(options(&config));
    let open = "version = 1\n";
    let closed = "version = 1\ndefaults = { permissions = [{ deny = ['RANDAO_REVEAL'] }] }\n";
    fs::write(world.path("policy.toml"), open).unwrap();
    let mut world = world;
    world.start_gate();
    assert_eq!(randao_code(&world, 0), "");
    fs::write(world.path("draft.toml"), closed).unwrap();
    let publish = ["policy", "publish", "draft.toml", "--config", "gate.toml"];
    let output = world.run(&publish);
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{problem}");
    assert!(problem.contains("more than 0.1 % of the last epoch"), "{problem}");
    assert_eq!(fs::read_to_string(world.path("policy.toml")).unwrap(), open);
    assert_eq!(randao_code(&world, 1), "");

    let forced = world.must(&[&publish[..], &["--force"]].concat());
    assert!(forced.contains("in force:\n  default: "), "{forced}");
    assert_eq!(fs::read_to_string(world.path("policy.toml")).unwrap(), closed);
    assert_eq!(randao_code(&world, 2), "client_permission");

    // A wrong document changes nothing, and is told of.
    let rejected = count(&world, "policy_rejected");
    fs::write(world.path("policy.toml"), "version = 1\ncolour = 'red'\n").unwrap();
    let gate = world.gate.as_ref().unwrap().child.id();
    kill_process(Pid::from_raw(gate.try_into().unwrap()).unwrap(), Signal::HUP).unwrap();
    eventually("a rejected policy", || count(&world, "policy_rejected") > rejected);
    assert!(world.log().contains("policy.toml:2:1: colour: no such key"), "{}", world.log());
    assert_eq!(randao_code(&world, 3), "client_permission");

    // A document that changes is read without a signal.
    let published = count(&world, "policy_published");
    fs::write(world.path("policy.toml"), open).unwrap();
    eventually("a published policy", || count(&world, "policy_published") > published);
    assert_eq!(randao_code(&world, 3), "");
}
