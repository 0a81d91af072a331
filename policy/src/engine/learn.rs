//! What a released signature changes, and what the passing of a slot does.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use super::attendance::MISSED_AFTER_DAYS;
use super::counts::credential;
use super::drifts::Drift;
use super::groups::{self, Group, home, place};
use super::{Alarm, Engine};
use crate::key::HALVED_EPOCHS;
use crate::sequential::shares::telling;
use crate::sequential::source_level::Class;
use crate::sequential::{Incident, Round, Scope};
use crate::settings::Chain;
use crate::{GroupIndex, KeyState, Message, Mode, Moment, Observation, Outcome, Policy, Rule};
use crate::{Window, WindowKind};

impl Engine {
    /// Learns from a signature that was released.
    pub fn learn(&self, policy: &Policy, key: &mut KeyState, seen: &Observation, out: &Outcome) {
        let (token, now_ms) = (seen.source.token(), seen.at.unix_ms);
        let stamp = credential(&seen.source);
        self.credentials.change(stamp, |stamp| stamp.ms = stamp.ms.max(now_ms));
        self.released.change(place(seen.group, token), |released| released.one(now_ms));
        self.released.change(token.into(), |released| released.one(now_ms));
        if let Some(home) = home(&seen.source) {
            self.released.change(home, |released| released.one(now_ms));
        }
        key.sources.released(token, seen.at.epoch);
        if key.released == 0 {
            self.fleet.keys.fetch_add(1, Relaxed);
        }
        key.released = key.released.saturating_add(1);
        if key.score != i8::MIN {
            self.tail.released(key.score);
        }
        match seen.message {
            Message::Attestation { source_epoch, target_epoch, .. } => {
                self.fleet.voted(target_epoch.saturating_sub(source_epoch));
                self.learn_timing(policy, key, seen);
            }
            Message::SyncMessage { .. } => self.learn_committee(&policy.chain, key, seen),
            Message::Block { .. }
            | Message::RandaoReveal { .. }
            | Message::SelectionProof { .. }
            | Message::AggregateAndProof { .. }
            | Message::SyncSelectionProof { .. }
            | Message::SyncContribution { .. }
            | Message::Registration { .. }
            | Message::VoluntaryExit { .. }
            | Message::Deposit { .. } => {}
        }
        let scope = self.scope(policy, seen.group, seen.at, Some(seen.key));
        self.groups.change(u64::from(seen.group.0), |group| {
            learn_group(group, key, seen, out, scope);
        });
    }

    fn learn_timing(&self, policy: &Policy, key: &mut KeyState, seen: &Observation) {
        let scope = self.scope(policy, seen.group, seen.at, Some(seen.key));
        let token = groups::machine(&seen.source);
        let moved = self.beats.change(token.into(), |beat| {
            beat.is_of(seen);
            beat.timing.learn(&mut key.timing, token, seen, scope)
        });
        if let Some(later_ms) = moved {
            self.drifts.note(Drift { key: seen.key, group: seen.group, later_ms });
        }
    }

    fn learn_committee(&self, chain: &Chain, key: &mut KeyState, seen: &Observation) {
        let period = seen.at.epoch / chain.epochs_per_sync_period.max(1);
        let mark = (period as u16).wrapping_add(1);
        if key.ledger.sync_period != mark {
            key.ledger.sync_period = mark;
            self.fleet.in_committee(period);
        }
    }

    /// What the sequential tests may count: of a key, or of a group where any of its keys rests.
    fn scope(&self, policy: &Policy, group: GroupIndex, at: Moment, key: Option<u32>) -> Scope {
        let rests = |window: &Window| {
            window.kind == WindowKind::Maintenance
                && (window.from_ms..window.until_ms).contains(&at.unix_ms)
                && window.groups.contains(&group)
                && key.is_none_or(|key| window.is_of(key))
        };
        Scope { since_slot: self.resumed_slot(), rests: policy.windows.iter().any(rests) }
    }

    /// Once a slot: what spans keys is rolled on, and tested.
    pub fn tick(&self, policy: &Policy, at: Moment) -> Vec<Alarm> {
        self.fleet.tick(at);
        self.strikes.sweep(|strikes| !strikes.is_over(at.epoch));
        self.halve(at);
        let mut alarms = Vec::new();
        if let Some((found, expected)) = self.fleet.sync_excess(&policy.chain) {
            let reason = format!("{found} keys in the committee, where {expected:.1} are usual");
            alarms.push(Alarm {
                rule: Rule::SyncShare,
                about: "the fleet".to_owned(),
                reason,
                is_network_event: false,
            });
        }
        self.tick_groups(policy, at, &mut alarms);
        self.tick_sources(policy, at, &mut alarms);
        alarms
    }

    /// The keys whose usual time has moved since this was last asked, each once, and how many more
    /// there were than are remembered. Nothing is refused for it, and nobody woken: it is for who
    /// looks back and asks since when.
    pub fn drifted(&self, policy: &Policy) -> (Vec<Drift>, u32) {
        self.drifts.take(policy)
    }

