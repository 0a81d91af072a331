//! `portcullis admin audit`.

use clap::Subcommand;

use super::client::Client;
use super::health::fields;
use crate::cli::Exit;

/// What is wanted of the audit log.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// The last signed checkpoint; with --json it is a line of an anchor file
    Checkpoint,
}

pub(super) fn run(client: &Client, verb: &Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::Checkpoint => {
            let reply = client.get("/v1/audit/checkpoint")?;
            fields(client, &reply, &reply.read()?)?;
        }
    }
    Ok(Exit::Done)
}
