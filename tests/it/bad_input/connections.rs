//! Connections that are large, slow, idle or many.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Http, Options, World, attestation, key, randao};

/// What a client waits at most for an answer while others misbehave.
const PROMPT: Duration = Duration::from_secs(2);

fn address(world: &World) -> std::net::SocketAddr {
    world.gate.as_ref().expect("the gate runs").address
}

/// Signs on a connection, and says how long it took.
fn sign(world: &World, gate: &mut Http) -> Duration {
    let begun = Instant::now();
    let (status, told) = gate.sign(&key(0), &randao(world.epoch()));
    assert_eq!(status, 200, "{told}");
    begun.elapsed()
}

fn head(length: usize) -> String {
    let key = key(0);
    format!(
        "POST /api/v1/eth2/sign/{key} HTTP/1.1\r\nHost: gate\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[test]
fn twenty_megabytes_are_refused_promptly_and_nobody_else_notices() {
    let world = World::start(Options::default());
    let mut normal = world.connect();
    let chunk = vec![b'x'; 1 << 20];
    for announced in [true, false] {
        let begun = Instant::now();
        let mut large = world.connect();
        let stream = large.stream.get_mut();
        let start = if announced {
            head(20_000_000)
        } else {
            head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked")
        };
        stream.write_all(start.as_bytes()).unwrap();
        for _ in 0..20 {
            // The gate may have answered and closed already.
            let sent = if announced {
                stream.write_all(&chunk)
            } else {
                let framed = [b"100000\r\n", chunk.as_slice(), b"\r\n"].concat();
                stream.write_all(&framed)
            };
            if sent.is_err() {
                break;
            }
        }
        let answer = large.receive().expect("an answer that can be read");
        assert_eq!(answer.status, 413, "{}", answer.body);
        assert!(answer.body.contains(r#""code":"body_too_large""#), "{}", answer.body);
        assert!(answer.body.contains("10485760 bytes"), "{}", answer.body);
        assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
        assert!(sign(&world, &mut normal) < PROMPT);
    }
    // A client that asks first is told no before it sends anything, and one that may send, may.
    let mut asking = world.connect();
    let start = head(20_000_000).replace("Host", "Expect: 100-continue\r\nHost");
    asking.stream.get_mut().write_all(start.as_bytes()).unwrap();
    assert_eq!(asking.receive().unwrap().status, 413);
    assert!(resident_bytes(&world) < 200 << 20, "{} bytes", resident_bytes(&world));
}

/// Limits so small that the test is quick; the clients are slower than any honest one.
const QUICK: &str = "[limits]\nrequest_head_timeout_ms = 300\nrequest_body_timeout_ms = 300\n\
                     idle_connection_timeout_ms = 600000\n";

#[test]
fn heads_and_bodies_that_never_end_are_cut_off() {
    let world = World::start(Options { config: QUICK.to_owned(), ..Options::default() });
    let request = format!("{}{}", head(400), "x".repeat(100));
    let drip = |from: usize| {
        let mut stream = TcpStream::connect(address(&world)).unwrap();
        stream.write_all(&request.as_bytes()[..from]).unwrap();
        stream
    };
    let begun = Instant::now();
    let (in_head, in_body) = (100, request.len() - 50);
    let mut slow: Vec<(TcpStream, usize)> = (0..100)
        .map(|n| if n % 2 == 0 { in_head } else { in_body })
        .map(|at| (drip(at), at))
        .collect();
    let mut normal = world.connect();
    // One byte now and then keeps no deadline away.
    while begun.elapsed() < Duration::from_millis(250) {
        for (stream, at) in &mut slow {
            let _ = stream.write_all(&request.as_bytes()[*at..=*at]);
            *at = (*at + 1).min(if *at < in_body { in_body - 80 } else { request.len() - 1 });
        }
        assert!(sign(&world, &mut normal) < PROMPT);
    }
    let mut answered = 0;
    for (mut stream, _) in slow {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut text = Vec::new();
        match stream.read_to_end(&mut text) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
        let text = String::from_utf8_lossy(&text);
        if text.contains(" 408 ") {
            assert!(text.contains(r#""code":"body_timeout""#), "{text}");
            answered += 1;
        }
    }
    assert_eq!(answered, 50, "a body that does not come is answered; half a head cannot be");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(sign(&world, &mut normal) < PROMPT);
}

#[test]
fn ten_thousand_idle_connections_cost_the_others_nothing() {
    const IDLE: usize = 10_000;
    let maximum = raise_open_files();
    if maximum < IDLE as u64 + 500 {
        eprintln!("NOT RUN: 10,000 connections need more open files than the hard limit {maximum}");
        return;
    }
    let world = World::start(Options::default());
    let before = resident_bytes(&world);
    let mut active: Vec<Http> = (0..8).map(|_| world.connect()).collect();
    let mut idle = Vec::with_capacity(IDLE);
    for number in 0..IDLE {
        let mut stream = TcpStream::connect(address(&world)).expect("a connection");
        if number % 2 == 0 {
            // Half of them have signed something before, as a pool's connections have.
            stream.write_all(b"GET /upcheck HTTP/1.1\r\nHost: gate\r\n\r\n").unwrap();
        }
        idle.push(stream);
    }
    let e = world.epoch();
    let mut slowest = Duration::ZERO;
    for round in 0..50 {
        for gate in &mut active {
            slowest = slowest.max(sign(&world, gate));
        }
        if round == 0 {
            let begun = Instant::now();
            assert_eq!(world.sign(&key(1), &attestation(e - 1, e, 1)).0, 200, "a new connection");
            slowest = slowest.max(begun.elapsed());
        }
    }
    // None of the idle ones was turned out.
    for stream in idle.iter_mut().step_by(2) {
        let mut answer = [0; 17];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer[..], b"HTTP/1.1 200 OK\r\n");
    }
    let after = resident_bytes(&world);
    let each = after.saturating_sub(before) / IDLE as u64;
    println!("10,000 idle: {before} -> {after} bytes resident, {each} each; slowest {slowest:?}");
    assert!(slowest < PROMPT, "{slowest:?}");
    assert!(each < 24 << 10, "{each} bytes for an idle connection");
}

/// Raises this process's soft limit of open files to the hard one, which it gives.
fn raise_open_files() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    raised.map_or(0, |()| maximum.unwrap_or(u64::MAX))
}

/// What the gate holds in memory.
fn resident_bytes(world: &World) -> u64 {
    let id = world.gate.as_ref().expect("the gate runs").child.id();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
