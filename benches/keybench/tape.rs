//! The tape: what the gate sees, slot by slot, in the order of time. No label is on it.

use policy::{Message, ShareSet, Source};

use crate::label::Label;

/// What a request says about the chain that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Right,
    WrongFork,
    WrongNetwork,
}

/// One request, and who would answer it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// When it arrives, in milliseconds of true Unix time.
    pub(crate) at_ms: u64,
    pub(crate) key: u32,
    pub(crate) source: Source,
    pub(crate) message: Message,
    /// The first bytes of its signing root.
    pub(crate) root: u64,
    pub(crate) claim: Claim,
    pub(crate) due_ms: u32,
    pub(crate) shares: Option<ShareSet>,
    pub(crate) is_chosen_by_gate: bool,
}

/// The requests of one slot.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) slot: u64,
    pub(crate) requests: Vec<Request>,
    /// How far the gate's clock is off.
    pub(crate) clock_ms: i64,
    /// Nothing reaches the gate: it is not there.
    pub(crate) is_down: bool,
    /// It has just been started again.
    pub(crate) is_restarted: bool,
}

/// A slot's tape in the making: requests with their labels, not yet in order.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    requests: Vec<(Request, Label)>,
    /// What belongs to later slots.
    later: Vec<(Request, Label)>,
    order: Vec<u64>,
}

impl Draft {
    pub(crate) fn push(&mut self, request: Request, label: Label) {
        self.requests.push((request, label));
    }

    /// Puts what arrives before `end_ms` on the tape, in order, and its labels beside it.
    pub(crate) fn finish(
        &mut self,
        begin_ms: u64,
        end_ms: u64,
        tape: &mut Slot,
        labels: &mut Vec<Label>,
    ) {
        tape.requests.clear();
        labels.clear();
        self.order.clear();
        for (nth, (request, _)) in self.requests.iter().enumerate() {
            if request.at_ms < end_ms {
                let after = request.at_ms.saturating_sub(begin_ms);
                self.order.push(after << 32 | nth as u64);
            } else {
                self.later.push(self.requests[nth]);
            }
        }
        self.order.sort_unstable();
        for entry in &self.order {
            let (request, label) = self.requests[(entry & 0xffff_ffff) as usize];
            tape.requests.push(request);
            labels.push(label);
        }
        self.requests.clear();
        std::mem::swap(&mut self.requests, &mut self.later);
    }

    /// What the last request claims about the chain.
    pub(crate) fn claim_last(&mut self, claim: Claim) {
        if let Some((request, _)) = self.requests.last_mut() {
            request.claim = claim;
        }
    }

    /// Nothing of it reaches anybody.
    pub(crate) fn discard(&mut self) {
        self.requests.clear();
    }
}
