//! The Encrypted payload (RFC 7296 §3.14) and its fragments (RFC 7383 §2.5): where the parts lie. Keys
//! and ciphers are another room's.
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+-+-------------+-------------------------------+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +---------------+-+-------------+-------------------------------+
//! |        Fragment Number        |  Total Fragments   (SKF only) |
//! +-------------------------------+-------------------------------+
//! |                     Initialization Vector                     |
//! +---------------------------------------------------------------+
//! ~                    Encrypted IKE Payloads                     ~
//! +               +-----------------------------------------------+
//! |               |             Padding (0-255 octets)            |
//! +---------------+-----------------------------------------------+
//! |               |  Pad Length   |    Integrity Checksum Data    ~
//! +---------------+---------------+-------------------------------+
//! ```
//!
//! The associated data of an AEAD cipher (RFC 5282 §5.1) begins with the first octet of the message and
//! ends before the IV: header, unencrypted payloads, generic header, and in a fragment its number and
//! the total. The checksum of a separate integrity algorithm covers everything before itself.

use std::ops::Range;

use super::{PayloadType, chain};
use crate::wire::error::{Error, Reason};
use crate::wire::header::{HEADER_LEN, Header};
use crate::wire::payload::{
    PAYLOAD_HEADER_LEN, Parsed, RawPayload, number16, remainder, saturate16, whole,
};

/// Octets of fragment number and total.
const FRAGMENT_HEADER_LEN: usize = 4;

/// An Encrypted payload, not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// The type of the first payload inside.
    pub first: PayloadType,
    /// IV, ciphertext and checksum.
    pub body: Vec<u8>,
}

/// An Encrypted Fragment payload, not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedFragment {
    /// The type of the first payload inside, in fragment 1; else [`PayloadType::NONE`].
    pub first: PayloadType,
    /// Which fragment, from 1.
    pub number: u16,
    /// How many fragments there are.
    pub total: u16,
    /// IV, ciphertext and checksum.
    pub body: Vec<u8>,
}

/// Which fragment of how many (RFC 7383 §2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Which one, from 1.
    pub number: u16,
    /// How many there are; at least `number`.
    pub total: u16,
}

/// Where the parts of an encrypted payload lie in its datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The associated data of an AEAD cipher.
    pub aad: Range<usize>,
    /// The initialization vector.
    pub iv: Range<usize>,
    /// Payloads, padding and pad length: what is encrypted in place.
    pub cipher: Range<usize>,
    /// The checksum, or the tag of an AEAD cipher.
    pub icv: Range<usize>,
}

impl Layout {
    /// What the checksum of a separate integrity algorithm covers: everything before it.
    pub fn authenticated(&self) -> Range<usize> {
        0..self.icv.start
    }
}

/// An encrypted message as it came, cut into its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Where the parts lie.
    pub layout: Layout,
    /// The type of the first payload inside.
    pub first: PayloadType,
    /// Which fragment, if the payload is SKF.
    pub fragment: Option<Fragment>,
}

/// Octets of `inner_len` octets of payloads once padding and pad length fill the cipher's `block`. A
/// `block` of 0 or 1 asks for no padding.
pub fn padded_len(inner_len: usize, block: usize) -> usize {
    (inner_len + 1).next_multiple_of(block.max(1))
}

/// Lays out a message with one Encrypted payload: `header` with next payload and length set right, the
/// payload's header, and zeroes where IV (`iv_len`), padded payloads (`padded_len`) and checksum
/// (`icv_len`) go.
///
/// Put the payloads in with [`fill`], encrypt `layout.cipher` in place, then compute the checksum.
pub fn frame(
    header: &Header,
    first: PayloadType,
    iv_len: usize,
    padded_len: usize,
    icv_len: usize,
) -> (Vec<u8>, Layout) {
    lay_out(header, first, None, [iv_len, padded_len, icv_len])
}

/// As [`frame`], for a message with one Encrypted Fragment payload. `first` matters only in fragment 1.
pub fn frame_fragment(
    header: &Header,
    first: PayloadType,
    fragment: Fragment,
    iv_len: usize,
    padded_len: usize,
    icv_len: usize,
) -> (Vec<u8>, Layout) {
    let first = if fragment.number == 1 { first } else { PayloadType::NONE };
    lay_out(header, first, Some(fragment), [iv_len, padded_len, icv_len])
}

/// Octets that a message has besides the padded payloads: to find how much fits into a datagram.
pub fn overhead(is_fragment: bool, iv_len: usize, icv_len: usize) -> usize {
    let fragment = if is_fragment { FRAGMENT_HEADER_LEN } else { 0 };
    HEADER_LEN + PAYLOAD_HEADER_LEN + fragment + iv_len + icv_len
}

/// Puts the payloads into a framed datagram, and the padding and its length after them. The padding is
/// zeroes; RFC 7296 §3.14 leaves it to the sender.
///
/// `inner` must leave room for the pad length and for no more than 255 octets of padding, as
/// [`padded_len`] reckons; what does not fit is cut.
pub fn fill(datagram: &mut [u8], layout: &Layout, inner: &[u8]) {
    let Some(room) = datagram.get_mut(layout.cipher.clone()) else { return };
    let Some((pad_length, room)) = room.split_last_mut() else { return };
    let fits = inner.len().min(room.len());
    room[..fits].copy_from_slice(&inner[..fits]);
    *pad_length = u8::try_from(room.len() - fits).unwrap_or(u8::MAX);
}

