//! The signer behind every subject: signatures that were made before, from one thread, far cheaper
//! than anything that is measured. A process of its own: `load stub`.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;

use rustix::event::epoll;
use rustix::fd::OwnedFd;

use super::http::{Message, find};
use super::keys::{self, KeyHex};
use super::requests::Rounds;

/// The signatures of the rounds that are verified; of all others the first signature is returned.
struct Signatures {
    rows: HashMap<KeyHex, usize>,
    rounds: HashMap<[u8; 64], Vec<[u8; 96]>>,
    any: [u8; 96],
}

impl Signatures {
    fn make(keys: &[KeyHex], rounds: u64) -> io::Result<Self> {
        let makes = Rounds::new()?;
        let mut signatures = Self {
            rows: keys.iter().enumerate().map(|(row, key)| (*key, row)).collect(),
            rounds: HashMap::new(),
            any: keys::signatures(&[1; 32], 1)[0],
        };
        for number in 0..rounds {
            let root = makes.round(number).root;
            let mut hex = [0; 64];
            faster_hex::hex_encode(&root, &mut hex).map_err(io::Error::other)?;
            signatures.rounds.insert(hex, keys::signatures(&root, keys.len()));
        }
        Ok(signatures)
    }

    fn find(&self, message: &Message<'_>) -> Option<&[u8; 96]> {
        if self.rounds.is_empty() {
            return Some(&self.any);
        }
        const PATH: &[u8] = b"/sign/0x";
        const ROOT: &[u8] = b"\"signingRoot\":\"0x";
        let key_at = find(message.head, PATH)? + PATH.len();
        let root_at = find_text(message.body, ROOT)? + ROOT.len();
        let key: &KeyHex = message.head.get(key_at..key_at + 96)?.try_into().ok()?;
        let root: &[u8; 64] = message.body.get(root_at..root_at + 64)?.try_into().ok()?;
        self.rounds.get(root)?.get(*self.rows.get(key)?)
    }
}

/// Where `needle` stands in JSON, in which its first byte, a quote, is not rare.
fn find_text(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

struct Stub {
    poll: OwnedFd,
    listener: TcpListener,
    peers: HashMap<u64, Peer>,
    next: u64,
    signatures: Signatures,
    key_list: Vec<u8>,
}

const LISTENER: u64 = 0;
/// Larger than any request for a signature.
const BUFFER_BYTES: usize = 16 << 10;

/// Serves for ever. Says its address on standard output.
pub(crate) fn run(keys_file: &Path, rounds: u64) -> io::Result<()> {
    let keys = keys::read(keys_file)?;
    let signatures = Signatures::make(&keys, rounds)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    println!("{}", listener.local_addr()?);
    let key_list = key_list(&keys);
    let peers = HashMap::new();
    let mut stub = Stub { poll, listener, peers, next: LISTENER + 1, signatures, key_list };
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        epoll::wait(&stub.poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            match event.data.u64() {
                LISTENER => stub.accept()?,
                id => stub.serve(id),
            }
        }
    }
}

fn key_list(keys: &[KeyHex]) -> Vec<u8> {
    let names: Vec<_> = keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
    let list = names.iter().map(|name| format!("\"0x{name}\"")).collect::<Vec<_>>().join(",");
    answer("application/json", format!("[{list}]").as_bytes())
}

fn answer(content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl Stub {
    fn accept(&mut self) -> io::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(self.next);
            epoll::add(&self.poll, &stream, data, epoll::EventFlags::IN)?;
            let peer = Peer { stream, buffer: vec![0; BUFFER_BYTES], filled: 0 };
            self.peers.insert(self.next, peer);
            self.next += 1;
        }
        Ok(())
    }

    /// Answers what is complete; a peer that fails is forgotten, which closes its connection.
    fn serve(&mut self, id: u64) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let alive = match peer.stream.read(&mut peer.buffer[peer.filled..]) {
            Ok(0) => false,
            Ok(read) => {
                peer.filled += read;
                peer.answer(&self.signatures, &self.key_list).is_ok()
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if !alive {
            self.peers.remove(&id);
        }
    }
}

const SIGNED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Content-Length: 210\r\n\r\n{\"signature\":\"0x";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

impl Peer {
    fn answer(&mut self, signatures: &Signatures, key_list: &[u8]) -> io::Result<()> {
        while let Some(message) = Message::first(&self.buffer[..self.filled]) {
            let length = message.len();
            if message.head.starts_with(b"POST ") {
                let mut bytes = [0; SIGNED.len() + 192 + 2];
                bytes[..SIGNED.len()].copy_from_slice(SIGNED);
                let (hex, end) = bytes[SIGNED.len()..].split_at_mut(192);
                end.copy_from_slice(b"\"}");
                let found = signatures.find(&message);
                let encoded = found.map(|signature| faster_hex::hex_encode(signature, hex).is_ok());
                let whole: &[u8] = if encoded == Some(true) { &bytes } else { NOT_FOUND };
                self.stream.write_all(whole)?;
            } else if message.head.starts_with(b"GET /upcheck") {
                self.stream.write_all(&answer("text/plain", b"OK"))?;
            } else if message.head.starts_with(b"GET /api/v1/eth2/publicKeys") {
                self.send_whole(key_list)?;
            } else {
                self.stream.write_all(NOT_FOUND)?;
            }
            self.buffer.copy_within(length..self.filled, 0);
            self.filled -= length;
        }
        Ok(())
    }

    /// Sends what does not fit into a socket's buffer: between measurements, so it may block.
    fn send_whole(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.write_all(bytes)?;
        self.stream.set_nonblocking(true)
    }
}
