//! Extensions from octets.

use super::{Address, Ext, Ident, Key, Proposal, Sa, Sa2, Supported, policy};
use crate::codec::{padded, read_sockaddr};
use crate::dialect::{AddressStyle, Dialect, ExtType};
use crate::event::Counters;
use crate::layout;
use crate::request::Lifetime;

/// Reads the extension `raw`, length and type included; its length is right already.
pub(crate) fn parse<'a>(
    dialect: &'static Dialect,
    kind: ExtType,
    raw: &'a [u8],
) -> Result<Ext<'a>, &'static str> {
    use ExtType as T;
    Ok(match kind {
        T::Sa | T::Sa2OpenBsd => {
            use layout::sa as l;
            exactly(raw, l::SIZE)?;
            Ext::Sa(Sa {
                spi: u32::from_be_bytes(l::SPI.octets(raw)),
                replay: l::REPLAY.get(raw),
                state: l::STATE.get(raw),
                auth: l::AUTH.get(raw),
                encrypt: l::ENCRYPT.get(raw),
                flags: l::FLAGS.get(raw),
            })
        }
        T::LifetimeCurrent
        | T::LifetimeHard
        | T::LifetimeSoft
        | T::LifetimeLastUse
        | T::LifetimeSwOffload
        | T::LifetimeHwOffload => {
            use layout::lifetime as l;
            exactly(raw, l::SIZE)?;
            Ext::Lifetime(Lifetime {
                allocations: l::ALLOCATIONS.get(raw),
                bytes: l::BYTES.get(raw),
                add_seconds: l::ADDTIME.get(raw),
                use_seconds: l::USETIME.get(raw),
            })
        }
        T::AddressSrc
        | T::AddressDst
        | T::AddressProxy
        | T::SrcMask
        | T::DstMask
        | T::SrcFlow
        | T::DstFlow
        | T::Dst2
        | T::NatTOai
        | T::NatTOar
        | T::NatTOa
        | T::NewAddressSrc
        | T::NewAddressDst => parse_address(dialect, raw)?,
        T::KeyAuth | T::KeyEncrypt => parse_key(raw)?,
        T::IdentitySrc | T::IdentityDst => {
            use layout::ident as l;
            at_least(raw, l::SIZE)?;
            Ext::Identity(Ident {
                kind: l::TYPE.get(raw),
                id: l::ID.get(raw),
                name: raw.get(l::SIZE..).unwrap_or_default(),
            })
        }
        T::Proposal => parse_proposal(dialect, raw)?,
        T::SupportedAuth | T::SupportedEncrypt | T::SupportedComp => {
            at_least(raw, layout::supported::SIZE)?;
            Ext::Supported(Supported {
                algs: raw.get(layout::supported::SIZE..).unwrap_or_default(),
            })
        }
        T::SpiRange => {
            use layout::spirange as l;
            exactly(raw, l::SIZE)?;
            Ext::SpiRange { min: l::MIN.get(raw), max: l::MAX.get(raw) }
        }
        T::Policy
        | T::Sa2
        | T::NatTType
        | T::NatTSport
        | T::NatTDport
        | T::NatTFrag
        | T::SaReplay
        | T::IfHwOffload
        | T::SecCtx => parse_kame(dialect, kind, raw)?,
        T::Protocol
        | T::FlowType
        | T::SaType2
        | T::PolicyOpenBsd
        | T::UdpEncap
        | T::Tag
        | T::Tap
        | T::Counter
        | T::Rdomain
        | T::Mtu
        | T::Replay
        | T::Iface => parse_openbsd(kind, raw)?,
        T::Sensitivity
        | T::LocalCredentials
        | T::RemoteCredentials
        | T::LocalAuth
        | T::RemoteAuth
        | T::KmPrivate
        | T::KmAddress
        | T::Filter
        | T::Unknown(_) => Ext::Raw(raw.get(layout::ext::SIZE..).unwrap_or_default()),
    })
}

/// Those that KAME and its heirs have beside RFC 2367's.
fn parse_kame<'a>(
    dialect: &'static Dialect,
    kind: ExtType,
    raw: &'a [u8],
) -> Result<Ext<'a>, &'static str> {
    use ExtType as T;
    Ok(match kind {
        T::Policy => Ext::Policy(policy::parse(dialect, raw)?),
        T::Sa2 => {
            use layout::x_sa2 as l;
            exactly(raw, l::SIZE)?;
            Ext::Sa2(Sa2 {
                mode: l::MODE.get(raw),
                sequence: l::SEQUENCE.get(raw),
                reqid: l::REQID.get(raw),
            })
        }
        T::NatTType => {
            exactly(raw, layout::x_nat_t_type::SIZE)?;
            Ext::NatTType(layout::x_nat_t_type::TYPE.get(raw))
        }
        T::NatTSport | T::NatTDport => {
            exactly(raw, layout::x_nat_t_port::SIZE)?;
            Ext::NatTPort(u16::from_be_bytes(layout::x_nat_t_port::PORT.octets(raw)))
        }
        T::NatTFrag => {
            exactly(raw, layout::x_nat_t_frag::SIZE)?;
            Ext::NatTFrag(layout::x_nat_t_frag::FRAGLEN.get(raw))
        }
        T::SaReplay => {
            exactly(raw, layout::x_sa_replay::SIZE)?;
            Ext::ReplayWindow(layout::x_sa_replay::REPLAY.get(raw))
        }
        T::IfHwOffload => {
            use layout::x_if_hw_offl as l;
            exactly(raw, l::SIZE)?;
            let name = raw.get(8..).unwrap_or_default();
            let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
            Ext::IfHwOffload { flags: l::FLAGS.get(raw), name: &name[..end] }
        }
        _ => {
            use layout::x_sec_ctx as l;
            at_least(raw, l::SIZE)?;
            let len = usize::from(l::CTX_LEN.get(raw));
            let context =
                raw.get(l::SIZE..l::SIZE + len).ok_or("security context longer than its room")?;
            exactly(raw, padded(l::SIZE + len))?;
            Ext::SecCtx { alg: l::CTX_ALG.get(raw), doi: l::CTX_DOI.get(raw), context }
        }
    })
}

