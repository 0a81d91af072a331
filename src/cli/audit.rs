//! `portcullis audit`: the log of decisions and actions.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::Exit;
use crate::audit::chain::{hex, unhex};
use crate::audit::checkpoint::Anchor;
use crate::audit::read::{Entry, Reader};
use crate::audit::record::{ActionRecord, Actor, DecisionRecord};
use crate::audit::verify::{Against, Verified, VerifyError, verify};
use crate::audit::{Position, Record, last_position};
use crate::clock::{self, iso8601};
use crate::config::RunArgs;

/// What to do with the audit log.
#[derive(Subcommand)]
pub enum AuditCommand {
    /// Check every hash, signature and segment; name the first bytes that do not fit
    Verify(VerifyArgs),
    /// Show the last records, and those that follow
    Tail(TailArgs),
    /// Write all records, one JSON object a line
    Export(ExportArgs),
}

/// Which log.
#[derive(Args)]
pub struct LogArgs {
    /// The gate's configuration file
    #[arg(long, value_name = "FILE", required_unless_present = "directory")]
    config: Option<PathBuf>,
    /// The log's directory, where the configuration is not at hand
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    directory: Option<PathBuf>,
}

/// `portcullis audit verify`.
#[derive(Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Checkpoints that were kept elsewhere, one a line: they tell whether the log was cut
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// The public key whose signatures count, in hexadecimal
    #[arg(long, value_name = "KEY")]
    public_key: Option<String>,
}

/// `portcullis audit tail`.
#[derive(Args)]
pub struct TailArgs {
    #[command(flatten)]
    log: LogArgs,
    /// How many of the last records
    #[arg(short, long, default_value_t = 20)]
    number: u64,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// `portcullis audit export`.
#[derive(Args)]
pub struct ExportArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The first record
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    from: u64,
    /// The last record
    #[arg(long, value_name = "POSITION", default_value_t = u64::MAX)]
    to: u64,
}

impl AuditCommand {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Verify(args) => args.run(),
            Self::Tail(args) => args.run(),
            Self::Export(args) => args.run(),
        }
    }
}

impl LogArgs {
    fn directory(&self) -> anyhow::Result<PathBuf> {
        if let Some(directory) = &self.directory {
            return Ok(directory.clone());
        }
        let config = self.config.clone().context("--config or --directory is needed")?;
        let config = super::load(&RunArgs { config, ..RunArgs::default() })?;
        let settings = config.audit.context("audit.directory is \"off\": there is no log")?;
        Ok(settings.directory)
    }
}

impl VerifyArgs {
    fn run(&self) -> anyhow::Result<Exit> {
        let directory = self.log.directory()?;
        let anchors = match &self.anchor {
            None => Vec::new(),
            Some(path) => anchors(path)?,
        };
        let public_key = self
            .public_key
            .as_deref()
            .map(|text| unhex(text).context("--public-key is not a key: 64 hexadecimal digits"));
        let against = Against { anchors, public_key: public_key.transpose()? };
        match verify(&directory, &against) {
            Ok(verified) => {
                tell(&verified, self.anchor.is_some());
                Ok(Exit::Done)
            }
            Err(error @ VerifyError::Io { .. }) => Err(error.into()),
            Err(error) => {
                println!("DAMAGED: {error}");
                Ok(Exit::NotDone)
            }
        }
    }
}

fn anchors(path: &Path) -> anyhow::Result<Vec<Anchor>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let anchors = lines.map(|(index, line)| {
        Anchor::parse(line)
            .with_context(|| format!("{}:{}: not an anchor", path.display(), index + 1))
    });
    let anchors: Vec<_> = anchors.collect::<anyhow::Result<_>>()?;
    if anchors.is_empty() {
        bail!("{} holds no anchor", path.display());
    }
    Ok(anchors)
}

