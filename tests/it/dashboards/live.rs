//! Every query to a real Prometheus that reads a real gate; `make dashboards` runs it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Query, of_dashboards, of_web3signer, read};
use crate::support::{Options, Process, World, attestation, block, exit, key, randao};

/// How long the queries may take to find data: rates need two scrapes.
const DATA_MAX: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs Prometheus: make dashboards"]
fn every_query_returns_data_from_a_live_gate() {
    let mut world = World::start(Options { keys: 64, ..Options::default() });
    let metrics = metrics_address(&world);
    let prometheus = start_prometheus(&world, metrics);
    let queries: Vec<Query> = of_web3signer().into_iter().chain(of_dashboards()).collect();
    let deadline = Instant::now() + DATA_MAX;
    let mut found: BTreeMap<usize, Found> = BTreeMap::new();
    let mut round = 0;
    while found.values().filter(|found| found.series > 0).count()
        < queries.iter().filter(|query| query.has_data).count()
        && Instant::now() < deadline
    {
        load(&mut world, round);
        round += 1;
        for (index, query) in queries.iter().enumerate() {
            if found.get(&index).is_none_or(|found| found.series == 0) {
                found.insert(index, ask(prometheus.address, &substituted(&query.text, metrics)));
            }
        }
    }
    let mut missing = Vec::new();
    println!("| asked by | query | series | a value |\n|---|---|---|---|");
    for (index, query) in queries.iter().enumerate() {
        let Found { series, value } = &found[&index];
        let text = query.text.replace('|', "\\|");
        println!("| {} | `{text}` | {series} | {value} |", query.asked_by);
        if *series == 0 && query.has_data {
            missing.push(query.text.clone());
        }
    }
    assert!(missing.is_empty(), "no data for\n{}", missing.join("\n"));
    rules_are_healthy(prometheus.address);
}

/// Something of everything: signatures of all kinds, a slashable vote, an unknown key, nonsense.
fn load(world: &mut World, round: u64) {
    let (e, slot) = (world.epoch(), world.slot());
    let mut gate = world.connect();
    // New keys each round, and the old ones again.
    for number in 0..(4 * (round + 1)).min(64) {
        gate.sign(&key(number), &attestation(e - 3, e, 1));
    }
    gate.sign(&key(round % 64), &block(slot, 1));
    gate.sign(&key(1), &attestation(e - 3, e, 9));
    gate.sign(&key(2), &randao(e));
    gate.sign(&key(3), &exit(e));
    gate.sign(&key(999), &randao(e));
    gate.sign(&key(4), &Value::from("nonsense"));
}

fn metrics_address(world: &World) -> SocketAddr {
    let log = world.log();
    let line = log.lines().find(|line| line.contains("\"event\":\"serving\"")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    line["metrics"].as_str().unwrap().parse().unwrap()
}

/// Reads the gate each second as `portcullis`, and as the job that Web3Signer's board insists on.
fn start_prometheus(world: &World, gate: SocketAddr) -> Process {
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
         rule_files: [alerts.yml]\n\
         scrape_configs:\n\
         - {{ job_name: portcullis, static_configs: [{{ targets: [\"{gate}\"] }}] }}\n\
         - {{ job_name: web3signer-node, static_configs: [{{ targets: [\"{gate}\"] }}] }}\n"
    );
    fs::write(world.path("prometheus.yml"), config).unwrap();
    fs::write(world.path("alerts.yml"), read("docker/prometheus/alerts.yml")).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free); // Prometheus does not say which port it took
    let program = std::env::var("PROMETHEUS").unwrap_or_else(|_| "prometheus".to_owned());
    let child = Command::new(program)
        .current_dir(world.dir.path())
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(File::create(world.path("prometheus.log")).unwrap())
        .spawn()
        .expect("prometheus is installed");
    let process = Process { child, address };
    let deadline = Instant::now() + Duration::from_secs(30);
    while get(address, "/-/ready").is_none() {
        assert!(Instant::now() < deadline, "prometheus is not ready");
        std::thread::yield_now();
    }
    process
}

/// The query as Grafana sends it: variables replaced.
fn substituted(query: &str, instance: SocketAddr) -> String {
    let job = if query.contains("$system") { "web3signer-node" } else { "portcullis" };
    let query = match query.strip_prefix("label_values(") {
        Some(rest) => rest.rsplit_once(',').unwrap().0,
        None => query,
    };
    query
        .replace("$__rate_interval", "30s")
        .replace("$__range", "1m")
        .replace("$system", &instance.to_string())
        .replace("$instance", &instance.to_string())
        .replace("$job", job)
}

/// What a query found: how many series have a number, and one of the numbers.
struct Found {
    series: usize,
    value: String,
}

fn ask(prometheus: SocketAddr, query: &str) -> Found {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = get(prometheus, &format!("/api/v1/query?query={encoded}")).unwrap();
    let body: Value = serde_json::from_str(&answer).expect(&answer);
    assert_eq!(body["status"], "success", "{query}: {body}");
    let values = body["data"]["result"].as_array().unwrap().iter();
    let values = values.filter_map(|series| series["value"][1].as_str());
    let values: Vec<&str> = values.filter(|value| *value != "NaN").collect();
    let value = values.iter().find(|value| **value != "0").or(values.first());
    Found { series: values.len(), value: value.map_or("none", |value| value).to_owned() }
}

/// The body of an answer with status 200.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?; // 1.0: not in chunks
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200").map(|_| body.to_owned())
}

fn rules_are_healthy(prometheus: SocketAddr) {
    let body = get(prometheus, "/api/v1/rules").unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let mut rules = 0;
    println!("\n| alert | state | health |\n|---|---|---|");
    for group in body["data"]["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            println!("| {} | {} | {} |", rule["name"], rule["state"], rule["health"]);
            assert_eq!(rule["health"], "ok", "{rule}");
            rules += 1;
        }
    }
    assert!(rules > 10, "prometheus knows only {rules} rules");
}
