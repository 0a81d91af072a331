//! The audit log: every decision and every action, in one chain that shows what was changed later.
//!
//! A place in its bounded queue is taken before a watermark is touched: a gate that cannot say what
//! it did signs nothing. Records are written and synced in groups by a thread of their own; answers
//! do not wait for that, but those of exits and deposits do.
//!
//! | module | holds |
//! |---|---|
//! | [`record`], `codec` | what is written, and its bytes |
//! | [`chain`], [`checkpoint`] | what shows that it was changed |
//! | `segment`, [`read`] | the files, and the way back from them |
//! | `queue`, `log` | the way in, and the thread that writes |
//! | `open` | the start: what the last run left, and the repairs |
//! | [`timeline`] | what concerns one key or name, from an index |
//! | [`verify`] | whether all of it stands as it was written |
//! | `courier` | what leaves the host: anchors, events |

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use thiserror::Error;

pub mod chain;
pub mod checkpoint;
mod codec;
mod courier;
mod log;
mod open;
mod queue;
pub mod read;
pub mod record;
mod segment;
pub mod timeline;
pub mod verify;

#[cfg(test)]
mod tests;

pub use self::open::{OpenError, Opened};
pub use self::queue::{Place, Synced};
pub use self::read::last_position;
pub use self::record::{ActionRecord, Actor, DecisionRecord, Position, Record};

/// The log is full or stalled: nothing may be decided that could not be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the audit log takes nothing on: its disk is full or does not answer; look at the audit volume"
)]
pub struct AuditFull;

/// The log. A clone is the same log.
#[derive(Clone)]
pub struct Audit(Arc<queue::Shared>);

impl Audit {
    /// A log that keeps nothing: for what has none.
    pub fn off() -> Self {
        Self::default()
    }
}

/// Where the log is, how it is kept, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory; it is made where it is not there.
    pub directory: PathBuf,
    /// The key that signs checkpoints; it is made with the log.
    pub key_file: PathBuf,
    /// A file to which each checkpoint is added; best on another host.
    pub anchor_file: Option<PathBuf>,
    /// A URL to which each checkpoint is posted.
    pub anchor_url: Option<Uri>,
    /// How long a record may wait for others before all are synced.
    pub sync_interval: Duration,
    /// How long records may stand without a checkpoint.
    pub checkpoint_interval: Duration,
    /// How many records may stand without one.
    pub checkpoint_records: u64,
    /// The size at which a segment is closed, in bytes.
    pub segment_bytes: u64,
    /// The age at which it is.
    pub segment_age: Duration,
    /// Segments are deleted, the oldest first, where all have more bytes than this.
    pub kept_bytes_max: u64,
    /// And where all of their records are older than this.
    pub kept_age_max: Duration,
    /// Room on the disk that is held for the records that have their places when it is full.
    pub reserve_bytes: u64,
    /// Somebody is paged when less of the disk is left, in hundredths of it.
    pub space_low_percent: u64,
    /// How many decisions may wait for the disk.
    pub queue_max: usize,
    /// A disk that does not answer for so long takes nothing on.
    pub stall: Duration,
}

impl Settings {
    /// The settings of a log in `directory` that nobody has set anything for.
    pub fn of(directory: PathBuf) -> Self {
        Self {
            key_file: directory.join("checkpoint.key"),
            directory,
            anchor_file: None,
            anchor_url: None,
            sync_interval: Duration::from_millis(50),
            checkpoint_interval: Duration::from_secs(30),
            checkpoint_records: 10_000,
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(24 * 3_600),
            kept_bytes_max: 16 << 30,
            kept_age_max: Duration::from_secs(365 * 24 * 3_600),
            reserve_bytes: 8 << 20,
            space_low_percent: 20,
            queue_max: 16_384,
            stall: Duration::from_secs(3),
        }
    }
}
