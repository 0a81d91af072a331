//! A durable check as Lighthouse makes it: a transaction of SQLite for each.

#![allow(clippy::disallowed_methods)] // it measures time

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::ours::{key, vote};

/// Lighthouse's slashing database: its schema, statements and transaction for each attestation
/// (`validator_client/slashing_protection/src/slashing_database.rs`), over one connection.
pub(crate) struct Lighthouse {
    connection: Connection,
    keys: u32,
    next: u64,
}

impl Lighthouse {
    /// A new database of `keys` keys in `folder`.
    pub(crate) fn new(folder: &Path, keys: u32) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(folder.join("lighthouse.sqlite"))?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.execute_batch(SCHEMA)?;
        let transaction = connection.transaction()?;
        for row in 0..keys {
            transaction
                .execute("INSERT INTO validators (public_key) VALUES (?1)", [hex_key(row)])?;
        }
        transaction.commit()?;
        Ok(Self { connection, keys, next: 0 })
    }

    /// Durable checks per second, one transaction for each.
    pub(crate) fn per_second(&mut self, lasting: Duration) -> rusqlite::Result<f64> {
        let start = Instant::now();
        let mut checks = 0_u32;
        while start.elapsed() < lasting {
            self.check()?;
            checks += 1;
        }
        Ok(f64::from(checks) / start.elapsed().as_secs_f64())
    }

    fn check(&mut self) -> rusqlite::Result<()> {
        let row = (self.next % u64::from(self.keys)) as u32;
        let vote = vote(self.next / u64::from(self.keys) + 1);
        self.next += 1;
        let (source, target) = (vote.source_epoch as i64, vote.target_epoch as i64);
        let begin = TransactionBehavior::Exclusive;
        let transaction = self.connection.transaction_with_behavior(begin)?;
        let (id, _enabled): (i64, bool) = transaction
            .prepare("SELECT id, enabled FROM validators WHERE public_key = ?1")?
            .query_row([hex_key(row)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let conflicts = [
            "validator_id = ?1 AND target_epoch = ?2 AND ?3 = ?3",
            "validator_id = ?1 AND source_epoch < ?3 AND target_epoch > ?2 \
             ORDER BY target_epoch DESC LIMIT 1",
            "validator_id = ?1 AND source_epoch > ?3 AND target_epoch < ?2 \
             ORDER BY target_epoch DESC LIMIT 1",
        ];
        for conflict in conflicts {
            let found = transaction
                .prepare(&format!(
                    "SELECT source_epoch, target_epoch, signing_root FROM signed_attestations \
                     WHERE {conflict}"
                ))?
                .query_row(params![id, target, source], |row| row.get::<_, i64>(0))
                .optional()?;
            assert!(found.is_none(), "no vote conflicts with another");
        }
        for least in ["source_epoch", "target_epoch"] {
            let _least: Option<i64> = transaction
                .prepare(&format!(
                    "SELECT MIN({least}) FROM signed_attestations WHERE validator_id = ?1"
                ))?
                .query_row([id], |row| row.get(0))?;
        }
        transaction.execute(
            "INSERT INTO signed_attestations (validator_id, source_epoch, target_epoch, \
             signing_root) VALUES (?1, ?2, ?3, ?4)",
            params![id, source, target, vote.signing_root.0.as_slice()],
        )?;
        transaction.commit()
    }
}

fn hex_key(row: u32) -> String {
    format!("0x{}", faster_hex::hex_string(&key(row).0))
}

const SCHEMA: &str = "
    CREATE TABLE validators (
        id INTEGER PRIMARY KEY, public_key BLOB NOT NULL UNIQUE,
        enabled BOOL NOT NULL DEFAULT TRUE);
    CREATE TABLE signed_blocks (
        validator_id INTEGER NOT NULL, slot INTEGER NOT NULL, signing_root BLOB NOT NULL,
        FOREIGN KEY(validator_id) REFERENCES validators(id), UNIQUE (validator_id, slot));
    CREATE TABLE signed_attestations (
        validator_id INTEGER, source_epoch INTEGER NOT NULL, target_epoch INTEGER NOT NULL,
        signing_root BLOB NOT NULL,
        FOREIGN KEY(validator_id) REFERENCES validators(id), UNIQUE (validator_id, target_epoch));";
