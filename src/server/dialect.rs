//! How a client speaks HTTP: its headers by name and order, with the values of those that name the
//! program. It tells one program from another, and a new version from the old one.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};

/// The hash of how a request's head is written; never 0. Some 50 ns.
///
/// What a balancer or a tracer adds to some requests and not to others is left out.
pub(super) fn hash(headers: &HeaderMap) -> u64 {
    let mut hash = Mix(0xcbf2_9ce4_8422_2325);
    for (name, value) in headers {
        let word = name.as_str();
        if matches!(word, "traceparent" | "tracestate" | "x-request-id" | "x-forwarded-for") {
            continue;
        }
        hash.add(word.as_bytes());
        if *name == USER_AGENT || *name == ACCEPT || *name == ACCEPT_ENCODING {
            hash.add(value.as_bytes());
        }
    }
    hash.0.max(1)
}

/// Not for a table that a stranger fills: whoever finds two dialects with one hash has no more than
/// the other's dialect, which is no secret.
struct Mix(u64);

impl Mix {
    fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        last[7] = bytes.len() as u8;
        for word in words.iter().chain([&last]) {
            self.0 = (self.0 ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.0 ^= self.0 >> 29;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> u64 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        hash(&map)
    }

    #[test]
    fn a_dialect_is_names_order_and_program() {
        let usual = [("host", "gate"), ("accept", "application/json"), ("content-length", "7")];
        assert_eq!(of(&usual), of(&usual));
        let other_body =
            [("host", "gate"), ("accept", "application/json"), ("content-length", "9")];
        assert_eq!(of(&usual), of(&other_body));
        let traced = [usual[0], usual[1], usual[2], ("traceparent", "00-1-2-01")];
        assert_eq!(of(&usual), of(&traced));
        assert_ne!(of(&usual), of(&[usual[1], usual[0], usual[2]]), "order");
        assert_ne!(of(&usual), of(&[usual[0], ("accept", "*/*"), usual[2]]), "value");
        assert_ne!(of(&usual), of(&usual[..2]), "names");
        assert_ne!(of(&[]), 0);
    }
}
