//! Slack's incoming webhooks: a text for notifications, and blocks for those who look.
//!
//! Limits by its documentation: 3,000 characters in the text of a section, 2,000 in one of its
//! fields, 150 in a header; the text of the message is best kept below 4,000. `&`, `<` and `>` are
//! written as entities, or what an event tells could name people and links.

use serde_json::{Value, json};

use super::{Event, Paging, cut, iso8601};

#[cfg(test)]
mod tests;

pub(super) const TEXT_CHARS_MAX: usize = 4_000;
pub(super) const HEADER_CHARS_MAX: usize = 150;
pub(super) const SECTION_CHARS_MAX: usize = 3_000;
pub(super) const FIELD_CHARS_MAX: usize = 2_000;

/// The body of the request.
pub(super) fn body(event: &Event, source: &str) -> Vec<u8> {
    let state = match event.paging {
        Paging::None => event.severity.as_str(),
        Paging::Trigger => "page",
        Paging::Acknowledge => "acknowledged",
        Paging::Resolve => "resolved",
    };
    let text = format!("[{state}] {}", event.summary);
    let field = |name: &str, value: &str| {
        let value = if value.is_empty() { "-" } else { value };
        json!({ "type": "mrkdwn", "text": escaped(&format!("*{name}*\n{value}"), FIELD_CHARS_MAX) })
    };
    let header = cut(&format!("{state}: {}", event.kind), HEADER_CHARS_MAX);
    let mut blocks = vec![
        json!({ "type": "header", "text": { "type": "plain_text", "text": header } }),
        json!({ "type": "section", "text": {
            "type": "mrkdwn", "text": escaped(&event.summary, SECTION_CHARS_MAX),
        }, "fields": [
            field("Severity", event.severity.as_str()),
            field("About", &event.subject),
            field("Key", &event.dedup_key),
            field("At", &iso8601(event.at_unix_ms)),
        ]}),
    ];
    if let Some(details) = details(&event.details) {
        let text = json!({ "type": "mrkdwn", "text": details });
        blocks.push(json!({ "type": "section", "text": text }));
    }
    let origin = escaped(&format!("{source} | {}", event.id), FIELD_CHARS_MAX);
    let origin = json!({ "type": "mrkdwn", "text": origin });
    blocks.push(json!({ "type": "context", "elements": [origin] }));
    let body = json!({ "text": escaped(&text, TEXT_CHARS_MAX), "blocks": blocks });
    serde_json::to_vec(&body).expect("plain values")
}

/// The details as a block of code, as far as there is room.
fn details(details: &Value) -> Option<String> {
    const FENCE: &str = "```";
    let is_empty = match details {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    };
    if is_empty {
        return None;
    }
    let text = serde_json::to_string_pretty(details).expect("plain values");
    let room = SECTION_CHARS_MAX - 2 * FENCE.len();
    Some(format!("{FENCE}{}{FENCE}", escaped(&text.replace(FENCE, "'''"), room)))
}

/// The text with its entities, cut before it goes beyond `most` characters.
fn escaped(text: &str, most: usize) -> String {
    let whole = entities(text, usize::MAX);
    if whole.chars().count() <= most { whole } else { entities(text, most - 3) + "..." }
}

fn entities(text: &str, most: usize) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut length = 0;
    for char in text.chars() {
        let entity = match char {
            '&' => Some("&amp;"),
            '<' => Some("&lt;"),
            '>' => Some("&gt;"),
            _ => None,
        };
        length += entity.map_or(1, str::len);
        if length > most {
            break;
        }
        match entity {
            Some(entity) => escaped.push_str(entity),
            None => escaped.push(char),
        }
    }
    escaped
}

/// Whether an answer with a good status says that the message was taken.
pub(super) fn is_taken(answer: &[u8]) -> bool {
    answer.trim_ascii() == b"ok"
}
