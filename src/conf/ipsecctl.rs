//! What ipsecctl(8) prints of a file: `-n -v`, with `-d` and `-k`.

use super::diagnostic::{Diagnostic, Place, Severity};
use super::ipsec::{Bundles, expand, write_entry};
use super::parse::{Problem, parse};
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
    let mut parsed = parse(path, definitions, files);
    let mut listing = Listing::default();
    let mut lines: Vec<((u32, u32), String)> = Vec::new();
    for (place, sentences) in &parsed.faults {
        let named = parsed.file_name(*place);
        let name = if named == "-" { "stdin" } else { named };
        let of = |sentence: &String| format!("{name}: {}: {sentence}\n", place.line);
        lines.push(((place.file, place.line), sentences.iter().map(of).collect()));
    }
    let statements = std::mem::take(&mut parsed.statements);
    let mut macros = std::mem::take(&mut parsed.macros).into_iter().peekable();
    let mut bundles = Bundles::default();
    let mut complaints = Vec::new();
    for (index, statement) in statements.iter().enumerate() {
        while let Some((_, name, value)) = macros.next_if(|(before, ..)| *before <= index) {
            listing.output.push_str(&format!("{name} = \"{value}\"\n"));
        }
        let Statement::Ipsec(rule) = statement else {
            listing.output.push_str(&super::print(std::slice::from_ref(statement), style.keys));
            continue;
        };
        for sentence in rule.warnings() {
            let problem = Problem::says(sentence);
            parsed.remark(Severity::Warning, rule.end(), problem);
        }
        let (entries, fault) = expand(rule, &mut bundles, names, files);
        for entry in &entries {
            if let Err(complaint) = write_entry(&mut listing.output, entry, style, names) {
                complaints.push(complaint);
            }
        }
        listing.entries.extend(entries);
        if let Some(sentence) = fault {
            let place = rule.end();
            let named = parsed.file_name(place);
            let name = if named == "-" { "stdin" } else { named };
            let line = format!("{name}: {}: {sentence}\n", place.line);
            lines.push(((place.file, place.line), line));
            parsed.remark(Severity::Error, place, Problem::says(sentence));
        }
    }
    for (_, name, value) in macros {
        listing.output.push_str(&format!("{name} = \"{value}\"\n"));
    }
    lines.sort_by_key(|(place, _)| *place);
    listing.errors = lines.into_iter().map(|(_, line)| line).collect();
    for complaint in &complaints {
        listing.errors.push_str(&format!("ipsecctl: {complaint}\n"));
        let problem = Problem::says(complaint.clone());
        parsed.remark(Severity::Error, Place::default(), problem);
    }
    listing.failed = parsed.has_errors() && complaints.is_empty();
    if listing.failed {
        let last = "ipsecctl: Syntax error in config file: ipsec rules not loaded\n";
        listing.errors.push_str(last);
    }
    parsed.sort();
    listing.diagnostics = parsed.diagnostics;
    listing
}
