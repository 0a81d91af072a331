//! Who is asking, from outside: certificates, passwords, listeners, balancers, and how they change.

pub(crate) mod authority;
pub(crate) mod connection;
mod handover;
mod hostile;
mod reload;

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use serde_json::Value;

use crate::support::{Http, Options, World, key, randao};
use authority::{Authority, Pair, Validity, self_signed};
use connection::{Answer, ask, client_config, is_closed, tcp, tls};

/// The addresses of the gate's listeners, in their order, and of its metrics.
pub(crate) fn addresses(world: &World) -> (Vec<SocketAddr>, SocketAddr) {
    addresses_in(&world.log())
}

/// As [`addresses`], from the log of any gate.
pub(crate) fn addresses_in(log: &str) -> (Vec<SocketAddr>, SocketAddr) {
    let line = log.lines().find(|line| line.contains("\"event\":\"serving\"")).expect("it serves");
    let line: Value = serde_json::from_str(line).unwrap();
    let listeners = line["addresses"].as_str().unwrap().trim_matches(['[', ']']);
    let listeners = listeners.split(", ").map(|address| address.parse().unwrap()).collect();
    (listeners, line["metrics"].as_str().unwrap().parse().unwrap())
}

/// Waits until the log has an entry for which `is_it` says so.
fn logged(world: &World, is_it: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let log = world.log();
        let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(entry) = entries.into_iter().find(|entry| is_it(entry)) {
            return entry;
        }
        assert!(Instant::now() < deadline, "not in the log: {log}");
        std::thread::yield_now();
    }
}

fn refused_handshake(world: &World, reason: &str) -> Value {
    logged(world, |entry| entry["event"] == "handshake_refused" && entry["reason"] == reason)
}

fn metric(world: &World, series: &str) -> f64 {
    let text = Http::connect(addresses(world).1).get("/metrics").body;
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).trim().parse().unwrap()
}

/// Asks for a signature that is always given, as far as the client is known.
fn sign(
    world: &World,
    stream: &mut (impl std::io::Read + Write),
    headers: &str,
) -> std::io::Result<Answer> {
    let line = format!("POST /api/v1/eth2/sign/{}", key(0));
    ask(stream, &line, headers, &randao(world.epoch()).to_string())
}

/// A world whose gate has not started, and the authority of its certificate.
fn prepare(config: &str) -> (World, Authority) {
    let world = World::prepare(Options { config: config.to_owned(), ..Options::default() });
    let authority = Authority::new("authority");
    authority.signs("gate", Validity::Now, 1000).write(&world, "gate");
    (world, authority)
}

const TLS: &str = "[tls]\ncertificate = 'gate.crt'\nkey = 'gate.key'\n";

#[test]
fn a_certificate_is_accepted_or_refused_with_its_reason() {
    let pinned = self_signed("pinned", Validity::Now);
    let (mut world, authority) = prepare(&format!(
        "{TLS}known_clients_file = 'known.txt'\nclient_ca_file = 'ca.crt'\n\
         client_crl_file = 'revoked.crl'\n\
         [[clients]]\nname = 'teku-1'\ncertificate_names = ['teku.example']\n\
         [[clients]]\nname = 'pinned'\ncertificate_fingerprints = ['{}']\n\
         [[clients]]\nname = 'vouch'\n",
        pinned.fingerprint()
    ));
    let stranger = Authority::new("stranger");
    let known = self_signed("vouch.example", Validity::Now);
    let known_but_old = self_signed("old", Validity::Past);
    let named = authority.signs("teku.example", Validity::Now, 2);
    let unnamed = authority.signs("nobody.example", Validity::Now, 3);
    let lines = [("vouch", &known), ("old", &known_but_old)];
    let lines = lines.map(|(name, pair)| format!("{name} {}\n", pair.fingerprint()));
    fs::write(world.path("known.txt"), lines.concat()).unwrap();
    authority.write(&world, "ca.crt");
    authority.revokes(&world, "revoked.crl", &[66]);
    world.start_gate();
    let address = addresses(&world).0[0];
    for version in [&TLS12, &TLS13] {
        for (pair, client) in [(&known, "vouch"), (&named, "teku-1"), (&pinned, "pinned")] {
            let series = format!(
                "portcullis_client_requests_total{{client=\"{client}\",verdict=\"signed\"}}"
            );
            let before = metric(&world, &series);
            let mut stream = tls(&client_config(&authority, Some(pair), version), address);
            for _ in 0..2 {
                assert_eq!(sign(&world, &mut stream, "").unwrap().status, 200);
            }
            assert_eq!(stream.conn.alpn_protocol(), None); // it did not ask for one
            assert_eq!(metric(&world, &series), before + 2.0, "{client}");
        }
        let mut stream = tls(&client_config(&authority, Some(&unnamed), version), address);
        let answer = sign(&world, &mut stream, "").unwrap();
        assert_eq!((answer.status, answer.code()), (403, "client_unknown".to_owned()));
        assert_eq!(ask(&mut stream, "GET /upcheck", "", "").unwrap().status, 200);
        for (pair, reason) in [
            (None, "no_certificate"),
            (Some(&stranger.signs("teku.example", Validity::Now, 4)), "unknown_authority"),
            (Some(&self_signed("teku.example", Validity::Now)), "unknown_authority"),
            (Some(&authority.signs("teku.example", Validity::Now, 66)), "revoked"),
            (Some(&authority.signs("teku.example", Validity::Past, 5)), "expired"),
            (Some(&authority.signs("teku.example", Validity::Future, 6)), "not_yet_valid"),
            (Some(&known_but_old), "expired"),
        ] {
            is_refused(&world, &authority, address, pair, version, reason);
        }
    }
    // Who speaks no TLS at all.
    let mut plain = tcp(address);
    let _ = ask(&mut plain, "GET /upcheck", "", "").unwrap_err();
    refused_handshake(&world, "not_tls");
    for (reason, count) in [("revoked", 2.0), ("expired", 4.0), ("not_tls", 1.0)] {
        let series = format!("portcullis_handshake_failures_total{{reason=\"{reason}\"}}");
        assert_eq!(metric(&world, &series), count, "{reason}");
    }
    let known = logged(&world, |entry| entry["event"] == "client_refused");
    assert_eq!(known["fingerprint"], unnamed.fingerprint().to_string());
}

