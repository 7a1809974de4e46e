//! Flows: which packets a kernel protects, and how. OpenBSD calls the entry a flow, KAME and
//! Linux a policy; here it is one value, and the dialect finds the messages for it.

use crate::alg::Protocol;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which way packets go, as this host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Towards us, forwarded traffic included: on Linux, whose kernel has a third direction for
    /// what is forwarded, a tunnel's flow is put into both.
    In,
    /// From us.
    Out,
}

/// What happens to a packet of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKind {
    /// Protect if there is an SA, else let it pass.
    Use,
    /// Let it pass in clear and ask for an SA.
    Acquire,
    /// Drop without SA, and ask for one.
    Require,
    /// Never protect.
    Bypass,
    /// Drop.
    Deny,
    /// Drop without SA and ask for none.
    DontAcquire,
}

/// Whether the inner packet keeps its own header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The payload alone is protected.
    Transport,
    /// The whole packet is, within a new one between the SA's endpoints.
    Tunnel,
}

/// An address block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// The address; host bits are as given.
    pub addr: IpAddr,
    /// Bits that count, at most 32 or 128.
    pub len: u8,
}

impl Prefix {
    /// A block of `len` bits, `None` when the family has fewer.
    pub const fn new(addr: IpAddr, len: u8) -> Option<Prefix> {
        let most = match addr {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        if len > most { None } else { Some(Prefix { addr, len }) }
    }

    /// The block of one address.
    pub const fn host(addr: IpAddr) -> Prefix {
        let len = match addr {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Prefix { addr, len }
    }

    /// The netmask as an address.
    pub fn mask(&self) -> IpAddr {
        match self.addr {
            IpAddr::V4(_) => {
                let bits = u32::MAX.checked_shl(32 - u32::from(self.len.min(32))).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(bits))
            }
            IpAddr::V6(_) => {
                let bits = u128::MAX.checked_shl(128 - u32::from(self.len.min(128))).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(bits))
            }
        }
    }

    /// The same block without host bits.
    pub fn masked(&self) -> Prefix {
        let addr = match (self.addr, self.mask()) {
            (IpAddr::V4(a), IpAddr::V4(m)) => {
                IpAddr::V4(Ipv4Addr::from(u32::from(a) & u32::from(m)))
            }
            (IpAddr::V6(a), IpAddr::V6(m)) => {
                IpAddr::V6(Ipv6Addr::from(u128::from(a) & u128::from(m)))
            }
            (a, _) => a,
        };
        Prefix { addr, len: self.len }
    }

    /// Length of a netmask, `None` if its ones are not all at the left.
    pub fn len_of_mask(mask: IpAddr) -> Option<u8> {
        let (ones, total) = match mask {
            IpAddr::V4(m) => (u32::from(m).leading_ones(), u32::from(m).count_ones()),
            IpAddr::V6(m) => (u128::from(m).leading_ones(), u128::from(m).count_ones()),
        };
        (ones == total).then_some(ones as u8)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Prefix::host(self.addr) {
            write!(f, "{}", self.addr)
        } else {
            write!(f, "{}/{}", self.addr, self.len)
        }
    }
}

/// Ports of one side: those whose bits agree with `port` where `mask` has a one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Port {
    /// The port; 0 with mask 0 is any.
    pub port: u16,
    /// Which bits count. Only OpenBSD can do other masks than 0 and 0xffff.
    pub mask: u16,
}

impl Port {
    /// Any port.
    pub const ANY: Port = Port { port: 0, mask: 0 };

    /// This port alone; 0 is any.
    pub const fn exactly(port: u16) -> Port {
        Port { port, mask: if port == 0 { 0 } else { 0xffff } }
    }

    /// Whether any port fits.
    pub const fn is_any(self) -> bool {
        self.mask == 0
    }
}

