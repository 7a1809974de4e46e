//! The rules of ipsec.conf(5): `ike`, `flow`, manual SAs and `tcpmd5`.
//!
//! `parse` reads one as written, [`expand()`] makes single entries of it (lists multiplied out,
//! defaults filled in), `isakmpd` says what an `ike` entry means in isakmpd's own commands.

mod default_peer;
mod expand;
mod isakmpd;
mod parse;
mod print;
mod table;

use std::net::IpAddr;

pub(super) use default_peer::DefaultPeer;
pub use expand::{Bundles, Expansion, Failure, expand};
pub(super) use expand::{Seen, look, reason};
pub(super) use isakmpd::is_sound;
pub(super) use parse::{parse, starts_rule};
pub use print::Style;
pub(super) use print::{write_entry, write_rule};
use table::WEAK;
pub use table::{AUTH, COMP, ENC, GROUP, Transform, transform};

use super::Mode;
use super::diagnostic::Place;
use super::syntax::{ConfigOption, Host, Side, Spanned, Word};
use super::{Ike1Proof, Signature, Xauth};
use crate::crypto::Secret;

/// A rule as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// `ike …`.
    Ike(Box<IkeRule>),
    /// `flow …`.
    Flow(FlowRule),
    /// `esp`, `ah`, `ipcomp`, `ipip` or `tcpmd5` with an SPI.
    Sa(SaRule),
}

/// What ipsecctl looks at while it reads a rule, and where it would tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Where.
    pub place: Spanned<()>,
    /// What.
    pub look: Look,
}

/// One thing to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Whether a host has an address.
    Host(Host),
    /// Whether a host and what it is translated to are of one family.
    Nat(Host, Host),
    /// Whether there is such a protocol.
    Protocol(Word),
    /// Whether there is such a port.
    Port(Word),
    /// Whether keys are hexadecimal digits.
    Keys(Keys),
    /// What is wrong already, and the nearest known word; ipsecctl reads on.
    Complaint(String, Option<&'static str>),
}

/// The protocol of an SA or flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// `esp`.
    #[default]
    Esp,
    /// `ah`.
    Ah,
    /// `ipcomp`.
    Ipcomp,
    /// `ipip`.
    Ipip,
    /// `tcpmd5`.
    TcpMd5,
}

impl Kind {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Esp => "esp",
            Self::Ah => "ah",
            Self::Ipcomp => "ipcomp",
            Self::Ipip => "ipip",
            Self::TcpMd5 => "tcpmd5",
        }
    }

    /// The number by which ipsecctl tells of it.
    fn number(self) -> u8 {
        match self {
            Self::Esp => 1,
            Self::Ah => 2,
            Self::Ipcomp => 3,
            Self::TcpMd5 => 4,
            Self::Ipip => 5,
        }
    }
}

/// Who starts an `ike` rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IkeMode {
    /// We do.
    Active,
    /// The peer does.
    Passive,
    /// We do, from an address that changes.
    Dynamic,
}

/// Which way a flow goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `in`.
    In,
    /// `out`.
    Out,
}

/// What a flow does with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowType {
    /// Protect if there is an SA.
    Use,
    /// Protect if there is an SA, and ask for one.
    Acquire,
    /// Drop what has no SA, and ask for one.
    Require,
    /// Drop.
    Deny,
    /// Let pass.
    Bypass,
    /// Drop what has no SA, and ask for none.
    DontAcq,
}

impl FlowType {
    /// Each type and its word.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("use", Self::Use),
        ("acquire", Self::Acquire),
        ("require", Self::Require),
        ("deny", Self::Deny),
        ("bypass", Self::Bypass),
        ("dontacq", Self::DontAcq),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, t)| *t == self).map_or("", |(word, _)| word)
    }
}

/// Algorithms by their words, each once at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Algorithms {
    /// `auth`.
    pub auth: Option<&'static Transform>,
    /// `enc`.
    pub enc: Option<&'static Transform>,
    /// `comp`.
    pub comp: Option<&'static Transform>,
    /// `group`.
    pub group: Option<&'static Transform>,
    /// Where each stands, in this order.
    pub places: [Spanned<()>; 4],
}

/// `main`, `aggressive` or `quick` with what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Where its word stands.
    pub word: Spanned<()>,
    /// `aggressive` rather than `main`.
    pub aggressive: bool,
    /// Its algorithms.
    pub algorithms: Algorithms,
    /// `lifetime` in seconds.
    pub lifetime: Option<u64>,
    /// `bytes` in octets, of `quick` alone.
    pub bytes: Option<u64>,
}

