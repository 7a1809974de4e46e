//! Protecting and opening messages (RFC 7296 §3.14).

use super::fragment::MOST;
use super::keys::Protection;
use crate::crypto::Random;
use crate::crypto::cipher::{Keys, Parts};
use crate::ike::frame::Frame;
use crate::wire::iana::v2::{ExchangeType, PayloadType};
use crate::wire::v2::sk::{self, Fragment};
use crate::wire::v2::{Payload, emit_payloads, parse_payloads};
use crate::wire::{Error as WireError, Flags, Header, MessageId};

/// Why a protected message could not be read.
#[derive(Debug)]
pub enum Fault {
    /// It is not from the peer (or was changed on the way): nothing of it counts.
    Forged(String),
    /// It is from the peer, and what is inside does not parse.
    Malformed(WireError),
    /// It is a fragment from the peer, and others are still missing (RFC 7383).
    Incomplete,
}

/// What one datagram held, authentic.
#[derive(Debug)]
pub struct Piece {
    /// The type of the first payload inside.
    pub first: PayloadType,
    /// Which fragment it is, if the message came in several.
    pub fragment: Option<Fragment>,
    /// The payloads, or a part of them.
    pub inner: Vec<u8>,
}

/// The header of a message of ours.
pub fn header(frame: &Frame, exchange: ExchangeType, response: bool, id: MessageId) -> Header {
    let (initiator, responder) = frame.spis();
    Header::v2(initiator, responder, exchange, Flags::v2(frame.initiator, response), id)
}

/// Protects payloads. Where `room` is given, a message of more octets becomes fragments, which stand
/// back to back in what comes out: each says its length in its header.
///
/// # Errors
///
/// The cryptographic library failing, in its words.
pub fn seal(
    protection: &mut Protection,
    header: &Header,
    payloads: &[Payload],
    room: Option<usize>,
    random: &mut dyn Random,
) -> Result<Vec<u8>, String> {
    let (first, inner) = emit_payloads(payloads);
    seal_inner(protection, header, (first, &inner), room, random)
}

/// As [`seal`], for payloads that are octets already.
///
/// # Errors
///
/// As [`seal`].
pub fn seal_inner(
    protection: &mut Protection,
    header: &Header,
    (first, inner): (PayloadType, &[u8]),
    room: Option<usize>,
    random: &mut dyn Random,
) -> Result<Vec<u8>, String> {
    let cipher = protection.cipher;
    let (iv_len, icv_len, block) = (cipher.iv_len(), cipher.icv_len(), cipher.block_len());
    let whole = sk::overhead(false, iv_len, icv_len) + sk::padded_len(inner.len(), block);
    let part = room.filter(|room| whole > *room).map(|room| {
        let left = room.saturating_sub(sk::overhead(true, iv_len, icv_len));
        (left / block.max(1) * block.max(1)).saturating_sub(1).max(1)
    });
    let total = part.map(|part| inner.len().div_ceil(part));
    // What takes more fragments than any peer puts together goes as it is.
    let total = total.and_then(|total| u16::try_from(total).ok()).filter(|it| *it <= MOST);
    let (Some(part), Some(total)) = (part, total) else {
        return seal_piece(protection, header, first, inner, None, random);
    };
    let mut out = Vec::new();
    for (number, inner) in (1..).zip(inner.chunks(part)) {
        let fragment = Some(Fragment { number, total });
        out.extend(seal_piece(protection, header, first, inner, fragment, random)?);
    }
    Ok(out)
}

fn seal_piece(
    protection: &mut Protection,
    header: &Header,
    first: PayloadType,
    inner: &[u8],
    fragment: Option<Fragment>,
    random: &mut dyn Random,
) -> Result<Vec<u8>, String> {
    let cipher = protection.cipher;
    let (iv_len, icv_len) = (cipher.iv_len(), cipher.icv_len());
    let padded = sk::padded_len(inner.len(), cipher.block_len());
    let (mut datagram, layout) = match fragment {
        None => sk::frame(header, first, iv_len, padded, icv_len),
        Some(fragment) => sk::frame_fragment(header, first, fragment, iv_len, padded, icv_len),
    };
    sk::fill(&mut datagram, &layout, inner);
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

/// Verifies and opens a message that came in one datagram, and reads its payloads.
///
/// # Errors
///
/// See [`Fault`]; a fragment is taken for forged, see [`super::fragment::open`].
pub fn open(
    protection: &Protection,
    header: &Header,
    datagram: &[u8],
) -> Result<Vec<Payload>, Fault> {
    let piece = unseal(protection, header, datagram)?;
    match piece.fragment {
        Some(_) => Err(Fault::Forged("a fragment, which was not negotiated".into())),
        None => parse_payloads(piece.first, &piece.inner).map_err(Fault::Malformed),
    }
}

/// Verifies and opens what one datagram holds.
///
/// # Errors
///
/// See [`Fault`].
pub fn unseal(protection: &Protection, header: &Header, datagram: &[u8]) -> Result<Piece, Fault> {
    unseal_with(protection, &protection.inbound, header, datagram)
}

/// Opens again what we sealed ourselves.
///
/// # Errors
///
/// See [`Fault`].
pub fn unseal_own(
    protection: &Protection,
    header: &Header,
    datagram: &[u8],
) -> Result<Piece, Fault> {
    unseal_with(protection, &protection.outbound, header, datagram)
}

fn unseal_with(
    protection: &Protection,
    keys: &Keys,
    header: &Header,
    datagram: &[u8],
) -> Result<Piece, Fault> {
    let cipher = protection.cipher;
    let (iv_len, icv_len) = (cipher.iv_len(), cipher.icv_len());
    let forged = |error: &dyn std::fmt::Display| Fault::Forged(error.to_string());
    let sealed = sk::split(datagram, header, iv_len, icv_len).map_err(|error| forged(&error))?;
    let layout = &sealed.layout;
    let part = |range: &std::ops::Range<usize>| datagram.get(range.clone()).unwrap_or_default();
    let mut text = part(&layout.cipher).to_vec();
    let mut parts = Parts { aad: part(&layout.aad), iv: part(&layout.iv), text: &mut text };
    cipher.open(keys, &mut parts, part(&layout.icv)).map_err(|error| forged(&error))?;
    let inner_len = sk::strip_padding(&text).map_err(Fault::Malformed)?.len();
    text.truncate(inner_len);
    Ok(Piece { first: sealed.first, fragment: sealed.fragment, inner: text })
}
