//! The engine's values and the pfkey crate's, one to the other.

use std::net::IpAddr;
use std::time::Duration;

use pfkey::{Authentication, Behaviour, Encryption, Interface};

use super::plan::Beside;
use crate::conf::{Mode, Prefix, SaProtocol};
use crate::crypto::Secret;
use crate::ike::event::{
    Around, Capabilities, Cpi, Direction, KernelFlow, KernelLifetime, KernelSa, KernelSelector,
    Ports, SaCounters, SaKey, SaMove,
};
use crate::wire::EspSpi;
use crate::wire::iana::v2::{EncryptionId, IntegrityId};

/// Ciphers by both names, with the key lengths in bits that IKE can ask for (without salt).
const ENCRYPTION: &[(EncryptionId, Encryption, &[u16])] = &[
    (EncryptionId::ENCR_NULL, Encryption::Null, &[0]),
    (EncryptionId::ENCR_3DES, Encryption::TripleDesCbc, &[192]),
    (EncryptionId::ENCR_CAST, Encryption::CastCbc, &[128]),
    (EncryptionId::ENCR_BLOWFISH, Encryption::BlowfishCbc, &[128, 160, 192, 256]),
    (EncryptionId::ENCR_AES_CBC, Encryption::AesCbc, &[128, 192, 256]),
    (EncryptionId::ENCR_AES_CTR, Encryption::AesCtr, &[128, 192, 256]),
    (EncryptionId::ENCR_AES_CCM_8, Encryption::AesCcm8, &[128, 192, 256]),
    (EncryptionId::ENCR_AES_CCM_12, Encryption::AesCcm12, &[128, 192, 256]),
    (EncryptionId::ENCR_AES_CCM_16, Encryption::AesCcm16, &[128, 192, 256]),
    (EncryptionId::ENCR_AES_GCM_8, Encryption::AesGcm8, &[128, 192, 256]),
    (EncryptionId::ENCR_AES_GCM_12, Encryption::AesGcm12, &[128, 192, 256]),
    (EncryptionId::ENCR_AES_GCM_16, Encryption::AesGcm16, &[128, 192, 256]),
    (EncryptionId::ENCR_NULL_AUTH_AES_GMAC, Encryption::AesGmac, &[128, 192, 256]),
    (EncryptionId::ENCR_CAMELLIA_CBC, Encryption::CamelliaCbc, &[128, 192, 256]),
    (EncryptionId::ENCR_CHACHA20_POLY1305, Encryption::ChaCha20Poly1305, &[256]),
];

/// Integrity algorithms by both names.
const INTEGRITY: &[(IntegrityId, Authentication)] = &[
    (IntegrityId::AUTH_HMAC_MD5_96, Authentication::HmacMd5),
    (IntegrityId::AUTH_HMAC_SHA1_96, Authentication::HmacSha1),
    (IntegrityId::AUTH_AES_XCBC_96, Authentication::AesXcbc),
    (IntegrityId::AUTH_HMAC_SHA2_256_128, Authentication::HmacSha256),
    (IntegrityId::AUTH_HMAC_SHA2_384_192, Authentication::HmacSha384),
    (IntegrityId::AUTH_HMAC_SHA2_512_256, Authentication::HmacSha512),
];

/// The first of the reqids that are ours in the kernel, and how many there are. KAME kernels keep
/// 14 bits of which the upper half is ours; elsewhere a range that no manual configuration uses.
fn reqids(behaviour: &Behaviour) -> (u32, u32) {
    if behaviour.reqid_max <= 0x3fff { (0x2000, 0x2000) } else { (0x0a00_0000, 0x0100_0000) }
}

/// The engine's reqid as the kernel gets it.
pub fn reqid_to_kernel(reqid: u32, behaviour: &Behaviour) -> u32 {
    let (base, count) = reqids(behaviour);
    base + reqid % count
}

