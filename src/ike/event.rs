//! What goes into the engine and what comes out.
//!
//! ```text
//!  datagrams ──────────┐                         ┌──> datagrams
//!  kernel answers ─────┤                         ├──> kernel requests
//!  ACQUIRE, EXPIRE ────┼──> Engine::handle(now) ─┼──> questions
//!  answers ────────────┤     Engine::poll() ─────┼──> reports
//!  configuration ──────┤     Engine::next_timeout()
//!  commands, time ─────┘
//! ```

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::auth::{Answer, Question, QuestionId, Trust};
use super::inner::HostChange;
use super::pool::Lease;
use super::report::Report;
use crate::conf::{Config, Mode, Prefix, SaProtocol};
use crate::crypto::Secret;
use crate::wire::EspSpi;
use crate::wire::iana::v2::{EncryptionId, IntegrityId};

/// Monotonic time since an arbitrary start; the engine's only notion of time.
///
/// Nanoseconds, counted from one so that an `Option` of it takes no more room: an engine holds many.
/// Times beyond the 584 years that it reaches are its last moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(NonZeroU64);

impl Time {
    /// The time so long after the start.
    pub fn at(span: Duration) -> Self {
        Self(NonZeroU64::MIN.saturating_add(nanoseconds(span)))
    }

    /// This time, later by so much.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(span)))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Time {
    /// The start.
    fn default() -> Self {
        Self(NonZeroU64::MIN)
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// What the engine is told.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram from a UDP socket, without the non-ESP marker.
    Datagram {
        /// The address it was sent to.
        local: SocketAddr,
        /// The address it came from.
        remote: SocketAddr,
        /// Its octets.
        octets: &'a [u8],
    },
    /// The kernel's answer to a request.
    Kernel(RequestId, KernelAnswer),
    /// What the kernel can do; comes before the first configuration and may come again.
    Capabilities(Capabilities),
    /// Traffic met a flow that has no SA.
    Acquire(Acquire),
    /// An SA reached its lifetime in the kernel.
    Expire(Expire),
    /// The answer to a question.
    Answer(QuestionId, Answer),
    /// Whom the holder of the secrets trusts; before the first configuration, and whenever it changes.
    Trust(Trust),
    /// Who had an address before this engine began; comes after the first configuration.
    Lease(Lease),
    /// A new configuration: the difference is acted upon.
    Configure(Arc<Config>),
    /// Packets of an inbound SA, authentic and no repetitions, come from another address or port: the NAT
    /// before the peer has another mapping (where the kernel tells).
    Mapping {
        /// The SPI of the SA.
        spi: EspSpi,
        /// Where the packets come from now.
        remote: SocketAddr,
    },
    /// The addresses that we have now, the ones to be preferred first (RFC 4555). Those of loopback
    /// interfaces and link-local ones are left out.
    Addresses(Vec<IpAddr>),
    /// An operator's command.
    Command(Command),
    /// `next_timeout()` was reached (or nothing happened: it does no harm).
    Timeout,
}

/// What the engine wants done.
#[derive(Debug)]
pub enum Output {
    /// Send this; the non-ESP marker is the sender's business (port 4500).
    Datagram {
        /// From this address of ours.
        local: SocketAddr,
        /// To this address.
        remote: SocketAddr,
        /// These octets.
        octets: Vec<u8>,
    },
    /// Send one octet 0xff, without a non-ESP marker (RFC 3948 §2.3), to keep a NAT's mapping.
    Keepalive {
        /// From this address of ours.
        local: SocketAddr,
        /// To this address.
        remote: SocketAddr,
    },
    /// Ask the kernel; exactly one `Input::Kernel` answers it.
    Kernel(RequestId, KernelRequest),
    /// Ask the holder of the secrets; exactly one `Input::Answer` answers it.
    Question(QuestionId, Question),
    /// Have the host use what a peer gave us, or no longer. What goes wrong is reported there.
    Host(HostChange),
    /// Keep in mind who has this address: it is handed in again when an engine begins.
    Lease(Lease),
    /// Tell the operator.
    Report(Report),
    /// Everything is taken down: the process may end (after [`Command::Shutdown`]).
    Finished,
}

/// Which request an answer belongs to; never reused while the engine lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What the kernel is asked to do. One request may be several messages of a dialect.
#[derive(Debug)]
pub enum KernelRequest {
    /// Reserve an SPI for an inbound SA.
    GetSpi {
        /// ESP or AH.
        protocol: SaProtocol,
        /// The peer's address.
        src: IpAddr,
        /// Our address.
        dst: IpAddr,
    },
    /// Reserve a CPI (RFC 3173 §3.3) for inbound IPComp, answered by [`KernelAnswer::Cpi`]. A kernel
    /// without IPComp fails it: then offer none.
    GetCpi {
        /// The peer's address.
        src: IpAddr,
        /// Our address.
        dst: IpAddr,
    },
    /// Give back a CPI that [`KernelRequest::GetCpi`] reserved and no SA came to use.
    DropCpi {
        /// The CPI.
        cpi: Cpi,
        /// The peer's address.
        src: IpAddr,
        /// Our address.
        dst: IpAddr,
    },
    /// Install an SA: inbound completes what `GetSpi` reserved, outbound is new.
    AddSa(Box<KernelSa>),
    /// Give an SA other outer addresses or UDP ports, its SPI and keys kept (RFC 4555; a NAT's new
    /// mapping). Answered by [`KernelAnswer::Moved`]. Its flows are for [`KernelRequest::AddFlow`],
    /// afterwards.
    MoveSa(Box<SaMove>),
    /// Remove an SA (or a reserved SPI), and those of its bundle that came with it.
    DeleteSa(SaKey),
    /// Ask for an SA's counters and last use.
    QuerySa(SaKey),
    /// Install a flow in one direction (or replace the one with the same selectors).
    AddFlow(Box<KernelFlow>),
    /// Remove a flow.
    DeleteFlow(Box<KernelFlow>),
}

/// The kernel's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelAnswer {
    /// Done.
    Done,
    /// Done: this SPI is reserved.
    Spi(EspSpi),
    /// Done: this CPI is reserved.
    Cpi(Cpi),
    /// Counters of an SA.
    Counters(SaCounters),
    /// Done: the SA is at its new place.
    Moved {
        /// Its sequence numbers go on. `false`: this kernel had to make it anew and they begin at 1,
        /// which the peer takes for replay: rekey it at once.
        counts_on: bool,
    },
    /// Not done; the reason in words (errno and what it means here).
    Failed(String),
}

