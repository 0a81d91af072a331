//! The signers' lists of keys, read and compared.

use std::rc::Rc;
use std::sync::Arc;

use slashing_db::PublicKey;
use tokio::task::{JoinSet, yield_now};

use super::{Schedule, Watched};
use crate::clock;
use crate::response::incident::Report;
use crate::response::incident::class::Family;
use crate::sign::Gate;
use crate::upstream::UpstreamFault;
use crate::upstream::replica::Replica;
use crate::upstream::routing::TwoSets;
use crate::upstream::signers::Signers;
use crate::validators::{Standing, UpstreamDifference, Validators};

#[cfg(test)]
mod tests;

/// The keys of every set, as of the last time that its replicas gave their lists.
pub(super) struct KeyLists {
    signers: Arc<Signers>,
    sets: Vec<Vec<Watched>>,
    lists: Vec<Vec<PublicKey>>, // one for each set, sorted
}

/// How a refresh of all lists ended.
pub(super) struct Refresh {
    /// Whether every set gave a list.
    pub(super) is_complete: bool,
    /// The replicas that did not give theirs.
    pub(super) failed: Vec<(Arc<Replica>, UpstreamFault)>,
}

/// What the replicas of one set have together, and what each of them lacks of it.
#[derive(Debug, PartialEq, Eq)]
struct Union {
    keys: Vec<PublicKey>,
    lacks: Vec<(usize, Vec<PublicKey>)>,
}

impl KeyLists {
    pub(super) fn new(signers: Arc<Signers>, sets: Vec<Vec<Watched>>) -> Self {
        let lists = sets.iter().map(|_| Vec::new()).collect();
        Self { signers, sets, lists }
    }

    /// Reads the lists of all replicas, all at the same time, and compares them with each other and
    /// with what is enrolled.
    pub(super) async fn refresh(&mut self, gate: &Gate, schedule: Schedule) -> Refresh {
        let mut refresh = Refresh { is_complete: true, failed: Vec::new() };
        let mut read: Vec<Vec<(usize, Vec<PublicKey>)>> = vec![Vec::new(); self.sets.len()];
        let mut calls = self.ask_all(schedule);
        while let Some(answer) = calls.join_next().await {
            let Ok((set, place, answer)) = answer else { continue };
            match answer {
                Ok(keys) => read[set].push((place, keys)),
                Err(fault) => {
                    let replica = Arc::clone(&self.sets[set][place].0);
                    report_unread(&replica, &fault);
                    refresh.failed.push((replica, fault));
                }
            }
        }
        for (set, lists) in read.into_iter().enumerate() {
            if lists.is_empty() {
                refresh.is_complete = false;
                continue;
            }
            let all_answered = lists.len() == self.sets[set].len();
            let union = Union::of(lists);
            self.report_lacking(gate, set, &union);
            self.lists[set] = match all_answered {
                true => union.keys,
                // What the silent ones had said still counts.
                false => merged(std::mem::take(&mut self.lists[set]), union.keys),
            };
            self.signers.routing.note_read(set);
        }
        self.route(&gate.validators).await;
        self.compare(gate);
        refresh
    }

    fn ask_all(
        &self,
        schedule: Schedule,
    ) -> JoinSet<(usize, usize, Result<Vec<PublicKey>, UpstreamFault>)> {
        let mut calls = JoinSet::new();
        for (set, replicas) in self.sets.iter().enumerate() {
            for (place, (_, signer)) in replicas.iter().enumerate() {
                let signer = Rc::clone(signer);
                calls.spawn_local(async move {
                    let deadline = clock::deadline(schedule.key_list_timeout);
                    let mut keys = signer.public_keys(deadline, schedule.key_list_bytes_max).await;
                    if let Ok(keys) = &mut keys {
                        keys.sort_unstable();
                        keys.dedup();
                    }
                    (set, place, keys)
                });
            }
        }
        calls
    }

    /// Learns which set has each enrolled key. No lock is held longer than for one key.
    async fn route(&self, validators: &Validators) {
        if self.sets.len() < 2 {
            return; // all keys are where there is one place to be
        }
        for (set, keys) in self.lists.iter().enumerate() {
            let mut twice = Vec::new();
            for (number, key) in keys.iter().enumerate() {
                if number % KEYS_AT_ONCE == 0 {
                    yield_now().await; // upchecks go on meanwhile
                }
                let Standing::Enrolled(row) = validators.standing(key) else { continue };
                let still_lists = |other: usize| self.lists[other].binary_search(key).is_ok();
                if let Err(TwoSets { kept }) = self.signers.routing.listed(row, set, still_lists) {
                    twice.push((kept, *key));
                }
            }
            self.report_twice(set, &twice);
        }
    }

