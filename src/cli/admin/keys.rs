//! `portcullis admin keys` and `admin validator`, `admin baseline`, `admin clients`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, Reply};
use super::table::{Table, cell};
use crate::cli::Exit;
use crate::cli::keys::KeyArgs;
use crate::enrolment::Keys;

/// What is wanted of keys.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Every key, or those of one status
    List {
        /// enabled, disabled, halted or awaiting
        #[arg(long)]
        status: Option<String>,
    },
    /// Begin keys
    Enrol {
        #[command(flatten)]
        keys: KeyArgs,
        /// You declare that they never signed anything, anywhere
        #[arg(long, required_unless_present = "floor", conflicts_with = "floor")]
        new: bool,
        /// You declare that their old signer is dead for good; one epoch is lost
        #[arg(long)]
        floor: bool,
        /// Why, for the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Take over the history in an EIP-3076 interchange file
    Import {
        /// The file
        file: PathBuf,
    },
    /// Stop keys for good
    Disable(Leave),
    /// Write the history of keys to standard output, to sign elsewhere
    Export {
        #[command(flatten)]
        leave: Leave,
        /// Disable them first
        #[arg(long)]
        disable: bool,
    },
}

/// Which keys end, and why.
#[derive(Args)]
pub(super) struct Leave {
    #[command(flatten)]
    keys: KeyArgs,
    /// Why, for the audit log
    #[arg(long, default_value = "")]
    reason: String,
}

pub(super) fn run(client: &Client, verb: &Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::List { status } => list(client, status.as_deref()),
        Verb::Enrol { keys, new, reason, .. } => {
            let declaration = if *new { "new" } else { "floor" };
            let keys = named(keys)?;
            let body = json!({ "keys": keys, "declaration": declaration, "reason": reason });
            outcomes(client, &client.post("/v1/keys/enrol", &body)?)
        }
        Verb::Import { file } => {
            let text = fs::read(file).with_context(|| file.display().to_string())?;
            let (path, kind) = ("/v1/keys/import", "application/json");
            outcomes(client, &client.send(&Method::POST, path, kind, text.into())?)
        }
        Verb::Disable(Leave { keys, reason }) => {
            let body = json!({ "keys": named(keys)?, "reason": reason });
            outcomes(client, &client.post("/v1/keys/disable", &body)?)
        }
        Verb::Export { leave: Leave { keys, reason }, disable } => {
            let body = json!({ "keys": named(keys)?, "reason": reason, "disable": disable });
            raw(&client.post("/v1/keys/export", &body)?);
            Ok(Exit::Done)
        }
    }
}

fn named(keys: &KeyArgs) -> anyhow::Result<Vec<String>> {
    match keys.select(Keys::These(Vec::new()))? {
        Keys::These(keys) if !keys.is_empty() => Ok(keys),
        Keys::These(_) | Keys::All | Keys::Awaiting => {
            bail!("no keys: name them, or give --keys-file")
        }
    }
}

fn list(client: &Client, status: Option<&str>) -> anyhow::Result<Exit> {
    let status = status.map(|status| format!("&status={status}")).unwrap_or_default();
    let mut table = Table::new(&["key", "status", "source", "target", "block", "exits"]);
    let mut after = json!(0);
    loop {
        let reply = client.get(&format!("/v1/keys?limit=1000&after={after}{status}"))?;
        let page: Value = reply.read()?;
        for key in page["keys"].as_array().into_iter().flatten() {
            if client.json {
                println!("{key}");
                continue;
            }
            let vote = &key["attestation"];
            let cells = [&key["public_key"], &key["status"], &vote[0], &vote[1]];
            let rest = [&key["block_slot"], &key["voluntary_exits"]];
            table.row(cells.into_iter().chain(rest).map(cell));
        }
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    if !client.json {
        table.print()?;
    }
    Ok(Exit::Done)
}

fn outcomes(client: &Client, reply: &Reply) -> anyhow::Result<Exit> {
    let outcomes: Value = reply.read()?;
    if client.json {
        raw(reply);
    } else {
        for key in outcomes["keys"].as_array().into_iter().flatten() {
            if let Some(reason) = key["refused"].as_str() {
                eprintln!("{}: {reason}", cell(&key["public_key"]));
            }
        }
        println!("done: {}, refused: {}", outcomes["done"], outcomes["refused"]);
    }
    Ok(Exit::done_if(outcomes["refused"] == 0))
}

pub(super) fn raw(reply: &Reply) {
    println!("{}", String::from_utf8_lossy(&reply.body));
}

/// One key, or what is normal for it.
pub(super) fn show(client: &Client, path: &str) -> anyhow::Result<Exit> {
    let reply = client.get(path)?;
    super::health::fields(client, &reply, &reply.read()?)?;
    Ok(Exit::Done)
}

/// The clients that ask for signatures.
pub(super) fn clients(client: &Client) -> anyhow::Result<Exit> {
    let reply = client.get("/v1/clients")?;
    if client.json {
        raw(&reply);
        return Ok(Exit::Done);
    }
    let answer: Value = reply.read()?;
    let mut table = Table::new(&["client", "keys", "last slot", "signed", "refused", "failed"]);
    for one in answer["clients"].as_array().into_iter().flatten() {
        let answered = &one["answered"];
        let cells = [&one["name"], &one["keys"], &one["last_slot"]];
        let rest = [&answered["signed"], &answered["refused"], &answered["failed"]];
        table.row(cells.into_iter().chain(rest).map(cell));
    }
    table.print()?;
    Ok(Exit::Done)
}
