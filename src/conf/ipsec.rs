//! The rules of ipsec.conf(5): `ike`, `flow`, manual SAs and `tcpmd5`.
//!
//! [`parse`] reads one as written, [`expand`] makes single entries of it (lists multiplied out,
//! defaults filled in), `isakmpd` says what an `ike` entry means in isakmpd's own commands.

mod expand;
mod isakmpd;
mod parse;
mod print;

use std::net::IpAddr;

pub use expand::{Bundles, expand};
pub(super) use parse::{parse, starts_rule};
pub use print::Style;
pub(super) use print::{write_entry, write_rule};

use super::Mode;
use super::diagnostic::Place;
use super::syntax::{Host, Side, Spanned, Word};
use crate::crypto::Secret;

/// A rule as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// `ike …`.
    Ike(IkeRule),
    /// `flow …`.
    Flow(FlowRule),
    /// `esp`, `ah`, `ipcomp`, `ipip` or `tcpmd5` with an SPI.
    Sa(SaRule),
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
}

/// A row of the tables of ipsec.conf(5)'s algorithms.
#[derive(Debug, PartialEq, Eq)]
pub struct Transform {
    /// Its word.
    pub word: &'static str,
    /// isakmpd's name, empty where isakmpd has none.
    pub isakmpd: &'static str,
    /// isakmpd's key length attribute: the value offered and the range accepted.
    pub key_length: Option<&'static str>,
    /// The shortest and the longest key, in octets.
    pub key: (usize, usize),
    /// Authenticates by itself.
    pub aead: bool,
    /// Must not be used with a key that stays the same.
    pub no_static: bool,
    /// May be used by isakmpd's phase 1.
    pub phase1: bool,
}

/// `main`, `aggressive` or `quick` with what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// `aggressive` rather than `main`.
    pub aggressive: bool,
    /// Its algorithms.
    pub algorithms: Algorithms,
    /// `lifetime` in seconds.
    pub lifetime: Option<u64>,
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
    /// The protocol, if written.
    pub kind: Option<Kind>,
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
    /// `tag`.
    pub tag: Option<String>,
    /// Where the rule ends.
    pub end: Spanned<()>,
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
    /// What the source is translated to.
    pub srcnat: Option<Box<Address>>,
}

