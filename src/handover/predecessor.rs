//! The running gate, as its successor sees it.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::line::{hear, hear_with, say};
use super::{
    ANSWER_TIMEOUT, Ask, Closed, HandoverError, Offer, OfferedSocket, PROTOCOL, SEAL_TIMEOUT,
    Serving, Word,
};
use crate::control::{self, Command};

/// A gate that has offered its sockets and waits for the word.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    offer: Offer,
}

impl Predecessor {
    /// Asks the gate that runs on the store in `directory`; gives its sockets, by configured
    /// address. It goes on until it is told to [go](Self::go).
    ///
    /// # Errors
    /// [`HandoverError`]: nothing has changed.
    pub fn ask(
        directory: &Path,
        ask: &Ask,
    ) -> Result<(Self, Vec<(SocketAddr, TcpListener)>), HandoverError> {
        let stream = UnixStream::connect(control::socket_path(directory)).map_err(|error| {
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => HandoverError::NoGate,
                _ => HandoverError::Io(error),
            }
        })?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(HandoverError::Io)?;
        let command = Command::HandOver(ask.clone());
        let mut line = serde_json::to_vec(&command).map_err(HandoverError::NotAWord)?;
        line.push(b'\n');
        (&stream).write_all(&line).map_err(HandoverError::Io)?;
        let (word, descriptors) = hear_with(&stream, ANSWER_TIMEOUT)?;
        let offer = match word {
            Word::Offer(offer) if offer.protocol == PROTOCOL => offer,
            Word::Offer(offer) => {
                return Err(HandoverError::Protocol { ours: PROTOCOL, theirs: offer.protocol });
            }
            Word::Refused(reason) => return Err(HandoverError::Refused(reason)),
            other @ (Word::Go | Word::Closed(_) | Word::Serving(_)) => {
                return Err(HandoverError::OutOfTurn(other.name()));
            }
        };
        let sockets = take(&offer.sockets, descriptors)?;
        Ok((Self { stream, offer }, sockets))
    }

    /// What it offered.
    #[must_use]
    pub const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Lets it close. From this call on the successor has to open the store.
    ///
    /// # Errors
    /// [`HandoverError`]. Whether the gate has closed is not known then: its log says it, and the
    /// store's lock holds whoever would open it too early.
    pub fn go(&self) -> Result<Closed, HandoverError> {
        say(&self.stream, &Word::Go)?;
        let drain = Duration::from_millis(self.offer.terms.drain_timeout_ms);
        match hear(&self.stream, drain + SEAL_TIMEOUT)? {
            Word::Closed(closed) => Ok(closed),
            Word::Refused(reason) => Err(HandoverError::Refused(reason)),
            other @ (Word::Go | Word::Offer(_) | Word::Serving(_)) => {
                Err(HandoverError::OutOfTurn(other.name()))
            }
        }
    }

    /// Tells it that it may end.
    ///
    /// # Errors
    /// [`HandoverError`]; it has ended already then, and the handover stands.
    pub fn tell_serving(&self, serving: Serving) -> Result<(), HandoverError> {
        say(&self.stream, &Word::Serving(serving))
    }
}

/// The sockets, each shown to be what the offer says.
fn take(
    offered: &[OfferedSocket],
    descriptors: Vec<OwnedFd>,
) -> Result<Vec<(SocketAddr, TcpListener)>, HandoverError> {
    if offered.len() != descriptors.len() {
        return Err(HandoverError::Sockets("another number of them"));
    }
    let check = |(offered, descriptor): (&OfferedSocket, OwnedFd)| {
        let listens = rustix::net::sockopt::socket_acceptconn(&descriptor);
        if !listens.map_err(|error| HandoverError::Io(error.into()))? {
            return Err(HandoverError::Sockets("one does not listen"));
        }
        let listener = TcpListener::from(descriptor);
        if listener.local_addr().map_err(HandoverError::Io)? != offered.bound {
            return Err(HandoverError::Sockets("one listens elsewhere"));
        }
        Ok((offered.address, listener))
    };
    offered.iter().zip(descriptors).map(check).collect()
}
