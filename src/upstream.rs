//! The signers behind the gate.
//!
//! | level | file | what it decides |
//! |---|---|---|
//! | the same root is asked for twice | `in_flight.rs` | the second joins the first |
//! | which set of signers has the key | `routing.rs` | learned from their key lists |
//! | which replica of it is asked | `replicas.rs`, `choice.rs`, `breaker.rs` | failover, hedge |
//! | one replica is asked | `replica.rs`, `web3signer.rs` | what its answer is worth |
//! | its answer is released, or not | `verify.rs` | held against the key and the root |
//! | a connection, its class, its deadline | `client.rs` | pooled, bounded |
//!
//! Beside the path, [`discovery`] asks every replica whether it is there and which keys it has.

use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use slashing_db::{BootTime, Permit};
use thiserror::Error;
use tokio::time::Instant;

use crate::clock::Now;
use crate::eth::{DutyKind, PublicKey, Signature, SigningRoot, Slot};
use crate::limits::DutyClass;
use crate::sign::{Fault, NotSigned};
use crate::trace::TraceHeaders;
use crate::validators::RowIndex;

pub mod breaker;
mod choice;
pub mod client;
pub mod discovery;
pub mod in_flight;
pub mod replica;
pub mod replicas;
pub mod routing;
pub mod signers;
pub mod tls;
pub mod verify;
pub mod web3signer;

pub use in_flight::InFlight;
use replica::{Attempt, Blame, Question, Replica};
use replicas::Replicas;
use signers::Signers;

/// All signers, as seen from one core: connections are not shared between cores.
pub struct Upstreams {
    signers: Arc<Signers>,
    sets: Vec<Upstream>, // in the order of `signers.sets`
}

/// Where the signatures of a set of keys come from.
pub enum Upstream {
    /// Signers that speak Web3Signer's API and hold the same keys.
    Web3Signer(Replicas),
}

/// What went wrong at the signer, or on the way to it. Nothing was released.
#[derive(Debug, Error)]
pub enum UpstreamFault {
    /// The signer could not be reached, or did not answer in time.
    #[error("the signer could not be asked")]
    Transport(#[from] client::UpstreamError),
    /// The signer does not hold a key that is enabled here.
    #[error("the signer does not have this key; check the signer's key configuration")]
    UnknownKey,
    /// The signer refused (412) what our store had permitted: one of the two stores is wrong.
    #[error(
        "the signer refused a duty that the slashing store here had permitted; compare the two stores"
    )]
    Refused,
    /// The signer answered with another status.
    #[error("the signer answered with status {0}")]
    Status(u16),
    /// The signer answered 200 with something that is not a signature.
    #[error("the signer answered with {bytes} bytes that are not a BLS signature")]
    NotASignature {
        /// The length of its answer.
        bytes: usize,
    },
    /// The signer answered 200 with something that is not a list of public keys.
    #[error("the signer's list of public keys cannot be read")]
    NotAKeyList(#[source] serde_json::Error),
    /// The signer answered 200 with 96 bytes that are not the key's signature over this root. The
    /// event `bad_signature` has the evidence.
    #[error("the signer's answer was not released: {0}")]
    BadSignature(verify::Defect),
    /// The answer could not be verified before the client's time was up.
    #[error(
        "the signer's answer could not be verified in time; give verification more threads or the gate \
         more cores"
    )]
    VerifyTimeout,
    /// The thread that verified the answer failed.
    #[error("the signer's answer could not be verified: an internal fault; please report it")]
    VerifyFailed,
    /// The request that this one had joined ended without a result.
    #[error("the request for the same root that was already under way ended without a result")]
    Abandoned,
}

