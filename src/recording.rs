//! What was judged, on disk: so that a draft of a policy can be tried on real requests before it is
//! in force.
//!
//! | file | what |
//! |---|---|
//! | `event.rs` | what is recorded of a request |
//! | `codec.rs` | the bytes of an event |
//! | `segment.rs` | one file: blocks, each with its checksum |
//! | `recorder.rs` | the queue and the thread that writes: no signature waits for it |
//! | `read.rs` | segments back into events, with what is missing |
//! | `replay.rs` | the events judged once more, by a draft |
//!
//! The format is ours, versioned and compact: some 60 bytes a request. A recording tells who asked
//! for which duty of which key, and when: it is for the operator's eyes, as the log is. It holds no
//! signature.

mod codec;
mod event;
mod read;
mod recorder;
pub mod replay;
mod segment;

#[cfg(test)]
mod tests;

pub use event::{Event, Header, JudgedEvent, Said};
pub use read::{Item, Missing, ReadError, Segment, segments};
pub use recorder::{Names, Recorder, RecorderSettings};
