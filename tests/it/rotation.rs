//! A rotation as a person's script does it: keys go from one client to another in ten batches, over
//! the admin API of a real gate. Clean, with the old client left alive, and with `kill -9` of the
//! gate in the middle. The judge of who signed is the signer's own log.
//!
//! `ROTATION_KEYS` is with how many keys, `ROTATION_KILLS` with how many kills.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use portcullis::dev_signer::log::{Entry, find_conflicts};
use portcullis::dev_signer::sign_type::SignType;
use serde_json::{Value, json};

use crate::clients::addresses;
use crate::incident_response::Pager;
use crate::support::{Http, Options, SLOT_S, World, attestation, eventually, key};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const BATCHES: u64 = 10;
const THREADS: usize = 4;
const EPOCHS: u64 = 100_000;
/// Two clients; of the rules, those of the lease alone: the duties of a day are asked for within
/// seconds.
const POLICY: &str = "version = 1\n[defaults.modes]\nblock_window = 'off'\n\
     randao_window = 'off'\nsync_window = 'off'\nselection_budget = 'off'\nduty_budget = 'off'\n";

/// The clients: their duties can be told apart in the signer's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Old,
    New,
}

impl Who {
    /// A vote that conflicts with the other client's, and a proof of selection whose slot says who
    /// asked.
    fn duties(self, step: u64) -> [Value; 2] {
        let vote = attestation(step, step + 1, 1 + self as u8);
        let mut proof = vote.clone();
        proof["type"] = "AGGREGATION_SLOT".into();
        let slot = step * 32 + self as u64;
        proof["aggregation_slot"] = json!({ "slot": slot.to_string() });
        [vote, proof]
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// A gate with two clients, somebody on call, and a script of the operator.
struct Stage {
    world: RwLock<World>,
    /// Of the old client, the new one and the admin API; they change with each start.
    addresses: RwLock<[SocketAddr; 3]>,
    pager: Pager,
    keys: u64,
    step: AtomicU64,
    kills: AtomicU64,
    _secrets: tempfile::TempDir,
}

/// How many duties were signed, and what the others were told.
#[derive(Debug, Default, PartialEq)]
struct Said {
    signed: u64,
    refused: BTreeMap<String, u64>,
}

impl Stage {
    fn start(keys: u64) -> Self {
        let pager = Pager::start();
        let secrets = tempfile::tempdir().unwrap();
        let routing = secrets.path().join("routing");
        fs::write(&routing, "a-routing-key-of-32-characters-0").unwrap();
        let config = format!(
            "min_target_age_epochs = 1000000\n\
             [[listeners]]\nname = 'for-old'\naddress = '127.0.0.1:0'\nclient = 'old'\n\
             [[listeners]]\nname = 'for-new'\naddress = '127.0.0.1:0'\nclient = 'new'\n\
             [admin]\naddress = '127.0.0.1:0'\n[[admin.credentials]]\nname = 'ann'\n\
             role = 'operator'\ntoken_file = 'token'\n\
             [audit]\ndirectory = 'audit'\n[events]\n[[events.sinks]]\nname = 'oncall'\n\
             kind = 'pagerduty'\nurl = 'http://{}/v2/enqueue'\nrouting_key_file = {routing:?}\n",
            pager.address
        );
        let genesis_age_s = EPOCHS * 32 * SLOT_S;
        let policy = Some(POLICY);
        let mut world =
            World::prepare(Options { keys, config, policy, genesis_age_s, ..Options::default() });
        fs::write(world.path("token"), TOKEN).unwrap();
        world.start_gate();
        let addresses = RwLock::new(Self::look(&world));
        let (step, kills) = (AtomicU64::new(1), AtomicU64::new(0));
        let world = RwLock::new(world);
        Self { world, addresses, pager, keys, step, kills, _secrets: secrets }
    }

    fn look(world: &World) -> [SocketAddr; 3] {
        let listeners = addresses(world).0;
        [listeners[1], listeners[2], world.admin("gate.log")]
    }

    fn address(&self, index: usize) -> SocketAddr {
        self.addresses.read()[index]
    }

    /// `kill -9`, and the same gate again.
    fn kill(&self) {
        let mut world = self.world.write();
        world.kill_gate();
        world.start_gate();
        *self.addresses.write() = Self::look(&world);
        self.kills.fetch_add(1, Ordering::Relaxed);
    }

    /// Every key's duties of this step, by its client. Who is not answered asks again.
    fn perform(&self, who: Who, keys: std::ops::Range<u64>) -> Said {
        let duties = who.duties(self.step.load(Ordering::Relaxed));
        let keys: Vec<u64> = keys.collect();
        let mut all = Said::default();
        std::thread::scope(|scope| {
            let size = keys.len().div_ceil(THREADS).max(1);
            let parts = keys.chunks(size);
            let threads: Vec<_> =
                parts.map(|part| scope.spawn(|| self.each(who, part, &duties))).collect();
            for said in threads.into_iter().map(|thread| thread.join().unwrap()) {
                all.signed += said.signed;
                for (code, count) in said.refused {
                    *all.refused.entry(code).or_default() += count;
                }
            }
        });
        all
    }

    fn each(&self, who: Who, keys: &[u64], duties: &[Value]) -> Said {
        let mut said = Said::default();
        let mut http = None;
        for index in keys {
            for duty in duties {
                let path = format!("/api/v1/eth2/sign/{}", key(*index));
                let (status, answer) = self.answered(who as usize, &mut http, &path, duty);
                if status == 200 {
                    said.signed += 1;
                } else {
                    let code = answer["code"].as_str().unwrap_or("no code");
                    *said.refused.entry(format!("{status} {code}")).or_default() += 1;
                }
            }
        }
        said
    }

    fn answered(
        &self,
        at: usize,
        http: &mut Option<Http>,
        path: &str,
        duty: &Value,
    ) -> (u16, Value) {
        let begun = Instant::now();
        loop {
            let answer = connected(http, self.address(at)).and_then(|http| {
                let accept = "application/json\r\nUser-Agent: vc";
                http.request("POST", path, Some(accept), duty.to_string().as_bytes())
            });
            match answer {
                Ok(answer) => {
                    let body = serde_json::from_str(&answer.body).unwrap_or_default();
                    return (answer.status, body);
                }
                Err(error) => {
                    assert!(begun.elapsed() < Duration::from_secs(30), "no answer: {error}");
                    *http = None;
                    std::thread::sleep(Duration::from_millis(2)); // the gate starts
                }
            }
        }
    }

    /// A call of the script. What is not answered is asked again.
    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!("*/*\r\nAuthorization: Bearer {TOKEN}");
        let begun = Instant::now();
        loop {
            let mut http = None;
            let answer = connected(&mut http, self.address(2))
                .and_then(|http| http.request(method, path, Some(&head), body.as_bytes()));
            match answer {
                Ok(answer) => {
                    let said = serde_json::from_str(&answer.body).unwrap_or_default();
                    return (answer.status, said);
                }
                Err(error) => {
                    assert!(begun.elapsed() < Duration::from_secs(60), "no answer: {error}");
                    std::thread::sleep(Duration::from_millis(2)); // the gate starts
                }
            }
        }
    }

    fn open(&self, from: Who, to: Who) -> String {
        let name = |who: Who| format!("{who:?}").to_lowercase();
        let keys: Vec<String> = (0..self.keys).map(key).collect();
        let wish = json!({
            "name": format!("to {}", name(to)), "reason": "planned", "keys": keys,
            "from_client": name(from), "to_client": name(to), "expires_in_s": 3_600,
            "batches": BATCHES,
        });
        let (status, page) = self.call("POST", "/v1/windows", &wish);
        assert_eq!(status, 200, "{page}");
        page["id"].as_str().unwrap().to_owned()
    }

    fn window(&self, id: &str) -> Value {
        let (status, page) = self.call("GET", &format!("/v1/windows/{id}"), &Value::Null);
        assert_eq!(status, 200, "{page}");
        page
    }

    /// May the script go on with this batch?
    fn proceed(&self, id: &str, batch: u64) -> String {
        let path = format!("/v1/windows/{id}/proceed?batch={batch}&wait_s=20");
        let (status, said) = self.call("GET", &path, &Value::Null);
        assert_eq!(status, 200, "{said}");
        said["answer"].as_str().unwrap().to_owned()
    }

    /// The keys before this batch.
    fn before(&self, batch: u64) -> u64 {
        self.keys * (batch - 1) / BATCHES
    }

    /// A step of everybody: `old` has the keys behind `moved`, `new` those before. No duty is lost.
    #[track_caller]
    fn all_perform(&self, from: Who, to: Who, moved: u64) {
        let every = |said: Said, keys: u64| {
            assert_eq!(said, Said { signed: 2 * keys, ..Said::default() }, "{}", self.log());
        };
        every(self.perform(to, 0..moved), moved);
        every(self.perform(from, moved..self.keys), self.keys - moved);
        self.step.fetch_add(1, Ordering::Relaxed);
    }

    fn log(&self) -> String {
        let log = self.world.read().log();
        log.lines().filter(|line| !line.contains("INFO")).rev().take(3).collect()
    }

    /// The script: each batch when it may, the old client without those keys from then on.
    fn rotate(&self, from: Who, to: Who) -> String {
        let id = self.open(from, to);
        for batch in 1..=BATCHES {
            assert_eq!(self.proceed(&id, batch), "yes", "batch {batch}: {}", self.window(&id));
            self.all_perform(from, to, self.before(batch + 1));
        }
        assert_eq!(self.proceed(&id, BATCHES + 1), "yes");
        eventually("its end", || self.window(&id)["state"] == "completed");
        id
    }

    /// What was signed, by key: by whom, in the order of the signer's log. Nothing conflicts.
    fn owners(&self) -> BTreeMap<String, Vec<Who>> {
        let text = fs::read_to_string(self.world.read().path("signed.jsonl")).unwrap();
        let entries: Vec<Entry> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(find_conflicts(&entries).is_empty());
        let mut owners: BTreeMap<String, Vec<Who>> = BTreeMap::new();
        for entry in entries.iter().filter(|it| it.sign_type == SignType::AggregationSlot) {
            let is_new = entry.subject.slot.unwrap() % 32 == Who::New as u64;
            let who = if is_new { Who::New } else { Who::Old };
            owners.entry(format!("{:?}", entry.pubkey)).or_default().push(who);
        }
        for of_key in owners.values_mut() {
            of_key.dedup();
        }
        assert_eq!(owners.len() as u64, self.keys);
        owners
    }

    /// The pages that were begun, by their deduplication keys. A disk that is nearly full pages by
    /// itself.
    fn pages(&self) -> Vec<String> {
        let taken = self.pager.taken.lock();
        let triggers = taken.iter().filter(|event| event["event_action"] == "trigger");
        let keys = triggers.map(|event| event["dedup_key"].as_str().unwrap().to_owned());
        let is_ours = |key: &String| key.starts_with("inc-") || key.starts_with("rotation-");
        let mut keys: Vec<String> = keys.filter(is_ours).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// The gate is killed at random moments for as long as `work` takes, `kills` times at least.
    fn killed_meanwhile<T>(&self, kills: u64, work: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        let before = self.kills.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut seed = std::process::id().into();
                while !over.load(Ordering::Relaxed)
                    && self.kills.load(Ordering::Relaxed) < before + kills
                {
                    std::thread::sleep(Duration::from_millis(30 + random(&mut seed) % 400));
                    self.kill();
                }
            });
            let done = work();
            over.store(true, Ordering::Relaxed);
            done
        })
    }
}

