#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::*;

pub(super) const MINIMAL: &str = include_str!("../../fixtures/config/minimal.toml");
pub(super) const FULL: &str = include_str!("../../fixtures/config/full.toml");

/// Loads the text as a file of its own directory, with variables and flags.
pub(super) fn load_with(
    text: &str,
    environment: &[(&str, &str)],
    args: RunArgs,
) -> (tempfile::TempDir, Result<Config, ConfigError>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("portcullis.toml");
    fs::write(&path, text).unwrap();
    let environment =
        environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let loaded = Config::load(&RunArgs { config: path, ..args }, environment);
    (directory, loaded)
}

pub(super) fn load(text: &str) -> Result<Config, ConfigError> {
    load_with(text, &[], RunArgs::default()).1
}

/// What is wrong, a line each, without the file's directory.
pub(super) fn problems_of(loaded: (tempfile::TempDir, Result<Config, ConfigError>)) -> Vec<String> {
    let (directory, loaded) = loaded;
    let root = directory.path().canonicalize().unwrap();
    let Err(ConfigError::Wrong(problems)) = loaded else { panic!("not wrong: {loaded:?}") };
    problems
        .iter()
        .map(|problem| {
            let line = problem.to_string();
            line.replace(&format!("{}/", directory.path().display()), "")
                .replace(&format!("{}/", root.display()), "")
        })
        .collect()
}

pub(super) fn problems(text: &str) -> Vec<String> {
    problems_of(load_with(text, &[], RunArgs::default()))
}

pub(super) fn with(lines: &str) -> String {
    format!("{MINIMAL}\n{lines}\n")
}

#[test]
fn the_full_file_shows_every_key_with_its_default() {
    let (full_home, full) = load_with(FULL, &[], RunArgs::default());
    let (minimal_home, minimal) = load_with(MINIMAL, &[], RunArgs::default());
    let without_origin = |home: &tempfile::TempDir, config: &Config| -> Vec<_> {
        let home = home.path().canonicalize().unwrap().display().to_string();
        let settings = config.settings().into_iter();
        settings.map(|s| (s.path, s.value.replace(&home, ""))).collect()
    };
    let (full, minimal) = (full.unwrap(), minimal.unwrap());
    assert_eq!(without_origin(&full_home, &full), without_origin(&minimal_home, &minimal));
    assert!(full.settings().iter().all(|setting| setting.origin == Origin::File));
    assert_eq!(full.network, minimal.network);
    assert_eq!(full.limits, Limits::default());
}

#[test]
fn every_key_is_documented_in_the_full_file() {
    let document: toml::Table = FULL.parse().unwrap();
    let written: BTreeSet<String> = document
        .iter()
        .flat_map(|(section, fields)| {
            fields.as_table().unwrap().keys().map(move |field| format!("{section}.{field}"))
        })
        .collect();
    // Those of another network cannot stand beside the name of a built-in one, nor those of TLS
    // beside a signer without it; others have no default.
    let commented = |key: &str| {
        let network = ["config", "genesis_time", "genesis_validators_root"];
        key.strip_prefix("network.").is_some_and(|field| network.contains(&field))
            || key.starts_with("tls.")
            || key.starts_with("upstream.tls_")
            || key.starts_with("admin.tls_")
            || key == "listen.client"
    };
    let known: BTreeSet<String> = fields::all()
        .map(|(path, _)| path)
        .filter(|path| {
            let (_, field) = path.split_once('.').unwrap();
            assert!(!commented(path) || FULL.contains(&format!("\n# {field} = ")), "{path}");
            !commented(path)
        })
        .chain(["network.fork_epochs".to_owned()])
        .collect();
    assert_eq!(written, known);
}

