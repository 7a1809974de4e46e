//! UDP sockets: local address of each datagram, the non-ESP marker, policies that keep IKE clear.
//!
//! The parent opens them ([`open`]); whoever got the descriptors makes [`Sockets`] of them. Where the
//! `ike` process may not name addresses itself (capability mode), a relay holds the sockets and
//! [`Net`] hides the difference.

use std::collections::BTreeSet;
use std::ffi::c_int;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use pfkey::{Dialect, SockOpt};
use serde::{Deserialize, Serialize};

use crate::conf::Family;
use crate::proc::imsg::{self, Link};
use crate::sys::{self, Control};

/// Port of IKE (RFC 7296 section 2).
pub const IKE_PORT: u16 = 500;
/// Port of IKE and ESP in UDP (RFC 3948).
pub const NATT_PORT: u16 = 4500;
/// Stands before IKE messages on the port that they share with ESP (RFC 3948 section 2.2).
const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// Keeps a NAT's mapping (RFC 3948 section 2.3).
const KEEPALIVE: &[u8] = &[0xff];
/// The longest payload of a UDP datagram.
const MAX_DATAGRAM: usize = 65_535;
/// With so many octets waiting for the other side of a relay, datagrams are dropped.
const RELAY_QUEUE: usize = 1024 * 1024;

/// Which socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Address family.
    pub family: Family,
    /// Local port.
    pub port: u16,
    /// ESP in UDP comes to this port too, so IKE messages bear the non-ESP marker.
    pub encap: bool,
}

impl std::fmt::Display for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = if self.family == Family::Inet { "IPv4" } else { "IPv6" };
        write!(f, "udp/{} ({family})", self.port)
    }
}

/// A datagram without non-ESP marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datagram {
    /// Our address and port.
    pub local: SocketAddr,
    /// The other side's.
    pub remote: SocketAddr,
    /// What it carries; nothing stands for a NAT keepalive (RFC 3948 section 2.3), which is only sent.
    pub octets: Vec<u8>,
}

/// How many octets of datagrams may wait to be read; the first of these that the system grants.
const QUEUES: [c_int; 4] = [4 << 20, 2 << 20, 1 << 20, 1 << 19];

/// The address of ours from which the system's routes reach a peer. Nothing is sent.
///
/// # Errors
///
/// There is no route to it.
pub fn source_for(peer: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = UdpSocket::bind((any, 0))?;
    probe.connect((peer, 500))?;
    Ok(probe.local_addr()?.ip())
}

