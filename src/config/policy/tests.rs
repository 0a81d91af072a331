#![allow(clippy::unwrap_used)]

use std::path::Path;

use policy::{
    ClientIndex, DutyType, Enrolment, GroupIndex, GroupPolicy, Mode, Policy, Rule, Thresholds,
    WindowKind,
};

use super::document::parse;
use super::*;
use crate::judgement;

const EXAMPLE: &str = include_str!("../../../fixtures/policy.toml");
const CLIENTS: [&str; 4] = ["default", "vc-1", "vc-2", "operations"];

fn parsed(text: &str) -> Result<Policy, Vec<String>> {
    let groups = ["default".to_owned(), "customer-a".to_owned(), "b".to_owned()];
    let place = |name: &str| CLIENTS.iter().position(|client| *client == name);
    let known = Known {
        groups: &groups,
        is_client: &|name| place(name).is_some(),
        client_place: &|name| ClientIndex(u16::try_from(place(name).unwrap()).unwrap()),
        key_place: &|key| if key[0] == 0x80 { KeyPlace::At(7) } else { KeyPlace::Unknown },
    };
    let lines = |problems: Vec<crate::config::Problem>| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    parse(Path::new("policy.toml"), text, &known).map_err(lines)
}

fn problems(text: &str) -> Vec<String> {
    parsed(&format!("version = 1\n{text}")).unwrap_err()
}

/// What the example says is what the engine is told.
#[test]
fn the_example_is_read_as_it_stands() {
    let policy = parsed(EXAMPLE).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let [default, a, b] = &policy.groups[..] else { panic!("{:?}", policy.groups) };
    assert_eq!([&default.name, &a.name, &b.name], ["default", "customer-a", "b"]);
    let built_in = GroupPolicy::default();
    assert_eq!(b.modes[Rule::Timing as usize], Mode::Off);
    let mut of_b = b.clone();
    of_b.modes[Rule::Timing as usize] = built_in.modes[Rule::Timing as usize];
    assert_eq!(of_b, GroupPolicy { name: "b".to_owned(), ..built_in });
    assert_eq!(default.active_clients, [ClientIndex(1), ClientIndex(2)]);
    assert_eq!(a.enrolment, Enrolment::Strict);
    let prefix = |text: &str| judgement::prefix(text.parse().unwrap());
    let mut of_vc_2 = vec![prefix("10.1.4.0"), prefix("10.1.5.99"), prefix("2001:db8:7:1::1")];
    of_vc_2.sort_unstable();
    let enrolled = [
        (ClientIndex(1), vec![prefix("10.1.2.77")]),
        (ClientIndex(2), of_vc_2),
        (ClientIndex(3), vec![]),
    ];
    assert_eq!(a.enrolled, enrolled);
    assert_eq!(a.permissions.len(), 5);
    assert_eq!(a.permissions[0].duties.count_ones(), 11);
    assert!(a.permissions[0].allow);
    let denied = DutyType::VoluntaryExit.bit() | DutyType::Deposit.bit();
    assert_eq!((a.permissions[1].duties, a.permissions[1].allow), (denied, false));
    assert_eq!(a.fee_recipients[0][19], 0xfe);
    assert_eq!(a.gas_limit, Some((30_000_000, 60_000_000)));
    assert_eq!(a.withdrawal_credentials[0][0], 1);
    assert_eq!((a.exit_clients.as_slice(), a.exits_daily_max), (&[ClientIndex(3)][..], 4));
    assert_eq!(a.modes[Rule::BlockFeeRecipient as usize], Mode::Monitor);
    assert_eq!(a.modes[Rule::SourceLag as usize], Mode::Off);
    assert_eq!(policy.clients.len(), 4);
    assert_eq!(policy.clients[3].dormant_after_days, Some(30));
    assert_eq!(policy.clients[3].prefixes, [prefix("10.9.0.1")]);
    assert_eq!(policy.thresholds, Thresholds::default());
    let [exits, rotation] = &policy.windows[..] else { panic!("{:?}", policy.windows) };
    assert_eq!((&exits.kind, exits.groups.as_slice()), (&WindowKind::Exits, &[GroupIndex(1)][..]));
    assert_eq!(exits.until_ms - exits.from_ms, 9 * 3_600_000, "18:00 in Paris is 17:00 UTC");
    let pair = WindowKind::Rotation { from: ClientIndex(1), to: ClientIndex(2) };
    assert_eq!((&rotation.kind, rotation.keys.iter().collect()), (&pair, vec![7]));
}

