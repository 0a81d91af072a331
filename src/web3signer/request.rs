//! The body of a request for a signature: read from clients, written for upstream signers.
//!
//! Read in one pass whatever the order of its keys: each object key of the dialect is an optional
//! field, and `type` says afterwards which of them counts. What the dialect does not know is
//! ignored at every level; what it knows may stand there only once.

use serde::Deserialize;

use crate::eth::block::{BeaconBlock, BeaconBlockHeader};
use crate::eth::duty::{
    AggregateAndProof, AggregationSlot, Attestation, AttestationData, BlockV2,
    ContributionAndProof, Deposit, RandaoReveal, SyncAggregatorSelectionData, SyncCommitteeMessage,
    ValidatorRegistration, VoluntaryExit,
};
use crate::eth::types::{ExecutionAddress, Root, Signature, Uint64};
use crate::eth::{Duty, DutyKind, ForkInfo, ForkName, SigningRoot};

mod encode;
mod name;

pub use encode::encode;
use name::{AnyCaseVersion, TypeName, UpperCaseVersion};

/// What a client asks to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    /// The message.
    pub duty: Duty,
    /// The fork and the network, as the client sees them; `None` for the types whose domain has
    /// neither, whatever the client sent.
    pub fork_info: Option<ForkInfo>,
    /// The signing root that the client computed, if it says so.
    pub claimed_root: Option<SigningRoot>,
    /// What the client proves of the block's body (Nimbus's `verifying-web3signer`).
    pub proofs: Vec<BodyProof>,
    /// How the client writes: the same for every type of duty.
    pub style: Style,
}

/// A Merkle proof of one field of a block's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyProof {
    /// The field's generalized index in the body.
    pub index: u64,
    /// The siblings, from the leaf up.
    pub branch: Vec<Root>,
    /// The leaf, if the client says it.
    pub leaf: Option<Root>,
}

/// How a client writes JSON, as far as it does not depend on what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Style {
    /// Which member comes first.
    pub first: Member,
    /// Whether white space follows the first colon.
    pub is_spaced: bool,
    /// Whether the client says what root it expects.
    pub claims_root: bool,
}

/// A member of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Member {
    /// `type`
    Type,
    /// `fork_info`
    ForkInfo,
    /// `signingRoot`
    SigningRoot,
    /// `signing_root`
    SigningRootSnakeCase,
    /// `proofs`
    Proofs,
    /// What is asked about, or a member that the dialect does not have.
    Object,
}

impl Style {
    fn of(body: &[u8], claims_root: bool) -> Self {
        let after = |bytes: &[u8], byte: u8| bytes.iter().position(|it| *it == byte);
        let name = after(body, b'"').map_or(&body[..0], |quote| &body[quote + 1..]);
        let (name, rest) = name.split_at(after(name, b'"').unwrap_or(0));
        let first = match name {
            b"type" => Member::Type,
            b"fork_info" => Member::ForkInfo,
            b"signingRoot" => Member::SigningRoot,
            b"signing_root" => Member::SigningRootSnakeCase,
            b"proofs" => Member::Proofs,
            _ => Member::Object,
        };
        let is_spaced = rest.get(2).is_some_and(u8::is_ascii_whitespace);
        Self { first, is_spaced, claims_root }
    }
}

/// Why a body is not a request: the client has to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no body.
    #[error("the body is empty")]
    Empty,
    /// The body is something else than a JSON object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// The body is not JSON, or a field has a value of another kind.
    #[error("{field}: {problem}")]
    Field {
        /// The path of the field, `body` if it is the whole.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A field is missing.
    #[error("{field}: missing")]
    Missing {
        /// The path of the field.
        field: &'static str,
    },
    /// The object that the type is about is missing.
    #[error("{field}: missing, and {kind} is about it")]
    MissingObject {
        /// The type.
        kind: DutyKind,
        /// The object's key.
        field: &'static str,
    },
    /// `fork_info` is missing, and the type needs it.
    #[error("fork_info: missing, and {kind} cannot be signed without it")]
    MissingForkInfo {
        /// The type.
        kind: DutyKind,
    },
    /// A type that nobody knows.
    #[error("type: {found:?} is not known")]
    UnknownType {
        /// The beginning of what was asked for.
        found: String,
    },
    /// A type that exists and is not supported.
    #[error("type: {kind} is not supported yet; it is signed from Gloas on")]
    NotSupported {
        /// Its name.
        kind: &'static str,
    },
}

