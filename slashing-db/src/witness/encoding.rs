//! The witness as text: JSON for people, with a checksum against half a file and a hasty edit.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    BadName, Binding, Claim, LeaseGrant, OwnerNonce, ReservedThrough, StoreId, WITNESS_VERSION,
    WitnessState,
};
use crate::signed::GenesisValidatorsRoot;

/// What makes a witness unbelievable.
#[derive(Debug, thiserror::Error)]
pub enum Garbled {
    /// Not the JSON of a witness: cut off, or another file.
    #[error("it is not the JSON of a witness ({0})")]
    Json(serde_json::Error),
    /// Written by another release.
    #[error("its version is {found}, this release reads {WITNESS_VERSION}")]
    Version {
        /// What it says.
        found: u64,
    },
    /// Complete, but not as it was written.
    #[error("its checksum is {found}, its content has {expected}: it was changed or is damaged")]
    Checksum {
        /// What it says.
        found: String,
        /// What its content has.
        expected: String,
    },
    /// Complete, but of names that no witness is made for.
    #[error(transparent)]
    Name(BadName),
    /// A name of a store or owner that is not 32 hexadecimal digits.
    #[error("{found:?} is no name of a store or owner")]
    Id {
        /// What it says.
        found: String,
    },
    /// Longer than any witness.
    #[error("it is longer than {max} bytes")]
    TooLong {
        /// The bound.
        max: u64,
    },
}

/// The file: version and checksum around the state.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    about: String,
    version: u64,
    checksum: String,
    witness: Value,
}

const ABOUT: &str =
    "The one live copy of a slashing protection store. Do not edit, copy or restore.";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    network: String,
    key_set: String,
    genesis_validators_root: GenesisValidatorsRoot,
    store: String,
    generation: u64,
    owner_nonce: String,
    lease: Option<LeaseGrant>,
    reserved_through: ReservedThrough,
    sequence: u64,
    sealed: bool,
    last_unix_seconds: u64,
}

impl Content {
    fn of(state: &WitnessState) -> Self {
        Self {
            network: state.binding.network.clone(),
            key_set: state.binding.key_set.clone(),
            genesis_validators_root: state.binding.genesis_validators_root,
            store: state.store.to_string(),
            generation: state.claim.generation,
            owner_nonce: state.claim.nonce.to_string(),
            lease: state.lease.clone(),
            reserved_through: state.reserved_through,
            sequence: state.sequence,
            sealed: state.sealed,
            last_unix_seconds: state.last_unix_seconds,
        }
    }

    fn into_state(self) -> Result<WitnessState, Garbled> {
        let binding = Binding::new(&self.network, &self.key_set, self.genesis_validators_root);
        Ok(WitnessState {
            binding: binding.map_err(Garbled::Name)?,
            store: StoreId(parse_id(&self.store)?),
            claim: Claim {
                generation: self.generation,
                nonce: OwnerNonce(parse_id(&self.owner_nonce)?),
            },
            lease: self.lease,
            reserved_through: self.reserved_through,
            sequence: self.sequence,
            sealed: self.sealed,
            last_unix_seconds: self.last_unix_seconds,
        })
    }
}

/// The 32 lower-case digits of [`StoreId`] and [`OwnerNonce`].
fn parse_id(text: &str) -> Result<[u8; 16], Garbled> {
    let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let id = if digits && text.len() == 32 { u128::from_str_radix(text, 16).ok() } else { None };
    id.map(u128::to_be_bytes).ok_or_else(|| Garbled::Id { found: text.to_owned() })
}

/// CRC-32 (IEEE 802.3) over the content in its canonical form: compact JSON, names sorted. Spaces
/// and line breaks of the file mean nothing.
fn checksum(content: &Value) -> String {
    let mut crc = u32::MAX;
    for byte in content.to_string().bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    format!("{:08x}", !crc)
}

/// The text of a witness file.
pub(super) fn encode(state: &WitnessState) -> String {
    let witness = serde_json::to_value(Content::of(state)).expect("plain fields are JSON");
    let checksum = checksum(&witness);
    let envelope =
        Envelope { about: ABOUT.to_owned(), version: WITNESS_VERSION, checksum, witness };
    let mut text = serde_json::to_string_pretty(&envelope).expect("plain fields are JSON");
    text.push('\n');
    text
}

/// The state in the text of a witness file.
pub(super) fn decode(text: &[u8]) -> Result<WitnessState, Garbled> {
    let envelope: Envelope = serde_json::from_slice(text).map_err(Garbled::Json)?;
    if envelope.version != WITNESS_VERSION {
        return Err(Garbled::Version { found: envelope.version });
    }
    let expected = checksum(&envelope.witness);
    if envelope.checksum != expected {
        return Err(Garbled::Checksum { found: envelope.checksum, expected });
    }
    let content: Content = serde_json::from_value(envelope.witness).map_err(Garbled::Json)?;
    content.into_state()
}
