//! Keys and algorithms: secrets, PRFs, ciphers, key exchange.
//!
//! The arithmetic is OpenSSL's (or LibreSSL's); what stands here is how IKE puts it together. Every
//! algorithm is asked for by its IANA number; one that is known by name but cannot be computed here
//! is refused by that name ([`Error::Unsupported`]). Nothing in this room knows a packet.

pub mod auth;
pub mod block;
pub mod cipher;
pub mod kex;
pub mod prf;
pub mod random;
pub mod secret;
pub mod signature;
pub mod suite;

pub use auth::{psk_auth, psk_skeyid, psk_verify};
pub use block::Block;
pub use cipher::Cipher;
pub use kex::KeyExchange;
pub use prf::Prf;
pub use random::{Random, SeededRandom, SystemRandom};
pub use secret::Secret;
pub use suite::{ChildSuite, IkeSuite};

/// SHA-1 over the parts one after the other, where a protocol asks for it as a checksum (RFC 7296 §2.23).
pub fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut state = openssl::sha::Sha1::new();
    parts.iter().for_each(|part| state.update(part));
    state.finish()
}

/// Whether two values are the same; octets of the same length are compared in constant time.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && openssl::memcmp::eq(one, other)
}

/// Why a computation was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The algorithm is known by name (or not even that) but not computed here.
    Unsupported(String),
    /// A key, an IV or a checksum has the wrong length.
    Length {
        /// Of what.
        what: &'static str,
        /// Octets wanted.
        wanted: usize,
        /// Octets found.
        found: usize,
    },
    /// The peer's public value is not one of its group (RFC 6989).
    BadPublicValue {
        /// The group.
        group: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The protected octets were changed, or protected with another key.
    NotAuthentic,
    /// Ciphertext whose length is no multiple of the block.
    BadLength,
    /// The library refused; its own words.
    Library(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsupported(name) => write!(f, "{name} is not supported"),
            Self::Length { what, wanted, found } => {
                write!(f, "{what} takes {wanted} octets, not {found}")
            }
            Self::BadPublicValue { group, reason } => {
                write!(f, "the public value for {group} is refused: {reason}")
            }
            Self::NotAuthentic => write!(f, "the integrity check failed"),
            Self::BadLength => write!(f, "the ciphertext is no whole number of blocks"),
            Self::Library(words) => write!(f, "the cryptographic library failed: {words}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<openssl::error::ErrorStack> for Error {
    fn from(stack: openssl::error::ErrorStack) -> Self {
        Self::Library(stack.to_string())
    }
}
