//! The lease: one owner of a key at a time (D23, D24).

use super::client::{name_of, needs_lease};
use super::{Case, Word, word};
use crate::key::Lease;
use crate::{ClientIndex, Engine, GroupPolicy, KeyState, Level, Observation, Policy};
use crate::{Window, WindowId, WindowKind};

/// For so many epochs after it has lost a key, a former owner that asks shows that both are alive.
const FENCE_EPOCHS: u64 = 2;

/// How a client stands to the lease of the key that it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// What it asks for needs no lease.
    Apart,
    /// Nobody has the lease.
    Free,
    /// It has it.
    Own,
    /// The group declares that it signs beside the owner.
    Paired,
    /// A rotation window hands it the lease.
    Rotates(WindowId),
    /// The owner has gone.
    Follows,
    /// The owner is alive.
    Contested,
    /// It had the lease itself, and lost it a moment ago.
    Fenced,
}

impl Standing {
    /// Whether the lease moves to it.
    pub(crate) const fn takes(self) -> bool {
        match self {
            Self::Free | Self::Rotates(_) | Self::Follows => true,
            Self::Apart | Self::Own | Self::Paired | Self::Contested | Self::Fenced => false,
        }
    }
}

/// How the asking client stands to the lease.
pub(crate) fn standing(
    engine: &Engine,
    policy: &Policy,
    group: &GroupPolicy,
    key: &KeyState,
    seen: &Observation,
) -> Standing {
    let (lease, client) = (&key.lease, seen.source.client);
    if !needs_lease(seen.message.duty_type()) {
        return Standing::Apart;
    }
    if lease.is_free() {
        return Standing::Free;
    }
    if client == lease.owner {
        return Standing::Own;
    }
    if group.active_clients.contains(&client) && group.active_clients.contains(&lease.owner) {
        return Standing::Paired;
    }
    let hands_over =
        |window: &Window| is_rotation(window, lease.owner, client) && !has_moved(lease, window);
    if let Some(window) = policy.window(seen, hands_over)
        && !engine.is_halted(window.id)
    {
        return Standing::Rotates(window.id);
    }
    if engine.has_left(policy, group, lease, seen) {
        return Standing::Follows;
    }
    let is_back = client == lease.former && lease.moved_epoch != 0;
    let is_fresh = seen.at.epoch <= u64::from(lease.moved_epoch) + FENCE_EPOCHS;
    let is_rotating =
        || policy.window(seen, |window| is_rotation(window, client, lease.owner)).is_some();
    if is_back && (is_fresh || is_rotating()) { Standing::Fenced } else { Standing::Contested }
}

/// Whether a window hands keys from one client to the other.
pub(crate) fn is_rotation(window: &Window, old: ClientIndex, new: ClientIndex) -> bool {
    match window.kind {
        WindowKind::Rotation { from, to } => from == old && to == new,
        WindowKind::Exits | WindowKind::Deposits | WindowKind::Maintenance => false,
    }
}

/// Whether the key has made the window's move already: it makes it once.
fn has_moved(lease: &Lease, window: &Window) -> bool {
    match window.kind {
        WindowKind::Rotation { to, .. } => {
            lease.has_moved_by(window.id)
                || lease.former == to && u64::from(lease.moved_s) * 1000 >= window.from_ms
        }
        WindowKind::Exits | WindowKind::Deposits | WindowKind::Maintenance => false,
    }
}

/// The rotation that this key and the asking client take part in at this moment. A third client
/// halts no rotation: it would be an easy way to stop one.
pub(crate) fn rotation<'a>(case: &Case<'a>) -> Option<&'a Window> {
    let (lease, client) = (&case.key.lease, case.seen.source.client);
    case.window(|window| match window.kind {
        WindowKind::Rotation { from, to } => {
            (client == from && lease.owner == to) || (client == to && lease.owner == from)
        }
        WindowKind::Exits | WindowKind::Deposits | WindowKind::Maintenance => false,
    })
}

/// D23: another client asks while the owner is alive.
pub(crate) fn contested(case: &Case<'_>) -> Word {
    if case.standing != Standing::Contested {
        return None;
    }
    let level = if rotation(case).is_some() { Level::HaltRotation } else { Level::Refuse };
    word(true, level, "lease", || owners(case))
}

/// D24: the former owner asks after the lease has moved.
pub(crate) fn fenced(case: &Case<'_>) -> Word {
    if case.standing != Standing::Fenced {
        return None;
    }
    let level = if rotation(case).is_some() { Level::HaltRotation } else { Level::Quarantine };
    word(true, level, "lease", || owners(case))
}

fn owners(case: &Case<'_>) -> (String, String) {
    let lease = &case.key.lease;
    let ago = case.seen.at.epoch.saturating_sub(u64::from(lease.last_epoch));
    let owner = name_of(case, lease.owner);
    let client = name_of(case, case.seen.source.client);
    let moved = if lease.moved_epoch == 0 {
        String::new()
    } else {
        format!(" (it moved from {} at epoch {})", name_of(case, lease.former), lease.moved_epoch)
    };
    let observed =
        format!("{client} asks, {owner} has the lease{moved} and signed {ago} epochs ago");
    let wait = case.group.lease_epochs;
    (observed, format!("{owner}; another after a rotation window, or {wait} epochs of its silence"))
}
