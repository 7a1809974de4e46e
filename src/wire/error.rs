//! What is wrong with octets that do not parse.

use std::fmt;

use super::header::Version;
use super::iana::v1;
use super::iana::v2::{PayloadType, ProtocolId};

/// Octets that do not parse: where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The part of the message that is at fault.
    pub place: Place,
    /// The first octet of that part, counted from the first of the datagram (or, for payloads that
    /// were inside an encrypted one, from the first of the opened octets).
    pub offset: usize,
    /// What is wrong with it.
    pub reason: Reason,
}

/// The part of a message that is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The fixed header.
    Header,
    /// A payload of IKEv2.
    Payload(PayloadType),
    /// A payload of IKEv1.
    PayloadV1(v1::PayloadType),
}

/// Why octets do not parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A fixed field does not fit into what is left.
    Short {
        /// The field.
        field: &'static str,
        /// Octets it needs.
        needed: usize,
        /// Octets there are.
        left: usize,
    },
    /// A length field promises more octets than there are.
    Exceeds {
        /// What the length belongs to.
        field: &'static str,
        /// Octets it promises.
        size: usize,
        /// Octets there are.
        left: usize,
    },
    /// A length or size field has a value that cannot be.
    BadLength {
        /// What the length belongs to.
        field: &'static str,
        /// What it says.
        size: usize,
        /// What it should be, in words.
        wanted: &'static str,
    },
    /// Octets remain after the last field.
    Trailing {
        /// How many.
        left: usize,
    },
    /// A count says one thing and the list another.
    Miscounted {
        /// What is counted.
        field: &'static str,
        /// What the count says.
        said: usize,
        /// What was found.
        found: usize,
    },
    /// The mark of the last proposal or transform is neither "last" nor "more", or is in the wrong place.
    BadLastMark {
        /// Which list.
        field: &'static str,
        /// The mark.
        mark: u8,
    },
    /// The SPI's size does not suit its protocol.
    BadSpi {
        /// The protocol.
        protocol: ProtocolId,
        /// The SPI's size in octets.
        size: usize,
    },
    /// A range ends before it begins.
    EmptyRange {
        /// Which range.
        field: &'static str,
    },
    /// A fragment's number is not within its total.
    BadFragment {
        /// The fragment's number, from 1.
        number: u16,
        /// How many there are said to be.
        total: u16,
    },
    /// A list is longer than we care to hold.
    TooMany {
        /// What is listed.
        field: &'static str,
        /// The most we take.
        limit: usize,
    },
    /// Payloads follow the encrypted one.
    AfterEncrypted,
    /// The message has no encrypted payload where one is needed.
    NotEncrypted,
    /// A critical payload of a type that we do not know (RFC 7296 §2.5).
    CriticalUnknown(PayloadType),
    /// A major version that we do not speak (RFC 7296 §2.5).
    MajorVersion(Version),
    /// A domain of interpretation that we do not speak (RFC 2408 §2.1).
    Doi(v1::Doi),
    /// A situation that we do not know or want (RFC 2407 §4.2).
    Situation(v1::Situation),
    /// Text that is not UTF-8 or another value out of its grammar.
    Malformed {
        /// Which field.
        field: &'static str,
    },
}

impl Error {
    /// An error in the fixed header.
    pub(crate) fn header(reason: Reason) -> Error {
        Error { place: Place::Header, offset: 0, reason }
    }

    /// An error in a payload of IKEv2 that begins at `offset`.
    pub(crate) fn payload(payload: PayloadType, offset: usize, reason: Reason) -> Error {
        Error { place: Place::Payload(payload), offset, reason }
    }

    /// An error in a payload of IKEv1 that begins at `offset`.
    pub(crate) fn payload_v1(payload: v1::PayloadType, offset: usize, reason: Reason) -> Error {
        Error { place: Place::PayloadV1(payload), offset, reason }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at octet {}: {}", self.place, self.offset, self.reason)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Header => f.write_str("header"),
            Place::Payload(PayloadType::N) => f.write_str("Notify payload"),
            Place::Payload(PayloadType::D) => f.write_str("Delete payload"),
            Place::Payload(PayloadType::V) => f.write_str("Vendor ID payload"),
            Place::Payload(payload) => write!(f, "{payload} payload"),
            Place::PayloadV1(v1::PayloadType::N) => f.write_str("Notification payload"),
            Place::PayloadV1(v1::PayloadType::D) => f.write_str("Delete payload"),
            Place::PayloadV1(v1::PayloadType::VID) => f.write_str("Vendor ID payload"),
            Place::PayloadV1(payload) => write!(f, "{payload} payload"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Short { field, needed, left } => {
                write!(f, "{field} needs {needed} octets, {left} are left")
            }
            Reason::Exceeds { field, size, left } => {
                write!(f, "{field} {size} exceeds the {left} octets left")
            }
            Reason::BadLength { field, size, wanted } => {
                write!(f, "{field} is {size}, wanted {wanted}")
            }
            Reason::Trailing { left } => write!(f, "{left} octets after the last field"),
            Reason::Miscounted { field, said, found } => {
                write!(f, "{said} {field} announced, {found} found")
            }
            Reason::BadLastMark { field, mark } => {
                write!(f, "mark {mark} of the {field} is wrong in this place")
            }
            Reason::BadSpi { protocol, size } => {
                write!(f, "SPI size {size} does not suit protocol {protocol}")
            }
            Reason::EmptyRange { field } => write!(f, "{field} range ends before it begins"),
            Reason::BadFragment { number, total } => write!(f, "fragment {number} of {total}"),
            Reason::TooMany { field, limit } => write!(f, "more than {limit} {field}"),
            Reason::AfterEncrypted => f.write_str("octets follow the encrypted payload"),
            Reason::NotEncrypted => f.write_str("no encrypted payload in the message"),
            Reason::CriticalUnknown(payload) => {
                write!(f, "critical payload of unknown type {}", payload.0)
            }
            Reason::MajorVersion(version) => write!(f, "version {version} is not spoken here"),
            Reason::Doi(doi) => write!(f, "DOI {doi} is not spoken here"),
            Reason::Situation(situation) => write!(f, "situation {situation} is not spoken here"),
            Reason::Malformed { field } => write!(f, "{field} is malformed"),
        }
    }
}
