#![allow(clippy::unwrap_used)]

use super::super::tests::{MINIMAL, load, problems};
use super::*;

/// The least, with these signers.
fn with(signers: &str) -> String {
    MINIMAL.replace("url = \"http://127.0.0.1:9100\"", "") + signers
}

#[test]
fn one_url_is_a_set_with_one_replica() {
    let simple = load(MINIMAL).unwrap().upstreams;
    let several = "[[upstreams]]\nname = 'default'\nurls = ['http://127.0.0.1:9100']\n";
    let several = load(&with(several)).unwrap().upstreams;
    assert_eq!(simple.sets, several.sets);
    assert_eq!(simple.sets.len(), 1);
}

#[test]
fn a_set_says_for_itself_what_differs_from_upstream() {
    let config = load(&with(
        "timeout_ms = 2000\ntls_ca_file = 'all.pem'\n\
         [[upstreams]]\nname = 'west'\nurls = ['https://a:1', 'https://b:1']\n\
         [[upstreams]]\nname = 'east'\nurls = ['https://c:1']\ntimeout_ms = 900\n\
         connections_per_worker = 3\ntls_pkcs12_file = 'e.p12'\ntls_password_file = 'e.txt'\n",
    ));
    let upstreams = match config {
        Ok(config) => config.upstreams,
        Err(error) => panic!("{error}"),
    };
    let [west, east] = &upstreams.sets[..] else { panic!("two sets") };
    assert_eq!((west.timeout, west.connections_per_worker), (Duration::from_secs(2), 64));
    assert!(west.tls.ca_file.as_ref().unwrap().ends_with("all.pem"));
    assert_eq!((east.timeout, east.connections_per_worker), (Duration::from_millis(900), 3));
    assert_eq!(east.tls.ca_file, None, "its own TLS, not half of another's");
    assert!(matches!(east.tls.identity, Some(IdentityFiles::Pkcs12 { .. })));
    assert_eq!(upstreams.longest_timeout(), Duration::from_secs(2));
}

#[test]
fn what_is_shown_is_read_as_the_same() {
    let config = load(&with(
        "[[upstreams]]\nname = 'west'\nurls = ['https://a:1', 'http://b:1']\n\
         tls_certificate_file = 'a.pem'\ntls_key_file = 'a.key'\n",
    ))
    .unwrap();
    let again = load(&config.effective()).unwrap();
    assert_eq!(again.upstreams, config.upstreams);
}

/// The commented set of the full file, with the comments taken off, is read as it stands.
#[test]
fn the_documented_set_is_one() {
    let full = include_str!("../../../fixtures/config/full.toml");
    let start = full.find("# [[upstreams]]").unwrap();
    let set = full[start..].split("\n\n").next().unwrap().replace("# ", "");
    let set: String =
        set.lines().map(|line| line.split("  ").next().unwrap().to_owned() + "\n").collect();
    let upstreams = load(&with(&set)).unwrap().upstreams;
    assert_eq!((upstreams.sets.len(), upstreams.sets[0].urls.len()), (1, 2), "{set}");
    assert_eq!(upstreams.sets[0].timeout, load(MINIMAL).unwrap().upstreams.sets[0].timeout);
}

#[test]
fn contradictions_are_refused_with_their_place() {
    let set = "[[upstreams]]\nname = 'a'\nurls = ['http://s:1']\n";
    for (signers, wrong) in [
        (format!("url = 'http://s:2'\n{set}"), "upstream.url: set either upstream.url"),
        (set.repeat(2).replacen("s:1", "s:2", 1), "upstreams[1].name: another set"),
        (set.to_owned() + &set.replace("'a'", "'b'"), "upstreams[1].urls: `http://s:1/`"),
        (set.replace("'http://s:1'", "'http://s:1', 'http://s:1/'"), "upstreams[0].urls[1]: "),
        (set.replace("'http://s:1'", ""), "upstreams[0].urls: 0 is not between 1 and 16"),
        (set.replace("'a'", "'a b'"), "upstreams[0].name: `a b` may hold"),
        (set.to_owned() + "timeout_ms = 2501\n", "upstreams[0].timeout_ms: 2501 is more than"),
        (set.to_owned() + "tls_ca_file = 'x'\n", "upstreams[0]: names files for TLS"),
        (
            set.replace("http:", "https:") + "tls_key_file = 'x'\n",
            "upstreams[0]: the gate's certificate needs",
        ),
        (set.replace("http://s:1", "ftp://s"), "upstreams[0].urls[0]: `ftp://s` is not a URL"),
    ] {
        let found = problems(&with(&signers));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(wrong), "{} for {signers}", found[0]);
    }
    assert_eq!(problems(&with("")), ["portcullis.toml: upstream.url: is required, and is not set"]);
}
