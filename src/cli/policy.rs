//! `portcullis policy`: what requests are judged by.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use policy::{ClientIndex, Policy};
use slashing_db::Store;

use super::{Exit, load};
use crate::config::policy::{KeyPlace, Known, PolicyError, read, summary};
use crate::config::{Config, KeySelection, RunArgs};

pub use self::replay::{PublishArgs, ReplayArgs};
pub(super) use self::replay::{replace, report_as_json, try_draft};

mod replay;

/// What to do with a policy.
#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Say what is wrong with a policy document, or what it enforces
    Check(CheckArgs),
    /// Say what a draft would have refused of what was recorded
    Replay(ReplayArgs),
    /// Try a draft on what was recorded, and put it in force
    Publish(PublishArgs),
}

/// `portcullis policy check`.
#[derive(Args)]
pub struct CheckArgs {
    /// The policy document
    file: PathBuf,
    /// The gate's configuration file, whose groups, clients and keys the document may name
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl PolicyCommand {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Check(args) => args.run(),
            Self::Replay(args) => args.run(),
            Self::Publish(args) => args.run(),
        }
    }
}

impl CheckArgs {
    fn run(&self) -> anyhow::Result<Exit> {
        let config = self.config.as_ref().map(|path| load_config(path)).transpose()?;
        let policy = match &config {
            Some(config) => check(&self.file, config)?,
            None => check_alone(&self.file)?,
        };
        print!("{}", summary_of(&policy, config.as_ref()));
        if config.is_none() {
            eprintln!("note: without --config nobody knows which groups, clients and keys exist");
        }
        eprintln!("the policy is good");
        Ok(Exit::Done)
    }
}

pub(super) fn load_config(path: &Path) -> anyhow::Result<Config> {
    load(&RunArgs { config: path.to_owned(), ..RunArgs::default() })
}

/// The policy that the configuration names, checked; `None` where it names none.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn configured(config: &Config) -> Result<Option<Policy>, PolicyError> {
    config.policy.file.as_ref().map(|file| check(file, config)).transpose()
}

/// Reads a document against a configuration, and against its store where there is one.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn check(file: &Path, config: &Config) -> Result<Policy, PolicyError> {
    let store = std::cell::OnceCell::new(); // few documents name keys
    let open = || Store::open_read_only(&config.slashing.directory).ok();
    let places = Places::default();
    let known = Known {
        groups: &config.policy_groups(),
        is_client: &|name| config.is_policy_client(name),
        client_place: &|name| places.of(name),
        key_place: &|key| match store.get_or_init(open) {
            None => KeyPlace::NoTable,
            Some(store) => match store.key(&slashing_db::PublicKey(*key)) {
                Some(_) => KeyPlace::At(u32::MAX), // this policy judges nothing
                None => KeyPlace::Unknown,
            },
        },
    };
    read(file, &known)
}

/// Reads a document that may name whatever it wants.
fn check_alone(file: &Path) -> Result<Policy, PolicyError> {
    let text = std::fs::read_to_string(file).unwrap_or_default(); // `read` tells why it cannot
    let table: toml::Table = text.parse().unwrap_or_default();
    let of_table = table.get("groups").and_then(|groups| groups.as_array());
    let names = of_table.into_iter().flatten().filter_map(|group| group.get("name")?.as_str());
    let mut groups = vec!["default".to_owned()];
    for name in names {
        if !groups.iter().any(|group| group == name) {
            groups.push(name.to_owned());
        }
    }
    let places = Places::default();
    let known = Known {
        groups: &groups,
        is_client: &|_| true,
        client_place: &|name| places.of(name),
        key_place: &|_| KeyPlace::NoTable,
    };
    read(file, &known)
}

/// The rules by group, and how many keys each group has as far as the configuration says.
pub(super) fn summary_of(policy: &Policy, config: Option<&Config>) -> String {
    let keys = |place: usize| {
        let group = place.checked_sub(1).zip(config);
        match group.and_then(|(place, config)| config.groups.iter().nth(place)) {
            None if place == 0 => "keys of no group".to_owned(),
            None => "keys not counted".to_owned(),
            Some(group) => match &group.keys {
                KeySelection::All => "every other key".to_owned(),
                KeySelection::Listed { keys, .. } => format!("{} keys", keys.len()),
            },
        }
    };
    summary(policy, &keys)
}

/// Places of clients, in the order in which they are named.
#[derive(Default)]
pub(super) struct Places(RefCell<Vec<String>>);

impl Places {
    pub(super) fn of(&self, name: &str) -> ClientIndex {
        let mut names = self.0.borrow_mut();
        let place = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        ClientIndex(u16::try_from(place).unwrap_or(u16::MAX))
    }
}
