//! A disk that fails or is full: the store is poisoned, nothing more is signed, the process ends
//! and says so by its exit code, and the next one has forgotten nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use super::{CLIENTS, Rig, Syncs, prepare};
use crate::support::{Http, key, randao};

/// `EX_SOFTWARE`: what the gate ends with when its store failed.
const STORE_FAILED: i32 = 70;
const ENDED: Duration = Duration::from_secs(30);

impl Rig {
    /// Runs the load until the gate ends by itself; `during` is called all the while.
    fn run_until_exit(&mut self, begin: impl FnOnce(), mut during: impl FnMut()) -> ExitStatus {
        let (address, seed) = (self.gate(), self.draws.below(u64::MAX));
        let (load, gate) = (&self.load, self.world.gate.as_mut().expect("started"));
        let status = load.run(address, CLIENTS, seed, || {
            load.wait_for(100);
            begin();
            let deadline = Instant::now() + ENDED;
            loop {
                if let Some(status) = gate.child.try_wait().expect("a child") {
                    return status;
                }
                assert!(Instant::now() < deadline, "the gate goes on without its store");
                during();
            }
        });
        self.world.kill_gate();
        status
    }

    /// The gate ended as one whose store failed, and told its clients so.
    #[track_caller]
    fn assert_poisoned(&self, status: ExitStatus) {
        assert_eq!(status.code(), Some(STORE_FAILED), "{}", self.world.log());
        let answers = &self.tally.answers;
        assert!(answers.failed.contains_key("500 store_poisoned"), "{answers:?}");
        assert!(self.world.log().contains("\"event\":\"store_poisoned\""), "{}", self.world.log());
    }

    /// The address of `/metrics` and `/healthz`.
    pub(super) fn metrics(&self) -> SocketAddr {
        let log = self.world.log();
        let line =
            log.lines().find(|line| line.contains("\"event\":\"serving\"")).expect("serving");
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        line["metrics"].as_str().expect("an address").parse().expect("an address")
    }
}

#[test]
fn a_sync_that_fails_releases_nothing() {
    for syncs in [Syncs::Fail { after: 40 }, Syncs::FailOnce { after: 40 }] {
        let mut rig = Rig::new();
        assert!(rig.start(syncs));
        // A request that the signer never answers keeps the gate draining, so that it can be asked.
        rig.set_faults(&["stall:count=1"]);
        let mut stalled = rig.world.connect();
        let path = format!("/api/v1/eth2/sign/{}", key(0));
        stalled.send("POST", &path, None, randao(1).to_string().as_bytes()).expect("sent");
        let (metrics, mut health) = (rig.metrics(), Vec::new());
        let status = rig.run_until_exit(|| {}, || health.extend(ask_health(metrics)));
        rig.judge();
        rig.report("EIO");
        rig.assert_poisoned(status);
        rig.assert_safe();
        health.dedup();
        assert!(matches!(health[..], [503] | [200, 503]), "{syncs:?}: {health:?}");

        rig.round(Syncs::Honest);
        rig.assert_safe();
        assert!(rig.start(Syncs::Honest));
        rig.assert_serving();
    }
}

/// The status of `/healthz`, while the process is there to be asked.
pub(super) fn ask_health(address: SocketAddr) -> Option<u16> {
    let stream = std::net::TcpStream::connect(address).ok()?;
    let mut http = Http { stream: io::BufReader::new(stream) };
    Some(http.request("GET", "/healthz", None, b"").ok()?.status)
}

#[test]
fn a_full_disk_releases_nothing() {
    let world = prepare();
    let Some(mount) = Mount::over(&world.path("slashing")) else {
        // Past the capture of the test's output: nobody may take this for a success.
        let _ = writeln!(io::stderr(), "a_full_disk_releases_nothing: NOT RUN, cannot mount tmpfs");
        return;
    };
    let mut rig = Rig::over(world);
    assert!(rig.start(Syncs::Honest));
    let status = rig.run_until_exit(|| mount.fill(), std::thread::yield_now);

    mount.fill(); // what the process gave back as it ended
    let opened = rig.world.spawn_gate("gate.toml", "gate-full.log").map(|_| ());
    let refused = opened.expect_err("a gate opened its store on a full disk");
    assert!(!refused.success(), "{refused}");

    mount.free();
    rig.judge();
    rig.report("ENOSPC");
    rig.assert_poisoned(status);
    rig.assert_safe();
    rig.round(Syncs::Honest);
    rig.assert_safe();
    assert!(rig.start(Syncs::Honest));
    rig.assert_serving();
    drop(rig); // the gate ends before its disk goes
    drop(mount);
}

/// A small file system in memory.
pub(super) struct Mount(PathBuf);

impl Mount {
    /// Moves a directory onto one; `None` without the right to mount.
    pub(super) fn over(directory: &Path) -> Option<Self> {
        let aside = directory.with_extension("aside");
        fs::rename(directory, &aside).expect("moved aside");
        fs::create_dir(directory).expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m", "none"]).arg(directory);
        if !mount.status().is_ok_and(|status| status.success()) {
            return None;
        }
        let mount = Self(directory.to_owned());
        let copied = Command::new("cp").arg("-a").arg(aside.join(".")).arg(directory).status();
        assert!(copied.expect("cp").success(), "the store is copied");
        Some(mount)
    }

    pub(super) fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).expect("a file");
        let zeros = [0; 4096];
        let error = loop {
            if let Err(error) = file.write_all(&zeros) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
    }

    pub(super) fn free(&self) {
        fs::remove_file(self.0.join("filler")).expect("removed");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
