//! The Delete payload (RFC 7296 §3.11): protocol, SPI size, number of SPIs, SPIs.

use crate::wire::error::Reason;
use crate::wire::iana::v2::ProtocolId;
use crate::wire::numbers::EspSpi;
use crate::wire::payload::{Parsed, number8, number16, number32, saturate16, whole};

/// SAs that the sender has deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delete {
    /// The IKE SA over which the message comes.
    Ike,
    /// Child SAs, by the SPIs which the sender expects in packets to it.
    Child {
        /// The protocol of all of them.
        protocol: ProtocolId,
        /// Their SPIs.
        spis: Vec<EspSpi>,
    },
}

impl Delete {
    pub(super) fn parse(body: &[u8]) -> Result<Delete, Reason> {
        let (protocol, size, count, spis) = whole(body, fields)?;
        if protocol == ProtocolId::IKE {
            return match (size, count) {
                (0, 0) => Ok(Delete::Ike),
                (0, said) => Err(Reason::Miscounted { field: "SPIs", said: said.into(), found: 0 }),
                (size, _) => Err(Reason::BadSpi { protocol, size: size.into() }),
            };
        }
        if size != 4 {
            return Err(Reason::BadSpi { protocol, size: size.into() });
        }
        if spis.len() != usize::from(count) {
            let (said, found) = (count.into(), spis.len());
            return Err(Reason::Miscounted { field: "SPIs", said, found });
        }
        Ok(Delete::Child { protocol, spis })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Delete::Ike => out.extend([ProtocolId::IKE.0, 0, 0, 0]),
            Delete::Child { protocol, spis } => {
                out.extend([protocol.0, 4]);
                out.extend(saturate16(spis.len()).to_be_bytes());
                out.extend(spis.iter().flat_map(|spi| spi.0.to_be_bytes()));
            }
        }
    }
}

/// Protocol, SPI size, number of SPIs, and the SPIs if their size is 4.
fn fields(input: &[u8]) -> Parsed<'_, (ProtocolId, u8, u16, Vec<EspSpi>)> {
    let (rest, protocol) = number8("protocol ID")(input)?;
    let (rest, size) = number8("SPI size")(rest)?;
    let (mut rest, count) = number16("number of SPIs")(rest)?;
    let protocol = ProtocolId(protocol);
    let mut spis = Vec::new();
    if size != 4 {
        // Octets after a count of no SPIs are too many; SPIs of an odd size are judged by the size.
        let rest = if size == 0 { rest } else { &[] };
        return Ok((rest, (protocol, size, count, spis)));
    }
    while !rest.is_empty() {
        let spi;
        (rest, spi) = number32("SPI")(rest)?;
        spis.push(EspSpi(spi));
    }
    Ok((rest, (protocol, size, count, spis)))
}
