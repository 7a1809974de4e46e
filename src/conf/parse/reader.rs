//! Files to statements, line by line, with all that they include.

use super::{Content, Cursor, ERROR_LIMIT, Fault, Line, Parsed, Problem, Source, Stop};
use super::{globals, ikev2, words};
use crate::conf::diagnostic::{Place, Severity};
use crate::conf::ipsec::Look;
use crate::conf::lex::{LexError, Lexer, Macros, Token};
use crate::conf::source::{Files, SECRET_MODE};
use crate::conf::syntax::{Spanned, Statement};

/// How deep files may include each other.
const INCLUDE_DEPTH: usize = 16;

/// How many files may be read in one run.
const FILE_LIMIT: usize = 1024;

/// The largest file, in octets.
const SIZE_LIMIT: usize = 16 << 20;

/// The words that begin a statement.
const STATEMENTS: &[&str] =
    &["ikev2", "set", "include", "user", "radius", "ike", "flow", "esp", "ah", "ipcomp", "tcpmd5"];

/// Reads a file and all that it includes. `definitions` are those of `-D`.
pub fn parse(path: &str, definitions: &[(String, String)], files: &dyn Files) -> Parsed {
    read(path, definitions, files, false)
}

/// As [`parse`]; keeps what is needed to tell of each line when `logs` is set.
pub(in crate::conf) fn read(
    path: &str,
    definitions: &[(String, String)],
    files: &dyn Files,
    logs: bool,
) -> Parsed {
    let mut reader = Reader {
        logs,
        parsed: Parsed::default(),
        macros: Macros::fixed(definitions),
        files,
        stack: Vec::new(),
    };
    reader.file(path, Place::default());
    reader.parsed.unused = reader.macros.unused();
    reader.parsed
}

