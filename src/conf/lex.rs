//! Text to tokens, one logical line at a time: continuation lines, comments, quoted strings, macros.
//!
//! The rules are those of OpenBSD's configuration parsers: a macro's value is read as if it stood in
//! the text, but a `$` within it is not expanded again, so that no macro can refer to itself.

use std::cell::Cell;
use std::collections::HashMap;

use super::diagnostic::Place;

/// The longest token, in octets.
const TOKEN_LIMIT: usize = 8096;

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKind {
    /// A word without quotes: a keyword or a string.
    Word(String),
    /// A quoted string: never a keyword.
    Quoted(String),
    /// A whole number.
    Number(i64),
    /// One of `{ } ( ) , / = -` or a character that has no meaning here.
    Punct(char),
    /// The end of the line.
    End,
}

/// A token and where it stands (for what comes out of a macro: where the macro is used).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it is.
    pub place: Place,
}

impl Token {
    /// The token as a message quotes it.
    pub fn describe(&self) -> String {
        match &self.kind {
            TokenKind::Word(word) => format!("\"{}\"", shorten(word)),
            TokenKind::Quoted(text) => format!("the string \"{}\"", shorten(text)),
            TokenKind::Number(number) => format!("\"{number}\""),
            TokenKind::Punct(c) if c.is_control() => format!("the octet 0x{:02x}", *c as u32),
            TokenKind::Punct(c) => format!("'{c}'"),
            TokenKind::End => "the end of the line".to_owned(),
        }
    }
}

/// A word cut to what fits a message.
fn shorten(word: &str) -> String {
    match word.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &word[..at]),
        None => word.to_owned(),
    }
}

/// A fault of the text itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LexError {
    /// Where.
    pub place: Place,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
    /// What ipsecctl says of it.
    pub sentence: String,
    /// Whether the text ended in it.
    pub ended: bool,
}

/// The macros in force.
#[derive(Debug, Clone, Default)]
pub struct Macros {
    values: HashMap<String, Macro>,
    defined: usize,
}

#[derive(Debug, Clone)]
struct Macro {
    value: String,
    /// Of the command line.
    fixed: bool,
    used: Cell<bool>,
    /// Which definition it was.
    number: usize,
}

impl Macros {
    /// Those of the command line (`-D name=value`), which a file cannot change.
    pub fn fixed(definitions: &[(String, String)]) -> Self {
        let mut macros = Self::default();
        definitions.iter().for_each(|(name, value)| macros.insert(name, value, true));
        macros
    }

    /// `name = value` in a file.
    pub fn define(&mut self, name: &str, value: &str) {
        if !self.values.get(name).is_some_and(|known| known.fixed) {
            self.insert(name, value, false);
        }
    }

    /// The names of those that were not used, in the order of their definition.
    pub fn unused(&self) -> Vec<String> {
        let mut names: Vec<_> = self.values.iter().filter(|(_, it)| !it.used.get()).collect();
        names.sort_by_key(|(_, it)| it.number);
        names.into_iter().map(|(name, _)| name.clone()).collect()
    }

    fn insert(&mut self, name: &str, value: &str, fixed: bool) {
        self.defined += 1;
        let (value, used, number) = (value.to_owned(), Cell::new(false), self.defined);
        self.values.insert(name.to_owned(), Macro { value, fixed, used, number });
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.values.get(name)?;
        found.used.set(true);
        Some(&found.value)
    }
}

/// The tokens of a logical line and the place of its end; or those before a fault, and the fault.
pub type Line = Result<(Vec<Token>, Place), (Vec<Token>, LexError)>;

/// Reads the tokens of one file.
#[derive(Debug)]
pub struct Lexer {
    file: u32,
    text: Vec<char>,
    at: usize,
    line: u32,
    column: u32,
    /// The value of a macro that is being read, and where it is used.
    expansion: Vec<char>,
    expansion_at: usize,
    expansion_place: Place,
}

impl Lexer {
    /// A lexer at the start of a text.
    pub fn new(file: u32, text: &str) -> Self {
        Self {
            file,
            text: text.chars().collect(),
            at: 0,
            line: 1,
            column: 1,
            expansion: Vec::new(),
            expansion_at: 0,
            expansion_place: Place::default(),
        }
    }