/// Both ends of the traffic and of the tunnel, and who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// `proto`.
    pub protocol: Option<Spanned<Word>>,
    /// `from`.
    pub from: Side,
    /// `to`.
    pub to: Side,
    /// `local`.
    pub local: Option<Spanned<Host>>,
    /// `peer`.
    pub peer: Option<Spanned<Host>>,
    /// `srcid`.
    pub srcid: Option<String>,
    /// `dstid`.
    pub dstid: Option<String>,
}

/// An `ike` rule as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeRule {
    /// Who starts.
    pub mode: Option<IkeMode>,
    /// The protocols in the order in which they are written; none is `esp`, more than one a bundle.
    pub kinds: Vec<Kind>,
    /// `tunnel` or `transport`.
    pub encapsulation: Option<Mode>,
    /// `interface secN` in place of `from` and `to`.
    pub interface: Option<u32>,
    /// The ends.
    pub ends: Ends,
    /// `main` or `aggressive`.
    pub phase1: Option<Phase>,
    /// `quick`.
    pub phase2: Option<Phase>,
    /// `psk`, or else certificates.
    pub psk: Option<Secret>,
    /// By which signatures, where there is no `psk`: `rsa`, written or not, or one of ECDSA.
    pub signature: Signature,
    /// `hybrid`, `rsa-encryption` or `rsa-revised-encryption`.
    pub proof: Ike1Proof,
    /// `xauth`.
    pub xauth: Option<Xauth>,
    /// `config` and `request` options.
    pub options: Vec<Spanned<ConfigOption>>,
    /// `iface`: what takes the address that is requested.
    pub iface: Option<String>,
    /// `tag`.
    pub tag: Option<String>,
    /// Where the rule ends.
    pub end: Spanned<()>,
}

impl IkeRule {
    /// The protocol, of a bundle the one that all others stand around.
    pub fn kind(&self) -> Kind {
        let written = |kind| self.kinds.contains(&kind);
        match self.kinds.first() {
            Some(first) if !written(Kind::Esp) && !written(Kind::Ah) => *first,
            Some(_) if !written(Kind::Esp) => Kind::Ah,
            _ => Kind::Esp,
        }
    }

    /// Whether this protocol is written beside the one that [`IkeRule::kind`] tells.
    pub fn has_beside(&self, kind: Kind) -> bool {
        kind != self.kind() && self.kinds.contains(&kind)
    }
}

/// A `flow` rule as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowRule {
    /// The protocol, if written.
    pub kind: Option<Kind>,
    /// The direction; both if none is written.
    pub way: Option<Way>,
    /// The ends.
    pub ends: Ends,
    /// `type`.
    pub flow_type: Option<FlowType>,
    /// Where the rule ends.
    pub end: Spanned<()>,
}

/// A key for one direction or for both, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Whether these are names of files rather than hexadecimal digits.
    pub files: bool,
    /// Outbound.
    pub out: Secret,
    /// Inbound, behind a colon.
    pub back: Option<Secret>,
}

/// A manual SA as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaRule {
    /// The protocol.
    pub kind: Kind,
    /// `tunnel` or `transport`.
    pub encapsulation: Option<Mode>,
    /// `from`.
    pub from: Side,
    /// `to`.
    pub to: Side,
    /// The SPI outbound.
    pub spi: u32,
    /// The SPI inbound, behind a colon.
    pub spi_back: Option<u32>,
    /// `udpencap`, and its port (0 for none).
    pub udpencap: Option<u16>,
    /// Algorithms.
    pub algorithms: Algorithms,
    /// `authkey`.
    pub authkey: Option<Keys>,
    /// `enckey`.
    pub enckey: Option<Keys>,
    /// `bundle`.
    pub bundle: Option<String>,
    /// Where the rule ends.
    pub end: Spanned<()>,
}

/// An address with the length of its network and the name by which ipsecctl calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// As written: bits past the length are kept.
    pub ip: IpAddr,
    /// The length in bits.
    pub length: u8,
    /// Its name in isakmpd's sections.
    pub name: String,
    /// Whether it is a network rather than one host; also of one address, if IPv4 is written with
    /// a length.
    pub network: bool,
    /// What the source is translated to.
    pub srcnat: Option<Box<Address>>,
}

/// The name of what stands for an address that is assigned by Mode Config.
const DYNAMIC: &str = "dynamic";

impl Address {
    /// Whether it stands for an address that is assigned by Mode Config.
    pub fn is_dynamic(&self) -> bool {
        self.ip.is_unspecified() && self.name == DYNAMIC
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.length != if self.ip.is_ipv4() { 32 } else { 128 } {
            true => write!(f, "{}/{}", self.ip, self.length),
            false => write!(f, "{}", self.ip),
        }
    }
}

