use std::sync::atomic::{AtomicBool, Ordering};

use super::super::stand_in::{Mode, StandIn};
use super::super::tests::event;
use super::super::{Paging, Settings, SinkKind, SinkSettings, SinkUrl};
use super::*;
use crate::metrics::EventMetrics;

/// Turns the clock by seconds, and lets happen what can.
async fn pass(seconds: u64) {
    for _ in 0..seconds {
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..60 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn signs_of_life_stay_away_when_nobody_signs_and_when_nobody_is_told() {
    let (_release, held) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || held.recv()); // or tokio would turn the clock by itself
    let dir = tempfile::tempdir().unwrap();
    let (switch, pager) = (StandIn::start("ok").await, StandIn::start("").await);
    pager.set(Mode::Status(500, None));
    let url_file = dir.path().join("switch.url");
    std::fs::write(&url_file, format!("http://{}/ping/s3cret\n", switch.address)).unwrap();
    let sink = SinkSettings {
        name: "oncall".to_owned(),
        kind: SinkKind::Webhook,
        url: SinkUrl::Given(format!("http://{}/", pager.address).parse().unwrap()),
        secret_file: None,
        token_file: None,
        ca_file: None,
        timeout: Duration::from_secs(1),
        pages: true,
        fallback: false,
        severity: None,
    };
    let interval = Duration::from_secs(10);
    let heartbeat = HeartbeatSettings { url_file, method: Method::GET, interval, ca_file: None };
    let settings = Settings {
        directory: dir.path().join("events"),
        source: "gate-1".to_owned(),
        fallback_after: Duration::from_secs(60),
        sinks: vec![sink],
        heartbeat: Some(heartbeat.clone()),
    };
    let bus = Arc::new(Bus::open(&settings, &EventMetrics::unregistered()).unwrap());
    let (signs, can_sign) = (Arc::new(AtomicBool::new(true)), Arc::new(OnceLock::new()));
    let beat = Heartbeat::new(&heartbeat).unwrap();
    tokio::spawn(beat.beat(Arc::clone(&bus), Arc::clone(&can_sign)));
    tokio::spawn(super::super::deliver::deliver(Arc::clone(&bus), 0));
    pass(30).await;
    assert_eq!(switch.attempts(), 0, "nobody has said yet that the gate signs");
    let own = Arc::clone(&signs);
    let _ = can_sign.set(Box::new(move || own.load(Ordering::Relaxed)) as CanSign);
    pass(45).await;
    assert_eq!(switch.attempts(), 5);
    assert!(switch.taken()[0].0.starts_with("GET /ping/s3cret HTTP/1.1"));
    signs.store(false, Ordering::Relaxed);
    pass(30).await;
    assert_eq!(switch.attempts(), 5, "it does not sign");
    signs.store(true, Ordering::Relaxed);
    bus.emit(event(Paging::Trigger, "a"));
    pass(110).await;
    let told = switch.attempts();
    assert!(told >= 15, "{told}");
    pass(60).await;
    assert!(switch.attempts() <= told + 2, "a page has waited for two minutes, and nobody knows");
    pager.set(Mode::Take);
    pass(60).await;
    assert!(switch.attempts() >= told + 4, "it was taken");
    assert_eq!(bus.pages(), 0);
}
