//! What the score promises against what was so: the precision of what people are called for, and
//! the reliability of `confidence` and of `expected_false_per_million`. Figures, not gates: attacks
//! are as frequent here as somebody planted them.

use std::collections::{HashMap, HashSet};

use policy::{Decision, Term};

use crate::driver::Ruling;
use crate::gates;
use crate::tally::Tally;

/// The levels of the score: from which log-odds on, and what is called so.
const LEVELS: [(f32, &str); 5] = [
    (f32::NEG_INFINITY, "0.00-0.05"),
    (-3.0, "0.05-0.50"),
    (0.0, "0.50-0.90"),
    (2.2, "0.90-0.99"),
    (4.6, "0.99-1.00"),
];
const HOUR_MS: u64 = 3_600_000;
const MILLIONTHS: f64 = 1e6;

/// What a request was, as far as this is about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Honest,
    /// A harmful one; whether it is the first of an attack from another source than the key's own.
    Harmful {
        is_first_of_source: bool,
    },
    /// An honest one for a key that is under attack.
    Victim,
}

/// The pages of one world, rolled up, and the changes of source that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Calibration {
    /// By cohort and hour: whether there was an attack in it.
    pages: HashMap<(u16, u64), bool>,
    /// Honest changes count once for a key and day.
    changes: HashSet<(u32, u64)>,
}

impl Calibration {
    /// Takes a request in scored time; `pages` says whether people are called for it.
    pub(crate) fn note(
        &mut self,
        tally: &mut Tally,
        (ruling, cohort): (&Ruling<'_>, u16),
        truth: Truth,
        pages: bool,
    ) {
        let at_ms = ruling.request.at_ms;
        if pages {
            let is_true = self.pages.entry((cohort, at_ms / HOUR_MS)).or_default();
            *is_true |= truth != Truth::Honest;
        }
        if ruling.decision.terms.0[Term::Novelty as usize] == 0.0 {
            return; // the key's own source
        }
        let is_counted = match truth {
            Truth::Honest => self.changes.insert((ruling.request.key, at_ms / (24 * HOUR_MS))),
            Truth::Harmful { is_first_of_source } => is_first_of_source,
            Truth::Victim => false,
        };
        if is_counted {
            change(tally, ruling.decision, truth == Truth::Honest);
        }
    }

    pub(crate) fn finish(&self, tally: &mut Tally) {
        for is_true in self.pages.values() {
            tally.add(if *is_true { "pages.attack" } else { "pages.honest" }, 1);
        }
    }
}

/// One change of source: what was said of it, and what it was.
fn change(tally: &mut Tally, decision: &Decision, is_honest: bool) {
    let odds = decision.terms.log_odds();
    let level = LEVELS.iter().rposition(|(from, _)| odds >= *from).unwrap_or(0);
    let confidence = f64::from(decision.terms.confidence());
    let error = confidence - if is_honest { 0.0 } else { 1.0 };
    let of = if is_honest { "honest" } else { "attack" };
    tally.add(&format!("calibration.{level}.{of}"), 1);
    tally.add(&format!("calibration.{level}.said"), (confidence * MILLIONTHS) as u64);
    tally.add("calibration.brier", (error * error * MILLIONTHS) as u64);
    if let (true, Some(promised)) = (is_honest, decision.expected_false_per_million) {
        tally.add(&format!("calibration.{level}.promises"), 1);
        tally.add(&format!("calibration.{level}.promised"), f64::from(promised) as u64);
    }
}

/// Prints what came of it.
pub(crate) fn print(tally: &Tally) {
    let days = gates::validator_days(tally);
    let (attack, honest) = (tally.count("pages.attack"), tally.count("pages.honest"));
    println!("\n## Pages and promises");
    println!(
        "pages (cohort and hour, without a key's own timing): {attack} of an attack, {honest} of \
         honest life; precision {:.1} %; {:.2} honest ones a day at 100,000 keys",
        gates::percent(attack, attack + honest),
        honest as f64 / days * 1e5
    );
    let count = |level: usize, what: &str| tally.count(&format!("calibration.{level}.{what}"));
    let all: u64 = (0..LEVELS.len()).map(|it| count(it, "honest") + count(it, "attack")).sum();
    println!(
        "changes of source: {all}, Brier score {:.4}",
        tally.count("calibration.brier") as f64 / MILLIONTHS / all.max(1) as f64
    );
    println!(
        "{:<12} {:>9} {:>9} {:>12} {:>12} {:>22} {:>22}",
        "confidence",
        "honest",
        "attacks",
        "mean said",
        "were attacks",
        "promised a million",
        "seen"
    );
    for (level, (_, words)) in LEVELS.iter().enumerate() {
        let (honest, attacks) = (count(level, "honest"), count(level, "attack"));
        let changes = honest + attacks;
        let mean = count(level, "said") as f64 / MILLIONTHS / changes.max(1) as f64;
        let promises = count(level, "promises");
        let promised = if promises == 0 {
            "-".to_owned()
        } else {
            format!("{:.2}", count(level, "promised") as f64 / promises as f64)
        };
        let reached: u64 = (level..LEVELS.len()).map(|it| count(it, "honest")).sum();
        println!(
            "{words:<12} {honest:>9} {attacks:>9} {mean:>12.4} {:>10.1} % {promised:>22} {:>22.2}",
            gates::percent(attacks, changes),
            reached as f64 / days * 1e6
        );
    }
}
