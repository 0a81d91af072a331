//! What a client notices while something large goes on: requests at a steady rate, each timed from
//! the moment when it was due.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::world::{Http, Votes};

const UPCHECK_INTERVAL: Duration = Duration::from_millis(4);
const VOTE_INTERVAL: Duration = Duration::from_millis(20); // so that none waits for the one before

/// Two clients, one that asks `/upcheck` and one that has votes signed, each of a key of its own.
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    upchecks: JoinHandle<Vec<Duration>>,
    votes: JoinHandle<Vec<Duration>>,
}

/// The latencies of one kind of request.
pub(crate) struct Latency {
    sorted: Vec<Duration>,
}

impl Probe {
    pub(crate) fn start(gate: SocketAddr, votes: &Arc<Votes>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let upchecks = {
            let (stop, mut http) = (Arc::clone(&stop), Http::connect(gate));
            std::thread::spawn(move || {
                each_interval(UPCHECK_INTERVAL, &stop, || assert_eq!(http.get("/upcheck").0, 200))
            })
        };
        let votes = {
            let (stop, mut http, votes) = (Arc::clone(&stop), Http::connect(gate), votes.clone());
            std::thread::spawn(move || {
                each_interval(VOTE_INTERVAL, &stop, || {
                    let (key, body) = votes.next();
                    let (status, answer) = http.sign(&key, &body);
                    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
                })
            })
        };
        Self { stop, upchecks, votes }
    }

    /// Ends it: the latencies of `/upcheck` and of votes.
    pub(crate) fn end(self) -> [Latency; 2] {
        self.stop.store(true, Ordering::Relaxed);
        [self.upchecks, self.votes].map(|thread| {
            let mut sorted = thread.join().expect("every request was answered");
            sorted.sort_unstable();
            Latency { sorted }
        })
    }
}

fn each_interval(
    interval: Duration,
    stop: &AtomicBool,
    mut request: impl FnMut(),
) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        due += interval;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        request();
        latencies.push(due.elapsed());
    }
    latencies
}

impl Latency {
    pub(crate) fn percentile(&self, of_1000: usize) -> Duration {
        let index = self.sorted.len() * of_1000 / 1000;
        self.sorted.get(index.min(self.sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    pub(crate) fn line(&self) -> String {
        let ms = |of_1000| self.percentile(of_1000).as_secs_f64() * 1e3;
        let (p50, p99, max) = (ms(500), ms(990), ms(1000));
        format!("p50 {p50:.2} p99 {p99:.2} max {max:.2} ms (n {})", self.sorted.len())
    }
}

impl Votes {
    fn next(&self) -> (String, String) {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (self.key(index), self.vote())
    }
}

pub(crate) const fn counter() -> AtomicUsize {
    AtomicUsize::new(0)
}
