//! The shapes of `struct ifaliasreq`, `struct in6_aliasreq`, `struct ifreq`, `struct rt_msghdr` and the
//! numbers of the requests, as the headers of each system have them on 64-bit machines.

use std::net::IpAddr;

use super::{Network, octets};

/// A system's shapes and numbers.
pub struct Shapes {
    /// SIOCAIFADDR and the size of its structure.
    pub add4: (u64, usize),
    /// SIOCDIFADDR and the size of its structure.
    pub delete4: (u64, usize),
    /// SIOCAIFADDR_IN6 and the size of its structure.
    pub add6: (u64, usize),
    /// SIOCDIFADDR_IN6 and the size of its structure.
    pub delete6: (u64, usize),
    /// AF_INET6.
    pub inet6: u8,
    /// RTM_VERSION.
    pub version: u8,
    /// The size of `rt_msghdr`.
    pub header: usize,
    /// Where `rtm_hdrlen` (if there is one), `rtm_flags`, `rtm_seq` lie.
    pub places: (Option<usize>, usize, usize),
}

pub const FREEBSD: Shapes = Shapes {
    add4: (0x8044_692b, 68),
    delete4: (0x8020_6919, 32),
    add6: (0x8088_691b, 136),
    delete6: (0x8120_6919, 288),
    inet6: 28,
    version: 5,
    header: 152,
    places: (None, 8, 20),
};

pub const OPENBSD: Shapes = Shapes {
    add4: (0x8040_691a, 64),
    delete4: (0x8020_6919, 32),
    add6: (0x8080_691a, 128),
    delete6: (0x8120_6919, 288),
    inet6: 24,
    version: 5,
    header: 96,
    places: (Some(4), 16, 28),
};

pub const NETBSD: Shapes = Shapes {
    add4: (0x8040_691a, 64),
    delete4: (0x8090_6919, 144),
    add6: (0x8080_696b, 128),
    delete6: (0x8120_6919, 288),
    inet6: 24,
    version: 4,
    header: 120,
    places: (None, 8, 20),
};

/// AF_INET, RTM_ADD, RTM_DELETE, RTM_GET: the same everywhere.
pub const INET: u8 = 2;
pub const ADD: u8 = 1;
pub const DELETE: u8 = 2;
pub const GET: u8 = 4;
/// RTM_PROPOSAL of OpenBSD.
pub const PROPOSAL: u8 = 19;
/// RTF_UP, RTF_GATEWAY, RTF_HOST, RTF_STATIC.
pub const UP: u32 = 1;
pub const GATEWAY: u32 = 2;
pub const HOST: u32 = 4;
pub const STATIC: u32 = 0x800;
/// RTA_DST, RTA_GATEWAY, RTA_NETMASK, RTA_DNS.
pub const A_DST: u32 = 1;
pub const A_GATEWAY: u32 = 2;
pub const A_NETMASK: u32 = 4;
pub const A_DNS: u32 = 0x1000;
/// Where the addresses of an alias request lie, and the two lifetimes of IPv6.
const ALIAS_ADDRESS: usize = 16;
const ALIAS_MASK: (usize, usize) = (48, 72);
const LIFETIMES: usize = 120;

/// A socket address without port.
pub fn name(shapes: &Shapes, address: IpAddr) -> Vec<u8> {
    let mut name = match address {
        IpAddr::V4(_) => vec![16, INET, 0, 0],
        IpAddr::V6(_) => vec![28, shapes.inet6, 0, 0, 0, 0, 0, 0],
    };
    name.extend(octets(address));
    name.resize(usize::from(name[0]), 0);
    name
}

/// The netmask of a prefix length.
pub fn mask(ipv4: bool, length: u8) -> IpAddr {
    match ipv4 {
        true => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            IpAddr::V4(mask.into())
        }
        false => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            IpAddr::V6(mask.into())
        }
    }
}

/// The request (its number and its structure) that adds or deletes an address.
pub fn alias(
    shapes: &Shapes,
    add: bool,
    iface: &str,
    (address, length): Network,
) -> Option<(u64, Vec<u8>)> {
    let ipv4 = address.is_ipv4();
    let (number, size) = match (add, ipv4) {
        (true, true) => shapes.add4,
        (false, true) => shapes.delete4,
        (true, false) => shapes.add6,
        (false, false) => shapes.delete6,
    };
    let mut octets = vec![0; size];
    // Terminated, so one octet fewer.
    octets.get_mut(..15)?.get_mut(..iface.len())?.copy_from_slice(iface.as_bytes());
    let mut put = |at: usize, part: &[u8]| {
        octets.get_mut(at..at + part.len()).map(|place| place.copy_from_slice(part))
    };
    put(ALIAS_ADDRESS, &name(shapes, address))?;
    if add {
        let at = if ipv4 { ALIAS_MASK.0 } else { ALIAS_MASK.1 };
        put(at, &name(shapes, mask(ipv4, length)))?;
    }
    if add && !ipv4 {
        put(LIFETIMES, &[0xff; 8])?;
    }
    Some((number, octets))
}

