//! Where in the file a key stands: what serde forgets, and what a person needs.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The file's text and its tree of keys with their spans.
pub(super) struct Document<'a> {
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

/// A place in the file; both count from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl<'a> Document<'a> {
    /// # Errors
    /// When the text is not TOML.
    pub(super) fn parse(text: &'a str) -> Result<Self, toml::de::Error> {
        Ok(Self { text, root: DeTable::parse(text)? })
    }

    /// Where the value of a dotted path (`groups[1].name`) stands, if the file has it.
    pub(super) fn position_of(&self, path: &str) -> Option<Position> {
        let mut span = None;
        let mut table = self.root.get_ref();
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            let (name, index) = match step.split_once('[') {
                Some((name, index)) => (name, Some(index.trim_end_matches(']').parse().ok()?)),
                None => (step, None),
            };
            let mut value = table.iter().find(|(key, _)| key.get_ref() == name)?.1;
            if let Some(index) = index {
                value = value.get_ref().as_array()?.get::<usize>(index)?;
            }
            span = Some(value.span());
            if steps.peek().is_some() {
                table = value.get_ref().as_table()?;
            }
        }
        span.map(|span| position(self.text, span.start))
    }

    /// The dotted path of the innermost key or value that holds the span.
    pub(super) fn path_at(&self, span: &Range<usize>) -> String {
        let mut path = String::new();
        descend(self.root.get_ref(), span, &mut path);
        path
    }
}

fn descend(table: &DeTable<'_>, span: &Range<usize>, path: &mut String) {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (key, value) in table {
        let here = holds(key.span());
        let length = path.len();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key.get_ref());
        if here || descend_value(value, span, path) {
            return;
        }
        path.truncate(length);
    }
}

/// Extends the path when the span lies in this value, which a table's own span need not say: that
/// of `[section]` is its header alone.
fn descend_value(value: &Spanned<DeValue<'_>>, span: &Range<usize>, path: &mut String) -> bool {
    let length = path.len();
    match value.get_ref() {
        DeValue::Table(table) => {
            descend(table, span, path);
        }
        DeValue::Array(array) => {
            for (index, item) in array.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                if descend_value(item, span, path) {
                    return true;
                }
                path.truncate(length);
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
    let own = value.span();
    path.len() > length || (own.start <= span.start && span.end <= own.end)
}

/// The line and column of a byte of the text.
pub(super) fn position(text: &str, byte: usize) -> Position {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}
