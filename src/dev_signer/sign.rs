//! One sign request: parse, find the key, apply what faults are in force, sign, write the log.

use std::future;

use blst::min_pk::{AggregateSignature, Signature};
use sha2::{Digest, Sha256};

use super::Service;
use super::faults::{FaultKind, Injection};
use super::hex::Hex;
use super::keys::{Key, KeyRing};
use super::log::Entry;
use super::request::{SignRequest, SignRequestError};
use crate::bls::SecretKey;

/// The exit code of the fault `die`.
pub const DIE_EXIT_CODE: i32 = 9;

/// What leaves in the place of a signature under the fault `garbage`: right in length, not a point.
pub const GARBAGE: [u8; 96] = [0x5a; 96];

/// What leaves under the fault `infinity`: the compressed point at infinity.
const INFINITY: [u8; 96] = {
    let mut point = [0; 96];
    point[0] = 0xc0;
    point
};

/// What a sign request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 200 with these 96 bytes, which a fault may have spoilt.
    Signature([u8; 96]),
    /// 400.
    BadRequest,
    /// 404.
    UnknownKey,
    /// 412, by a fault alone: a development signer has no slashing protection.
    Refused,
    /// 500.
    Failed,
    /// The connection closes without an answer.
    HangUp,
}

/// Answers one sign request. Between the signature and its line in the log nothing can interrupt: a
/// client that goes away loses its answer, never the evidence.
pub(super) async fn sign(service: &Service, identifier: &str, body: &[u8]) -> Outcome {
    let request = match SignRequest::parse(body) {
        Ok(request) => request,
        Err(error) => return refuse_malformed(&error),
    };
    let keys = service.keys.load_full();
    let public_key = Hex::parse(&identifier.to_ascii_lowercase());
    let Some(key) = public_key.ok().and_then(|public_key| keys.find(&public_key)) else {
        tracing::warn!(identifier, "no such key");
        return Outcome::UnknownKey;
    };
    let injection = service.faults.lock().strike();
    let outcome = sign_or_fail(service, &keys, key, &request, injection);
    let delay = service.delay + injection.delay;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if injection.fault == Some(FaultKind::Stall) {
        future::pending::<()>().await;
    }
    outcome
}

fn refuse_malformed(error: &SignRequestError) -> Outcome {
    tracing::warn!(%error, source = std::error::Error::source(error), "cannot sign this request");
    match error {
        SignRequestError::Malformed(_) | SignRequestError::NoSigningRoot => Outcome::BadRequest,
        SignRequestError::NoForkInfo(_) | SignRequestError::NoField { .. } => Outcome::Failed,
    }
}

fn sign_or_fail(
    service: &Service,
    keys: &KeyRing,
    key: &Key,
    request: &SignRequest,
    injection: Injection,
) -> Outcome {
    match injection.fault {
        Some(FaultKind::Die) => {
            tracing::warn!("dying on purpose");
            std::process::exit(DIE_EXIT_CODE)
        }
        Some(FaultKind::Refuse) => return Outcome::Refused,
        Some(FaultKind::Error) => return Outcome::Failed,
        Some(FaultKind::Garbage) => return Outcome::Signature(GARBAGE),
        Some(FaultKind::Infinity) => return Outcome::Signature(INFINITY),
        Some(
            FaultKind::Slow(_)
            | FaultKind::WrongSignature
            | FaultKind::Swapped
            | FaultKind::OffSubgroup
            | FaultKind::HangUp
            | FaultKind::Stall,
        )
        | None => {}
    }
    let Some(signature) = sign_and_log(service, keys, key, request, injection.fault) else {
        return Outcome::Failed;
    };
    match injection.fault {
        Some(FaultKind::HangUp) => Outcome::HangUp,
        _ => Outcome::Signature(signature),
    }
}

/// Makes the signature, right or wrong, and its line in the log; `None` when the log cannot be
/// written.
fn sign_and_log(
    service: &Service,
    keys: &KeyRing,
    key: &Key,
    request: &SignRequest,
    fault: Option<FaultKind>,
) -> Option<[u8; 96]> {
    let root = &request.signing_root;
    let (signature, signed_by, signed_root) = match fault {
        Some(FaultKind::WrongSignature) => {
            let other = Hex(Sha256::digest(root.0).into());
            (key.sign(&other.0), None, Some(other))
        }
        Some(FaultKind::Swapped) => {
            let (signature, signed_by) = sign_with_another(keys, key, root);
            (signature, Some(signed_by), None)
        }
        Some(FaultKind::OffSubgroup) => (leave_the_group(&key.sign(&root.0)), None, None),
        _ => (key.stub_signature.unwrap_or_else(|| key.sign(&root.0)), None, None),
    };
    if let Some(log) = &service.log {
        let stub = key.stub_signature.map(|_| "stub");
        let entry = Entry {
            seq: 0,
            sign_type: request.sign_type,
            pubkey: key.public_key,
            signing_root: *root,
            subject: request.subject,
            unix_ms: (service.unix_ms)(),
            fault: fault.map(FaultKind::name).or(stub).map(str::to_owned),
            signed_by,
            signed_root,
        };
        if let Err(error) = log.append(entry) {
            tracing::error!(%error, "the signing log cannot be written, so no signature leaves");
            return None;
        }
    }
    Some(signature)
}

/// The signature plus a point of the curve that is not in the group: a point of the curve still.
fn leave_the_group(signature: &[u8; 96]) -> [u8; 96] {
    let mut sum = AggregateSignature::from_signature(
        &Signature::uncompress(signature).expect("a signature that was made here"),
    );
    let outside = Signature::uncompress(&OUTSIDE_THE_GROUP).expect("a point of the curve");
    sum.add_aggregate(&AggregateSignature::from_signature(&outside));
    sum.to_signature().compress()
}

/// The point with x = 2, which is on the curve and not in the group.
const OUTSIDE_THE_GROUP: [u8; 96] = {
    let mut point = [0; 96];
    (point[0], point[95]) = (0x80, 2);
    point
};

/// Signs with the next key of the ring, or, where there is only one, with a key from outside of it.
fn sign_with_another(keys: &KeyRing, key: &Key, root: &Hex<32>) -> ([u8; 96], Hex<48>) {
    if let Some(other) = keys.neighbour(&key.public_key) {
        return (other.sign(&root.0), other.public_key);
    }
    let stranger = SecretKey::interop(u64::MAX);
    (stranger.sign(&root.0), Hex(stranger.public_key().to_bytes()))
}
