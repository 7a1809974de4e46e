//! The Configuration payload (RFC 7296 §3.15): type, three reserved octets, attributes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::wire::error::Reason;
use crate::wire::iana::v2::{CfgAttribute, CfgType};
use crate::wire::payload::{Parsed, emit_sized, fixed, number8, number16, sized, whole};

/// The bit of the attribute type that is reserved: sent zero, ignored on receipt.
const RESERVED_BIT: u16 = 0x8000;

/// A request for configuration, or an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Request, reply, set or acknowledgement.
    pub cfg_type: CfgType,
    /// The attributes in their order; the same type may come again.
    pub attributes: Vec<ConfigAttribute>,
}

/// A configuration attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigAttribute {
    /// The type.
    pub attribute: CfgAttribute,
    /// The value; empty in a request that leaves it to the responder.
    pub value: Vec<u8>,
}

impl Config {
    pub(super) fn parse(body: &[u8]) -> Result<Config, Reason> {
        whole(body, |input| -> Parsed<'_, Config> {
            let (rest, cfg_type) = number8("CFG type")(input)?;
            let (mut rest, _) = fixed("reserved", 3)(rest)?;
            let mut attributes = Vec::new();
            while !rest.is_empty() {
                let attribute;
                (rest, attribute) = ConfigAttribute::parse(rest)?;
                attributes.push(attribute);
            }
            Ok((rest, Config { cfg_type: CfgType(cfg_type), attributes }))
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend([self.cfg_type.0, 0, 0, 0]);
        for attribute in &self.attributes {
            out.extend((attribute.attribute.0 & !RESERVED_BIT).to_be_bytes());
            emit_sized(out, 0, |out| out.extend(&attribute.value));
        }
    }
}

impl ConfigAttribute {
    /// An attribute without value, as in a request.
    pub fn empty(attribute: CfgAttribute) -> ConfigAttribute {
        ConfigAttribute { attribute, value: Vec::new() }
    }

    /// An attribute of which the value is an address.
    pub fn address(attribute: CfgAttribute, address: IpAddr) -> ConfigAttribute {
        let value = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        ConfigAttribute { attribute, value }
    }

    /// An attribute of which the value is an IPv6 address and a prefix length, such as
    /// INTERNAL_IP6_ADDRESS.
    pub fn prefix(attribute: CfgAttribute, address: Ipv6Addr, length: u8) -> ConfigAttribute {
        let mut value = address.octets().to_vec();
        value.push(length);
        ConfigAttribute { attribute, value }
    }

    /// The address at the head of the value, with the prefix length or the netmask's length
    /// that follows it: 4 octets, 8 octets (INTERNAL_IP4_SUBNET), 16 octets or 17 octets.
    pub fn to_address(&self) -> Option<(IpAddr, Option<u8>)> {
        if let Ok(octets) = <[u8; 4]>::try_from(self.value.as_slice()) {
            return Some((Ipv4Addr::from(octets).into(), None));
        }
        if let Ok(octets) = <[u8; 8]>::try_from(self.value.as_slice()) {
            let [a, b, c, d, mask @ ..] = octets;
            let mask = u32::from_be_bytes(mask);
            let length = u8::try_from(mask.leading_ones()).ok()?;
            let contiguous = mask.leading_ones() + mask.trailing_zeros() >= 32;
            return contiguous.then_some((Ipv4Addr::new(a, b, c, d).into(), Some(length)));
        }
        let (octets, rest) = self.value.split_first_chunk::<16>()?;
        let address = IpAddr::from(Ipv6Addr::from(*octets));
        match rest {
            [] => Some((address, None)),
            [length @ 0..=128] => Some((address, Some(*length))),
            _ => None,
        }
    }

    fn parse(input: &[u8]) -> Parsed<'_, ConfigAttribute> {
        let (rest, number) = number16("attribute type")(input)?;
        let (rest, size) = number16("attribute length")(rest)?;
        let (rest, value) = sized("attribute length", usize::from(size))(rest)?;
        let attribute = CfgAttribute(number & !RESERVED_BIT);
        Ok((rest, ConfigAttribute { attribute, value: value.to_vec() }))
    }
}
