//! A webhook of any receiver: CloudEvents 1.0 in structured JSON mode, signed as Standard Webhooks
//! 1.0 says.
//!
//! | header | holds |
//! |---|---|
//! | `webhook-id`, `idempotency-key` | the event's id: the same at each attempt |
//! | `webhook-timestamp` | seconds of Unix time of this attempt |
//! | `webhook-signature` | `v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body` |
//!
//! The key of the HMAC is the first line of the secret's file, as bytes. Libraries of Standard
//! Webhooks want it as `whsec_` and the Base64 of those bytes.

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use ring::hmac;
use serde_json::json;

use super::{Event, iso8601};

#[cfg(test)]
mod tests;

const CLOUD_EVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json");
const ID: HeaderName = HeaderName::from_static("webhook-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The body of the request.
pub(super) fn body(event: &Event, source: &str) -> Vec<u8> {
    let mut body = json!({
        "specversion": "1.0",
        "id": event.id,
        "source": format!("portcullis/{source}"),
        "type": format!("portcullis.{}", event.kind),
        "time": iso8601(event.at_unix_ms),
        "datacontenttype": "application/json",
        "data": {
            "severity": event.severity,
            "paging": event.paging,
            "dedup_key": event.dedup_key,
            "summary": event.summary,
            "details": event.details,
        },
    });
    if !event.subject.is_empty() {
        body["subject"] = event.subject.as_str().into(); // it may not be empty
    }
    serde_json::to_vec(&body).expect("plain values")
}

/// What goes with a body at one attempt.
pub(super) fn headers(id: &str, unix_s: u64, body: &[u8], secret: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, CLOUD_EVENT);
    headers.insert(TIMESTAMP, HeaderValue::from(unix_s));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(ID, id.clone());
        headers.insert(IDEMPOTENCY_KEY, id);
    }
    if let Some(secret) = secret {
        let signature = format!("v1,{}", signature(id, unix_s, body, secret.as_bytes()));
        let signature = HeaderValue::from_str(&signature).expect("Base64");
        headers.insert(SIGNATURE, signature);
    }
    headers
}

fn signature(id: &str, unix_s: u64, body: &[u8], secret: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut signed = hmac::Context::with_key(&key);
    signed.update(format!("{id}.{unix_s}.").as_bytes());
    signed.update(body);
    base64(signed.sign().as_ref())
}

/// RFC 4648, with its padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) as usize & 63;
            text.push(if place <= group.len() { char::from(DIGITS[digit]) } else { '=' });
        }
    }
    text
}
