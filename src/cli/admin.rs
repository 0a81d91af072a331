//! `portcullis admin`: the command line over the admin API. Tables for people, `--json` for
//! scripts; a call that is not done ends with its reason on standard error.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::client::Client;
use super::Exit;

mod audit;
mod client;
mod events;
mod health;
mod incidents;
mod keys;
mod policy;
mod quarantines;
mod table;
mod windows;

/// `portcullis admin`.
#[derive(Args)]
pub struct AdminArgs {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    resource: Resource,
}

/// Which gate, and who asks.
#[derive(Args)]
pub struct At {
    /// The gate's admin.address
    #[arg(long, value_name = "URL", global = true, default_value = "http://127.0.0.1:9002")]
    url: String,
    /// The file whose first line is your token
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// With https: the authority of the gate's certificate; the system's if it is left out
    #[arg(long, value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
    /// With https: your certificate, in place of a token
    #[arg(long, value_name = "FILE", global = true, requires = "key_file")]
    certificate_file: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", global = true, requires = "certificate_file")]
    key_file: Option<PathBuf>,
    /// The answer as JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

/// What it is about.
#[derive(Subcommand)]
enum Resource {
    /// Where the audit log stands, signed
    #[command(subcommand)]
    Audit(audit::Verb),
    /// What happened of late, or what happens as it happens
    Events(events::EventsArgs),
    /// Whether the gate is in order
    Health,
    /// Begin, move and end keys
    #[command(subcommand)]
    Keys(keys::Verb),
    /// Status, watermarks and owner of a key
    Validator {
        /// The public key
        key: String,
    },
    /// What is normal for a key
    Baseline {
        /// The public key
        key: String,
    },
    /// The clients that ask for signatures
    Clients,
    /// What would be said of a signing request
    Evaluate(policy::Evaluate),
    /// What requests are judged by
    #[command(subcommand)]
    Policy(policy::Verb),
    /// What two people must agree on
    #[command(subcommand)]
    Grants(policy::GrantVerb),
    /// What has one cause, from the first refusal to its end
    #[command(subcommand)]
    Incidents(incidents::Verb),
    /// Who is refused what, until when, and why
    #[command(subcommand)]
    Quarantines(quarantines::Quarantines),
    /// Rotations: keys go from one client to another, each once
    #[command(subcommand)]
    Windows(windows::Windows),
}

impl AdminArgs {
    /// Asks, and shows the answer.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn run(self) -> anyhow::Result<Exit> {
        let client = Client::new(&self.at)?;
        match self.resource {
            Resource::Audit(verb) => audit::run(&client, &verb),
            Resource::Events(args) => args.show(&client),
            Resource::Health => health::show(&client),
            Resource::Keys(verb) => keys::run(&client, &verb),
            Resource::Validator { key } => keys::show(&client, &format!("/v1/validators/{key}")),
            Resource::Baseline { key } => keys::show(&client, &format!("/v1/baselines/{key}")),
            Resource::Clients => keys::clients(&client),
            Resource::Evaluate(asked) => policy::evaluate(&client, &asked),
            Resource::Policy(verb) => policy::run(&client, &verb),
            Resource::Grants(verb) => policy::grants(&client, &verb),
            Resource::Incidents(verb) => incidents::run(&client, &verb),
            Resource::Quarantines(quarantines) => quarantines.run(&client),
            Resource::Windows(windows) => windows.run(&client),
        }
    }
}
