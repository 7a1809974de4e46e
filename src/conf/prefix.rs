//! Blocks of addresses.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An address prefix; the bits past the length are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// A prefix, host bits cleared; `None` if the length exceeds the family's.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32u32.checked_sub(length.into())?).unwrap_or(0);
                IpAddr::V4((u32::from(v4) & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128u32.checked_sub(length.into())?).unwrap_or(0);
                IpAddr::V6((u128::from(v6) & mask).into())
            }
        };
        Some(Self { address, length })
    }

    /// The prefix of one address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The length in bits.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The single address, if it is one.
    pub fn as_host(&self) -> Option<IpAddr> {
        let full = if self.address.is_ipv4() { 32 } else { 128 };
        (self.length == full).then_some(self.address)
    }

    /// Whether an address lies within.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && Self::new(address, self.length).is_some_and(|p| p.address == self.address)
    }

    /// The last address.
    pub fn last(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => {
                let host = u32::MAX.checked_shr(self.length.into()).unwrap_or(0);
                IpAddr::V4((u32::from(v4) | host).into())
            }
            IpAddr::V6(v6) => {
                let host = u128::MAX.checked_shr(self.length.into()).unwrap_or(0);
                IpAddr::V6((u128::from(v6) | host).into())
            }
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_host() {
            Some(address) => write!(f, "{address}"),
            None => write!(f, "{}/{}", self.address, self.length),
        }
    }
}
