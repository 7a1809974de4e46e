//! The rules of ipsec.conf(5) that are for the kernel, as requests to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pfkey::{
    Authentication, Compression, Direction, Encap, Encryption, Flow, FlowKind, Identity,
    IdentityKind, Port, Prefix, Protocol, Request, SaId, SaSpec, Secret, Selector, Spi, Transform,
};

use crate::conf::Mode;
use crate::conf::ipsec::{
    Address, Entry, FlowEntry, FlowType, Kind, SaEntry, Transform as Algorithm, Way,
};

/// The UDP port of encapsulated ESP (RFC 3948).
const NATT_PORT: u16 = 4500;

/// What is to be done with the rules of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Put them into the kernel.
    Add,
    /// Take them out.
    Delete,
}

/// The request for one entry, which may look at the others of its file: kernels of KAME's kind want
/// to know with a flow what OpenBSD finds by its SA. `None` for what is not the kernel's, or what it
/// finds by itself.
///
/// # Errors
///
/// What the entry cannot say to a kernel.
pub fn request(
    entry: &Entry,
    all: &[Entry],
    action: Action,
    groups: bool,
) -> Result<Option<Request>, String> {
    Ok(match (entry, action) {
        (Entry::Ike(_), _) => None,
        (Entry::Flow(entry), action) => {
            let flow = Box::new(flow(entry, all, groups)?);
            Some(match action {
                Action::Add => Request::AddFlow(flow),
                Action::Delete => Request::DeleteFlow(flow),
            })
        }
        (Entry::Sa(entry), Action::Add) => Some(Request::Add(Box::new(sa(entry, all)?))),
        (Entry::Sa(entry), Action::Delete) => {
            let src = entry.src.ip;
            Some(Request::Delete(sa_id(entry.kind, &entry.dst, entry.spi, src)))
        }
        // The kernel forgets a bundle with its SAs; where flows name them, it never knew one.
        (Entry::Bundle { first, second }, Action::Add) if groups => {
            let id = |(dst, kind, spi): &(Address, Kind, u32)| {
                sa_id(*kind, dst, *spi, any(dst.ip.is_ipv4()))
            };
            Some(Request::Group { first: id(first), then: id(second) })
        }
        (Entry::Bundle { .. }, _) => None,
    })
}

fn sa_id(kind: Kind, dst: &Address, spi: u32, src: IpAddr) -> SaId {
    SaId { protocol: protocol(kind), spi: Spi(spi), src, dst: dst.ip, rdomain: None }
}

