//! Messages of IKEv1: ISAKMP's payloads (RFC 2408 §3) with the IPsec DOI's content (RFC 2407 §4).
//!
//! An encrypted message is opaque from the header on: [`parse_message`] leaves it closed, and
//! [`parse_padded`] reads it once it is decrypted. Where a payload is encrypted by itself (public key
//! encryption, RFC 2409 §5.2) its body is asked for as it came.

pub mod cert;
pub mod config;
pub mod delete;
pub mod dump;
pub mod fragment;
pub mod id;
pub mod natt;
pub mod nonce;
pub mod notify;
pub mod sa;

pub use cert::{Cert, CertReq};
pub use config::Attributes;
pub use delete::Delete;
pub use fragment::Fragment;
pub use id::{Id, IdRange};
pub use natt::NatOa;
pub use nonce::Nonce;
pub use notify::Notify;
pub use sa::{Proposal, Sa, Transform};

use super::error::{Error, Place, Reason};
use super::header::{Flags, HEADER_LEN, Header};
use super::iana::v1::PayloadType;
use super::payload::{self, Chain, PAYLOAD_HEADER_LEN, RawPayload};

/// Octets by which peers such as libreswan fill a message in clear up to a multiple of four.
const MAX_ALIGNMENT: usize = 3;

/// The most octets of padding behind the payloads of a decrypted message. Peers pad to a block, with a
/// count or without, and some by a block more.
pub const MAX_PADDING: usize = 255;

/// A payload of IKEv1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Security Association (RFC 2408 §3.4, RFC 2407 §4.6.1).
    Sa(Sa),
    /// Key Exchange: the public value (RFC 2408 §3.7).
    Ke(Vec<u8>),
    /// Identification (RFC 2408 §3.8, RFC 2407 §4.6.2).
    Id(Id),
    /// Certificate (RFC 2408 §3.9).
    Cert(Cert),
    /// Certificate Request (RFC 2408 §3.10).
    CertReq(CertReq),
    /// Hash (RFC 2408 §3.11).
    Hash(Vec<u8>),
    /// Signature (RFC 2408 §3.12).
    Sig(Vec<u8>),
    /// Nonce (RFC 2408 §3.13).
    Nonce(Nonce),
    /// Notification (RFC 2408 §3.14).
    Notify(Notify),
    /// Delete (RFC 2408 §3.15).
    Delete(Delete),
    /// Vendor ID (RFC 2408 §3.16).
    Vendor(Vec<u8>),
    /// Attributes of the transaction exchange.
    Attributes(Attributes),
    /// NAT-D: a hash of an address and port (RFC 3947 §3.2).
    NatD {
        /// Whether the number of the drafts is used.
        draft: bool,
        /// The hash.
        hash: Vec<u8>,
    },
    /// NAT-OA: an address as its owner knows it (RFC 3947 §5.2).
    NatOa {
        /// Whether the number of the drafts is used.
        draft: bool,
        /// The address.
        address: NatOa,
    },
    /// A piece of a message.
    Fragment(Fragment),
    /// A body as it came: of a payload that we do not know, or one that is encrypted by itself.
    Opaque {
        /// Its type.
        payload_type: PayloadType,
        /// Its octets after the generic header.
        body: Vec<u8>,
    },
}

impl Payload {
    /// The payload's type.
    pub fn payload_type(&self) -> PayloadType {
        match self {
            Payload::Sa(_) => PayloadType::SA,
            Payload::Ke(_) => PayloadType::KE,
            Payload::Id(_) => PayloadType::ID,
            Payload::Cert(_) => PayloadType::CERT,
            Payload::CertReq(_) => PayloadType::CR,
            Payload::Hash(_) => PayloadType::HASH,
            Payload::Sig(_) => PayloadType::SIG,
            Payload::Nonce(_) => PayloadType::NONCE,
            Payload::Notify(_) => PayloadType::N,
            Payload::Delete(_) => PayloadType::D,
            Payload::Vendor(_) => PayloadType::VID,
            Payload::Attributes(_) => PayloadType::ATTRIBUTE,
            Payload::NatD { draft: false, .. } => PayloadType::NAT_D,
            Payload::NatD { draft: true, .. } => PayloadType::NAT_D_DRAFT,
            Payload::NatOa { draft: false, .. } => PayloadType::NAT_OA,
            Payload::NatOa { draft: true, .. } => PayloadType::NAT_OA_DRAFT,
            Payload::Fragment(_) => PayloadType::FRAGMENT,
            Payload::Opaque { payload_type, .. } => *payload_type,
        }
    }

