//! Work that waits for a disk or walks over many keys: on a thread of its own, so that the API goes
//! on answering others.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::{Desk, Problem};

/// Runs `work` where it may block.
///
/// # Errors
/// When it panics: a fault of the program, and of this call alone.
pub async fn blocking<T: Send + 'static>(
    desk: &Arc<Desk>,
    work: impl FnOnce(&Desk) -> T + Send + 'static,
) -> Result<T, Problem> {
    let desk = Arc::clone(desk);
    let done = tokio::task::spawn_blocking(move || work(&desk)).await;
    done.map_err(|error| {
        tracing::error!(event = "admin_call_failed", %error, "a call failed");
        Problem::internal("a fault of the program; please report it")
    })
}

/// A body that is read where it may block, while it comes in: no more of it is held than a few
/// pieces.
pub(super) struct Incoming {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Incoming {
    /// Begins to read `body`, and breaks off beyond `bytes_max`.
    pub(super) fn of(mut body: Body, bytes_max: u64) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        tokio::spawn(async move {
            let mut read = 0;
            loop {
                let piece = match tokio::time::timeout(STALLED, body.frame()).await {
                    Ok(None) => return,
                    Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                    Err(_) => {
                        let what = "the body stalled";
                        let _ =
                            sender.send(Err(io::Error::new(io::ErrorKind::TimedOut, what))).await;
                        return;
                    }
                    Ok(Some(Err(error))) => {
                        let _ = sender.send(Err(io::Error::other(error))).await;
                        return;
                    }
                };
                read += piece.len() as u64;
                let result = if read > bytes_max {
                    let what = format!("the body is larger than {bytes_max} bytes");
                    Err(io::Error::new(io::ErrorKind::FileTooLarge, what))
                } else {
                    Ok(piece)
                };
                let is_end = result.is_err();
                if sender.send(result).await.is_err() || is_end {
                    return;
                }
            }
        });
        Self { pieces, piece: Bytes::new() }
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = piece?,
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

const PIECES_MAX: usize = 16;
const STALLED: Duration = Duration::from_secs(30);
