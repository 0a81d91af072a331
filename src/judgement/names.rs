//! The places of the named clients: what a lease is held by outlives the process, so a name keeps
//! its place for as long as the baseline lasts.

use parking_lot::RwLock;
use policy::ClientIndex;

/// Names in the order of their places. None is ever taken out.
#[derive(Debug, Default)]
pub struct ClientNames(RwLock<Vec<String>>);

impl ClientNames {
    /// The names that had places before, in their order.
    pub fn new(names: Vec<String>) -> Self {
        Self(RwLock::new(names))
    }

    /// The place of a name; a new name gets the next one. Beyond 65,535 names all share the last.
    pub fn index(&self, name: &str) -> ClientIndex {
        let find = |names: &[String]| names.iter().position(|known| known == name);
        let found = find(&self.0.read());
        let place = found.unwrap_or_else(|| {
            let mut names = self.0.write();
            find(&names).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            })
        });
        ClientIndex(u16::try_from(place).unwrap_or(u16::MAX))
    }

    /// Every name, by its place.
    pub fn names(&self) -> Vec<String> {
        self.0.read().clone()
    }
}
