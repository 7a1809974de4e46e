//! What can be asked of a kernel, in our own words.

use crate::alg::{Authentication, Compression, Encryption, Protocol};
use crate::policy::{Direction, Flow, Identity, Mode, Selector};
use crate::secret::Secret;
use std::fmt;
use std::net::IpAddr;

/// A Security Parameters Index (RFC 4303 §2.1), or a CPI for IPComp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spi(pub u32);

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

/// One question to a kernel. [`Dialect::compose`](crate::Dialect::compose) makes messages of it.
#[derive(Clone, Debug)]
pub enum Request {
    /// Tell us of ACQUIREs and EXPIREs for this protocol, and say what you can do.
    Register(Protocol),
    /// Choose an SPI for an inbound SA and hold it (a larval SA).
    GetSpi(GetSpi),
    /// Fill in the larval SA of a [`GetSpi`]: an inbound SA.
    Update(Box<SaSpec>),
    /// Add an SA whose SPI the peer chose: an outbound SA.
    Add(Box<SaSpec>),
    /// Give a live SA other addresses or UDP ports, its counters kept. How far a kernel can do
    /// it, [`Behaviour::moves`](crate::Behaviour::moves) tells.
    Move(Box<Move>),
    /// Delete an SA.
    Delete(SaId),
    /// Ask for an SA's counters, lifetimes and keys.
    Get(SaId),
    /// Delete all SAs, of one protocol or of all. On OpenBSD all flows go too when it is all.
    Flush(Option<Protocol>),
    /// All SAs, of one protocol or of all.
    Dump(Option<Protocol>),
    /// Copies of other programs' messages.
    Promisc(bool),
    /// Put in a flow, or change the one with the same selector.
    AddFlow(Box<Flow>),
    /// Take out a flow.
    DeleteFlow(Box<Flow>),
    /// All flows (OpenBSD answers this by sysctl only).
    DumpFlows,
    /// Delete all flows. OpenBSD cannot do it without deleting the SAs.
    FlushFlows,
    /// The flow that an ACQUIRE was about: its sequence number on OpenBSD, the policy's id
    /// elsewhere.
    FlowOf(u32),
    /// We could not do what the ACQUIRE with this sequence number asked.
    AcquireFailed {
        /// Sequence number of the ACQUIRE.
        seq: u32,
        /// Protocol of the ACQUIRE.
        protocol: Protocol,
        /// An errno value, not 0.
        errno: u8,
    },
    /// Apply the first SA and then the second (OpenBSD: IPComp within ESP).
    Group {
        /// Applied first on output.
        first: SaId,
        /// Applied next.
        then: SaId,
    },
}

/// Names an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SaId {
    /// Protocol.
    pub protocol: Protocol,
    /// SPI.
    pub spi: Spi,
    /// Outer source.
    pub src: IpAddr,
    /// Outer destination.
    pub dst: IpAddr,
    /// Routing domain (OpenBSD); `None` is the socket's.
    pub rdomain: Option<u16>,
}

/// Asks for an SPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetSpi {
    /// Protocol.
    pub protocol: Protocol,
    /// Outer source: the peer.
    pub src: IpAddr,
    /// Outer destination: us.
    pub dst: IpAddr,
    /// Smallest and largest SPI, in host order. `None`: the range that is safe on this kernel.
    pub range: Option<(u32, u32)>,
    /// Mode and reqid of the SA to come; KAME kernels file the larval SA under them.
    pub mode: Mode,
    /// See [`SaSpec::reqid`].
    pub reqid: u32,
}

/// How long an SA lives. 0 in a field: no limit of that kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Connections (RFC 2367) or packets; no kernel seen enforces it.
    pub allocations: u32,
    /// Octets.
    pub bytes: u64,
    /// Seconds after installation. In a current lifetime: when, by the wall clock.
    pub add_seconds: u64,
    /// Seconds after first use. In a current lifetime: when, by the wall clock.
    pub use_seconds: u64,
}

impl Lifetime {
    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Lifetime::default()
    }
}

/// ESP in UDP (RFC 3948): ports in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encap {
    /// UDP port of the SA's source address.
    pub src_port: u16,
    /// UDP port of the SA's destination address.
    pub dst_port: u16,
}

