//! The fixed header of IKEv2 (RFC 7296 §3.1) and of ISAKMP (RFC 2408 §3.1): the same 28 octets.
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |                 IKE SA Initiator's SPI (8)                    |
//! +---------------------------------------------------------------+
//! |                 IKE SA Responder's SPI (8)                    |
//! +---------------+-------+-------+---------------+---------------+
//! | Next Payload  | Major | Minor | Exchange Type |     Flags     |
//! +---------------+-------+-------+---------------+---------------+
//! |                          Message ID                           |
//! +---------------------------------------------------------------+
//! |                            Length                             |
//! +---------------------------------------------------------------+
//! ```

use std::fmt;
use std::ops::BitOr;

use nom::Parser as _;
use nom::bytes::complete::take;
use nom::combinator::map;
use nom::number::complete::{be_u8, be_u32};

use super::error::{Error, Reason};
use super::iana::v1;
use super::iana::v2::{ExchangeType, PayloadType};
use super::numbers::{IkeSpi, MessageId};
use super::payload::Parsed;

/// Octets of the header.
pub const HEADER_LEN: usize = 28;

/// The version octet: major in the high half, minor in the low.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u8);

impl Version {
    /// IKEv1 (RFC 2409).
    pub const V1: Version = Version(0x10);
    /// IKEv2 (RFC 7296).
    pub const V2: Version = Version(0x20);

    /// The major version.
    pub fn major(self) -> u8 {
        self.0 >> 4
    }

    /// The minor version.
    pub fn minor(self) -> u8 {
        self.0 & 0x0f
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major(), self.minor())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The flags octet. The low three bits belong to IKEv1, the next three to IKEv2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// IKEv1: what follows the header is encrypted (RFC 2408 §3.1).
    pub const ENCRYPTION: Flags = Flags(0x01);
    /// IKEv1: the sender wants to hear when the SA is established (RFC 2408 §3.1).
    pub const COMMIT: Flags = Flags(0x02);
    /// IKEv1: authenticated, not encrypted (RFC 2408 §3.1).
    pub const AUTHENTICATION: Flags = Flags(0x04);
    /// IKEv2: the sender is the original initiator of the IKE SA (RFC 7296 §3.1).
    pub const INITIATOR: Flags = Flags(0x08);
    /// IKEv2: the sender could speak a higher major version (RFC 7296 §3.1).
    pub const VERSION: Flags = Flags(0x10);
    /// IKEv2: this is a response (RFC 7296 §3.1).
    pub const RESPONSE: Flags = Flags(0x20);

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of an IKEv2 message: who sends it, and whether it is a response.
    pub fn v2(from_initiator: bool, response: bool) -> Flags {
        let initiator = if from_initiator { Flags::INITIATOR } else { Flags(0) };
        let response = if response { Flags::RESPONSE } else { Flags(0) };
        initiator | response
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#04x})", self.0)
    }
}

/// The fixed header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The initiator's SPI.
    pub initiator: IkeSpi,
    /// The responder's SPI; zero in a first message.
    pub responder: IkeSpi,
    /// The type of the first payload. In IKEv1 messages a number of that version's registry.
    pub next_payload: PayloadType,
    /// The version of the protocol.
    pub version: Version,
    /// The exchange. In IKEv1 messages a number of that version's registry.
    pub exchange: ExchangeType,
    /// The flags.
    pub flags: Flags,
    /// The message ID.
    pub message_id: MessageId,
    /// Octets of the whole message, header included.
    pub length: u32,
}

impl Header {
    /// A header of IKEv2; the first payload's type and the length are filled in when a message is
    /// emitted.
    pub fn v2(
        initiator: IkeSpi,
        responder: IkeSpi,
        exchange: ExchangeType,
        flags: Flags,
        message_id: MessageId,
    ) -> Header {
        Header {
            initiator,
            responder,
            next_payload: PayloadType::NONE,
            version: Version::V2,
            exchange,
            flags,
            message_id,
            length: 0,
        }
    }

    /// A header of IKEv1; the first payload's type and the length are filled in when a message is
    /// emitted.
    pub fn v1(
        initiator: IkeSpi,
        responder: IkeSpi,
        exchange: v1::ExchangeType,
        flags: Flags,
        message_id: MessageId,
    ) -> Header {
        Header {
            initiator,
            responder,
            next_payload: PayloadType::NONE,
            version: Version::V1,
            exchange: ExchangeType(exchange.0),
            flags,
            message_id,
            length: 0,
        }
    }