/// The engine's reqid of one that the kernel tells; `None` if it is not ours.
pub fn reqid_from_kernel(reqid: u32, behaviour: &Behaviour) -> Option<u32> {
    let (base, count) = reqids(behaviour);
    reqid.checked_sub(base).filter(|reqid| *reqid < count)
}

/// Whether a reqid is of our range.
pub fn reqid_is_ours(reqid: u32, behaviour: &Behaviour) -> bool {
    reqid_from_kernel(reqid, behaviour).is_some()
}

pub fn protocol(protocol: SaProtocol) -> pfkey::Protocol {
    match protocol {
        SaProtocol::Esp => pfkey::Protocol::Esp,
        SaProtocol::Ah => pfkey::Protocol::Ah,
    }
}

fn mode(mode: Mode) -> pfkey::Mode {
    match mode {
        Mode::Tunnel => pfkey::Mode::Tunnel,
        Mode::Transport => pfkey::Mode::Transport,
    }
}

fn direction(direction: Direction) -> pfkey::Direction {
    match direction {
        Direction::In => pfkey::Direction::In,
        Direction::Out => pfkey::Direction::Out,
    }
}

pub fn sa_id(key: &SaKey) -> pfkey::SaId {
    pfkey::SaId {
        protocol: protocol(key.protocol),
        spi: pfkey::Spi(key.spi.0),
        src: key.src,
        dst: key.dst,
        rdomain: None,
    }
}

pub fn sa_key(id: &pfkey::SaId) -> Option<SaKey> {
    let protocol = match id.protocol {
        pfkey::Protocol::Esp => SaProtocol::Esp,
        pfkey::Protocol::Ah => SaProtocol::Ah,
        _ => return None,
    };
    Some(SaKey { protocol, spi: EspSpi(id.spi.0), src: id.src, dst: id.dst })
}

fn prefix(prefix: &Prefix) -> pfkey::Prefix {
    pfkey::Prefix { addr: prefix.address(), len: prefix.length() }
}

fn port(Ports { value, mask }: Ports) -> pfkey::Port {
    pfkey::Port { port: value, mask }
}

fn selector_to_kernel(selector: &KernelSelector) -> pfkey::Selector {
    pfkey::Selector {
        protocol: selector.ip_protocol,
        src: prefix(&selector.src),
        src_port: port(selector.src_port),
        dst: prefix(&selector.dst),
        dst_port: port(selector.dst_port),
    }
}

fn ports(pfkey::Port { port, mask }: pfkey::Port) -> Ports {
    Ports { value: port & mask, mask }
}

/// A selector that the kernel tells; `None` if its prefixes are none.
pub fn selector(selector: &pfkey::Selector) -> Option<KernelSelector> {
    Some(KernelSelector {
        src: Prefix::new(selector.src.addr, selector.src.len)?,
        dst: Prefix::new(selector.dst.addr, selector.dst.len)?,
        ip_protocol: selector.protocol,
        src_port: ports(selector.src_port),
        dst_port: ports(selector.dst_port),
    })
}

/// A flow with its reqid as the kernel gets it. In transport mode the packet's own addresses are
/// the SA's. Of a bundle (IPComp, ESP, AH from the inside out) the innermost transform has the flow's
/// mode; those around it go between the same hosts in transport mode.
pub fn flow(flow: &KernelFlow, reqid: u32) -> pfkey::Flow {
    let (src, dst): (IpAddr, IpAddr) = match flow.direction {
        Direction::In => (flow.remote, flow.local),
        Direction::Out => (flow.local, flow.remote),
    };
    let transform = |protocol, mode| pfkey::Transform {
        protocol,
        mode,
        reqid,
        endpoints: (mode == pfkey::Mode::Tunnel).then_some((src, dst)),
        optional: false,
    };
    let selector = selector_to_kernel(&flow.selector);
    let outer = pfkey::Mode::Transport;
    let innermost = mode(flow.mode);
    let ipcomp = flow.ipcomp.then(|| pfkey::Transform {
        optional: flow.direction == Direction::In,
        ..transform(pfkey::Protocol::IpComp, innermost)
    });
    let middle = if flow.ipcomp { outer } else { innermost };
    let middle = transform(protocol(flow.protocol), middle);
    let around = flow.around.then(|| transform(pfkey::Protocol::Ah, outer));
    let mut result = pfkey::Flow::protect(direction(flow.direction), selector, middle);
    result.transforms = ipcomp.into_iter().chain([middle]).chain(around).collect();
    result.priority = priority(&flow.selector);
    result.rdomain = flow.rdomain.and_then(|domain| u16::try_from(domain).ok());
    result
}

