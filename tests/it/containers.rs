//! What `docker/` ships, as far as it can be tried without an engine: its files are read as what
//! they are, the configurations in them are good, and both ways to run the image keep its rules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::support::{Options, World, binary};

fn docker(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker").join(path)
}

/// The documents of a YAML file.
fn yaml(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(docker(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let documents = text.split("\n---\n");
    documents
        .map(|one| serde_saphyr::from_str(one).unwrap_or_else(|e| panic!("{path}: {e}")))
        .collect()
}

fn check_config(file: &Path) -> (bool, String) {
    let output = Command::new(binary()).args(["check-config", "--config"]).arg(file).output();
    let output = output.expect("runs");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_gate_of_compose_has_a_good_configuration() {
    let compose = &yaml("compose.yaml")[0];
    let gate = &compose["services"]["gate"];
    let command: Vec<&str> =
        gate["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let [.., "--config", inside] = command[..] else { panic!("{command:?}") };
    // The file as the host sees it.
    let mounts = gate["volumes"].as_array().unwrap().iter().map(|mount| mount.as_str().unwrap());
    let on_host = mounts.filter_map(|mount| {
        let (host, rest) = mount.split_once(':')?;
        Some(
            docker(host)
                .join(inside.strip_prefix(rest.split(':').next()?)?.trim_start_matches('/')),
        )
    });
    let on_host: Vec<PathBuf> = on_host.collect();
    assert_eq!(on_host.len(), 1, "{inside} is in no volume");
    let (good, said) = check_config(&on_host[0]);
    assert!(good, "{said}");
}

#[test]
fn what_compose_mounts_and_names_is_there() {
    let compose = &yaml("compose.yaml")[0];
    for (name, service) in compose["services"].as_object().unwrap() {
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let source = mount.as_str().unwrap().split(':').next().unwrap();
            let is_there = match source.strip_prefix("./") {
                Some(path) => docker(path).exists(),
                None => compose["volumes"].get(source).is_some(),
            };
            assert!(is_there, "{name} mounts {source}");
        }
        for network in service["networks"].as_array().into_iter().flatten() {
            assert!(
                compose["networks"].get(network.as_str().unwrap()).is_some(),
                "{name}: {network}"
            );
        }
        let ports = service["ports"].as_array().into_iter().flatten();
        for port in ports.map(|port| port.as_str().unwrap()) {
            assert!(port.starts_with("127.0.0.1:"), "{name} opens {port} to everybody");
        }
    }
    for name in ["signer", "declare", "gate"] {
        let service = &compose["services"][name];
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["user"], "10001:10001", "{name}");
    }
    assert!(
        docker("..")
            .join(compose["services"]["gate"]["build"]["dockerfile"].as_str().unwrap())
            .exists()
    );
}

#[test]
fn the_manifests_hold_together() {
    let config = &yaml("kubernetes/configmap.yaml")[0];
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("gate.toml");
    fs::write(&file, config["data"]["gate.toml"].as_str().unwrap()).unwrap();
    let (good, said) = check_config(&file);
    assert!(good, "{said}");

    let claims = yaml("kubernetes/storage.yaml");
    let has_claim = |name: &Value| claims.iter().any(|claim| claim["metadata"]["name"] == *name);
    let workload = &yaml("kubernetes/statefulset.yaml")[0];
    assert_eq!(workload["spec"]["replicas"], 1);
    for workload in [workload, &yaml("kubernetes/init-job.yaml")[0]] {
        let pod = &workload["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["enableServiceLinks"], false, "its variables would look like settings");
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let volumes = pod["volumes"].as_array().unwrap();
        for mount in container["volumeMounts"].as_array().unwrap() {
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            let claim = &volume["persistentVolumeClaim"]["claimName"];
            let is_config = volume["configMap"]["name"] == config["metadata"]["name"];
            assert!(is_config || has_claim(claim), "{volume}");
        }
    }
    for file in ["network-policy.yaml", "service-monitor.yaml"] {
        for document in yaml(&format!("kubernetes/{file}")) {
            assert!(document["kind"].is_string() && document["spec"].is_object(), "{file}");
        }
    }
}

/// The Dockerfile's health check: 0 while the gate runs, not 0 when it does not.
#[test]
fn the_health_check_of_the_image_sees_whether_the_gate_runs() {
    let mut world = World::start(Options::default());
    let log = world.log();
    let line = log.lines().find(|line| line.contains("\"event\":\"serving\"")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    let metrics = line["metrics"].as_str().unwrap();
    let health = ["health", "--metrics", metrics];
    assert!(world.run(&health).status.success());
    world.kill_gate();
    let output = world.run(&health);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let dockerfile = fs::read_to_string(docker("Dockerfile")).unwrap();
    assert!(dockerfile.contains("CMD [\"portcullis\", \"health\"]"), "{dockerfile}");
}
