#![allow(clippy::unwrap_used)]

use std::future::{Future, poll_fn};
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Condvar;
use slashing_db::KeyId;

use super::queue::{BATCH_MAX, SUSPECT_BATCH_MAX};
use super::*;
use crate::bls::SecretKey;
use crate::clock::{Clock, ManualClock, deadline};
use crate::eth::{PublicKey, SigningRoot};
use crate::metrics::LabelValues;
use crate::tests::{Rig, at};

const ROOT: SigningRoot = SigningRoot([7; 32]);
const SLOT: Slot = Slot(3_200);

fn metrics() -> Metrics {
    Metrics::new(&LabelValues {
        duty_types: &[],
        signed_code: "ok",
        key_statuses: &[],
        upstream_errors: &[],
        events: &[],
    })
}

fn config() -> VerifyConfig {
    VerifyConfig {
        mode: VerifyMode::Always,
        always: Vec::new(),
        sampled: vec![DutyKind::ValidatorRegistration],
        off: vec![DutyKind::AggregationSlot],
        sample_one_in: NonZeroU64::new(4).unwrap(),
        threads: NonZeroUsize::new(2),
        queue_max: 1_000,
    }
}

/// Rows of a store, which alone can number them.
fn ids() -> [KeyId; 3] {
    let rig = Rig::new();
    [1, 2, 3].map(|number| {
        let key = rig.enrol(number);
        rig.with(&key, |it| it.watermarks.id())
    })
}

fn key(index: u64) -> PublicKey {
    PublicKey(SecretKey::interop(index).public_key().to_bytes())
}

fn sign(index: u64, root: SigningRoot) -> Signature {
    Signature(SecretKey::interop(index).sign(&root.0))
}

/// A replica, and what it was asked; by default an honest answer of the first interop key.
struct Case {
    replica: Replica,
    question: Question,
    signature: Signature,
    deadline: Instant,
}

impl Case {
    fn new(metrics: &Metrics, name: &str) -> Self {
        let replica = metrics.upstream.replica("set", name);
        let clock = Clock::Manual(ManualClock::new(at(SLOT.0, 0)));
        Self {
            replica: Replica::new("set".into(), name, replica, clock),
            question: Question {
                kind: DutyKind::Attestation,
                class: DutyClass::Attestation.into(),
                key_id: ids()[0],
                key: key(0),
                root: ROOT,
                slot: SLOT,
                body: bytes::Bytes::new(),
                trace: None,
            },
            signature: sign(0, ROOT),
            deadline: deadline(Duration::from_secs(60)),
        }
    }

    fn of(mut self, kind: DutyKind) -> Self {
        self.question.kind = kind;
        self
    }

    fn over(mut self, root: SigningRoot) -> Self {
        self.question.root = root;
        self
    }

    fn in_slot(mut self, slot: u64) -> Self {
        self.question.slot = Slot(slot);
        self
    }

    fn signed(mut self, signature: Signature) -> Self {
        self.signature = signature;
        self
    }

    fn within(mut self, budget: Duration) -> Self {
        self.deadline = deadline(budget);
        self
    }

    /// The code of the outcome.
    async fn check(&self, verifier: &Verifier) -> &'static str {
        let Self { replica, question, signature, deadline } = self;
        let answer = Answer { replica, question, signature: *signature, deadline: *deadline };
        verifier.check(&answer).await.map_or_else(|fault| fault.code(), |()| "released")
    }
}

fn start(config: &VerifyConfig, metrics: &Metrics) -> Verifier {
    Verifier::start(config, Arc::new(ValidatedKeys::in_memory()), metrics).unwrap()
}

fn count(metrics: &Metrics, verdict: &str) -> u64 {
    metrics.verify.verdicts.with_label_values(&[verdict]).get()
}

