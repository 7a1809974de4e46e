//! Addresses and routes of this host: rtnetlink on Linux; SIOCAIFADDR and the routing socket on the BSDs.
//!
//! What is there already is [`io::ErrorKind::AlreadyExists`]; what is to be deleted and is not there is
//! no error.

use std::io;
use std::net::IpAddr;

/// A network: its address and the length of its prefix.
pub type Network = (IpAddr, u8);

pub use native::{add_address, add_route, delete_address, delete_route, propose_name_servers};

/// The octets of an address.
fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Not being there is as good as being deleted.
fn gone(outcome: io::Result<()>) -> io::Result<()> {
    let missing = [libc::ESRCH, libc::EADDRNOTAVAIL, libc::ENXIO, libc::ENODEV, libc::ENOENT];
    match outcome {
        Err(error) if error.raw_os_error().is_some_and(|code| missing.contains(&code)) => Ok(()),
        other => other,
    }
}

#[cfg(target_os = "linux")]
mod native {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::os::fd::{AsFd, OwnedFd};

    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

    use super::*;

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
}

/// The shapes of `struct ifaliasreq`, `struct in6_aliasreq`, `struct ifreq`, `struct rt_msghdr` and the
/// numbers of the requests, as the headers of each system have them on 64-bit machines.
#[allow(dead_code, reason = "every system's is compiled and tested everywhere")]
mod bsd {
    use super::*;

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
}

#[cfg(not(target_os = "linux"))]
mod native {
    use std::io::Read;
    use std::os::fd::{AsFd, OwnedFd};

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

    use super::*;

    #[cfg(target_os = "freebsd")]
    const SHAPES: bsd::Shapes = bsd::FREEBSD;
    #[cfg(target_os = "openbsd")]
    const SHAPES: bsd::Shapes = bsd::OPENBSD;
    #[cfg(not(any(target_os = "freebsd", target_os = "openbsd")))]
    const SHAPES: bsd::Shapes = bsd::NETBSD;

    /// Puts an address on an interface.
    pub fn add_address(iface: &str, address: IpAddr, length: u8) -> io::Result<()> {
        change_address(true, iface, (address, length))
    }

    /// Takes it off again.
    pub fn delete_address(iface: &str, address: IpAddr, length: u8) -> io::Result<()> {
        gone(change_address(false, iface, (address, length)))
    }

    fn change_address(add: bool, iface: &str, network: Network) -> io::Result<()> {
        let request = bsd::alias(&SHAPES, add, iface, network);
        let (number, mut octets) =
            request.ok_or_else(|| io::Error::other("a name too long for an interface"))?;
        let fd = super::super::udp_socket(!network.0.is_ipv4())?;
        super::super::ioctl(fd.as_fd(), number, &mut octets)
    }

    /// Sends what is for a network by way of our own address within the tunnel, where the flows catch
    /// it. A network that the peer itself is in leaves the peer the way that it has.
    pub fn add_route(to: Network, source: IpAddr, peer: IpAddr) -> io::Result<()> {
        let covers = to.0.is_ipv4() == peer.is_ipv4() && to.1 <= 1;
        if covers {
            hold(peer)?;
        }
        write(bsd::ADD, bsd::UP | bsd::GATEWAY | bsd::STATIC, &names(to, source))
    }

    /// Takes it back.
    pub fn delete_route(to: Network, source: IpAddr, peer: IpAddr) -> io::Result<()> {
        if to.0.is_ipv4() == peer.is_ipv4() && to.1 <= 1 {
            let host = (bsd::A_DST, vec![bsd::name(&SHAPES, peer)]);
            gone(write(bsd::DELETE, bsd::UP | bsd::HOST | bsd::STATIC, &host))?;
        }
        let flags = bsd::UP | bsd::GATEWAY | bsd::STATIC;
        gone(write(bsd::DELETE, flags, &names(to, source)))
    }

    fn names(to: Network, source: IpAddr) -> (u32, Vec<Vec<u8>>) {
        let mask = bsd::mask(to.0.is_ipv4(), to.1);
        let names = [to.0, source, mask].map(|address| bsd::name(&SHAPES, address));
        (bsd::A_DST | bsd::A_GATEWAY | bsd::A_NETMASK, names.to_vec())
    }

