//! Web3Signer's `--tls-known-clients-file`: which certificates are let in, without an authority.
//!
//! One a line: a common name, blanks, and the SHA-256 fingerprint of the certificate, `AA:BB:...`.
//! Empty lines and lines that begin with `#` are passed over, as there.

use std::collections::HashMap;

use crate::tls::{Fingerprint, NotAFingerprint};

#[cfg(test)]
mod tests;

/// The certificates of a known-clients file: the name of each by its fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownClients {
    names: HashMap<Fingerprint, String>,
}

/// A line that is not a known client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct KnownClientsError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    #[source]
    pub problem: LineProblem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// Not two words.
    #[error("expected a common name and a fingerprint, found {0} words")]
    Words(usize),
    /// The second word.
    #[error(transparent)]
    Fingerprint(#[from] NotAFingerprint),
    /// One certificate with two names.
    #[error("the fingerprint {fingerprint} has the name {other} already")]
    TwoNames {
        /// The certificate.
        fingerprint: Fingerprint,
        /// Its name further up.
        other: String,
    },
}

impl KnownClients {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, KnownClientsError> {
        let mut names = HashMap::new();
        // Editors of some systems begin a file with a byte order mark.
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let wrong = |problem| KnownClientsError { line: index + 1, problem };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, fingerprint] = words[..] else {
                return Err(wrong(LineProblem::Words(words.len())));
            };
            let fingerprint: Fingerprint =
                fingerprint.parse().map_err(|error| wrong(LineProblem::Fingerprint(error)))?;
            match names.insert(fingerprint, name.to_owned()) {
                Some(other) if other != name => {
                    return Err(wrong(LineProblem::TwoNames { fingerprint, other }));
                }
                Some(_) | None => {}
            }
        }
        Ok(Self { names })
    }

    /// The name of a certificate, if it is known.
    pub fn name(&self, fingerprint: &Fingerprint) -> Option<&str> {
        self.names.get(fingerprint).map(String::as_str)
    }

    /// Every certificate.
    pub fn fingerprints(&self) -> impl Iterator<Item = &Fingerprint> {
        self.names.keys()
    }

    /// Every name, as often as it is there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.values().map(String::as_str)
    }

    /// How many certificates are known.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
