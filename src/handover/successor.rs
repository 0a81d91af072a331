//! The gate that follows, as the running gate sees it.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::net::{RecvFlags, recv};

use super::line::{hear, say, say_with};
use super::{
    ANSWER_TIMEOUT, Ask, Closed, GO_TIMEOUT, HandoverError, OPEN_TIMEOUT, Offer, OfferedSocket,
    PROTOCOL, Serving, Terms, Word,
};

/// A successor that has our sockets and has given the word.
#[derive(Debug)]
pub struct Successor {
    stream: UnixStream,
    ask: Ask,
}

impl Successor {
    /// Offers `sockets` to whoever asked over `stream`, and waits for the word to go.
    ///
    /// # Errors
    /// [`HandoverError`]: this gate goes on.
    pub fn offer(
        stream: UnixStream,
        ask: &Ask,
        sockets: &[(SocketAddr, TcpListener)],
        terms: Terms,
    ) -> Result<Self, HandoverError> {
        stream.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(HandoverError::Io)?;
        if ask.protocol != PROTOCOL {
            let error = HandoverError::Protocol { ours: PROTOCOL, theirs: ask.protocol };
            say(&stream, &Word::Refused(error.to_string()))?;
            return Err(error);
        }
        let described = sockets.iter().map(|(address, listener)| {
            let bound = listener.local_addr().map_err(HandoverError::Io)?;
            Ok(OfferedSocket { address: *address, bound })
        });
        let offer = Offer {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            terms,
            sockets: described.collect::<Result<_, _>>()?,
        };
        let descriptors: Vec<_> = sockets.iter().map(|(_, listener)| listener.as_fd()).collect();
        say_with(&stream, &Word::Offer(offer), &descriptors)?;
        match hear(&stream, GO_TIMEOUT)? {
            Word::Go => Ok(Self { stream, ask: ask.clone() }),
            Word::Refused(reason) => Err(HandoverError::Refused(reason)),
            other @ (Word::Offer(_) | Word::Closed(_) | Word::Serving(_)) => {
                Err(HandoverError::OutOfTurn(other.name()))
            }
        }
    }

    /// Refuses whoever asked over `stream`.
    pub fn refuse(stream: &UnixStream, reason: &str) {
        // Whoever does not hear it sees the connection end.
        let _ = say(stream, &Word::Refused(reason.to_owned()));
    }

    /// Who asked.
    #[must_use]
    pub const fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Whether it still waits. Once it has spoken it says nothing until the store is closed.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(&self.stream, &mut [0; 1], flags), Err(rustix::io::Errno::AGAIN))
    }

    /// Tells it that the store was not closed in order. This gate signs nothing more.
    pub fn tell_not_closed(&self, reason: &str) {
        Self::refuse(&self.stream, reason);
    }

    /// Tells it that the store is sealed, and waits until it serves.
    ///
    /// # Errors
    /// [`HandoverError`]: nobody serves. Whoever starts a gate on the store now may do so.
    pub fn tell_closed(&self, closed: Closed) -> Result<Serving, HandoverError> {
        say(&self.stream, &Word::Closed(closed))?;
        match hear(&self.stream, OPEN_TIMEOUT)? {
            Word::Serving(serving) => Ok(serving),
            Word::Refused(reason) => Err(HandoverError::Refused(reason)),
            other @ (Word::Go | Word::Offer(_) | Word::Closed(_)) => {
                Err(HandoverError::OutOfTurn(other.name()))
            }
        }
    }
}
