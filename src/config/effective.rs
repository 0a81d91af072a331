//! The configuration as it holds, with where each value came from: for the log at start and for
//! `portcullis check-config`.

use std::fmt;

use toml::Value;

use super::groups::KeySelection;
use super::{Config, KeyGroup, LogFormat, NetworkConfig, NetworkSource, SlashingConfig};
use super::{audit, clients, fields, hex, listeners, redact, response, tls};

/// Where a value came from, the strongest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The file.
    File,
    /// A `PORTCULLIS_` variable.
    Environment,
    /// A flag.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "from file",
            Self::Environment => "from environment",
            Self::CommandLine => "from command line",
        })
    }
}

/// One key of the effective configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// `section.field`.
    pub path: String,
    /// Its value, fit to be shown, as TOML writes it.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Config {
    /// Every key that has one value, section by section; without those that are not set.
    pub fn settings(&self) -> Vec<Setting> {
        let shown = |path: String| {
            let value = self.value_of(&path)?;
            let value = redact::urls(&value.to_string()).into_owned();
            let origin = self.origins.get(&path).copied().unwrap_or(Origin::Default);
            Some(Setting { path, value, origin })
        };
        fields::all().filter_map(|(path, _)| shown(path)).collect()
    }

    /// The whole as TOML, each value with its origin in a comment, and the keys of groups counted.
    pub fn effective(&self) -> String {
        let mut text = String::new();
        let mut open = "";
        let settings = self.settings();
        for Setting { path, value, origin } in &settings {
            let (section, field) = path.split_once('.').expect("every key is section.field");
            if section != open {
                text.push_str(if open.is_empty() { "" } else { "\n" });
                text.push_str(&format!("[{section}]\n"));
                open = section;
                if section == "network" && !self.network.fork_epochs.is_empty() {
                    text.push_str(&format!("{}\n", self.fork_epochs()));
                }
            }
            text.push_str(&format!("{field} = {value} # {origin}\n"));
        }
        for listener in &self.listeners {
            text.push_str(&listeners::as_toml(listener));
        }
        for client in &self.clients {
            text.push_str(&clients::as_toml(client));
        }
        text.push_str(&self.admin.credentials_as_toml());
        text.push_str(&self.upstreams.as_toml());
        text.push_str(&self.events.as_toml());
        for group in self.groups.iter() {
            text.push_str(&group_as_toml(group));
        }
        text
    }

    fn fork_epochs(&self) -> String {
        let epochs = &self.network.fork_epochs;
        let forks = epochs.iter().map(|(fork, epoch)| format!("{fork} = {epoch}"));
        let forks = forks.collect::<Vec<_>>().join(", ");
        format!("fork_epochs = {{ {forks} }} # {}", Origin::File)
    }

    fn value_of(&self, path: &str) -> Option<Value> {
        let text = |text: &dyn ToString| Some(Value::String(text.to_string()));
        let integer = |number: u64| Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
        match path {
            path if path.starts_with("network.") => self.network.value_of(path),
            "listen.address" => text(&self.listen.address),
            "listen.path_prefix" => text(&self.listen.path_prefix),
            "listen.host_allowlist" => Some(Value::from(self.listen.host_allowlist.clone())),
            "listen.workers" => integer(self.listen.workers.map_or(0, |n| n.get() as u64)),
            "listen.client" => text(self.listen.entrance.client.as_ref()?),
            "listen.tls" => Some(Value::Boolean(self.listen.entrance.tls.is_some())),
            "listen.proxy_protocol_from" => {
                Some(listeners::ranges_as_toml(&self.listen.entrance.proxy_protocol_from))
            }
            path if path.starts_with("tls.") => tls::value_of(self.tls.as_ref()?, path),
            "metrics.address" => match self.metrics.address {
                Some(address) => text(&address),
                None => text(&"off"),
            },
            upstream if upstream.starts_with("upstream.") => {
                self.upstreams.value_of(upstream.strip_prefix("upstream.")?)
            }
            path if path.starts_with("slashing.") => self.slashing.value_of(path),
            "log.format" => match self.log.format {
                LogFormat::Plain => text(&"plain"),
                LogFormat::Json => text(&"json"),
                LogFormat::Ecs => text(&"ecs"),
            },
            "log.level" => text(&self.log.level),
            "tracing.endpoint" => match &self.tracing.endpoint {
                Some(endpoint) => text(endpoint),
                None => text(&"off"),
            },
            "tracing.sample_ratio" => Some(Value::Float(self.tracing.sample_ratio)),
            "tracing.service_name" => text(&self.tracing.service_name),
            "tracing.headers_file" => match &self.tracing.headers_file {
                Some(file) => text(&file.display()),
                None => text(&""),
            },
            "web3signer.compat_mismatch_500" => {
                Some(Value::Boolean(self.web3signer.compat_mismatch_500))
            }
            path if path.starts_with("events.") => {
                self.events.value_of(path.strip_prefix("events.")?)
            }
            path if path.starts_with("audit.") => {
                audit::value_of(self.audit.as_ref(), path.strip_prefix("audit.")?)
            }
            path if path.starts_with("response.") => {
                response::value_of(&self.response, path.strip_prefix("response.")?)
            }
            path if path.starts_with("policy.") => {
                self.policy.value_of(path.strip_prefix("policy.")?)
            }
            path if path.starts_with("admin.") => self.admin.value_of(path.strip_prefix("admin.")?),
            path if path.starts_with("verify.") => {
                self.verify.value_of(path.strip_prefix("verify.")?)
            }
            limit => {
                let limit = limit.strip_prefix("limits.")?;
                let limits = self.limits.named();
                integer(limits.into_iter().find(|(field, _)| *field == limit)?.1)
            }
        }
    }
}

