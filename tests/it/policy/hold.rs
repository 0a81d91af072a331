//! A request whose source is in doubt waits a moment: keys that move together are an honest move.

use std::fs;
use std::net::SocketAddr;
use std::thread;

use rustls::version::TLS13;
use serde_json::Value;

use crate::clients::addresses;
use crate::clients::authority::{Authority, Validity};
use crate::clients::connection::{ask, client_config, tls};
use crate::support::{Http, Options, World, attestation, eventually, key, randao};

const CONFIG: &str = "[tls]\ncertificate = 'gate.crt'\nkey = 'gate.key'\n\
     client_ca_file = 'ca.crt'\n\
     [[clients]]\nname = 'one'\ncertificate_names = ['one.example']\n\
     [policy]\nfile = 'policy.toml'\nrecording = 'recording'\n";

/// The same certificate, network and keys with another client's words stand at log-odds 1: more
/// than this policy lets pass, and little enough to be an open question.
const POLICY: &str = "version = 1\n[defaults.modes]\ncontext = 'enforce'\n[thresholds]\nhold = 0.5\n\
     micro_hold_ms = 900\n";

/// A little less than a request is put off, in seconds.
const HELD_S: f64 = 0.8;

/// The seconds that signed requests were with the judge, by the gate's own figures.
fn decided_s(metrics: SocketAddr) -> f64 {
    let text = Http::connect(metrics).get("/metrics").body;
    let series = "portcullis_stage_seconds_sum{stage=\"decide\"} ";
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

/// What a replay of the recording says of as many requests.
fn replayed(world: &World, requests: u64) -> Value {
    let arguments = ["policy", "replay", "--policy", "policy.toml", "--json"];
    let arguments = [&arguments[..], &["--config", "gate.toml", "recording"]].concat();
    let mut whole = Value::Null;
    eventually("the recording of every request", || {
        let output = world.run(&arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        whole = serde_json::from_str(text.lines().last().unwrap_or("0")).unwrap();
        whole["requests"] == requests
    });
    whole
}

#[test]
fn a_held_request_is_decided_by_the_keys_that_move_along() {
    let options = Options { keys: 4, config: CONFIG.to_owned(), ..Options::default() };
    let mut world = World::prepare(options);
    let authority = Authority::new("authority");
    authority.signs("gate", Validity::Now, 1000).write(&world, "gate");
    authority.write(&world, "ca.crt");
    fs::write(world.path("policy.toml"), POLICY).unwrap();
    world.start_gate();
    let (listeners, metrics) = addresses(&world);
    let client = authority.signs("one.example", Validity::Now, 2);
    let client = client_config(&authority, Some(&client), &TLS13);
    let sign = |index: u64, words: &str, body: &Value| {
        let mut stream = tls(&client, listeners[0]);
        let line = format!("POST /api/v1/eth2/sign/{}", key(index));
        let answer = ask(&mut stream, &line, words, &body.to_string()).unwrap();
        (answer.status, answer.code())
    };
    let signed = (200, String::new());
    let epoch = world.epoch();
    let vote = attestation(epoch - 2, epoch, 3);
    for index in 0..4 {
        assert_eq!(sign(index, "", &randao(epoch)), signed);
    }
    assert_eq!(sign(0, "", &vote), signed, "the owner does not wait");
    let before = decided_s(metrics);

    // One key alone: it waits, and nobody comes.
    let other = "User-Agent: other/1.0\r\n";
    assert_eq!(sign(3, other, &vote), (412, "context".to_owned()));

    // Two more: the first of them waits as well, and the second makes it a move of three.
    thread::scope(|scope| {
        let (sign, vote) = (&sign, &vote);
        let both = [1, 2].map(|index| scope.spawn(move || sign(index, other, vote)));
        for request in both {
            assert_eq!(request.join().unwrap(), signed);
        }
    });
    let held_s = decided_s(metrics) - before;
    assert!(held_s >= HELD_S, "the first of them was held: {held_s} s");
    // Now that it is a move, the one that was refused is signed for, and does not wait.
    assert_eq!(sign(3, other, &vote), signed);

    // As the recording has it: nine requests, of which two were put off, and one refused.
    let whole = replayed(&world, 9);
    assert_eq!((&whole["held"], &whole["refused"]), (&2.into(), &1.into()), "{whole}");
}
