//! A policy in words: what is enforced where, and what changes from one to the next.

use std::fmt::Write;

use policy::{Enrolment, GroupPolicy, Mode, Policy, Rule, WindowKind};

use crate::clock;

/// A table of every rule by key group, then what else holds. `keys` counts those of each group.
pub fn summary(policy: &Policy, keys: &dyn Fn(usize) -> String) -> String {
    let mut text = String::new();
    let width = |group: &GroupPolicy| group.name.len().max("monitor".len());
    let _ = write!(text, "{:25} {:5}", "rule", "");
    for group in &policy.groups {
        let _ = write!(text, "  {:1$}", group.name, width(group));
    }
    for rule in Rule::ALL {
        let _ = write!(text, "\n{:25} {:5}", rule.as_str(), rule.number());
        for group in &policy.groups {
            let mode = group.modes[rule as usize].as_str();
            let _ = write!(text, "  {mode:0$}", width(group));
        }
    }
    text.push('\n');
    for (place, group) in policy.groups.iter().enumerate() {
        let _ = write!(text, "\n{} ({}):", group.name, keys(place));
        let count = |mode| group.modes.iter().filter(|of| **of == mode).count();
        let [enforced, watched] = [Mode::Enforce, Mode::Monitor].map(count);
        let off = count(Mode::Off);
        let _ = write!(text, " {enforced} rules enforced, {watched} watched, {off} off");
        let _ = writeln!(text, "; {}", describe(group));
    }
    for window in &policy.windows {
        let groups = window.groups.iter().map(|group| {
            policy.groups.get(usize::from(group.0)).map_or("?", |group| group.name.as_str())
        });
        let groups = groups.collect::<Vec<_>>().join(", ");
        let keys = match window.keys.len() {
            0 => "all keys".to_owned(),
            count => format!("{count} keys"),
        };
        let [from, until] = [window.from_ms, window.until_ms].map(|ms| clock::iso8601(ms / 1_000));
        let kind = kind_of(&window.kind);
        let _ = write!(
            text,
            "\nwindow {} ({kind}): {from} to {until}, {keys} {of} {groups}",
            window.name,
            of = if groups.is_empty() { "" } else { "of" },
        );
    }
    if !policy.windows.is_empty() {
        text.push('\n');
    }
    text
}

fn kind_of(kind: &WindowKind) -> &'static str {
    match kind {
        WindowKind::Rotation { .. } => "rotation",
        WindowKind::Exits => "exits",
        WindowKind::Deposits => "deposits",
        WindowKind::Maintenance => "maintenance",
    }
}

fn describe(group: &GroupPolicy) -> String {
    let enrolment = match group.enrolment {
        Enrolment::Learn => "sources are learned",
        Enrolment::Strict => "sources have to be enrolled",
    };
    let permissions = match group.permissions.len() {
        0 => "every client may ask for every duty".to_owned(),
        lines => format!("{lines} lines of permissions"),
    };
    format!(
        "{enrolment}, {} enrolled; {permissions}; {} fee recipients, {} withdrawal credentials; \
         {} exits a day by {} clients; lease of {} epochs",
        group.enrolled.len(),
        group.fee_recipients.len(),
        group.withdrawal_credentials.len(),
        group.exits_daily_max,
        group.exit_clients.len(),
        group.lease_epochs
    )
}

/// What the second policy changes, a line each: for the log.
pub fn changes(old: &Policy, new: &Policy) -> Vec<String> {
    let mut changes = Vec::new();
    for (old, new) in old.groups.iter().zip(&new.groups) {
        for rule in Rule::ALL {
            let (before, after) = (old.modes[rule as usize], new.modes[rule as usize]);
            if before != after {
                let (before, after) = (before.as_str(), after.as_str());
                changes.push(format!("{}: {}: {before} -> {after}", new.name, rule.as_str()));
            }
        }
        let same_modes = GroupPolicy { modes: new.modes, ..old.clone() };
        if same_modes != *new {
            let (before, after) = (describe(old), describe(new));
            let detail = if before == after { "values" } else { after.as_str() };
            changes.push(format!("{}: {detail}", new.name));
        }
    }
    if old.groups.len() != new.groups.len() {
        changes.push(format!("groups: {} -> {}", old.groups.len(), new.groups.len()));
    }
    if old.clients != new.clients {
        changes.push("clients: addresses or dormancy".to_owned());
    }
    if old.windows != new.windows {
        changes.push(format!("windows: {} -> {}", old.windows.len(), new.windows.len()));
    }
    let (before, after) = (old.chain.active_validators, new.chain.active_validators);
    if before != after {
        changes.push(format!("active_validators: {before:?} -> {after:?}"));
    }
    if old.thresholds != new.thresholds {
        changes.push(format!("thresholds: {:?} -> {:?}", old.thresholds, new.thresholds));
    }
    changes
}