impl NetworkConfig {
    fn value_of(&self, path: &str) -> Option<Value> {
        let (file, genesis_time, genesis_validators_root) = match &self.source {
            NetworkSource::Builtin(name) => {
                return (path == "network.name").then(|| name.as_str().into());
            }
            NetworkSource::File { path, genesis_time, genesis_validators_root } => {
                (path, genesis_time, genesis_validators_root)
            }
        };
        match path {
            "network.config" => Some(file.display().to_string().into()),
            "network.genesis_time" => Some(i64::try_from(*genesis_time).unwrap_or(i64::MAX).into()),
            "network.genesis_validators_root" => Some(hex::format(genesis_validators_root).into()),
            _ => None,
        }
    }
}

impl SlashingConfig {
    fn value_of(&self, path: &str) -> Option<Value> {
        match path {
            "slashing.directory" => Some(self.directory.display().to_string().into()),
            "slashing.witness" => Some(self.witness.display().to_string().into()),
            "slashing.key_set" => Some(self.key_set.as_str().into()),
            "slashing.min_target_age_epochs" => {
                Some(i64::try_from(self.min_target_age_epochs).unwrap_or(i64::MAX).into())
            }
            _ => None,
        }
    }
}

fn group_as_toml(group: &KeyGroup) -> String {
    let KeyGroup {
        name,
        keys,
        allow_voluntary_exit,
        voluntary_exits_max,
        voluntary_exits_group_max,
        allow_deposit,
        deposits_max,
    } = group;
    let keys = match keys {
        KeySelection::All => "all = true".to_owned(),
        KeySelection::Listed { keys, file: None } => format!("# keys: {}", keys.len()),
        KeySelection::Listed { keys, file: Some(file) } => {
            let file = Value::String(file.display().to_string());
            format!("keys_file = {file} # {} keys", keys.len())
        }
    };
    format!(
        "\n[[groups]]\nname = \"{name}\"\n{keys}\n\
         allow_voluntary_exit = {allow_voluntary_exit}\n\
         voluntary_exits_max = {voluntary_exits_max}\n\
         voluntary_exits_group_max = {voluntary_exits_group_max}\n\
         allow_deposit = {allow_deposit}\n\
         deposits_max = {deposits_max}\n"
    )
}