/// The envelope, with every object that a type can be about.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: Option<TypeName>,
    #[serde(rename = "signingRoot", alias = "signing_root")]
    claimed_root: Option<SigningRoot>,
    fork_info: Option<ForkInfo>,
    attestation: Option<AttestationData>,
    block: Option<Box<BeaconBlock>>,
    beacon_block: Option<VersionedBlock>,
    randao_reveal: Option<RandaoReveal>,
    deposit: Option<Deposit>,
    voluntary_exit: Option<VoluntaryExit>,
    aggregation_slot: Option<AggregationSlot>,
    aggregate_and_proof: Option<Box<VersionedAggregate>>,
    sync_committee_message: Option<SyncCommitteeMessage>,
    sync_aggregator_selection_data: Option<SyncAggregatorSelectionData>,
    contribution_and_proof: Option<Box<ContributionAndProof>>,
    validator_registration: Option<ValidatorRegistration>,
    proofs: Option<Vec<RawProof>>,
}

/// One of `proofs`. What has no index proves nothing.
#[derive(Deserialize)]
struct RawProof {
    index: Option<Uint64>,
    proof: Option<Vec<Root>>,
    value: Option<ProvenValue>,
}

/// A leaf: 32 bytes as they are, or an address, which is padded.
#[derive(Deserialize)]
#[serde(untagged)]
enum ProvenValue {
    Leaf(Root),
    Address(ExecutionAddress),
}

/// `beacon_block`: a whole block or a header, by `version`.
#[derive(Deserialize)]
struct VersionedBlock {
    version: Option<UpperCaseVersion>,
    block: Option<Box<BeaconBlock>>,
    block_header: Option<BeaconBlockHeader>,
}

/// `aggregate_and_proof`: bare, or within `data` next to a `version` that nothing depends on.
#[derive(Deserialize)]
struct VersionedAggregate {
    #[serde(rename = "version")]
    _version: Option<AnyCaseVersion>,
    data: Option<Box<AggregateAndProof>>,
    aggregator_index: Option<Uint64>,
    aggregate: Option<Attestation>,
    selection_proof: Option<Signature>,
}

/// Parses the body of a request.
///
/// # Errors
/// Says which field is missing or what is wrong with it.
pub fn parse(body: &[u8]) -> Result<SigningRequest, RequestError> {
    match body.trim_ascii_start().first() {
        Some(b'{') => {}
        Some(_) => return Err(RequestError::NotAnObject),
        None => return Err(RequestError::Empty),
    }
    let mut envelope: Envelope =
        serde_json::from_slice(body).map_err(|error| explain(body, &error))?;
    let kind = match &envelope.kind {
        Some(TypeName::Known(kind)) => *kind,
        Some(TypeName::NotSupported(kind)) => return Err(RequestError::NotSupported { kind }),
        Some(TypeName::Unknown(found)) => {
            return Err(RequestError::UnknownType { found: found.clone() });
        }
        None => return Err(RequestError::Missing { field: "type" }),
    };
    let claimed_root = envelope.claimed_root;
    let fork_info = envelope.fork_info.take().filter(|_| kind.needs_fork_info());
    let proofs = envelope.proofs.take().unwrap_or_default();
    let proofs = proofs.into_iter().filter_map(RawProof::into_proof).collect();
    let duty = envelope.duty(kind)?;
    if kind.needs_fork_info() && fork_info.is_none() {
        return Err(RequestError::MissingForkInfo { kind });
    }
    let style = Style::of(body, claimed_root.is_some());
    Ok(SigningRequest { duty, fork_info, claimed_root, proofs, style })
}

impl RawProof {
    fn into_proof(self) -> Option<BodyProof> {
        let Uint64(index) = self.index?;
        let leaf = self.value.map(|value| match value {
            ProvenValue::Leaf(leaf) => leaf,
            ProvenValue::Address(address) => address.tree_hash_root(),
        });
        Some(BodyProof { index, branch: self.proof.unwrap_or_default(), leaf })
    }
}