/// Lower goes first: the narrower of two flows that overlap, as OpenBSD's routing table has it.
fn priority(selector: &KernelSelector) -> u32 {
    let free = |prefix: &Prefix| {
        let most = if prefix.address().is_ipv4() { 32 } else { 128 };
        u32::from(most - prefix.length())
    };
    let any = |given: bool| if given { 0 } else { 1 };
    let ports = any(!selector.src_port.is_any()) + any(!selector.dst_port.is_any());
    FIRST_PRIORITY
        + 4 * (free(&selector.src) + free(&selector.dst))
        + any(selector.ip_protocol != 0)
        + ports
}

/// The priority of the narrowest protected flow; bypasses go before it.
const FIRST_PRIORITY: u32 = 1000;
/// ICMPv6 and its neighbour solicitation and advertisement (RFC 4861 §4.3, §4.4).
const ICMPV6: u8 = 58;
const NEIGHBOUR_DISCOVERY: [u16; 2] = [135, 136];

/// The bypasses that IPv6 neighbours need beside a flow between themselves: without them the first
/// packet waits for an address that the flow keeps from being learnt.
pub fn neighbour_discovery(flow: &KernelFlow, behaviour: &Behaviour) -> Vec<pfkey::Flow> {
    let KernelSelector { src, dst, ip_protocol, .. } = flow.selector;
    let ends = [flow.local, flow.remote];
    let between_hosts = [src, dst]
        .iter()
        .all(|prefix| prefix.as_host().is_some_and(|host| host.is_ipv6() && ends.contains(&host)));
    let caught = ip_protocol == 0 || ip_protocol == ICMPV6;
    if !behaviour.catches_neighbour_discovery || !between_hosts || !caught {
        return Vec::new();
    }
    let bypass = |kind: u16| {
        let selector = pfkey::Selector {
            protocol: ICMPV6,
            src_port: pfkey::Port::exactly(kind),
            ..pfkey::Selector::between(prefix(&src), prefix(&dst))
        };
        let kind = pfkey::FlowKind::Bypass;
        let mut flow = pfkey::Flow::plain(direction(flow.direction), kind, selector);
        flow.priority = 1;
        flow
    };
    NEIGHBOUR_DISCOVERY.into_iter().map(bypass).collect()
}

/// Whether a flow of the kernel is one that [`neighbour_discovery`] made.
pub fn is_neighbour_discovery(flow: &pfkey::Flow) -> bool {
    flow.kind == pfkey::FlowKind::Bypass
        && flow.priority == 1
        && flow.selector.protocol == ICMPV6
        && NEIGHBOUR_DISCOVERY.contains(&flow.selector.src_port.port)
}

/// The reqid of an SA: that of its interface where SAs belong to interfaces so, else the engine's.
pub fn sa_reqid(sa: &KernelSa, behaviour: &Behaviour) -> Result<u32, String> {
    match (&sa.iface, behaviour.interface) {
        (Some(iface), Interface::Reqid { name }) => match unit(iface, name)? {
            0 => Err(format!("{iface}: reqid 0 is none; take {name}1 with reqid 1, for example")),
            unit if unit <= behaviour.reqid_max => Ok(unit),
            _ => Err(format!("{iface}: reqids go up to {}", behaviour.reqid_max)),
        },
        _ => Ok(reqid_to_kernel(sa.reqid, behaviour)),
    }
}

