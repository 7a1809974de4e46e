//! From a dialect's message to a neutral [`Incoming`].

mod flow;

use crate::alg::{Capabilities, KeySizes, Protocol};
use crate::dialect::{AddressStyle, Dialect, ExtType, FlowStyle, MessageType, ReplayStyle};
use crate::dialect::{freebsd, kame, openbsd};
use crate::event::{Acquire, Expire, Incoming, NewMapping, Reply, ReplyData, SaInfo, SaState};
use crate::ext::{Ext, Ident, Sa};
use crate::message::{Message, ParseError};
use crate::policy::{Direction, Identity, IdentityKind, Mode, Prefix};
use crate::request::{Encap, Iface, Lifetime, SaId, Spi};
use crate::secret::Secret;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

impl Dialect {
    /// Understands one message from the kernel.
    ///
    /// # Errors
    /// The octets are malformed, or lack an extension without which the message means nothing.
    pub fn interpret(&'static self, octets: &[u8]) -> Result<Incoming, ParseError> {
        let message = Message::parse(self, octets)?;
        interpret(&message)
    }
}

/// Understands a message that has been parsed.
pub(crate) fn interpret(m: &Message<'_>) -> Result<Incoming, ParseError> {
    use MessageType as M;
    if let Some(inner) = m.inner() {
        return Ok(Incoming::Copy(inner.to_vec()));
    }
    let h = &m.header;
    let by_kernel = h.pid == 0;
    match h.message {
        M::Acquire if by_kernel && h.errno == 0 => acquire(m),
        M::Expire if by_kernel => expire(m),
        M::NatTNewMapping if by_kernel => new_mapping(m),
        M::SpdExpire if by_kernel => match m.get(ExtType::Policy) {
            Some(Ext::Policy(policy)) => Ok(Incoming::FlowExpired { id: policy.id }),
            _ => Err(ParseError::Missing(ExtType::Policy)),
        },
        // Linux says pid 0 too when another door (netlink) was used.
        M::Delete if by_kernel && h.errno == 0 => match sa_ext(m) {
            Some(sa) => Ok(Incoming::Deleted { protocol: protocol(m), spi: Spi(sa.spi) }),
            None => Err(ParseError::Missing(ExtType::Sa)),
        },
        M::PChange | M::Migrate | M::NatTNewMapping | M::SpdExpire | M::SpdAcquire => {
            Ok(Incoming::Other(h.message))
        }
        M::Unknown(_) => Ok(Incoming::Other(h.message)),
        _ => reply(m),
    }
}

fn reply(m: &Message<'_>) -> Result<Incoming, ParseError> {
    use MessageType as M;
    let h = &m.header;
    let data = if h.errno != 0 {
        ReplyData::None
    } else {
        match h.message {
            M::Register => ReplyData::Capabilities(capabilities(m)),
            M::GetSpi | M::Add | M::Update | M::Delete => match sa_id(m) {
                Some(id) => ReplyData::Sa(id),
                None => ReplyData::None,
            },
            M::Get | M::Dump if sa_ext(m).is_some() => ReplyData::SaInfo(Box::new(sa_info(m))),
            M::SpdGet | M::SpdDump | M::AskPolicy | M::SpdAdd | M::SpdUpdate | M::AddFlow => {
                match flow::flow_info(m)? {
                    Some(info) => ReplyData::Flow(Box::new(info)),
                    None => ReplyData::None,
                }
            }
            _ => ReplyData::None,
        }
    };
    Ok(Incoming::Reply(Reply {
        message: h.message,
        seq: h.seq,
        pid: h.pid,
        errno: h.errno,
        protocol: protocol(m),
        data,
    }))
}