fn connected(http: &mut Option<Http>, address: SocketAddr) -> std::io::Result<&mut Http> {
    if http.is_none() {
        std::net::TcpStream::connect(address)?; // whoever starts does not listen yet
        *http = Some(Http::connect(address));
    }
    Ok(http.as_mut().unwrap())
}

fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn a_clean_rotation_completes_and_loses_no_duty() {
    let stage = Stage::start(number("ROTATION_KEYS", 60));
    stage.all_perform(Who::Old, Who::New, 0);
    let begun = Instant::now();
    let id = stage.rotate(Who::Old, Who::New);
    let page = stage.window(&id);
    assert_eq!((&page["moved"], &page["contested"]), (&json!(stage.keys), &json!(0)));
    assert!(stage.owners().values().all(|who| *who == [Who::Old, Who::New]));
    assert!(stage.pages().is_empty(), "{:?}", stage.pages());
    println!("{} keys in {:?}", stage.keys, begun.elapsed());
}

/// Three batches go well; then somebody forgets to stop the old client.
fn old_one_left_alive(stage: &Stage, is_killed: bool) -> String {
    let id = stage.open(Who::Old, Who::New);
    for batch in 1..=2 {
        assert_eq!(stage.proceed(&id, batch), "yes");
        stage.all_perform(Who::Old, Who::New, stage.before(batch + 1));
    }
    assert_eq!(stage.proceed(&id, 3), "yes");
    let (begin, end) = (stage.before(3), stage.before(4));
    let taken = stage.perform(Who::New, begin..end);
    assert_eq!(taken.signed, 2 * (end - begin), "{taken:?}");
    let both = || {
        let both = stage.perform(Who::Old, begin..end);
        assert_eq!(both.signed, 0, "two live owners: {both:?}");
        stage.proceed(&id, 4)
    };
    // A crash may come before the halt is on disk; who is alive asks again.
    let mut said = both();
    for _ in 0..if is_killed { 4 } else { 0 } {
        said = if said == "no" { said } else { both() };
    }
    assert_eq!(said, "no", "{}", stage.window(&id));
    let frozen = stage.perform(Who::New, end..stage.before(5));
    assert_eq!(frozen.signed, 0, "a key moved after the halt: {frozen:?}");
    let page = stage.window(&id);
    assert_eq!((&page["state"], &page["moved"]), (&json!("halted"), &json!(end)), "{page}");
    stage.step.fetch_add(1, Ordering::Relaxed);
    for _ in 0..2 {
        stage.all_perform(Who::Old, Who::New, end); // each signs on for what it has
    }
    for (index, who) in (0..stage.keys).map(|index| (index, key(index))) {
        let expected: &[Who] = if index < end { &[Who::Old, Who::New] } else { &[Who::Old] };
        let owners = stage.owners();
        let found = owners.iter().find(|(name, _)| name.contains(&who[2..])).unwrap();
        assert_eq!(found.1, expected, "key {index}");
    }
    id
}

