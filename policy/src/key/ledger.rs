//! What a key was signed for: the duties of this epoch, and what is to be signed once.

use crate::bytes::{Reader, Writer, fold};
use crate::sequential::rates::Counted;
use crate::settings::Chain;
use crate::{DutyType, Message, Observation};

/// How many of its latest signing roots a key remembers: what several beacon nodes ask for twice
/// is counted once.
const RECENT: usize = 4;

/// The slots of four epochs (the one before, this one and two ahead), one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slots([u32; 4]);

impl Slots {
    fn place(slot: u64, chain: &Chain) -> (u64, u32) {
        let epoch = slot / chain.slots_per_epoch.max(1);
        (epoch, 1 << (slot % chain.slots_per_epoch.max(1) % 32))
    }

    fn roll(&mut self, from: u64, to: u64) {
        for epoch in (from + 1..=to).take(4) {
            self.0[(epoch + 2) as usize % 4] = 0;
        }
        if to > from + 4 {
            self.0 = [0; 4];
        }
    }
}

/// The duties of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// The epoch that is counted.
    epoch: u32,
    /// Distinct roots of each type in it.
    counts: [u16; DutyType::ALL.len()],
    recent: [u32; RECENT],
    selection: Slots,
    sync_selection: Slots,
    /// The time of the last registration, in Unix seconds.
    pub(crate) registered_s: u32,
    /// The root of the last exit that was let through, folded; 0 for none.
    pub(crate) exit: u32,
    /// The root of the last deposit, likewise.
    pub(crate) deposit: u32,
    /// The sync-committee period in which the key last sent a message, its low bits, and 1.
    pub(crate) sync_period: u16,
    /// The last roots that were counted among the group's rates: a reveal's and a block's.
    counted: [u32; 2],
}

impl Ledger {
    pub(crate) const BYTES: usize = 4 + 2 * DutyType::ALL.len() + 4 * (RECENT + 8 + 3 + 2) + 2;

    /// The epoch that duties are counted for.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.into()
    }

    /// Distinct roots of the type in the present epoch so far.
    pub(crate) fn count(&self, duty: DutyType, epoch: u64) -> u16 {
        if epoch > u64::from(self.epoch) { 0 } else { self.counts[duty as usize] }
    }

    /// Whether this root was among the last.
    pub(crate) fn knows(&self, seen: &Observation) -> bool {
        self.recent.contains(&root(seen))
    }

    fn bits(&self, slots: &Slots, epoch: u64) -> u32 {
        let counted = u64::from(self.epoch);
        let kept = counted.saturating_sub(1)..=counted + 2;
        if kept.contains(&epoch) { slots.0[epoch as usize % 4] } else { 0 }
    }

    /// How many slots of the epoch of `slot` selection was proved for, `slot` not counted.
    pub(crate) fn other_selection_slots(&self, slot: u64, chain: &Chain) -> u32 {
        let (epoch, bit) = Slots::place(slot, chain);
        (self.bits(&self.selection, epoch) & !bit).count_ones()
    }

    /// Whether selection was proved for `slot`.
    pub(crate) fn proved(&self, slot: u64, chain: &Chain) -> bool {
        let (epoch, bit) = Slots::place(slot, chain);
        self.bits(&self.selection, epoch) & bit != 0
    }

    /// Whether selection for a sync-committee contribution was proved for `slot`.
    pub(crate) fn proved_sync(&self, slot: u64, chain: &Chain) -> bool {
        let (epoch, bit) = Slots::place(slot, chain);
        self.bits(&self.sync_selection, epoch) & bit != 0
    }

    /// Spends what a request costs.
    pub(crate) fn spend(&mut self, seen: &Observation, chain: &Chain) {
        self.roll(seen.at.epoch);
        if self.knows(seen) {
            return;
        }
        self.recent.rotate_right(1);
        self.recent[0] = root(seen);
        let count = &mut self.counts[seen.message.duty_type() as usize];
        *count = count.saturating_add(1);
        match seen.message {
            Message::SelectionProof { slot } => {
                self.prove(slot, chain, |ledger| &mut ledger.selection)
            }
            Message::SyncSelectionProof { slot } => {
                self.prove(slot, chain, |ledger| &mut ledger.sync_selection);
            }
            Message::Registration { timestamp_s, .. } => {
                self.registered_s = self.registered_s.max(timestamp_s as u32);
            }
            Message::VoluntaryExit { .. } => self.exit = root(seen),
            Message::Deposit { .. } => self.deposit = root(seen),
            Message::Attestation { .. }
            | Message::Block { .. }
            | Message::RandaoReveal { .. }
            | Message::AggregateAndProof { .. }
            | Message::SyncMessage { .. }
            | Message::SyncContribution { .. } => {}
        }
    }

    /// What a released request counts as among its group's rates. The same reveal of several beacon
    /// nodes, a block asked for again and the first registration of an epoch count as nothing.
    pub(crate) fn counts_as(&mut self, seen: &Observation) -> Option<Counted> {
        let (place, counted) = match seen.message {
            Message::RandaoReveal { .. } => (0, Counted::RandaoReveal),
            Message::Block { .. } => (1, Counted::Block),
            Message::Registration { .. } => {
                let is_repeated = self.count(DutyType::Registration, seen.at.epoch) > 1;
                return is_repeated.then_some(Counted::Registration);
            }
            Message::Attestation { .. }
            | Message::SelectionProof { .. }
            | Message::AggregateAndProof { .. }
            | Message::SyncMessage { .. }
            | Message::SyncSelectionProof { .. }
            | Message::SyncContribution { .. }
            | Message::VoluntaryExit { .. }
            | Message::Deposit { .. } => return None,
        };
        let is_new = self.counted[place] != root(seen);
        self.counted[place] = root(seen);
        is_new.then_some(counted)
    }

    fn prove(&mut self, slot: u64, chain: &Chain, of: fn(&mut Self) -> &mut Slots) {
        let (epoch, bit) = Slots::place(slot, chain);
        let counted = u64::from(self.epoch);
        if (counted.saturating_sub(1)..=counted + 2).contains(&epoch) {
            of(self).0[epoch as usize % 4] |= bit;
        }
    }

    fn roll(&mut self, epoch: u64) {
        let counted = u64::from(self.epoch);
        if epoch > counted {
            self.selection.roll(counted, epoch);
            self.sync_selection.roll(counted, epoch);
            self.counts = Default::default();
            self.epoch = epoch as u32;
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u32(self.epoch);
        out.all_u16(&self.counts);
        out.all_u32(&self.recent);
        out.all_u32(&self.selection.0);
        out.all_u32(&self.sync_selection.0);
        out.all_u32(&[self.registered_s, self.exit, self.deposit]);
        out.u16(self.sync_period);
        out.all_u32(&self.counted);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let epoch = from.u32()?;
        let (counts, recent) = (from.all_u16()?, from.all_u32()?);
        let (selection, sync_selection) = (Slots(from.all_u32()?), Slots(from.all_u32()?));
        let [registered_s, exit, deposit] = from.all_u32()?;
        let (sync_period, counted) = (from.u16()?, from.all_u32()?);
        Some(Self {
            epoch,
            counts,
            recent,
            selection,
            sync_selection,
            registered_s,
            exit,
            deposit,
            sync_period,
            counted,
        })
    }
}

/// The root of a request as the ledger keeps it: its type is in it, for a reveal and a selection
/// proof are told apart by their domain only.
pub(crate) fn root(seen: &Observation) -> u32 {
    fold(seen.root).max(1)
}