    /// The octets after the generic header: what Oakley's hashes call `<payload>_b` (RFC 2409 §3.2).
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.emit_body(&mut out);
        out
    }

    fn parse(raw: &RawPayload<'_>) -> Result<Payload, Reason> {
        let body = raw.body;
        Ok(match PayloadType(raw.payload_type) {
            PayloadType::SA => Payload::Sa(Sa::parse(body)?),
            PayloadType::KE => Payload::Ke(body.to_vec()),
            PayloadType::ID => Payload::Id(Id::parse(body)?),
            PayloadType::CERT => Payload::Cert(Cert::parse(body)?),
            PayloadType::CR => Payload::CertReq(CertReq::parse(body)?),
            PayloadType::HASH => Payload::Hash(body.to_vec()),
            PayloadType::SIG => Payload::Sig(body.to_vec()),
            PayloadType::NONCE => Payload::Nonce(Nonce::parse(body)?),
            PayloadType::N => Payload::Notify(Notify::parse(body)?),
            PayloadType::D => Payload::Delete(Delete::parse(body)?),
            PayloadType::VID => Payload::Vendor(body.to_vec()),
            PayloadType::ATTRIBUTE => Payload::Attributes(Attributes::parse(body)?),
            PayloadType::NAT_D => Payload::NatD { draft: false, hash: body.to_vec() },
            PayloadType::NAT_D_DRAFT => Payload::NatD { draft: true, hash: body.to_vec() },
            PayloadType::NAT_OA => Payload::NatOa { draft: false, address: NatOa::parse(body)? },
            PayloadType::NAT_OA_DRAFT => {
                Payload::NatOa { draft: true, address: NatOa::parse(body)? }
            }
            PayloadType::FRAGMENT => Payload::Fragment(Fragment::parse(body)?),
            payload_type => Payload::Opaque { payload_type, body: body.to_vec() },
        })
    }

    fn emit_body(&self, out: &mut Vec<u8>) {
        match self {
            Payload::Sa(sa) => sa.emit(out),
            Payload::Id(id) => id.emit(out),
            Payload::Cert(cert) => cert.emit(out),
            Payload::CertReq(request) => request.emit(out),
            Payload::Nonce(nonce) => out.extend(&nonce.0),
            Payload::Notify(notify) => notify.emit(out),
            Payload::Delete(delete) => delete.emit(out),
            Payload::Attributes(attributes) => attributes.emit(out),
            Payload::NatOa { address, .. } => address.emit(out),
            Payload::Fragment(fragment) => fragment.emit(out),
            Payload::Ke(body)
            | Payload::Hash(body)
            | Payload::Sig(body)
            | Payload::Vendor(body)
            | Payload::NatD { hash: body, .. }
            | Payload::Opaque { body, .. } => out.extend(body),
        }
    }
}

/// What follows the header of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Payloads.
    Clear(Vec<Payload>),
    /// Payloads and padding, encrypted: the whole number of blocks as it came.
    Encrypted(Vec<u8>),
}

/// The payloads of a decrypted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The payloads.
    pub payloads: Vec<Payload>,
    /// How many octets they take; what follows is padding and counts in no hash.
    pub used: usize,
}

/// Reads a message: header, and payloads unless they are encrypted.
///
/// Octets of the datagram after the message's length are ignored.
///
/// # Errors
///
/// A header or payload that does not parse; a version other than 1.
/// [`Notify::answering`] says what to tell the peer.
pub fn parse_message(datagram: &[u8]) -> Result<(Header, Content), Error> {
    parse_closed_message(datagram, &[])
}

/// As [`parse_message`], where payloads of these types are encrypted each by itself: their bodies come
/// back as they are.
///
/// # Errors
///
/// As [`parse_message`].
pub fn parse_closed_message(
    datagram: &[u8],
    opaque: &[PayloadType],
) -> Result<(Header, Content), Error> {
    let header = Header::parse(datagram)?;
    if header.version.major() != 1 {
        return Err(Error::header(Reason::MajorVersion(header.version)));
    }
    let octets = header.message(datagram).get(HEADER_LEN..).unwrap_or_default();
    if header.flags.contains(Flags::ENCRYPTION) {
        return Ok((header, Content::Encrypted(octets.to_vec())));
    }
    let (first, padding) = (header.next_payload_v1(), MAX_ALIGNMENT);
    let payloads = parse_chain(first, octets, HEADER_LEN, padding, opaque)?.payloads;
    Ok((header, Content::Clear(payloads)))
}

/// Reads a chain of payloads of which the first has type `first` and that fills `octets`. Offsets in
/// errors count from the first of `octets`.
///
/// # Errors
///
/// A payload that does not parse, more than [`payload::MAX_PAYLOADS`], octets after the last one.
pub fn parse_payloads(first: PayloadType, octets: &[u8]) -> Result<Vec<Payload>, Error> {
    Ok(parse_chain(first, octets, 0, 0, &[])?.payloads)
}