/// What the kernel counted on an SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SaCounters {
    /// Packets.
    pub packets: u64,
    /// Octets.
    pub bytes: u64,
    /// How long ago it was last used, where the kernel tells.
    pub idle: Option<Duration>,
}

/// What names an SA in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SaKey {
    /// ESP or AH.
    pub protocol: SaProtocol,
    /// Its SPI.
    pub spi: EspSpi,
    /// Source of the outer header.
    pub src: IpAddr,
    /// Destination of the outer header.
    pub dst: IpAddr,
}

/// A Compression Parameter Index (RFC 3173 §2): the SPI of IPComp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cpi(pub u16);

impl Cpi {
    /// The one in these octets, if it may be negotiated: those below 256 may not (RFC 3173 §3.3).
    pub fn negotiated(octets: [u8; 2]) -> Option<Self> {
        Some(Self(u16::from_be_bytes(octets))).filter(|cpi| cpi.0 > 255)
    }
}

/// Another place for an SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaMove {
    /// Its name now.
    pub key: SaKey,
    /// Which way its packets go.
    pub direction: Direction,
    /// Source of the outer header from now on.
    pub src: IpAddr,
    /// Destination of the outer header from now on.
    pub dst: IpAddr,
    /// UDP encapsulation from now on: (source port, destination port) of its packets.
    pub encap: Option<(u16, u16)>,
    /// As in [`KernelSa::selector`]: one kernel finds the SA by its flow. That must still stand as
    /// it was.
    pub selector: Option<KernelSelector>,
}

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// An SA as the kernel is to have it.
#[derive(Debug)]
pub struct KernelSa {
    /// Its name; `src` and `dst` in the direction of its packets.
    pub key: SaKey,
    /// Inbound (was reserved by `GetSpi`) or outbound.
    pub direction: Direction,
    /// Tunnel or transport.
    pub mode: Mode,
    /// The cipher and its key octets (with the salt behind, for AEAD and CTR); `None` for AH.
    pub encryption: Option<(EncryptionId, Secret)>,
    /// The integrity algorithm and its key octets; `None` with AEAD.
    pub integrity: Option<(IntegrityId, Secret)>,
    /// Extended sequence numbers.
    pub esn: bool,
    /// Replay window in packets; 0 turns the check off.
    pub replay_window: u32,
    /// When the kernel says "soft": rekey.
    pub soft: KernelLifetime,
    /// When the kernel deletes it.
    pub hard: KernelLifetime,
    /// UDP encapsulation: (source port, destination port) of its packets.
    pub encap: Option<(u16, u16)>,
    /// Packets are compressed (DEFLATE) before they are protected, under this CPI: an IPComp SA
    /// comes and goes with this one. Inbound it was reserved by `GetCpi`.
    pub ipcomp: Option<Cpi>,
    /// AH around its packets: an SA that comes and goes with this one, and has its lifetimes. Inbound
    /// it was reserved by `GetSpi`.
    pub around: Option<Box<Around>>,
    /// Binds flows to SAs (KAME and Linux); the same for both directions and over rekeys.
    pub reqid: u32,
    /// The traffic that it carries, in the direction of its packets (first of the flows).
    pub selector: Option<KernelSelector>,
    /// The pf(4) tag.
    pub tag: Option<String>,
    /// The enc(4) unit.
    pub tap: Option<u32>,
    /// The rdomain.
    pub rdomain: Option<u32>,
    /// Route-based: the interface, sec(4) or if_ipsec(4). Such an SA has no flows of ours.
    pub iface: Option<String>,
}