    /// A route to the peer alone, by the gateway that it is reached by now.
    fn hold(peer: IpAddr) -> io::Result<()> {
        let fd = routing()?;
        let name = vec![bsd::name(&SHAPES, peer)];
        let ask = bsd::message(&SHAPES, bsd::GET, bsd::UP | bsd::HOST, 7, (bsd::A_DST, &name));
        let mut file = std::fs::File::from(fd);
        io::Write::write_all(&mut file, &ask)?;
        let mut buffer = [0; 2048];
        // Others' messages may come first.
        for _ in 0..64 {
            let len = file.read(&mut buffer)?;
            let octets = &buffer[..len];
            let at = SHAPES.places.2;
            let ours = octets.get(3) == Some(&bsd::GET)
                && octets.get(at..at + 4) == Some(&7u32.to_ne_bytes()[..]);
            if !ours {
                continue;
            }
            let Some((flags, gateway)) = bsd::gateway(&SHAPES, octets) else { break };
            let flags = bsd::UP | bsd::HOST | bsd::STATIC | (flags & bsd::GATEWAY);
            let names = (bsd::A_DST | bsd::A_GATEWAY, vec![name[0].clone(), gateway]);
            return match write(bsd::ADD, flags, &names) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            };
        }
        Err(io::Error::other("the system does not tell how the peer is reached"))
    }

    fn write(kind: u8, flags: u32, (bits, names): &(u32, Vec<Vec<u8>>)) -> io::Result<()> {
        let message = bsd::message(&SHAPES, kind, flags, 1, (*bits, names));
        let mut file = std::fs::File::from(routing()?);
        io::Write::write_all(&mut file, &message)
    }

    fn routing() -> io::Result<OwnedFd> {
        Ok(socket(AddressFamily::Route, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?)
    }

    /// Proposes name servers to resolvd(8), as route(8) nameserver does; none takes the proposal back.
    pub fn propose_name_servers(iface: &str, servers: &[IpAddr]) -> Option<io::Result<()>> {
        cfg!(target_os = "openbsd").then(|| {
            let index = nix::net::if_::if_nametoindex(iface)?;
            for ipv4 in [true, false] {
                let servers: Vec<_> =
                    servers.iter().filter(|it| it.is_ipv4() == ipv4).copied().collect();
                let names = vec![bsd::servers(&SHAPES, ipv4, &servers)];
                let names = (bsd::A_DNS, &names[..]);
                let mut message = bsd::message(&SHAPES, bsd::PROPOSAL, bsd::UP, 1, names);
                // rtm_index, and rtm_priority: RTP_PROPOSAL_STATIC.
                message[6..8].copy_from_slice(&(index as u16).to_ne_bytes());
                message[10] = 57;
                io::Write::write_all(&mut std::fs::File::from(routing()?), &message)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn alias_requests_have_the_shape_of_their_numbers() {
        for shapes in [bsd::FREEBSD, bsd::OPENBSD, bsd::NETBSD] {
            for (number, size) in [shapes.add4, shapes.delete4, shapes.add6, shapes.delete6] {
                // _IOW('i', …): the direction, the size, the group.
                assert_eq!((number >> 16) & 0x1fff, size as u64);
                assert_eq!(number & 0xe000_ff00, 0x8000_6900);
            }
            let network = ("10.0.0.5".parse().unwrap(), 24);
            let (_, octets) = bsd::alias(&shapes, true, "lo1", network).unwrap();
            assert_eq!(octets[..4], *b"lo1\0");
            assert_eq!(octets[16..24], [16, 2, 0, 0, 10, 0, 0, 5]);
            assert_eq!(octets[48..56], [16, 2, 0, 0, 255, 255, 255, 0]);
            let network = ("2001:db8::5".parse().unwrap(), 128);
            let (_, octets) = bsd::alias(&shapes, true, "lo1", network).unwrap();
            assert_eq!(octets[16..18], [28, shapes.inet6]);
            assert_eq!(octets[24..28], [0x20, 1, 0xd, 0xb8]);
            assert_eq!(octets[80..96], [0xff; 16]);
            assert!(bsd::alias(&shapes, true, "a-name-much-too-long", network).is_none());
        }
    }

    #[test]
    fn a_gateway_is_found_behind_the_destination() {
        for shapes in [bsd::FREEBSD, bsd::OPENBSD, bsd::NETBSD] {
            let names = ["192.0.2.1", "10.0.0.1"].map(|it| bsd::name(&shapes, it.parse().unwrap()));
            let bits = bsd::A_DST | bsd::A_GATEWAY;
            let flags = bsd::UP | bsd::GATEWAY;
            let message = bsd::message(&shapes, bsd::GET, flags, 3, (bits, &names));
            assert_eq!(usize::from(u16::from_ne_bytes([message[0], message[1]])), message.len());
            assert_eq!(bsd::gateway(&shapes, &message), Some((flags, names[1].clone())));
            assert_eq!(bsd::gateway(&shapes, &message[..shapes.header + 4]), None);
        }
    }
}
