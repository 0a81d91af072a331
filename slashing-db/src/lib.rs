//! Is this slashable, and is it written down?
//!
//! A crate without network, executor or clock: [`rules`] judge a message against the highest
//! records of its key, the [`Recorder`] makes what they allow durable, and a [`Permit`] is the only
//! thing that comes out. Times and bounds are arguments.
//!
//! | module | holds |
//! |---|---|
//! | [`signed`], [`message`] | EIP-3076's words, and what may be asked |
//! | [`rules`] | the verdict: pure functions |
//! | `watermarks`, `permit` | one key in memory; the right to have one root signed |
//! | `recorder` | one thread: group commit, each waiter told of its own batch |
//! | [`engine`] | the disk behind a trait; RocksDB |
//! | [`interchange`] | EIP-3076 files, as a stream |
//! | [`witness`], [`lease`] | which copy is the live one, and until when |
//! | `store` | all of it together: init, open, renew, enrol, import, export, seal |
//! | `side_table` | opaque bytes whose loss is not a safety event |
//! | [`testing`] | an engine that fails as it is told |

pub mod engine;
mod health;
pub mod interchange;
pub mod lease;
pub mod message;
mod permit;
mod recorder;
pub mod rules;
#[cfg(feature = "rocksdb")]
mod side_table;
pub mod signed;
mod store;
pub mod testing;
mod watermarks;
pub mod witness;

pub use engine::{Engine, Entry, Fatal, KeyRecord, Loaded, Outcome};
pub use health::Poison;
pub use lease::{BootTime, LeaseLapsed};
pub use message::{Bounds, Counted, CountedKind, KeyId, Message};
pub use permit::{Permit, Redeemed};
pub use recorder::{
    BATCH_MAX, BUCKETS, Changing, Histogram, Pending, Place, Priority, RecordError, Recorder,
    ReserveError, Stats,
};
pub use rules::{AttestationRecord, BlockRecord, CountedRecord, NotSafe, Record};
#[cfg(feature = "rocksdb")]
pub use side_table::{SideTable, SideTableError};
pub use signed::{
    GenesisValidatorsRoot, HexError, PublicKey, SignedAttestation, SignedBlock, SigningRoot,
};
#[cfg(feature = "rocksdb")]
pub use store::{DirectoryError, InitError, InitParams, ReadOnlyStore};
pub use store::{
    EnrolError, Enrolling, Enrolment, ExportError, Floor, Identity, IdentityError, ImportBounds,
    ImportError, ImportReport, Imported, KEYS_IN_FLIGHT_MAX, KeyTable, NotImported, NotWritten,
    Now, OpenError, OpenParams, Opening, Parts, RenewError, SealError, Store, boot_id,
};
pub use watermarks::{Checked, Watermarks};
