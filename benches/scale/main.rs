//! Half a million keys: what they cost in time and memory, measured on the real binary.
//!
//! `cargo bench --bench scale` makes a store through the product's own enrolment and import, starts
//! the gate on it, and prints one table. `-- --keys N --import N --rounds N` for other sizes. Wall
//! times depend on what else the machine does, so CPU time and ratios within the run stand beside.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use probe::Probe;
use world::{Cost, GVR, Http, Votes, World, hex, interop_keys};

mod probe;
mod stub;
mod world;

struct Sizes {
    keys: usize,
    import: usize,
    rounds: usize,
}

fn main() {
    let sizes = sizes();
    let started = Instant::now();
    let keys = Arc::new(interop_keys(sizes.keys));
    println!("{} keys ready after {:.1} s\n", keys.len(), started.elapsed().as_secs_f64());
    let list: Vec<String> = keys.iter().map(hex).collect();
    let list = Arc::new(serde_json::to_vec(&list).unwrap());
    let signer = stub::start(list);

    import_into_an_empty_store(signer, &keys[..sizes.import.min(keys.len())]);

    let mut world = World::new(signer);
    let votes =
        Votes { keys: keys.clone(), genesis_time: world.genesis_time, next: probe::counter() };
    let votes = Arc::new(votes);
    enrol(&mut world, &keys, &votes);
    give_history(&mut world, &keys, &votes);
    lists(&world, &votes, sizes.rounds);
    commands(&world);
    memory(&world, keys.len(), "after all that");
    world.kill();
    starts(&mut world, &votes, sizes.rounds);
    memory(&world, keys.len(), "after a start");
    world.stop();
}

fn sizes() -> Sizes {
    let mut sizes = Sizes { keys: 500_000, import: 100_000, rounds: 5 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || arguments.next().and_then(|it| it.parse().ok()).expect("a number");
        match name.as_str() {
            "--keys" => sizes.keys = number(),
            "--import" => sizes.import = number(),
            "--rounds" => sizes.rounds = number(),
            _ => {} // what cargo adds
        }
    }
    sizes
}

fn row(what: &str, cost: Cost, note: &str) {
    let (wall, cpu) = (cost.wall.as_secs_f64() * 1e3, cost.cpu.as_secs_f64());
    println!("{what:<44} {wall:>10.2} ms  CPU {cpu:>6.2} s  {note}");
}

fn note(what: &str, text: &str) {
    println!("{what:<44} {text}");
}

/// What a client saw beside it, and without it.
fn beside(probe: Probe) {
    let [upchecks, votes] = probe.end();
    note("  beside it: upcheck", &upchecks.line());
    note("  beside it: a vote, durable", &votes.line());
}

/// An interchange file with a vote and a proposal of each key.
fn write_history(path: &Path, keys: &[[u8; 48]], epoch: u64) -> u64 {
    let mut file = BufWriter::new(std::fs::File::create(path).unwrap());
    write!(
        file,
        r#"{{"metadata":{{"interchange_format_version":"5","genesis_validators_root":"{GVR}"}},"data":["#
    )
    .unwrap();
    for (index, key) in keys.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let (source, target, slot) = (epoch - 2, epoch - 1, (epoch - 1) * 32);
        let root = format!("0x{index:064x}");
        write!(
            file,
            r#"{comma}{{"pubkey":"{}","signed_blocks":[{{"slot":"{slot}","signing_root":"{root}"}}],"signed_attestations":[{{"source_epoch":"{source}","target_epoch":"{target}","signing_root":"{root}"}}]}}"#,
            hex(key)
        )
        .unwrap();
    }
    write!(file, "]}}").unwrap();
    file.into_inner().unwrap().metadata().unwrap().len()
}

/// Web3Signer's own figure for 100,000 validators is 107 s (its pull request 912).
fn import_into_an_empty_store(signer: std::net::SocketAddr, keys: &[[u8; 48]]) {
    let world = World::new(signer);
    let bytes = write_history(&world.dir.path().join("history.json"), keys, world.epoch());
    let cost = world.must(&["slashing", "import", "--config", "gate.toml", "history.json"]);
    let text = format!("{} new keys, {} MB", keys.len(), bytes / 1_000_000);
    row("import, stopped gate", cost, &text);
}

fn enrol(world: &mut World, keys: &[[u8; 48]], votes: &Arc<Votes>) {
    let (first, rest) = keys.split_at(keys.len() / 10);
    for (name, keys) in [("first.txt", first), ("rest.txt", rest)] {
        let lines: Vec<String> = keys.iter().map(|key| hex(key) + "\n").collect();
        std::fs::write(world.dir.path().join(name), lines.concat()).unwrap();
    }
    world.start(|address| assert_eq!(Http::connect(address).get("/upcheck").0, 200));
    let empty = world.gate().memory_mib("VmRSS");
    note("memory of a gate without keys", &format!("{empty:.0} MiB"));
    let arguments = |file| ["keys", "enrol", "--config", "gate.toml", "--new", "--keys-file", file];
    world.must(&arguments("first.txt"));
    let idle = Probe::start(world.gate().address, votes);
    std::thread::sleep(Duration::from_secs(5));
    note("nothing else going on, for 5 s", "");
    beside(idle);
    let probe = Probe::start(world.gate().address, votes);
    let before = world.gate().cpu();
    let cost = world.must(&arguments("rest.txt"));
    let gate = world.gate().cpu() - before;
    let text = format!("{} keys; the gate's CPU {:.2} s", rest.len(), gate.as_secs_f64());
    row("enrol --new, running gate", cost, &text);
    beside(probe);
}

