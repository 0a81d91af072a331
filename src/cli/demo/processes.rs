//! The signer and the gate: real processes of this very program, in a folder that goes away.

use std::fs::{self, DirBuilder, File};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::chain::GENESIS_VALIDATORS_ROOT;
use crate::clock::{self, Stopwatch};

/// The specification of the demonstration's network, as an operator's `config.yaml`.
pub(super) const NETWORK: &str = include_str!("../../../fixtures/networks/demo.yaml");
/// Where the gate's configuration stands in the folder.
pub(super) const CONFIG: &str = "gate.toml";
const SIGNER_LOG: &str = "signed.jsonl";
/// How long a process may take until it serves.
const START_MAX: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
const TAIL_LINES: usize = 8;

/// A folder of our own, removed when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it among the temporary files, for this user alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn create() -> anyhow::Result<Self> {
        let name = format!("portcullis-demo-{}-{}", std::process::id(), clock::unix_ms());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self(path))
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
        let path = self.0.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The signer's own log of what it signed.
    pub(super) fn signer_log(&self) -> PathBuf {
        self.0.join(SIGNER_LOG)
    }

    /// This program with `arguments`, to be run here.
    fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.0).stdin(Stdio::null());
        // Ctrl-C is for this process, which then ends the others.
        command.process_group(0);
        // What the user has set for a gate of theirs is not for this one.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PORTCULLIS_") {
                command.env_remove(name);
            }
        }
        Ok(command)
    }

    /// Runs a command of this program that has to succeed.
    ///
    /// # Errors
    /// When it does not; with all that it said.
    pub(super) fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = self.command(arguments)?.output().context("cannot start this program")?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).trim_end().to_owned();
            bail!("`portcullis {}` ended with {}:\n{said}", arguments.join(" "), output.status);
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("portcullis: the folder {} could not be removed: {error}", self.0.display());
        }
    }
}

/// A process that ends when it is dropped.
struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    fn spawn(
        folder: &Folder,
        name: &'static str,
        log: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let log = folder.path().join(log);
        let file = File::create(&log).with_context(|| format!("{}", log.display()))?;
        let mut command = folder.command(arguments)?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start the {name}"))?;
        Ok(Self { name, child, log })
    }

    /// Waits until a line of its log says what `find` looks for.
    async fn says<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let waited = Stopwatch::start();
        loop {
            // First whether it has ended, then its log: what it said before its end is not missed.
            let ended = self.child.try_wait().with_context(|| self.name)?;
            let log = fs::read(&self.log).with_context(|| self.log.display().to_string())?;
            let log = String::from_utf8_lossy(&log);
            if let Some(found) = log.lines().find_map(&find) {
                return Ok(found);
            }
            let name = self.name;
            if let Some(status) = ended {
                bail!("the {name} ended with {status} before it served; it said:\n{}", tail(&log));
            }
            if waited.elapsed() > START_MAX {
                bail!("the {name} did not serve within {START_MAX:?}; it said:\n{}", tail(&log));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// The development signer.
pub(super) struct Signer {
    _process: Process,
    pub(super) address: SocketAddr,
}

impl Signer {
    /// Starts it with the first `keys` interop keys.
    ///
    /// # Errors
    /// When it does not serve; with what it said.
    pub(super) async fn start(folder: &Folder, keys: usize) -> anyhow::Result<Self> {
        let keys = keys.to_string();
        let arguments =
            ["dev-signer", "--interop", &keys, "--listen", "127.0.0.1:0", "--log", SIGNER_LOG];
        let mut process = Process::spawn(folder, "signer", "signer.log", &arguments)?;
        let address =
            process.says(|line| line.strip_prefix("listening on http://")?.parse().ok()).await?;
        Ok(Self { _process: process, address })
    }
}

/// The gate.
pub(super) struct Gate {
    process: Process,
    /// Where validator clients connect.
    pub(super) address: SocketAddr,
    /// Where Prometheus connects.
    pub(super) metrics: SocketAddr,
}

impl Gate {
    /// Writes its configuration, with `signer` behind it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn configure(
        folder: &Folder,
        genesis_time_s: u64,
        signer: SocketAddr,
    ) -> anyhow::Result<()> {
        folder.write("network.yaml", NETWORK)?;
        let config = format!(
            "# The gate of `portcullis demo`. Not for production: its keys are public.\n\
             [network]\n\
             config = \"network.yaml\"\n\
             genesis_time = {genesis_time_s}\n\
             genesis_validators_root = \"{GENESIS_VALIDATORS_ROOT}\"\n\n\
             [listen]\naddress = \"127.0.0.1:0\"\n\n\
             [metrics]\naddress = \"127.0.0.1:0\"\n\n\
             [upstream]\nurl = \"http://{signer}\"\n\n\
             [slashing]\ndirectory = \"slashing\"\nwitness = \"witness.json\"\n\n\
             [log]\nformat = \"json\"\n"
        );
        folder.write(CONFIG, config)
    }

    /// Starts it on free ports.
    ///
    /// # Errors
    /// When it does not serve; with what it said.
    pub(super) async fn start(folder: &Folder) -> anyhow::Result<Self> {
        Self::serve(folder, "gate.log", &["run", "--config", CONFIG]).await
    }

    /// Kills it as `kill -9` does, and starts it again where it was.
    ///
    /// # Errors
    /// When it does not serve; with what it said.
    pub(super) async fn kill_and_restart(self, folder: &Folder) -> anyhow::Result<Self> {
        let (listen, metrics) = (self.address.to_string(), self.metrics.to_string());
        drop(self.process); // `Child::kill` sends SIGKILL
        let arguments = ["run", "--config", CONFIG, "--listen", &listen, "--metrics", &metrics];
        Self::serve(folder, "gate-restarted.log", &arguments).await
    }

    async fn serve(folder: &Folder, log: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut process = Process::spawn(folder, "gate", log, arguments)?;
        let (address, metrics) = process.says(serving).await?;
        Ok(Self { process, address, metrics })
    }
}

/// The two addresses in the gate's line that says it serves.
fn serving(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let event: Value = serde_json::from_str(line).ok()?;
    if event["event"] != "serving" {
        return None;
    }
    let address = event["addresses"].as_str()?.trim_matches(['[', ']']).parse().ok()?;
    Some((address, event["metrics"].as_str()?.parse().ok()?))
}
