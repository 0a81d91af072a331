//! A small validator client: it asks the gate for signatures as real ones do, over one keep-alive
//! connection, and verifies each that it gets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::chain::{Chain, SYNC_COMMITTEE, proposal};
use crate::clock::{Clock, Stopwatch};
use crate::eth::bits::{Bitlist, Bitvector};
use crate::eth::duty::{
    AggregateAndProof, AggregationSlot, Attestation, AttestationData, ContributionAndProof,
    SyncAggregatorSelectionData, SyncCommitteeContribution, SyncCommitteeMessage,
};
use crate::eth::{Duty, DutyKind, Signature, SigningRoot, Slot};

/// How long a client waits for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(8);

/// An answer of the gate.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its HTTP status.
    pub(super) status: u16,
    body: Value,
}

impl Answer {
    /// The signature, if there is one.
    pub(super) fn signature(&self) -> Option<Signature> {
        self.body["signature"].as_str()?.parse().ok()
    }

    /// The stable code of a refusal; empty if there is none.
    pub(super) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The gate's own words.
    pub(super) fn reason(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }
}

/// The client, and what it got so far.
pub(super) struct ValidatorClient {
    gate: SocketAddr,
    connection: SendRequest<Full<Bytes>>,
    /// Signatures, each verified against the key of its validator.
    pub(super) signed: BTreeMap<DutyKind, usize>,
    times: Vec<Duration>,
}

impl ValidatorClient {
    /// Connects to the gate.
    ///
    /// # Errors
    /// When the gate does not accept.
    pub(super) async fn connect(gate: SocketAddr) -> anyhow::Result<Self> {
        let connection = connect(gate).await?;
        Ok(Self { gate, connection, signed: BTreeMap::new(), times: Vec::new() })
    }

    /// Connects anew, after the gate was restarted.
    ///
    /// # Errors
    /// When the gate does not accept.
    pub(super) async fn reconnect(&mut self) -> anyhow::Result<()> {
        self.connection = connect(self.gate).await?;
        Ok(())
    }

    /// All signatures so far.
    pub(super) fn total(&self) -> usize {
        self.signed.values().sum()
    }

    /// The time that half of the signatures took at most, and the time that all did.
    pub(super) fn median_and_slowest(&self) -> (Duration, Duration) {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = |index: usize| times.get(index).copied().unwrap_or_default();
        (at(times.len() / 2), at(times.len().saturating_sub(1)))
    }

