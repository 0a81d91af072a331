//! Opaque bytes beside the records: baselines and the like. Losing them is not a safety event.

use std::path::Path;

use rocksdb::{DB, IteratorMode, WriteBatch, WriteOptions};

use crate::engine::rocks::options;

#[cfg(test)]
mod tests;

/// A table of bytes in a directory of its own, with a log of its own: it can be deleted, and it
/// never delays a record.
pub struct SideTable {
    db: DB,
}

/// The table cannot be read or written. Who keeps a baseline in it begins anew; signing goes on.
#[derive(Debug, thiserror::Error)]
#[error("the side table failed ({action})")]
pub struct SideTableError {
    /// What was tried.
    pub action: &'static str,
    /// Why not.
    #[source]
    pub source: std::io::Error,
}

impl SideTable {
    /// Opens the table in a directory, and makes it where there is none.
    ///
    /// # Errors
    /// [`SideTableError`]
    pub fn open(directory: &Path) -> Result<Self, SideTableError> {
        let mut options = options();
        options.create_if_missing(true);
        let db = DB::open(&options, directory).map_err(|error| failed("open", error))?;
        Ok(Self { db })
    }

    /// Writes all rows or none. Not synced: a crash of the machine may lose the last of them.
    ///
    /// # Errors
    /// [`SideTableError`]
    pub fn put_batch<K, V>(
        &self,
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), SideTableError>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut batch = WriteBatch::default();
        for (key, value) in rows {
            batch.put(key, value);
        }
        let options = WriteOptions::default();
        self.db.write_opt(batch, &options).map_err(|error| failed("write", error))
    }

    /// Writes and deletes (`None`) all rows or none, and has them on disk when it returns.
    ///
    /// # Errors
    /// [`SideTableError`]
    pub fn commit<K, V>(
        &self,
        changes: impl IntoIterator<Item = (K, Option<V>)>,
    ) -> Result<(), SideTableError>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut batch = WriteBatch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(|error| failed("write", error))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`SideTableError`]
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SideTableError> {
        self.db.get(key).map_err(|error| failed("read", error))
    }

    /// Every row, in the order of the keys.
    #[allow(clippy::type_complexity)] // a name for a pair would say less
    pub fn iter(
        &self,
    ) -> impl Iterator<Item = Result<(Box<[u8]>, Box<[u8]>), SideTableError>> + '_ {
        self.db.iterator(IteratorMode::Start).map(|row| row.map_err(|error| failed("read", error)))
    }

    /// The rows from a key on, in the order of the keys.
    #[allow(clippy::type_complexity)] // as above
    pub fn iter_from(
        &self,
        key: &[u8],
    ) -> impl Iterator<Item = Result<(Box<[u8]>, Box<[u8]>), SideTableError>> + '_ {
        let mode = IteratorMode::From(key, rocksdb::Direction::Forward);
        self.db.iterator(mode).map(|row| row.map_err(|error| failed("read", error)))
    }
}

impl std::fmt::Debug for SideTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SideTable").field("path", &self.db.path()).finish()
    }
}

fn failed(action: &'static str, error: rocksdb::Error) -> SideTableError {
    SideTableError { action, source: std::io::Error::other(error) }
}
