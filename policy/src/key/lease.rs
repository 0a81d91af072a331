//! Who owns a key, and who did before.

use crate::bytes::{Reader, Writer, fold};
use crate::{ClientIndex, Moment, Source, WindowId};

/// The lease of one key. It belongs to a named client; how that client comes along (certificate,
/// dialect, network) is kept beside it, for the score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The owner; means something only where `token` is not 0.
    pub(crate) owner: ClientIndex,
    /// The client that lost the key when it last moved; likewise `moved_s`.
    pub(crate) former: ClientIndex,
    /// The source that the key's signatures usually come from; 0 before the first.
    pub(crate) token: u32,
    pub(crate) certificate: u32,
    pub(crate) dialect: u32,
    pub(crate) prefix: u32,
    /// The source before it.
    pub(crate) former_token: u32,
    pub(crate) former_certificate: u32,
    /// When the owner last signed for this key.
    pub(crate) last_epoch: u32,
    pub(crate) last_slot: u32,
    /// When the lease last moved from one client to another: 0 for never.
    pub(crate) moved_epoch: u32,
    pub(crate) moved_s: u32,
    /// When the source last changed.
    pub(crate) token_moved_epoch: u32,
    /// The rotation window that last moved it, as [`mark`]; 0 for none. Kept at the end of the
    /// key's state, where a state that was written before it has zeros.
    pub(crate) moved_by: u32,
}

/// A window in 32 bits, never 0.
fn mark(window: WindowId) -> u32 {
    fold(window.0).max(1)
}

impl Lease {
    pub(crate) const BYTES: usize = 48;

    /// Whether nobody has signed for the key yet.
    pub(crate) const fn is_free(&self) -> bool {
        self.token == 0
    }

    /// The owner signs.
    pub(crate) fn signed(&mut self, at: Moment) {
        self.last_epoch = at.epoch as u32;
        self.last_slot = at.slot as u32;
    }

    /// The lease goes to the client of `source`, for the first time or from its owner.
    pub(crate) fn take(&mut self, source: &Source, at: Moment) {
        if !self.is_free() {
            self.former = self.owner;
            self.moved_epoch = at.epoch as u32;
            self.moved_s = (at.unix_ms / 1000) as u32;
        }
        self.owner = source.client;
        self.settle(source, at);
    }

    /// The lease goes by a rotation window.
    pub(crate) fn move_by(&mut self, window: WindowId) {
        self.moved_by = mark(window);
    }

    /// Whether this window was the last that moved it.
    pub(crate) fn has_moved_by(&self, window: WindowId) -> bool {
        self.moved_by == mark(window)
    }

    /// The key's signatures come from another source from now on.
    pub(crate) fn settle(&mut self, source: &Source, at: Moment) {
        if !self.is_free() {
            self.former_token = self.token;
            self.former_certificate = self.certificate;
            self.token_moved_epoch = at.epoch as u32;
        }
        self.look_like(source);
    }

    /// Its owner comes from `source`, without having moved there: for a dry run.
    pub(crate) fn look_like(&mut self, source: &Source) {
        self.token = source.token();
        self.certificate = fold(source.certificate);
        self.dialect = fold(source.dialect);
        self.prefix = fold(source.prefix);
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.all_u16(&[self.owner.0, self.former.0]);
        out.all_u32(&[self.token, self.certificate, self.dialect, self.prefix]);
        out.all_u32(&[self.former_token, self.former_certificate]);
        out.all_u32(&[self.last_epoch, self.last_slot]);
        out.all_u32(&[self.moved_epoch, self.moved_s, self.token_moved_epoch]);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let [owner, former] = from.all_u16()?;
        let [token, certificate, dialect, prefix] = from.all_u32()?;
        let [former_token, former_certificate, last_epoch, last_slot] = from.all_u32()?;
        let [moved_epoch, moved_s, token_moved_epoch] = from.all_u32()?;
        let (owner, former) = (ClientIndex(owner), ClientIndex(former));
        Some(Self {
            owner,
            former,
            token,
            certificate,
            dialect,
            prefix,
            former_token,
            former_certificate,
            last_epoch,
            last_slot,
            moved_epoch,
            moved_s,
            token_moved_epoch,
            moved_by: 0,
        })
    }
}
