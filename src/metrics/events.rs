//! The figures of what people are told. The labels are names of the configuration.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::families;

/// What becomes of events.
#[derive(Clone, Debug)]
pub struct EventMetrics {
    deliveries: IntCounterVec,
    waiting: IntGaugeVec,
    last_success: IntGaugeVec,
    heartbeats: IntCounterVec,
    /// Pages that are not over.
    pub pages: IntGauge,
    /// Pages that nobody has accepted.
    pub undelivered: IntGauge,
    /// Seconds since the earliest of them.
    pub oldest_seconds: IntGauge,
    /// Pages that are in memory alone.
    pub not_spooled: IntCounter,
}

/// What is counted of one sink.
#[derive(Clone, Debug)]
pub struct SinkMetrics {
    deliveries: IntCounterVec,
    /// What waits for it.
    pub waiting: IntGauge,
    /// When it last took something, in seconds of Unix time.
    pub last_success: IntGauge,
    name: String,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The sink took it.
    Delivered,
    /// Not now.
    Failed,
    /// Never.
    Refused,
    /// There was no room to wait.
    Dropped,
}

impl Delivery {
    const ALL: [Self; 4] = [Self::Delivered, Self::Failed, Self::Refused, Self::Dropped];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        }
    }
}

impl EventMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            deliveries: families::EVENT_DELIVERIES.counters(registry),
            waiting: families::EVENTS_WAITING.gauges(registry),
            last_success: families::EVENT_LAST_SUCCESS.gauges(registry),
            heartbeats: families::HEARTBEATS.counters(registry),
            pages: families::PAGES.gauge(registry),
            undelivered: families::PAGES_UNDELIVERED.gauge(registry),
            oldest_seconds: families::PAGES_OLDEST.gauge(registry),
            not_spooled: families::PAGES_NOT_SPOOLED.counter(registry),
        }
    }

    /// For what registers nothing.
    pub fn unregistered() -> Self {
        Self::new(&Registry::new())
    }

    /// The figures of a sink; each shows as 0 from now on.
    pub fn sink(&self, name: &str) -> SinkMetrics {
        for kind in KINDS {
            for delivery in Delivery::ALL {
                self.deliveries.with_label_values(&[name, kind, delivery.as_str()]).reset();
            }
        }
        SinkMetrics {
            deliveries: self.deliveries.clone(),
            waiting: self.waiting.with_label_values(&[name]),
            last_success: self.last_success.with_label_values(&[name]),
            name: name.to_owned(),
        }
    }

    /// Counts a heartbeat: `sent`, `failed` or `withheld`.
    pub fn heartbeat(&self, outcome: &str) {
        self.heartbeats.with_label_values(&[outcome]).inc();
    }
}

impl SinkMetrics {
    /// Counts what became of an attempt.
    pub fn count(&self, is_page: bool, delivery: Delivery) {
        let labels = [self.name.as_str(), KINDS[usize::from(is_page)], delivery.as_str()];
        self.deliveries.with_label_values(&labels).inc();
    }
}

const KINDS: [&str; 2] = ["event", "page"];
