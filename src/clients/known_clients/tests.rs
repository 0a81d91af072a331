#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn fingerprint(byte: u8) -> Fingerprint {
    Fingerprint([byte; 32])
}

#[test]
fn web3signer_s_file_is_read() {
    let (a, b) = (fingerprint(0xab), fingerprint(0x0c));
    let text = format!("# ours\nteku-1 {a}\r\n\n  lighthouse\t{}  \nteku-1 {a}\n", {
        b.to_string().to_lowercase()
    });
    let known = KnownClients::parse(&text).unwrap();
    assert_eq!((known.name(&a), known.name(&b)), (Some("teku-1"), Some("lighthouse")));
    assert_eq!((known.name(&fingerprint(1)), known.len()), (None, 2));
    assert!(KnownClients::parse("").unwrap().is_empty());
}

#[test]
fn a_wrong_line_is_named() {
    let a = fingerprint(0xab);
    for (text, error) in [
        ("x y z".to_owned(), "line 1: expected a common name and a fingerprint, found 3 words"),
        (format!("a {a}\n\n{a}\n"), "line 3: expected a common name and a fingerprint, found 1"),
        ("#\na AA:BB".to_owned(), "line 2: `AA:BB` is not a SHA-256 fingerprint"),
        (format!("a {a}\nb {a}\n"), "has the name a already"),
    ] {
        let found = KnownClients::parse(&text).unwrap_err().to_string();
        assert!(found.contains(error), "{found}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}", lines in prop::collection::vec("[a-z :#]{0,99}", 0..9)) {
        let _ = KnownClients::parse(&text);
        if let Err(KnownClientsError { line, .. }) = KnownClients::parse(&lines.join("\n")) {
            prop_assert!((1..=lines.len()).contains(&line));
        }
    }
}
