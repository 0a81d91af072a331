//! `portcullis admin events`.

use std::io::{self, Write};

use clap::Args;
use serde_json::Value;

use super::client::Client;
use crate::cli::Exit;

/// Which events.
#[derive(Args)]
pub(super) struct EventsArgs {
    /// What happens from now on, until you end it
    #[arg(long)]
    follow: bool,
    /// Begin after the event with this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

impl EventsArgs {
    pub(super) fn show(&self, client: &Client) -> anyhow::Result<Exit> {
        let path = if self.follow { "/v1/events" } else { "/v1/events?follow=false" };
        let after = self.after.as_deref();
        let json = client.json;
        client.lines(path, after, |line| {
            let mut output = io::stdout().lock();
            match line.strip_prefix("data: ") {
                Some("{}") => eprintln!("some events may have been missed"),
                Some(data) if json => writeln!(output, "{data}")?,
                Some(data) => {
                    let event: Value = serde_json::from_str(data).unwrap_or_default();
                    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
                    let (id, severity) = (text("id"), text("severity"));
                    let (kind, summary) = (text("kind"), text("summary"));
                    writeln!(output, "{id}  {severity:8}  {kind:24}  {summary}")?;
                }
                None => {}
            }
            output.flush()
        })?;
        Ok(Exit::Done)
    }
}
