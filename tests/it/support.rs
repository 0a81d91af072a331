//! Real processes for the tests: the gate and the development signer, each on a free port of the
//! loopback, with everything they write in a folder that goes away.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use portcullis::bls::SecretKey;
use portcullis::dev_signer::log;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const GVR: &str = "0x7e577e577e577e577e577e577e577e577e577e577e577e577e577e577e577e57";
pub(crate) const VERSION: &str = "0x06007e57";
pub(crate) const SLOT_S: u64 = 12;
const STARTED: Duration = Duration::from_secs(30);

pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_portcullis")
}

/// How a [`World`] differs from the usual one.
pub(crate) struct Options {
    /// Interop keys at the signer; all are enrolled as new.
    pub(crate) keys: u64,
    /// How long ago genesis was, in seconds.
    pub(crate) genesis_age_s: u64,
    /// More arguments of the signer.
    pub(crate) signer: Vec<String>,
    /// More lines of the configuration, appended.
    pub(crate) config: String,
    /// Whether the keys are enrolled.
    pub(crate) enrol: bool,
    /// The network's `config.yaml`, if it is not the tests' own.
    pub(crate) network: Option<String>,
    /// The genesis validators root.
    pub(crate) genesis_validators_root: &'static str,
    /// The policy document; `None` for the built-in policy.
    pub(crate) policy: Option<&'static str>,
}

/// The policy of tests that are about something else. They ask for what is long past, for a day's
/// duties within seconds and with several clients for one key, which no rule lets pass that is
/// about time, numbers or owners.
const TIMELESS: &str = "version = 1\n[defaults.modes]\nblock_window = 'off'\n\
     randao_window = 'off'\nsync_window = 'off'\nselection_budget = 'off'\nduty_budget = 'off'\n\
     client_lease = 'off'\nlease_fence = 'off'\nexit_window = 'off'\nexit_daily_max = 'off'\n\
     deposit_credentials = 'off'\n";

impl Default for Options {
    fn default() -> Self {
        Self {
            keys: 4,
            genesis_age_s: 100 * 32 * SLOT_S + 5 * SLOT_S,
            signer: Vec::new(),
            config: String::new(),
            enrol: true,
            network: None,
            genesis_validators_root: GVR,
            policy: Some(TIMELESS),
        }
    }
}

/// A process that does not outlive its test.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A signer, a gate in front of it, and their files.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) genesis_time: u64,
    pub(crate) signer: Option<Process>,
    pub(crate) gate: Option<Process>,
    /// More environment of the gate.
    pub(crate) gate_environment: Vec<(String, String)>,
    signer_args: Vec<String>,
    keys: u64,
    network: PathBuf,
    genesis_validators_root: &'static str,
    policy: Option<&'static str>,
}

impl World {
    /// Starts everything, and waits until the gate serves.
    pub(crate) fn start(options: Options) -> Self {
        let mut world = Self::prepare(options);
        world.start_gate();
        world
    }

    /// Starts the signer, makes the store and enrols the keys; the gate is not started.
    pub(crate) fn prepare(options: Options) -> Self {
        let dir = tempfile::Builder::new().prefix("pc").tempdir().expect("a folder");
        let genesis_time = unix_s() - options.genesis_age_s;
        let mut world = Self {
            dir,
            genesis_time,
            signer: None,
            gate: None,
            gate_environment: Vec::new(),
            signer_args: options.signer,
            keys: options.keys,
            network: Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/networks/test.yaml"),
            genesis_validators_root: options.genesis_validators_root,
            policy: options.policy.filter(|_| !options.config.contains("[policy]")),
        };
        if let Some(policy) = world.policy {
            fs::write(world.path("policy.toml"), policy).expect("written");
        }
        if let Some(network) = options.network {
            world.network = world.path("network.yaml");
            fs::write(&world.network, network).expect("written");
        }
        world.start_signer("127.0.0.1:0");
        world.write_config("gate.toml", &options.config);
        world.must(&["slashing", "init", "--config", "gate.toml"]);
        if options.enrol {
            world.must(&["keys", "enrol", "--config", "gate.toml", "--new", "--from-upstream"]);
        }
        world
    }

    /// Starts the signer again, where it was before.
    pub(crate) fn start_signer(&mut self, listen: &str) {
        let keys = self.keys.to_string();
        let mut arguments = vec!["--interop", &keys, "--log", "signed.jsonl"];
        arguments.extend(self.signer_args.iter().map(String::as_str));
        self.signer = Some(self.spawn_signer(listen, &arguments));
    }