/// A message to the routing socket; the addresses in the order of their bits.
pub fn message(
    shapes: &Shapes,
    kind: u8,
    flags: u32,
    sequence: u32,
    (bits, names): (u32, &[Vec<u8>]),
) -> Vec<u8> {
    let mut out = vec![0; shapes.header];
    let (header, flags_at, sequence_at) = shapes.places;
    out[2..4].copy_from_slice(&[shapes.version, kind]);
    if let Some(at) = header {
        out[at..at + 2].copy_from_slice(&(shapes.header as u16).to_ne_bytes());
    }
    out[12..16].copy_from_slice(&bits.to_ne_bytes());
    out[flags_at..flags_at + 4].copy_from_slice(&flags.to_ne_bytes());
    out[sequence_at..sequence_at + 4].copy_from_slice(&sequence.to_ne_bytes());
    for name in names {
        out.extend(name);
        out.resize(out.len().next_multiple_of(8), 0);
    }
    let len = (out.len() as u16).to_ne_bytes();
    out[..2].copy_from_slice(&len);
    out
}

/// The gateway in an answer of the routing socket, as a socket address.
pub fn gateway(shapes: &Shapes, octets: &[u8]) -> Option<(u32, Vec<u8>)> {
    let number = |at: usize| {
        let octets = octets.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(octets))
    };
    let header = match shapes.places.0 {
        Some(at) => usize::from(u16::from_ne_bytes(octets.get(at..at + 2)?.try_into().ok()?)),
        None => shapes.header,
    };
    let (bits, flags) = (number(12)?, number(shapes.places.1)?);
    let mut rest = octets.get(header..)?;
    for bit in [A_DST, A_GATEWAY] {
        if bits & bit == 0 {
            continue;
        }
        let len = usize::from(*rest.first()?);
        if bit == A_GATEWAY {
            return Some((flags, rest.get(..len)?.to_vec()));
        }
        rest = rest.get(len.max(1).next_multiple_of(8)..)?;
    }
    None
}

/// `struct sockaddr_rtdns`: 2 octets, then the servers of one family.
pub fn servers(shapes: &Shapes, ipv4: bool, servers: &[IpAddr]) -> Vec<u8> {
    let family = if ipv4 { INET } else { shapes.inet6 };
    let listed: Vec<u8> = servers.iter().flat_map(|server| octets(*server)).collect();
    let listed = &listed[..listed.len().min(128)];
    let mut out = vec![2 + listed.len() as u8, family];
    out.extend(listed);
    out.resize(130, 0);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn alias_requests_have_the_shape_of_their_numbers() {
        for shapes in [FREEBSD, OPENBSD, NETBSD] {
            for (number, size) in [shapes.add4, shapes.delete4, shapes.add6, shapes.delete6] {
                // _IOW('i', …): the direction, the size, the group.
                assert_eq!((number >> 16) & 0x1fff, size as u64);
                assert_eq!(number & 0xe000_ff00, 0x8000_6900);
            }
            let network = ("10.0.0.5".parse().unwrap(), 24);
            let (_, octets) = alias(&shapes, true, "lo1", network).unwrap();
            assert_eq!(octets[..4], *b"lo1\0");
            assert_eq!(octets[16..24], [16, 2, 0, 0, 10, 0, 0, 5]);
            assert_eq!(octets[48..56], [16, 2, 0, 0, 255, 255, 255, 0]);
            let network = ("2001:db8::5".parse().unwrap(), 128);
            let (_, octets) = alias(&shapes, true, "lo1", network).unwrap();
            assert_eq!(octets[16..18], [28, shapes.inet6]);
            assert_eq!(octets[24..28], [0x20, 1, 0xd, 0xb8]);
            assert_eq!(octets[80..96], [0xff; 16]);
            assert!(alias(&shapes, true, "a-name-much-too-long", network).is_none());
        }
    }

    #[test]
    fn a_gateway_is_found_behind_the_destination() {
        for shapes in [FREEBSD, OPENBSD, NETBSD] {
            let names = ["192.0.2.1", "10.0.0.1"].map(|it| name(&shapes, it.parse().unwrap()));
            let bits = A_DST | A_GATEWAY;
            let flags = UP | GATEWAY;
            let message = message(&shapes, GET, flags, 3, (bits, &names));
            assert_eq!(usize::from(u16::from_ne_bytes([message[0], message[1]])), message.len());
            assert_eq!(gateway(&shapes, &message), Some((flags, names[1].clone())));
            assert_eq!(gateway(&shapes, &message[..shapes.header + 4]), None);
        }
    }
}
