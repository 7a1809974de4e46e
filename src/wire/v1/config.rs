//! The Attribute payload of the transaction exchange (draft-ietf-ipsec-isakmp-mode-cfg §3.2): for
//! configuration (Mode Config) and for extended authentication (XAUTH).
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |     Type      |   RESERVED    |           Identifier          |
//! +---------------+---------------+-------------------------------+
//! |                           Attributes                          |
//! +---------------------------------------------------------------+
//! ```

use std::net::IpAddr;

use super::id::octets_of;
use crate::wire::attribute::{Attribute, AttributeValue};
use crate::wire::error::Reason;
use crate::wire::iana::v1::{ConfigAttribute, ConfigType};
use crate::wire::payload::{Parsed, fixed, number8, number16, whole};

/// A request, a reply, something set, or its acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Which of them.
    pub config_type: ConfigType,
    /// Binds a reply to its request.
    pub identifier: u16,
    /// The attributes in their order; the same type may come again.
    pub attributes: Vec<Attribute>,
}

impl Attributes {
    /// The first attribute of this type.
    pub fn find(&self, wanted: ConfigAttribute) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.attribute_type == wanted.0)
    }

    /// Whether there is an attribute of this type.
    pub fn has(&self, wanted: ConfigAttribute) -> bool {
        self.find(wanted).is_some()
    }

    /// The octets of the first attribute of this type; empty octets if it has no value.
    pub fn octets(&self, wanted: ConfigAttribute) -> Option<Vec<u8>> {
        self.find(wanted).map(|attribute| match &attribute.value {
            AttributeValue::Short(value) => value.to_be_bytes().to_vec(),
            AttributeValue::Long(octets) => octets.clone(),
        })
    }

    pub(super) fn parse(body: &[u8]) -> Result<Attributes, Reason> {
        whole(body, |input| -> Parsed<'_, Attributes> {
            let (rest, config_type) = number8("CFG type")(input)?;
            let (rest, _) = fixed("reserved", 1)(rest)?;
            let (rest, identifier) = number16("identifier")(rest)?;
            let (rest, attributes) = Attribute::parse_all(rest)?;
            let config_type = ConfigType(config_type);
            Ok((rest, Attributes { config_type, identifier, attributes }))
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend([self.config_type.0, 0]);
        out.extend(self.identifier.to_be_bytes());
        self.attributes.iter().for_each(|attribute| attribute.emit(out));
    }
}

impl ConfigAttribute {
    /// This attribute without value, as in a request.
    pub fn empty(self) -> Attribute {
        self.with(&[])
    }

    /// This attribute with a value of any length.
    pub fn with(self, octets: &[u8]) -> Attribute {
        Attribute { attribute_type: self.0, value: AttributeValue::Long(octets.to_vec()) }
    }

    /// This attribute with an address for its value.
    pub fn with_address(self, address: IpAddr) -> Attribute {
        self.with(&octets_of(address))
    }
}

impl Attribute {
    /// The address, if the value is one.
    pub fn to_address(&self) -> Option<IpAddr> {
        let AttributeValue::Long(octets) = &self.value else { return None };
        if let Ok(octets) = <[u8; 4]>::try_from(octets.as_slice()) {
            return Some(octets.into());
        }
        <[u8; 16]>::try_from(octets.as_slice()).ok().map(IpAddr::from)
    }
}
