//! Where an incident is played: a signer, a gate whose time is turned, and the story's clients,
//! each at its own address, with a listener or a certificate of its own.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use super::body::{self, Origin};
use super::fixture::{Action, Case, Client, Row};
use crate::clients::authority::{Authority, Pair, Validity};
use crate::clients::connection::{Answer, ask, client_config};
use crate::support::{Http, Options, Process, SLOT_S, World, eventually, key};
use crate::test_clock::{Hands, NOT_RESERVED};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A connection, over TLS or not.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A client of the story.
struct Member {
    ip: String,
    /// The place of its listener among the gate's; the first of those is nobody's.
    listener: usize,
    certificate: Option<Pair>,
}

pub(super) struct Stage {
    pub(super) world: World,
    pub(super) origin: Origin,
    hands: Hands,
    authority: Authority,
    clients: HashMap<String, Member>,
    listeners: Vec<SocketAddr>,
    second: Option<(Process, Vec<SocketAddr>)>,
    /// Of the last certificate that was renewed.
    serial: u64,
    connections: HashMap<(String, String, bool), Box<dyn Stream>>,
}

impl Stage {
    /// Sets up what the case needs, and waits until the gate serves.
    pub(super) fn set(case: &Case) -> Self {
        let world = World::prepare(Options {
            keys: case.keys,
            enrol: case.enrolled,
            signer: case.signer.clone(),
            policy: None,
            ..Options::default()
        });
        // The first epoch that has not begun: time goes on from when the store was made.
        let slot = (world.epoch() + 1) * 32;
        let origin = Origin { slot, unix_s: world.genesis_time + slot * SLOT_S };
        let mut stage = Self {
            hands: Hands::new(world.path("clock"), origin.unix_s * 1_000),
            world,
            origin,
            authority: Authority::new("authority"),
            clients: HashMap::new(),
            listeners: Vec::new(),
            second: None,
            serial: 100,
            connections: HashMap::new(),
        };
        stage.world.gate_environment.push(stage.hands.environment());
        stage.admit_clients(&case.clients);
        let config = stage.configuration(case);
        stage.world.write_config("gate.toml", &config);
        fs::write(stage.world.path("token"), TOKEN).expect("written");
        let policy = case.policy.iter().map(|line| stage.filled_in(line) + "\n");
        fs::write(stage.world.path("policy.toml"), policy.collect::<String>()).expect("written");
        stage.start_gate();
        stage
    }

    fn admit_clients(&mut self, clients: &[Client]) {
        self.authority.signs("gate", Validity::Now, 1_000).write(&self.world, "gate");
        self.authority.write(&self.world, "ca.crt");
        for (serial, client) in clients.iter().enumerate() {
            let shown = client.certificate.then(|| self.certificate(&client.name, serial as u64));
            let (ip, listener) = (client.ip.clone(), 1 + serial);
            let member = Member { ip, listener, certificate: shown };
            self.clients.insert(client.name.clone(), member);
        }
    }

    fn certificate(&self, client: &str, serial: u64) -> Pair {
        self.authority.signs(&format!("{client}.example"), Validity::Now, serial + 1)
    }

    /// Gives a client another certificate in its name; its connections are closed.
    fn renew_certificate(&mut self, client: &str) {
        self.serial += 1;
        let pair = self.certificate(client, self.serial);
        self.clients.get_mut(client).expect("a client").certificate = Some(pair);
        self.connections.retain(|(name, _, _), _| name != client);
    }

    fn configuration(&self, case: &Case) -> String {
        let mut text = "[admin]\naddress = '127.0.0.1:0'\n[[admin.credentials]]\nname = 'anna'\n\
                        role = 'viewer'\ntoken_file = 'token'\n"
            .to_owned();
        if case.clients.iter().any(|client| client.certificate) {
            text += "[tls]\ncertificate = 'gate.crt'\nkey = 'gate.key'\nclient_ca_file = 'ca.crt'\n\
                     client_auth = 'optional'\n";
        }
        for client in &case.clients {
            let name = &client.name;
            text += &format!("[[clients]]\nname = '{name}'\n");
            if client.certificate {
                text += &format!("certificate_names = ['{name}.example']\n");
            }
            // A listener for each, so that the places are those of the clients.
            let whose = if client.certificate { "" } else { &format!("client = '{name}'\n") };
            text += &format!(
                "[[listeners]]\nname = '{name}'\naddress = '127.0.0.1:0'\n{whose}\
                 tls = {}\n",
                client.certificate
            );
        }
        if !case.policy.is_empty() {
            text += "[policy]\nfile = 'policy.toml'\n";
        }
        for line in &case.config {
            text += &(self.filled_in(line) + "\n");
        }
        text
    }

