//! The identifiers that messages carry: SPIs and message IDs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An IKE SPI (RFC 7296 §3.1): eight octets chosen by one end, called cookie in IKEv1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct IkeSpi(pub [u8; 8]);

impl IkeSpi {
    /// The SPI that stands for "not chosen yet".
    pub const ZERO: IkeSpi = IkeSpi([0; 8]);

    /// Whether no SPI has been chosen.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The SPI of an ESP or AH SA (RFC 4301 §4.1), in host order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EspSpi(pub u32);

impl fmt::Display for EspSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

impl fmt::Debug for EspSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A message ID (RFC 7296 §2.2), in host order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct MessageId(pub u32);

impl MessageId {
    /// The ID after this one; none when the counter is spent and the IKE SA must be closed
    /// (RFC 7296 §2.2).
    pub fn next(self) -> Option<MessageId> {
        self.0.checked_add(1).map(MessageId)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An SPI field of variable size, as proposals and notifications carry it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Spi {
    /// No SPI: size 0.
    #[default]
    None,
    /// Four octets: the SPI of an ESP or AH SA.
    Child(EspSpi),
    /// Eight octets: the SPI of an IKE SA.
    Ike(IkeSpi),
    /// Any other size: the octets as they came.
    Other(Vec<u8>),
}

impl Spi {
    /// The SPI in these octets; their number says which kind.
    pub fn from_octets(octets: &[u8]) -> Spi {
        if octets.is_empty() {
            return Spi::None;
        }
        if let Ok(octets) = <[u8; 4]>::try_from(octets) {
            return Spi::Child(EspSpi(u32::from_be_bytes(octets)));
        }
        match <[u8; 8]>::try_from(octets) {
            Ok(octets) => Spi::Ike(IkeSpi(octets)),
            Err(_) => Spi::Other(octets.to_vec()),
        }
    }

    /// The octets as they go on the wire.
    pub fn octets(&self) -> Vec<u8> {
        match self {
            Spi::None => Vec::new(),
            Spi::Child(spi) => spi.0.to_be_bytes().to_vec(),
            Spi::Ike(spi) => spi.0.to_vec(),
            Spi::Other(octets) => octets.clone(),
        }
    }

    /// The SPI of an ESP or AH SA, if it is one.
    pub fn child(&self) -> Option<EspSpi> {
        match self {
            Spi::Child(spi) => Some(*spi),
            _ => None,
        }
    }

    /// The SPI of an IKE SA, if it is one.
    pub fn ike(&self) -> Option<IkeSpi> {
        match self {
            Spi::Ike(spi) => Some(*spi),
            _ => None,
        }
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spi::None => f.write_str("none"),
            Spi::Child(spi) => spi.fmt(f),
            Spi::Ike(spi) => spi.fmt(f),
            Spi::Other(octets) => octets.iter().try_for_each(|o| write!(f, "{o:02x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_spi_is_told_by_its_size_and_keeps_its_octets() {
        for size in [0, 1, 3, 4, 5, 8, 9, 255] {
            let octets: Vec<u8> = (0..size).collect();
            let spi = Spi::from_octets(&octets);
            assert_eq!(spi.octets(), octets);
            assert_eq!(spi.child().is_some(), size == 4);
            assert_eq!(spi.ike().is_some(), size == 8);
            assert_eq!(spi == Spi::None, size == 0);
        }
    }

    #[test]
    fn message_ids_end() {
        assert_eq!(MessageId(0).next(), Some(MessageId(1)));
        assert_eq!(MessageId(u32::MAX).next(), None);
    }
}
