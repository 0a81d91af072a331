//! `[response]`: what is bound to a verdict, and when somebody is at work.

use policy::Rule;
use serde::Deserialize;
use toml::Value;

use super::check::Checker;
use super::problem::ProblemKind;
use crate::response::breaker::Thresholds;
use crate::response::playbook::{Action, Binding, Cause, Hours, NotHours, Playbook, Trigger};

#[cfg(test)]
mod tests;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawResponse {
    bindings: Option<Vec<String>>,
    breaker_keys: Option<u64>,
    breaker_window_slots: Option<u64>,
    quarantine_epochs: Option<u64>,
    working_hours: Option<String>,
    working_days: Option<Vec<String>>,
    utc_offset_minutes: Option<i64>,
}

/// The value of `response.<field>` as it holds.
pub(super) fn value_of(playbook: &Playbook, field: &str) -> Option<Value> {
    let integer = |number: u64| Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
    match field {
        "bindings" => {
            let written = playbook.bindings.iter().map(|binding| binding.to_string().into());
            Some(Value::Array(written.collect()))
        }
        "breaker_keys" => integer(playbook.breaker.keys as u64),
        "breaker_window_slots" => integer(playbook.breaker.window_slots),
        "quarantine_epochs" => integer(playbook.quarantine_epochs),
        "working_hours" => Some(playbook.hours.to_string().into()),
        "working_days" => {
            let days = playbook.hours.day_names();
            Some(Value::Array(days.into_iter().map(Value::from).collect()))
        }
        "utc_offset_minutes" => Some(Value::Integer(playbook.hours.utc_offset_minutes)),
        _ => None,
    }
}

/// Checks `[response]`; what is wrong goes to the checker.
pub(super) fn check(checker: &mut Checker<'_>, raw: RawResponse) -> Option<Playbook> {
    let default = Playbook::default();
    let keys = raw.breaker_keys.unwrap_or(default.breaker.keys as u64);
    let keys = checker.range("response.breaker_keys", keys, 0..=1_000);
    let slots = raw.breaker_window_slots.unwrap_or(default.breaker.window_slots);
    let slots = checker.range("response.breaker_window_slots", slots, 1..=1_024);
    let epochs = raw.quarantine_epochs.unwrap_or(default.quarantine_epochs);
    let epochs = checker.range("response.quarantine_epochs", epochs, 1..=2);
    let mut bindings = Vec::new();
    for text in raw.bindings.unwrap_or_default() {
        bindings.extend(checker.valid("response.bindings", binding(&text)));
    }
    let hours = hours(checker, raw.working_hours, raw.working_days, raw.utc_offset_minutes);
    Some(Playbook {
        bindings,
        hours: hours?,
        breaker: Thresholds { keys: usize::try_from(keys?).ok()?, window_slots: slots? },
        quarantine_epochs: epochs?,
    })
}

fn hours(
    checker: &mut Checker<'_>,
    span: Option<String>,
    days: Option<Vec<String>>,
    offset: Option<i64>,
) -> Option<Hours> {
    let default = Hours::default();
    let span = span.unwrap_or_else(|| default.to_string());
    let days = days.unwrap_or_else(|| default.day_names().into_iter().map(str::to_owned).collect());
    let offset = offset.unwrap_or(default.utc_offset_minutes);
    let offset = if (-840..=840).contains(&offset) {
        Some(offset)
    } else {
        let known = "minutes east of Greenwich, from -840 to 840";
        let wrong = ProblemKind::NotOneOf { value: offset.to_string(), known };
        checker.wrong("response.utc_offset_minutes", wrong);
        None
    };
    match Hours::new(&span, &days, offset?) {
        Ok(hours) => Some(hours),
        Err(NotHours::Span(value)) => {
            let known = "always, or a span like 09:00-18:00";
            checker.wrong("response.working_hours", ProblemKind::NotOneOf { value, known });
            None
        }
        Err(NotHours::Day(value)) => {
            let known = "mon, tue, wed, thu, fri, sat, sun";
            checker.wrong("response.working_days", ProblemKind::NotOneOf { value, known });
            None
        }
    }
}

/// `refuse: page quarantine_pair`, `exit_window: page`.
fn binding(text: &str) -> Result<Binding, ProblemKind> {
    let wrong = |value: &str, known| Err(ProblemKind::NotOneOf { value: value.to_owned(), known });
    let Some((cause, actions)) = text.split_once(':') else {
        return wrong(text, "a cause, a colon and its actions, like \"refuse: page\"");
    };
    let name = cause.trim();
    let trigger = Trigger::ALL.into_iter().find(|trigger| trigger.as_str() == name);
    let rule = || Rule::ALL.into_iter().find(|rule| rule.as_str() == name);
    let Some(cause) = trigger.map(Cause::Trigger).or_else(|| rule().map(Cause::Rule)) else {
        return wrong(
            name,
            "alert, hold, refuse, slashable, quarantine, halt_rotation, quarantined, failed, \
             foreign_signature, rejected, or the name of a rule",
        );
    };
    let mut bound = Vec::new();
    for name in actions.split_whitespace() {
        let action = Action::ALL.into_iter().find(|action| action.as_str() == name);
        match action {
            Some(action) if !action.acts() || cause.may_act() => bound.push(action),
            Some(_) => {
                return wrong(text, "observe, notify or page: this names nobody to act against");
            }
            None => {
                return wrong(
                    name,
                    "observe, notify, page, quarantine_pair, fence_source, freeze_key",
                );
            }
        }
    }
    if bound.is_empty() {
        return wrong(text, "a cause, a colon and its actions, like \"refuse: page\"");
    }
    Ok(Binding { cause, actions: bound })
}
