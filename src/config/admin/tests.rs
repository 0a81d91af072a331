#![allow(clippy::unwrap_used)]

use crate::admin::Role;
use crate::config::tests::{FULL, load, problems, with};

#[test]
fn without_the_section_there_is_no_listener() {
    let config = load(&with("")).unwrap();
    assert_eq!(config.admin.address, None);
    assert!(config.admin.credentials.is_empty());
}

/// The commented credential of the full file, with the comments taken off, is read as it stands.
#[test]
fn the_documented_credential_is_one() {
    let start = FULL.find("# [[admin.credentials]]").unwrap();
    let text: String = FULL[start..]
        .split("\n\n")
        .next()
        .unwrap()
        .lines()
        .map(|line| line.trim_start_matches("# ").split("   ").next().unwrap().to_owned() + "\n")
        .collect();
    let text = text.replace("AA:BB:...", &["AB"; 32].join(":"));
    let tls = "[admin]\naddress = '127.0.0.1:9002'\ntls_certificate_file = 'a.crt'\n\
               tls_key_file = 'a.key'\ntls_client_ca_file = 'ca.crt'\n";
    let admin = load(&with(&format!("{tls}{text}"))).unwrap().admin;
    assert_eq!(admin.credentials.len(), 1, "{text}");
    let alice = &admin.credentials[0];
    assert_eq!((alice.name.as_str(), alice.role), ("alice", Role::Operator));
    assert_eq!(alice.expires_unix_ms, Some(1_798_761_600_000));
    let shown = load(&with(&format!("{tls}{text}"))).unwrap().effective();
    let back: toml::Table = shown.parse().unwrap();
    let credentials = back["admin"]["credentials"].as_array().unwrap();
    assert_eq!(credentials[0]["role"].as_str(), Some("operator"));
}

#[test]
fn what_could_be_called_by_nobody_or_by_everybody_is_refused() {
    let token = "[[admin.credentials]]\nname = 'a'\nrole = 'viewer'\ntoken_file = 't'\n";
    for (text, expected) in [
        ("[admin]\naddress = '127.0.0.1:9002'\n".to_owned(), "nobody could call"),
        (format!("[admin]\naddress = '0.0.0.0:9002'\n{token}"), "from other machines"),
        (format!("{token}{token}"), "another credential is named `a`"),
        ("[[admin.credentials]]\nname = 'a'\nrole = 'viewer'\n".to_owned(), "names nothing"),
        (token.replace("viewer", "root"), "is not one of viewer, operator, approver"),
        (format!("{token}expires = 'tomorrow'\n"), "is not a moment"),
        (format!("{token}certificate_names = ['x']\n"), "needs TLS"),
        ("[admin]\ntls_client_ca_file = 'ca.crt'\n".to_owned(), "needs TLS"),
    ] {
        let found = problems(&with(&text)).join("\n");
        assert!(found.contains(expected), "{text}\n{found}");
    }
}
