//! A world: keys, the hosts that sign for them, their clusters, and the operator's policy, drawn
//! from published ranges. What happens in it is `benign.rs` and `attacks.rs`.

use policy::{ClientIndex, ClientPolicy, Enrolment, GroupPolicy, Mode, Policy, Rule, Source};

use crate::draw::Draw;

pub(crate) const SLOTS_PER_EPOCH: u64 = 32;
pub(crate) const EPOCHS_PER_DAY: u64 = 225;
pub(crate) const SLOTS_PER_DAY: u64 = EPOCHS_PER_DAY * SLOTS_PER_EPOCH;
pub(crate) const SLOT_MS: u64 = 12_000;
/// Where a world begins on the chain.
pub(crate) const FIRST_SLOT: u64 = 300_000 * SLOTS_PER_EPOCH;
/// Unix time of slot 0, milliseconds.
pub(crate) const GENESIS_MS: u64 = 1_606_824_023_000;

/// When a slot begins, in milliseconds of Unix time.
pub(crate) const fn begin_of(slot: u64) -> u64 {
    GENESIS_MS + slot * SLOT_MS
}

/// How large a world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) keys: u32,
    pub(crate) days: u64,
    pub(crate) warm_up_days: u64,
    /// Instances of each attack on single keys.
    pub(crate) attacks: u64,
    /// Instances of each attack on whole sources.
    pub(crate) source_attacks: u64,
    /// Of how many keys the selection proofs are on the tape.
    pub(crate) proofs_share: f64,
}

/// What a world draws for itself: the published ranges of the whole benchmark.
#[derive(Clone, Debug)]
pub(crate) struct Ranges {
    /// Median of a block's arrival, ms into its slot.
    pub(crate) block_ms: f64,
    pub(crate) block_sigma: f64,
    pub(crate) missed_slots: f64,
    pub(crate) late_blocks: f64,
    /// Validators of the whole network: how rare proposals and committees are.
    pub(crate) validators: f64,
    /// Share of requests with a tail of their own, and its mean.
    pub(crate) heavy_tail: f64,
    pub(crate) heavy_ms: f64,
    /// Pauses of a host's runtime, per source and slot.
    pub(crate) pause: f64,
    pub(crate) pause_ms: f64,
    /// Share of signatures in which a node of the cluster stood in for another.
    pub(crate) share_noise: f64,
}

impl Ranges {
    fn draw(draw: &mut Draw) -> Self {
        Self {
            block_ms: draw.between(1_200.0, 1_900.0),
            block_sigma: draw.between(0.25, 0.45),
            missed_slots: draw.between(0.005, 0.015),
            late_blocks: draw.between(0.01, 0.03),
            validators: draw.between(6e5, 1.1e6),
            heavy_tail: draw.between(0.001, 0.003),
            heavy_ms: draw.between(100.0, 400.0),
            pause: draw.between(2e-4, 8e-4),
            pause_ms: draw.between(200.0, 500.0),
            share_noise: draw.between(0.005, 0.015),
        }
    }
}

/// A machine with a validator client on it.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) source: Source,
    /// Signs when the block is there, and at the deadline at the latest; else at the deadline.
    pub(crate) is_event_driven: bool,
    /// How long after that it asks, and how much that varies.
    pub(crate) offset_ms: f64,
    pub(crate) jitter_ms: f64,
    /// Between one key and the next.
    pub(crate) service_ms: f64,
    /// Whether the order of its keys changes from slot to slot.
    pub(crate) is_shuffled: bool,
}

/// What is peculiar about a cohort; most are plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// Nothing is ever planned for it.
    Quiet,
    /// Its requests come from two addresses of one network address translation.
    TwoPrefixes,
    /// A distributed validator's middleware: proofs late, aggregates without them.
    Distributed,
    /// One client with several beacon nodes: everything is asked for once or twice.
    SeveralNodes,
    /// Two clients sign the same, by declaration.
    ActivePair,
    /// One, ten or fifty keys.
    Small,
}

/// Which host of a cohort.
pub(crate) const PRIMARY: usize = 0;
pub(crate) const BACKUP: usize = 1;
pub(crate) const TARGET: usize = 2;
pub(crate) const STRANGER: usize = 3;

