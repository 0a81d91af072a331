//! What has happened to others, played against the gate: the corpus of `fixtures/incidents/`.
//!
//! Each story is told as the requests that a gate in the path would have seen. All before the first
//! bad one are signed; that one is refused, by the rule that the file names, in the installation
//! that its operator would have had.

mod body;
mod engine;
mod fixture;
mod honest;
#[path = "keybench.rs"]
mod keybench;
mod stage;

use std::collections::BTreeSet;
use std::path::Path;

use fixture::{Case, Driver, Expect, Incident};
use stage::Stage;

fn play(file: &str) {
    let incident = Incident::load(&Path::new("fixtures/incidents").join(file));
    for case in &incident.cases {
        let told = format!("{} {}: {}", incident.id, incident.title, case.name);
        match case.driver {
            Driver::Http => play_over_http(&told, case),
            Driver::Engine => engine::play(&told, case),
        }
    }
}

fn play_over_http(told: &str, case: &Case) {
    let mut stage = Stage::set(case);
    for (number, row) in case.sequence().iter().enumerate() {
        stage.turn(row.t_ms);
        if let Some(action) = row.action {
            stage.act(action, row);
            continue;
        }
        let (status, code, body) = stage.ask(row);
        let found = format!("{told}, request {number}, {row}: {status} {body}");
        match row.expect {
            Expect::Sign => assert_eq!(status, 200, "{found}"),
            Expect::Refuse => {
                assert!((400..500).contains(&status), "{found}");
                assert!(row.rule.as_ref().is_none_or(|rule| *rule == code), "{found}");
            }
            Expect::Fail => {
                assert_eq!((status, Some(code)), (500, row.rule.clone()), "{found}");
            }
            Expect::Any => {}
        }
    }
    stage.close_case(told, case);
    if case.pages_nobody {
        let log = stage.world.log();
        let bad: Vec<_> = stage::entries(&log).filter(|entry| entry["level"] == "ERROR").collect();
        assert!(bad.is_empty(), "{told}: {bad:?}");
    }
}

#[test]
fn the_corpus_is_whole_and_says_what_a_gate_cannot_see() {
    let all = Incident::all();
    let ids: Vec<&str> = all.iter().map(|incident| incident.id.as_str()).collect();
    let expected: Vec<String> = (1..=25).map(|number| format!("C{number:02}")).collect();
    assert_eq!(ids, expected);
    for incident in &all {
        let about = |what: &str| format!("{} {what}", incident.id);
        assert!(!incident.title.is_empty() && !incident.date.is_empty(), "{}", about("title"));
        assert!(!incident.facts.is_empty() && !incident.model.is_empty(), "{}", about("facts"));
        assert!(!incident.sources.is_empty(), "{}", about("sources"));
        for case in &incident.cases {
            let rows = case.sequence();
            let first = rows.iter().find(|row| row.expect != Expect::Sign);
            let rule = first.and_then(|row| row.rule.clone());
            assert_eq!(rule, case.first_refusal, "{}: {}", incident.id, case.name);
        }
    }
    let blind = all.iter().filter(|incident| incident.cannot_see.is_some());
    let blind: BTreeSet<&str> = blind.map(|incident| incident.id.as_str()).collect();
    assert!(blind.contains("C07") && blind.contains("C12"), "{blind:?}");
}

macro_rules! incidents {
    ($($(#[$attribute:meta])* $name:ident $file:literal,)*) => {
        $(#[test] $(#[$attribute])* fn $name() { play($file); })*

        #[test]
        fn every_incident_is_played() {
            let played = BTreeSet::from([$($file.to_owned(),)*]);
            let folder = std::fs::read_dir("fixtures/incidents").unwrap();
            let there = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            assert_eq!(played, there.collect());
        }
    };
}

incidents! {
    c01_rocklogic "C01-rocklogic.json",
    c02_staked "C02-staked.json",
    c03_no_volume "C03-no-volume.json",
    c04_clock_skew "C04-clock-skew.json",
    c05_first_slashing "C05-first-slashing.json",
    c06_launchnodes "C06-launchnodes.json",
    c07_ssv_ankr "C07-ssv-ankr.json",
    c08_bitcoin_suisse "C08-bitcoin-suisse.json",
    c09_slow_trickle "C09-slow-trickle.json",
    c10_copied_data "C10-copied-data.json",
    c11_mev_equivocation "C11-mev-equivocation.json",
    c12_manifold "C12-manifold.json",
    c13_registration_hijack "C13-registration-hijack.json",
    c14_deposit_front_running "C14-deposit-front-running.json",
    c15_kiln_swissborg "C15-kiln-swissborg.json",
    c16_infstones "C16-infstones.json",
    c17_dormant_oracle "C17-dormant-oracle.json",
    c18_ronin "C18-ronin.json",
    c19_harmony "C19-harmony.json",
    c20_multichain "C20-multichain.json",
    c21_stakehound "C21-stakehound.json",
    c22_displayed_not_signed "C22-displayed-not-signed.json",
    c23_holesky "C23-holesky.json",
    c24_blockscape "C24-blockscape.json",
    c25_upstream_faults "C25-upstream-faults.json",
}
