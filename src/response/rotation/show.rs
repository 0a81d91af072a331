//! Progress, for people and scripts.

use policy::{ClientIndex, WindowId};
use serde::Serialize;

use super::record::{Ending, Rotation, id_of, name_of};
use super::{WindowError, Windows, now_ms};
use crate::sign::Gate;
use crate::validators::Status;

/// One window in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WindowLine {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// `planned`, `open`, `moving`, `completed`, `halted` or `expired`.
    pub state: &'static str,
    /// The old owner.
    pub from_client: String,
    /// The new one.
    pub to_client: String,
    /// Who opened it.
    pub opened_by: String,
    /// Why.
    pub reason: String,
    /// When it was opened or planned, in milliseconds of Unix time; likewise the next two.
    pub opened_at_unix_ms: u64,
    /// From when on keys move.
    pub opens_at_unix_ms: u64,
    /// Until when.
    pub expires_at_unix_ms: u64,
    /// How long both clients may ask for one key.
    pub overlap_max_ms: u64,
    /// How many keys it has.
    pub keys: usize,
    /// How many of them have moved.
    pub moved: usize,
    /// How many both clients asked for.
    pub contested: usize,
    /// How it ended, when, by whom and why.
    pub ended_at_unix_ms: Option<u64>,
    /// As above.
    pub ended_by: Option<String>,
    /// As above.
    pub ended_because: Option<String>,
}

/// One batch of a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BatchLine {
    /// From 1.
    pub number: usize,
    /// How many keys it has.
    pub keys: usize,
    /// How many of them have moved.
    pub moved: usize,
}

/// One key of a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyLine {
    /// Which.
    pub public_key: String,
    /// Of which batch.
    pub batch: usize,
    /// `pending`, `moved`, `contested` (both clients asked; who is not the owner is fenced) or
    /// `failed`: it cannot move, for `why`.
    pub progress: &'static str,
    /// Who has its lease now.
    pub owner: Option<String>,
    /// When its lease last moved, in seconds of Unix time.
    pub moved_at_unix_s: Option<u32>,
    /// Why it cannot move.
    pub why: Option<String>,
}

/// A window with its progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WindowPage {
    /// The window.
    #[serde(flatten)]
    pub window: WindowLine,
    /// Its batches.
    pub batches: Vec<BatchLine>,
    /// Its keys, in the order of the batches.
    pub progress: Vec<KeyLine>,
}

/// Whether a script may go on with a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proceed {
    /// Every key of the batches before it has moved.
    Yes,
    /// Not yet, and why.
    NotYet(String),
    /// Never: the window is halted or over.
    No(String),
}

impl Windows {
    /// Every window, the latest first.
    pub fn list(&self, gate: &Gate) -> Vec<WindowLine> {
        let now = now_ms(gate);
        let mut lines: Vec<_> = self.known.lock().values().map(|it| it.line(now)).collect();
        lines.sort_by_key(|line| std::cmp::Reverse(line.opened_at_unix_ms));
        lines
    }

    /// One window with its progress.
    ///
    /// # Errors
    /// [`WindowError::Unknown`]
    pub fn show(&self, gate: &Gate, id: &str) -> Result<WindowPage, WindowError> {
        let rotation = self.copy(id)?;
        let mut progress = Vec::with_capacity(rotation.keys.len());
        let mut batches = Vec::with_capacity(rotation.batches.len());
        let names = gate.judgement.clients.names();
        let mut keys = rotation.keys.iter();
        for (number, &size) in (1..).zip(&rotation.batches) {
            let mut moved = 0;
            for (place, key) in keys.by_ref().take(size) {
                moved += usize::from(rotation.moved.contains(place));
                let line = rotation.key_line(gate, *place, number, &names);
                progress.push(KeyLine { public_key: key.to_string(), ..line });
            }
            batches.push(BatchLine { number, keys: size, moved });
        }
        Ok(WindowPage { window: rotation.line(now_ms(gate)), batches, progress })
    }

    /// Whether a script may go on with a batch, counted from 1; one more than there are asks
    /// whether all have moved.
    ///
    /// # Errors
    /// [`WindowError`]
    pub fn proceed(&self, gate: &Gate, id: &str, batch: usize) -> Result<Proceed, WindowError> {
        let now = now_ms(gate);
        let known = self.known.lock();
        let rotation = id_of(id).and_then(|id| known.get(&id));
        let rotation = rotation.ok_or_else(|| WindowError::Unknown(id.to_owned()))?;
        let batches = rotation.batches.len();
        if batch == 0 || batch > batches + 1 {
            let reason = format!("is from 1 to {}", batches + 1);
            return Err(WindowError::Invalid { field: "batch", reason });
        }
        Ok(rotation.proceed(batch, now))
    }