    /// Asks for a signature of `duty` with `claimed` as its signing root.
    ///
    /// # Errors
    /// When there is no answer.
    pub(super) async fn ask(
        &mut self,
        chain: &Chain,
        validator: usize,
        duty: &Duty,
        claimed: &SigningRoot,
    ) -> anyhow::Result<Answer> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/api/v1/eth2/sign/{}", chain.key(validator)))
            .header(HOST, self.gate.to_string())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(chain.request(duty, claimed).into()))?;
        let answered = async {
            self.connection.ready().await?;
            let answer = self.connection.send_request(request).await?;
            let status = answer.status().as_u16();
            anyhow::Ok((status, answer.into_body().collect().await?.to_bytes()))
        };
        let answered = tokio::time::timeout(ANSWER_MAX, answered).await;
        let (status, body) = answered
            .with_context(|| format!("the gate gave no answer within {ANSWER_MAX:?}"))?
            .context("the gate gave no answer")?;
        Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default() })
    }

    /// Asks for a signature that has to be given, and verifies it.
    ///
    /// # Errors
    /// When the gate does not sign, or the signature is not the validator's over this duty.
    pub(super) async fn sign(
        &mut self,
        chain: &Chain,
        validator: usize,
        duty: &Duty,
    ) -> anyhow::Result<Signature> {
        let root = chain.signing_root(duty)?;
        let time = Stopwatch::start();
        let answer = self.ask(chain, validator, duty, &root).await?;
        self.times.push(time.elapsed());
        let kind = duty.kind();
        let Some(signature) = answer.signature().filter(|_| answer.status == 200) else {
            let (status, code, reason) = (answer.status, answer.code(), answer.reason());
            bail!("an honest {kind} of validator {validator} got {status} {code}: {reason}");
        };
        chain.keys[validator]
            .verify(&root.0, &signature.0)
            .with_context(|| format!("the signature of a {kind} of validator {validator}"))?;
        *self.signed.entry(kind).or_default() += 1;
        Ok(signature)
    }

    /// Does every duty of `slot`, each at its time: the proposal when the slot begins, votes after
    /// a third of it, aggregates after two thirds.
    ///
    /// # Errors
    /// When one of them gets no signature.
    pub(super) async fn attend(&mut self, chain: &Chain, slot: Slot) -> anyhow::Result<()> {
        wait_until(chain, slot, 0).await;
        let proposer = Chain::proposer(slot);
        self.sign(chain, proposer, &chain.randao(slot)).await?;
        self.sign(chain, proposer, &proposal(chain.block(slot, 0))).await?;

        wait_until(chain, slot, 1).await;
        let data = chain.vote(slot);
        let vote = Duty::Attestation(data);
        let selection = Duty::AggregationSlot(AggregationSlot { slot });
        let mut aggregates = Vec::new();
        for validator in chain.committee(slot) {
            let signature = self.sign(chain, validator, &vote).await?;
            let selection_proof = self.sign(chain, validator, &selection).await?;
            aggregates.push((validator, one_voter(data, signature), selection_proof));
        }
        let message = SyncCommitteeMessage { beacon_block_root: data.beacon_block_root, slot };
        let message = Duty::SyncCommitteeMessage(message);
        let mut contributions = Vec::new();
        for validator in 0..SYNC_COMMITTEE {
            let signature = self.sign(chain, validator, &message).await?;
            contributions.push((validator, one_member(data, signature)));
        }

        wait_until(chain, slot, 2).await;
        // One of each is the aggregator.
        for (validator, aggregate, selection_proof) in aggregates.into_iter().take(1) {
            let aggregator_index = validator as u64;
            let object = AggregateAndProof { aggregator_index, aggregate, selection_proof };
            self.sign(chain, validator, &Duty::AggregateAndProofV2(Box::new(object))).await?;
        }
        for (validator, contribution) in contributions.into_iter().take(1) {
            let subcommittee_index = contribution.subcommittee_index;
            let selection = SyncAggregatorSelectionData { slot, subcommittee_index };
            let selection = Duty::SyncCommitteeSelectionProof(selection);
            let selection_proof = self.sign(chain, validator, &selection).await?;
            let aggregator_index = validator as u64;
            let object = ContributionAndProof { aggregator_index, contribution, selection_proof };
            let duty = Duty::SyncCommitteeContributionAndProof(Box::new(object));
            self.sign(chain, validator, &duty).await?;
        }
        Ok(())
    }
}

/// The aggregate of a single vote, in a committee of eight.
fn one_voter(data: AttestationData, signature: Signature) -> Attestation {
    Attestation {
        aggregation_bits: Bitlist::from_ssz(&[0b1, 0b1]).expect("ends in its delimiter"),
        data,
        signature,
        committee_bits: Some(one_bit()),
    }
}

/// A vector of one byte with its first bit set: the first committee, the first member.
fn one_bit() -> Bitvector {
    Bitvector::from_ssz(&[0b1]).expect("not empty")
}

/// The contribution of a single member of the first subcommittee.
fn one_member(data: AttestationData, signature: Signature) -> SyncCommitteeContribution {
    SyncCommitteeContribution {
        slot: data.slot,
        beacon_block_root: data.beacon_block_root,
        subcommittee_index: 0,
        aggregation_bits: one_bit(),
        signature,
    }
}

/// Waits until so many thirds of `slot` are over.
async fn wait_until(chain: &Chain, slot: Slot, thirds: u64) {
    let slot_ns = u64::try_from(chain.slots.slot_duration().as_nanos()).unwrap_or(u64::MAX);
    let at_ns = chain.slots.start_unix_ns(slot) + slot_ns * thirds / 3;
    let now = Clock::System.now();
    tokio::time::sleep(Duration::from_nanos(at_ns.saturating_sub(now.unix_ns))).await;
}

async fn connect(gate: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let refused = || format!("cannot connect to the gate at {gate}");
    let stream = TcpStream::connect(gate).await.with_context(refused)?;
    stream.set_nodelay(true)?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.with_context(refused)?;
    // Its errors reach whoever waits for an answer.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
