//! The verdict on one request, with its reasons in words and numbers.

use crate::{Mode, Rule, WindowId};

/// What is done about it, in ascending order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Nothing but figures.
    #[default]
    Observe,
    /// An event that people read.
    Alert,
    /// This request waits, or is refused without further consequence.
    Hold,
    /// This request is refused.
    Refuse,
    /// This source is refused for this key from now on.
    Quarantine,
    /// A rotation that these keys belong to stops.
    HaltRotation,
}

/// What happens to the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It may be signed.
    #[default]
    Allow,
    /// Ask again at this time (milliseconds of Unix time): other keys may have moved along by then.
    HoldUntil(u64),
    /// It is not signed.
    Refuse,
}

/// What a rule saw and what it allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// What was looked at, as a field of the request or of the key's state.
    pub what: &'static str,
    /// What was seen.
    pub observed: String,
    /// What would have been right.
    pub expected: String,
}

/// One rule that has something to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// Its mode for this key: only [`Mode::Enforce`] refuses.
    pub mode: Mode,
    /// How grave it is if it is enforced.
    pub level: Level,
    /// Why.
    pub evidence: Evidence,
}

impl Finding {
    /// Whether it refuses: it is enforced, and more than something to read.
    pub const fn refuses(&self) -> bool {
        match (self.mode, self.level) {
            (Mode::Off | Mode::Monitor, _) | (_, Level::Observe | Level::Alert) => false,
            (
                Mode::Enforce,
                Level::Hold | Level::Refuse | Level::Quarantine | Level::HaltRotation,
            ) => true,
        }
    }
}

/// A part of the context score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the terms of 4.2
pub enum Term {
    Prior,
    Novelty,
    Lineage,
    Liveness,
    CoMovement,
    Declared,
    Enrolled,
    Fence,
    Shares,
    Cap,
}

impl Term {
    /// Every term, in the order in which they are added up.
    pub const ALL: [Self; 10] = [
        Self::Prior,
        Self::Novelty,
        Self::Lineage,
        Self::Liveness,
        Self::CoMovement,
        Self::Declared,
        Self::Enrolled,
        Self::Fence,
        Self::Shares,
        Self::Cap,
    ];

    /// Its name in explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prior => "prior",
            Self::Novelty => "novelty",
            Self::Lineage => "lineage",
            Self::Liveness => "liveness",
            Self::CoMovement => "co_movement",
            Self::Declared => "declared",
            Self::Enrolled => "enrolled",
            Self::Fence => "fence",
            Self::Shares => "shares",
            Self::Cap => "cap",
        }
    }
}

/// The context score, term by term, in natural log-odds. The terms add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms(pub [f32; Term::ALL.len()]);

impl Terms {
    /// The score L.
    pub fn log_odds(&self) -> f32 {
        self.0.iter().sum()
    }

    /// 1 / (1 + exp(-L)): ordered and bounded, not a frequency of attacks.
    pub fn confidence(&self) -> f32 {
        1.0 / (1.0 + (-self.log_odds()).exp())
    }

    /// The largest term beside the prior: what the decision rests on.
    pub fn top(&self) -> Term {
        let beside_prior = Term::ALL[1..].iter().copied();
        beside_prior
            .max_by(|a, b| self.0[*a as usize].total_cmp(&self.0[*b as usize]))
            .unwrap_or(Term::Prior)
    }
}

/// The verdict. Without findings nothing is allocated: that is the honest case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What happens to the request.
    pub verdict: Verdict,
    /// What is done about it beside that.
    pub level: Level,
    /// The context score.
    pub terms: Terms,
    /// The sequential tests' evidence for this key: ln S of timing and of shares.
    pub ln_s: [f32; 2],
    /// The rules that have something to say, the gravest enforced one first.
    pub findings: Vec<Finding>,
    /// The window that it fell into.
    pub window: Option<WindowId>,
    /// How many false refusals a million validator-days are expected to have at this score, from
    /// benign scores seen so far; `None` while too few were seen.
    pub expected_false_per_million: Option<f32>,
}

impl Decision {
    /// The rule that refused, with its evidence.
    pub fn refusal(&self) -> Option<&Finding> {
        match self.verdict {
            Verdict::Refuse => self.findings.iter().find(|finding| finding.refuses()),
            Verdict::Allow | Verdict::HoldUntil(_) => None,
        }
    }
}
