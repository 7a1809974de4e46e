//! Octets in and out: socket addresses, padding, and the buffer that messages grow in.

use crate::dialect::{Dialect, SockaddrStyle};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use zeroize::Zeroizing;

/// AF_INET, the same everywhere.
const INET: u16 = 2;
/// Octets of `struct sockaddr_in`.
pub(crate) const SOCKADDR_IN: usize = 16;
/// Octets of `struct sockaddr_in6`.
pub(crate) const SOCKADDR_IN6: usize = 28;

/// Length rounded up to PF_KEY's words of eight octets.
pub(crate) const fn padded(len: usize) -> usize {
    len.div_ceil(8) * 8
}

/// A socket address as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockaddr<'a> {
    /// None: the extension ends before it (OpenBSD leaves unknown sources out).
    Absent,
    /// IPv4 or IPv6. A port of 0 is none.
    Ip(SocketAddr),
    /// Another family, octet for octet.
    Other(&'a [u8]),
}

impl Sockaddr<'_> {
    /// The address, if it is one of IP.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket().map(|s| s.ip())
    }

    /// Address and port, if it is one of IP.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Sockaddr::Ip(addr) => Some(*addr),
            _ => None,
        }
    }
}

/// Reads a socket address at the start of `from`; gives back its own length too.
pub(crate) fn read_sockaddr<'a>(
    dialect: &Dialect,
    from: &'a [u8],
) -> Result<(Sockaddr<'a>, usize), &'static str> {
    if from.is_empty() {
        return Ok((Sockaddr::Absent, 0));
    }
    let (first, second) = match from {
        [a, b, ..] => (*a, *b),
        _ => return Err("socket address cut off"),
    };
    let (said, family, inet6) = match dialect.sockaddr {
        SockaddrStyle::Bsd { inet6 } => {
            (Some(usize::from(first)), u16::from(second), u16::from(inet6))
        }
        SockaddrStyle::Linux { inet6 } => (None, u16::from_ne_bytes([first, second]), inet6),
    };
    let len = match family {
        INET => SOCKADDR_IN,
        f if f == inet6 => SOCKADDR_IN6,
        _ => {
            let len = said.unwrap_or(from.len());
            let raw = from.get(..len).ok_or("socket address longer than its room")?;
            return match len {
                0 if from.iter().any(|&b| b != 0) => Err("socket address of length 0"),
                0 => Ok((Sockaddr::Other(from), from.len())),
                1 => Err("socket address of length 1"),
                _ => Ok((Sockaddr::Other(raw), len)),
            };
        }
    };
    if said.is_some_and(|said| said != len) {
        return Err("sa_len does not fit the address family");
    }
    let body = from.get(..len).ok_or("socket address cut off")?;
    let port = u16::from_be_bytes([body[2], body[3]]);
    let addr = if len == SOCKADDR_IN {
        SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::from(take::<4>(body, 4)), port))
    } else {
        SocketAddr::V6(SocketAddrV6::new(
            Ipv6Addr::from(take::<16>(body, 8)),
            port,
            u32::from_be_bytes(take(body, 4)),
            u32::from_ne_bytes(take(body, 24)),
        ))
    };
    Ok((Sockaddr::Ip(addr), len))
}

/// Writes a socket address and gives back its length.
pub(crate) fn write_sockaddr(dialect: &Dialect, addr: &Sockaddr<'_>, to: &mut Vec<u8>) -> usize {
    let start = to.len();
    match addr {
        Sockaddr::Absent => {}
        Sockaddr::Other(raw) => to.extend_from_slice(raw),
        Sockaddr::Ip(ip) => {
            let len = if ip.is_ipv4() { SOCKADDR_IN } else { SOCKADDR_IN6 };
            let head = match (dialect.sockaddr, ip.is_ipv4()) {
                (SockaddrStyle::Bsd { .. }, true) => [len as u8, INET as u8],
                (SockaddrStyle::Bsd { inet6 }, false) => [len as u8, inet6],
                (SockaddrStyle::Linux { .. }, true) => INET.to_ne_bytes(),
                (SockaddrStyle::Linux { inet6 }, false) => inet6.to_ne_bytes(),
            };
            to.extend_from_slice(&head);
            to.extend_from_slice(&ip.port().to_be_bytes());
            match ip {
                SocketAddr::V4(v4) => {
                    to.extend_from_slice(&v4.ip().octets());
                    to.extend_from_slice(&[0; 8]);
                }
                SocketAddr::V6(v6) => {
                    to.extend_from_slice(&v6.flowinfo().to_be_bytes());
                    to.extend_from_slice(&v6.ip().octets());
                    to.extend_from_slice(&v6.scope_id().to_ne_bytes());
                }
            }
        }
    }
    to.len() - start
}

fn take<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(b) = from.get(at..at + N) {
        out.copy_from_slice(b);
    }
    out
}

/// Octets of a finished message, wiped on drop: they may hold keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet(Zeroizing<Vec<u8>>);

impl Packet {
    pub(crate) fn new(octets: Vec<u8>) -> Packet {
        Packet(Zeroizing::new(octets))
    }
}

impl std::ops::Deref for Packet {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packet({} octets)", self.0.len())
    }
}
