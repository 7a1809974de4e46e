//! Tokens to syntax: the frame that both grammars share. `ikev2` rules are read in `parse/ikev2.rs`.

mod cursor;
mod ikev2;

pub(super) use cursor::Cursor;
pub(super) use ikev2::hexadecimal;

use super::diagnostic::{Diagnostic, Place, Severity, excerpt, nearest};
use super::lex::{LexError, Lexer, Macros, Token};
use super::source::Files;
use super::syntax::{Set, Spanned, Statement, User};
use crate::crypto::Secret;

/// How deep files may include each other.
const INCLUDE_DEPTH: usize = 16;

/// How many files may be read in one run.
const FILE_LIMIT: usize = 1024;

/// The largest file, in octets.
const SIZE_LIMIT: usize = 16 << 20;

/// After so many errors the reading ends.
const ERROR_LIMIT: usize = 40;

/// The words that begin a statement.
const STATEMENTS: &[&str] =
    &["ikev2", "set", "include", "user", "radius", "ike", "flow", "esp", "ah", "ipcomp", "tcpmd5"];

/// The words after `set` that stand alone.
pub(super) const SET_FLAGS: &[&str] = &[
    "active",
    "passive",
    "couple",
    "decouple",
    "fragmentation",
    "nofragmentation",
    "mobike",
    "nomobike",
    "vendorid",
    "novendorid",
    "enforcesingleikesa",
    "noenforcesingleikesa",
    "stickyaddress",
    "nostickyaddress",
    "cert_partial_chain",
];

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name as it was asked for.
    pub name: String,
    text: String,
    /// Offsets of the lines.
    lines: Vec<usize>,
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
    /// Macros as they were defined: before which statement, name, value.
    pub(super) macros: Vec<(usize, String, String)>,
    /// Where statements could not be read, and what ipsecctl says of it.
    pub(super) faults: Vec<(Place, Vec<String>)>,
}

impl Parsed {
    /// Whether anything is wrong.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
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
        self.diagnostics.push(diagnostic);
    }

    fn diagnostic(&self, severity: Severity, place: Place, problem: Problem) -> Diagnostic {
        let source = self.sources.get(place.file as usize);
        let line = source.map_or("", |s| s.line(place.line));
        let (line_text, mark) = excerpt(line, place.column, place.width);
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

impl Source {
    fn new(name: &str, text: String, exposed: Option<String>) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { name: name.to_owned(), text, lines, exposed }
    }

    fn line(&self, number: u32) -> &str {
        let index = (number as usize).wrapping_sub(1);
        let Some(&start) = self.lines.get(index) else { return "" };
        let end = self.lines.get(index + 1).map_or(self.text.len(), |next| next - 1);
        self.text.get(start..end).unwrap_or("")
    }
}

/// What is wrong at a place: a word instead of another, or a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Problem {
    found: Option<String>,
    expected: Option<String>,
    sentence: Option<String>,
}

impl Problem {
    /// `found X, expected Y`.
    pub(super) fn found(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { found: Some(found.into()), expected: Some(expected.into()), sentence: None }
    }

    /// A sentence of its own.
    pub(super) fn says(sentence: impl Into<String>) -> Self {
        Self { sentence: Some(sentence.into()), ..Self::default() }
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

/// Reads a file and all that it includes. `definitions` are those of `-D`.
pub fn parse(path: &str, definitions: &[(String, String)], files: &dyn Files) -> Parsed {
    let mut reader = Reader {
        parsed: Parsed::default(),
        macros: Macros::fixed(definitions),
        files,
        stack: Vec::new(),
    };
    reader.file(path, Place::default());
    reader.parsed
}

struct Reader<'a> {
    parsed: Parsed,
    macros: Macros,
    files: &'a dyn Files,
    stack: Vec<String>,
}

impl Reader<'_> {
    fn error(&mut self, place: Place, problem: Problem) {
        self.parsed.remark(Severity::Error, place, problem);
    }

    fn full(&self) -> bool {
        self.parsed.diagnostics.len() >= ERROR_LIMIT
    }

