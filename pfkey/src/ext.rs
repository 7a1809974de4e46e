//! Extensions as typed values, and how they are read; `emit` writes them.

use crate::codec::{Sockaddr, padded, read_sockaddr};
use crate::dialect::{AddressStyle, Dialect, ExtType};
use crate::event::Counters;
use crate::layout;
use crate::request::Lifetime;

mod emit;
mod policy;
pub(crate) use emit::{bypass_policy, emit};
pub use policy::{IpsecRequest, Policy, Requests};

/// The body of an extension. It borrows from the message; nothing is copied in reading.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ext<'a> {
    /// `sadb_sa`, and OpenBSD's second SA.
    Sa(Sa),
    /// `sadb_lifetime`: current, hard, soft, last use.
    Lifetime(Lifetime),
    /// `sadb_address` and all that look like it: masks, flows, NAT-T originals.
    Address(Address<'a>),
    /// `sadb_key`.
    Key(Key<'a>),
    /// `sadb_ident`.
    Identity(Ident<'a>),
    /// `sadb_prop`.
    Proposal(Proposal<'a>),
    /// `sadb_supported`: authentication, encryption, compression.
    Supported(Supported<'a>),
    /// `sadb_spirange`, host order.
    SpiRange {
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// OpenBSD's `sadb_protocol`: IP protocol, flow type, second SA type.
    Protocol {
        /// What it is about.
        proto: u8,
        /// 1 in, 2 out.
        direction: u8,
        /// 1: static.
        flags: u8,
    },
    /// OpenBSD's `sadb_x_policy`: sequence number of an ACQUIRE.
    AskedPolicy(u32),
    /// OpenBSD's UDP port of the peer, host order.
    UdpEncap(u16),
    /// OpenBSD's pf(4) tag, NUL included.
    Tag(&'a [u8]),
    /// OpenBSD's enc(4) unit.
    Tap(u32),
    /// OpenBSD's counters.
    Counter(Counters),
    /// OpenBSD's routing domains.
    Rdomain(u16, u16),
    /// OpenBSD's path MTU.
    Mtu(u32),
    /// OpenBSD's replay counter.
    ReplayCount(u64),
    /// OpenBSD's sec(4).
    Iface {
        /// Unit.
        unit: u32,
        /// 1 in, 2 out.
        direction: u8,
    },
    /// KAME's `sadb_x_policy`.
    Policy(Policy<'a>),
    /// KAME's `sadb_x_sa2`.
    Sa2(Sa2),
    /// Type of NAT traversal.
    NatTType(u8),
    /// UDP port, host order.
    NatTPort(u16),
    /// Fragment length.
    NatTFrag(u16),
    /// FreeBSD's replay window in packets.
    ReplayWindow(u32),
    /// FreeBSD's interface for hardware offload, its name without NULs.
    IfHwOffload {
        /// Flags.
        flags: u32,
        /// Interface.
        name: &'a [u8],
    },
    /// Linux's security context.
    SecCtx {
        /// Algorithm.
        alg: u8,
        /// Domain of interpretation.
        doi: u8,
        /// The context.
        context: &'a [u8],
    },
    /// Kept as it is, behind length and type: unknown numbers, SENSITIVITY, KMPRIVATE,
    /// KMADDRESS, FILTER, credentials.
    Raw(&'a [u8]),
}

/// `struct sadb_sa`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sa {
    /// SPI in host order.
    pub spi: u32,
    /// Replay window in the dialect's unit.
    pub replay: u8,
    /// State.
    pub state: u8,
    /// Authentication algorithm.
    pub auth: u8,
    /// Encryption or compression algorithm.
    pub encrypt: u8,
    /// Flags.
    pub flags: u32,
}

/// `struct sadb_address` with its socket address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// Upper protocol (0 on OpenBSD).
    pub proto: u8,
    /// Prefix length (0 on OpenBSD).
    pub prefix: u8,
    /// The address.
    pub addr: Sockaddr<'a>,
}

/// `struct sadb_key`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// Length in bits.
    pub bits: u16,
    /// The key.
    pub octets: &'a [u8],
}

/// `struct sadb_ident`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ident<'a> {
    /// Kind of name.
    pub kind: u16,
    /// A number, by which some name users.
    pub id: u64,
    /// The name with its NULs.
    pub name: &'a [u8],
}

/// `struct sadb_prop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal<'a> {
    /// OpenBSD's number of the proposal, 0 elsewhere.
    pub num: u8,
    /// Replay window.
    pub replay: u8,
    combs: &'a [u8],
}

/// `struct sadb_comb`: one combination that would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comb {
    /// Authentication.
    pub auth: u8,
    /// Encryption.
    pub encrypt: u8,
    /// Key sizes of authentication, in bits.
    pub auth_bits: (u16, u16),
    /// Key sizes of encryption, in bits.
    pub encrypt_bits: (u16, u16),
}

impl Proposal<'_> {
    /// The combinations, best first.
    pub fn combs(&self) -> impl Iterator<Item = Comb> + use<'_> {
        use layout::comb as l;
        self.combs.chunks_exact(l::SIZE).map(|c| Comb {
            auth: l::AUTH.get(c),
            encrypt: l::ENCRYPT.get(c),
            auth_bits: (l::AUTH_MINBITS.get(c), l::AUTH_MAXBITS.get(c)),
            encrypt_bits: (l::ENCRYPT_MINBITS.get(c), l::ENCRYPT_MAXBITS.get(c)),
        })
    }
}