/// Packets described by their own addresses: source and destination as they stand in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// IP protocol number; 0 is any.
    pub protocol: u8,
    /// Source addresses.
    pub src: Prefix,
    /// Source ports (for ICMP the type, where the kernel can).
    pub src_port: Port,
    /// Destination addresses.
    pub dst: Prefix,
    /// Destination ports (for ICMP the code, where the kernel can).
    pub dst_port: Port,
}

impl Selector {
    /// All traffic from one block to another.
    pub const fn between(src: Prefix, dst: Prefix) -> Selector {
        Selector { protocol: 0, src, src_port: Port::ANY, dst, dst_port: Port::ANY }
    }
}

/// One protection in a flow; IPComp and ESP together are two of them, the innermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transform {
    /// Protocol of the SA.
    pub protocol: Protocol,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Ties the flow to its SAs; 0: any SA of these endpoints. KAME kernels keep 14 bits.
    pub reqid: u32,
    /// Endpoints of the SA as the packet sees them: outer source and destination.
    /// `None` in transport mode takes the packet's own.
    pub endpoints: Option<(IpAddr, IpAddr)>,
    /// What comes without it is taken too: IPComp on input, for a packet that does not shrink is
    /// sent as it is (RFC 3173 §2.2). OpenBSD does so without being told.
    pub optional: bool,
}

/// The name by which a key manager knows an end, as a kernel keeps it beside an SA or flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// What kind of name.
    pub kind: IdentityKind,
    /// The name; without a NUL.
    pub name: String,
}

/// Kinds of [`Identity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// An address block such as `192.0.2.0/24`.
    Prefix,
    /// A domain name.
    Fqdn,
    /// A mailbox.
    UserFqdn,
    /// A distinguished name (OpenBSD).
    Asn1Dn,
    /// An address (KAME).
    Address,
    /// Something else, by its number.
    Other(u16),
}

/// A flow or kernel policy, the same for every dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Which way.
    pub direction: Direction,
    /// What to do.
    pub kind: FlowKind,
    /// With which packets, as they look themselves: for [`Direction::In`] the source is remote.
    pub selector: Selector,
    /// How to protect, outermost last; empty for [`FlowKind::Bypass`] and [`FlowKind::Deny`].
    pub transforms: Vec<Transform>,
    /// Our own and the peer's identity, which OpenBSD tells in an ACQUIRE.
    pub identities: Option<(Identity, Identity)>,
    /// Lower goes first, where the kernel knows priorities (FreeBSD, Linux); 0 leaves it to it.
    pub priority: u32,
    /// Routing domain (OpenBSD); `None` is the socket's.
    pub rdomain: Option<u16>,
}

impl Flow {
    /// A flow that protects with one transform.
    pub fn protect(direction: Direction, selector: Selector, transform: Transform) -> Flow {
        Flow {
            direction,
            kind: FlowKind::Require,
            selector,
            transforms: vec![transform],
            identities: None,
            priority: 0,
            rdomain: None,
        }
    }

    /// A flow of another kind, without a transform.
    pub fn plain(direction: Direction, kind: FlowKind, selector: Selector) -> Flow {
        Flow {
            direction,
            kind,
            selector,
            transforms: Vec::new(),
            identities: None,
            priority: 0,
            rdomain: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_back() {
        for len in 0..=32 {
            let p = Prefix::new(IpAddr::V4(Ipv4Addr::new(10, 255, 3, 9)), len).unwrap();
            assert_eq!(Prefix::len_of_mask(p.mask()), Some(len));
        }
        for len in 0..=128 {
            let p = Prefix::new(IpAddr::V6(Ipv6Addr::LOCALHOST), len).unwrap();
            assert_eq!(Prefix::len_of_mask(p.mask()), Some(len));
        }
        assert_eq!(Prefix::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 33), None);
        assert_eq!(Prefix::len_of_mask("255.0.255.0".parse().unwrap()), None);
        let p = Prefix::new("10.1.2.3".parse().unwrap(), 24).unwrap();
        assert_eq!(p.masked().to_string(), "10.1.2.0/24");
    }
}