/// The commented group of the full file, with the comments taken off, is read as it stands.
#[test]
fn the_documented_group_shows_the_defaults() {
    let start = FULL.find("# [[groups]]").unwrap();
    let group = FULL[start..].split("\n\n").next().unwrap().replace("# ", "").replace(
        "keys = [\"0x8000...\", \"0x8001...\"]",
        &format!("keys = [\"0x{}\"]", "80".repeat(48)),
    );
    let group: String =
        group.lines().map(|line| line.split("  ").next().unwrap().to_owned() + "\n").collect();
    let written = load(&with(&group)).unwrap();
    let bare = with(&format!("[[groups]]\nname = 'leaving'\nkeys = ['0x{}']", "80".repeat(48)));
    assert_eq!(written.groups.iter().next(), load(&bare).unwrap().groups.iter().next());
    assert_eq!(group.lines().count(), 8, "{group}");
}

#[test]
fn unknown_and_mistyped_keys_are_refused_with_their_place() {
    for (lines, place, path) in [
        ("[listen]\nadress = '127.0.0.1:1'", "14:1", "listen.adress"),
        ("[listen]\nworkers = 'two'", "14:11", "listen.workers"),
        ("[listen]\nworkers = -1", "14:11", "listen.workers"),
        ("[limits]\nbody_bytes_max = 1.5", "14:18", "limits.body_bytes_max"),
        (
            "[[groups]]\nname='a'\nall=true\n[[groups]]\nallow_exit = true",
            "17:1",
            "groups[1].allow_exit",
        ),
        ("[lisen]\n", "13:2", "lisen"),
    ] {
        let found = problems(&with(lines));
        assert_eq!(found.len(), 1, "{found:?}");
        let expected = format!("portcullis.toml:{place}: {path}: ");
        assert!(found[0].starts_with(&expected), "{} for {lines}", found[0]);
    }
    let broken = problems(&with("[listen\n"));
    assert!(broken[0].starts_with("portcullis.toml:13:8: "), "{broken:?}");
}

#[test]
fn all_that_is_wrong_is_reported_at_once() {
    let text = "\
[network]
name = 'goerli'
genesis_time = 5
fork_epochs = { fulu = 1, glamsterdam = 2 }

[listen]
address = 'localhost:9000'
path_prefix = 'signer/'
workers = 5000

[upstream]
url = 'http://user:hunter2@signer:9100'
timeout_ms = 9000

[slashing]
directory = 'store'
key_set = 'a b'

[limits]
connections_max = 0

[log]
format = 'xml'
level = 'portcullis=loud'
";
    assert_eq!(
        problems(text),
        [
            "portcullis.toml:20:19: limits.connections_max: must be at least 1",
            "portcullis.toml:4:41: network.fork_epochs.glamsterdam: `glamsterdam` is not one of \
             altair, bellatrix, capella, deneb, electra, fulu, gloas",
            "portcullis.toml:3:16: network.genesis_time: \
             belongs to network.config; a built-in network has its own",
            "portcullis.toml:2:8: network.name: \
             `goerli` is not one of mainnet, sepolia, hoodi, gnosis, chiado",
            "portcullis.toml:7:11: listen.address: \
             `localhost:9000` is not an address such as 127.0.0.1:9000",
            "portcullis.toml:8:15: listen.path_prefix: \
             `signer/` must be empty or begin with / and not end with it",
            "portcullis.toml:9:11: listen.workers: 5000 is not between 0 and 1024",
            "portcullis.toml:12:7: upstream.url: \
             a URL may hold no user or password: secrets are given as file paths only",
            "portcullis.toml:13:14: upstream.timeout_ms: \
             9000 is more than limits.request_budget_ms (2500), and may not be",
            "portcullis.toml: slashing.witness: is required, and is not set",
            "portcullis.toml:17:11: slashing.key_set: \
             `a b` may hold letters, digits, `-`, `_` and `.` only",
            "portcullis.toml:23:10: log.format: `xml` is not one of plain, json, ecs",
            "portcullis.toml:24:9: log.level: `portcullis=loud` is not a log filter \
             such as info or info,portcullis::upstream=debug",
        ]
    );
}

