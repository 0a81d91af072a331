//! Over real sockets of the loopback, in time that the test turns.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::super::stand_in::{Mode, StandIn};
use super::super::tests::event;
use super::super::{Paging, Settings, SinkKind, SinkSettings, SinkUrl};
use super::*;
use crate::clock::Stopwatch;
use crate::metrics::EventMetrics;

const TAKEN: &str = r#"{"status":"success","message":"Event processed"}"#;

/// The bus with its tasks, and what they speak to.
struct World {
    dir: tempfile::TempDir,
    oncall: StandIn,
    chat: StandIn,
    settings: Settings,
    bus: Option<Arc<Bus>>,
    tasks: Vec<JoinHandle<()>>,
    _clock: Held,
}

/// Keeps tokio from turning the clock by itself: a task on its other threads stands for that.
struct Held {
    _release: std::sync::mpsc::Sender<()>, // dropped, it lets the clock go
}

fn hold_clock() -> Held {
    let (release, held) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || held.recv());
    Held { _release: release }
}

fn sink(dir: &Path, name: &str, kind: SinkKind, stand_in: &StandIn) -> SinkSettings {
    let file = dir.join(format!("{name}.secret"));
    let url = format!("http://{}/", stand_in.address);
    let (url, secret_file) = if kind == SinkKind::Slack {
        std::fs::write(&file, url).unwrap();
        (SinkUrl::File(file), None)
    } else {
        std::fs::write(&file, "R0UT1NGKEY\n").unwrap();
        (SinkUrl::Given(url.parse().unwrap()), Some(file))
    };
    SinkSettings {
        name: name.to_owned(),
        kind,
        url,
        secret_file,
        token_file: None,
        ca_file: None,
        timeout: Duration::from_secs(10),
        pages: true,
        fallback: kind == SinkKind::Slack,
        severity: None,
    }
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (oncall, chat) = (StandIn::start(TAKEN).await, StandIn::start("ok").await);
        let sinks = vec![
            sink(dir.path(), "oncall", SinkKind::PagerDuty, &oncall),
            sink(dir.path(), "chat", SinkKind::Slack, &chat),
        ];
        let settings = Settings {
            directory: dir.path().join("events"),
            source: "gate-1".to_owned(),
            fallback_after: Duration::from_secs(60),
            sinks,
            heartbeat: None,
        };
        let clock = hold_clock();
        let (bus, tasks) = (None, Vec::new());
        let mut world = Self { dir, oncall, chat, settings, bus, tasks, _clock: clock };
        world.open();
        world
    }

    fn open(&mut self) {
        let bus = Arc::new(Bus::open(&self.settings, &EventMetrics::unregistered()).unwrap());
        self.tasks = (0..bus.sinks.len()).map(|l| tokio::spawn(deliver(bus.clone(), l))).collect();
        self.bus = Some(bus);
    }

    /// Ends all of it where it stands, as the end of the process does.
    async fn kill(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
        let bus = self.bus.take().expect("it runs");
        assert_eq!(Arc::strong_count(&bus), 1);
    }

    fn bus(&self) -> &Bus {
        self.bus.as_ref().expect("it runs")
    }

    /// Lets everything happen that can without time passing.
    async fn settle(&self) {
        let patience = Stopwatch::start();
        let mut quiet = 0;
        while quiet < 20 {
            tokio::task::yield_now().await;
            let is_quiet = self.bus().in_flight() <= self.oncall.held() + self.chat.held();
            quiet = if is_quiet { quiet + 1 } else { 0 };
            assert!(patience.elapsed() < Duration::from_secs(20), "it does not settle");
        }
    }

    /// Lets time pass in small steps.
    async fn pass(&self, time: Duration) {
        const STEP: Duration = Duration::from_millis(500);
        self.settle().await;
        for _ in 0..time.as_millis() / STEP.as_millis() {
            tokio::time::advance(STEP).await;
            self.settle().await;
        }
    }

    fn emit(&self, paging: Paging, key: &str) -> String {
        let event = event(paging, key);
        let id = event.id.clone();
        self.bus().emit(event);
        id
    }
}

/// Each key with what was told of it, in order.
fn by_key(bodies: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut told = BTreeMap::<String, Vec<String>>::new();
    for body in bodies {
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        told.entry(text("dedup_key")).or_default().push(text("event_action"));
    }
    told
}

const MODES: [Mode; 5] = [
    Mode::Status(429, Some(7)),
    Mode::Status(500, None),
    Mode::Garbage,
    Mode::OtherWords,
    Mode::Silent,
];