/// The defaults that the example writes out are those that hold when nothing is written.
#[test]
fn an_empty_document_is_the_default() {
    let policy = parsed("version = 1\n").unwrap();
    assert_eq!(policy.groups[0], GroupPolicy::default());
    assert!(policy.windows.is_empty() && policy.clients.is_empty());
    let written: String = EXAMPLE
        .lines()
        .take_while(|line| *line != "[defaults.modes]")
        .fold(String::new(), |text, line| text + line + "\n");
    assert_eq!(parsed(&written).unwrap(), policy);
}

#[test]
fn each_problem_has_its_place() {
    for (text, expected) in [
        ("[defaults", "2:10: "),
        ("colour = 1", "2:1: colour: no such key; here are version, "),
        ("defaults = 3", "2:12: defaults: is not a table"),
        ("[defaults]\nenrolment = 'lax'", "3:13: defaults.enrolment: `lax` is not one of learn"),
        ("[defaults.modes]\ntimings = 'off'", "3:11: defaults.modes.timings: no rule has this nam"),
        ("[defaults.modes]\ntiming = 'on'", "3:10: defaults.modes.timing: `on` is not one of off"),
        ("[[groups]]\nlease_epochs = 3", "2:1: groups[0].name: is required"),
        ("[[groups]]\nname = 'c'", "3:8: groups[0].name: no [[groups]] entry of the config"),
        ("[[groups]]\nname='b'\n[[groups]]\nname='b'", "5:6: groups[1].name: is named here for "),
        ("[defaults]\nlease_epochs = 0", "3:16: defaults.lease_epochs: 0 is not between 1 and"),
        ("[defaults]\nlease_epochs = -1", "3:16: defaults.lease_epochs: is not an integer from"),
        ("[defaults]\nlease_epochs = 1.5", "3:16: defaults.lease_epochs: is not an integer"),
        ("[defaults]\nactive_clients = ['vc-9']", "3:19: defaults.active_clients[0]: no [[cli"),
        (
            "[defaults]\nactive_clients = ['vc-1', 'vc-1']",
            "3:27: defaults.active_clients[1]: is named here for",
        ),
        ("[defaults]\nenrolled = [{}]", "3:13: defaults.enrolled[0].client: is required"),
        (
            "[defaults]\nenrolled = [{client='vc-1',addresses=['10.1.2.3']}]",
            "3:39: defaults.enrolled[0].addresses[0]: 10.1.2.3/32: the gate tells networks apart",
        ),
        (
            "[[clients]]\nname='vc-1'\naddresses=['10.0.0.0/8']",
            "4:12: clients[0].addresses[0]: 10.0.0.0/8: the gate tells networks apart",
        ),
        (
            "[[clients]]\nname='vc-1'\naddresses=['10.0.0.1/24']",
            "4:12: clients[0].addresses[0]: `10.0.0.1/24` has bits behind its prefix",
        ),
        ("[[clients]]\nname='vc-1'\n[[clients]]\nname='vc-1'", "5:6: clients[1].name: is named"),
        ("[defaults]\npermissions=[{client='vc-1'}]", "3:14: defaults.permissions[0]: says neith"),
        (
            "[defaults]\npermissions=[{allow=['EXIT']}]",
            "3:22: defaults.permissions[0].allow[0]: `EXIT` is not one of Web3Signer's types",
        ),
        (
            "[defaults]\npermissions=[{allow=[]}]",
            "3:21: defaults.permissions[0].allow: must not be empty",
        ),
        ("[defaults]\nfee_recipients = ['0x12']", "3:19: defaults.fee_recipients[0]: `0x12` is n"),
        ("[defaults]\ngas_limit={min=2,max=1}", "3:11: defaults.gas_limit: min (2) is above max"),
        ("[defaults]\ngas_limit={min=2}", "3:11: defaults.gas_limit.max: is required"),
        ("[defaults.exits]\ndaily = 1", "3:1: defaults.exits.daily: no such key; here are clien"),
        ("[defaults.budgets]\nblock_lag_slots = 99", "3:19: defaults.budgets.block_lag_slots: 99 "),
        (
            "[defaults.budgets.roots_per_epoch]\nVOTE = 1",
            "3:8: defaults.budgets.roots_per_epoch.VOTE: `VOTE` is not one of Web3Signer's types",
        ),
        ("active_validators = 0", "2:21: active_validators: 0 is not between"),
        ("[thresholds]\nhold = 'high'", "3:8: thresholds.hold: is not a number"),
        ("[thresholds]\nhold = inf", "3:8: thresholds.hold: is not a number"),
        ("[thresholds]\nhold = 9", "2:1: thresholds: alert, hold and quarantine have to rise"),
    ] {
        check(text, expected);
    }
}

