//! Sealing and opening of the Encrypted payload with the keys of an IKE SA (RFC 7296 §3.14, RFC 5282).

use super::keys::IkeKeys;
use crate::crypto::Random;
use crate::crypto::cipher::Parts;
use crate::wire::v2::{Payload, emit_payloads, parse_payloads, sk};
use crate::wire::{Error as WireError, Header};

/// Why a protected message was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// It is not protected with our keys, or changed on the way: nothing in it counts.
    NotAuthentic,
    /// It has no Encrypted payload where one is needed, or one that is cut short.
    Framing(WireError),
    /// It is authentic, and what is inside does not parse: the peer is at fault.
    Content(WireError),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAuthentic => write!(f, "the integrity check failed"),
            Self::Framing(error) | Self::Content(error) => write!(f, "{error}"),
        }
    }
}

/// Seals payloads into a message. `initiator`: whether we are the IKE SA's original initiator.
///
/// # Errors
///
/// The cryptographic library failing.
pub fn seal(
    keys: &IkeKeys,
    initiator: bool,
    header: &Header,
    payloads: &[Payload],
    random: &mut dyn Random,
) -> Result<Vec<u8>, crate::crypto::Error> {
    let cipher = &keys.cipher;
    let (first, inner) = emit_payloads(payloads);
    let padded = sk::padded_len(inner.len(), cipher.block_len());
    let (mut datagram, layout) =
        sk::frame(header, first, cipher.iv_len(), padded, cipher.icv_len());
    sk::fill(&mut datagram, &layout, &inner);
    let iv = &mut datagram[layout.iv.clone()];
    if cipher.wants_random_iv() {
        random.fill(iv);
    } else {
        // Never repeated under one key: requests and responses have their own counters, and a
        // message that is sent again is the same octets (RFC 5282 section 3.1).
        let response = u64::from(header.is_response()) << 32;
        iv.copy_from_slice(&(response | u64::from(header.message_id.0)).to_be_bytes());
    }
    let (aad, rest) = datagram.split_at_mut(layout.iv.start);
    let (iv, rest) = rest.split_at_mut(layout.iv.len());
    let (text, icv) = rest.split_at_mut(layout.cipher.len());
    cipher.seal(keys.sender(initiator), &mut Parts { aad, iv, text }, icv)?;
    Ok(datagram)
}

/// Opens a message from the peer. `initiator`: whether we are the IKE SA's original initiator.
///
/// # Errors
///
/// See [`OpenError`].
pub fn open(
    keys: &IkeKeys,
    initiator: bool,
    header: &Header,
    datagram: &[u8],
) -> Result<Vec<Payload>, OpenError> {
    let cipher = &keys.cipher;
    let sealed = sk::split(datagram, header, cipher.iv_len(), cipher.icv_len())
        .map_err(OpenError::Framing)?;
    let layout = sealed.layout;
    let mut copy = header.message(datagram).to_vec();
    let (aad, rest) = copy.split_at_mut(layout.iv.start);
    let (iv, rest) = rest.split_at_mut(layout.iv.len());
    let (text, icv) = rest.split_at_mut(layout.cipher.len());
    cipher
        .open(keys.sender(!initiator), &mut Parts { aad, iv, text }, icv)
        .map_err(|_| OpenError::NotAuthentic)?;
    let inner = sk::strip_padding(text).map_err(OpenError::Content)?;
    parse_payloads(sealed.first, inner).map_err(OpenError::Content)
}
