//! The slashing protection interchange format of EIP-3076, version 5: read, summarised, written.
//!
//! A file is read as a stream. What is kept is one [`Summary`] for each key, not its records, so
//! that memory grows with the number of keys alone. Nothing is acted upon while reading: [`read`]
//! gives back a whole [`Interchange`] or an error that names the place, and only the store applies
//! it. <https://eips.ethereum.org/EIPS/eip-3076>

mod bounded;
mod read;
mod record;
mod summary;
mod write;

#[cfg(test)]
mod tests;

pub use bounded::{MAX_DEPTH, MAX_STRING_BYTES, TooMuch};
pub use read::{Interchange, Place, Problem, ReadError, Step, read};
pub use summary::{AboveBounds, Bounds, InvertedRecord, Summary};
pub use write::{WriteError, Writer, Written};

/// The one version of the format that is read and written.
pub const FORMAT_VERSION: &str = "5";
