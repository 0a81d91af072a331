//! The places of the named clients: what a lease is held by outlives the process, so a name keeps
//! its place for as long as the baseline lasts.

use std::sync::Arc;

use parking_lot::RwLock;
use policy::ClientIndex;

use super::testimony::{Testimony, median};

/// Names in the order of their places. None is ever taken out.
#[derive(Debug, Default)]
pub struct ClientNames(RwLock<Vec<Named>>);

#[derive(Debug)]
struct Named {
    name: String,
    testimony: Arc<Testimony>,
}

impl Named {
    fn new(name: String) -> Self {
        Self { name, testimony: Arc::default() }
    }
}

/// A client's place, and what it says of the time.
#[derive(Clone, Debug)]
pub struct Place {
    /// The place.
    pub index: ClientIndex,
    /// What its duties say of the time.
    pub testimony: Arc<Testimony>,
}

impl ClientNames {
    /// The names that had places before, in their order.
    pub fn new(names: Vec<String>) -> Self {
        Self(RwLock::new(names.into_iter().map(Named::new).collect()))
    }

    /// The place of a name; a new name gets the next one. Beyond 65,535 names all share the last.
    pub fn place(&self, name: &str) -> Place {
        let find = |names: &[Named]| {
            let index = names.iter().position(|known| known.name == name)?;
            let index_or_last = ClientIndex(u16::try_from(index).unwrap_or(u16::MAX));
            Some(Place { index: index_or_last, testimony: Arc::clone(&names[index].testimony) })
        };
        if let Some(place) = find(&self.0.read()) {
            return place;
        }
        let mut names = self.0.write();
        find(&names).unwrap_or_else(|| {
            names.push(Named::new(name.to_owned()));
            find(&names).expect("it was added")
        })
    }

    /// The place of a name that has one.
    pub fn known(&self, name: &str) -> Option<ClientIndex> {
        let index = self.0.read().iter().position(|known| known.name == name)?;
        Some(ClientIndex(u16::try_from(index).unwrap_or(u16::MAX)))
    }

    /// The [place](Self::place) as a number.
    pub fn index(&self, name: &str) -> ClientIndex {
        self.place(name).index
    }

    /// The name that has a place.
    pub fn name(&self, index: ClientIndex) -> Option<String> {
        self.0.read().get(usize::from(index.0)).map(|named| named.name.clone())
    }

    /// Every name, by its place.
    pub fn names(&self) -> Vec<String> {
        self.0.read().iter().map(|named| named.name.clone()).collect()
    }

    /// By how many milliseconds the clients' duties lie outside their slots, less than 0 for too
    /// early: the median of their medians since the last call, and how many clients it rests on.
    pub fn disagreement_ms(&self) -> Option<(i64, usize)> {
        let names = self.0.read();
        let mut medians: Vec<i64> =
            names.iter().filter_map(|named| named.testimony.take()).collect();
        let clients = medians.len();
        (clients > 0).then(|| (median(&mut medians), clients))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_place() {
        let names = ClientNames::new(vec!["one".to_owned(), "two".to_owned()]);
        assert_eq!(names.index("two"), ClientIndex(1));
        assert_eq!(names.index("three"), ClientIndex(2));
        assert_eq!(names.index("one"), ClientIndex(0));
        assert_eq!(names.index("three"), ClientIndex(2));
        assert_eq!(names.names(), ["one", "two", "three"]);
        let after_restart = ClientNames::new(names.names());
        assert_eq!(after_restart.index("three"), ClientIndex(2));
    }
}
