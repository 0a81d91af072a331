//! Limits on the text of a file, whatever its sense: how deep it nests, how long a string is.
//!
//! The parser buffers a string whole and follows nesting as deep as it goes. Both are bounded here,
//! below it, in one pass over the bytes, so that a hostile file cannot cost more memory than keys.

use std::io::{self, Read};

/// How deep objects and arrays may nest. The format itself needs 5.
pub const MAX_DEPTH: u32 = 32;

/// How long a string (or name of a field) may be, in bytes of the file. The longest of the format
/// is a public key, 98.
pub const MAX_STRING_BYTES: u32 = 4_096;

/// Which limit a file breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// Objects and arrays in each other beyond [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} at byte {at}")]
    Depth {
        /// Offset in the file, counted from 1.
        at: u64,
    },
    /// A string beyond [`MAX_STRING_BYTES`].
    #[error("string longer than {MAX_STRING_BYTES} bytes at byte {at}")]
    String {
        /// Offset in the file, counted from 1.
        at: u64,
    },
}

/// Passes bytes through until a limit is broken; from then on every read fails.
pub(super) struct Bounded<R> {
    input: R,
    at: u64,
    depth: u32,
    // Bytes of the string that is being read, none outside strings.
    string: Option<u32>,
    escaped: bool,
}

impl<R> Bounded<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, at: 0, depth: 0, string: None, escaped: false }
    }

    fn take(&mut self, byte: u8) -> Result<(), TooMuch> {
        self.at += 1;
        if let Some(len) = self.string {
            let closes = byte == b'"' && !self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            self.string = (!closes).then_some(len + 1);
            if len >= MAX_STRING_BYTES && !closes {
                return Err(TooMuch::String { at: self.at });
            }
            return Ok(());
        }
        match byte {
            b'"' => self.string = Some(0),
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.depth > MAX_DEPTH { Err(TooMuch::Depth { at: self.at }) } else { Ok(()) }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.input.read(buffer)?;
        for byte in &buffer[..len] {
            self.take(*byte)
                .map_err(|too_much| io::Error::new(io::ErrorKind::InvalidData, too_much))?;
        }
        Ok(len)
    }
}
