//! `portcullis policy replay` and `policy publish`: nobody enforces a policy that they have not
//! seen run.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use policy::Policy;
use serde_json::json;

use super::load_config;
use crate::cli::Exit;
use crate::config::Config;
use crate::config::policy::{KeyPlace, Known, PolicyError, read};
use crate::control::{self, Command, Reply};
use crate::recording::replay::{RefusedRequest, Report, SharedPlaces, replay};
use crate::recording::{Missing, Segment, segments};

/// `portcullis policy replay`.
#[derive(Args)]
pub struct ReplayArgs {
    /// The draft
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The gate's configuration file; without it the groups are those of the recording
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object a line: each request that the draft refuses, then the whole
    #[arg(long)]
    json: bool,
    /// Directories or files of recordings, in the order of time
    #[arg(required = true, value_name = "RECORDING")]
    recordings: Vec<PathBuf>,
}

/// `portcullis policy publish`.
#[derive(Args)]
pub struct PublishArgs {
    /// The draft
    file: PathBuf,
    /// The gate's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Publish it even if it refuses more than 0.1 % of the last epoch, or nothing is recorded
    #[arg(long)]
    force: bool,
    /// Recordings to try it on; else that of the configuration
    #[arg(long = "recording", value_name = "RECORDING")]
    recordings: Vec<PathBuf>,
}

impl ReplayArgs {
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let config = self.config.as_ref().map(|path| load_config(path)).transpose()?;
        let files = files(&self.recordings)?;
        let mut output = io::BufWriter::new(io::stdout().lock());
        let mut written = Ok(());
        let report = try_draft(&self.policy, config.as_ref(), &files, |request| {
            if self.json && written.is_ok() {
                written = writeln!(output, "{}", as_json(request));
            }
        })?;
        written?;
        if self.json {
            writeln!(output, "{}", report_as_json(&report))?;
        } else {
            write_report(&mut output, &report)?;
        }
        output.flush()?;
        Ok(Exit::done_if(!report.refuses_too_much()))
    }
}

impl PublishArgs {
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let config = load_config(&self.config)?;
        let Some(place) = &config.policy.file else {
            bail!("the configuration names no policy: set policy.file, and start the gate anew");
        };
        super::check(&self.file, &config)?;
        let recordings = match (&self.recordings[..], &config.policy.recording) {
            ([], Some(directory)) => vec![directory.clone()],
            (named, _) => named.to_vec(),
        };
        let directory = &config.slashing.directory;
        // What was judged this very second is tried too.
        control::send(directory, &Command::FlushRecording, io::empty(), io::sink())?;
        let files = files(&recordings)?;
        if files.is_empty() {
            ensure!(
                self.force,
                "nothing is recorded that the draft could be tried on: set policy.recording, or \
                 name a --recording; --force publishes it unseen"
            );
        } else {
            let report = try_draft(&self.file, Some(&config), &files, |_| {})?;
            write_report(&mut io::stdout().lock(), &report)?;
            ensure!(
                self.force || !report.refuses_too_much(),
                "the draft would have refused more than 0.1 % of the last epoch: it is not \
                 published; --force publishes it all the same"
            );
        }
        replace(&self.file, place)?;
        match control::send(directory, &Command::ReloadPolicy, io::empty(), io::sink())? {
            None => println!("written to {}; no gate runs", place.display()),
            Some(Reply::PolicyPublished(changes)) if changes.is_empty() => {
                println!("in force; it changes nothing");
            }
            Some(Reply::PolicyPublished(changes)) => {
                println!("in force:\n  {}", changes.join("\n  "));
            }
            Some(other) => return other.unexpected(),
        }
        Ok(Exit::Done)
    }
}

