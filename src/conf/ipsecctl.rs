//! What ipsecctl(8) prints of a file: `-n -v`, with `-d` and `-k`.

use super::diagnostic::{Diagnostic, Place, Severity};
use super::ipsec::{
    Bundles, DefaultPeer, Failure, Look, Mark, Rule, Seen, expand, look, reason, write_entry,
};
use super::parse::{Content, Line, Parsed, Problem, Stop, read};
use super::source::{Files, Names};
use super::syntax::Statement;

pub use super::ipsec::{Entry, Style};

/// What a file comes to.
#[derive(Debug, Default)]
pub struct Listing {
    /// For the standard output, if it is to be verbose.
    pub output: String,
    /// For the standard error: each line that ipsecctl would print.
    pub errors: String,
    /// What is to be loaded (or deleted), in order; only to be used if nothing failed.
    pub entries: Vec<Entry>,
    /// Rules that are not of ipsec.conf(5): a kernel has nothing of them.
    pub others: usize,
    /// The same errors with places and marks.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the file is bad.
    pub failed: bool,
}

/// Reads a file of ipsec.conf(5) rules and says what ipsecctl would say of it.
pub fn list(
    path: &str,
    definitions: &[(String, String)],
    files: &dyn Files,
    names: &dyn Names,
    style: Style,
) -> Listing {
    let mut parsed = read(path, definitions, files, true);
    let lines = std::mem::take(&mut parsed.lines);
    let statements = std::mem::take(&mut parsed.statements);
    let failed = parsed.has_errors();
    let mut lister = Lister {
        parsed,
        names,
        files,
        style,
        listing: Listing { failed, ..Listing::default() },
        bundles: Bundles::default(),
        default_peer: DefaultPeer::default(),
        quiet: 0,
        swallow: false,
        number: 0,
    };
    let whole = lines.iter().try_for_each(|line| lister.line(line, &statements));
    let Lister { mut parsed, mut listing, .. } = lister;
    listing.failed |= parsed.has_errors();
    if style.numbers && whole.is_ok() {
        for name in &parsed.unused {
            listing.errors.push_str(&format!("warning: macro '{name}' not used\n"));
        }
    }
    match whole {
        Err(last) => listing.errors.push_str(&format!("ipsecctl: {last}\n")),
        Ok(()) if listing.failed => {
            let last = "ipsecctl: Syntax error in config file: ipsec rules not loaded\n";
            listing.errors.push_str(last);
        }
        Ok(()) => {}
    }
    parsed.sort();
    listing.diagnostics = parsed.diagnostics;
    listing
}

/// A file on its way through ipsecctl, whose parser is made by yacc(1).
struct Lister<'a> {
    parsed: Parsed,
    names: &'a dyn Names,
    files: &'a dyn Files,
    style: Style,
    listing: Listing,
    bundles: Bundles,
    default_peer: DefaultPeer,
    /// How many tokens must be taken after a fault before the parser tells of the next one.
    quiet: usize,
    /// Whether the line is lost: the end of the one before it went with a faulty token.
    swallow: bool,
    /// The number of the next entry.
    number: usize,
}

/// The words at which ipsecctl ends at once.
type Last = String;

