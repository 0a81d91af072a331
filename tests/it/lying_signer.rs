//! Signers that answer with what is not the signature: none of it is released, each is attributed
//! and can be proved, and every honest request is answered as if nothing had happened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use portcullis::bls::{self, BlsError, SecretKey};
use portcullis::dev_signer::hex::Hex;
use portcullis::eth::{Epoch, Network, Root, signing_root};
use portcullis::web3signer::request;
use serde_json::Value;

use super::support::{
    GVR, Http, Options, SLOT_S, World, attestation, block, eventually, key, randao,
};

/// What the signer does to a third of the requests, and what that looks like from here.
const LIES: [(&str, f64, &str); 5] = [
    ("wrong-signature", 0.08, "mismatch"),
    ("swapped", 0.08, "mismatch"),
    ("off-subgroup", 0.08, "not_in_subgroup"),
    ("infinity", 0.04, "infinity"),
    ("garbage", 0.04, "bad_encoding"),
];
const KEYS: u64 = 64;
const EPOCHS: u64 = 100_000;

/// What the clients saw.
#[derive(Debug, Default)]
struct Seen {
    signed: AtomicU64,
    bad_signature: AtomicU64,
}

/// The duties of one key, one after the other, until `requests` were sent in all. What fails is
/// sent again, as clients do; each signature must be the very one.
fn work(gate: SocketAddr, index: u64, requests: &AtomicU64, wanted: u64, seen: &Seen) {
    let network = network();
    let secret = SecretKey::interop(index);
    let (mut gate, key) = (Http::connect(gate), key(index));
    let (mut target, mut kind) = (10, index);
    'duties: loop {
        target += 1;
        kind += 1;
        let duty = match kind % 8 {
            0 => block(target, 1),
            1 => randao(target),
            _ => attestation(target - 1, target, 1), // one root of all keys
        };
        let expected = format!("0x{}", hex_of(&secret.sign(&root_of(&duty, &network))));
        loop {
            if requests.fetch_add(1, Relaxed) >= wanted {
                break 'duties;
            }
            let (status, body) = gate.sign(&key, &duty);
            match (status, body["signature"].as_str(), body["code"].as_str()) {
                (200, Some(signature), None) => {
                    assert_eq!(signature, expected, "released for {duty}");
                    seen.signed.fetch_add(1, Relaxed);
                    break;
                }
                (500, None, Some("upstream_bad_signature")) => {
                    seen.bad_signature.fetch_add(1, Relaxed);
                }
                _ => panic!("{status} {body} for {duty}"),
            }
        }
    }
}

fn network() -> Network {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/networks/test.yaml");
    let root = Hex::parse(GVR).expect("a root");
    Network::from_config_file(&path).expect("a network").with_genesis(0, Root(root.0))
}

fn root_of(duty: &Value, network: &Network) -> [u8; 32] {
    let request = request::parse(duty.to_string().as_bytes()).expect("a request");
    let fork_info = request.fork_info.as_ref();
    signing_root(&request.duty, fork_info, None, network, Epoch(0)).expect("a root").0
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn prepare() -> World {
    let lies = LIES.map(|(lie, probability, _)| format!("{lie}:p={probability}"));
    World::prepare(Options {
        keys: KEYS,
        genesis_age_s: EPOCHS * 32 * SLOT_S,
        signer: lies.into_iter().flat_map(|lie| ["--fault".to_owned(), lie]).collect(),
        config: "min_target_age_epochs = 1000000\n".to_owned(), // of [slashing], the last section
        ..Options::default()
    })
}

/// The gate's log, line by line.
fn log_lines(world: &World) -> Vec<Value> {
    world.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// One series of the gate's metrics.
fn metric(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
    line.unwrap_or_else(|| panic!("no {series}")).parse().expect("a number")
}

fn metrics(world: &World) -> String {
    let serving = log_lines(world).into_iter().find(|line| line["event"] == "serving");
    let address = serving.expect("it serves")["metrics"].as_str().expect("metrics").to_owned();
    Http::connect(address.parse().expect("an address")).get("/metrics").body
}

/// How many bad signatures the gate holds against a signer.
fn attributed_to(metrics: &str, signer: SocketAddr) -> u64 {
    let of_signer = format!("replica=\"{signer}\"");
    let mut series = metrics.lines().filter(|line| {
        line.starts_with("portcullis_bad_signatures_total{") && line.contains(&of_signer)
    });
    let count = series.next().and_then(|line| line.rsplit(' ').next());
    count.map_or(0, |count| count.parse().expect("a count"))
}

/// How many requests each lie struck, by the signer's own count.
fn struck(world: &World) -> BTreeMap<String, u64> {
    let signer = world.signer.as_ref().expect("the signer runs").address;
    let plan: Value = serde_json::from_str(&Http::connect(signer).get("/dev/faults").body).unwrap();
    let faults = plan["faults"].as_array().expect("faults");
    let name = |fault: &Value| {
        let spec = fault["fault"].as_str().expect("a fault");
        spec.split(':').next().expect("a kind").to_owned()
    };
    faults.iter().map(|fault| (name(fault), fault["struck"].as_u64().expect("a count"))).collect()
}

/// The evidence in the log convicts by itself, and no line of it is missing that is not counted.
fn assert_evidence(world: &World, bad: u64) {
    let signer = world.signer.as_ref().expect("the signer runs").address.to_string();
    let (mut lines, mut unsaid) = (0, 0);
    for line in log_lines(world).iter().filter(|line| line["event"] == "bad_signature") {
        let text = |field: &str| line[field].as_str().unwrap_or_else(|| panic!("{field}: {line}"));
        assert_eq!((text("replica"), text("level")), (signer.as_str(), "ERROR"));
        let public_key = Hex::<48>::parse(text("pubkey")).expect("a key");
        let (root, signature) =
            (Hex::<32>::parse(text("root")), Hex::<96>::parse(text("signature")));
        let verdict = bls::verify(&public_key.0, &root.unwrap().0, &signature.unwrap().0);
        let expected = match text("defect") {
            "mismatch" => BlsError::Mismatch,
            "bad_encoding" | "infinity" | "not_in_subgroup" => BlsError::Signature,
            other => panic!("{other}: {line}"),
        };
        assert_eq!(verdict, Err(expected), "{line}");
        lines += 1;
        unsaid += line["unsaid"].as_u64().expect("a count");
    }
    // What the last line left unsaid is said by the next one only.
    assert!(lines > 0 && lines + unsaid <= bad, "{lines} lines, {unsaid} left out, {bad} bad");
}

/// Sends so many requests, and tells how long it took.
fn send(world: &World, wanted: u64, seen: &Seen) -> Duration {
    let gate = world.gate.as_ref().expect("it runs").address;
    let (requests, began) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for index in 0..KEYS {
            let requests = &requests;
            scope.spawn(move || work(gate, index, requests, wanted, seen));
        }
    });
    began.elapsed()
}

