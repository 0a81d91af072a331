//! What is measured: nothing at all, two plain reverse proxies, and the gate.

#![allow(clippy::disallowed_methods)] // it waits for processes

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process, setpriority_process};

use super::cpu::{Tree, pin_self};
use super::requests::{GENESIS_AGE_EPOCHS, GVR, MIN_TARGET_AGE_EPOCHS, network_config};

const EPOCH_S: u64 = 32 * 12;
const STARTED: Duration = Duration::from_secs(120);

/// A process that ends with its measurement.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    pub(crate) fn tree(&self) -> Tree {
        Tree(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // nginx leaves its worker behind when it is killed; asked to end it takes it along.
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), pid) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// The priority of the load and of the signer behind the subjects, where it is permitted.
pub(crate) const NICE: i32 = -20;

/// Starts `command` on these cores, at the priority that a subject has wherever it runs.
fn spawn(command: &mut Command, cores: &[usize], back: &[usize]) -> io::Result<Child> {
    pin_self(cores)?;
    let _ = setpriority_process(None, 0);
    let child = command.spawn();
    let _ = setpriority_process(None, NICE);
    pin_self(back)?;
    child.map_err(|error| {
        let name = command.get_program().to_string_lossy().into_owned();
        io::Error::new(error.kind(), format!("{name}: {error}"))
    })
}

/// Where the subjects run, and where the load does.
#[derive(Clone, Debug)]
pub(crate) struct Cores {
    pub(crate) subject: Vec<usize>,
    pub(crate) load: Vec<usize>,
}

