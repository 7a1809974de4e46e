//! From a neutral [`Request`] to the messages of a dialect.

mod flow;
mod moves;

use crate::alg::{Authentication, Compression, Encryption, Protocol};
use crate::codec::{Packet, Sockaddr};
use crate::dialect::{AddressStyle, Dialect, ExtType, FlowStyle, MessageType, ReplayStyle};
use crate::dialect::{kame, openbsd};
use crate::ext::{Address, Ext, Ident, Key, Sa, Sa2};
use crate::message::{Builder, Header};
use crate::policy::{Direction, Identity, IdentityKind, Mode, Prefix, Selector};
use crate::request::{Encap, GetSpi, Lifetime, Request, SaId, SaSpec};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// SADB_SASTATE_MATURE, the same everywhere.
const MATURE: u8 =
    crate::dialect::number(crate::dialect::rfc2367::CONSTANTS, "SADB_SASTATE_MATURE") as u8;

/// Why a request cannot be put to this kernel. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComposeError {
    /// The kernel has no such protocol.
    Protocol(Protocol),
    /// The kernel has no such algorithm.
    Encryption(Encryption),
    /// The kernel has no such algorithm.
    Authentication(Authentication),
    /// The kernel has no such algorithm.
    Compression(Compression),
    /// The kernel has nothing for this.
    Unsupported(&'static str),
    /// The values contradict each other.
    Contradiction(&'static str),
    /// The kernel answers this by sysctl(2): [`socket::dump`](crate::socket::dump).
    BySysctl,
    /// The message would be longer than the kernel takes.
    TooLong {
        /// Octets.
        have: usize,
        /// Octets that the kernel takes.
        most: usize,
    },
}

impl fmt::Display for ComposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ComposeError::Protocol(p) => write!(f, "the kernel has no SAs of {p}"),
            ComposeError::Encryption(e) => write!(f, "the kernel has no {}", e.name()),
            ComposeError::Authentication(a) => write!(f, "the kernel has no {}", a.name()),
            ComposeError::Compression(c) => write!(f, "the kernel has no {}", c.name()),
            ComposeError::Unsupported(what) => write!(f, "the kernel cannot do {what}"),
            ComposeError::Contradiction(what) => f.write_str(what),
            ComposeError::BySysctl => f.write_str("the kernel tells this by sysctl only"),
            ComposeError::TooLong { have, most } => {
                write!(f, "a message of {have} octets, the kernel takes {most}")
            }
        }
    }
}

impl std::error::Error for ComposeError {}

impl Dialect {
    /// The messages that put `request` to the kernel, in order. The first carries `seq`, the next
    /// `seq + 1` and so on; `pid` is the process that will write them (OpenBSD insists, the
    /// others go by it in UPDATE). One request is one message, but for: an inbound tunnel flow on
    /// Linux, which is two; an [`Request::AcquireFailed`] on OpenBSD, which is none.
    ///
    /// ```
    /// use pfkey::{Dialect, GetSpi, Mode, Protocol, Request};
    /// let ask = Request::GetSpi(GetSpi {
    ///     protocol: Protocol::Esp,
    ///     src: "198.51.100.7".parse()?,
    ///     dst: "192.0.2.1".parse()?,
    ///     range: None,
    ///     mode: Mode::Tunnel,
    ///     reqid: 7,
    /// });
    /// for dialect in Dialect::all() {
    ///     assert_eq!(dialect.compose(&ask, 1, 100)?.len(), 1);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compose(
        &'static self,
        request: &Request,
        seq: u32,
        pid: u32,
    ) -> Result<Vec<Packet>, ComposeError> {
        let composer = Composer { dialect: self, seq, pid };
        let packets = composer.compose(request)?;
        let most = self.behaviour.message_max;
        match packets.iter().map(|p| p.len()).find(|&have| have > most) {
            Some(have) => Err(ComposeError::TooLong { have, most }),
            None => Ok(packets),
        }
    }
}

/// What all messages of one request share.
struct Composer {
    dialect: &'static Dialect,
    seq: u32,
    pid: u32,
}