struct Reader<'a> {
    logs: bool,
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
        self.parsed.errors() >= ERROR_LIMIT
    }

    /// Reads one file; `place` is where it is included.
    fn file(&mut self, path: &str, place: Place) {
        match self.text(path, place) {
            Ok(text) => self.lines(path, &text),
            Err((place, problem)) => self.error(place, problem),
        }
    }

    /// Reads the text of the file that was registered last.
    fn lines(&mut self, path: &str, text: &str) {
        let number = self.parsed.sources.len() as u32 - 1;
        self.stack.push(path.to_owned());
        let mut lexer = Lexer::new(number, text);
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

    /// The text of a file, registered as a source; the fault if it cannot be had.
    fn text(&mut self, path: &str, place: Place) -> Result<String, Fault> {
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
            return Err((place, Problem::says(sentence)));
        }
        let file = match self.files.read(path) {
            Ok(file) if file.octets.len() > SIZE_LIMIT => Err("larger than 16 MiB".to_owned()),
            other => other,
        };
        let file = match file {
            Ok(file) => file,
            Err(reason) if self.stack.is_empty() => {
                self.parsed.sources.push(Source::new(path, String::new(), None));
                let problem = Problem::says(format!("cannot read: {reason}"));
                return Err((Place::default(), problem));
            }
            Err(reason) => {
                let problem = Problem::says(format!("cannot read {path}: {reason}"));
                return Err((place, problem.but(Stop::Include(path.to_owned(), reason))));
            }
        };
        let exposed = if file.mode & SECRET_MODE != 0 {
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
            return Err((Place { file, line, column, width: 1 }, Problem::found(found, "text")));
        }
        Ok(text)
    }

    /// A line that can be read to its end.
    fn statement(&mut self, tokens: Vec<Token>, end: Place) {
        let mut cursor = Cursor::new(tokens, end);
        let read = match cursor.at_end() {
            true => Ok(Content::Nothing),
            false => self.dispatch(&mut cursor),
        };
        self.log(cursor, read, None);
    }

    /// A line that breaks off: either it makes no sense before that, or that is the fault.
    fn broken(&mut self, tokens: Vec<Token>, error: LexError) {
        let end = error.place;
        let mut cursor = Cursor::new(tokens, end);
        cursor.broken = true;
        let (statements, errors) = (self.parsed.statements.len(), self.parsed.errors());
        let read = match cursor.is("include") {
            true => Ok(Content::Nothing),
            false => self.dispatch(&mut cursor),
        };
        self.parsed.statements.truncate(statements);
        let fault = read.err().unwrap_or_else(|| (end, Problem::default()));
        let at_end = fault.0 == end;
        let (found, expected) = (error.found, error.expected);
        let text = Some((end, error.sentence, error.ended));
        match at_end && self.parsed.errors() == errors {
            true => {
                let problem = Problem::found(found, expected).but(Stop::Syntax);
                self.log(cursor, Err((end, problem)), text);
            }
            false => self.log(cursor, Err(fault), text),
        }
    }

    /// Notes what became of a line, and what is wrong with it.
    fn log(
        &mut self,
        cursor: Cursor,
        read: Result<Content, Fault>,
        text: Option<(Place, String, bool)>,
    ) {
        let Cursor { at: tokens, marks, .. } = cursor;
        for mark in &marks {
            if let Look::Complaint(sentence, near) = &mark.look {
                let near = near.map(|near| format!(" (did you mean \"{near}\"?)"));
                let sentence = format!("{sentence}{}", near.unwrap_or_default());
                self.error(mark.place.place, Problem::says(sentence));
            }
        }
        let (content, stop) = match read {
            Ok(content) => (content, None),
            Err((place, problem)) => {
                let stop = problem.stop.as_deref().cloned().unwrap_or(Stop::Syntax);
                self.error(place, problem);
                (Content::Nothing, Some((place, stop)))
            }
        };
        if !self.logs {
            return;
        }
        let empty = |line: &Line| matches!(line.content, Content::Nothing) && line.stop.is_none();
        let line = Line { content, tokens, marks, stop, text };
        match self.parsed.lines.last_mut() {
            // Its end is one more token: empty lines need no room of their own.
            Some(last) if empty(last) && empty(&line) && tokens == 0 => last.tokens += 1,
            _ => self.parsed.lines.push(line),
        }
    }

    fn dispatch(&mut self, cursor: &mut Cursor) -> Result<Content, Fault> {
        if cursor.is_assignment() {
            return self.assignment(cursor);
        }
        let place = cursor.place();
        let word = cursor.bare().unwrap_or_default().to_owned();
        if crate::conf::ipsec::starts_rule(&word) {
            cursor.reserved = words::IPSEC;
            cursor.strict = true;
            let rule = crate::conf::ipsec::parse(cursor)?;
            if cursor.marks.iter().any(|mark| matches!(mark.look, Look::Complaint(..))) {
                return Ok(Content::Wrong(Box::new(rule)));
            }
            return Ok(self.state(Statement::Ipsec(Box::new(rule))));
        }
        cursor.reserved = words::IKED;
        let statement = match word.as_str() {
            "include" => return self.include(cursor),
            "ikev2" => {
                if let Some((place, word, known)) = ikev2::slip(cursor) {
                    let sentence = format!(
                        "\"{word}\" is taken for the rule's name: write {known}, or the name in quotes"
                    );
                    self.parsed.remark(Severity::Warning, place, Problem::says(sentence));
                }
                Statement::Ikev2(Box::new(ikev2::rule(cursor)?))
            }
            "set" => {
                cursor.next();
                Statement::Set(Spanned { value: globals::set(cursor)?, place })
            }
            "user" => Statement::User(globals::user(cursor)?),
            "radius" => {
                cursor.next();
                Statement::Radius(Spanned { value: globals::radius(cursor)?, place })
            }
            _ => {
                let found = cursor.describe();
                let what = "a rule (ikev2, ike, flow, esp, ah), set, include or a macro";
                // A word may begin a macro; what is wrong is that no '=' follows.
                cursor.at += usize::from(!word.is_empty());
                return Err((place, Problem::unknown(found, &word, what, STATEMENTS)));
            }
        };
        cursor.finish("the end of the line")?;
        Ok(self.state(statement))
    }

    fn state(&mut self, statement: Statement) -> Content {
        self.parsed.statements.push(statement);
        Content::Statement(self.parsed.statements.len() - 1)
    }

    /// `include "file"`: the lines of the file stand in the place of this one.
    fn include(&mut self, cursor: &mut Cursor) -> Result<Content, Fault> {
        cursor.next();
        let path = cursor.string("the name of a file")?;
        cursor.finish("the end of the line")?;
        let text = self.text(&path.value, path.place)?;
        self.lines(&path.value, &text);
        Ok(Content::Nothing)
    }

    /// `name = value …`.
    fn assignment(&mut self, cursor: &mut Cursor) -> Result<Content, Fault> {
        cursor.strict = true;
        cursor.reserved = words::BOTH;
        let name = cursor.string("a macro's name that is no keyword")?;
        if name.value.contains(char::is_whitespace) {
            let problem = Problem::says_too("macro name cannot contain whitespace");
            return Err((name.place, problem));
        }
        cursor.next();
        let mut value = cursor.string("a value in quotes")?.value;
        while !cursor.at_end() {
            value.push(' ');
            value.push_str(&cursor.string("the end of the line, or a word in quotes")?.value);
        }
        if cursor.broken {
            return Ok(Content::Nothing);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.value.chars().all(plain) {
            let sentence = format!(
                "the macro \"{}\" cannot be used: write letters, digits and _ in its name",
                name.value
            );
            self.parsed.remark(Severity::Warning, name.place, Problem::says(sentence));
        }
        self.macros.define(&name.value, &value);
        Ok(Content::Macro(name.value, value))
    }
}