#[test]
fn each_problem_of_a_window_has_its_place() {
    let key = "f".repeat(96);
    let window = |more: &str| {
        format!("[[windows]]\nname='w'\nkind='exits'\nfrom=2026-11-21T10:00:00Z\n{more}")
    };
    let until = "until=2026-11-21T11:00:00Z";
    for (more, expected) in [
        ("until=2026-11-21T10:00:00Z\ngroups=['b']".to_owned(), "6:7: windows[0].until: is not af"),
        ("until='tomorrow'\ngroups=['b']".to_owned(), "6:7: windows[0].until: is not a moment wit"),
        ("until=2026-11-21T11:00:00\ngroups=['b']".to_owned(), "6:7: windows[0].until: is not a m"),
        ("groups=['b']".to_owned(), "2:1: windows[0].until: is required"),
        (until.to_owned(), "2:1: windows[0]: names neither groups nor keys"),
        (format!("{until}\ngroups=[]"), "2:1: windows[0]: names neither groups nor keys"),
        (format!("{until}\ngroups=['c']"), "7:9: windows[0].groups[0]: no [[groups]] entry"),
        (format!("{until}\nkeys=['0x{key}']"), "7:7: windows[0].keys[0]: the key 0xffff"),
        (format!("{until}\nkeys=['0x80']"), "7:7: windows[0].keys[0]: `0x80` is not 0x and 96"),
    ] {
        check(&window(&more), expected);
    }
    let of_a_key = format!("{until}\nkeys=['0x{}']", "80".repeat(48));
    let policy = parsed(&format!("version = 1\n{}", window(&of_a_key))).unwrap();
    assert_eq!(policy.windows[0].groups, [0, 1, 2].map(GroupIndex), "in whichever group it is");
    let rotation = format!(
        "[[windows]]\nname='r'\nkind='rotation'\nfrom_client='vc-1'\n\
         from=2026-11-21T10:00:00Z\n{until}\ngroups=['b']"
    );
    check(&rotation, "2:1: windows[0].to_client: is required");
}

#[test]
fn budgets_and_the_size_of_the_network_are_told() {
    let text = "version = 1\nactive_validators = 1000\n\
         [defaults.budgets.roots_per_epoch]\nATTESTATION = 9\n";
    let policy = parsed(text).unwrap();
    assert_eq!(policy.groups[2].budgets[DutyType::Attestation as usize], 9);
    assert_eq!(policy.groups[2].budgets[DutyType::Deposit as usize], 8);
    assert_eq!(policy.chain.active_validators, Some(1_000));
}

#[test]
fn a_document_says_its_version() {
    let other = parsed("version = 2").unwrap_err();
    assert_eq!(other.len(), 1);
    assert!(other[0].starts_with("policy.toml:1:11: version: version 2 is not one"), "{other:?}");
    let none = parsed("").unwrap_err();
    assert!(none[0].starts_with("policy.toml:1:1: version: is required"), "{none:?}");
}

fn check(text: &str, expected: &str) {
    let found = problems(text);
    assert_eq!(found.len(), 1, "{found:#?} for {text}");
    let expected = format!("policy.toml:{expected}");
    assert!(found[0].starts_with(&expected), "{} for {text}", found[0]);
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let found = problems(
        "[thresholds]\nhold = 'x'\n[defaults]\nenrolment = 1\nwhat = 2\n\
         [[groups]]\nname = 'nobody'\nlease_epochs = 'two'\n[[windows]]\nkind = 'party'\n",
    );
    let places: Vec<&str> = found.iter().map(|line| line.split(':').nth(1).unwrap()).collect();
    assert_eq!(places, ["3", "5", "6", "8", "9", "10", "10", "10", "10", "11"], "{found:#?}");
}

#[test]
fn the_summary_names_every_rule_and_the_changes_name_what_differs() {
    let policy = parsed(EXAMPLE).unwrap();
    let text = summary(&policy, &|_| "3 keys".to_owned());
    for rule in Rule::ALL {
        assert!(text.contains(rule.as_str()), "{rule:?} in {text}");
    }
    assert!(text.contains("customer-a (3 keys): "), "{text}");
    assert!(text.contains("2026-11-23T08:00:00Z to 2026-11-23T17:00:00Z"), "{text}");
    assert!(changes(&policy, &policy).is_empty());
    let stricter = EXAMPLE.replace("context = \"monitor\"", "context = \"enforce\"");
    let changes = changes(&policy, &parsed(&stricter).unwrap());
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert_eq!(changes[0], "default: context: monitor -> enforce");
}
