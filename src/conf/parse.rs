//! Tokens to syntax: the frame that both grammars share. Files are read line by line in
//! `parse/reader.rs`, `ikev2` rules in `parse/ikev2.rs`, `set`, `user` and `radius` in
//! `parse/globals.rs`. What of a line is not shown says `parse/hidden.rs`.

mod cursor;
mod globals;
mod hidden;
mod ikev2;
mod reader;
mod words;

pub(super) use cursor::Cursor;
pub(super) use ikev2::hexadecimal;
pub(in crate::conf) use ikev2::option;
pub use reader::parse;
pub(super) use reader::read;

use std::cell::OnceCell;
use std::ops::Range;

use super::diagnostic::{Diagnostic, Place, Severity, excerpt, nearest};
use super::ipsec::Mark;
use super::syntax::Statement;

/// After so many errors the reading ends.
const ERROR_LIMIT: usize = 40;

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name as it was asked for.
    pub name: String,
    text: String,
    /// Offsets of the lines.
    lines: Vec<usize>,
    /// Where in the text secrets stand, once a line was shown.
    hidden: OnceCell<Vec<Range<usize>>>,
    /// Whether others can read or change it, and why that matters.
    pub(super) exposed: Option<String>,
}

/// What was read: the statements, the files and the remarks.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The statements of all files, in order, macros expanded.
    pub statements: Vec<Statement>,
    /// Errors and warnings so far.
    pub diagnostics: Vec<Diagnostic>,
    pub(super) sources: Vec<Source>,
    /// Line by line what was read and where the reading stopped, if somebody wants to know.
    pub(super) lines: Vec<Line>,
    /// Macros that were defined and not used.
    pub(super) unused: Vec<String>,
    /// How many of the diagnostics are errors.
    errors: usize,
}

/// One logical line, for whoever tells of a file as it is read.
#[derive(Debug)]
pub(super) struct Line {
    /// What it came to.
    pub content: Content,
    /// How many tokens were taken.
    pub tokens: usize,
    /// What is to be looked at on the way.
    pub marks: Vec<Mark>,
    /// Where and why the reading stopped, if it did.
    pub stop: Option<(Place, Stop)>,
    /// What is wrong with the text itself: where, in ipsecctl's words, and whether the text ended
    /// in it.
    pub text: Option<(Place, String, bool)>,
}

/// What a line came to.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing: an empty line, or one that could not be read.
    Nothing,
    /// The statement of this number.
    Statement(usize),
    /// A macro's name and value.
    Macro(String, String),
    /// A rule that cannot be used, since its marks hold complaints.
    Wrong(Box<super::ipsec::Rule>),
}

/// Why the reading of a line stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// It makes no sense.
    Syntax,
    /// For a reason that ipsecctl tells in these words.
    Says(String),
    /// For a reason that ipsecctl does not tell.
    Silent,
    /// A file cannot be included: its name, and the system's reason.
    Include(String, String),
}

impl Parsed {
    /// How many errors there are.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// Whether anything is wrong.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// The name of the file of a place.
    pub(super) fn file_name(&self, place: Place) -> &str {
        self.sources.get(place.file as usize).map_or("", |s| s.name.as_str())
    }

    /// Puts the remarks into the order of the files.
    pub(super) fn sort(&mut self) {
        let order = |name: &str| self.sources.iter().position(|s| s.name == name);
        self.diagnostics.sort_by_cached_key(|d| (order(&d.file), d.line, d.column));
    }

    /// A remark about a place.
    pub(super) fn remark(&mut self, severity: Severity, place: Place, problem: Problem) {
        let diagnostic = self.diagnostic(severity, place, problem);
        self.errors += usize::from(severity == Severity::Error);
        self.diagnostics.push(diagnostic);
    }

