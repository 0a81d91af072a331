//! The real release binary on a store of its own, and what the kernel says of its cost.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use portcullis::bls::SecretKey;
use portcullis::clock::unix_ms;

pub(crate) const GVR: &str = "0x7e577e577e577e577e577e577e577e577e577e577e577e577e577e577e577e57";
const GENESIS_AGE_S: u64 = 100 * 32 * 12 + 12;
const STARTED: Duration = Duration::from_secs(120);

/// A store, a configuration, and the gate on them while it runs.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) genesis_time: u64,
    gate: Option<Gate>,
}

pub(crate) struct Gate {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

/// What a process, or a command, took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// Votes for the present epoch, each by a key that has not voted yet.
pub(crate) struct Votes {
    pub(crate) keys: Arc<Vec<[u8; 48]>>,
    pub(crate) genesis_time: u64,
    pub(crate) next: AtomicUsize,
}

impl World {
    pub(crate) fn new(signer: SocketAddr) -> Self {
        let dir = tempfile::Builder::new().prefix("scale").tempdir().expect("a folder");
        let genesis_time = unix_ms() / 1_000 - GENESIS_AGE_S;
        let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/networks/test.yaml");
        let text = format!(
            "[network]\nconfig = {network:?}\ngenesis_time = {genesis_time}\n\
             genesis_validators_root = \"{GVR}\"\n[listen]\naddress = \"127.0.0.1:0\"\n\
             [metrics]\naddress = \"127.0.0.1:0\"\n\
             [upstream]\nurl = \"http://{signer}\"\nrefresh_interval_s = 3600\n\
             [slashing]\ndirectory = \"slashing\"\nwitness = \"witness.json\"\n\
             [verify]\nmode = \"off\"\n"
        );
        fs::write(dir.path().join("gate.toml"), text).expect("written");
        let world = Self { dir, genesis_time, gate: None };
        world.must(&["slashing", "init", "--config", "gate.toml"]);
        world
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("slashing")
    }

    pub(crate) fn epoch(&self) -> u64 {
        epoch(self.genesis_time)
    }

    pub(crate) fn gate(&self) -> &Gate {
        self.gate.as_ref().expect("the gate runs")
    }

    /// Runs a command of `portcullis` that has to succeed, its output thrown away.
    pub(crate) fn must(&self, arguments: &[&str]) -> Cost {
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments).current_dir(self.dir.path());
        command.stdout(Stdio::null()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("runs");
        let cpu = last_cpu(child.id());
        let wall = started.elapsed();
        assert!(child.wait().expect("a child").success(), "{arguments:?}");
        Cost { wall, cpu }
    }

    /// Starts the gate; the time until it has answered a first request.
    pub(crate) fn start(&mut self, first: impl Fn(SocketAddr)) -> Cost {
        let log = self.dir.path().join("gate.log");
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["run", "--config", "gate.toml", "--log-format", "json"]);
        command.current_dir(self.dir.path()).stdout(Stdio::null());
        let mut child = command.stderr(File::create(&log).expect("a log")).spawn().expect("starts");
        let (address, metrics) = loop {
            let has_ended = child.try_wait().expect("a child").is_some();
            assert!(!has_ended, "{}", fs::read_to_string(&log).unwrap_or_default());
            assert!(started.elapsed() < STARTED, "the gate does not serve");
            if let Some(addresses) = addresses(&log) {
                break addresses;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        first(address);
        let wall = started.elapsed();
        let gate = Gate { child, address, metrics };
        let cpu = gate.cpu();
        self.gate = Some(gate);
        Cost { wall, cpu }
    }

    /// Ends the gate in order.
    pub(crate) fn stop(&mut self) {
        let mut gate = self.gate.take().expect("the gate runs");
        let pid = rustix::process::Pid::from_child(&gate.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a child");
        assert!(gate.child.wait().expect("a child").success(), "the gate closed in order");
    }

    /// Ends the gate as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.gate = None;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gate {
    /// CPU time of all its threads so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(self.child.id()).expect("the gate runs").0
    }

    /// A line of `/proc/PID/status`, in MiB.
    pub(crate) fn memory_mib(&self, line: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the gate runs");
        let value = status.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
        let kib = value.and_then(|it| it.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kib.expect("a line in kB") / 1024.0
    }
}

/// CPU time of this process so far.
pub(crate) fn own_cpu() -> Duration {
    cpu(std::process::id()).expect("it runs").0
}

/// CPU time, and whether the process has ended.
fn cpu(pid: u32) -> Option<(Duration, bool)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let has_ended = fields.next()? == "Z";
    let ticks: u64 = fields.skip(10).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Some((Duration::from_millis(ticks * 10), has_ended)) // USER_HZ is 100 everywhere
}

/// Waits until a child has ended, and reads its CPU time before it is reaped.
fn last_cpu(pid: u32) -> Duration {
    loop {
        match cpu(pid) {
            Some((cpu, true)) => return cpu,
            Some((_, false)) => std::thread::sleep(Duration::from_millis(1)),
            None => return Duration::ZERO,
        }
    }
}

fn addresses(log: &Path) -> Option<(SocketAddr, SocketAddr)> {
    let text = fs::read_to_string(log).ok()?;
    let line = text.lines().find(|line| line.contains("\"event\":\"serving\""))?;
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = |name: &str| line[name].as_str()?.trim_matches(['[', ']']).parse().ok();
    Some((address("addresses")?, address("metrics")?))
}

fn epoch(genesis_time: u64) -> u64 {
    (unix_ms() / 1_000 - genesis_time) / 12 / 32
}

impl Votes {
    pub(crate) fn key(&self, index: usize) -> String {
        hex(&self.keys[index % self.keys.len()])
    }

