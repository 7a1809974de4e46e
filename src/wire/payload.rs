//! The generic payload header and the chain it makes (RFC 7296 §3.2, RFC 2408 §3.2), and the small
//! parsers from which bodies are built.
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+-+-------------+-------------------------------+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +---------------+-+-------------+-------------------------------+
//! ```

use nom::error::{ErrorKind, ParseError};

use super::error::{Error, Place, Reason};

/// Octets of the generic payload header.
pub const PAYLOAD_HEADER_LEN: usize = 4;

/// The most payloads we take in one message; more than any known peer sends.
pub const MAX_PAYLOADS: usize = 64;

/// The longest body that the 16 bits of the payload length can say. Emitting a longer one is a fault
/// of the caller: the payload's length is then wrong, and the peer will say so.
pub const MAX_BODY_LEN: usize = 65535 - PAYLOAD_HEADER_LEN;

/// The octets within which most chains of payloads lie: so much room is made for one at once.
pub const USUAL_LEN: usize = 512;

/// A payload with its body not yet understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawPayload<'a> {
    /// Its type.
    pub payload_type: u8,
    /// Whether its critical bit is set (IKEv2).
    pub critical: bool,
    /// What its next payload field says.
    pub next: u8,
    /// Its first octet, as [`Error::offset`] counts.
    pub offset: usize,
    /// Its octets after the generic header.
    pub body: &'a [u8],
}

/// Walks a chain of payloads. It ends after a payload whose next payload field is 0, or whose next
/// payload field does not speak of this chain.
#[derive(Debug, Clone)]
pub struct Chain<'a> {
    next: u8,
    rest: &'a [u8],
    offset: usize,
    count: usize,
    place: fn(u8) -> Place,
    encrypted: &'static [u8],
}

impl<'a> Chain<'a> {
    /// A chain that begins with a payload of type `first` in `octets`, of which the first is number
    /// `offset` to whoever reads an error. `place` names a payload type; after a payload of one of
    /// the `encrypted` types no payload of this chain follows (its next payload field tells what is inside).
    pub fn new(
        first: u8,
        octets: &'a [u8],
        offset: usize,
        place: fn(u8) -> Place,
        encrypted: &'static [u8],
    ) -> Chain<'a> {
        Chain { next: first, rest: octets, offset, count: 0, place, encrypted }
    }

    /// The octets after the last payload that was walked.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Where [`Chain::rest`] begins.
    pub fn offset(&self) -> usize {
        self.offset
    }

    fn step(&mut self) -> Result<RawPayload<'a>, Reason> {
        if self.count == MAX_PAYLOADS {
            return Err(Reason::TooMany { field: "payloads", limit: MAX_PAYLOADS });
        }
        let (rest, (next, bits, size)) = generic_header(self.rest).map_err(reason)?;
        let size = usize::from(size);
        let Some(body_len) = size.checked_sub(PAYLOAD_HEADER_LEN) else {
            let wanted = "4 or more";
            return Err(Reason::BadLength { field: "payload length", size, wanted });
        };
        if body_len > rest.len() {
            let left = self.rest.len();
            return Err(Reason::Exceeds { field: "payload length", size, left });
        }
        let (body, rest) = rest.split_at(body_len);
        let payload_type = self.next;
        let raw = RawPayload {
            payload_type,
            critical: bits & 0x80 != 0,
            next,
            offset: self.offset,
            body,
        };
        self.next = if self.encrypted.contains(&payload_type) { 0 } else { next };
        self.rest = rest;
        self.offset += size;
        self.count += 1;
        Ok(raw)
    }
}

impl<'a> Iterator for Chain<'a> {
    type Item = Result<RawPayload<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == 0 {
            return None;
        }
        let (place, offset) = ((self.place)(self.next), self.offset);
        let item = self.step().map_err(|reason| Error { place, offset, reason });
        if item.is_err() {
            self.next = 0;
        }
        Some(item)
    }
}

/// Appends a payload: its generic header with the right length, then what `body` writes.
pub(crate) fn emit(out: &mut Vec<u8>, next: u8, critical: bool, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend([next, if critical { 0x80 } else { 0 }]);
    emit_sized(out, PAYLOAD_HEADER_LEN, body);
}

/// Appends a 16-bit length that counts `before` octets up to and with itself, and what `body` writes.
pub(crate) fn emit_sized(out: &mut Vec<u8>, before: usize, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0, 0]);
    body(out);
    let length = out.len() - at - 2 + before;
    out[at..at + 2].copy_from_slice(&saturate16(length).to_be_bytes());
}