fn tell(verified: &Verified, is_anchored: bool) {
    println!("log                 {}", hex(&verified.log));
    println!("segments            {}", verified.segments);
    println!("records             {} to {}", verified.first.0, verified.last.0);
    println!("signed through      {}", verified.signed_through.0);
    println!("checkpoints         {}", verified.checkpoints);
    if let Some(key) = verified.public_key {
        println!("public key          {}", hex(&key));
    }
    if is_anchored {
        println!("anchors found       {}", verified.anchors);
    }
    if verified.unknown > 0 {
        println!("of a later version  {} records", verified.unknown);
    }
    if verified.is_open {
        println!("a gate writes it    what it is writing now is not told of");
    }
    for (position, repair) in &verified.repairs {
        println!("repair              {}", line(*position, repair));
    }
    println!("it stands as it was written");
}

impl TailArgs {
    fn run(&self) -> anyhow::Result<Exit> {
        let directory = self.log.directory()?;
        let last = last_position(&directory)?;
        let from = Position((last.0 + 1).saturating_sub(self.number));
        let mut reader = Reader::open(&directory, from);
        let mut output = BufWriter::new(io::stdout().lock());
        loop {
            for entry in reader.by_ref() {
                let Entry { mark, record } = entry?;
                if self.json {
                    writeln!(output, "{}", record.to_json(mark.position))?;
                } else {
                    writeln!(output, "{}", line(mark.position, &record))?;
                }
            }
            output.flush()?;
            if !self.follow {
                return Ok(Exit::Done);
            }
            clock::rest(LOOK_INTERVAL);
        }
    }
}

impl ExportArgs {
    fn run(&self) -> anyhow::Result<Exit> {
        let directory = self.log.directory()?;
        let mut output = BufWriter::new(io::stdout().lock());
        for entry in Reader::open(&directory, Position(self.from)) {
            let Entry { mark, record } = entry?;
            if mark.position.0 > self.to {
                break;
            }
            writeln!(output, "{}", record.to_json(mark.position))?;
        }
        output.flush()?;
        Ok(Exit::Done)
    }
}

/// A record in one line, for people.
fn line(position: Position, record: &Record) -> String {
    let at = record.at_unix_ms();
    let at = format!("{}.{:03}", iso8601(at / 1_000).trim_end_matches('Z'), at % 1_000);
    let what = match record {
        Record::Decision(it) => decision(it),
        Record::Action(it) => action(it),
        Record::Checkpoint(it) if it.is_last => "checkpoint  closed in order".to_owned(),
        Record::Checkpoint(_) => "checkpoint".to_owned(),
        Record::Cut(it) => format!(
            "repair  {} bytes of segment {} were cut off ({} to {}): the gate was killed as it wrote",
            it.to - it.from,
            it.segment.0,
            it.from,
            it.to
        ),
        Record::Gap(it) => {
            let cause = match it.after_close {
                true => "made by commands while no gate ran",
                false => "the gate was killed before it wrote them down",
            };
            let count = it.records.len() as u64 + it.more;
            format!("repair  {count} records of the slashing store have no decision here: {cause}")
        }
        Record::Removed(it) => {
            format!("removed  records {} to {}, {} bytes", it.first.0, it.last.0, it.bytes)
        }
    };
    format!("{:>10}  {at}  {what}", position.0)
}

fn decision(it: &DecisionRecord) -> String {
    let key = it.public_key.map_or_else(|| "no key".to_owned(), |key| hex(&key[..8]));
    let kind = it.kind.unwrap_or("?");
    let why = it.explanation.as_deref().unwrap_or_default();
    let DecisionRecord { verdict, code, client, peer, .. } = it;
    format!("{verdict:<9} {code}  {kind}  {key}...  {client} {peer}  {why}").trim_end().to_owned()
}

fn action(it: &ActionRecord) -> String {
    let actor = match &it.actor {
        Actor::Gate(rule) => format!("the gate ({rule})"),
        Actor::Person(name) => name.clone(),
        Actor::Local => "somebody on this machine".to_owned(),
    };
    let ActionRecord { action, subject, reason, details, .. } = it;
    format!("action    {action}  {subject}  by {actor}  {reason}  {details}")
}

const LOOK_INTERVAL: Duration = Duration::from_millis(200);