    /// Starts another signer in the world's folder.
    pub(crate) fn spawn_signer(&self, listen: &str, arguments: &[&str]) -> Process {
        let mut command = Command::new(binary());
        command.args(["dev-signer", "--listen", listen]).args(arguments);
        command.current_dir(self.dir.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the signer starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("the signer says where it listens");
        let address = line.trim().rsplit_once("://").expect(&line).1;
        let address = address.parse().expect("an address");
        Process { child, address }
    }

    /// Writes a configuration; `extra` goes at its end.
    pub(crate) fn write_config(&self, name: &str, extra: &str) {
        let (network, root) = (&self.network, self.genesis_validators_root);
        let signer = self.signer.as_ref().expect("the signer runs").address;
        let policy = self.policy.filter(|_| !extra.contains("[policy]"));
        let policy = policy.map_or("", |_| "\n[policy]\nfile = 'policy.toml'\n");
        let text = format!(
            "[network]\nconfig = {network:?}\ngenesis_time = {}\ngenesis_validators_root = \"{root}\"\n\
             [listen]\naddress = \"127.0.0.1:0\"\n[metrics]\naddress = \"127.0.0.1:0\"\n\
             [upstream]\nurl = \"http://{signer}\"\n\
             [slashing]\ndirectory = \"slashing\"\nwitness = \"witness.json\"\n{extra}{policy}",
            self.genesis_time
        );
        fs::write(self.dir.path().join(name), text).expect("written");
    }

    /// Starts the gate, with its log in `gate.log`.
    pub(crate) fn start_gate(&mut self) {
        self.gate = Some(self.spawn_gate("gate.toml", "gate.log").expect("the gate serves"));
    }

    /// Starts a gate; `Err` with its exit status if it ends instead of serving.
    pub(crate) fn spawn_gate(&self, config: &str, log: &str) -> Result<Process, ExitStatus> {
        let log = self.dir.path().join(log);
        let mut child = self.gate_command(config, &log).spawn().expect("the gate starts");
        let deadline = Instant::now() + STARTED;
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                return Err(status);
            }
            if let Some(line) = serving(&log) {
                let address = line["addresses"].as_str().expect("addresses");
                let first = address.trim_matches(['[', ']']).split(", ").next().expect("one");
                let address = first.parse().expect("an address");
                return Ok(Process { child, address });
            }
            assert!(Instant::now() < deadline, "the gate does not serve: {}", tail(&log));
            std::thread::yield_now();
        }
    }

    /// The command that starts a gate, for tests that add to it.
    pub(crate) fn gate_command(&self, config: &str, log: &Path) -> Command {
        let mut command = Command::new(binary());
        command.args(["run", "--config", config, "--log-format", "json"]);
        command.current_dir(self.dir.path()).stdout(Stdio::null());
        command.env(SPACE_LOW, "0"); // the disk of the tests may be nearly full
        command.envs(self.gate_environment.iter().cloned());
        command.stderr(File::create(log).expect("a log"));
        command
    }

    /// Kills the gate as `kill -9` does.
    pub(crate) fn kill_gate(&mut self) {
        self.gate = None; // `Process` kills with SIGKILL and waits
    }

    /// Runs a command of `portcullis` in the world's folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.dir.path()).output().expect("runs")
    }

    /// Runs a command that has to succeed; gives its standard output.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// A connection to the gate.
    pub(crate) fn connect(&self) -> Http {
        Http::connect(self.gate.as_ref().expect("the gate runs").address)
    }

    /// Asks the gate for a signature over a connection of its own: status and body.
    pub(crate) fn sign(&self, key: &str, body: &Value) -> (u16, Value) {
        self.connect().sign(key, body)
    }

    /// What the gate has written to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("gate.log")).expect("the gate's log")
    }

    /// Where the admin API of the gate with this log listens.
    pub(crate) fn admin(&self, log: &str) -> SocketAddr {
        let line = serving(&self.path(log)).expect("it serves");
        line["admin"].as_str().expect("it has an admin API").parse().expect("an address")
    }

    /// What the signer has signed, by its own log.
    pub(crate) fn signed(&self) -> Vec<log::Entry> {
        let path = self.dir.path().join("signed.jsonl");
        if !path.exists() {
            return Vec::new();
        }
        // A signer that is still there may be in the middle of a line.
        let deadline = Instant::now() + SOON;
        loop {
            match log::read(&path) {
                Err(log::LogError::Torn(_)) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                read => return read.expect("the signer's log"),
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The slot that it is now.
    pub(crate) fn slot(&self) -> u64 {
        unix_s().saturating_sub(self.genesis_time) / SLOT_S
    }

    /// The epoch that it is now.
    pub(crate) fn epoch(&self) -> u64 {
        self.slot() / 32
    }
}

/// The public key of an interop validator.
pub(crate) fn key(index: u64) -> String {
    let bytes = SecretKey::interop(index).public_key().to_bytes();
    portcullis::eth::PublicKey(bytes).to_string()
}

/// A root of one repeated byte.
pub(crate) fn root(byte: u8) -> String {
    format!("0x{}", format!("{byte:02x}").repeat(32))
}

fn fork_info() -> Value {
    json!({
        "fork": { "previous_version": VERSION, "current_version": VERSION, "epoch": "0" },
        "genesis_validators_root": GVR,
    })
}

/// A vote in the first slot of `target`, for a head of one repeated byte.
pub(crate) fn attestation(source: u64, target: u64, head: u8) -> Value {
    attestation_at(target * 32, source, target, head)
}

/// A vote in `slot`.
pub(crate) fn attestation_at(slot: u64, source: u64, target: u64, head: u8) -> Value {
    json!({
        "type": "ATTESTATION",
        "fork_info": fork_info(),
        "attestation": {
            "slot": slot.to_string(),
            "index": "0",
            "beacon_block_root": root(head),
            "source": { "epoch": source.to_string(), "root": root(1) },
            "target": { "epoch": target.to_string(), "root": root(2) },
        },
    })
}

/// A proposal in `slot`, with a body of one repeated byte.
pub(crate) fn block(slot: u64, body: u8) -> Value {
    json!({
        "type": "BLOCK_V2",
        "fork_info": fork_info(),
        "beacon_block": { "version": "FULU", "block_header": {
            "slot": slot.to_string(),
            "proposer_index": "7",
            "parent_root": root(4),
            "state_root": root(5),
            "body_root": root(body),
        }},
    })
}

/// A RANDAO reveal.
pub(crate) fn randao(epoch: u64) -> Value {
    json!({
        "type": "RANDAO_REVEAL",
        "fork_info": fork_info(),
        "randao_reveal": { "epoch": epoch.to_string() },
    })
}

/// When the gate calls somebody for the disk of its audit log.
pub(crate) const SPACE_LOW: &str = "PORTCULLIS_AUDIT_SPACE_LOW_PERCENT";

/// A voluntary exit.
pub(crate) fn exit(epoch: u64) -> Value {
    json!({
        "type": "VOLUNTARY_EXIT",
        "fork_info": fork_info(),
        "voluntary_exit": { "epoch": epoch.to_string(), "validator_index": "7" },
    })
}

/// A keep-alive HTTP/1.1 connection.
pub(crate) struct Http {
    pub(crate) stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) allow: Option<String>,
    pub(crate) body: String,
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        Self { stream: BufReader::new(stream) }
    }

    /// Sends a signing request and reads its answer.
    pub(crate) fn sign(&mut self, key: &str, body: &Value) -> (u16, Value) {
        let path = format!("/api/v1/eth2/sign/{key}");
        let body = body.to_string();
        let answer = self.request("POST", &path, Some("application/json"), body.as_bytes());
        let answer = answer.expect("an answer");
        (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, None, b"").expect("an answer")
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        accept: Option<&str>,
        body: &[u8],
    ) -> std::io::Result<Answer> {
        self.send(method, path, accept, body)?;
        self.receive()
    }

    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        accept: Option<&str>,
        body: &[u8],
    ) -> std::io::Result<()> {
        let accept = accept.map(|accept| format!("Accept: {accept}\r\n")).unwrap_or_default();
        let mut bytes = format!(
            "{method} {path} HTTP/1.1\r\nHost: gate\r\n{accept}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        self.stream.get_mut().write_all(&bytes)
    }

    pub(crate) fn receive(&mut self) -> std::io::Result<Answer> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let (mut length, mut content_type, mut allow) = (0, None, None);
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap_or(0),
                "content-type" => content_type = Some(value.to_owned()),
                "allow" => allow = Some(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, content_type, allow, body })
    }
}

fn serving(log: &Path) -> Option<Value> {
    let text = fs::read_to_string(log).ok()?;
    let line = text.lines().find(|line| line.contains("\"event\":\"serving\""))?;
    serde_json::from_str(line).ok()
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().take(5).collect::<Vec<_>>().join("\n")
}

pub(crate) fn unix_s() -> u64 {
    portcullis::clock::unix_ms() / 1_000
}

/// Waits for what has to come.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(2)); // whoever is waited for needs the core
    }
}

const SOON: Duration = Duration::from_secs(20);