/// Those that OpenBSD has beside RFC 2367's.
fn parse_openbsd<'a>(kind: ExtType, raw: &'a [u8]) -> Result<Ext<'a>, &'static str> {
    use ExtType as T;
    Ok(match kind {
        T::PolicyOpenBsd => {
            exactly(raw, layout::x_policy_openbsd::SIZE)?;
            Ext::AskedPolicy(layout::x_policy_openbsd::SEQ.get(raw))
        }
        T::UdpEncap => {
            exactly(raw, layout::x_udpencap::SIZE)?;
            Ext::UdpEncap(u16::from_be_bytes(layout::x_udpencap::PORT.octets(raw)))
        }
        T::Tag => {
            use layout::x_tag as l;
            at_least(raw, l::SIZE)?;
            let len = l::TAGLEN.get(raw) as usize;
            let end = l::SIZE.checked_add(len).ok_or("tag longer than its room")?;
            let tag = raw.get(l::SIZE..end).ok_or("tag longer than its room")?;
            exactly(raw, padded(end))?;
            Ext::Tag(tag)
        }
        T::Tap => {
            exactly(raw, layout::x_tap::SIZE)?;
            Ext::Tap(layout::x_tap::UNIT.get(raw))
        }
        T::Counter => {
            use layout::x_counter as l;
            exactly(raw, l::SIZE)?;
            Ext::Counter(Counters {
                packets_in: l::IPACKETS.get(raw),
                packets_out: l::OPACKETS.get(raw),
                bytes_in: l::IBYTES.get(raw),
                bytes_out: l::OBYTES.get(raw),
                drops_in: l::IDROPS.get(raw),
                drops_out: l::ODROPS.get(raw),
                decompressed_bytes: l::IDECOMPBYTES.get(raw),
                uncompressed_bytes: l::OUNCOMPBYTES.get(raw),
            })
        }
        T::Rdomain => {
            exactly(raw, layout::x_rdomain::SIZE)?;
            Ext::Rdomain(layout::x_rdomain::DOM1.get(raw), layout::x_rdomain::DOM2.get(raw))
        }
        T::Mtu => {
            exactly(raw, layout::x_mtu::SIZE)?;
            Ext::Mtu(layout::x_mtu::MTU.get(raw))
        }
        T::Replay => {
            exactly(raw, layout::x_replay::SIZE)?;
            Ext::ReplayCount(layout::x_replay::COUNT.get(raw))
        }
        T::Iface => {
            use layout::x_iface as l;
            exactly(raw, l::SIZE)?;
            Ext::Iface { unit: l::UNIT.get(raw), direction: l::DIRECTION.get(raw) }
        }
        _ => {
            use layout::protocol as l;
            exactly(raw, l::SIZE)?;
            Ext::Protocol {
                proto: l::PROTO.get(raw),
                direction: l::DIRECTION.get(raw),
                flags: l::FLAGS.get(raw),
            }
        }
    })
}

fn parse_address<'a>(dialect: &Dialect, raw: &'a [u8]) -> Result<Ext<'a>, &'static str> {
    use layout::address_kame as l;
    at_least(raw, l::SIZE)?;
    let (addr, len) = read_sockaddr(dialect, raw.get(l::SIZE..).unwrap_or_default())?;
    if padded(l::SIZE + len) != raw.len() {
        return Err("room left behind the socket address");
    }
    let (proto, prefix) = match dialect.address {
        AddressStyle::ProtoPrefix => (l::PROTO.get(raw), l::PREFIXLEN.get(raw)),
        AddressStyle::Reserved => (0, 0),
    };
    Ok(Ext::Address(Address { proto, prefix, addr }))
}

fn parse_key(raw: &[u8]) -> Result<Ext<'_>, &'static str> {
    use layout::key as l;
    at_least(raw, l::SIZE)?;
    let bits = l::BITS.get(raw);
    let octets = usize::from(bits).div_ceil(8);
    exactly(raw, padded(l::SIZE + octets))?;
    Ok(Ext::Key(Key { bits, octets: raw.get(l::SIZE..l::SIZE + octets).unwrap_or_default() }))
}

fn parse_proposal<'a>(dialect: &Dialect, raw: &'a [u8]) -> Result<Ext<'a>, &'static str> {
    at_least(raw, layout::prop_kame::SIZE)?;
    let combs = raw.get(layout::prop_kame::SIZE..).unwrap_or_default();
    if !combs.len().is_multiple_of(layout::comb::SIZE) {
        return Err("proposal with a part of a combination");
    }
    let (num, replay) = match dialect.address {
        AddressStyle::Reserved => {
            (layout::prop_openbsd::NUM.get(raw), layout::prop_openbsd::REPLAY.get(raw))
        }
        AddressStyle::ProtoPrefix => (0, layout::prop_kame::REPLAY.get(raw)),
    };
    Ok(Ext::Proposal(Proposal { num, replay, combs }))
}

fn exactly(raw: &[u8], size: usize) -> Result<(), &'static str> {
    if raw.len() == size { Ok(()) } else { Err("length does not fit its type") }
}

fn at_least(raw: &[u8], size: usize) -> Result<(), &'static str> {
    if raw.len() >= size { Ok(()) } else { Err("shorter than its type") }
}
