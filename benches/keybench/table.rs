//! What a person reads at the end.

use crate::gates::{self, Gate, percent};
use crate::score::NEVER;
use crate::statistics::{quantile, wilson};
use crate::tally::Tally;

/// Cases that are printed.
const CASES_MAX: usize = 40;

const ATTACKS: [(&str, &str); 23] = [
    ("A1", "new environment, owner alive"),
    ("A2", "stolen certificate, new prefix"),
    ("A3", "source known from elsewhere"),
    ("A4", "silent take-over"),
    ("A5", "overlap, undeclared"),
    ("A6", "overlap in a declared window"),
    ("A7", "split brain after a partition"),
    ("A8", "odd share set, persistent"),
    ("A9", "odd share set, one in ten"),
    ("A10", "burst of selection proofs"),
    ("A11", "low and slow RANDAO reveals"),
    ("A12.0", "drift of 0.2 ms an epoch"),
    ("A12.2", "drift of 2 ms an epoch"),
    ("A13", "probes, then use"),
    ("A14", "+300 ms, one key"),
    ("A16", "far future, wrong fork or network (step 3)"),
    ("A17", "exit, deposit, registration"),
    ("A18", "slashable pair (store)"),
    ("A19", "all keys of a source, stolen"),
    ("A20", "waits for a failover"),
    ("A21", "replay from a new source"),
    ("A15.100", "+100 ms, one source"),
    ("A15.300", "+300 ms, one source"),
];

/// Prints everything but the gates.
pub(crate) fn print(tally: &Tally) {
    println!("\n## Attacks (profile `enforce`: context and shares refuse; all else as installed)");
    println!(
        "{:<8} {:<44} {:>5} {:>22} {:>12} {:>22} {:>8} {:>14}",
        "", "", "n", "refused at first", "ever", "alert at first", "strict", "released 50/99"
    );
    for (name, words) in ATTACKS {
        print_attack(tally, name, words);
    }
    println!("\n## Honest life, {:.0} validator-days", gates::validator_days(tally));
    let planted: Vec<String> =
        tally.counts_of("planted.").map(|(name, count)| format!("{name} {count}")).collect();
    println!("planted: {}", planted.join(", "));
    for (what, start) in [
        ("false refusals", "false."),
        ("by", "false_by."),
        ("refused in B6 and in B9 not enrolled (excluded)", "excluded."),
        ("by", "excluded_by."),
        ("victims' own requests refused", "victim."),
        ("victims' own requests in all", "victims."),
        ("rightful new owners refused from the start", "barred."),
        ("alert incidents (cohort and hour)", "alerts."),
        ("alarms", "alarms."),
        ("keys whose usual time moved by 50 ms and more", "drifts."),
        ("top term at the first refusal", "top."),
    ] {
        let said: Vec<String> =
            tally.counts_of(start).map(|(name, count)| format!("{name} {count}")).collect();
        println!("{what}: {}", if said.is_empty() { "none".to_owned() } else { said.join(", ") });
    }
    if !tally.cases.is_empty() {
        println!("\n## Cases");
        for case in tally.cases.iter().take(CASES_MAX) {
            println!("- {case}");
        }
        if let Some(more) = tally.cases.len().checked_sub(CASES_MAX).filter(|more| *more > 0) {
            println!("- and {more} more: --results FOLDER keeps them all");
        }
    }
}

fn print_attack(tally: &Tally, name: &str, words: &str) {
    let values = |what: &str| tally.values(&format!("{name}.{what}"));
    let share = |what: &str| {
        let all = values(what);
        let hits = all.iter().filter(|event| **event == 1).count() as u64;
        let (low, high) = wilson(hits, all.len() as u64);
        let share = percent(hits, all.len() as u64);
        format!("{share:.1} ({:.1}-{:.1}) %", low * 100.0, high * 100.0)
    };
    if name.starts_with("A15") {
        let mut found: Vec<u64> =
            values("slots").iter().copied().filter(|slots| *slots != NEVER).collect();
        found.sort_unstable();
        println!(
            "{name:<8} {words:<44} {:>5} found {}, median {:?} slots, p90 {:?}",
            values("slots").len(),
            found.len(),
            quantile(&found, 0.5),
            quantile(&found, 0.9)
        );
        return;
    }
    let ever = values("refused").iter().filter(|event| **event != NEVER).count();
    let strict = values("strict").iter().filter(|refused| **refused == 1).count();
    let mut released = values("released").to_vec();
    released.sort_unstable();
    let at = |q: f64| quantile(&released, q).unwrap_or(0);
    println!(
        "{name:<8} {words:<44} {:>5} {:>22} {:>12} {:>22} {:>8} {:>14}{}",
        values("refused").len(),
        share("refused"),
        ever,
        share("alert"),
        strict,
        format!("{}/{}", at(0.5), at(0.99)),
        later(tally, name)
    );
}

/// Where it takes more than one event: which one, at the median and the ninetieth of a hundred.
fn later(tally: &Tally, name: &str) -> String {
    let what = match name {
        "A8" | "A9" => "refused",
        "A14" | "A12.0" | "A12.2" => "epochs",
        _ => return String::new(),
    };
    let values = tally.values(&format!("{name}.{what}"));
    let mut found: Vec<u64> = values.iter().copied().filter(|it| *it != NEVER).collect();
    found.sort_unstable();
    let at = |q: f64| quantile(&found, q).map_or_else(|| "-".to_owned(), |it| it.to_string());
    format!("  {what} {} found, {} median, {} p90", found.len(), at(0.5), at(0.9))
}

/// Prints the gates and the summary line; says whether all are met.
pub(crate) fn print_gates(gates: &[Gate], profile: &str, salt: &str, seconds: f64) -> bool {
    println!("\n## Gates");
    for gate in gates {
        let mark = match (gate.is_only_shown, gate.is_met) {
            (true, _) => "shown ",
            (false, true) => "met   ",
            (false, false) => "MISSED",
        };
        println!("{mark} {:<8} {:<48} {}", gate.name, gate.asked, gate.measured);
    }
    let missed: Vec<&str> =
        gates.iter().filter(|gate| gate.is_missed()).map(|gate| gate.name).collect();
    let deciding = gates.iter().filter(|gate| !gate.is_only_shown).count();
    let verdict = if missed.is_empty() {
        format!("all {deciding} gates met")
    } else {
        format!("{} of {deciding} gates MISSED ({})", missed.len(), missed.join(", "))
    };
    println!("\nkeybench {profile}, salt {salt:?}: {verdict} in {seconds:.0} s");
    missed.is_empty()
}
