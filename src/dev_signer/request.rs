//! The body of a sign request, as far as the development signer looks at it: the type, the signing
//! root, and the slots and epochs that the signing log keeps.
//!
//! What is absent and what is malformed are told apart as Web3Signer does: an absent object or
//! field is a failure (500), anything else that is wrong is a bad request (400).

#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::hex::Hex;
use super::sign_type::SignType;

/// What of a message the signing log keeps: whatever the type has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The slot of a block, an attestation, an aggregate or a sync committee duty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u64>,
    /// The source epoch of an attestation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_epoch: Option<u64>,
    /// The target epoch of an attestation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_epoch: Option<u64>,
    /// The epoch of a RANDAO reveal or of an exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// A sign request that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignRequest {
    /// What is to be signed.
    pub sign_type: SignType,
    /// The root that is signed as it is, without recomputing it.
    pub signing_root: Hex<32>,
    /// What the signing log keeps of the message.
    pub subject: Subject,
}

/// Why a request cannot be answered. The client must act.
#[derive(Debug, thiserror::Error)]
pub enum SignRequestError {
    /// Not JSON, or a field of the wrong shape.
    #[error("malformed request")]
    Malformed(#[from] serde_json::Error),
    /// No signing root: the development signer does not compute it.
    #[error("signingRoot is missing, and a development signer does not compute it")]
    NoSigningRoot,
    /// `fork_info` is missing where the type needs it.
    #[error("{} needs fork_info", .0.name())]
    NoForkInfo(SignType),
    /// The object of this type, or a field in it, is missing.
    #[error("{} needs {field}", sign_type.name())]
    NoField {
        /// The type of the request.
        sign_type: SignType,
        /// What is missing.
        field: &'static str,
    },
}

impl SignRequest {
    /// Reads the body of a sign request. Unknown fields are ignored.
    pub fn parse(body: &[u8]) -> Result<Self, SignRequestError> {
        let body: Body = serde_json::from_slice(body)?;
        let sign_type = body.sign_type;
        if sign_type.needs_fork_info() && body.fork_info.is_none() {
            return Err(SignRequestError::NoForkInfo(sign_type));
        }
        let subject =
            body.subject().map_err(|field| SignRequestError::NoField { sign_type, field })?;
        let signing_root = body.signing_root.ok_or(SignRequestError::NoSigningRoot)?;
        Ok(Self { sign_type, signing_root, subject })
    }
}

/// The envelope: one object field for each type, under the type's own name for it.
#[derive(Deserialize)]
struct Body {
    #[serde(rename = "type")]
    sign_type: SignType,
    #[serde(alias = "signingRoot")]
    signing_root: Option<Hex<32>>,
    fork_info: Option<ForkInfo>,
    block: Option<AtSlot>,
    beacon_block: Option<BeaconBlock>,
    attestation: Option<Attestation>,
    aggregate_and_proof: Option<AggregateAndProof>,
    aggregation_slot: Option<AtSlot>,
    randao_reveal: Option<AtEpoch>,
    deposit: Option<IgnoredAny>,
    voluntary_exit: Option<AtEpoch>,
    sync_committee_message: Option<AtSlot>,
    sync_aggregator_selection_data: Option<AtSlot>,
    contribution_and_proof: Option<ContributionAndProof>,
    validator_registration: Option<IgnoredAny>,
}

/// Only its shape is checked: what it says matters to the root, which is not recomputed here.
#[derive(Deserialize)]
struct ForkInfo {
    #[serde(rename = "fork")]
    _fork: IgnoredAny,
    #[serde(rename = "genesis_validators_root")]
    _genesis_validators_root: Hex<32>,
}

#[derive(Deserialize)]
struct AtSlot {
    slot: Option<Uint64>,
}

#[derive(Deserialize)]
struct AtEpoch {
    epoch: Option<Uint64>,
}

/// Web3Signer takes the version in upper case only.
#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum BlockVersion {
    Phase0,
    Altair,
    Bellatrix,
    Capella,
    Deneb,
    Electra,
    Fulu,
    Gloas,
    Heze,
}

#[derive(Deserialize)]
struct BeaconBlock {
    version: BlockVersion,
    block: Option<AtSlot>,
    block_header: Option<AtSlot>,
}

#[derive(Deserialize)]
struct Attestation {
    slot: Option<Uint64>,
    source: Option<AtEpoch>,
    target: Option<AtEpoch>,
}

/// Either bare or wrapped as `{version, data}`.
#[derive(Deserialize)]
struct AggregateAndProof {
    aggregate: Option<Aggregate>,
    data: Option<WrappedAggregate>,
}

#[derive(Deserialize)]
struct WrappedAggregate {
    aggregate: Option<Aggregate>,
}

