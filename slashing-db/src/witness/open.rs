//! Who may open a store: a pure comparison of what the store and its witness say.
//!
//! Opening has three steps, and a crash may fall between any two of them:
//!
//! | done | store | witness | the next opening |
//! |---|---|---|---|
//! | nothing | G | G | claims G+1 |
//! | pending durable | G, pending G+1 | G | drops the pending claim, claims G+1 anew |
//! | witness set | G, pending G+1 | G+1, no lease | confirms the pending claim, claims G+2 |
//! | confirmed | G+1 | G+1, no lease | claims G+2 |
//! | first renewal | G+1 | G+1, lease | claims G+2 |
//!
//! Every other combination is a copy, a restored snapshot, or a second owner. A copy that still has
//! the claim pending is told from a crash by the lease: the owner renews only after it confirmed.

use super::{
    BEGIN_ANEW, Binding, Claim, Host, LeaseHeld, OwnerNonce, ReservedThrough, StoreId, WitnessState,
};

#[cfg(test)]
mod tests;

/// What a store knows of itself, as read from it before it is opened for writing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Local {
    /// The network and key set that the store was created for.
    pub binding: Binding,
    /// The store's own name.
    pub store: StoreId,
    /// The last opening that was confirmed.
    pub claim: Claim,
    /// An opening that was begun after it, and of which the store does not know whether the witness
    /// took it.
    pub pending: Option<Claim>,
    /// The last epoch and slot that may be signed for, durable here before the witness has it.
    pub reserved_through: ReservedThrough,
    /// The highest audit sequence in the store.
    pub sequence: u64,
    /// Whether the last owner stopped cleanly.
    pub sealed: bool,
}

impl Local {
    /// Of a store that was just created: what [`WitnessState::of_new_store`] witnesses.
    pub fn of_new_store(binding: Binding, store: StoreId, nonce: OwnerNonce) -> Self {
        Self {
            binding,
            store,
            claim: Claim { generation: 0, nonce },
            pending: None,
            reserved_through: ReservedThrough::default(),
            sequence: 0,
            sealed: true,
        }
    }
}

