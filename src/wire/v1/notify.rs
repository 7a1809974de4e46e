//! The Notification payload (RFC 2408 §3.14).
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |              Domain of Interpretation  (DOI)                  |
//! +---------------+---------------+-------------------------------+
//! |  Protocol-ID  |   SPI Size    |      Notify Message Type      |
//! +---------------+---------------+-------------------------------+
//! |                Security Parameter Index (SPI)                 |
//! +---------------------------------------------------------------+
//! |                       Notification Data                       |
//! +---------------------------------------------------------------+
//! ```

use crate::wire::attribute::Attribute;
use crate::wire::error::{Error, Place, Reason};
use crate::wire::iana::v1::{Doi, LifeType, NotifyType, PayloadType, ProtocolId};
use crate::wire::numbers::{EspSpi, IkeSpi, Spi};
use crate::wire::payload::{
    Parsed, number8, number16, number32, remainder, saturate8, sized, whole,
};

use super::sa::lifetimes;

/// An error or status message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Whose numbers these are.
    pub doi: Doi,
    /// The protocol of the SA that is meant.
    pub protocol: ProtocolId,
    /// The SPI of the SA that is meant: of phase 1 both cookies, one, or none.
    pub spi: Spi,
    /// What is notified.
    pub notify_type: NotifyType,
    /// Data that depends on the type.
    pub data: Vec<u8>,
}

impl Notify {
    /// A notification of phase 1 without SPI, such as one in clear about a message that was refused.
    pub fn new(notify_type: NotifyType) -> Notify {
        Notify {
            doi: Doi::IPSEC,
            protocol: ProtocolId::ISAKMP,
            spi: Spi::None,
            notify_type,
            data: Vec::new(),
        }
    }

    /// A notification about the phase 1 SA of these cookies, such as INITIAL-CONTACT (RFC 2407
    /// §4.6.3.3) and R-U-THERE (RFC 3706 §5.3).
    pub fn about_ike(
        notify_type: NotifyType,
        initiator: IkeSpi,
        responder: IkeSpi,
        data: Vec<u8>,
    ) -> Notify {
        let spi = Spi::Other([initiator.0, responder.0].concat());
        Notify { spi, data, ..Notify::new(notify_type) }
    }

    /// A notification about a phase 2 SA, such as CONNECTED (RFC 2408 §3.14) and RESPONDER-LIFETIME
    /// (RFC 2407 §4.6.3.1).
    pub fn about_child(
        notify_type: NotifyType,
        protocol: ProtocolId,
        spi: EspSpi,
        data: Vec<u8>,
    ) -> Notify {
        Notify { protocol, spi: Spi::Child(spi), data, ..Notify::new(notify_type) }
    }

    /// The sequence number of R-U-THERE and R-U-THERE-ACK (RFC 3706 §5.4).
    pub fn sequence(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.data.as_slice().try_into().ok()?))
    }

    /// The attributes in the data, as RESPONDER-LIFETIME and ATTRIBUTES-NOT-SUPPORTED carry them; none if
    /// the data is something else.
    pub fn attributes(&self) -> Vec<Attribute> {
        Attribute::parse_all(&self.data).map(|(_, attributes)| attributes).unwrap_or_default()
    }

    /// The lifetimes that a RESPONDER-LIFETIME sets (RFC 2407 §4.6.3.1).
    pub fn lifetimes(&self) -> Vec<(LifeType, u64)> {
        lifetimes(&self.attributes())
    }

    /// What to tell the peer about a message that does not parse. Whether it may be told is the
    /// business of whoever holds the keys: never in clear once there are some.
    pub fn answering(error: &Error) -> Notify {
        Notify::new(match (&error.reason, error.place) {
            (Reason::MajorVersion(_), _) => NotifyType::INVALID_MAJOR_VERSION,
            (Reason::Doi(_), _) => NotifyType::DOI_NOT_SUPPORTED,
            (Reason::Situation(_), _) => NotifyType::SITUATION_NOT_SUPPORTED,
            (_, Place::PayloadV1(PayloadType::SA)) => NotifyType::BAD_PROPOSAL_SYNTAX,
            (_, Place::PayloadV1(PayloadType::ID)) => NotifyType::INVALID_ID_INFORMATION,
            (_, Place::PayloadV1(PayloadType::CERT)) => NotifyType::INVALID_CERT_ENCODING,
            _ => NotifyType::PAYLOAD_MALFORMED,
        })
    }

    pub(super) fn parse(body: &[u8]) -> Result<Notify, Reason> {
        whole(body, |input| -> Parsed<'_, Notify> {
            let (rest, doi) = number32("DOI")(input)?;
            let (rest, protocol) = number8("protocol ID")(rest)?;
            let (rest, spi_size) = number8("SPI size")(rest)?;
            let (rest, notify_type) = number16("notify message type")(rest)?;
            let (rest, spi) = sized("SPI size", usize::from(spi_size))(rest)?;
            let (rest, data) = remainder(rest)?;
            let notify = Notify {
                doi: Doi(doi),
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
        out.extend(self.doi.0.to_be_bytes());
        out.extend([self.protocol.0, saturate8(spi.len())]);
        out.extend(self.notify_type.0.to_be_bytes());
        out.extend(spi);
        out.extend(&self.data);
    }
}