/// Our addresses, without link-local ones: first the ones from which these peers are reached. Of those on
/// loopback interfaces, which are mostly there for what is behind us, only the ones that are named, and
/// these last.
pub fn addresses(peers: impl Iterator<Item = IpAddr>, named: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
    use nix::net::if_::InterfaceFlags;
    use nix::sys::socket::SockaddrStorage;
    let ip = |address: &SockaddrStorage| match (address.as_sockaddr_in(), address.as_sockaddr_in6())
    {
        (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
        (_, Some(v6)) => Some(IpAddr::V6(v6.ip())),
        _ => None,
    };
    let is_local = |address: &IpAddr| match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let usable = interfaces.filter(|it| it.flags.contains(InterfaceFlags::IFF_UP));
    // On a loopback interface or not, and the address.
    let mut rest: BTreeSet<(bool, IpAddr)> = usable
        .filter_map(|it| {
            let loopback = it.flags.contains(InterfaceFlags::IFF_LOOPBACK);
            Some((loopback, it.address.as_ref().and_then(ip)?))
        })
        .filter(|(loopback, address)| match loopback {
            true => named.contains(address),
            false => !is_local(address),
        })
        .collect();
    let sources = peers.filter_map(|peer| source_for(peer).ok());
    let mut addresses: Vec<IpAddr> = sources.filter(|it| rest.remove(&(false, *it))).collect();
    addresses.extend(rest.into_iter().map(|(_, address)| address));
    addresses
}

/// Opens and binds a socket. The second value says what the system would not do, for the operator.
pub fn open(spec: Spec) -> io::Result<(OwnedFd, Vec<String>)> {
    let ipv6 = spec.family == Family::Inet6;
    let fd = sys::udp_socket(ipv6)?;
    let on = c_int::to_ne_bytes(1);
    let any: IpAddr = match ipv6 {
        true => Ipv6Addr::UNSPECIFIED.into(),
        false => Ipv4Addr::UNSPECIFIED.into(),
    };
    if ipv6 {
        sys::set_option(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &on)?;
    }
    let (level, name) = native::receive_local(ipv6);
    sys::set_option(fd.as_fd(), level, name, &on)?;
    let mut remarks = Vec::new();
    let dialect = Dialect::native();
    let set =
        |option: &SockOpt| sys::set_option(fd.as_fd(), option.level, option.name, &option.value);
    if let Err(error) = dialect.bypass_options(ipv6).iter().try_for_each(set) {
        remarks.push(format!(
            "{spec}: no policy past the flows ({error}); a flow that covers the peer's own address \
             would catch IKE itself"
        ));
    }
    // All peers of a gateway may come back at once. Linux cuts what is too much, the BSDs refuse it.
    let queue = |octets: &c_int| {
        sys::set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, &octets.to_ne_bytes())
            .is_ok()
    };
    QUEUES.iter().find(|octets| queue(octets));
    sys::bind(fd.as_fd(), SocketAddr::new(any, spec.port))?;
    if let Some(option) = dialect.udp_encap_option().filter(|_| spec.encap)
        && let Err(error) = set(&option)
    {
        remarks.push(format!("{spec}: no ESP in UDP ({error}); peers behind NAT will not work"));
    }
    Ok((fd, remarks))
}

/// One socket.
#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    spec: Spec,
}

/// The sockets and a buffer for what comes.
#[derive(Debug)]
pub struct Sockets {
    sockets: Vec<Socket>,
    buffer: Vec<u8>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { sockets: Vec::new(), buffer: vec![0; MAX_DATAGRAM] }
    }
}

impl Sockets {
    /// Adds a socket that [`open`] made; its index is the number of those before.
    pub fn add(&mut self, spec: Spec, fd: OwnedFd) {
        self.sockets.push(Socket { fd, spec });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// The next datagram of a socket; `None` if there is none. Keepalives, ESP that came astray and
    /// datagrams that do not say where they were sent to are passed over.
    pub fn recv(&mut self, index: usize) -> io::Result<Option<Datagram>> {
        let Some(socket) = self.sockets.get(index) else { return Ok(None) };
        loop {
            let received = match sys::recv(socket.fd.as_fd(), &mut self.buffer) {
                Ok(received) => received,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    // What ICMP said about an earlier datagram; the timers take care of it.
                    io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::Interrupted => continue,
                    _ => return Err(error),
                },
            };
            let local = received.controls.iter().find_map(native::local);
            let (Some(remote), Some((ip, scope))) = (received.from, local) else { continue };
            if received.truncated {
                continue;
            }
            let octets = &self.buffer[..received.len];
            let octets = match socket.spec.encap {
                false => Some(octets),
                true => octets.strip_prefix(&NON_ESP_MARKER),
            };
            let Some(octets) = octets.filter(|octets| !octets.is_empty()) else { continue };
            let local = with_scope(SocketAddr::new(ip, socket.spec.port), scope);
            return Ok(Some(Datagram { local, remote, octets: octets.to_vec() }));
        }
    }

