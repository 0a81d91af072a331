//! The policy document: read whole or not at all, with every problem and its place.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use policy::{Chain, ClientIndex, ClientPolicy, GroupIndex, GroupPolicy, Policy, Thresholds};
use toml::de::DeTable;

use super::reader::{Item, Reader, Section};
use super::{group, window};
use crate::clients::AddressRange;
use crate::config::problem::{Problem, ProblemKind};
use crate::config::{Place, document};
use crate::judgement;

/// What a document may name. The constants of the chain are not its business: they are the
/// network's, and whoever publishes the policy adds them.
pub struct Known<'a> {
    /// The key groups, by their place in [`Policy::groups`]: `default` first, then those of the
    /// configuration.
    pub groups: &'a [String],
    /// Whether a client of this name exists.
    pub is_client: &'a dyn Fn(&str) -> bool,
    /// The place of a client that exists.
    pub client_place: &'a dyn Fn(&str) -> ClientIndex,
    /// The place of a key in the table of keys.
    pub key_place: &'a dyn Fn(&[u8; 48]) -> KeyPlace,
}

/// What is known of a key that a document names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// It is there.
    At(u32),
    /// It is not there.
    Unknown,
    /// Nobody can tell: there is no table of keys at hand.
    NoTable,
}

/// Why there is no policy. The operator is to mend the document.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read.
    #[error("cannot read the policy {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is wrong: one line for each problem.
    #[error("the policy is wrong:{}", Lines(.0))]
    Wrong(Vec<Problem>),
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Reads the document at `path`.
///
/// # Errors
/// [`PolicyError::Wrong`] holds everything that is wrong; only what is not TOML hides the rest.
pub fn read(path: &Path, known: &Known<'_>) -> Result<Policy, PolicyError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| PolicyError::Read { path: path.to_owned(), source })?;
    parse(path, &text, known).map_err(PolicyError::Wrong)
}

/// As [`read`], of a file whose text is at hand.
///
/// # Errors
/// Everything that is wrong with it, in the order of its lines; never nothing.
pub fn parse(path: &Path, text: &str, known: &Known<'_>) -> Result<Policy, Vec<Problem>> {
    let root = DeTable::parse(text).map_err(|error| {
        let position = error.span().map(|span| document::position(text, span.start));
        let place = Place::File(path.to_owned(), position);
        let kind = ProblemKind::Toml { message: error.message().to_owned() };
        vec![Problem { place, path: String::new(), kind }]
    })?;
    let reader = Reader::new(path, text);
    let policy = policy(reader.root(root.get_ref()), known);
    let problems = reader.into_problems();
    match policy {
        Some(policy) if problems.is_empty() => Ok(policy),
        _ => Err(problems),
    }
}

fn policy(root: Section<'_>, known: &Known<'_>) -> Option<Policy> {
    if let Some(version) = root.required("version")
        && let Some(value) = version.integer(0..=u64::from(u32::MAX))
        && value != VERSION
    {
        version.wrong(ProblemKind::PolicyVersion { value, known: VERSION });
    }
    let mut defaults = GroupPolicy::default();
    if let Some(section) = root.get("defaults").and_then(|item| item.section()) {
        group::read(&section, known, &mut defaults);
        section.finish();
    }
    let groups = groups(&root, known, &defaults);
    let clients = clients(&root, known);
    let thresholds = root.get("thresholds").and_then(|item| item.section());
    let thresholds = thresholds.map_or_else(Thresholds::default, thresholds_of);
    let windows = root.get("windows").map(|item| item.items()).unwrap_or_default();
    let windows = windows.iter().filter_map(|item| window::read(item.section()?, known));
    let windows = windows.collect();
    let active_validators = root.get("active_validators");
    let active_validators = active_validators.and_then(|item| item.integer(1..=100_000_000));
    root.finish();
    let chain = Chain { active_validators, ..Chain::default() };
    Some(Policy { groups, clients, windows, thresholds, chain })
}

fn groups(root: &Section<'_>, known: &Known<'_>, defaults: &GroupPolicy) -> Vec<GroupPolicy> {
    let named = |name: &String| GroupPolicy { name: name.clone(), ..defaults.clone() };
    let mut groups: Vec<GroupPolicy> = known.groups.iter().map(named).collect();
    let mut seen = HashSet::new();
    for item in root.get("groups").map(|item| item.items()).unwrap_or_default() {
        let Some(section) = item.section() else { continue };
        let name = section.required("name");
        let place = name.as_ref().and_then(|name| group_place(name, known));
        let mut unplaced = defaults.clone(); // its problems are told all the same
        let group = match place {
            Some(place) => &mut groups[usize::from(place.0)],
            None => &mut unplaced,
        };
        group::read(&section, known, group);
        if let (Some(name), Some(place)) = (&name, place)
            && !seen.insert(place)
        {
            name.wrong(ProblemKind::NamedTwice);
        }
        section.finish();
    }
    groups
}

