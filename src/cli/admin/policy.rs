//! `portcullis admin policy`, `admin grants` and `admin evaluate`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::health::fields;
use super::keys::raw;
use super::table::{Table, cell};
use crate::cli::Exit;
use crate::clock::iso8601;

/// What is wanted of the policy.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// What is in force
    Show,
    /// Say what is wrong with a document, or what it enforces
    Check {
        /// The document
        file: PathBuf,
    },
    /// What a document would have refused of what was recorded
    Replay {
        /// The document
        file: PathBuf,
    },
    /// Put a document in force; a strict one needs a second identity
    Publish {
        /// The document
        file: PathBuf,
        /// Why, for the audit log and for whoever is to agree
        #[arg(long)]
        reason: String,
        /// The grant that another has approved
        #[arg(long)]
        grant: Option<String>,
    },
}

/// What is wanted of grants.
#[derive(Subcommand)]
pub(super) enum GrantVerb {
    /// The grants that are open
    List,
    /// Agree to what another has asked for
    Approve {
        /// The grant
        id: String,
    },
    /// Withdraw a grant
    Withdraw {
        /// The grant
        id: String,
    },
}

/// A dry run.
#[derive(Args)]
pub(super) struct Evaluate {
    /// The public key
    #[arg(long)]
    key: String,
    /// Who is supposed to ask
    #[arg(long, default_value = "default")]
    client: String,
    /// As from a place that was never seen
    #[arg(long)]
    elsewhere: bool,
    /// The body of the signing request
    file: PathBuf,
}

pub(super) fn run(client: &Client, verb: &Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::Show => {
            let reply = client.get("/v1/policy")?;
            let policy: Value = reply.read()?;
            if client.json {
                raw(&reply)
            } else {
                print!("{}", cell(&policy["summary"]))
            }
            Ok(Exit::Done)
        }
        Verb::Check { file } => {
            let reply = client.post("/v1/policy/check", &json!({ "document": text(file)? }))?;
            let checked: Value = reply.read()?;
            if client.json {
                raw(&reply)
            } else {
                print!("{}", cell(&checked["summary"]))
            }
            Ok(Exit::Done)
        }
        Verb::Replay { file } => {
            let reply = client.post("/v1/policy/replay", &json!({ "document": text(file)? }))?;
            let replayed: Value = reply.read()?;
            fields(client, &reply, &replayed)?;
            Ok(Exit::done_if(replayed["is_strict"] == false))
        }
        Verb::Publish { file, reason, grant } => {
            let mut body = json!({ "document": text(file)?, "reason": reason });
            if let Some(grant) = grant {
                body["grant"] = json!(grant);
            }
            let reply = client.post("/v1/policy/publish", &body)?;
            let answer: Value = reply.read()?;
            if client.json {
                raw(&reply);
            } else if reply.status == PENDING {
                eprintln!("a second identity has to approve the grant {}", cell(&answer["id"]));
            } else {
                println!("in force: {}", answer["changes"]);
            }
            Ok(Exit::done_if(reply.status != PENDING))
        }
    }
}

pub(super) fn grants(client: &Client, verb: &GrantVerb) -> anyhow::Result<Exit> {
    let reply = match verb {
        GrantVerb::List => client.get("/v1/grants")?,
        GrantVerb::Approve { id } => {
            client.call(&Method::POST, &format!("/v1/grants/{id}/approve"), None)?
        }
        GrantVerb::Withdraw { id } => {
            client.call(&Method::DELETE, &format!("/v1/grants/{id}"), None)?
        }
    };
    if client.json {
        raw(&reply);
        return Ok(Exit::Done);
    }
    let answer: Value = reply.read()?;
    let mut table = Table::new(&["grant", "for", "asked by", "why", "approved by", "expires"]);
    let listed = answer["grants"].as_array().cloned();
    for grant in listed.unwrap_or_else(|| vec![answer.clone()]) {
        let cells =
            ["id", "action", "asked_by", "reason", "approved_by"].map(|it| cell(&grant[it]));
        let expires = grant["expires_at_unix_ms"].as_u64().unwrap_or_default();
        table.row(cells.into_iter().chain([iso8601(expires / 1_000)]));
    }
    table.print()?;
    Ok(Exit::Done)
}

pub(super) fn evaluate(client: &Client, asked: &Evaluate) -> anyhow::Result<Exit> {
    let request: Value = serde_json::from_str(&text(&asked.file)?)
        .with_context(|| format!("{} is not JSON", asked.file.display()))?;
    let body = json!({
        "key": asked.key,
        "client": asked.client,
        "as_usual": !asked.elsewhere,
        "request": request,
    });
    let reply = client.post("/v1/evaluate", &body)?;
    let evaluated: Value = reply.read()?;
    fields(client, &reply, &evaluated)?;
    Ok(Exit::done_if(evaluated["verdict"] == "signed"))
}

fn text(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// 202: asked for, and not done yet.
const PENDING: u16 = 202;
