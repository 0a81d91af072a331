//! No panel and no alert asks for what is not there: every metric and label in the queries of our
//! dashboards and alerts, and of Web3Signer's own dashboard, is one that `/metrics` exports.
//!
//! `make dashboards` runs `live` too: the same queries to a real Prometheus that reads a real gate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

mod live;

/// A query, and the panel, variable or alert that asks it.
pub(super) struct Query {
    pub(super) asked_by: String,
    pub(super) text: String,
    /// Whether there is data for it in a healthy gate that was asked everything.
    pub(super) has_data: bool,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every query of every dashboard in `docker/grafana/dashboards`.
pub(super) fn of_dashboards() -> Vec<Query> {
    let folder = root().join("docker/grafana/dashboards");
    let mut queries = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let board = fs::read_to_string(&path).unwrap();
        let board: Value = serde_json::from_str(&board).expect("a dashboard is JSON");
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        collect(&board, &name, &mut queries);
    }
    assert!(queries.len() > 30, "the dashboards have only {} queries", queries.len());
    queries
}

/// Every `expr` below `value`, and the queries of variables.
fn collect(value: &Value, asked_by: &str, queries: &mut Vec<Query>) {
    match value {
        Value::Object(object) => {
            let title = object.get("title").or(object.get("name")).and_then(Value::as_str);
            let asked_by = title.unwrap_or(asked_by);
            for (key, value) in object {
                match (key.as_str(), value.as_str()) {
                    ("expr" | "query", Some(text)) if text != "prometheus" => queries.push(Query {
                        asked_by: asked_by.to_owned(),
                        text: text.to_owned(),
                        // An annotation is empty until something happened.
                        has_data: !object.contains_key("titleFormat"),
                    }),
                    (_, _) => collect(value, asked_by, queries),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, asked_by, queries)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The expressions of the alert rules.
fn of_alerts() -> Vec<Query> {
    let rules: Value = serde_saphyr::from_str(&read("docker/prometheus/alerts.yml")).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let query = |rule: &Value| Query {
        asked_by: rule["alert"].as_str().unwrap().to_owned(),
        text: rule["expr"].as_str().unwrap().to_owned(),
        has_data: false, // an alert is empty while all is well
    };
    rules.map(query).collect()
}

/// The queries of Web3Signer's own dashboard.
pub(super) fn of_web3signer() -> Vec<Query> {
    let lines = read("fixtures/web3signer-dashboard.txt");
    let lines = lines.lines().filter(|line| !line.starts_with('#'));
    let query = |line: &str| Query {
        asked_by: "Web3Signer Overview".to_owned(),
        text: line.trim_start_matches("- ").to_owned(),
        has_data: !line.starts_with("- "),
    };
    lines.map(query).collect()
}

/// (name in a query, labels it may be asked for)
fn exported() -> BTreeMap<String, Vec<String>> {
    let mut exported = BTreeMap::new();
    for line in read("fixtures/metrics.md").lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`']));
        let (name, kind, labels) =
            (cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap());
        let labels: Vec<String> =
            labels.split(", ").map(|label| label.trim_matches('`').to_owned()).collect();
        let suffixes: &[&str] = match kind {
            "histogram" => &["_bucket", "_sum", "_count"],
            "summary" => &["", "_sum", "_count"],
            "counter" | "gauge" => &[""],
            other => panic!("{name} is a {other}"),
        };
        for suffix in suffixes {
            exported.insert(format!("{name}{suffix}"), labels.clone());
        }
    }
    exported.insert("up".to_owned(), Vec::new()); // Prometheus' own
    exported
}

/// The metrics of a query, each with the labels that its selector asks for.
fn selectors(query: &str) -> Vec<(String, Vec<String>)> {
    let query = match query.strip_prefix("label_values(") {
        Some(rest) => rest.rsplit_once(',').expect("a metric and a label").0,
        None => query,
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '[' || c == '"') {
        rest = &rest[start..];
        if let Some(after) = rest.strip_prefix('[') {
            rest = after.split_once(']').expect("a range ends").1;
            continue;
        }
        assert!(!rest.starts_with('"'), "a text outside of a selector: {query}");
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after.trim_start();
        match name {
            "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" => {
                rest = rest.split_once(')').expect("its labels end").1;
            }
            "and" | "or" | "unless" | "bool" | "offset" => {}
            _ if ["(", "by ", "without "].iter().any(|next| rest.starts_with(next)) => {} // a function
            _ => {
                let mut labels = Vec::new();
                if let Some(selector) = rest.strip_prefix('{') {
                    let (inner, after) = selector.split_once('}').expect("a selector ends");
                    let names = inner.split(',').filter_map(|one| one.split(['=', '!']).next());
                    labels = names.map(|name| name.trim().to_owned()).collect();
                    rest = after;
                }
                found.push((name.to_owned(), labels));
            }
        }
    }
    found
}

#[test]
fn every_query_asks_for_what_is_exported() {
    let exported = exported();
    let web3signer = of_web3signer().into_iter().filter(|query| query.has_data);
    let mut wrong = Vec::new();
    let mut names = 0;
    for query in of_dashboards().into_iter().chain(of_alerts()).chain(web3signer) {
        for (name, labels) in selectors(&query.text) {
            names += 1;
            let Some(known) = exported.get(&name) else {
                wrong.push(format!("{}: there is no metric {name}", query.asked_by));
                continue;
            };
            for label in labels.iter().filter(|label| !["job", "instance"].contains(&&***label)) {
                if !known.contains(label) {
                    wrong.push(format!("{}: {name} has no label {label}", query.asked_by));
                }
            }
        }
    }
    assert!(names > 60, "only {names} metrics were found in the queries");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn selectors_are_read_as_prometheus_reads_them() {
    let query = r#"histogram_quantile(0.99, sum by (le, type) (rate(a_b{x="1,", y=~"$z"}[5m])))
        > 0.01 * on (job) c unless d"#;
    // The comma inside the text gives an empty piece; no label of ours is empty.
    let found = selectors(&query.replace("1,", "1"));
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a_b", "c", "d"]);
    assert_eq!(found[0].1, ["x", "y"]);
    assert_eq!(selectors("label_values(a{b=~\"$c\"}, d)"), [("a".into(), vec!["b".into()])]);
}

#[test]
fn every_alert_says_how_urgent_it_is_and_what_happened() {
    let rules: Value = serde_saphyr::from_str(&read("docker/prometheus/alerts.yml")).unwrap();
    for group in rules["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            let severity = rule["labels"]["severity"].as_str();
            assert!(matches!(severity, Some("page" | "ticket")), "{rule}");
            assert!(rule["annotations"]["summary"].is_string(), "{rule}");
        }
    }
}

#[test]
fn the_dashboards_fit_into_grafana() {
    for entry in fs::read_dir(root().join("docker/grafana/dashboards")).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let board: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let mut ids = Vec::new();
        let mut taken: Vec<(u64, u64, u64, u64)> = Vec::new();
        for panel in board["panels"].as_array().unwrap() {
            let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
            assert!(x + w <= 24, "{} is too wide", panel["title"]);
            let overlaps = |other: &&(u64, u64, u64, u64)| {
                let (ox, oy, ow, oh) = **other;
                x < ox + ow && ox < x + w && y < oy + oh && oy < y + h
            };
            assert_eq!(taken.iter().find(overlaps), None, "{} overlaps", panel["title"]);
            taken.push((x, y, w, h));
            ids.push(panel["id"].as_u64().unwrap());
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{} has two panels of one id", name_of(&path));
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
