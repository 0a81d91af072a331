//! The PROXY protocol, version 2: a balancer in front says for whom it connects.
//!
//! Source: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, section 2.2. Whoever may
//! say it may take any client's address: the header is read from trusted addresses only, and on a
//! listener that expects it nothing else is served.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

#[cfg(test)]
mod tests;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    /// The connection is the balancer's own: its health check. Or it says no address.
    Local,
    /// The connection is for a client at this address.
    For(SocketAddr),
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The connection does not begin with one.
    #[error("the connection does not begin with a PROXY protocol header")]
    Missing,
    /// It is of version 1, the text.
    #[error("the header is of PROXY protocol version 1: set the balancer to version 2")]
    Version1,
    /// It has the signature of version 2, and another version.
    #[error("the header is of PROXY protocol version {0}; 2 is served")]
    Version(u8),
    /// Its command is neither LOCAL nor PROXY.
    #[error("the header has the unknown command {0}")]
    Command(u8),
    /// Not TCP over IPv4 or IPv6.
    #[error("the header is of a family and transport that are not served: {0:#04x}")]
    Transport(u8),
    /// Shorter than its addresses, or longer than any.
    #[error("the header cannot be {0} bytes long")]
    Length(u16),
    /// The connection ended or broke in it.
    #[error("the connection broke off in its PROXY protocol header")]
    Broken(#[source] io::Error),
}

/// Reads the header that a connection begins with, and not a byte more.
///
/// # Errors
/// [`ProxyError`], at the first byte that says so.
pub async fn read(io: &mut (impl AsyncRead + Unpin)) -> Result<Proxied, ProxyError> {
    let mut head = [0; HEAD_BYTES];
    let mut filled = 0;
    while filled < HEAD_BYTES {
        let bytes = io.read(&mut head[filled..]).await.map_err(ProxyError::Broken)?;
        if bytes == 0 {
            return Err(ProxyError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        filled += bytes;
        check_beginning(&head[..filled])?;
    }
    let head = Head::parse(&head)?;
    let mut rest = vec![0; usize::from(head.length)];
    io.read_exact(&mut rest).await.map_err(ProxyError::Broken)?;
    head.addresses(&rest)
}

/// Reads a header at the beginning of `bytes`: what it says, and its length.
///
/// # Errors
/// [`ProxyError`]; [`ProxyError::Broken`] when there are too few bytes.
pub fn parse(bytes: &[u8]) -> Result<(Proxied, usize), ProxyError> {
    check_beginning(&bytes[..bytes.len().min(HEAD_BYTES)])?;
    let broken = || ProxyError::Broken(io::ErrorKind::UnexpectedEof.into());
    let (head, rest) = bytes.split_first_chunk().ok_or_else(broken)?;
    let head = Head::parse(head)?;
    let rest = rest.get(..usize::from(head.length)).ok_or_else(broken)?;
    Ok((head.addresses(rest)?, HEAD_BYTES + rest.len()))
}

/// Whether what has arrived may become a header of version 2.
fn check_beginning(bytes: &[u8]) -> Result<(), ProxyError> {
    let shared = bytes.len().min(SIGNATURE.len());
    if bytes[..shared] == SIGNATURE[..shared] {
        return Ok(());
    }
    let is_version_1 = bytes.len() >= VERSION_1.len() && bytes.starts_with(VERSION_1);
    let may_be_version_1 = VERSION_1.starts_with(bytes);
    match (is_version_1, may_be_version_1) {
        (true, _) => Err(ProxyError::Version1),
        (false, true) => Ok(()), // known with its next bytes
        (false, false) => Err(ProxyError::Missing),
    }
}

/// The fixed part of a header.
struct Head {
    is_local: bool,
    transport: u8,
    length: u16,
}

impl Head {
    fn parse(bytes: &[u8; HEAD_BYTES]) -> Result<Self, ProxyError> {
        let [.., version_and_command, transport, high, low] = *bytes;
        match version_and_command >> 4 {
            2 => {}
            version => return Err(ProxyError::Version(version)),
        }
        let is_local = match version_and_command & 0xf {
            0 => true,
            1 => false,
            command => return Err(ProxyError::Command(command)),
        };
        let length = u16::from_be_bytes([high, low]);
        if length > LENGTH_MAX {
            return Err(ProxyError::Length(length));
        }
        Ok(Self { is_local, transport, length })
    }

    /// Behind the addresses stand values that are of no use here.
    fn addresses(&self, rest: &[u8]) -> Result<Proxied, ProxyError> {
        if self.is_local {
            return Ok(Proxied::Local);
        }
        let too_short = || ProxyError::Length(self.length);
        match self.transport {
            UNSPECIFIED => Ok(Proxied::Local),
            TCP_OVER_IPV4 => {
                let addresses: &[u8; 12] = rest.first_chunk().ok_or_else(too_short)?;
                let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
                Ok(Proxied::For(source(Ipv4Addr::new(a, b, c, d).into(), [high, low])))
            }
            TCP_OVER_IPV6 => {
                let (address, rest) = rest.split_first_chunk::<16>().ok_or_else(too_short)?;
                let ports = rest.get(16..20).ok_or_else(too_short)?;
                let address = Ipv6Addr::from(*address).to_canonical();
                Ok(Proxied::For(source(address, [ports[0], ports[1]])))
            }
            other => Err(ProxyError::Transport(other)),
        }
    }
}

fn source(address: IpAddr, port: [u8; 2]) -> SocketAddr {
    SocketAddr::new(address, u16::from_be_bytes(port))
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_1: &[u8] = b"PROXY ";
const HEAD_BYTES: usize = 16;
/// The addresses and their type-length-values; balancers send some hundred bytes.
const LENGTH_MAX: u16 = 4096;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
