//! Windows of a policy document: stretches of time in which something else holds.

use policy::{GroupIndex, KeySet, Window, WindowId, WindowKind};

use super::document::{KeyPlace, Known, client_place, group_place};
use super::reader::{Item, Section};
use super::time;
use crate::config::hex;
use crate::config::problem::ProblemKind;

/// One of `[[windows]]`.
pub(super) fn read(section: Section<'_>, known: &Known<'_>) -> Option<Window> {
    let name = section.required("name").and_then(|item| item.text());
    let kind = kind(&section, known);
    let groups = section.get("groups").map(|item| item.items());
    let keys = section.get("keys").map(|item| item.items());
    match (&groups, &keys) {
        (None, None) => section.wrong(ProblemKind::WindowOfNothing),
        (Some(groups), None) if groups.is_empty() => section.wrong(ProblemKind::WindowOfNothing),
        (None, Some(keys)) if keys.is_empty() => section.wrong(ProblemKind::WindowOfNothing),
        (_, _) => {}
    }
    let groups = match groups {
        Some(groups) => groups.iter().filter_map(|item| group_place(item, known)).collect(),
        None => (0u16..).map(GroupIndex).take(known.groups.len()).collect(), // the keys say which
    };
    let keys = keys.unwrap_or_default();
    let keys: KeySet = keys.iter().filter_map(|item| key(item, known)).collect();
    let from_ms = section.required("from").and_then(|item| time::unix_ms(&item));
    let until = section.required("until");
    let until_ms = until.as_ref().and_then(time::unix_ms);
    if let (Some(from_ms), Some(until_ms), Some(until)) = (from_ms, until_ms, until)
        && until_ms <= from_ms
    {
        until.wrong(ProblemKind::WindowEndsFirst);
    }
    section.finish();
    let (name, from_ms) = (name?, from_ms?);
    Some(Window {
        id: WindowId::of(name, from_ms),
        name: name.to_owned(),
        kind: kind?,
        groups,
        keys,
        from_ms,
        until_ms: until_ms?,
    })
}

#[derive(Clone, Copy)]
enum Word {
    Rotation,
    Exits,
    Deposits,
    Maintenance,
}

fn kind(section: &Section<'_>, known: &Known<'_>) -> Option<WindowKind> {
    let words = [
        ("rotation", Word::Rotation),
        ("exits", Word::Exits),
        ("deposits", Word::Deposits),
        ("maintenance", Word::Maintenance),
    ];
    let kind = section.required("kind")?;
    match kind.one_of(&words, "rotation, exits, deposits, maintenance")? {
        Word::Rotation => {
            let client = |name| section.required(name).and_then(|item| client_place(&item, known));
            let (from, to) = (client("from_client"), client("to_client"));
            Some(WindowKind::Rotation { from: from?, to: to? })
        }
        Word::Exits => Some(WindowKind::Exits),
        Word::Deposits => Some(WindowKind::Deposits),
        Word::Maintenance => Some(WindowKind::Maintenance),
    }
}

/// The place of a key. Where no table of keys is at hand its form alone is checked.
fn key(item: &Item<'_>, known: &Known<'_>) -> Option<u32> {
    let text = item.text()?;
    let key = item.valid(hex::parse(text))?;
    match (known.key_place)(&key) {
        KeyPlace::At(place) => Some(place),
        KeyPlace::Unknown => {
            item.wrong(ProblemKind::NoSuchKey { key: text.to_owned() });
            None
        }
        KeyPlace::NoTable => Some(u32::MAX), // of no key: never "all of the groups"
    }
}
