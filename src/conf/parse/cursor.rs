//! The tokens of one statement, taken one by one: words, numbers, hosts, quantities.

use super::{Fault, Problem};
use crate::conf::diagnostic::Place;
use crate::conf::ipsec::{Look, Mark};
use crate::conf::lex::{Token, TokenKind};
use crate::conf::syntax::{Host, Spanned, Word};

/// The tokens of one statement.
pub(in crate::conf) struct Cursor {
    pub(super) tokens: Vec<Token>,
    pub(super) at: usize,
    /// The place of the end of the line.
    pub(super) end: Place,
    /// Words that are strings only in quotes; sorted.
    pub(super) reserved: &'static [&'static str],
    /// Whether a number is no string.
    pub(super) strict: bool,
    /// Whether the line goes on with something that is no token.
    pub(super) broken: bool,
    /// What is to be looked at, in the order of the line.
    pub(super) marks: Vec<Mark>,
}

impl Cursor {
    pub(super) fn new(tokens: Vec<Token>, end: Place) -> Self {
        let (reserved, strict, broken) = (&[] as &[&str], false, false);
        Self { tokens, at: 0, end, reserved, strict, broken, marks: Vec::new() }
    }

    pub(in crate::conf) fn at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(in crate::conf) fn peek(&self) -> &TokenKind {
        self.tokens.get(self.at).map_or(&TokenKind::End, |t| &t.kind)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &TokenKind {
        self.tokens.get(self.at + ahead).map_or(&TokenKind::End, |t| &t.kind)
    }

    pub(in crate::conf) fn place(&self) -> Place {
        self.place_at(0)
    }

    pub(super) fn place_at(&self, ahead: usize) -> Place {
        self.tokens.get(self.at + ahead).map_or(self.end, |t| t.place)
    }

    pub(in crate::conf) fn describe(&self) -> String {
        self.tokens.get(self.at).map_or("the end of the line".to_owned(), Token::describe)
    }

    pub(in crate::conf) fn next(&mut self) {
        self.at += 1;
    }

    /// The word here, if it has no quotes.
    pub(in crate::conf) fn bare(&self) -> Option<&str> {
        match self.peek() {
            TokenKind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(in crate::conf) fn is(&self, word: &str) -> bool {
        self.bare() == Some(word)
    }

    /// Takes this word if it stands here.
    pub(in crate::conf) fn eat(&mut self, word: &str) -> bool {
        let here = self.is(word);
        self.at += usize::from(here);
        here
    }

    pub(in crate::conf) fn eat_punct(&mut self, mark: char) -> bool {
        let here = *self.peek() == TokenKind::Punct(mark);
        self.at += usize::from(here);
        here
    }

    /// The place of what was taken last.
    pub(in crate::conf) fn last_place(&self) -> Place {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(self.end, |t| t.place)
    }

    /// Something to be looked at, and where a remark about it stands.
    pub(in crate::conf) fn mark(&mut self, place: Place, look: Look) {
        self.marks.push(Mark { place: Spanned { value: (), place }, look });
    }

    pub(super) fn is_assignment(&self) -> bool {
        matches!(self.peek(), TokenKind::Word(_) | TokenKind::Quoted(_))
            && *self.peek_at(1) == TokenKind::Punct('=')
    }

    /// The fault of finding something else here.
    pub(in crate::conf) fn fault<T>(&self, expected: &str) -> Result<T, Fault> {
        Err((self.place(), Problem::found(self.describe(), expected)))
    }

    pub(in crate::conf) fn finish(&self, expected: &str) -> Result<(), Fault> {
        if self.at_end() { Ok(()) } else { self.fault(expected) }
    }

    pub(in crate::conf) fn punct(&mut self, mark: char) -> Result<(), Fault> {
        if self.eat_punct(mark) { Ok(()) } else { self.fault(&format!("'{mark}'")) }
    }

    /// A word or a quoted string.
    pub(in crate::conf) fn string(&mut self, expected: &str) -> Result<Spanned<String>, Fault> {
        let place = self.place();
        let value = match self.peek() {
            TokenKind::Word(text) if self.reserved.binary_search(&text.as_str()).is_ok() => {
                let found = format!("the keyword \"{text}\"");
                return Err((place, Problem::found(found, expected)));
            }
            TokenKind::Word(text) | TokenKind::Quoted(text) => text.clone(),
            TokenKind::Number(number) if !self.strict => number.to_string(),
            _ => return self.fault(expected),
        };
        self.next();
        Ok(Spanned { value, place })
    }

    pub(in crate::conf) fn number(
        &mut self,
        low: i64,
        high: i64,
        of: &str,
    ) -> Result<Spanned<i64>, Fault> {
        let place = self.place();
        match *self.peek() {
            TokenKind::Number(value) if (low..=high).contains(&value) => {
                self.next();
                Ok(Spanned { value, place })
            }
            _ => self.fault(&format!("a number of {of} from {low} to {high}")),
        }
    }

    /// A name or a number.
    pub(in crate::conf) fn word(&mut self, expected: &str) -> Result<Spanned<Word>, Fault> {
        let place = self.place();
        if let TokenKind::Number(number) = *self.peek() {
            self.next();
            return Ok(Spanned { value: Word::Number(number), place });
        }
        let name = self.string(expected)?;
        Ok(Spanned { value: Word::Name(name.value), place })
    }

    /// Seconds: a number, or one with a unit `s`, `m`, `h` or `d`.
    pub(in crate::conf) fn time(&mut self) -> Result<Spanned<u64>, Fault> {
        const UNITS: &[(char, u64)] = &[('s', 1), ('m', 60), ('h', 3600), ('d', 86400)];
        self.quantity(UNITS, u64::from(u32::MAX), "a time such as 3600, 30m, 4h or 2d")
    }

    /// Octets: a number, or one with a unit `K`, `M`, `G` or `T`.
    pub(in crate::conf) fn octets(&mut self) -> Result<Spanned<u64>, Fault> {
        const UNITS: &[(char, u64)] =
            &[('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30), ('t', 1 << 40)];
        self.quantity(UNITS, i64::MAX as u64, "a number of octets such as 512M or 4G")
    }

    fn quantity(
        &mut self,
        units: &[(char, u64)],
        limit: u64,
        expected: &str,
    ) -> Result<Spanned<u64>, Fault> {
        let place = self.place();
        let value = match self.peek() {
            TokenKind::Number(number) => u64::try_from(*number).ok(),
            TokenKind::Word(word) | TokenKind::Quoted(word) => scaled(word, units),
            _ => None,
        };
        let Some(value) = value.filter(|v| *v <= limit) else { return self.fault(expected) };
        self.next();
        Ok(Spanned { value, place })
    }

    /// A host word with a prefix length perhaps; `any` and `dynamic` are told apart by the caller.
    pub(in crate::conf) fn named_host(&mut self, expected: &str) -> Result<Spanned<Host>, Fault> {
        let start = self.string(expected)?;
        let (mut word, mut length) = (start.value, None);
        if self.eat_punct('/') {
            length = Some(self.number(0, i64::MAX, "bits")?.value);
        } else if let Some((address, bits)) = word.split_once('/') {
            let Ok(bits) = bits.parse() else {
                let problem = Problem::found(format!("\"{word}\""), "a prefix length behind '/'");
                return Err((start.place, problem));
            };
            (word, length) = (address.to_owned(), Some(bits));
        }
        Ok(Spanned { value: Host::Named { word, length }, place: start.place })
    }

    pub(in crate::conf) fn any_host(&mut self, expected: &str) -> Result<Spanned<Host>, Fault> {
        let place = self.place();
        if self.eat("any") {
            return Ok(Spanned { value: Host::Any, place });
        }
        self.named_host(expected)
    }
}

fn scaled(word: &str, units: &[(char, u64)]) -> Option<u64> {
    let unit = word.chars().last()?.to_ascii_lowercase();
    if unit.is_ascii_digit() {
        return word.parse().ok();
    }
    let (_, factor) = units.iter().find(|(u, _)| *u == unit)?;
    let digits = &word[..word.len() - 1];
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    plain.then(|| digits.parse::<u64>().ok()?.checked_mul(*factor)).flatten()
}
