//! Who has which place in a replay.

use std::cell::RefCell;
use std::collections::HashMap;

use policy::ClientIndex;

/// The places that a draft and a recording share: the draft names some, the recording the rest.
#[derive(Debug, Default)]
pub struct SharedPlaces {
    clients: RefCell<Vec<String>>,
    keys: RefCell<HashMap<[u8; 48], u32>>,
}

impl SharedPlaces {
    /// The place of a client; a new one gets the next.
    pub fn client(&self, name: &str) -> ClientIndex {
        let mut clients = self.clients.borrow_mut();
        let place = clients.iter().position(|known| known == name).unwrap_or_else(|| {
            clients.push(name.to_owned());
            clients.len() - 1
        });
        ClientIndex(u16::try_from(place).unwrap_or(u16::MAX))
    }

    /// The place of a key; a new one gets the next.
    pub fn key(&self, public_key: &[u8; 48]) -> u32 {
        let mut keys = self.keys.borrow_mut();
        let next = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        *keys.entry(*public_key).or_insert(next)
    }

    /// The name of a client that has a place.
    pub fn name(&self, client: ClientIndex) -> String {
        self.clients.borrow().get(usize::from(client.0)).cloned().unwrap_or_default()
    }
}
