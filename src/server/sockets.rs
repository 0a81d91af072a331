//! Listening sockets that outlive the process that bound them.
//!
//! A gate that hands over passes its sockets on ([`crate::handover`]). The kernel goes on queueing
//! connections on them, so that a client that connects meanwhile waits and is not refused. A socket
//! is known by the address that the configuration gives it, whatever listens there.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// The sockets of this process, by configured address.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Received from the gate before, or bound early; nobody listens on them yet.
    waiting: Vec<(SocketAddr, TcpListener)>,
    /// Second handles of those that are listened on, to pass on.
    held: Vec<(SocketAddr, TcpListener)>,
}

impl Sockets {
    /// With sockets that another process has bound.
    #[must_use]
    pub const fn inherited(waiting: Vec<(SocketAddr, TcpListener)>) -> Self {
        Self { waiting, held: Vec::new() }
    }

    /// Binds now what will be listened on later, so that an address that is taken is found early.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub fn reserve(&mut self, addresses: &[SocketAddr]) -> io::Result<()> {
        let mut spare: Vec<SocketAddr> = self.waiting.iter().map(|(address, _)| *address).collect();
        for address in addresses {
            match spare.iter().position(|it| it == address) {
                // One socket for each mention: port 0 may be configured twice.
                Some(index) => drop(spare.swap_remove(index)),
                None => {
                    let listener = super::bind(*address)?;
                    self.waiting.push((*address, listener));
                }
            }
        }
        Ok(())
    }

    /// A listener on `address`: one that waits here, or a new one.
    ///
    /// # Errors
    /// When there is none and it cannot be bound.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<TcpListener> {
        self.reserve(&[address])?;
        let index = self.waiting.iter().position(|(waiting, _)| *waiting == address);
        let index = index.ok_or_else(|| io::Error::other("a reserved socket is gone"))?;
        let (_, listener) = self.waiting.remove(index);
        self.held.push((address, listener.try_clone()?));
        Ok(listener)
    }

    /// Closes what waits and was asked for by nobody: addresses that the configuration has no more.
    pub fn close_unused(&mut self) -> Vec<SocketAddr> {
        self.waiting.drain(..).map(|(address, _)| address).collect()
    }

    /// Closes the handles that were kept to be passed on: who drains must not go on queueing.
    pub fn close(&mut self) {
        self.waiting.clear();
        self.held.clear();
    }

    /// What is listened on, by configured address.
    #[must_use]
    pub fn held(&self) -> &[(SocketAddr, TcpListener)] {
        &self.held
    }
}
