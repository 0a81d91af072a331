//! The judge: what the signer says that it signed, against what the store says that it recorded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use portcullis::dev_signer::log::{self, Entry};
use portcullis::dev_signer::sign_type::SignType;
use slashing_db::{KeyRecord, PublicKey, ReadOnlyStore, Store};

/// The signer's log, read on from where the last reading ended.
pub(super) struct SignerLog {
    path: PathBuf,
    offset: u64,
    pub(super) entries: Vec<Entry>,
}

impl SignerLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, entries: Vec::new() }
    }

    /// Reads the whole lines that are new.
    pub(super) fn read_on(&mut self) {
        let Ok(mut file) = File::open(&self.path) else { return };
        file.seek(SeekFrom::Start(self.offset)).expect("the signer's log");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("the signer's log");
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.offset += whole as u64;
        let lines = text[..whole].lines();
        self.entries.extend(lines.map(|line| serde_json::from_str::<Entry>(line).expect(line)));
    }

    /// The slashable pairs among all that was ever signed.
    pub(super) fn conflicts(&self) -> Vec<String> {
        let conflicts = log::find_conflicts(&self.entries);
        conflicts.iter().map(|conflict| format!("{conflict:?}")).collect()
    }

    /// What was signed and is not covered by the record of its key in the store at `directory`.
    pub(super) fn unrecorded(&self, directory: &Path) -> Vec<String> {
        let store = Store::open_read_only(directory).expect("the store opens for reading");
        let records = records(&store);
        let missing = self.entries.iter().filter(|entry| {
            let record = records.get(&PublicKey(entry.pubkey.0));
            !record.is_some_and(|record| is_recorded(entry, record))
        });
        missing.map(|entry| format!("{entry:?}")).collect()
    }
}

fn records(store: &ReadOnlyStore) -> BTreeMap<PublicKey, KeyRecord> {
    store.keys().iter().map(|record| (record.public_key, *record)).collect()
}

/// Whether the record forbids whatever conflicts with the entry; at the same height it has to hold
/// the very root.
fn is_recorded(entry: &Entry, record: &KeyRecord) -> bool {
    let root = entry.signing_root.0;
    match entry.sign_type {
        SignType::Attestation => record.attestation.is_some_and(|record| {
            let target = entry.subject.target_epoch.expect("a vote has a target");
            let source = entry.subject.source_epoch.expect("a vote has a source");
            record.source_epoch >= source
                && (record.target_epoch > target
                    || record.target_epoch == target && record.signing_root.0 == root)
        }),
        SignType::Block | SignType::BlockV2 => record.block.is_some_and(|record| {
            let slot = entry.subject.slot.expect("a block has a slot");
            record.slot > slot || record.slot == slot && record.signing_root.0 == root
        }),
        _ => true, // not slashable
    }
}