#[track_caller]
fn assert_one_page(stage: &Stage) {
    eventually("a page", || !stage.pages().is_empty());
    let is_told = |event: &Value| event["payload"]["class"] == "rotation.halted";
    eventually("the halt is told", || stage.pager.taken.lock().iter().any(is_told));
    std::thread::sleep(Duration::from_millis(1_500)); // time for one page too many
    let pages = stage.pages();
    let causes = |event: &Value| event["payload"]["custom_details"]["details"]["cause"].clone();
    let all = stage.pager.taken.lock();
    let causes: Vec<Value> = all.iter().map(causes).collect();
    assert_eq!(pages.len(), 1, "{pages:?}: {causes:?}");
}

#[test]
fn with_the_old_client_left_alive_it_halts_with_one_page() {
    let stage = Stage::start(number("ROTATION_KEYS", 60));
    stage.all_perform(Who::Old, Who::New, 0);
    old_one_left_alive(&stage, false);
    assert_one_page(&stage);
}

#[test]
fn rotations_outlive_kill_9() {
    let kills = number("ROTATION_KILLS", 6);
    let stage = Stage::start(number("ROTATION_KEYS", 60));
    stage.all_perform(Who::Old, Who::New, 0);
    let (mut from, mut to, mut windows) = (Who::Old, Who::New, 0);
    while stage.kills.load(Ordering::Relaxed) < kills {
        let left = kills - stage.kills.load(Ordering::Relaxed);
        stage.killed_meanwhile(left, || stage.rotate(from, to));
        (from, to, windows) = (to, from, windows + 1);
    }
    for of_key in stage.owners().values() {
        assert_eq!(of_key.len(), windows + 1, "once in each window: {of_key:?}");
    }
    assert!(stage.pages().is_empty(), "{:?}", stage.pages());
    println!("{} keys, {windows} windows, {kills} kills", stage.keys);
}