fn run(wanted: u64) {
    let mut world = prepare();
    world.start_gate();
    let seen = Seen::default();
    let took = send(&world, wanted, &seen);
    let (signed, bad) = (seen.signed.into_inner(), seen.bad_signature.into_inner());
    let (struck, metrics) = (struck(&world), metrics(&world));
    let mut verdicts = BTreeMap::from([("valid", signed)]);
    for (lie, _, verdict) in LIES {
        assert!(struck[lie] > wanted / 50, "{lie} struck {} of {wanted}", struck[lie]);
        *verdicts.entry(verdict).or_default() += struck[lie];
    }
    let verified = |verdict: &str| {
        metric(&metrics, &format!("portcullis_verified_total{{verdict=\"{verdict}\"}}"))
    };
    println!(
        "{wanted} requests in {took:?}: {signed} signed, {bad} not released; struck {struck:?}; \
         {:.0} us of CPU for each verification, {:.1} in a batch",
        1e6 * metric(&metrics, "portcullis_verify_cpu_seconds_total") / wanted as f64,
        metric(&metrics, "portcullis_verify_batch_signatures_sum")
            / metric(&metrics, "portcullis_verify_batch_signatures_count"),
    );
    // Every request was answered, every lie was found, and nothing else was called one.
    assert_eq!(signed + bad, wanted);
    assert_eq!(bad, struck.values().sum::<u64>());
    for (verdict, expected) in verdicts {
        assert_eq!(verified(verdict), expected as f64, "{verdict}");
    }
    let signer = world.signer.as_ref().expect("it runs").address;
    assert_eq!(attributed_to(&metrics, signer), bad);
    assert_evidence(&world, bad);
}

#[test]
fn no_lie_is_released_and_each_is_attributed() {
    run(2_000);
}

/// With an honest replica beside it the liar costs no duty: the other makes good what it spoils.
#[test]
fn an_honest_replica_makes_good_what_another_spoils() {
    let mut world = prepare();
    let liar = world.signer.as_ref().expect("it runs").address;
    let keys = KEYS.to_string();
    let honest = world.spawn_signer("127.0.0.1:0", &["--interop", &keys]);
    let config = world.path("gate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace(&format!("[upstream]\nurl = \"http://{liar}\"\n"), "");
    let urls = [format!("http://{liar}"), format!("http://{}", honest.address)];
    let set = format!("[[upstreams]]\nname = \"both\"\nurls = {urls:?}\n");
    std::fs::write(&config, format!("{text}\n{set}")).unwrap();
    world.start_gate();

    let (wanted, seen) = (1_000, Seen::default());
    send(&world, wanted, &seen);
    assert_eq!((seen.signed.into_inner(), seen.bad_signature.into_inner()), (wanted, 0));
    // A lie that comes after the honest answer is judged when nobody waits for it any more, and
    // behind all that honest signers say: on a busy machine its time may be up before its turn
    // comes. Then it is not judged, and counted as that.
    let lies = || struck(&world).values().sum::<u64>();
    let not_judged = format!(
        "portcullis_upstream_errors_total{{code=\"upstream_verify_timeout\",replica=\"{liar}\",\
         upstream=\"both\"}}"
    );
    let told = |metrics: &str| (attributed_to(metrics, liar), metric(metrics, &not_judged) as u64);
    eventually("the verdict on each lie", || {
        let (bad, late) = told(&metrics(&world));
        bad + late >= lies()
    });
    let metrics = metrics(&world);
    let (bad, late) = told(&metrics);
    assert!(0 < bad && bad <= lies() && lies() <= bad + late, "{bad} bad, {late} not judged");
    assert_eq!(attributed_to(&metrics, honest.address), 0);
    assert_evidence(&world, bad);
}

#[test]
#[ignore = "minutes: `make soak` runs it"]
fn soak_no_lie_in_a_hundred_thousand_is_released() {
    run(100_000);
}
