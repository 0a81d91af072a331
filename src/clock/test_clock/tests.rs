use super::*;
use crate::eth::Root;

#[test]
fn real_networks_are_refused_under_any_name() {
    let yaml = include_str!("../../../fixtures/networks/test.yaml");
    let ours = Network::from_config_yaml(yaml).expect("a network");
    assert_eq!(known(&ours), None);
    for name in BUILTIN_NAMES {
        let real = Network::builtin(name).expect("built in");
        let message = permit(&real).expect_err(name).to_string();
        assert!(message.contains(name) && message.contains("test-clock"), "{message}");
        let root = real.genesis().expect("its genesis").validators_root;
        assert_eq!(known(&ours.clone().with_genesis(7, root)), Some(name), "by its genesis");
    }
    let root = Root([0x7e; 32]);
    let mainnet = Network::builtin("mainnet").expect("built in").with_genesis(7, root);
    assert_eq!(known(&mainnet), Some("mainnet"), "by its name");
}
