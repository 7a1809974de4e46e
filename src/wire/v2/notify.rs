//! The Notify payload (RFC 7296 §3.10).
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |  Protocol ID  |   SPI Size    |      Notify Message Type      |
//! +---------------+---------------+-------------------------------+
//! |                Security Parameter Index (SPI)                 |
//! +---------------------------------------------------------------+
//! |                       Notification Data                       |
//! +---------------------------------------------------------------+
//! ```

use crate::wire::error::{Error, Reason};
use crate::wire::header::Version;
use crate::wire::iana::v2::{HashId, NotifyType, ProtocolId};
use crate::wire::numbers::{EspSpi, Spi};
use crate::wire::payload::{Parsed, number8, number16, remainder, saturate8, sized, whole};

/// An error or status message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The protocol of the SA that is meant, [`ProtocolId::NONE`] if there is no SPI.
    pub protocol: ProtocolId,
    /// The SPI of the SA that is meant.
    pub spi: Spi,
    /// What is notified.
    pub notify_type: NotifyType,
    /// Data that depends on the type.
    pub data: Vec<u8>,
}

impl Notify {
    /// A notification of no particular SA, without data.
    pub fn new(notify_type: NotifyType) -> Notify {
        Notify::with_data(notify_type, Vec::new())
    }

    /// A notification of no particular SA.
    pub fn with_data(notify_type: NotifyType, data: Vec<u8>) -> Notify {
        Notify { protocol: ProtocolId::NONE, spi: Spi::None, notify_type, data }
    }

    /// A notification about a child SA, such as REKEY_SA and CHILD_SA_NOT_FOUND.
    pub fn about_child(notify_type: NotifyType, protocol: ProtocolId, spi: EspSpi) -> Notify {
        Notify { protocol, spi: Spi::Child(spi), notify_type, data: Vec::new() }
    }

    /// SIGNATURE_HASH_ALGORITHMS with these (RFC 7427 §4).
    pub fn hash_algorithms(hashes: &[HashId]) -> Notify {
        let data = hashes.iter().flat_map(|hash| hash.0.to_be_bytes()).collect();
        Notify::with_data(NotifyType::SIGNATURE_HASH_ALGORITHMS, data)
    }

    /// The hash algorithms which a SIGNATURE_HASH_ALGORITHMS lists; an odd octet at the end is ignored.
    pub fn hashes(&self) -> Vec<HashId> {
        let pairs = self.data.chunks_exact(2);
        pairs.map(|pair| HashId(u16::from_be_bytes([pair[0], pair[1]]))).collect()
    }

    /// What to tell the peer about a message that does not parse: UNSUPPORTED_CRITICAL_PAYLOAD with the
    /// payload's type, INVALID_MAJOR_VERSION with the highest we speak, else INVALID_SYNTAX.
    ///
    /// RFC 7296 §2.21 says when an answer may be sent: for an encrypted request only in a
    /// message that is encrypted too.
    pub fn answering(error: &Error) -> Notify {
        match error.reason {
            Reason::CriticalUnknown(payload) => {
                let unsupported = NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD;
                Notify::with_data(unsupported, vec![payload.0])
            }
            Reason::MajorVersion(_) => {
                let highest = vec![Version::V2.major()];
                Notify::with_data(NotifyType::INVALID_MAJOR_VERSION, highest)
            }
            _ => Notify::new(NotifyType::INVALID_SYNTAX),
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<Notify, Reason> {
        whole(body, |input| -> Parsed<'_, Notify> {
            let (rest, protocol) = number8("protocol ID")(input)?;
            let (rest, spi_size) = number8("SPI size")(rest)?;
            let (rest, notify_type) = number16("notify message type")(rest)?;
            let (rest, spi) = sized("SPI size", usize::from(spi_size))(rest)?;
            let (rest, data) = remainder(rest)?;
            let notify = Notify {
                protocol: ProtocolId(protocol),
                spi: Spi::from_octets(spi),
                notify_type: NotifyType(notify_type),
                data,
            };
            Ok((rest, notify))
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        let spi = self.spi.octets();
        out.extend([self.protocol.0, saturate8(spi.len())]);
        out.extend(self.notify_type.0.to_be_bytes());
        out.extend(spi);
        out.extend(&self.data);
    }
}

impl From<NotifyType> for Notify {
    fn from(notify_type: NotifyType) -> Self {
        Notify::new(notify_type)
    }
}
