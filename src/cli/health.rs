//! `portcullis health`: for a container's health check, where there is no `curl`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use super::Exit;

/// `portcullis health`.
#[derive(Args)]
pub struct HealthArgs {
    /// The gate's metrics.address
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9001")]
    metrics: SocketAddr,
}

impl HealthArgs {
    /// Asks a running gate whether its process is in order, as `/healthz` says.
    ///
    /// # Errors
    /// Why not.
    pub fn run(&self) -> anyhow::Result<Exit> {
        let address = self.metrics;
        let answer = ask(address).with_context(|| format!("the gate at {address} is not there"))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        ensure!(head.split(' ').nth(1) == Some("200"), "{}", body.trim());
        Ok(Exit::Done)
    }
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

const PATIENCE: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 4_096;
