//! What a kernel says, in our own words: answers and events.

use crate::alg::{Authentication, Capabilities, Compression, Encryption, Protocol};
use crate::dialect::MessageType;
use crate::policy::{Flow, Identity, Mode, Selector};
use crate::request::{Encap, Iface, Lifetime, SaId, SaSpec, Spi};
use crate::secret::Secret;
use std::net::{IpAddr, SocketAddr};

/// One message from a kernel, understood.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// An answer to a request, ours or another program's: compare [`Reply::pid`] and
    /// [`Reply::seq`]. Some kernels tell everybody everything.
    Reply(Reply),
    /// A packet wants an SA.
    Acquire(Acquire),
    /// An SA's lifetime is over.
    Expire(Expire),
    /// The peer's NAT gave it another address or port (only Linux says so).
    NewMapping(NewMapping),
    /// A kernel policy's lifetime is over.
    FlowExpired {
        /// The policy's id.
        id: u32,
    },
    /// The kernel deleted an SA by itself (NetBSD does so after a rekey, with a wrong
    /// destination address: go by the SPI).
    Deleted {
        /// The SA's protocol.
        protocol: Option<Protocol>,
        /// The SA's SPI.
        spi: Spi,
    },
    /// A copy of what somebody else said or heard, after
    /// [`Request::Promisc`](crate::Request::Promisc): the message within.
    Copy(Vec<u8>),
    /// A message that this crate does not interpret.
    Other(MessageType),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// To which message.
    pub message: MessageType,
    /// Sequence number of the request; in a dump the entries left.
    pub seq: u32,
    /// Process id of the one who asked.
    pub pid: u32,
    /// 0, or why not, as an errno value **of the kernel's system**.
    pub errno: u8,
    /// Protocol in the header, if the kernel gave one.
    pub protocol: Option<Protocol>,
    /// What came with it.
    pub data: ReplyData,
}

impl Reply {
    /// Whether this answers what process `pid` asked with `seq`.
    pub fn answers(&self, pid: u32, seq: u32) -> bool {
        self.pid == pid && self.seq == seq
    }
}

/// What came with a [`Reply`].
#[derive(Clone, Debug)]
pub enum ReplyData {
    /// Nothing more than yes or no.
    None,
    /// REGISTER: what the kernel can do.
    Capabilities(Capabilities),
    /// GETSPI: the SPI; ADD, UPDATE, DELETE: the SA named.
    Sa(SaId),
    /// GET and DUMP: the whole SA.
    SaInfo(Box<SaInfo>),
    /// A flow or kernel policy.
    Flow(Box<FlowInfo>),
}

/// State of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaState {
    /// An SPI without keys.
    Larval,
    /// In use.
    Mature,
    /// The soft lifetime is over.
    Dying,
    /// Being deleted.
    Dead,
    /// Something else, by its number.
    Other(u8),
}

/// An SA as the kernel holds it.
#[derive(Clone, Debug)]
pub struct SaInfo {
    /// Its name.
    pub id: SaId,
    /// Tunnel or transport; `None`: the kernel says "any" or nothing.
    pub mode: Option<Mode>,
    /// See [`SaSpec::reqid`](crate::SaSpec::reqid).
    pub reqid: u32,
    /// State.
    pub state: SaState,
    /// Encryption.
    pub encryption: Option<Encryption>,
    /// Authentication.
    pub authentication: Option<Authentication>,
    /// Compression.
    pub compression: Option<Compression>,
    /// Key of the encryption, when the kernel tells it.
    pub encryption_key: Option<Secret>,
    /// Key of the authentication, when the kernel tells it.
    pub authentication_key: Option<Secret>,
    /// Extended sequence numbers.
    pub esn: bool,
    /// Anti-replay window in packets.
    pub replay_window: u32,
    /// Counters and times, by the wall clock.
    pub current: Option<Lifetime>,
    /// Soft limits.
    pub soft: Option<Lifetime>,
    /// Hard limits.
    pub hard: Option<Lifetime>,
    /// Time of the last packet by the wall clock (OpenBSD).
    pub last_use: Option<u64>,
    /// Octets and packets, in and out (OpenBSD).
    pub counters: Option<Counters>,
    /// ESP in UDP; OpenBSD tells the remote port alone.
    pub encap: Option<Encap>,
    /// Inner selector (OpenBSD).
    pub selector: Option<Selector>,
    /// Identities of source and destination, each where there is one.
    pub identities: (Option<Identity>, Option<Identity>),
    /// pf(4) tag.
    pub tag: Option<String>,
    /// enc(4) unit.
    pub tap: Option<u32>,
    /// sec(4) interface.
    pub iface: Option<Iface>,
    /// Routing domains.
    pub rdomain: Option<(u16, u16)>,
    /// Path MTU learnt.
    pub mtu: Option<u32>,
}

