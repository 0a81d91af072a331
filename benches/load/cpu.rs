//! What the operating system says of who used the processor.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

/// A process with all that it started, threads and children.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree(pub(crate) u32);

impl Tree {
    /// This very process, without its children.
    pub(crate) fn own_cpu() -> Duration {
        process_cpu(std::process::id())
    }

    /// Processor time that all threads of all its processes have used.
    ///
    /// The scheduler's own count in nanoseconds; a thread that has ended is no longer in it.
    pub(crate) fn cpu(self) -> Duration {
        self.processes().into_iter().map(process_cpu).sum()
    }

    /// Resident memory of all its processes, in bytes.
    pub(crate) fn resident_bytes(self) -> u64 {
        let resident = |pid: u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
            text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0)
        };
        self.processes().into_iter().map(resident).sum::<u64>() * rustix::param::page_size() as u64
    }

    fn processes(self) -> Vec<u32> {
        let mut found = vec![self.0];
        let parents: Vec<(u32, u32)> =
            all_processes().filter_map(|pid| Some((pid, parent(pid)?))).collect();
        let mut looked_at = 0;
        while let Some(&pid) = found.get(looked_at) {
            found.extend(
                parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| child),
            );
            looked_at += 1;
        }
        found
    }
}

/// Lets the calling thread, and what it starts from now on, run on these cores alone.
pub(crate) fn pin_self(cores: &[usize]) -> io::Result<()> {
    Ok(sched_setaffinity(None, &set(cores))?)
}

fn set(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    set
}

fn all_processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?; // the name before it may hold anything
    rest.split(' ').nth(1)?.parse().ok()
}

fn process_cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let used = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(used.sum())
}

/// Time in which the cores of this machine were not idle, stolen time included.
pub(crate) fn machine_busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        first.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    const IDLE: usize = 3;
    const IO_WAIT: usize = 4;
    const STEAL: usize = 7;
    let busy = ticks.iter().enumerate().take(STEAL + 1);
    let busy: u64 =
        busy.filter(|(column, _)| ![IDLE, IO_WAIT].contains(column)).map(|(_, ticks)| ticks).sum();
    Duration::from_millis(busy * 1_000 / rustix::param::clock_ticks_per_second())
}