/// The keys of one operator's group: one policy group, one cluster at most.
#[derive(Clone, Debug)]
pub(crate) struct Cohort {
    pub(crate) kind: Kind,
    pub(crate) first: u32,
    pub(crate) keys: u32,
    /// Primary, backup and target are enrolled, the stranger is not.
    pub(crate) hosts: [u16; 4],
    /// Whether its hosts are named clients; else all are client 0.
    pub(crate) is_named: bool,
    /// The set of shares that signs, where it is a cluster of five with a threshold of three.
    pub(crate) shares: Option<u32>,
    pub(crate) is_chosen_by_gate: bool,
    pub(crate) fee_recipient: [u8; 20],
    pub(crate) credentials: [u8; 32],
    /// The second address of a host behind two, and a third that came later.
    pub(crate) prefixes: [u64; 2],
    /// Whether the operator had enrolled the third one.
    pub(crate) is_third_enrolled: bool,
}

/// All that is drawn before anything happens.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) size: Size,
    pub(crate) ranges: Ranges,
    pub(crate) cohorts: Vec<Cohort>,
    pub(crate) hosts: Vec<Host>,
    /// The cohort of each key.
    pub(crate) cohort_of: Vec<u16>,
    /// The fork that moves the deadlines to a quarter and half of the slot.
    pub(crate) fork_epoch: u64,
    pub(crate) policy: Policy,
}

impl World {
    pub(crate) fn first_scored_slot(&self) -> u64 {
        FIRST_SLOT + self.size.warm_up_days * SLOTS_PER_DAY
    }

    pub(crate) const fn last_slot(&self) -> u64 {
        FIRST_SLOT + self.size.days * SLOTS_PER_DAY
    }

    pub(crate) fn draw(size: Size, draw: &mut Draw) -> Self {
        let days = size.days as f64;
        let fork_day = draw.between(0.6, 0.8) * days;
        let mut world = Self {
            size,
            ranges: Ranges::draw(draw),
            cohorts: Vec::new(),
            hosts: Vec::new(),
            cohort_of: Vec::new(),
            fork_epoch: FIRST_SLOT / SLOTS_PER_EPOCH + (fork_day * EPOCHS_PER_DAY as f64) as u64,
            policy: Policy::default(),
        };
        // Client 0 is whoever is not named.
        world
            .policy
            .clients
            .push(ClientPolicy { name: "unnamed".to_owned(), ..Default::default() });
        for (kind, keys) in cohort_sizes(size.keys) {
            world.add_cohort(kind, keys, draw);
        }
        world
    }

    fn add_cohort(&mut self, kind: Kind, keys: u32, draw: &mut Draw) {
        let index = self.cohorts.len() as u16;
        let is_named = kind != Kind::Plain || draw.chance(0.85);
        let mut hosts = [0; 4];
        for host in &mut hosts {
            *host = self.add_host(is_named, draw);
        }
        let is_cluster = match kind {
            Kind::Plain | Kind::Distributed => draw.chance(0.6),
            Kind::Quiet => true,
            Kind::TwoPrefixes | Kind::SeveralNodes | Kind::ActivePair | Kind::Small => false,
        };
        let first = self.cohort_of.len() as u32;
        let mut fee_recipient = [0; 20];
        fee_recipient[..8].copy_from_slice(&draw.number().to_le_bytes());
        let mut credentials = [0; 32];
        credentials[0] = if draw.chance(0.5) { 1 } else { 2 };
        credentials[12..20].copy_from_slice(&draw.number().to_le_bytes());
        let cohort = Cohort {
            kind,
            first,
            keys,
            hosts,
            is_named,
            shares: is_cluster.then(|| draw_set(draw)),
            is_chosen_by_gate: is_cluster && kind != Kind::Quiet && draw.chance(0.1),
            fee_recipient,
            credentials,
            prefixes: [draw.number(), draw.number()],
            is_third_enrolled: draw.chance(0.5),
        };
        self.cohort_of.extend(std::iter::repeat_n(index, keys as usize));
        self.policy.groups.push(self.group_of(&cohort));
        self.cohorts.push(cohort);
    }

