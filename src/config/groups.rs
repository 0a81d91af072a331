//! Groups of keys, and what each may do beyond the duties of a validator.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use super::check::Checker;
use super::hex;
use super::problem::ProblemKind;
use super::raw::RawGroup;

#[cfg(test)]
mod tests;

/// A named group of keys. A key without a group, or in a group that does not allow it, signs no
/// voluntary exit and no deposit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGroup {
    /// Its name, in logs, reasons and durable counters.
    pub name: String,
    /// Which keys it has.
    pub keys: KeySelection,
    /// Whether VOLUNTARY_EXIT is signed.
    pub allow_voluntary_exit: bool,
    /// Exits that one key may sign, ever.
    pub voluntary_exits_max: u32,
    /// Exits that all keys of the group together may sign, ever.
    pub voluntary_exits_group_max: u32,
    /// Whether DEPOSIT is signed.
    pub allow_deposit: bool,
    /// Deposits that one key may sign, ever.
    pub deposits_max: u32,
}

/// Which keys a group has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySelection {
    /// Every key that no other group names.
    All,
    /// These, from the configuration or from the file named here.
    Listed {
        /// The public keys, compressed.
        keys: Vec<[u8; 48]>,
        /// `keys_file`, when they came from one.
        file: Option<PathBuf>,
    },
}

/// All groups. A key belongs to one at most: the group that names it, or else that of all keys.
#[derive(Clone, Debug, Default)]
pub struct KeyGroups {
    groups: Vec<KeyGroup>,
    by_key: HashMap<[u8; 48], usize>,
    of_all: Option<usize>,
}

impl KeyGroups {
    /// The group of a key, with its index into [`Self::iter`]'s order.
    pub fn of(&self, key: &[u8; 48]) -> Option<(usize, &KeyGroup)> {
        let index = self.by_key.get(key).copied().or(self.of_all)?;
        Some((index, &self.groups[index]))
    }

    /// The groups, as the file lists them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &KeyGroup> {
        self.groups.iter()
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Adds a group; says which keys another group, or this one before, has already.
    fn add(&mut self, group: KeyGroup) -> Vec<ProblemKind> {
        let index = self.groups.len();
        let mut twice = Vec::new();
        match &group.keys {
            KeySelection::All => self.of_all = Some(index),
            KeySelection::Listed { keys, .. } => {
                for key in keys {
                    match self.by_key.entry(*key) {
                        Entry::Vacant(vacant) => {
                            vacant.insert(index);
                        }
                        Entry::Occupied(_) => twice.push(ProblemKind::KeyTwice {
                            key: hex::format(key),
                            group: group.name.clone(),
                        }),
                    }
                }
            }
        }
        self.groups.push(group);
        twice
    }
}

/// Checks `[[groups]]`; what is wrong goes to the checker.
pub(super) fn check(checker: &mut Checker<'_>, raw: Vec<RawGroup>) -> KeyGroups {
    let mut groups = KeyGroups::default();
    for (index, raw) in raw.into_iter().enumerate() {
        let path = format!("groups[{index}]");
        let Some(group) = check_group(checker, &path, raw) else {
            continue;
        };
        if groups.iter().any(|other| other.name == group.name) {
            let name = group.name.clone();
            checker.wrong(&format!("{path}.name"), ProblemKind::GroupNameTwice { name });
            continue;
        }
        if group.keys == KeySelection::All && groups.of_all.is_some() {
            checker.wrong(&format!("{path}.all"), ProblemKind::SecondGroupOfAll);
            continue;
        }
        for twice in groups.add(group) {
            checker.wrong(&path, twice);
        }
    }
    groups
}

fn check_group(checker: &mut Checker<'_>, path: &str, raw: RawGroup) -> Option<KeyGroup> {
    let at = |field: &str| format!("{path}.{field}");
    let name = checker.required(&at("name"), raw.name);
    let name = name.and_then(|name| checker.name(&at("name"), name));
    let keys = match (raw.keys, raw.keys_file, raw.all) {
        (None, None, true) => Some(KeySelection::All),
        (Some(texts), None, false) => {
            let keys = texts.iter().enumerate().filter_map(|(index, text)| {
                checker.valid(&format!("{path}.keys[{index}]"), hex::parse(text))
            });
            Some(KeySelection::Listed { keys: keys.collect(), file: None })
        }
        (None, Some(file), false) => {
            let file = checker.resolve(&at("keys_file"), &file);
            let keys = read_keys(checker, &at("keys_file"), &file);
            Some(KeySelection::Listed { keys, file: Some(file) })
        }
        _ => {
            checker.wrong(path, ProblemKind::GroupKeys);
            None
        }
    };
    let mut counter = |field: &str, value: Option<u64>| {
        let value = checker.range(&at(field), value.unwrap_or(1), 1..=u64::from(u32::MAX))?;
        u32::try_from(value).ok()
    };
    let voluntary_exits_max = counter("voluntary_exits_max", raw.voluntary_exits_max);
    let voluntary_exits_group_max =
        counter("voluntary_exits_group_max", raw.voluntary_exits_group_max);
    let deposits_max = counter("deposits_max", raw.deposits_max);
    Some(KeyGroup {
        name: name?,
        keys: keys?,
        allow_voluntary_exit: raw.allow_voluntary_exit,
        voluntary_exits_max: voluntary_exits_max?,
        voluntary_exits_group_max: voluntary_exits_group_max?,
        allow_deposit: raw.allow_deposit,
        deposits_max: deposits_max?,
    })
}

/// One key a line; empty lines and what follows a `#` are skipped.
fn read_keys(checker: &mut Checker<'_>, path: &str, file: &Path) -> Vec<[u8; 48]> {
    let text = fs::read_to_string(file)
        .map_err(|source| ProblemKind::KeysFile { path: file.to_owned(), source });
    let Some(text) = checker.valid(path, text) else {
        return Vec::new();
    };
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let key = line.split('#').next().unwrap_or_default().trim();
        if key.is_empty() {
            continue;
        }
        let key = hex::parse(key).map_err(|problem| ProblemKind::KeysFileLine {
            path: file.to_owned(),
            line: index + 1,
            problem: Box::new(problem),
        });
        keys.extend(checker.valid(path, key));
    }
    keys
}