/// The unit of an interface of this kind.
fn unit(iface: &str, name: &str) -> Result<u32, String> {
    let digits = iface.strip_prefix(name).filter(|digits| !digits.starts_with('+'));
    let unit = digits.and_then(|digits| digits.parse().ok());
    unit.ok_or_else(|| format!("{iface} is no interface that takes SAs here: {name}0 would be one"))
}

/// The other SAs of the bundle of an SA (of that name and reqid).
pub fn beside(sa: &KernelSa, middle: &pfkey::SaSpec) -> Result<Beside, String> {
    let around = sa.around.as_ref().map(|around| around_it(sa, middle, around)).transpose()?;
    let ipcomp = ipcomp(sa, middle);
    Ok(Beside { ipcomp: ipcomp.map(Box::new), around: around.map(Box::new) })
}

fn ipcomp(sa: &KernelSa, protected: &pfkey::SaSpec) -> Option<pfkey::SaSpec> {
    let Cpi(cpi) = sa.ipcomp?;
    let spi = pfkey::Spi(cpi.into());
    let (src, dst) = (sa.key.src, sa.key.dst);
    let protocol = pfkey::Protocol::IpComp;
    let mut spec = pfkey::SaSpec::new(protocol, spi, src, dst, mode(sa.mode));
    spec.compression = Some(pfkey::Compression::Deflate);
    spec.reqid = protected.reqid;
    spec.replay_window = 0;
    spec.inner_ipv6 = protected.inner_ipv6;
    // It is in the rdomain of the clear packets, both ways.
    let domain = sa.rdomain.and_then(|domain| u16::try_from(domain).ok());
    spec.rdomain = domain.map(|domain| (domain, domain));
    Some(spec)
}

fn around_it(
    sa: &KernelSa,
    within: &pfkey::SaSpec,
    around: &Around,
) -> Result<pfkey::SaSpec, String> {
    let (src, dst) = (sa.key.src, sa.key.dst);
    let (protocol, spi) = (pfkey::Protocol::Ah, pfkey::Spi(around.spi.0));
    let mut spec = pfkey::SaSpec::new(protocol, spi, src, dst, pfkey::Mode::Transport);
    spec.authentication = Some(authentication(&around.integrity)?);
    spec.reqid = within.reqid;
    spec.replay_window = within.replay_window;
    (spec.soft, spec.hard) = (within.soft, within.hard);
    spec.rdomain = within.rdomain;
    Ok(spec)
}

fn authentication(
    (id, secret): &(IntegrityId, Secret),
) -> Result<(Authentication, pfkey::Secret), String> {
    let row = INTEGRITY.iter().find(|row| row.0 == *id);
    let row = row.ok_or_else(|| format!("no kernel has {id}"))?;
    Ok((row.1, pfkey::Secret::from(secret.octets())))
}

/// Another place of an SA, as far as the engine knows it.
pub fn moved(to: &SaMove, info: &pfkey::SaInfo) -> pfkey::Move {
    pfkey::Move {
        id: info.id,
        direction: direction(to.direction),
        mode: info.mode.unwrap_or(pfkey::Mode::Tunnel),
        reqid: info.reqid,
        src: to.src,
        dst: to.dst,
        encap: to.encap.map(|(src_port, dst_port)| pfkey::Encap { src_port, dst_port }),
        soft: info.soft.unwrap_or_default(),
        hard: info.hard.unwrap_or_default(),
        selector: to.selector.as_ref().map(selector_to_kernel),
    }
}

