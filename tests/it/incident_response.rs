//! What follows from refusals, from outside: one incident for one cause, one page, every key in it,
//! and the owner signs on.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::Value;

use crate::clients::addresses;
use crate::support::{Http, Options, World, attestation, eventually, key, randao};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

const ACCEPTED: &str =
    "HTTP/1.1 202 Accepted\r\nContent-Length: 20\r\n\r\n{\"status\":\"success\"}";

/// A stand-in of PagerDuty that takes everything.
pub(crate) struct Pager {
    pub(crate) address: SocketAddr,
    pub(crate) taken: Arc<Mutex<Vec<Value>>>,
}

impl Pager {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    while let Some(body) = request(&mut stream) {
                        kept.lock().push(serde_json::from_slice(&body).unwrap());
                        stream.get_mut().write_all(ACCEPTED.as_bytes()).unwrap();
                    }
                });
            }
        });
        Self { address, taken }
    }

    /// The deduplication keys of the pages that were begun for incidents. A disk that is nearly
    /// full pages by itself.
    fn triggers(&self) -> Vec<String> {
        let taken = self.taken.lock();
        let triggers = taken.iter().filter(|event| event["event_action"] == "trigger");
        let keys = triggers.map(|event| event["dedup_key"].as_str().unwrap().to_owned());
        keys.filter(|key| key.starts_with("inc-")).collect()
    }
}

