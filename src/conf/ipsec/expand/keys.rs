//! The keys of manual SAs: hexadecimal digits, written or in a file.

use super::super::Keys;
use super::{Context, Failure, reason};
use crate::conf::parse::hexadecimal;
use crate::crypto::Secret;

/// The largest file with a key, in octets.
const KEY_FILE_LIMIT: usize = 1024;

pub(super) const NO_DIGITS: &str = "keys need to be specified in hex digits";

impl Context<'_> {
    pub(super) fn keys(
        &self,
        keys: Option<&Keys>,
    ) -> Result<(Option<Secret>, Option<Secret>), Failure> {
        let Some(keys) = keys else { return Ok((None, None)) };
        let one = |text: &Secret| self.key(text, keys.files);
        Ok((Some(one(&keys.out)?), keys.back.as_ref().map(one).transpose()?))
    }

    /// Hexadecimal digits, written or in a file, to octets.
    fn key(&self, text: &Secret, file: bool) -> Result<Secret, Failure> {
        let digits = self.digits(text, file).map_err(|sentence| Failure::Ends(None, sentence))?;
        let octets = pairs(&digits).map(|pair| octet(pair).or(self.lenient.then_some(0xff)));
        let octets: Option<Vec<u8>> = octets.collect();
        octets.map(Secret::new).ok_or(Failure::Says(NO_DIGITS.to_owned()))
    }

    /// The digits of a key; the error is one at which ipsecctl ends.
    pub(super) fn digits(&self, text: &Secret, file: bool) -> Result<Secret, String> {
        if !file {
            let octets = text.octets();
            return Ok(Secret::from(octets.strip_prefix(b"0x").unwrap_or(octets)));
        }
        let path = String::from_utf8_lossy(text.octets());
        let read = self.files.read(&path).map_err(|e| format!("open {path}: {}", reason(&e)))?;
        match read.octets.len() {
            0 => Err(format!("{path}: key too small")),
            length if length > KEY_FILE_LIMIT => Err(format!("{path}: key too large")),
            _ => Ok(Secret::from(read.octets.trim_ascii_end())),
        }
    }
}

pub(super) fn pairs(digits: &Secret) -> impl Iterator<Item = &[u8]> {
    digits.octets().chunks_exact(2)
}

pub(super) fn octet(pair: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(pair).ok()?;
    hexadecimal(text)?.first().copied()
}
