//! The state of a key in plain numbers, for people: what is normal for it.

use crate::{ClientIndex, DutyType, KeyState, Source};

/// What is normal for a key. Times are as the state keeps them.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Who owns it; `None` while nobody does.
    pub owner: Option<ClientIndex>,
    /// Who owned it before, and when that ended: epoch and seconds of Unix time.
    pub former: Option<(ClientIndex, u64, u64)>,
    /// The slot of its last signature; `None` before the first.
    pub last_slot: Option<u64>,
    /// The sources that it was signed for from, those seen most first.
    pub sources: Vec<SourceSeen>,
    /// Signatures released, saturating.
    pub released: u32,
    /// The epoch that duties are counted for, and how many distinct ones of each type it had.
    pub epoch: u64,
    /// See `epoch`; the types of which there were any.
    pub duties: Vec<(DutyType, u16)>,
    /// The context score of the last request, in nats; `None` where its source was the key's own.
    pub score_nats: Option<f32>,
    /// Where it usually signs in its source's slot, and its spread, in milliseconds after the
    /// median of the keys before it; `None` while that is not known.
    pub place_ms: Option<(f32, f32)>,
    /// How far that has moved since it was last written down, in milliseconds.
    pub drift_ms: f32,
    /// The share sets that sign for it, by their numbers, with their weights.
    pub share_sets: usize,
}

/// One source of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceSeen {
    /// The token that stands for client, certificate, dialect and network.
    pub token: u32,
    /// In how many epochs it was signed for from there, saturating.
    pub epochs: u16,
    /// Whether its owner comes from there.
    pub is_owners: bool,
}

impl KeyState {
    /// The state in plain numbers.
    pub fn describe(&self) -> Described {
        let lease = &self.lease;
        let is_owned = !lease.is_free();
        let seen = self.sources.seen().map(|(token, epochs)| SourceSeen {
            token,
            epochs,
            is_owners: is_owned && token == lease.token,
        });
        let mut sources: Vec<SourceSeen> = seen.collect();
        sources.sort_by_key(|source| std::cmp::Reverse(source.epochs));
        let epoch = self.ledger.epoch();
        let duties = DutyType::ALL.map(|duty| (duty, self.ledger.count(duty, epoch)));
        Described {
            owner: self.holder().owner,
            former: (lease.moved_s != 0)
                .then(|| (lease.former, lease.moved_epoch.into(), lease.moved_s.into())),
            last_slot: self.holder().last_slot,
            sources,
            released: self.released,
            epoch,
            duties: duties.into_iter().filter(|(_, count)| *count > 0).collect(),
            score_nats: (self.score != i8::MIN).then(|| f32::from(self.score) / 2.0),
            place_ms: self.timing.place_ms(),
            drift_ms: self.timing.drift_ms(),
            share_sets: self.shares.recent().count(),
        }
    }

    /// The state as if `source` were where its owner comes from: for a dry run, which knows who is
    /// to ask but not how. Only the owner's own requests are told by that; others come as they are.
    #[must_use]
    pub fn assuming_usual(&self, source: &Source) -> Self {
        let mut assumed = self.clone();
        if self.lease.is_free() || self.lease.owner != source.client {
            return assumed;
        }
        let (usual, token) = (self.lease.token, source.token());
        assumed.sources.rename(usual, token);
        assumed.lease.look_like(source);
        assumed
    }
}

impl DutyType {
    /// Its name in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attestation => "attestation",
            Self::Block => "block",
            Self::RandaoReveal => "randao_reveal",
            Self::SelectionProof => "selection_proof",
            Self::AggregateAndProof => "aggregate_and_proof",
            Self::SyncMessage => "sync_message",
            Self::SyncSelectionProof => "sync_selection_proof",
            Self::SyncContribution => "sync_contribution",
            Self::Registration => "registration",
            Self::VoluntaryExit => "voluntary_exit",
            Self::Deposit => "deposit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Moment;

    fn source(client: u16, dialect: u64) -> Source {
        Source { client: ClientIndex(client), certificate: 1, dialect, prefix: 1 }
    }

    #[test]
    fn a_new_key_has_no_owner_and_a_used_one_has() {
        let mut state = KeyState::new();
        let described = state.describe();
        assert_eq!((described.owner, described.last_slot), (None, None));
        assert!(described.sources.is_empty() && described.duties.is_empty());
        let at = Moment { unix_ms: 9_000, slot: 70, epoch: 2, into_slot_ms: 0 };
        state.lease.take(&source(3, 5), at);
        state.lease.signed(at);
        state.sources.released(source(3, 5).token(), 2);
        let described = state.describe();
        assert_eq!((described.owner, described.last_slot), (Some(ClientIndex(3)), Some(70)));
        let seen = described.sources[0];
        assert_eq!((seen.epochs, seen.is_owners), (1, true));
    }

    #[test]
    fn only_the_owner_is_assumed_to_come_as_usual() {
        let mut state = KeyState::new();
        let at = Moment { unix_ms: 9_000, slot: 70, epoch: 2, into_slot_ms: 0 };
        state.lease.take(&source(3, 5), at);
        state.sources.released(source(3, 5).token(), 2);
        let assumed = state.assuming_usual(&source(3, 6));
        assert_eq!(assumed.lease.token, source(3, 6).token());
        assert_eq!(assumed.sources.epochs(source(3, 6).token(), 2), 1);
        assert_eq!(state.assuming_usual(&source(4, 6)), state);
    }
}