    fn report_twice(&self, set: usize, twice: &[(usize, PublicKey)]) {
        if let Some((kept, first)) = twice.first() {
            tracing::error!(
                event = "key_in_two_upstreams",
                upstream = %self.signers.sets[set].name,
                kept = %self.signers.sets[*kept].name,
                keys = twice.len(),
                %first,
                "two sets of signers have the same keys, and no key may be in two; they stay with \
                 the set that they had"
            );
        }
    }

    fn report_lacking(&self, gate: &Gate, set: usize, union: &Union) {
        let replicas = &self.sets[set];
        for (place, lacking) in &union.lacks {
            let replica = &replicas[*place].0;
            replica.metrics.missing.set(i64::try_from(lacking.len()).unwrap_or(i64::MAX));
            if let Some(first) = lacking.first() {
                let about = format!("{} of {}", replica.name, replica.upstream);
                noticed(gate, about, lacking.len(), first);
                tracing::error!(
                    event = "missing_at_upstream",
                    upstream = %replica.upstream,
                    replica = %replica.name,
                    keys = lacking.len(),
                    %first,
                    "a signer lacks keys that another of its set has; their duties are asked for \
                     twice, and fail when the other is gone"
                );
            }
        }
    }

    fn compare(&self, gate: &Gate) {
        let all = self.lists.iter().fold(Vec::new(), |all, list| merged(all, list.clone()));
        let UpstreamDifference { newly_awaiting, missing } = gate.validators.seen_at_upstream(&all);
        if !newly_awaiting.is_empty() {
            tracing::warn!(
                event = "awaiting_enrolment",
                keys = newly_awaiting.len(),
                first = %newly_awaiting[0],
                "the signers have keys that nobody has enrolled; they are neither published nor \
                 signed for until `portcullis keys enrol` or `portcullis slashing import` declares \
                 them"
            );
        }
        // Before all sets were read, a key may be where nobody has looked yet.
        if !missing.is_empty() && self.signers.routing.all_read() {
            noticed(gate, "every signer".to_owned(), missing.len(), &missing[0]);
            tracing::error!(
                event = "missing_at_upstream",
                keys = missing.len(),
                first = %missing[0],
                "no signer has these keys, which are enabled here; their duties will fail"
            );
        }
    }
}

/// Keys are not where they are looked for: an incident, once it lasts.
fn noticed(gate: &Gate, about: String, keys: usize, first: &PublicKey) {
    gate.response.incidents.noticed(Report {
        at_unix_ms: gate.clock.now().unix_ns / 1_000_000,
        family: Family::MissingKeys,
        code: "missing_at_upstream".to_owned(),
        reason: format!("{about} lacks {keys} keys, the first {first}"),
        about,
    });
}

impl Union {
    /// Of the sorted lists of replicas, each with the replica's place.
    fn of(lists: Vec<(usize, Vec<PublicKey>)>) -> Self {
        let keys = lists.iter().fold(Vec::new(), |all, (_, list)| match all.is_empty() {
            true => list.clone(),
            false => merged(all, list.clone()),
        });
        let lacks =
            lists.into_iter().map(|(place, list)| (place, difference(&keys, &list))).collect();
        Self { keys, lacks }
    }
}

/// All keys of two sorted lists, sorted, each once.
fn merged(mut all: Vec<PublicKey>, more: Vec<PublicKey>) -> Vec<PublicKey> {
    if all.is_empty() {
        return more;
    }
    all.extend(more);
    all.sort(); // two runs that are sorted: the stable sort merges them
    all.dedup();
    all
}

/// The keys of `all` that `some`, a part of it, lacks; both are sorted.
fn difference(all: &[PublicKey], some: &[PublicKey]) -> Vec<PublicKey> {
    let mut some = some.iter().peekable();
    all.iter().filter(|key| some.next_if_eq(key).is_none()).copied().collect()
}

fn report_unread(replica: &Replica, fault: &UpstreamFault) {
    let (upstream, name) = (&replica.upstream, &replica.name);
    tracing::error!(
        event = "key_refresh_failed",
        upstream = %upstream,
        replica = %name,
        reason = %fault,
        cause = std::error::Error::source(fault).map(tracing::field::display),
        "could not read a signer's list of keys; the published list stays as it is"
    );
}

/// Keys that are looked at before other work of the thread gets its turn.
const KEYS_AT_ONCE: usize = 4_096;