    /// A vote for the present epoch.
    pub(crate) fn vote(&self) -> String {
        let epoch = epoch(self.genesis_time);
        let root = |byte: &str| format!("0x{}", byte.repeat(32));
        format!(
            r#"{{"type":"ATTESTATION","fork_info":{{"fork":{{"previous_version":"0x06007e57","current_version":"0x06007e57","epoch":"0"}},"genesis_validators_root":"{GVR}"}},"attestation":{{"slot":"{}","index":"0","beacon_block_root":"{}","source":{{"epoch":"{}","root":"{}"}},"target":{{"epoch":"{epoch}","root":"{}"}}}}}}"#,
            epoch * 32,
            root("01"),
            epoch - 1,
            root("02"),
            root("03"),
        )
    }
}

pub(crate) fn hex(key: &[u8; 48]) -> String {
    format!("0x{}", faster_hex::hex_string(key))
}

/// The first `count` interop keys: points of the curve, as an enrolment may ask for. Computed once
/// (some 100 us each) and kept in the target directory.
pub(crate) fn interop_keys(count: usize) -> Vec<[u8; 48]> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop-keys.bin");
    let cached = fs::read(&cache).unwrap_or_default();
    let mut keys: Vec<[u8; 48]> =
        cached.chunks_exact(48).map(|it| it.try_into().unwrap()).collect();
    if keys.len() < count {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let missing: Vec<u64> = (keys.len() as u64..count as u64).collect();
        let shares = missing.chunks(missing.len().div_ceil(cores));
        std::thread::scope(|scope| {
            let threads: Vec<_> = shares
                .map(|share| {
                    let key = |index: &u64| SecretKey::interop(*index).public_key().to_bytes();
                    scope.spawn(move || share.iter().map(key).collect::<Vec<_>>())
                })
                .collect();
            for thread in threads {
                keys.extend(thread.join().expect("no panic"));
            }
        });
        fs::write(&cache, keys.as_flattened()).expect("the target directory is writable");
    }
    keys.truncate(count);
    keys
}

/// A keep-alive connection.
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        Self { stream: BufReader::with_capacity(256 << 10, stream) }
    }

    pub(crate) fn get(&mut self, path: &str) -> (u16, Vec<u8>) {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: gate\r\n\r\n"))
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> (u16, Vec<u8>) {
        self.exchange(&format!(
            "POST {path} HTTP/1.1\r\nHost: gate\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    pub(crate) fn sign(&mut self, key: &str, body: &str) -> (u16, Vec<u8>) {
        self.post(&format!("/api/v1/eth2/sign/{key}"), body)
    }

    fn exchange(&mut self, request: &str) -> (u16, Vec<u8>) {
        self.stream.get_mut().write_all(request.as_bytes()).expect("sent");
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("an answer");
        let status = line.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
        (status, body)
    }
}
