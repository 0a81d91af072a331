//! The signers behind the gate.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use slashing_db::{BootTime, Permit};
use thiserror::Error;
use tokio::time::Instant;

use crate::clock::Now;
use crate::eth::{PublicKey, Signature, SigningRoot, Slot};
use crate::limits::DutyClass;
use crate::sign::{Fault, NotSigned};
use crate::trace::TraceHeaders;

pub mod client;
pub mod discovery;
pub mod in_flight;
pub mod web3signer;

pub use in_flight::InFlight;
use web3signer::Web3Signer;

/// Where a key's signatures come from. One per core: connections are not shared between cores.
pub enum Upstream {
    /// A signer that speaks Web3Signer's API.
    Web3Signer(Web3Signer),
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
    /// The request that this one had joined ended without a result.
    #[error("the request for the same root that was already under way ended without a result")]
    Abandoned,
}

impl UpstreamFault {
    /// Every code, for the metrics' labels.
    pub const CODES: [&str; 16] = [
        "upstream_connect",
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
            | Self::Abandoned => false,
        }
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

impl Upstream {
    /// Spends `permit`: one permit buys one forward, for the key and the root that it carries.
    ///
    /// # Errors
    /// A lapsed lease, before anything is sent; otherwise what went wrong at the signer.
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
            let trace = duty.trace.as_ref();
            let body = Bytes::from((duty.encode)(&root));
            match &**self {
                Self::Web3Signer(signer) => {
                    signer.sign(duty.class.into(), &key, body, duty.deadline, trace).await
                }
            }
        };
        let (outcome, joined) =
            in_flight.join_or_ask(key, root, duty.slot, duty.deadline, ask).await;
        let signature = outcome.map_err(|fault| NotSigned::from(Arc::clone(&fault)))?;
        Ok(Forwarded { signature, joined })
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
