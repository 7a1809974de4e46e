//! Block ciphers in CBC mode, without integrity: the protection of IKEv1's messages (RFC 2409 appendix
//! B), where the integrity is a payload's business.
//!
//! Blowfish and CAST are the library's legacy: OpenSSL 3 has them in a provider that its configuration
//! may leave out. Whether they are there is found out by asking, and they are refused by name.

use std::sync::OnceLock;

use openssl::nid::Nid;
use openssl::symm::{Cipher as Raw, Crypter, Mode};

use super::{Error, Secret};
use crate::wire::iana::v2::EncryptionId;

/// The most octets of a block.
pub const MAX_BLOCK: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Aes,
    TripleDes,
    Blowfish,
    Cast,
}

/// A negotiated cipher without its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    kind: Kind,
    /// Octets of the key.
    key: u8,
}

impl Block {
    /// The cipher of this number and key length in bits.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] with the name of what is not computed here, or not by the library at hand.
    pub fn new(encryption: EncryptionId, key_bits: Option<u16>) -> Result<Self, Error> {
        let named = || match key_bits {
            Some(bits) => format!("{encryption}-{bits}"),
            None => encryption.to_string(),
        };
        let (kind, bits) = match (encryption, key_bits) {
            (EncryptionId::ENCR_AES_CBC, Some(bits @ (128 | 192 | 256))) => (Kind::Aes, bits),
            (EncryptionId::ENCR_3DES, None | Some(192)) => (Kind::TripleDes, 192),
            // RFC 2451 section 2.1: the default where no length is given.
            (EncryptionId::ENCR_BLOWFISH, bits @ (None | Some(40..=448))) => {
                (Kind::Blowfish, bits.unwrap_or(128))
            }
            (EncryptionId::ENCR_CAST, bits @ (None | Some(40..=128))) => {
                (Kind::Cast, bits.unwrap_or(128))
            }
            _ => return Err(Error::Unsupported(named())),
        };
        let octets = match bits % 8 {
            0 => u8::try_from(bits / 8).map_err(|_| Error::Unsupported(named()))?,
            _ => return Err(Error::Unsupported(named())),
        };
        match kind.is_there() {
            true => Ok(Self { kind, key: octets }),
            false => Err(Error::Unsupported(format!(
                "{} (the cryptographic library leaves it out; OpenSSL 3 has it in its legacy \
                 provider, which openssl.cnf must activate)",
                named()
            ))),
        }
    }

    /// Octets of its key.
    pub fn key_len(self) -> usize {
        self.key.into()
    }

    /// Octets of its block, and of an IV.
    pub fn block_len(self) -> usize {
        if self.kind == Kind::Aes { 16 } else { 8 }
    }

    /// Encrypts `text` in place.
    ///
    /// # Errors
    ///
    /// A key or an IV of the wrong length, text that is no whole number of blocks, the library failing.
    pub fn encrypt(self, key: &Secret, iv: &[u8], text: &mut [u8]) -> Result<(), Error> {
        self.run(Mode::Encrypt, key, iv, text)
    }

    /// Decrypts `text` in place.
    ///
    /// # Errors
    ///
    /// As [`Block::encrypt`].
    pub fn decrypt(self, key: &Secret, iv: &[u8], text: &mut [u8]) -> Result<(), Error> {
        self.run(Mode::Decrypt, key, iv, text)
    }

    fn run(self, mode: Mode, key: &Secret, iv: &[u8], text: &mut [u8]) -> Result<(), Error> {
        let block = self.block_len();
        let lengths =
            [("the encryption key", self.key_len(), key.len()), ("the IV", block, iv.len())];
        for (what, wanted, found) in lengths {
            if wanted != found {
                return Err(Error::Length { what, wanted, found });
            }
        }
        if !text.len().is_multiple_of(block) {
            return Err(Error::BadLength);
        }
        let raw = self.kind.raw(self.key).ok_or_else(|| Error::Library("no cipher".into()))?;
        let mut crypter = Crypter::new(raw, mode, key.octets(), Some(iv))?;
        crypter.pad(false);
        // The library wants room for one block more than it is given.
        let mut out = zeroize::Zeroizing::new(vec![0; text.len() + block]);
        let done = crypter.update(text, &mut out)?;
        let last = crypter.finalize(&mut out[done..])?;
        match out.get(..done + last) {
            Some(result) if result.len() == text.len() => text.copy_from_slice(result),
            _ => return Err(Error::BadLength),
        }
        Ok(())
    }
}