/// An SA as the kernel gets it. Its encrypted packets are in `rdomain`: that of the daemon's sockets.
pub fn sa(sa: &KernelSa, behaviour: &Behaviour, rdomain: u16) -> Result<pfkey::SaSpec, String> {
    let reqid = sa_reqid(sa, behaviour)?;
    let key = |secret: &Secret| pfkey::Secret::from(secret.octets());
    let spi = pfkey::Spi(sa.key.spi.0);
    let (src, dst) = (sa.key.src, sa.key.dst);
    // In a bundle the inner SA makes the tunnel.
    let mode = if sa.ipcomp.is_some() { pfkey::Mode::Transport } else { mode(sa.mode) };
    let mut spec = pfkey::SaSpec::new(protocol(sa.key.protocol), spi, src, dst, mode);
    spec.reqid = reqid;
    if let Some((id, secret)) = &sa.encryption {
        let row = ENCRYPTION.iter().find(|row| row.0 == *id);
        let row = row.ok_or_else(|| format!("no kernel has {id}"))?;
        spec.encryption = Some((row.1, key(secret)));
    }
    spec.authentication = sa.integrity.as_ref().map(authentication).transpose()?;
    spec.esn = sa.esn;
    spec.replay_window = sa.replay_window;
    spec.soft = lifetime(sa.soft);
    spec.hard = lifetime(sa.hard);
    if behaviour.soft_deletes_unused {
        // It may be unused until then; the engine has timers of its own for rekeying.
        spec.soft.add_seconds = spec.hard.add_seconds;
    }
    spec.encap = sa.encap.map(|(src_port, dst_port)| pfkey::Encap { src_port, dst_port });
    spec.inner_ipv6 = sa.selector.map(|selector| selector.src.address().is_ipv6());
    spec.tag.clone_from(&sa.tag);
    spec.tap = sa.tap;
    // The SA's own domain, where its packets are looked up, and the one that they come out in.
    let clear = sa.rdomain.and_then(|domain| u16::try_from(domain).ok());
    spec.rdomain = clear.map(|clear| match sa.direction {
        Direction::In => (rdomain, clear),
        Direction::Out => (clear, rdomain),
    });
    spec.iface = match (&sa.iface, behaviour.interface) {
        (None, _) | (Some(_), Interface::Reqid { .. }) => None,
        (Some(iface), Interface::Unit { name }) => {
            Some(pfkey::Iface { unit: unit(iface, name)?, direction: direction(sa.direction) })
        }
        (Some(iface), Interface::None) => {
            return Err(format!("{iface}: this kernel ties no SAs to interfaces by PF_KEY"));
        }
    };
    Ok(spec)
}

fn lifetime(lifetime: KernelLifetime) -> pfkey::Lifetime {
    pfkey::Lifetime {
        bytes: lifetime.bytes,
        add_seconds: lifetime.seconds,
        ..pfkey::Lifetime::default()
    }
}

/// What an SA counted.
pub fn counters(info: &pfkey::SaInfo) -> SaCounters {
    let current = info.current.unwrap_or_default();
    let bytes = current.bytes;
    let packets = match info.counters {
        Some(counters) => counters.packets_in.max(counters.packets_out),
        None => current.allocations.into(),
    };
    SaCounters { packets, bytes, idle: None::<Duration> }
}

/// Adds what REGISTER told of one protocol.
pub fn merge(capabilities: &mut Capabilities, told: &pfkey::Capabilities) {
    for (id, algorithm, lengths) in ENCRYPTION {
        let salt = algorithm.salt_len();
        let works = |bits: &&u16| told.encrypts(*algorithm, usize::from(**bits) / 8 + salt);
        let works: Vec<u16> = lengths.iter().filter(works).copied().collect();
        if !works.is_empty() && !capabilities.encryption.iter().any(|known| known.0 == *id) {
            capabilities.encryption.push((*id, works));
        }
    }
    for (id, algorithm) in INTEGRITY {
        if told.authenticates(*algorithm) && !capabilities.integrity.contains(id) {
            capabilities.integrity.push(*id);
        }
    }
    if told.authenticates(Authentication::HmacSha256Cut96) && capabilities.remarks.is_empty() {
        let remark = "this kernel cuts HMAC-SHA2-256 to 96 bits, which no peer expects";
        capabilities.remarks.push(remark.into());
    }
    capabilities.esn |= told.esn;
}