fn acquire(m: &Message<'_>) -> Result<Incoming, ParseError> {
    let protocol = protocol(m).ok_or(ParseError::Missing(ExtType::Sa))?;
    let dst = address(m, ExtType::AddressDst).ok_or(ParseError::Missing(ExtType::AddressDst))?;
    let flow = match (m.dialect().flows, m.get(ExtType::Policy)) {
        (FlowStyle::Flows, _) => Some(m.header.seq),
        // 0 is the policy of one socket.
        (_, Some(Ext::Policy(policy))) if policy.id != 0 => Some(policy.id),
        _ => None,
    };
    Ok(Incoming::Acquire(Acquire {
        seq: m.header.seq,
        protocol,
        src: address(m, ExtType::AddressSrc).map(|a| a.ip()),
        dst: dst.ip(),
        flow,
        reqid: sa2(m).map_or(0, |(_, reqid)| reqid),
        identities: identities(m),
    }))
}

fn expire(m: &Message<'_>) -> Result<Incoming, ParseError> {
    if sa_ext(m).is_none() {
        return Err(ParseError::Missing(ExtType::Sa));
    }
    let hard = m.get(ExtType::LifetimeHard).is_some();
    if !hard && m.get(ExtType::LifetimeSoft).is_none() {
        return Err(ParseError::Missing(ExtType::LifetimeSoft));
    }
    Ok(Incoming::Expire(Expire { hard, sa: Box::new(sa_info(m)) }))
}

fn new_mapping(m: &Message<'_>) -> Result<Incoming, ParseError> {
    let sa = sa_id(m).ok_or(ParseError::Missing(ExtType::Sa))?;
    let port = |kind| match m.get(kind) {
        Some(Ext::NatTPort(port)) => Ok(port),
        _ => Err(ParseError::Missing(kind)),
    };
    // The old source is in SRC, the new one in DST; the SA's own destination is not told.
    Ok(Incoming::NewMapping(NewMapping {
        sa,
        old: SocketAddr::new(sa.src, port(ExtType::NatTSport)?),
        new: SocketAddr::new(sa.dst, port(ExtType::NatTDport)?),
    }))
}

fn capabilities(m: &Message<'_>) -> Capabilities {
    let d = m.dialect();
    let mut out = Capabilities::default();
    let octets = |bits: u16| usize::from(bits).div_ceil(8);
    if let Some(Ext::Supported(list)) = m.get(ExtType::SupportedEncrypt) {
        out.encryption = list
            .algorithms()
            .filter_map(|a| {
                let algorithm = d.encryption(a.id)?;
                Some(KeySizes { algorithm, min: octets(a.min_bits), max: octets(a.max_bits) })
            })
            .collect();
    }
    for k in &mut out.encryption {
        // FreeBSD lists AES-CTR, AES-GCM and ChaCha20 by the cipher's key, the others with salt.
        let salt = k.algorithm.salt_len();
        if salt > 0 && k.min.is_multiple_of(8) {
            k.min += salt;
            k.max += salt;
        }
    }
    for extra in d.unlisted {
        if out.encryption.iter().all(|k| k.algorithm != extra.algorithm) {
            out.encryption.push(*extra);
        }
    }
    if let Some(Ext::Supported(list)) = m.get(ExtType::SupportedAuth) {
        out.authentication = list
            .algorithms()
            .filter_map(|a| {
                let algorithm = d.authentication(a.id)?;
                Some(KeySizes { algorithm, min: octets(a.min_bits), max: octets(a.max_bits) })
            })
            .collect();
    }
    if let Some(Ext::Supported(list)) = m.get(ExtType::SupportedComp) {
        out.compression = list.algorithms().filter_map(|a| d.compression(a.id)).collect();
    }
    // FreeBSD learnt ESN and ChaCha20-Poly1305 in the same release (13.0); 12 takes the flag and
    // ignores it. OpenBSD has had it since long.
    out.esn = match d.esn_flag {
        Some(freebsd::FLAG_ESN) if d.address == AddressStyle::ProtoPrefix => {
            out.encryption.iter().any(|k| k.algorithm == crate::alg::Encryption::ChaCha20Poly1305)
        }
        flag => flag.is_some(),
    };
    out
}

