//! The reader: what a file says as a whole, and where it is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufReader, Read};

use serde::de::DeserializeSeed;

use super::FORMAT_VERSION;
use super::bounded::{Bounded, TooMuch};
use super::record::{Document, Object};
use super::summary::Summary;
use crate::signed::{GenesisValidatorsRoot, HexError, PublicKey};

/// What an interchange file says. It names the expected chain and the supported version: [`read`]
/// gives nothing else back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interchange {
    /// The records of each key, several entries of one key merged. A key without any record is
    /// in it too.
    pub summaries: BTreeMap<PublicKey, Summary>,
    /// How many entries `data` has; more than the keys if some key comes twice.
    pub entries: u64,
}

/// Where in a file something is wrong, such as `data[3].signed_attestations[7].target_epoch`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place(pub Vec<Step>);

/// One step of a [`Place`] downwards from the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Into a field of an object.
    Field(&'static str),
    /// Into an element of an array, counted from 0.
    Index(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return out.write_str("document");
        }
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if i == 0 => out.write_str(name)?,
                Step::Field(name) => write!(out, ".{name}")?,
                Step::Index(index) => write!(out, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Why a file cannot be imported. Nothing of it was acted upon.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ReadError {
    /// Where, as far as the reader had come.
    pub place: Place,
    /// What.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Another version of the format, whose fields may mean something else.
    #[error(
        "version {found:?} of the interchange format is not supported, only \"{FORMAT_VERSION}\""
    )]
    Version {
        /// What the file says.
        found: String,
    },
    /// The records are of another chain.
    #[error("the file is of another chain: it says {found}, this store is of {expected}")]
    GenesisValidatorsRoot {
        /// What the file says.
        found: GenesisValidatorsRoot,
        /// The store's.
        expected: GenesisValidatorsRoot,
    },
    /// A required field is absent.
    #[error("field {0} is missing")]
    MissingField(&'static str),
    /// A field is there twice, so that two readers may read two different files.
    #[error("the field is there twice")]
    DuplicateField,
    /// Neither a decimal string nor a number of 64 bits without sign.
    #[error("{found:?} is no unsigned 64-bit integer in decimal digits")]
    Integer {
        /// What the file says, cut to 64 characters.
        found: String,
    },
    /// Not a key or root.
    #[error(transparent)]
    Hex(HexError),
    /// Deeper or longer than any honest file.
    #[error(transparent)]
    Limit(TooMuch),
    /// Not JSON, cut off, or another type than the format has there.
    #[error(transparent)]
    Json(serde_json::Error),
    /// The file could not be read.
    #[error(transparent)]
    Io(io::Error),
}

/// What the seeds of one reading share.
pub(super) struct Context {
    pub(super) expected: GenesisValidatorsRoot,
    pub(super) place: Place,
    /// Set where a seed finds something wrong; the parser's own error is then without meaning.
    pub(super) problem: Option<Problem>,
    pub(super) interchange: Interchange,
    /// The key and records of the entry that is being read: the key may come after the records.
    pub(super) pubkey: Option<PublicKey>,
    pub(super) summary: Summary,
}

/// Reads and checks a whole interchange file.
///
/// The metadata may stand anywhere in it: nothing is given back before they were seen and are
/// right. Unknown fields are passed over. The input needs no buffer of its own.
///
/// # Errors
/// [`ReadError`] with the first thing that is wrong. Whoever made the file must act, except for
/// [`Problem::Io`].
pub fn read(input: impl Read, expected: GenesisValidatorsRoot) -> Result<Interchange, ReadError> {
    let mut context = Context {
        expected,
        place: Place::default(),
        problem: None,
        interchange: Interchange::default(),
        pubkey: None,
        summary: Summary::new(),
    };
    let input = BufReader::with_capacity(64 * 1024, Bounded::new(input));
    let mut json = serde_json::Deserializer::from_reader(input);
    let outcome =
        Object::<Document>::new(&mut context).deserialize(&mut json).and_then(|()| json.end());
    match outcome {
        Ok(()) => Ok(context.interchange),
        Err(error) => Err(ReadError {
            place: context.place,
            problem: context.problem.unwrap_or_else(|| classify(error)),
        }),
    }
}

fn classify(error: serde_json::Error) -> Problem {
    if !error.is_io() {
        return Problem::Json(error);
    }
    let error = io::Error::from(error);
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TooMuch>()) {
        Some(too_much) => Problem::Limit(*too_much),
        None => Problem::Io(error),
    }
}
