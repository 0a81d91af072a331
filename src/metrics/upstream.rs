//! The figures of the signers behind the gate. The labels are names of the configuration, so that
//! there are never more series than somebody wrote down.

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::{REQUEST_BUCKETS, families};

/// The families, from which each signer takes its own.
pub struct UpstreamMetrics {
    requests: IntCounterVec,
    retries: IntCounterVec,
    errors: IntCounterVec,
    seconds: HistogramVec,
    refusals: IntCounterVec,
    up: IntGaugeVec,
    connections: IntGaugeVec,
    missing: IntGaugeVec,
    failovers: IntCounterVec,
    hedges: IntCounterVec,
    codes: &'static [&'static str],
}

/// What is counted of one set of signers.
#[derive(Debug)]
pub struct UpstreamSetMetrics {
    /// Another signer was asked because one had failed.
    pub failovers: IntCounter,
    /// Another signer was asked beside one that was late.
    pub hedges: IntCounter,
}

/// What is counted of one signer.
#[derive(Debug)]
pub struct ReplicaMetrics {
    /// Requests sent.
    pub requests: IntCounter,
    /// Requests sent again after a reset.
    pub retries: IntCounter,
    /// Seconds to the end of an answer.
    pub seconds: Histogram,
    /// Refusals (412) of what we had permitted.
    pub refusals: IntCounter,
    /// 1 while it answers and is not rested.
    pub up: IntGauge,
    /// Connections that a request uses.
    pub in_use: IntGauge,
    /// Connections that wait for a request.
    pub idle: IntGauge,
    /// Requests that wait for a connection.
    pub waiting: IntGauge,
    /// Keys that it lacks and another signer of its set has.
    pub missing: IntGauge,
    errors: IntCounterVec,
    labels: [String; 2],
}

impl UpstreamMetrics {
    pub(super) fn new(registry: &Registry, codes: &'static [&'static str]) -> Self {
        Self {
            requests: families::UPSTREAM_REQUESTS.counters(registry),
            retries: families::UPSTREAM_RETRIES.counters(registry),
            errors: families::UPSTREAM_ERRORS.counters(registry),
            seconds: families::UPSTREAM_SECONDS.histograms(registry, &REQUEST_BUCKETS),
            refusals: families::UPSTREAM_REFUSALS.counters(registry),
            up: families::UPSTREAM_UP.gauges(registry),
            connections: families::UPSTREAM_CONNECTIONS.gauges(registry),
            missing: families::UPSTREAM_MISSING.gauges(registry),
            failovers: families::FAILOVERS.counters(registry),
            hedges: families::HEDGES.counters(registry),
            codes,
        }
    }

    /// The figures of a set; each shows as 0 from now on.
    pub fn set(&self, upstream: &str) -> UpstreamSetMetrics {
        UpstreamSetMetrics {
            failovers: self.failovers.with_label_values(&[upstream]),
            hedges: self.hedges.with_label_values(&[upstream]),
        }
    }

    /// The figures of a signer; each shows as 0 from now on.
    pub fn replica(&self, upstream: &str, replica: &str) -> ReplicaMetrics {
        let labels = [upstream, replica];
        for code in self.codes {
            self.errors.with_label_values(&[upstream, replica, *code]).reset();
        }
        let connections =
            |state: &str| self.connections.with_label_values(&[upstream, replica, state]);
        ReplicaMetrics {
            requests: self.requests.with_label_values(&labels),
            retries: self.retries.with_label_values(&labels),
            seconds: self.seconds.with_label_values(&labels),
            refusals: self.refusals.with_label_values(&labels),
            up: self.up.with_label_values(&labels),
            in_use: connections("in_use"),
            idle: connections("idle"),
            waiting: connections("waiting"),
            missing: self.missing.with_label_values(&labels),
            errors: self.errors.clone(),
            labels: labels.map(str::to_owned),
        }
    }
}

impl ReplicaMetrics {
    /// Counts a request without a usable signature.
    pub fn error(&self, code: &str) {
        let [upstream, replica] = &self.labels;
        self.errors.with_label_values(&[upstream.as_str(), replica, code]).inc();
    }
}
