//! `[audit]`: where the log of decisions and actions is, and how much of it is kept.

use std::path::Path;
use std::time::Duration;

use hyper::Uri;
use serde::Deserialize;
use toml::Value;

use super::check::Checker;
use super::problem::ProblemKind;
use crate::audit::Settings;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAudit {
    directory: Option<String>,
    key_file: Option<String>,
    anchor_file: Option<String>,
    anchor_url: Option<String>,
    sync_interval_ms: Option<u64>,
    checkpoint_interval_s: Option<u64>,
    checkpoint_records: Option<u64>,
    segment_bytes: Option<u64>,
    segment_age_s: Option<u64>,
    kept_bytes_max: Option<u64>,
    kept_age_days: Option<u64>,
    reserve_bytes: Option<u64>,
    space_low_percent: Option<u64>,
    queue_max: Option<u64>,
    stall_ms: Option<u64>,
}

/// Checks the section; what is wrong goes to the checker. Without a directory of its own the log
/// lies in that of the slashing store. `Some(None)` where there is to be no log.
pub(super) fn check(
    checker: &mut Checker<'_>,
    raw: RawAudit,
    slashing: Option<&Path>,
) -> Option<Option<Settings>> {
    if raw.directory.as_deref() == Some(OFF) {
        return Some(None);
    }
    let directory = match raw.directory {
        None => slashing?.join("audit"),
        directory => checker.path("audit.directory", directory)?,
    };
    let Settings { key_file, .. } = Settings::of(directory.clone());
    let key_file = match raw.key_file {
        None => key_file,
        file => checker.path("audit.key_file", file)?,
    };
    let anchor_file = raw.anchor_file.filter(|file| !file.is_empty());
    let anchor_file = anchor_file.map(|file| checker.resolve("audit.anchor_file", &file));
    let anchor_url = match raw.anchor_url.as_deref().unwrap_or(OFF) {
        OFF => None,
        text => Some(checker.valid("audit.anchor_url", url(text))?),
    };
    let mut number = |field: &str, value: Option<u64>, default: u64, (min, max): (u64, u64)| {
        checker.range(&format!("audit.{field}"), value.unwrap_or(default), min..=max)
    };
    let default = Settings::of(directory.clone());
    let sync_ms = ms(default.sync_interval);
    let sync_ms = number("sync_interval_ms", raw.sync_interval_ms, sync_ms, (1, 1_000));
    let interval_s = default.checkpoint_interval.as_secs();
    let interval_s =
        number("checkpoint_interval_s", raw.checkpoint_interval_s, interval_s, (1, 3_600));
    let records = default.checkpoint_records;
    let records = number("checkpoint_records", raw.checkpoint_records, records, (1, 1_000_000));
    let segment = default.segment_bytes;
    let segment = number("segment_bytes", raw.segment_bytes, segment, (64 << 10, 1 << 30));
    let age_s = default.segment_age.as_secs();
    let age_s = number("segment_age_s", raw.segment_age_s, age_s, (60, 31 * DAY_S));
    let kept = default.kept_bytes_max;
    let kept = number("kept_bytes_max", raw.kept_bytes_max, kept, (1 << 20, 1 << 50));
    let days = default.kept_age_max.as_secs() / DAY_S;
    let days = number("kept_age_days", raw.kept_age_days, days, (1, 36_500));
    let reserve = default.reserve_bytes;
    let reserve = number("reserve_bytes", raw.reserve_bytes, reserve, (8 << 20, 1 << 40));
    let low = default.space_low_percent;
    let low = number("space_low_percent", raw.space_low_percent, low, (0, 100));
    let queue = default.queue_max as u64;
    let queue = number("queue_max", raw.queue_max, queue, (256, 1 << 20));
    let stall_ms = number("stall_ms", raw.stall_ms, ms(default.stall), (2_000, 600_000));
    Some(Some(Settings {
        key_file,
        anchor_file,
        anchor_url,
        sync_interval: Duration::from_millis(sync_ms?),
        checkpoint_interval: Duration::from_secs(interval_s?),
        checkpoint_records: records?,
        segment_bytes: segment?,
        segment_age: Duration::from_secs(age_s?),
        kept_bytes_max: kept?,
        kept_age_max: Duration::from_secs(days? * DAY_S),
        reserve_bytes: reserve?,
        space_low_percent: low?,
        queue_max: usize::try_from(queue?).ok()?,
        stall: Duration::from_millis(stall_ms?),
        directory,
    }))
}

/// The value of `audit.<field>` as it holds.
pub(super) fn value_of(settings: Option<&Settings>, field: &str) -> Option<Value> {
    let Some(it) = settings else { return (field == "directory").then(|| OFF.into()) };
    let path = |path: &Path| Some(Value::from(path.display().to_string()));
    let integer = |number: u64| Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
    match field {
        "directory" => path(&it.directory),
        "key_file" => path(&it.key_file),
        "anchor_file" => path(it.anchor_file.as_deref().unwrap_or(Path::new(""))),
        "anchor_url" => {
            let url = it.anchor_url.as_ref().map(ToString::to_string);
            Some(url.unwrap_or_else(|| OFF.to_owned()).into())
        }
        "sync_interval_ms" => integer(ms(it.sync_interval)),
        "checkpoint_interval_s" => integer(it.checkpoint_interval.as_secs()),
        "checkpoint_records" => integer(it.checkpoint_records),
        "segment_bytes" => integer(it.segment_bytes),
        "segment_age_s" => integer(it.segment_age.as_secs()),
        "kept_bytes_max" => integer(it.kept_bytes_max),
        "kept_age_days" => integer(it.kept_age_max.as_secs() / DAY_S),
        "reserve_bytes" => integer(it.reserve_bytes),
        "space_low_percent" => integer(it.space_low_percent),
        "queue_max" => integer(it.queue_max as u64),
        "stall_ms" => integer(ms(it.stall)),
        _ => None,
    }
}

fn url(text: &str) -> Result<Uri, ProblemKind> {
    let wrong = || ProblemKind::NotAnHttpUrl { value: text.to_owned() };
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    if authority.as_str().contains('@') {
        return Err(ProblemKind::UrlWithCredentials);
    }
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if is_http && !authority.host().is_empty() { Ok(uri) } else { Err(wrong()) }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const OFF: &str = "off";
const DAY_S: u64 = 24 * 3_600;