#[derive(Deserialize)]
struct Aggregate {
    data: Option<AtSlot>,
}

#[derive(Deserialize)]
struct ContributionAndProof {
    contribution: Option<AtSlot>,
}

impl Body {
    /// What the log keeps, or the name of the field that is missing.
    fn subject(&self) -> Result<Subject, &'static str> {
        match self.sign_type {
            SignType::Block => at_slot(self.block.as_ref(), "block.slot"),
            SignType::BlockV2 => self.beacon_block(),
            SignType::Attestation => self.attestation(),
            SignType::AggregateAndProof | SignType::AggregateAndProofV2 => self.aggregate(),
            SignType::AggregationSlot => {
                at_slot(self.aggregation_slot.as_ref(), "aggregation_slot.slot")
            }
            SignType::RandaoReveal => at_epoch(self.randao_reveal.as_ref(), "randao_reveal.epoch"),
            SignType::VoluntaryExit => {
                at_epoch(self.voluntary_exit.as_ref(), "voluntary_exit.epoch")
            }
            SignType::Deposit => self.deposit.as_ref().map(|_| Subject::default()).ok_or("deposit"),
            SignType::SyncCommitteeMessage => {
                at_slot(self.sync_committee_message.as_ref(), "sync_committee_message.slot")
            }
            SignType::SyncCommitteeSelectionProof => at_slot(
                self.sync_aggregator_selection_data.as_ref(),
                "sync_aggregator_selection_data.slot",
            ),
            SignType::SyncCommitteeContributionAndProof => {
                let outer = self.contribution_and_proof.as_ref();
                let contribution = outer.and_then(|outer| outer.contribution.as_ref());
                at_slot(contribution, "contribution_and_proof.contribution.slot")
            }
            SignType::ValidatorRegistration => {
                let registration = self.validator_registration.as_ref();
                registration.map(|_| Subject::default()).ok_or("validator_registration")
            }
        }
    }

    fn beacon_block(&self) -> Result<Subject, &'static str> {
        let block = self.beacon_block.as_ref().ok_or("beacon_block")?;
        match block.version {
            BlockVersion::Phase0 | BlockVersion::Altair => {
                at_slot(block.block.as_ref(), "beacon_block.block.slot")
            }
            BlockVersion::Bellatrix
            | BlockVersion::Capella
            | BlockVersion::Deneb
            | BlockVersion::Electra
            | BlockVersion::Fulu
            | BlockVersion::Gloas
            | BlockVersion::Heze => {
                at_slot(block.block_header.as_ref(), "beacon_block.block_header.slot")
            }
        }
    }

    fn attestation(&self) -> Result<Subject, &'static str> {
        let attestation = self.attestation.as_ref().ok_or("attestation")?;
        let epoch = |checkpoint: &Option<AtEpoch>| Some(checkpoint.as_ref()?.epoch?.0);
        Ok(Subject {
            slot: Some(attestation.slot.ok_or("attestation.slot")?.0),
            source_epoch: Some(epoch(&attestation.source).ok_or("attestation.source.epoch")?),
            target_epoch: Some(epoch(&attestation.target).ok_or("attestation.target.epoch")?),
            epoch: None,
        })
    }

    fn aggregate(&self) -> Result<Subject, &'static str> {
        let outer = self.aggregate_and_proof.as_ref().ok_or("aggregate_and_proof")?;
        let wrapped = outer.data.as_ref().and_then(|data| data.aggregate.as_ref());
        let aggregate = outer.aggregate.as_ref().or(wrapped).ok_or("aggregate")?;
        at_slot(aggregate.data.as_ref(), "aggregate.data.slot")
    }
}

fn at_slot(object: Option<&AtSlot>, field: &'static str) -> Result<Subject, &'static str> {
    let slot = object.and_then(|object| object.slot).ok_or(field)?;
    Ok(Subject { slot: Some(slot.0), ..Subject::default() })
}

fn at_epoch(object: Option<&AtEpoch>, field: &'static str) -> Result<Subject, &'static str> {
    let epoch = object.and_then(|object| object.epoch).ok_or(field)?;
    Ok(Subject { epoch: Some(epoch.0), ..Subject::default() })
}

/// A 64-bit number: a decimal string or a JSON number.
#[derive(Clone, Copy)]
struct Uint64(u64);

impl<'de> Deserialize<'de> for Uint64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Uint64Visitor;

        impl Visitor<'_> for Uint64Visitor {
            type Value = Uint64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a 64-bit number or a string of its decimal digits")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Uint64, E> {
                Ok(Uint64(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Uint64, E> {
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let number = text.parse().ok().filter(|_| digits).map(Uint64);
                number.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Uint64Visitor)
    }
}
