//! The replicas of one set, as one core asks them: whom first, and whom when that fails.
//!
//! All are asked for the same root, each once at most. The next one is asked when the one before has
//! failed, and also when it is late: then both are asked, and the first signature is taken. The one
//! that lost is not cut off: its call ends by itself, at the latest with the request's time, and its
//! connection stays in the pool.
//!
//! A refusal (412) ends the search at once: the signer's slashing protection says that our own store
//! is wrong, and another replica that happens to say yes would not make it right.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, timeout_at};

use super::breaker::Readiness;
use super::choice::{Candidate, Order};
use super::replica::{Attempt, Question, ReplicaClient};
use super::signers::SignerSet;
use super::{UpstreamFailure, UpstreamFault};
use crate::eth::Signature;

/// A call that is under way, with the place of its replica.
type Call = Pin<Box<dyn Future<Output = Result<Signature, Attempt>>>>;

/// One set of signers on one core.
pub struct Replicas {
    set: Arc<SignerSet>,
    clients: Box<[Rc<ReplicaClient>]>,
    turn: Cell<usize>,
}

impl Replicas {
    /// The replicas of `set`, each behind its client.
    pub fn new(set: Arc<SignerSet>, clients: Vec<ReplicaClient>) -> Self {
        let clients = clients.into_iter().map(Rc::new).collect();
        Self { set, clients, turn: Cell::new(0) }
    }

    /// A signature from any of them, until `deadline` or the set's own timeout.
    pub(super) async fn sign(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> Result<Signature, UpstreamFailure> {
        let now = Instant::now();
        let deadline = deadline.min(now + self.set.timeout);
        if let [only] = &*self.clients {
            let answer = only.ask(question, deadline, Duration::MAX).await;
            return answer.map_err(UpstreamFailure::from);
        }
        self.sign_by_any(question, now, deadline).await
    }

    async fn sign_by_any(
        &self,
        question: &Question,
        now: Instant,
        deadline: Instant,
    ) -> Result<Signature, UpstreamFailure> {
        let shares = u32::try_from(self.clients.len()).unwrap_or(u32::MAX).max(SHARES_MIN);
        let patience = deadline.saturating_duration_since(now) / shares;
        let (order, is_probe) = self.order(question, now);
        let mut patience_now = if is_probe { patience.min(PROBE_PATIENCE) } else { patience };
        let mut left = order.iter();
        let mut calls: Vec<(usize, Call)> = Vec::with_capacity(2);
        let mut failure: Option<UpstreamFailure> = None;
        loop {
            let asked = left.next();
            if let Some(place) = asked {
                calls.push((place, self.call(place, question, deadline, patience)));
            }
            if calls.is_empty() {
                // Every set has a replica, so that one was asked at least.
                return Err(failure.unwrap_or_else(UpstreamFailure::abandoned));
            }
            let late_at = match asked {
                Some(_) => Instant::now() + patience_now,
                None => deadline + patience, // nobody is left: each call ends by itself
            };
            patience_now = patience;
            match timeout_at(late_at, next_answer(&mut calls)).await {
                Ok(Ok(signature)) => {
                    let_end(calls);
                    return Ok(signature);
                }
                Ok(Err(attempt)) => {
                    let is_refusal = matches!(attempt.fault, UpstreamFault::Refused);
                    UpstreamFailure::add(&mut failure, attempt);
                    if is_refusal || (calls.is_empty() && Instant::now() >= deadline) {
                        let_end(calls);
                        return Err(failure.unwrap_or_else(UpstreamFailure::abandoned));
                    }
                    self.set.metrics.failovers.inc_by(u64::from(left.len() > 0));
                }
                Err(_late) => {
                    self.set.metrics.hedges.inc_by(u64::from(left.len() > 0));
                    self.note_late(&calls);
                }
            }
        }
    }

    /// The order of the replicas for this request, and whether the first is asked to see whether
    /// it is back. A block is never the one that tries.
    fn order(&self, question: &Question, now: Instant) -> (Order, bool) {
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let may_probe = question.class.rank() > 0;
        let mut is_probe = false;
        let candidates = self.clients.iter().map(|client| Candidate {
            readiness: client.replica().breaker.readiness(now),
            in_flight: client.in_flight(),
        });
        let order = Order::of(candidates, turn, |place| {
            is_probe = may_probe && self.clients[place].replica().breaker.take_probe(now);
            is_probe
        });
        (order, is_probe)
    }

    fn call(
        &self,
        place: usize,
        question: &Question,
        deadline: Instant,
        patience: Duration,
    ) -> Call {
        let (client, question) = (Rc::clone(&self.clients[place]), question.clone());
        Box::pin(async move { client.ask(&question, deadline, patience).await })
    }

    /// The one asked last has not answered in good time, and another is asked beside it.
    fn note_late(&self, calls: &[(usize, Call)]) {
        let now = Instant::now();
        if let Some((place, _)) = calls.last() {
            let replica = self.clients[*place].replica();
            if replica.breaker.readiness(now) == Readiness::Ready && replica.breaker.failed(now) {
                tracing::warn!(
                    event = "replica_rests",
                    upstream = %replica.upstream,
                    replica = %replica.name,
                    "a signer was late several times in a row; it is asked last until it signs in \
                     good time"
                );
            }
        }
    }
}

/// The answer of whichever call ends first.
async fn next_answer(calls: &mut Vec<(usize, Call)>) -> Result<Signature, Attempt> {
    poll_fn(|cx| {
        for index in 0..calls.len() {
            if let Poll::Ready(answer) = calls[index].1.as_mut().poll(cx) {
                drop(calls.swap_remove(index));
                return Poll::Ready(answer);
            }
        }
        Poll::Pending
    })
    .await
}

/// Lets the calls that lost come to their own end, with their connections.
fn let_end(calls: Vec<(usize, Call)>) {
    for (_, call) in calls {
        spawn_local(call);
    }
}

/// The next replica is asked when this part of the time has gone by without an answer.
const SHARES_MIN: u32 = 3;
/// A replica that is asked to see whether it is back gets no more patience than this.
const PROBE_PATIENCE: Duration = Duration::from_millis(100);