/// A live SA's other addresses or UDP ports (RFC 4555; a NAT's new mapping).
#[derive(Clone, Debug)]
pub struct Move {
    /// The SA as it is named now.
    pub id: SaId,
    /// Which way it carries packets.
    pub direction: Direction,
    /// As in [`SaSpec`]: unchanged, but KAME kernels want it told.
    pub mode: Mode,
    /// See [`SaSpec::reqid`].
    pub reqid: u32,
    /// The outer source from now on.
    pub src: IpAddr,
    /// The outer destination from now on.
    pub dst: IpAddr,
    /// UDP encapsulation from now on. OpenBSD can change its port, not whether there is any;
    /// Linux copies it as it was.
    pub encap: Option<Encap>,
    /// When to warn: told again, for FreeBSD takes its absence for "never".
    pub soft: Lifetime,
    /// When to delete: likewise.
    pub hard: Lifetime,
    /// What its flow selects, by which Linux finds the SA's flow and moves that too.
    pub selector: Option<Selector>,
}

/// A route-based interface: sec(4) on OpenBSD. (if_ipsec(4) on FreeBSD is tied by reqid.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Iface {
    /// Unit number: 0 for sec0.
    pub unit: u32,
    /// Which way the SA carries packets.
    pub direction: Direction,
}

/// An SA with everything on it.
///
/// ```
/// use pfkey::{Encryption, Mode, Protocol, SaSpec, Secret, Spi};
/// let mut sa = SaSpec::new(
///     Protocol::Esp,
///     Spi(0x1234_5678),
///     "192.0.2.1".parse()?,
///     "198.51.100.7".parse()?,
///     Mode::Tunnel,
/// );
/// sa.encryption = Some((Encryption::AesGcm16, Secret::new(vec![0; 36])));
/// sa.reqid = 7;
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SaSpec {
    /// Protocol.
    pub protocol: Protocol,
    /// SPI.
    pub spi: Spi,
    /// Outer source.
    pub src: IpAddr,
    /// Outer destination.
    pub dst: IpAddr,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Ties the SA to its flow, the same number as in [`Transform`](crate::Transform); never 0
    /// where KAME kernels are to keep SAs of one pair apart, at most 0x3fff there.
    pub reqid: u32,
    /// Encryption and its key, salt included.
    pub encryption: Option<(Encryption, Secret)>,
    /// Authentication and its key; `None` beside a combined-mode algorithm.
    pub authentication: Option<(Authentication, Secret)>,
    /// Compression, for IPComp.
    pub compression: Option<Compression>,
    /// Extended sequence numbers (RFC 4303 §2.2.1).
    pub esn: bool,
    /// Anti-replay window in packets; 0 switches the check off.
    pub replay_window: u32,
    /// When to warn.
    pub soft: Lifetime,
    /// When to delete.
    pub hard: Lifetime,
    /// ESP in UDP.
    pub encap: Option<Encap>,
    /// Whether the packets within a tunnel are IPv6; `None`: the tunnel's own family. Linux takes
    /// only one family into an SA and has to be told when it is the other.
    pub inner_ipv6: Option<bool>,
    /// Only this traffic may go through the SA (OpenBSD checks it on input).
    pub selector: Option<Selector>,
    /// Identity of the source and of the destination.
    pub identities: Option<(Identity, Identity)>,
    /// pf(4) tag put on decapsulated packets (OpenBSD).
    pub tag: Option<String>,
    /// Unit of the enc(4) interface (OpenBSD).
    pub tap: Option<u32>,
    /// Routing domains of the encrypted and of the clear side (OpenBSD).
    pub rdomain: Option<(u16, u16)>,
    /// sec(4) interface (OpenBSD).
    pub iface: Option<Iface>,
}

impl SaSpec {
    /// An SA with a window of 64 packets and nothing else.
    pub fn new(protocol: Protocol, spi: Spi, src: IpAddr, dst: IpAddr, mode: Mode) -> SaSpec {
        SaSpec {
            protocol,
            spi,
            src,
            dst,
            mode,
            reqid: 0,
            encryption: None,
            authentication: None,
            compression: None,
            esn: false,
            replay_window: 64,
            soft: Lifetime::default(),
            hard: Lifetime::default(),
            encap: None,
            inner_ipv6: None,
            selector: None,
            identities: None,
            tag: None,
            tap: None,
            rdomain: None,
            iface: None,
        }
    }

    /// What names this SA.
    pub fn id(&self) -> SaId {
        SaId {
            protocol: self.protocol,
            spi: self.spi,
            src: self.src,
            dst: self.dst,
            rdomain: self.rdomain.map(|(outer, _)| outer),
        }
    }
}
