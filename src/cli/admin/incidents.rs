//! `portcullis admin incidents`.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, Reply};
use super::health::fields;
use super::table::{Table, cell};
use crate::cli::Exit;
use crate::clock::iso8601;

/// What is wanted of incidents.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// The incidents, the newest first
    List {
        /// Only those in this state: open, acknowledged, resolved
        #[arg(long)]
        state: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// An incident with its keys
    Show {
        /// Its id
        id: String,
    },
    /// Who, from where, when in the slot, what was normal, what was decided and done
    Timeline {
        /// The id of an incident, a public key, or the name of a window
        subject: String,
        /// The newest lines, so many of them
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
        /// As Markdown, for a report
        #[arg(long)]
        markdown: bool,
    },
    /// Somebody looks at it
    Ack(Move),
    /// It is over
    Resolve(Move),
    /// It is not over after all
    Reopen(Move),
}

/// Which incident, and why.
#[derive(Args)]
pub(super) struct Move {
    /// Its id
    id: String,
    /// Why, for those who read the audit log
    #[arg(long)]
    reason: String,
}

pub(super) fn run(client: &Client, verb: &Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::List { state, limit } => list(client, state.as_deref(), *limit)?,
        Verb::Show { id } => {
            let reply = client.get(&format!("/v1/incidents/{id}"))?;
            fields(client, &reply, &reply.read()?)?;
        }
        Verb::Timeline { subject, limit, markdown } => {
            timeline(client, subject, *limit, *markdown)?;
        }
        Verb::Ack(to) => to.ask(client, "acknowledge")?,
        Verb::Resolve(to) => to.ask(client, "resolve")?,
        Verb::Reopen(to) => to.ask(client, "reopen")?,
    }
    Ok(Exit::done_if(true))
}

impl Move {
    fn ask(&self, client: &Client, verb: &str) -> anyhow::Result<()> {
        let path = format!("/v1/incidents/{}/{verb}", self.id);
        let reply = client.post(&path, &json!({ "reason": self.reason }))?;
        fields(client, &reply, &reply.read()?)
    }
}

fn list(client: &Client, state: Option<&str>, limit: usize) -> anyhow::Result<()> {
    let state = state.map_or_else(String::new, |state| format!("&state={state}"));
    let reply = client.get(&format!("/v1/incidents?limit={limit}{state}"))?;
    if client.json {
        return raw(&reply);
    }
    let all: Value = reply.read()?;
    let head = ["id", "state", "severity", "paged", "last seen", "keys", "requests", "summary"];
    let mut table = Table::new(&head);
    for one in all["incidents"].as_array().into_iter().flatten() {
        let last = one["last_seen_unix_ms"].as_u64().unwrap_or_default();
        table.row([
            cell(&one["id"]),
            cell(&one["state"]),
            cell(&one["severity"]),
            cell(&one["paged"]),
            iso8601(last / 1_000),
            cell(&one["keys"]),
            cell(&one["requests"]),
            cell(&one["summary"]),
        ]);
    }
    Ok(table.print()?)
}

fn timeline(client: &Client, subject: &str, limit: usize, markdown: bool) -> anyhow::Result<()> {
    let format = if markdown && !client.json { "markdown" } else { "json" };
    let path = if subject.starts_with("inc-") {
        format!("/v1/incidents/{subject}/timeline?limit={limit}&format={format}")
    } else {
        let subject = in_query(subject);
        format!("/v1/timeline?subject={subject}&limit={limit}&format={format}")
    };
    let reply = client.get(&path)?;
    if client.json || markdown {
        return raw(&reply);
    }
    let story: Value = reply.read()?;
    println!("{}", cell(&story["title"]));
    let head = ["audit", "time", "slot", "who", "from", "what", "decided", "why", "normal"];
    let mut table = Table::new(&head);
    for line in story["lines"].as_array().into_iter().flatten() {
        let at = line["at_unix_ms"].as_u64().unwrap_or_default();
        let into = line["into_slot_ms"].as_u64().unwrap_or_default();
        table.row([
            cell(&line["position"]),
            format!("{}.{:03}", iso8601(at / 1_000).trim_end_matches('Z'), at % 1_000),
            format!("{} + {}.{:03} s", cell(&line["slot"]), into / 1_000, into % 1_000),
            cell(&line["who"]),
            cell(&line["from"]),
            cell(&line["what"]),
            cell(&line["decided"]),
            cell(&line["why"]),
            cell(&line["normal"]),
        ]);
    }
    Ok(table.print()?)
}

/// A name as a part of a query: every byte that is not plain as `%` and two digits.
fn in_query(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let bytes = name.bytes();
    bytes
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") })
        .collect()
}

fn raw(reply: &Reply) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(&reply.body)?;
    Ok(writeln!(output)?)
}