#[test]
fn a_halt_outlives_kill_9() {
    for _ in 0..number("ROTATION_KILLS", 4).div_ceil(4) {
        let stage = Stage::start(number("ROTATION_KEYS", 60).min(60));
        stage.all_perform(Who::Old, Who::New, 0);
        let id = stage.killed_meanwhile(4, || old_one_left_alive(&stage, true));
        stage.kill();
        assert_eq!(stage.window(&id)["state"], "halted");
        assert_eq!(stage.proceed(&id, 4), "no");
        assert_one_page(&stage);
    }
}

/// The commands of the README.
#[test]
fn a_person_rotates_from_the_command_line() {
    let stage = Stage::start(10);
    stage.all_perform(Who::Old, Who::New, 0);
    let url = format!("http://{}", stage.address(2));
    let admin = |arguments: &[&str]| {
        let at = ["admin", "--url", &url, "--token-file", "token", "windows"];
        let output = stage.world.read().run(&[&at[..], arguments].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let keys: Vec<String> = (0..10).map(key).collect();
    fs::write(stage.world.read().path("keys"), keys.join("\n")).unwrap();
    let open = [
        "open",
        "--name",
        "to-b",
        "--reason",
        "new cluster",
        "--from",
        "old",
        "--to",
        "new",
        "--keys-file",
        "keys",
        "--batches",
        "10",
        "--minutes",
        "120",
    ];
    let (is_open, said) = admin(&open);
    assert!(is_open, "{said}");
    let id = said.lines().find_map(|line| line.strip_prefix("id ")).unwrap().trim().to_owned();
    assert_eq!(admin(&["proceed", &id, "--batch", "1", "--wait-s", "60"]), (true, "yes\n".into()));
    let (may, said) = admin(&["proceed", &id, "--batch", "2"]);
    assert!(!may && said.starts_with("not yet: 1 of 1 keys"), "{said}");
    assert_eq!(stage.perform(Who::New, 0..1).signed, 2);
    let (may, said) = admin(&["proceed", &id, "--batch", "2", "--wait-s", "60"]);
    assert!(may, "{said}");
    let (_, said) = admin(&["list"]);
    assert!(said.contains("to-b") && said.contains("moving"), "{said}");
    let (_, said) = admin(&["show", &id, "--each"]);
    assert!(said.contains("pending") && said.contains("moved"), "{said}");
    let (is_halted, said) = admin(&["halt", &id, "--reason", "the new cluster is slow"]);
    assert!(is_halted && said.contains("halted"), "{said}");
    assert!(admin(&["proceed", &id, "--batch", "2"]).1.starts_with("no: "));
    assert!(admin(&["close", &id, "--reason", "another follows"]).0);
    assert!(!admin(&["close", &id, "--reason", "again"]).0, "once");
}
