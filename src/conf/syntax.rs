//! The syntax tree: what the rules say, as written, each part with its place.

use super::diagnostic::Place;
use super::{CfgOption, EapMethod, Family, Mode, SaProtocol, Signature, Start};
use crate::crypto::Secret;

/// A value and where it stands. Two are equal if their values are, wherever they stand.
#[derive(Debug, Clone, Default)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

/// One statement of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// `set …`.
    Set(Spanned<Set>),
    /// `user NAME PASSWORD`.
    User(User),
    /// `radius …`.
    Radius(Spanned<Radius>),
    /// `ikev2 …`.
    Ikev2(Box<Ikev2Rule>),
    /// A rule of ipsec.conf(5).
    Ipsec(Box<super::ipsec::Rule>),
}

/// A `set` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Set {
    /// A word, or its opposite: `mobike`, `nomobike`, `active`, `couple`, …
    Flag(String),
    /// A word with a number: `dpd_check_interval SECONDS`, …
    Number(&'static str, i64),
    /// `ocsp URL [tolerate TIME [maxage TIME]]`; times in seconds.
    Ocsp {
        /// The responder.
        url: String,
        /// Seconds by which answers may be out of date.
        tolerate: Option<u64>,
        /// Seconds after which an answer is too old.
        maxage: Option<u64>,
    },
}

/// `user NAME PASSWORD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The EAP identity.
    pub name: Spanned<String>,
    /// The password.
    pub password: Secret,
}

/// A `radius` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Radius {
    /// `[accounting] server ADDRESS [port PORT] secret SECRET`.
    Server {
        /// For accounting rather than authentication.
        accounting: bool,
        /// Its address.
        address: Spanned<String>,
        /// Its port.
        port: Option<Spanned<Word>>,
        /// What it shares with us.
        secret: Secret,
    },
    /// `[accounting] max-tries NUMBER`.
    MaxTries {
        /// For accounting.
        accounting: bool,
        /// How often a server is asked.
        number: i64,
    },
    /// `[accounting] max-failovers NUMBER`.
    MaxFailovers {
        /// For accounting.
        accounting: bool,
        /// How many further servers are tried.
        number: i64,
    },
    /// `config [inet|inet6] OPTION [VENDOR] ATTRIBUTE`.
    Config {
        /// The family.
        family: Option<Family>,
        /// What the attribute becomes; nothing for `none`.
        option: Option<CfgOption>,
        /// The vendor; 0 for the attributes of all.
        vendor: u32,
        /// The attribute's number.
        attribute: u8,
    },
    /// `dae listen on ADDRESS [port PORT]` (RFC 5176).
    DaeListen {
        /// The address.
        address: Spanned<String>,
        /// The port.
        port: Option<Spanned<Word>>,
    },
    /// `dae client ADDRESS secret SECRET`.
    DaeClient {
        /// Its address.
        address: Spanned<String>,
        /// What it shares with us.
        secret: Secret,
    },
}

/// An `ikev2` rule as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ikev2Rule {
    /// Where the rule begins.
    pub start_of_rule: Spanned<()>,
    /// The name, if it has one.
    pub name: Option<Spanned<String>>,
    /// `quick`, `skip` or `default`.
    pub matching: Option<Spanned<Matching>>,
    /// `active`, `passive` or `ondemand`.
    pub start: Option<Spanned<Start>>,
    /// `ipcomp`.
    pub ipcomp: Option<Spanned<()>>,
    /// `tunnel` or `transport`.
    pub mode: Option<Spanned<Mode>>,
    /// `natt`.
    pub natt: Option<Spanned<()>>,
    /// `nonat`.
    pub no_nat: Option<Spanned<()>>,
    /// `childless`.
    pub childless: Option<Spanned<()>>,
    /// `esp` or `ah`.
    pub protocol: Option<Spanned<SaProtocol>>,
    /// `inet` or `inet6`.
    pub family: Option<Spanned<Family>>,
    /// `proto …`; empty is any.
    pub ip_protocols: Vec<Spanned<Word>>,
    /// `rdomain N`.
    pub rdomain: Option<Spanned<i64>>,
    /// The `from … to …` pairs.
    pub flows: Vec<FlowClause>,
    /// `local`.
    pub local: Option<Spanned<Host>>,
    /// `peer`.
    pub peer: Option<Spanned<Host>>,
    /// The `ikesa` clauses.
    pub ike_sas: Vec<Transforms>,
    /// The `childsa` clauses.
    pub child_sas: Vec<Transforms>,
    /// `srcid`.
    pub srcid: Option<Spanned<String>>,
    /// `dstid`.
    pub dstid: Option<Spanned<String>>,
    /// `ikelifetime` in seconds.
    pub ike_lifetime: Option<Spanned<u64>>,
    /// `reauth` behind `ikelifetime`.
    pub reauth: bool,
    /// `lifetime` in seconds.
    pub lifetime: Option<Spanned<u64>>,
    /// `bytes` in octets.
    pub bytes: Option<Spanned<u64>>,
    /// `psk …`, `eap …` or a method's word.
    pub auth: Option<Spanned<AuthClause>>,
    /// `config` and `request` options.
    pub options: Vec<Spanned<ConfigOption>>,
    /// `iface NAME`.
    pub iface: Option<Spanned<String>>,
    /// `tag STRING`.
    pub tag: Option<Spanned<String>>,
    /// `tap encN`.
    pub tap: Option<Spanned<String>>,
}

/// What a match means for the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// It ends the search.
    Quick,
    /// The rule is not for peers that call.
    Skip,
    /// Taken when nothing else matches.
    Default,
}

/// A name or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A name.
    Name(String),
    /// A number.
    Number(i64),
}

/// A host as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// `any`.
    Any,
    /// `dynamic`.
    Dynamic,
    /// An address, a name or an interface, with a prefix length perhaps.
    Named {
        /// The word.
        word: String,
        /// What stands behind `/`.
        length: Option<i64>,
    },
}

/// One side of a flow as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The hosts: one, or those of a list.
    pub hosts: Vec<SideHost>,
    /// `port`.
    pub port: Option<Spanned<Word>>,
}

/// A host of a flow, with what its source is translated to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideHost {
    /// The host.
    pub host: Spanned<Host>,
    /// The host in parentheses behind it.
    pub srcnat: Option<Spanned<Host>>,
}

/// One `from … to …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowClause {
    /// `from`.
    pub from: Side,
    /// `to`.
    pub to: Side,
}

/// One `ikesa` or `childsa` clause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transforms {
    /// Where it begins.
    pub start: Spanned<()>,
    /// `enc` words.
    pub enc: Vec<Spanned<String>>,
    /// `prf` words.
    pub prf: Vec<Spanned<String>>,
    /// `auth` words.
    pub auth: Vec<Spanned<String>>,
    /// `group` words.
    pub group: Vec<Spanned<String>>,
    /// `esn` (true) and `noesn` (false).
    pub esn: Vec<Spanned<bool>>,
}

/// How the peers prove who they are, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthClause {
    /// `psk STRING` or `psk 0xHEX`; the octets.
    Psk(Secret),
    /// `psk file PATH`.
    PskFile(String),
    /// `eap METHOD`.
    Eap(EapMethod),
    /// `rsa`, `ecdsa256`, `rfc7427`, `signature`, …
    Signature(Signature),
}

/// A `config` or `request` option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigOption {
    /// `request` rather than `config`.
    pub request: bool,
    /// What.
    pub option: CfgOption,
    /// Its address; for `domain` a word that is a name.
    pub value: Spanned<Host>,
}
