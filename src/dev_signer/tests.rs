//! The real server on a free port, driven over TCP.

#![allow(clippy::unwrap_used)]

mod faults;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::hex::Hex;
use super::log::Entry;
use super::*;
use crate::bls::{SecretKey, verify};

const ROOT: [u8; 32] = [0xab; 32];

fn config(dir: &Path) -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        listen_anywhere: false,
        source: KeySource::Interop { count: 4 },
        log: Some(dir.join("signed.jsonl")),
        faults: Vec::new(),
        fault_seed: 0,
        delay: Duration::ZERO,
        stub: false,
        workers: 2,
        unix_ms: || 1_767_225_600_000,
    }
}

/// A running signer with its log, and one keep-alive connection to it.
struct Rig {
    signer: DevSigner,
    dir: tempfile::TempDir,
    client: SendRequest<Full<Bytes>>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Rig {
    async fn start(faults: &[&str]) -> Self {
        Self::start_with(|config| {
            config.faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
        })
        .await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        let signer = DevSigner::start(config).unwrap();
        let client = connect(signer.address()).await;
        Self { signer, dir, client }
    }

    fn log(&self) -> Vec<Entry> {
        log::read(&self.dir.path().join("signed.jsonl")).unwrap()
    }

    async fn sign(&mut self, key: u64) -> hyper::Result<Answer> {
        sign(&mut self.client, key).await
    }

    async fn get(&mut self, path: &str) -> Answer {
        let request = Request::get(path).body(Full::default()).unwrap();
        send(&mut self.client, request).await.unwrap()
    }

    async fn set_faults(&mut self, body: Value) -> Answer {
        let request = Request::post("/dev/faults").body(Full::from(body.to_string())).unwrap();
        send(&mut self.client, request).await.unwrap()
    }
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn send(
    client: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Answer> {
    client.ready().await?;
    let (parts, body) = client.send_request(request).await?.into_parts();
    assert!(!parts.headers.contains_key(TRANSFER_ENCODING), "no chunking");
    assert!(parts.headers.contains_key(CONTENT_LENGTH));
    let body = body.collect().await?.to_bytes();
    Ok(Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    })
}

fn public_key(index: u64) -> Hex<48> {
    Hex(SecretKey::interop(index).public_key().to_bytes())
}

fn attestation() -> Value {
    json!({
        "type": "ATTESTATION",
        "fork_info": {"fork": {}, "genesis_validators_root": Hex([0x4b; 32])},
        "signingRoot": Hex(ROOT),
        "attestation": {"slot": "64", "source": {"epoch": "1"}, "target": {"epoch": "2"}},
    })
}

fn sign_request(identifier: &str) -> hyper::http::request::Builder {
    Request::post(format!("/api/v1/eth2/sign/{identifier}"))
}

async fn sign(client: &mut SendRequest<Full<Bytes>>, key: u64) -> hyper::Result<Answer> {
    let body = attestation();
    let request = sign_request(&public_key(key).to_string())
        .header(ACCEPT, "application/json")
        .body(Full::from(body.to_string()))
        .unwrap();
    send(client, request).await
}

/// The signature in a JSON answer.
fn signature(answer: &Answer) -> [u8; 96] {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    Hex::parse(body["signature"].as_str().unwrap()).unwrap().0
}

#[tokio::test]
async fn signs_in_json_and_logs_it() {
    let mut rig = Rig::start(&[]).await;
    let answer = rig.sign(2).await.unwrap();
    assert_eq!(answer.headers[CONTENT_TYPE], "application/json; charset=utf-8");
    assert_eq!(verify(&public_key(2).0, &ROOT, &signature(&answer)), Ok(()));
    let [entry] = &rig.log()[..] else { panic!("one line for one signature") };
    assert_eq!((entry.pubkey, entry.signing_root), (public_key(2), Hex(ROOT)));
    assert_eq!((entry.subject.source_epoch, entry.subject.target_epoch), (Some(1), Some(2)));
    assert_eq!((entry.unix_ms, entry.fault.as_deref()), (1_767_225_600_000, None));
}

/// Vero publishes the body as it is, and Prysm cannot read a newline.
#[tokio::test]
async fn signs_in_plain_text() {
    let mut rig = Rig::start(&[]).await;
    let body = attestation();
    for (identifier, accept) in [
        (public_key(1).to_string(), None),
        (
            public_key(1).to_string().trim_start_matches("0x").to_ascii_uppercase(),
            Some("text/plain"),
        ),
    ] {
        let mut request = sign_request(&identifier);
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        let request = request.body(Full::from(body.to_string())).unwrap();
        let answer = send(&mut rig.client, request).await.unwrap();
        assert_eq!(answer.headers[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(answer.body.len(), 2 + 192);
        let signature = Hex::parse(&answer.body).unwrap();
        assert_eq!(signature.to_string(), answer.body, "lower case, with 0x");
        verify(&public_key(1).0, &ROOT, &signature.0).unwrap();
    }
    assert_eq!(rig.log().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_signed_is_answered_as_web3signer_does() {
    let mut rig = Rig::start(&[]).await;
    let known = public_key(0).to_string();
    let without = |field: &str| {
        let mut body = attestation();
        body.as_object_mut().unwrap().remove(field);
        body.to_string()
    };
    let good = attestation().to_string();
    let large = " ".repeat((10 << 20) + 1);
    let cases = [
        ("unknown key", public_key(9).to_string(), good.clone(), 404, "Not Found"),
        ("not a key", "0x1234".to_owned(), good, 404, "Not Found"),
        ("empty", known.clone(), String::new(), 400, "Bad Request"),
        ("broken", known.clone(), "{".to_owned(), 400, "Bad Request"),
        ("no root", known.clone(), without("signingRoot"), 400, "Bad Request"),
        ("no type", known.clone(), without("type"), 400, "Bad Request"),
        ("no fork", known.clone(), without("fork_info"), 500, "Internal Server Error"),
        ("no object", known.clone(), without("attestation"), 500, "Internal Server Error"),
        ("large", known.clone(), large, 413, "Payload Too Large"),
    ];
    for (name, identifier, body, status, phrase) in cases {
        let request = sign_request(&identifier).body(Full::from(body)).unwrap();
        // A body that is refused unread ends its connection: each case has its own.
        let mut client = connect(rig.signer.address()).await;
        let answer = send(&mut client, request).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (status, phrase), "{name}");
        assert!(!answer.headers.contains_key(CONTENT_TYPE), "{name}");
    }
    assert!(rig.log().is_empty());
    rig.sign(0).await.unwrap();
}

#[tokio::test]
async fn the_other_routes_answer() {
    let mut rig = Rig::start(&[]).await;
    let answer = rig.get("/api/v1/eth2/publicKeys").await;
    let expected: Vec<_> = (0..4).map(public_key).collect();
    assert_eq!(answer.headers[CONTENT_TYPE], "application/json; charset=utf-8");
    assert_eq!(serde_json::from_str::<Vec<Hex<48>>>(&answer.body).unwrap(), expected);
    assert_eq!(rig.get("//api/v1/eth2/publicKeys").await.body, answer.body);

    let answer = rig.get("/upcheck").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    assert_eq!(answer.headers[CONTENT_TYPE], "text/plain; charset=utf-8");

    let health: Value = serde_json::from_str(&rig.get("/healthcheck").await.body).unwrap();
    assert_eq!((&health["status"], &health["outcome"]), (&json!("UP"), &json!("UP")));
    assert_eq!(health["checks"][1]["checks"][0]["data"]["keys-loaded"], 4);

    for (method, path, accept, status) in [
        (Method::GET, "/upcheck", "application/json", 406),
        (Method::GET, "/api/v1/eth2/publicKeys", "text/plain", 406),
        (Method::POST, "/upcheck", "*/*", 405),
        (Method::GET, "/api/v1/eth2/sign/0x00", "*/*", 405),
        (Method::DELETE, "/reload", "*/*", 405),
        (Method::GET, "/api/v1/eth2/highWatermark", "*/*", 404),
        (Method::GET, "/", "*/*", 404),
    ] {
        let request = Request::builder().method(&method).uri(path).header(ACCEPT, accept);
        let answer = send(&mut rig.client, request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path} {accept}");
    }
}

#[tokio::test]
async fn a_reload_takes_and_drops_keys_and_keeps_them_when_it_fails() {
    let keys = tempfile::tempdir().unwrap();
    let file = |secret: &str| format!("type: file-raw\nprivateKey: \"{secret}\"\n");
    let (old, new) = (keys.path().join("old.yaml"), keys.path().join("new.yaml"));
    fs::write(&old, file(&"01".repeat(32))).unwrap();
    let dir = keys.path().to_owned();
    let mut rig = Rig::start_with(|config| config.source = KeySource::KeyFiles { dir }).await;
    let before = rig.get("/api/v1/eth2/publicKeys").await.body;
    assert!(rig.get("/reload").await.body.contains("\"idle\""));

    fs::write(&new, file("0x00")).unwrap();
    assert_eq!(reload(&mut rig).await["status"], "failed");
    assert_eq!(rig.get("/api/v1/eth2/publicKeys").await.body, before);
    assert_eq!(rig.get("/healthcheck").await.status, 503);

    fs::write(&new, file(&"02".repeat(32))).unwrap();
    fs::remove_file(&old).unwrap();
    assert_eq!(reload(&mut rig).await["status"], "completed");
    let key = SecretKey::from_bytes(&[2; 32]).unwrap().public_key();
    let after = rig.get("/api/v1/eth2/publicKeys").await.body;
    assert_eq!(after, json!([Hex(key.to_bytes())]).to_string());
    assert_eq!(rig.get("/healthcheck").await.status, 200);
}

/// Asks for a reload and polls its status until it is over.
async fn reload(rig: &mut Rig) -> Value {
    let request = Request::post("/reload").body(Full::default()).unwrap();
    assert_eq!(send(&mut rig.client, request).await.unwrap().status, 202);
    loop {
        let status: Value = serde_json::from_str(&rig.get("/reload").await.body).unwrap();
        if status["status"] != "running" {
            return status;
        }
    }
}

#[tokio::test]
async fn stubs_are_fixed_and_belong_to_no_message() {
    let mut rig = Rig::start_with(|config| config.stub = true).await;
    let stub = signature(&rig.sign(0).await.unwrap());
    verify(&public_key(0).0, &keys::STUB_ROOT, &stub).unwrap();
    assert_ne!(stub, signature(&rig.sign(1).await.unwrap()));
    assert_eq!(rig.log()[0].fault.as_deref(), Some("stub"));
}

/// Many connections at once: every signature is right and every line whole.
#[tokio::test]
async fn concurrent_requests_are_all_signed_and_logged() {
    let rig = Rig::start(&[]).await;
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..16 {
        let address = rig.signer.address();
        clients.spawn(async move {
            let mut connection = connect(address).await;
            for _ in 0..8 {
                let answer = sign(&mut connection, client % 4).await.unwrap();
                verify(&public_key(client % 4).0, &ROOT, &signature(&answer)).unwrap();
            }
        });
    }
    clients.join_all().await;
    assert_eq!(rig.log().len(), 16 * 8);
}

#[test]
fn other_machines_are_kept_out_unless_invited() {
    let dir = tempfile::tempdir().unwrap();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let config = Config { listen: listen.parse().unwrap(), ..config(dir.path()) };
        let error = DevSigner::start(config).unwrap_err();
        assert!(matches!(error, StartError::NotLoopback(_)), "{listen}: {error}");
    }
    let listen = "0.0.0.0:0".parse().unwrap();
    DevSigner::start(Config { listen, listen_anywhere: true, ..config(dir.path()) }).unwrap();
}

#[test]
fn dropping_it_frees_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let signer = DevSigner::start(config(dir.path())).unwrap();
    let listen = signer.address();
    let taken = DevSigner::start(Config { listen, ..config(dir.path()) }).unwrap_err();
    assert!(matches!(taken, StartError::Listen { .. }), "{taken}");
    drop(signer);
    DevSigner::start(Config { listen, ..config(dir.path()) }).unwrap();
}