#[tokio::test(start_paused = true)]
async fn ten_minutes_of_a_sink_that_fails_in_every_way_lose_nothing() {
    let world = World::start().await;
    for minute in 0..10 {
        world.oncall.set(MODES[minute % MODES.len()]);
        world.emit(Paging::Trigger, &format!("cause-{minute}"));
        if minute >= 2 {
            world.emit(Paging::Acknowledge, &format!("cause-{}", minute - 1));
            world.emit(Paging::Resolve, &format!("cause-{}", minute - 2));
        }
        world.pass(Duration::from_secs(60)).await;
    }
    assert_eq!(world.oncall.bodies(), Vec::<Value>::new());
    let attempts = world.oncall.attempts();
    assert!((20..120).contains(&attempts), "{attempts} attempts in ten minutes");
    let said: Vec<String> =
        world.chat.bodies().iter().map(|body| body["text"].as_str().unwrap().to_owned()).collect();
    let pages = said.iter().filter(|text| text.starts_with("[page]")).count();
    assert!((9..=10).contains(&pages), "the second sink was told of {pages}: {said:?}");
    let ends = said.iter().filter(|text| text.starts_with("[resolved]")).count();
    assert!((7..=8).contains(&ends), "and of {ends} ends: {said:?}");
    world.oncall.set(Mode::Take);
    world.pass(Duration::from_secs(60)).await;
    let told = by_key(&world.oncall.bodies());
    let expected: BTreeMap<String, Vec<String>> = (0..10)
        .map(|minute| {
            let all = ["trigger", "acknowledge", "resolve"].map(str::to_owned);
            let told = match minute {
                0 => vec![all[0].clone(), all[2].clone()],
                9 => vec![all[0].clone()],
                8 => all[..2].to_vec(),
                _ => all.to_vec(),
            };
            (format!("cause-{minute}"), told)
        })
        .collect();
    assert_eq!(told, expected, "each once, in its order");
    assert_eq!(world.bus().pages(), 0);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_ends_at_any_moment_lose_no_page() {
    let mut world = World::start().await;
    let mut random = Random(2026);
    let mut given = Vec::new();
    for round in 0..100 {
        let mode = random.below(8) as usize;
        world.oncall.set(MODES.get(mode).copied().unwrap_or(Mode::Take));
        let key = format!("cause-{round}");
        for paging in [Paging::Trigger, Paging::Acknowledge, Paging::Resolve] {
            given.push((world.emit(paging, &key), key.clone(), paging.as_str()));
            for _ in 0..random.below(12) {
                tokio::task::yield_now().await;
            }
            tokio::time::advance(Duration::from_millis(random.below(700))).await;
        }
        for _ in 0..random.below(40) {
            tokio::task::yield_now().await;
        }
        world.kill().await;
        world.open();
    }
    world.oncall.set(Mode::Take);
    world.pass(Duration::from_secs(120)).await;
    assert_eq!(world.bus().pages(), 0);
    let bodies = world.oncall.bodies();
    let told: Vec<(String, String, String)> = bodies
        .iter()
        .map(|body| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let id = text(&body["payload"]["custom_details"]["event_id"]);
            (id, text(&body["dedup_key"]), text(&body["event_action"]))
        })
        .collect();
    let mut seen = HashSet::new();
    let first: Vec<_> = told.iter().filter(|(id, ..)| seen.insert(id.clone())).collect();
    assert_eq!(seen.len(), given.len(), "{} of {} arrived", seen.len(), given.len());
    for (id, key, action) in &given {
        let same = told.iter().filter(|(other, ..)| other == id);
        assert!(same.clone().all(|(_, k, a)| k == key && a == action), "{id} is told in two ways");
    }
    for round in 0..100 {
        let key = format!("cause-{round}");
        let order: Vec<&str> =
            first.iter().filter(|(_, k, _)| *k == key).map(|(.., a)| a.as_str()).collect();
        assert_eq!(order, ["trigger", "acknowledge", "resolve"], "{key}");
    }
    println!("300 pages, 100 ends: {} requests taken, {} twice", told.len(), told.len() - 300);
}

#[tokio::test(start_paused = true)]
async fn a_page_whose_answer_was_not_heard_comes_again_under_its_names() {
    let mut world = World::start().await;
    let id = world.emit(Paging::Trigger, "a");
    while world.oncall.taken().is_empty() {
        tokio::task::yield_now().await;
    }
    world.kill().await; // before the answer is read
    world.open();
    world.settle().await;
    let bodies = world.oncall.bodies();
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[1]["payload"]["custom_details"]["event_id"], id.as_str());
    world.kill().await;
    world.open();
    world.settle().await;
    assert_eq!(world.oncall.taken().len(), 2, "what was heard is over");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_goes_to_the_second_sink_at_once_and_a_new_key_holds_at_once() {
    let world = World::start().await;
    world.oncall.set(Mode::Status(403, None));
    world.emit(Paging::Trigger, "a");
    world.settle().await;
    assert_eq!((world.oncall.attempts(), world.chat.bodies().len()), (1, 1));
    assert_eq!(world.bus().pages(), 0);
    world.oncall.set(Mode::Take);
    std::fs::write(world.dir.path().join("oncall.secret"), "AN0THERKEY").unwrap();
    world.emit(Paging::Trigger, "b");
    world.settle().await;
    assert_eq!(world.oncall.bodies()[0]["routing_key"], "AN0THERKEY");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_other_events_takes_no_place_from_a_page() {
    let world = World::start().await;
    world.oncall.set(Mode::Silent);
    for _ in 0..5_000 {
        world.bus().emit(event(Paging::None, ""));
    }
    world.emit(Paging::Trigger, "a");
    world.oncall.set(Mode::Take);
    world.settle().await;
    assert_eq!(by_key(&world.oncall.bodies()).len(), 1);
}
