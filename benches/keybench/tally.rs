//! Raw counts: by name, lists of numbers, so that worlds add up and can be kept as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Counts and values of one world or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    counts: BTreeMap<String, u64>,
    values: BTreeMap<String, Vec<u64>>,
    /// What a person reads about single cases.
    pub(crate) cases: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, name: &str, count: u64) {
        match self.counts.get_mut(name) {
            Some(sum) => *sum += count,
            None => {
                self.counts.insert(name.to_owned(), count);
            }
        }
    }

    pub(crate) fn push(&mut self, name: String, value: u64) {
        self.values.entry(name).or_default().push(value);
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// The counts whose names begin so, with the rest of their names.
    pub(crate) fn counts_of<'a>(
        &'a self,
        start: &'a str,
    ) -> impl Iterator<Item = (&'a str, u64)> + 'a {
        self.counts
            .iter()
            .filter_map(move |(name, count)| Some((name.strip_prefix(start)?, *count)))
    }

    pub(crate) fn values(&self, name: &str) -> &[u64] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (name, count) in other.counts {
            self.add(&name, count);
        }
        for (name, values) in other.values {
            self.values.entry(name).or_default().extend(values);
        }
        self.cases.extend(other.cases);
    }

    /// One line for each name.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, count) in &self.counts {
            let _ = writeln!(text, "count {name} {count}");
        }
        for (name, values) in &self.values {
            let _ = write!(text, "values {name}");
            for value in values {
                let _ = write!(text, " {value}");
            }
            text.push('\n');
        }
        for case in &self.cases {
            let _ = writeln!(text, "case {case}");
        }
        text + "end\n"
    }

    /// What `to_text` wrote; `None` when it was not written to its end.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut tally = Self::default();
        for line in text.strip_suffix("end\n")?.lines() {
            let (kind, rest) = line.split_once(' ')?;
            match kind {
                "case" => tally.cases.push(rest.to_owned()),
                "count" => {
                    let (name, count) = rest.split_once(' ')?;
                    tally.counts.insert(name.to_owned(), count.parse().ok()?);
                }
                "values" => {
                    let mut words = rest.split(' ');
                    let name = words.next()?.to_owned();
                    let values: Result<Vec<u64>, _> = words.map(str::parse).collect();
                    tally.values.insert(name, values.ok()?);
                }
                _ => return None,
            }
        }
        Some(tally)
    }
}
