//! Keys whose owner has changed, on their way to the disk.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use policy::WindowId;
use tokio::sync::oneshot;

use crate::validators::RowIndex;

/// A key whose owner has changed, or may not sign from now on: to be written at once.
#[derive(Debug)]
pub struct NewOwner {
    /// Which.
    pub row: RowIndex,
    /// The rotation window that handed it over.
    pub window: Option<WindowId>,
    written: Option<oneshot::Sender<()>>,
}

impl NewOwner {
    pub(super) fn first(row: RowIndex) -> Self {
        Self { row, window: None, written: None }
    }

    pub(super) fn moved(row: RowIndex, window: Option<WindowId>) -> (Self, LeaseWrite) {
        let (written, write) = oneshot::channel();
        (Self { row, window, written: Some(written) }, LeaseWrite(write))
    }

    /// Whether a request waits for it to be on disk.
    pub fn is_awaited(&self) -> bool {
        self.written.is_some()
    }

    /// It is on disk: what waits for it goes on. Dropped instead, it goes on as well: a disk that
    /// takes no baselines costs no duty, and EIP-3076 stands beside them.
    pub fn written(self) {
        if let Some(written) = self.written {
            let _ = written.send(()); // whose request has ended meanwhile
        }
    }
}

/// The promise that the new owner of a key is on disk. After a crash the former one has lost it.
#[derive(Debug)]
pub struct LeaseWrite(oneshot::Receiver<()>);

impl Future for LeaseWrite {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(|_| ())
    }
}
