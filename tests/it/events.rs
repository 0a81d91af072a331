//! Whether people are told, by a real gate: pages over HTTP to what stands in for PagerDuty.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use portcullis::clock;
use portcullis::control::{Command, Reply, send};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Http, Options, SPACE_LOW, World, attestation, block, eventually, key};

/// A page as it arrived, and when, in milliseconds of Unix time.
type Arrived = (u64, Value);

/// What stands in for PagerDuty: it takes what comes, or says nothing at all.
struct Pagers {
    address: SocketAddr,
    arrived: Receiver<Arrived>,
    is_silent: Arc<AtomicBool>,
}

impl Pagers {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, arrived) = channel();
        let is_silent = Arc::new(AtomicBool::new(false));
        let silent = Arc::clone(&is_silent);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (sender, silent) = (sender.clone(), Arc::clone(&silent));
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream.unwrap());
                    while let Some(body) = receive(&mut stream) {
                        if silent.load(Ordering::Relaxed) {
                            let _ = stream.read(&mut [0]); // until the gate gives up
                            return;
                        }
                        let now = clock::unix_ms();
                        sender.send((now, serde_json::from_slice(&body).unwrap())).ok();
                        let said = r#"{"status":"success","message":"Event processed"}"#;
                        let answer = format!(
                            "HTTP/1.1 202 Accepted\r\nContent-Length: {}\r\n\r\n{said}",
                            said.len()
                        );
                        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, arrived, is_silent }
    }

    fn next(&self) -> Arrived {
        self.arrived.recv_timeout(Duration::from_secs(30)).expect("a page arrives")
    }

    fn set_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::Relaxed);
    }
}

