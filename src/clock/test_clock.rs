//! A wall clock that a test turns, for the real binary; never in a release build.
//!
//! With the Cargo feature `test-clock` and [`VARIABLE`] naming a file, the wall clock stands at the
//! moment at which that file says it was last modified, and a test moves time by setting it
//! (`File::set_modified`, `touch -d`). Every process that is told of the same file has the same
//! time at once: gates, their successors, commands. `CLOCK_BOOTTIME`, and with it the lease on the
//! slashing store, goes on in real time.

use std::fs::File;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use thiserror::Error;

use super::Stopwatch;
use crate::eth::Network;
use crate::eth::network::BUILTIN_NAMES;

#[cfg(test)]
mod tests;

#[cfg(not(debug_assertions))]
compile_error!(
    "the feature test-clock is for tests: no release build may have a clock that is turned"
);

/// The environment variable that names the file.
pub const VARIABLE: &str = "PORTCULLIS_TEST_CLOCK";

/// Why a build with a test clock does nothing.
#[derive(Debug, Error)]
pub enum TestClockError {
    /// Real keys sign there, and whoever can touch a file could move this gate's time.
    #[error(
        "this build has a clock that tests turn (feature test-clock) and refuses {known}, which is \
         a real network; for real keys build without the feature"
    )]
    RealNetwork {
        /// The network that was recognised.
        known: &'static str,
    },
    /// The file of the clock cannot be read.
    #[error("{VARIABLE} names a file that cannot be read: {0}")]
    NoFile(io::Error),
}

/// Holds a network and the environment against what a test clock is for.
///
/// # Errors
/// A network that people know, by its name or its genesis; a clock that is not there.
pub fn permit(network: &Network) -> Result<(), TestClockError> {
    if let Some(known) = known(network) {
        return Err(TestClockError::RealNetwork { known });
    }
    match file() {
        Some(Err(error)) => Err(TestClockError::NoFile(io::Error::from(error.kind()))),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// The built-in network that `network` is, under whatever name.
fn known(network: &Network) -> Option<&'static str> {
    BUILTIN_NAMES.into_iter().find(|name| {
        Network::builtin(name).is_some_and(|builtin| {
            let root = |network: &Network| network.genesis().map(|genesis| genesis.validators_root);
            network.name() == *name || root(network) == root(&builtin)
        })
    })
}

/// Where the hands stand, in nanoseconds since the Unix epoch; `None` where no test turns them. A
/// clock that cannot be read stands at 0: every duty is then far in the future and refused.
pub(super) fn unix_ns() -> Option<u64> {
    let modified = match file()? {
        Ok(file) => file.metadata().and_then(|metadata| metadata.modified()),
        Err(_) => return Some(0),
    };
    let since = modified.ok().and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
    Some(since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)))
}

/// Sleeps for `length` of real time, or until the hands have been turned.
pub(super) fn rest(length: Duration) {
    let (begun, rested) = (unix_ns(), Stopwatch::start());
    while unix_ns() == begun && rested.elapsed() < length {
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// How soon work that follows the clock sees that a test has turned it.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

fn file() -> Option<&'static io::Result<File>> {
    static FILE: OnceLock<Option<io::Result<File>>> = OnceLock::new();
    FILE.get_or_init(|| std::env::var_os(VARIABLE).map(File::open)).as_ref()
}
