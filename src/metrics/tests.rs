#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use super::*;

const LABELS: LabelValues = LabelValues {
    duty_types: &["ATTESTATION", "BLOCK_V2"],
    signed_code: "signed",
    key_statuses: &["active", "awaiting_enrolment"],
    upstream_errors: &["upstream_timeout"],
    events: &["upstream_refused"],
};

/// All metrics, with those of one signer.
fn metrics() -> Metrics {
    let metrics = Metrics::new(&LABELS);
    let _ = metrics.upstream.set("default");
    let _ = metrics.upstream.replica("default", "127.0.0.1:9100");
    metrics.verify.verdicts.with_label_values(&["valid"]).reset();
    metrics.verify.bad.with_label_values(&["default", "127.0.0.1:9100"]).reset();
    metrics
}

/// The value of one line of the text.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

#[test]
fn the_text_holds_every_family_of_the_table_and_no_other() {
    let metrics = metrics();
    // Their values are of the configuration.
    metrics.clients.requests.with_label_values(&["default", "signed"]).inc();
    metrics.clients.refused.with_label_values(&["client_unknown"]).inc();
    metrics.clients.handshake_failures.with_label_values(&["timeout"]).inc();
    metrics.policy.findings.with_label_values(&["client_lease", "enforce", "default"]).inc();
    metrics.policy.alarms.with_label_values(&["fleet_rates"]).inc();
    metrics.event.sink("oncall");
    metrics.event.heartbeat("sent");
    let text = metrics.encode().unwrap();
    let types: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let helps: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' ')).collect();
    let table = |value: fn(&families::Family) -> &'static str| -> BTreeMap<&str, &str> {
        families::ALL.iter().map(|family| (family.name, value(family))).collect()
    };
    assert_eq!(types, table(|family| family.kind.as_str()));
    assert_eq!(helps, table(|family| family.help));
}

#[test]
fn every_series_has_the_labels_of_the_table() {
    let text = metrics().encode().unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let family = families::ALL.iter().find(|family| {
            let suffix = name.strip_prefix(family.name);
            suffix.is_some_and(|suffix| ["", "_bucket", "_count", "_sum"].contains(&suffix))
        });
        let family = family.unwrap_or_else(|| panic!("{name} is not in the table"));
        let shown = labels.trim_end_matches('}').split(',').filter_map(|l| l.split_once('='));
        for (label, _) in shown.filter(|(label, _)| *label != "le") {
            assert!(family.labels.contains(&label), "{label} of {name}");
        }
        for label in family.labels.iter().filter(|label| **label != "quantile") {
            assert!(labels.contains(&format!("{label}=")), "{label} is missing in {line}");
        }
    }
}

/// With `UPDATE_FIXTURES=1` the table is written instead.
#[test]
fn the_documented_table_is_the_one_that_runs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/metrics.md");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(path, table()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(written, table(), "run this test with UPDATE_FIXTURES=1");
}

#[test]
fn an_answer_is_counted_by_type_verdict_and_code() {
    let metrics = metrics();
    let elapsed = Duration::from_millis(3);
    metrics.answered(Some(0), Verdict::Signed, "signed", elapsed);
    metrics.answered(Some(0), Verdict::Signed, "signed", elapsed);
    metrics.answered(Some(1), Verdict::Refused, "double_proposal", elapsed);
    metrics.answered(None, Verdict::Rejected, "broken_json", elapsed);
    let text = metrics.encode().unwrap();
    for (kind, verdict, code, count) in [
        ("ATTESTATION", "signed", "signed", 2.0),
        ("BLOCK_V2", "signed", "signed", 0.0),
        ("BLOCK_V2", "refused", "double_proposal", 1.0),
        ("unknown", "rejected", "broken_json", 1.0),
    ] {
        let series = format!(
            "portcullis_requests_total{{code=\"{code}\",type=\"{kind}\",verdict=\"{verdict}\"}}"
        );
        assert_eq!(value(&text, &series), count, "{series}");
    }
    assert_eq!(value(&text, "portcullis_request_seconds_count{type=\"ATTESTATION\"}"), 2.0);
    assert_eq!(value(&text, "portcullis_request_seconds_count{type=\"unknown\"}"), 1.0);
    assert_eq!(value(&text, "signing_bls_signing_duration_count"), 4.0);
}

