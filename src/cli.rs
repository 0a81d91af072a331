//! The commands of `portcullis`: their arguments, and what each one runs.

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ContextKind;
use clap::{Args, Subcommand};

use crate::clock::Clock;
use crate::config::policy::PolicyError;
use crate::config::{self, Config, ConfigError, NetworkSource, RunArgs};
use crate::eth::{Epoch, ForkName, Network, Root};
use crate::metrics::ClientMetrics;

pub mod admin;
pub mod audit;
pub mod demo;
pub mod dev_signer;
pub mod events;
pub mod handover;
pub mod health;
pub mod keys;
pub mod policy;
pub mod run;
mod scrape;
pub mod signing_root;
pub mod slashing;
mod store;

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Run the gate
    Run(RunArgs),
    /// Take over from the running gate without losing a duty: for upgrades
    Handover(handover::HandoverArgs),
    /// Check a configuration and show what would be in force
    CheckConfig(RunArgs),
    /// Ask a running gate whether its process is in order; for a container's health check
    Health(health::HealthArgs),
    /// Make, fill, empty and inspect the slashing store
    #[command(subcommand)]
    Slashing(slashing::SlashingCommand),
    /// Begin and end keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Check a policy document, and see what it would have refused
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Ask a running gate over its admin API
    Admin(admin::AdminArgs),
    /// Try the ways by which people are told
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Check and read the log of decisions and actions
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Compute signing roots: one JSON request body a line in, one root or one error a line out
    SigningRoot(SigningRootArgs),
    /// Show on one page what the gate does, with processes of its own; never for production
    Demo(demo::DemoArgs),
    /// Run a signer for development; never for production
    DevSigner(dev_signer::DevSignerArgs),
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All of it was done.
    Done,
    /// Some of it, or nothing; what was not is on standard error.
    NotDone,
    /// The slashing store failed or its lease was lost: nothing more is signed here.
    Unsafe,
    /// The configuration or the arguments are wrong (`EX_USAGE`).
    Usage,
}

impl Exit {
    /// The exit of a command that ended with `error`.
    pub fn of(error: &anyhow::Error) -> Self {
        let is_usage = error.is::<ConfigError>() || error.is::<PolicyError>();
        if is_usage { Self::Usage } else { Self::NotDone }
    }

    /// [`Exit::Done`] if `all` was done.
    pub(crate) fn done_if(all: bool) -> Self {
        if all { Self::Done } else { Self::NotDone }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::NotDone => Self::FAILURE,
            Exit::Unsafe => Self::from(70), // EX_SOFTWARE: a service manager may start it again
            Exit::Usage => Self::from(config::EXIT_CODE),
        }
    }
}

/// What to say of an argument of Web3Signer's that means nothing here; none if `error` is about
/// something else.
pub fn in_place_of(error: &clap::Error) -> Option<String> {
    let argument = error.get(ContextKind::InvalidArg)?.to_string();
    let instead = config::in_place_of(&argument)?;
    Some(format!("{argument} is Web3Signer's: {instead}"))
}

impl Command {
    /// Carries it out.
    ///
    /// # Errors
    /// What kept it from being done, for a person.
    pub fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Run(args) => run::run(&args),
            Self::Handover(args) => handover::run(&args),
            Self::CheckConfig(args) => check_config(&args),
            Self::Health(args) => args.run(),
            Self::Slashing(command) => command.run(),
            Self::Keys(command) => command.run(),
            Self::Policy(command) => command.run(),
            Self::Admin(args) => args.run(),
            Self::Events(command) => command.run(),
            Self::Audit(command) => command.run(),
            Self::SigningRoot(args) => args.run(),
            Self::Demo(args) => demo::run(&args),
            Self::DevSigner(args) => dev_signer::run(args).map(|()| Exit::Done),
        }
    }
}

/// Loads the configuration as `run` would.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn load(args: &RunArgs) -> anyhow::Result<Config> {
    let environment = std::env::vars_os();
    #[cfg(feature = "test-clock")]
    let environment = environment.filter(|(name, _)| name != crate::clock::test_clock::VARIABLE);
    Ok(Config::load(args, environment)?)
}

fn check_config(args: &RunArgs) -> anyhow::Result<Exit> {
    let config = load(args)?;
    let network = network(&config)?;
    let clients = run::load_clients(&config, &Clock::System, &ClientMetrics::unregistered())?;
    run::admin_access(&config.admin, &Clock::System)?;
    let policy = policy::configured(&config)?;
    print!("{}", config.effective());
    if let Some(policy) = policy {
        print!("\n{}", policy::summary_of(&policy, Some(&config)));
    }
    for warning in clients.warnings() {
        eprintln!("warning: {warning}");
    }
    for note in config.notes() {
        eprintln!("note: {note}");
    }
    eprintln!("the configuration is good; network {}", network.name());
    Ok(Exit::Done)
}

/// The network that the configuration names.
///
/// # Errors
/// A file that cannot be read, or a fork that nobody knows.
pub(crate) fn network(config: &Config) -> anyhow::Result<Network> {
    let network = match &config.network.source {
        NetworkSource::Builtin(name) => builtin(name)?,
        NetworkSource::File { path, genesis_time, genesis_validators_root } => {
            from_file(path)?.with_genesis(*genesis_time, Root(*genesis_validators_root))
        }
    };
    let epochs = config.network.fork_epochs.iter().map(|(fork, epoch)| {
        let name: ForkName =
            fork.parse().with_context(|| format!("network.fork_epochs: {fork}"))?;
        Ok((name, Epoch(*epoch)))
    });
    let epochs: Vec<_> = epochs.collect::<anyhow::Result<_>>()?;
    network.with_fork_epochs(epochs).context("network.fork_epochs")
}

fn builtin(name: &str) -> anyhow::Result<Network> {
    Network::builtin(name).with_context(|| {
        format!("{name:?} is not a built-in network; there are {}", config::NETWORKS.join(", "))
    })
}

fn from_file(path: &std::path::Path) -> anyhow::Result<Network> {
    Network::from_config_file(path)
        .with_context(|| format!("{} is not a network's config.yaml", path.display()))
}

/// `portcullis signing-root`.
#[derive(Args)]
pub struct SigningRootArgs {
    /// A built-in network, or the path of a standard config.yaml
    #[arg(long, value_name = "NAME-OR-CONFIG-PATH")]
    network: String,
    /// The requests, one a line; standard input if it is left out
    file: Option<PathBuf>,
}

impl SigningRootArgs {
    fn run(&self) -> anyhow::Result<Exit> {
        let network = if config::NETWORKS.contains(&self.network.as_str()) {
            builtin(&self.network)?
        } else {
            from_file(self.network.as_ref())?
        };
        let input: Box<dyn BufRead> = match &self.file {
            None => Box::new(io::stdin().lock()),
            Some(path) => Box::new(BufReader::new(
                std::fs::File::open(path).with_context(|| format!("{}", path.display()))?,
            )),
        };
        let output = io::BufWriter::new(io::stdout().lock());
        let summary = signing_root::run(&network, input, output)?;
        Ok(Exit::done_if(summary.errors == 0))
    }
}
