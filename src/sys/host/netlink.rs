//! Addresses and routes by rtnetlink (Linux).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::{Network, gone, octets};

/// Marks our routes, so that no others are deleted.
const PROTOCOL: u8 = 79;
/// `nlmsghdr` and `rtmsg` in octets.
const HEADERS: (usize, usize) = (16, 12);

/// Puts an address on an interface.
pub fn add_address(iface: &str, address: IpAddr, length: u8) -> io::Result<()> {
    let new = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    change_address(libc::RTM_NEWADDR, new, iface, address, length)
}

/// Takes it off again.
pub fn delete_address(iface: &str, address: IpAddr, length: u8) -> io::Result<()> {
    gone(change_address(libc::RTM_DELADDR, 0, iface, address, length))
}

fn change_address(
    kind: u16,
    flags: u16,
    iface: &str,
    address: IpAddr,
    length: u8,
) -> io::Result<()> {
    let index = nix::net::if_::if_nametoindex(iface)?;
    // An address that nobody else has needs no search for duplicates.
    let nodad = if address.is_ipv4() { 0 } else { libc::IFA_F_NODAD as u8 };
    let mut body = vec![family(address), length, nodad, 0];
    body.extend(index.to_ne_bytes());
    attribute(&mut body, libc::IFA_LOCAL, &octets(address));
    attribute(&mut body, libc::IFA_ADDRESS, &octets(address));
    ask(kind, flags, &body).map(drop)
}

/// Sends what is for a network the way that leads to the peer, with this source address.
pub fn add_route(to: Network, source: IpAddr, peer: IpAddr) -> io::Result<()> {
    let (index, gateway) = way_to(peer)?;
    let mut body = head(to.0, to.1);
    attribute(&mut body, libc::RTA_DST, &octets(to.0));
    attribute(&mut body, libc::RTA_PREFSRC, &octets(source));
    attribute(&mut body, libc::RTA_OIF, &index.to_ne_bytes());
    match gateway {
        Some(gateway) if gateway.is_ipv4() == to.0.is_ipv4() => {
            attribute(&mut body, libc::RTA_GATEWAY, &octets(gateway));
        }
        Some(gateway) if to.0.is_ipv4() => {
            // RTA_VIA: IPv4 by way of an IPv6 neighbour.
            let mut via = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
            via.extend(octets(gateway));
            attribute(&mut body, 18, &via);
        }
        _ => (),
    }
    let new = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    ask(libc::RTM_NEWROUTE, new, &body).map(drop)
}

/// Takes it back.
pub fn delete_route(to: Network, _source: IpAddr, _peer: IpAddr) -> io::Result<()> {
    let mut body = head(to.0, to.1);
    attribute(&mut body, libc::RTA_DST, &octets(to.0));
    gone(ask(libc::RTM_DELROUTE, 0, &body).map(drop))
}

/// There is no such thing on this system.
pub fn propose_name_servers(_iface: &str, _servers: &[IpAddr]) -> Option<io::Result<()>> {
    None
}

/// The interface and the gateway by which a host is reached.
fn way_to(host: IpAddr) -> io::Result<(u32, Option<IpAddr>)> {
    let length = if host.is_ipv4() { 32 } else { 128 };
    let mut body = vec![family(host), length, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    attribute(&mut body, libc::RTA_DST, &octets(host));
    let answer = ask(libc::RTM_GETROUTE, 0, &body)?;
    let mut rest = answer.get(HEADERS.0 + HEADERS.1..).unwrap_or_default();
    let (mut index, mut gateway) = (None, None);
    while let Some((kind, value, after)) = next_attribute(rest) {
        match kind {
            libc::RTA_OIF => index = value.try_into().ok().map(u32::from_ne_bytes),
            libc::RTA_GATEWAY => gateway = address(value),
            _ => (),
        }
        rest = after;
    }
    let index = index.ok_or_else(|| io::Error::other("a route without interface"))?;
    Ok((index, gateway))
}

/// `struct rtmsg`: a unicast route of the main table.
fn head(address: IpAddr, length: u8) -> Vec<u8> {
    let universe = libc::RT_SCOPE_UNIVERSE;
    let table = libc::RT_TABLE_MAIN;
    let mut head =
        vec![family(address), length, 0, 0, table, PROTOCOL, universe, libc::RTN_UNICAST];
    head.extend([0; 4]);
    head
}

fn family(address: IpAddr) -> u8 {
    (if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).ok().map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|| <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).into()))
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend((4 + value.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn next_attribute(octets: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (head, _) = octets.split_first_chunk::<4>()?;
    let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
    let kind = u16::from_ne_bytes([head[2], head[3]]);
    let value = octets.get(4..len)?;
    Some((kind, value, octets.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

/// One request, answered by its result or by what was asked for.
fn ask(kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let fd: OwnedFd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let asks = kind == libc::RTM_GETROUTE;
    let ack = if asks { 0 } else { libc::NLM_F_ACK as u16 };
    let mut message = ((HEADERS.0 + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((libc::NLM_F_REQUEST as u16 | ack | flags).to_ne_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    super::super::send(fd.as_fd(), &[&message], None, None)?;
    let mut buffer = vec![0; 8192];
    let received = super::super::recv(fd.as_fd(), &mut buffer)?;
    buffer.truncate(received.len);
    let number = |at: usize| {
        let octets = buffer.get(at..at + 4).and_then(|octets| octets.try_into().ok());
        octets.map(i32::from_ne_bytes)
    };
    let kind = buffer.get(4..6).map(|kind| [kind[0], kind[1]]).map(u16::from_ne_bytes);
    match (kind, number(HEADERS.0)) {
        (Some(kind), Some(0)) if i32::from(kind) == libc::NLMSG_ERROR => Ok(Vec::new()),
        (Some(kind), Some(code)) if i32::from(kind) == libc::NLMSG_ERROR => {
            Err(io::Error::from_raw_os_error(code.saturating_neg()))
        }
        (Some(_), Some(_)) => Ok(buffer),
        _ => Err(io::Error::other("rtnetlink gave no answer")),
    }
}