    fn copy(&self, id: &str) -> Result<Rotation, WindowError> {
        let known = self.known.lock();
        let rotation = id_of(id).and_then(|id| known.get(&id)).cloned();
        rotation.ok_or_else(|| WindowError::Unknown(id.to_owned()))
    }

    /// The state of a window, for who knows it by its id in the engine.
    pub fn state(&self, gate: &Gate, id: WindowId) -> Option<&'static str> {
        let now = now_ms(gate);
        self.known.lock().get(&id).map(|rotation| rotation.state(now))
    }
}

impl Rotation {
    pub(super) fn state(&self, now_ms: u64) -> &'static str {
        match &self.end {
            Some(end) => state_of(end.how),
            None if self.moved.len() == self.keys.len() => "completed",
            None if now_ms >= self.expires_unix_ms => "expired",
            None if now_ms < self.opens_unix_ms => "planned",
            None if self.moved.is_empty() => "open",
            None => "moving",
        }
    }

    fn line(&self, now_ms: u64) -> WindowLine {
        let end = self.end.as_ref();
        WindowLine {
            id: name_of(self.id),
            name: self.name.clone(),
            state: self.state(now_ms),
            from_client: self.from.1.clone(),
            to_client: self.to.1.clone(),
            opened_by: self.opened_by.clone(),
            reason: self.reason.clone(),
            opened_at_unix_ms: self.opened_unix_ms,
            opens_at_unix_ms: self.opens_unix_ms,
            expires_at_unix_ms: self.expires_unix_ms,
            overlap_max_ms: 0,
            keys: self.keys.len(),
            moved: self.moved.len(),
            contested: self.overlaps.len(),
            ended_at_unix_ms: end.map(|end| end.at_unix_ms),
            ended_by: end.map(|end| end.by.clone()),
            ended_because: end.map(|end| end.reason.clone()),
        }
    }

    fn key_line(&self, gate: &Gate, place: u32, batch: usize, names: &[String]) -> KeyLine {
        let row = gate.validators.at_place(place);
        let seen = row.map(|row| {
            gate.validators.with(row, |it| {
                let state = &it.baseline.state;
                (it.status(), state.owner(), state.moved_s())
            })
        });
        let (status, owner, moved_s) = seen.unwrap_or((Status::Disabled, None, None));
        let name = |client: ClientIndex| names.get(usize::from(client.0)).cloned();
        let has_moved = self.moved.contains(&place);
        let is_of_another = |owner: &ClientIndex| *owner != self.from.0 && *owner != self.to.0;
        let why = match status {
            Status::Disabled | Status::Halted => Some(format!("it is {}", status.as_str())),
            Status::Enabled => owner.filter(is_of_another).map(|owner| {
                format!("it belongs to the client {}", name(owner).unwrap_or_default())
            }),
        };
        let progress = match () {
            () if self.overlaps.contains_key(&place) => "contested",
            () if has_moved => "moved",
            () if why.is_some() => "failed",
            () => "pending",
        };
        let moved_at_unix_s = moved_s.filter(|_| has_moved);
        let owner = owner.and_then(name);
        KeyLine { public_key: String::new(), batch, progress, owner, moved_at_unix_s, why }
    }

    fn proceed(&self, batch: usize, now_ms: u64) -> Proceed {
        let state = self.state(now_ms);
        match &self.end {
            // What is said stays so, also after a crash.
            Some(end) if end.how != Ending::Completed && !self.is_end_kept => {
                return Proceed::NotYet(format!("the window is {state}; that is being written"));
            }
            Some(end) if end.how != Ending::Completed => {
                return Proceed::No(format!("the window is {state}: {}", end.reason));
            }
            Some(_) => return Proceed::Yes,
            None if state == "expired" => return Proceed::No("the window is expired".to_owned()),
            None if state == "planned" => {
                return Proceed::NotYet("the window is not open yet".to_owned());
            }
            None => {}
        }
        let before: usize = self.batches.iter().take(batch - 1).sum();
        let waiting = self.keys.iter().take(before);
        let waiting = waiting.filter(|(key, _)| !self.moved.contains(key)).count();
        if waiting == 0 {
            return Proceed::Yes;
        }
        Proceed::NotYet(format!("{waiting} of {before} keys have not moved yet"))
    }
}

/// The state that an ended window is in.
pub(super) const fn state_of(how: Ending) -> &'static str {
    match how {
        Ending::Completed => "completed",
        Ending::Halted => "halted",
        Ending::Expired => "expired",
    }
}