impl Envelope {
    fn duty(self, kind: DutyKind) -> Result<Duty, RequestError> {
        let missing = |field| RequestError::MissingObject { kind, field };
        match kind {
            DutyKind::Attestation => {
                self.attestation.map(Duty::Attestation).ok_or_else(|| missing("attestation"))
            }
            DutyKind::Block => {
                self.block.map(phase0).map(Duty::Block).ok_or_else(|| missing("block"))
            }
            DutyKind::BlockV2 => {
                let block = self.beacon_block.ok_or_else(|| missing("beacon_block"))?;
                block.into_block().map(Duty::BlockV2)
            }
            DutyKind::RandaoReveal => {
                self.randao_reveal.map(Duty::RandaoReveal).ok_or_else(|| missing("randao_reveal"))
            }
            DutyKind::Deposit => self.deposit.map(Duty::Deposit).ok_or_else(|| missing("deposit")),
            DutyKind::VoluntaryExit => self
                .voluntary_exit
                .map(Duty::VoluntaryExit)
                .ok_or_else(|| missing("voluntary_exit")),
            DutyKind::AggregationSlot => self
                .aggregation_slot
                .map(Duty::AggregationSlot)
                .ok_or_else(|| missing("aggregation_slot")),
            DutyKind::AggregateAndProof | DutyKind::AggregateAndProofV2 => {
                let object = self.aggregate_and_proof;
                let object = object.ok_or_else(|| missing("aggregate_and_proof"))?.into_bare()?;
                Ok(if kind == DutyKind::AggregateAndProof {
                    Duty::AggregateAndProof(object)
                } else {
                    Duty::AggregateAndProofV2(object)
                })
            }
            DutyKind::SyncCommitteeMessage => self
                .sync_committee_message
                .map(Duty::SyncCommitteeMessage)
                .ok_or_else(|| missing("sync_committee_message")),
            DutyKind::SyncCommitteeSelectionProof => self
                .sync_aggregator_selection_data
                .map(Duty::SyncCommitteeSelectionProof)
                .ok_or_else(|| missing("sync_aggregator_selection_data")),
            DutyKind::SyncCommitteeContributionAndProof => self
                .contribution_and_proof
                .map(Duty::SyncCommitteeContributionAndProof)
                .ok_or_else(|| missing("contribution_and_proof")),
            DutyKind::ValidatorRegistration => self
                .validator_registration
                .map(Duty::ValidatorRegistration)
                .ok_or_else(|| missing("validator_registration")),
        }
    }
}

/// The block without what only altair knows.
fn phase0(mut block: Box<BeaconBlock>) -> Box<BeaconBlock> {
    block.body.sync_aggregate = None;
    block
}

impl VersionedBlock {
    fn into_block(self) -> Result<BlockV2, RequestError> {
        let missing = |field| RequestError::Missing { field };
        let Some(UpperCaseVersion(version)) = self.version else {
            return Err(missing("beacon_block.version"));
        };
        match version {
            ForkName::Phase0 => {
                let block = self.block.ok_or_else(|| missing("beacon_block.block"))?;
                Ok(BlockV2::Phase0(phase0(block)))
            }
            ForkName::Altair => {
                let block = self.block.ok_or_else(|| missing("beacon_block.block"))?;
                if block.body.sync_aggregate.is_none() {
                    return Err(missing("beacon_block.block.body.sync_aggregate"));
                }
                Ok(BlockV2::Altair(block))
            }
            ForkName::Bellatrix
            | ForkName::Capella
            | ForkName::Deneb
            | ForkName::Electra
            | ForkName::Fulu
            | ForkName::Gloas
            | ForkName::Heze => {
                let header = self.block_header;
                let header = header.ok_or_else(|| missing("beacon_block.block_header"))?;
                Ok(BlockV2::Header { version, header })
            }
        }
    }
}

impl VersionedAggregate {
    fn into_bare(self) -> Result<Box<AggregateAndProof>, RequestError> {
        if let Some(data) = self.data {
            return Ok(data);
        }
        let missing = |field| RequestError::Missing { field };
        let Some(Uint64(aggregator_index)) = self.aggregator_index else {
            return Err(missing("aggregate_and_proof.aggregator_index"));
        };
        let Some(aggregate) = self.aggregate else {
            return Err(missing("aggregate_and_proof.aggregate"));
        };
        let Some(selection_proof) = self.selection_proof else {
            return Err(missing("aggregate_and_proof.selection_proof"));
        };
        Ok(Box::new(AggregateAndProof { aggregator_index, aggregate, selection_proof }))
    }
}

/// Reads a body that does not parse once more, to say where it does not.
///
/// Keeping the path costs time, which a good request need not pay.
#[cold]
fn explain(body: &[u8], error: &serde_json::Error) -> RequestError {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let path = match serde_path_to_error::deserialize::<_, Envelope>(&mut reader) {
        Err(located) => located.path().to_string(),
        Ok(_) => ".".to_owned(), // what is wrong stands behind the object
    };
    // A step that broke off before its name was whole is told as `?`.
    let field = match path.trim_end_matches('?').trim_end_matches('.') {
        "" => "body".to_owned(),
        // A key of a stranger can be part of the path.
        path => path.chars().filter(|char| !char.is_control()).take(120).collect(),
    };
    RequestError::Field { field, problem: shorten(error.to_string()) }
}

/// The two ends of a message that quotes a stranger's text: what was found, what was expected.
fn shorten(message: String) -> String {
    let ends = (message.char_indices().nth(END_CHARS), message.char_indices().nth_back(END_CHARS));
    match ends {
        (Some((head, _)), Some((tail, _))) if head < tail => {
            format!("{} [...] {}", &message[..head], &message[tail..])
        }
        (_, _) => message,
    }
}

const END_CHARS: usize = 120;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;
