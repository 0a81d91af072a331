//! How the commands reach the store: through the running gate, or by themselves where none runs.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use slashing_db::{GenesisValidatorsRoot, Now, OpenParams, Store, Watermarks, boot_id};

use crate::clock::{self, Clock, SlotClock};
use crate::config::Config;
use crate::control::{self, Command, Reply};
use crate::enrolment::Declarations;
use crate::eth::Network;
use crate::validators::Validators;

/// Carries out `command` in the gate that runs on the configured store, or here on a stopped one.
///
/// # Errors
/// When neither can be reached.
pub(crate) fn execute(
    config: &Config,
    command: &Command,
    input: impl Read,
    output: impl Write,
) -> anyhow::Result<Reply> {
    let directory = &config.slashing.directory;
    let (mut input, mut output) = (input, output);
    let reply = control::send(directory, command, &mut input, &mut output)
        .context("the running gate did not answer; see its log")?;
    if let Some(reply) = reply {
        return Ok(reply);
    }
    let network = super::network(config)?;
    let slots = slots(&network)?;
    let clock = Clock::System;
    let (store, watermarks) = open(config, &network, slots, &clock)
        .context("cannot open the slashing store; while a gate runs, it alone may open it")?;
    let validators = Validators::new(watermarks);
    let validated_keys = config.verify.is_on().then(|| super::run::validated_keys(config));
    let declarations = Declarations {
        store: &store,
        validators: &validators,
        slots,
        clock: &clock,
        clock_health: clock::health(),
        validated_keys: validated_keys.as_ref(),
    };
    let reply = control::execute(&declarations, command, input, output);
    store.seal(now(slots, &clock)).context("the store could not be closed in order")?;
    Ok(reply)
}

/// Opens the configured store. Its lease runs from the moment when all of it has been read.
///
/// # Errors
/// Why nothing may be signed.
pub(crate) fn open(
    config: &Config,
    network: &Network,
    slots: SlotClock,
    clock: &Clock,
) -> anyhow::Result<(Store, Vec<Watermarks>)> {
    let params = open_params(config, network, slots, clock)?;
    let opening = Store::read(&params)?;
    Ok(opening.own(now(slots, clock))?)
}

/// The slots of `network`.
///
/// # Errors
/// When its genesis is not known.
pub(crate) fn slots(network: &Network) -> anyhow::Result<SlotClock> {
    SlotClock::of(network).context("the genesis of the network is not known")
}

/// How to open the configured store.
///
/// # Errors
/// When the machine does not tell its boot id, or this build is for tests and the keys are not.
pub(crate) fn open_params(
    config: &Config,
    network: &Network,
    slots: SlotClock,
    clock: &Clock,
) -> anyhow::Result<OpenParams> {
    #[cfg(feature = "test-clock")]
    clock::test_clock::permit(network)?;
    let slashing = &config.slashing;
    Ok(OpenParams {
        directory: slashing.directory.clone(),
        witness: slashing.witness.clone(),
        network: network.name().to_owned(),
        genesis_validators_root: genesis_validators_root(network)?,
        key_set: slashing.key_set.clone(),
        now: now(slots, clock),
        boot_id: boot_id().context("the kernel does not tell its boot id")?,
        places_max: config.limits.recorder_queue_max,
        monotonic,
    })
}

/// The pinned root of `network`, in the store's words.
///
/// # Errors
/// When its genesis is not known.
pub(crate) fn genesis_validators_root(network: &Network) -> anyhow::Result<GenesisValidatorsRoot> {
    let Some(genesis) = network.genesis() else {
        bail!("the genesis of the network is not known");
    };
    Ok(GenesisValidatorsRoot(genesis.validators_root.0))
}

/// The time, in the store's words.
pub(crate) fn now(slots: SlotClock, clock: &Clock) -> Now {
    let now = clock.now();
    Now { boot: now.boot, unix_s: now.unix_s(), epoch: slots.epoch(now).0, slot: slots.slot(now).0 }
}

fn monotonic() -> Duration {
    Duration::from_nanos(Clock::System.now().boot.0)
}
