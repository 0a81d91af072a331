//! Why policy decided as it did: the terms add up, so that the reader can compute it again.

use policy::{Decision, Finding, Level, Policy, Term};
use serde_json::{Value, json};

/// The explanation of a decision, as one line of JSON.
pub(super) fn explain(decision: &Decision, policy: &Policy) -> String {
    explained(decision, policy).to_string()
}

/// The explanation of a decision.
pub(super) fn explained(decision: &Decision, policy: &Policy) -> Value {
    let terms = Term::ALL.iter().zip(decision.terms.0).filter(|(_, nats)| *nats != 0.0);
    let terms: Vec<Value> =
        terms.map(|(term, nats)| json!({ "name": term.as_str(), "value_nats": nats })).collect();
    let window = decision.window.and_then(|window| policy.window_by_id(window));
    json!({
        "confidence": decision.terms.confidence(),
        "level": level(decision.level),
        "rule_ids": decision.findings.iter().map(|it| it.rule.number()).collect::<Vec<_>>(),
        "findings": decision.findings.iter().map(finding).collect::<Vec<_>>(),
        "log_odds": decision.terms.log_odds(),
        "terms": terms,
        "ln_s": { "timing": decision.ln_s[0], "shares": decision.ln_s[1] },
        "window_id": window.map(|window| window.name.as_str()),
        "expected_false_per_M_validator_days": decision.expected_false_per_million,
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "rule": finding.rule.as_str(),
        "mode": finding.mode.as_str(),
        "level": level(finding.level),
        "what": finding.evidence.what,
        "observed": finding.evidence.observed,
        "expected": finding.evidence.expected,
    })
}

/// The name of a level: one of [`LEVELS`](crate::metrics::LEVELS).
pub(super) fn level(level: Level) -> &'static str {
    crate::metrics::LEVELS[level as usize]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use policy::{Evidence, Mode, Rule, Terms, Verdict};

    use super::*;

    #[test]
    fn the_terms_of_an_explanation_add_up() {
        let mut terms = Terms::default();
        terms.0[Term::Prior as usize] = -16.0;
        terms.0[Term::Novelty as usize] = 13.0;
        terms.0[Term::Liveness as usize] = 9.0;
        let evidence = Evidence {
            what: "client",
            observed: "second".to_owned(),
            expected: "first".to_owned(),
        };
        let finding = Finding {
            rule: Rule::ClientLease,
            mode: Mode::Enforce,
            level: Level::Refuse,
            evidence,
        };
        let decision = Decision {
            verdict: Verdict::Refuse,
            level: Level::Quarantine,
            terms,
            findings: vec![finding],
            ..Decision::default()
        };
        let said: Value = serde_json::from_str(&explain(&decision, &Policy::default())).unwrap();
        assert_eq!(said["level"], "quarantine");
        assert_eq!(said["rule_ids"], json!(["D23"]));
        assert_eq!(said["findings"][0]["observed"], "second");
        let terms = said["terms"].as_array().unwrap();
        let sum: f64 = terms.iter().map(|term| term["value_nats"].as_f64().unwrap()).sum();
        assert_eq!(sum, 6.0);
        assert_eq!(said["log_odds"], 6.0);
        let confidence = said["confidence"].as_f64().unwrap();
        assert!((confidence - 1.0 / (1.0 + (-sum).exp())).abs() < 1e-6);
        assert_eq!(said["window_id"], Value::Null);
    }
}
