//! The slashing store, modelled as simply as it answers: EIP-3076 by watermarks.

/// What a key has signed last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watermarks {
    source: u64,
    target: u64,
    vote: u64,
    slot: u64,
    block: u64,
}

/// What the store says about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Free,
    Repeat,
    Conflict,
}

impl Watermarks {
    pub(crate) fn check(&self, message: &policy::Message, root: u64) -> Answer {
        match *message {
            policy::Message::Attestation { source_epoch, target_epoch, .. } => {
                if root == self.vote && target_epoch == self.target {
                    Answer::Repeat
                } else if target_epoch <= self.target || source_epoch < self.source {
                    Answer::Conflict
                } else {
                    Answer::Free
                }
            }
            policy::Message::Block { slot, .. } => {
                if root == self.block && slot == self.slot {
                    Answer::Repeat
                } else if slot <= self.slot {
                    Answer::Conflict
                } else {
                    Answer::Free
                }
            }
            policy::Message::RandaoReveal { .. }
            | policy::Message::SelectionProof { .. }
            | policy::Message::AggregateAndProof { .. }
            | policy::Message::SyncMessage { .. }
            | policy::Message::SyncSelectionProof { .. }
            | policy::Message::SyncContribution { .. }
            | policy::Message::Registration { .. }
            | policy::Message::VoluntaryExit { .. }
            | policy::Message::Deposit { .. } => Answer::Free,
        }
    }

    pub(crate) fn record(&mut self, message: &policy::Message, root: u64) {
        match *message {
            policy::Message::Attestation { source_epoch, target_epoch, .. } => {
                (self.source, self.target, self.vote) = (source_epoch, target_epoch, root);
            }
            policy::Message::Block { slot, .. } => (self.slot, self.block) = (slot, root),
            policy::Message::RandaoReveal { .. }
            | policy::Message::SelectionProof { .. }
            | policy::Message::AggregateAndProof { .. }
            | policy::Message::SyncMessage { .. }
            | policy::Message::SyncSelectionProof { .. }
            | policy::Message::SyncContribution { .. }
            | policy::Message::Registration { .. }
            | policy::Message::VoluntaryExit { .. }
            | policy::Message::Deposit { .. } => {}
        }
    }
}
