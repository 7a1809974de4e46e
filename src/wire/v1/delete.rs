//! The Delete payload (RFC 2408 §3.15).
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |              Domain of Interpretation  (DOI)                  |
//! +---------------+---------------+-------------------------------+
//! |  Protocol-Id  |   SPI Size    |           # of SPIs           |
//! +---------------+---------------+-------------------------------+
//! |               Security Parameter Index(es) (SPI)              |
//! +---------------------------------------------------------------+
//! ```

use crate::wire::error::Reason;
use crate::wire::iana::v1::{Doi, ProtocolId};
use crate::wire::numbers::{EspSpi, IkeSpi, Spi};
use crate::wire::payload::{
    Parsed, fail, number8, number16, number32, saturate8, saturate16, sized, whole,
};

/// SAs that the sender has deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Whose numbers these are.
    pub doi: Doi,
    /// The protocol of all of them.
    pub protocol: ProtocolId,
    /// Their SPIs, all of one size: of phase 2 those that the sender expects in packets to it, of phase
    /// 1 both cookies one after the other.
    pub spis: Vec<Spi>,
}

impl Delete {
    /// The phase 1 SA of these cookies is deleted.
    pub fn ike(initiator: IkeSpi, responder: IkeSpi) -> Delete {
        let spis = vec![Spi::Other([initiator.0, responder.0].concat())];
        Delete { doi: Doi::IPSEC, protocol: ProtocolId::ISAKMP, spis }
    }

    /// SAs of phase 2 are deleted.
    pub fn child(protocol: ProtocolId, spis: impl IntoIterator<Item = EspSpi>) -> Delete {
        let spis = spis.into_iter().map(Spi::Child).collect();
        Delete { doi: Doi::IPSEC, protocol, spis }
    }

    /// The cookies of the phase 1 SAs that are deleted.
    pub fn cookies(&self) -> impl Iterator<Item = (IkeSpi, IkeSpi)> {
        let isakmp = self.protocol == ProtocolId::ISAKMP;
        self.spis.iter().filter(move |_| isakmp).filter_map(|spi| match spi {
            Spi::Other(octets) => {
                let (initiator, responder) = octets.split_at_checked(8)?;
                Some((IkeSpi(initiator.try_into().ok()?), IkeSpi(responder.try_into().ok()?)))
            }
            _ => None,
        })
    }

    pub(super) fn parse(body: &[u8]) -> Result<Delete, Reason> {
        whole(body, |input| -> Parsed<'_, Delete> {
            let (rest, doi) = number32("DOI")(input)?;
            let (rest, protocol) = number8("protocol ID")(rest)?;
            let (rest, size) = number8("SPI size")(rest)?;
            let (mut rest, said) = number16("number of SPIs")(rest)?;
            let (protocol, size) = (ProtocolId(protocol), usize::from(size));
            let (right, wanted) = match protocol {
                ProtocolId::ISAKMP => (size == 16, "16"),
                ProtocolId::IPSEC_AH | ProtocolId::IPSEC_ESP => (size == 4, "4"),
                ProtocolId::IPCOMP => (size == 2 || size == 4, "2 or 4"),
                _ => (size > 0, "1 or more"),
            };
            if !right {
                return fail(Reason::BadLength { field: "SPI size", size, wanted });
            }
            let mut spis = Vec::new();
            while !rest.is_empty() {
                let spi;
                (rest, spi) = sized("SPI size", size)(rest)?;
                spis.push(Spi::from_octets(spi));
            }
            if spis.len() != usize::from(said) {
                let (said, found) = (said.into(), spis.len());
                return fail(Reason::Miscounted { field: "SPIs", said, found });
            }
            Ok((rest, Delete { doi: Doi(doi), protocol, spis }))
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        let size = self.spis.first().map_or(0, |spi| spi.octets().len());
        out.extend(self.doi.0.to_be_bytes());
        out.extend([self.protocol.0, saturate8(size)]);
        out.extend(saturate16(self.spis.len()).to_be_bytes());
        self.spis.iter().for_each(|spi| out.extend(spi.octets()));
    }
}