    /// The tokens of the next logical line, without its end; the place of the end; `None` at the
    /// end of the text. After an error the next call goes on with the next line.
    pub fn line(&mut self, macros: &Macros) -> Option<Line> {
        if self.at >= self.text.len() && !self.expanding() {
            return None;
        }
        let mut tokens = Vec::new();
        loop {
            match self.token(macros) {
                Ok(Token { kind: TokenKind::End, place }) => return Some(Ok((tokens, place))),
                Ok(token) => tokens.push(token),
                Err(error) => {
                    self.skip_line();
                    return Some(Err((tokens, error)));
                }
            }
        }
    }

    fn expanding(&self) -> bool {
        self.expansion_at < self.expansion.len()
    }

    /// The next character, continuation lines joined; `escaped` if a backslash stood before it.
    fn peek(&mut self) -> Option<(char, bool)> {
        loop {
            let (text, at) = match self.expanding() {
                true => (&self.expansion, self.expansion_at),
                false => (&self.text, self.at),
            };
            let c = *text.get(at)?;
            if c != '\\' {
                return Some((c, false));
            }
            match text.get(at + 1) {
                Some('\n') => {
                    self.advance();
                    self.advance();
                }
                Some(&next) => return Some((next, true)),
                None => return Some((c, false)),
            }
        }
    }

    /// Takes what `peek` showed.
    fn take(&mut self) -> Option<char> {
        let (c, escaped) = self.peek()?;
        if escaped {
            self.advance();
        }
        self.advance();
        Some(c)
    }

    /// Takes one character as it stands.
    fn advance(&mut self) -> Option<char> {
        if self.expanding() {
            self.expansion_at += 1;
            return self.expansion.get(self.expansion_at - 1).copied();
        }
        let c = *self.text.get(self.at)?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn place(&self) -> Place {
        match self.expanding() {
            true => self.expansion_place,
            false => Place { file: self.file, line: self.line, column: self.column, width: 1 },
        }
    }

    /// The place from a start to here.
    fn since(&self, start: Place) -> Place {
        let here = Place { file: self.file, line: self.line, column: self.column, width: 1 };
        if self.expanding() || here.line != start.line || here.column <= start.column {
            return start;
        }
        Place { width: start.width.max(here.column - start.column), ..start }
    }

    fn skip_line(&mut self) {
        self.expansion_at = self.expansion.len();
        while self.take().is_some_and(|c| c != '\n') {}
    }

    fn token(&mut self, macros: &Macros) -> Result<Token, LexError> {
        loop {
            while matches!(self.peek(), Some((' ' | '\t' | '\r', _))) {
                self.take();
            }
            if matches!(self.peek(), Some(('#', false))) {
                while self.peek().is_some_and(|(c, _)| c != '\n') {
                    self.take();
                }
            }
            let from_macro = self.expanding();
            if !from_macro && matches!(self.peek(), Some(('$', false))) {
                self.expand(macros)?;
                continue;
            }
            let place = self.place();
            let Some((c, escaped)) = self.peek() else {
                return Ok(Token { kind: TokenKind::End, place });
            };
            if c == '\n' && !escaped {
                self.take();
                return Ok(Token { kind: TokenKind::End, place });
            }
            let kind = match c {
                '"' | '\'' if !escaped => self.quoted(c, place)?,
                _ => self.bare(place)?,
            };
            return Ok(Token { kind, place: self.since(place) });
        }
    }

    /// `$name`: its value is read next.
    fn expand(&mut self, macros: &Macros) -> Result<(), LexError> {
        let start = self.place();
        self.take();
        let mut name = String::new();
        while let Some((c, _)) = self.peek().filter(|(c, _)| is_macro_character(*c)) {
            name.push(c);
            self.take();
        }
        let place = self.since(start);
        let value = macros.get(&name).ok_or_else(|| LexError {
            place,
            found: format!("macro '{}' not defined", shorten(&name)),
            expected: "a name that is defined above, or by -D".to_owned(),
            sentence: format!("macro '{}' not defined", shorten(&name)),
            ended: false,
        })?;
        self.expansion = value.chars().collect();
        self.expansion_at = 0;
        self.expansion_place = place;
        Ok(())
    }

    fn quoted(&mut self, quote: char, start: Place) -> Result<TokenKind, LexError> {
        self.advance();
        let mut text = String::new();
        loop {
            let Some(c) = self.advance() else {
                return Err(LexError {
                    place: start,
                    found: "a quoted string without end".to_owned(),
                    expected: format!("a closing {quote}"),
                    sentence: "reached end of file while parsing quoted string".to_owned(),
                    ended: true,
                });
            };
            match c {
                '\n' => continue,
                '\\' => match self.raw_peek() {
                    Some(next) if next == quote || next == ' ' || next == '\t' => {
                        self.advance();
                        text.push(next);
                    }
                    Some('\n') => {
                        self.advance();
                    }
                    _ => text.push('\\'),
                },
                c if c == quote => return Ok(TokenKind::Quoted(text)),
                c => text.push(c),
            }
            if text.len() > TOKEN_LIMIT {
                return Err(too_long(start));
            }
        }
    }

    fn raw_peek(&self) -> Option<char> {
        match self.expanding() {
            true => self.expansion.get(self.expansion_at).copied(),
            false => self.text.get(self.at).copied(),
        }
    }

    /// A word, a number or a single character.
    fn bare(&mut self, start: Place) -> Result<TokenKind, LexError> {
        let Some(first) = self.take() else { return Ok(TokenKind::End) };
        let negative = first == '-' && self.peek().is_some_and(|(c, _)| c.is_ascii_digit());
        if !starts_word(first) && !negative {
            return Ok(TokenKind::Punct(first));
        }
        let mut word = String::from(first);
        while let Some((c, _)) = self.peek().filter(|(c, _)| continues_word(*c)) {
            self.take();
            word.push(c);
            if word.len() > TOKEN_LIMIT {
                return Err(too_long(start));
            }
        }
        let digits = word.strip_prefix('-').unwrap_or(&word);
        let ends = self.peek().is_none_or(|(c, _)| ends_number(c));
        if !ends || !digits.chars().all(|c| c.is_ascii_digit()) {
            return Ok(TokenKind::Word(word));
        }
        word.parse().map(TokenKind::Number).map_err(|_| LexError {
            place: self.since(start),
            found: format!("the number \"{}\"", shorten(&word)),
            expected: "a number of 63 bits".to_owned(),
            sentence: too_far(&word),
            ended: false,
        })
    }
}

fn too_long(place: Place) -> LexError {
    let found = format!("a word of more than {TOKEN_LIMIT} octets");
    let sentence = "string too long".to_owned();
    LexError { place, found, expected: "a shorter one".to_owned(), sentence, ended: false }
}

/// What strtonum(3) says of a number that does not fit.
fn too_far(word: &str) -> String {
    let size = if word.starts_with('-') { "small" } else { "large" };
    format!("\"{}\" invalid number: too {size}", shorten(word))
}

fn is_macro_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn starts_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '*')
}