    /// Puts in what a fixture cannot know: `{S+3600}` is a time in seconds from S, `{key:3}` a key.
    fn filled_in(&self, line: &str) -> String {
        let mut pieces = line.split("{{");
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (name, rest) = piece.split_once("}}").expect("the end of a name");
            filled += &match (name.strip_prefix('S'), name.strip_prefix("key:")) {
                (Some(seconds), _) => {
                    let seconds: i64 = seconds.parse().expect("seconds");
                    let at = self.origin.unix_s.checked_add_signed(seconds).expect("a time");
                    portcullis::clock::iso8601(at)
                }
                (_, Some(index)) => key(index.parse().expect("a number")),
                (None, None) => panic!("{name} is not known"),
            };
            filled += rest;
        }
        filled
    }

    /// What was refused is an incident, with a line that says who and what; what pages nobody has
    /// paged nobody.
    pub(super) fn close_case(&self, told: &str, case: &Case) {
        let is_elsewhere = case.sequence().iter().any(|row| row.at_second_gate);
        let log = if is_elsewhere { "second.log" } else { "gate.log" };
        let incidents = || {
            let accept = format!("*/*\r\nAuthorization: Bearer {TOKEN}");
            let mut http = Http::connect(self.world.admin(log));
            let answer = http.request("GET", "/v1/incidents", Some(&accept), b"");
            let all: Value = serde_json::from_str(&answer.expect("an answer").body).expect("JSON");
            all["incidents"].as_array().cloned().unwrap_or_default()
        };
        if let Some(rule) = &case.first_refusal {
            eventually(&format!("{told}: an incident with {rule}"), || {
                incidents().iter().any(|it| it["codes"].get(rule).is_some())
            });
        }
        for it in incidents() {
            assert!(!case.pages_nobody || it["paged"] == false, "{told}: {it:#}");
            assert!(it["summary"].as_str().is_some_and(|line| line.len() > 20), "{told}: {it:#}");
        }
    }

    fn start_gate(&mut self) {
        self.connections.clear();
        self.world.start_gate();
        self.listeners = crate::clients::addresses(&self.world).0;
    }

    /// Turns time to this many milliseconds after S.
    pub(super) fn turn(&self, t_ms: u64) {
        self.hands.set(self.origin.unix_s * 1_000 + t_ms);
    }

    /// What happens to the gate.
    pub(super) fn act(&mut self, action: Action, row: &Row) {
        match action {
            Action::KillAndRestart => {
                self.world.kill_gate();
                self.start_gate();
            }
            Action::RenewCertificate => self.renew_certificate(&row.client),
            Action::StartSecondGate => self.start_second_gate(),
            Action::Alarmed => panic!("alarms are the engine's"),
        }
    }

    fn start_second_gate(&mut self) {
        let text = fs::read_to_string(self.world.path("gate.toml")).expect("written");
        let text = text.replace("directory = \"slashing\"", "directory = \"slashing-2\"");
        let text = text.replace("\"witness.json\"", "\"witness-2.json\"");
        fs::write(self.world.path("second.toml"), text).expect("written");
        self.world.must(&["slashing", "init", "--config", "second.toml"]);
        let gate = self.world.spawn_gate("second.toml", "second.log").expect("it serves");
        let log = fs::read_to_string(self.world.path("second.log")).expect("its log");
        self.second = Some((gate, crate::clients::addresses_in(&log).0));
    }

    /// Sends a row's request as its client would, and gives status and code.
    pub(super) fn ask(&mut self, row: &Row) -> (u16, String, String) {
        let body = body::of(row, self.origin);
        let line = format!("POST /api/v1/eth2/sign/{}", key(row.key));
        let headers = format!("Content-Type: application/json\r\nUser-Agent: {}\r\n", row.client);
        let ip = row.ip.clone().unwrap_or_else(|| self.clients[&row.client].ip.clone());
        let place = (row.client.clone(), ip, row.at_second_gate);
        let mut last = None;
        eventually("an answer", || {
            let mut stream = match self.connections.remove(&place) {
                Some(stream) => stream,
                None => self.connect(&place),
            };
            let Ok(answer) = ask(&mut stream, &line, &headers, &body) else { return false };
            self.connections.insert(place.clone(), stream);
            // For a moment the gate knows neither the new time nor, after a start, all keys.
            let code = answer.code();
            let is_expected = row.rule.as_deref() == Some(&*code);
            last = Some(answer);
            is_expected || ![NOT_RESERVED, "unknown_key"].contains(&&*code)
        });
        let Answer { status, body, .. } = last.as_ref().expect("an answer");
        (*status, last.as_ref().expect("an answer").code(), body.clone())
    }

    fn connect(&self, (client, ip, at_second_gate): &(String, String, bool)) -> Box<dyn Stream> {
        let member = &self.clients[client];
        let address = if *at_second_gate {
            self.second.as_ref().expect("a second gate").1[member.listener]
        } else {
            self.listeners[member.listener]
        };
        let stream = connect_from(ip, address);
        let Some(pair) = &member.certificate else { return Box::new(stream) };
        let config = client_config(&self.authority, Some(pair), &TLS13);
        let name = "localhost".try_into().expect("a name");
        let client = ClientConnection::new(config, name).expect("a client");
        Box::new(StreamOwned::new(client, stream))
    }
}

/// Connects from an address of the loopback.
fn connect_from(ip: &str, address: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    let ip = ip.parse().expect("an IPv4 address");
    bind(&socket, &SocketAddrV4::new(ip, 0)).expect("an address of the loopback");
    connect(&socket, &address).expect("connects");
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    stream
}

/// The log's entries, in their order.
pub(super) fn entries(log: &str) -> impl Iterator<Item = Value> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok())
}