impl Composer {
    fn compose(&self, request: &Request) -> Result<Vec<Packet>, ComposeError> {
        use MessageType as M;
        let bare = |message, protocol: Option<Protocol>| -> Result<Vec<Packet>, ComposeError> {
            Ok(vec![self.begin(message, self.sa_type(protocol)?).finish()])
        };
        match request {
            Request::Register(protocol) => bare(M::Register, Some(*protocol)),
            Request::Flush(protocol) => bare(M::Flush, *protocol),
            Request::Dump(protocol) => bare(M::Dump, *protocol),
            Request::Promisc(on) => Ok(vec![self.begin(M::Promisc, u8::from(*on)).finish()]),
            Request::GetSpi(ask) => self.get_spi(ask),
            Request::Add(sa) => self.add(M::Add, sa),
            Request::Update(sa) => self.add(M::Update, sa),
            Request::Move(to) => self.moved(to),
            Request::Delete(id) => self.named(M::Delete, id),
            Request::Get(id) => self.named(M::Get, id),
            Request::AddFlow(flow) => self.flow(true, flow),
            Request::DeleteFlow(flow) => self.flow(false, flow),
            Request::DumpFlows => match self.dialect.flows {
                FlowStyle::Flows => Err(ComposeError::BySysctl),
                FlowStyle::Policies(_) => bare(M::SpdDump, None),
            },
            Request::FlushFlows => match self.dialect.flows {
                FlowStyle::Flows => Err(ComposeError::Unsupported("flushing flows alone")),
                FlowStyle::Policies(_) => bare(M::SpdFlush, None),
            },
            Request::FlowOf(id) => self.flow_of(*id),
            Request::AcquireFailed { seq, protocol, errno } => {
                if self.dialect.flows == FlowStyle::Flows {
                    return Ok(Vec::new());
                }
                let header = Header {
                    message: M::Acquire,
                    errno: *errno,
                    sa_type: self.sa_type(Some(*protocol))?,
                    reserved: 0,
                    seq: *seq,
                    pid: self.pid,
                };
                Ok(vec![Builder::new(self.dialect, header).finish()])
            }
            Request::Group { first, then } => self.group(first, then),
        }
    }

    fn begin(&self, message: MessageType, sa_type: u8) -> Builder {
        let header =
            Header { message, errno: 0, sa_type, reserved: 0, seq: self.seq, pid: self.pid };
        Builder::new(self.dialect, header)
    }

    fn sa_type(&self, protocol: Option<Protocol>) -> Result<u8, ComposeError> {
        match protocol {
            None => Ok(0),
            Some(p) => self.dialect.sa_type(p).ok_or(ComposeError::Protocol(p)),
        }
    }

    fn get_spi(&self, ask: &GetSpi) -> Result<Vec<Packet>, ComposeError> {
        let (min, max) = ask.range.unwrap_or(match ask.protocol {
            // A CPI; those up to 255 and from 61440 are spoken for (RFC 3173 §3.3).
            Protocol::IpComp => (0x100, 0xefff),
            _ => self.dialect.behaviour.spi_range,
        });
        if min > max || min < 0x100 {
            return Err(ComposeError::Contradiction(
                "SPI range without an SPI that is free to use",
            ));
        }
        if min == max && !self.dialect.behaviour.spi_exact {
            return Err(ComposeError::Unsupported("a range of one SPI"));
        }
        if max == u32::MAX && self.dialect.behaviour.spi_range.1 != u32::MAX {
            // The kernel divides by the size of the range in 32 bits.
            return Err(ComposeError::Unsupported("an SPI range up to 0xffffffff"));
        }
        let mut m = self.begin(MessageType::GetSpi, self.sa_type(Some(ask.protocol))?);
        if self.dialect.address == AddressStyle::ProtoPrefix {
            m.push(ExtType::Sa2, &self.sa2(ask.mode, ask.reqid));
        }
        m.push(ExtType::AddressSrc, &self.host(ask.src));
        m.push(ExtType::AddressDst, &self.host(ask.dst));
        m.push(ExtType::SpiRange, &Ext::SpiRange { min, max });
        Ok(vec![m.finish()])
    }

    fn named(&self, message: MessageType, id: &SaId) -> Result<Vec<Packet>, ComposeError> {
        let mut m = self.begin(message, self.sa_type(Some(id.protocol))?);
        m.push(ExtType::Sa, &Ext::Sa(Sa { spi: id.spi.0, ..Sa::default() }));
        m.push(ExtType::AddressSrc, &self.host(id.src));
        m.push(ExtType::AddressDst, &self.host(id.dst));
        self.rdomain(&mut m, id.rdomain.map(|d| (d, d)))?;
        Ok(vec![m.finish()])
    }

