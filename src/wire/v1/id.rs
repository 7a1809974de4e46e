//! The Identification payload of the IPsec DOI (RFC 2407 §4.6.2).
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |   ID Type     |  Protocol ID  |             Port              |
//! +---------------+---------------+-------------------------------+
//! |                     Identification Data                       |
//! +---------------------------------------------------------------+
//! ```

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::wire::dn;
use crate::wire::error::Reason;
use crate::wire::iana::v1::IdType;
use crate::wire::payload::{Parsed, number8, number16, remainder, whole};

/// An identity as it travels: of a peer in phase 1, of traffic in phase 2.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Id {
    /// What kind of identity.
    pub id_type: IdType,
    /// The IP protocol; 0 is any.
    pub protocol: u8,
    /// The port; 0 is any.
    pub port: u16,
    /// The identity: text without terminator, addresses, DER, or opaque octets, by the type.
    pub data: Vec<u8>,
}

/// The addresses of an identity of traffic, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first address.
    pub first: IpAddr,
    /// The last address, of the same family.
    pub last: IpAddr,
}

impl Id {
    /// The address, as an identity of any protocol and port.
    pub fn of_address(address: IpAddr) -> Id {
        let id_type = match address {
            IpAddr::V4(_) => IdType::ID_IPV4_ADDR,
            IpAddr::V6(_) => IdType::ID_IPV6_ADDR,
        };
        Id { id_type, protocol: 0, port: 0, data: octets_of(address) }
    }

    /// A network of this prefix length (which is cut to the family's width) as an identity.
    pub fn of_subnet(address: IpAddr, length: u8) -> Id {
        let (id_type, data) = match address {
            IpAddr::V4(v4) => {
                let mask = !u32::MAX.checked_shr(length.into()).unwrap_or(0);
                let net = u32::from(v4) & mask;
                (IdType::ID_IPV4_ADDR_SUBNET, [net.to_be_bytes(), mask.to_be_bytes()].concat())
            }
            IpAddr::V6(v6) => {
                let mask = !u128::MAX.checked_shr(length.into()).unwrap_or(0);
                let net = u128::from(v6) & mask;
                (IdType::ID_IPV6_ADDR_SUBNET, [net.to_be_bytes(), mask.to_be_bytes()].concat())
            }
        };
        Id { id_type, protocol: 0, port: 0, data }
    }

    /// The addresses which the identity names: one, a network, or a range. None for the types that
    /// name something else.
    pub fn range(&self) -> Option<IdRange> {
        let one = |first: IpAddr| Some(IdRange { first, last: first });
        match self.id_type {
            IdType::ID_IPV4_ADDR => one(<[u8; 4]>::try_from(&self.data[..]).ok()?.into()),
            IdType::ID_IPV6_ADDR => one(<[u8; 16]>::try_from(&self.data[..]).ok()?.into()),
            IdType::ID_IPV4_ADDR_SUBNET => {
                let (net, mask) = halves::<4>(&self.data)?;
                let (net, mask) = (u32::from_be_bytes(net), u32::from_be_bytes(mask));
                let (first, last) = (net & mask, net | !mask);
                Some(IdRange { first: first.to_be_bytes().into(), last: last.to_be_bytes().into() })
            }
            IdType::ID_IPV6_ADDR_SUBNET => {
                let (net, mask) = halves::<16>(&self.data)?;
                let (net, mask) = (u128::from_be_bytes(net), u128::from_be_bytes(mask));
                let (first, last) = (net & mask, net | !mask);
                Some(IdRange { first: first.to_be_bytes().into(), last: last.to_be_bytes().into() })
            }
            IdType::ID_IPV4_ADDR_RANGE => {
                let (first, last) = halves::<4>(&self.data)?;
                Some(IdRange { first: first.into(), last: last.into() })
            }
            IdType::ID_IPV6_ADDR_RANGE => {
                let (first, last) = halves::<16>(&self.data)?;
                Some(IdRange { first: first.into(), last: last.into() })
            }
            _ => None,
        }
    }

