//! `SIGUSR2`: starts the installed program as the successor, from inside the service.
//!
//! A service manager follows the processes of the service alone, so the successor must be born
//! there, with the service's user, environment and limits.

use std::ffi::OsString;
use std::process::Command;

use tokio::signal::unix::{SignalKind, signal};

use super::threads::on_own_thread;

/// Starts a successor at each `SIGUSR2`.
pub(super) fn watch_upgrade_signal() -> anyhow::Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    on_own_thread("upgrade", move || async move {
        let Ok(mut upgrade) = signal(SignalKind::user_defined2()) else {
            tracing::error!("cannot wait for SIGUSR2; upgrade with `portcullis handover`");
            return;
        };
        while upgrade.recv().await.is_some() {
            start(&arguments);
        }
    })
}

/// Starts the program that lies where this one was started from, and reports its end if it comes.
fn start(arguments: &[OsString]) {
    let Some(mut command) = successor(arguments) else {
        tracing::error!(event = "successor_not_started", "this process does not know its program");
        return;
    };
    tracing::info!(event = "successor_started", command = ?command, "SIGUSR2: a successor starts");
    let run = move || match command.status() {
        // It ends while this process lives: it did not take over.
        Ok(status) => tracing::error!(
            event = "successor_ended",
            %status,
            "the successor ended without taking over; see its messages above"
        ),
        Err(error) => tracing::error!(
            event = "successor_not_started",
            %error,
            "the installed program cannot be started"
        ),
    };
    if let Err(error) = std::thread::Builder::new().name("successor".to_owned()).spawn(run) {
        tracing::error!(event = "successor_not_started", %error, "no thread for the successor");
    }
}

/// The own command line with `handover` in place of `run`.
fn successor(arguments: &[OsString]) -> Option<Command> {
    let (program, arguments) = arguments.split_first()?;
    let (_, arguments) = arguments.split_first()?;
    let mut command = Command::new(program);
    // Of the successor the watchdog is told nothing: it is not the process that was started.
    command.arg("handover").args(arguments).env_remove("WATCHDOG_PID");
    Some(command)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_successor_has_the_arguments_of_its_predecessor() {
        for word in ["run", "handover"] {
            let own = ["/usr/bin/portcullis", word, "--config", "/etc/portcullis/gate.toml"];
            let own: Vec<OsString> = own.iter().map(OsString::from).collect();
            let command = successor(&own).unwrap();
            assert_eq!(command.get_program(), "/usr/bin/portcullis");
            let arguments: Vec<_> = command.get_args().collect();
            assert_eq!(arguments, ["handover", "--config", "/etc/portcullis/gate.toml"]);
        }
        assert!(successor(&[]).is_none());
    }
}
