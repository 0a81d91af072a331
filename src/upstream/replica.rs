//! One replica of a set of signers: what all cores know of it, and how one core asks it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use slashing_db::KeyId;
use tokio::time::Instant;

use super::UpstreamFault;
use super::breaker::{Breaker, Readiness};
use super::client::{Class, ClientStats};
use super::verify::{Answer, Verifier};
use super::web3signer::Web3Signer;
use crate::clock::{Clock, Stopwatch};
use crate::eth::{DutyKind, PublicKey, Signature, SigningRoot, Slot};
use crate::logging::LogLimit;
use crate::metrics::ReplicaMetrics;
use crate::trace::TraceHeaders;

/// What all cores know of one replica.
pub struct Replica {
    /// The set that it belongs to.
    pub upstream: Arc<str>,
    /// Its `host:port`, which names it in logs and metrics.
    pub name: Arc<str>,
    /// Whether it is asked first or last.
    pub breaker: Breaker,
    /// Its figures.
    pub metrics: ReplicaMetrics,
    reachable: AtomicBool,
    stats: Mutex<Vec<Arc<ClientStats>>>,
    pub(super) log_limit: LogLimit,
    pub(super) clock: Clock,
}

impl Replica {
    /// A replica that nothing bad is known of.
    pub fn new(upstream: Arc<str>, name: &str, metrics: ReplicaMetrics, clock: Clock) -> Self {
        Self {
            upstream,
            name: name.into(),
            breaker: Breaker::default(),
            metrics,
            reachable: AtomicBool::new(true), // until it is known not to be: doubt is no outage
            stats: Mutex::default(),
            log_limit: LogLimit::default(),
            clock,
        }
    }

    /// Whether it answered when it was last asked whether it is there.
    pub fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// Whether it is among those asked first.
    pub fn is_healthy(&self) -> bool {
        self.is_reachable() && self.breaker.readiness(Instant::now()) == Readiness::Ready
    }

    /// Notes whether it is there. Says what it was before.
    pub(super) fn note_reachable(&self, is_there: bool, now: Instant) -> bool {
        let was_there = self.reachable.swap(is_there, Ordering::Relaxed);
        match is_there {
            false => {
                self.breaker.unreachable(now);
            }
            true if !was_there => self.breaker.reachable(now),
            true => {}
        }
        was_there
    }

    /// The sum of one of its clients' counters.
    pub fn sum(&self, of: impl Fn(&ClientStats) -> u64) -> u64 {
        self.stats.lock().iter().map(|stats| of(stats)).sum()
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.upstream, self.name)
    }
}

/// What a replica is asked to sign. Cheap to clone: several may be asked the same.
#[derive(Clone, Debug)]
pub struct Question {
    /// The type of the duty.
    pub kind: DutyKind,
    /// How urgent it is.
    pub class: Class,
    /// The key's row in the store.
    pub key_id: KeyId,
    /// The key.
    pub key: PublicKey,
    /// The root that the answer must be a signature over; the body has it too.
    pub root: SigningRoot,
    /// The present slot.
    pub slot: Slot,
    /// Our own encoding of the duty.
    pub body: Bytes,
    /// The trace that it belongs to.
    pub trace: Option<TraceHeaders>,
}

/// A replica that was asked and gave no signature.
#[derive(Debug)]
pub struct Attempt {
    /// Which.
    pub replica: Arc<Replica>,
    /// What went wrong.
    pub fault: UpstreamFault,
}

/// One replica, as seen from one core.
pub struct ReplicaClient {
    replica: Arc<Replica>,
    signer: Web3Signer,
    verifier: Arc<Verifier>,
    in_flight: Cell<u32>,
}

impl ReplicaClient {
    /// The replica behind `signer`, whose answers are held against the keys by `verifier`.
    pub fn new(replica: Arc<Replica>, signer: Web3Signer, verifier: Arc<Verifier>) -> Self {
        replica.stats.lock().push(signer.stats());
        Self { replica, signer, verifier, in_flight: Cell::new(0) }
    }

    /// What all cores know of it.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Requests of this core that it has in hand.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// Asks for a signature until `deadline`. An answer that took more than `in_time` is good for
    /// the request, and no merit of the replica's.
    ///
    /// All that is known of an answer is known at the end of this function: what is not `Ok` here
    /// was not released, is attributed to this replica, and leads to the next one.
    pub(super) async fn ask(
        &self,
        question: &Question,
        deadline: Instant,
        in_time: Duration,
    ) -> Result<Signature, Attempt> {
        let Question { class, key, root, body, trace, .. } = question;
        let metrics = &self.replica.metrics;
        metrics.requests.inc();
        let in_hand = InHand::new(&self.in_flight);
        let took = Stopwatch::start();
        let result = self.signer.sign(*class, key, body.clone(), deadline, trace.as_ref()).await;
        let took = took.elapsed();
        drop(in_hand);
        metrics.seconds.observe(took.as_secs_f64());
        let result = match result {
            Ok(signature) => {
                let answer = Answer { replica: &self.replica, question, signature, deadline };
                self.verifier.check(&answer).await.map(|()| signature)
            }
            Err(fault) => Err(fault),
        };
        match result {
            Ok(signature) => {
                if took <= in_time {
                    self.replica.breaker.succeeded();
                }
                Ok(signature)
            }
            Err(fault) => Err(self.failed(key, root, fault)),
        }
    }

    fn failed(&self, key: &PublicKey, root: &SigningRoot, fault: UpstreamFault) -> Attempt {
        let replica = &self.replica;
        replica.metrics.error(fault.code());
        replica.metrics.refusals.inc_by(u64::from(matches!(fault, UpstreamFault::Refused)));
        let rests = match fault.blame() {
            Blame::Nobody => false,
            Blame::Failure => replica.breaker.failed(Instant::now()),
            Blame::WrongAnswer => replica.breaker.distrust(Instant::now()),
        };
        if let Some(unsaid) = replica.log_limit.may_say(fault.code(), replica.clock.now()) {
            tracing::warn!(
                event = "upstream_fault",
                upstream = %replica.upstream,
                replica = %replica.name,
                code = fault.code(),
                reason = %fault,
                cause = std::error::Error::source(&fault).map(tracing::field::display),
                pubkey = %key,
                root = %root,
                unsaid,
                "a signer gave no signature"
            );
        }
        if rests {
            tracing::warn!(
                event = "replica_rests",
                upstream = %replica.upstream,
                replica = %replica.name,
                "a signer fails, or answers wrongly; it is asked last until it signs again"
            );
        }
        Attempt { replica: Arc::clone(replica), fault }
    }
}

/// What a fault says of the replica as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Nothing: the fault is of this key, or ours.
    Nobody,
    /// That it may be unwell: a few of these in a row, and it is asked last.
    Failure,
    /// That it answers wrongly: it is asked last at once, and for long.
    WrongAnswer,
}

/// Counts a request for as long as a replica has it.
struct InHand<'a>(&'a Cell<u32>);

impl<'a> InHand<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
