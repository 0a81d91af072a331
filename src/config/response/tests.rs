#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn bindings_are_written_as_they_are_read() {
    for text in [
        "refuse: page quarantine_pair",
        "foreign_signature: page freeze_key",
        "exit_window: page",
        "client_lease: fence_source",
        "alert: notify",
    ] {
        assert_eq!(binding(text).unwrap().to_string(), text);
    }
}

#[test]
fn a_wrong_binding_is_told_what_it_could_be() {
    for (text, value) in [
        ("page", "page"),
        ("moon: page", "moon"),
        ("refuse:", "refuse:"),
        ("refuse: shout", "shout"),
        ("failed: freeze_key", "failed: freeze_key"), // names nobody
    ] {
        let Err(ProblemKind::NotOneOf { value: found, .. }) = binding(text) else {
            panic!("{text} is taken");
        };
        assert_eq!(found, value);
    }
}
