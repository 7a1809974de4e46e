//! Addresses by ioctl(2), routes and name servers by the routing socket (the BSDs).

use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::{Network, gone, shapes};

#[cfg(target_os = "freebsd")]
const SHAPES: shapes::Shapes = shapes::FREEBSD;
#[cfg(target_os = "openbsd")]
const SHAPES: shapes::Shapes = shapes::OPENBSD;
#[cfg(not(any(target_os = "freebsd", target_os = "openbsd")))]
const SHAPES: shapes::Shapes = shapes::NETBSD;

/// Puts an address on an interface.
pub fn add_address(iface: &str, address: IpAddr, length: u8) -> io::Result<()> {
    change_address(true, iface, (address, length))
}

/// Takes it off again.
pub fn delete_address(iface: &str, address: IpAddr, length: u8) -> io::Result<()> {
    gone(change_address(false, iface, (address, length)))
}

fn change_address(add: bool, iface: &str, network: Network) -> io::Result<()> {
    let request = shapes::alias(&SHAPES, add, iface, network);
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
    write(shapes::ADD, shapes::UP | shapes::GATEWAY | shapes::STATIC, &names(to, source))
}

/// Takes it back.
pub fn delete_route(to: Network, source: IpAddr, peer: IpAddr) -> io::Result<()> {
    if to.0.is_ipv4() == peer.is_ipv4() && to.1 <= 1 {
        let host = (shapes::A_DST, vec![shapes::name(&SHAPES, peer)]);
        gone(write(shapes::DELETE, shapes::UP | shapes::HOST | shapes::STATIC, &host))?;
    }
    let flags = shapes::UP | shapes::GATEWAY | shapes::STATIC;
    gone(write(shapes::DELETE, flags, &names(to, source)))
}

fn names(to: Network, source: IpAddr) -> (u32, Vec<Vec<u8>>) {
    let mask = shapes::mask(to.0.is_ipv4(), to.1);
    let names = [to.0, source, mask].map(|address| shapes::name(&SHAPES, address));
    (shapes::A_DST | shapes::A_GATEWAY | shapes::A_NETMASK, names.to_vec())
}

/// A route to the peer alone, by the gateway that it is reached by now.
fn hold(peer: IpAddr) -> io::Result<()> {
    let fd = routing()?;
    let name = vec![shapes::name(&SHAPES, peer)];
    let ask =
        shapes::message(&SHAPES, shapes::GET, shapes::UP | shapes::HOST, 7, (shapes::A_DST, &name));
    let mut file = std::fs::File::from(fd);
    io::Write::write_all(&mut file, &ask)?;
    let mut buffer = [0; 2048];
    // Others' messages may come first.
    for _ in 0..64 {
        let len = file.read(&mut buffer)?;
        let octets = &buffer[..len];
        let at = SHAPES.places.2;
        let ours = octets.get(3) == Some(&shapes::GET)
            && octets.get(at..at + 4) == Some(&7u32.to_ne_bytes()[..]);
        if !ours {
            continue;
        }
        let Some((flags, gateway)) = shapes::gateway(&SHAPES, octets) else { break };
        let flags = shapes::UP | shapes::HOST | shapes::STATIC | (flags & shapes::GATEWAY);
        let names = (shapes::A_DST | shapes::A_GATEWAY, vec![name[0].clone(), gateway]);
        return match write(shapes::ADD, flags, &names) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
    }
    Err(io::Error::other("the system does not tell how the peer is reached"))
}

fn write(kind: u8, flags: u32, (bits, names): &(u32, Vec<Vec<u8>>)) -> io::Result<()> {
    let message = shapes::message(&SHAPES, kind, flags, 1, (*bits, names));
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
            let names = vec![shapes::servers(&SHAPES, ipv4, &servers)];
            let names = (shapes::A_DNS, &names[..]);
            let mut message = shapes::message(&SHAPES, shapes::PROPOSAL, shapes::UP, 1, names);
            // rtm_index, and rtm_priority: RTP_PROPOSAL_STATIC.
            message[6..8].copy_from_slice(&(index as u16).to_ne_bytes());
            message[10] = 57;
            io::Write::write_all(&mut std::fs::File::from(routing()?), &message)?;
        }
        Ok(())
    })
}
