//! Signatures are held against the key and the root before they are released.
//!
//! A signer that is broken, compromised or confused can answer with anything. What is not the key's
//! signature over the root that was checked never leaves: it is the signer's fault, and an event
//! with its evidence. The work is done on threads of its own, in batches that form by themselves
//! (`verify/queue.rs`), never on the threads that serve clients. A signature whose time is up
//! before its turn comes is neither judged nor released: `upstream_verify_timeout` counts it.
//!
//! The configuration may sample a type, or trust the signer for it. A sampled type is checked in
//! full for a while once its signer has given a bad signature of any type.

mod queue;
mod threads;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use prometheus::{Counter, Histogram, IntCounter};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use self::queue::{Lane, Queue, Waiting};
use self::threads::{Judge, Shared};
use super::UpstreamFault;
use super::replica::{Question, Replica};
use crate::bls::batch::Flaw;
use crate::clock::Stopwatch;
use crate::config::{VerifyConfig, VerifyMode};
use crate::eth::{DutyKind, Signature, Slot};
use crate::limits::DutyClass;
use crate::metrics::Metrics;
use crate::sign::admission::class_of;
use crate::validated_keys::ValidatedKeys;

/// The event of a signature that was not released because it is bad.
pub const BAD_SIGNATURE: &str = "bad_signature";
/// The event of a batch that could not be verified by a fault of ours.
pub const VERIFY_FAILED: &str = "verify_failed";

/// Why a signer's answer is not a signature that may be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The signature is wrong.
    #[error(transparent)]
    Signature(Flaw),
    /// The enrolled key is not a valid point, so that no signature can be its own. Keys that are
    /// enrolled by name are checked then; an interchange file may bring one.
    #[error("the enrolled key is not a valid BLS public key, and nothing can be its signature")]
    InvalidKey,
}

impl Defect {
    /// The stable word for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signature(flaw) => flaw.as_str(),
            Self::InvalidKey => "invalid_key",
        }
    }
}

/// What a replica answered, and what it was asked.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Who.
    pub replica: &'a Replica,
    /// What it was asked.
    pub question: &'a Question,
    /// What came back.
    pub signature: Signature,
    /// When nobody waits for it any more.
    pub deadline: Instant,
}

/// Verifies what the signers answer. One for all cores.
pub struct Verifier(Option<Working>);

/// One that verifies anything.
struct Working {
    config: VerifyConfig,
    shared: Arc<Shared>,
    /// Of those that may wait; blocks do not ask for one.
    places: Arc<Semaphore>,
    suspects: Suspects,
    draws: Draws,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads count.
struct Counters {
    valid: IntCounter,
    flawed: [IntCounter; Flaw::ALL.len()],
    invalid_key: IntCounter,
    unchecked: IntCounter,
    bad: prometheus::IntCounterVec,
    bad_events: IntCounter,
    failed: IntCounter,
    batch: Histogram,
    seconds: Histogram,
    cpu_seconds: Counter,
}

impl Verifier {
    /// Releases everything as it comes.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Starts the threads, if anything is to be verified at all.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        config: &VerifyConfig,
        keys: Arc<ValidatedKeys>,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        Self::start_with(config, keys, metrics, threads::in_batches)
    }

    fn start_with(
        config: &VerifyConfig,
        keys: Arc<ValidatedKeys>,
        metrics: &Metrics,
        judge: fn() -> Judge,
    ) -> io::Result<Self> {
        if !config.is_on() {
            return Ok(Self::off());
        }
        let counters = Counters::new(metrics);
        let mut working = Working {
            config: config.clone(),
            shared: Arc::new(Shared { queue: Queue::default(), keys, counters }),
            places: Arc::new(Semaphore::new(config.queue_max)),
            suspects: Suspects::default(),
            draws: Draws::default(),
            threads: Vec::new(),
        };
        for _ in 0..config.thread_count().get() {
            working.threads.push(threads::spawn(Arc::clone(&working.shared), judge)?);
        }
        Ok(Self(Some(working)))
    }

    /// Whether `answer` may be released: it is the key's signature over the root, or the
    /// configuration says not to look.
    ///
    /// # Errors
    /// [`UpstreamFault::BadSignature`], which another replica may make good; the verdict that did
    /// not come in time; a fault of ours.
    pub async fn check(&self, answer: &Answer<'_>) -> Result<(), UpstreamFault> {
        match &self.0 {
            Some(working) => working.check(answer).await,
            None => Ok(()),
        }
    }

    /// How many signatures wait.
    pub fn queue_length(&self) -> usize {
        self.0.as_ref().map_or(0, |working| working.shared.queue.len())
    }

    /// The keys that it verifies with; none where nothing is verified.
    pub fn keys(&self) -> Option<&Arc<ValidatedKeys>> {
        self.0.as_ref().map(|working| &working.shared.keys)
    }
}

