//! Messages of IKEv2 (RFC 7296 §3): a chain of payloads, each a typed value.

pub mod auth;
pub mod cert;
pub mod cp;
pub mod delete;
pub mod eap;
pub mod id;
pub mod ke;
pub mod nonce;
pub mod notify;
pub mod sa;
pub mod sk;
pub mod ts;

pub use auth::{Auth, SignatureData};
pub use cert::{Cert, CertReq};
pub use cp::{Config, ConfigAttribute};
pub use delete::Delete;
pub use eap::Eap;
pub use id::Id;
pub use ke::Ke;
pub use nonce::Nonce;
pub use notify::Notify;
pub use sa::{Proposal, Sa, Transform};
pub use sk::{Encrypted, EncryptedFragment};
pub use ts::{OtherSelector, TrafficSelector, Ts};

use super::error::{Error, Place, Reason};
use super::header::{HEADER_LEN, Header};
use super::iana::v2::PayloadType;
use super::payload::{self, Chain, RawPayload};

/// The payload types whose next payload field speaks of what is inside.
const ENCRYPTED: &[u8] = &[PayloadType::SK.0, PayloadType::SKF.0];

/// A payload of IKEv2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Security Association (§3.3).
    Sa(Sa),
    /// Key Exchange (§3.4).
    Ke(Ke),
    /// Identification of the initiator (§3.5).
    IdI(Id),
    /// Identification of the responder (§3.5).
    IdR(Id),
    /// Certificate (§3.6).
    Cert(Cert),
    /// Certificate Request (§3.7).
    CertReq(CertReq),
    /// Authentication (§3.8).
    Auth(Auth),
    /// Nonce (§3.9).
    Nonce(Nonce),
    /// Notify (§3.10).
    Notify(Notify),
    /// Delete (§3.11).
    Delete(Delete),
    /// Vendor ID (§3.12).
    Vendor(Vec<u8>),
    /// Traffic Selector of the initiator (§3.13).
    TsI(Ts),
    /// Traffic Selector of the responder (§3.13).
    TsR(Ts),
    /// Encrypted and Authenticated (§3.14), not opened. The last of its message.
    Encrypted(Encrypted),
    /// Encrypted and Authenticated Fragment (RFC 7383 §2.5), not opened. The last of its message.
    EncryptedFragment(EncryptedFragment),
    /// Configuration (§3.15).
    Config(Config),
    /// Extensible Authentication Protocol (§3.16).
    Eap(Eap),
    /// A payload that we do not know or need, kept as it came.
    Unknown {
        /// Its type.
        payload_type: PayloadType,
        /// Whether its critical bit was set. True only in what we emit: parsing refuses it.
        critical: bool,
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
            Payload::IdI(_) => PayloadType::IDI,
            Payload::IdR(_) => PayloadType::IDR,
            Payload::Cert(_) => PayloadType::CERT,
            Payload::CertReq(_) => PayloadType::CERTREQ,
            Payload::Auth(_) => PayloadType::AUTH,
            Payload::Nonce(_) => PayloadType::NONCE,
            Payload::Notify(_) => PayloadType::N,
            Payload::Delete(_) => PayloadType::D,
            Payload::Vendor(_) => PayloadType::V,
            Payload::TsI(_) => PayloadType::TSI,
            Payload::TsR(_) => PayloadType::TSR,
            Payload::Encrypted(_) => PayloadType::SK,
            Payload::EncryptedFragment(_) => PayloadType::SKF,
            Payload::Config(_) => PayloadType::CP,
            Payload::Eap(_) => PayloadType::EAP,
            Payload::Unknown { payload_type, .. } => *payload_type,
        }
    }

    fn parse(raw: &RawPayload<'_>) -> Result<Payload, Reason> {
        let body = raw.body;
        let first = PayloadType(raw.next);
        Ok(match PayloadType(raw.payload_type) {
            PayloadType::SA => Payload::Sa(Sa::parse(body)?),
            PayloadType::KE => Payload::Ke(Ke::parse(body)?),
            PayloadType::IDI => Payload::IdI(Id::parse(body)?),
            PayloadType::IDR => Payload::IdR(Id::parse(body)?),
            PayloadType::CERT => Payload::Cert(Cert::parse(body)?),
            PayloadType::CERTREQ => Payload::CertReq(CertReq::parse(body)?),
            PayloadType::AUTH => Payload::Auth(Auth::parse(body)?),
            PayloadType::NONCE => Payload::Nonce(Nonce::parse(body)?),
            PayloadType::N => Payload::Notify(Notify::parse(body)?),
            PayloadType::D => Payload::Delete(Delete::parse(body)?),
            PayloadType::V => Payload::Vendor(body.to_vec()),
            PayloadType::TSI => Payload::TsI(Ts::parse(body)?),
            PayloadType::TSR => Payload::TsR(Ts::parse(body)?),
            PayloadType::SK => Payload::Encrypted(Encrypted { first, body: body.to_vec() }),
            PayloadType::SKF => Payload::EncryptedFragment(EncryptedFragment::parse(first, body)?),
            PayloadType::CP => Payload::Config(Config::parse(body)?),
            PayloadType::EAP => Payload::Eap(Eap::parse(body)?),
            payload_type if raw.critical => return Err(Reason::CriticalUnknown(payload_type)),
            payload_type => Payload::Unknown { payload_type, critical: false, body: body.to_vec() },
        })
    }

    fn emit_body(&self, out: &mut Vec<u8>) {
        match self {
            Payload::Sa(sa) => sa.emit(out),
            Payload::Ke(ke) => ke.emit(out),
            Payload::IdI(id) | Payload::IdR(id) => id.emit(out),
            Payload::Cert(cert) => cert.emit(out),
            Payload::CertReq(request) => request.emit(out),
            Payload::Auth(auth) => auth.emit(out),
            Payload::Nonce(nonce) => out.extend(&nonce.0),
            Payload::Notify(notify) => notify.emit(out),
            Payload::Delete(delete) => delete.emit(out),
            Payload::Vendor(body) | Payload::Unknown { body, .. } => out.extend(body),
            Payload::TsI(ts) | Payload::TsR(ts) => ts.emit(out),
            Payload::Encrypted(encrypted) => out.extend(&encrypted.body),
            Payload::EncryptedFragment(fragment) => fragment.emit(out),
            Payload::Config(config) => config.emit(out),
            Payload::Eap(eap) => eap.emit(out),
        }
    }
}

