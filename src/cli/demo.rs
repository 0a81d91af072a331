//! `portcullis demo`: the gate at work on one page, with real processes and real answers.
//!
//! It is a test of the product too: all that it prints was answered, each answer is held against
//! what it should be, and it ends with a failure if one is not.

use std::io;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::chain::{Chain, VALIDATORS};
use self::client::ValidatorClient;
use self::page::{Page, Style, shorten_hex};
use self::processes::{CONFIG, Folder, Gate, NETWORK, Signer};
use self::refusals::Forbidden;
use super::Exit;
use crate::clock::{Clock, Stopwatch};
use crate::dev_signer::log;
use crate::eth::{Duty, DutyKind, Slot};

mod chain;
mod client;
mod page;
mod processes;
mod refusals;

/// Slots in which the client does its duties, at least.
const SLOTS: u64 = 6;

const WARNING: &str = "\
Everything runs on the loopback, in a temporary folder, with keys that everybody knows. It ends by
itself within half a minute and leaves nothing behind.";

/// Show on one page what the gate does; never with keys that have anything at stake
#[derive(Args, Debug)]
#[command(after_help = WARNING)]
pub struct DemoArgs {
    /// Leave signer and gate running until Ctrl-C, to try the printed commands
    #[arg(long)]
    keep: bool,
}

/// What runs, in the order in which it has to end.
struct World {
    gate: Gate,
    signer: Signer,
    folder: Folder,
    chain: Chain,
}

pub(super) fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stop = Stop::listen().context("cannot wait for signals")?;
        let mut page = Page::new();
        // What is dropped here, done or not, ends its processes and removes its folder.
        let world = tokio::select! {
            world = show(&mut page) => world?,
            name = stop.received() => bail!("ended by {name} before the page was full"),
        };
        invite(&page, &world, args.keep)?;
        verdict(&page)?;
        if args.keep {
            page.line(Style::Bold, "signer and gate run until Ctrl-C")?;
            stop.received().await;
        }
        Ok(Exit::done_if(page.broken() == 0))
    })
}

/// The signals that end a command.
struct Stop([(&'static str, Signal); 3]);

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self([
            ("SIGINT", signal(SignalKind::interrupt())?),
            ("SIGTERM", signal(SignalKind::terminate())?),
            ("SIGHUP", signal(SignalKind::hangup())?),
        ]))
    }

    async fn received(&mut self) -> &'static str {
        let [(interrupt, first), (terminate, second), (hangup, third)] = &mut self.0;
        tokio::select! {
            _ = first.recv() => interrupt,
            _ = second.recv() => terminate,
            _ = third.recv() => hangup,
        }
    }
}

async fn show(page: &mut Page) -> anyhow::Result<World> {
    title(page)?;
    let mut world = start(page).await?;
    let mut client = ValidatorClient::connect(world.gate.address).await?;
    let (first, last) = duties(page, &world, &mut client).await?;
    refusals(page, &world, &mut client, first, last).await?;
    world = kill(page, world, &mut client, last).await?;
    signer_log(page, &world)?;
    let forbidden = refusals::double_proposal(&world.chain, last)?;
    let chain = &world.chain;
    world.folder.write(SECOND_BLOCK, chain.request(&forbidden.duty, &forbidden.claimed))?;
    world.folder.write(PROPOSER, chain.key(forbidden.validator).to_string())?;
    let registration = chain.registration(forbidden.validator);
    let root = chain.signing_root(&registration)?;
    world.folder.write(REGISTRATION, chain.request(&registration, &root))?;
    Ok(world)
}

fn title(page: &Page) -> io::Result<()> {
    let title = "Portcullis: a gate between validator clients and the signer that holds their keys";
    page.line(Style::Bold, title)?;
    page.line(Style::Loud, "DEVELOPMENT KEYS THAT EVERYBODY KNOWS. NOT FOR PRODUCTION.")
}

