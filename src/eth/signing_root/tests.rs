#![allow(clippy::unwrap_used)]

use super::{ExitRoots, RootError, effective_fork_version, signing_root};
use crate::eth::bits::{Bitlist, BitsError, Bitvector};
use crate::eth::duty::{
    AggregateAndProof, AggregationSlot, Attestation, AttestationData, Checkpoint, Duty, DutyKind,
    VoluntaryExit,
};
use crate::eth::types::{Epoch, Root, Signature, SigningRoot, Slot, Version};
use crate::eth::{Fork, ForkInfo, ForkName, Network};

fn mainnet() -> Network {
    Network::builtin("mainnet").unwrap()
}

fn fork_info(previous: u8, current: u8, epoch: u64) -> ForkInfo {
    ForkInfo {
        fork: Fork {
            previous_version: Version([previous, 0, 0, 0]),
            current_version: Version([current, 0, 0, 0]),
            epoch: Epoch(epoch),
        },
        genesis_validators_root: mainnet().genesis().unwrap().validators_root,
    }
}

const EXIT: VoluntaryExit = VoluntaryExit { epoch: Epoch(411_392), validator_index: 7 };

fn exit_root(
    info: &ForkInfo,
    claimed: Option<&SigningRoot>,
    now: u64,
) -> Result<SigningRoot, RootError> {
    signing_root(&Duty::VoluntaryExit(EXIT), Some(info), claimed, &mainnet(), Epoch(now))
}

/// The four `fork_info`s that clients send for an exit, all signed in the domain of Capella.
#[test]
fn exits_have_one_root_from_deneb_on() {
    let expected = "0x0488d329b5254cbef4b15e84729965a7d7674a67e991510dbf96b1181694b946";
    let infos = [
        fork_info(3, 3, 411_392),
        fork_info(2, 3, 194_048),
        fork_info(5, 6, 411_392),
        fork_info(6, 6, 411_392),
    ];
    for info in infos {
        let root = exit_root(&info, None, 269_568).unwrap();
        assert_eq!(root.to_string(), expected);
        assert_eq!(exit_root(&info, Some(&root), 411_392), Ok(root));
    }
    // the ordinary root, in Fulu's domain, is nobody's any more
    let ordinary = ExitRoots::compute(&EXIT, &infos[2], &mainnet()).ordinary;
    assert!(ordinary.to_string().starts_with("0x83b3348e"));
    let refused = exit_root(&infos[2], Some(&ordinary), 411_392);
    assert!(matches!(refused, Err(RootError::Mismatch { .. })));
}

#[test]
fn exits_before_deneb_have_either_root() {
    let info = fork_info(1, 2, 144_896); // Bellatrix
    let roots = ExitRoots::compute(&EXIT, &info, &mainnet());
    let capella = roots.capella.unwrap();
    assert_ne!(capella, roots.ordinary);
    assert_eq!(exit_root(&info, None, 200_000), Ok(roots.ordinary));
    assert_eq!(exit_root(&info, Some(&roots.ordinary), 200_000), Ok(roots.ordinary));
    assert_eq!(exit_root(&info, Some(&capella), 200_000), Ok(capella));
    let other = SigningRoot([1; 32]);
    let mismatch = RootError::Mismatch { claimed: other, computed: roots.ordinary };
    assert_eq!(exit_root(&info, Some(&other), 200_000), Err(mismatch));
}

#[test]
fn the_version_is_the_requests() {
    let slot = |slot| Duty::AggregationSlot(AggregationSlot { slot: Slot(slot) });
    let info = fork_info(5, 6, 411_392);
    let version = |duty: &Duty| effective_fork_version(duty, Some(&info), &mainnet());
    let (before, after) = (slot(411_392 * 32 - 1), slot(411_392 * 32));
    assert_eq!(version(&before), Some((Epoch(411_391), Version([5, 0, 0, 0]))));
    assert_eq!(version(&after), Some((Epoch(411_392), Version([6, 0, 0, 0]))));
    assert_eq!(version(&Duty::VoluntaryExit(EXIT)), None);
    let missing = signing_root(&after, None, None, &mainnet(), Epoch(0));
    assert_eq!(missing, Err(RootError::MissingForkInfo { kind: DutyKind::AggregationSlot }));
}

fn aggregate(epoch: u64, bits: usize, committee_bits: Option<Vec<u8>>) -> Duty {
    let checkpoint = Checkpoint { epoch: Epoch(epoch), root: Root::ZERO };
    let mut list = vec![0; bits / 8 + 1];
    list[bits / 8] = 1 << (bits % 8);
    Duty::AggregateAndProofV2(Box::new(AggregateAndProof {
        aggregator_index: 0,
        aggregate: Attestation {
            aggregation_bits: Bitlist::from_ssz(&list).unwrap(),
            data: AttestationData {
                slot: Slot(epoch * 32),
                index: 0,
                beacon_block_root: Root::ZERO,
                source: checkpoint,
                target: checkpoint,
            },
            signature: Signature::ZERO,
            committee_bits: committee_bits.map(|bits| Bitvector::from_ssz(&bits).unwrap()),
        },
        selection_proof: Signature::ZERO,
    }))
}

#[test]
fn aggregates_have_the_form_of_their_fork() {
    let network = mainnet().with_fork_epochs([(ForkName::Gloas, Epoch(500_000))]).unwrap();
    let root = |duty: Duty| duty.object_root(&network);
    let (deneb, electra, gloas) = (300_000, 364_032, 500_000);
    assert!(root(aggregate(deneb, 2048, None)).is_ok());
    let too_many = |len, limit| RootError::AggregationBits(BitsError::TooMany { len, limit });
    assert_eq!(root(aggregate(deneb, 2049, None)), Err(too_many(2049, 2048)));
    let committees = || Some(vec![1, 0, 0, 0, 0, 0, 0, 0]);
    assert!(root(aggregate(electra, 131_072, committees())).is_ok());
    assert_eq!(root(aggregate(electra, 131_073, committees())), Err(too_many(131_073, 131_072)));
    assert_ne!(
        root(aggregate(gloas, 300, committees())),
        root(aggregate(gloas - 1, 300, committees()))
    );
    let (slot, fork) = (Slot(deneb * 32), ForkName::Deneb);
    let unexpected = RootError::UnexpectedCommitteeBits { slot, fork };
    assert_eq!(root(aggregate(deneb, 1, committees())), Err(unexpected));
    let (slot, fork) = (Slot(electra * 32), ForkName::Electra);
    let missing = RootError::MissingCommitteeBits { slot, fork };
    assert_eq!(root(aggregate(electra, 1, None)), Err(missing));
    let short = BitsError::Length { found: 1, expected: 64 };
    assert_eq!(root(aggregate(electra, 1, Some(vec![1]))), Err(RootError::CommitteeBits(short)));
}
