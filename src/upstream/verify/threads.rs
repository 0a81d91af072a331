//! The threads that verify.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::queue::{Batch, Queue, Waiting};
use super::{Counters, Defect};
use crate::bls;
use crate::bls::batch::{Claim, Flaw, NoRandomness};
use crate::clock;
use crate::eth::SigningRoot;
use crate::validated_keys::{self, ValidatedKeys};

/// What judges the claims over one root. One for each thread, and made anew after a panic.
pub(super) type Judge =
    Box<dyn FnMut(&[u8; 32], &[Claim]) -> Result<Vec<Result<(), Flaw>>, NoRandomness>>;

/// The batch verification of [`bls`].
pub(super) fn in_batches() -> Judge {
    let mut verifier = bls::batch::Verifier::default();
    Box::new(move |root, claims| verifier.verify(root, claims))
}

/// What the threads share.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) keys: Arc<ValidatedKeys>,
    pub(super) counters: Counters,
}

/// Starts a thread.
///
/// # Errors
/// When the system gives none.
pub(super) fn spawn(shared: Arc<Shared>, judge: fn() -> Judge) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("verify".to_owned()).spawn(move || work(&shared, judge))
}

fn work(shared: &Shared, make_judge: fn() -> Judge) {
    let mut judge = make_judge();
    let mut cpu = clock::thread_cpu();
    while let Some(batch) = shared.queue.take() {
        let root = batch.root;
        // The waiters of a batch that panics hear of it: their senders are dropped as it unwinds.
        let panicked =
            catch_unwind(AssertUnwindSafe(|| verify(shared, &mut judge, batch))).is_err();
        if panicked {
            shared.counters.failed.inc();
            tracing::error!(
                event = super::VERIFY_FAILED,
                %root,
                "verification panicked; the signatures of this batch are not released"
            );
            judge = make_judge();
        }
        let used = clock::thread_cpu();
        shared.counters.cpu_seconds.inc_by(used.saturating_sub(cpu).as_secs_f64());
        cpu = used;
    }
}

fn verify(shared: &Shared, judge: &mut Judge, batch: Batch) {
    let Batch { root, mut waiting } = batch;
    waiting.retain(|one| !one.verdict.is_closed()); // whose time is up
    let (claims, new) = claims(shared, &mut waiting);
    if !claims.is_empty() {
        shared.counters.batch.observe(claims.len() as f64);
        match judge(&root.0, &claims) {
            Ok(verdicts) => {
                for (one, verdict) in waiting.into_iter().zip(verdicts) {
                    answer(shared, one, verdict.map_err(Defect::Signature));
                }
            }
            Err(error) => no_randomness(shared, root, error),
        }
    }
    if !new.is_empty()
        && let Err(error) = shared.keys.add(&new)
    {
        tracing::warn!(
            event = "validated_keys_not_kept",
            reason = crate::enrolment::with_causes(&error),
            "validated keys cannot be kept; they are validated again after the next start"
        );
    }
}

/// The claims of those that wait, in their order, and the keys that had to be validated for it. Who
/// claims a signature of something that is no key is answered at once.
#[allow(clippy::type_complexity)] // a name for a pair would say less
fn claims(
    shared: &Shared,
    waiting: &mut Vec<Waiting>,
) -> (Vec<Claim>, Vec<(slashing_db::KeyId, bls::PublicKey)>) {
    let mut claims = Vec::with_capacity(waiting.len());
    let mut new = Vec::new();
    let mut with_keys = Vec::with_capacity(waiting.len());
    for one in waiting.drain(..) {
        let known = shared.keys.get(one.key_id);
        let key = known.map_or_else(
            || {
                let key = validated_keys::validate(&slashing_db::PublicKey(one.key.0));
                key.inspect(|key| new.push((one.key_id, *key)))
            },
            Ok,
        );
        match key {
            Ok(public_key) => {
                claims.push(Claim { public_key, signature: one.signature.0 });
                with_keys.push(one);
            }
            Err(_) => answer(shared, one, Err(Defect::InvalidKey)),
        }
    }
    *waiting = with_keys;
    (claims, new)
}

fn answer(shared: &Shared, one: Waiting, verdict: Result<(), Defect>) {
    shared.counters.verdict(verdict).inc();
    shared.counters.seconds.observe(one.since.elapsed().as_secs_f64());
    let _ = one.verdict.send(verdict); // nobody waits for it any more
}

fn no_randomness(shared: &Shared, root: SigningRoot, error: NoRandomness) {
    shared.counters.failed.inc();
    tracing::error!(
        event = super::VERIFY_FAILED,
        %root,
        reason = crate::enrolment::with_causes(&error),
        "nothing can be verified; the signatures of this batch are not released"
    );
}
