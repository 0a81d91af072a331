//! What is normal, kept over a restart: the state of each key, what spans keys, and who has which
//! place. Losing it is no safety event: everything is learned anew.

use std::path::Path;

use parking_lot::Mutex;
use policy::{Engine, GroupIndex, KeyState};
use slashing_db::{PublicKey, SideTable, SideTableError};

use super::{ClientNames, Judgement};
use crate::validators::{RowIndex, Standing, Validators};

/// What is normal for one key, in the key's row and under its lock.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    /// Its owner, its sources, its budgets.
    pub state: KeyState,
    /// Its group, once somebody has looked.
    pub group: Option<GroupIndex>,
    /// Whether the state is not on disk yet.
    pub is_dirty: bool,
    /// How often the key has gone from one owner to another since the gate started, and how many of
    /// these moves are on disk.
    pub moves: u32,
    /// As above.
    pub moves_written: u32,
}

impl Baseline {
    /// Whether the key has an owner that a crash would forget.
    pub fn is_moving(&self) -> bool {
        self.moves != self.moves_written
    }
}

/// The table on disk.
#[derive(Debug, Default)]
pub struct BaselineTable(Mutex<Option<SideTable>>);

/// What is kept beside the keys.
#[derive(Debug, Default)]
pub struct Kept {
    /// What spans keys, if it could be read.
    pub engine: Option<Engine>,
    /// The named clients, by their place.
    pub clients: Vec<String>,
    /// When it was written, in milliseconds of Unix time.
    pub at_unix_ms: u64,
}

impl BaselineTable {
    /// The table in `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened. [`Default`] is a table that keeps nothing.
    pub fn open(directory: &Path) -> Result<Self, SideTableError> {
        Ok(Self(Mutex::new(Some(SideTable::open(directory)?))))
    }

    /// What is kept beside the keys.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn kept(&self) -> Result<Kept, SideTableError> {
        let table = self.0.lock();
        let Some(table) = &*table else { return Ok(Kept::default()) };
        let names = table.get(CLIENTS)?.unwrap_or_default();
        let names = String::from_utf8_lossy(&names);
        let at = table.get(SAVED_AT)?.and_then(|bytes| bytes.try_into().ok());
        Ok(Kept {
            engine: table.get(ENGINE)?.and_then(|bytes| Engine::from_bytes(&bytes)),
            clients: names.split_terminator('\n').map(str::to_owned).collect(),
            at_unix_ms: at.map_or(0, u64::from_be_bytes),
        })
    }

    /// Gives the keys their states; says how many had one.
    ///
    /// # Errors
    /// When the table cannot be read to its end; what was read until then is used.
    pub fn load(&self, validators: &Validators) -> Result<u64, SideTableError> {
        let table = self.0.lock();
        let mut loaded = 0;
        for row in table.iter().flat_map(SideTable::iter) {
            let (key, value) = row?;
            let Some(public_key) = key.strip_prefix(KEY).and_then(|key| key.try_into().ok()) else {
                continue;
            };
            let Standing::Enrolled(row) = validators.standing(&PublicKey(public_key)) else {
                continue;
            };
            if let Some(state) = KeyState::from_bytes(&value) {
                validators.with(row, |validator| validator.baseline.state = state);
                loaded += 1;
            }
        }
        Ok(loaded)
    }

    /// Writes the states of some keys.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn save_keys(
        &self,
        validators: &Validators,
        rows: impl IntoIterator<Item = RowIndex>,
    ) -> Result<(), SideTableError> {
        let table = self.0.lock();
        let Some(table) = &*table else { return Ok(()) };
        let rows = rows.into_iter().filter_map(|row| take_dirty(validators, row));
        table.put_batch(rows)
    }

    /// Writes the states of keys whose owner has changed, and has them on disk when it returns.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn save_moved(
        &self,
        validators: &Validators,
        rows: &[RowIndex],
    ) -> Result<(), SideTableError> {
        let mut moves = Vec::with_capacity(rows.len());
        {
            let table = self.0.lock();
            let Some(table) = &*table else { return Ok(()) };
            table.commit(rows.iter().map(|&row| {
                validators.with(row, |validator| {
                    let baseline = &mut validator.baseline;
                    baseline.is_dirty = false;
                    moves.push((row, baseline.moves));
                    let key = [KEY, &validator.watermarks.public_key().0].concat();
                    (key, Some(baseline.state.to_bytes()))
                })
            }))?;
        }
        for (row, moves) in moves {
            validators.with(row, |validator| validator.baseline.moves_written = moves);
        }
        Ok(())
    }

    /// Writes the states of all keys that have changed, and what is kept beside them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn save(
        &self,
        judgement: &Judgement,
        validators: &Validators,
        unix_ms: u64,
    ) -> Result<(), SideTableError> {
        let mut rows = validators.row_indices().peekable();
        while rows.peek().is_some() {
            self.save_keys(validators, rows.by_ref().take(ROWS_PER_BATCH))?;
        }
        let table = self.0.lock();
        let Some(table) = &*table else { return Ok(()) };
        let clients: String =
            judgement.clients.names().iter().flat_map(|name| [name.as_str(), "\n"]).collect();
        table.put_batch([
            (ENGINE, judgement.engine.to_bytes()),
            (CLIENTS, clients.into_bytes()),
            (SAVED_AT, unix_ms.to_be_bytes().to_vec()),
        ])
    }

    /// Writes the places of the named clients: before a lease names a place.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn save_clients(&self, clients: &ClientNames) -> Result<(), SideTableError> {
        let table = self.0.lock();
        let Some(table) = &*table else { return Ok(()) };
        let names = clients.names().join("\n");
        table.put_batch([(CLIENTS, names)])
    }

    /// Closes the table, so that another process can open it. What is learned from now on is not
    /// kept.
    pub fn close(&self) {
        *self.0.lock() = None;
    }
}

fn take_dirty(validators: &Validators, row: RowIndex) -> Option<(Vec<u8>, [u8; KeyState::BYTES])> {
    validators.with(row, |validator| {
        let baseline = &mut validator.baseline;
        if !std::mem::take(&mut baseline.is_dirty) {
            return None;
        }
        let key = [KEY, &validator.watermarks.public_key().0].concat();
        Some((key, baseline.state.to_bytes()))
    })
}

const KEY: &[u8] = b"key:";
const ENGINE: &[u8] = b"engine";
const CLIENTS: &[u8] = b"clients";
const SAVED_AT: &[u8] = b"saved_at";
const ROWS_PER_BATCH: usize = 4_096;