/// A length as its 16-bit field says it.
pub(crate) fn saturate16(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// A count or size as its 8-bit field says it.
pub(crate) fn saturate8(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// What a parser of parts of a payload gives.
pub(crate) type Parsed<'a, T> = nom::IResult<&'a [u8], T, Reason>;

impl ParseError<&[u8]> for Reason {
    fn from_error_kind(input: &[u8], _: ErrorKind) -> Reason {
        Reason::Short { field: "field", needed: input.len() + 1, left: input.len() }
    }

    fn append(_: &[u8], _: ErrorKind, other: Reason) -> Reason {
        other
    }
}

/// Fails with a reason.
pub(crate) fn fail<T>(reason: Reason) -> Result<T, nom::Err<Reason>> {
    Err(nom::Err::Failure(reason))
}

/// The reason within nom's error. `complete` parsers never ask for more.
pub(crate) fn reason(error: nom::Err<Reason>) -> Reason {
    match error {
        nom::Err::Error(reason) | nom::Err::Failure(reason) => reason,
        nom::Err::Incomplete(_) => Reason::Malformed { field: "field" },
    }
}

/// Parses a whole body: nothing may be left.
pub(crate) fn whole<'a, T>(
    body: &'a [u8],
    mut parser: impl FnMut(&'a [u8]) -> Parsed<'a, T>,
) -> Result<T, Reason> {
    let (rest, value) = parser(body).map_err(reason)?;
    match rest.len() {
        0 => Ok(value),
        left => Err(Reason::Trailing { left }),
    }
}

/// A fixed field of so many octets.
pub(crate) fn fixed<'a>(
    field: &'static str,
    size: usize,
) -> impl Fn(&'a [u8]) -> Parsed<'a, &'a [u8]> {
    move |input| {
        nom::bytes::complete::take(size)(input).map_err(|_: nom::Err<Reason>| {
            nom::Err::Error(Reason::Short { field, needed: size, left: input.len() })
        })
    }
}

/// Octets whose number a length field said; `field` names that length field.
pub(crate) fn sized<'a>(
    field: &'static str,
    size: usize,
) -> impl Fn(&'a [u8]) -> Parsed<'a, &'a [u8]> {
    move |input| {
        nom::bytes::complete::take(size)(input).map_err(|_: nom::Err<Reason>| {
            nom::Err::Error(Reason::Exceeds { field, size, left: input.len() })
        })
    }
}

/// A number of 8 bits.
pub(crate) fn number8<'a>(field: &'static str) -> impl Fn(&'a [u8]) -> Parsed<'a, u8> {
    move |input| {
        let (rest, octets) = fixed(field, 1)(input)?;
        Ok((rest, octets.iter().fold(0, |_, octet| *octet)))
    }
}

/// A number of 16 bits.
pub(crate) fn number16<'a>(field: &'static str) -> impl Fn(&'a [u8]) -> Parsed<'a, u16> {
    move |input| {
        let (rest, octets) = fixed(field, 2)(input)?;
        Ok((rest, octets.iter().fold(0, |number, octet| number << 8 | u16::from(*octet))))
    }
}

/// A number of 32 bits.
pub(crate) fn number32<'a>(field: &'static str) -> impl Fn(&'a [u8]) -> Parsed<'a, u32> {
    move |input| {
        let (rest, octets) = fixed(field, 4)(input)?;
        Ok((rest, octets.iter().fold(0, |number, octet| number << 8 | u32::from(*octet))))
    }
}

/// Everything that is left.
pub(crate) fn remainder(input: &[u8]) -> Parsed<'_, Vec<u8>> {
    Ok((&[], input.to_vec()))
}

/// An octet that says what the rest is, then the rest.
pub(crate) fn kind_and_rest(field: &'static str, body: &[u8]) -> Result<(u8, Vec<u8>), Reason> {
    whole(body, |input| {
        let (rest, kind) = number8(field)(input)?;
        let (rest, data) = remainder(rest)?;
        Ok((rest, (kind, data)))
    })
}

fn generic_header(input: &[u8]) -> Parsed<'_, (u8, u8, u16)> {
    let (rest, octets) = fixed("payload header", PAYLOAD_HEADER_LEN)(input)?;
    let (_, next) = number8("next payload")(octets)?;
    let (_, bits) = number8("critical bit")(&octets[1..])?;
    let (_, size) = number16("payload length")(&octets[2..])?;
    Ok((rest, (next, bits, size)))
}