fn continues_word(c: char) -> bool {
    c.is_ascii_graphic() && !"(){}<>!=/#,".contains(c)
}

fn ends_number(c: char) -> bool {
    c.is_ascii_whitespace() || "),/}=".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str, macros: &Macros) -> Vec<TokenKind> {
        let mut lexer = Lexer::new(0, text);
        let (tokens, _) = lexer.line(macros).unwrap().unwrap();
        tokens.into_iter().map(|t| t.kind).collect()
    }

    fn word(text: &str) -> TokenKind {
        TokenKind::Word(text.to_owned())
    }

    #[test]
    fn numbers_words_and_marks() {
        let found =
            kinds("spi 0x10:0x20 port 500, 10.0.0.1/8 ::1/128 -1 # end", &Macros::default());
        let expected = vec![
            word("spi"),
            word("0x10:0x20"),
            word("port"),
            TokenKind::Number(500),
            TokenKind::Punct(','),
            word("10.0.0.1"),
            TokenKind::Punct('/'),
            TokenKind::Number(8),
            word("::1"),
            TokenKind::Punct('/'),
            TokenKind::Number(128),
            TokenKind::Number(-1),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_macro_is_read_as_text_and_not_twice() {
        let mut macros = Macros::default();
        macros.define("net", "10.1");
        macros.define("loop", "$loop");
        assert_eq!(kinds("$net.2.3", &macros), vec![word("10.1.2.3")]);
        assert_eq!(kinds("$loop", &macros), vec![TokenKind::Punct('$'), word("loop")]);
    }

    #[test]
    fn quotes_continuation_and_comments() {
        let macros = Macros::default();
        assert_eq!(kinds("a \\\n b", &macros), vec![word("a"), word("b")]);
        assert_eq!(kinds("'x y' # c", &macros), vec![TokenKind::Quoted("x y".to_owned())]);
        assert_eq!(kinds(r#""a\"b""#, &macros), vec![TokenKind::Quoted("a\"b".to_owned())]);
        let error = Lexer::new(0, "\"open\nmore").line(&macros).unwrap().unwrap_err().1;
        assert_eq!((error.place.line, error.place.column), (1, 1));
    }
}
