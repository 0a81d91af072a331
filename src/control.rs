//! The control socket: commands of an operator on the same machine to the running gate.
//!
//! A Unix socket in the store's directory, for its owner alone. One command a connection: a line of
//! JSON, then, for an import, the file up to the end of the stream. The answer is a line of JSON,
//! then, for an export, the file. On its own threads: nothing here can delay a signature longer
//! than a key's own lock is held.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::enrolment::{
    CommandError, Declaration, Declarations, ImportOutcome, KeyLine, KeyOutcome, Keys, with_causes,
};
use crate::events::SinkAnswer;
use crate::handover::Ask;

#[cfg(test)]
mod tests;

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Every key with its records.
    List,
    /// Keys begin.
    Enrol {
        /// Which.
        keys: Keys,
        /// With which history.
        declaration: Declaration,
    },
    /// Keys begin or go on with the history in a file, which follows.
    Import,
    /// Keys end.
    Disable {
        /// Which.
        keys: Keys,
    },
    /// The history of keys that have ended.
    Export {
        /// Which.
        keys: Keys,
    },
    /// Read the policy document again.
    ReloadPolicy,
    /// Send an event that says it is a test to the sinks.
    TestEvents {
        /// To one of them alone.
        sink: Option<String>,
        /// As a page of an incident: into the spool, to be delivered as one.
        page: bool,
    },
    /// Write what is recorded and still waits.
    FlushRecording,
    /// Pass sockets and store to the gate that asks: the beginning of a longer conversation.
    HandOver(Ask),
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The list of keys.
    Keys(Vec<KeyLine>),
    /// What became of each key.
    Outcomes(Vec<KeyOutcome>),
    /// What became of each key of an interchange file.
    Imported(ImportOutcome),
    /// How many keys the file has that follows.
    Exported(u64),
    /// The policy that is in force now, by what it has changed.
    PolicyPublished(Vec<String>),
    /// What each sink answered to a test.
    SinkAnswers(Vec<SinkAnswer>),
    /// The id of a page that is on disk and on its way.
    PageGiven(String),
    /// It was done, and there is nothing to say.
    Done,
    /// Nothing was done, and why.
    Refused(String),
}

/// Carries out `command`; `input` is the file of an import, `output` that of an export.
pub fn execute(
    declarations: &Declarations<'_>,
    command: &Command,
    input: impl Read,
    output: impl Write,
) -> Reply {
    let result: Result<Reply, CommandError> = match command {
        Command::List => Ok(Reply::Keys(declarations.list())),
        Command::Enrol { keys, declaration } => {
            declarations.enrol(keys, *declaration).map(Reply::Outcomes)
        }
        Command::Import => declarations.import(input).map(Reply::Imported),
        Command::Disable { keys } => declarations.disable(keys).map(Reply::Outcomes),
        Command::Export { keys } => declarations.export(keys, output).map(Reply::Exported),
        // Never here: a conversation about the whole process, not about keys.
        Command::ReloadPolicy | Command::FlushRecording => {
            return Reply::Refused("only a running gate has a policy in force".to_owned());
        }
        Command::TestEvents { .. } => {
            return Reply::Refused("only a running gate tells anybody anything".to_owned());
        }
        Command::HandOver(_) => {
            return Reply::Refused("only a running gate can hand over".to_owned());
        }
    };
    result.unwrap_or_else(|error| Reply::Refused(with_causes(&error)))
}

/// Listens in `directory` and answers with `answer`, each connection on a thread; a successor's
/// whole conversation is left to `hand_over`.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(
    directory: &Path,
    answer: impl Fn(&Command, &mut dyn Read, &mut dyn Write) -> Reply + Send + Sync + 'static,
    hand_over: impl Fn(&Ask, &UnixStream) + Send + Sync + 'static,
) -> io::Result<()> {
    let path = socket_path(directory);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {} // left by a process that is gone: the store's lock is ours
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let answer = Arc::new(answer);
    let hand_over = Arc::new(hand_over);
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let (answer, hand_over) = (Arc::clone(&answer), Arc::clone(&hand_over));
            let spawned =
                std::thread::Builder::new().name("control-command".to_owned()).spawn(move || {
                    if let Err(error) = converse(&stream, &*answer, &*hand_over) {
                        tracing::warn!(%error, "a control command broke off");
                    }
                });
            if let Err(error) = spawned {
                tracing::error!(%error, "no thread for a control command");
            }
        }
    })?;
    Ok(())
}

fn converse(
    stream: &UnixStream,
    answer: &(impl Fn(&Command, &mut dyn Read, &mut dyn Write) -> Reply + ?Sized),
    hand_over: &(impl Fn(&Ask, &UnixStream) + ?Sized),
) -> io::Result<()> {
    stream.set_read_timeout(Some(STALLED))?;
    stream.set_write_timeout(Some(STALLED))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.by_ref().take(COMMAND_BYTES_MAX).read_line(&mut line)?;
    let mut file = Vec::new(); // an export is small beside the store; it follows the reply
    let reply = match serde_json::from_str::<Command>(&line) {
        Ok(Command::HandOver(ask)) => {
            hand_over(&ask, stream);
            return Ok(());
        }
        Ok(command) => {
            tracing::info!(event = "control", command = command.name(), "operator's command");
            let reply = answer(&command, &mut reader, &mut file);
            // Who sends a file listens when it has sent all of it, refused at its beginning or not.
            io::copy(&mut reader, &mut io::sink())?;
            reply
        }
        Err(error) => Reply::Refused(format!("not a command: {error}")),
    };
    let mut writer = BufWriter::with_capacity(REPLY_BUFFER_BYTES, stream);
    serde_json::to_writer(&mut writer, &reply)?;
    writer.write_all(b"\n")?;
    writer.write_all(&file)?;
    writer.flush()
}

/// Sends `command` to the gate that runs on `directory`; `None` when none does.
///
/// # Errors
/// When the gate does not answer in full.
pub fn send(
    directory: &Path,
    command: &Command,
    mut input: impl Read,
    mut output: impl Write,
) -> io::Result<Option<Reply>> {
    let mut stream = match UnixStream::connect(socket_path(directory)) {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(error),
            };
        }
    };
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    io::copy(&mut input, &mut stream)?;
    stream.shutdown(Shutdown::Write)?;
    let mut reader = BufReader::new(stream);
    let mut reply = String::new();
    reader.read_line(&mut reply)?;
    let reply = serde_json::from_str(&reply)?;
    io::copy(&mut reader, &mut output)?;
    Ok(Some(reply))
}

impl Command {
    /// Its name in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Enrol { .. } => "enrol",
            Self::Import => "import",
            Self::Disable { .. } => "disable",
            Self::Export { .. } => "export",
            Self::ReloadPolicy => "reload_policy",
            Self::FlushRecording => "flush_recording",
            Self::TestEvents { .. } => "test_events",
            Self::HandOver(_) => "hand_over",
        }
    }
}

/// Where the gate on the store in `directory` listens.
#[must_use]
pub fn socket_path(directory: &Path) -> PathBuf {
    directory.join("control.sock")
}

const COMMAND_BYTES_MAX: u64 = 128 << 20; // half a million keys by name
const REPLY_BUFFER_BYTES: usize = 64 << 10; // a reply about half a million keys has 80 MB
const STALLED: Duration = Duration::from_secs(60);
