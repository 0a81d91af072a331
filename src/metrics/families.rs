//! Every metric there is: name, type, labels and help, in one table. The README's is made from it.

use prometheus::core::Collector;
use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// What Prometheus makes of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// One metric, with all its label values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

macro_rules! families {
    ($($constant:ident: $kind:ident $name:literal $labels:tt $help:literal;)*) => {
        $(pub(super) const $constant: Family = Family {
            name: $name,
            kind: Kind::$kind,
            labels: &$labels,
            help: $help,
        };)*
        /// All of them, in the order of the table.
        pub(super) const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    REQUESTS: Counter "portcullis_requests_total" ["type", "verdict", "code"]
        "Signing requests answered, by duty type, verdict (signed, refused, rejected, failed) \
         and stable code.";
    REQUEST_SECONDS: Histogram "portcullis_request_seconds" ["type"]
        "From the arrival of a signing request to its answer.";
    STAGE_SECONDS: Histogram "portcullis_stage_seconds" ["stage"]
        "Time in one stage of a request: read, parse, root, decide, record, forward, respond.";
    IN_FLIGHT: Gauge "portcullis_in_flight" ["class"]
        "Requests being served, by duty class.";
    OVERLOADED: Counter "portcullis_overloaded_total" ["class"]
        "Requests refused at once because the class had no room.";
    JOINS: Counter "portcullis_joined_total" []
        "Requests answered with the signature of an identical one, in flight or just finished.";
    KEYS: Gauge "portcullis_keys" ["status"]
        "Validator keys, by status.";
    CONNECTIONS: Gauge "portcullis_connections" ["state"]
        "Client connections: active ones serve a request, idle ones wait for the next.";
    CONNECTIONS_REFUSED: Counter "portcullis_connections_refused_total" []
        "Client connections closed at once because limits.connections_max were open.";
    CLIENT_REQUESTS: Counter "portcullis_client_requests_total" ["client", "verdict"]
        "Signing requests answered, by the name of the client and verdict.";
    CLIENT_REFUSED: Counter "portcullis_client_refused_total" ["code"]
        "Requests refused because they belong to no client, by stable code.";
    HANDSHAKE_FAILURES: Counter "portcullis_handshake_failures_total" ["reason"]
        "Connections that ended in their TLS handshake or PROXY protocol header, by reason.";
    ACCESS_FILES_BROKEN: Gauge "portcullis_access_files_broken" []
        "1 while a certificate, key, known-clients or password file cannot be used and what was \
         read before still holds. Alarm.";
    CERTIFICATE_EXPIRES: Gauge "portcullis_tls_certificate_expires_seconds" []
        "When the gate's own certificate expires, in seconds of Unix time; 0 without TLS.";
    UPSTREAM_REQUESTS: Counter "portcullis_upstream_requests_total" ["upstream", "replica"]
        "Signing requests sent to a signer, those after a failover and hedges included.";
    UPSTREAM_RETRIES: Counter "portcullis_upstream_retries_total" ["upstream", "replica"]
        "Requests sent again to the same signer, with the same signing root, after a reset \
         connection.";
    UPSTREAM_ERRORS: Counter "portcullis_upstream_errors_total" ["upstream", "replica", "code"]
        "Requests to a signer without a usable signature, by stable code.";
    UPSTREAM_SECONDS: Histogram "portcullis_upstream_seconds" ["upstream", "replica"]
        "From sending a request to a signer to the end of its answer.";
    UPSTREAM_REFUSALS: Counter "portcullis_upstream_refusals_total" ["upstream", "replica"]
        "Duties that a signer refused (412) after we had permitted them. Alarm: the two stores \
         disagree.";
    UPSTREAM_UP: Gauge "portcullis_upstream_up" ["upstream", "replica"]
        "1 while the signer answers and is not rested after failures, else 0.";
    UPSTREAM_CONNECTIONS: Gauge "portcullis_upstream_connections" ["upstream", "replica", "state"]
        "Connections to a signer: in_use by a request, idle; and waiting, requests without one.";
    UPSTREAM_MISSING: Gauge "portcullis_upstream_keys_missing" ["upstream", "replica"]
        "Keys that the signer lacks and another of its set has, as of the last read of its list.";
    FAILOVERS: Counter "portcullis_failovers_total" ["upstream"]
        "Times that another signer of the set was asked because one had failed.";
    HEDGES: Counter "portcullis_hedges_total" ["upstream"]
        "Times that another signer of the set was asked beside one that was late.";
    VERIFIED: Counter "portcullis_verified_total" ["verdict"]
        "Signatures of the signers by what came of verifying them: valid, bad_encoding, infinity, \
         not_in_subgroup, mismatch, invalid_key; unchecked where the configuration samples or is off.";
    BAD_SIGNATURES: Counter "portcullis_bad_signatures_total" ["upstream", "replica"]
        "Signatures that were not released because they were bad, by the signer that gave them. \
         Alarm: this never happens in healthy operation.";
    VERIFY_BATCH: Histogram "portcullis_verify_batch_signatures" []
        "Signatures verified together, all over one root.";
    VERIFY_SECONDS: Histogram "portcullis_verify_seconds" []
        "From a signer's answer to the verdict on it.";
    VERIFY_QUEUE: Gauge "portcullis_verify_queue_length" []
        "Signatures waiting to be verified.";
    VERIFY_CPU: Counter "portcullis_verify_cpu_seconds_total" []
        "CPU time of the threads that verify, in seconds.";
    RECORDER_QUEUE: Gauge "portcullis_recorder_queue_length" []
        "Records waiting for their commit.";
    COMMIT_BATCH: Histogram "portcullis_commit_batch_records" []
        "Records in one commit.";
    COMMIT_SECONDS: Histogram "portcullis_commit_seconds" []
        "Duration of one commit, its sync to disk included.";
    DURABLE_SECONDS: Histogram "portcullis_durable_wait_seconds" []
        "From queueing a record to knowing it synced to disk: what fsync costs a request.";
    STORE_POISONED: Gauge "portcullis_store_poisoned" []
        "1 after an I/O error of the slashing store: nothing is signed until a restart. Alarm.";
    LEASE_SECONDS: Gauge "portcullis_lease_seconds_left" []
        "Seconds until the witness lease lapses; at 0 nothing is signed.";
    WITNESS_GENERATION: Gauge "portcullis_witness_generation" []
        "Generation of the store in its witness: one more with every opening.";
    AUDIT_RECORDS: Counter "portcullis_audit_records_total" []
        "Records that the audit log has on disk: decisions, actions, checkpoints, repairs.";
    AUDIT_QUEUE: Gauge "portcullis_audit_queue_length" []
        "Decisions that are not synced to the audit log yet, and places taken for more.";
    AUDIT_SYNC_SECONDS: Histogram "portcullis_audit_sync_seconds" []
        "Duration of one write to the audit log, its sync to disk included.";
    AUDIT_BLOCKED: Gauge "portcullis_audit_blocked" []
        "1 while the audit log's disk is full or does not answer: nothing is signed. Alarm.";
    AUDIT_UNRECORDED: Counter "portcullis_audit_unrecorded_total" []
        "Rejections and failures of enrolled keys that the audit log does not have, because too \
         many waited. Never a signature.";
    AUDIT_ANCHORS_FAILED: Counter "portcullis_audit_anchors_failed_total" []
        "Checkpoints of the audit log that could not be kept elsewhere.";
    AUDIT_SPACE_LEFT: Gauge "portcullis_audit_space_left_ratio" []
        "Which part of the audit log's disk is free, from 0 to 1.";
    AUDIT_CPU: Counter "portcullis_audit_cpu_seconds_total" []
        "CPU time of the thread that writes the audit log, in seconds.";
    POLICY_FINDINGS: Counter "portcullis_policy_findings_total" ["rule", "mode", "group"]
        "Times that a rule of the policy had something to say, by its mode (monitor, enforce) and \
         the key group.";
    POLICY_LEVEL: Counter "portcullis_policy_level_total" ["level"]
        "Judgements, by level: observe, alert, hold, refuse, quarantine, halt_rotation.";
    POLICY_ALARMS: Counter "portcullis_policy_alarms_total" ["rule"]
        "Alarms about a whole source, a key group or the fleet, by rule.";
    POLICY_RECORDING_DROPPED: Counter "portcullis_policy_recording_dropped_total" []
        "Events that the recording of judged requests does not have: its queue was full, or its \
         disk failed. Nothing else suffers.";
    NOTICES_LOST: Counter "portcullis_response_notices_lost_total" []
        "Refusals and findings that nothing followed from, because too many waited. Their records in \
         the audit log remain.";
    QUARANTINES: Gauge "portcullis_quarantines" ["scope"]
        "Quarantines in force, by scope: pair (a client for one key), key, key_exits, cohort_exits, \
         client, cohort (key group), source (a client fenced off from the keys of others).";
    BREAKER: Gauge "portcullis_breaker_open" ["group"]
        "Sources that the breaker of a key group has fenced off. Alarm: beside 0, two clients want \
         the same keys.";
    CONTAINMENT: Histogram "portcullis_containment_seconds" []
        "From a verdict to the quarantine that follows from it, in force in memory.";
    CLOCK_DISAGREEMENT: Gauge "portcullis_clock_disagreement_seconds" []
        "By how much the clients' duties lie outside their slots by the gate's clock (median); less \
         than 0, they are early. Beside 0, one of the clocks is off.";
    CLOCK_SYNCHRONISED: Gauge "portcullis_clock_synchronised" []
        "1 while the kernel says that the clock is synchronised, else 0.";
    EVENT_DELIVERIES: Counter "portcullis_event_deliveries_total" ["sink", "kind", "outcome"]
        "Events sent to a sink, by kind (page, event) and outcome (delivered, failed, refused, \
         dropped).";
    EVENTS_WAITING: Gauge "portcullis_events_waiting" ["sink"]
        "Events that wait for a sink.";
    EVENT_LAST_SUCCESS: Gauge "portcullis_event_last_success_seconds" ["sink"]
        "When a sink last took an event, in seconds of Unix time; 0 for never.";
    PAGES: Gauge "portcullis_pages" []
        "Pages on disk that some sink has still to take.";
    PAGES_UNDELIVERED: Gauge "portcullis_pages_undelivered" []
        "Pages that no sink has taken yet.";
    PAGES_OLDEST: Gauge "portcullis_pages_oldest_undelivered_seconds" []
        "How long the earliest page waits that no sink has taken. Alarm.";
    PAGES_NOT_SPOOLED: Counter "portcullis_pages_not_spooled_total" []
        "Pages that could not be written to the spool and are in memory alone. Alarm.";
    HEARTBEATS: Counter "portcullis_heartbeats_total" ["outcome"]
        "Signs of life to the dead-man's switch: sent, failed, withheld.";
    EVENTS: Counter "portcullis_events_total" ["event"]
        "Events raised, by name.";
    TRACE_SPANS: Counter "portcullis_trace_spans_total" ["outcome"]
        "Spans of sampled requests: exported, dropped (too many waited) or failed (collector).";
    BUILD_INFO: Gauge "portcullis_build_info" ["version"]
        "Always 1; the version that runs.";
    SIGNERS_LOADED: Gauge "signing_signers_loaded_count" []
        "As in Web3Signer: keys that can be signed with.";
    BLS_SIGNING: Summary "signing_bls_signing_duration" ["quantile"]
        "As in Web3Signer: seconds a signing request took; quantiles of the last 1,024.";
    MISSING_IDENTIFIER: Counter "signing_bls_missing_identifier_count_total" []
        "As in Web3Signer: requests for a key that is not here (404).";
    MALFORMED: Counter "http_bls_malformed_request_count_total" []
        "As in Web3Signer: requests that could not be read (400).";
    PERMITTED: Counter "eth2_slashingprotection_permitted_signings_total" []
        "As in Web3Signer: requests of any type that slashing protection let pass.";
    PREVENTED: Counter "eth2_slashingprotection_prevented_signings_total" []
        "As in Web3Signer: requests refused as slashable. Refusals by policy are not among them.";
    DATABASE: Summary "eth2_slashingprotection_database_duration" ["signingOperation", "quantile"]
        "As in Web3Signer: seconds until a block or an attestation was recorded; quantiles of \
         the last 1,024.";
    MISSING_IDENTIFIER_OLD: Counter "signing_bls_missing_identifier_count" []
        "What Web3Signer called the one with `_total` before 24.6.0.";
    MALFORMED_OLD: Counter "http_bls_malformed_request_count" []
        "What Web3Signer called the one with `_total` before 24.6.0.";
    PREVENTED_OLD: Counter "eth2_slashingprotection_prevented_signings" []
        "What Web3Signer called the one with `_total` before 24.6.0.";
    POOL_SUBMITTED: Counter "http_vertx_worker_pool_submitted_total" ["poolType", "poolName"]
        "As in Web3Signer: requests that a worker has begun, of any kind.";
    POOL_COMPLETED: Counter "http_vertx_worker_pool_completed_total" ["poolType", "poolName"]
        "As in Web3Signer: requests that a worker has ended, of any kind.";
    POOL_REJECTED: Counter "http_vertx_worker_pool_rejected_total" ["poolType", "poolName"]
        "As in Web3Signer: signing requests refused at once because there was no room.";
    POOL_USAGE: Summary "http_vertx_worker_pool_usage" ["poolType", "poolName", "quantile"]
        "As in Web3Signer: seconds a request spent with a worker; quantiles of the last 1,024.";
    RELEASE: Gauge "process_release" ["version"]
        "As in Web3Signer: always 1; the version that runs.";
    CPU_SECONDS: Counter "process_cpu_seconds_total" []
        "User and system CPU time spent, in seconds.";
    RESIDENT_MEMORY: Gauge "process_resident_memory_bytes" []
        "Resident memory.";
    OPEN_FDS: Gauge "process_open_fds" []
        "Open file descriptors.";
    MAX_FDS: Gauge "process_max_fds" []
        "Largest number of open file descriptors (soft limit).";
    START_TIME: Gauge "process_start_time_seconds" []
        "Start of the process, in seconds of Unix time.";
}

/// The Markdown table of all metrics, as the README shows it.
pub(super) fn markdown() -> String {
    let mut table = String::from("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for Family { name, kind, labels, help } in ALL {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        table.push_str(&format!("| `{name}` | {} | {labels} | {help} |\n", kind.as_str()));
    }
    table
}

const VALID: &str = "names and labels of the table are valid and each is registered once";

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect(VALID);
    collector
}