#[test]
fn an_empty_file_says_what_is_required() {
    assert_eq!(
        problems(""),
        [
            "portcullis.toml: network.name: \
             no network: set network.name, or network.config with a path",
            "portcullis.toml: upstream.url: is required, and is not set",
            "portcullis.toml: slashing.directory: is required, and is not set",
            "portcullis.toml: slashing.witness: is required, and is not set",
        ]
    );
}

#[test]
fn upstream_urls_are_plain_http_with_a_host() {
    for (url, wrong) in [
        ("ftp://signer:9100", "is not a URL"),
        ("signer:9100", "is not a URL"),
        ("/signer", "is not a URL"),
        ("http://signer/prefix", "a path or query"),
        ("http://signer/?x=1", "a path or query"),
        ("http://a:b@signer", "secrets are given as file paths only"),
    ] {
        let args = RunArgs { upstream: Some(url.to_owned()), ..RunArgs::default() };
        let found = problems_of(load_with(MINIMAL, &[], args));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("--upstream: upstream.url: "), "{found:?}");
        assert!(found[0].contains(wrong), "{found:?}");
    }
}

#[test]
fn passwords_in_urls_are_not_shown() {
    for (text, shown) in [
        ("http://user:secret@host:1/x", "http://***@host:1/x"),
        ("http://us@er:se@host", "http://***@host"),
        ("`ftp://a:b@c` and http://d:e@f?", "`ftp://***@c` and http://***@f?"),
        ("http://host/path@home", "http://host/path@home"),
        ("no address", "no address"),
    ] {
        assert_eq!(redact::urls(text), shown);
    }
    for url in ["ftp://user:hunter2@signer", "http://user:hunter2@signer"] {
        let args = RunArgs { upstream: Some(url.to_owned()), ..RunArgs::default() };
        let (_home, loaded) = load_with(MINIMAL, &[], args);
        let message = loaded.unwrap_err().to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }
    let mistyped = problems(&with("[listen]\nworkers = 'http://user:hunter2@signer'"));
    assert!(!mistyped[0].contains("hunter2") && mistyped[0].contains("workers"), "{mistyped:?}");
}

#[test]
fn paths_start_at_the_file_s_directory() {
    let (home, config) = load_with(MINIMAL, &[], RunArgs::default());
    let home = home.path().canonicalize().unwrap();
    let slashing = config.unwrap().slashing;
    assert_eq!(slashing.directory, home.join("slashing"));
    assert_eq!(slashing.witness, home.join("witness/portcullis.witness"));

    let args = RunArgs { data_dir: Some("elsewhere".to_owned()), ..RunArgs::default() };
    let directory = load_with(MINIMAL, &[], args).1.unwrap().slashing.directory;
    let working = std::env::current_dir().unwrap().canonicalize().unwrap();
    assert_eq!(directory, working.join("elsewhere"));
}

#[test]
fn the_witness_may_not_lie_inside_the_directory() {
    for (directory, witness) in [
        ("store", "store/witness"),
        ("store", "store"),
        ("store", "other/../store/deep/witness"),
        (".", "witness"),
        ("link", "real/witness"),
        ("real", "link/witness"),
    ] {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("real")).unwrap();
        std::os::unix::fs::symlink(home.path().join("real"), home.path().join("link")).unwrap();
        let text = MINIMAL
            .replace("\"slashing\"", &format!("{directory:?}"))
            .replace("\"witness/portcullis.witness\"", &format!("{witness:?}"));
        let path = home.path().join("portcullis.toml");
        fs::write(&path, text).unwrap();
        let loaded = Config::load(&RunArgs { config: path, ..RunArgs::default() }, []);
        let message = loaded.expect_err(witness).to_string();
        assert!(message.contains("slashing.witness: the witness "), "{message}");
    }
    let beside = MINIMAL.replace("witness/portcullis.witness", "slashing.witness");
    load(&beside).unwrap();
}

