//! A worker over memory pipes in paused time; the whole server is in [`sockets`].

#![allow(clippy::unwrap_used)]

mod handshakes;
mod sockets;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

use super::connections::{Connections, Phase};
use super::entrance::Entrance;
use super::stats::WorkerStats;
use super::worker::{Mail, Worker};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Answers by path.
struct Probe {
    index: usize,
    bodies: Bodies,
    finished: Arc<AtomicU64>,
}

impl Service for Probe {
    async fn call(
        self: Rc<Self>,
        request: Request<Incoming>,
        _session: Rc<Session>,
    ) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/worker" => text(200, format!("worker {}", self.index)),
            "/slow" => {
                sleep(Duration::from_millis(300)).await;
                self.finished.fetch_add(1, Relaxed);
                text(200, "slow")
            }
            "/never" => std::future::pending().await,
            "/huge" => text(200, vec![b'x'; 1 << 20]),
            "/panic" => panic!("a request that panics, as the test wants"),
            "/body" => match self.bodies.read(request.into_body()).await {
                Ok(body) => text(200, format!("{} bytes", body.len())),
                Err(error) => text(400, error.code()),
            },
            _ => text(200, "ok"),
        }
    }

    fn on_panic(&self) -> Response<Full<Bytes>> {
        text(500, "panicked")
    }
}

