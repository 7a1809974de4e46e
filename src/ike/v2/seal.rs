//! Protecting and opening messages (RFC 7296 §3.14).

use super::keys::Protection;
use crate::crypto::Random;
use crate::crypto::cipher::Parts;
use crate::ike::sa::Frame;
use crate::wire::iana::v2::ExchangeType;
use crate::wire::v2::{Payload, emit_payloads, parse_payloads, sk};
use crate::wire::{Error as WireError, Flags, Header, MessageId};

/// Why a protected message could not be read.
#[derive(Debug)]
pub enum Fault {
    /// It is not from the peer (or was changed on the way): nothing of it counts.
    Forged(String),
    /// It is from the peer, and what is inside does not parse.
    Malformed(WireError),
}

/// The header of a message of ours.
pub fn header(frame: &Frame, exchange: ExchangeType, response: bool, id: MessageId) -> Header {
    let (initiator, responder) = frame.spis();
    Header::v2(initiator, responder, exchange, Flags::v2(frame.initiator, response), id)
}

/// Protects payloads.
///
/// # Errors
///
/// The cryptographic library failing, in its words.
pub fn seal(
    protection: &mut Protection,
    header: &Header,
    payloads: &[Payload],
    random: &mut dyn Random,
) -> Result<Vec<u8>, String> {
    let (first, inner) = emit_payloads(payloads);
    let cipher = protection.cipher;
    let (iv_len, icv_len) = (cipher.iv_len(), cipher.icv_len());
    let padded = sk::padded_len(inner.len(), cipher.block_len());
    let (mut datagram, layout) = sk::frame(header, first, iv_len, padded, icv_len);
    sk::fill(&mut datagram, &layout, &inner);
    let iv = &mut datagram[layout.iv.clone()];
    if cipher.wants_random_iv() {
        random.fill(iv);
    } else {
        let counter = protection.next_iv.to_be_bytes();
        let len = iv.len().min(counter.len());
        iv[..len].copy_from_slice(&counter[counter.len() - len..]);
        protection.next_iv = protection.next_iv.checked_add(1).ok_or("the IVs are used up")?;
    }
    let (aad, rest) = datagram.split_at_mut(layout.iv.start);
    let (iv, rest) = rest.split_at_mut(iv_len);
    let (text, icv) = rest.split_at_mut(padded);
    let mut parts = Parts { aad, iv, text };
    cipher.seal(&protection.outbound, &mut parts, icv).map_err(|error| error.to_string())?;
    Ok(datagram)
}

/// Verifies and opens a message, and reads its payloads.
///
/// # Errors
///
/// See [`Fault`].
pub fn open(
    protection: &Protection,
    header: &Header,
    datagram: &[u8],
) -> Result<Vec<Payload>, Fault> {
    let cipher = protection.cipher;
    let (iv_len, icv_len) = (cipher.iv_len(), cipher.icv_len());
    let forged = |error: &dyn std::fmt::Display| Fault::Forged(error.to_string());
    let sealed = sk::split(datagram, header, iv_len, icv_len).map_err(|error| forged(&error))?;
    if sealed.fragment.is_some() {
        return Err(Fault::Forged("a fragment, which was not negotiated".into()));
    }
    let layout = &sealed.layout;
    let part = |range: &std::ops::Range<usize>| datagram.get(range.clone()).unwrap_or_default();
    let mut text = part(&layout.cipher).to_vec();
    let mut parts = Parts { aad: part(&layout.aad), iv: part(&layout.iv), text: &mut text };
    cipher
        .open(&protection.inbound, &mut parts, part(&layout.icv))
        .map_err(|error| forged(&error))?;
    let inner = sk::strip_padding(&text).map_err(Fault::Malformed)?;
    parse_payloads(sealed.first, inner).map_err(Fault::Malformed)
}
