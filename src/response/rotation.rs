//! Rotation windows: keys go from one client to another, each once, with both never at work at the
//! same time; and a person's script can ask whether it may go on.
//!
//! | file | what |
//! |---|---|
//! | `rotation/plan.rs` | what is asked for, and what of it is refused |
//! | `rotation/record.rs` | one window, in memory and on disk |
//! | `rotation/follow.rs` | what follows from time, moves and overlaps; told once |
//! | `rotation/show.rs` | progress, for people and scripts |
//!
//! # States
//! | state | what it means for its keys |
//! |---|---|
//! | planned | nothing yet: it opens later |
//! | open | none has moved; the first request of the new client moves a key |
//! | moving | some have moved: the new client owns those, the old one is fenced from them |
//! | completed | all have moved; the window holds no longer |
//! | halted | both clients asked for one key: none moves any more, each stays with its owner |
//! | expired | its time is over, or somebody closed it: none moves any more |
//!
//! The last three are for ever. After a halt one opens another window for what has not moved.
//!
//! # What is where
//! The lease of a key is in the key's state, and says by which window it moved: progress is what
//! the leases say, also after a crash. A window is put into the policy in force beside those of the
//! document; the engine halts it under the key's lock, before anything else is done about it. Here
//! is what is kept of it on disk and what is told.
//!
//! # What a move does not wait for
//! A request of the former owner that was admitted before the move may reach the signer after the
//! new owner's first, within the time a signer is given to answer. It was admitted under the key's
//! lock, before the other: its watermark stands, and the new owner's votes and blocks were checked
//! against it (EIP-3076), so the two cannot conflict. Nothing that comes after the move passes.
//!
//! # Locks
//! `known` is a leaf: taken after a key's lock by whoever judges, and whoever holds it takes no
//! other. `changing` is held by who changes a window and waits for the disk; nobody who judges
//! takes it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use policy::{ClientIndex, WindowId};
use serde_json::json;
use slashing_db::SideTableError;
use thiserror::Error;
use tokio::sync::watch;

use self::follow::{News, tell};
use self::plan::Other;
pub use self::plan::Plan;
use self::record::{End, Ending, Rotation};
pub use self::show::{BatchLine, KeyLine, Proceed, WindowLine, WindowPage};
use super::ResponseTable;
use crate::audit::Actor;
use crate::sign::Gate;

mod follow;
mod plan;
mod record;
mod show;
#[cfg(test)]
mod tests;

/// The rotation windows that were opened while the gate ran.
#[derive(Debug)]
pub struct Windows {
    known: Mutex<BTreeMap<WindowId, Rotation>>,
    changing: Mutex<()>,
    has_news: AtomicBool,
    changes: watch::Sender<u64>,
}

/// Both clients of a rotation asked for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// In which window.
    pub window: WindowId,
    /// For which key: its place.
    pub key: u32,
    /// Who asked without being the owner.
    pub client: ClientIndex,
    /// When, in milliseconds of Unix time.
    pub at_unix_ms: u64,
}

/// Who wants something of a window, and why.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// In their words.
    pub reason: &'a str,
}

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum WindowError {
    /// A value that cannot be.
    #[error("{field}: {reason}")]
    Invalid {
        /// Of the plan.
        field: &'static str,
        /// Why not.
        reason: String,
    },
    /// It contradicts how things are.
    #[error("{0}")]
    Conflict(String),
    /// There is none of that name.
    #[error("no window has the id {0}; `portcullis admin windows list` shows them")]
    Unknown(String),
    /// The disk did not take it.
    #[error("windows cannot be written; look at the disk of slashing.directory")]
    Table(#[from] SideTableError),
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            changing: Mutex::default(),
            has_news: AtomicBool::new(false),
            changes: watch::Sender::new(0),
        }
    }
}

impl Windows {
    /// Goes on with what was kept: before anything is signed. Which keys have moved, their leases
    /// say.
    ///
    /// # Errors
    /// A table that cannot be read.
    pub fn resume(&self, gate: &Gate) -> Result<(), SideTableError> {
        let _changing = self.changing.lock();
        let mut known = record::read(&gate.response.table, gate)?;
        for rotation in known.values_mut() {
            rotation.moved = rotation.moved_by_leases(gate);
            rotation.patience_unix_ms = now_ms(gate) + CRASH_MS;
            rotation.is_end_kept = rotation.end.is_some();
            if let Some(End { how: Ending::Halted, at_unix_ms, .. }) = &rotation.end {
                gate.judgement.engine.halt(rotation.id, *at_unix_ms);
            } else if rotation.end.is_none() && gate.judgement.engine.is_halted(rotation.id) {
                // The engine was saved between the overlap and its record.
                rotation.end = Some(End::halted_before_a_crash(now_ms(gate)));
                rotation.is_dirty = true;
            }
        }
        *self.known.lock() = known;
        self.put_in_force(gate);
        self.has_news.store(true, Ordering::Release);
        Ok(())
    }

