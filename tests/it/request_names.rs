//! What a request is called: its id in answer and log, its trace at the signer, its span at a real
//! little collector that parses what it gets.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::support::{Options, World, attestation, key};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const PATIENCE: Duration = Duration::from_secs(30);

/// One message of HTTP/1.1: its head, in lower case, and its body.
fn receive(stream: &mut impl BufRead) -> Option<(String, String)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.to_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

/// A server that gives away what it receives, and answers each request with `respond`.
fn server(
    respond: impl Fn(&str, &str) -> String + Clone + Send + 'static,
) -> (SocketAddr, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (seen, respond) = (Sender::clone(&seen), respond.clone());
            thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some((head, body)) = receive(&mut stream) {
                    let answer = respond(&head, &body);
                    let _ = seen.send((head, body)); // before whoever waits for the answer looks
                    if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, requests)
}

/// Passes requests on to `signer`, so that their heads can be looked at.
fn before(signer: SocketAddr) -> (SocketAddr, Receiver<(String, String)>) {
    server(move |head, body| {
        let mut stream = BufReader::new(TcpStream::connect(signer).unwrap());
        let head = head.replacen("post", "POST", 1).replacen("get", "GET", 1);
        let head = head.replace("http/1.1", "HTTP/1.1").replace("publickeys", "publicKeys");
        write!(stream.get_mut(), "{head}\r\n{body}").unwrap();
        let (head, body) = receive(&mut stream).unwrap();
        format!("{}\r\n{body}", head.replacen("http/1.1", "HTTP/1.1", 1))
    })
}

/// Asks the gate for a signature with these headers: the answer's head and body.
fn sign(world: &World, key: &str, body: &Value, headers: &str) -> (String, String) {
    let address = world.gate.as_ref().unwrap().address;
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    let body = body.to_string();
    write!(
        stream.get_mut(),
        "POST /api/v1/eth2/sign/{key} HTTP/1.1\r\nHost: gate\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    receive(&mut stream).unwrap()
}

/// The log lines of one request.
fn lines_of(world: &World, request_id: &str) -> Vec<Value> {
    let log = world.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["request_id"] == request_id).collect()
}

#[test]
fn a_request_keeps_its_name_in_the_answer_and_the_log() {
    let world = World::start(Options::default());
    let e = world.epoch();
    let slashable = |name: &str| {
        sign(&world, &key(0), &attestation(e - 2, e, 1), "");
        sign(&world, &key(0), &attestation(e - 2, e, 9), name).0
    };
    let head = slashable("X-Request-Id: duty-7/a\r\n");
    assert_eq!(header(&head, "x-request-id"), Some("duty-7/a"));
    let lines = lines_of(&world, "duty-7/a");
    assert_eq!(lines.len(), 1, "{}", world.log());
    assert_eq!(lines[0]["code"], "double_vote");
    assert_eq!(lines[0].get("trace_id"), None);

    let head = slashable("x-request-id: two words\r\n");
    let made = header(&head, "x-request-id").unwrap();
    assert!(made.len() == 16 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
    assert_eq!(lines_of(&world, made).len(), 1);

    let mut stream =
        BufReader::new(TcpStream::connect(world.gate.as_ref().unwrap().address).unwrap());
    stream
        .get_mut()
        .write_all(b"GET /upcheck HTTP/1.1\r\nhost: x\r\nx-request-id: 1\r\n\r\n")
        .unwrap();
    assert_eq!(header(&receive(&mut stream).unwrap().0, "x-request-id"), Some("1"));
}

#[test]
fn a_trace_goes_through_the_gate_and_its_span_to_the_collector() {
    let (collector, exports) = server(|_, _| {
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
            .to_owned()
    });
    let headers = tempfile::NamedTempFile::new().unwrap();
    fs::write(headers.path(), "# of the test\nx-tenant: staking\n").unwrap();
    let config = format!(
        "[tracing]\nendpoint = \"http://{collector}\"\nservice_name = \"gate-1\"\n\
         headers_file = {:?}\n",
        headers.path()
    );
    let mut world = World::prepare(Options { config, ..Options::default() });
    let signer = world.signer.as_ref().unwrap().address;
    let (between, forwarded) = before(signer);
    let config = fs::read_to_string(world.path("gate.toml")).unwrap();
    let config = config.replace(&signer.to_string(), &between.to_string());
    fs::write(world.path("gate.toml"), config).unwrap();
    world.start_gate();

    let e = world.epoch();
    let duty = attestation(e - 2, e, 1);
    let trace =
        format!("traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=1\r\nx-request-id: r1\r\n");
    assert!(sign(&world, &key(0), &duty, &trace).0.starts_with("http/1.1 200"));
    // Not sampled, malformed, absent: no span, and the first alone is passed on.
    let unsampled = trace.replace("-01\r\n", "-00\r\n");
    assert!(sign(&world, &key(1), &duty, &unsampled).0.starts_with("http/1.1 200"));
    let malformed = trace.replace("00-4b", "00-4B");
    assert!(sign(&world, &key(2), &duty, &malformed).0.starts_with("http/1.1 200"));
    assert!(sign(&world, &key(3), &duty, "").0.starts_with("http/1.1 200"));

    let mut sent = forwarded.try_iter().filter(|(head, _)| head.starts_with("post"));
    let first = sent.next().unwrap().0;
    let parent = header(&first, "traceparent").unwrap().to_owned();
    assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"), "{parent}");
    let span_id = parent.split('-').nth(2).unwrap();
    assert_ne!(span_id, PARENT);
    assert_eq!(header(&first, "tracestate"), Some("a=1"));
    let second = sent.next().unwrap().0;
    assert!(header(&second, "traceparent").unwrap().ends_with("-00"), "{second}");
    for (head, _) in sent.by_ref().take(2) {
        assert_eq!((header(&head, "traceparent"), header(&head, "tracestate")), (None, None));
    }

    let (head, body) = exports.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("post /v1/traces "), "{head}");
    assert_eq!(header(&head, "x-tenant"), Some("staking"));
    span_says_all(&serde_json::from_str(&body).unwrap(), span_id, e);
}

/// Whether the export holds the one span of the sampled request.
fn span_says_all(body: &Value, span_id: &str, target: u64) {
    let resource = &body["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "gate-1");
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 1, "{body}");
    let span = &spans[0];
    assert_eq!((&span["traceId"], &span["spanId"]), (&TRACE.into(), &span_id.into()));
    assert_eq!((&span["parentSpanId"], &span["name"]), (&PARENT.into(), &"ATTESTATION".into()));
    let attribute = |name: &str| {
        let mut attributes = span["attributes"].as_array().unwrap().iter();
        let found = attributes.find(|attribute| attribute["key"] == name);
        found.map_or(Value::Null, |attribute| attribute["value"].clone())
    };
    assert_eq!(attribute("http.request.id")["stringValue"], "r1");
    assert_eq!(attribute("portcullis.pubkey")["stringValue"], key(0).as_str());
    assert_eq!(attribute("portcullis.verdict")["stringValue"], "signed");
    assert_eq!(attribute("portcullis.target_epoch")["intValue"], target.to_string());
    let events = span["events"].as_array().unwrap();
    let names: Vec<&str> = events.iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["read", "parse", "root", "decide", "record", "forward"]);
    let times: Vec<&str> = events.iter().map(|it| it["timeUnixNano"].as_str().unwrap()).collect();
    assert!(times.is_sorted() && span["startTimeUnixNano"].as_str().unwrap() <= times[0]);
}
