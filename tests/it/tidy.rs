//! The rules of the house that neither Cargo nor clippy holds. A rule is a line here.

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

struct Source {
    path: String, // from the root of the project, with slashes
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs")
            || self.path.contains("/tests/")
            || self.path.starts_with("tests/")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(under: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in under {
        collect(&root().join(folder), &mut found);
    }
    assert!(!found.is_empty(), "no sources under {under:?}");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).expect("inside the project");
            let name = name.to_string_lossy().replace('\\', "/");
            found.push(Source { path: name, text: fs::read_to_string(&path).expect("UTF-8") });
        }
    }
}

fn report(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}\n  {}", broken.join("\n  "));
}

/// Every line of `sources` for which `is_broken` says so, as `path:line: text`.
fn lines_where(sources: &[Source], is_broken: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            if is_broken(source, line) {
                broken.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    broken
}

/// The line without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

#[test]
fn members_depend_on_nothing_they_must_not_know() {
    let never = [
        ("policy", &["tokio", "hyper", "rocksdb", "slashing-db", "portcullis", "tracing"][..]),
        ("slashing-db", &["tokio", "hyper", "policy", "portcullis", "tracing"][..]),
    ];
    for (member, names) in never {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).expect(member);
        let dependencies = manifest.split_once("[dependencies]").map_or("", |(_, rest)| rest);
        for name in names {
            let named = dependencies
                .lines()
                .any(|line| line.split(['=', '.']).next().is_some_and(|key| key.trim() == *name));
            assert!(!named, "{member} must not depend on {name}");
        }
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the root's manifest");
    assert!(
        !manifest.lines().any(|line| line.starts_with("rocksdb")),
        "only slashing-db names rocksdb"
    );
}

/// (files below, what they may use of the crate)
const ARROWS: [(&str, &[&str]); 6] = [
    ("src/eth", &["eth"]),
    ("src/web3signer", &["eth", "web3signer"]),
    ("src/limits", &["limits"]),
    ("src/metrics", &["metrics", "limits"]),
    ("src/bls", &["bls"]),
    ("src/clock", &["clock", "eth"]),
];

#[test]
fn modules_use_only_what_they_may() {
    let sources = sources(&["src"]);
    for (under, allowed) in ARROWS {
        let belongs = |path: &str| {
            path.strip_prefix(under).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        let broken = lines_where(&sources, |source, line| {
            belongs(&source.path)
                && code(line).split("crate::").skip(1).any(|used| {
                    let module: String =
                        used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    !allowed.contains(&module.as_str())
                })
        });
        report(&format!("{under} may use {allowed:?} of the crate, and nothing else"), &broken);
    }
}

#[test]
fn the_two_servers_do_not_know_each_other() {
    let broken = lines_where(&sources(&["src"]), |source, line| {
        source.path.starts_with("src/server") && code(line).contains("crate::admin")
            || source.path.starts_with("src/admin") && code(line).contains("crate::server")
    });
    report("server and admin never use each other", &broken);
}

#[test]
fn one_table_holds_the_statuses_of_the_signing_side() {
    let signing = ["src/server", "src/sign", "src/web3signer", "src/upstream"];
    let broken = lines_where(&sources(&["src"]), |source, line| {
        signing.iter().any(|part| source.path.starts_with(part))
            && !source.path.starts_with("src/server/respond")
            && !source.is_test()
            && code(line).contains("StatusCode")
    });
    report("StatusCode for the signing side appears only in src/server/respond.rs", &broken);
}

#[test]
fn time_is_read_in_one_place() {
    let broken =
        lines_where(&sources(&["src", "policy/src", "slashing-db/src"]), |source, line| {
            source.path != "src/clock.rs"
                && !source.is_test()
                && ["SystemTime::now", "std::time::Instant::now", "clock_gettime"]
                    .iter()
                    .any(|call| code(line).contains(call))
        });
    report("the wall clock is read only in src/clock.rs", &broken);
}

#[test]
fn no_wildcard_over_duties_or_forks() {
    let exhaustive =
        ["Duty::", "DutyKind::", "ForkName::", "NotSigned::", "Rejection::", "Verdict::"];
    let mut broken = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !source.is_test()) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if !line.trim_start().starts_with("_ =>") {
                continue;
            }
            let indent = line.len() - line.trim_start().len();
            let arms = lines[..number].iter().rev().take_while(|above| {
                above.trim().is_empty() || above.len() - above.trim_start().len() >= indent
            });
            // Only patterns count: what stands before the arrow, at the arm's own indentation.
            let named = arms
                .filter(|above| above.len() - above.trim_start().len() == indent)
                .filter_map(|above| above.split("=>").next())
                .any(|pattern| exhaustive.iter().any(|name| pattern.contains(name)));
            if named {
                broken.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    report(
        "a new duty, fork or verdict must not compile until every match has an arm for it",
        &broken,
    );
}

#[test]
fn files_functions_and_lines_are_short() {
    let sources = sources(&["src", "policy/src", "slashing-db/src", "tests/it"]);
    let mut broken = Vec::new();
    for source in &sources {
        let lines: Vec<&str> = source.text.lines().collect();
        if lines.len() > LINES_MAX {
            broken.push(format!(
                "{} has {} lines, more than {LINES_MAX}",
                source.path,
                lines.len()
            ));
        }
        for (number, line) in lines.iter().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX && !line.contains("http") && !line.contains('"') {
                broken.push(format!("{}:{} has {columns} columns", source.path, number + 1));
            }
            if let Some(length) = function_length(&lines[number..])
                && length > FUNCTION_LINES_MAX
            {
                broken.push(format!(
                    "{}:{} is a function of {length} lines",
                    source.path,
                    number + 1
                ));
            }
        }
    }
    report("files, functions and lines have a length that one can read", &broken);
}

/// The lines of the function that starts at the first of `lines`, by rustfmt's indentation.
fn function_length(lines: &[&str]) -> Option<usize> {
    let first = lines.first()?;
    let declaration = first.trim_start();
    let is_function = [
        "fn ",
        "pub fn ",
        "pub(super) fn ",
        "pub(crate) fn ",
        "async fn ",
        "pub async fn ",
        "const fn ",
        "pub const fn ",
    ]
    .iter()
    .any(|start| declaration.starts_with(start));
    if !is_function || first.trim_end().ends_with(';') {
        return None;
    }
    let closing = format!("{}}}", " ".repeat(first.len() - declaration.len()));
    lines.iter().position(|line| *line == closing).map(|end| end + 1)
}

#[test]
fn files_are_named_by_what_they_are() {
    let banned = ["manager", "util", "utils", "helper", "helpers", "common", "misc", "mod"];
    let broken: Vec<String> = sources(&["src", "policy", "slashing-db", "tests/it"])
        .into_iter()
        .filter(|source| {
            Path::new(&source.path)
                .file_stem()
                .is_some_and(|stem| banned.contains(&stem.to_string_lossy().as_ref()))
        })
        .map(|source| source.path)
        .collect();
    report("never manager, util, helper, common, nor mod.rs", &broken);
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let broken = lines_where(&sources(&["src", "policy", "slashing-db", "tests"]), |_, line| {
        marks.iter().any(|mark| line.contains(mark))
    });
    report("no stub is called done", &broken);
}
