//! Key derivation, ciphers and key exchange proven on published vectors.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ciphers;
mod groups;
mod ikev1;
mod kdf;
mod prfs;

/// Octets of a hexadecimal text; blanks are skipped.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
