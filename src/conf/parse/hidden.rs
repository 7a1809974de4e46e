//! What of a text is not shown when a line is shown: remarks about it go to logs, and a line may
//! hold a key.
//!
//! Faulty text cannot be trusted to have its secrets where the grammar has them. So this looks at
//! words alone, and in doubt hides more: what stands behind a word that announces a secret or is a
//! slip of one, a string behind an unknown word, what goes on behind a hidden token without being a
//! keyword (a secret without quotes), passwords of users, and the values of macros.

use std::ops::Range;

use super::words;
use crate::conf::CfgOption;
use crate::conf::diagnostic::nearest;

/// The words behind which a secret stands; sorted.
const ANNOUNCE: &[&str] = &["authkey", "enckey", "psk", "secret"];

/// Words of the rules that are in neither list of keywords.
const OTHERS: &[&str] = &[
    "accounting",
    "client",
    "ecdsa256",
    "ecdsa384",
    "ecdsa521",
    "hybrid",
    "listen",
    "on",
    "ondemand",
    "radius",
    "reauth",
    "rfc7427",
    "server",
    "signature",
    "xauth",
];

/// Where secrets stand in a text, or may stand: ranges of octets, in order.
pub(super) fn hidden(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut tokens = Tokens { text, at: 0 };
    let mut line = LineSoFar::default();
    while let Some((range, token)) = tokens.next() {
        if token == Token::End {
            line = LineSoFar::default();
        } else if line.hides(&token, &range) {
            found.push(range);
        }
    }
    found
}

/// A token, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Quoted,
    Mark(char),
    End,
}

/// What stands in a logical line before the next token.
#[derive(Debug, Default)]
struct LineSoFar {
    /// How many tokens.
    count: usize,
    /// Whether all that follows is hidden: a password, or a macro's value.
    rest: bool,
    /// Whether it begins with `user`.
    user: bool,
    before: Before,
    /// Where the token before ends.
    end: usize,
}

/// What the token before was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Before {
    /// Nothing that a secret follows.
    #[default]
    Plain,
    /// A word that announces a secret.
    Announced,
    /// A word that is no keyword.
    Unknown,
    /// Something hidden in quotes.
    Closed,
    /// Something hidden without quotes, which may go on.
    Open,
}

impl LineSoFar {
    /// Takes the next token; whether it is hidden.
    fn hides(&mut self, token: &Token<'_>, range: &Range<usize>) -> bool {
        let (count, before, glued) = (self.count, self.before, self.end == range.start);
        (self.count, self.end) = (count + 1, range.end);
        self.rest |= (self.user && count == 2) || (count == 1 && *token == Token::Mark('='));
        let hides = match token {
            Token::End | Token::Mark(_) => false,
            Token::Word(word) if word.starts_with('$') => false,
            _ if self.rest => true,
            Token::Quoted => before != Before::Plain,
            Token::Word("file") => false,
            Token::Word(word) => match before {
                Before::Announced => true,
                Before::Open => !is_keyword(word),
                Before::Closed => glued || !is_nearly_keyword(word),
                Before::Unknown => word.starts_with("0x"),
                Before::Plain => false,
            },
        };
        self.user |= count == 0 && *token == Token::Word("user");
        self.before = match token {
            Token::Quoted if hides => Before::Closed,
            _ if hides => Before::Open,
            Token::Word(word) if ANNOUNCE.contains(word) => Before::Announced,
            Token::Word(word) if is_keyword(word) => Before::Plain,
            Token::Word(word) if nearest(word, ANNOUNCE.iter().copied()).is_some() => {
                Before::Announced
            }
            Token::Word(word) if word.chars().all(|c| c.is_ascii_alphabetic()) => Before::Unknown,
            _ => Before::Plain,
        };
        hides
    }
}

/// The keywords of all rules.
const KEYWORDS: [&[&str]; 3] = [words::IPSEC, words::IKED, OTHERS];

fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|list| list.binary_search(&word).is_ok())
        || CfgOption::from_word(word).is_some()
}