impl UpstreamFault {
    /// Every code, for the metrics' labels.
    pub const CODES: [&str; 20] = [
        "upstream_connect",
        "upstream_tls",
        "upstream_timeout_queue",
        "upstream_timeout_connect",
        "upstream_timeout_response",
        "upstream_timeout_body",
        "upstream_reset",
        "upstream_protocol",
        "upstream_request",
        "upstream_body_too_large",
        "upstream_overloaded",
        "upstream_unknown_key",
        "upstream_refused",
        "upstream_status",
        "upstream_not_a_signature",
        "upstream_not_a_key_list",
        "upstream_bad_signature",
        "upstream_verify_timeout",
        "upstream_verify_failed",
        "upstream_abandoned",
    ];

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Transport(error) => error.code(),
            Self::UnknownKey => "upstream_unknown_key",
            Self::Refused => "upstream_refused",
            Self::Status(_) => "upstream_status",
            Self::NotASignature { .. } => "upstream_not_a_signature",
            Self::NotAKeyList(_) => "upstream_not_a_key_list",
            Self::BadSignature(_) => "upstream_bad_signature",
            Self::VerifyTimeout => "upstream_verify_timeout",
            Self::VerifyFailed => "upstream_verify_failed",
            Self::Abandoned => "upstream_abandoned",
        }
    }

    /// Whether the signer has said no, so that to ask it again brings nothing else.
    pub fn is_verdict(&self) -> bool {
        match self {
            Self::UnknownKey | Self::Refused => true,
            Self::Transport(_)
            | Self::Status(_)
            | Self::NotASignature { .. }
            | Self::NotAKeyList(_)
            | Self::BadSignature(_)
            | Self::VerifyTimeout
            | Self::VerifyFailed
            | Self::Abandoned => false,
        }
    }
    /// What it says of the replica that was asked.
    pub fn blame(&self) -> Blame {
        use client::UpstreamError;
        match self {
            Self::Transport(UpstreamError::Request(_) | UpstreamError::Overloaded)
            | Self::UnknownKey
            | Self::Refused
            | Self::BadSignature(verify::Defect::InvalidKey)
            | Self::VerifyTimeout
            | Self::VerifyFailed
            | Self::Abandoned => Blame::Nobody,
            Self::Transport(
                UpstreamError::Connect(_)
                | UpstreamError::Tls(_)
                | UpstreamError::Timeout { .. }
                | UpstreamError::Reset(_)
                | UpstreamError::Protocol(_)
                | UpstreamError::BodyTooLarge { .. },
            )
            | Self::Status(_)
            | Self::NotAKeyList(_) => Blame::Failure,
            Self::NotASignature { .. } | Self::BadSignature(verify::Defect::Signature(_)) => {
                Blame::WrongAnswer
            }
        }
    }

    /// Of several faults the one with the most to tell is answered: a refusal is an alarm, a wrong
    /// answer is worse than none, and that a replica lacks a key says least.
    fn weight(&self) -> u8 {
        match self {
            Self::Refused => 3,
            Self::NotASignature { .. } | Self::NotAKeyList(_) | Self::BadSignature(_) => 2,
            Self::Transport(_) | Self::Status(_) | Self::VerifyTimeout | Self::VerifyFailed => 1,
            Self::UnknownKey | Self::Abandoned => 0,
        }
    }
}

/// Why no replica gave a signature.
#[derive(Debug, Error)]
#[error("{fault}")]
pub struct UpstreamFailure {
    /// The most telling fault, and of equal ones the last.
    pub fault: UpstreamFault,
    /// Every replica that was asked, in the order of their ends, with the code of its fault.
    pub attempts: Vec<(Arc<Replica>, &'static str)>,
}

impl UpstreamFailure {
    /// The request that was joined ended without a result.
    pub(crate) fn abandoned() -> Self {
        Self { fault: UpstreamFault::Abandoned, attempts: Vec::new() }
    }

    /// The stable code of the most telling fault.
    pub fn code(&self) -> &'static str {
        self.fault.code()
    }

    /// Who was asked, in one line: `set/replica code, set/replica code`.
    pub fn attempts(&self) -> String {
        let mut line = String::new();
        for (replica, code) in &self.attempts {
            let comma = if line.is_empty() { "" } else { ", " };
            let _ = write!(line, "{comma}{}/{} {code}", replica.upstream, replica.name);
        }
        line
    }

    fn add(failure: &mut Option<Self>, attempt: Attempt) {
        Self::merge(failure, Self::from(attempt));
    }

    fn merge(failure: &mut Option<Self>, later: Self) {
        match failure {
            None => *failure = Some(later),
            Some(failure) => {
                failure.attempts.extend(later.attempts);
                if later.fault.weight() >= failure.fault.weight() {
                    failure.fault = later.fault;
                }
            }
        }
    }
}

impl From<Attempt> for UpstreamFailure {
    fn from(Attempt { replica, fault }: Attempt) -> Self {
        Self { attempts: vec![(replica, fault.code())], fault }
    }
}

impl From<UpstreamFault> for UpstreamFailure {
    fn from(fault: UpstreamFault) -> Self {
        Self { fault, attempts: Vec::new() }
    }
}

/// What a permit is exchanged for.
pub struct Forwarded {
    /// The signer's answer.
    pub signature: Signature,
    /// Whether another request for the same root had fetched it.
    pub joined: bool,
}