    fn group(&self, first: &SaId, then: &SaId) -> Result<Vec<Packet>, ComposeError> {
        if self.dialect.flows != FlowStyle::Flows {
            return Err(ComposeError::Unsupported("groups of SAs"));
        }
        let mut m = self.begin(MessageType::GrpSpis, self.sa_type(Some(first.protocol))?);
        m.push(ExtType::Sa, &Ext::Sa(Sa { spi: first.spi.0, ..Sa::default() }));
        m.push(ExtType::AddressDst, &self.host(first.dst));
        m.push(ExtType::Sa2OpenBsd, &Ext::Sa(Sa { spi: then.spi.0, ..Sa::default() }));
        m.push(ExtType::Dst2, &self.host(then.dst));
        let proto = self.sa_type(Some(then.protocol))?;
        m.push(ExtType::SaType2, &Ext::Protocol { proto, direction: 0, flags: 0 });
        self.rdomain(&mut m, first.rdomain.map(|d| (d, d)))?;
        Ok(vec![m.finish()])
    }

    fn add(&self, message: MessageType, sa: &SaSpec) -> Result<Vec<Packet>, ComposeError> {
        if sa.src.is_ipv4() != sa.dst.is_ipv4() {
            return Err(ComposeError::Contradiction("SA between an IPv4 and an IPv6 address"));
        }
        let kame = self.dialect.address == AddressStyle::ProtoPrefix;
        let inbound = message == MessageType::Update;
        let mut m = self.begin(message, self.sa_type(Some(sa.protocol))?);
        m.push(ExtType::Sa, &self.sa(sa)?);
        if kame {
            m.push(ExtType::Sa2, &self.sa2(sa.mode, sa.reqid));
        }
        self.lifetimes(&mut m, &sa.hard, &sa.soft);
        m.push(ExtType::AddressSrc, &self.host(sa.src));
        m.push(ExtType::AddressDst, &self.host(sa.dst));
        if let Some(any) = self.other_inner_family(sa) {
            m.push(ExtType::AddressProxy, &any);
        }
        self.keys(&mut m, sa)?;
        if let Some((src, dst)) = &sa.identities
            && !kame
        {
            self.identities(&mut m, src, dst);
        }
        if kame {
            self.kame_extras(&mut m, sa)?;
        } else {
            self.openbsd_extras(&mut m, sa, inbound)?;
        }
        Ok(vec![m.finish()])
    }

