//! Where a store may live.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Why a directory cannot hold a store.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Locks and syncs mean little there.
    #[error(
        "{} lies on a network or user-space file system ({kind}), whose locks and syncs cannot be \
         relied on: put the store on a local disk",
        .path.display()
    )]
    NetworkFileSystem {
        /// The directory.
        path: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// It cannot be looked at or written.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Magic numbers of `statfs(2)`, from `linux/magic.h` and the file systems' own headers.
const NETWORK_FILE_SYSTEMS: [(u32, &str); 14] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
    (0x00c3_6400, "ceph"),
    (0x5346_414f, "afs"),
    (0x0102_1997, "9p"),
    (0x0bd0_0bd0, "lustre"),
    (0x7461_636f, "ocfs2"),
    (0x0116_1970, "gfs2"),
    (0x4750_4653, "gpfs"),
    (0x7375_7245, "coda"),
    (0x786f_4256, "vboxsf"),
];

/// The network file system that a magic number names.
pub(super) fn network_file_system(magic: u32) -> Option<&'static str> {
    NETWORK_FILE_SYSTEMS.iter().find(|(known, _)| *known == magic).map(|(_, kind)| *kind)
}

/// Refuses a directory whose locks and syncs cannot be relied on.
pub(super) fn require_local(path: &Path) -> Result<(), DirectoryError> {
    let about =
        rustix::fs::statfs(path).map_err(|error| io_error("look at", path, error.into()))?;
    // The field's type differs between machines; magic numbers have 32 bits.
    match network_file_system(about.f_type as u32) {
        Some(kind) => Err(DirectoryError::NetworkFileSystem { path: path.to_owned(), kind }),
        None => Ok(()),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync(path: &Path) -> Result<(), DirectoryError> {
    File::open(path).and_then(|it| it.sync_all()).map_err(|error| io_error("sync", path, error))
}

pub(super) fn io_error(action: &'static str, path: &Path, source: io::Error) -> DirectoryError {
    DirectoryError::Io { action, path: path.to_owned(), source }
}