impl Working {
    async fn check(&self, answer: &Answer<'_>) -> Result<(), UpstreamFault> {
        let Question { kind, key_id, key, root, slot, .. } = *answer.question;
        let suspect = self.suspects.contains(&answer.replica.name, slot);
        if !self.is_to_be_checked(kind, suspect) {
            self.shared.counters.unchecked.inc();
            return Ok(());
        }
        let since = Stopwatch::start();
        let class = class_of(kind);
        let place = match class {
            // Few, and the last to be kept waiting.
            DutyClass::Proposal => None,
            DutyClass::Attestation
            | DutyClass::Aggregate
            | DutyClass::SelectionProof
            | DutyClass::Registration => {
                let place = Arc::clone(&self.places).acquire_owned();
                let place = timeout_at(answer.deadline, place).await;
                let place = place.map_err(|_| UpstreamFault::VerifyTimeout)?;
                Some(place.map_err(|_| UpstreamFault::VerifyFailed)?)
            }
        };
        let (verdict, judged) = oneshot::channel();
        let lane = Lane { class, suspect, root };
        let signature = answer.signature;
        let waiting = Waiting { key_id, key, signature, since, verdict, _place: place };
        self.shared.queue.push(lane, waiting);
        match timeout_at(answer.deadline, judged).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(defect))) => Err(self.bad(answer, defect)),
            Ok(Err(_)) => Err(UpstreamFault::VerifyFailed),
            Err(_) => Err(UpstreamFault::VerifyTimeout),
        }
    }

    fn is_to_be_checked(&self, kind: DutyKind, suspect: bool) -> bool {
        match self.config.mode_of(kind) {
            VerifyMode::Always => true,
            VerifyMode::Sampled => suspect || self.draws.one_in(self.config.sample_one_in.get()),
            VerifyMode::Off => false,
        }
    }

    fn bad(&self, answer: &Answer<'_>, defect: Defect) -> UpstreamFault {
        let Answer { replica, question, signature, .. } = answer;
        self.suspects.add(&replica.name, question.slot);
        self.shared.counters.bad.with_label_values(&[&*replica.upstream, &*replica.name]).inc();
        self.shared.counters.bad_events.inc();
        if let Some(unsaid) = replica.log_limit.may_say(BAD_SIGNATURE, replica.clock.now()) {
            tracing::error!(
                event = BAD_SIGNATURE,
                upstream = %replica.upstream,
                replica = %replica.name,
                defect = defect.as_str(),
                reason = %defect,
                kind = question.kind.as_str(),
                pubkey = %question.key,
                root = %question.root,
                %signature,
                unsaid,
                "a signer answered with a bad signature; it was not released"
            );
        }
        UpstreamFault::BadSignature(defect)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.places.close();
        self.shared.queue.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // its panics were reported when they happened
        }
    }
}

impl Counters {
    fn new(metrics: &Metrics) -> Self {
        let verify = &metrics.verify;
        let of = |verdict: &str| verify.verdicts.with_label_values(&[verdict]);
        Self {
            valid: of("valid"),
            flawed: Flaw::ALL.map(|flaw| of(flaw.as_str())),
            invalid_key: of(Defect::InvalidKey.as_str()),
            unchecked: of("unchecked"),
            bad: verify.bad.clone(),
            bad_events: metrics.events.with_label_values(&[BAD_SIGNATURE]),
            failed: metrics.events.with_label_values(&[VERIFY_FAILED]),
            batch: verify.batch.clone(),
            seconds: verify.seconds.clone(),
            cpu_seconds: verify.cpu_seconds.clone(),
        }
    }

    fn verdict(&self, verdict: Result<(), Defect>) -> &IntCounter {
        match verdict {
            Ok(()) => &self.valid,
            Err(Defect::Signature(flaw)) => &self.flawed[flaw as usize],
            Err(Defect::InvalidKey) => &self.invalid_key,
        }
    }
}

/// The signers that gave a bad signature lately.
#[derive(Debug, Default)]
struct Suspects {
    /// The last slot in which any is suspected: all that honest times need to look at.
    until: AtomicU64,
    replicas: Mutex<HashMap<Arc<str>, Slot>>,
}

impl Suspects {
    fn contains(&self, replica: &str, slot: Slot) -> bool {
        slot.0 < self.until.load(Ordering::Relaxed)
            && self.replicas.lock().get(replica).is_some_and(|until| slot < *until)
    }

    fn add(&self, replica: &Arc<str>, slot: Slot) {
        let until = slot.0.saturating_add(SUSPECTED_SLOTS);
        self.replicas.lock().insert(Arc::clone(replica), Slot(until));
        self.until.fetch_max(until, Ordering::Relaxed);
    }
}

/// Draws that a signer cannot foresee: a keyed hash of a count, whose key never leaves.
#[derive(Debug, Default)]
struct Draws {
    key: RandomState,
    count: AtomicU64,
}

impl Draws {
    fn one_in(&self, n: u64) -> bool {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.key.hash_one(count).is_multiple_of(n)
    }
}

/// About an hour of mainnet's slots.
const SUSPECTED_SLOTS: u64 = 300;
