//! The path of one signing request: nine steps, on one screen.
//!
//! | # | step | where | on failure |
//! |---|---|---|---|
//! | 1 | read | [`crate::server`] | 4xx |
//! | 2 | parse | [`crate::web3signer::request`] | 400 |
//! | 3 | compute root, content and time rules | `sign/content.rs` | 400 |
//! | 4 | resolve | [`crate::validators`] | 404 |
//! | 5 | check | `slashing_db`, under the key's lock | 412 |
//! | 6 | judge | `sign/judge.rs`, `sign/permissions.rs`, under the same lock | 412 |
//! | 7 | record | `slashing_db`'s recorder | 500 |
//! | 8 | forward | [`crate::upstream`] | 500 |
//! | 9 | report | here: one exit, never skipped | |
//!
//! Nothing is forwarded without a `Permit`, only the store makes one, and forwarding consumes it.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use policy::Outcome;
use slashing_db::{Permit, Recorder, Store};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::clients::Client;
use crate::clock::{Clock, Now, SlotClock, deadline};
use crate::eth::{Epoch, Network, PublicKey, Root, Signature};
use crate::judgement::{Judgement, LeaseWrite};
use crate::limits::DutyClass;
use crate::logging::LogLimit;
use crate::metrics::{Metrics, Stage};
use crate::response::Response;
use crate::server::body::{BodyError, ReceivedBody};
use crate::trace::{RequestTrace, Tracer};
use crate::upstream::verify::Verifier;
use crate::upstream::{Forward, InFlight, Upstreams};
use crate::validators::{RowIndex, Standing, Validators};
use crate::web3signer::request;

pub mod admission;
mod bell;
mod content;
mod decide;
mod evaluate;
mod explanation;
pub mod judge;
pub mod not_signed;
pub mod permissions;
mod report;

use admission::{Admission, Admitted, Turns, class_of};
use bell::Bell;
use decide::decide;
pub use decide::{Decided, Granted, Judged};
pub use evaluate::{Evaluated, NoSuchClient, Supposed};
use judge::{Ask, Asker, Pass};
pub use not_signed::{Fault, NotSigned, QUARANTINED, Refusal, Rejection};
use permissions::Permissions;
use report::Account;
pub use report::{BASELINE_MOVED, CLOCK_DISAGREEMENT, EVENTS, POLICY_ALARM};

/// All that the path needs and all cores share.
pub struct Gate {
    /// The network whose duties are signed here.
    pub network: Network,
    /// Its genesis validators root.
    pub genesis_validators_root: Root,
    /// Time.
    pub clock: Clock,
    /// The network's slots.
    pub slots: SlotClock,
    /// The keys.
    pub validators: Validators,
    /// The slashing store.
    pub store: Arc<Store>,
    /// The way to its disk.
    pub recorder: Recorder,
    /// The policy, and what is normal.
    pub judgement: Judgement,
    /// What follows from verdicts, and the log that they are written to.
    pub response: Response,
    /// Exits and deposits.
    pub permissions: Permissions,
    /// How much is taken on at once.
    pub admission: Admission,
    /// Results that twins share.
    pub in_flight: InFlight,
    /// What holds the signers' signatures against the keys.
    pub verifier: Arc<Verifier>,
    /// The figures.
    pub metrics: Arc<Metrics>,
    /// Whether spans are made of requests, and where they go.
    pub tracer: Tracer,
    /// How much is said of bad requests.
    pub log_limit: LogLimit,
    /// How many epochs a vote's target may lie behind the present one.
    pub min_target_age_epochs: u64,
    /// How long a request may take in all.
    pub budget: Duration,
}

/// A request as it came in, its body still on the wire.
pub struct Arrival<B> {
    /// Whose it is.
    pub client: Arc<Client>,
    /// Where it came from.
    pub peer: SocketAddr,
    /// The last segment of its path.
    pub identifier: String,
    /// What is known of who sent it, beside the name.
    pub asker: Asker,
    /// What it is called.
    pub trace: RequestTrace,
    /// Its body.
    pub body: B,
}

/// A signature, released.
#[derive(Debug)]
pub struct Signed {
    /// The signer's answer.
    pub signature: Signature,
}

/// The path on one core: the shared gate, and this core's own connections to the signers.
pub struct Path {
    gate: Arc<Gate>,
    upstream: Rc<Upstreams>,
    turns: Turns,
    bell: Bell,
}

impl Path {
    /// The path of `gate` over `upstream`. Must be called where `spawn_local` works.
    pub fn new(gate: Arc<Gate>, upstream: Rc<Upstreams>) -> Self {
        Self { gate, upstream, turns: Turns::default(), bell: Bell::new() }
    }

    /// What all cores share.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Signs, or says why not. Run it in a task of its own: the client may hang up.
    pub async fn sign<B>(&self, arrival: Arrival<B>) -> Result<Signed, NotSigned>
    where
        B: Future<Output = Result<ReceivedBody, BodyError>>,
    {
        let Arrival { client, peer, identifier, asker, trace, body } = arrival;
        let mut account = Account::open(client, peer, &identifier, trace);
        let result = self.try_sign(&identifier, asker, body, &mut account).await;
        account.close(&self.gate, &result);
        result
    }

