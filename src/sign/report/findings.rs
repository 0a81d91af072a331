//! What is said of a judgement: figures of every finding, and lines for those that refuse nothing.

use policy::{Decision, GroupIndex};

use serde_json::json;

use super::super::explanation::{explain, explained, level};
use super::{Account, DutyKind, Gate, NotSigned, POLICY_FINDING, Refusal, Signed};
use crate::response::Normal;

/// Counts what step 6 had to say, and writes what did not become a refusal.
pub(super) fn report(account: &Account, gate: &Gate, result: &Result<Signed, NotSigned>) {
    let metrics = &gate.metrics.policy;
    if let Err(NotSigned::Refused(Refusal::Policy(refusal))) = result {
        metrics.level(refusal.decision.level as usize).inc();
        count(gate, refusal.group, &refusal.decision);
        return;
    }
    let Some((group, decision)) = &account.judged else { return };
    metrics.level(decision.level as usize).inc();
    if decision.findings.is_empty() {
        return;
    }
    count(gate, *group, decision);
    gate.metrics.events.with_label_values(&[POLICY_FINDING]).inc();
    log(account, gate, decision);
}

/// The explanation of a refusal by policy.
pub(super) fn explanation(gate: &Gate, not_signed: &NotSigned) -> Option<String> {
    match not_signed {
        NotSigned::Refused(Refusal::Policy(refusal)) => {
            Some(explain(&refusal.decision, &gate.judgement.policy()))
        }
        NotSigned::Refused(_) | NotSigned::Rejected(_) | NotSigned::Failed(_) => None,
    }
}

/// Why something was not signed and what would have been normal, for the audit log.
pub(super) fn told(gate: &Gate, not_signed: &NotSigned, normal: Option<&Normal>) -> String {
    let mut told = match not_signed {
        NotSigned::Refused(Refusal::Policy(refusal)) => {
            explained(&refusal.decision, &gate.judgement.policy())
        }
        NotSigned::Refused(_) | NotSigned::Rejected(_) | NotSigned::Failed(_) => {
            json!({ "reason": not_signed.to_string() })
        }
    };
    told["normal"] = json!(normal);
    told.to_string()
}

fn count(gate: &Gate, group: GroupIndex, decision: &Decision) {
    let policy = gate.judgement.policy();
    let group = policy.groups.get(usize::from(group.0)).map_or("", |group| group.name.as_str());
    for finding in &decision.findings {
        let labels = [finding.rule.as_str(), finding.mode.as_str(), group];
        gate.metrics.policy.findings.with_label_values(&labels).inc();
    }
}

fn log(account: &Account, gate: &Gate, decision: &Decision) {
    let Some(first) = decision.findings.first() else { return };
    let Some(unsaid) = gate.log_limit.may_say(first.rule.as_str(), gate.clock.now()) else {
        return;
    };
    tracing::info!(
        event = POLICY_FINDING,
        request_id = %account.trace.request_id,
        rule = first.rule.as_str(),
        mode = first.mode.as_str(),
        level = level(decision.level),
        what = first.evidence.what,
        observed = first.evidence.observed,
        expected = first.evidence.expected,
        kind = account.kind.map(DutyKind::as_str),
        pubkey = account.identifier,
        slot = account.times.slot,
        client = account.client.name(),
        peer = %account.peer,
        explanation = explain(decision, &gate.judgement.policy()),
        unsaid,
        "policy has something to say of a request that passed"
    );
}