/// Why a store is not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefused {
    /// Perhaps later.
    #[error(transparent)]
    LeaseHeld(#[from] LeaseHeld),
    /// Never: the operator must act.
    #[error(transparent)]
    Stale(#[from] Stale),
}

/// Why this directory is not the live copy. It must not sign.
///
/// None of these heals by itself: where the live copy is elsewhere, use that one. Otherwise the way
/// back is a new store, every other signer of the keys stopped, and the keys enrolled by a floor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// The witness is about other keys.
    #[error(
        "the witness is of {witness}, this store is of {local}: configure the witness of this store"
    )]
    OtherBinding {
        /// The store's.
        local: Box<Binding>,
        /// The witness's.
        witness: Box<Binding>,
    },
    /// The witness is of another store of the same keys.
    #[error(
        "the witness names store {witness} as the live one of these keys, this is store {local}: \
         sign with that one; if it is lost, {}",
        BEGIN_ANEW
    )]
    OtherStore {
        /// This store.
        local: StoreId,
        /// The live one.
        witness: StoreId,
    },
    /// The store was opened since, elsewhere or later.
    #[error(
        "this is an old copy: it was last opened as generation {local}, the live one as generation \
         {witness}. Sign with the live one; if it is lost, {}",
        BEGIN_ANEW
    )]
    GenerationBehind {
        /// The store's generation.
        local: u64,
        /// The witness's.
        witness: u64,
    },
    /// The witness itself is old.
    #[error(
        "the witness is older than this store: it says generation {witness}, the store {local}. It \
         was restored from a copy and can vouch for nothing. Put the newer witness back; if it is \
         lost, {}",
        BEGIN_ANEW
    )]
    WitnessBehind {
        /// The store's generation.
        local: u64,
        /// The witness's.
        witness: u64,
    },
    /// Two copies were opened as the same generation; the other one won.
    #[error(
        "a second owner: generation {generation} of this store was opened by another process \
         (owner {witness}, here {local}), so there are two copies of it. Sign with the other one; \
         if it is lost, {}",
        BEGIN_ANEW
    )]
    SecondOwner {
        /// The generation of both.
        generation: u64,
        /// The owner that this store knows.
        local: OwnerNonce,
        /// The owner that the witness knows.
        witness: OwnerNonce,
    },
    /// A copy taken while the store was being opened.
    #[error(
        "this copy was taken while the live store was being opened as generation {generation}; that \
         opening was finished in the original. Sign with the original; if it is lost, {}",
        BEGIN_ANEW
    )]
    CopiedWhileOpening {
        /// The generation that was being opened.
        generation: u64,
    },
    /// Signatures are missing here.
    #[error(
        "records are missing: this store ends at audit sequence {local}, but sequence {witness} was \
         durable when its owner last renewed. It was restored from a snapshot, or its disk lost \
         writes. Sign with the original; if it is lost, {}",
        BEGIN_ANEW
    )]
    SequenceBehind {
        /// The store's last.
        local: u64,
        /// The witness's.
        witness: u64,
    },
    /// A reservation is missing here.
    #[error(
        "this store reserved through epoch {} and slot {}, its owner later through epoch {} and \
         slot {}: it was restored from a snapshot. Sign with the original; if it is lost, {}",
        .local.epoch, .local.slot, .witness.epoch, .witness.slot, BEGIN_ANEW
    )]
    ReservationBehind {
        /// The store's.
        local: ReservedThrough,
        /// The witness's.
        witness: ReservedThrough,
    },
    /// The owner stopped cleanly, and not in this state.
    #[error(
        "the owner stopped cleanly at audit sequence {witness}, this copy is {} at sequence \
         {local}: it is not what the owner left. Sign with the original; if it is lost, {}",
        if *.local_sealed { "sealed" } else { "not sealed and" },
        BEGIN_ANEW
    )]
    SealMismatch {
        /// The store's last sequence.
        local: u64,
        /// Whether the store is sealed.
        local_sealed: bool,
        /// The sequence at the seal.
        witness: u64,
    },
}

/// How to open the store: what to write, in the order of the methods, each durable before the next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OpenPlan {
    pending: Local,
    expected: WitnessState,
    claimed: WitnessState,
    recovered: Option<Claim>,
}

impl OpenPlan {
    /// Step 1: the store with the new claim pending. An opening that a crash cut short is finished
    /// or dropped in the same write.
    pub fn pend(&self) -> &Local {
        &self.pending
    }

    /// Step 2: what to compare the witness with, and what to set it to. If another owner was
    /// faster, open nothing.
    pub fn claim(&self) -> (&WitnessState, &WitnessState) {
        (&self.expected, &self.claimed)
    }

    /// Step 3: the store with the claim confirmed. After it the first renewal, from
    /// [`WitnessState::renewed`] of the claimed state; after that the store may sign.
    pub fn confirm(&self) -> Local {
        Local { claim: self.claimed.claim, pending: None, sealed: false, ..self.pending.clone() }
    }

    /// An opening that the witness had taken before a crash, and that this one finishes; for the
    /// log.
    pub fn recovered(&self) -> Option<Claim> {
        self.recovered
    }
}

/// Decides whether the store may be opened, without changing anything.
///
/// `nonce` must be drawn anew for each call.
///
/// # Errors
/// [`OpenRefused`]: sign nothing, and show the reason.
pub fn plan_open(
    local: &Local,
    witness: &WitnessState,
    here: &Host,
    nonce: OwnerNonce,
) -> Result<OpenPlan, OpenRefused> {
    let recovered = check_owner(local, witness)?;
    check_content(local, witness)?;
    witness.check_lease(here)?;
    Ok(plan(local, witness, here, nonce, recovered))
}