    /// Sends a datagram from its local address and port.
    pub fn send(&self, datagram: &Datagram) -> io::Result<()> {
        let Datagram { local, remote, octets } = datagram;
        let fits = |socket: &&Socket| {
            socket.spec.port == local.port()
                && (socket.spec.family == Family::Inet) == local.is_ipv4()
        };
        let Some(socket) = self.sockets.iter().find(fits) else {
            let text = format!("no socket for local address {local}");
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text));
        };
        let control = match local.ip().is_unspecified() {
            true => None,
            false => Some(native::from_local(*local)),
        };
        let parts: [&[u8]; 2] = match (octets.is_empty(), socket.spec.encap) {
            (true, _) => [KEEPALIVE, &[]],
            (false, true) => [&NON_ESP_MARKER, octets],
            (false, false) => [&[], octets],
        };
        sys::send(socket.fd.as_fd(), &parts, Some(*remote), control.as_ref()).map(drop)
    }
}

/// Link-local addresses mean something only with their interface.
fn with_scope(address: SocketAddr, scope: u32) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into()
        }
        other => other,
    }
}

/// How the `ike` process sends and receives.
pub enum Net {
    /// By its own sockets.
    Direct(Sockets),
    /// By the `relay` process, which may be away for a moment.
    Relayed(Option<Link<Datagram, Datagram>>),
}

impl Net {
    /// Sends a datagram, or loses it: then the error says why.
    pub fn send(&mut self, datagram: &Datagram) -> io::Result<()> {
        match self {
            Self::Direct(sockets) => sockets.send(datagram),
            Self::Relayed(None) => Err(io::Error::other("the relay process is not there")),
            Self::Relayed(Some(link)) => relay(link, datagram).map_err(io::Error::other),
        }
    }
}

/// Passes a datagram on over a link, or drops it if too much waits already, as networks do.
pub fn relay(link: &mut Link<Datagram, Datagram>, datagram: &Datagram) -> Result<(), imsg::Error> {
    if link.queued() > RELAY_QUEUE {
        return Err(imsg::Error::QueueFull);
    }
    link.send(datagram)
}

/// What is done with `IPPROTO_IPV6` alike on all systems: RFC 3542.
mod rfc3542 {
    use super::*;

    pub fn local(control: &Control) -> Option<(IpAddr, u32)> {
        if (control.level, control.kind) != (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) {
            return None;
        }
        let (address, rest) = control.data.split_first_chunk::<16>()?;
        let index = rest.first_chunk::<4>()?;
        Some((Ipv6Addr::from(*address).into(), u32::from_ne_bytes(*index)))
    }

    pub fn from_local(local: SocketAddrV6) -> Control {
        let mut data = local.ip().octets().to_vec();
        data.extend(local.scope_id().to_ne_bytes());
        Control { level: libc::IPPROTO_IPV6, kind: libc::IPV6_PKTINFO, data }
    }
}

#[cfg(target_os = "linux")]
mod native {
    use super::*;

    pub fn receive_local(ipv6: bool) -> (c_int, c_int) {
        match ipv6 {
            true => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            false => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        }
    }

    /// `struct in_pktinfo`: interface index, local address, destination of the header.
    pub fn local(control: &Control) -> Option<(IpAddr, u32)> {
        if (control.level, control.kind) != (libc::IPPROTO_IP, libc::IP_PKTINFO) {
            return rfc3542::local(control);
        }
        let address = control.data.get(8..12)?.first_chunk::<4>()?;
        Some((Ipv4Addr::from(*address).into(), 0))
    }