fn protocol(m: &Message<'_>) -> Option<Protocol> {
    m.dialect().protocol(m.header.sa_type)
}

fn sa_ext(m: &Message<'_>) -> Option<Sa> {
    match m.get(ExtType::Sa) {
        Some(Ext::Sa(sa)) => Some(sa),
        _ => None,
    }
}

fn sa2(m: &Message<'_>) -> Option<(u8, u32)> {
    match m.get(ExtType::Sa2) {
        Some(Ext::Sa2(sa2)) => Some((sa2.mode, sa2.reqid)),
        _ => None,
    }
}

fn address(m: &Message<'_>, kind: ExtType) -> Option<SocketAddr> {
    match m.get(kind) {
        Some(Ext::Address(address)) => address.addr.socket(),
        _ => None,
    }
}

fn sa_id(m: &Message<'_>) -> Option<SaId> {
    let spi = Spi(sa_ext(m)?.spi);
    let dst = address(m, ExtType::AddressDst)?.ip();
    Some(id(m, spi, dst))
}

/// OpenBSD leaves an unknown source out, and larval SAs without protocol.
fn id(m: &Message<'_>, spi: Spi, dst: IpAddr) -> SaId {
    SaId {
        protocol: protocol(m).unwrap_or(Protocol::Esp),
        spi,
        src: address(m, ExtType::AddressSrc).map_or(unspecified(dst), |a| a.ip()),
        dst,
        rdomain: rdomain(m).map(|(outer, _)| outer),
    }
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

fn rdomain(m: &Message<'_>) -> Option<(u16, u16)> {
    match m.get(ExtType::Rdomain) {
        Some(Ext::Rdomain(outer, inner)) => Some((outer, inner)),
        _ => None,
    }
}

fn lifetime(m: &Message<'_>, kind: ExtType) -> Option<Lifetime> {
    match m.get(kind) {
        Some(Ext::Lifetime(life)) => Some(life),
        _ => None,
    }
}

fn identities(m: &Message<'_>) -> (Option<Identity>, Option<Identity>) {
    let one = |kind| match m.get(kind) {
        Some(Ext::Identity(ident)) => Some(identity(m.dialect(), &ident)),
        _ => None,
    };
    (one(ExtType::IdentitySrc), one(ExtType::IdentityDst))
}

fn identity(dialect: &Dialect, ident: &Ident<'_>) -> Identity {
    let end = ident.name.iter().position(|&b| b == 0).unwrap_or(ident.name.len());
    let kind = match ident.kind {
        1 => IdentityKind::Prefix,
        2 => IdentityKind::Fqdn,
        3 => IdentityKind::UserFqdn,
        4 if dialect.address == AddressStyle::Reserved => IdentityKind::Asn1Dn,
        4 => IdentityKind::Address,
        other => IdentityKind::Other(other),
    };
    Identity { kind, name: String::from_utf8_lossy(&ident.name[..end]).into_owned() }
}

fn key(m: &Message<'_>, kind: ExtType) -> Option<Secret> {
    match m.get(kind) {
        Some(Ext::Key(key)) => Some(Secret::from(key.octets)),
        _ => None,
    }
}

/// All that is told of an SA.
fn sa_info(m: &Message<'_>) -> SaInfo {
    let d = m.dialect();
    let sa = sa_ext(m).unwrap_or_default();
    let dst = address(m, ExtType::AddressDst).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |a| a.ip());
    let is_comp = protocol(m) == Some(Protocol::IpComp);
    let openbsd_dialect = d.address == AddressStyle::Reserved;
    let mode = match sa2(m) {
        Some((mode, _)) => kame_mode(mode),
        None if openbsd_dialect && sa.flags & openbsd::FLAG_TUNNEL != 0 => Some(Mode::Tunnel),
        None if openbsd_dialect => Some(Mode::Transport),
        None => None,
    };
    SaInfo {
        id: id(m, Spi(sa.spi), dst),
        mode,
        reqid: sa2(m).map_or(0, |(_, reqid)| reqid),
        state: state(sa.state),
        encryption: if is_comp { None } else { d.encryption(sa.encrypt) },
        authentication: d.authentication(sa.auth),
        compression: if is_comp { d.compression(sa.encrypt) } else { None },
        encryption_key: key(m, ExtType::KeyEncrypt),
        authentication_key: key(m, ExtType::KeyAuth),
        esn: d.esn_flag.is_some_and(|flag| sa.flags & flag != 0),
        replay_window: replay(m, &sa),
        current: lifetime(m, ExtType::LifetimeCurrent),
        soft: lifetime(m, ExtType::LifetimeSoft),
        hard: lifetime(m, ExtType::LifetimeHard),
        last_use: lifetime(m, ExtType::LifetimeLastUse).map(|life| life.use_seconds),
        counters: match m.get(ExtType::Counter) {
            Some(Ext::Counter(counters)) => Some(counters),
            _ => None,
        },
        encap: encap(m),
        selector: flow::openbsd_selector(m),
        identities: identities(m),
        tag: match m.get(ExtType::Tag) {
            Some(Ext::Tag(tag)) => {
                let end = tag.iter().position(|&b| b == 0).unwrap_or(tag.len());
                Some(String::from_utf8_lossy(&tag[..end]).into_owned())
            }
            _ => None,
        },
        tap: match m.get(ExtType::Tap) {
            Some(Ext::Tap(unit)) => Some(unit),
            _ => None,
        },
        iface: match m.get(ExtType::Iface) {
            Some(Ext::Iface { unit, direction: openbsd::DIRECTION_IN }) => {
                Some(Iface { unit, direction: Direction::In })
            }
            Some(Ext::Iface { unit, .. }) => Some(Iface { unit, direction: Direction::Out }),
            _ => None,
        },
        rdomain: rdomain(m),
        mtu: match m.get(ExtType::Mtu) {
            Some(Ext::Mtu(mtu)) => Some(mtu),
            _ => None,
        },
    }
}

