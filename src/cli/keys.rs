//! `portcullis keys`: who may sign.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use slashing_db::Store;

use super::{Exit, store};
use crate::config::{Config, RunArgs};
use crate::control::{self, Command, Reply};
use crate::enrolment::{Declaration, KeyLine, KeyOutcome, Keys};

/// What to do with keys.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// List every key with its last records
    List(ListArgs),
    /// Begin keys: as new, or with a floor where the old signer is dead
    Enrol(EnrolArgs),
    /// End keys; their history can then be exported
    Disable(DisableArgs),
}

/// Which configuration.
#[derive(Args, Clone)]
pub struct ConfigArgs {
    /// The gate's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Which keys.
#[derive(Args)]
pub struct KeyArgs {
    /// Public keys
    #[arg(value_name = "PUBKEY")]
    keys: Vec<String>,
    /// A file of public keys, one a line
    #[arg(long, value_name = "FILE")]
    keys_file: Option<PathBuf>,
}

/// `portcullis keys list`.
#[derive(Args)]
pub struct ListArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// `portcullis keys enrol`.
#[derive(Args)]
pub struct EnrolArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// Every key that the signer has and nobody has enrolled
    #[arg(long, conflicts_with_all = ["keys", "keys_file"])]
    from_upstream: bool,
    /// You declare that the keys never signed anything, anywhere
    #[arg(long, required_unless_present = "floor", conflicts_with = "floor")]
    new: bool,
    /// You declare that the old signer is dead for good; one epoch is lost
    #[arg(long)]
    floor: bool,
    /// The source epoch of the floor, for times without finality
    #[arg(long, value_name = "EPOCH", requires = "floor")]
    source_floor: Option<u64>,
}

/// `portcullis keys disable`.
#[derive(Args)]
pub struct DisableArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// Every enrolled key
    #[arg(long, conflicts_with_all = ["keys", "keys_file"])]
    all: bool,
}

impl KeysCommand {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::List(args) => args.run(),
            Self::Enrol(args) => args.run(),
            Self::Disable(args) => args.run(),
        }
    }
}

impl ConfigArgs {
    /// Loads it.
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        super::load(&RunArgs { config: self.config.clone(), ..RunArgs::default() })
    }
}

impl KeyArgs {
    /// The keys that were named, or `otherwise` if none were.
    pub(super) fn select(&self, otherwise: Keys) -> anyhow::Result<Keys> {
        let mut keys = self.keys.clone();
        if let Some(path) = &self.keys_file {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let lines = text.lines().map(str::trim);
            keys.extend(
                lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned),
            );
        }
        Ok(if keys.is_empty() && self.keys_file.is_none() { otherwise } else { Keys::These(keys) })
    }
}

impl ListArgs {
    fn run(&self) -> anyhow::Result<Exit> {
        let config = self.config.load()?;
        let directory = &config.slashing.directory;
        let lines = match control::send(directory, &Command::List, io::empty(), io::sink())? {
            Some(Reply::Keys(lines)) => lines,
            Some(other) => return other.unexpected(),
            None => read_only(&config)?,
        };
        let mut output = BufWriter::new(io::stdout().lock());
        for line in &lines {
            if self.json {
                serde_json::to_writer(&mut output, line)?;
                writeln!(output)?;
            } else {
                write_line(&mut output, line)?;
            }
        }
        output.flush()?;
        Ok(Exit::Done)
    }
}

/// Without a running gate the list is read beside the store, which is not opened for writing.
fn read_only(config: &Config) -> anyhow::Result<Vec<KeyLine>> {
    let read = Store::open_read_only(&config.slashing.directory)
        .context("cannot read the slashing store")?;
    let status = |enabled| if enabled { "enabled" } else { "disabled" };
    Ok(read.keys().iter().map(|key| KeyLine::of(key, status(key.is_enabled))).collect())
}

fn write_line(output: &mut impl Write, line: &KeyLine) -> io::Result<()> {
    let attestation = line
        .attestation
        .map_or("none".to_owned(), |(source, target)| format!("{source} -> {target}"));
    let block = line.block_slot.map_or("none".to_owned(), |slot| slot.to_string());
    writeln!(
        output,
        "{}  {:18}  attestation {attestation:>21}  block {block:>10}  exits {}  deposits {}",
        line.public_key, line.status, line.voluntary_exits, line.deposits
    )
}

impl EnrolArgs {
    fn run(&self) -> anyhow::Result<Exit> {
        let config = self.config.load()?;
        let keys = if self.from_upstream {
            Keys::These(super::run::upstream_keys(&config)?)
        } else {
            self.keys.select(Keys::These(Vec::new()))?
        };
        if matches!(&keys, Keys::These(keys) if keys.is_empty()) {
            bail!("no keys: name them, or give --keys-file or --from-upstream");
        }
        let declaration = if self.new {
            Declaration::New
        } else {
            Declaration::Floor { source_epoch: self.source_floor }
        };
        outcomes(&config, &Command::Enrol { keys, declaration })
    }
}

impl DisableArgs {
    fn run(&self) -> anyhow::Result<Exit> {
        let config = self.config.load()?;
        let keys = if self.all { Keys::All } else { self.keys.select(Keys::These(Vec::new()))? };
        if matches!(&keys, Keys::These(keys) if keys.is_empty()) {
            bail!("no keys: name them, or give --keys-file or --all");
        }
        outcomes(&config, &Command::Disable { keys })
    }
}

fn outcomes(config: &Config, command: &Command) -> anyhow::Result<Exit> {
    match store::execute(config, command, io::empty(), io::sink())? {
        Reply::Outcomes(outcomes) => Ok(Exit::done_if(report_outcomes(&outcomes, false))),
        other => other.unexpected(),
    }
}

/// Says what became of each key: the refused ones by name, the others by number unless `verbose`.
pub(super) fn report_outcomes(outcomes: &[KeyOutcome], verbose: bool) -> bool {
    let mut done = std::collections::BTreeMap::<&str, u64>::new();
    let mut refused = 0;
    for outcome in outcomes {
        match (&outcome.done, &outcome.refused) {
            (_, Some(reason)) => {
                refused += 1;
                eprintln!("{}: {reason}", outcome.public_key);
            }
            (Some(word), None) => {
                *done.entry(word).or_default() += 1;
                if verbose {
                    println!("{}: {word}", outcome.public_key);
                }
            }
            (None, None) => {}
        }
    }
    for (word, count) in done {
        println!("{word}: {count}");
    }
    if refused > 0 {
        eprintln!("not done: {refused}");
    }
    refused == 0
}

impl Reply {
    /// The error of a command that got another answer than it can use.
    pub(super) fn unexpected<T>(self) -> anyhow::Result<T> {
        match self {
            Self::Refused(reason) => bail!("{reason}"),
            Self::Keys(_)
            | Self::Outcomes(_)
            | Self::Imported(_)
            | Self::Exported(_)
            | Self::PolicyPublished(_)
            | Self::SinkAnswers(_)
            | Self::PageGiven(_)
            | Self::Done => {
                bail!("the running gate is of another version: it gave an answer of another kind")
            }
        }
    }
}
