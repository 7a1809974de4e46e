//! Extensions as typed values; `parse` reads them, `emit` writes them.

use crate::codec::Sockaddr;
use crate::event::Counters;
use crate::layout;
use crate::request::Lifetime;

mod emit;
mod parse;
mod policy;
pub(crate) use emit::{bypass_policy, emit};
pub(crate) use parse::parse;
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
