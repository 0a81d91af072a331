//! The load: one thread, nonblocking sockets, requests that are ready before they are due.
//!
//! Open loop: a request is due at its time whether or not the subject is ready for it, and its
//! latency counts from then. Closed loop: each connection asks again as soon as it is answered.

#![allow(clippy::disallowed_methods)] // it measures time

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::time::Timespec;

use super::http::Message;
use super::requests::Votes;

/// When the requests are due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Whenever a connection is free.
    Closed { lasting: Duration },
    /// At a constant rate.
    Rate { per_second: u32, lasting: Duration },
    /// So many, evenly within a window: the duties of one slot.
    Burst { requests: u32, within: Duration },
}

/// What came of it.
pub(crate) struct Outcome {
    /// Latencies in nanoseconds: from when a request was due, or was sent in a closed loop.
    pub(crate) latency: Histogram<u64>,
    pub(crate) answered: u64,
    /// Answers that were not 200.
    pub(crate) errors: u64,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// The first answer that was an error, for the person who looks for the reason.
    pub(crate) first_error: Option<String>,
}

/// How long an answer may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(20);

struct Connection {
    stream: TcpStream,
    due: Instant,
    buffer: Box<[u8; 4096]>,
    filled: usize,
}

/// A client with connections that it keeps.
pub(crate) struct Client {
    poll: OwnedFd,
    connections: Vec<Connection>,
    idle: Vec<usize>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, connections: usize) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let open = |number: usize| {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&poll, &stream, data, epoll::EventFlags::IN)?;
            Ok(Connection { stream, due: Instant::now(), buffer: Box::new([0; 4096]), filled: 0 })
        };
        let connections = (0..connections).map(open).collect::<io::Result<Vec<_>>>()?;
        let idle = (0..connections.len()).collect();
        Ok(Self { poll, connections, idle })
    }

    /// Sends votes in this shape and waits for every answer.
    pub(crate) fn run(&mut self, shape: Shape, votes: &mut Votes) -> io::Result<Outcome> {
        let start = Instant::now();
        let plan = Plan::new(shape, start);
        let mut outcome = Outcome::new();
        let mut events = Vec::with_capacity(1024);
        let mut sent = 0;
        let mut last_answer = start;
        loop {
            let now = Instant::now();
            while let Some(due) = plan.due(sent, now)
                && due <= now
                && let Some(number) = self.idle.pop()
            {
                self.connections[number].send(votes.next(), due)?;
                sent += 1;
            }
            let next = plan.due(sent, now);
            if next.is_none() && self.idle.len() == self.connections.len() {
                break;
            }
            let wait = match next {
                Some(due) if !self.idle.is_empty() => due.saturating_duration_since(now),
                Some(_) | None => PATIENCE,
            };
            events.clear();
            let timeout =
                Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
            epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))?;
            if events.is_empty() && wait >= PATIENCE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"));
            }
            for event in &events {
                let number = event.data.u64() as usize;
                if self.connections[number].receive(&mut outcome)? {
                    self.idle.push(number);
                    last_answer = Instant::now();
                }
            }
        }
        outcome.elapsed = last_answer - start;
        Ok(outcome)
    }
}

/// The times at which requests are due.
struct Plan {
    start: Instant,
    interval: Duration,
    requests: u64,
    end: Option<Instant>,
}

impl Plan {
    fn new(shape: Shape, start: Instant) -> Self {
        match shape {
            Shape::Closed { lasting } => Self {
                start,
                interval: Duration::ZERO,
                requests: u64::MAX,
                end: Some(start + lasting),
            },
            Shape::Rate { per_second, lasting } => Self {
                start,
                interval: Duration::from_secs(1) / per_second,
                requests: (lasting.as_secs_f64() * f64::from(per_second)) as u64,
                end: None,
            },
            Shape::Burst { requests, within } => {
                Self { start, interval: within / requests, requests: requests.into(), end: None }
            }
        }
    }

    /// When the next request is due after `sent`; nothing when that was the last.
    fn due(&self, sent: u64, now: Instant) -> Option<Instant> {
        match self.end {
            Some(end) => (now < end).then_some(now),
            None => (sent < self.requests)
                .then(|| self.start + Duration::from_nanos(self.interval.as_nanos() as u64 * sent)),
        }
    }
}

impl Connection {
    fn send(&mut self, request: &[u8], due: Instant) -> io::Result<()> {
        self.due = due;
        // A request is smaller than any socket's buffer, and the one before it was answered.
        self.stream.write_all(request)
    }

    /// Reads what is there; whether the answer is complete.
    fn receive(&mut self, outcome: &mut Outcome) -> io::Result<bool> {
        let read = match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        self.filled += read;
        let Some(message) = Message::first(&self.buffer[..self.filled]) else {
            return Ok(false);
        };
        let elapsed = self.due.elapsed().as_nanos() as u64;
        outcome.latency.saturating_record(elapsed);
        outcome.answered += 1;
        if message.status() != b"200" {
            outcome.errors += 1;
            let text = || String::from_utf8_lossy(&self.buffer[..message.len()]).into_owned();
            outcome.first_error.get_or_insert_with(text);
        }
        self.filled = 0;
        Ok(true)
    }
}

impl Outcome {
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3);
        Self {
            latency: latency.expect("bounds that fit"),
            answered: 0,
            errors: 0,
            elapsed: Duration::ZERO,
            first_error: None,
        }
    }

    /// A quantile of the latencies.
    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(quantile))
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }
}