    /// The exchange, by the names of IKEv1.
    pub fn exchange_v1(&self) -> v1::ExchangeType {
        v1::ExchangeType(self.exchange.0)
    }

    /// The type of the first payload, by the names of IKEv1.
    pub fn next_payload_v1(&self) -> v1::PayloadType {
        v1::PayloadType(self.next_payload.0)
    }

    /// This header with another first payload of IKEv1.
    pub fn with_next_v1(self, first: v1::PayloadType) -> Header {
        Header { next_payload: PayloadType(first.0), ..self }
    }

    /// Reads the header of a datagram, without non-ESP marker.
    ///
    /// # Errors
    ///
    /// Fewer than 28 octets; a length below 28 or beyond the datagram. Any version is read: see
    /// [`Header::check_version`]. Octets after the length are not part of the message: see
    /// [`Header::message`].
    pub fn parse(datagram: &[u8]) -> Result<Header, Error> {
        if datagram.len() < HEADER_LEN {
            let (needed, left) = (HEADER_LEN, datagram.len());
            return Err(Error::header(Reason::Short { field: "header", needed, left }));
        }
        let (_, header) = fields(datagram).map_err(|_| {
            Error::header(Reason::Short {
                field: "header",
                needed: HEADER_LEN,
                left: datagram.len(),
            })
        })?;
        let size = usize::try_from(header.length).unwrap_or(usize::MAX);
        if size < HEADER_LEN {
            let wanted = "28 or more";
            return Err(Error::header(Reason::BadLength { field: "message length", size, wanted }));
        }
        if size > datagram.len() {
            let left = datagram.len();
            return Err(Error::header(Reason::Exceeds { field: "message length", size, left }));
        }
        Ok(header)
    }

    /// Whether we speak the version: the major is 1 or 2, the minor does not matter (RFC 7296 §2.5).
    ///
    /// # Errors
    ///
    /// [`Reason::MajorVersion`], to be answered with INVALID_MAJOR_VERSION.
    pub fn check_version(&self) -> Result<(), Error> {
        match self.version.major() {
            1 | 2 => Ok(()),
            _ => Err(Error::header(Reason::MajorVersion(self.version))),
        }
    }

    /// The messages that stand back to back in these octets, each as long as its header says. What does
    /// not parse is one.
    pub fn messages(mut octets: &[u8]) -> impl Iterator<Item = &[u8]> {
        std::iter::from_fn(move || {
            if octets.is_empty() {
                return None;
            }
            let header = Header::parse(octets).ok();
            let len = header.map_or(octets.len(), |header| header.message(octets).len());
            let (message, rest) = octets.split_at(len);
            octets = rest;
            Some(message)
        })
    }

    /// The octets of the message within its datagram: what the length says.
    pub fn message<'a>(&self, datagram: &'a [u8]) -> &'a [u8] {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        datagram.get(..length).unwrap_or(datagram)
    }

    /// The header's 28 octets.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let mut octets = [0; HEADER_LEN];
        octets[..8].copy_from_slice(&self.initiator.0);
        octets[8..16].copy_from_slice(&self.responder.0);
        octets[16] = self.next_payload.0;
        octets[17] = self.version.0;
        octets[18] = self.exchange.0;
        octets[19] = self.flags.0;
        octets[20..24].copy_from_slice(&self.message_id.0.to_be_bytes());
        octets[24..].copy_from_slice(&self.length.to_be_bytes());
        octets
    }

    /// Whether the message is a response (IKEv2).
    pub fn is_response(&self) -> bool {
        self.flags.contains(Flags::RESPONSE)
    }

    /// Whether the sender is the original initiator of the IKE SA (IKEv2).
    pub fn from_initiator(&self) -> bool {
        self.flags.contains(Flags::INITIATOR)
    }
}

fn spi(input: &[u8]) -> Parsed<'_, IkeSpi> {
    map(take(8usize), |octets: &[u8]| {
        let mut spi = [0; 8];
        spi.copy_from_slice(octets);
        IkeSpi(spi)
    })
    .parse(input)
}

fn fields(input: &[u8]) -> Parsed<'_, Header> {
    let (rest, parts) = (spi, spi, be_u8, be_u8, be_u8, be_u8, be_u32, be_u32).parse(input)?;
    let (initiator, responder, next_payload, version, exchange, flags, message_id, length) = parts;
    let header = Header {
        initiator,
        responder,
        next_payload: PayloadType(next_payload),
        version: Version(version),
        exchange: ExchangeType(exchange),
        flags: Flags(flags),
        message_id: MessageId(message_id),
        length,
    };
    Ok((rest, header))
}
