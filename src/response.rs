//! What happens after a verdict: keys are stopped, rotations halted, people told.
//!
//! A request that was not simply signed becomes a [`Notice`], which its worker hands over without
//! waiting; one thread reads them in order and decides what follows: incidents, quarantines, the
//! breaker of a cohort, the state of a rotation window, events. What it decides is in memory first,
//! then on disk, then told.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

use policy::{Decision, GroupIndex, Moment, Source};
use prometheus::IntCounter;

use crate::audit::timeline::Timeline;
use crate::audit::{Audit, Position};
use crate::clients::Client;
use crate::clock::Stopwatch;
use crate::eth::{DutyKind, SigningRoot};
use crate::events::Events;
use crate::metrics::Verdict;
use crate::validators::RowIndex;

use self::incident::Incidents;
pub use self::normal::Normal;
use self::playbook::Playbook;
use self::quarantine::Quarantines;
use self::rotation::Windows;
pub use self::table::{ResponseTable, Rows};

pub mod breaker;
pub mod containment;
pub mod incident;
pub mod measures;
mod normal;
pub mod playbook;
pub mod quarantine;
pub mod rotation;
mod table;

/// One request that was refused or failed, or of which policy had something to say.
#[derive(Clone, Debug)]
pub struct Notice {
    /// When it came.
    pub at: Moment,
    /// What it is called.
    pub request_id: String,
    /// The key as the path names it, and its row where it is enrolled.
    pub public_key: String,
    /// Its row, where it is enrolled.
    pub row: Option<RowIndex>,
    /// Its key group, once known.
    pub group: Option<GroupIndex>,
    /// Who asked.
    pub client: Arc<Client>,
    /// From where.
    pub peer: SocketAddr,
    /// How it came along, once known.
    pub source: Option<Source>,
    /// What was asked for, once known.
    pub kind: Option<DutyKind>,
    /// Its signing root, once known.
    pub root: Option<SigningRoot>,
    /// Slot, epoch, source and target epoch, where the duty has them.
    pub times: [Option<u64>; 4],
    /// Who must act.
    pub verdict: Verdict,
    /// The stable code of the outcome.
    pub code: &'static str,
    /// The outcome in words.
    pub reason: String,
    /// What was normal for the key, where it is enrolled and was not simply signed for.
    pub normal: Option<Normal>,
    /// What policy thought, where it was asked.
    pub decision: Option<Decision>,
    /// Its record in the audit log.
    pub position: Option<Position>,
}

impl Notice {
    /// Whether it was refused because it conflicts with what was signed (EIP-3076).
    pub fn is_conflict(&self) -> bool {
        CONFLICTS.contains(&self.code)
    }
}

/// What follows from verdicts, and what it is kept in.
pub struct Response {
    /// Where its state is kept.
    pub table: ResponseTable,
    /// Where what was done is written down.
    pub audit: Audit,
    /// Where people are told.
    pub events: Events,
    /// What has one cause.
    pub incidents: Incidents,
    /// What the audit log has about a key.
    pub timeline: Arc<Timeline>,
    /// Who is refused what.
    pub quarantines: Quarantines,
    /// What is bound to what.
    pub playbook: Playbook,
    /// The rotations that were opened while the gate ran.
    pub windows: Windows,
    notices: OnceLock<SyncSender<(Stopwatch, Notice)>>,
    lost: IntCounter,
}

impl Response {
    /// A response that keeps its state in `table`. `lost` counts notices that nobody could take.
    pub fn new(table: ResponseTable, audit: Audit, events: Events, lost: IntCounter) -> Self {
        Self {
            table,
            audit,
            events,
            incidents: Incidents::default(),
            timeline: Arc::default(),
            quarantines: Quarantines::default(),
            playbook: Playbook::default(),
            windows: Windows::default(),
            notices: OnceLock::new(),
            lost,
        }
    }

    /// The same with another playbook.
    #[must_use]
    pub fn with_playbook(self, playbook: Playbook) -> Self {
        Self { playbook, ..self }
    }

    /// A response that keeps nothing and tells nobody.
    pub fn off() -> Self {
        let lost = IntCounter::new("lost", "lost").expect("a valid name");
        Self::new(ResponseTable::default(), Audit::off(), Events::off(), lost)
    }

    /// The notices from now on, each with the time since its verdict, for the thread that acts on
    /// them. Only the first call counts.
    pub fn notices(&self) -> Receiver<(Stopwatch, Notice)> {
        let (sender, receiver) = sync_channel(NOTICES_MAX);
        let _ = self.notices.set(sender);
        receiver
    }

    /// Hands over what happened to a request. Waits for nothing: where too many wait, it is counted
    /// and lost, and its record in the audit log remains.
    pub fn notice(&self, notice: impl FnOnce() -> Notice) {
        let Some(notices) = self.notices.get() else { return };
        match notices.try_send((Stopwatch::start(), notice())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost.inc(),
        }
    }
}

/// A flood of refusals: 16,000 keys that are taken over in one slot, four times.
const NOTICES_MAX: usize = 65_536;
/// The codes of what conflicts with what was signed.
const CONFLICTS: [&str; 5] = [
    "double_vote",
    "surround_or_stale_source",
    "stale_target",
    "double_block_proposal",
    "stale_slot",
];
