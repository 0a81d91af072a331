//! The policy as a document: checked before anything runs by it.

use std::fs;

use crate::support::{Options, World, key};

const GROUPS: &str = "[[clients]]\nname = 'vc-1'\naddresses = ['127.0.0.0/8']\n\
     [[groups]]\nname = 'customer-a'\nall = true\n[policy]\nfile = 'policy.toml'\n";

fn options() -> Options {
    Options { config: GROUPS.to_owned(), ..Options::default() }
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_wrong_document_is_told_line_by_line_and_nothing_runs_by_it() {
    let world = World::prepare(options());
    let strange = format!("0x{}", "ab".repeat(48));
    let text = format!(
        "version = 1\n[defaults.modes]\nclient_leese = 'off'\n[[groups]]\nname = 'customer-b'\n\
         [[windows]]\nname = 'w'\nkind = 'exits'\ngroups = ['customer-a']\nkeys = ['{strange}']\n\
         from = 2026-11-21T10:00:00Z\nuntil = 2026-11-21T12:00:00Z\n"
    );
    fs::write(world.path("policy.toml"), text).unwrap();
    let expected = [
        "policy.toml:3:16: defaults.modes.client_leese: no rule has this name; did you mean \
         client_lease?",
        "policy.toml:5:8: groups[0].name: no [[groups]] entry of the configuration is named",
        &format!("policy.toml:10:9: windows[0].keys[0]: the key {strange} is not in the store"),
    ];
    for arguments in [
        &["policy", "check", "policy.toml", "--config", "gate.toml"][..],
        &["check-config", "--config", "gate.toml"],
        &["run", "--config", "gate.toml"],
    ] {
        let output = world.run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", stderr(&output));
        for problem in expected {
            assert!(stderr(&output).contains(problem), "{problem} in {}", stderr(&output));
        }
    }
    let missing = world.run(&["policy", "check", "nowhere.toml"]);
    assert_eq!(missing.status.code(), Some(64), "{}", stderr(&missing));
    assert!(stderr(&missing).contains("cannot read the policy nowhere.toml"));
}

#[test]
fn a_good_document_shows_what_is_enforced_where() {
    let world = World::prepare(options());
    let text = format!(
        "version = 1\n[[groups]]\nname = 'customer-a'\nmodes = {{ context = 'enforce' }}\n\
         [[windows]]\nname = 'w'\nkind = 'exits'\ngroups = ['customer-a']\nkeys = ['{}']\n\
         from = 2026-11-21T10:00:00Z\nuntil = 2026-11-21T12:00:00Z\n",
        key(0)
    );
    fs::write(world.path("policy.toml"), text).unwrap();
    let shown = world.must(&["policy", "check", "policy.toml", "--config", "gate.toml"]);
    let context = shown.lines().find(|line| line.starts_with("context ")).unwrap();
    let columns: Vec<&str> = context.split_whitespace().collect();
    assert_eq!(columns, ["context", "C", "monitor", "enforce"], "{shown}");
    assert!(
        shown.contains("window w (exits): 2026-11-21T10:00:00Z to 2026-11-21T12:00:00Z, 1 key")
    );
    assert!(world.must(&["check-config", "--config", "gate.toml"]).contains(context));
    let alone = world.must(&["policy", "check", "policy.toml"]);
    assert!(alone.contains(context), "{alone}");
}