    /// The body without generic header: `IDii_b` and `IDir_b` of RFC 2409 §5.
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.data.len());
        self.emit(&mut out);
        out
    }

    /// Reads the body of an Identification payload, the inverse of [`Id::body`].
    ///
    /// # Errors
    ///
    /// A body under four octets; addresses of the wrong length; a mask with holes; a range that ends
    /// before it begins.
    pub fn parse(body: &[u8]) -> Result<Id, Reason> {
        let id = whole(body, |input| -> Parsed<'_, Id> {
            let (rest, id_type) = number8("ID type")(input)?;
            let (rest, protocol) = number8("protocol ID")(rest)?;
            let (rest, port) = number16("port")(rest)?;
            let (rest, data) = remainder(rest)?;
            Ok((rest, Id { id_type: IdType(id_type), protocol, port, data }))
        })?;
        id.check()?;
        Ok(id)
    }

    fn check(&self) -> Result<(), Reason> {
        let size = self.data.len();
        let sized = |wanted: usize, words| match size == wanted {
            true => Ok(()),
            false => Err(Reason::BadLength { field: "identification data", size, wanted: words }),
        };
        match self.id_type {
            IdType::ID_IPV4_ADDR => sized(4, "4")?,
            IdType::ID_IPV6_ADDR => sized(16, "16")?,
            IdType::ID_IPV4_ADDR_SUBNET | IdType::ID_IPV4_ADDR_RANGE => sized(8, "8")?,
            IdType::ID_IPV6_ADDR_SUBNET | IdType::ID_IPV6_ADDR_RANGE => sized(32, "32")?,
            _ => return Ok(()),
        }
        let whole_mask = |mask: u128, width: u32| {
            let ones = (mask << (128 - width)).leading_ones();
            ones + mask.trailing_zeros().min(width) >= width
        };
        let right = match self.id_type {
            IdType::ID_IPV4_ADDR_SUBNET => halves::<4>(&self.data)
                .is_some_and(|(_, mask)| whole_mask(u32::from_be_bytes(mask).into(), 32)),
            IdType::ID_IPV6_ADDR_SUBNET => halves::<16>(&self.data)
                .is_some_and(|(_, mask)| whole_mask(u128::from_be_bytes(mask), 128)),
            _ => true,
        };
        if !right {
            return Err(Reason::Malformed { field: "subnet mask" });
        }
        match self.range() {
            Some(range) if range.last < range.first => Err(Reason::EmptyRange { field: "address" }),
            _ => Ok(()),
        }
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend([self.id_type.0, self.protocol]);
        out.extend(self.port.to_be_bytes());
        out.extend(&self.data);
    }
}

/// The octets of an address, as they travel.
pub(super) fn octets_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Two values of `N` octets, one after the other.
fn halves<const N: usize>(data: &[u8]) -> Option<([u8; N], [u8; N])> {
    let (first, second) = data.split_at_checked(N)?;
    Some((first.try_into().ok()?, second.try_into().ok()?))
}

impl fmt::Display for Id {
    /// Type, identity, and protocol and port where one is set; octets that are not printable text in
    /// hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.id_type)?;
        match (self.range(), std::str::from_utf8(&self.data)) {
            (Some(range), _) if range.first == range.last => write!(f, "{}", range.first)?,
            (Some(range), _) => write!(f, "{}-{}", range.first, range.last)?,
            _ if self.id_type == IdType::ID_DER_ASN1_DN => match dn::print(&self.data) {
                Some(name) => f.write_str(&name)?,
                None => self.data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))?,
            },
            (None, Ok(text)) if !text.chars().any(char::is_control) => f.write_str(text)?,
            _ => self.data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))?,
        }
        match (self.protocol, self.port) {
            (0, 0) => Ok(()),
            (protocol, port) => write!(f, " [{protocol}/{port}]"),
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_ranges_and_come_back() {
        let rows = [
            ("10.1.2.3", 8, "10.0.0.0", "10.255.255.255"),
            ("10.1.2.3", 32, "10.1.2.3", "10.1.2.3"),
            ("10.1.2.3", 0, "0.0.0.0", "255.255.255.255"),
            ("2001:db8::1", 64, "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
            ("2001:db8::1", 128, "2001:db8::1", "2001:db8::1"),
        ];
        for (address, length, first, last) in rows {
            let id = Id::of_subnet(address.parse().unwrap(), length);
            assert_eq!(Id::parse(&id.body()), Ok(id.clone()));
            let range = id.range().unwrap();
            assert_eq!(
                (range.first.to_string(), range.last.to_string()),
                (first.into(), last.into())
            );
        }
    }

    #[test]
    fn lies_are_refused() {
        let refused = |body: &[u8]| Id::parse(body).unwrap_err().to_string();
        assert_eq!(refused(&[1, 17]), "port needs 2 octets, 0 are left");
        assert_eq!(refused(&[1, 0, 0, 0, 1, 2, 3]), "identification data is 3, wanted 4");
        assert_eq!(refused(&[5, 0, 0, 0, 1, 2, 3, 4]), "identification data is 4, wanted 16");
        let holes = [4, 0, 0, 0, 10, 0, 0, 0, 255, 0, 255, 0];
        assert_eq!(refused(&holes), "subnet mask is malformed");
        let backwards = [7, 0, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1];
        assert_eq!(refused(&backwards), "address range ends before it begins");
    }

    #[test]
    fn shown_with_protocol_and_port_where_set() {
        let mut id = Id::of_address("192.0.2.1".parse().unwrap());
        assert_eq!(id.to_string(), "ID_IPV4_ADDR 192.0.2.1");
        (id.protocol, id.port) = (17, 1701);
        assert_eq!(id.to_string(), "ID_IPV4_ADDR 192.0.2.1 [17/1701]");
        let id = Id { id_type: IdType::ID_KEY_ID, protocol: 0, port: 0, data: vec![1, 0xff] };
        assert_eq!(id.to_string(), "ID_KEY_ID 01ff");
    }
}