impl Kind {
    fn raw(self, key: u8) -> Option<Raw> {
        match (self, key) {
            (Kind::Aes, 16) => Some(Raw::aes_128_cbc()),
            (Kind::Aes, 24) => Some(Raw::aes_192_cbc()),
            (Kind::Aes, _) => Some(Raw::aes_256_cbc()),
            (Kind::TripleDes, _) => Some(Raw::des_ede3_cbc()),
            (Kind::Blowfish, _) => Raw::from_nid(Nid::BF_CBC),
            (Kind::Cast, _) => Raw::from_nid(Nid::CAST5_CBC),
        }
    }

    /// Whether the library at hand computes it.
    fn is_there(self) -> bool {
        static BLOWFISH: OnceLock<bool> = OnceLock::new();
        static CAST: OnceLock<bool> = OnceLock::new();
        let asked = || {
            let raw = self.raw(16);
            raw.is_some_and(|raw| Crypter::new(raw, Mode::Encrypt, &[1; 16], Some(&[0; 8])).is_ok())
        };
        match self {
            Kind::Aes | Kind::TripleDes => true,
            Kind::Blowfish => *BLOWFISH.get_or_init(asked),
            Kind::Cast => *CAST.get_or_init(asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_is_decrypted_to_the_same() {
        let rows = [
            (EncryptionId::ENCR_AES_CBC, Some(128)),
            (EncryptionId::ENCR_AES_CBC, Some(192)),
            (EncryptionId::ENCR_AES_CBC, Some(256)),
            (EncryptionId::ENCR_3DES, None),
        ];
        for (id, bits) in rows {
            let block = Block::new(id, bits).unwrap();
            let key = Secret::new((1..).take(block.key_len()).collect());
            let iv = vec![7; block.block_len()];
            let text: Vec<u8> = (0..64).collect();
            let mut octets = text.clone();
            block.encrypt(&key, &iv, &mut octets).unwrap();
            assert_ne!(octets, text);
            block.decrypt(&key, &iv, &mut octets).unwrap();
            assert_eq!(octets, text);
            assert_eq!(block.encrypt(&key, &iv, &mut [0; 7]), Err(Error::BadLength));
            assert!(block.encrypt(&key, &iv[1..], &mut [0; 16]).is_err());
            assert!(block.encrypt(&Secret::from(&[1][..]), &iv, &mut [0; 16]).is_err());
        }
    }

    /// Schneier's vectors for 16-octet keys (Blowfish) and RFC 2144 appendix B (CAST), where the library
    /// has them; else they are refused by name.
    #[test]
    fn legacy_ciphers_compute_or_are_refused_by_name() {
        let blowfish = (EncryptionId::ENCR_BLOWFISH, "f0e1d2c3b4a5968778695a4b3c2d1e0f");
        let cast = (EncryptionId::ENCR_CAST, "0123456712345678234567893456789a");
        let rows = [
            (blowfish, "fedcba9876543210", "93142887ee3be15c"),
            (cast, "0123456789abcdef", "238b4fe5847e44b2"),
        ];
        for ((id, key), plain, wanted) in rows {
            match Block::new(id, Some(128)) {
                Ok(block) => {
                    let mut text = hex(plain);
                    block.encrypt(&Secret::new(hex(key)), &[0; 8], &mut text).unwrap();
                    assert_eq!(text, hex(wanted), "{id}");
                }
                Err(error) => {
                    let words = error.to_string();
                    assert!(words.contains(&id.to_string()) && words.contains("legacy"), "{words}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refused = |id, bits| Block::new(id, bits).err().map(|error| error.to_string());
        let words = refused(EncryptionId::ENCR_AES_CBC, None);
        assert_eq!(words.as_deref(), Some("ENCR_AES_CBC is not supported"));
        let words = refused(EncryptionId::ENCR_AES_GCM_16, Some(128));
        assert_eq!(words.as_deref(), Some("ENCR_AES_GCM_16-128 is not supported"));
        assert!(refused(EncryptionId::ENCR_BLOWFISH, Some(41)).is_some());
        assert!(refused(EncryptionId::ENCR_DES, None).is_some());
    }

    fn hex(text: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digit).collect()
    }
}