/// One thing to load: nothing in it is a list.
#[derive(Debug, Clone)]
pub enum Entry {
    /// For isakmpd.
    Ike(Box<IkeEntry>),
    /// For the kernel.
    Flow(Box<FlowEntry>),
    /// For the kernel.
    Sa(Box<SaEntry>),
    /// Two SAs to be used one after the other.
    Bundle {
        /// The first: destination, protocol, SPI.
        first: (Address, Kind, u32),
        /// The one that follows.
        second: (Address, Kind, u32),
    },
}

/// One flow.
#[derive(Debug, Clone)]
pub struct FlowEntry {
    /// The protocol.
    pub kind: Kind,
    /// The direction.
    pub way: Way,
    /// The IP protocol; 0 is any.
    pub protocol: u8,
    /// Source.
    pub src: Address,
    /// Source port; 0 is any.
    pub src_port: u16,
    /// Destination.
    pub dst: Address,
    /// Destination port; 0 is any.
    pub dst_port: u16,
    /// Our end of the tunnel.
    pub local: Option<Address>,
    /// The other end.
    pub peer: Option<Address>,
    /// Our identity.
    pub srcid: Option<String>,
    /// The peer's.
    pub dstid: Option<String>,
    /// What it does.
    pub flow_type: FlowType,
}

/// One manual SA.
#[derive(Debug, Clone)]
pub struct SaEntry {
    /// The protocol.
    pub kind: Kind,
    /// Encapsulation.
    pub mode: Mode,
    /// Source.
    pub src: Address,
    /// Destination.
    pub dst: Address,
    /// Its SPI.
    pub spi: u32,
    /// UDP encapsulation, and its port.
    pub udpencap: Option<u16>,
    /// Algorithms.
    pub algorithms: Algorithms,
    /// Key of the integrity algorithm.
    pub authkey: Option<Secret>,
    /// Key of the cipher.
    pub enckey: Option<Secret>,
}

/// One connection of isakmpd.
#[derive(Debug, Clone)]
pub struct IkeEntry {
    /// The rule, for what is the same in all its entries.
    pub rule: IkeRule,
    /// Source.
    pub src: Address,
    /// Destination.
    pub dst: Address,
    /// The IP protocol; 0 is any.
    pub protocol: u8,
    /// Source port; 0 is any.
    pub src_port: u16,
    /// Destination port; 0 is any.
    pub dst_port: u16,
    /// Our end.
    pub local: Option<Address>,
    /// The other end; none is isakmpd's default peer.
    pub peer: Option<Address>,
}

impl Rule {
    /// Where the rule ends: the place of remarks about it as a whole.
    pub fn end(&self) -> Place {
        match self {
            Self::Ike(rule) => rule.end.place,
            Self::Flow(rule) => rule.end.place,
            Self::Sa(rule) => rule.end.place,
        }
    }

    /// What is legal and unwise about it, where, and what to write instead.
    pub fn warnings(&self) -> Vec<(Place, String)> {
        let mut found = Vec::new();
        let mut weak = |chosen: &Algorithms| {
            let Algorithms { auth, enc, comp, group, places } = chosen;
            for (row, at) in [auth, enc, comp, group].into_iter().zip(places) {
                let weak = row.and_then(|row| WEAK.iter().find(|(word, _)| *word == row.word));
                let says = weak.map(|(word, better)| format!("{word} is weak: write {better}"));
                found.extend(says.map(|says| (at.place, says)));
            }
        };
        match self {
            Self::Flow(_) => {}
            Self::Sa(rule) => weak(&rule.algorithms),
            Self::Ike(rule) => {
                rule.phase1.iter().chain(&rule.phase2).for_each(|p| weak(&p.algorithms));
                let aggressive = rule.phase1.as_ref().filter(|phase| phase.aggressive);
                if let Some(phase) = aggressive.filter(|_| rule.psk.is_some()) {
                    let why = "aggressive mode shows whoever listens a hash of the psk to guess \
                               from: write main";
                    found.push((phase.word.place, why.to_owned()));
                }
            }
        }
        found
    }

    /// Whether secrets are written in it.
    pub fn holds_secrets(&self) -> bool {
        let written = |keys: &Option<Keys>| keys.as_ref().is_some_and(|k| !k.files);
        match self {
            Self::Ike(rule) => rule.psk.is_some(),
            Self::Flow(_) => false,
            Self::Sa(rule) => written(&rule.authkey) || written(&rule.enckey),
        }
    }
}
