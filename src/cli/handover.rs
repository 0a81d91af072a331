//! `portcullis handover`: starts as the successor of the gate that runs.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use slashing_db::Store;

use super::run::{self, Prepared};
use super::{Exit, store};
use crate::clock::Clock;
use crate::config::RunArgs;
use crate::handover::{Ask, Predecessor, Serving};
use crate::server::sockets::Sockets;

/// Takes over sockets and store of the gate that runs, and serves in its place
#[derive(Args)]
pub struct HandoverArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Hand over at once, not in the part of the slot in which nothing is due
    #[arg(long)]
    at_once: bool,
}

/// Whoever reads an error after the running gate was told to close.
const AFTER_GO: &str = "the running gate was told to close. If its log says that it closed, nobody \
    signs: start the gate with `portcullis run` (a service manager does it); no floor is needed";

pub(super) fn run(args: &HandoverArgs) -> anyhow::Result<Exit> {
    let prepared = Prepared::load(&args.run)?;
    look_at_the_store(&prepared)?;
    let directory = &prepared.config.slashing.directory;
    let ask = Ask::of_this_process();
    let (predecessor, sockets) = Predecessor::ask(directory, &ask)
        .context("no handover; nothing has changed, and nothing is taken by force")?;
    let offer = predecessor.offer();
    tracing::info!(
        event = "handover_offered",
        predecessor = offer.pid,
        predecessor_version = offer.version,
        sockets = sockets.len(),
        "the running gate offers its sockets"
    );
    ensure!(
        !offer.terms.supervised || prepared.notify.is_to_somebody(),
        "a service manager watches the running gate, and not this process; nothing has changed. \
         Let the running gate start its successor: send SIGUSR2 to process {}, under systemd with \
         `systemctl kill --kill-whom=main --signal=SIGUSR2` and the name of the service",
        offer.pid
    );
    let mut sockets = Sockets::inherited(sockets);
    sockets.reserve(&run::addresses(&prepared.config)).context(
        "an address of the new configuration cannot be listened on; nothing has changed",
    )?;
    if !args.at_once {
        wait_for_a_quiet_moment(&prepared);
    }
    tracing::info!(event = "handover_go", "the running gate is told to close");
    let closed = predecessor.go().context(AFTER_GO)?;
    run::serve_until_the_end(prepared, sockets, |now| {
        let pause_ms = closed.pause_ms(now.boot);
        tracing::info!(
            event = "handover",
            pause_ms,
            drained_ms = closed.drained_ms,
            sealed_ms = closed.sealed_ms,
            finished = closed.finished,
            cut = closed.cut,
            predecessor = predecessor.offer().pid,
            "this gate serves in the place of its predecessor"
        );
        if let Err(error) = predecessor.tell_serving(Serving { pause_ms }) {
            tracing::warn!(%error, "the predecessor was gone before it heard that it may end");
        }
    })
    .context("the successor ended")
}

/// Reads the store beside its owner: whether this version can, and whether it is the configured
/// one. It also brings the files into the kernel's cache before the pause.
fn look_at_the_store(prepared: &Prepared) -> anyhow::Result<()> {
    let slashing = &prepared.config.slashing;
    let unchanged = "no handover; nothing has changed";
    let found = Store::open_read_only(&slashing.directory).context(unchanged)?;
    let found = found.identity.local.binding;
    let params =
        store::open_params(&prepared.config, &prepared.network, prepared.slots, &Clock::System)?;
    ensure!(
        found.network() == params.network
            && found.key_set() == params.key_set
            && found.genesis_validators_root() == params.genesis_validators_root,
        "{unchanged}: the store is of {found}, the configuration of key set {} on {}",
        params.key_set,
        params.network
    );
    ensure!(
        slashing.witness.exists(),
        "{unchanged}: there is no witness at {}",
        slashing.witness.display()
    );
    Ok(())
}

/// A pause then costs no duty: they are due at the beginning, a third and two thirds of a slot.
fn wait_for_a_quiet_moment(prepared: &Prepared) {
    let wait = prepared.slots.until_quiet(Clock::System.now());
    if wait > Duration::ZERO {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(event = "handover_waits", wait_ms, "until nothing is due in the slot");
        std::thread::sleep(wait);
    }
}
