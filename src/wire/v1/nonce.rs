//! The Nonce payload (RFC 2408 §3.13).

use crate::wire::error::Reason;

/// The least octets of a nonce (RFC 2409 §5).
pub const MIN_NONCE_LEN: usize = 8;

/// The most octets of a nonce (RFC 2409 §5).
pub const MAX_NONCE_LEN: usize = 256;

/// A nonce of 8 to 256 octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(pub Vec<u8>);

impl Nonce {
    /// Reads the body of a Nonce payload.
    ///
    /// # Errors
    ///
    /// A length out of its bounds.
    pub fn parse(body: &[u8]) -> Result<Nonce, Reason> {
        if (MIN_NONCE_LEN..=MAX_NONCE_LEN).contains(&body.len()) {
            return Ok(Nonce(body.to_vec()));
        }
        let (size, wanted) = (body.len(), "8 to 256");
        Err(Reason::BadLength { field: "nonce length", size, wanted })
    }
}
