//! In which order the replicas of a set are asked.

use super::breaker::Readiness;
use crate::config::REPLICAS_MAX;

#[cfg(test)]
mod tests;

/// What is known of one replica at the moment of choice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// What its breaker says.
    pub(super) readiness: Readiness,
    /// Requests of this core that it has in hand.
    pub(super) in_flight: u32,
}

/// Places of replicas, the first to be asked first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    places: [u8; REPLICAS_MAX],
    len: usize,
}

impl Order {
    /// Those that are ready by how little they have in hand, and round robin among equals (`turn`
    /// counts the requests); then those that rest. A replica that is due for a probe leads if
    /// `take_probe` gives the probe to this request.
    pub(super) fn of(
        candidates: impl Iterator<Item = Candidate>,
        turn: usize,
        mut take_probe: impl FnMut(usize) -> bool,
    ) -> Self {
        let mut keys = [(u8::MAX, u32::MAX, usize::MAX, 0); REPLICAS_MAX];
        let mut len = 0;
        let mut probing = false;
        for (place, candidate) in candidates.take(REPLICAS_MAX).enumerate() {
            let rank = match candidate.readiness {
                Readiness::Due if !probing && take_probe(place) => {
                    probing = true;
                    0
                }
                Readiness::Ready => 1,
                Readiness::Due | Readiness::Resting => 2,
            };
            keys[place] = (rank, candidate.in_flight, place, place as u8);
            len += 1;
        }
        for key in &mut keys[..len] {
            key.2 = (key.2 + len - turn % len) % len;
        }
        keys[..len].sort_unstable();
        Self { places: keys.map(|key| key.3), len }
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = usize> {
        let Self { places, len } = *self;
        (0..len).map(move |index| usize::from(places[index]))
    }
}
