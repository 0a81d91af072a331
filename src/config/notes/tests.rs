#![allow(clippy::unwrap_used)]

use super::super::tests::{load, with};

fn notes(lines: &str) -> Vec<String> {
    load(&with(lines)).unwrap().notes().iter().map(ToString::to_string).collect()
}

#[test]
fn who_cannot_be_told_from_whom_is_said() {
    let key = |byte: &str| format!("0x{}", byte.repeat(48));
    let groups = format!(
        "[[groups]]\nname = 'a'\nkeys = ['{}']\n[[groups]]\nname = 'b'\nkeys = ['{}']\n",
        key("80"),
        key("81")
    );
    for (lines, expected) in [
        ("", &["the clients of all keys cannot be told apart: none is configured"][..]),
        (&groups, &["the clients of groups `a`, `b` and of all other keys cannot"]),
        ("[listen]\nclient = 'vouch'", &[]),
        (
            "[listen]\naddress = '0.0.0.0:9000'\nclient = 'vouch'",
            &["whoever reaches listener `listen`"],
        ),
        ("[[clients]]\nname = 'a'", &["nothing names client `a`"]),
        (
            "[[clients]]\nname = 'a'\naddresses = ['10.0.0.1']",
            &["client `a` is known by its address"],
        ),
        (
            "[listen]\naddress = '0.0.0.0:9000'\n\
             [[clients]]\nname = 'a'\nuser = 'a'\npassword_file = 'p'",
            &["passwords of [[clients]] cross the network unencrypted on listener `listen`"],
        ),
        (
            "[listen]\naddress = '0.0.0.0:9000'\n\
             [tls]\ncertificate = 'c'\nkey = 'k'\n\
             [[clients]]\nname = 'a'\nuser = 'a'\npassword_file = 'p'",
            &[],
        ),
        ("[tls]\ncertificate = 'c'\nkey = 'k'\nknown_clients_file = 'x'", &[]),
    ] {
        let found = notes(lines);
        assert_eq!(found.len(), expected.len(), "{found:?} for {lines}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found} for {lines}");
        }
    }
}
