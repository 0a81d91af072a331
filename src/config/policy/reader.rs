//! A TOML tree that remembers where everything stands, read so that one reading finds all that is
//! wrong: wrong types and unknown keys too.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::document;
use crate::config::problem::{Place, Problem, ProblemKind};

/// Collects what is wrong with one file.
pub(super) struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, problems: RefCell::default() }
    }

    pub(super) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section::new(self, String::new(), 0..0, table)
    }

    pub(super) fn wrong(&self, path: &str, at: &Range<usize>, kind: ProblemKind) {
        let place = Place::File(self.file.to_owned(), Some(self.position(at)));
        self.problems.borrow_mut().push(Problem { place, path: path.to_owned(), kind });
    }

    fn position(&self, at: &Range<usize>) -> document::Position {
        document::position(self.text, at.start)
    }

    /// What was wrong, in the order of the file.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| match &problem.place {
            Place::File(_, Some(position)) => (position.line, position.column),
            Place::File(_, None) | Place::Environment(_) | Place::CommandLine(_) => (0, 0),
        });
        problems
    }
}

/// A table, and which of its keys have been asked for.
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    path: String,
    at: Range<usize>,
    table: &'a DeTable<'a>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    fn new(reader: &'a Reader<'a>, path: String, at: Range<usize>, table: &'a DeTable<'a>) -> Self {
        Self { reader, path, at, table, asked: RefCell::default() }
    }

    fn below(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, name: &'static str) -> Option<Item<'a>> {
        self.asked.borrow_mut().push(name);
        let (_, value) = self.table.iter().find(|(key, _)| key.get_ref() == name)?;
        Some(Item { reader: self.reader, path: self.below(name), value })
    }

    /// The value of a key that has to be there.
    pub(super) fn required(&self, name: &'static str) -> Option<Item<'a>> {
        let item = self.get(name);
        if item.is_none() {
            self.reader.wrong(&self.below(name), &self.at, ProblemKind::Missing);
        }
        item
    }

    /// Something is wrong with the table itself.
    pub(super) fn wrong(&self, kind: ProblemKind) {
        self.reader.wrong(&self.path, &self.at, kind);
    }

    /// Every key with its value, for tables whose keys are names; the keys count as asked for.
    pub(super) fn named(&self) -> Vec<(Item<'a>, &'a str)> {
        let items = self.table.iter().map(|(key, value)| {
            let name: &'a str = key.get_ref();
            (Item { reader: self.reader, path: self.below(name), value }, name)
        });
        items.collect()
    }

    /// Says which keys mean nothing. To be called when all were asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        for (key, _) in self.table {
            let name = key.get_ref();
            if !asked.iter().any(|asked| asked == name) {
                let known = asked.join(", ");
                let path = self.below(name);
                self.reader.wrong(&path, &key.span(), ProblemKind::UnknownKey { known });
            }
        }
    }
}

/// A value, and the dotted path to it.
pub(super) struct Item<'a> {
    reader: &'a Reader<'a>,
    path: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Item<'a> {
    pub(super) fn wrong(&self, kind: ProblemKind) {
        self.reader.wrong(&self.path, &self.value.span(), kind);
    }

    /// The value, or the problem with it.
    pub(super) fn valid<T>(&self, result: Result<T, ProblemKind>) -> Option<T> {
        result.map_err(|kind| self.wrong(kind)).ok()
    }

    fn of_type<T>(&self, value: Option<T>, expected: &'static str) -> Option<T> {
        self.valid(value.ok_or(ProblemKind::WrongType { expected }))
    }

    pub(super) fn raw(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        self.of_type(self.raw().as_str(), "a text in quotes")
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        self.of_type(self.raw().as_bool(), "true or false")
    }

    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let digits = self.of_type(self.raw().as_integer(), "an integer")?;
        let value = i128::from_str_radix(digits.as_str(), digits.radix()).ok();
        let value = value.and_then(|value| u64::try_from(value).ok());
        let value = self.of_type(value, "an integer from 0 on")?;
        let (min, max) = (*range.start(), *range.end());
        let wrong = ProblemKind::OutOfRange { value, min, max };
        self.valid(range.contains(&value).then_some(value).ok_or(wrong))
    }

    pub(super) fn integer32(&self, range: RangeInclusive<u64>) -> Option<u32> {
        self.integer(range).and_then(|value| u32::try_from(value).ok())
    }

    pub(super) fn number(&self) -> Option<f32> {
        let text = match self.raw() {
            DeValue::Integer(integer) if integer.radix() == 10 => Some(integer.as_str()),
            DeValue::Float(float) => Some(float.as_str()),
            DeValue::Integer(_)
            | DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        let number = text.and_then(|text| text.parse().ok()).filter(|number: &f32| {
            number.is_finite() // inf and nan are TOML, and no thresholds
        });
        self.of_type(number, "a number")
    }

    /// The members of an array; none, and a problem, when it is something else.
    pub(super) fn items(&self) -> Vec<Self> {
        let array = self.of_type(self.raw().as_array(), "a list");
        let members = array.map(|array| array.iter().enumerate()).into_iter().flatten();
        let item = |(index, value)| {
            let path = format!("{}[{index}]", self.path);
            Self { reader: self.reader, path, value }
        };
        members.map(item).collect()
    }

    pub(super) fn section(&self) -> Option<Section<'a>> {
        let table = self.of_type(self.raw().as_table(), "a table")?;
        Some(Section::new(self.reader, self.path.clone(), self.value.span(), table))
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)], known: &'static str) -> Option<T> {
        let value = self.text()?;
        let found = words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
        self.valid(found.ok_or_else(|| ProblemKind::NotOneOf { value: value.to_owned(), known }))
    }
}
