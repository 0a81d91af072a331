//! From whoever gives an event in to the sinks: spool first, then the book, then a bell for each
//! sink's task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::book::{Book, Next, Outcome};
use super::feed::Feed;
use super::sink::Sink;
use super::spool::{Left, Slot, Spool};
use super::{Event, EventsError, Paging, Settings};
use crate::clock;
use crate::metrics::{Delivery, EventMetrics, SinkMetrics};

/// Pages that wait in memory, those on disk among them.
const PAGES_MAX: usize = 16_384;

/// What is between emitters and sinks.
#[derive(Debug)]
pub(super) struct Bus {
    pub(super) sinks: Vec<Sink>,
    pub(super) feed: Feed,
    pub(super) metrics: EventMetrics,
    fallback_after: Duration,
    of_sinks: Vec<SinkMetrics>,
    bells: Vec<Notify>,
    sequence: AtomicU64,
    spool: Mutex<Option<Spool>>,
    book: Mutex<Book>,
}

impl Bus {
    /// Opens the spool, where any sink pages, and takes up what it holds.
    pub(super) fn open(settings: &Settings, metrics: &EventMetrics) -> Result<Self, EventsError> {
        let sinks = settings.sinks.iter();
        let sinks = sinks.map(|sink| Sink::new(sink, &settings.source));
        let sinks: Vec<Sink> = sinks.collect::<Result<_, _>>()?;
        let terms: Vec<_> = sinks.iter().map(|sink| sink.terms(settings.fallback_after)).collect();
        let mut book = Book::new(&terms);
        let (spool, left) = match book.has_pager() {
            true => {
                let (spool, left) = Spool::open(&settings.directory)?;
                (Some(spool), left)
            }
            false => (None, Vec::new()),
        };
        say_what_is_left(spool.as_ref(), &left);
        let sequence = left.last().map_or(1, |page| page.sequence + 1);
        let feed = Feed::default();
        for page in left {
            let has = |lane: usize| page.is_accepted_by(&sinks[lane].settings.name);
            let event = Arc::new(page.event.clone());
            book.add_page(page.sequence, &event, Some(page.slot), Instant::now(), has);
            feed.push(&event);
        }
        Ok(Self {
            of_sinks: sinks.iter().map(|sink| metrics.sink(&sink.settings.name)).collect(),
            bells: sinks.iter().map(|_| Notify::new()).collect(),
            sinks,
            feed,
            metrics: metrics.clone(),
            fallback_after: settings.fallback_after,
            sequence: AtomicU64::new(sequence),
            spool: Mutex::new(spool),
            book: Mutex::new(book),
        })
    }

    /// See [`super::Events::emit`].
    pub(super) fn emit(&self, event: Event) {
        let event = Arc::new(event);
        self.feed.push(&event);
        let is_page = event.paging != Paging::None && self.book.lock().has_pager();
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let slot = if is_page { self.keep(sequence, &event) } else { None };
        let mut book = self.book.lock();
        let now = Instant::now();
        if is_page {
            if slot.is_none() && book.pages() >= PAGES_MAX {
                drop(book);
                tracing::error!(
                    event = "page_lost",
                    event_id = event.id,
                    dedup_key = event.dedup_key,
                    "{PAGES_MAX} pages wait and no sink takes any; this one is in the log alone"
                );
                return;
            }
            book.add_page(sequence, &event, slot, now, |_| false);
        }
        let full = book.add_event(sequence, &event, now);
        drop(book);
        for lane in full {
            self.of_sinks[lane].count(false, Delivery::Dropped);
        }
        self.ring();
    }

    /// Writes a page to the spool.
    fn keep(&self, sequence: u64, event: &Event) -> Option<Slot> {
        if self.spool.lock().as_ref().is_some_and(Spool::is_full) {
            let freed = self.book.lock().give_up(Instant::now(), true);
            self.free(freed);
        }
        let kept = self.spool.lock().as_mut().map(|spool| spool.put(sequence, event));
        let reason = match kept {
            Some(Ok(Some(slot))) => return Some(slot),
            Some(Ok(None)) => "every place is taken: no sink takes pages".to_owned(),
            Some(Err(error)) => error.to_string(),
            None => "the gate closes".to_owned(),
        };
        self.metrics.not_spooled.inc();
        tracing::error!(
            event = "page_not_spooled",
            event_id = event.id,
            dedup_key = event.dedup_key,
            reason,
            "a page is in memory alone: it is lost if the gate ends before a sink takes it"
        );
        None
    }