/// One duty on its way to the signer.
pub struct Forward<'a> {
    /// The key's place in the table: it says which set of signers has the key.
    pub row: RowIndex,
    /// Its type.
    pub kind: DutyKind,
    /// Its class, for the order among those that wait for a connection.
    pub class: DutyClass,
    /// The clocks, read just now: a lapsed lease forwards nothing.
    pub now: Now,
    /// The last moment at which the request may still leave: the lease must cover it.
    pub until: Now,
    /// When the lease ends unless it is renewed.
    pub lease_end: BootTime,
    /// The present slot: finished results are kept for two.
    pub slot: Slot,
    /// When the client stops waiting.
    pub deadline: Instant,
    /// The trace that it belongs to, if any.
    pub trace: Option<TraceHeaders>,
    /// Makes the body for the root that the permit carries.
    pub encode: &'a dyn Fn(&SigningRoot) -> Vec<u8>,
}

impl Upstreams {
    /// The signers behind `sets`, which stand in the order of `signers.sets`.
    pub fn new(signers: Arc<Signers>, sets: Vec<Upstream>) -> Self {
        assert_eq!(signers.sets.len(), sets.len(), "every set has its connections");
        Self { signers, sets }
    }

    /// Spends `permit`: one permit buys one forward, for the key and the root that it carries. It
    /// may ask several replicas, all for that same root.
    ///
    /// # Errors
    /// A lapsed lease, before anything is sent; otherwise what went wrong at the signers.
    pub async fn forward(
        self: &Rc<Self>,
        permit: Permit,
        in_flight: &InFlight,
        duty: Forward<'_>,
    ) -> Result<Forwarded, NotSigned> {
        let redeemed = permit.redeem(duty.now.boot)?;
        if duty.lease_end < duty.until.boot {
            return Err(Fault::LeaseEnding.into());
        }
        let key = PublicKey(redeemed.public_key().0);
        let root = SigningRoot(redeemed.signing_root().0);
        let ask = || async {
            let body = Bytes::from((duty.encode)(&root));
            let question = Question {
                kind: duty.kind,
                class: duty.class.into(),
                key_id: redeemed.id(),
                key,
                root,
                slot: duty.slot,
                body,
                trace: duty.trace.clone(),
            };
            self.ask(duty.row, &question, duty.deadline).await
        };
        let (outcome, joined) =
            in_flight.join_or_ask(key, root, duty.slot, duty.deadline, ask).await;
        let signature = outcome.map_err(|failure| NotSigned::from(Arc::clone(&failure)))?;
        Ok(Forwarded { signature, joined })
    }

    /// Asks the set that has the key. Where that is not known, or the set says that it has the key
    /// no more, the others are asked one after the other, each for its part of the time.
    async fn ask(
        &self,
        row: RowIndex,
        question: &Question,
        deadline: Instant,
    ) -> Result<Signature, UpstreamFailure> {
        if let [only] = &*self.sets {
            return only.sign(question, deadline).await;
        }
        let routing = &self.signers.routing;
        let own = routing.set_of(row);
        let mut failure = None;
        let mut sets_left = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        for set in routing.candidates(row) {
            let is_own = own == Some(set);
            let left = deadline.saturating_duration_since(Instant::now());
            let by = if is_own { deadline } else { Instant::now() + left / sets_left };
            sets_left -= 1;
            match self.sets[set].sign(question, by).await {
                Ok(signature) => {
                    if !is_own {
                        routing.learn(row, set);
                    }
                    return Ok(signature);
                }
                Err(later) => {
                    let has_key = is_own && !matches!(later.fault, UpstreamFault::UnknownKey);
                    let is_refusal = matches!(later.fault, UpstreamFault::Refused);
                    UpstreamFailure::merge(&mut failure, later);
                    if has_key || is_refusal {
                        break;
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(UpstreamFailure::abandoned))
    }
}

impl Upstream {
    async fn sign(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> Result<Signature, UpstreamFailure> {
        match self {
            Self::Web3Signer(replicas) => replicas.sign(question, deadline).await,
        }
    }
}

impl From<DutyClass> for client::Class {
    fn from(class: DutyClass) -> Self {
        match class {
            DutyClass::Proposal => Self::new(0),
            DutyClass::Attestation => Self::new(1),
            DutyClass::Aggregate => Self::new(2),
            DutyClass::SelectionProof => Self::new(3),
            DutyClass::Registration => Self::new(4),
        }
    }
}