    pub fn from_local(local: SocketAddr) -> Control {
        match local {
            SocketAddr::V6(v6) => rfc3542::from_local(v6),
            SocketAddr::V4(v4) => {
                let mut data = vec![0; 4];
                data.extend(v4.ip().octets());
                data.extend([0; 4]);
                Control { level: libc::IPPROTO_IP, kind: libc::IP_PKTINFO, data }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod native {
    use super::*;

    pub fn receive_local(ipv6: bool) -> (c_int, c_int) {
        match ipv6 {
            true => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            false => (libc::IPPROTO_IP, libc::IP_RECVDSTADDR),
        }
    }

    /// `IP_RECVDSTADDR` gives the address alone.
    pub fn local(control: &Control) -> Option<(IpAddr, u32)> {
        if (control.level, control.kind) != (libc::IPPROTO_IP, libc::IP_RECVDSTADDR) {
            return rfc3542::local(control);
        }
        Some((Ipv4Addr::from(*control.data.first_chunk::<4>()?).into(), 0))
    }

    pub fn from_local(local: SocketAddr) -> Control {
        match local {
            SocketAddr::V6(v6) => rfc3542::from_local(v6),
            SocketAddr::V4(v4) => Control {
                level: libc::IPPROTO_IP,
                kind: libc::IP_SENDSRCADDR,
                data: v4.ip().octets().to_vec(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::UdpSocket;
    use std::time::{Duration, Instant};

    use super::*;

    fn wait(sockets: &mut Sockets) -> Datagram {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            if let Some(datagram) = sockets.recv(0).unwrap() {
                return datagram;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nothing came");
    }

    #[test]
    fn an_address_of_a_loopback_interface_counts_if_it_is_named() {
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(!addresses([].into_iter(), &BTreeSet::new()).contains(&host));
        assert_eq!(addresses([].into_iter(), &[host].into()).last(), Some(&host));
        let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert!(!addresses([].into_iter(), &[other].into()).contains(&other));
    }

    /// A socket at a free port, a peer on the loopback, and where the socket is reached.
    fn scene(family: Family, encap: bool) -> Option<(Sockets, UdpSocket, SocketAddr)> {
        let host: IpAddr = match family {
            Family::Inet => [127, 0, 0, 2].into(),
            Family::Inet6 => Ipv6Addr::LOCALHOST.into(),
        };
        let Ok(peer) = UdpSocket::bind((host, 0)) else {
            eprintln!("skipped: no address {host} here");
            return None;
        };
        let port = {
            let any: IpAddr = if host.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
            UdpSocket::bind((any, 0)).unwrap().local_addr().unwrap().port()
        };
        let spec = Spec { family, port, encap };
        let (fd, _) = open(spec).unwrap();
        let mut sockets = Sockets::default();
        sockets.add(spec, fd);
        Some((sockets, peer, SocketAddr::new(host, port)))
    }

    #[test]
    fn the_local_address_is_known_and_used() {
        for family in [Family::Inet, Family::Inet6] {
            let Some((mut sockets, peer, at)) = scene(family, false) else { continue };
            peer.send_to(b"hello", at).unwrap();
            let got = wait(&mut sockets);
            assert_eq!((got.local, got.remote), (at, peer.local_addr().unwrap()));
            assert_eq!(got.octets, b"hello");
            sockets.send(&Datagram { octets: b"answer".to_vec(), ..got }).unwrap();
            let mut buffer = [0; 16];
            let (len, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), (&b"answer"[..], at));
        }
    }

    #[test]
    fn the_marker_is_taken_off_and_put_on() {
        let Some((mut sockets, peer, at)) = scene(Family::Inet, true) else { return };
        // A keepalive and ESP are not for us.
        peer.send_to(&[0xff], at).unwrap();
        peer.send_to(&[0, 0, 1, 0, 1, 2, 3, 4], at).unwrap();
        peer.send_to(&[0, 0, 0, 0, b'i', b'k', b'e'], at).unwrap();
        let got = wait(&mut sockets);
        assert_eq!(got.octets, b"ike");
        sockets.send(&got).unwrap();
        let mut buffer = [0; 16];
        let (len, _) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], [0, 0, 0, 0, b'i', b'k', b'e']);
        sockets.send(&Datagram { octets: Vec::new(), ..got }).unwrap();
        let (len, _) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], [0xff]);
    }

    #[test]
    fn an_address_without_socket_is_an_error() {
        let Some((sockets, _, at)) = scene(Family::Inet, false) else { return };
        let local = SocketAddr::new(at.ip(), at.port() ^ 1);
        assert!(sockets.send(&Datagram { local, remote: at, octets: vec![1] }).is_err());
    }
}