impl SaInfo {
    /// The SA as it would be added again: `None` without the keys, which only an answer to GET
    /// (and DUMP) brings.
    ///
    /// ```
    /// use pfkey::{SaInfo, SaSpec};
    /// // Adds an SA that was read from one kernel to another.
    /// fn copied(info: &SaInfo) -> Option<SaSpec> {
    ///     let mut spec = info.to_spec()?;
    ///     spec.soft.add_seconds = 0;
    ///     Some(spec)
    /// }
    /// ```
    pub fn to_spec(&self) -> Option<SaSpec> {
        let SaId { protocol, spi, src, dst, .. } = self.id;
        let mut spec = SaSpec::new(protocol, spi, src, dst, self.mode.unwrap_or(Mode::Transport));
        spec.reqid = self.reqid;
        spec.encryption = match self.encryption {
            Some(Encryption::Null) => Some((Encryption::Null, Secret::new(Vec::new()))),
            Some(algorithm) => Some((algorithm, self.encryption_key.clone()?)),
            None => None,
        };
        // Some kernels tell an authentication of their own making beside a combined mode.
        let combined = self.encryption.is_some_and(Encryption::is_aead);
        spec.authentication = match self.authentication.filter(|_| !combined) {
            Some(Authentication::Null) | None => None,
            Some(algorithm) => Some((algorithm, self.authentication_key.clone()?)),
        };
        spec.compression = self.compression;
        spec.esn = self.esn;
        spec.replay_window = self.replay_window;
        spec.soft = self.soft.unwrap_or_default();
        spec.hard = self.hard.unwrap_or_default();
        spec.encap = self.encap;
        spec.selector = self.selector;
        spec.identities = self.identities.0.clone().zip(self.identities.1.clone());
        spec.tag.clone_from(&self.tag);
        spec.tap = self.tap;
        spec.rdomain = self.rdomain;
        spec.iface = self.iface;
        Some(spec)
    }
}

/// Packet and octet counters of an SA (`struct sadb_x_counter`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets in.
    pub packets_in: u64,
    /// Packets out.
    pub packets_out: u64,
    /// Octets in.
    pub bytes_in: u64,
    /// Octets out.
    pub bytes_out: u64,
    /// Packets dropped on input.
    pub drops_in: u64,
    /// Packets dropped on output.
    pub drops_out: u64,
    /// Octets after decompression.
    pub decompressed_bytes: u64,
    /// Octets before compression.
    pub uncompressed_bytes: u64,
}

/// A flow as the kernel holds it.
#[derive(Clone, Debug)]
pub struct FlowInfo {
    /// The flow.
    pub flow: Flow,
    /// The kernel's number for it; 0 on OpenBSD.
    pub id: u32,
    /// Linux's direction for forwarded packets; [`Flow::direction`] then says `In`.
    pub forward: bool,
    /// Bound to one socket, not to everybody's packets.
    pub per_socket: bool,
    /// Entries that follow in a dump; 0 ends it.
    pub left: u32,
}

/// A packet wants an SA.
#[derive(Clone, Debug)]
pub struct Acquire {
    /// To be repeated in GETSPI and ADD (KAME), and in
    /// [`Request::AcquireFailed`](crate::Request::AcquireFailed).
    pub seq: u32,
    /// Protocol wanted.
    pub protocol: Protocol,
    /// Outer source, if told.
    pub src: Option<IpAddr>,
    /// Outer destination.
    pub dst: IpAddr,
    /// What [`Request::FlowOf`](crate::Request::FlowOf) wants to know about the flow: the
    /// ACQUIRE's number on OpenBSD, the policy's id elsewhere; `None` when there is nothing to ask.
    pub flow: Option<u32>,
    /// reqid, when told (FreeBSD); 0 otherwise.
    pub reqid: u32,
    /// Identities, when told (OpenBSD).
    pub identities: (Option<Identity>, Option<Identity>),
}

/// An SA's lifetime is over.
#[derive(Clone, Debug)]
pub struct Expire {
    /// `true`: the SA is gone. `false`: it should be replaced.
    pub hard: bool,
    /// The SA as far as told.
    pub sa: Box<SaInfo>,
}

/// The peer's NAT gave it another address or port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewMapping {
    /// The SA on which it was noticed. Go by its SPI: its destination is not told, and the new
    /// address stands there instead.
    pub sa: SaId,
    /// Address and port as they were.
    pub old: SocketAddr,
    /// Address and port as they are.
    pub new: SocketAddr,
}
