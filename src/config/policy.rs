//! `[policy]`: which document step 6 judges by, and whether what it judged is recorded.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Value;

use super::check::Checker;
use super::{Config, ListenerConfig};
use crate::clients;

pub use self::document::{KeyPlace, Known, PolicyError, parse, read};
pub use self::summary::{changes, summary};
pub(super) use self::time::of as moment;

mod document;
mod group;
mod reader;
mod summary;
mod time;
mod window;

#[cfg(test)]
mod tests;

/// The policy of the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyConfig {
    /// The policy document; `None` for the built-in policy.
    pub file: Option<PathBuf>,
    /// The directory of the recording; `None` where nothing is recorded.
    pub recording: Option<PathBuf>,
    /// The size at which a file of the recording is closed and the next one begun, in bytes.
    pub recording_segment_bytes: u64,
    /// How many files of the recording are kept; the oldest go.
    pub recording_segments_max: u64,
}

impl PolicyConfig {
    /// The value of `policy.<field>` as it holds.
    pub(super) fn value_of(&self, field: &str) -> Option<Value> {
        let path = |path: &Option<PathBuf>, none: &str| {
            let text = path.as_ref().map_or(none.to_owned(), |path| path.display().to_string());
            Some(Value::from(text))
        };
        let integer = |number: u64| Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
        match field {
            "file" => path(&self.file, ""),
            "recording" => path(&self.recording, OFF),
            "recording_segment_bytes" => integer(self.recording_segment_bytes),
            "recording_segments_max" => integer(self.recording_segments_max),
            _ => None,
        }
    }
}

impl Config {
    /// The names of the key groups by their place in a policy: `default`, for the keys that are in
    /// none, then those of the configuration.
    pub fn policy_groups(&self) -> Vec<String> {
        let groups = self.groups.iter().map(|group| group.name.clone());
        std::iter::once(clients::DEFAULT.to_owned()).chain(groups).collect()
    }

    /// Whether a policy may name this client: it is configured, or a listener bears its name.
    pub fn is_policy_client(&self, name: &str) -> bool {
        let is_name = |client: &String| client == name;
        let is_listener =
            |listener: &ListenerConfig| listener.entrance.client.as_ref().is_some_and(is_name);
        name == clients::DEFAULT
            || self.clients.iter().any(|client| client.name == name)
            || self.all_listeners().iter().any(is_listener)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPolicy {
    file: Option<String>,
    recording: Option<String>,
    recording_segment_bytes: Option<u64>,
    recording_segments_max: Option<u64>,
}

/// Checks `[policy]`; what is wrong goes to the checker. The document itself is read once the
/// network, the groups and the clients are known.
pub(super) fn check(checker: &mut Checker<'_>, raw: RawPolicy) -> Option<PolicyConfig> {
    let file = raw.file.filter(|file| !file.is_empty());
    let file = file.map(|file| checker.resolve("policy.file", &file));
    let recording = raw.recording.filter(|recording| recording != OFF);
    let recording = match recording {
        None => Some(None),
        directory => checker.path("policy.recording", directory).map(Some),
    };
    let bytes = raw.recording_segment_bytes.unwrap_or(SEGMENT_BYTES);
    let bytes = checker.range("policy.recording_segment_bytes", bytes, SEGMENT_BYTES_RANGE);
    let segments = raw.recording_segments_max.unwrap_or(SEGMENTS_MAX);
    let segments = checker.range("policy.recording_segments_max", segments, 2..=1_000_000);
    Some(PolicyConfig {
        file,
        recording: recording?,
        recording_segment_bytes: bytes?,
        recording_segments_max: segments?,
    })
}

const OFF: &str = "off";
/// Some million requests.
const SEGMENT_BYTES: u64 = 64 << 20;
const SEGMENT_BYTES_RANGE: std::ops::RangeInclusive<u64> = 64 << 10..=4 << 30;
const SEGMENTS_MAX: u64 = 16;
