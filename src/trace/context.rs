//! W3C Trace Context, level 1 (<https://www.w3.org/TR/trace-context-1/>), read as strictly as it
//! says: what is malformed is passed over, and the request goes on without it.

use std::fmt;

use hyper::HeaderMap;
use hyper::header::HeaderValue;

use super::{TRACEPARENT, TRACESTATE};

#[cfg(test)]
mod tests;

/// `00-` 32 digits `-` 16 digits `-` 2 digits.
const PARENT_BYTES: usize = 55;
/// What must at least be passed on (3.3.1.5); more than this is not.
const STATE_BYTES_MAX: usize = 512;
const STATE_MEMBERS_MAX: usize = 32;
const SAMPLED: u8 = 1;

/// A trace; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

/// A span of a trace; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where a request stands in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that the request comes from; none when the trace begins here.
    pub parent: Option<SpanId>,
    /// `tracestate`, as it came.
    pub state: Option<HeaderValue>,
    flags: u8,
}

impl TraceContext {
    /// The context of a request with these headers; none if there is no valid one.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next()?;
        if parents.next().is_some() {
            return None; // which of them is meant?
        }
        let mut context = Self::parse(parent.as_bytes())?;
        context.state = state(headers);
        Some(context)
    }

    /// A trace that begins here, sampled.
    pub(super) fn root(trace_id: TraceId) -> Self {
        Self { trace_id, parent: None, state: None, flags: SAMPLED }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(PARENT_BYTES)?;
        let version = u8::try_from(digits(&head[..2])?).ok()?;
        // A later version may have more after a dash; 00 has not, and ff is forbidden.
        let is_known = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest.first(), None | Some(b'-')),
        };
        let has_dashes = [2, 35, 52].iter().all(|at| head[*at] == b'-');
        if !is_known || !has_dashes {
            return None;
        }
        let trace_id = digits(&head[3..35]).filter(|id| *id != 0)?;
        let parent = u64::try_from(digits(&head[36..52])?).ok().filter(|id| *id != 0)?;
        // Of the flags of a later version only those are known that stand here.
        let flags = u8::try_from(digits(&head[53..55])?).ok()? & SAMPLED;
        Some(Self { trace_id: TraceId(trace_id), parent: Some(SpanId(parent)), state: None, flags })
    }

    /// Whether the client, or we, want the request to be recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// `traceparent` for a request that `span` sends.
    pub(super) fn header(&self, span: SpanId) -> HeaderValue {
        let text = format!("00-{}-{span}-{:02x}", self.trace_id, self.flags);
        HeaderValue::try_from(text).expect("digits and dashes")
    }
}

/// Lower-case hexadecimal digits and nothing else.
fn digits(text: &[u8]) -> Option<u128> {
    let lower = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let text = text.iter().all(lower).then(|| std::str::from_utf8(text).ok()).flatten()?;
    u128::from_str_radix(text, 16).ok()
}

/// All `tracestate` headers as one, if they can be passed on as they are.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(TRACESTATE).iter();
    let first = values.next()?;
    let joined = match values.next() {
        None => first.clone(),
        Some(second) => {
            let all = [first, second].into_iter().chain(values);
            let all: Vec<&str> = all.map(|value| value.to_str().ok()).collect::<Option<_>>()?;
            HeaderValue::try_from(all.join(",")).ok()?
        }
    };
    let text = joined.to_str().ok()?;
    let members = text.split(',').map(|member| member.trim_matches([' ', '\t']));
    let mut members = members.filter(|member| !member.is_empty());
    let fits = text.len() <= STATE_BYTES_MAX
        && members.clone().take(STATE_MEMBERS_MAX + 1).count() <= STATE_MEMBERS_MAX;
    (fits && members.all(is_member)).then_some(joined)
}

/// `key=value` (3.3.1.3).
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    (1..=256).contains(&key.len())
        && key.bytes().all(plain)
        && key.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && (1..=256).contains(&value.len())
        && value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}