fn any(ipv4: bool) -> IpAddr {
    if ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

fn protocol(kind: Kind) -> Protocol {
    match kind {
        Kind::Esp => Protocol::Esp,
        Kind::Ah => Protocol::Ah,
        Kind::Ipcomp => Protocol::IpComp,
        Kind::Ipip => Protocol::IpIp,
        Kind::TcpMd5 => Protocol::TcpSignature,
    }
}

fn mode(mode: Mode) -> pfkey::Mode {
    match mode {
        Mode::Tunnel => pfkey::Mode::Tunnel,
        Mode::Transport => pfkey::Mode::Transport,
    }
}

fn sa(entry: &SaEntry, all: &[Entry]) -> Result<SaSpec, String> {
    let (src, dst) = (entry.src.ip, entry.dst.ip);
    let mut spec = SaSpec::new(protocol(entry.kind), Spi(entry.spi), src, dst, mode(entry.mode));
    spec.replay_window = 0;
    spec.encap = entry.udpencap.map(|port| Encap {
        src_port: NATT_PORT,
        dst_port: if port == 0 { NATT_PORT } else { port },
    });
    let secret = |key: &Option<crate::crypto::Secret>| {
        Secret::from(key.as_ref().map_or(&[][..], |key| key.octets()))
    };
    let chosen = &entry.algorithms;
    spec.authentication = match (entry.kind, chosen.auth) {
        (Kind::TcpMd5, _) => Some((Authentication::TcpMd5, secret(&entry.authkey))),
        (_, None) => None,
        (_, Some(row)) if row.word == "none" => None,
        (_, Some(row)) => Some((authentication(row)?, secret(&entry.authkey))),
    };
    spec.encryption = match chosen.enc {
        None => None,
        Some(row) if row.word == "none" => None,
        Some(row) => Some((encryption(row)?, secret(&entry.enckey))),
    };
    if chosen.enc.is_some_and(|row| row.aead) {
        spec.authentication = None;
    }
    if entry.kind == Kind::Ipcomp {
        spec.compression = Some(Compression::Deflate);
    }
    spec.inner_ipv6 = all.iter().find_map(|other| match other {
        Entry::Flow(flow) if carries(entry, flow) => Some(flow.src.ip.is_ipv6()),
        _ => None,
    });
    Ok(spec)
}

fn authentication(row: &Algorithm) -> Result<Authentication, String> {
    Ok(match row.word {
        "hmac-md5" => Authentication::HmacMd5,
        "hmac-ripemd160" => Authentication::HmacRipemd160,
        "hmac-sha1" => Authentication::HmacSha1,
        "hmac-sha2-256" => Authentication::HmacSha256,
        "hmac-sha2-384" => Authentication::HmacSha384,
        "hmac-sha2-512" => Authentication::HmacSha512,
        word => return Err(format!("no kernel has {word}")),
    })
}

fn encryption(row: &Algorithm) -> Result<Encryption, String> {
    Ok(match row.word {
        "3des-cbc" => Encryption::TripleDesCbc,
        "aes" | "aes-128" | "aes-192" | "aes-256" => Encryption::AesCbc,
        "aesctr" | "aes-128-ctr" | "aes-192-ctr" | "aes-256-ctr" => Encryption::AesCtr,
        "aes-128-gcm" | "aes-192-gcm" | "aes-256-gcm" => Encryption::AesGcm16,
        "aes-128-gmac" | "aes-192-gmac" | "aes-256-gmac" => Encryption::AesGmac,
        "blowfish" => Encryption::BlowfishCbc,
        "cast128" => Encryption::CastCbc,
        "chacha20-poly1305" => Encryption::ChaCha20Poly1305,
        "null" => Encryption::Null,
        word => return Err(format!("no kernel has {word}")),
    })
}

/// Whether an SA is there for this flow.
fn carries(sa: &SaEntry, flow: &FlowEntry) -> bool {
    let far = flow.peer.as_ref().map_or_else(
        || if flow.way == Way::Out { flow.dst.ip } else { flow.src.ip },
        |peer| peer.ip,
    );
    sa.kind == flow.kind
        && match flow.way {
            Way::Out => sa.dst.ip == far,
            Way::In => sa.src.ip == far,
        }
}

fn flow(entry: &FlowEntry, all: &[Entry], groups: bool) -> Result<Flow, String> {
    let prefix = |address: &Address| {
        Prefix::new(address.ip, address.length).ok_or_else(|| format!("{address} is no network"))
    };
    let selector = Selector {
        protocol: entry.protocol,
        src: prefix(&entry.src)?,
        src_port: Port::exactly(entry.src_port),
        dst: prefix(&entry.dst)?,
        dst_port: Port::exactly(entry.dst_port),
    };
    let direction = match entry.way {
        Way::In => Direction::In,
        Way::Out => Direction::Out,
    };
    let kind = match entry.flow_type {
        FlowType::Use => FlowKind::Use,
        FlowType::Acquire => FlowKind::Acquire,
        FlowType::Require => FlowKind::Require,
        FlowType::Deny => FlowKind::Deny,
        FlowType::Bypass => FlowKind::Bypass,
        FlowType::DontAcq => FlowKind::DontAcquire,
    };
    let mut flow = Flow::plain(direction, kind, selector);
    flow.identities = identities(entry);
    if !matches!(kind, FlowKind::Deny | FlowKind::Bypass) {
        flow.transforms = transforms(entry, all, groups)?;
    }
    Ok(flow)
}

/// What protects the packets of a flow: its SA, and the one that follows it in a bundle.
fn transforms(entry: &FlowEntry, all: &[Entry], groups: bool) -> Result<Vec<Transform>, String> {
    let sas = || all.iter().filter_map(|e| if let Entry::Sa(sa) = e { Some(sa) } else { None });
    let first = sas().find(|sa| carries(sa, entry));
    let host = |address: &Address| address.length == if address.ip.is_ipv4() { 32 } else { 128 };
    let hosts = host(&entry.src) && host(&entry.dst);
    let far = if entry.way == Way::Out { entry.dst.ip } else { entry.src.ip };
    let direct = hosts && entry.peer.as_ref().is_none_or(|peer| peer.ip == far);
    let tunnel = first.map_or(!direct, |sa| sa.mode == Mode::Tunnel);
    let transform = Transform {
        protocol: protocol(entry.kind),
        mode: if tunnel { pfkey::Mode::Tunnel } else { pfkey::Mode::Transport },
        reqid: 0,
        endpoints: endpoints(entry, first.map(|sa| &**sa), tunnel && !groups)?,
        optional: entry.kind == Kind::Ipcomp && entry.way == Way::In,
    };
    let next = first.and_then(|first| {
        all.iter().find_map(|other| match other {
            Entry::Bundle { first: (_, kind, spi), second } => {
                ((*kind, *spi) == (first.kind, first.spi)).then_some(second)
            }
            _ => None,
        })
    });
    let Some((_, kind, spi)) = next.filter(|_| !groups) else { return Ok(vec![transform]) };
    let second = sas().find(|sa| (sa.kind, sa.spi) == (*kind, *spi));
    let second_tunnel = second.is_some_and(|sa| sa.mode == Mode::Tunnel);
    let then = Transform {
        protocol: protocol(*kind),
        mode: if second_tunnel { pfkey::Mode::Tunnel } else { pfkey::Mode::Transport },
        endpoints: endpoints(entry, second.map(|sa| &**sa), second_tunnel)?,
        optional: false,
        ..transform
    };
    Ok(vec![transform, then])
}

/// Outer source and destination as the packet has them. A kernel that `needs` both is told what the
/// SA says where the flow is silent.
fn endpoints(
    entry: &FlowEntry,
    sa: Option<&SaEntry>,
    needs: bool,
) -> Result<Option<(IpAddr, IpAddr)>, String> {
    let ip = |address: &Option<Address>| address.as_ref().map(|address| address.ip);
    let of_sa = sa.map(|sa| match entry.way {
        Way::Out => (sa.src.ip, sa.dst.ip),
        Way::In => (sa.dst.ip, sa.src.ip),
    });
    let ends = match (ip(&entry.local), ip(&entry.peer)) {
        (Some(local), Some(peer)) => Some((local, peer)),
        (None, Some(peer)) if !needs => Some((any(peer.is_ipv4()), peer)),
        (local, peer) if needs => {
            let local = local.or(of_sa.map(|(local, _)| local));
            let peer = peer.or(of_sa.map(|(_, peer)| peer));
            match (local, peer) {
                (Some(local), Some(peer)) => Some((local, peer)),
                (None, Some(peer)) => {
                    let local = crate::net::source_for(peer);
                    Some((local.map_err(|error| format!("no route to {peer}: {error}"))?, peer))
                }
                _ => return Err("this kernel wants to know the peer of a tunnel's flow".into()),
            }
        }
        _ => None,
    };
    Ok(ends.map(|(local, peer)| match entry.way {
        Way::Out => (local, peer),
        Way::In => (peer, local),
    }))
}

fn identities(entry: &FlowEntry) -> Option<(Identity, Identity)> {
    let identity = |name: &String| {
        let kind = match name {
            name if name.contains('/') => IdentityKind::Prefix,
            name if name.parse::<IpAddr>().is_ok() => IdentityKind::Prefix,
            name if name.contains('@') => IdentityKind::UserFqdn,
            _ => IdentityKind::Fqdn,
        };
        Identity { kind, name: name.clone() }
    };
    Some((identity(entry.srcid.as_ref()?), identity(entry.dstid.as_ref()?)))
}
