//! `portcullis slashing`: the store as a whole.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use slashing_db::{InitParams, Store, boot_id};

use super::keys::{ConfigArgs, KeyArgs, report_outcomes};
use super::{Exit, store};
use crate::clock::{Clock, iso8601};
use crate::config::Config;
use crate::control::{Command, Reply};
use crate::enrolment::Keys;

/// What to do with the store.
#[derive(Subcommand)]
pub enum SlashingCommand {
    /// Make the store and its witness; `run` never does
    Init(ConfigArgs),
    /// Take over the history in an EIP-3076 interchange file; never lowers a record
    Import(ImportArgs),
    /// Write the history of disabled keys as an EIP-3076 interchange file
    Export(ExportArgs),
    /// Show what the store is, and how far it has come
    Status(ConfigArgs),
}

/// `portcullis slashing import`.
#[derive(Args)]
pub struct ImportArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The interchange file; `-` is standard input
    file: PathBuf,
    /// Show every key, and not just those that were refused
    #[arg(long)]
    verbose: bool,
}

/// `portcullis slashing export`.
#[derive(Args)]
pub struct ExportArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// Where to write it; standard output if it is left out
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl SlashingCommand {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Init(args) => init(&args.load()?),
            Self::Import(args) => args.run(),
            Self::Export(args) => args.run(),
            Self::Status(args) => status(&args.load()?),
        }
    }
}

fn init(config: &Config) -> anyhow::Result<Exit> {
    let network = super::network(config)?;
    let slots = store::slots(&network)?;
    let slashing = &config.slashing;
    Store::init(&InitParams {
        directory: slashing.directory.clone(),
        witness: slashing.witness.clone(),
        network: network.name().to_owned(),
        genesis_validators_root: store::genesis_validators_root(&network)?,
        key_set: slashing.key_set.clone(),
        now: store::now(slots, &Clock::System),
        boot_id: boot_id().context("the kernel does not tell its boot id")?,
    })
    .context("the slashing store was not made")?;
    println!(
        "made the slashing store {} of network {}, key set {:?}, with its witness {}",
        slashing.directory.display(),
        network.name(),
        slashing.key_set,
        slashing.witness.display()
    );
    println!(
        "it has no keys yet: `portcullis slashing import` or `portcullis keys enrol` begins them"
    );
    Ok(Exit::Done)
}

impl ImportArgs {
    fn run(&self) -> anyhow::Result<Exit> {
        let config = self.config.load()?;
        let reply = if self.file.as_os_str() == "-" {
            store::execute(&config, &Command::Import, io::stdin().lock(), io::sink())?
        } else {
            let file = File::open(&self.file).with_context(|| self.file.display().to_string())?;
            store::execute(&config, &Command::Import, BufReader::new(file), io::sink())?
        };
        let imported = match reply {
            Reply::Imported(imported) => imported,
            other => return other.unexpected(),
        };
        let done = report_outcomes(&imported.keys, self.verbose);
        if imported.inverted_records > 0 {
            eprintln!(
                "{} attestations of the file have a source above their target; they count all the same",
                imported.inverted_records
            );
        }
        println!(
            "{} entries of {} keys in the file; {} keys in the store before, {} after",
            imported.entries,
            imported.keys.len(),
            imported.keys_before,
            imported.keys_after
        );
        Ok(Exit::done_if(done))
    }
}

impl ExportArgs {
    fn run(&self) -> anyhow::Result<Exit> {
        let config = self.config.load()?;
        let command = Command::Export { keys: self.keys.select(Keys::All)? };
        let Some(path) = &self.to else {
            let mut output = io::stdout().lock();
            let reply = store::execute(&config, &command, io::empty(), &mut output)?;
            output.flush()?;
            return exported(reply);
        };
        // Beside the destination and then renamed: a half-written history is never taken for one.
        let half = path.with_extension("partial");
        let file = File::create_new(&half).with_context(|| half.display().to_string())?;
        let mut output = BufWriter::new(file);
        let reply = store::execute(&config, &command, io::empty(), &mut output);
        let written = output.into_inner().map_err(io::IntoInnerError::into_error);
        let result = written.and_then(|file| file.sync_all());
        let exit = reply.and_then(exported).and_then(|exit| {
            result.with_context(|| half.display().to_string())?;
            std::fs::rename(&half, path).with_context(|| path.display().to_string())?;
            Ok(exit)
        });
        if exit.is_err() {
            let _ = std::fs::remove_file(&half);
        }
        exit
    }
}

fn exported(reply: Reply) -> anyhow::Result<Exit> {
    match reply {
        Reply::Exported(keys) => {
            eprintln!("exported {keys} keys");
            Ok(Exit::Done)
        }
        other => other.unexpected(),
    }
}

fn status(config: &Config) -> anyhow::Result<Exit> {
    let directory = &config.slashing.directory;
    let read = Store::open_read_only(directory).context("cannot read the slashing store")?;
    let local = &read.identity.local;
    let enabled = read.keys().iter().filter(|key| key.is_enabled).count();
    println!("store               {}", directory.display());
    println!("witness             {}", config.slashing.witness.display());
    println!("of                  {}", local.binding);
    println!("keys                {} ({enabled} enabled)", read.keys().len());
    println!("generation          {}", local.claim.generation);
    println!(
        "reserved through    epoch {}, slot {}",
        local.reserved_through.epoch, local.reserved_through.slot
    );
    println!(
        "closed in order     {}",
        if local.sealed { "yes" } else { "no: a gate runs, or was killed" }
    );
    println!("last durable time   {}", iso8601(read.identity.last_unix_s));
    if read.has_unfinished_import {
        println!("unfinished import   yes: run the same import again");
    }
    Ok(Exit::Done)
}
