//! How records look on disk: a version byte, big-endian integers, a checksum at the end.
//!
//! The engine's own checksums guard its files; this one guards what goes through memory and through
//! another engine, and makes a record that was cut or mixed up fail to decode.

use crate::engine::KeyRecord;
use crate::message::KeyId;
use crate::rules::{AttestationRecord, BlockRecord, CountedRecord};
use crate::signed::SigningRoot;

/// The version that every record begins with.
const VERSION: u8 = 1;

/// A record does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("the record has a wrong length")]
    Length,
    #[error("the record has format version {0}, which this program does not know")]
    Version(u8),
    #[error("the record's checksum does not match")]
    Checksum,
    #[error("the record holds a value that is not defined")]
    Value,
}

pub(crate) fn encode_attestation(record: &AttestationRecord) -> Vec<u8> {
    Writer::new()
        .u64(record.source_epoch)
        .u64(record.target_epoch)
        .bytes(&record.signing_root.0)
        .u64(record.sequence)
        .finish()
}

pub(crate) fn decode_attestation(bytes: &[u8]) -> Result<AttestationRecord, FormatError> {
    let mut reader = Reader::new(bytes)?;
    let record = AttestationRecord {
        source_epoch: reader.u64()?,
        target_epoch: reader.u64()?,
        signing_root: SigningRoot(reader.array()?),
        sequence: reader.u64()?,
    };
    reader.finish(record)
}

pub(crate) fn encode_block(record: &BlockRecord) -> Vec<u8> {
    Writer::new().u64(record.slot).bytes(&record.signing_root.0).u64(record.sequence).finish()
}

pub(crate) fn decode_block(bytes: &[u8]) -> Result<BlockRecord, FormatError> {
    let mut reader = Reader::new(bytes)?;
    let record = BlockRecord {
        slot: reader.u64()?,
        signing_root: SigningRoot(reader.array()?),
        sequence: reader.u64()?,
    };
    reader.finish(record)
}

pub(crate) fn encode_counted(record: &CountedRecord) -> Vec<u8> {
    Writer::new()
        .bytes(&record.count.to_be_bytes())
        .bytes(&record.signing_root.0)
        .u64(record.sequence)
        .finish()
}

pub(crate) fn decode_counted(bytes: &[u8]) -> Result<CountedRecord, FormatError> {
    let mut reader = Reader::new(bytes)?;
    let record = CountedRecord {
        count: u32::from_be_bytes(reader.array()?),
        signing_root: SigningRoot(reader.array()?),
        sequence: reader.u64()?,
    };
    reader.finish(record)
}

/// A key's own row: its number and its state.
pub(crate) fn encode_key(key: &KeyRecord) -> Vec<u8> {
    Writer::new().bytes(&key.id.0.to_be_bytes()).bytes(&[u8::from(key.is_enabled)]).finish()
}

/// A key's number, and whether it is enabled.
pub(crate) fn decode_key(bytes: &[u8]) -> Result<(KeyId, bool), FormatError> {
    let mut reader = Reader::new(bytes)?;
    let id = KeyId(u32::from_be_bytes(reader.array()?));
    let is_enabled = match reader.array::<1>()? {
        [0] => false,
        [1] => true,
        [_] => return Err(FormatError::Value),
    };
    reader.finish((id, is_enabled))
}

/// FNV-1a, 32 bits: cheap, and enough to notice a record that is not what was written.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(VERSION);
        Self(bytes)
    }

    fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn finish(self) -> Vec<u8> {
        let sum = checksum(&self.0);
        self.bytes(&sum.to_be_bytes()).0
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let version = *bytes.first().ok_or(FormatError::Length)?;
        if version != VERSION {
            return Err(FormatError::Version(version));
        }
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(FormatError::Length)?;
        if checksum(body) != u32::from_be_bytes(*sum) {
            return Err(FormatError::Checksum);
        }
        Ok(Self(body.get(1..).ok_or(FormatError::Length)?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(FormatError::Length)?;
        self.0 = tail;
        Ok(*head)
    }

    fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_be_bytes)
    }

    fn finish<T>(self, value: T) -> Result<T, FormatError> {
        if self.0.is_empty() { Ok(value) } else { Err(FormatError::Length) }
    }
}
