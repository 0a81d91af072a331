#![allow(clippy::unwrap_used)]

use super::super::tests::{FULL, load, problems, with};
use crate::clients::ClientAuth;

const CERTIFICATE: &str = "[tls]\ncertificate = 'gate.crt'\nkey = 'gate.key'\n";

#[test]
fn what_is_wrong_about_clients_is_said() {
    let fingerprint = vec!["AB"; 32].join(":");
    for (lines, wrong) in [
        ("[[clients]]\n", "clients[0].name: is required"),
        ("[[clients]]\nname = 'a b'", "clients[0].name: `a b` may hold letters"),
        (
            "[[clients]]\nname='a'\n[[clients]]\nname='a'",
            "clients[1].name: another client is named",
        ),
        ("[[clients]]\nname='a'\nuser='u'", "clients[0].password_file: is required"),
        ("[[clients]]\nname='a'\npassword_file='p'", "clients[0].user: is required"),
        ("[[clients]]\nname='a'\nuser='u:v'\npassword_file='p'", "`u:v` is not a user's name"),
        (
            "[[clients]]\nname='a'\naddresses=['10.0.0.1/8']",
            "clients[0].addresses[0]: `10.0.0.1/8`",
        ),
        ("[[clients]]\nname='a'\ncertificate_fingerprints=['AB']", "is not a SHA-256 fingerprint"),
        ("[[clients]]\nname='a'\ncertificate_names=['']", "clients[0].certificate_names: must not"),
        (
            &format!(
                "[[clients]]\nname='a'\ncertificate_fingerprints=['{fingerprint}']\n\
                 [[clients]]\nname='b'\ncertificate_fingerprints=['{fingerprint}']"
            ),
            "names client `a` already",
        ),
        (
            "[[clients]]\nname='a'\naddresses=['10.0.0.1']\n\
             [[clients]]\nname='b'\naddresses=['10.0.0.1/32']",
            "clients[1].addresses: 10.0.0.1/32 names client `a` already",
        ),
        ("[listen]\nclient='b'\n[[clients]]\nname='a'", "listen.client: no [[clients]] entry is"),
        ("[listen]\ntls = true", "listen.tls: there is no [tls]"),
        ("[tls]\ncertificate='c'", "tls.key: is required"),
        ("[tls]\nclient_auth='none'", "tls: give certificate and key, or pkcs12_file"),
        ("[tls]\ncertificate='c'\nkey='k'\npkcs12_file='p'", "tls: give certificate and key"),
        ("[tls]\ncertificate='c'\nkey='k'\nclient_auth='yes'", "tls.client_auth: `yes` is not one"),
        (
            &format!("{CERTIFICATE}client_auth='required'"),
            "tls.client_auth: no client's certificate",
        ),
        ("[[listeners]]\nname='a'", "listeners[0].address: is required"),
        ("[[listeners]]\nname='listen'\naddress='[::1]:1'", "another listener is named `listen`"),
        ("[[listeners]]\nname='a'\naddress='127.0.0.1:9000'", "another listener is at"),
        ("[[listeners]]\nname='a'\naddress='[::1]:1'\ntls=true", "listeners[0].tls: there is no"),
        (
            "[[listeners]]\nname='a'\naddress='[::1]:1'\nclient_auth='none'",
            "listeners[0].client_auth: there is no [tls]",
        ),
        ("[listen]\nproxy_protocol_from=['x']", "listen.proxy_protocol_from[0]: `x` is not"),
    ] {
        let found = problems(&with(lines));
        assert_eq!(found.len(), 1, "{found:?} for {lines}");
        assert!(found[0].contains(wrong), "{} for {lines}", found[0]);
    }
}

#[test]
fn who_lists_clients_asks_for_certificates() {
    for (lines, auth) in [
        (String::new(), None),
        (CERTIFICATE.to_owned(), Some(ClientAuth::None)),
        (format!("{CERTIFICATE}known_clients_file='k'"), Some(ClientAuth::Required)),
        (format!("{CERTIFICATE}client_ca_file='c'"), Some(ClientAuth::Required)),
        (
            format!("{CERTIFICATE}client_ca_file='c'\nclient_auth='optional'"),
            Some(ClientAuth::Optional),
        ),
        (format!("[listen]\ntls = false\n{CERTIFICATE}"), None),
    ] {
        let config = load(&with(&lines)).unwrap();
        assert_eq!(config.listen.entrance.tls, auth, "{lines}");
    }
}

/// The commented entries of the full file, with the comments taken off, are read as they stand.
#[test]
fn the_documented_entries_are_read() {
    let entry = |start: &str| -> String {
        let text = &FULL[FULL.find(&format!("# {start}")).unwrap()..];
        let text = text.split("\n\n").next().unwrap();
        text.lines().map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect()
    };
    let tls = format!("{CERTIFICATE}client_ca_file = 'ca.crt'\n");
    let text = format!("{}{}{tls}", entry("[[listeners]]"), entry("[[clients]]"))
        .replace("client = \"nimbus-1\"", "client = \"teku-1\"");
    let config = load(&with(&text)).unwrap();
    assert_eq!(config.listeners[0].entrance.tls, Some(ClientAuth::None));
    assert_eq!(config.clients[0].user.as_ref().unwrap().name, "teku");
    let shown = config.effective();
    // What is shown is what was written.
    let again: toml::Table = shown.parse().unwrap();
    assert_eq!(again["clients"][0]["addresses"][0].as_str(), Some("10.0.1.0/24"));
    assert_eq!(again["listeners"][0]["client_auth"].as_str(), Some("none"));
    assert_eq!(again["tls"]["client_auth"].as_str(), Some("required"));
}

/// The real client's run names its client by the listener alone, and its policy could not say so.
#[test]
fn a_policy_may_name_whom_a_listener_names() {
    let config = load(&with("[listen]\nclient = 'b'")).unwrap();
    assert!(config.is_policy_client("b") && config.is_policy_client("default"));
    assert!(!config.is_policy_client("c"));
}