fn state(number: u8) -> SaState {
    match number {
        0 => SaState::Larval,
        1 => SaState::Mature,
        2 => SaState::Dying,
        3 => SaState::Dead,
        other => SaState::Other(other),
    }
}

fn replay(m: &Message<'_>, sa: &Sa) -> u32 {
    match (m.dialect().replay, m.get(ExtType::SaReplay)) {
        (_, Some(Ext::ReplayWindow(packets))) => packets,
        (ReplayStyle::Packets { .. }, _) => sa.replay.into(),
        (ReplayStyle::Octets { .. }, _) => u32::from(sa.replay) * 8,
    }
}

fn encap(m: &Message<'_>) -> Option<Encap> {
    if let Some(Ext::UdpEncap(port)) = m.get(ExtType::UdpEncap) {
        return Some(Encap { src_port: 0, dst_port: port });
    }
    match (m.get(ExtType::NatTType)?, m.get(ExtType::NatTSport)?, m.get(ExtType::NatTDport)?) {
        (Ext::NatTType(kind), Ext::NatTPort(src_port), Ext::NatTPort(dst_port)) if kind != 0 => {
            Some(Encap { src_port, dst_port })
        }
        _ => None,
    }
}

fn kame_mode(number: u8) -> Option<Mode> {
    match u32::from(number) {
        kame::MODE_TRANSPORT => Some(Mode::Transport),
        kame::MODE_TUNNEL => Some(Mode::Tunnel),
        _ => None,
    }
}

/// A block from an address and a prefix length, cut to what the family has.
fn prefix(addr: IpAddr, len: u8) -> Prefix {
    Prefix::new(addr, len).unwrap_or(Prefix::host(addr))
}
