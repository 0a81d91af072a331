//! `portcullis events`: whether people would be told.

use std::io;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::Exit;
use super::keys::ConfigArgs;
use crate::control::{self, Command, Reply};

/// What to do with events.
#[derive(Subcommand)]
pub enum EventsCommand {
    /// Send an event that says it is a test to the sinks of the running gate, and say what each
    /// answered
    Test(TestArgs),
}

/// `portcullis events test`.
#[derive(Args)]
pub struct TestArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// One sink alone, by its name
    #[arg(long, value_name = "NAME", conflicts_with = "page")]
    sink: Option<String>,
    /// Give it in as a page of an incident: it is written to the spool and delivered as one, to
    /// the fallbacks too where nobody else takes it; it pages, and nothing resolves it
    #[arg(long)]
    page: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl EventsCommand {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Test(args) => args.run(),
        }
    }
}

impl TestArgs {
    fn run(&self) -> anyhow::Result<Exit> {
        let config = self.config.load()?;
        let command = Command::TestEvents { sink: self.sink.clone(), page: self.page };
        let directory = &config.slashing.directory;
        let reply = control::send(directory, &command, io::empty(), io::sink())?
            .context("no gate runs on this store: start it, it is the one that tells people")?;
        let answers = match reply {
            Reply::SinkAnswers(answers) => answers,
            Reply::PageGiven(id) => {
                println!("{id}");
                return Ok(Exit::Done);
            }
            other => return other.unexpected(),
        };
        for answer in &answers {
            if self.json {
                println!("{}", serde_json::to_string(answer)?);
                continue;
            }
            let said = answer.problem.as_deref().unwrap_or("accepted");
            let pages = if answer.pages { "pages" } else { "" };
            println!("{:16} {:10} {pages:6} {said}", answer.sink, answer.kind);
        }
        Ok(Exit::done_if(answers.iter().all(|answer| answer.problem.is_none())))
    }
}
