//! Where quarantines, windows and incidents are kept over a restart.

use std::path::Path;

use parking_lot::Mutex;
use slashing_db::{SideTable, SideTableError};

/// One database of rows, each kind of row with a prefix of its own. It is lost with the store's
/// directory, and that is not a safety event: EIP-3076 stands beside it.
#[derive(Debug, Default)]
pub struct ResponseTable(Mutex<Option<SideTable>>);

/// Rows of one kind: what follows the prefix, and the value.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

impl ResponseTable {
    /// The table in `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened. [`Default`] is a table that keeps nothing.
    pub fn open(directory: &Path) -> Result<Self, SideTableError> {
        Ok(Self(Mutex::new(Some(SideTable::open(directory)?))))
    }

    /// Writes and deletes (`None`) all rows or none. They are on disk when it returns.
    ///
    /// # Errors
    /// When they cannot be written: nothing has changed.
    pub fn commit(
        &self,
        changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), SideTableError> {
        self.0.lock().as_ref().map_or(Ok(()), |table| table.commit(changes))
    }

    /// Every row whose key begins with `prefix`, without it, in the order of the keys.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn rows(&self, prefix: &[u8]) -> Result<Rows, SideTableError> {
        let table = self.0.lock();
        let Some(table) = &*table else { return Ok(Rows::new()) };
        let mut rows = Rows::new();
        for row in table.iter_from(prefix) {
            let (key, value) = row?;
            let Some(key) = key.strip_prefix(prefix) else { break };
            rows.push((key.to_vec(), value.into_vec()));
        }
        Ok(rows)
    }

    /// Closes the table, so that another process can open it. What is written from now on is not
    /// kept.
    pub fn close(&self) {
        *self.0.lock() = None;
    }
}
