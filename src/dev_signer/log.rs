//! The signing log: one JSON line for each signature that was made, and what can be proved from it.
//!
//! A line is appended with one `write` before the answer leaves, also where a fault then withholds
//! the answer. It survives the death of the process, not that of the machine: it is not synced.

mod conflicts;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub use self::conflicts::{Conflict, find_conflicts};
use super::hex::Hex;
use super::request::Subject;
use super::sign_type::SignType;

/// One line of the log. `pubkey` and `signing_root` are what the signer was **asked** to sign;
/// where a fault made it sign otherwise, `fault` names it, and `signed_by` or `signed_root` say
/// what was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Consecutive, from 0, also across restarts.
    pub seq: u64,
    /// The type of the request.
    #[serde(rename = "type")]
    pub sign_type: SignType,
    /// The key that was asked.
    pub pubkey: Hex<48>,
    /// The root that it was asked to sign.
    pub signing_root: Hex<32>,
    /// Slots and epochs, where the type has them.
    #[serde(flatten)]
    pub subject: Subject,
    /// When the signature was made, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The fault that then changed or withheld the answer, or `stub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The key that signed in place of `pubkey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<Hex<48>>,
    /// The root that was signed in place of `signing_root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_root: Option<Hex<32>>,
}

/// Why a log could not be read. The operator must act.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file could not be opened or read.
    #[error("cannot use the signing log {}", path.display())]
    Io {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not an entry.
    #[error("{}:{line}: not an entry of a signing log", path.display())]
    Line {
        /// The log.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// The last line has no end: the disk was full when it was written.
    #[error("{} ends in the middle of a line", .0.display())]
    Torn(PathBuf),
    /// A sequence number is not the one after its predecessor: entries were lost.
    #[error("{}:{line}: expected sequence number {expected}, found {found}", path.display())]
    Sequence {
        /// The log.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The number that should follow.
        expected: u64,
        /// The number that stands there.
        found: u64,
    },
}

/// Reads a whole log and checks that it is complete.
pub fn read(path: &Path) -> Result<Vec<Entry>, LogError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| LogError::Io { path: path.to_owned(), source })?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(LogError::Torn(path.to_owned()));
    }
    let mut entries: Vec<Entry> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let entry: Entry = serde_json::from_str(text).map_err(|source| LogError::Line {
            path: path.to_owned(),
            line,
            source,
        })?;
        let (expected, found) = (entries.last().map_or(0, |last| last.seq + 1), entry.seq);
        if found != expected {
            return Err(LogError::Sequence { path: path.to_owned(), line, expected, found });
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The log that a signer appends to.
#[derive(Debug)]
pub struct SigningLog {
    appender: Mutex<Appender>,
}

#[derive(Debug)]
struct Appender {
    file: File,
    next_seq: u64,
    line: Vec<u8>,
    /// The last line has no end. What is appended to it cannot be read back.
    torn: bool,
}

impl SigningLog {
    /// Opens a log, or creates it; the sequence goes on where an existing log ends.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|source| LogError::Io { path: path.to_owned(), source })?;
        let next_seq = read(path)?.last().map_or(0, |last| last.seq + 1);
        let appender = Appender { file, next_seq, line: Vec::new(), torn: false };
        Ok(Self { appender: Mutex::new(appender) })
    }

    /// Appends an entry in one `write` and gives it the next sequence number, whatever `seq` says.
    /// On an error the signature must not leave.
    pub fn append(&self, mut entry: Entry) -> io::Result<()> {
        let appender = &mut *self.appender.lock();
        if appender.torn {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the last line has no end"));
        }
        entry.seq = appender.next_seq;
        appender.line.clear();
        serde_json::to_writer(&mut appender.line, &entry)?;
        appender.line.push(b'\n');
        let written = appender.file.write(&appender.line)?;
        if written != appender.line.len() {
            appender.torn = true;
            return Err(io::Error::new(io::ErrorKind::StorageFull, "a line was written in part"));
        }
        appender.next_seq += 1;
        Ok(())
    }
}
