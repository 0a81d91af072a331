//! What is seen of one request, and of its answer, in numbers.

/// A moment, as the caller's slot clock has it. Slots and epochs before genesis are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Milliseconds of Unix time.
    pub unix_ms: u64,
    /// The present slot.
    pub slot: u64,
    /// The present epoch.
    pub epoch: u64,
    /// Milliseconds since the present slot began.
    pub into_slot_ms: u32,
}

/// A named client, by its place in [`Policy::clients`](crate::Policy::clients).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientIndex(pub u16);

/// Who is asking. The client is named by what it has shown; the rest are hashes of how it comes
/// along, 0 where there is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// The named client: the owner of leases.
    pub client: ClientIndex,
    /// Its certificate's public key (SPKI).
    pub certificate: u64,
    /// How it writes its requests: header names and order, user agent, JSON member order.
    pub dialect: u64,
    /// Its network: /24 of an IPv4 address, /48 of an IPv6 one.
    pub prefix: u64,
}

impl Source {
    /// The token that stands for all of it; never 0.
    pub fn token(&self) -> u32 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(self.client.0);
        for part in [self.certificate, self.dialect, self.prefix] {
            hash = (hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 29;
        }
        ((hash >> 32) as u32).max(1)
    }
}

/// What is asked for: the numbers of a duty that rules and baselines look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are the consensus spec's
pub enum Message {
    Attestation { slot: u64, source_epoch: u64, target_epoch: u64, index: u64, head: u64 },
    Block { slot: u64, header: Header },
    RandaoReveal { epoch: u64 },
    SelectionProof { slot: u64 },
    AggregateAndProof { slot: u64 },
    SyncMessage { slot: u64 },
    SyncSelectionProof { slot: u64 },
    SyncContribution { slot: u64 },
    Registration { fee_recipient: [u8; 20], gas_limit: u64, timestamp_s: u64 },
    VoluntaryExit { epoch: u64 },
    Deposit { withdrawal_credentials: [u8; 32], amount_gwei: u64 },
}

/// The types of duty that permissions and budgets tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // one for each kind of message
pub enum DutyType {
    Attestation,
    Block,
    RandaoReveal,
    SelectionProof,
    AggregateAndProof,
    SyncMessage,
    SyncSelectionProof,
    SyncContribution,
    Registration,
    VoluntaryExit,
    Deposit,
}

impl DutyType {
    /// Every type.
    pub const ALL: [Self; 11] = [
        Self::Attestation,
        Self::Block,
        Self::RandaoReveal,
        Self::SelectionProof,
        Self::AggregateAndProof,
        Self::SyncMessage,
        Self::SyncSelectionProof,
        Self::SyncContribution,
        Self::Registration,
        Self::VoluntaryExit,
        Self::Deposit,
    ];

    /// Distinct signing roots of this type that a key may ask for in an epoch, unless the policy
    /// says otherwise: what a key could need on a network of few validators, with several beacon
    /// nodes that disagree about the head, and after a restart.
    pub const fn default_budget(self) -> u16 {
        match self {
            Self::Attestation | Self::RandaoReveal | Self::VoluntaryExit => 4,
            Self::Deposit => 8,
            Self::SelectionProof => 16,
            Self::Block | Self::AggregateAndProof | Self::Registration => 64,
            Self::SyncMessage => 192,
            Self::SyncContribution => 256,
            Self::SyncSelectionProof => 512,
        }
    }

    /// Its bit in a set of types.
    pub const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl Message {
    /// Its type.
    pub const fn duty_type(&self) -> DutyType {
        match self {
            Self::Attestation { .. } => DutyType::Attestation,
            Self::Block { .. } => DutyType::Block,
            Self::RandaoReveal { .. } => DutyType::RandaoReveal,
            Self::SelectionProof { .. } => DutyType::SelectionProof,
            Self::AggregateAndProof { .. } => DutyType::AggregateAndProof,
            Self::SyncMessage { .. } => DutyType::SyncMessage,
            Self::SyncSelectionProof { .. } => DutyType::SyncSelectionProof,
            Self::SyncContribution { .. } => DutyType::SyncContribution,
            Self::Registration { .. } => DutyType::Registration,
            Self::VoluntaryExit { .. } => DutyType::VoluntaryExit,
            Self::Deposit { .. } => DutyType::Deposit,
        }
    }
}

/// What a block's header shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Whether the parent root is all zeros.
    pub zero_parent_root: bool,
    /// Whether the state root is all zeros.
    pub zero_state_root: bool,
    /// Whether the body root is all zeros.
    pub zero_body_root: bool,
    /// The fee recipient, where the whole block or a Merkle proof that holds shows it.
    pub fee_recipient: Option<[u8; 20]>,
    /// Whether the client sent proofs that do not lead to this header.
    pub has_broken_proof: bool,
}

/// One request, after its signing root was computed and the slashing rules were asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The key, by its place in the caller's table: it never changes.
    pub key: u32,
    /// The key's group.
    pub group: crate::GroupIndex,
    /// When it arrived.
    pub at: Moment,
    /// Who asks.
    pub source: Source,
    /// For what.
    pub message: Message,
    /// The first bytes of the signing root: what is asked for twice is counted once.
    pub root: u64,
    /// Whether the slashing store has recorded this very root for this key.
    pub is_repeat: bool,
    /// When a duty of this kind is due in its slot, by the fork schedule; milliseconds.
    pub due_ms: u32,
}

/// Which shares took part in a signature, as bits of their indices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ShareSet(pub u32);

/// What became of a request that was admitted, where a signature was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Who answered, where that is known.
    pub shares: Option<ShareSet>,
    /// Whether the gate itself chose the set: then it says nothing about the signers.
    pub chosen_by_gate: bool,
}
