//! What is asked: an honest client, its late twin after a failover, and one that wants slashings.

use portcullis::eth::block::BeaconBlockHeader;
use portcullis::eth::duty::{AttestationData, BlockV2, Checkpoint, RandaoReveal, VoluntaryExit};
use portcullis::eth::{Duty, Epoch, ForkName, Root, SigningRoot, Slot};

use super::random::Random;
use super::signer::History;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Honest,
    Twin,
    Hostile,
}

/// One request: `root` stands for all that the duty says, one to one.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) client: Client,
    pub(super) key: usize,
    pub(super) duty: Duty,
    pub(super) root: SigningRoot,
}

impl Ask {
    fn new(client: Client, key: usize, duty: Duty, words: [u64; 4]) -> Self {
        let mut root = [0; 32];
        for (bytes, word) in root.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self { client, key, duty, root: SigningRoot(root) }
    }

    pub(super) fn vote(
        client: Client,
        key: usize,
        slot: u64,
        (source, target): (u64, u64),
        head: u64,
    ) -> Self {
        let checkpoint = |epoch| Checkpoint { epoch: Epoch(epoch), root: Root([1; 32]) };
        let duty = Duty::Attestation(AttestationData {
            slot: Slot(slot),
            index: 0,
            beacon_block_root: Root([head as u8; 32]),
            source: checkpoint(source),
            target: checkpoint(target),
        });
        Self::new(client, key, duty, [slot, source, target, head << 8 | 1])
    }

    pub(super) fn block(client: Client, key: usize, slot: u64, head: u64) -> Self {
        let header = BeaconBlockHeader {
            slot: Slot(slot),
            proposer_index: key as u64,
            parent_root: Root([head as u8; 32]),
            state_root: Root::ZERO,
            body_root: Root::ZERO,
        };
        let block = BlockV2::Header { version: ForkName::Electra, header };
        Self::new(client, key, Duty::BlockV2(block), [slot, 0, 0, head << 8 | 2])
    }

    fn exit(client: Client, key: usize, epoch: u64) -> Self {
        let exit = VoluntaryExit { epoch: Epoch(epoch), validator_index: key as u64 };
        Self::new(client, key, Duty::VoluntaryExit(exit), [epoch, key as u64, 0, 3])
    }

    fn randao(client: Client, key: usize, epoch: u64) -> Self {
        let reveal = RandaoReveal { epoch: Epoch(epoch) };
        Self::new(client, key, Duty::RandaoReveal(reveal), [epoch, 0, 0, 4])
    }
}

/// What the chain says now, by the clock of the clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) slot: u64,
    pub(super) slots_per_epoch: u64,
    pub(super) justified: u64,
}

impl Chain {
    pub(super) fn epoch(&self) -> u64 {
        self.slot / self.slots_per_epoch
    }
}

/// The duties of one slot, as `client` with its view of the head asks for them.
pub(super) fn duties(client: Client, chain: Chain, keys: usize, head: u64) -> Vec<Ask> {
    let proposer = (chain.slot.wrapping_mul(0x9e37_79b9) >> 7) as usize % keys;
    let epoch = chain.epoch();
    let mut asks =
        vec![Ask::randao(client, proposer, epoch), Ask::block(client, proposer, chain.slot, head)];
    let attesters = (0..keys).filter(|key| *key as u64 % chain.slots_per_epoch == chain.slot % 8);
    let span = (chain.justified, epoch);
    asks.extend(attesters.map(|key| Ask::vote(client, key, chain.slot, span, head)));
    asks
}

/// What would be slashable beside what has left for this key.
pub(super) fn slashable(random: &mut Random, key: usize, history: &History) -> Option<Ask> {
    let head = 100 + random.below(100);
    let client = Client::Hostile;
    if random.percent(25) {
        let slot = *history.blocks.last_key_value()?.0;
        return Some(Ask::block(client, key, slot, head));
    }
    let &(source, target, _) = history.votes.iter().max_by_key(|vote| vote.1)?;
    let span = match random.below(4) {
        0 => (source, target),
        1 => (source.checked_sub(1)?, target + 1),
        2 => (source, target + 3 + random.below(1_000_000)),
        _ if source + 1 < target - 1 => (source + 1, target - 1),
        _ => (source.checked_sub(1)?, target),
    };
    Some(Ask::vote(client, key, span.1 * 8, span, head))
}

/// Anything near the present, an exit now and then.
pub(super) fn anything(random: &mut Random, key: usize, chain: Chain) -> Ask {
    let (client, head) = (Client::Hostile, random.below(4));
    let epoch = (chain.epoch() + random.below(4)).saturating_sub(1);
    match random.below(20) {
        0 => Ask::exit(client, key, random.below(6)),
        1..=4 => Ask::block(client, key, (chain.slot + random.below(5)).saturating_sub(2), head),
        _ => {
            let source = epoch.saturating_sub(random.below(6));
            Ask::vote(client, key, chain.slot, (source, epoch), head)
        }
    }
}
