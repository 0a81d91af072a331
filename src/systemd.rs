//! Readiness and watchdog: the notification protocol of systemd's `Type=notify` services.
//!
//! A datagram of `KEY=VALUE` lines to the Unix socket that `NOTIFY_SOCKET` names (`sd_notify(3)`).
//! Without the variable every call does nothing.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// The one that started this process, by the environment variable `NOTIFY_SOCKET`.
    ///
    /// # Errors
    /// When the variable names no socket that can be spoken to.
    pub fn from_environment() -> io::Result<Self> {
        std::env::var_os("NOTIFY_SOCKET").map_or(Ok(Self::default()), |name| Self::to(&name))
    }

    /// To the socket of that name: a path, or `@` and an abstract name.
    ///
    /// # Errors
    /// When that is neither.
    pub fn to(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
        };
        Ok(Self(Some((UnixDatagram::unbound()?, address))))
    }

    /// Whether there is a service manager.
    #[must_use]
    pub const fn is_to_somebody(&self) -> bool {
        self.0.is_some()
    }

    /// Requests are served by this process, also where it is not the one that was started: after a
    /// handover the manager has to watch the successor (`NotifyAccess=all`).
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nMAINPID={}\nSTATUS={status}", std::process::id()));
    }

    /// The end has begun. Never said in a handover: there the service goes on.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// A line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// All is well.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::warn!(event = "notify_failed", %error, "the service manager was not told");
        }
    }
}

/// How long the service manager waits for a sign of life (`WATCHDOG_USEC`), if it waits for one of
/// this process (`WATCHDOG_PID`).
#[must_use]
pub fn watchdog_from_environment() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id())
}

fn watchdog(microseconds: Option<String>, pid: Option<String>, own_pid: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid != own_pid.to_string()) {
        return None;
    }
    let microseconds = microseconds?.parse().ok().filter(|it| *it > 0)?;
    Some(Duration::from_micros(microseconds))
}

/// Tells from the counters of threads whether each goes on.
#[derive(Debug, Default)]
pub struct Progress {
    last: Vec<(u64, Duration)>, // the count, and for how long it has stood still
}

impl Progress {
    /// Whether every counter has moved within `patience`; `elapsed` is the time since the last
    /// call.
    pub fn goes_on(
        &mut self,
        counters: impl Iterator<Item = u64>,
        elapsed: Duration,
        patience: Duration,
    ) -> bool {
        let mut all = true;
        for (index, count) in counters.enumerate() {
            match self.last.get_mut(index) {
                Some((last, still)) if *last == count => {
                    *still += elapsed;
                    all &= *still < patience;
                }
                Some(known) => *known = (count, Duration::ZERO),
                None => self.last.push((count, Duration::ZERO)),
            }
        }
        all
    }
}
