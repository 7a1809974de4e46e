//! What is wrong with a configuration, as data: where, what was found, what was expected.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest part of a line that is shown with a diagnostic, in characters.
const SHOWN: usize = 160;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// Legal and unwise.
    Warning,
}

/// One remark about a place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The file's name as it was asked for.
    pub file: String,
    /// The line, from 1; 0 where the whole file is meant.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What stands there, where a word is wrong.
    pub found: Option<String>,
    /// What could stand there.
    pub expected: Option<String>,
    /// The sentence for people (without the place).
    pub message: String,
    /// The line, or the part of a long line around the place.
    pub line_text: String,
    /// Where in `line_text` the place begins, in characters from 0, and how many it spans.
    pub mark: (u32, u32),
}

impl Diagnostic {
    /// One line without what stands in the file, which may be a key: for the log.
    pub fn brief(&self) -> String {
        self.to_string().lines().next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if self.severity == Severity::Warning {
            write!(f, " warning:")?;
        }
        write!(f, " {}", self.message)?;
        if self.line == 0 || self.line_text.is_empty() {
            return Ok(());
        }
        let (start, width) = self.mark;
        let carets = "^".repeat(width.max(1) as usize);
        write!(f, "\n    {}\n    ", self.line_text)?;
        for character in self.line_text.chars().take(start as usize) {
            f.write_str(if character == '\t' { "\t" } else { " " })?;
        }
        f.write_str(&carets)
    }
}

/// Where something stands: a file of the set, line and column from 1, width in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    pub(super) file: u32,
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) width: u32,
}

/// The part of a line around a mark that is worth showing, and the mark within it.
pub(super) fn excerpt(line: &str, column: u32, width: u32) -> (String, (u32, u32)) {
    let at = column.saturating_sub(1) as usize;
    let length = line.chars().count();
    let from = if length <= SHOWN { 0 } else { at.saturating_sub(SHOWN / 2) };
    let text: String = line
        .chars()
        .skip(from)
        .take(SHOWN)
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect();
    let room = SHOWN.saturating_sub(at - from).max(1);
    (text, ((at - from) as u32, width.clamp(1, room as u32)))
}

/// The known word nearest to an unknown one, if it is near enough to be a slip.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let allowed = ((word.chars().count() + 1) / 3).clamp(1, 3);
    let measured = known.into_iter().map(|candidate| (distance(word, candidate), candidate));
    measured.min_by_key(|(d, _)| *d).filter(|(d, _)| *d <= allowed).map(|(_, candidate)| candidate)
}

/// Edit distance with neighbouring letters exchanged counting as one.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &cb) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(ca != cb)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && ca == b[j - 1] && a[i - 1] == cb {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// All of it, with the lines shown: for whoever sits before the screen.
pub fn in_full(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        let known = ["passive", "active", "peer", "lifetime"];
        assert_eq!(nearest("pasive", known), Some("passive"));
        assert_eq!(nearest("peeer", known), Some("peer"));
        assert_eq!(nearest("lifteime", known), Some("lifetime"));
        assert_eq!(nearest("zebra", known), None);
    }

    #[test]
    fn a_long_line_is_shown_in_part() {
        let line = "x".repeat(100_000);
        let (text, mark) = excerpt(&line, 50_000, 90_000);
        assert_eq!(text.chars().count(), SHOWN);
        assert_eq!(mark, (80, 80));
    }
}