/// Plans how this store takes the keys over from whatever the witness says, other stores included.
///
/// Only after the operator has declared every other signer of the keys dead **and** every key was
/// enrolled here with a floor, durably: nothing is compared any more but the keys themselves.
///
/// # Errors
/// [`OpenRefused::LeaseHeld`] while a signer on another machine is alive after all, and
/// [`Stale::OtherBinding`].
pub fn plan_takeover(
    local: &Local,
    witness: &WitnessState,
    here: &Host,
    nonce: OwnerNonce,
) -> Result<OpenPlan, OpenRefused> {
    check_binding(local, witness)?;
    witness.check_lease(here)?;
    // From here on the witness is of this store, as far as this store is.
    let reserved_through = local.reserved_through.max(witness.reserved_through);
    let local = Local { reserved_through, ..local.clone() };
    let mut plan = plan(&local, witness, here, nonce, None);
    plan.claimed.store = local.store;
    plan.claimed.sequence = local.sequence;
    plan.claimed.reserved_through = reserved_through;
    Ok(plan)
}

fn plan(
    local: &Local,
    witness: &WitnessState,
    here: &Host,
    nonce: OwnerNonce,
    recovered: Option<Claim>,
) -> OpenPlan {
    let highest = local.claim.generation.max(witness.claim.generation);
    // At the end of the numbers, which no store reaches, the nonce still tells owners apart.
    let generation = highest.saturating_add(1);
    let claim = Claim { generation, nonce };
    OpenPlan {
        pending: Local {
            claim: recovered.unwrap_or(local.claim),
            pending: Some(claim),
            // A finished opening had broken the seal.
            sealed: local.sealed && recovered.is_none(),
            ..local.clone()
        },
        expected: witness.clone(),
        claimed: WitnessState {
            claim,
            lease: None,
            sealed: false,
            last_unix_seconds: witness.last_unix_seconds.max(here.unix_seconds),
            ..witness.clone()
        },
        recovered,
    }
}

fn check_binding(local: &Local, witness: &WitnessState) -> Result<(), Stale> {
    if local.binding != witness.binding {
        return Err(Stale::OtherBinding {
            local: Box::new(local.binding.clone()),
            witness: Box::new(witness.binding.clone()),
        });
    }
    Ok(())
}

/// Whether the last opening that the witness knows is this store's; gives the pending claim if the
/// witness took it and the store does not know.
fn check_owner(local: &Local, witness: &WitnessState) -> Result<Option<Claim>, Stale> {
    check_binding(local, witness)?;
    if local.store != witness.store {
        return Err(Stale::OtherStore { local: local.store, witness: witness.store });
    }
    if local.claim == witness.claim {
        return Ok(None);
    }
    if local.pending == Some(witness.claim) {
        // A lease or a seal comes only after the confirmation, which this copy does not have.
        let confirmed = witness.lease.is_some() || witness.sealed;
        let generation = witness.claim.generation;
        return match confirmed {
            true => Err(Stale::CopiedWhileOpening { generation }),
            false => Ok(local.pending),
        };
    }
    let (here, there) = (local.claim.generation, witness.claim.generation);
    Err(match here.cmp(&there) {
        std::cmp::Ordering::Less => Stale::GenerationBehind { local: here, witness: there },
        std::cmp::Ordering::Greater => Stale::WitnessBehind { local: here, witness: there },
        std::cmp::Ordering::Equal => Stale::SecondOwner {
            generation: here,
            local: local.claim.nonce,
            witness: witness.claim.nonce,
        },
    })
}

/// Whether the store has all that the witness heard of.
fn check_content(local: &Local, witness: &WitnessState) -> Result<(), Stale> {
    if local.sequence < witness.sequence {
        return Err(Stale::SequenceBehind { local: local.sequence, witness: witness.sequence });
    }
    if !local.reserved_through.covers(&witness.reserved_through) {
        return Err(Stale::ReservationBehind {
            local: local.reserved_through,
            witness: witness.reserved_through,
        });
    }
    if witness.sealed && !(local.sealed && local.sequence == witness.sequence) {
        return Err(Stale::SealMismatch {
            local: local.sequence,
            local_sealed: local.sealed,
            witness: witness.sequence,
        });
    }
    Ok(())
}
