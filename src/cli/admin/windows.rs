//! `portcullis admin windows`.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::{Client, Reply};
use super::health::fields;
use super::table::{Table, cell};
use crate::cli::Exit;
use crate::cli::keys::KeyArgs;
use crate::clock::iso8601;
use crate::enrolment::Keys;

/// What is to be done with rotation windows.
#[derive(Subcommand)]
pub(super) enum Windows {
    /// Let keys go from one client to another
    Open(Box<Open>),
    /// Every window, the latest first
    List,
    /// One of them, with its batches
    Show {
        /// Its id
        id: String,
        /// Each of its keys, too
        #[arg(long)]
        each: bool,
    },
    /// End one: no key moves any more
    Close(End),
    /// Halt one, as an overlap does
    Halt(End),
    /// Whether a batch may begin; succeeds if it may
    Proceed {
        /// The window's id
        id: String,
        /// Which, from 1; one more than there are asks whether all keys have moved
        #[arg(long)]
        batch: u64,
        /// How long to wait for a yes or a no
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait_s: u64,
    },
}

#[derive(Args)]
pub(super) struct Open {
    #[command(flatten)]
    keys: KeyArgs,
    /// In place of keys: all of a key group
    #[arg(long)]
    group: Option<String>,
    /// What people call it
    #[arg(long)]
    name: String,
    /// Why: it is written down with your name
    #[arg(long)]
    reason: String,
    /// The client that has the keys
    #[arg(long, value_name = "CLIENT")]
    from: String,
    /// The client that gets them
    #[arg(long, value_name = "CLIENT")]
    to: String,
    /// How long keys may move
    #[arg(long)]
    minutes: u64,
    /// Into how many batches the keys are split
    #[arg(long, default_value_t = 1)]
    batches: u32,
}

#[derive(Args)]
pub(super) struct End {
    /// The window's id
    id: String,
    /// Why: it is written down with your name
    #[arg(long)]
    reason: String,
}

impl Windows {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<Exit> {
        match self {
            Self::Open(wish) => one(client, &client.post("/v1/windows", &wish.body()?)?, false)?,
            Self::List => list(client, &client.get("/v1/windows")?)?,
            Self::Show { id, each } => {
                one(client, &client.get(&format!("/v1/windows/{id}"))?, each)?;
            }
            Self::Close(end) => end.send(client, "close")?,
            Self::Halt(end) => end.send(client, "halt")?,
            Self::Proceed { id, batch, wait_s } => {
                let path = format!("/v1/windows/{id}/proceed?batch={batch}&wait_s={wait_s}");
                return proceed(client, &client.get(&path)?);
            }
        }
        Ok(Exit::Done)
    }
}

impl Open {
    fn body(&self) -> anyhow::Result<Value> {
        let keys = match self.keys.select(Keys::These(Vec::new()))? {
            Keys::These(keys) => keys,
            Keys::All | Keys::Awaiting => Vec::new(), // the API says what is missing
        };
        Ok(json!({
            "name": self.name,
            "reason": self.reason,
            "keys": keys,
            "group": self.group,
            "from_client": self.from,
            "to_client": self.to,
            "expires_in_s": self.minutes.saturating_mul(60),
            "batches": self.batches,
        }))
    }
}

impl End {
    fn send(&self, client: &Client, verb: &str) -> anyhow::Result<()> {
        let path = format!("/v1/windows/{}/{verb}", self.id);
        one(client, &client.post(&path, &json!({ "reason": self.reason }))?, false)
    }
}

fn proceed(client: &Client, reply: &Reply) -> anyhow::Result<Exit> {
    let said: Value = reply.read()?;
    if client.json {
        println!("{}", String::from_utf8_lossy(&reply.body));
    } else {
        let answer = cell(&said["answer"]).replace('_', " ");
        match said["reason"].as_str() {
            Some(reason) => println!("{answer}: {reason}"),
            None => println!("{answer}"),
        }
    }
    Ok(Exit::done_if(said["answer"] == "yes"))
}

fn one(client: &Client, reply: &Reply, each: bool) -> anyhow::Result<()> {
    let mut page: Map<String, Value> = reply.read()?;
    let lists = ["batches", "progress"].map(|name| page.remove(name).unwrap_or_default());
    for (name, value) in &mut page {
        if let Some(at) = value.as_u64().filter(|_| name.ends_with("_unix_ms")) {
            *value = iso8601(at / 1_000).into();
        }
    }
    fields(client, reply, &Value::Object(page))?;
    if client.json {
        return Ok(());
    }
    println!();
    rows(&["number", "keys", "moved"], &lists[0])?;
    if each {
        println!();
        rows(&["public_key", "batch", "progress", "owner", "why"], &lists[1])?;
    }
    Ok(())
}

fn list(client: &Client, reply: &Reply) -> anyhow::Result<()> {
    if client.json {
        println!("{}", String::from_utf8_lossy(&reply.body));
        return Ok(());
    }
    let answer: Value = reply.read()?;
    let columns = ["id", "name", "state", "from_client", "to_client", "keys", "moved", "contested"];
    rows(&columns, &answer["windows"])
}

fn rows(columns: &[&str], list: &Value) -> anyhow::Result<()> {
    let mut table = Table::new(columns);
    for row in list.as_array().into_iter().flatten() {
        table.row(columns.iter().map(|column| cell(&row[*column])));
    }
    Ok(table.print()?)
}