    async fn try_sign<B>(
        &self,
        identifier: &str,
        asker: Asker,
        body: B,
        account: &mut Account,
    ) -> Result<Signed, NotSigned>
    where
        B: Future<Output = Result<ReceivedBody, BodyError>>,
    {
        let gate = &*self.gate;
        let body = body.await?;
        let deadline = deadline(gate.budget);
        account.done(gate, Stage::Read);

        let request = request::parse(&body)?;
        account.parsed(gate, &request);
        let class = class_of(request.duty.kind());
        // With half of its time left at least: a signature takes that long at worst.
        let turn = self.turns.wait(class, deadline - gate.budget / 2).await;
        let turn = turn.ok_or_else(|| gate.overloaded(class))?;
        let _admitted = gate.admit(class)?;
        let key: PublicKey = identifier.parse().map_err(|_| Rejection::BadIdentifier)?;

        let now = gate.clock.now();
        account.came_at(now);
        let root = content::root(gate, &request, now, account.request_id())?;
        account.rooted(gate, root);

        let row = gate.resolve(&key)?;
        let source = asker.source(gate, account.client(), request.style);
        account.resolved(row, source);
        account.reserve(gate)?;
        let ask = Ask { duty: &request.duty, root, proofs: &request.proofs, source };
        let judged = match gate.decide(row, &ask, now, Pass::First)? {
            Decided::Granted(judged) => judged,
            Decided::HoldUntil(until) => {
                drop(turn); // others have theirs meanwhile
                gate.hold(row, &ask, (now, until), deadline).await?
            }
        };
        account.judged(judged.seen.group, judged.decision);
        account.done(gate, Stage::Decide);

        let permit = self.permit(judged.granted, judged.lease, deadline).await?;
        account.done(gate, Stage::Record);

        let encode = |root: &_| {
            request::encode(&request.duty, request.fork_info.as_ref(), root, &gate.network)
        };
        let forwarded_at = gate.clock.now();
        let forward = Forward {
            row,
            kind: request.duty.kind(),
            class,
            now: forwarded_at,
            until: forwarded_at.after(gate.budget),
            lease_end: gate.store.lease_end(),
            slot: gate.slots.slot(now),
            deadline,
            trace: account.outgoing(),
            encode: &encode,
        };
        account.permitted(&permit);
        account.before_release(gate, deadline).await?;
        let forwarded = self.upstream.forward(permit, &gate.in_flight, forward).await?;
        account.forwarded(gate, &forwarded);
        judge::learn(gate, row, &judged.seen, &OF_ONE_SIGNER);
        Ok(Signed { signature: forwarded.signature })
    }

    /// The permit, once its record is on disk, and the key's new owner where it has one.
    async fn permit(
        &self,
        granted: Granted,
        lease: Option<LeaseWrite>,
        deadline: Instant,
    ) -> Result<Permit, NotSigned> {
        let permit = match granted {
            Granted::AtOnce(permit) => permit,
            Granted::Recorded(pending) => {
                let durable = self.bell.hear(pending);
                timeout_at(deadline, durable).await.map_err(|_| Fault::RecordTimeout)??
            }
        };
        if let Some(write) = lease {
            timeout_at(deadline, write).await.map_err(|_| Fault::RecordTimeout)?;
        }
        Ok(permit)
    }
}

impl Gate {
    fn resolve(&self, key: &PublicKey) -> Result<RowIndex, Rejection> {
        match self.validators.standing(&slashing_db::PublicKey(key.0)) {
            Standing::Enrolled(row) => Ok(row),
            Standing::Awaiting => Err(Rejection::AwaitingEnrolment),
            Standing::Unknown => Err(Rejection::UnknownKey),
        }
    }

    /// Steps 5, 6 and 7: all that the path does between knowing what is asked and forwarding it.
    /// A simulation drives it too, which has neither sockets nor a signer.
    ///
    /// # Errors
    /// [`NotSigned`]; the watermark is where it was.
    pub fn decide(
        &self,
        row: RowIndex,
        ask: &Ask<'_>,
        now: Now,
        pass: Pass,
    ) -> Result<Decided, NotSigned> {
        decide(self, row, ask, now, pass)
    }

    /// Waits until a moment of Unix time, in milliseconds, and no longer than leaves time for the
    /// signer; then steps 5, 6 and 7 once more, by what is known then.
    async fn hold(
        &self,
        row: RowIndex,
        ask: &Ask<'_>,
        (now, until_unix_ms): (Now, u64),
        deadline: Instant,
    ) -> Result<Judged, NotSigned> {
        let wait = until_unix_ms.saturating_sub(now.unix_ns / 1_000_000);
        let until = crate::clock::deadline(Duration::from_millis(wait));
        sleep_until(until.min(deadline - self.budget / 2)).await;
        match self.decide(row, ask, self.clock.now(), Pass::AfterHold)? {
            Decided::Granted(judged) => Ok(judged),
            Decided::HoldUntil(_) => Err(Fault::Bug("a request was to be held twice").into()),
        }
    }

    fn admit(&self, class: DutyClass) -> Result<Admitted<'_>, Fault> {
        self.admission.admit(class).ok_or_else(|| self.overloaded(class))
    }

    fn overloaded(&self, class: DutyClass) -> Fault {
        self.metrics.overloaded(class).inc();
        Fault::Overloaded { class }
    }

    /// The oldest target that may still be voted for.
    fn target_epoch_min(&self, now: Now) -> Epoch {
        Epoch(self.slots.epoch(now).0.saturating_sub(self.min_target_age_epochs))
    }
}

/// A signer that holds the whole key: there are no shares to tell apart.
const OF_ONE_SIGNER: Outcome = Outcome { shares: None, chosen_by_gate: false };