/// The client sees that it is refused, and the log says why and of whom.
fn is_refused(
    world: &World,
    authority: &Authority,
    address: SocketAddr,
    pair: Option<&Pair>,
    version: &'static rustls::SupportedProtocolVersion,
    reason: &str,
) {
    let mut stream = tls(&client_config(authority, pair, version), address);
    let told = sign(world, &mut stream, "").expect_err(reason).to_string();
    assert!(told.contains("received fatal alert"), "{reason}: {told}");
    let fingerprint = pair.map(|pair| Value::from(pair.fingerprint().to_string()));
    let entry = logged(world, |entry| {
        entry["reason"] == reason && entry.get("fingerprint") == fingerprint.as_ref()
    });
    assert_eq!(entry["event"], "handshake_refused");
    assert_eq!(entry["listener"], "listen");
}

#[test]
fn a_key_store_serves_and_known_clients_alone_are_let_in() {
    let (mut world, authority) = prepare(
        "[tls]\npkcs12_file = 'gate.p12'\npkcs12_password_file = 'gate.password'\n\
         known_clients_file = 'known.txt'\n",
    );
    authority.signs("gate", Validity::Now, 7).write_pkcs12(&world, "gate");
    let known = self_signed("vouch.example", Validity::Now);
    fs::write(world.path("known.txt"), format!("vouch {}\n", known.fingerprint())).unwrap();
    world.start_gate();
    let address = addresses(&world).0[0];
    let mut stream = tls(&client_config(&authority, Some(&known), &TLS13), address);
    assert_eq!(sign(&world, &mut stream, "").unwrap().status, 200);
    // Without an entry of [[clients]], the name is that of the file.
    let series = "portcullis_client_requests_total{client=\"vouch\",verdict=\"signed\"}";
    assert_eq!(metric(&world, series), 1.0);
    let unknown = self_signed("vouch.example", Validity::Now);
    is_refused(&world, &authority, address, Some(&unknown), &TLS13, "unknown_client");
}

fn basic(user_and_password: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in user_and_password.as_bytes().chunks(3) {
        let mut bits = 0u32;
        for index in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(index).copied().unwrap_or(0));
        }
        for index in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * index) & 63) as usize];
            text.push(if index > chunk.len() { '=' } else { digit.into() });
        }
    }
    format!("Authorization: Basic {text}\r\n")
}