impl Family {
    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    pub(super) fn counter(&self, registry: &Registry) -> IntCounter {
        register(registry, IntCounter::with_opts(self.opts()).expect(VALID))
    }

    pub(super) fn counters(&self, registry: &Registry) -> IntCounterVec {
        register(registry, IntCounterVec::new(self.opts(), self.labels).expect(VALID))
    }

    pub(super) fn gauge(&self, registry: &Registry) -> IntGauge {
        register(registry, IntGauge::with_opts(self.opts()).expect(VALID))
    }

    pub(super) fn float_gauge(&self, registry: &Registry) -> Gauge {
        register(registry, Gauge::with_opts(self.opts()).expect(VALID))
    }

    pub(super) fn float_counter(&self, registry: &Registry) -> Counter {
        register(registry, Counter::with_opts(self.opts()).expect(VALID))
    }

    pub(super) fn gauges(&self, registry: &Registry) -> IntGaugeVec {
        register(registry, IntGaugeVec::new(self.opts(), self.labels).expect(VALID))
    }

    pub(super) fn histogram(&self, registry: &Registry, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::from(self.opts()).buckets(buckets.to_vec());
        register(registry, Histogram::with_opts(opts).expect(VALID))
    }

    pub(super) fn histograms(&self, registry: &Registry, buckets: &[f64]) -> HistogramVec {
        let opts = HistogramOpts::from(self.opts()).buckets(buckets.to_vec());
        register(registry, HistogramVec::new(opts, self.labels).expect(VALID))
    }
}
