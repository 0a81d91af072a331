//! `portcullis signing-root`: the signing roots of request bodies.
//!
//! JSON lines in, each the body of a request to sign; one line out for each, in order: the root, or
//! `error: ` and what is wrong with the request.

use std::io::{self, BufRead, Write};

use crate::eth::{Duty, Epoch, ForkInfo, Network, RootError, SigningRoot, signing_root};
use crate::web3signer::request::{self, RequestError, SigningRequest};

/// What became of the lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines that have a root.
    pub roots: u64,
    /// Lines that have none: the command fails if there are any.
    pub errors: u64,
}

#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Writes the signing root, or the error, of each line of `input`.
///
/// # Errors
/// `input` cannot be read or `output` cannot be written. A request without a root is not an error
/// of this kind, see [`Summary::errors`].
pub fn run(
    network: &Network,
    mut input: impl BufRead,
    mut output: impl Write,
) -> Result<Summary, io::Error> {
    let mut summary = Summary::default();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? != 0 {
        match root_of(&line, network) {
            Ok(root) => {
                summary.roots += 1;
                writeln!(output, "{root}")?;
            }
            Err(error) => {
                summary.errors += 1;
                writeln!(output, "error: {error}")?;
            }
        }
        line.clear();
    }
    output.flush()?;
    Ok(summary)
}

fn root_of(line: &[u8], network: &Network) -> Result<SigningRoot, LineError> {
    let SigningRequest { duty, fork_info, claimed_root, .. } = request::parse(line)?;
    let asked_at = earliest_epoch(&duty, fork_info.as_ref());
    let root = signing_root(&duty, fork_info.as_ref(), claimed_root.as_ref(), network, asked_at)?;
    Ok(root)
}

/// The earliest epoch in which a request can have been made, there being no clock here: its fork
/// had come, and an exit is not signed for long before its epoch. Nothing but exits depends on it.
fn earliest_epoch(duty: &Duty, fork_info: Option<&ForkInfo>) -> Epoch {
    let fork_epoch = fork_info.map_or(Epoch(0), |info| info.fork.epoch);
    match duty {
        Duty::VoluntaryExit(exit) => exit.epoch.max(fork_epoch),
        Duty::Attestation(_)
        | Duty::Block(_)
        | Duty::BlockV2(_)
        | Duty::RandaoReveal(_)
        | Duty::Deposit(_)
        | Duty::AggregationSlot(_)
        | Duty::AggregateAndProof(_)
        | Duty::AggregateAndProofV2(_)
        | Duty::SyncCommitteeMessage(_)
        | Duty::SyncCommitteeSelectionProof(_)
        | Duty::SyncCommitteeContributionAndProof(_)
        | Duty::ValidatorRegistration(_) => fork_epoch,
    }
}

#[cfg(test)]
mod tests;
