//! A signer that has every key and costs next to nothing: it answers each request from memory.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Serves for as long as the process runs; gives the address.
pub(crate) fn start(public_keys: Arc<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let public_keys = Arc::clone(&public_keys);
            std::thread::spawn(move || serve(&stream, &public_keys));
        }
    });
    address
}

fn serve(stream: &TcpStream, public_keys: &[u8]) {
    let signature = format!("{{\"signature\":\"0x{}\"}}", "a5".repeat(96));
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Some(path) = request(&mut reader) {
        let (kind, body) = match path.as_str() {
            "/upcheck" => ("text/plain", &b"OK"[..]),
            "/api/v1/eth2/publicKeys" => ("application/json", public_keys),
            _ => ("application/json", signature.as_bytes()),
        };
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        let mut stream = stream;
        let written = if body.len() < 4_096 {
            answer.extend_from_slice(body);
            stream.write_all(&answer)
        } else {
            stream.write_all(&answer).and_then(|()| stream.write_all(body))
        };
        if written.is_err() {
            return;
        }
    }
}

/// Reads a request to its end; gives its path, `None` when the client has gone.
fn request(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(path)
}
