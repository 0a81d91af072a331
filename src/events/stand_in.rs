//! What stands in for a sink in tests: a real socket, and an answer as the test wants it.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It takes what comes.
    Take,
    /// With this status, and when to come again.
    Status(u16, Option<u64>),
    /// With what is no HTTP.
    Garbage,
    /// With a good status, and words of somebody else.
    OtherWords,
    /// Not at all.
    Silent,
}

#[derive(Debug, Default)]
struct Seen {
    attempts: usize,
    held: usize,
    taken: Vec<(String, Value)>,
}

/// A server on the loopback, in the test's own runtime.
#[derive(Clone, Debug)]
pub(super) struct StandIn {
    pub(super) address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    seen: Arc<Mutex<Seen>>,
}

impl StandIn {
    /// Takes with `answer`, which is what a sink of its kind says.
    pub(super) async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stand_in = Self {
            address: listener.local_addr().expect("an address"),
            mode: Arc::new(Mutex::new(Mode::Take)),
            seen: Arc::default(),
        };
        let own = stand_in.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = own.clone();
                tokio::spawn(async move {
                    let _ = own.serve(stream, answer).await; // a client that goes away
                });
            }
        });
        stand_in
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.mode.lock() = mode;
    }

    /// Requests that are held without an answer.
    pub(super) fn held(&self) -> usize {
        self.seen.lock().held
    }

    pub(super) fn attempts(&self) -> usize {
        self.seen.lock().attempts
    }

    /// Head and body of all that was taken, in order.
    pub(super) fn taken(&self) -> Vec<(String, Value)> {
        self.seen.lock().taken.clone()
    }

    pub(super) fn bodies(&self) -> Vec<Value> {
        self.taken().into_iter().map(|(_, body)| body).collect()
    }

    async fn serve(&self, stream: TcpStream, answer: &str) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).await? == 0 {
                    return Ok(());
                }
            }
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
            });
            let mut body = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut body).await?;
            let mode = *self.mode.lock();
            self.seen.lock().attempts += 1;
            let (status, extra, text) = match mode {
                Mode::Take => {
                    let body = serde_json::from_slice(&body).unwrap_or_default();
                    self.seen.lock().taken.push((head, body));
                    (202, String::new(), answer)
                }
                Mode::Status(status, after) => {
                    let after = after.map(|after| format!("Retry-After: {after}\r\n"));
                    (status, after.unwrap_or_default(), "not now")
                }
                Mode::OtherWords => (200, String::new(), "<html>a proxy's page</html>"),
                Mode::Garbage => {
                    stream.write_all(b"\x00\xffnot HTTP at all\r\n\r\n").await?;
                    return Ok(());
                }
                Mode::Silent => {
                    self.seen.lock().held += 1;
                    let gone = stream.read_u8().await;
                    self.seen.lock().held -= 1;
                    return gone.map(|_| ());
                }
            };
            let length = text.len();
            let text =
                format!("HTTP/1.1 {status} X\r\n{extra}Content-Length: {length}\r\n\r\n{text}");
            stream.write_all(text.as_bytes()).await?;
        }
    }
}