/// Finds the encrypted payload of a message and its parts.
///
/// # Errors
///
/// A chain that does not parse, no encrypted payload or octets after it, a fragment number out of
/// its total, a payload too short for IV, pad length and checksum.
pub fn split(
    datagram: &[u8],
    header: &Header,
    iv_len: usize,
    icv_len: usize,
) -> Result<Sealed, Error> {
    let message = header.message(datagram);
    let octets = message.get(HEADER_LEN..).unwrap_or_default();
    let mut chain = chain(header.next_payload, octets, HEADER_LEN);
    let raw = last_of(&mut chain)?;
    let payload_type = PayloadType(raw.payload_type);
    let at = |reason| Error::payload(payload_type, raw.offset, reason);
    if !chain.rest().is_empty() {
        return Err(at(Reason::AfterEncrypted));
    }
    let fragment = match payload_type {
        PayloadType::SKF => Some(fragment_header(raw.body).map_err(at)?),
        _ => None,
    };
    let iv_start = overhead(fragment.is_some(), 0, 0) - HEADER_LEN + raw.offset;
    let needed = iv_len + 1 + icv_len;
    let left = message.len().saturating_sub(iv_start);
    if left < needed {
        return Err(at(Reason::Short { field: "IV, pad length and checksum", needed, left }));
    }
    let cipher_start = iv_start + iv_len;
    let icv_start = message.len() - icv_len;
    let layout = Layout {
        aad: 0..iv_start,
        iv: iv_start..cipher_start,
        cipher: cipher_start..icv_start,
        icv: icv_start..message.len(),
    };
    Ok(Sealed { layout, first: PayloadType(raw.next), fragment })
}

/// The payloads without padding, from decrypted octets whose last is the pad length.
///
/// # Errors
///
/// No octets, or a pad length that exceeds them.
pub fn strip_padding(opened: &[u8]) -> Result<&[u8], Error> {
    let at = |reason| Error::payload(PayloadType::SK, 0, reason);
    let Some((pad_length, padded)) = opened.split_last() else {
        return Err(at(Reason::Short { field: "pad length", needed: 1, left: 0 }));
    };
    let (size, left) = (usize::from(*pad_length), padded.len());
    match left.checked_sub(size) {
        Some(inner_len) => Ok(&padded[..inner_len]),
        None => Err(at(Reason::Exceeds { field: "pad length", size, left })),
    }
}

impl EncryptedFragment {
    pub(super) fn parse(first: PayloadType, body: &[u8]) -> Result<EncryptedFragment, Reason> {
        let Fragment { number, total } = fragment_header(body)?;
        let body = body.get(FRAGMENT_HEADER_LEN..).unwrap_or_default().to_vec();
        Ok(EncryptedFragment { first, number, total, body })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend(self.number.to_be_bytes());
        out.extend(self.total.to_be_bytes());
        out.extend(&self.body);
    }
}

fn fragment_header(body: &[u8]) -> Result<Fragment, Reason> {
    let (number, total) = whole(body, |input| -> Parsed<'_, (u16, u16)> {
        let (rest, number) = number16("fragment number")(input)?;
        let (rest, total) = number16("total fragments")(rest)?;
        let (rest, _) = remainder(rest)?;
        Ok((rest, (number, total)))
    })?;
    if number == 0 || number > total {
        return Err(Reason::BadFragment { number, total });
    }
    Ok(Fragment { number, total })
}

fn last_of<'a>(
    chain: &mut impl Iterator<Item = Result<RawPayload<'a>, Error>>,
) -> Result<RawPayload<'a>, Error> {
    let mut last = None;
    for raw in chain {
        last = Some(raw?);
    }
    match last {
        Some(raw) if super::ENCRYPTED.contains(&raw.payload_type) => Ok(raw),
        _ => Err(Error::header(Reason::NotEncrypted)),
    }
}

fn lay_out(
    header: &Header,
    first: PayloadType,
    fragment: Option<Fragment>,
    [iv_len, padded_len, icv_len]: [usize; 3],
) -> (Vec<u8>, Layout) {
    let iv_start = overhead(fragment.is_some(), 0, 0);
    let cipher_start = iv_start + iv_len;
    let icv_start = cipher_start + padded_len;
    let end = icv_start + icv_len;
    let next_payload = if fragment.is_some() { PayloadType::SKF } else { PayloadType::SK };
    let length = u32::try_from(end).unwrap_or(u32::MAX);
    let mut datagram = Vec::with_capacity(end);
    datagram.extend(Header { next_payload, length, ..*header }.emit());
    datagram.extend([first.0, 0]);
    datagram.extend(saturate16(end - HEADER_LEN).to_be_bytes());
    if let Some(Fragment { number, total }) = fragment {
        datagram.extend(number.to_be_bytes());
        datagram.extend(total.to_be_bytes());
    }
    datagram.resize(end, 0);
    let layout = Layout {
        aad: 0..iv_start,
        iv: iv_start..cipher_start,
        cipher: cipher_start..icv_start,
        icv: icv_start..end,
    };
    (datagram, layout)
}
