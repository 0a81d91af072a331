//! Which sources a key was signed for from.

use crate::bytes::{Reader, Writer};

/// How many sources a key remembers.
const SOURCES: usize = 4;

/// Epochs after which what is known of a source counts half: 28 days of mainnet.
pub(crate) const HALVED_EPOCHS: u64 = 6_300;

/// One source of a key: the epochs in which something was released to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sighting {
    token: u32,
    /// Distinct epochs, saturating, as they counted at the last of them.
    epochs: u16,
    /// The last of them, its low 16 bits: 65,536 epochs are 291 days.
    last: u16,
}

/// The few sources that a key was last signed for from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources([Sighting; SOURCES]);

impl Sighting {
    /// The epochs as they count now: half for every 28 days that have ended since the last.
    fn counts(&self, epoch: u64) -> u16 {
        let last = epoch.saturating_sub(self.ago(epoch));
        let halvings = epoch / HALVED_EPOCHS - last / HALVED_EPOCHS;
        self.epochs.checked_shr(halvings as u32).unwrap_or(0)
    }

    /// Epochs since the last.
    const fn ago(&self, epoch: u64) -> u64 {
        (epoch as u16).wrapping_sub(self.last) as u64
    }
}

impl Sources {
    pub(crate) const BYTES: usize = 8 * SOURCES;

    /// In how many distinct epochs `token` was seen, those of long ago counting less.
    pub(crate) fn epochs(&self, token: u32, epoch: u64) -> u16 {
        let found = self.0.iter().find(|sighting| sighting.token == token);
        found.map_or(0, |sighting| sighting.counts(epoch))
    }

    /// How many epochs ago `token` was last seen.
    pub(crate) fn epochs_since(&self, token: u32, epoch: u64) -> Option<u64> {
        let found = self.0.iter().find(|sighting| sighting.token == token)?;
        Some(found.ago(epoch))
    }

    /// Notes a signature that was released to `token`.
    pub(crate) fn released(&mut self, token: u32, epoch: u64) {
        let last = epoch as u16;
        if let Some(seen) = self.0.iter_mut().find(|sighting| sighting.token == token) {
            if seen.last != last {
                seen.epochs = seen.counts(epoch).saturating_add(1);
                seen.last = last;
            }
            return;
        }
        // The one that was seen least makes room: a stranger of one epoch displaces no regular.
        if let Some(least) = self.0.iter_mut().min_by_key(|sighting| sighting.counts(epoch)) {
            *least = Sighting { token, epochs: 1, last };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_knows_of_a_source_halves_every_28_days() {
        let mut sources = Sources::default();
        for epoch in 0..8 {
            sources.released(1, epoch);
        }
        let counts: Vec<u16> =
            [7, 6_299, 6_300, 12_600, 18_900, 25_200].map(|epoch| sources.epochs(1, epoch)).into();
        assert_eq!(counts, [8, 8, 4, 2, 1, 0]);
        // It goes on from what is left.
        sources.released(1, 12_600);
        assert_eq!(sources.epochs(1, 12_600), 3);
        assert_eq!(sources.epochs(1, 18_899), 3);
        // A source that signs all the time stays known.
        for epoch in 0..20_000 {
            sources.released(2, epoch);
        }
        assert!(sources.epochs(2, 20_000) > 1_000);
        assert_eq!(sources.epochs_since(2, 20_000), Some(1));
    }

    #[test]
    fn one_of_long_ago_makes_room_before_one_of_late() {
        let mut sources = Sources::default();
        for token in 1..5 {
            for epoch in 0..if token == 1 { 9 } else { 6 } {
                sources.released(token, epoch);
            }
        }
        let (old, late) = (1, [2, 3, 4]);
        for token in late {
            sources.released(token, 12_600);
            sources.released(token, 12_601);
        }
        sources.released(5, 12_602);
        assert_eq!(sources.epochs(old, 12_602), 0, "9 are 2 by now, the others have 3");
        assert!(late.iter().all(|token| sources.epochs(*token, 12_602) == 3));
    }
}
