//! The Nonce payload (RFC 7296 §3.9).

use crate::wire::error::Reason;

/// The least octets of a nonce.
pub const MIN_NONCE_LEN: usize = 16;

/// The most octets of a nonce.
pub const MAX_NONCE_LEN: usize = 256;

/// A nonce of 16 to 256 octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(pub Vec<u8>);

impl Nonce {
    pub(super) fn parse(body: &[u8]) -> Result<Nonce, Reason> {
        if (MIN_NONCE_LEN..=MAX_NONCE_LEN).contains(&body.len()) {
            return Ok(Nonce(body.to_vec()));
        }
        let (size, wanted) = (body.len(), "16 to 256");
        Err(Reason::BadLength { field: "nonce length", size, wanted })
    }
}
