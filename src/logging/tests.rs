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