fn give_history(world: &mut World, keys: &[[u8; 48]], votes: &Arc<Votes>) {
    write_history(&world.dir.path().join("history.json"), keys, world.epoch());
    let probe = Probe::start(world.gate().address, votes);
    let before = world.gate().cpu();
    let cost = world.must(&["slashing", "import", "--config", "gate.toml", "history.json"]);
    let gate = world.gate().cpu() - before;
    let text = format!("{} keys; the gate's CPU {:.2} s", keys.len(), gate.as_secs_f64());
    row("import, running gate", cost, &text);
    beside(probe);
}

/// The list that the gate publishes, and the one that it reads at the signer.
fn lists(world: &World, votes: &Arc<Votes>, rounds: usize) {
    let address = world.gate().address;
    let mut http = Http::connect(address);
    let mut bytes = 0;
    let probe = Probe::start(address, votes);
    let cost = median(rounds, world, || {
        let (status, body) = http.get("/api/v1/eth2/publicKeys");
        assert_eq!(status, 200);
        bytes = body.len();
    });
    row("GET publicKeys", cost, &format!("{} MB", bytes / 1_000_000));
    beside(probe);
    let probe = Probe::start(address, votes);
    let cost = median(rounds, world, || {
        assert_eq!(http.post("/reload", "").0, 202);
        loop {
            let (_, status) = http.get("/reload");
            let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
            match status["status"].as_str() {
                Some("running") => std::thread::sleep(Duration::from_millis(5)),
                Some("completed") => break,
                other => panic!("{other:?}"),
            }
        }
    });
    row("refresh of the signer's list", cost, "");
    beside(probe);
    let cost = median(100, world, || assert_eq!(http.get("/healthcheck").0, 200));
    row("GET /healthcheck", cost, "median of 100");
    let mut scraper = Http::connect(world.gate().metrics);
    let cost = median(100, world, || assert_eq!(scraper.get("/metrics").0, 200));
    row("GET /metrics", cost, "median of 100");
}

/// The commands that show the store.
fn commands(world: &World) {
    row("keys list, running gate", world.must(&["keys", "list", "--config", "gate.toml"]), "");
    let status = world.must(&["slashing", "status", "--config", "gate.toml"]);
    row("slashing status, beside it", status, "");
}

fn memory(world: &World, keys: usize, when: &str) {
    let mib = |line| world.gate().memory_mib(line);
    let per_key = mib("VmRSS") * 1_048_576.0 / keys as f64;
    let text = format!(
        "{:.0} MiB resident (peak {:.0}), {per_key:.0} B a key, all of the process",
        mib("VmRSS"),
        mib("VmHWM")
    );
    note(&format!("memory {when}"), &text);
}

fn starts(world: &mut World, votes: &Arc<Votes>, rounds: usize) {
    // The first start is after a kill: it replays the log.
    let first = |address: std::net::SocketAddr| {
        let (key, body) = (votes.key(votes.keys.len() - 1), votes.vote());
        assert_eq!(Http::connect(address).sign(&key, &body).0, 200);
    };
    row("start to first signature, after kill -9", world.start(first), "");
    world.stop();
    for (name, is_cold) in [("cold", true), ("warm", false)] {
        let mut plain = Vec::new();
        let mut gate = Vec::new();
        let mut rows = 0;
        for _ in 0..rounds {
            let is_cold = is_cold && drop_caches();
            let (before, started) = (world::own_cpu(), Instant::now());
            rows = slashing_db::testing::iterate_plain(&world.store()).unwrap();
            plain.push((started.elapsed(), world::own_cpu() - before));
            if is_cold {
                drop_caches();
            }
            let cost = world.start(first);
            gate.push((cost.wall, cost.cpu));
            world.stop();
        }
        let (plain, gate) = (middle(plain), middle(gate));
        row(&format!("plain RocksDB iteration, {name}"), plain, &format!("{rows} rows"));
        let ratio = gate.wall.as_secs_f64() / plain.wall.as_secs_f64();
        let text = format!("{ratio:.2} times the plain iteration");
        row(&format!("start to first signature, {name}"), gate, &text);
    }
    world.start(first);
}

/// Whether the kernel let go of what it has cached.
fn drop_caches() -> bool {
    rustix::fs::sync();
    let dropped = std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
    if !dropped {
        note("  the page cache cannot be dropped", "run as root: cold is warm here");
    }
    dropped
}

/// The median of `rounds`, and the gate's CPU time of one.
fn median(rounds: usize, world: &World, mut what: impl FnMut()) -> Cost {
    let mut costs = Vec::new();
    for _ in 0..rounds {
        let (cpu, started) = (world.gate().cpu(), Instant::now());
        what();
        costs.push((started.elapsed(), world.gate().cpu() - cpu));
    }
    middle(costs)
}

fn middle(mut costs: Vec<(Duration, Duration)>) -> Cost {
    costs.sort_unstable();
    let (wall, cpu) = costs[costs.len() / 2];
    Cost { wall, cpu }
}