    fn diagnostic(&self, severity: Severity, place: Place, problem: Problem) -> Diagnostic {
        let source = self.sources.get(place.file as usize);
        let line = source.map_or("", |s| s.line(place.line));
        let shown = source.map_or_else(String::new, |s| s.shown(place.line));
        let (line_text, mark) = excerpt(&shown, place.column, place.width);
        let problem = match is_hidden(line, &shown, place) {
            true => problem.without_words(),
            false => problem,
        };
        Diagnostic {
            severity,
            file: source.map_or_else(String::new, |s| s.name.clone()),
            line: place.line,
            column: place.column,
            message: problem.message(),
            found: problem.found,
            expected: problem.expected,
            line_text,
            mark,
        }
    }
}

/// Whether the place in a line, or a part of it, is hidden where the line is shown.
fn is_hidden(line: &str, shown: &str, place: Place) -> bool {
    let start = (place.column as usize).saturating_sub(1);
    let characters = line.chars().zip(shown.chars()).skip(start);
    characters.take(place.width.max(1) as usize).any(|(is, seems)| is != seems)
}

impl Source {
    fn new(name: &str, text: String, exposed: Option<String>) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { name: name.to_owned(), text, lines, hidden: OnceCell::new(), exposed }
    }

    fn range(&self, number: u32) -> Range<usize> {
        let index = (number as usize).wrapping_sub(1);
        let Some(&start) = self.lines.get(index) else { return 0..0 };
        start..self.lines.get(index + 1).map_or(self.text.len(), |next| next - 1)
    }

    fn line(&self, number: u32) -> &str {
        self.text.get(self.range(number)).unwrap_or("")
    }

    /// A line as it may be shown to whoever reads logs: an asterisk for each character of a secret.
    fn shown(&self, number: u32) -> String {
        let hidden = self.hidden.get_or_init(|| hidden::hidden(&self.text));
        let start = self.range(number).start;
        let mut ranges =
            hidden.iter().skip(hidden.partition_point(|it| it.end <= start)).peekable();
        let mut shown = String::new();
        for (at, character) in self.line(number).char_indices() {
            while ranges.peek().is_some_and(|range| range.end <= start + at) {
                ranges.next();
            }
            let covered = ranges.peek().is_some_and(|range| range.contains(&(start + at)));
            shown.push(if covered { '*' } else { character });
        }
        shown
    }
}

/// What is wrong at a place: a word instead of another, or a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Problem {
    found: Option<String>,
    expected: Option<String>,
    sentence: Option<String>,
    /// Why ipsecctl stops here, where that is not the syntax.
    stop: Option<Box<Stop>>,
}

impl Problem {
    /// `found X, expected Y`.
    pub(super) fn found(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { found: Some(found.into()), expected: Some(expected.into()), ..Self::default() }
    }

    /// A sentence of its own.
    pub(super) fn says(sentence: impl Into<String>) -> Self {
        Self { sentence: Some(sentence.into()), ..Self::default() }
    }

    /// A sentence that is ipsecctl's too.
    pub(super) fn says_too(sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self::says(sentence.clone()).but(Stop::Says(sentence))
    }

    /// The same, where ipsecctl stops for this reason.
    pub(super) fn but(self, stop: Stop) -> Self {
        Self { stop: Some(Box::new(stop)), ..self }
    }

    /// An unknown word where one of a table was expected, with the nearest of them.
    pub(super) fn unknown(found: String, word: &str, what: &str, known: &[&str]) -> Self {
        let nearest = nearest(word, known.iter().copied());
        let expected = match nearest {
            Some(near) => format!("{what} (did you mean \"{near}\"?)"),
            None => what.to_owned(),
        };
        Self::found(found, expected)
    }

    /// The same without the words that were found, which stand in quotes.
    fn without_words(self) -> Self {
        let told = |found: String| match found.contains('"') {
            true => "what is not shown here".to_owned(),
            false => found,
        };
        Self { found: self.found.map(told), ..self }
    }

    fn message(&self) -> String {
        match (&self.sentence, &self.found, &self.expected) {
            (Some(sentence), ..) => sentence.clone(),
            (None, Some(found), Some(expected)) => format!("found {found}, expected {expected}"),
            _ => String::new(),
        }
    }
}

/// A statement that cannot be read.
pub(super) type Fault = (Place, Problem);