#[test]
fn stages_and_classes_reach_their_own_series() {
    let metrics = metrics();
    for (times, stage) in (1..).zip(Stage::ALL) {
        (0..times).for_each(|_| metrics.stage(stage, Duration::from_micros(30)));
    }
    for (number, class) in (1..).zip(DutyClass::ALL) {
        metrics.in_flight(class).set(number);
        metrics.overloaded(class).inc_by(number.unsigned_abs());
    }
    let text = metrics.encode().unwrap();
    for (times, stage) in (1..).zip(Stage::ALL) {
        let series = format!("portcullis_stage_seconds_count{{stage=\"{}\"}}", stage.as_str());
        assert_eq!(value(&text, &series), f64::from(times));
    }
    for (number, class) in (1..).zip(DutyClass::ALL) {
        for name in ["portcullis_in_flight", "portcullis_overloaded_total"] {
            let series = format!("{name}{{class=\"{class}\"}}");
            assert_eq!(value(&text, &series), f64::from(number));
        }
    }
}

#[test]
fn quantiles_are_those_of_the_last_observations() {
    let metrics = metrics();
    let recorded = &metrics.web3signer.attestation_recorded;
    (0..5_000).for_each(|_| recorded.observe(Duration::from_secs(9)));
    (1..=1_024).for_each(|ms| recorded.observe(Duration::from_millis(ms)));
    let text = metrics.encode().unwrap();
    let series = |quantile| {
        format!(
            "eth2_slashingprotection_database_duration\
             {{signingOperation=\"attestation\",quantile=\"{quantile}\"}}"
        )
    };
    assert_eq!(value(&text, &series("0.5")), 0.512);
    assert_eq!(value(&text, &series("0.95")), 0.973);
    assert_eq!(value(&text, &series("0.99")), 1.014);
    let usage = "http_vertx_worker_pool_usage_count\
                 {poolType=\"worker\",poolName=\"vert.x-worker-thread\"}";
    metrics.answered(None, Verdict::Rejected, "broken_json", Duration::from_millis(7));
    assert_eq!(value(&metrics.encode().unwrap(), usage), 1.0);
    let blocks = series("0.5").replace("attestation", "block");
    assert!(value(&text, &blocks).is_nan());
}

#[test]
fn dashboards_from_before_the_suffix_find_the_same_numbers() {
    let metrics = Metrics::new(&LABELS);
    metrics.web3signer.missing_identifier.inc_by(2);
    metrics.web3signer.malformed.inc_by(3);
    metrics.web3signer.prevented.inc_by(4);
    let text = metrics.encode().unwrap();
    for (name, count) in [
        ("signing_bls_missing_identifier_count", 2.0),
        ("http_bls_malformed_request_count", 3.0),
        ("eth2_slashingprotection_prevented_signings", 4.0),
    ] {
        assert_eq!(value(&text, name), count, "{name}");
        assert_eq!(value(&text, &format!("{name}_total")), count, "{name}_total");
    }
}

#[test]
fn the_process_is_measured() {
    let text = metrics().encode().unwrap();
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "process_open_fds") >= 3.0);
    assert!(value(&text, "process_max_fds") >= value(&text, "process_open_fds"));
    assert!(value(&text, "process_cpu_seconds_total") >= 0.0);
    assert!(value(&text, "process_start_time_seconds") > 1.6e9);
}

fn get(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_listener_serves_the_metrics_and_its_health() {
    let metrics = Arc::new(metrics());
    metrics.set_before_scrape(|metrics| metrics.store.queue_length.set(17));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let any = "127.0.0.1:0".parse().unwrap();
    let shutdown = async move { drop(stopped.await) };
    let address = http::spawn(any, Arc::clone(&metrics), shutdown).unwrap();

    let page = get(address, "GET /metrics");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
    assert_eq!(value(&page, "portcullis_recorder_queue_length"), 17.0);
    assert!(get(address, "GET /healthz").ends_with("\r\n\r\nok\n"));
    assert!(get(address, "GET /other").starts_with("HTTP/1.1 404 "));
    assert!(get(address, "POST /metrics").starts_with("HTTP/1.1 405 "));
    metrics.store.poisoned.set(1);
    assert!(get(address, "GET /healthz").starts_with("HTTP/1.1 503 "));

    let taken = http::spawn(address, metrics, std::future::pending()).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    let expected = format!("cannot listen on {address} (metrics.address): ");
    assert!(taken.to_string().starts_with(&expected), "{taken}");
    drop(stop);
}