async fn start(page: &Page) -> anyhow::Result<World> {
    page.heading("1. Start: validator client (simulated here) -> gate -> signer")?;
    let chain = Chain::new(NETWORK, Clock::System.now().unix_s())?;
    let folder = Folder::create()?;
    let signer = Signer::start(&folder, VALIDATORS).await?;
    page.entry("signer", &format!("http://{} holds {VALIDATORS} keys", signer.address))?;
    Gate::configure(&folder, chain.genesis_time_s, signer.address)?;
    folder.run(&["slashing", "init", "--config", CONFIG])?;
    folder.run(&["keys", "enrol", "--config", CONFIG, "--new", "--from-upstream"])?;
    let store =
        "made by `portcullis slashing init`; `portcullis keys enrol --new` declared the keys";
    page.entry("store", store)?;
    let time = Stopwatch::start();
    let gate = Gate::start(&folder).await?;
    page.entry(
        "gate",
        &format!("http://{} serves, {} after its start", gate.address, in_ms(time.elapsed())),
    )?;
    Ok(World { gate, signer, folder, chain })
}

/// The duties of some slots, until votes of two epochs are recorded; gives the first and the last.
async fn duties(
    page: &Page,
    world: &World,
    client: &mut ValidatorClient,
) -> anyhow::Result<(Slot, Slot)> {
    let chain = &world.chain;
    page.heading(&format!(
        "2. Honest duties are signed: a client with {VALIDATORS} validators, slots of {} s",
        chain.slots.slot_duration().as_secs()
    ))?;
    for validator in 0..VALIDATORS {
        client.sign(chain, validator, &chain.registration(validator)).await?;
    }
    let first = Slot(chain.slots.slot(Clock::System.now()).0 + 1);
    let mut slot = first;
    page.begin("signed", &format!("epoch {}, slot", chain.slots.epoch_of(first)))?;
    loop {
        client.attend(chain, slot).await?;
        page.append(&format!(" {slot}"))?;
        let crossed = chain.slots.epoch_of(slot) > chain.slots.epoch_of(first);
        if crossed && slot.0 - first.0 + 1 >= SLOTS {
            break;
        }
        slot.0 += 1;
        if chain.slots.epoch_of(slot) > chain.slots.epoch_of(Slot(slot.0 - 1)) {
            page.append(&format!("; epoch {}, slot", chain.slots.epoch_of(slot)))?;
        }
    }
    page.append("\n")?;
    let counts: Vec<String> =
        client.signed.iter().map(|(kind, count)| format!("{count} {}", plural(*kind))).collect();
    page.entry("in all", &format!("{}: {}", client.total(), counts.join(", ")))?;
    let (median, slowest) = client.median_and_slowest();
    page.entry(
        "valid",
        &format!(
            "each verified against its validator's public key; median {}, slowest {}",
            in_ms(median),
            in_ms(slowest)
        ),
    )?;
    Ok((first, slot))
}

async fn refusals(
    page: &mut Page,
    world: &World,
    client: &mut ValidatorClient,
    first: Slot,
    last: Slot,
) -> anyhow::Result<()> {
    page.heading("3. What must never be signed is refused, and the gate says why")?;
    for forbidden in refusals::all(&world.chain, first, last)? {
        refuse(page, &world.chain, client, &forbidden).await?;
    }
    let (signed, seen) = (client.total(), log::read(&world.folder.signer_log())?.len());
    page.expect(
        seen == signed,
        "unseen",
        &format!("the signer has made {seen} signatures for {signed} honest duties, and no other"),
    )?;
    Ok(())
}

/// Asks for what has to be refused, and shows the refusal.
async fn refuse(
    page: &mut Page,
    chain: &Chain,
    client: &mut ValidatorClient,
    forbidden: &Forbidden,
) -> anyhow::Result<()> {
    let Forbidden { name, story, validator, duty, claimed, expected } = forbidden;
    let answer = client.ask(chain, *validator, duty, claimed).await?;
    let refused = answer.signature().is_none() && (answer.status, answer.code()) == *expected;
    page.expect(refused, "refused", &format!("{name}: {story}"))?;
    let (status, code, reason) = (answer.status, answer.code(), shorten_hex(answer.reason()));
    page.entry(&format!("    {status}"), &format!("{code}: {reason}"))?;
    Ok(())
}

