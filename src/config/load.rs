//! File, environment and arguments laid over each other.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::args::{RunArgs, web3signer};
use super::check::{self, Checker};
use super::document::{self, Document};
use super::effective::Origin;
use super::fields::{self, Kind};
use super::problem::{ConfigError, Place, Problem, ProblemKind};
use super::raw::RawConfig;
use super::{Config, redact};

#[cfg(test)]
mod tests;

impl Config {
    /// Reads the file that the arguments name, lays the environment and the arguments over it, and
    /// checks the whole.
    ///
    /// `environment` is `std::env::vars_os()`; variables without our prefix are passed over.
    ///
    /// # Errors
    /// [`ConfigError::Wrong`] holds everything that is wrong, not just the first of it; only a file
    /// that is not TOML, or has a wrong name or type in it, hides what else is wrong in it.
    pub fn load(
        args: &RunArgs,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let path = args.config.as_path();
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::from_text(path, &text, args, environment)
    }

    /// As [`Config::load`], of a file whose text is at hand.
    fn from_text(
        path: &Path,
        text: &str,
        args: &RunArgs,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut overrides = from_environment(environment, &mut problems);
        overrides.extend(from_arguments(args));

        let document = Document::parse(text)
            .map_err(|error| ConfigError::Wrong(vec![problem_of_toml(path, text, None, &error)]))?;
        if let Err(error) = toml::from_str::<RawConfig>(text) {
            problems.push(problem_of_toml(path, text, Some(&document), &error));
            return Err(ConfigError::Wrong(problems));
        }
        let mut table: Table = text.parse().expect("it was parsed as a document just now");
        let mut places = BTreeMap::new();
        let mut origins: BTreeMap<String, Origin> = fields::all()
            .filter(|(key, _)| document.position_of(key).is_some())
            .map(|(key, _)| (key, Origin::File))
            .collect();
        for Override { key, value, place, origin } in overrides {
            replace(&mut table, &mut origins, &key, value, origin);
            places.insert(key, place);
        }
        for (key, flag, value) in web3signer::overrides(&args.web3signer, &table) {
            replace(&mut table, &mut origins, key, value, Origin::CommandLine);
            places.insert(key.to_owned(), Place::CommandLine(flag));
        }
        let raw: RawConfig = match table.try_into() {
            Ok(raw) => raw,
            Err(error) => {
                problems.push(problem_of_toml(path, text, None, &error));
                return Err(ConfigError::Wrong(problems));
            }
        };
        let checker = Checker::new(path, &document, places, problems);
        check::config(checker, raw, origins).map_err(ConfigError::Wrong)
    }
}

/// A value that stands above the file's.
struct Override {
    key: String,
    value: Value,
    place: Place,
    origin: Origin,
}

fn from_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Vec<Override> {
    let keys: BTreeMap<String, (String, Kind)> =
        fields::all().map(|(key, kind)| (fields::variable(&key), (key, kind))).collect();
    let mut overrides = Vec::new();
    for (name, value) in environment {
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with(fields::PREFIX) {
            continue;
        }
        let place = Place::Environment(name.clone());
        let parsed = match (keys.get(&name), value.to_str()) {
            (None, text) if fields::is_service_link(&name, text.unwrap_or_default()) => continue,
            (None, _) => {
                let nearest = nearest(&name, keys.keys()).cloned();
                Err((String::new(), ProblemKind::UnknownVariable { nearest }))
            }
            (Some((key, _)), None) => Err((key.clone(), ProblemKind::NotUnicode)),
            (Some((key, kind)), Some(text)) => {
                parse(*kind, text).map(|value| (key, value)).map_err(|wrong| (key.clone(), wrong))
            }
        };
        match parsed {
            Ok((key, value)) => overrides.push(Override {
                key: key.clone(),
                value,
                place,
                origin: Origin::Environment,
            }),
            Err((path, kind)) => problems.push(Problem { place, path, kind }),
        }
    }
    overrides
}

fn from_arguments(args: &RunArgs) -> impl Iterator<Item = Override> {
    args.overrides().into_iter().map(|(key, flag, text)| Override {
        key: key.to_owned(),
        value: Value::String(text.to_owned()),
        place: Place::CommandLine(flag),
        origin: Origin::CommandLine,
    })
}

/// The value of an environment variable.
fn parse(kind: Kind, text: &str) -> Result<Value, ProblemKind> {
    let value = || text.to_owned();
    match kind {
        Kind::Text => Ok(Value::String(value())),
        Kind::Integer => {
            // `i64::from_str` would take a leading +.
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| text.parse().ok()).flatten();
            number.map(Value::Integer).ok_or_else(|| ProblemKind::NotAnInteger { value: value() })
        }
        Kind::Number => {
            let number = text.parse().ok().filter(|number: &f64| number.is_finite());
            number.map(Value::Float).ok_or_else(|| ProblemKind::NotANumber { value: value() })
        }
        Kind::Boolean => match text {
            "true" => Ok(Value::Boolean(true)),
            "false" => Ok(Value::Boolean(false)),
            _ => Err(ProblemKind::NotABoolean { value: value() }),
        },
        Kind::List => Ok(Value::Array(
            text.split(',').map(|item| Value::String(item.trim().to_owned())).collect(),
        )),
    }
}

/// Sets a key of the table. Another network replaces the one below it whole: the genesis or the
/// fork epochs of one must not mix with the name of another.
fn replace(
    table: &mut Table,
    origins: &mut BTreeMap<String, Origin>,
    key: &str,
    value: Value,
    origin: Origin,
) {
    let (section, field) = key.split_once('.').expect("every key is section.field");
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    let section = section.as_table_mut().expect("RawConfig has been read from this table");
    let others: &[&str] = match key {
        "network.name" => &["config", "genesis_time", "genesis_validators_root", "fork_epochs"],
        "network.config" => &["name", "fork_epochs"],
        _ => &[],
    };
    if section.get(field) != Some(&value) {
        for other in others {
            let other_key = format!("network.{other}");
            if origins.get(&other_key).is_none_or(|other| *other < origin) {
                section.remove(*other);
                origins.remove(&other_key);
            }
        }
    }
    section.insert(field.to_owned(), value);
    origins.insert(key.to_owned(), origin);
}

fn problem_of_toml(
    path: &Path,
    text: &str,
    document: Option<&Document<'_>>,
    error: &toml::de::Error,
) -> Problem {
    let span = error.span();
    let position = span.as_ref().map(|span| document::position(text, span.start));
    let key = document.zip(span).map(|(document, span)| document.path_at(&span));
    Problem {
        place: Place::File(path.to_owned(), position),
        path: key.unwrap_or_default(),
        // Without the line itself, which may hold what is not for logs.
        kind: ProblemKind::Toml { message: redact::urls(error.message()).into_owned() },
    }
}

/// The variable that was probably meant: the one that shares the most with the name at its two
/// ends, if that is most of it.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let shared = |known: &str| {
        let begin = name.bytes().zip(known.bytes()).take_while(|(a, b)| a == b).count();
        let rest = name.len().min(known.len()) - begin;
        let ends = name.bytes().rev().zip(known.bytes().rev());
        begin + ends.take(rest).take_while(|(a, b)| a == b).count()
    };
    let best = known.max_by_key(|known| shared(known))?;
    let typed = |text: &str| text.len() - fields::PREFIX.len();
    (2 * shared(best).saturating_sub(fields::PREFIX.len()) > typed(name).max(typed(best)))
        .then_some(best)
}