fn text(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

fn peer() -> SocketAddr {
    "192.0.2.1:4711".parse().unwrap()
}

/// A worker on the test's own thread and clock.
struct Bench {
    worker: Rc<Worker<Probe>>,
    stats: Arc<WorkerStats>,
    finished: Arc<AtomicU64>,
    mail: UnboundedSender<Mail>,
    running: Cell<Option<tokio::task::JoinHandle<Drained>>>,
}

impl Bench {
    fn start(connections_max: usize, limits: ServerLimits) -> Self {
        let stats = Arc::<WorkerStats>::default();
        let finished = Arc::<AtomicU64>::default();
        let budget = Arc::new(BodyBudget::new(limits.bodies_bytes_max));
        let bodies = Bodies::new(&limits, budget, Arc::clone(&stats));
        let service = Rc::new(Probe { index: 0, bodies, finished: Arc::clone(&finished) });
        let worker = Worker::new(connections_max, Arc::new(limits), Arc::clone(&stats), service);
        let (mail, inbox) = unbounded_channel();
        let running = tokio::task::spawn_local(Rc::clone(&worker).run(inbox));
        Self { worker, stats, finished, mail, running: Cell::new(Some(running)) }
    }

    fn connect(&self) -> DuplexStream {
        let (client, server) = duplex(16 << 10);
        self.stats.open.increment();
        self.worker.serve(server, peer(), Entrance::open());
        client
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    LocalSet::new().block_on(&runtime.unwrap(), test);
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: gate\r\n\r\n").into_bytes()
}

fn post(headers: &str) -> Vec<u8> {
    format!("POST /body HTTP/1.1\r\nhost: gate\r\n{headers}\r\n\r\n").into_bytes()
}

/// Reads one answer: its status and its body.
async fn answer(stream: &mut DuplexStream) -> (u16, String) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.split("content-length: ").nth(1).expect("always a length");
    let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
}

async fn ask(stream: &mut DuplexStream, request: &[u8]) -> (u16, String) {
    stream.write_all(request).await.unwrap();
    answer(stream).await
}

/// How long it takes until the server closes the connection.
async fn closed_after(stream: &mut DuplexStream) -> Duration {
    let begun = Instant::now();
    let mut sink = Vec::new();
    stream.read_to_end(&mut sink).await.unwrap();
    begun.elapsed()
}

fn expect(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

/// hyper drops a request's future when its connection ends: of 20 handlers that ran inside it, none
/// finished, although a watermark may have been advanced for each.
#[test]
fn requests_are_finished_though_their_connections_end() {
    run(async {
        let bench = Bench::start(100, ServerLimits::default());
        let mut clients: Vec<_> = (0..20).map(|_| bench.connect()).collect();
        for client in &mut clients {
            client.write_all(&get("/slow")).await.unwrap();
        }
        sleep(Duration::from_millis(20)).await;
        assert_eq!(bench.stats.in_flight.get(), 20);
        for id in 0..10 {
            bench.worker.shared().connections.borrow_mut().cut(id, Instant::now());
        }
        drop(clients);
        sleep(SECOND).await;
        assert_eq!(bench.finished.load(Relaxed), 20);
        assert_eq!((bench.stats.in_flight.get(), bench.stats.open.get()), (0, 0));
        assert_eq!(bench.stats.hung_up.get(), 10);
    });
}

#[test]
fn a_client_that_closes_its_sending_side_gets_its_answer() {
    run(async {
        let bench = Bench::start(100, ServerLimits::default());
        let mut client = bench.connect();
        client.write_all(&get("/slow")).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(answer(&mut client).await, expect(200, "slow"));
        closed_after(&mut client).await;
    });
}

#[test]
fn a_panic_is_answered_and_the_connection_goes_on() {
    run(async {
        let bench = Bench::start(100, ServerLimits::default());
        let mut client = bench.connect();
        assert_eq!(ask(&mut client, &get("/panic")).await, expect(500, "panicked"));
        assert_eq!(ask(&mut client, &get("/")).await, expect(200, "ok"));
        assert_eq!((bench.stats.panics.get(), bench.stats.in_flight.get()), (1, 0));
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    run(async {
        let bench = Bench::start(100, ServerLimits::default());
        let mut client = bench.connect();
        let requests = [get("/slow"), get("/"), get("/worker"), get("/panic"), get("/")].concat();
        client.write_all(&requests).await.unwrap();
        for (status, body) in
            [(200, "slow"), (200, "ok"), (200, "worker 0"), (500, "panicked"), (200, "ok")]
        {
            assert_eq!(answer(&mut client).await, expect(status, body));
        }
        assert_eq!(bench.stats.requests.get(), 5);
    });
}

/// A pooled client sends nothing for a minute and is kept; a slow one sends a byte every three
/// seconds and is not.
#[test]
fn a_slow_head_is_cut_while_an_idle_connection_is_kept() {
    run(async {
        let bench = Bench::start(100, ServerLimits::default());
        let mut fresh = bench.connect();
        let mut idle = bench.connect();
        ask(&mut idle, &get("/")).await;
        let mut slow = bench.connect();
        ask(&mut slow, &get("/")).await;
        let begun = Instant::now();
        for byte in get("/") {
            if slow.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(3 * SECOND).await;
        }
        let lasted = begun.elapsed();
        assert!((10 * SECOND..=15 * SECOND).contains(&lasted), "{lasted:?}");
        assert_eq!((bench.stats.head_timeouts.get(), bench.stats.open.get()), (1, 2));

        sleep((70 * SECOND).saturating_sub(begun.elapsed())).await;
        assert_eq!(ask(&mut idle, &get("/")).await, expect(200, "ok"));
        let lasted = closed_after(&mut fresh).await + Duration::from_secs(70);
        assert!((75 * SECOND..77 * SECOND).contains(&lasted), "{lasted:?}");
        let lasted = closed_after(&mut idle).await;
        assert!((69 * SECOND..77 * SECOND).contains(&lasted), "{lasted:?}");
        assert_eq!((bench.stats.idle_timeouts.get(), bench.stats.open.get()), (2, 0));
    });
}

#[test]
fn a_request_may_take_longer_than_every_timeout_of_its_connection() {
    run(async {
        let bench = Bench::start(100, ServerLimits::default());
        let mut client = bench.connect();
        client.write_all(&get("/never")).await.unwrap();
        assert!(timeout(200 * SECOND, client.read_u8()).await.is_err());
        assert_eq!((bench.stats.in_flight.get(), bench.stats.open.get()), (1, 1));
    });
}

#[test]
fn a_peer_that_does_not_take_its_answer_is_cut() {
    run(async {
        let bench = Bench::start(100, ServerLimits::default());
        let mut stuck = bench.connect();
        stuck.write_all(&get("/huge")).await.unwrap();
        let mut reading = bench.connect();
        assert_eq!(ask(&mut reading, &get("/huge")).await.1.len(), 1 << 20);
        sleep(19 * SECOND).await;
        assert_eq!(bench.stats.open.get(), 2);
        sleep(3 * SECOND).await;
        assert_eq!((bench.stats.stall_timeouts.get(), bench.stats.open.get()), (1, 1));
        assert_eq!(ask(&mut reading, &get("/")).await, expect(200, "ok"));
    });
}

#[test]
fn bodies_are_bounded_in_size_and_time() {
    run(async {
        let limits = ServerLimits { body_bytes_max: 100_000, ..ServerLimits::default() };
        let bench = Bench::start(100, limits);
        let mut client = bench.connect();
        let begun = Instant::now();
        let mut whole = post("content-length: 5");
        whole.extend_from_slice(b"hello");
        assert_eq!(ask(&mut client, &whole).await, expect(200, "5 bytes"));
        let mut largest = post("content-length: 100000");
        largest.resize(largest.len() + 100_000, b'x');
        assert_eq!(ask(&mut client, &largest).await, expect(200, "100000 bytes"));
        let empty = post("content-length: 0");
        assert_eq!(ask(&mut client, &empty).await, expect(200, "0 bytes"));
        let chunked =
            [post("transfer-encoding: chunked"), b"3\r\nabc\r\n0\r\n\r\n".into()].concat();
        assert_eq!(ask(&mut client, &chunked).await, expect(200, "3 bytes"));

        // Refused by its length alone: not a byte of it was sent.
        let mut too_large = bench.connect();
        let request = post("content-length: 20000000");
        assert_eq!(ask(&mut too_large, &request).await, expect(400, "body_too_large"));
        // A client that asks first is not told to go on.
        let mut polite = bench.connect();
        let request = post("content-length: 20000000\r\nexpect: 100-continue");
        assert_eq!(ask(&mut polite, &request).await, expect(400, "body_too_large"));
        // Chunks tell their sum only as they come.
        let mut chunks = bench.connect();
        let mut request = post("transfer-encoding: chunked");
        for _ in 0..11 {
            request.extend_from_slice(format!("2710\r\n{}\r\n", "x".repeat(10_000)).as_bytes());
        }
        assert_eq!(ask(&mut chunks, &request).await, expect(400, "body_too_large"));
        assert_eq!(begun.elapsed(), Duration::ZERO, "nothing waited for anything");

        let mut slow = bench.connect();
        let request = [post("content-length: 5"), b"hel".into()].concat();
        assert_eq!(ask(&mut slow, &request).await, expect(400, "body_timeout"));
        assert_eq!(begun.elapsed().as_secs(), 10);
        let mut broken = bench.connect();
        broken.write_all(&request).await.unwrap();
        broken.shutdown().await.unwrap();
        assert_eq!(answer(&mut broken).await, expect(400, "body_incomplete"));
        let stats = &bench.stats;
        assert_eq!((stats.bodies_too_large.get(), stats.body_timeouts.get()), (3, 1));
        assert_eq!(stats.bodies_incomplete.get(), 1);
    });
}

#[test]
fn all_bodies_together_are_bounded_and_duties_keep_a_part() {
    run(async {
        let limits = ServerLimits { bodies_bytes_max: 160_000, ..ServerLimits::default() };
        let bench = Bench::start(100, limits);
        // Claims alone hold nothing.
        let mut claims: Vec<_> = (0..50).map(|_| bench.connect()).collect();
        for claim in &mut claims {
            claim.write_all(&post("content-length: 1000000")).await.unwrap();
        }
        // 138,000 bytes are held by a body that goes no further.
        let mut holder = bench.connect();
        holder.write_all(&post("content-length: 200000")).await.unwrap();
        holder.write_all(&[b'x'; 138_000]).await.unwrap();
        sleep(SECOND).await;
        let mut large = bench.connect();
        let mut request = post("content-length: 100000");
        request.resize(request.len() + 100_000, b'x');
        assert_eq!(ask(&mut large, &request).await, expect(400, "body_budget_exhausted"));
        let mut duty = bench.connect();
        let mut request = post("content-length: 2000");
        request.resize(request.len() + 2_000, b'x');
        for _ in 0..100 {
            assert_eq!(ask(&mut duty, &request).await, expect(200, "2000 bytes"));
        }
        // What failed, or was answered, gave back what it held.
        drop(holder);
        drop(claims);
        sleep(SECOND).await;
        let mut large = bench.connect();
        let mut request = post("content-length: 130000");
        request.resize(request.len() + 130_000, b'x');
        assert_eq!(ask(&mut large, &request).await, expect(200, "130000 bytes"));
        assert_eq!(bench.stats.bodies_over_budget.get(), 1);
    });
}

#[test]
fn heads_are_bounded() {
    run(async {
        let bench = Bench::start(100, ServerLimits::default());
        let mut client = bench.connect();
        let request = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(40_000));
        let (mut reading, mut writing) = tokio::io::split(&mut client);
        let mut text = String::new();
        let (_, read) = tokio::join!(
            async { writing.write_all(request.as_bytes()).await },
            timeout(5 * SECOND, reading.read_to_string(&mut text)),
        );
        read.unwrap().unwrap();
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    });
}

#[test]
fn room_is_made_by_the_longest_idle_and_never_by_a_busy_one() {
    run(async {
        let bench = Bench::start(3, ServerLimits::default());
        let mut first = bench.connect();
        let mut second = bench.connect();
        let mut busy = bench.connect();
        ask(&mut second, &get("/")).await;
        sleep(SECOND).await;
        ask(&mut first, &get("/")).await;
        busy.write_all(&get("/never")).await.unwrap();
        sleep(SECOND).await;

        let mut fourth = bench.connect();
        assert_eq!(closed_after(&mut second).await, Duration::ZERO);
        assert_eq!(ask(&mut first, &get("/")).await, expect(200, "ok"));
        fourth.write_all(&get("/never")).await.unwrap();
        first.write_all(&get("/never")).await.unwrap();
        sleep(SECOND).await;

        let mut refused = bench.connect();
        assert_eq!(closed_after(&mut refused).await, Duration::ZERO);
        let stats = &bench.stats;
        assert_eq!((stats.evicted.get(), stats.refused.get()), (1, 1));
        assert_eq!((stats.open.get(), stats.idle.get(), stats.in_flight.get()), (3, 0, 3));
    });
}

#[test]
fn a_drain_finishes_what_was_begun_and_cuts_what_does_not_end() {
    run(async {
        let bench = Bench::start(100, ServerLimits::default());
        let (mut fresh, mut idle) = (bench.connect(), bench.connect());
        let (mut slow, mut gone) = (bench.connect(), bench.connect());
        let (mut just_connected, mut never) = (bench.connect(), bench.connect());
        ask(&mut idle, &get("/")).await;
        slow.write_all(&get("/slow")).await.unwrap();
        gone.write_all(&get("/slow")).await.unwrap();
        never.write_all(&get("/never")).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        drop(gone);

        bench.mail.send(Mail::Drain(5 * SECOND)).unwrap();
        assert_eq!(closed_after(&mut idle).await, Duration::ZERO);
        // Who has just connected has its first request on the way.
        just_connected.write_all(&get("/")).await.unwrap();
        let mut text = String::new();
        just_connected.read_to_string(&mut text).await.unwrap();
        assert!(text.contains("200 OK") && text.contains("connection: close\r\n"), "{text}");
        assert_eq!(closed_after(&mut fresh).await, Duration::from_millis(100));
        let mut text = String::new();
        slow.read_to_string(&mut text).await.unwrap();
        assert!(text.contains("connection: close\r\n") && text.ends_with("slow"), "{text}");
        let begun = Instant::now();
        let drained = bench.running.take().unwrap().await.unwrap();
        assert_eq!(drained, Drained { finished: 2, cut: 1 });
        assert_eq!(bench.finished.load(Relaxed), 2);
        assert!(begun.elapsed() < 5 * SECOND);
    });
}

proptest! {
    /// The lists against a vector that is searched.
    #[test]
    fn the_longest_of_each_phase_is_known(
        steps in prop::collection::vec((0u8..4, 0usize..20, 0usize..4), 1..300),
    ) {
        const PHASES: [Phase; 4] = [Phase::Idle, Phase::Head, Phase::Busy, Phase::Stalled];
        let mut connections = Connections::new();
        let mut model: Vec<(u32, Phase, Instant)> = Vec::new();
        let mut now = Instant::now();
        for (step, which, phase) in steps {
            now += SECOND;
            let chosen = (!model.is_empty()).then(|| which % model.len());
            match (step, chosen) {
                (0 | 1, _) | (_, None) => {
                    model.push((connections.insert(Phase::Idle, now), Phase::Idle, now));
                }
                (2, Some(chosen)) => connections.remove(model.remove(chosen).0),
                (_, Some(chosen)) => {
                    connections.enter(model[chosen].0, PHASES[phase], now);
                    model[chosen] = (model[chosen].0, PHASES[phase], now);
                }
            }
            prop_assert_eq!(connections.len(), model.len());
            for phase in PHASES {
                let of_phase = || model.iter().filter(|(_, in_phase, _)| *in_phase == phase);
                prop_assert_eq!(connections.count(phase), of_phase().count());
                let longest = of_phase().min_by_key(|(_, _, since)| *since);
                prop_assert_eq!(connections.longest(phase), longest.map(|l| (l.0, l.2)));
            }
        }
    }
}