    fn halve(&self, at: Moment) {
        let months = at.epoch / HALVED_EPOCHS + 1;
        let before = self.halved.swap(months, Relaxed);
        if before != 0 && before != months {
            self.released.sweep(|released| {
                released.count /= 2;
                released.count > 0
            });
        }
    }

    fn tick_groups(&self, policy: &Policy, at: Moment, alarms: &mut Vec<Alarm>) {
        let (mut found, mut missed) = (Vec::new(), Vec::new());
        self.groups.sweep(|group| {
            let scope = self.scope(policy, GroupIndex(group.index), at, None);
            if let Some(excess) = group.rates.tick(at.slot, scope) {
                found.push((group.index, excess));
            }
            let shares = group.attendance.newly_missed(at, scope.rests);
            missed.extend(shares.into_iter().map(|share| (group.index, share)));
            true
        });
        let is_on =
            |rule: Rule, index| policy.group(GroupIndex(index)).modes[rule as usize] != Mode::Off;
        missed.retain(|(index, _)| is_on(Rule::Shares, *index));
        missed.sort_unstable();
        alarms.extend(missed.into_iter().map(|(index, share)| Alarm {
            rule: Rule::Shares,
            about: format!("group {}", policy.group(GroupIndex(index)).name),
            reason: format!("share {share} took part in nothing for {MISSED_AFTER_DAYS} days"),
            is_network_event: false,
        }));
        found.retain(|(index, _)| is_on(Rule::FleetRates, *index));
        found.sort_unstable_by_key(|(index, _)| *index);
        alarms.extend(found.into_iter().map(|(index, excess)| Alarm {
            rule: Rule::FleetRates,
            about: format!("group {}", policy.group(GroupIndex(index)).name),
            reason: format!(
                "{:.0} {}, where {:.1} are usual (ln S {:.1})",
                excess.seen,
                excess.of.as_str(),
                excess.expected,
                excess.ln_s
            ),
            is_network_event: false,
        }));
    }

    fn tick_sources(&self, policy: &Policy, at: Moment, alarms: &mut Vec<Alarm>) {
        let mut round = Round::ended_before(at.slot);
        self.beats.sweep(|beat| {
            round.note(&mut beat.timing);
            true
        });
        round.sort();
        let limit = policy.thresholds.source_timing;
        let (mut new, mut owners) = (Vec::new(), BTreeMap::new());
        self.beats.sweep(|beat| {
            let scope = self.scope(policy, GroupIndex(beat.group), at, None);
            owners.insert(beat.token, (beat.client, beat.group));
            new.extend(round.test(beat.token, &mut beat.timing, limit, scope));
            true
        });
        new.sort_unstable_by_key(|incident| incident.source);
        let due = self.incidents.lock().settle(&round, new);
        let mut together: BTreeMap<Class, Vec<String>> = BTreeMap::new();
        for incident in due {
            let Some((client, group)) = owners.get(&incident.source) else { continue };
            if policy.group(GroupIndex(*group)).modes[Rule::SourceTiming as usize] == Mode::Off {
                continue;
            }
            let alarm = of_source(&incident, *client, policy);
            if incident.is_network_event {
                together.entry(incident.class).or_default().push(alarm.about);
            } else {
                alarms.push(alarm);
            }
        }
        // What most sources do at once is one event, not one for each.
        alarms.extend(together.into_values().map(|sources| Alarm {
            rule: Rule::SourceTiming,
            reason: format!("{} sources of one kind left their usual time at once", sources.len()),
            about: sources.join(", "),
            is_network_event: true,
        }));
    }
}

fn learn_group(
    group: &mut Group,
    key: &mut KeyState,
    seen: &Observation,
    out: &Outcome,
    scope: Scope,
) {
    group.index = seen.group.0;
    group.released += 1;
    group.last_ms = group.last_ms.max(seen.at.unix_ms);
    if let Some(set) = telling(seen, out) {
        key.shares.learn(seen.key, set, &mut group.cluster, seen.at.slot, scope);
        group.attendance.took_part(set, seen.at);
    }
    if matches!(seen.message, Message::Attestation { .. }) && !seen.is_repeat {
        group.rates.attested();
    }
    if let Some(counted) = key.ledger.counts_as(seen) {
        group.rates.signed(counted);
    }
}

fn of_source(incident: &Incident, client: u16, policy: &Policy) -> Alarm {
    let name = policy.client(crate::ClientIndex(client));
    let name = name.map_or("an unnamed client", |client| client.name.as_str());
    Alarm {
        rule: Rule::SourceTiming,
        about: format!("source {:08x} of {name}", incident.source),
        reason: format!(
            "{:+.0} ms from where it usually stands against its class (ln S {:.1})",
            incident.late_ms, incident.ln_s
        ),
        is_network_event: false,
    }
}