impl Cores {
    fn all(&self) -> Vec<usize> {
        let mut all = [self.subject.as_slice(), self.load.as_slice()].concat();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Starts the stub, which knows the signatures of so many rounds.
pub(crate) fn stub(keys_file: &Path, rounds: u64, cores: &[usize]) -> io::Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("stub").arg(keys_file).arg(rounds.to_string()).stdout(Stdio::piped());
    pin_self(cores)?;
    let mut child = command.spawn()?;
    let mut line = String::new();
    let output = child.stdout.take().expect("piped");
    BufReader::new(output).read_line(&mut line)?;
    let address = line.trim().parse().map_err(io::Error::other)?;
    Ok(Process { child, address })
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn wait_until_it_listens(child: Child, address: SocketAddr) -> io::Result<Process> {
    let mut process = Process { child, address };
    let deadline = Instant::now() + STARTED;
    while TcpStream::connect(address).is_err() {
        if let Some(status) = process.child.try_wait()? {
            return Err(io::Error::other(format!("ended with {status} instead of serving")));
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "does not serve"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(process)
}

/// nginx with one worker that keeps its connections, in front of `stub`.
pub(crate) fn nginx(folder: &Path, stub: SocketAddr, cores: &Cores) -> io::Result<Process> {
    fs::create_dir_all(folder)?;
    let address = free_address()?;
    let path = folder.join("nginx.conf");
    let at = folder.display();
    let config = format!(
        "worker_processes 1;\ndaemon off;\npid {at}/nginx.pid;\nerror_log {at}/nginx.log;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  client_body_buffer_size 16k;\n\
         client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fcgi;\n\
         uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
         upstream signer {{ server {stub}; keepalive 512; keepalive_requests 1000000000; }}\n\
         server {{ listen {address} backlog=4096; location / {{ proxy_pass http://signer;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}\n}}\n"
    );
    fs::write(&path, config)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&path).arg("-p").arg(folder).arg("-e").arg(folder.join("nginx.log"));
    command.stdout(Stdio::null()).stderr(File::create(folder.join("nginx.err"))?);
    wait_until_it_listens(spawn(&mut command, &cores.subject, &cores.load)?, address)
}

/// haproxy with one thread that keeps its connections, in front of `stub`.
pub(crate) fn haproxy(folder: &Path, stub: SocketAddr, cores: &Cores) -> io::Result<Process> {
    fs::create_dir_all(folder)?;
    let address = free_address()?;
    let path = folder.join("haproxy.cfg");
    let config = format!(
        "global\n  nbthread 1\n  maxconn 8192\ndefaults\n  mode http\n  http-reuse always\n  \
         timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
         timeout http-keep-alive 60s\nlisten signer\n  bind {address} backlog 4096\n  \
         server stub {stub}\n"
    );
    fs::write(&path, config)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&path);
    command.stdout(Stdio::null()).stderr(File::create(folder.join("haproxy.err"))?);
    wait_until_it_listens(spawn(&mut command, &cores.subject, &cores.load)?, address)
}

/// How a gate is built and set up.
#[derive(Clone, Debug)]
pub(crate) struct GateOptions<'a> {
    pub(crate) binary: &'a Path,
    /// Where its store and its files are; `None` makes a new store.
    pub(crate) folder: PathBuf,
    pub(crate) keys_file: &'a Path,
    pub(crate) stub: SocketAddr,
    pub(crate) workers: usize,
    /// Which signatures are verified before they are released.
    pub(crate) verify: &'a str,
}

/// Makes a store with its keys, unless the folder has one, and starts a gate on it.
pub(crate) fn gate(options: &GateOptions<'_>, cores: &Cores) -> io::Result<Process> {
    let GateOptions { binary, folder, keys_file, .. } = options;
    let is_new = !folder.exists();
    fs::create_dir_all(folder)?;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    let genesis = folder.join("genesis");
    if is_new {
        let time = clock.as_secs() - GENESIS_AGE_EPOCHS * EPOCH_S;
        fs::write(&genesis, time.to_string())?;
    }
    let genesis_time = fs::read_to_string(&genesis)?;
    // An earlier version, to compare with, has no policy.
    let judges = Command::new(binary).args(["policy", "--help"]).output()?.status.success();
    fs::write(folder.join("gate.toml"), configuration(options, &genesis_time, judges))?;
    fs::write(folder.join("policy.toml"), POLICY)?;
    if is_new {
        pin_self(&cores.all())?;
        must(binary, folder, &["slashing", "init", "--config", "gate.toml"])?;
        let keys = keys_file.to_str().expect("a path of ours");
        must(
            binary,
            folder,
            &["keys", "enrol", "--config", "gate.toml", "--new", "--keys-file", keys],
        )?;
        pin_self(&cores.load)?;
    }
    let log = folder.join("gate.log");
    let mut command = Command::new(binary);
    command.args(["run", "--config", "gate.toml", "--log-format", "json"]).current_dir(folder);
    command.stdout(Stdio::null()).stderr(File::create(&log)?);
    let child = spawn(&mut command, &cores.subject, &cores.load)?;
    serving(child, &log)
}

/// A key votes for as many epochs within one as it takes. Every rule runs all the same.
const POLICY: &str = "version = 1\n[defaults.budgets]\nroots_per_epoch = { ATTESTATION = 65535 }\n";

fn configuration(options: &GateOptions<'_>, genesis_time: &str, judges: bool) -> String {
    let GateOptions { stub, workers, verify, .. } = options;
    let policy = if judges { "[policy]\nfile = \"policy.toml\"\n" } else { "" };
    let network = network_config();
    format!(
        "[network]\nconfig = {network:?}\ngenesis_time = {genesis_time}\n\
         genesis_validators_root = \"{GVR}\"\n\
         [listen]\naddress = \"127.0.0.1:0\"\nworkers = {workers}\n\
         [metrics]\naddress = \"127.0.0.1:0\"\n\
         [upstream]\nurl = \"http://{stub}\"\n\
         [slashing]\ndirectory = \"slashing\"\nwitness = \"witness.json\"\n\
         min_target_age_epochs = {MIN_TARGET_AGE_EPOCHS}\n\
         [verify]\nmode = \"{verify}\"\n{policy}"
    )
}

fn must(binary: &Path, folder: &Path, arguments: &[&str]) -> io::Result<()> {
    let output = Command::new(binary).args(arguments).current_dir(folder).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{arguments:?}: {said}")))
}

/// Waits until the gate says where it serves.
fn serving(mut child: Child, log: &Path) -> io::Result<Process> {
    let deadline = Instant::now() + STARTED;
    loop {
        let text = fs::read_to_string(log)?;
        if let Some(line) = text.lines().find(|line| line.contains("\"event\":\"serving\"")) {
            let line: serde_json::Value = serde_json::from_str(line)?;
            let addresses = line["addresses"].as_str().unwrap_or_default();
            let address = addresses.trim_matches(['[', ']']).parse().map_err(io::Error::other)?;
            return Ok(Process { child, address });
        }
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("the gate ended with {status}: {text}")));
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the gate does not serve"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