impl Address {
    /// Whether it is a network rather than one host.
    pub fn is_network(&self) -> bool {
        self.length != if self.ip.is_ipv4() { 32 } else { 128 }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.is_network() {
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

const fn row(word: &'static str, isakmpd: &'static str, key: (usize, usize)) -> Transform {
    Transform { word, isakmpd, key_length: None, key, aead: false, no_static: false, phase1: true }
}

const fn cipher(
    word: &'static str,
    isakmpd: &'static str,
    key_length: &'static str,
    key: (usize, usize),
) -> Transform {
    Transform { key_length: Some(key_length), ..row(word, isakmpd, key) }
}

const fn counter(
    word: &'static str,
    name: &'static str,
    bits: &'static str,
    key: usize,
) -> Transform {
    Transform { no_static: true, phase1: false, ..cipher(word, name, bits, (key, key)) }
}

const fn combined(
    word: &'static str,
    name: &'static str,
    bits: &'static str,
    key: usize,
) -> Transform {
    Transform { aead: true, ..counter(word, name, bits, key) }
}

/// Integrity algorithms.
pub static AUTH: &[Transform] = &[
    row("none", "", (0, 0)),
    row("hmac-md5", "MD5", (16, 16)),
    Transform { phase1: false, ..row("hmac-ripemd160", "RIPEMD", (20, 20)) },
    row("hmac-sha1", "SHA", (20, 20)),
    row("hmac-sha2-256", "SHA2_256", (32, 32)),
    row("hmac-sha2-384", "SHA2_384", (48, 48)),
    row("hmac-sha2-512", "SHA2_512", (64, 64)),
];

/// Ciphers; counter modes have four octets of salt behind the key.
pub static ENC: &[Transform] = &[
    row("none", "", (0, 0)),
    row("3des-cbc", "3DES", (24, 24)),
    cipher("aes", "AES", "128,128:256", (16, 32)),
    cipher("aes-128", "AES", "128,128:128", (16, 16)),
    cipher("aes-192", "AES", "192,192:192", (24, 24)),
    cipher("aes-256", "AES", "256,256:256", (32, 32)),
    Transform { key: (20, 36), ..counter("aesctr", "AES_CTR", "128,128:128", 20) },
    counter("aes-128-ctr", "AES_CTR", "128,128:128", 20),
    counter("aes-192-ctr", "AES_CTR", "192,192:192", 28),
    counter("aes-256-ctr", "AES_CTR", "256,256:256", 36),
    combined("aes-128-gcm", "AES_GCM_16", "128,128:128", 20),
    combined("aes-192-gcm", "AES_GCM_16", "192,192:192", 28),
    combined("aes-256-gcm", "AES_GCM_16", "256,256:256", 36),
    combined("aes-128-gmac", "AES_GMAC", "128,128:128", 20),
    combined("aes-192-gmac", "AES_GMAC", "192,192:192", 28),
    combined("aes-256-gmac", "AES_GMAC", "256,256:256", 36),
    cipher("blowfish", "BLOWFISH", "128,96:192", (5, 56)),
    row("cast128", "CAST", (5, 16)),
    Transform { key_length: None, ..combined("chacha20-poly1305", "", "", 36) },
    Transform { phase1: false, ..row("null", "NULL", (0, 0)) },
];

/// Compression.
pub static COMP: &[Transform] = &[row("deflate", "", (0, 0))];

/// Groups.
pub static GROUP: &[Transform] = &[
    Transform { phase1: false, ..row("none", "NONE", (0, 0)) },
    row("modp768", "MODP_768", (0, 0)),
    row("grp1", "MODP_768", (0, 0)),
    row("modp1024", "MODP_1024", (0, 0)),
    row("grp2", "MODP_1024", (0, 0)),
    row("modp1536", "MODP_1536", (0, 0)),
    row("grp5", "MODP_1536", (0, 0)),
    row("modp2048", "MODP_2048", (0, 0)),
    row("grp14", "MODP_2048", (0, 0)),
    row("modp3072", "MODP_3072", (0, 0)),
    row("grp15", "MODP_3072", (0, 0)),
    row("modp4096", "MODP_4096", (0, 0)),
    row("grp16", "MODP_4096", (0, 0)),
    row("modp6144", "MODP_6144", (0, 0)),
    row("grp17", "MODP_6144", (0, 0)),
    row("modp8192", "MODP_8192", (0, 0)),
    row("grp18", "MODP_8192", (0, 0)),
    row("ecp256", "ECP_256", (0, 0)),
    row("grp19", "ECP_256", (0, 0)),
    row("ecp384", "ECP_384", (0, 0)),
    row("grp20", "ECP_384", (0, 0)),
    row("ecp521", "ECP_521", (0, 0)),
    row("grp21", "ECP_521", (0, 0)),
    row("ecp192", "", (0, 0)),
    row("grp25", "", (0, 0)),
    row("ecp224", "ECP_224", (0, 0)),
    row("grp26", "ECP_224", (0, 0)),
    row("bp224", "BP_224", (0, 0)),
    row("grp27", "BP_224", (0, 0)),
    row("bp256", "BP_256", (0, 0)),
    row("grp28", "BP_256", (0, 0)),
    row("bp384", "BP_384", (0, 0)),
    row("grp29", "BP_384", (0, 0)),
    row("bp512", "BP_512", (0, 0)),
    row("grp30", "BP_512", (0, 0)),
];

/// Words that should not be used any more, and what to write instead.
const WEAK: &[(&str, &str)] = &[
    ("3des-cbc", "aes-256"),
    ("blowfish", "aes-256"),
    ("cast128", "aes-256"),
    ("null", "aes-256"),
    ("none", "grp15"),
    ("hmac-md5", "hmac-sha2-256"),
    ("hmac-ripemd160", "hmac-sha2-256"),
    ("hmac-sha1", "hmac-sha2-256"),
    ("modp768", "modp3072"),
    ("grp1", "grp15"),
    ("modp1024", "modp3072"),
    ("grp2", "grp15"),
    ("modp1536", "modp3072"),
    ("grp5", "grp15"),
];

/// The first row whose word begins with this one, as ipsecctl looks it up (`3des` is `3des-cbc`).
pub fn transform(word: &str, table: &'static [Transform]) -> Option<&'static Transform> {
    table.iter().find(|row| row.word.starts_with(word))
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

    /// What is legal and unwise about it, each with what to write instead.
    pub fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut weak = |chosen: &Algorithms| {
            let rows = [chosen.enc, chosen.auth, chosen.group];
            for row in rows.into_iter().flatten() {
                let better = WEAK.iter().find(|(word, _)| *word == row.word);
                found
                    .extend(better.map(|(word, better)| format!("{word} is weak: write {better}")));
            }
        };
        match self {
            Self::Flow(_) => {}
            Self::Sa(rule) => weak(&rule.algorithms),
            Self::Ike(rule) => {
                rule.phase1.iter().chain(&rule.phase2).for_each(|p| weak(&p.algorithms));
                if rule.psk.is_some() && rule.phase1.as_ref().is_some_and(|p| p.aggressive) {
                    found.push(
                        "aggressive mode shows whoever listens a hash of the psk to guess from: \
                         write main"
                            .to_owned(),
                    );
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