#[tokio::test]
async fn what_is_right_is_released_and_what_is_not_is_told_apart() {
    let metrics = metrics();
    let verifier = start(&config(), &metrics);
    let honest = || Case::new(&metrics, "one:9000");
    let mut infinity = [0; 96];
    infinity[0] = 0xc0;
    let mut outside = [0; 96];
    (outside[0], outside[95]) = (0x80, 2);
    let mut no_key = honest();
    (no_key.question.key_id, no_key.question.key) = (ids()[1], PublicKey([1; 48]));
    for (case, verdict) in [
        (honest(), "valid"),
        (honest().signed(sign(0, SigningRoot([8; 32]))), "mismatch"),
        (honest().signed(sign(1, ROOT)), "mismatch"),
        (honest().signed(Signature([0x5a; 96])), "bad_encoding"),
        (honest().signed(Signature(infinity)), "infinity"),
        (honest().signed(Signature(outside)), "not_in_subgroup"),
        (no_key, "invalid_key"),
    ] {
        let expected = if verdict == "valid" { "released" } else { "upstream_bad_signature" };
        let before = count(&metrics, verdict);
        assert_eq!(case.check(&verifier).await, expected, "{verdict}");
        assert_eq!(count(&metrics, verdict), before + 1, "{verdict}");
    }
    assert_eq!(metrics.verify.bad.with_label_values(&["set", "one:9000"]).get(), 6);
    assert_eq!(metrics.events.with_label_values(&[BAD_SIGNATURE]).get(), 6);
    assert!(metrics.verify.cpu_seconds.get() > 0.0);
    assert_eq!(verifier.keys().unwrap().get(ids()[0]).unwrap().to_bytes(), key(0).0);
}

#[tokio::test]
async fn a_type_that_is_off_is_released_as_it_comes() {
    let metrics = metrics();
    let verifier = start(&config(), &metrics);
    let wrong = || Case::new(&metrics, "one:9000").signed(sign(1, ROOT));
    assert_eq!(wrong().of(DutyKind::AggregationSlot).check(&verifier).await, "released");
    assert_eq!(count(&metrics, "unchecked"), 1);

    let off = VerifyConfig { mode: VerifyMode::Off, sampled: Vec::new(), ..config() };
    let verifier = start(&off, &metrics);
    assert_eq!(wrong().check(&verifier).await, "released");
    assert!(verifier.keys().is_none(), "no key is validated for nothing");
}

#[tokio::test]
async fn a_sampled_type_is_checked_in_full_once_its_signer_lied() {
    let metrics = metrics();
    let verifier = start(&config(), &metrics);
    let of = |name| Case::new(&metrics, name).of(DutyKind::ValidatorRegistration);
    for _ in 0..400 {
        assert_eq!(of("honest:9000").check(&verifier).await, "released");
    }
    let checked = count(&metrics, "valid");
    assert!((40..200).contains(&checked), "{checked} of 400 at one in 4");
    assert_eq!(checked + count(&metrics, "unchecked"), 400);

    let lie = Case::new(&metrics, "liar:9000").signed(sign(1, ROOT));
    assert_eq!(lie.check(&verifier).await, "upstream_bad_signature");
    let before = count(&metrics, "unchecked");
    for _ in 0..50 {
        assert_eq!(of("liar:9000").check(&verifier).await, "released");
    }
    assert_eq!(count(&metrics, "unchecked"), before, "every one is checked now");
    for _ in 0..50 {
        assert_eq!(of("honest:9000").check(&verifier).await, "released");
    }
    let others = count(&metrics, "unchecked") - before;
    assert!(others > 10, "only {others} of 50 of an honest signer were sampled out");
    for _ in 0..50 {
        let later = of("liar:9000").in_slot(SLOT.0 + SUSPECTED_SLOTS);
        assert_eq!(later.check(&verifier).await, "released");
    }
    assert!(count(&metrics, "unchecked") > before + others + 10, "not for ever");
}

/// Panics once, then verifies.
fn panics_once() -> Judge {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    let mut judge = threads::in_batches();
    Box::new(move |root, claims| {
        assert!(PANICKED.swap(true, Ordering::Relaxed), "on purpose");
        judge(root, claims)
    })
}

#[tokio::test]
async fn a_panic_fails_its_batch_and_not_the_next_one() {
    let metrics = metrics();
    let one_thread = VerifyConfig { threads: NonZeroUsize::new(1), ..config() };
    let keys = Arc::new(ValidatedKeys::in_memory());
    let verifier = Verifier::start_with(&one_thread, keys, &metrics, panics_once).unwrap();
    let honest = Case::new(&metrics, "one:9000");
    assert_eq!(honest.check(&verifier).await, "upstream_verify_failed");
    // The count is raised after the waiters were told: the next verdict comes after it.
    assert_eq!(honest.check(&verifier).await, "released");
    assert_eq!(metrics.events.with_label_values(&[VERIFY_FAILED]).get(), 1);
}

/// Whether a test wants nothing verified, and whether the thread that verifies has come to it.
#[derive(Debug, Default)]
struct Stop {
    is_wanted: bool,
    is_reached: bool,
}

static STOP: Mutex<Stop> = Mutex::new(Stop { is_wanted: false, is_reached: false });
static STOP_CHANGED: Condvar = Condvar::new();