fn receive(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

/// A world whose gate pages `pagers`, and the folder of its secrets.
fn world(pagers: &Pagers) -> (World, TempDir) {
    world_of(pagers, 4)
}

fn world_of(pagers: &Pagers, keys: u64) -> (World, TempDir) {
    let config = format!(
        "[events]\nsource = 'gate-1'\n[[events.sinks]]\nname = 'oncall'\nkind = 'pagerduty'\n\
         url = 'http://{}/v2/enqueue'\nrouting_key_file = 'routing.key'\ntimeout_ms = 1000\n\
         [admin]\naddress = '127.0.0.1:0'\n[[admin.credentials]]\nname = 'v'\nrole = 'viewer'\n\
         token_file = 'token'\n",
        pagers.address
    );
    // The commands that make the store read the configuration, and with it the files it names.
    let folder = tempfile::tempdir().unwrap();
    let (routing, token) = (folder.path().join("routing.key"), folder.path().join("token"));
    fs::write(&routing, "R0UT1NGKEY0123456789012345678901\n").unwrap();
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let config = config
        .replace("'routing.key'", &format!("'{}'", routing.display()))
        .replace("'token'", &format!("'{}'", token.display()));
    let world = World::start(Options { config, keys, ..Options::default() });
    (world, folder) // the gate reads the key at each page
}

const TOKEN: &str = "a-token-of-a-viewer-0123456789abcdef";

/// Gives a page in, as an incident would; its id.
fn page(world: &World) -> String {
    let command = Command::TestEvents { sink: None, page: true };
    let reply = send(&world.path("slashing"), &command, std::io::empty(), std::io::sink());
    match reply.unwrap() {
        Some(Reply::PageGiven(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn id(page: &Value) -> &str {
    page["payload"]["custom_details"]["event_id"].as_str().unwrap()
}

#[test]
fn a_second_block_for_a_slot_pages_somebody() {
    let pagers = Pagers::start();
    let (world, _secrets) = world(&pagers);
    let slot = world.slot();
    assert_eq!(world.sign(&key(0), &block(slot, 1)).0, 200);
    assert_eq!(world.sign(&key(0), &block(slot, 2)).0, 412);
    let (_, page) = pagers.next();
    assert_eq!(page["event_action"], "trigger", "{page}");
    assert_eq!(page["payload"]["class"], "incident.opened", "{page}");
    assert_eq!(page["payload"]["severity"], "error", "{page}");
    assert!(!page["dedup_key"].as_str().unwrap().is_empty());
    assert!(!world.log().contains("R0UT1NGKEY"), "the routing key is in no log");
}

#[test]
fn a_disk_that_fills_up_pages_somebody() {
    let pagers = Pagers::start();
    let (mut world, _secrets) = world(&pagers);
    world.kill_gate();
    world.gate_environment.push((SPACE_LOW.to_owned(), "100".to_owned()));
    world.start_gate();
    let (_, page) = pagers.next();
    assert_eq!(page["payload"]["class"], "audit.space_low", "{page}");
    assert_eq!(page["dedup_key"], "audit_log", "{page}");
}

#[test]
fn a_page_outlives_kill_9_right_after_it_was_given_in() {
    let pagers = Pagers::start();
    let (mut world, _secrets) = world(&pagers);
    for round in 0..5 {
        pagers.set_silent(true);
        let given: Vec<String> = (0..3).map(|_| page(&world)).collect();
        world.kill_gate();
        pagers.set_silent(false);
        world.start_gate();
        let mut told: Vec<(String, String)> = given
            .iter()
            .map(|_| {
                let (_, page) = pagers.next();
                (id(&page).to_owned(), page["dedup_key"].as_str().unwrap().to_owned())
            })
            .collect();
        told.sort();
        let mut expected: Vec<(String, String)> =
            given.iter().map(|id| (id.clone(), format!("test/gate-1/{id}"))).collect();
        expected.sort();
        assert_eq!(told, expected, "round {round}");
    }
}

#[test]
fn the_test_says_what_each_sink_answered() {
    let pagers = Pagers::start();
    let (world, _secrets) = world(&pagers);
    let said = world.must(&["events", "test", "--config", "gate.toml"]);
    assert_eq!(
        said.split_whitespace().collect::<Vec<_>>(),
        ["oncall", "pagerduty", "pages", "accepted"]
    );
    let (trigger, resolve) = (pagers.next().1, pagers.next().1);
    assert_eq!(
        (&trigger["event_action"], &resolve["event_action"]),
        (&Value::from("trigger"), &Value::from("resolve"))
    );
    assert_eq!(trigger["dedup_key"], resolve["dedup_key"]);
    let nobody = world.run(&["events", "test", "--config", "gate.toml", "--sink", "nobody"]);
    assert!(!nobody.status.success());
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("is named `nobody`"));
    pagers.set_silent(true);
    let silent = world.run(&["events", "test", "--config", "gate.toml", "--sink", "oncall"]);
    assert!(!silent.status.success());
    assert!(String::from_utf8_lossy(&silent.stdout).contains("no answer within 1000 ms"));
}

#[test]
fn events_are_followed_over_the_admin_api_and_resumed() {
    let pagers = Pagers::start();
    let (world, _secrets) = world(&pagers);
    let first = page(&world);
    let log = world.log();
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let serving = lines.rfind(|line| line["event"] == "serving").unwrap();
    let address: SocketAddr = serving["admin"].as_str().unwrap().parse().unwrap();
    let mut http = Http::connect(address);
    let accept = format!("*/*\r\nAuthorization: Bearer {TOKEN}\r\nLast-Event-ID: {first}");
    http.send("GET", "/v1/events", Some(&accept), b"").unwrap();
    let mut line = || {
        let mut line = String::new();
        http.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    while line() != ": here" {}
    let second = page(&world);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let line = line();
        if line.starts_with("id: ") || line.starts_with("event: ") {
            seen.push(line);
        }
    }
    assert_eq!(seen, [format!("id: {second}"), "event: test".to_owned()]);
    let token = world.path("viewer.token");
    fs::write(&token, TOKEN).unwrap();
    let url = format!("http://{address}");
    let shown =
        world.must(&["admin", "events", "--json", "--url", &url, "--token-file", "viewer.token"]);
    let ids: Vec<Value> = shown
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
        .collect();
    assert_eq!(ids, [first, second]);
}

/// From the moment at which an event says that it happened to its arrival at the stand-in. The
/// bound is that of a loaded test machine many times over; the figures are printed.
#[test]
fn a_page_arrives_at_once() {
    let pagers = Pagers::start();
    let (world, _secrets) = world(&pagers);
    let mut took: Vec<u64> = Vec::new();
    for _ in 0..300 {
        let given = page(&world);
        let (at, page) = pagers.next();
        assert_eq!(id(&page), given);
        let began = u64::from_str_radix(&given[..12], 16).unwrap();
        took.push(at.saturating_sub(began));
    }
    took.sort_unstable();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("300 pages, emit to accepted: p50 {p50} ms, p99 {p99} ms, most {} ms", took[299]);
    assert!(p50 <= 100, "p50 {p50} ms");
}

/// Signatures beside a sink that says nothing and hundreds of pages that wait for it, and beside
/// one that works: medians and processor time of the gate are printed.
#[test]
fn a_dead_sink_costs_a_signature_nothing() {
    let pagers = Pagers::start();
    let (world, _secrets) = world_of(&pagers, 400);
    let pid = world.gate.as_ref().unwrap().child.id();
    let keys: Vec<String> = (0..400).map(key).collect();
    let measure = |world: &World, target: u64| {
        let mut http = world.connect();
        let before = cpu_ticks(pid);
        let mut took: Vec<Duration> = keys
            .iter()
            .map(|key| {
                let watch = Instant::now();
                let (status, answer) = http.sign(key, &attestation(target - 1, target, 3));
                assert_eq!(status, 200, "{answer}");
                watch.elapsed()
            })
            .collect();
        took.sort_unstable();
        (took[200], cpu_ticks(pid) - before)
    };
    let epoch = world.epoch();
    let quiet = measure(&world, epoch - 1);
    pagers.set_silent(true);
    for _ in 0..200 {
        page(&world);
    }
    eventually("the sink fails", || world.log().contains("\"event\":\"sink_fails\""));
    let dead = measure(&world, epoch);
    println!(
        "400 signatures: median {:?} and {} ticks of 10 ms; with a dead sink and 200 pages that \
         wait {:?} and {}",
        quiet.0, quiet.1, dead.0, dead.1
    );
    assert!(dead.0 < quiet.0 * 3 + Duration::from_millis(5), "a signature waits for a sink");
}

/// User and system time of a process, in ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