/// Whether it is a keyword or a slip of one.
fn is_nearly_keyword(word: &str) -> bool {
    nearest(word, KEYWORDS.iter().flat_map(|list| list.iter().copied())).is_some()
}

/// Cuts a text into tokens roughly as the lexer does; it never fails.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take_while(&mut self, takes: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&takes) {
            self.take();
        }
    }

    fn next(&mut self) -> Option<(Range<usize>, Token<'a>)> {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\r'));
            let continues = self.text.get(self.at..)?.starts_with("\\\n");
            if !continues {
                break;
            }
            self.at += 2;
        }
        let start = self.at;
        let token = match self.take()? {
            '\n' => Token::End,
            '#' => {
                self.take_while(|c| c != '\n');
                return self.next();
            }
            quote @ ('"' | '\'') => {
                self.quoted(quote);
                Token::Quoted
            }
            c @ ('(' | ')' | '{' | '}' | ',' | '/' | '=' | '<' | '>' | '!') => Token::Mark(c),
            _ => {
                let ends = |c: char| c.is_whitespace() || "(){}<>!=/#,\"'".contains(c);
                self.take_while(|c| !ends(c));
                Token::Word(&self.text[start..self.at])
            }
        };
        Some((start..self.at, token))
    }

    /// To the closing quote; if there is none, to the end of the text.
    fn quoted(&mut self, quote: char) {
        while let Some(c) = self.take() {
            if c == quote {
                return;
            }
            if c == '\\' {
                self.take();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with an asterisk for each character that is hidden.
    fn shown(text: &str) -> String {
        let ranges = hidden(text);
        let is_hidden = |at: usize| ranges.iter().any(|range| range.contains(&at));
        let star = |(at, c)| if is_hidden(at) { '*' } else { c };
        text.char_indices().map(star).collect()
    }

    #[test]
    fn secrets_are_hidden_where_the_grammar_has_them() {
        let rows = [
            ("ikev2 \"a\" from any to any psk \"x y\" tag \"t\"", "psk ***** tag \"t\""),
            ("psk file \"/etc/key\" dstid a.b", "psk file \"/etc/key\" dstid a.b"),
            ("esp authkey 0xabc:0xdef enckey file \"k\"", "authkey *********** enckey file \"k\""),
            ("user \"alice\" \"pass\"", "user \"alice\" ******"),
            ("user alice pass word", "user alice **** ****"),
            ("radius server 10.0.0.1 port 1812 secret \"s\"", "port 1812 secret ***"),
            ("key = \"0x00\" \"11\"", "key = ****** ****"),
            ("ikev2 from any to any psk $key", "psk $key"),
            ("from any psk \\\n\t\"x\" quick", "psk \\\n\t*** quick"),
        ];
        for (text, end) in rows {
            assert!(shown(text).ends_with(end), "{}", shown(text));
        }
    }

    #[test]
    fn the_other_words_are_sorted() {
        assert!(ANNOUNCE.is_sorted() && OTHERS.is_sorted());
    }

    #[test]
    fn secrets_are_hidden_where_a_slip_has_put_them() {
        let rows = [
            ("ikev2 from any to any pks \"x y\"", "pks *****"),
            ("ikev2 from any to any pks word", "pks ****"),
            (
                "from any psk correct horse battery local 10.0.0.1",
                "psk ******* ***** ******* local 10.0.0.1",
            ),
            ("from any psk \"open", "psk *****"),
            ("from any sharedkey \"x\"", "sharedkey ***"),
            ("from any psk \"a\"b", "psk ****"),
            ("from any psk \"a\" tagg \"t\"", "psk *** tagg ***"),
            ("ikev2 office pasive esp", "ikev2 office pasive esp"),
            ("ike from 10.0.0.1 to \"b\" # psk", "to \"b\" # psk"),
        ];
        for (text, end) in rows {
            assert!(shown(text).ends_with(end), "{}", shown(text));
        }
    }
}