/// The body of the next request on a connection.
fn request(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().to_ascii_lowercase().strip_prefix("content-length:") {
            Some(number) => length = number.trim().parse().unwrap(),
            None if line.trim_end().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

/// A gate with clients by their listeners, an admin API and somebody on call.
struct Stage {
    world: World,
    pager: Pager,
    clients: Vec<SocketAddr>,
    admin: SocketAddr,
    _secrets: tempfile::TempDir,
}

impl Stage {
    fn start(keys: u64, clients: usize) -> Self {
        let pager = Pager::start();
        let secrets = tempfile::tempdir().unwrap();
        let routing = secrets.path().join("routing");
        fs::write(&routing, "a-routing-key-of-32-characters-0").unwrap();
        let mut config = format!(
            "[admin]\naddress = '127.0.0.1:0'\n[[admin.credentials]]\nname = 'anna'\n\
             role = 'operator'\ntoken_file = 'token'\n[events]\n[[events.sinks]]\nname = 'oncall'\n\
             kind = 'pagerduty'\nurl = 'http://{}/v2/enqueue'\nrouting_key_file = {routing:?}\n",
            pager.address
        );
        for client in 0..clients {
            config += &format!(
                "[[clients]]\nname = 'client-{client}'\n[[listeners]]\nname = 'l{client}'\n\
                 address = '127.0.0.1:0'\nclient = 'client-{client}'\n"
            );
        }
        let mut world =
            World::prepare(Options { keys, config, policy: None, ..Options::default() });
        fs::write(world.path("token"), TOKEN).unwrap();
        world.start_gate();
        let admin = "127.0.0.1:1".parse().unwrap();
        let mut stage = Self { world, pager, clients: Vec::new(), admin, _secrets: secrets };
        stage.look();
        stage
    }

    fn look(&mut self) {
        self.clients = addresses(&self.world).0.split_off(1);
        self.admin = self.world.admin("gate.log");
    }

    fn kill_and_restart(&mut self) {
        self.world.kill_gate();
        self.world.start_gate();
        self.look();
    }

    /// Asks for each key once; how many were signed.
    fn ask(&self, client: usize, keys: std::ops::Range<u64>, body: &Value) -> u64 {
        let mut http = Http::connect(self.clients[client]);
        keys.map(|index| u64::from(http.sign(&key(index), body).0 == 200)).sum()
    }

    fn get(&self, path: &str) -> Value {
        let authorization = format!("*/*\r\nAuthorization: Bearer {TOKEN}");
        let answer = Http::connect(self.admin).request("GET", path, Some(&authorization), b"");
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    fn incidents(&self) -> Vec<Value> {
        self.get("/v1/incidents")["incidents"].as_array().unwrap().clone()
    }

    /// Waits until the incidents have so many requests in all.
    fn settled(&self, requests: u64) -> Vec<Value> {
        let all = Mutex::new(Vec::new());
        eventually("an incident with every request", || {
            *all.lock() = self.incidents();
            let counted: u64 = all.lock().iter().map(|it| it["requests"].as_u64().unwrap()).sum();
            counted >= requests
        });
        all.into_inner()
    }
}

/// A hundred keys here, in a build that is not optimised; five hundred in the unit tests.
#[test]
fn keys_that_are_taken_over_together_are_one_incident_and_one_page() {
    const KEYS: u64 = 100;
    let mut stage = Stage::start(KEYS, 2);
    let epoch = stage.world.epoch();
    assert_eq!(stage.ask(0, 0..KEYS, &randao(epoch)), KEYS);
    assert_eq!(stage.ask(1, 0..KEYS, &attestation(epoch - 2, epoch, 9)), 0);
    assert_eq!(stage.ask(0, 0..KEYS, &attestation(epoch - 2, epoch, 3)), KEYS, "the owner signs");
    let all = stage.settled(KEYS);
    assert_eq!(all.len(), 1, "{all:#?}");
    let id = all[0]["id"].as_str().unwrap();
    assert_eq!((all[0]["keys"].as_u64(), &all[0]["paged"]), (Some(KEYS), &true.into()), "{all:?}");
    let summary = all[0]["summary"].as_str().unwrap();
    for part in ["client-1 from 127.0.0.1", "100 keys", "its owner is client-0", "client_lease"] {
        assert!(summary.contains(part), "{part} is not in {summary}");
    }
    let shown = stage.get(&format!("/v1/incidents/{id}"));
    assert_eq!(shown["key_list"].as_array().unwrap().len() as u64, KEYS);
    eventually("the page", || !stage.pager.triggers().is_empty());
    let path = format!("/v1/incidents/{id}/timeline");
    let refused = |story: &Value| {
        let lines = story["lines"].as_array().unwrap().iter();
        lines.filter(|line| line["decided"] == "refused client_lease").cloned().collect::<Vec<_>>()
    };
    eventually("a whole timeline", || refused(&stage.get(&path)).len() as u64 == KEYS);
    let told = &refused(&stage.get(&path))[0];
    assert_eq!((&told["who"], &told["from"]), (&"client-1".into(), &"127.0.0.1".into()), "{told}");
    assert!(told["normal"].as_str().unwrap().contains("its owner is client-0"), "{told}");
    assert!(told["position"].is_u64() && told["why"] != "", "{told}");

    stage.kill_and_restart();
    assert_eq!(stage.ask(1, 0..KEYS, &randao(epoch)), 0);
    let all = stage.settled(2 * KEYS);
    assert_eq!((all.len(), all[0]["id"].as_str()), (1, Some(id)), "{all:#?}");
    assert_eq!(all[0]["keys"].as_u64(), Some(KEYS));
    let pages = stage.pager.triggers();
    assert!(pages.iter().all(|page| page == id), "{pages:?}");
    assert_eq!(pages.len(), 1, "one page, over a restart too");

    let gate = format!("http://{}", stage.admin);
    let at = ["--url", &gate, "--token-file", "token"];
    let ack = ["admin", "incidents", "ack", id, "--reason", "looking"];
    stage.world.must(&[&ack[..], &at].concat());
    let list = stage.world.must(&[&["admin", "incidents", "list"][..], &at].concat());
    assert!(list.contains("acknowledged") && list.contains(id), "{list}");
    let told = ["admin", "incidents", "timeline", id, "--markdown"];
    let told = stage.world.must(&[&told[..], &at].concat());
    assert!(told.contains("incident.acknowledged") && told.contains("anna"), "{told}");
    let acknowledged = || {
        let taken = stage.pager.taken.lock();
        taken.iter().any(|event| event["event_action"] == "acknowledge" && event["dedup_key"] == id)
    };
    eventually("the acknowledgement at the pager", acknowledged);
}

#[test]
fn ten_causes_are_ten_incidents_and_ten_pages() {
    let stage = Stage::start(10, 11);
    let epoch = stage.world.epoch();
    assert_eq!(stage.ask(0, 0..10, &randao(epoch)), 10);
    for client in 1..=10 {
        let index = client as u64 - 1;
        assert_eq!(stage.ask(client, index..index + 1, &attestation(epoch - 2, epoch, 9)), 0);
    }
    let all = stage.settled(10);
    assert_eq!(all.len(), 10, "{all:#?}");
    eventually("ten pages", || stage.pager.triggers().len() >= 10);
    let mut pages = stage.pager.triggers();
    pages.sort_unstable();
    pages.dedup();
    assert_eq!(pages.len(), 10);
}

/// A client that restarts in mid-epoch and votes once more for another head, three times each:
/// hundreds of refusals, all right, and nobody is called.
#[test]
fn a_client_that_restarts_in_mid_epoch_calls_nobody() {
    const KEYS: u64 = 100;
    let stage = Stage::start(KEYS, 1);
    let epoch = stage.world.epoch();
    assert_eq!(stage.ask(0, 0..KEYS, &attestation(epoch - 2, epoch, 3)), KEYS);
    let refused = AtomicUsize::new(0);
    for _ in 0..3 {
        assert_eq!(stage.ask(0, 0..KEYS, &attestation(epoch - 2, epoch, 9)), 0);
        refused.fetch_add(KEYS as usize, Ordering::Relaxed);
    }
    let all = stage.settled(refused.into_inner() as u64);
    assert_eq!(all.len(), 1, "{all:#?}");
    let counts = (all[0]["offences"].as_u64(), all[0]["requests"].as_u64());
    assert_eq!(counts, (Some(KEYS), Some(3 * KEYS)));
    assert_eq!((&all[0]["paged"], stage.pager.triggers().len()), (&false.into(), 0));
    assert_eq!(stage.ask(0, 0..KEYS, &attestation(epoch - 2, epoch, 3)), KEYS, "as before");
}
