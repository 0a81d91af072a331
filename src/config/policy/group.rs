//! What a policy document says of one key group, or of all by default.

use policy::{DutyType, Enrolment, GroupPolicy, Mode, Permission, Rule};

use super::document::{Known, client_list, client_place, prefixes};
use super::reader::{Item, Section};
use crate::config::hex;
use crate::config::problem::ProblemKind;
use crate::eth::DutyKind;

/// Lays what the section says over `group`. A list replaces the list of the defaults.
pub(super) fn read(section: &Section<'_>, known: &Known<'_>, group: &mut GroupPolicy) {
    if let Some(modes) = section.get("modes").and_then(|item| item.section()) {
        read_modes(&modes, group);
    }
    if let Some(item) = section.get("permissions") {
        let permissions = item.items();
        group.permissions = permissions.iter().flat_map(|item| permission(item, known)).collect();
    }
    if let Some(item) = section.get("active_clients") {
        group.active_clients = client_list(&item, known);
    }
    if let Some(item) = section.get("enrolment") {
        let words = [("learn", Enrolment::Learn), ("strict", Enrolment::Strict)];
        set(&mut group.enrolment, item.one_of(&words, "learn, strict"));
    }
    if let Some(item) = section.get("enrolled") {
        group.enrolled = Vec::new();
        for item in item.items() {
            let Some(section) = item.section() else { continue };
            let client = section.required("client").and_then(|item| client_place(&item, known));
            let addresses = section.get("addresses");
            let prefixes = addresses.map(|item| prefixes(&item)).unwrap_or_default();
            section.finish();
            group.enrolled.extend(client.map(|client| (client, prefixes)));
        }
    }
    if let Some(item) = section.get("fee_recipients") {
        group.fee_recipients = hex_list(&item);
    }
    if let Some(gas_limit) = section.get("gas_limit").and_then(|item| item.section()) {
        group.gas_limit = read_gas_limit(&gas_limit);
        gas_limit.finish();
    }
    if let Some(item) = section.get("withdrawal_credentials") {
        group.withdrawal_credentials = hex_list(&item);
    }
    if let Some(exits) = section.get("exits").and_then(|item| item.section()) {
        if let Some(item) = exits.get("clients") {
            group.exit_clients = client_list(&item, known);
        }
        let daily_max = exits.get("daily_max").and_then(|item| item.integer32(0..=1_000_000));
        set(&mut group.exits_daily_max, daily_max);
        exits.finish();
    }
    if let Some(budgets) = section.get("budgets").and_then(|item| item.section()) {
        let of = |name, max| budgets.get(name).and_then(|item: Item<'_>| item.integer(0..=max));
        set(&mut group.block_lag_slots, of("block_lag_slots", 32));
        set(&mut group.selection_lookahead_slots, of("selection_lookahead_slots", 1_024));
        let slots = of("selection_slots_max", 64).and_then(|slots| u32::try_from(slots).ok());
        set(&mut group.selection_slots_max, slots);
        if let Some(roots) = budgets.get("roots_per_epoch").and_then(|item| item.section()) {
            read_roots_per_epoch(&roots, group);
        }
        budgets.finish();
    }
    if let Some(item) = section.get("require_block_proofs") {
        set(&mut group.require_block_proofs, item.boolean());
    }
    if let Some(item) = section.get("lease_epochs") {
        set(&mut group.lease_epochs, item.integer(1..=225));
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Distinct signing roots an epoch, by Web3Signer's names of types.
fn read_roots_per_epoch(section: &Section<'_>, group: &mut GroupPolicy) {
    for (item, name) in section.named() {
        let wrong = || ProblemKind::NotOneOf { value: name.to_owned(), known: DUTY_NAMES };
        let kind = item.valid(DutyKind::from_name(name).ok_or_else(wrong));
        let budget = item.integer(0..=u64::from(u16::MAX));
        let budget = budget.and_then(|budget| u16::try_from(budget).ok());
        if let (Some(kind), Some(budget)) = (kind, budget) {
            group.budgets[duty_type(kind) as usize] = budget;
        }
    }
}

fn read_modes(section: &Section<'_>, group: &mut GroupPolicy) {
    const MODES: [(&str, Mode); 3] =
        [("off", Mode::Off), ("monitor", Mode::Monitor), ("enforce", Mode::Enforce)];
    for (item, name) in section.named() {
        let rule = Rule::ALL.into_iter().find(|rule| rule.as_str() == name);
        let wrong = || ProblemKind::NoSuchRule { nearest: nearest_rule(name) };
        let rule = item.valid(rule.ok_or_else(wrong));
        let mode = item.one_of(&MODES, "off, monitor, enforce");
        if let (Some(rule), Some(mode)) = (rule, mode) {
            group.modes[rule as usize] = mode;
        }
    }
}

/// The rule that was probably meant: the one that begins or ends like the name.
fn nearest_rule(name: &str) -> Option<String> {
    let shared = |rule: &str| {
        let begin = rule.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        let ends = rule.bytes().rev().zip(name.bytes().rev());
        begin.max(ends.take_while(|(a, b)| a == b).count())
    };
    let best = Rule::ALL.into_iter().map(Rule::as_str).max_by_key(|rule| shared(rule))?;
    (2 * shared(best) > name.len()).then(|| best.to_owned())
}

/// `{ client = "vc-1", allow = [..], deny = [..] }`: one line for each of the two.
fn permission(item: &Item<'_>, known: &Known<'_>) -> Vec<Permission> {
    let Some(section) = item.section() else { return Vec::new() };
    let named = section.get("client");
    let client = named.as_ref().map(|item| client_place(item, known));
    let mut lines = Vec::new();
    for (key, allow) in [("allow", true), ("deny", false)] {
        let Some(item) = section.get(key) else { continue };
        let duties = duties(&item);
        match client {
            Some(None) => {} // nobody of that name
            client => lines.push(Permission { client: client.flatten(), duties, allow }),
        }
    }
    if section.get("allow").is_none() && section.get("deny").is_none() {
        section.wrong(ProblemKind::NeitherAllowNorDeny);
    }
    section.finish();
    lines
}

/// Web3Signer's names of types, or `*` for all.
fn duties(item: &Item<'_>) -> u16 {
    let items = item.items();
    if items.is_empty() {
        item.wrong(ProblemKind::Empty);
    }
    let bits = items.iter().map(|item| {
        let Some(name) = item.text() else { return 0 };
        if name == "*" {
            return DutyType::ALL.into_iter().fold(0, |bits, duty| bits | duty.bit());
        }
        let wrong = || ProblemKind::NotOneOf { value: name.to_owned(), known: DUTY_NAMES };
        let kind = item.valid(DutyKind::from_name(name).ok_or_else(wrong));
        kind.map_or(0, |kind| duty_type(kind).bit())
    });
    bits.fold(0, |all, bits| all | bits)
}

/// What a policy calls a type of Web3Signer's.
pub(super) fn duty_type(kind: DutyKind) -> DutyType {
    match kind {
        DutyKind::Attestation => DutyType::Attestation,
        DutyKind::Block | DutyKind::BlockV2 => DutyType::Block,
        DutyKind::RandaoReveal => DutyType::RandaoReveal,
        DutyKind::Deposit => DutyType::Deposit,
        DutyKind::VoluntaryExit => DutyType::VoluntaryExit,
        DutyKind::AggregationSlot => DutyType::SelectionProof,
        DutyKind::AggregateAndProof | DutyKind::AggregateAndProofV2 => DutyType::AggregateAndProof,
        DutyKind::SyncCommitteeMessage => DutyType::SyncMessage,
        DutyKind::SyncCommitteeSelectionProof => DutyType::SyncSelectionProof,
        DutyKind::SyncCommitteeContributionAndProof => DutyType::SyncContribution,
        DutyKind::ValidatorRegistration => DutyType::Registration,
    }
}

fn hex_list<const N: usize>(item: &Item<'_>) -> Vec<[u8; N]> {
    let items = item.items();
    items.iter().filter_map(|item| item.valid(hex::parse(item.text()?))).collect()
}

fn read_gas_limit(section: &Section<'_>) -> Option<(u64, u64)> {
    let bound = |name| section.required(name).and_then(|item| item.integer(0..=u64::MAX));
    let (min, max) = (bound("min"), bound("max"));
    let (min, max) = (min?, max?);
    if min > max {
        section.wrong(ProblemKind::MinAboveMax { min, max });
        return None;
    }
    Some((min, max))
}

const DUTY_NAMES: &str = "Web3Signer's types, such as ATTESTATION or VOLUNTARY_EXIT";
