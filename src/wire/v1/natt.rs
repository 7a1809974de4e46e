//! The NAT-OA payload (RFC 3947 §5.2): ID type, three reserved octets, address.

use std::net::IpAddr;

use super::id::octets_of;
use crate::wire::error::Reason;
use crate::wire::iana::v1::IdType;
use crate::wire::payload::{Parsed, fail, fixed, number8, remainder, whole};

/// An address as its owner knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatOa(pub IpAddr);

impl NatOa {
    pub(super) fn parse(body: &[u8]) -> Result<NatOa, Reason> {
        whole(body, |input| -> Parsed<'_, NatOa> {
            let (rest, id_type) = number8("ID type")(input)?;
            let (rest, _) = fixed("reserved", 3)(rest)?;
            let (rest, octets) = remainder(rest)?;
            let size = octets.len();
            let wrong =
                |wanted| fail(Reason::BadLength { field: "original address", size, wanted });
            let address: IpAddr = match IdType(id_type) {
                IdType::ID_IPV4_ADDR => match <[u8; 4]>::try_from(octets) {
                    Ok(octets) => octets.into(),
                    Err(_) => return wrong("4"),
                },
                IdType::ID_IPV6_ADDR => match <[u8; 16]>::try_from(octets) {
                    Ok(octets) => octets.into(),
                    Err(_) => return wrong("16"),
                },
                _ => return fail(Reason::Malformed { field: "ID type of an original address" }),
            };
            Ok((rest, NatOa(address)))
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        let id_type = match self.0 {
            IpAddr::V4(_) => IdType::ID_IPV4_ADDR,
            IpAddr::V6(_) => IdType::ID_IPV6_ADDR,
        };
        out.extend([id_type.0, 0, 0, 0]);
        out.extend(octets_of(self.0));
    }
}