impl Lister<'_> {
    fn line(&mut self, line: &Line, statements: &[Statement]) -> Result<(), Last> {
        if self.swallow {
            self.text(line);
            if line.text.is_none() {
                let empty = matches!(line.content, Content::Nothing) && line.stop.is_none();
                let more = if empty { line.tokens } else { 0 };
                (self.swallow, self.quiet) = (false, 2usize.saturating_sub(more));
            }
            return Ok(());
        }
        for mark in &line.marks {
            if !self.mark(mark)? {
                self.recover(line);
                return Ok(());
            }
        }
        if let Some((place, stop)) = &line.stop {
            let shown = self.quiet <= line.tokens;
            let broken = line.text.as_ref().is_some_and(|(at, ..)| at == place);
            if broken {
                self.text(line);
            }
            match stop {
                Stop::Syntax if shown => self.say(*place, "syntax error"),
                Stop::Syntax | Stop::Silent => {}
                Stop::Says(sentence) => self.say(*place, sentence),
                Stop::Include(path, error) => {
                    let line = format!("ipsecctl: pushfile: {path}: {}\n", reason(error));
                    self.listing.errors.push_str(&line);
                    self.say(*place, &format!("failed to include file {path}"));
                }
            }
            if broken {
                self.swallow = true;
                return Ok(());
            }
            self.recover(line);
            return Ok(());
        }
        self.quiet = self.quiet.saturating_sub(line.tokens + 1);
        match &line.content {
            Content::Nothing => Ok(()),
            Content::Macro(name, value) => {
                self.listing.output.push_str(&format!("{name} = \"{value}\"\n"));
                Ok(())
            }
            Content::Wrong(rule) => self.rule(rule),
            Content::Statement(index) => match statements.get(*index) {
                Some(Statement::Ipsec(rule)) => self.rule(rule),
                Some(other) => {
                    self.listing.others += 1;
                    let text = super::print(std::slice::from_ref(other), self.style.keys);
                    self.listing.output.push_str(&text);
                    Ok(())
                }
                None => Ok(()),
            },
        }
    }

    /// After a fault the rest of the line is passed over.
    fn recover(&mut self, line: &Line) {
        self.quiet = 2;
        self.text(line);
        self.swallow = line.text.is_some();
    }

    /// What the lexer says of the text itself.
    fn text(&mut self, line: &Line) {
        if let Some((place, sentence, _)) = &line.text {
            self.say(*place, sentence);
        }
    }

    fn say(&mut self, place: Place, sentence: &str) {
        let named = self.parsed.file_name(place);
        let name = if named == "-" { "stdin" } else { named };
        self.listing.errors.push_str(&format!("{name}: {}: {sentence}\n", place.line));
    }

    /// Looks at a part of a rule; whether the reading goes on.
    fn mark(&mut self, mark: &Mark) -> Result<bool, Last> {
        let place = mark.place.place;
        let (notes, goes_on) = match look(&mark.look, self.names, self.files) {
            Seen::Notes(notes) => (notes, true),
            Seen::Ends(last) => {
                self.error(place, &last);
                return Err(last);
            }
            Seen::Stop(before, sentence) => {
                let before = before.map(|before| format!("{before}\n"));
                self.listing.errors.push_str(&before.unwrap_or_default());
                (vec![sentence], false)
            }
        };
        for sentence in &notes {
            self.say(place, sentence);
            if !matches!(mark.look, Look::Complaint(..)) {
                self.error(place, sentence);
            }
        }
        Ok(goes_on)
    }

    fn error(&mut self, place: Place, sentence: &str) {
        self.parsed.remark(Severity::Error, place, Problem::says(sentence));
    }

    fn rule(&mut self, rule: &Rule) -> Result<(), Last> {
        for (place, sentence) in rule.warnings() {
            self.parsed.remark(Severity::Warning, place, Problem::says(sentence));
        }
        let (entries, failure) = expand(rule, &mut self.bundles, self.names, self.files, true);
        for entry in &entries {
            self.entry(entry, rule.end());
        }
        self.listing.entries.extend(entries);
        let Some(failure) = failure else { return Ok(()) };
        self.error(rule.end(), failure.sentence());
        match failure {
            Failure::Says(sentence) => {
                self.say(rule.end(), &sentence);
                self.quiet = 2;
                Ok(())
            }
            Failure::Expands(sentence) => {
                self.say(rule.end(), &sentence);
                Ok(())
            }
            Failure::Ends(said, last) => {
                if let Some(sentence) = said {
                    self.say(rule.end(), &sentence);
                }
                Err(last)
            }
        }
    }

    fn entry(&mut self, entry: &Entry, place: Place) {
        for sentence in self.default_peer.compare(entry) {
            self.say(place, sentence);
            self.parsed.remark(Severity::Warning, place, Problem::says(sentence));
        }
        if self.style.numbers {
            self.listing.output.push_str(&format!("@{} ", self.number));
        }
        self.number += 1;
        let written = write_entry(&mut self.listing.output, entry, self.style, self.names);
        if let Err(complaint) = written {
            self.listing.errors.push_str(&format!("ipsecctl: {complaint}\n"));
            self.parsed.remark(Severity::Warning, place, Problem::says(complaint));
        } else if !self.style.delete {
            self.default_peer.printed(entry, self.names);
        }
    }
}

/// One entry as it is shown, without keys.
pub fn rule(entry: &Entry, names: &dyn Names) -> String {
    let mut out = String::new();
    match write_entry(&mut out, entry, Style::default(), names) {
        Ok(()) => out.trim_end().replace(" \\\n\t", " "),
        Err(complaint) => complaint,
    }
}