#[test]
fn a_password_or_a_listener_names_a_client() {
    let (mut world, _) = prepare(
        "[[listeners]]\nname = 'for-nimbus'\naddress = '127.0.0.1:0'\nclient = 'nimbus'\n\
         [[clients]]\nname = 'nimbus'\n\
         [[clients]]\nname = 'teku'\nuser = 'teku'\npassword_file = 'teku.password'\n",
    );
    fs::write(world.path("teku.password"), "correct horse: battery\n").unwrap();
    world.start_gate();
    let (listeners, _) = addresses(&world);
    let [first, of_nimbus] = listeners[..] else { panic!("{listeners:?}") };
    let right = basic("teku:correct horse: battery");
    for (address, headers, status, code) in [
        (first, String::new(), 401, "client_unknown"),
        (first, basic("teku:wrong"), 401, "client_wrong_password"),
        (first, basic("nobody:correct horse: battery"), 401, "client_wrong_password"),
        (first, basic("teku"), 401, "client_wrong_password"),
        (first, "Authorization: Basic !!!\r\n".to_owned(), 401, "client_wrong_password"),
        (first, "Authorization: Bearer x\r\n".to_owned(), 401, "client_unknown"),
        (first, right.clone(), 200, ""),
        (of_nimbus, String::new(), 200, ""),
        (of_nimbus, right, 403, "client_contradiction"),
    ] {
        let answer = sign(&world, &mut tcp(address), &headers).unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{headers}");
        let asks = answer.head.contains("www-authenticate: basic realm=\"portcullis\"");
        assert_eq!(asks, status == 401, "{}", answer.head);
    }
    for client in ["teku", "nimbus"] {
        let series =
            format!("portcullis_client_requests_total{{client=\"{client}\",verdict=\"signed\"}}");
        assert_eq!(metric(&world, &series), 1.0);
    }
    assert!(!world.log().contains("correct horse"));
    // Probes belong to nobody, and a list of keys is not for them.
    assert_eq!(ask(&mut tcp(first), "GET /upcheck", "", "").unwrap().status, 200);
    let keys = ask(&mut tcp(first), "GET /api/v1/eth2/publicKeys", "", "").unwrap();
    assert_eq!(keys.status, 401);
}

/// A header of the PROXY protocol for a client at this address.
fn proxied(source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend(source);
    header.extend([127, 0, 0, 1, 0x12, 0x34, 0x23, 0x28]);
    header
}

#[test]
fn a_balancer_says_where_its_clients_are() {
    let (mut world, authority) = prepare(&format!(
        "[[listeners]]\nname = 'balanced'\naddress = '127.0.0.1:0'\ntls = false\n\
         proxy_protocol_from = ['127.0.0.0/8']\n\
         [[listeners]]\nname = 'elsewhere'\naddress = '127.0.0.1:0'\ntls = false\n\
         proxy_protocol_from = ['192.0.2.1']\n\
         [[listeners]]\nname = 'both'\naddress = '127.0.0.1:0'\ntls = true\n\
         proxy_protocol_from = ['127.0.0.1']\n\
         [[clients]]\nname = 'a'\naddresses = ['192.0.2.0/24']\n\
         [[clients]]\nname = 'b'\naddresses = ['192.0.2.64/26', '2001:db8::/32']\n{TLS}"
    ));
    world.start_gate();
    let (listeners, _) = addresses(&world);
    let [_, balanced, elsewhere, both] = listeners[..] else { panic!("{listeners:?}") };
    for (source, status, client) in [
        ([192, 0, 2, 7], 200, "a"),
        ([192, 0, 2, 70], 200, "b"), // the narrower range
        ([198, 51, 100, 1], 403, ""),
    ] {
        let mut stream = tcp(balanced);
        stream.write_all(&proxied(source)).unwrap();
        assert_eq!(sign(&world, &mut stream, "").unwrap().status, status);
        let mut stream = tcp(both);
        stream.write_all(&proxied(source)).unwrap();
        let client_side = client_config(&authority, None, &TLS13);
        let name = "localhost".try_into().unwrap();
        let client_side = rustls::ClientConnection::new(client_side, name).unwrap();
        let mut stream = rustls::StreamOwned::new(client_side, stream);
        assert_eq!(sign(&world, &mut stream, "").unwrap().status, status);
        if status == 200 {
            let series = format!(
                "portcullis_client_requests_total{{client=\"{client}\",verdict=\"signed\"}}"
            );
            assert_eq!(metric(&world, &series), 2.0);
        }
    }
    logged(&world, |entry| {
        entry["event"] == "client_refused" && entry["peer"] == "198.51.100.1:4660"
    });
    for (address, bytes, reason) in [
        (balanced, &b"GET /upcheck HTTP/1.1\r\n\r\n"[..], "proxy_missing"),
        (balanced, b"PROXY TCP4 192.0.2.7 127.0.0.1 4660 9000\r\n", "proxy_version_1"),
        (balanced, b"\r\n\r\n\0\r\nQUIT\n\x21\x31\x00\x00", "proxy_malformed"),
        (elsewhere, &proxied([192, 0, 2, 7]), "proxy_untrusted"),
    ] {
        let mut stream = tcp(address);
        stream.write_all(bytes).unwrap();
        assert!(is_closed(&mut stream), "{reason}");
        refused_handshake(&world, reason);
    }
}
