//! The queue and the thread that writes. A full queue drops what comes and counts it, and says so
//! in the recording: no signature waits for it.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use prometheus::IntCounter;

use super::codec::{CLIENT, KEY, LOST, Output, State};
use super::event::{Event, Header};
use super::read;
use super::segment::SegmentFile;
use crate::clock::{self, Stopwatch};

/// Where it is written, and how much of it is kept.
#[derive(Clone, Debug)]
pub struct RecorderSettings {
    /// The directory; it is made where it is not there.
    pub directory: PathBuf,
    /// The size at which a file is closed, in bytes.
    pub segment_bytes: u64,
    /// How many files are kept.
    pub segments_max: u64,
}

/// Who stands behind the places in events. Asked by the thread that writes, once for each file.
pub trait Names: Send + 'static {
    /// The name of a client.
    fn client(&self, place: u16) -> Option<String>;
    /// The public key of a key.
    fn key(&self, place: u32) -> Option<[u8; 48]>;
}

enum Message {
    Event(Event),
    /// Write what waits, and say so.
    Flush(SyncSender<()>),
}

/// The way into a recording.
pub struct Recorder {
    queue: SyncSender<Message>,
    dropped: IntCounter,
}

impl Recorder {
    /// Makes the directory, begins a file and starts the thread. `dropped` counts the events that
    /// the recording does not have.
    ///
    /// # Errors
    /// When the directory or a file in it cannot be made.
    pub fn start(
        settings: RecorderSettings,
        header: &Header,
        names: impl Names,
        dropped: IntCounter,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&settings.directory)?;
        let (queue, messages) = sync_channel(QUEUE_MAX);
        let mut writer = Writer {
            settings,
            header: serde_json::to_vec(header)?,
            names,
            told: dropped.get(),
            dropped: dropped.clone(),
            files: 0,
            segment: None,
            content: Vec::new(),
            events: 0,
            has_failed: false,
        };
        writer.open()?;
        let spawn = std::thread::Builder::new().name("recording".to_owned());
        spawn.spawn(move || writer.run(&messages))?;
        Ok(Self { queue, dropped })
    }

    /// Records an event, or drops it where too many wait.
    pub fn record(&self, event: Event) {
        if self.queue.try_send(Message::Event(event)).is_err() {
            self.dropped.inc();
        }
    }

    /// Waits until what was recorded so far is in the file.
    pub fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(FLUSH_MAX);
        }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("dropped", &self.dropped.get()).finish_non_exhaustive()
    }
}

/// A file, and what was told in it.
struct Open {
    file: SegmentFile,
    state: State,
    clients: HashSet<u16>,
    keys: HashSet<u32>,
}

struct Writer<N> {
    settings: RecorderSettings,
    header: Vec<u8>,
    names: N,
    dropped: IntCounter,
    /// How many of the dropped the recording tells of.
    told: u64,
    files: u64,
    segment: Option<Open>,
    /// The block that is being filled.
    content: Vec<u8>,
    events: u64,
    has_failed: bool,
}

impl<N: Names> Writer<N> {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut since = Stopwatch::start();
        loop {
            let flushed = match messages.recv_timeout(BLOCK_INTERVAL) {
                Ok(Message::Event(event)) => {
                    self.add(&event);
                    None
                }
                Ok(Message::Flush(done)) => Some(done),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let is_due = self.content.len() >= BLOCK_BYTES || since.elapsed() >= BLOCK_INTERVAL;
            if flushed.is_some() || is_due {
                self.write();
                since = Stopwatch::start();
            }
            if let Some(done) = flushed {
                let _ = done.try_send(());
            }
        }
        self.write();
    }

    fn add(&mut self, event: &Event) {
        let Some(open) = &mut self.segment else {
            self.dropped.inc();
            return;
        };
        let mut output = Output(&mut self.content);
        let lost = self.dropped.get();
        if lost > self.told {
            output.byte(LOST);
            output.number(lost - self.told);
            self.told = lost;
        }
        if let Event::Judged(judged) = event {
            let client = judged.seen.source.client.0;
            if open.clients.insert(client)
                && let Some(name) = self.names.client(client)
            {
                output.byte(CLIENT);
                output.number(u64::from(client));
                output.number(name.len() as u64);
                output.bytes(name.as_bytes());
            }
            let key = judged.seen.key;
            if open.keys.insert(key)
                && let Some(public_key) = self.names.key(key)
            {
                output.byte(KEY);
                output.number(u64::from(key));
                output.bytes(&public_key);
            }
        }
        output.event(&mut open.state, event);
        self.events += 1;
    }

    /// Writes the block, and begins another file where this one is full or was lost.
    fn write(&mut self) {
        let result = match &mut self.segment {
            Some(open) if !self.content.is_empty() => open.file.append(&self.content),
            Some(_) => Ok(()),
            None => self.open(),
        };
        match result {
            Ok(()) => self.has_failed = false,
            Err(error) => {
                self.segment = None;
                self.dropped.inc_by(self.events);
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::error!(
                        event = "recording_failed",
                        directory = %self.settings.directory.display(),
                        %error,
                        "requests are judged and not recorded; another file is tried each second"
                    );
                }
            }
        }
        self.content.clear();
        self.events = 0;
        let is_full = |open: &Open| open.file.bytes() >= self.settings.segment_bytes;
        if self.segment.as_ref().is_some_and(is_full) {
            self.segment = None; // and the next write opens another, or says why it cannot
            self.write();
        }
    }

    fn open(&mut self) -> io::Result<()> {
        let directory = &self.settings.directory;
        let name = read::name(clock::unix_ms(), std::process::id(), self.files);
        self.files += 1;
        let file = SegmentFile::create(&directory.join(name), &self.header)?;
        let (clients, keys) = (HashSet::new(), HashSet::new());
        self.segment = Some(Open { file, state: State::default(), clients, keys });
        let kept = usize::try_from(self.settings.segments_max).unwrap_or(usize::MAX);
        let files = read::segments(directory)?;
        for old in &files[..files.len().saturating_sub(kept)] {
            std::fs::remove_file(old)?;
        }
        Ok(())
    }
}

/// Some three seconds of half a million keys.
const QUEUE_MAX: usize = 32_768;
const BLOCK_BYTES: usize = 64 << 10;
/// What a process that is killed loses at most.
const BLOCK_INTERVAL: Duration = Duration::from_secs(1);
const FLUSH_MAX: Duration = Duration::from_secs(10);
