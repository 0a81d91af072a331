//! `portcullis admin quarantines`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, Reply};
use super::health::fields;
use super::table::{Table, cell};
use crate::cli::Exit;
use crate::clock::iso8601;

/// What is to be done with quarantines.
#[derive(Subcommand)]
pub(super) enum Quarantines {
    /// Those in force
    List {
        /// Also those that are over
        #[arg(long)]
        all: bool,
    },
    /// One of them
    Show {
        /// Its name, q-17
        id: String,
    },
    /// Stop a client, a key or a key group
    Impose(Impose),
    /// End one
    Release {
        /// Its name, q-17
        id: String,
        /// Why: it is written down with your name
        #[arg(long)]
        reason: String,
    },
}

#[derive(Args)]
pub(super) struct Impose {
    /// What is refused
    kind: Kind,
    /// The client: for pair, client and source
    #[arg(long)]
    client: Option<String>,
    /// The key: for pair, key and key-exits
    #[arg(long, value_name = "PUBLIC_KEY")]
    key: Option<String>,
    /// The key group: for cohort, cohort-exits and source
    #[arg(long)]
    group: Option<String>,
    /// Why: whoever is refused is told
    #[arg(long)]
    reason: String,
    /// Until it is released, if it is left out
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<u64>,
}

/// What is refused.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// A client for one key
    Pair,
    /// A key, for everybody (approver)
    Key,
    /// The exits of a key
    KeyExits,
    /// The exits of a key group
    CohortExits,
    /// Everything that a client asks for
    Client,
    /// A key group, for everybody (approver)
    Cohort,
    /// A client for the keys of a group that others have the lease of
    Source,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Key => "key",
            Self::KeyExits => "key_exits",
            Self::CohortExits => "cohort_exits",
            Self::Client => "client",
            Self::Cohort => "cohort",
            Self::Source => "source",
        }
    }
}

impl Quarantines {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<Exit> {
        match self {
            Self::List { all } => {
                let reply = client.get(&format!("/v1/quarantines?all={all}"))?;
                list(client, &reply)?;
            }
            Self::Show { id } => one(client, &client.get(&format!("/v1/quarantines/{id}"))?)?,
            Self::Impose(wish) => {
                let mut scope = json!({ "kind": wish.kind.as_str() });
                let parts =
                    [("client", wish.client), ("public_key", wish.key), ("group", wish.group)];
                for (name, value) in parts {
                    if let Some(value) = value {
                        scope[name] = value.into();
                    }
                }
                let seconds = wish.minutes.map(|minutes| minutes.saturating_mul(60));
                let body = json!({
                    "scope": scope,
                    "reason": wish.reason,
                    "expires_in_s": seconds,
                });
                one(client, &client.post("/v1/quarantines", &body)?)?;
            }
            Self::Release { id, reason } => {
                let path = format!("/v1/quarantines/{id}/release");
                one(client, &client.post(&path, &json!({ "reason": reason }))?)?;
            }
        }
        Ok(Exit::done_if(true))
    }
}

fn one(client: &Client, reply: &Reply) -> anyhow::Result<()> {
    let quarantine: Value = reply.read()?;
    fields(client, reply, &quarantine)
}

fn list(client: &Client, reply: &Reply) -> anyhow::Result<()> {
    if client.json {
        println!("{}", String::from_utf8_lossy(&reply.body));
        return Ok(());
    }
    let answer: Value = reply.read()?;
    let mut table = Table::new(&["id", "state", "about", "until", "by", "reason"]);
    for row in answer["quarantines"].as_array().into_iter().flatten() {
        let until = row["expires_at_ms"].as_u64();
        let until = until.map_or_else(|| "released".to_owned(), |until| iso8601(until / 1_000));
        let cells = [&row["id"], &row["state"], &row["about"]].map(cell);
        let last = [&row["actor"], &row["reason"]].map(cell);
        table.row(cells.into_iter().chain([until]).chain(last));
    }
    Ok(table.print()?)
}
