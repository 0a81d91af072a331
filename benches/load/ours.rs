//! What one check costs that is durable when it is answered, in the slashing store.

#![allow(clippy::disallowed_methods)] // it measures time

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use slashing_db::{
    BootTime, Bounds, Enrolment, GenesisValidatorsRoot, InitParams, Message, Now, OpenParams,
    Pending, Priority, PublicKey, SignedAttestation, SigningRoot, Store, Watermarks, boot_id,
};

/// The median time of an append of 128 bytes with `fdatasync`, on the disk of `folder`.
pub(crate) fn fdatasync(folder: &Path, times: u32) -> io::Result<Duration> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path)?;
    let mut took = Histogram::<u64>::new_with_max(10_000_000_000, 3).expect("three digits");
    for _ in 0..times {
        let start = Instant::now();
        file.write_all(&[7; 128])?;
        file.sync_data()?;
        took.saturating_record(start.elapsed().as_nanos() as u64);
    }
    std::fs::remove_file(&path)?;
    Ok(Duration::from_nanos(took.value_at_quantile(0.5)))
}

pub(crate) fn vote(round: u64) -> SignedAttestation {
    let mut root = [7; 32];
    root[..8].copy_from_slice(&round.to_be_bytes());
    SignedAttestation {
        source_epoch: round,
        target_epoch: round + 1,
        signing_root: SigningRoot(root),
    }
}

pub(crate) fn key(row: u32) -> PublicKey {
    let mut bytes = [0x80; 48];
    bytes[44..].copy_from_slice(&row.to_be_bytes());
    PublicKey(bytes)
}

/// Time bounds nothing here.
const BOUNDS: Bounds =
    Bounds { target_epoch_min: 0, target_epoch_max: 1 << 32, slot_max: 1 << 37, counted_max: 0 };

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
        self.renew()?;
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

    /// Checks so many votes at once, and waits until all are durable.
    ///
    /// # Panics
    /// As [`Ours::per_second`].
    pub(crate) fn record(&mut self, batch: usize) {
        wait(self.submit(batch));
    }

    /// Holds a vote against the watermarks of the next key, and records nothing.
    pub(crate) fn check(&mut self) -> bool {
        self.next += 1;
        let keys = self.watermarks.len();
        let message = Message::Attestation(vote(u64::MAX >> 33));
        self.watermarks[self.next % keys].check(&message, &BOUNDS).is_ok()
    }

    /// Renews the lease, which ends after a minute.
    pub(crate) fn renew(&self) -> io::Result<()> {
        self.store.renew(now()?).map_err(io::Error::other)
    }

    /// Checks a vote of each of the next `batch` keys, and hands its record over.
    fn submit(&mut self, batch: usize) -> Vec<Pending> {
        let recorder = self.store.recorder();
        let keys = self.watermarks.len();
        assert!(2 * batch <= keys, "a key votes once in what is under way");
        let submit = |_| {
            let (round, row) = (self.next / keys, self.next % keys);
            self.next += 1;
            let place = recorder.reserve(Priority::Attestation).expect("room in the queue");
            let message = Message::Attestation(vote(round as u64));
            let checked = self.watermarks[row].check(&message, &BOUNDS);
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
