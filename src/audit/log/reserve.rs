//! Room on the disk that is held for the records that have their places when it is full.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::super::Settings;

/// A file that holds nothing but room.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    is_held: bool,
}

impl Reserve {
    pub(super) fn new(settings: &Settings) -> Self {
        let path = settings.directory.join("reserve");
        Self { path, bytes: settings.reserve_bytes, is_held: false }
    }

    /// Holds the room; `false` if the disk has too little.
    pub(super) fn hold(&mut self) -> bool {
        if !self.is_held {
            self.is_held = self.make();
        }
        self.is_held
    }

    fn make(&self) -> bool {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let Ok(file) = options.open(&self.path) else { return false };
        match fallocate(&file, FallocateFlags::empty(), 0, self.bytes.max(1)) {
            Ok(()) => true,
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {
                let _ = fs::remove_file(&self.path); // half of it may be there
                false
            }
            // A file system that cannot hold room: as much as is free counts.
            Err(_) => self.path.parent().and_then(bytes_left).is_some_and(|it| it > self.bytes),
        }
    }

    /// Gives the room away; `false` if there was none.
    pub(super) fn release(&mut self) -> bool {
        let was_held = std::mem::take(&mut self.is_held);
        let _ = fs::remove_file(&self.path);
        was_held
    }
}

fn bytes_left(directory: &Path) -> Option<u64> {
    let disk = statvfs(directory).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Which part of the disk is left.
pub(super) fn space_left(directory: &Path) -> Option<f64> {
    let disk = statvfs(directory).ok()?;
    (disk.f_blocks > 0).then(|| disk.f_bavail as f64 / disk.f_blocks as f64)
}
