//! The names in a request: types, and versions in their two spellings.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::eth::{DutyKind, ForkName};

/// The types of Gloas, and the other names that clients have for them: known, and not supported.
const NOT_SUPPORTED: [&str; 8] = [
    "PAYLOAD_ATTESTATION_MESSAGE",
    "PAYLOAD_ATTESTATION",
    "PROPOSER_PREFERENCES",
    "EXECUTION_PAYLOAD_ENVELOPE",
    "EXECUTION_PAYLOAD_BID",
    "BUILDER_REQUEST_AUTH",
    "REQUEST_AUTH",
    "INCLUSION_LIST",
];

/// `type`, in any case.
pub(super) enum TypeName {
    Known(DutyKind),
    NotSupported(&'static str),
    /// Its beginning.
    Unknown(String),
}

/// `version` of a block: upper case alone, as in Web3Signer.
pub(super) struct UpperCaseVersion(pub(super) ForkName);

/// `version` of an aggregate, in any case. Nothing depends on it.
pub(super) struct AnyCaseVersion;

impl<'de> Deserialize<'de> for TypeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TypeNameVisitor)
    }
}

impl<'de> Deserialize<'de> for UpperCaseVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(UpperCaseVersionVisitor)
    }
}

impl<'de> Deserialize<'de> for AnyCaseVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(AnyCaseVersionVisitor)
    }
}

struct TypeNameVisitor;

impl Visitor<'_> for TypeNameVisitor {
    type Value = TypeName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a type")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<TypeName, E> {
        if let Some(kind) = DutyKind::from_name(name) {
            return Ok(TypeName::Known(kind));
        }
        let known = NOT_SUPPORTED.into_iter().find(|known| known.eq_ignore_ascii_case(name));
        Ok(match known {
            Some(name) => TypeName::NotSupported(name),
            None => TypeName::Unknown(beginning(name)),
        })
    }
}

struct UpperCaseVersionVisitor;

impl Visitor<'_> for UpperCaseVersionVisitor {
    type Value = UpperCaseVersion;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a fork in upper case")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<UpperCaseVersion, E> {
        let fork = ForkName::ALL.into_iter().find(|fork| fork.as_upper() == name);
        fork.map(UpperCaseVersion).ok_or_else(|| not_a_fork(name, &self))
    }
}

struct AnyCaseVersionVisitor;

impl Visitor<'_> for AnyCaseVersionVisitor {
    type Value = AnyCaseVersion;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a fork")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<AnyCaseVersion, E> {
        name.parse::<ForkName>().map(|_| AnyCaseVersion).map_err(|_| not_a_fork(name, &self))
    }
}

fn not_a_fork<E: de::Error>(name: &str, expected: &dyn de::Expected) -> E {
    E::invalid_value(de::Unexpected::Str(&beginning(name)), expected)
}

/// Enough of a stranger's text for a message.
fn beginning(text: &str) -> String {
    text.chars().take(48).collect()
}
