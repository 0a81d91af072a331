#![allow(clippy::unwrap_used)]

use clap::Parser;

use super::*;
use crate::config::RunArgs;
use crate::config::tests::{MINIMAL, load_with, problems_of, with};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: RunArgs,
}

fn parse(flags: &[&str]) -> Result<RunArgs, clap::Error> {
    let flags = ["portcullis", "--config", "gate.toml"].iter().chain(flags);
    Command::try_parse_from(flags).map(|command| command.args)
}

/// What the flags set, over a file with these lines.
fn set(lines: &str, flags: &[&str]) -> Vec<String> {
    let (_home, config) = load_with(&with(lines), &[], parse(flags).unwrap());
    let settings = config.unwrap().settings().into_iter();
    let set = settings.filter(|setting| setting.origin == crate::config::Origin::CommandLine);
    set.map(|setting| format!("{} = {}", setting.path, setting.value)).collect()
}

#[test]
fn a_usual_command_line_of_web3signer_sets_our_keys() {
    let flags = [
        "--http-listen-host=0.0.0.0",
        "--http-listen-port=9010",
        "--http-host-allowlist=gate,localhost",
        "--idle-connection-timeout-seconds=900",
        "--metrics-enabled",
        "--metrics-host=::1",
        "--metrics-port",
        "9011",
        "-l",
        "DEBUG",
        "--logging-format=ECS",
        "--network=gnosis",
    ];
    assert_eq!(
        set("", &flags),
        [
            "network.name = \"gnosis\"",
            "listen.address = \"0.0.0.0:9010\"",
            "listen.host_allowlist = [\"gate\", \"localhost\"]",
            "metrics.address = \"[::1]:9011\"",
            "log.format = \"ecs\"",
            "log.level = \"debug\"",
            "limits.idle_connection_timeout_ms = 900000",
        ]
    );
}

#[test]
fn a_host_or_a_port_alone_keeps_the_other() {
    let file = "[listen]\naddress = '10.0.0.1:1'\n[metrics]\naddress = 'off'";
    assert_eq!(set(file, &["--http-listen-port=2"]), ["listen.address = \"10.0.0.1:2\""]);
    assert_eq!(set(file, &["--http-listen-host=::1"]), ["listen.address = \"[::1]:1\""]);
    assert_eq!(set(file, &["--metrics-enabled=true"]), ["metrics.address = \"127.0.0.1:9001\""]);
    assert_eq!(set(file, &["--metrics-port=3"]), ["metrics.address = \"127.0.0.1:3\""]);
    assert_eq!(set("", &["--metrics-enabled=false"]), ["metrics.address = \"off\""]);
    assert_eq!(set("", &["--metrics-enabled"]), [] as [&str; 0]);
}

#[test]
fn the_flags_of_tls_name_the_keys_of_tls() {
    let args = parse(&[
        "--tls-keystore-file=gate.p12",
        "--tls-keystore-password-file=password",
        "--tls-known-clients-file=clients",
        "--tls-allow-any-client=true",
    ]);
    let set = overrides(&args.unwrap().web3signer, &Table::new());
    let set: Vec<_> = set.iter().map(|(key, _, value)| (*key, value.as_str().unwrap())).collect();
    assert_eq!(
        set,
        [
            ("tls.pkcs12_file", "gate.p12"),
            ("tls.pkcs12_password_file", "password"),
            ("tls.known_clients_file", "clients"),
            ("tls.client_auth", "none"),
        ]
    );
}

#[test]
fn what_cannot_be_meant_is_refused_by_the_name_of_its_flag() {
    let problems = |flags: &[&str]| problems_of(load_with(MINIMAL, &[], parse(flags).unwrap()));
    assert_eq!(
        problems(&["--http-listen-host=localhost"]),
        [
            "--http-listen-host: listen.address: `localhost:9000` is not an address such as 127.0.0.1:9000"
        ]
    );
    assert_eq!(
        problems(&["--logging-format=GELF"]),
        ["--logging-format: log.format: `gelf` is not one of plain, json, ecs"]
    );
    assert!(parse(&["--listen=127.0.0.1:1", "--http-listen-port=2"]).is_err());
    assert!(parse(&["--metrics=off", "--metrics-enabled"]).is_err());
}

#[test]
fn the_rest_of_web3signer_s_flags_say_what_to_use() {
    for flag in [
        "--slashing-protection-db-url=jdbc:postgresql://x",
        "--key-store-path=x",
        "--enable-key-manager-api=true",
        "--metrics-host-allowlist=*",
        "--config-file=x",
        "--Xnetwork-fulu-fork-epoch=7",
        "eth2",
    ] {
        let error = parse(&[flag]).unwrap_err();
        let told = crate::cli::in_place_of(&error).unwrap_or_else(|| panic!("{flag}: {error}"));
        assert!(told.starts_with(flag.split('=').next().unwrap()), "{told}");
    }
    assert_eq!(crate::cli::in_place_of(&parse(&["--listn=x"]).unwrap_err()), None);
}
