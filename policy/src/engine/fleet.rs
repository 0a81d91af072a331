//! What the keys have in common: how far finality lags, and how many sit in the sync committee.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::Moment;
use crate::bytes::{Reader, Writer};
use crate::settings::Chain;

/// Lags beyond this many epochs are taken together: nothing is compared with them.
const LAGS: usize = 64;
/// Votes before their median means anything.
const VOTES_MIN: u32 = 64;
/// No median, or one that says nothing.
const UNKNOWN: u32 = u32::MAX;

/// Counters without a lock. What is decided by them is rolled on by the tick alone.
#[derive(Debug)]
pub(crate) struct Fleet {
    lags: [AtomicU32; LAGS],
    median_lag: AtomicU32,
    rolled_epoch: AtomicU64,
    /// Keys that sent a sync-committee message in `sync_period`.
    sync_keys: AtomicU32,
    sync_period: AtomicU64,
    sync_alarmed: AtomicU64,
    /// Keys that ever had something released.
    pub(crate) keys: AtomicU32,
    /// Attestations released: 225 are a validator-day on mainnet.
    pub(crate) attestations: AtomicU64,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            lags: std::array::from_fn(|_| AtomicU32::new(0)),
            median_lag: AtomicU32::new(UNKNOWN),
            rolled_epoch: AtomicU64::new(0),
            sync_keys: AtomicU32::new(0),
            sync_period: AtomicU64::new(0),
            sync_alarmed: AtomicU64::new(u64::MAX),
            keys: AtomicU32::new(0),
            attestations: AtomicU64::new(0),
        }
    }
}

impl Fleet {
    /// A vote was released whose source lies so many epochs behind its target.
    pub(crate) fn voted(&self, lag: u64) {
        self.lags[usize::try_from(lag).unwrap_or(LAGS).min(LAGS - 1)].fetch_add(1, Relaxed);
        self.attestations.fetch_add(1, Relaxed);
    }

    /// The fleet's median lag, where it is known and can be compared with.
    pub(crate) fn median_lag(&self) -> Option<u64> {
        let median = self.median_lag.load(Relaxed);
        ((median as usize) < LAGS - 1).then_some(u64::from(median))
    }

    /// A key sent its first sync-committee message of a period.
    pub(crate) fn in_committee(&self, period: u64) {
        if self.sync_period.swap(period, Relaxed) != period {
            self.sync_keys.store(0, Relaxed);
        }
        self.sync_keys.fetch_add(1, Relaxed);
    }

    /// Once a slot: the median of the epoch that ended.
    pub(crate) fn tick(&self, at: Moment) {
        if self.rolled_epoch.swap(at.epoch, Relaxed) == at.epoch {
            return;
        }
        let counts = self.lags.each_ref().map(|count| count.load(Relaxed));
        let votes: u32 = counts.iter().sum();
        if votes < VOTES_MIN {
            return; // too few: they are counted together with the next epoch's
        }
        let mut below = 0;
        let median = counts.iter().position(|count| {
            below += count;
            below * 2 >= votes
        });
        self.median_lag.store(median.map_or(UNKNOWN, |lag| lag as u32), Relaxed);
        self.lags.iter().for_each(|count| count.store(0, Relaxed));
    }

    /// Says once a period when more keys sit in the sync committee than chance allows: how many
    /// do, and how many would. The bound is six deviations of a Poisson count and five.
    pub(crate) fn sync_excess(&self, chain: &Chain) -> Option<(u32, f32)> {
        let active = chain.active_validators?.max(1) as f32;
        let keys = self.keys.load(Relaxed) as f32;
        let expected = chain.sync_committee_size as f32 * keys / active;
        let (found, period) = (self.sync_keys.load(Relaxed), self.sync_period.load(Relaxed));
        let is_excess = found as f32 > expected + 6.0 * expected.sqrt() + 5.0;
        let is_new = is_excess && self.sync_alarmed.swap(period, Relaxed) != period;
        is_new.then_some((found, expected))
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        self.lags.iter().for_each(|count| out.u32(count.load(Relaxed)));
        out.u32(self.median_lag.load(Relaxed));
        out.u64(self.rolled_epoch.load(Relaxed));
        out.u32(self.sync_keys.load(Relaxed));
        out.u64(self.sync_period.load(Relaxed));
        out.u64(self.sync_alarmed.load(Relaxed));
        out.u32(self.keys.load(Relaxed));
        out.u64(self.attestations.load(Relaxed));
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let lags: [u32; LAGS] = from.all_u32()?;
        Some(Self {
            lags: lags.map(AtomicU32::new),
            median_lag: from.u32()?.into(),
            rolled_epoch: from.u64()?.into(),
            sync_keys: from.u32()?.into(),
            sync_period: from.u64()?.into(),
            sync_alarmed: from.u64()?.into(),
            keys: from.u32()?.into(),
            attestations: from.u64()?.into(),
        })
    }
}
