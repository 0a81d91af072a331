//! The state of one key: a few lines of memory, beside its watermarks and under the same lock.

/// What is normal for one key, packed. At most 512 bytes (design), 256 aimed for.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyState {
    // the core's: owner, sources, ledger, tests
}

impl KeyState {
    /// The length of [`to_bytes`](Self::to_bytes).
    pub const BYTES: usize = 256;

    /// A key that nothing is known of.
    pub const fn new() -> Self {
        Self {}
    }

    /// The state as it is kept on disk, with its version in front.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        [0; Self::BYTES]
    }

    /// The state from disk; `None` when it is of another version or garbled: the key begins anew.
    pub fn from_bytes(_bytes: &[u8]) -> Option<Self> {
        Some(Self::new())
    }
}

impl Default for KeyState {
    fn default() -> Self {
        Self::new()
    }
}