    /// What to send next to a sink.
    pub(super) fn next(&self, lane: usize, at_once: usize) -> Next {
        self.book.lock().next(lane, at_once, Instant::now())
    }

    /// Notes what came of sending, and says what somebody must know.
    pub(super) fn settle(&self, lane: usize, sequence: u64, is_page: bool, outcome: &Outcome) {
        let now = Instant::now();
        let settled = self.book.lock().settle(lane, sequence, outcome, super::random(), now);
        let (sink, metrics) = (&self.sinks[lane].settings.name, &self.of_sinks[lane]);
        match outcome {
            Outcome::Accepted => {
                metrics.count(is_page, Delivery::Delivered);
                let now_s = i64::try_from(clock::unix_ms() / 1_000).unwrap_or(i64::MAX);
                metrics.last_success.set(now_s);
            }
            Outcome::Refused(_) => metrics.count(is_page, Delivery::Refused),
            Outcome::Failed { .. } => metrics.count(is_page, Delivery::Failed),
        }
        if let Some(slot) = settled.marked
            && let Some(spool) = &*self.spool.lock()
            && let Err(error) = spool.mark(slot, sequence, sink)
        {
            tracing::warn!(event = "spool_failed", %error, "a delivered page may come twice");
        }
        self.free(settled.freed);
        if settled.wakes_fallbacks {
            self.ring();
        }
    }

    fn free(&self, slots: impl IntoIterator<Item = Slot>) {
        let mut spool = self.spool.lock();
        let Some(spool) = &mut *spool else { return };
        for slot in slots {
            if let Err(error) = spool.free(slot) {
                tracing::warn!(event = "spool_failed", %error, "a delivered page may come twice");
            }
        }
    }

    /// Gives up at other sinks what one of them has had for a day.
    pub(super) fn give_up_old(&self) {
        let freed = self.book.lock().give_up(Instant::now(), false);
        self.free(freed);
    }

    fn ring(&self) {
        for bell in &self.bells {
            bell.notify_one();
        }
    }

    /// Resolves when something may have changed for a sink.
    pub(super) async fn rung(&self, lane: usize) {
        self.bells[lane].notified().await;
    }

    /// Whether a page has waited so long that even a fallback should have it.
    pub(super) fn is_overdue(&self) -> bool {
        let (_, since) = self.book.lock().undelivered();
        since.is_some_and(|since| Instant::now().duration_since(since) > 2 * self.fallback_after)
    }

    /// Brings the gauges up to date.
    pub(super) fn update_metrics(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let book = self.book.lock();
        let (undelivered, since) = book.undelivered();
        self.metrics.pages.set(gauge(book.pages()));
        self.metrics.undelivered.set(gauge(undelivered));
        let age = since.map_or(0, |since| Instant::now().duration_since(since).as_secs());
        self.metrics.oldest_seconds.set(i64::try_from(age).unwrap_or(i64::MAX));
        for (lane, metrics) in self.of_sinks.iter().enumerate() {
            metrics.waiting.set(gauge(book.waiting(lane)));
        }
    }

    /// Requests that are under way.
    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.book.lock().in_flight()
    }

    /// Pages that are not over.
    #[cfg(test)]
    pub(super) fn pages(&self) -> usize {
        self.book.lock().pages()
    }

    /// Lets another process have the spool. What comes from now on is in memory alone.
    pub(super) fn close(&self) {
        *self.spool.lock() = None;
    }
}

fn say_what_is_left(spool: Option<&Spool>, left: &[Left]) {
    if !left.is_empty() {
        tracing::warn!(
            event = "pages_left",
            pages = left.len(),
            "pages of the last run are delivered now; some may come twice, under the same id"
        );
    }
    let broken = spool.map_or(0, Spool::broken);
    if broken > 0 {
        tracing::warn!(
            event = "spool_torn",
            places = broken,
            "places of the spool hold no whole page: what was being written as the last run ended"
        );
    }
}