/// `struct sadb_supported`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supported<'a> {
    algs: &'a [u8],
}

/// `struct sadb_alg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alg {
    /// Number.
    pub id: u8,
    /// IV, in bits on OpenBSD, in octets elsewhere.
    pub ivlen: u8,
    /// Shortest key in bits.
    pub min_bits: u16,
    /// Longest key in bits.
    pub max_bits: u16,
}

impl<'a> Supported<'a> {
    /// The algorithms.
    pub fn algorithms(&self) -> impl Iterator<Item = Alg> + use<'a> {
        use layout::alg as l;
        self.algs.chunks_exact(l::SIZE).map(|a| Alg {
            id: l::ID.get(a),
            ivlen: l::IVLEN.get(a),
            min_bits: l::MINBITS.get(a),
            max_bits: l::MAXBITS.get(a),
        })
    }
}

/// KAME's `struct sadb_x_sa2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sa2 {
    /// Mode.
    pub mode: u8,
    /// Last sequence number sent or received.
    pub sequence: u32,
    /// reqid.
    pub reqid: u32,
}

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
        T::KeyAuth | T::KeyEncrypt => {
            use layout::key as l;
            at_least(raw, l::SIZE)?;
            let bits = l::BITS.get(raw);
            let octets = usize::from(bits).div_ceil(8);
            exactly(raw, padded(l::SIZE + octets))?;
            Ext::Key(Key { bits, octets: raw.get(l::SIZE..l::SIZE + octets).unwrap_or_default() })
        }
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
        T::SecCtx => {
            use layout::x_sec_ctx as l;
            at_least(raw, l::SIZE)?;
            let len = usize::from(l::CTX_LEN.get(raw));
            let context =
                raw.get(l::SIZE..l::SIZE + len).ok_or("security context longer than its room")?;
            exactly(raw, padded(l::SIZE + len))?;
            Ext::SecCtx { alg: l::CTX_ALG.get(raw), doi: l::CTX_DOI.get(raw), context }
        }
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

impl std::fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({} bits)", self.bits)
    }
}

impl std::fmt::Debug for Ext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ext::Sa(x) => x.fmt(f),
            Ext::Lifetime(x) => x.fmt(f),
            Ext::Address(x) => x.fmt(f),
            Ext::Key(x) => x.fmt(f),
            Ext::Identity(x) => x.fmt(f),
            Ext::Proposal(x) => f.debug_list().entries(x.combs()).finish(),
            Ext::Supported(x) => f.debug_list().entries(x.algorithms()).finish(),
            Ext::SpiRange { min, max } => write!(f, "SpiRange({min:#x}-{max:#x})"),
            Ext::Protocol { proto, direction, flags } => {
                write!(f, "Protocol(proto {proto}, direction {direction}, flags {flags})")
            }
            Ext::AskedPolicy(seq) => write!(f, "AskedPolicy({seq})"),
            Ext::UdpEncap(port) => write!(f, "UdpEncap({port})"),
            Ext::Tag(tag) => write!(f, "Tag({})", tag.escape_ascii()),
            Ext::Tap(unit) => write!(f, "Tap({unit})"),
            Ext::Counter(x) => x.fmt(f),
            Ext::Rdomain(outer, inner) => write!(f, "Rdomain({outer}, {inner})"),
            Ext::Mtu(mtu) => write!(f, "Mtu({mtu})"),
            Ext::ReplayCount(count) => write!(f, "ReplayCount({count})"),
            Ext::Iface { unit, direction } => write!(f, "Iface(sec{unit}, direction {direction})"),
            Ext::Policy(x) => x.fmt(f),
            Ext::Sa2(x) => x.fmt(f),
            Ext::NatTType(kind) => write!(f, "NatTType({kind})"),
            Ext::NatTPort(port) => write!(f, "NatTPort({port})"),
            Ext::NatTFrag(len) => write!(f, "NatTFrag({len})"),
            Ext::ReplayWindow(packets) => write!(f, "ReplayWindow({packets})"),
            Ext::IfHwOffload { flags, name } => {
                write!(f, "IfHwOffload({}, flags {flags:#x})", name.escape_ascii())
            }
            Ext::SecCtx { alg, doi, context } => {
                write!(f, "SecCtx({}, alg {alg}, doi {doi})", context.escape_ascii())
            }
            Ext::Raw(body) => write!(f, "Raw({} octets)", body.len()),
        }
    }
}
