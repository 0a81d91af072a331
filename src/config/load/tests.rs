#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use crate::config::tests::{MINIMAL, load_with, problems_of, with};
use crate::config::{Config, Origin, RunArgs};

fn origin_of(config: &Config, path: &str) -> Origin {
    config.settings().into_iter().find(|setting| setting.path == path).unwrap().origin
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file() {
    let text = with(
        "[listen]\naddress = '127.0.0.1:1'\n[metrics]\naddress = '127.0.0.1:1'\n\
         [log]\nlevel = 'warn'",
    );
    let environment =
        [("PORTCULLIS_LISTEN_ADDRESS", "127.0.0.1:2"), ("PORTCULLIS_METRICS_ADDRESS", "off")];
    let args = RunArgs { listen: Some("127.0.0.1:3".to_owned()), ..RunArgs::default() };
    let config = load_with(&text, &environment, args).1.unwrap();
    assert_eq!(config.listen.address.port(), 3);
    assert_eq!(config.metrics.address, None);
    assert_eq!(config.log.level, "warn");
    let origins = ["listen.address", "metrics.address", "log.level", "log.format"];
    assert_eq!(
        origins.map(|path| origin_of(&config, path)),
        [Origin::CommandLine, Origin::Environment, Origin::File, Origin::Default]
    );
}

#[test]
fn every_flag_sets_its_key() {
    let args = RunArgs {
        config: PathBuf::new(),
        listen: Some("[::1]:3".to_owned()),
        metrics: Some("off".to_owned()),
        upstream: Some("http://signer:4".to_owned()),
        network: Some("gnosis".to_owned()),
        data_dir: Some("/var/lib/store".to_owned()),
        log_format: Some("json".to_owned()),
        log_level: Some("debug".to_owned()),
        web3signer: Default::default(),
    };
    let config = load_with(MINIMAL, &[], args).1.unwrap();
    let set = config.settings().into_iter().filter(|s| s.origin == Origin::CommandLine);
    assert_eq!(
        set.map(|setting| format!("{} = {}", setting.path, setting.value)).collect::<Vec<_>>(),
        [
            "network.name = \"gnosis\"",
            "listen.address = \"[::1]:3\"",
            "metrics.address = \"off\"",
            "upstream.url = \"http://signer:4\"",
            "slashing.directory = \"/var/lib/store\"",
            "log.format = \"json\"",
            "log.level = \"debug\"",
        ]
    );
}

#[test]
fn the_environment_sets_values_of_every_type() {
    let environment = [
        ("PORTCULLIS_LISTEN_HOST_ALLOWLIST", "signer.internal, localhost"),
        ("PORTCULLIS_LIMITS_BODY_BYTES_MAX", "4096"),
        ("PORTCULLIS_WEB3SIGNER_COMPAT_MISMATCH_500", "true"),
        ("PORTCULLIS_SLASHING_KEY_SET", "fleet-7"),
        ("HOME", "/root"),
    ];
    let config = load_with(MINIMAL, &environment, RunArgs::default()).1.unwrap();
    assert_eq!(config.listen.host_allowlist, ["signer.internal", "localhost"]);
    assert_eq!(config.limits.body_bytes_max, 4096);
    assert!(config.web3signer.compat_mismatch_500);
    assert_eq!(config.slashing.key_set, "fleet-7");
}

#[test]
fn wrong_variables_are_refused_by_name_and_all_at_once() {
    let environment = [
        ("PORTCULLIS_UPSTREAM_TIMEOUT", "5"),
        ("PORTCULLIS_LISTEN_ADRESS", "127.0.0.1:2"),
        ("PORTCULLIS_LISTEN_WORKERS", "+2"),
        ("PORTCULLIS_NETWORK_FORK_EPOCHS", "{}"),
        ("PORTCULLIS_UPSTREAM_URL", "https://signer:9100/path"),
    ];
    assert_eq!(
        problems_of(load_with(MINIMAL, &environment, RunArgs::default())),
        [
            "PORTCULLIS_UPSTREAM_TIMEOUT: no such setting; \
             did you mean PORTCULLIS_UPSTREAM_TIMEOUT_MS?",
            "PORTCULLIS_LISTEN_ADRESS: no such setting; did you mean PORTCULLIS_LISTEN_ADDRESS?",
            "PORTCULLIS_LISTEN_WORKERS: listen.workers: `+2` is not an integer from 0 on",
            "PORTCULLIS_NETWORK_FORK_EPOCHS: no such setting",
            "PORTCULLIS_UPSTREAM_URL: upstream.url: \
             a path or query in the upstream's URL is not supported: give http://host:port",
        ]
    );
}

/// Kubernetes sets variables for every service of the namespace. A service named `portcullis` must
/// not keep the pod from starting.
#[test]
fn service_links_of_kubernetes_are_passed_over() {
    let environment = [
        ("PORTCULLIS_SERVICE_HOST", "10.0.0.7"),
        ("PORTCULLIS_SERVICE_PORT", "9000"),
        ("PORTCULLIS_SERVICE_PORT_HTTP", "9000"),
        ("PORTCULLIS_PORT", "tcp://10.0.0.7:9000"),
        ("PORTCULLIS_PORT_9000_TCP", "tcp://10.0.0.7:9000"),
        ("PORTCULLIS_METRICS_PORT_9001_TCP_ADDR", "10.0.0.7"),
        ("PORTCULLIS_METRICS_PORT", "tcp://10.0.0.7:9001"),
    ];
    load_with(MINIMAL, &environment, RunArgs::default()).1.unwrap();
    let typo = [("PORTCULLIS_METRICS_PORT", "9001")];
    assert_eq!(problems_of(load_with(MINIMAL, &typo, RunArgs::default())).len(), 1);
}
