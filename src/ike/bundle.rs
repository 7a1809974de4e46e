//! What stands beside the SA of a child in a bundle: IPComp within it, AH around it.

use super::child::Agreement;
use super::event::Cpi;
use crate::conf::SaProtocol;
use crate::wire::EspSpi;
use crate::wire::iana::v2::{IntegrityId, IpcompId};

/// The other SAs of a bundle, as they were agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bundle {
    /// Packets are compressed first: our CPI and the peer's.
    ipcomp: Option<(Cpi, Cpi)>,
    /// AH stands around ESP.
    around: Option<Around>,
}

/// AH around ESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Around {
    /// The algorithm.
    pub integrity: IntegrityId,
    /// SPI of packets that we receive.
    pub spi_in: EspSpi,
    /// SPI of packets that we send.
    pub spi_out: EspSpi,
}

impl Bundle {
    /// IPComp by our CPI and the peer's, and AH, if there is either.
    pub fn of(ipcomp: Option<(Cpi, Cpi)>, around: Option<Around>) -> Option<Box<Self>> {
        (ipcomp.is_some() || around.is_some()).then(|| Box::new(Self { ipcomp, around }))
    }
}

impl Agreement {
    /// With IPComp, our CPI and the peer's.
    pub fn ipcomp(&self) -> Option<(Cpi, Cpi)> {
        self.bundle.as_ref()?.ipcomp
    }

    /// AH around ESP.
    pub fn around(&self) -> Option<&Around> {
        self.bundle.as_ref()?.around.as_ref()
    }

    /// Whether packets that we send bear this SPI of this protocol.
    pub fn sends_by(&self, protocol: SaProtocol, spi: EspSpi) -> bool {
        let around = self.around().map(|around| (SaProtocol::Ah, around.spi_out));
        (self.protocol, self.spi_out) == (protocol, spi) || around == Some((protocol, spi))
    }

    /// Whether packets that we send bear this SPI, of whichever protocol.
    pub fn sends(&self, spi: EspSpi) -> bool {
        [SaProtocol::Esp, SaProtocol::Ah].into_iter().any(|protocol| self.sends_by(protocol, spi))
    }

    /// The algorithms of all SAs of one direction, printed from the inside out.
    pub fn printed_suite(&self) -> String {
        let ipcomp = self.ipcomp().map(|_| format!("{} within ", IpcompId::IPCOMP_DEFLATE));
        let around = self.around().map(|around| format!(" within AH {}", around.integrity));
        let (ipcomp, around) = (ipcomp.unwrap_or_default(), around.unwrap_or_default());
        format!("{ipcomp}{}{around}", self.suite)
    }
}