    /// Opens or plans a window: on disk, then in force, then it returns its id.
    ///
    /// # Errors
    /// [`WindowError`]: nothing has changed.
    pub fn open(&self, gate: &Gate, plan: &Plan, actor: &Actor) -> Result<String, WindowError> {
        let _changing = self.changing.lock();
        let others: Vec<Other> = self.known.lock().values().map(Other::of).collect();
        let rotation = plan::checked(plan, actor, gate, &others)?;
        let forgotten = record::forgotten(&self.known.lock(), rotation.opened_unix_ms);
        let mut rows = rotation.rows();
        rows.extend(forgotten.iter().flat_map(|id| record::no_rows(*id)));
        gate.response.table.commit(rows)?;
        let (id, news) = (rotation.id, rotation.opened());
        {
            let mut known = self.known.lock();
            known.retain(|id, _| !forgotten.contains(id));
            known.insert(id, rotation);
        }
        self.put_in_force(gate);
        tell(gate, &news, actor);
        self.changed();
        Ok(record::name_of(id))
    }

    /// Ends a window before its time: no key moves any more. One that is halted stays so, and its
    /// page is over.
    ///
    /// # Errors
    /// [`WindowError`]
    pub fn close(&self, gate: &Gate, id: &str, wish: &Wish<'_>) -> Result<(), WindowError> {
        self.end_by_hand(gate, id, wish, Ending::Expired)
    }

    /// Halts a window as an overlap does.
    ///
    /// # Errors
    /// [`WindowError`]
    pub fn halt(&self, gate: &Gate, id: &str, wish: &Wish<'_>) -> Result<(), WindowError> {
        self.end_by_hand(gate, id, wish, Ending::Halted)
    }

    fn end_by_hand(
        &self,
        gate: &Gate,
        id: &str,
        wish: &Wish<'_>,
        how: Ending,
    ) -> Result<(), WindowError> {
        let now = now_ms(gate);
        self.follow(gate); // what happened before this is told before it
        let _changing = self.changing.lock();
        let (rows, news) = {
            let mut known = self.known.lock();
            let rotation = find(&mut known, id)?;
            let by = record::name_of_actor(wish.actor);
            let news = rotation.end_by_hand(how, now, &by, wish.reason)?;
            (rotation.row(), news)
        };
        if how == Ending::Halted {
            gate.judgement.engine.halt(news.window, now);
        }
        self.put_in_force(gate);
        gate.response.table.commit([rows])?;
        self.mark_kept([news.window]);
        tell(gate, &news, wish.actor);
        self.changed();
        Ok(())
    }

    /// Notes that both clients asked for one key; the engine has halted the window already. Called
    /// under the key's lock, waits for nothing.
    pub fn overlapped(&self, overlap: Overlap) {
        if let Some(rotation) = self.known.lock().get_mut(&overlap.window) {
            rotation.overlapped(overlap);
            self.has_news.store(true, Ordering::Release);
        }
    }

    /// Notes keys that have moved, once their leases are on disk.
    pub fn moved(&self, moves: impl IntoIterator<Item = (WindowId, u32)>) {
        let mut known = self.known.lock();
        for (window, key) in moves {
            if let Some(rotation) = known.get_mut(&window) {
                rotation.moved.insert(key);
                self.has_news.store(true, Ordering::Release);
            }
        }
        drop(known);
        self.changed();
    }