    /// Reads one file; `place` is where it is included.
    fn file(&mut self, path: &str, place: Place) {
        let Some(text) = self.text(path, place) else { return };
        let number = self.parsed.sources.len() as u32 - 1;
        self.stack.push(path.to_owned());
        let mut lexer = Lexer::new(number, &text);
        while let Some(line) = lexer.line(&self.macros) {
            if self.full() {
                break;
            }
            match line {
                Ok((tokens, end)) => self.statement(tokens, end),
                Err((tokens, error)) => self.broken(tokens, error),
            }
        }
        self.stack.pop();
    }

    /// The text of a file, registered as a source; nothing, with a remark, if it cannot be had.
    fn text(&mut self, path: &str, place: Place) -> Option<String> {
        let refusal = if self.stack.iter().any(|open| open == path) {
            Some(format!("{path} includes itself"))
        } else if self.stack.len() >= INCLUDE_DEPTH {
            Some(format!("files include each other more than {INCLUDE_DEPTH} deep"))
        } else if self.parsed.sources.len() >= FILE_LIMIT {
            Some(format!("more than {FILE_LIMIT} files"))
        } else {
            None
        };
        if let Some(sentence) = refusal {
            self.error(place, Problem::says(sentence));
            return None;
        }
        let file = match self.files.read(path) {
            Ok(file) if file.octets.len() > SIZE_LIMIT => Err("larger than 16 MiB".to_owned()),
            other => other,
        };
        let file = match file {
            Ok(file) => file,
            Err(reason) if self.stack.is_empty() => {
                self.parsed.sources.push(Source::new(path, String::new(), None));
                self.error(Place::default(), Problem::says(format!("cannot read: {reason}")));
                return None;
            }
            Err(reason) => {
                self.error(place, Problem::says(format!("cannot read {path}: {reason}")));
                return None;
            }
        };
        let exposed = if file.mode & 0o077 != 0 {
            Some(format!("has mode {:03o}: others can read or change it (chmod 600)", file.mode))
        } else if !self.files.may_own_secrets(file.uid) {
            Some(format!("belongs to user {}, not to root or to who runs this", file.uid))
        } else {
            None
        };
        let (text, bad) = match String::from_utf8(file.octets) {
            Ok(text) => (text, None),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                (
                    String::from_utf8_lossy(error.as_bytes()).into_owned(),
                    Some((at, "invalid UTF-8")),
                )
            }
        };
        let nul = text.find('\0').map(|at| (at, "the octet 0x00"));
        self.parsed.sources.push(Source::new(path, text.clone(), exposed));
        if let Some((at, found)) = bad.or(nul) {
            let before = text.get(..at).unwrap_or("");
            let line = before.matches('\n').count() as u32 + 1;
            let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) as u32 + 1;
            let file = self.parsed.sources.len() as u32 - 1;
            self.error(Place { file, line, column, width: 1 }, Problem::found(found, "text"));
            return None;
        }
        Some(text)
    }

    fn statement(&mut self, tokens: Vec<Token>, end: Place) {
        if tokens.is_empty() {
            return;
        }
        let mut cursor = Cursor { tokens, at: 0, end };
        if let Err((place, problem)) = self.dispatch(&mut cursor) {
            let sentence = problem.sentence.clone().unwrap_or_else(|| "syntax error".to_owned());
            self.parsed.faults.push((place, vec![sentence]));
            self.error(place, problem);
        }
    }

    /// A line that breaks off: either it makes no sense before that, or that is the fault.
    fn broken(&mut self, tokens: Vec<Token>, error: LexError) {
        let end = error.place;
        let mut cursor = Cursor { tokens, at: 0, end };
        let (statements, macros) = (self.parsed.statements.len(), self.parsed.macros.len());
        let fault = match cursor.is("include") {
            true => None,
            false => self.dispatch(&mut cursor).err().filter(|(place, _)| *place != end),
        };
        self.parsed.statements.truncate(statements);
        self.parsed.macros.truncate(macros);
        if let Some((place, problem)) = fault {
            self.parsed.faults.push((place, vec!["syntax error".to_owned()]));
            return self.error(place, problem);
        }
        let mut sentences = vec![error.sentence.clone()];
        if error.breaks {
            sentences.push("syntax error".to_owned());
        }
        self.parsed.faults.push((end, sentences));
        self.error(end, Problem::found(error.found, error.expected));
    }

    fn dispatch(&mut self, cursor: &mut Cursor) -> Result<(), Fault> {
        if cursor.is_assignment() {
            return self.assignment(cursor);
        }
        let place = cursor.place();
        let word = cursor.bare().unwrap_or_default().to_owned();
        if super::ipsec::starts_rule(&word) {
            let rule = super::ipsec::parse(cursor)?;
            self.parsed.statements.push(Statement::Ipsec(Box::new(rule)));
            return Ok(());
        }
        let statement = match word.as_str() {
            "include" => {
                cursor.next();
                let path = cursor.string("the name of a file")?;
                cursor.finish("the end of the line")?;
                self.file(&path.value, path.place);
                return Ok(());
            }
            "ikev2" => Statement::Ikev2(Box::new(ikev2::rule(cursor)?)),
            "set" => {
                cursor.next();
                Statement::Set(Spanned { value: set(cursor)?, place })
            }
            "user" => {
                cursor.next();
                let name = cursor.string("a user name")?;
                let password = cursor.string("a password in quotes")?;
                Statement::User(User { name, password: Secret::new(password.value.into_bytes()) })
            }
            "radius" => {
                let mut words = Vec::new();
                cursor.next();
                while !cursor.at_end() {
                    words.push(cursor.string("a word")?.value);
                }
                Statement::Radius(Spanned { value: words, place })
            }
            _ => {
                let found = cursor.describe();
                let what = "a rule (ikev2, ike, flow, esp, ah), set, include or a macro";
                return Err((place, Problem::unknown(found, &word, what, STATEMENTS)));
            }
        };
        cursor.finish("the end of the line")?;
        self.parsed.statements.push(statement);
        Ok(())
    }

    /// `name = value …`.
    fn assignment(&mut self, cursor: &mut Cursor) -> Result<(), Fault> {
        let name = cursor.string("a macro's name")?;
        if name.value.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let found = format!("\"{}\"", name.value);
            let expected = "a macro's name of letters, digits and _";
            return Err((name.place, Problem::found(found, expected)));
        }
        cursor.next();
        let mut value = cursor.string("a value, in quotes if it is more than a word")?.value;
        while !cursor.at_end() {
            value.push(' ');
            value.push_str(&cursor.string("the end of the line")?.value);
        }
        self.macros.define(&name.value, &value);
        self.parsed.macros.push((self.parsed.statements.len(), name.value, value));
        Ok(())
    }
}

fn set(cursor: &mut Cursor) -> Result<Set, Fault> {
    let place = cursor.place();
    let word = cursor.bare().unwrap_or_default().to_owned();
    if SET_FLAGS.contains(&word.as_str()) {
        cursor.next();
        return Ok(Set::Flag(word));
    }
    match word.as_str() {
        "dpd_check_interval" => {
            cursor.next();
            Ok(Set::DpdCheckInterval(cursor.number(0, i64::from(u32::MAX), "seconds")?.value))
        }
        "ocsp" => {
            cursor.next();
            let url = cursor.string("a URL in quotes")?.value;
            let tolerate = match cursor.eat("tolerate") {
                true => Some(cursor.time()?.value),
                false => None,
            };
            let maxage = match tolerate.is_some() && cursor.eat("maxage") {
                true => Some(cursor.time()?.value),
                false => None,
            };
            Ok(Set::Ocsp { url, tolerate, maxage })
        }
        _ => {
            let known: Vec<&str> =
                SET_FLAGS.iter().copied().chain(["dpd_check_interval", "ocsp"]).collect();
            let found = cursor.describe();
            Err((place, Problem::unknown(found, &word, "an option to set", &known)))
        }
    }
}
