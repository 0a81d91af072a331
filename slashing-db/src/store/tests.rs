#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use super::*;
use crate::message::{Bounds, Message};
use crate::recorder::Priority;
use crate::rules::NotSafe;
use crate::signed::{SignedAttestation, SignedBlock, SigningRoot};
use crate::testing::{Fault, MemoryDisk};
use crate::witness::testing::{Failure, MemoryWitness};

#[cfg(feature = "rocksdb")]
mod eip3076;
mod keys;
mod model;
mod one_live_copy;
mod race;

const OPEN: Bounds =
    Bounds { target_epoch_min: 0, target_epoch_max: u64::MAX, slot_max: u64::MAX, counted_max: 1 };

fn at(seconds: u64) -> Now {
    Now {
        boot: BootTime(seconds * 1_000_000_000),
        unix_s: 1_700_000_000 + seconds,
        epoch: 100 + seconds / 384,
        slot: 3_200 + seconds / 12,
    }
}

fn params(now: Now) -> OpenParams {
    OpenParams {
        directory: PathBuf::from("store"),
        witness: PathBuf::from("witness"),
        network: "testnet".into(),
        genesis_validators_root: GenesisValidatorsRoot([4; 32]),
        key_set: "main".into(),
        now,
        boot_id: "this boot".into(),
        places_max: 4_096,
        monotonic: || Duration::ZERO,
    }
}

/// A store that was made and never opened.
fn made() -> (MemoryDisk, MemoryWitness) {
    let disk = MemoryDisk::new();
    let state = Store::init_with(&params(at(0)), &mut disk.engine()).unwrap();
    (disk, MemoryWitness::new(state))
}

type Table = HashMap<PublicKey, Watermarks>;

fn open(disk: &MemoryDisk, witness: &MemoryWitness, now: Now) -> Result<(Store, Table), OpenError> {
    let parts = Parts { engine: Box::new(disk.engine()), witness: Box::new(witness.clone()) };
    let (store, watermarks) = Store::open_with(&params(now), parts)?;
    Ok((store, watermarks.into_iter().map(|it| (*it.public_key(), it)).collect()))
}

fn key(number: u8) -> PublicKey {
    PublicKey([number; 48])
}

fn vote(source_epoch: u64, target_epoch: u64) -> Message {
    let signing_root = SigningRoot([9; 32]);
    Message::Attestation(SignedAttestation { source_epoch, target_epoch, signing_root })
}

fn block(slot: u64) -> Message {
    Message::Block(SignedBlock { slot, signing_root: SigningRoot([8; 32]) })
}

/// Signs, or says which rule refused.
fn sign(store: &Store, key: &mut Watermarks, message: &Message) -> Result<u64, &'static str> {
    let place = store.recorder().reserve(Priority::Block).map_err(|_| "no place")?;
    let checked = key.check(message, &OPEN).map_err(|it: NotSafe| it.code())?;
    let permit = checked.record(place).wait().map_err(|_| "not recorded")?;
    let redeemed = permit.redeem(at(1).boot).map_err(|_| "lease lapsed")?;
    Ok(redeemed.sequence().unwrap())
}
