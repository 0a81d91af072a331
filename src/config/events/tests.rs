#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::config::tests::{FULL, with};
use crate::config::{Config, ConfigError, RunArgs};

fn load_in(dir: &Path, text: &str) -> Result<Config, ConfigError> {
    let config = dir.join("portcullis.toml");
    std::fs::write(&config, text).unwrap();
    Config::load(&RunArgs { config, ..RunArgs::default() }, [])
}

/// A folder with a file for each secret.
fn secrets() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["pagerduty.key", "webhook.secret", "webhook.token", "switch.url"] {
        std::fs::write(dir.path().join(name), "s3cret\n").unwrap();
    }
    std::fs::write(dir.path().join("slack.url"), "https://hooks.slack.test/T/B/X\n").unwrap();
    std::fs::write(dir.path().join("empty"), "\n").unwrap();
    dir
}

fn problems(dir: &Path, text: &str) -> String {
    load_in(dir, &with(text)).expect_err("it is wrong").to_string()
}

#[test]
fn sinks_have_defaults_by_their_kind() {
    let dir = secrets();
    let text = "[events]\nsource = 'gate-1'\nheartbeat_url_file = 'switch.url'\n\
         [[events.sinks]]\nname = 'oncall'\nkind = 'pagerduty'\n\
         routing_key_file = 'pagerduty.key'\n\
         [[events.sinks]]\nname = 'chat'\nkind = 'slack'\nurl_file = 'slack.url'\n\
         fallback = true\n\
         [[events.sinks]]\nname = 'siem'\nkind = 'webhook'\nurl = 'http://siem.test/in'\n\
         secret_file = 'webhook.secret'\ntoken_file = 'webhook.token'\n\
         [[events.sinks]]\nname = 'log'\nkind = 'log'\n";
    let config = load_in(dir.path(), &with(text)).unwrap();
    let of = |index: usize| {
        let sink: &SinkSettings = &config.events.sinks[index];
        (sink.pages, sink.fallback, sink.severity)
    };
    assert_eq!(of(0), (true, false, None));
    assert_eq!(of(1), (true, true, Some(Severity::Warning)));
    assert_eq!(of(2), (false, false, Some(Severity::Info)));
    assert_eq!(of(3), (false, false, None));
    let url = SinkUrl::Given(PAGERDUTY_URL.parse().unwrap());
    assert_eq!(config.events.sinks[0].url, url);
    let shown = config.effective();
    assert!(!shown.contains("s3cret") && !shown.contains("hooks.slack.test"), "{shown}");
    let again = load_in(dir.path(), &shown).expect("what is shown can be read");
    assert_eq!(again.events, config.events);
}

/// The commented sink of the full file has every key there is.
#[test]
fn the_documented_keys_are_those_that_are_read() {
    let start = FULL.find("# [[events.sinks]]").unwrap();
    let lines = FULL[start..].split("\n\n").next().unwrap().lines();
    let documented: Vec<&str> = lines
        .filter_map(|line| Some(line.strip_prefix("# ")?.split_once(" = ")?.0))
        .filter(|key| !key.contains(' '))
        .collect();
    let dir = secrets();
    let text = "[[events.sinks]]\nnonsense = 1\n";
    let message = problems(dir.path(), text);
    let known = message.split("expected one of").nth(1).unwrap_or_default();
    for key in &documented {
        assert!(known.contains(&format!("`{key}`")), "{key} is not read: {message}");
    }
    assert_eq!(known.matches('`').count() / 2, documented.len(), "{known} against {documented:?}");
}

#[test]
fn what_cannot_work_is_refused_with_its_place() {
    let dir = secrets();
    let sink =
        |lines: &str| problems(dir.path(), &format!("[[events.sinks]]\nname = 'a'\n{lines}"));
    for (lines, problem) in [
        ("kind = 'pager'", "`pager` is not one of pagerduty, slack, webhook, log"),
        ("kind = 'pagerduty'", "events.sinks[0].routing_key_file: is required"),
        (
            "kind = 'pagerduty'\nrouting_key_file = 'nowhere'",
            "events.sinks[0].routing_key_file: cannot read",
        ),
        ("kind = 'pagerduty'\nrouting_key_file = 'empty'", "holds no password"),
        (
            "kind = 'pagerduty'\nrouting_key_file = 'pagerduty.key'\nseverity = 'info'",
            "PagerDuty gets what pages, and that alone",
        ),
        (
            "kind = 'pagerduty'\nrouting_key_file = 'pagerduty.key'\npages = false",
            "PagerDuty and fallbacks page",
        ),
        ("kind = 'slack'\nurl = 'https://hooks.slack.test/T'", "put it into a file"),
        ("kind = 'slack'", "events.sinks[0].url_file: is required"),
        ("kind = 'webhook'", "events.sinks[0].url: is required"),
        ("kind = 'webhook'\nurl = 'ftp://a'", "is not a URL"),
        ("kind = 'webhook'\nurl = 'http://u:p@a/'", "may hold no user or password"),
        (
            "kind = 'webhook'\nurl = 'http://a/'\nrouting_key_file = 'pagerduty.key'",
            "a sink of kind webhook has no use for this",
        ),
        ("kind = 'log'\nurl = 'http://a/'", "kind log has neither"),
        ("kind = 'log'\nfallback = true", "nothing to fall back from"),
        ("kind = 'log'\ntimeout_ms = 5", "5 is not between 100 and 60000"),
    ] {
        let message = sink(lines);
        assert!(message.contains(problem), "{lines}: {message}");
    }
    let twice = "[[events.sinks]]\nname = 'a'\nkind = 'log'\n".repeat(2);
    assert!(problems(dir.path(), &twice).contains("another sink is named `a`"));
    let nine: String =
        (0..9).map(|i| format!("[[events.sinks]]\nname = 'a{i}'\nkind = 'log'\n")).collect();
    assert!(problems(dir.path(), &nine).contains("9 is not between 0 and 8"));
    let method = "[events]\nheartbeat_method = 'PUT'\n";
    assert!(problems(dir.path(), method).contains("`PUT` is not one of GET, POST"));
}
