//! The Traffic Selector payloads (RFC 7296 §3.13).
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |   TS Type     |IP Protocol ID |       Selector Length         |
//! +---------------+---------------+-------------------------------+
//! |           Start Port          |           End Port            |
//! +-------------------------------+-------------------------------+
//! |                       Starting Address                        |
//! +---------------------------------------------------------------+
//! |                        Ending Address                         |
//! +---------------------------------------------------------------+
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::wire::error::Reason;
use crate::wire::iana::v2::TsType;
use crate::wire::payload::{
    Parsed, emit_sized, fail, fixed, number8, number16, remainder, saturate8, sized, whole,
};

/// The selectors of a TSi or TSr payload.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ts {
    /// The ranges of IP traffic, in their order.
    pub selectors: Vec<TrafficSelector>,
    /// Selectors of other types, to be passed over; emitted after the others.
    pub others: Vec<OtherSelector>,
}

/// A range of IP traffic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TrafficSelector {
    /// The IP protocol; 0 is any.
    pub protocol: u8,
    /// First and last port, or ICMP type and code as RFC 4301 §4.4.1.1 packs them. (0, 65535) is any;
    /// (65535, 0) is OPAQUE.
    pub ports: (u16, u16),
    /// First and last address, of one family.
    pub addresses: (IpAddr, IpAddr),
}

/// A selector of a type that we do not know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OtherSelector {
    /// The type.
    pub ts_type: TsType,
    /// The octet after the type: an IP protocol in some types, reserved in others.
    pub protocol: u8,
    /// The octets after the selector length.
    pub body: Vec<u8>,
}

impl Ts {
    /// A payload of these ranges.
    pub fn new(selectors: Vec<TrafficSelector>) -> Ts {
        Ts { selectors, others: Vec::new() }
    }

    pub(super) fn parse(body: &[u8]) -> Result<Ts, Reason> {
        whole(body, |input| -> Parsed<'_, Ts> {
            let (rest, said) = number8("number of traffic selectors")(input)?;
            let (mut rest, _) = fixed("reserved", 3)(rest)?;
            let mut ts = Ts::default();
            while !rest.is_empty() {
                rest = ts.parse_one(rest)?;
            }
            let found = ts.selectors.len() + ts.others.len();
            if found != usize::from(said) {
                let said = said.into();
                return fail(Reason::Miscounted { field: "traffic selectors", said, found });
            }
            Ok((rest, ts))
        })
    }

    /// Reads one selector and gives what is left after it.
    fn parse_one<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], nom::Err<Reason>> {
        let (rest, ts_type) = number8("TS type")(input)?;
        let (rest, protocol) = number8("IP protocol ID")(rest)?;
        let (_, size) = number16("selector length")(rest)?;
        let size = usize::from(size);
        if size < 4 {
            let wanted = "4 or more";
            return fail(Reason::BadLength { field: "selector length", size, wanted });
        }
        let (rest, octets) = sized("selector length", size)(input)?;
        let body = &octets[4..];
        let ts_type = TsType(ts_type);
        let selector = match ts_type {
            TsType::TS_IPV4_ADDR_RANGE => range(protocol, body, size, v4, 16),
            TsType::TS_IPV6_ADDR_RANGE => range(protocol, body, size, v6, 40),
            _ => {
                let (_, body) = remainder(body)?;
                self.others.push(OtherSelector { ts_type, protocol, body });
                return Ok(rest);
            }
        };
        self.selectors.push(selector.map_err(nom::Err::Failure)?);
        Ok(rest)
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        let count = self.selectors.len() + self.others.len();
        out.extend([saturate8(count), 0, 0, 0]);
        self.selectors.iter().for_each(|selector| selector.emit(out));
        for other in &self.others {
            out.extend([other.ts_type.0, other.protocol]);
            emit_sized(out, 4, |out| out.extend(&other.body));
        }
    }
}

impl TrafficSelector {
    /// All ports.
    pub const ANY_PORTS: (u16, u16) = (0, u16::MAX);

    /// Ports that cannot be seen, as in fragments (RFC 4301 §4.4.1.1).
    pub const OPAQUE_PORTS: (u16, u16) = (u16::MAX, 0);

    /// The IP protocols whose "ports" are a type and a code: ICMP and ICMPv6.
    pub const ICMP: [u8; 2] = [1, 58];

    /// The IP protocols that have ports: TCP, UDP, DCCP, SCTP and UDP-Lite.
    pub const PORTED: [u8; 5] = [6, 17, 33, 132, 136];

    /// The selector's type, as the addresses have it.
    pub fn ts_type(&self) -> TsType {
        match self.addresses.0 {
            IpAddr::V4(_) => TsType::TS_IPV4_ADDR_RANGE,
            IpAddr::V6(_) => TsType::TS_IPV6_ADDR_RANGE,
        }
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend([self.ts_type().0, self.protocol]);
        emit_sized(out, 4, |out| {
            out.extend(self.ports.0.to_be_bytes());
            out.extend(self.ports.1.to_be_bytes());
            for address in [self.addresses.0, self.addresses.1] {
                match address {
                    IpAddr::V4(address) => out.extend(address.octets()),
                    IpAddr::V6(address) => out.extend(address.octets()),
                }
            }
        });
    }
}

impl fmt::Display for TrafficSelector {
    /// `192.0.2.0-192.0.2.255 proto 6 port 80-80`, without what is any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.addresses.0, self.addresses.1)?;
        if self.protocol != 0 {
            write!(f, " proto {}", self.protocol)?;
        }
        match self.ports {
            Self::ANY_PORTS => Ok(()),
            Self::OPAQUE_PORTS => f.write_str(" port opaque"),
            (first, last) => write!(f, " port {first}-{last}"),
        }
    }
}

impl fmt::Debug for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn range(
    protocol: u8,
    body: &[u8],
    size: usize,
    address: fn(&[u8]) -> Parsed<'_, IpAddr>,
    right: usize,
) -> Result<TrafficSelector, Reason> {
    if size != right {
        let wanted = "16 for IPv4, 40 for IPv6";
        return Err(Reason::BadLength { field: "selector length", size, wanted });
    }
    let selector = whole(body, |input| {
        let (rest, first_port) = number16("start port")(input)?;
        let (rest, last_port) = number16("end port")(rest)?;
        let (rest, first) = address(rest)?;
        let (rest, last) = address(rest)?;
        let ports = (first_port, last_port);
        Ok((rest, TrafficSelector { protocol, ports, addresses: (first, last) }))
    })?;
    if selector.addresses.0 > selector.addresses.1 {
        return Err(Reason::EmptyRange { field: "address" });
    }
    let ports = selector.ports;
    if ports.0 > ports.1 && ports != TrafficSelector::OPAQUE_PORTS {
        return Err(Reason::EmptyRange { field: "port" });
    }
    Ok(selector)
}

fn v4(input: &[u8]) -> Parsed<'_, IpAddr> {
    let (rest, octets) = fixed("IPv4 address", 4)(input)?;
    let mut address = [0; 4];
    address.copy_from_slice(octets);
    Ok((rest, Ipv4Addr::from(address).into()))
}

fn v6(input: &[u8]) -> Parsed<'_, IpAddr> {
    let (rest, octets) = fixed("IPv6 address", 16)(input)?;
    let mut address = [0; 16];
    address.copy_from_slice(octets);
    Ok((rest, Ipv6Addr::from(address).into()))
}
