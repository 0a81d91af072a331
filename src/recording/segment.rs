//! One file of a recording: eight bytes that say what it is, then blocks.
//!
//! A block is its length (u32, little endian), eight bytes of a checksum (SHA-256 over the number
//! of the block in its file and the content), and the content. The first block is the header as
//! JSON, all others hold entries. A process that is killed leaves a block cut: what stands before
//! it is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// What a file begins with; the last byte is the version of the format.
pub(super) const MAGIC: [u8; 8] = *b"PCLREC\0\x01";
/// What stands before the content of a block.
pub(super) const FRAME_BYTES: usize = 4 + CHECKSUM_BYTES;
/// A longer block was not written by us.
pub(super) const BLOCK_BYTES_MAX: usize = 16 << 20;
const CHECKSUM_BYTES: usize = 8;

pub(super) fn checksum(number: u64, content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new().chain_update(number.to_le_bytes()).chain_update(content).finalize();
    *digest.first_chunk().expect("32 bytes")
}

/// A file that is being written.
pub(super) struct SegmentFile {
    file: File,
    blocks: u64,
    bytes: u64,
}

impl SegmentFile {
    pub(super) fn create(path: &Path, header: &[u8]) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&MAGIC)?;
        let mut segment = Self { file, blocks: 0, bytes: MAGIC.len() as u64 };
        segment.append(header)?;
        Ok(segment)
    }

    /// Writes a block at once, so that a cut one can only be the last.
    pub(super) fn append(&mut self, content: &[u8]) -> io::Result<()> {
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut block = Vec::with_capacity(FRAME_BYTES + content.len());
        block.extend_from_slice(&length.to_le_bytes());
        block.extend_from_slice(&checksum(self.blocks, content));
        block.extend_from_slice(content);
        self.file.write_all(&block)?;
        self.blocks += 1;
        self.bytes += block.len() as u64;
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
