//! Faults on purpose: what a bad, slow or lying signer does to whoever depends on it.
//!
//! A fault is written `KIND[=VALUE][:p=PROBABILITY][:count=N][:after=N]`, for example `slow=250`,
//! `hang-up:p=0.1` or `die:after=100`. Which requests it strikes follows from the seed and from the
//! order in which requests arrive, and from nothing else.

#[cfg(test)]
mod tests;

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Signs, then answers this much later. Adds up with the other faults.
    Slow(Duration),
    /// Answers 412 and does not sign.
    Refuse,
    /// Answers 500 and does not sign.
    Error,
    /// Answers with the key's signature over another root.
    WrongSignature,
    /// Answers with another key's signature over the root.
    Swapped,
    /// Answers with the signature, to which a point outside the group of signatures is added.
    OffSubgroup,
    /// Answers with the point at infinity, and does not sign.
    Infinity,
    /// Answers 200 with something that is not a signature, and does not sign.
    Garbage,
    /// Signs, then closes the connection without an answer.
    HangUp,
    /// Signs, then never answers.
    Stall,
    /// The process exits with code 9 and neither signs nor answers.
    Die,
}

/// A fault and the requests that it strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultSpec {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The chance that a request is struck, from 0 to 1.
    pub probability: f64,
    /// At most this many requests are struck.
    pub count_max: Option<u64>,
    /// This many requests are spared first.
    pub after: u64,
}

/// Why a fault was not understood. Whoever wrote it must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultSpecError {
    /// No such fault.
    #[error(
        "unknown fault {0:?}: expected slow=MS, refuse, error, wrong-signature, swapped, \
         off-subgroup, infinity, garbage, hang-up, stall or die"
    )]
    Kind(String),
    /// No such parameter.
    #[error("unknown parameter {0:?}: expected p=PROBABILITY, count=N or after=N")]
    Parameter(String),
    /// The probability is not a number from 0 to 1.
    #[error("p={0} is not a probability from 0 to 1")]
    Probability(String),
    /// A number is not a number.
    #[error("{name}={value} is not a whole number")]
    Number {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// Why.
        source: ParseIntError,
    },
}

impl FromStr for FaultSpec {
    type Err = FaultSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let kind = parse_kind(parts.next().unwrap_or_default())?;
        let mut spec = Self { kind, probability: 1.0, count_max: None, after: 0 };
        for part in parts {
            match part.split_once('=') {
                Some(("p", value)) => spec.probability = parse_probability(value)?,
                Some(("count", value)) => spec.count_max = Some(parse_number("count", value)?),
                Some(("after", value)) => spec.after = parse_number("after", value)?,
                _ => return Err(FaultSpecError::Parameter(part.to_owned())),
            }
        }
        Ok(spec)
    }
}

impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if let FaultKind::Slow(delay) = self.kind {
            write!(f, "={}", delay.as_millis())?;
        }
        if self.probability < 1.0 {
            write!(f, ":p={}", self.probability)?;
        }
        if let Some(count) = self.count_max {
            write!(f, ":count={count}")?;
        }
        if self.after > 0 {
            write!(f, ":after={}", self.after)?;
        }
        Ok(())
    }
}

impl FaultKind {
    /// The name that the command line and the signing log use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slow(_) => "slow",
            Self::Refuse => "refuse",
            Self::Error => "error",
            Self::WrongSignature => "wrong-signature",
            Self::Swapped => "swapped",
            Self::OffSubgroup => "off-subgroup",
            Self::Infinity => "infinity",
            Self::Garbage => "garbage",
            Self::HangUp => "hang-up",
            Self::Stall => "stall",
            Self::Die => "die",
        }
    }
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injection {
    /// How much later the answer leaves.
    pub delay: Duration,
    /// The first fault, in the order in which they were given, that strikes; `Slow` is in `delay`.
    pub fault: Option<FaultKind>,
}

/// The faults in force and how often each one struck.
#[derive(Debug)]
pub struct FaultPlan {
    seed: u64,
    requests: u64,
    faults: Vec<Armed>,
}

#[derive(Debug)]
struct Armed {
    spec: FaultSpec,
    struck: u64,
}

impl FaultPlan {
    /// Puts faults in force; counting starts anew.
    pub fn new(specs: impl IntoIterator<Item = FaultSpec>, seed: u64) -> Self {
        let faults = specs.into_iter().map(|spec| Armed { spec, struck: 0 }).collect();
        Self { seed, requests: 0, faults }
    }

    /// Decides what happens to the next request.
    pub fn strike(&mut self) -> Injection {
        let request = self.requests;
        self.requests += 1;
        let mut injection = Injection::default();
        for (place, armed) in (1_u64..).zip(&mut self.faults) {
            let slow = matches!(armed.spec.kind, FaultKind::Slow(_));
            // A fault that comes too late neither strikes nor uses up its count.
            if (injection.fault.is_some() && !slow) || !armed.strikes(self.seed, place, request) {
                continue;
            }
            armed.struck += 1;
            match armed.spec.kind {
                FaultKind::Slow(delay) => injection.delay += delay,
                kind => injection.fault = Some(kind),
            }
        }
        injection
    }

    /// The seed of the draws.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many requests were decided upon.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Each fault with the number of requests that it struck.
    pub fn struck(&self) -> impl Iterator<Item = (FaultSpec, u64)> {
        self.faults.iter().map(|armed| (armed.spec, armed.struck))
    }
}

impl Armed {
    fn strikes(&self, seed: u64, place: u64, request: u64) -> bool {
        request >= self.spec.after
            && self.spec.count_max.is_none_or(|max| self.struck < max)
            && draw(seed, place, request) < self.spec.probability
    }
}

/// A number from 0 to just below 1 that depends on nothing but its arguments.
fn draw(seed: u64, place: u64, request: u64) -> f64 {
    let bits = mix(mix(mix(seed) ^ place) ^ request);
    // 53 bits are what an f64 holds exactly.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// One step of SplitMix64.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn parse_kind(text: &str) -> Result<FaultKind, FaultSpecError> {
    if let Some(("slow", ms)) = text.split_once('=') {
        return Ok(FaultKind::Slow(Duration::from_millis(parse_number("slow", ms)?)));
    }
    match text {
        "refuse" => Ok(FaultKind::Refuse),
        "error" => Ok(FaultKind::Error),
        "wrong-signature" => Ok(FaultKind::WrongSignature),
        "swapped" => Ok(FaultKind::Swapped),
        "off-subgroup" => Ok(FaultKind::OffSubgroup),
        "infinity" => Ok(FaultKind::Infinity),
        "garbage" => Ok(FaultKind::Garbage),
        "hang-up" => Ok(FaultKind::HangUp),
        "stall" => Ok(FaultKind::Stall),
        "die" => Ok(FaultKind::Die),
        _ => Err(FaultSpecError::Kind(text.to_owned())),
    }
}

fn parse_probability(text: &str) -> Result<f64, FaultSpecError> {
    let probability = text.parse().ok().filter(|p| (0.0..=1.0).contains(p));
    probability.ok_or_else(|| FaultSpecError::Probability(text.to_owned()))
}

fn parse_number(name: &'static str, text: &str) -> Result<u64, FaultSpecError> {
    // `u64::from_str` alone would take a sign.
    let digits = if text.starts_with('+') { "" } else { text };
    digits.parse().map_err(|source| FaultSpecError::Number { name, value: text.to_owned(), source })
}
