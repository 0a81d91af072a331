//! A line at a time over a Unix socket, with file descriptors beside it.

use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::{HandoverError, Word};

/// No word is longer, in bytes.
const WORD_BYTES_MAX: u64 = 64 << 10;

/// `SCM_MAX_FD` of Linux: no message carries more.
pub(super) const DESCRIPTORS_MAX: usize = 253;

pub(super) fn say(mut stream: &UnixStream, word: &Word) -> Result<(), HandoverError> {
    stream.write_all(&encoded(word)?).map_err(failed)
}

/// Says `word`, with `descriptors` beside its first byte.
pub(super) fn say_with(
    mut stream: &UnixStream,
    word: &Word,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), HandoverError> {
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(HandoverError::Sockets("more than one message carries"));
    }
    let line = encoded(word)?;
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(HandoverError::Sockets("there is no room for them"));
    }
    let sent = sendmsg(stream, &[IoSlice::new(&line)], &mut beside, SendFlags::NOSIGNAL)
        .map_err(|error| failed(error.into()))?;
    stream.write_all(&line[sent..]).map_err(failed)
}

/// The next word. The two speak in turn, so nothing of a later word is ever read with it.
pub(super) fn hear(stream: &UnixStream, patience: Duration) -> Result<Word, HandoverError> {
    stream.set_read_timeout(Some(patience)).map_err(HandoverError::Io)?;
    let mut line = String::new();
    let read = BufReader::new(stream).take(WORD_BYTES_MAX).read_line(&mut line);
    read.map_err(|error| silent(error, patience))?;
    decoded(&line)
}

/// The next word, and the descriptors beside it, which no child process inherits.
pub(super) fn hear_with(
    mut stream: &UnixStream,
    patience: Duration,
) -> Result<(Word, Vec<OwnedFd>), HandoverError> {
    stream.set_read_timeout(Some(patience)).map_err(HandoverError::Io)?;
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut line = vec![0; WORD_BYTES_MAX as usize];
    let mut room = [IoSliceMut::new(&mut line)];
    let first = recvmsg(stream.as_fd(), &mut room, &mut beside, RecvFlags::CMSG_CLOEXEC)
        .map_err(|error| silent(error.into(), patience))?;
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    let mut filled = first.bytes;
    while !line[..filled].ends_with(b"\n") {
        let more = stream.read(&mut line[filled..]).map_err(|error| silent(error, patience))?;
        if more == 0 {
            return Err(HandoverError::Gone);
        }
        filled += more;
    }
    let line = std::str::from_utf8(&line[..filled]);
    let line = line.map_err(|_| HandoverError::Sockets("what came with them is no text"))?;
    Ok((decoded(line)?, descriptors))
}

fn encoded(word: &Word) -> Result<Vec<u8>, HandoverError> {
    let mut line = serde_json::to_vec(word).map_err(HandoverError::NotAWord)?;
    line.push(b'\n');
    Ok(line)
}

fn decoded(line: &str) -> Result<Word, HandoverError> {
    if !line.ends_with('\n') {
        return Err(HandoverError::Gone);
    }
    serde_json::from_str(line).map_err(HandoverError::NotAWord)
}

fn silent(error: io::Error, patience: Duration) -> HandoverError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            HandoverError::Silent { seconds: patience.as_secs() }
        }
        _ => failed(error),
    }
}

fn failed(error: io::Error) -> HandoverError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => HandoverError::Gone,
        _ => HandoverError::Io(error),
    }
}
