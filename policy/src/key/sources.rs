//! Which sources a key was signed for from.

use crate::bytes::{Reader, Writer};

/// How many sources a key remembers.
const SOURCES: usize = 4;

/// One source of a key: the epochs in which something was released to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sighting {
    token: u32,
    /// Distinct epochs, saturating.
    epochs: u16,
    /// The last of them, its low 16 bits: 65,536 epochs are 291 days.
    last: u16,
}

/// The few sources that a key was last signed for from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources([Sighting; SOURCES]);

impl Sources {
    pub(crate) const BYTES: usize = 8 * SOURCES;

    /// In how many distinct epochs `token` was seen.
    pub(crate) fn epochs(&self, token: u32) -> u16 {
        let found = self.0.iter().find(|sighting| sighting.token == token);
        found.map_or(0, |sighting| sighting.epochs)
    }

    /// How many epochs ago `token` was last seen.
    pub(crate) fn epochs_since(&self, token: u32, epoch: u64) -> Option<u64> {
        let found = self.0.iter().find(|sighting| sighting.token == token)?;
        Some(u64::from((epoch as u16).wrapping_sub(found.last)))
    }

    /// Notes a signature that was released to `token`.
    pub(crate) fn released(&mut self, token: u32, epoch: u64) {
        let epoch = epoch as u16;
        if let Some(seen) = self.0.iter_mut().find(|sighting| sighting.token == token) {
            if seen.last != epoch {
                seen.epochs = seen.epochs.saturating_add(1);
                seen.last = epoch;
            }
            return;
        }
        // The one that was seen least makes room: a stranger of one epoch displaces no regular.
        if let Some(least) = self.0.iter_mut().min_by_key(|sighting| sighting.epochs) {
            *least = Sighting { token, epochs: 1, last: epoch };
        }
    }

    /// Each source that was seen: its token, and in how many epochs.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (u32, u16)> {
        let seen = self.0.iter().filter(|sighting| sighting.epochs > 0);
        seen.map(|sighting| (sighting.token, sighting.epochs))
    }

    /// Gives a source another token, for a dry run.
    pub(crate) fn rename(&mut self, token: u32, other: u32) {
        for sighting in self.0.iter_mut().filter(|sighting| sighting.token == token) {
            sighting.token = other;
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        for sighting in &self.0 {
            out.u32(sighting.token);
            out.all_u16(&[sighting.epochs, sighting.last]);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut sightings = [Sighting::default(); SOURCES];
        for sighting in &mut sightings {
            let token = from.u32()?;
            let [epochs, last] = from.all_u16()?;
            *sighting = Sighting { token, epochs, last };
        }
        Some(Self(sightings))
    }
}
