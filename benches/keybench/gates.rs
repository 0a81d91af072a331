//! What has to hold, in raw counts: the acceptance of the benchmark.

use crate::score::NEVER;
use crate::statistics::{poisson_upper, quantile, wilson};
use crate::tally::Tally;

/// One gate and what was measured.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) name: &'static str,
    pub(crate) asked: &'static str,
    pub(crate) measured: String,
    pub(crate) is_met: bool,
    /// Whether it is shown and decides nothing: the worlds are too small for it.
    pub(crate) is_only_shown: bool,
}

impl Gate {
    /// Whether the run fails by it.
    pub(crate) const fn is_missed(&self) -> bool {
        !self.is_met && !self.is_only_shown
    }
}

/// Validator-days that count.
pub(crate) fn validator_days(tally: &Tally) -> f64 {
    tally.count("scored_epochs") as f64 / 225.0
}

/// Honest requests that were refused, outside of B6 and of B9 where the prefix is not enrolled.
pub(crate) fn false_refusals(tally: &Tally) -> u64 {
    tally.counts_of("false.").map(|(_, count)| count).sum()
}

/// Every gate. With `at_least` the counts of attacks are gated as well; with fewer than 500 keys a
/// source, the tests that live on other keys of it are shown and decide nothing.
pub(crate) fn all(tally: &Tally, at_least: u64, keys_of_a_source: u32) -> Vec<Gate> {
    let mut gates = Vec::new();
    for (name, values) in [
        ("A13", "A13.released"),
        ("A16", "A16.released"),
        ("A17", "A17.released"),
        ("A18", "A18.released"),
        ("A10", "A10.late"),
    ] {
        let asked =
            if name == "A10" { "no request from the fourth on is let through" } else { "no miss" };
        gates.push(no_miss(tally, name, values, asked, at_least));
    }
    for name in ["A1", "A5", "A6", "A7"] {
        gates.push(share(tally, name, "refused", 1, 0.99, "99 % refused at the first signature"));
    }
    gates.push(share(tally, "A3", "refused", 1, 0.95, "95 % refused at the first signature"));
    for name in ["A2", "A4"] {
        gates.push(share(tally, name, "alert", 1, 0.99, "99 % alert at the first signature"));
        gates.push(strict(tally, name));
    }
    gates.push(share(tally, "A8", "refused", 7, 0.9, "90 % refused by the 7th event"));
    gates.push(share(tally, "A9", "refused", 15, 0.9, "90 % refused by the 15th event"));
    gates.push(median(tally, "A14", "A14.epochs", 15, "alert within 15 epochs, 90 % found"));
    for name in ["A15.100", "A15.300"] {
        let values = if name == "A15.100" { "A15.100.slots" } else { "A15.300.slots" };
        gates.push(median(tally, name, values, 30, "alert within 30 slots, 90 % found"));
    }
    for gate in &mut gates {
        let is_statistical = ["A9", "A14", "A15.100", "A15.300"].contains(&gate.name);
        gate.is_only_shown = is_statistical && keys_of_a_source < 500;
    }
    gates.push(false_alarm(tally));
    gates.push(Gate {
        name: "B, A",
        asked: "everything planned occurred",
        measured: format!("{} absent", tally.count("absent")),
        is_met: tally.count("absent") == 0,
        is_only_shown: false,
    });
    gates.push(Gate {
        name: "state",
        asked: "at most 512 B a key",
        measured: format!(
            "{} B in memory, {} B on disk",
            size_of::<policy::KeyState>(),
            policy::KeyState::BYTES
        ),
        is_met: size_of::<policy::KeyState>().max(policy::KeyState::BYTES) <= 512,
        is_only_shown: false,
    });
    gates
}

fn no_miss(
    tally: &Tally,
    name: &'static str,
    values: &str,
    asked: &'static str,
    at_least: u64,
) -> Gate {
    let values = tally.values(values);
    let misses = values.iter().filter(|released| **released > 0).count();
    let tried = values.len() as u64;
    let measured = format!("{misses} misses in {tried}");
    Gate { name, asked, measured, is_met: misses == 0 && tried >= at_least, is_only_shown: false }
}

/// The share of instances in which something happened by the event of this number.
fn share(
    tally: &Tally,
    name: &'static str,
    what: &str,
    by: u64,
    least: f64,
    asked: &'static str,
) -> Gate {
    let values = tally.values(&format!("{name}.{what}"));
    let hits = values.iter().filter(|event| **event != NEVER && **event <= by).count() as u64;
    let of = values.len() as u64;
    let (low, high) = wilson(hits, of);
    let measured = format!(
        "{hits} of {of} ({:.1} %, 95 %: {:.1} to {:.1})",
        percent(hits, of),
        low * 100.0,
        high * 100.0
    );
    Gate {
        name,
        asked,
        measured,
        is_met: of > 0 && hits as f64 >= least * of as f64,
        is_only_shown: false,
    }
}

pub(crate) fn percent(hits: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { 100.0 * hits as f64 / of as f64 }
}

fn strict(tally: &Tally, name: &'static str) -> Gate {
    let values = tally.values(&format!("{name}.strict"));
    let misses = values.iter().filter(|refused| **refused == 0).count();
    let measured = format!("{misses} misses in {}", values.len());
    let is_met = misses == 0 && !values.is_empty();
    Gate {
        name,
        asked: "no miss where enrolment is strict",
        measured,
        is_met,
        is_only_shown: false,
    }
}

fn median(tally: &Tally, name: &'static str, values: &str, most: u64, asked: &'static str) -> Gate {
    let all = tally.values(values);
    let found = all.iter().filter(|value| **value != NEVER).count() as u64;
    // Not found is later than everything.
    let mut sorted: Vec<u64> =
        all.iter().map(|value| if *value == NEVER { u64::MAX } else { *value }).collect();
    sorted.sort_unstable();
    let middle = quantile(&sorted, 0.5);
    let said = |value: Option<u64>| match value {
        None | Some(u64::MAX) => "never".to_owned(),
        Some(value) => value.to_string(),
    };
    let of = all.len() as u64;
    let measured = format!(
        "{found} of {of} found ({:.1} %), median {}, p90 {}",
        percent(found, of),
        said(middle),
        said(quantile(&sorted, 0.9))
    );
    let is_met = of > 0 && found as f64 >= 0.9 * of as f64 && middle.is_some_and(|it| it <= most);
    Gate { name, asked, measured, is_met, is_only_shown: false }
}

fn false_alarm(tally: &Tally) -> Gate {
    let count = false_refusals(tally);
    let millions = validator_days(tally) / 1e6;
    let rate = count as f64 / millions;
    let measured = format!(
        "{count} in {millions:.3} million validator-days: {rate:.2} a million, one-sided 95 % \
         bound {:.2}",
        poisson_upper(count) / millions
    );
    Gate {
        name: "B1-B18",
        asked: "at most 0.5 false refusals a million",
        measured,
        is_met: rate <= 0.5,
        is_only_shown: false,
    }
}