    /// Whether something happened that nobody has followed yet.
    pub fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire)
    }

    /// Writes down and tells what has happened since the last time: halts, ends, expiries. May wait
    /// for a disk. The page of a halt joins that of its incident, so it waits a little for that.
    pub fn follow(&self, gate: &Gate) {
        let _changing = self.changing.lock();
        self.has_news.store(false, Ordering::Release);
        let now = now_ms(gate);
        let mut all: Vec<(News, Actor)> = Vec::new();
        let (mut rows, mut ended) = (Vec::new(), Vec::new());
        let names = gate.judgement.clients.names();
        let pages = self.pages(gate);
        for rotation in self.known.lock().values_mut() {
            let awaits = rotation.awaits_its_notice(pages.get(&rotation.id), now);
            if awaits {
                self.has_news.store(true, Ordering::Release);
            }
            let news = if awaits { None } else { rotation.follow(now, &names) };
            if std::mem::take(&mut rotation.is_dirty) || news.is_some() {
                rows.push(rotation.row());
                ended.extend(rotation.end.is_some().then_some(rotation.id));
            }
            all.extend(news.map(|news| (news, Actor::Gate("rotation".to_owned()))));
        }
        if !all.is_empty() {
            self.put_in_force(gate);
        }
        if !rows.is_empty() && !self.written(gate, rows) {
            return; // it is tried again, and told when it is on disk
        }
        self.mark_kept(ended);
        for (news, actor) in &all {
            tell(gate, news, actor);
        }
        self.mark_told(gate, &all);
        self.changed();
    }

    /// The incidents of halts that are to be told.
    fn pages(&self, gate: &Gate) -> HashMap<WindowId, String> {
        let halted: Vec<(WindowId, String)> = {
            let known = self.known.lock();
            let halted = known.values().filter(|it| it.is_halted() && !it.is_told);
            halted.map(|it| (it.id, it.name.clone())).collect()
        };
        let incidents = &gate.response.incidents;
        let page = |(id, name): (WindowId, String)| Some((id, incidents.live_of_rotation(&name)?));
        halted.into_iter().filter_map(page).collect()
    }

    /// Their ends are on disk.
    fn mark_kept(&self, ended: impl IntoIterator<Item = WindowId>) {
        let mut known = self.known.lock();
        for id in ended {
            if let Some(rotation) = known.get_mut(&id) {
                rotation.is_end_kept = true;
            }
        }
    }

    /// What was told is not told again after a crash.
    fn mark_told(&self, gate: &Gate, all: &[(News, Actor)]) {
        let mut rows = Vec::new();
        for (news, _) in all {
            if let Some(rotation) = self.known.lock().get_mut(&news.window) {
                rotation.is_told = true;
                rows.push(rotation.row());
            }
        }
        if !rows.is_empty() {
            self.written(gate, rows);
        }
    }

    /// Looks at the leases of all keys that are still to move: a key may also have gone to its new
    /// client because it was free, or because its owner had left it.
    pub fn reconcile(&self, gate: &Gate) {
        let open: Vec<_> = {
            let known = self.known.lock();
            let open = known.values().filter(|it| it.end.is_none());
            open.map(|it| (it.id, it.pending())).collect()
        };
        for (id, pending) in open {
            let moved = pending.into_iter().filter(|(key, to)| record::is_owner(gate, *key, *to));
            let moved: Vec<_> = moved.map(|(key, _)| (id, key)).collect();
            if !moved.is_empty() {
                self.moved(moved);
            }
        }
    }

    /// Told whenever something has changed: for long polls.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn written(
        &self,
        gate: &Gate,
        rows: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    ) -> bool {
        let written = gate.response.table.commit(rows);
        if let Err(error) = &written {
            self.has_news.store(true, Ordering::Release);
            tracing::error!(
                event = "windows_not_written",
                reason = crate::enrolment::with_causes(error),
                "the state of rotation windows cannot be written; look at the disk of \
                 slashing.directory. What is halted stays halted while this gate runs"
            );
        }
        written.is_ok()
    }

    /// Puts the windows that hold into the policy.
    fn put_in_force(&self, gate: &Gate) {
        let groups = gate.judgement.policy().groups.len();
        let windows = {
            let known = self.known.lock();
            known.values().filter(|it| it.holds()).map(|it| it.compiled(groups)).collect()
        };
        gate.judgement.set_windows(windows);
    }
}

fn find<'a>(
    known: &'a mut BTreeMap<WindowId, Rotation>,
    id: &str,
) -> Result<&'a mut Rotation, WindowError> {
    let found = record::id_of(id).and_then(|id| known.get_mut(&id));
    found.ok_or_else(|| WindowError::Unknown(id.to_owned()))
}

fn now_ms(gate: &Gate) -> u64 {
    gate.clock.now().unix_ns / 1_000_000
}

/// What a window's record in the audit log says beside its words.
fn details(rotation: &Rotation) -> serde_json::Value {
    json!({
        "window": record::name_of(rotation.id),
        "name": rotation.name,
        "from_client": rotation.from.1,
        "to_client": rotation.to.1,
        "keys": rotation.keys.len(),
        "moved": rotation.moved.len(),
        "contested": rotation.overlaps.len(),
        "opens_at_unix_ms": rotation.opens_unix_ms,
        "expires_at_unix_ms": rotation.expires_unix_ms,
    })
}

/// How long a halt of before a crash waits for an incident: until the client that was left alive
/// asks again.
const CRASH_MS: u64 = 13_000;