async fn kill(
    page: &mut Page,
    world: World,
    client: &mut ValidatorClient,
    last: Slot,
) -> anyhow::Result<World> {
    page.heading("4. Killed with `kill -9` and started again, the gate has not forgotten")?;
    let World { gate, signer, folder, chain } = world;
    let time = Stopwatch::start();
    let gate = gate.kill_and_restart(&folder).await?;
    page.entry("gate", &format!("killed; serves again after {}", in_ms(time.elapsed())))?;
    client.reconnect().await?;
    let forbidden = refusals::double_vote(&chain, last)?;
    refuse(page, &chain, client, &forbidden).await?;
    let honest = Duty::Attestation(chain.vote(last));
    let repeated = client.sign(&chain, forbidden.validator, &honest).await;
    let text = match &repeated {
        Ok(_) => format!(
            "the vote that validator {} did make, asked for again: a repeat is no offence",
            forbidden.validator
        ),
        Err(error) => format!("{error:#}"),
    };
    page.expect(repeated.is_ok(), "signed", &text)?;
    Ok(World { gate, signer, folder, chain })
}

fn signer_log(page: &mut Page, world: &World) -> anyhow::Result<()> {
    let entries = log::read(&world.folder.signer_log())?;
    let conflicts = log::find_conflicts(&entries).len();
    ensure!(!entries.is_empty(), "the signer's log is empty");
    page.expect(
        conflicts == 0,
        "clean",
        &format!("the signer's own log: {} signatures, {conflicts} conflicts", entries.len()),
    )?;
    Ok(())
}

/// The commands to try.
fn invite(page: &Page, world: &World, keep: bool) -> anyhow::Result<()> {
    let (gate, metrics) = (world.gate.address, world.gate.metrics);
    if keep {
        page.heading("5. Try it: these work as they stand, in another terminal")?;
    } else {
        page.heading("5. Try it: `make demo KEEP=1` leaves it running, and then such lines work")?;
    }
    let program = std::env::current_exe()?;
    for line in [
        format!("cd {}", world.folder.path().display()),
        format!(
            "curl -i http://{gate}/api/v1/eth2/sign/$(cat {PROPOSER}) -d @{SECOND_BLOCK}  # 412"
        ),
        format!(
            "curl -i http://{gate}/api/v1/eth2/sign/$(cat {PROPOSER}) -d @{REGISTRATION}  # 200"
        ),
        format!("curl http://{gate}/healthcheck"),
        format!("curl http://{gate}/api/v1/eth2/publicKeys"),
        format!("curl http://{metrics}/metrics"),
        format!("{} keys list --config {CONFIG}", program.display()),
    ] {
        page.line(Style::Plain, &format!("  {line}"))?;
    }
    Ok(())
}

fn verdict(page: &Page) -> io::Result<()> {
    match page.broken() {
        0 => page.line(Style::Good, "\nEverything above is what it should be."),
        count => page.line(Style::Bad, &format!("\n{count} of the above FAILED.")),
    }
}

fn in_ms(duration: Duration) -> String {
    let us = duration.as_micros();
    if us < 10_000 {
        format!("{}.{} ms", us / 1_000, us % 1_000 / 100)
    } else {
        format!("{} ms", us / 1_000)
    }
}

/// What operators call signatures of a kind.
fn plural(kind: DutyKind) -> &'static str {
    match kind {
        DutyKind::Attestation => "votes",
        DutyKind::Block | DutyKind::BlockV2 => "blocks",
        DutyKind::RandaoReveal => "RANDAO reveals",
        DutyKind::Deposit => "deposits",
        DutyKind::VoluntaryExit => "exits",
        DutyKind::AggregationSlot => "selection proofs",
        DutyKind::AggregateAndProof | DutyKind::AggregateAndProofV2 => "aggregates",
        DutyKind::SyncCommitteeMessage => "sync messages",
        DutyKind::SyncCommitteeSelectionProof => "sync selection proofs",
        DutyKind::SyncCommitteeContributionAndProof => "sync contributions",
        DutyKind::ValidatorRegistration => "registrations with builders",
    }
}

const SECOND_BLOCK: &str = "second-block.json";
const REGISTRATION: &str = "registration.json";
const PROPOSER: &str = "proposer.txt";