/// AH around ESP, in one direction.
#[derive(Debug)]
pub struct Around {
    /// Its SPI.
    pub spi: EspSpi,
    /// The integrity algorithm and its key octets.
    pub integrity: (IntegrityId, Secret),
}

/// A lifetime in the kernel; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelLifetime {
    /// Seconds since it was installed.
    pub seconds: u64,
    /// Octets.
    pub bytes: u64,
}

/// Traffic as a flow selects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KernelSelector {
    /// Source prefix.
    pub src: Prefix,
    /// Destination prefix.
    pub dst: Prefix,
    /// IP protocol; 0 is any.
    pub ip_protocol: u8,
    /// Source ports. (For ICMP the type.)
    pub src_port: Ports,
    /// Destination ports. (For ICMP the code.)
    pub dst_port: Ports,
}

/// Ports as a flow selects them: those whose bits agree with `value` where `mask` has a one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Ports {
    /// The port, 0 where its bits do not count.
    pub value: u16,
    /// Which bits count: of none, all ports are selected; of all, one is.
    pub mask: u16,
}

impl Ports {
    /// All of them.
    pub const ANY: Self = Self { value: 0, mask: 0 };

    /// One port.
    pub const fn exactly(port: u16) -> Self {
        Self { value: port, mask: u16::MAX }
    }

    /// Whether all ports are selected.
    pub const fn is_any(self) -> bool {
        self.mask == 0
    }

    /// Whether another's ports are among these.
    pub const fn contains(self, part: Self) -> bool {
        part.mask & self.mask == self.mask && part.value & self.mask == self.value
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, mask } = *self;
        match mask {
            0 => f.write_str("any"),
            u16::MAX => write!(f, "{value}"),
            _ if mask.leading_ones() == mask.count_ones() => write!(f, "{value}:{}", value | !mask),
            _ => write!(f, "{value:#x}/{mask:#x}"),
        }
    }
}

/// By what of a packet beyond its addresses and IP protocol a kernel's flows select.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Selects {
    /// The IP protocols whose ports (for ICMP type and code) it looks at.
    pub protocols: Vec<u8>,
    /// Whether ports may have any mask; else a flow takes one port other than 0, or all.
    pub masks: bool,
}

/// A flow (OpenBSD) or kernel policy (elsewhere) in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KernelFlow {
    /// The direction. (Where a kernel has a third, forwarding, the kernel side adds it to `In`.)
    pub direction: Direction,
    /// What traffic.
    pub selector: KernelSelector,
    /// ESP or AH.
    pub protocol: SaProtocol,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Its SAs compress first ([`KernelSa::ipcomp`]).
    pub ipcomp: bool,
    /// AH stands around them ([`KernelSa::around`]).
    pub around: bool,
    /// Our outer address.
    pub local: IpAddr,
    /// The peer's outer address.
    pub remote: IpAddr,
    /// The SAs it uses.
    pub reqid: u32,
    /// The rdomain.
    pub rdomain: Option<u32>,
}

/// Traffic met a flow that has no SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquire {
    /// Our outer address.
    pub local: IpAddr,
    /// The peer's outer address.
    pub remote: IpAddr,
    /// The reqid of the flow, where the kernel tells.
    pub reqid: Option<u32>,
    /// The packet (or flow) that met it, outbound.
    pub selector: Option<KernelSelector>,
}

/// An SA reached a lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expire {
    /// Which SA.
    pub key: SaKey,
    /// `true`: it is gone from the kernel; `false`: time to rekey.
    pub hard: bool,
}

/// What the kernel can do for child SAs, in IANA's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// ESP ciphers with the key lengths (bits, without salt) that work.
    pub encryption: Vec<(EncryptionId, Vec<u16>)>,
    /// ESP and AH integrity algorithms that work with standard truncation.
    pub integrity: Vec<IntegrityId>,
    /// Extended sequence numbers.
    pub esn: bool,
    /// Whether an SA in tunnel mode carries IPv4 or IPv6, not both.
    pub one_family: bool,
    /// What its flows select by.
    pub selects: Selects,
    /// What cannot be used although the kernel lists it, and why, for the operator.
    pub remarks: Vec<String>,
}

/// An operator's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// `reset all`: delete all SAs with notice to the peers; active policies start again.
    ResetAll,
    /// `reset sa`: drop all SAs, keep policies.
    ResetSa,
    /// `reset id NAME`: those whose peer has this identity (or policy name).
    ResetId(String),
    /// `rekey ike NAME`, `rekey child NAME`: successors for the IKE SAs, or for their children, of
    /// the peer with this identity (or policy name), now.
    Rekey {
        /// The identity or policy.
        name: String,
        /// The IKE SA rather than its children.
        ike: bool,
    },
    /// Delete everything we put into the kernel, tell the peers, then `Output::Finished`.
    Shutdown,
    /// Whether to report each message (the ladder).
    Trace(bool),
}