    /// Any address of the inner family, where a tunnel's is not the outer one and Linux must be told.
    fn other_inner_family(&self, sa: &SaSpec) -> Option<Ext<'static>> {
        let ipv6 = sa.inner_ipv6.filter(|ipv6| *ipv6 != sa.dst.is_ipv6())?;
        let any: IpAddr =
            if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let told = self.dialect.inner_by_proxy && sa.mode == Mode::Tunnel;
        told.then(|| self.address(kame::PROTO_ANY as u8, 0, SocketAddr::new(any, 0)))
    }

    /// `sadb_sa`: SPI, window, algorithms and flags in the dialect's numbers.
    fn sa(&self, sa: &SaSpec) -> Result<Ext<'static>, ComposeError> {
        let d = self.dialect;
        let mut flags = 0;
        if sa.esn {
            flags |= d.esn_flag.ok_or(ComposeError::Unsupported("extended sequence numbers"))?;
        }
        if d.address == AddressStyle::Reserved {
            if sa.mode == Mode::Tunnel {
                flags |= openbsd::FLAG_TUNNEL;
            }
            if sa.encap.is_some() {
                flags |= openbsd::FLAG_UDPENCAP;
            }
        }
        let encrypt = match (&sa.encryption, sa.compression) {
            (Some(_), Some(_)) => {
                return Err(ComposeError::Contradiction("an SA that encrypts and compresses"));
            }
            (Some((e, _)), None) => d.encryption_number(*e).ok_or(ComposeError::Encryption(*e))?,
            (None, Some(c)) => d.compression_number(c).ok_or(ComposeError::Compression(c))?,
            (None, None) => 0,
        };
        let auth = match &sa.authentication {
            // OpenBSD has no number for what its SA type says.
            Some((Authentication::TcpMd5, _)) if d.address == AddressStyle::Reserved => 0,
            Some((a, _)) => d.authentication_number(*a).ok_or(ComposeError::Authentication(*a))?,
            None => 0,
        };
        Ok(Ext::Sa(Sa {
            spi: sa.spi.0,
            replay: self.replay(sa.replay_window),
            state: MATURE,
            auth,
            encrypt,
            flags,
        }))
    }

    fn replay(&self, packets: u32) -> u8 {
        match self.dialect.replay {
            ReplayStyle::Packets { most } => packets.min(most.into()) as u8,
            ReplayStyle::Octets { .. } => packets.div_ceil(8).min(255) as u8,
        }
    }

    fn lifetimes(&self, m: &mut Builder, hard: &Lifetime, soft: &Lifetime) {
        // Both or none: KAME kernels refuse one alone, the others do not mind.
        if !hard.is_unlimited() || !soft.is_unlimited() {
            m.push(ExtType::LifetimeHard, &Ext::Lifetime(*hard));
            m.push(ExtType::LifetimeSoft, &Ext::Lifetime(*soft));
        }
    }

    fn keys(&self, m: &mut Builder, sa: &SaSpec) -> Result<(), ComposeError> {
        fn bits(octets: &[u8]) -> Result<u16, ComposeError> {
            u16::try_from(octets.len() * 8)
                .map_err(|_| ComposeError::Contradiction("a key of 8 KiB or more"))
        }
        if let Some((algorithm, key)) = &sa.authentication {
            if sa.encryption.as_ref().is_some_and(|(e, _)| e.is_aead()) {
                return Err(ComposeError::Contradiction(
                    "authentication beside a combined-mode algorithm",
                ));
            }
            if algorithm.key_len().is_some_and(|len| len != key.len()) {
                return Err(ComposeError::Contradiction("authentication key of a wrong length"));
            }
            let octets = key.expose();
            m.push(ExtType::KeyAuth, &Ext::Key(Key { bits: bits(octets)?, octets }));
        }
        if let Some((_, key)) = &sa.encryption {
            let octets = key.expose();
            if !octets.is_empty() || self.dialect.null_key {
                m.push(ExtType::KeyEncrypt, &Ext::Key(Key { bits: bits(octets)?, octets }));
            }
        }
        Ok(())
    }

    fn kame_extras(&self, m: &mut Builder, sa: &SaSpec) -> Result<(), ComposeError> {
        if let Some(Encap { src_port, dst_port }) = sa.encap {
            m.push(ExtType::NatTType, &Ext::NatTType(kame::NAT_T_ESP_IN_UDP));
            m.push(ExtType::NatTSport, &Ext::NatTPort(src_port));
            m.push(ExtType::NatTDport, &Ext::NatTPort(dst_port));
        }
        // What does not fit the octet of sadb_sa.
        if self.dialect.replay == (ReplayStyle::Octets { extension: true })
            && sa.replay_window > 255 * 8
        {
            m.push(ExtType::SaReplay, &Ext::ReplayWindow(sa.replay_window));
        }
        if sa.tag.is_some() {
            return Err(ComposeError::Unsupported("tags"));
        }
        if sa.tap.is_some() || sa.iface.is_some() {
            return Err(ComposeError::Unsupported("interfaces bound to an SA"));
        }
        self.rdomain(m, sa.rdomain)
    }

    fn openbsd_extras(
        &self,
        m: &mut Builder,
        sa: &SaSpec,
        inbound: bool,
    ) -> Result<(), ComposeError> {
        if let Some(selector) = &sa.selector {
            let direction = if inbound { Direction::In } else { Direction::Out };
            self.openbsd_selector(m, selector, openbsd::FLOW_USE, direction)?;
        }
        if let Some(encap) = sa.encap {
            if sa.protocol != Protocol::Esp {
                return Err(ComposeError::Contradiction("UDP encapsulation of what is not ESP"));
            }
            let peer = if inbound { encap.src_port } else { encap.dst_port };
            m.push(ExtType::UdpEncap, &Ext::UdpEncap(peer));
        }
        if let Some(tag) = &sa.tag {
            let mut octets = tag.clone().into_bytes();
            octets.push(0);
            // PF_TAG_NAME_SIZE of net/pfvar.h.
            if octets.len() > 64 || tag.contains('\0') {
                return Err(ComposeError::Contradiction("a tag of more than 63 octets"));
            }
            m.push(ExtType::Tag, &Ext::Tag(&octets));
        }
        if let Some(unit) = sa.tap {
            m.push(ExtType::Tap, &Ext::Tap(unit));
        }
        self.rdomain(m, sa.rdomain)?;
        if let Some(iface) = sa.iface {
            let direction = openbsd_direction(iface.direction);
            m.push(ExtType::Iface, &Ext::Iface { unit: iface.unit, direction });
        }
        Ok(())
    }

    /// OpenBSD's six extensions of masks and flows.
    fn openbsd_selector(
        &self,
        m: &mut Builder,
        selector: &Selector,
        kind: u32,
        direction: Direction,
    ) -> Result<(), ComposeError> {
        if selector.src.addr.is_ipv4() != selector.dst.addr.is_ipv4() {
            return Err(ComposeError::Contradiction("selector between IPv4 and IPv6"));
        }
        let bare = |addr: IpAddr, port: u16| self.address(0, 0, SocketAddr::new(addr, port));
        let (src, dst) = (selector.src, selector.dst);
        m.push(ExtType::SrcMask, &bare(src.mask(), selector.src_port.mask));
        m.push(ExtType::DstMask, &bare(dst.mask(), selector.dst_port.mask));
        m.push(
            ExtType::Protocol,
            &Ext::Protocol { proto: selector.protocol, direction: 0, flags: 0 },
        );
        let direction = openbsd_direction(direction);
        m.push(ExtType::FlowType, &Ext::Protocol { proto: kind as u8, direction, flags: 0 });
        m.push(ExtType::SrcFlow, &bare(src.masked().addr, selector.src_port.port));
        m.push(ExtType::DstFlow, &bare(dst.masked().addr, selector.dst_port.port));
        Ok(())
    }

    fn identities(&self, m: &mut Builder, src: &Identity, dst: &Identity) {
        for (kind, identity) in [(ExtType::IdentitySrc, src), (ExtType::IdentityDst, dst)] {
            let mut name = identity.name.clone().into_bytes();
            name.retain(|&b| b != 0);
            name.push(0);
            let number = identity_number(identity.kind);
            m.push(kind, &Ext::Identity(Ident { kind: number, id: 0, name: &name }));
        }
    }

    fn rdomain(&self, m: &mut Builder, rdomain: Option<(u16, u16)>) -> Result<(), ComposeError> {
        let Some((outer, inner)) = rdomain else { return Ok(()) };
        if self.dialect.ext_number(ExtType::Rdomain).is_none() {
            return Err(ComposeError::Unsupported("routing domains"));
        }
        m.push(ExtType::Rdomain, &Ext::Rdomain(outer, inner));
        Ok(())
    }

    fn sa2(&self, mode: Mode, reqid: u32) -> Ext<'static> {
        Ext::Sa2(Sa2 { mode: kame_mode(mode), sequence: 0, reqid })
    }

    /// An endpoint of an SA.
    fn host(&self, addr: IpAddr) -> Ext<'static> {
        self.address(kame::PROTO_ANY as u8, Prefix::host(addr).len, SocketAddr::new(addr, 0))
    }

    fn address(&self, proto: u8, prefix: u8, addr: SocketAddr) -> Ext<'static> {
        Ext::Address(Address { proto, prefix, addr: Sockaddr::Ip(addr) })
    }
}

/// The number of an identity's kind.
fn identity_number(kind: IdentityKind) -> u16 {
    match kind {
        IdentityKind::Prefix => 1,
        IdentityKind::Fqdn => 2,
        IdentityKind::UserFqdn => 3,
        IdentityKind::Asn1Dn | IdentityKind::Address => openbsd::IDENTITY_ASN1_DN as u16,
        IdentityKind::Other(number) => number,
    }
}

fn kame_mode(mode: Mode) -> u8 {
    match mode {
        Mode::Transport => kame::MODE_TRANSPORT as u8,
        Mode::Tunnel => kame::MODE_TUNNEL as u8,
    }
}

fn openbsd_direction(direction: Direction) -> u8 {
    match direction {
        Direction::In => openbsd::DIRECTION_IN,
        Direction::Out => openbsd::DIRECTION_OUT,
    }
}
