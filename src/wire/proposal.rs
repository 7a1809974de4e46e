//! Proposals of transforms, as the Security Association payloads of both versions have them (RFC 7296
//! §3.3.1, RFC 2408 §3.5): the lists, their marks and counts. What a transform says is each version's own.
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |  last or more |   RESERVED    |         Proposal Length       |
//! +---------------+---------------+---------------+---------------+
//! | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
//! +---------------+---------------+---------------+---------------+
//! |                        SPI (variable)                         |
//! +---------------------------------------------------------------+
//! |                        <Transforms>                           |
//! +---------------------------------------------------------------+
//! ```

use serde::{Deserialize, Serialize};

use super::error::Reason;
use super::numbers::Spi;
use super::payload::{Parsed, emit_sized, fail, fixed, number8, number16, saturate8, sized};

/// The most transforms we take in one SA payload, over all its proposals.
pub const MAX_TRANSFORMS: usize = 1024;

/// The mark of the last proposal or transform of a list.
const LAST: u8 = 0;

/// The mark of a proposal that another follows: the payload type of proposals in ISAKMP.
const MORE_PROPOSALS: u8 = 2;

/// The mark of a transform that another follows: the payload type of transforms in ISAKMP.
const MORE_TRANSFORMS: u8 = 3;

/// Octets that a proposal or transform has at least.
const SUBSTRUCTURE_HEADER_LEN: usize = 8;

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal<P, T> {
    /// Its number, which an answer repeats. In IKEv1 proposals with the same number belong together.
    pub number: u8,
    /// The protocol of the SA.
    pub protocol: P,
    /// The sender's SPI; none for an IKE SA that begins.
    pub spi: Spi,
    /// The transforms in order of preference.
    pub transforms: Vec<T>,
}

/// A protocol by its number in a version's registry.
pub(crate) trait Protocol: Copy {
    /// The protocol with this number.
    fn of(number: u8) -> Self;
    /// Its number.
    fn number(self) -> u8;
    /// Whether a proposal for it may carry an SPI of this size.
    fn check_spi(self, size: usize) -> Result<(), Reason>;
}

/// A transform: what stands after its length.
pub(crate) trait Transform: Sized {
    /// Reads all of its octets.
    fn parse(inside: &[u8]) -> Parsed<'_, Self>;
    /// Appends them.
    fn emit(&self, out: &mut Vec<u8>);
}

/// Reads one proposal or more, to the end of the input.
pub(crate) fn parse<P: Protocol, T: Transform>(input: &[u8]) -> Parsed<'_, Vec<Proposal<P, T>>> {
    let mut proposals = Vec::new();
    let mut room = MAX_TRANSFORMS;
    let mut rest = input;
    loop {
        let (after, (mark, proposal)) = parse_one(rest, room)?;
        let proposal: Proposal<P, T> = proposal;
        room -= proposal.transforms.len();
        proposals.push(proposal);
        rest = after;
        check_mark("proposal", mark, MORE_PROPOSALS, rest.is_empty())?;
        if rest.is_empty() {
            return Ok((rest, proposals));
        }
        if proposals.len() == usize::from(u8::MAX) {
            return fail(Reason::TooMany { field: "proposals", limit: u8::MAX.into() });
        }
    }
}

/// Appends proposals.
pub(crate) fn emit<P: Protocol, T: Transform>(proposals: &[Proposal<P, T>], out: &mut Vec<u8>) {
    emit_list(proposals, MORE_PROPOSALS, out, |proposal, out| {
        let spi = proposal.spi.octets();
        let counts = [saturate8(spi.len()), saturate8(proposal.transforms.len())];
        out.extend([proposal.number, proposal.protocol.number()]);
        out.extend(counts);
        out.extend(spi);
        emit_list(&proposal.transforms, MORE_TRANSFORMS, out, T::emit);
    });
}

/// Reads a proposal of at most `room` transforms, and its mark.
fn parse_one<P: Protocol, T: Transform>(
    input: &[u8],
    room: usize,
) -> Parsed<'_, (u8, Proposal<P, T>)> {
    let (rest, (mark, inside)) = substructure("proposal length", input)?;
    let (inside, number) = number8("proposal number")(inside)?;
    let (inside, protocol) = number8("protocol ID")(inside)?;
    let (inside, spi_size) = number8("SPI size")(inside)?;
    let (inside, said) = number8("number of transforms")(inside)?;
    let (mut inside, spi) = sized("SPI size", usize::from(spi_size))(inside)?;
    let protocol = P::of(protocol);
    protocol.check_spi(spi.len()).map_err(nom::Err::Failure)?;
    let mut transforms = Vec::new();
    while !inside.is_empty() {
        if transforms.len() == room {
            return fail(Reason::TooMany { field: "transforms", limit: MAX_TRANSFORMS });
        }
        let (after, (mark, octets)) = substructure("transform length", inside)?;
        let (_, transform) = T::parse(octets)?;
        check_mark("transform", mark, MORE_TRANSFORMS, after.is_empty())?;
        transforms.push(transform);
        inside = after;
    }
    if transforms.len() != usize::from(said) {
        let (said, found) = (said.into(), transforms.len());
        return fail(Reason::Miscounted { field: "transforms", said, found });
    }
    let spi = Spi::from_octets(spi);
    Ok((rest, (mark, Proposal { number, protocol, spi, transforms })))
}

/// Appends a list, each of its items with mark and length.
fn emit_list<I>(items: &[I], more: u8, out: &mut Vec<u8>, emit: impl Fn(&I, &mut Vec<u8>)) {
    for (index, item) in items.iter().enumerate() {
        let mark = if index + 1 == items.len() { LAST } else { more };
        out.extend([mark, 0]);
        emit_sized(out, 4, |out| emit(item, out));
    }
}

/// Reads mark, reserved octet and length of a proposal or transform, and cuts it out: what is left
/// after it, its mark, and its octets after the length.
fn substructure<'a>(field: &'static str, input: &'a [u8]) -> Parsed<'a, (u8, &'a [u8])> {
    let (rest, mark) = number8(field)(input)?;
    let (rest, _) = fixed(field, 1)(rest)?;
    let (_, size) = number16(field)(rest)?;
    let size = usize::from(size);
    if size < SUBSTRUCTURE_HEADER_LEN {
        return fail(Reason::BadLength { field, size, wanted: "8 or more" });
    }
    let (rest, octets) = sized(field, size)(input)?;
    Ok((rest, (mark, &octets[4..])))
}

/// Whether the mark of a proposal or transform is right in its place.
fn check_mark(
    field: &'static str,
    mark: u8,
    more: u8,
    is_last: bool,
) -> Result<(), nom::Err<Reason>> {
    let right = if is_last { LAST } else { more };
    if mark == right { Ok(()) } else { fail(Reason::BadLastMark { field, mark }) }
}
