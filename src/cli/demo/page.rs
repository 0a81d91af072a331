//! The page: headings, lines of at most 100 columns, and what did not hold.

use std::io::{self, IsTerminal, Write};

const COLUMNS: usize = 100;

/// Standard output, and how many expectations it had to call broken.
pub(super) struct Page {
    coloured: bool,
    broken: usize,
}

/// How a text is set off on a terminal.
#[derive(Clone, Copy)]
pub(super) enum Style {
    Plain,
    Bold,
    Good,
    Bad,
    Loud,
}

impl Page {
    /// A page that is coloured on a terminal, unless `NO_COLOR` is set to something.
    pub(super) fn new() -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { coloured: io::stdout().is_terminal() && !no_colour, broken: 0 }
    }

    /// Expectations that did not hold.
    pub(super) fn broken(&self) -> usize {
        self.broken
    }

    /// An empty line and the title of what follows.
    pub(super) fn heading(&self, text: &str) -> io::Result<()> {
        self.write("\n", Style::Plain)?;
        self.line(Style::Bold, text)
    }

    /// One line as it is.
    pub(super) fn line(&self, style: Style, text: &str) -> io::Result<()> {
        self.write(text, style)?;
        self.write("\n", Style::Plain)
    }

    /// A label and its text, wrapped behind the label.
    pub(super) fn entry(&self, label: &str, text: &str) -> io::Result<()> {
        self.labelled(Style::Plain, label, text)
    }

    /// An expectation: `word` if it held, and otherwise a loud `FAILED`, which the page counts.
    pub(super) fn expect(&mut self, held: bool, word: &str, text: &str) -> io::Result<()> {
        if held {
            return self.labelled(Style::Good, word, text);
        }
        self.broken += 1;
        self.labelled(Style::Bad, "FAILED", text)
    }

    /// A label and the beginning of its line.
    pub(super) fn begin(&self, label: &str, text: &str) -> io::Result<()> {
        self.write(&format!("  {label:LABEL_COLUMNS$}"), Style::Good)?;
        self.append(text)
    }

    /// More of a line that was begun.
    pub(super) fn append(&self, text: &str) -> io::Result<()> {
        self.write(text, Style::Plain)
    }

    fn labelled(&self, style: Style, label: &str, text: &str) -> io::Result<()> {
        let mut label = label;
        for line in wrap(text, COLUMNS - LABEL_COLUMNS - 2) {
            self.write(&format!("  {label:LABEL_COLUMNS$}"), style)?;
            self.write(&format!("{line}\n"), Style::Plain)?;
            label = "";
        }
        Ok(())
    }

    fn write(&self, text: &str, style: Style) -> io::Result<()> {
        let code = match style {
            Style::Plain => "",
            Style::Bold => "1",
            Style::Good => "32",
            Style::Bad => "1;31",
            Style::Loud => "1;33",
        };
        let mut output = io::stdout().lock();
        if self.coloured && !code.is_empty() {
            write!(output, "\x1b[{code}m{text}\x1b[0m")?;
        } else {
            write!(output, "{text}")?;
        }
        output.flush() // each line when it happens
    }
}

const LABEL_COLUMNS: usize = 9;

/// Breaks `text` at spaces into lines of at most `columns`; a longer word stands alone.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("begins with one");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > columns {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

/// Shortens the roots and keys in `text` to their ends: a page has no room for 64 digits.
pub(super) fn shorten_hex(text: &str) -> String {
    let mut short = String::new();
    for (index, part) in text.split("0x").enumerate() {
        if index > 0 {
            short.push_str("0x");
        }
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        if index > 0 && digits > 16 {
            short.push_str(&part[..4]);
            short.push_str("..");
            short.push_str(&part[digits - 4..]);
        } else {
            short.push_str(part);
        }
    }
    short
}

#[cfg(test)]
mod tests;