    /// A host somewhere: an enrolled one of a cohort, a stranger's, an attacker's.
    pub(crate) fn add_host(&mut self, is_named: bool, draw: &mut Draw) -> u16 {
        let index = self.hosts.len() as u16;
        let client = if is_named {
            let name = format!("client-{index}");
            self.policy.clients.push(ClientPolicy { name, ..Default::default() });
            ClientIndex(self.policy.clients.len() as u16 - 1)
        } else {
            ClientIndex(0)
        };
        // Six clients are in use, in a few versions each.
        let dialect = crate::draw::mix(&[draw.below(24), 7]);
        let source = Source { client, certificate: draw.number(), dialect, prefix: draw.number() };
        self.hosts.push(Host {
            source,
            is_event_driven: draw.chance(0.5),
            offset_ms: draw.between(5.0, 60.0),
            jitter_ms: draw.between(3.0, 25.0),
            service_ms: draw.between(0.05, 0.6),
            is_shuffled: draw.chance(0.5),
        });
        index
    }

    fn group_of(&self, cohort: &Cohort) -> GroupPolicy {
        let source = |host: usize| self.hosts[usize::from(cohort.hosts[host])].source;
        let mut enrolled = Vec::new();
        for host in [PRIMARY, BACKUP, TARGET] {
            let source = source(host);
            let mut prefixes = vec![source.prefix];
            if host == PRIMARY && cohort.kind == Kind::TwoPrefixes {
                prefixes.push(cohort.prefixes[0]);
                if cohort.is_third_enrolled {
                    prefixes.push(cohort.prefixes[1]);
                }
            }
            enrolled.push((source.client, prefixes));
        }
        let mut group = GroupPolicy {
            name: format!("group-{}", self.cohorts.len()),
            enrolled,
            fee_recipients: vec![cohort.fee_recipient],
            gas_limit: Some((30_000_000, 60_000_000)),
            withdrawal_credentials: vec![cohort.credentials],
            exit_clients: vec![source(PRIMARY).client],
            exits_daily_max: 4,
            ..GroupPolicy::default()
        };
        if cohort.kind == Kind::ActivePair {
            group.active_clients = vec![source(PRIMARY).client, source(BACKUP).client];
        }
        // The profile `enforce`: what a fresh installation watches of these two, this one enforces.
        for rule in [Rule::Context, Rule::Shares] {
            group.modes[rule as usize] = Mode::Enforce;
        }
        group
    }

    /// The same policy where every source has to be enrolled.
    pub(crate) fn strict(policy: &Policy) -> Policy {
        let mut strict = policy.clone();
        for group in &mut strict.groups {
            group.enrolment = Enrolment::Strict;
        }
        strict
    }
}

/// Three of five.
pub(crate) fn draw_set(draw: &mut Draw) -> u32 {
    let out = (draw.below(5), draw.below(4));
    let second = if out.1 >= out.0 { out.1 + 1 } else { out.1 };
    0b11111 & !(1 << out.0) & !(1 << second)
}

/// A set with one of its nodes replaced by one that was not in it.
pub(crate) fn substitute(set: u32, draw: &mut Draw) -> u32 {
    let pick = |bits: u32, nth: u64| (0..5).filter(|bit| bits >> bit & 1 == 1).nth(nth as usize);
    let gone = pick(set, draw.below(3)).unwrap_or(0);
    let come = pick(!set & 0b11111, draw.below(2)).unwrap_or(0);
    set & !(1 << gone) | 1 << come
}

/// One of each peculiar kind or two, five small ones, and the rest in plain cohorts of equal size.
fn cohort_sizes(keys: u32) -> Vec<(Kind, u32)> {
    let mut sizes: Vec<_> = [1, 1, 10, 10, 50].map(|keys| (Kind::Small, keys)).to_vec();
    let peculiar = [
        Kind::Quiet,
        Kind::Quiet,
        Kind::TwoPrefixes,
        Kind::TwoPrefixes,
        Kind::Distributed,
        Kind::SeveralNodes,
        Kind::ActivePair,
    ];
    let rest = keys - 72;
    let count = (rest / 120).clamp(9, 22);
    for index in 0..count {
        let kind = peculiar.get(index as usize).copied().unwrap_or(Kind::Plain);
        let extra = u32::from(index < rest % count);
        sizes.push((kind, rest / count + extra));
    }
    sizes
}
