//! What the disk would hold after a loss of power: of each write-ahead log, what was synced.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the syncs of the write-ahead log behave, from when on.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "bench-nosync", expect(dead_code))] // where nothing syncs nothing can fail
pub(super) enum Syncs {
    /// They sync.
    Honest,
    /// They answer success and sync nothing, after so many that did.
    Lie { after: u32 },
    /// They answer EIO, after so many that synced.
    Fail { after: u32 },
    /// One answers EIO, after so many that synced; those after it lie.
    FailOnce { after: u32 },
}

/// The logs of one store, watched through a shim that is preloaded into the gate.
pub(super) struct Disk {
    shim: PathBuf,
    trace: PathBuf,
    store: PathBuf,
    /// While it is there, the syncs of the audit log do not return.
    stall: Option<PathBuf>,
    /// By the file's name, which a store never uses twice.
    synced: HashMap<OsString, u64>,
}

/// What a cut removed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cut {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Disk {
    /// Watches a store that no process has open: what it holds now is taken as synced.
    pub(super) fn watch(store: &Path, folder: &Path) -> Self {
        let store = store.canonicalize().expect("the store's directory");
        let synced = logs(&store).into_iter().map(|(path, length)| (name(&path), length)).collect();
        let (shim, trace) = (folder.join("sync_trace.so"), folder.join("syncs"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/crash/sync_trace.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&shim).arg(source);
        assert!(compiler.status().expect("a C compiler").success(), "the shim compiles");
        File::create(&trace).expect("an empty trace");
        Self { shim, trace, store, stall: None, synced }
    }

    /// While a file is there, the syncs of the audit log do not return.
    pub(super) fn stall_audit_while(&mut self, path: &Path) {
        self.stall = Some(path.to_owned());
    }

    /// The environment in which a gate is watched.
    pub(super) fn environment(&self, syncs: Syncs) -> Vec<(String, String)> {
        let (mode, spared) = match syncs {
            Syncs::Honest => ("honest", 0),
            Syncs::Lie { after } => ("lie", after),
            Syncs::Fail { after } => ("fail", after),
            Syncs::FailOnce { after } => ("fail-once", after),
        };
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        [
            ("LD_PRELOAD", text(&self.shim)),
            ("SYNC_TRACE", text(&self.trace)),
            ("SYNC_MODE", mode.to_owned()),
            ("SYNC_SPARED", spared.to_string()),
            ("SYNC_STALL", self.stall.as_deref().map(text).unwrap_or_default()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Cuts every log of the store, which no process has open, back to the length last synced.
    pub(super) fn cut(&mut self) -> Cut {
        self.read_trace();
        let mut cut = Cut::default();
        for (path, length) in logs(&self.store) {
            let synced = self.synced.get(&name(&path)).copied().unwrap_or(0);
            assert!(synced <= length, "{}: synced {synced} of {length} bytes", path.display());
            if synced < length {
                let file = File::options().write(true).open(&path).expect("a log");
                file.set_len(synced).expect("cut");
                cut.files += 1;
                cut.bytes += length - synced;
            }
        }
        cut
    }

    fn read_trace(&mut self) {
        for line in fs::read_to_string(&self.trace).expect("the trace").lines() {
            let (length, path) = line.split_once(' ').expect("a length and a path");
            let path = Path::new(path);
            if path.parent() == Some(&self.store) {
                let length: u64 = length.parse().expect("a length");
                let longest = self.synced.entry(name(path)).or_default();
                *longest = length.max(*longest);
            }
        }
    }
}

fn logs(store: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(store).expect("the store").map(|entry| entry.expect("an entry"));
    let paths = entries.map(|entry| entry.path());
    let logs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.map(|path| (path.clone(), fs::metadata(&path).expect("a log").len())).collect()
}

fn name(path: &Path) -> OsString {
    path.file_name().expect("a file").to_owned()
}