/// Puts the draft in the place of the document, whole or not at all.
pub(in crate::cli) fn replace(draft: &Path, place: &Path) -> anyhow::Result<()> {
    let text = fs::read(draft).with_context(|| format!("cannot read {}", draft.display()))?;
    let mut beside = place.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let write = || -> io::Result<()> {
        let mut file = fs::File::create(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&beside, place)?;
        let directory = place.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", place.display()))
}

/// Judges what was recorded by the draft.
pub(in crate::cli) fn try_draft(
    draft: &Path,
    config: Option<&Config>,
    files: &[PathBuf],
    refused: impl FnMut(&RefusedRequest),
) -> anyhow::Result<Report> {
    let places = SharedPlaces::default();
    let policy = compile(draft, config, &places, files)?;
    Ok(replay(policy, &places, files, refused)?)
}

/// The draft, with places that the recording shares.
fn compile(
    draft: &Path,
    config: Option<&Config>,
    places: &SharedPlaces,
    files: &[PathBuf],
) -> anyhow::Result<Policy> {
    let groups = match (config, files.last()) {
        (Some(config), _) => config.policy_groups(),
        (None, Some(file)) => Segment::open(file)?.header().groups.clone(),
        (None, None) => bail!("no recording: nothing to try the draft on"),
    };
    let known = Known {
        groups: &groups,
        is_client: &|name| config.is_none_or(|config| config.is_policy_client(name)),
        client_place: &|name| places.client(name),
        key_place: &|key| KeyPlace::At(places.key(key)),
    };
    read(draft, &known).map_err(|error: PolicyError| error.into())
}

/// The files of recordings, those of a directory in the order of time.
fn files(recordings: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for recording in recordings {
        if recording.is_dir() {
            let found = segments(recording);
            files.extend(found.with_context(|| format!("cannot read {}", recording.display()))?);
        } else {
            files.push(recording.clone());
        }
    }
    Ok(files)
}

fn share(part: u64, whole: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // a figure for people
    let percent = if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
    format!("{percent:.3} %")
}

fn write_report(output: &mut impl Write, report: &Report) -> io::Result<()> {
    let Report { requests, refused, not_safe, allowed_instead, held, lost, .. } = report;
    writeln!(
        output,
        "{requests} requests; {not_safe} of them were slashable, whatever policy says"
    )?;
    writeln!(output, "the draft refuses {refused} ({})", share(*refused, *requests))?;
    let (part, whole) = (report.last_epoch_refused, report.last_epoch_requests);
    writeln!(output, "in the last epoch {part} of {whole} ({})", share(part, whole))?;
    if *allowed_instead > 0 {
        writeln!(output, "it allows {allowed_instead} that policy had refused")?;
    }
    if *held > 0 {
        writeln!(output, "it puts {held} off for a moment")?;
    }
    for ((rule, group), refusals) in &report.by_rule {
        let count = refusals.count;
        writeln!(
            output,
            "\n{} ({}), group {group}: {count} ({}), of which {} had been signed",
            rule.as_str(),
            rule.number(),
            share(count, *requests),
            refusals.were_signed
        )?;
        for example in &refusals.examples {
            let slot = example.seen.at.slot;
            let client = &example.client;
            let key = hex(&example.public_key);
            writeln!(output, "  slot {slot} {key} client {client}: {}", example.evidence)?;
        }
    }
    if *lost > 0 {
        writeln!(output, "\nthe recording lacks {lost} events that the gate had no time to write")?;
    }
    for (path, missing) in &report.missing {
        let what = match missing {
            Missing::Tail { bytes } => format!("its last block is cut ({bytes} bytes)"),
            Missing::Damaged { block } => format!("damaged from block {block} on"),
        };
        writeln!(output, "\n{}: {what}", path.display())?;
    }
    for group in &report.unknown_groups {
        writeln!(output, "\nthe draft has no group `{group}`: its keys were taken for `default`")?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", faster_hex::hex_string(bytes))
}

fn as_json(request: &RefusedRequest) -> serde_json::Value {
    json!({
        "pubkey": hex(&request.public_key),
        "group": request.group,
        "client": request.client,
        "slot": request.seen.at.slot,
        "unix_ms": request.seen.at.unix_ms,
        "root_begins": hex(&request.seen.root.to_be_bytes()),
        "rule": request.rule.as_str(),
        "evidence": request.evidence,
        "was_signed": request.was_signed,
    })
}

pub(in crate::cli) fn report_as_json(report: &Report) -> serde_json::Value {
    let by_rule = report.by_rule.iter().map(|((rule, group), refusals)| {
        json!({
            "rule": rule.as_str(),
            "group": group,
            "refused": refusals.count,
            "were_signed": refusals.were_signed,
        })
    });
    json!({
        "requests": report.requests,
        "refused": report.refused,
        "last_epoch_requests": report.last_epoch_requests,
        "last_epoch_refused": report.last_epoch_refused,
        "not_safe": report.not_safe,
        "allowed_instead": report.allowed_instead,
        "held": report.held,
        "lost": report.lost,
        "refuses_too_much": report.refuses_too_much(),
        "by_rule": by_rule.collect::<Vec<_>>(),
    })
}
