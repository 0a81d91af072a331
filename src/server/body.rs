//! Request bodies: bounded in size, in time, and in what all of them hold together.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

use super::ServerLimits;
use super::stats::WorkerStats;

/// A body up to this size may use the whole budget; real duties have 0.5 to 2 KB.
const SMALL_BODY_BYTES: u64 = 64 << 10;

/// First allocation for a body that arrives in pieces, whatever size it claims to have.
const FIRST_ALLOCATION_BYTES: usize = 16 << 10;

/// Why a body was not read. The client's fault, except [`BodyError::BudgetExhausted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is, or says that it will be, larger than a body may be.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The largest body that is read, in bytes.
        limit: u64,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    Timeout,
    /// It broke off, or its framing is wrong.
    #[error("the body is incomplete")]
    Incomplete,
    /// The bodies of all requests together hold as much as they may: overload.
    #[error("too many bytes of request bodies are held")]
    BudgetExhausted,
}

impl BodyError {
    /// The stable name of this error in metrics, audit and documentation.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "body_too_large",
            Self::Timeout => "body_timeout",
            Self::Incomplete => "body_incomplete",
            Self::BudgetExhausted => "body_budget_exhausted",
        }
    }
}

/// The bytes that all request bodies of a server may hold at one time.
///
/// Only bytes that have arrived count: a claimed `Content-Length` that never comes costs nothing.
/// Large bodies may use seven eighths alone, so that they cannot crowd out the duties.
#[derive(Debug)]
pub struct BodyBudget {
    held: AtomicU64,
    limit: u64,
}

impl BodyBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { held: AtomicU64::new(0), limit }
    }

    /// The bytes that are held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    fn take(&self, bytes: u64, large: bool) -> bool {
        let limit = if large { self.limit - self.limit / 8 } else { self.limit };
        self.held
            .fetch_update(Relaxed, Relaxed, |held| {
                held.checked_add(bytes).filter(|held| *held <= limit)
            })
            .is_ok()
    }
}

/// One body's part of the budget, given back on drop.
#[derive(Debug)]
struct Reservation {
    budget: Arc<BodyBudget>,
    bytes: u64,
}

impl Reservation {
    fn grow(&mut self, bytes: u64) -> Result<(), BodyError> {
        let large = self.bytes + bytes > SMALL_BODY_BYTES;
        if !self.budget.take(bytes, large) {
            return Err(BodyError::BudgetExhausted);
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

/// A whole body. It counts against the budget until it is dropped.
#[derive(Debug)]
pub struct ReceivedBody {
    bytes: Bytes,
    _reservation: Reservation,
}

impl Deref for ReceivedBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads bodies for one worker, within the limits of its server, and counts what fails.
#[derive(Debug, Clone)]
pub struct Bodies {
    budget: Arc<BodyBudget>,
    bytes_max: u64,
    timeout: Duration,
    stats: Arc<WorkerStats>,
}

impl Bodies {
    pub(super) fn new(
        limits: &ServerLimits,
        budget: Arc<BodyBudget>,
        stats: Arc<WorkerStats>,
    ) -> Self {
        Self { budget, bytes_max: limits.body_bytes_max, timeout: limits.body_timeout, stats }
    }

    /// Reads one body to its end.
    ///
    /// # Errors
    /// See [`BodyError`]. The connection is closed once the request is answered, as its rest was
    /// not read; a client that waits for `100 Continue` is never asked for a body too large.
    pub async fn read<B>(&self, body: B) -> Result<ReceivedBody, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let deadline = Instant::now() + self.timeout;
        let result = read(body, self.bytes_max, &self.budget, deadline).await;
        if let Err(error) = &result {
            match error {
                BodyError::TooLarge { .. } => self.stats.bodies_too_large.increment(),
                BodyError::Timeout => self.stats.body_timeouts.increment(),
                BodyError::Incomplete => self.stats.bodies_incomplete.increment(),
                BodyError::BudgetExhausted => self.stats.bodies_over_budget.increment(),
            }
        }
        result
    }
}

/// Reads `body` to its end, at most `bytes_max` bytes of it, out of `budget`, until `deadline`.
///
/// # Errors
/// See [`BodyError`]; a `Content-Length` above `bytes_max` is refused before a byte is read.
pub async fn read<B>(
    body: B,
    bytes_max: u64,
    budget: &Arc<BodyBudget>,
    deadline: Instant,
) -> Result<ReceivedBody, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > bytes_max {
        return Err(BodyError::TooLarge { limit: bytes_max });
    }
    let reservation = Reservation { budget: Arc::clone(budget), bytes: 0 };
    timeout_at(deadline, collect(body, bytes_max, reservation))
        .await
        .unwrap_or(Err(BodyError::Timeout))
}

async fn collect<B>(
    mut body: B,
    bytes_max: u64,
    mut reservation: Reservation,
) -> Result<ReceivedBody, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    // A duty arrives in one piece, which is passed on as it is; only larger bodies are copied.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|_| BodyError::Incomplete)?.into_data() else {
            continue; // trailers
        };
        let bytes = chunk.len() as u64;
        if reservation.bytes + bytes > bytes_max {
            return Err(BodyError::TooLarge { limit: bytes_max });
        }
        reservation.grow(bytes)?;
        if first.is_empty() && rest.is_empty() {
            first = chunk;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(FIRST_ALLOCATION_BYTES.max(first.len() + chunk.len()));
            rest.extend_from_slice(&first);
            first = Bytes::new();
        }
        rest.extend_from_slice(&chunk);
    }
    let bytes = if rest.is_empty() { first } else { rest.freeze() };
    Ok(ReceivedBody { bytes, _reservation: reservation })
}
