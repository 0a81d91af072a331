#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::subscriber::with_default;

use super::*;

/// What was logged while the closure ran.
fn logged(format: LogFormat, level: &str, coloured: bool, run: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let config = LogConfig { format, level: level.to_owned() };
    let writer = lines.clone();
    with_default(subscriber(&config, move || writer.clone(), coloured).unwrap(), run);
    let bytes = lines.0.lock().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn json_lines_are_flat_objects() {
    let text = logged(LogFormat::Json, "info", true, || {
        tracing::info!(address = "127.0.0.1:9000", keys = 7, "listening");
        tracing::debug!("not shown");
    });
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["message"], "listening");
    assert_eq!(line["address"], "127.0.0.1:9000");
    assert_eq!(line["keys"], 7);
    assert_eq!(line["level"], "INFO");
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn plain_lines_have_colours_on_a_terminal_alone() {
    let event = || tracing::warn!(slot = 5, "late");
    let plain = logged(LogFormat::Plain, "info", false, event);
    assert!(plain.contains("WARN") && plain.contains("late slot=5"), "{plain}");
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    assert!(logged(LogFormat::Plain, "info", true, event).contains('\u{1b}'));
}

#[test]
fn the_filter_chooses_by_module() {
    let text = logged(LogFormat::Plain, "error,portcullis=debug", false, || {
        tracing::debug!("ours");
        tracing::warn!(target: "hyper", "theirs");
    });
    assert!(text.contains("ours") && !text.contains("theirs"), "{text}");
    let wrong = LogConfig { level: "portcullis=loud".to_owned(), ..LogConfig::default() };
    assert!(subscriber(&wrong, io::stderr, false).is_err());
}

#[test]
fn a_panic_is_an_event_of_the_log() {
    log_panics();
    let text = logged(LogFormat::Json, "info", false, || {
        panic::catch_unwind(|| panic!("the slot was {}", 7)).unwrap_err();
    });
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["message"], "panicked");
    assert_eq!(line["panic"], "the slot was 7");
    assert!(line["location"].as_str().unwrap().contains("logging/tests.rs:"), "{line}");
}

#[test]
fn ecs_lines_have_the_names_of_the_schema() {
    let text = logged(LogFormat::Ecs, "info", true, || {
        tracing::warn!(
            event = "refused",
            code = "double_vote",
            reason = %"the record says \"no\"",
            request_id = "abc",
            trace_id = Some(tracing::field::display("4bf9")),
            span_id = None::<&str>,
            peer = %"[::1]:5052",
            took_us = 7,
            slot = 9,
            joined = true,
            "refused to sign"
        );
        tracing::info!(event = "signed", "signed");
    });
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (name, value) in [
        ("log.level", "warn"),
        ("message", "refused to sign"),
        ("ecs.version", "8.11.0"),
        ("service.name", "portcullis"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("log.logger", "portcullis::logging::tests"),
        ("event.action", "refused"),
        ("event.outcome", "failure"),
        ("error.code", "double_vote"),
        ("error.message", "the record says \"no\""),
        ("http.request.id", "abc"),
        ("trace.id", "4bf9"),
        ("client.address", "[::1]:5052"),
        ("client.ip", "::1"),
    ] {
        assert_eq!(lines[0][name], value, "{name}");
    }
    assert!(lines[0]["@timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(lines[0]["client.port"], 5052);
    assert_eq!(lines[0]["event.duration"], 7_000);
    assert_eq!(lines[0]["portcullis.slot"], 9);
    assert_eq!(lines[0]["portcullis.joined"], true);
    assert_eq!(lines[0].get("span.id"), None);
    assert_eq!(lines[1]["event.outcome"], "success");
}
