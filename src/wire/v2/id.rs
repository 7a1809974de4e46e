//! The Identification payloads (RFC 7296 §3.5): type, three reserved octets, data.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::wire::dn;
use crate::wire::error::Reason;
use crate::wire::iana::v2::IdType;
use crate::wire::payload::{Parsed, fixed, number8, remainder, whole};

/// An identity as it travels.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Id {
    /// What kind of identity.
    pub id_type: IdType,
    /// The identity: text without terminator, address, DER, or opaque octets, by the type.
    pub data: Vec<u8>,
}

impl Id {
    /// The address, if the identity is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.id_type {
            IdType::ID_IPV4_ADDR => {
                let octets: [u8; 4] = self.data.as_slice().try_into().ok()?;
                Some(Ipv4Addr::from(octets).into())
            }
            IdType::ID_IPV6_ADDR => {
                let octets: [u8; 16] = self.data.as_slice().try_into().ok()?;
                Some(Ipv6Addr::from(octets).into())
            }
            _ => None,
        }
    }

    /// The octets over which an AUTH payload is computed: the body without generic header, that is
    /// RestOfInitIDPayload or RestOfRespIDPayload of RFC 7296 §2.15.
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.data.len());
        self.emit(&mut out);
        out
    }

    /// Reads the body of an Identification payload, the inverse of [`Id::body`]. The reserved octets
    /// are not kept; an implementation that sets them fails to authenticate.
    ///
    /// # Errors
    ///
    /// A body under four octets; an address of the wrong length.
    pub fn parse(body: &[u8]) -> Result<Id, Reason> {
        let id = whole(body, |input| -> Parsed<'_, Id> {
            let (rest, id_type) = number8("ID type")(input)?;
            let (rest, _) = fixed("reserved", 3)(rest)?;
            let (rest, data) = remainder(rest)?;
            Ok((rest, Id { id_type: IdType(id_type), data }))
        })?;
        let size = id.data.len();
        match id.id_type {
            IdType::ID_IPV4_ADDR if size != 4 => {
                Err(Reason::BadLength { field: "IPv4 address length", size, wanted: "4" })
            }
            IdType::ID_IPV6_ADDR if size != 16 => {
                Err(Reason::BadLength { field: "IPv6 address length", size, wanted: "16" })
            }
            _ => Ok(id),
        }
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend([self.id_type.0, 0, 0, 0]);
        out.extend(&self.data);
    }
}

impl fmt::Display for Id {
    /// Type and identity; octets that are neither printable text nor a name in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.id_type)?;
        if let Some(address) = self.address() {
            return write!(f, "{address}");
        }
        if self.id_type == IdType::ID_DER_ASN1_DN
            && let Some(name) = dn::print(&self.data)
        {
            return f.write_str(&name);
        }
        match std::str::from_utf8(&self.data) {
            Ok(text) if !text.chars().any(char::is_control) => f.write_str(text),
            _ => self.data.iter().try_for_each(|octet| write!(f, "{octet:02x}")),
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
