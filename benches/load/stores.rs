//! What one check costs that is durable when it is answered: the slashing store here, and a
//! transaction of SQLite as Lighthouse makes one for each check.

#![allow(clippy::disallowed_methods)] // it measures time

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use rustix::time::{ClockId, clock_gettime};
use slashing_db::{
    BootTime, Bounds, Enrolment, GenesisValidatorsRoot, InitParams, Message, Now, OpenParams,
    Pending, Priority, PublicKey, SignedAttestation, SigningRoot, Store, Watermarks, boot_id,
};

/// The median time of an append of 128 bytes with `fdatasync`, on the disk of `folder`.
pub(crate) fn fdatasync(folder: &Path, times: u32) -> io::Result<Duration> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path)?;
    let mut took = Histogram::<u64>::new(3).expect("three digits");
    for _ in 0..times {
        let start = Instant::now();
        file.write_all(&[7; 128])?;
        file.sync_data()?;
        took.saturating_record(start.elapsed().as_nanos() as u64);
    }
    std::fs::remove_file(&path)?;
    Ok(Duration::from_nanos(took.value_at_quantile(0.5)))
}

fn vote(round: u64) -> SignedAttestation {
    let mut root = [7; 32];
    root[..8].copy_from_slice(&round.to_be_bytes());
    SignedAttestation {
        source_epoch: round,
        target_epoch: round + 1,
        signing_root: SigningRoot(root),
    }
}

fn key(row: u32) -> PublicKey {
    let mut bytes = [0x80; 48];
    bytes[44..].copy_from_slice(&row.to_be_bytes());
    PublicKey(bytes)
}

/// The slashing store on disk, with keys enough for many votes at once.
pub(crate) struct Ours {
    store: Store,
    watermarks: Vec<Watermarks>,
    next: usize,
}

fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn now() -> io::Result<Now> {
    let boot = clock_gettime(ClockId::Boottime);
    let boot = Duration::new(boot.tv_sec as u64, boot.tv_nsec as u32).as_nanos() as u64;
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    let (epoch, slot) = (1 << 32, 1 << 37);
    Ok(Now { boot: BootTime(boot), unix_s: unix.as_secs(), epoch, slot })
}

impl Ours {
    /// A new store of `keys` keys in `folder`.
    pub(crate) fn new(folder: &Path, keys: u32) -> io::Result<Self> {
        let (directory, witness) = (folder.join("store"), folder.join("witness"));
        let genesis_validators_root = GenesisValidatorsRoot([7; 32]);
        let boot_id = boot_id()?;
        let (network, key_set) = ("bench".to_owned(), "default".to_owned());
        let init = InitParams {
            directory: directory.clone(),
            witness: witness.clone(),
            network: network.clone(),
            genesis_validators_root,
            key_set: key_set.clone(),
            now: now()?,
            boot_id: boot_id.clone(),
        };
        Store::init(&init).map_err(io::Error::other)?;
        let open = OpenParams {
            directory,
            witness,
            network,
            genesis_validators_root,
            key_set,
            now: now()?,
            boot_id,
            places_max: 16_384,
            monotonic,
        };
        let (store, mut watermarks) = Store::open(&open).map_err(io::Error::other)?;
        for row in 0..keys {
            let enrolled = store.enrol(key(row), Enrolment::New).map_err(io::Error::other)?;
            watermarks.push(enrolled);
        }
        store.renew(now()?).map_err(io::Error::other)?;
        Ok(Self { store, watermarks, next: 0 })
    }

    /// Durable checks per second while twice `batch` are under way: one batch gathers while the
    /// other is written.
    ///
    /// # Panics
    /// If a vote is refused, or there are fewer keys than are under way.
    pub(crate) fn per_second(&mut self, batch: usize, lasting: Duration) -> io::Result<f64> {
        self.store.renew(now()?).map_err(io::Error::other)?;
        let start = Instant::now();
        let mut checks = 0;
        let mut written: Vec<Pending> = Vec::new();
        while start.elapsed() < lasting {
            let gathered = self.submit(batch);
            checks += batch;
            wait(std::mem::replace(&mut written, gathered));
        }
        wait(written);
        Ok(checks as f64 / start.elapsed().as_secs_f64())
    }

    /// Checks a vote of each of the next `batch` keys, and hands its record over.
    fn submit(&mut self, batch: usize) -> Vec<Pending> {
        let recorder = self.store.recorder();
        let bounds = Bounds {
            target_epoch_min: 0,
            target_epoch_max: 1 << 32,
            slot_max: 1 << 37,
            counted_max: 0,
        };
        let keys = self.watermarks.len();
        assert!(2 * batch <= keys, "a key votes once in what is under way");
        let submit = |_| {
            let (round, row) = (self.next / keys, self.next % keys);
            self.next += 1;
            let place = recorder.reserve(Priority::Attestation).expect("room in the queue");
            let message = Message::Attestation(vote(round as u64));
            let checked = self.watermarks[row].check(&message, &bounds);
            checked.expect("a vote for a later epoch").record(place)
        };
        (0..batch).map(submit).collect()
    }
}

fn wait(pending: Vec<Pending>) {
    for one in pending {
        let _permit = one.wait().expect("a good disk");
    }
}

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
