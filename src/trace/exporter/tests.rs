#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;

use prometheus::Registry;
use serde_json::Value;

use super::*;
use crate::clock::Clock;
use crate::metrics::Stage;
use crate::trace::RequestTrace;

fn config(address: SocketAddr, sample_ratio: f64) -> ExporterConfig {
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from_static("staking"));
    ExporterConfig {
        endpoint: format!("http://{address}/v1/traces").parse().unwrap(),
        sample_ratio,
        service_name: "gate".to_owned(),
        instance: "one".to_owned(),
        headers,
    }
}

/// A collector that answers each of `answers` once: gives heads and bodies of the requests.
fn collector(answers: Vec<&'static str>) -> (SocketAddr, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = mpsc::channel();
    thread::spawn(move || {
        for answer in answers {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            seen.send((head, serde_json::from_slice(&body).unwrap())).unwrap();
        }
    });
    (address, requests)
}

fn offer(tracer: &Tracer, count: usize) {
    let ids = Ids::default();
    for _ in 0..count {
        let mut trace = RequestTrace::begin(&HeaderMap::new(), &ids, tracer, &Clock::System);
        trace.stage(Stage::Parse, &Stopwatch::start());
        tracer.offer(trace.span("ATTESTATION", Duration::from_millis(2)).expect("sampled"));
    }
}

#[test]
fn spans_arrive_in_one_batch_with_the_headers() {
    let (address, requests) = collector(vec!["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"]);
    let metrics = TraceMetrics::new(&Registry::new());
    let tracer = Tracer::start(config(address, 1.0), &metrics).unwrap();
    offer(&tracer, 3);
    tracer.flush(EXPORT_TIMEOUT);
    let (head, body) = requests.recv_timeout(EXPORT_TIMEOUT).unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("x-tenant: staking") && head.contains("application/json"), "{head}");
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 3);
    assert_eq!(spans[0]["events"][0]["name"], "parse");
    let ns = |field: &str| spans[0][field].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(ns("endTimeUnixNano") - ns("startTimeUnixNano"), 2_000_000);
    assert_ne!(spans[0]["traceId"], spans[1]["traceId"]);
    assert_eq!(metrics.exported.get(), 3);
}

#[test]
fn what_a_collector_rejects_or_fails_is_counted() {
    let (address, _requests) = collector(vec![
        "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{\"partialSuccess\":{\"rejectedSpans\":\"2\"}}",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
    ]);
    let metrics = TraceMetrics::new(&Registry::new());
    let tracer = Tracer::start(config(address, 1.0), &metrics).unwrap();
    offer(&tracer, 3);
    tracer.flush(EXPORT_TIMEOUT);
    assert_eq!((metrics.exported.get(), metrics.failed.get()), (1, 2));
    offer(&tracer, 4);
    tracer.flush(EXPORT_TIMEOUT);
    assert_eq!((metrics.exported.get(), metrics.failed.get()), (1, 6));
}

/// A collector that takes connections and never answers: the queue fills, what is more is dropped,
/// and nobody waits.
#[test]
fn a_dead_collector_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = TraceMetrics::new(&Registry::new());
    let tracer = Tracer::start(config(listener.local_addr().unwrap(), 1.0), &metrics).unwrap();
    let since = Stopwatch::start();
    offer(&tracer, QUEUE_MAX + 3 * BATCH_MAX);
    assert!(since.elapsed() < EXPORT_TIMEOUT, "offering waited for the collector");
    // At most one batch had left the queue.
    assert!(metrics.dropped.get() >= 2 * BATCH_MAX as u64, "{}", metrics.dropped.get());
    assert_eq!(metrics.exported.get(), 0);
}

#[test]
fn without_a_context_the_ratio_decides() {
    let address = "127.0.0.1:9".parse().unwrap();
    let metrics = TraceMetrics::new(&Registry::new());
    let ids = Ids::default();
    let sampled = |ratio: f64| {
        let tracer = Tracer::start(config(address, ratio), &metrics).unwrap();
        let begin = || RequestTrace::begin(&HeaderMap::new(), &ids, &tracer, &Clock::System);
        (0..10_000).filter(|_| begin().trace_id().is_some()).count()
    };
    assert_eq!(sampled(0.0), 0);
    assert_eq!(sampled(1.0), 10_000);
    let tenth = sampled(0.1);
    assert!((700..1_300).contains(&tenth), "{tenth}");
}
