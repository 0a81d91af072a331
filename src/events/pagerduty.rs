//! PagerDuty's Events API v2: `trigger`, `acknowledge`, `resolve` of one deduplication key.
//!
//! Limits by its documentation: a key of 255 characters, a summary of 1,024, an event of 512 KB.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Event, Paging, cut, iso8601};

#[cfg(test)]
mod tests;

/// Where events go, unless the configuration says otherwise.
pub const URL: &str = "https://events.pagerduty.com/v2/enqueue";
pub(super) const DEDUP_KEY_CHARS_MAX: usize = 255;
pub(super) const SUMMARY_CHARS_MAX: usize = 1_024;
pub(super) const BODY_BYTES_MAX: usize = 512_000;

/// The body of the request; `None` for an event that pages nobody.
pub(super) fn body(event: &Event, routing_key: &str, source: &str) -> Option<Vec<u8>> {
    let action = match event.paging {
        Paging::None => return None,
        Paging::Trigger => "trigger",
        Paging::Acknowledge => "acknowledge",
        Paging::Resolve => "resolve",
    };
    let mut body = json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": dedup_key(&event.dedup_key),
        "client": "portcullis",
        "payload": {
            "summary": cut(&event.summary, SUMMARY_CHARS_MAX),
            "source": source,
            "severity": event.severity.as_str(),
            "timestamp": iso8601(event.at_unix_ms),
            "component": cut(&event.subject, SUMMARY_CHARS_MAX),
            "class": event.kind,
            "custom_details": { "event_id": event.id, "details": event.details },
        },
    });
    let written = |body: &Value| serde_json::to_vec(body).expect("plain values");
    let bytes = written(&body);
    if bytes.len() <= BODY_BYTES_MAX {
        return Some(bytes);
    }
    let left_out = json!({ "event_id": event.id, "details": "left out: too large" });
    body["payload"]["custom_details"] = left_out;
    Some(written(&body))
}

/// The key as it is; a longer one cut, with a checksum, so that two do not become one.
pub(super) fn dedup_key(key: &str) -> String {
    if key.chars().count() <= DEDUP_KEY_CHARS_MAX {
        return key.to_owned();
    }
    let hash = faster_hex::hex_string(&Sha256::digest(key)[..8]);
    let begin: String = key.chars().take(DEDUP_KEY_CHARS_MAX - 1 - hash.len()).collect();
    format!("{begin}~{hash}")
}

/// Whether an answer with a good status says that the event was taken.
pub(super) fn is_taken(answer: &[u8]) -> bool {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    answer["status"] == "success"
}