fn clients(root: &Section<'_>, known: &Known<'_>) -> Vec<ClientPolicy> {
    let mut clients: Vec<ClientPolicy> = Vec::new();
    for item in root.get("clients").map(|item| item.items()).unwrap_or_default() {
        let Some(section) = item.section() else { continue };
        let name = section.required("name");
        let place = name.as_ref().and_then(|name| client_place(name, known));
        let addresses = section.get("addresses");
        let prefixes = addresses.map(|item| prefixes(&item)).unwrap_or_default();
        let days = section.get("dormant_after_days");
        let dormant_after_days = days.and_then(|item| item.integer32(1..=36_500));
        section.finish();
        let (Some(name), Some(place)) = (name, place) else { continue };
        let place = usize::from(place.0);
        if clients.len() <= place {
            clients.resize_with(place + 1, ClientPolicy::default);
        }
        if !clients[place].name.is_empty() {
            name.wrong(ProblemKind::NamedTwice);
        }
        let name = name.text().unwrap_or_default().to_owned();
        clients[place] = ClientPolicy { name, prefixes, dormant_after_days };
    }
    clients
}

fn thresholds_of(section: Section<'_>) -> Thresholds {
    let default = Thresholds::default();
    let number = |name, otherwise| {
        section.get(name).and_then(|item: Item<'_>| item.number()).unwrap_or(otherwise)
    };
    let thresholds = Thresholds {
        alert: number("alert", default.alert),
        hold: number("hold", default.hold),
        quarantine: number("quarantine", default.quarantine),
        block: number("block", default.block),
        timing: number("timing", default.timing),
        shares: number("shares", default.shares),
        source_timing: number("source_timing", default.source_timing),
        micro_hold_ms: section
            .get("micro_hold_ms")
            .and_then(|item| item.integer32(0..=MICRO_HOLD_MS_MAX))
            .unwrap_or(default.micro_hold_ms),
    };
    let order = [thresholds.alert, thresholds.hold, thresholds.quarantine];
    if !order.is_sorted() {
        section.wrong(ProblemKind::ThresholdOrder);
    }
    section.finish();
    thresholds
}

/// The place of the group that the item names.
pub(super) fn group_place(item: &Item<'_>, known: &Known<'_>) -> Option<GroupIndex> {
    let name = item.text()?;
    let place = known.groups.iter().rposition(|group| group == name);
    let place = place.and_then(|place| u16::try_from(place).ok()).map(GroupIndex);
    let wrong = || ProblemKind::NoSuchGroup { name: name.to_owned() };
    item.valid(place.ok_or_else(wrong))
}

/// The place of the client that the item names.
pub(super) fn client_place(item: &Item<'_>, known: &Known<'_>) -> Option<ClientIndex> {
    let name = item.text()?;
    let place = (known.is_client)(name).then(|| (known.client_place)(name));
    let wrong = || ProblemKind::NoSuchClient { name: name.to_owned() };
    item.valid(place.ok_or_else(wrong))
}

/// The clients of a list of names.
pub(super) fn client_list(item: &Item<'_>, known: &Known<'_>) -> Vec<ClientIndex> {
    let items = item.items();
    let mut places: Vec<ClientIndex> = Vec::with_capacity(items.len());
    for item in items {
        let Some(place) = client_place(&item, known) else { continue };
        if places.contains(&place) {
            item.wrong(ProblemKind::NamedTwice);
        } else {
            places.push(place);
        }
    }
    places
}

/// The networks of a list of ranges, in ascending order. The gate tells networks apart, /24 and
/// /48, not the addresses in them: what is narrower would promise too much.
pub(super) fn prefixes(item: &Item<'_>) -> Vec<u64> {
    let mut prefixes = Vec::new();
    for item in item.items() {
        let Some(text) = item.text() else { continue };
        let Some(range) = item.valid(text.parse().map_err(ProblemKind::NotARange)) else {
            continue;
        };
        prefixes.extend(item.valid(networks(range)).into_iter().flatten());
    }
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

fn networks(range: AddressRange) -> Result<Vec<u64>, ProblemKind> {
    let whole = if range.first().is_ipv4() { 24 } else { 48 };
    let bits = range.prefix_bits();
    if bits > whole || whole - bits > NETWORK_BITS_MAX {
        let (min, max) = (whole - NETWORK_BITS_MAX, whole);
        return Err(ProblemKind::PrefixBits { range: range.to_string(), min, max });
    }
    let network = |number: u32| match range.first() {
        IpAddr::V4(first) => IpAddr::V4((first.to_bits() | number << 8).into()),
        IpAddr::V6(first) => IpAddr::V6((first.to_bits() | u128::from(number) << 80).into()),
    };
    Ok((0..1 << (whole - bits)).map(|number| judgement::prefix(network(number))).collect())
}

/// The version of the document that this gate reads.
const VERSION: u64 = 1;
/// A range may have 256 networks: each is looked for on its own.
const NETWORK_BITS_MAX: u8 = 8;
/// A request is given up after 2.5 s; a hold may not eat that.
const MICRO_HOLD_MS_MAX: u64 = 1_000;