/// As [`parse_payloads`] for those of a message in clear, where bodies of the `opaque` types are encrypted by themselves: they come
/// back as [`Payload::Opaque`].
///
/// # Errors
///
/// As [`parse_payloads`].
pub fn parse_opaque(
    first: PayloadType,
    octets: &[u8],
    opaque: &[PayloadType],
) -> Result<Vec<Payload>, Error> {
    Ok(parse_chain(first, octets, 0, MAX_ALIGNMENT, opaque)?.payloads)
}

/// Reads the decrypted content of a message: a chain of payloads, and padding up to [`MAX_PADDING`]
/// octets, whose content is not looked at (RFC 2409 appendix B; peers differ in it).
///
/// # Errors
///
/// As [`parse_payloads`]; no payload at all.
pub fn parse_padded(first: PayloadType, octets: &[u8]) -> Result<Opened, Error> {
    if first == PayloadType::NONE {
        return Err(Error::header(Reason::Malformed { field: "next payload of a message" }));
    }
    parse_chain(first, octets, 0, MAX_PADDING, &[])
}

/// The body of the first payload of this type, as it came: for hashes over it (RFC 2409 §5).
pub fn body_of(first: PayloadType, octets: &[u8], wanted: PayloadType) -> Option<&[u8]> {
    let mut raws = chain(first, octets, 0).map_while(Result::ok);
    raws.find(|raw| raw.payload_type == wanted.0).map(|raw| raw.body)
}

/// The octets of the payloads that follow the first, as they came: what the hash of a phase 2 message
/// covers (RFC 2409 §5.5). `used` as [`parse_padded`] gave it.
pub fn after_first(octets: &[u8], used: usize) -> &[u8] {
    let size = match octets {
        [_, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => octets.len(),
    };
    octets.get(size.max(PAYLOAD_HEADER_LEN)..used).unwrap_or_default()
}

/// Writes a message in clear: `header` with the first payload's type and the length set right, then
/// the payloads.
///
/// Bodies must not exceed [`payload::MAX_BODY_LEN`].
pub fn emit_message(header: &Header, payloads: &[Payload]) -> Vec<u8> {
    let (first, octets) = emit_payloads(payloads);
    emit_content(header, first, &octets)
}

/// Writes a message: `header` with the first payload's type and the length set right, then `content`,
/// which may be encrypted.
pub fn emit_content(header: &Header, first: PayloadType, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_LEN + content.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER_LEN + content.len());
    message.extend(Header { length, ..*header }.with_next_v1(first).emit());
    message.extend(content);
    message
}

/// Writes a chain of payloads and gives the type of the first.
///
/// Bodies must not exceed [`payload::MAX_BODY_LEN`].
pub fn emit_payloads(payloads: &[Payload]) -> (PayloadType, Vec<u8>) {
    let mut out = Vec::with_capacity(payload::USUAL_LEN);
    let following = payloads.iter().skip(1).map(Payload::payload_type);
    let nexts = following.chain([PayloadType::NONE]);
    for (payload, next) in payloads.iter().zip(nexts) {
        payload::emit(&mut out, next.0, false, |out| payload.emit_body(out));
    }
    let first = payloads.first().map_or(PayloadType::NONE, Payload::payload_type);
    (first, out)
}

fn place(payload_type: u8) -> Place {
    Place::PayloadV1(PayloadType(payload_type))
}

fn chain(first: PayloadType, octets: &[u8], offset: usize) -> Chain<'_> {
    Chain::new(first.0, octets, offset, place, &[])
}

fn parse_chain(
    first: PayloadType,
    octets: &[u8],
    offset: usize,
    padding: usize,
    opaque: &[PayloadType],
) -> Result<Opened, Error> {
    let mut chain = chain(first, octets, offset);
    let mut payloads = Vec::new();
    let mut last = Place::Header;
    for raw in &mut chain {
        let raw = raw?;
        let payload_type = PayloadType(raw.payload_type);
        let at = |reason| Error::payload_v1(payload_type, raw.offset, reason);
        payloads.push(match opaque.contains(&payload_type) {
            true => Payload::Opaque { payload_type, body: raw.body.to_vec() },
            false => Payload::parse(&raw).map_err(at)?,
        });
        last = place(raw.payload_type);
    }
    let left = chain.rest().len();
    if left > padding {
        return Err(Error {
            place: last,
            offset: chain.offset(),
            reason: Reason::Trailing { left },
        });
    }
    Ok(Opened { payloads, used: octets.len() - left })
}