fn stopped() -> Judge {
    let mut judge = threads::in_batches();
    Box::new(move |root, claims| {
        let mut stop = STOP.lock();
        stop.is_reached = true;
        STOP_CHANGED.notify_all();
        STOP_CHANGED.wait_while(&mut stop, |stop| stop.is_wanted);
        drop(stop);
        judge(root, claims)
    })
}

/// Lets the thread go on, also when the test fails: else its end would be waited for without end.
struct GoOn;

impl Drop for GoOn {
    fn drop(&mut self) {
        STOP.lock().is_wanted = false;
        STOP_CHANGED.notify_all();
    }
}

/// Time stands still and jumps to the next deadline when everybody waits.
#[tokio::test(start_paused = true)]
async fn what_is_not_verified_in_time_is_not_released_and_a_full_queue_lets_blocks_pass() {
    let metrics = metrics();
    let small = VerifyConfig { threads: NonZeroUsize::new(1), queue_max: 1, ..config() };
    let keys = Arc::new(ValidatedKeys::in_memory());
    STOP.lock().is_wanted = true;
    let verifier = Verifier::start_with(&small, keys, &metrics, stopped).unwrap();
    let _go_on = GoOn; // dropped before the verifier
    let soon = || Case::new(&metrics, "one:9000").within(Duration::from_secs(1));
    let given_up = soon();
    let mut given_up = std::pin::pin!(given_up.check(&verifier));
    let is_pending = |cx: &mut Context<'_>| Poll::Ready(given_up.as_mut().poll(cx).is_pending());
    assert!(poll_fn(is_pending).await);
    // Before its time is up, the thread has it.
    STOP_CHANGED.wait_while(&mut STOP.lock(), |stop| !stop.is_reached);
    assert_eq!(given_up.await, "upstream_verify_timeout");
    // The one that was given up still has the only place.
    let root = SigningRoot([9; 32]);
    assert_eq!(soon().over(root).check(&verifier).await, "upstream_verify_timeout");
    assert_eq!(verifier.queue_length(), 0);
    let block = soon().of(DutyKind::BlockV2).over(root).signed(sign(0, root));
    assert_eq!(block.check(&verifier).await, "upstream_verify_timeout");
    assert_eq!(verifier.queue_length(), 1, "the block stands in the queue");
}

#[tokio::test]
async fn whoever_waits_at_the_end_is_told() {
    let queue = Queue::default();
    let (waiting, judged) = waiting(ids()[0]);
    queue.push(lane(DutyClass::Attestation, false, 1), waiting);
    queue.close();
    assert!(judged.await.is_err());
    assert!(queue.take().is_none());
    let (late, judged) = self::waiting(ids()[0]);
    queue.push(lane(DutyClass::Attestation, false, 1), late);
    assert!(judged.await.is_err());
}

fn lane(class: DutyClass, suspect: bool, root: u8) -> Lane {
    Lane { class, suspect, root: SigningRoot([root; 32]) }
}

fn waiting(key_id: KeyId) -> (Waiting, oneshot::Receiver<Result<(), Defect>>) {
    let (verdict, judged) = oneshot::channel();
    let (key, signature, since) = (key(0), Signature([0; 96]), Stopwatch::start());
    (Waiting { key_id, key, signature, since, verdict, _place: None }, judged)
}

#[test]
fn all_of_the_oldest_root_of_the_most_urgent_class_is_taken_at_once() {
    let id = ids()[0];
    let queue = Queue::default();
    let push = |class, suspect, root, count| {
        for _ in 0..count {
            queue.push(lane(class, suspect, root), waiting(id).0);
        }
    };
    push(DutyClass::Registration, false, 1, 1);
    push(DutyClass::Attestation, true, 2, SUSPECT_BATCH_MAX + 1);
    push(DutyClass::Attestation, false, 3, 2);
    push(DutyClass::Attestation, false, 4, BATCH_MAX + 2);
    push(DutyClass::Attestation, false, 3, 3);
    push(DutyClass::Proposal, false, 5, 1);
    assert_eq!(queue.len(), SUSPECT_BATCH_MAX + BATCH_MAX + 10);
    let taken: Vec<_> = (0..7)
        .map(|_| queue.take().map(|batch| (batch.root.0[0], batch.waiting.len())).unwrap())
        .collect();
    assert_eq!(
        taken,
        [(5, 1), (3, 5), (4, BATCH_MAX), (4, 2), (2, SUSPECT_BATCH_MAX), (2, 1), (1, 1)]
    );
    assert_eq!(queue.len(), 0);
}