/// Reads a message: header and cleartext payloads. An encrypted payload stays closed.
///
/// Octets of the datagram after the message's length are ignored.
///
/// # Errors
///
/// A header or payload that does not parse, a version other than 2, a critical payload of unknown type.
/// [`Notify::answering`] says what to tell the peer.
pub fn parse_message(datagram: &[u8]) -> Result<(Header, Vec<Payload>), Error> {
    let header = Header::parse(datagram)?;
    if header.version.major() != 2 {
        return Err(Error::header(Reason::MajorVersion(header.version)));
    }
    let octets = header.message(datagram).get(HEADER_LEN..).unwrap_or_default();
    let payloads = parse_chain(header.next_payload, octets, HEADER_LEN)?;
    Ok((header, payloads))
}

/// Reads a chain of payloads of which the first has type `first`, such as the opened content of an
/// encrypted payload. Offsets in errors count from the first of `octets`.
///
/// # Errors
///
/// A payload that does not parse, more than [`payload::MAX_PAYLOADS`], octets after the last one, a
/// critical payload of unknown type.
pub fn parse_payloads(first: PayloadType, octets: &[u8]) -> Result<Vec<Payload>, Error> {
    parse_chain(first, octets, 0)
}

/// Writes a message: `header` with the first payload's type and the length set right, then the payloads.
///
/// Bodies must not exceed [`payload::MAX_BODY_LEN`].
pub fn emit_message(header: &Header, payloads: &[Payload]) -> Vec<u8> {
    let (first, octets) = emit_payloads(payloads);
    let length = u32::try_from(HEADER_LEN + octets.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER_LEN + octets.len());
    message.extend(Header { next_payload: first, length, ..*header }.emit());
    message.extend(octets);
    message
}

/// Writes a chain of payloads and gives the type of the first, for what goes inside an encrypted payload.
///
/// Bodies must not exceed [`payload::MAX_BODY_LEN`].
pub fn emit_payloads(payloads: &[Payload]) -> (PayloadType, Vec<u8>) {
    let mut out = Vec::with_capacity(payload::USUAL_LEN);
    let following = payloads.iter().skip(1).map(Payload::payload_type);
    let nexts = following.chain([PayloadType::NONE]);
    for (payload, next) in payloads.iter().zip(nexts) {
        let next = match payload {
            Payload::Encrypted(encrypted) => encrypted.first,
            Payload::EncryptedFragment(fragment) => fragment.first,
            _ => next,
        };
        let critical = matches!(payload, Payload::Unknown { critical: true, .. });
        payload::emit(&mut out, next.0, critical, |out| payload.emit_body(out));
    }
    let first = payloads.first().map_or(PayloadType::NONE, Payload::payload_type);
    (first, out)
}

fn place(payload_type: u8) -> Place {
    Place::Payload(PayloadType(payload_type))
}

fn chain(first: PayloadType, octets: &[u8], offset: usize) -> Chain<'_> {
    Chain::new(first.0, octets, offset, place, ENCRYPTED)
}

fn parse_chain(first: PayloadType, octets: &[u8], offset: usize) -> Result<Vec<Payload>, Error> {
    let mut chain = chain(first, octets, offset);
    let mut payloads = Vec::new();
    let mut last = Place::Header;
    for raw in &mut chain {
        let raw = raw?;
        let payload_type = PayloadType(raw.payload_type);
        let at = |reason| Error::payload(payload_type, raw.offset, reason);
        payloads.push(Payload::parse(&raw).map_err(at)?);
        last = place(raw.payload_type);
    }
    let left = chain.rest().len();
    if left == 0 {
        return Ok(payloads);
    }
    let reason = match last {
        Place::Payload(PayloadType::SK | PayloadType::SKF) => Reason::AfterEncrypted,
        _ => Reason::Trailing { left },
    };
    Err(Error { place: last, offset: chain.offset(), reason })
}
