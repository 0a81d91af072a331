//! `[verify]`: which of the signers' signatures are checked before they are released.

use std::num::{NonZeroU64, NonZeroUsize};
use std::thread;

use serde::Deserialize;
use toml::Value;

use super::check::Checker;
use super::problem::ProblemKind;
use crate::eth::DutyKind;

#[cfg(test)]
mod tests;

/// Which signatures are checked against their keys before they are released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyConfig {
    /// What holds for the types that no list names.
    pub mode: VerifyMode,
    /// Types of which every signature is checked.
    pub always: Vec<DutyKind>,
    /// Types of which one in `sample_one_in` is checked.
    pub sampled: Vec<DutyKind>,
    /// Types that are not checked.
    pub off: Vec<DutyKind>,
    /// Of the sampled types one signature in so many is checked, chosen unpredictably.
    pub sample_one_in: NonZeroU64,
    /// Threads that verify; `None` (0 in the file) means one for every two cores.
    pub threads: Option<NonZeroUsize>,
    /// Signatures that may wait to be verified; blocks do not count.
    pub queue_max: usize,
}

/// How much of a type is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyMode {
    /// Every signature, before it is released.
    Always,
    /// One in so many, before it is released; after a bad one, every one for a while.
    Sampled,
    /// None: what the signer answers is released.
    Off,
}

impl VerifyMode {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Sampled => "sampled",
            Self::Off => "off",
        }
    }
}

impl VerifyConfig {
    /// What holds for a type.
    pub fn mode_of(&self, kind: DutyKind) -> VerifyMode {
        if self.always.contains(&kind) {
            VerifyMode::Always
        } else if self.sampled.contains(&kind) {
            VerifyMode::Sampled
        } else if self.off.contains(&kind) {
            VerifyMode::Off
        } else {
            self.mode
        }
    }

    /// Whether anything is ever checked: without that, no key needs to be validated.
    pub fn is_on(&self) -> bool {
        DutyKind::ALL.into_iter().any(|kind| self.mode_of(kind) != VerifyMode::Off)
    }

    /// The number of threads that verify: a batch uses one, and half of the cores are enough for
    /// every key of a large fleet.
    pub fn thread_count(&self) -> NonZeroUsize {
        let half = || {
            let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
            NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN)
        };
        self.threads.unwrap_or_else(half)
    }

    /// The value of `verify.<field>` as it holds.
    pub(super) fn value_of(&self, field: &str) -> Option<Value> {
        let list = |kinds: &[DutyKind]| {
            Some(Value::from(kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>()))
        };
        let integer = |number: u64| Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
        match field {
            "mode" => Some(Value::from(self.mode.as_str())),
            "always" => list(&self.always),
            "sampled" => list(&self.sampled),
            "off" => list(&self.off),
            "sample_one_in" => integer(self.sample_one_in.get()),
            "threads" => integer(self.threads.map_or(0, |threads| threads.get() as u64)),
            "queue_max" => integer(self.queue_max as u64),
            _ => None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawVerify {
    mode: Option<String>,
    always: Option<Vec<String>>,
    sampled: Option<Vec<String>>,
    off: Option<Vec<String>>,
    sample_one_in: Option<u64>,
    threads: Option<u64>,
    queue_max: Option<u64>,
}

/// Checks `[verify]`; what is wrong goes to the checker.
pub(super) fn check(checker: &mut Checker<'_>, raw: RawVerify) -> Option<VerifyConfig> {
    let mode = match raw.mode.as_deref() {
        None | Some("always") => Some(VerifyMode::Always),
        Some("sampled") => Some(VerifyMode::Sampled),
        Some("off") => Some(VerifyMode::Off),
        Some(value) => {
            let known = "always, sampled, off";
            checker.wrong("verify.mode", ProblemKind::NotOneOf { value: value.to_owned(), known });
            None
        }
    };
    let always = kinds(checker, "verify.always", raw.always.unwrap_or_default());
    let off = kinds(checker, "verify.off", raw.off.unwrap_or_default());
    let sampled = match raw.sampled {
        Some(names) => kinds(checker, "verify.sampled", names),
        // 500,000 distinct roots an epoch would cost half a core, and no slot waits for them.
        None => {
            let by_default = mode == Some(VerifyMode::Always);
            let registration = DutyKind::ValidatorRegistration;
            let is_free = by_default && !always.contains(&registration);
            let is_free = is_free && !off.contains(&registration);
            if is_free { vec![registration] } else { Vec::new() }
        }
    };
    for kind in DutyKind::ALL {
        let lists = [("verify.sampled", &always, &sampled), ("verify.off", &always, &off)];
        let lists = lists.into_iter().chain([("verify.off", &sampled, &off)]);
        for (path, one, other) in lists {
            if one.contains(&kind) && other.contains(&kind) {
                checker.wrong(path, ProblemKind::TypeInTwoLists { kind: kind.as_str() });
            }
        }
    }
    let one_in = raw.sample_one_in.unwrap_or(SAMPLE_ONE_IN);
    let one_in = checker.range("verify.sample_one_in", one_in, 1..=1_000_000);
    let threads = checker.range("verify.threads", raw.threads.unwrap_or(0), 0..=1_024);
    let queue_max = raw.queue_max.unwrap_or(QUEUE_MAX);
    let queue_max = checker.range("verify.queue_max", queue_max, 1..=1_000_000);
    Some(VerifyConfig {
        mode: mode?,
        always,
        sampled,
        off,
        sample_one_in: NonZeroU64::new(one_in?)?,
        threads: NonZeroUsize::new(usize::try_from(threads?).ok()?),
        queue_max: usize::try_from(queue_max?).ok()?,
    })
}

fn kinds(checker: &mut Checker<'_>, path: &str, names: Vec<String>) -> Vec<DutyKind> {
    let mut kinds = Vec::new();
    for value in names.into_iter().filter(|name| !name.is_empty()) {
        match DutyKind::from_name(&value) {
            Some(kind) => kinds.push(kind),
            None => {
                let known = "Web3Signer's types, such as ATTESTATION or VALIDATOR_REGISTRATION";
                checker.wrong(path, ProblemKind::NotOneOf { value, known });
            }
        }
    }
    kinds
}

const SAMPLE_ONE_IN: u64 = 32;
/// As many as requests may be in flight.
const QUEUE_MAX: u64 = 16_384;