#[test]
fn another_network_needs_its_genesis() {
    let custom = MINIMAL.replace("name = \"hoodi\"", "config = 'net/config.yaml'");
    assert_eq!(
        problems(&custom),
        [
            "portcullis.toml: network.genesis_time: is required, and is not set",
            "portcullis.toml: network.genesis_validators_root: is required, and is not set",
        ]
    );
    let root = "0x".to_owned() + &"ab".repeat(32);
    let whole = custom.replace(
        "[upstream]",
        &format!("genesis_time = 7\ngenesis_validators_root = '{root}'\n[upstream]"),
    );
    let (home, config) = load_with(&whole, &[], RunArgs::default());
    assert_eq!(
        config.unwrap().network.source,
        NetworkSource::File {
            path: home.path().canonicalize().unwrap().join("net/config.yaml"),
            genesis_time: 7,
            genesis_validators_root: [0xab; 32],
        }
    );
    let short = problems(&whole.replace("0xabab", "0xab"));
    assert!(short[0].contains("is not 0x and 64 hexadecimal digits"), "{short:?}");
}

/// A name from above must not be mixed with the genesis or the fork epochs of what it replaces.
#[test]
fn a_network_is_replaced_whole() {
    let text = MINIMAL.replace(
        "name = \"hoodi\"",
        "config = 'c.yaml'\ngenesis_time = 7\ngenesis_validators_root = '0x00'\n\
         fork_epochs = { fulu = 9 }",
    );
    let args = RunArgs { network: Some("mainnet".to_owned()), ..RunArgs::default() };
    let network = load_with(&text, &[], args).1.unwrap().network;
    assert_eq!(network.source, NetworkSource::Builtin("mainnet".to_owned()));
    assert!(network.fork_epochs.is_empty());

    let same = MINIMAL.replace("name = \"hoodi\"", "name = 'hoodi'\nfork_epochs = { fulu = 9 }");
    let args = RunArgs { network: Some("hoodi".to_owned()), ..RunArgs::default() };
    assert_eq!(load_with(&same, &[], args).1.unwrap().network.fork_epochs["fulu"], 9);

    let both = [("PORTCULLIS_NETWORK_NAME", "mainnet"), ("PORTCULLIS_NETWORK_CONFIG", "c.yaml")];
    let found = problems_of(load_with(MINIMAL, &both, RunArgs::default()));
    assert!(found.iter().any(|line| line.contains("not both")), "{found:?}");
}

#[test]
fn the_effective_configuration_is_a_configuration() {
    let text = MINIMAL.replace("name = \"hoodi\"", "name = 'hoodi'\nfork_epochs = { fulu = 9 }");
    let text =
        format!("{text}\n[listen]\nhost_allowlist = ['a', 'b']\n[[groups]]\nname='a'\nall=true\n");
    let environment = [("PORTCULLIS_LOG_LEVEL", "warn,portcullis=debug")];
    let config = load_with(&text, &environment, RunArgs::default()).1.unwrap();
    let effective = config.effective();
    for line in [
        "name = \"hoodi\" # from file",
        "fork_epochs = { fulu = 9 } # from file",
        "level = \"warn,portcullis=debug\" # from environment",
        "timeout_ms = 2500 # default",
    ] {
        assert!(effective.lines().any(|found| found == line), "{line} in {effective}");
    }
    let again = load(&effective).unwrap();
    let values = |config: &Config| -> Vec<_> {
        config.settings().into_iter().map(|setting| (setting.path, setting.value)).collect()
    };
    assert_eq!(values(&again), values(&config));
    assert_eq!(again.network, config.network);
    assert_eq!(again.groups.iter().next(), config.groups.iter().next());
}

#[test]
fn a_missing_file_is_named() {
    let args = RunArgs { config: Path::new("/nonexistent/p.toml").into(), ..RunArgs::default() };
    let error = Config::load(&args, []).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration file /nonexistent/p.toml");
}
