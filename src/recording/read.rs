//! Segments back into events. What cannot be read is told, and the rest is read.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use policy::Rule;

use super::codec::{CLIENT, Input, KEY, LOST, State};
use super::event::{Event, Header};
use super::segment::{BLOCK_BYTES_MAX, FRAME_BYTES, MAGIC, checksum};

/// One thing that a recording says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Something happened to a request.
    Event(Event),
    /// The name of a client.
    Client {
        /// Its place in the events that follow.
        place: u16,
        /// Its name.
        name: String,
    },
    /// The public key of a key.
    Key {
        /// Its place in the events that follow.
        place: u32,
        /// The key, compressed.
        public_key: [u8; 48],
    },
    /// So many events were not recorded here.
    Lost(u64),
}

/// What a file does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Its last block is cut: whoever wrote it was killed, or is writing it.
    Tail {
        /// The bytes of it that are there.
        bytes: u64,
    },
    /// A block is damaged; nothing is read from there on.
    Damaged {
        /// The number of the block.
        block: u64,
    },
}

/// Why a file is no part of a recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else, or of a version that this program does not read.
    #[error("{} is no recording of a version that this portcullis reads", path.display())]
    NotARecording {
        /// The file.
        path: PathBuf,
    },
}

/// A file of a recording, read block by block.
pub struct Segment {
    path: PathBuf,
    file: BufReader<File>,
    header: Header,
    rules: Vec<Option<Rule>>,
    state: State,
    blocks: u64,
    missing: Option<Missing>,
}

enum Block {
    Whole(Vec<u8>),
    Cut(u64),
    Damaged,
    End,
}

impl Segment {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`ReadError`]; also where not even the header is whole.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let io_error = |source| ReadError::Io { path: path.to_owned(), source };
        let not_one = || ReadError::NotARecording { path: path.to_owned() };
        let mut file = BufReader::new(File::open(path).map_err(io_error)?);
        let mut magic = [0; MAGIC.len()];
        let length = fill(&mut file, &mut magic).map_err(io_error)?;
        if length < magic.len() || magic != MAGIC {
            return Err(not_one());
        }
        let Block::Whole(header) = read_block(&mut file, 0).map_err(io_error)? else {
            return Err(not_one());
        };
        let header: Header = serde_json::from_slice(&header).map_err(|_| not_one())?;
        let of_name = |name: &String| Rule::ALL.into_iter().find(|rule| rule.as_str() == name);
        let rules = header.rules.iter().map(of_name).collect();
        let state = State::default();
        Ok(Self { path: path.to_owned(), file, header, rules, state, blocks: 1, missing: None })
    }

    /// What holds for all of it.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it does not tell; known once [`next_block`](Self::next_block) has come to its end.
    pub fn missing(&self) -> Option<&Missing> {
        self.missing.as_ref()
    }

    /// What the next block says; empty at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_block(&mut self) -> Result<Vec<Item>, ReadError> {
        if self.missing.is_some() {
            return Ok(Vec::new());
        }
        let block = read_block(&mut self.file, self.blocks)
            .map_err(|source| ReadError::Io { path: self.path.clone(), source })?;
        let content = match block {
            Block::Whole(content) => content,
            Block::End => return Ok(Vec::new()),
            Block::Cut(bytes) => {
                self.missing = Some(Missing::Tail { bytes });
                return Ok(Vec::new());
            }
            Block::Damaged => {
                self.missing = Some(Missing::Damaged { block: self.blocks });
                return Ok(Vec::new());
            }
        };
        let mut input = Input(&content);
        let mut items = Vec::new();
        while !input.0.is_empty() {
            let Some(item) = item(&mut input, &mut self.state, &self.rules) else {
                self.missing = Some(Missing::Damaged { block: self.blocks });
                break;
            };
            items.push(item);
        }
        self.blocks += 1;
        Ok(items)
    }
}

fn item(input: &mut Input<'_>, state: &mut State, rules: &[Option<Rule>]) -> Option<Item> {
    match input.byte()? {
        CLIENT => {
            let place = input.small()?;
            let length: usize = input.small()?;
            let (name, rest) = input.0.split_at_checked(length)?;
            let name = String::from_utf8(name.to_vec()).ok()?;
            input.0 = rest;
            Some(Item::Client { place, name })
        }
        KEY => Some(Item::Key { place: input.small()?, public_key: input.array()? }),
        LOST => input.number().map(Item::Lost),
        tag => input.event(state, rules, tag).map(Item::Event),
    }
}

fn read_block(file: &mut impl Read, number: u64) -> io::Result<Block> {
    let mut frame = [0; FRAME_BYTES];
    let length = fill(file, &mut frame)?;
    if length == 0 {
        return Ok(Block::End);
    }
    if length < frame.len() {
        return Ok(Block::Cut(length as u64));
    }
    let (length, expected) = frame.split_first_chunk().expect("a length and a checksum");
    let length = u32::from_le_bytes(*length) as usize;
    if length > BLOCK_BYTES_MAX {
        return Ok(Block::Damaged);
    }
    let mut content = vec![0; length];
    let there = fill(file, &mut content)?;
    if there < length {
        return Ok(Block::Cut((FRAME_BYTES + there) as u64));
    }
    if checksum(number, &content) != *expected {
        return Ok(Block::Damaged);
    }
    Ok(Block::Whole(content))
}

/// Reads until the buffer is full or the file ends; says how much it was.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The name of a file: in the order of the names stands the order of time.
pub(super) fn name(unix_ms: u64, process: u32, number: u64) -> String {
    format!("portcullis-{unix_ms:014}-{process:07}-{number:06}{SUFFIX}")
}

/// The files of the recording in a directory, the oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn segments(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_ours = |name: &String| name.starts_with("portcullis-") && name.ends_with(SUFFIX);
        if name.as_ref().is_some_and(is_ours) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

const SUFFIX: &str = ".recording";
