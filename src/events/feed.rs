//! The last events, and those to come, for whoever listens.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::Event;

#[cfg(test)]
mod tests;

/// Events that a listener can be late by.
pub(super) const KEPT: usize = 1_024;

/// The last events, and the way to those to come.
#[derive(Debug)]
pub(super) struct Feed {
    last: Mutex<VecDeque<Arc<Event>>>,
    sender: broadcast::Sender<Arc<Event>>,
}

/// What somebody who listens gets first, and the way to what follows.
#[derive(Debug)]
pub struct Listening {
    /// What happened since the event that was named, or all that is kept.
    pub missed: Vec<Arc<Event>>,
    /// Whether the named event is not kept any more: others may have been missed too.
    pub has_gap: bool,
    /// What happens from now on.
    pub following: broadcast::Receiver<Arc<Event>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { last: Mutex::default(), sender: broadcast::channel(KEPT).0 }
    }
}

impl Feed {
    pub(super) fn push(&self, event: &Arc<Event>) {
        let mut last = self.last.lock();
        if last.len() >= KEPT {
            last.pop_front();
        }
        last.push_back(Arc::clone(event));
        let _ = self.sender.send(Arc::clone(event)); // nobody need listen
    }

    /// Begins after the event with this id; without one, with what comes.
    pub(super) fn listen(&self, after: Option<&str>) -> Listening {
        let last = self.last.lock(); // nothing comes between the past and what follows
        let following = self.sender.subscribe();
        let Some(after) = after else {
            return Listening { missed: Vec::new(), has_gap: false, following };
        };
        let place = last.iter().position(|event| event.id == after);
        let missed = last.iter().skip(place.map_or(0, |place| place + 1)).cloned().collect();
        Listening { missed, has_gap: place.is_none(), following }
    }
}
