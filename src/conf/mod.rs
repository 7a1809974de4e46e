//! The configuration language: text, tokens, syntax, checked values.
//!
//! ```text
//! text --lex--> tokens --parse--> syntax --check--> Checked { config, secrets }
//!                                    ^                        |
//!                                    +--------- print <-------+
//! ```
//!
//! What this file defines is the *checked* configuration, in which nothing invalid can be written.
//! The parent makes it from the file and sends [`Config`] to the `ike` process and the secrets to
//! the `ca` process; neither gets the other's part.

pub mod addressing;
pub mod auth;
mod check;
pub mod diagnostic;
pub mod diff;
pub mod dn;
pub mod ipsec;
pub mod ipsecctl;
pub mod lex;
pub mod lookup;
pub mod parse;
mod prefix;
pub mod print;
pub mod source;
pub mod syntax;
pub mod system;

use std::fmt;
use std::net::IpAddr;

pub use addressing::{AddressPool, CfgOption, Provision, Wanted};
pub use auth::{Auth, EapMethod, Ike1Auth, Ike1Proof, Method, Signature, Xauth};
pub use diagnostic::{Diagnostic, Severity, in_full};
pub use lookup::Index;
pub use parse::parse;
pub use prefix::Prefix;
pub use print::print;
pub use source::{FileText, Files, InterfaceAddress, MemoryFiles, Names, NumericNames};
pub use system::{SystemFiles, SystemNames};

use serde::{Deserialize, Serialize};

use crate::crypto::Secret;
use crate::wire::iana::v2::{EncryptionId, GroupId, IdType, IntegrityId, PrfId};

/// What a configuration file means: the part without secrets, and the secrets.
#[derive(Debug)]
pub struct Checked {
    /// Everything the protocol engine needs.
    pub config: Config,
    /// Everything only the `ca` process may hold.
    pub secrets: Vec<PolicySecret>,
    /// The `user` lines: who may log in by EAP, and the passwords; for `ca` too.
    pub users: Vec<UserSecret>,
    /// The rules that wait for a host name to get an address; they are not in `config`. To be
    /// checked again now and then.
    pub unresolved: Vec<PolicyName>,
    /// What is legal and unwise, for the operator.
    pub diagnostics: Vec<Diagnostic>,
}

/// So many of something, in words: `1 policy`, `2 policies`.
pub fn counted<N>(count: N, one: &str, many: &str) -> String
where
    N: fmt::Display + PartialEq + From<u8>,
{
    let what = if count == N::from(1) { one } else { many };
    format!("{count} {what}")
}

/// So many policies, in words.
pub fn policies(count: usize) -> String {
    counted(count, "policy", "policies")
}

/// Reads, parses and checks a configuration file. `definitions` are the macros of `-D`, which the
/// file cannot change.
///
/// # Errors
///
/// Everything that is wrong, and the warnings, in the order of the files; at least one error.
pub fn load(
    path: &str,
    definitions: &[(String, String)],
    files: &dyn Files,
    names: &dyn Names,
) -> Result<Checked, Vec<Diagnostic>> {
    let mut parsed = parse(path, definitions, files);
    check::check(&mut parsed, names, files).ok_or(parsed.diagnostics)
}

/// The long-term secret of one policy; for the `ca` process alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicySecret {
    /// The policy it belongs to.
    pub policy: PolicyName,
    /// The pre-shared key, as octets.
    pub psk: Secret,
}

/// A user who proves by EAP who he is; for the `ca` process alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserSecret {
    /// The EAP identity; unique within a configuration.
    pub name: String,
    /// The password, as octets.
    pub password: Secret,
}

/// A policy's name: the operator's own, or `policy1`, `policy2` by position as iked does.
/// Unique within a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyName(pub String);

impl PolicyName {
    /// Whether it looks like one that a rule has by its place: `policy1`, `ike2`, `ike2.3`.
    pub fn is_by_place(&self) -> bool {
        let rest = self.0.strip_prefix("policy").or_else(|| self.0.strip_prefix("ike"));
        rest.is_some_and(|rest| {
            rest.chars().next().is_some_and(|c| c.is_ascii_digit())
                && rest.chars().all(|c| c.is_ascii_digit() || c == '.')
        })
    }
}

/// A checked configuration without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Config {
    /// The `set` lines.
    pub globals: Globals,
    /// In the order of the file: the last match wins, `quick` ends the search.
    pub policies: Vec<Policy>,
}

/// The `set` lines of iked.conf(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Globals {
    /// `set passive`: never initiate, whatever the policies say.
    pub passive: bool,
    /// `set decouple`: negotiate, but do not touch the kernel's SADB and flows.
    pub decouple: bool,
    /// `set enforcesingleikesa`: a new IKE SA of the same identity replaces the old one.
    pub enforce_single_ike_sa: bool,
    /// `set fragmentation` (RFC 7383).
    pub fragmentation: bool,
    /// `set mobike` (RFC 4555).
    pub mobike: bool,
    /// `set dpd_check_interval`, in seconds; 0 turns liveness checks off.
    pub dpd_check_interval: u32,
    /// `set stickyaddress`: a returning client gets the address it had before.
    pub sticky_address: bool,
    /// `set vendorid`: send a Vendor ID payload.
    pub vendor_id: bool,
    /// `set cert_partial_chain`: a trusted certificate need not be a root.
    pub cert_partial_chain: bool,
    /// `set rsa_pss`: RSA keys sign by RSASSA-PSS where RFC 7427 is spoken.
    pub rsa_pss: bool,
    /// `set cert_expiry_warning`: what expires within so many days is logged.
    pub cert_expiry_warning: u32,
    /// `set ca_workers`: how many processes hold the secrets and sign, up to [`MOST_WORKERS`].
    pub ca_workers: u8,
    /// `set ocsp`.
    pub ocsp: Option<Ocsp>,
}

/// By how many seconds an OCSP answer may lie outside its dates, unless `tolerate` says otherwise:
/// clocks differ.
pub const OCSP_TOLERATE: u32 = 300;

/// The most processes that hold the secrets.
pub const MOST_WORKERS: u8 = 8;

/// `set ocsp`: peers are asked whether their certificates were revoked, by an answer that they got.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ocsp {
    /// The responder: it is for the peers to ask.
    pub url: String,
    /// By how many seconds an answer may lie outside its dates.
    pub tolerate: u32,
    /// After how many seconds an answer is too old, whatever its dates say.
    pub maxage: Option<u32>,
}

impl Default for Globals {
    fn default() -> Self {
        Self {
            passive: false,
            decouple: false,
            enforce_single_ike_sa: false,
            fragmentation: false,
            mobike: true,
            dpd_check_interval: 60,
            sticky_address: false,
            vendor_id: true,
            cert_partial_chain: false,
            rsa_pss: false,
            cert_expiry_warning: 14,
            ca_workers: 1,
            ocsp: None,
        }
    }
}

/// One `ikev2` rule, or what an `ike` rule means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// The version of the protocol.
    pub version: Version,
    /// Who starts.
    pub start: Start,
    /// `quick`: a match ends the search.
    pub quick: bool,
    /// `skip`: not for peers that call; it may still call them.
    pub skip: bool,
    /// `default`: taken when nothing else matches.
    pub default: bool,
    /// `esp` or `ah`.
    pub protocol: SaProtocol,
    /// `tunnel` or `transport`.
    pub mode: Mode,
    /// `ipcomp`: compress before protecting.
    pub ipcomp: bool,
    /// `ah` beside `esp` in an `ike` rule: AH around ESP, with this.
    pub around: Option<IntegrityId>,
    /// `natt`: encapsulate in UDP even where no NAT is found.
    pub force_natt: bool,
    /// `inet` or `inet6`, where the rule says so.
    pub family: Option<Family>,
    /// `rdomain`.
    pub rdomain: Option<u32>,
    /// The flows; at least one.
    pub flows: Vec<Flow>,
    /// `local`; `None` is `any`.
    pub local: Option<Prefix>,
    /// The rule names no `local`: that is the address that the routes lead from, at the moment.
    pub local_by_route: bool,
    /// `peer`; `None` is `any`. A prefix of full length is a fixed peer that can be called.
    pub peer: Option<Prefix>,
    /// `ikesa` proposals in order of preference; never empty.
    pub ike_proposals: Vec<Proposal>,
    /// `childsa` proposals in order of preference; never empty. What the kernel cannot do is left
    /// out when it is proposed, so the default can name everything good.
    pub child_proposals: Vec<Proposal>,
    /// Whether `child_proposals` came from the file (then a transform that the kernel cannot do is
    /// reported) or are the default.
    pub child_proposals_explicit: bool,
    /// `srcid`; without one the local address is the identity.
    pub local_id: Option<Identity>,
    /// `dstid`; without one the peer's address is expected (any identity for `peer any`).
    pub remote_id: Option<Identity>,
    /// `ikeauth`.
    pub auth: Auth,
    /// What only `ike` rules say about it.
    pub ike1: Ike1Auth,
    /// `config`: what the peer is given.
    pub provision: Provision,
    /// Which pre-shared key, where there is one: a mark by which another key is told from the same one. It is
    /// made where the key is read, and says nothing of it.
    pub key_mark: u64,
    /// `request`: what we ask of the peer.
    pub wanted: Vec<Wanted>,
    /// `ikelifetime` in seconds; 0 is never.
    pub ike_lifetime: u32,
    /// `reauth`: at the end of it both sides prove anew who they are, by a new IKE SA.
    pub reauth: bool,
    /// `nonat`: no NAT may be on the way (NO_NATS_ALLOWED, RFC 4555).
    pub no_nat: bool,
    /// `childless`: we open the IKE SA without a child SA where the peer can (RFC 6023).
    pub childless: bool,
    /// `lifetime` and `bytes` of child SAs.
    pub child_lifetime: Lifetime,
    /// `tag`: the pf(4) tag.
    pub tag: Option<String>,
    /// `tap`: the enc(4) unit.
    pub tap: Option<u32>,
    /// `iface`: the sec(4)/if_ipsec(4) interface.
    pub iface: Option<String>,
}

/// The version of the protocol that a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Version {
    /// IKEv1 (`ike`), with the mode of its phase 1. The PRF of an IKE proposal is then its hash,
    /// used with HMAC; the groups of a child proposal are those of PFS.
    V1(Phase1),
    /// IKEv2 (`ikev2`).
    V2,
}

impl Version {
    /// The major version.
    pub fn major(self) -> u8 {
        match self {
            Self::V1(_) => 1,
            Self::V2 => 2,
        }
    }
}

/// How phase 1 of IKEv1 begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase1 {
    /// `main`: six messages, identities encrypted.
    Main,
    /// `aggressive`: three messages, identities in the clear.
    Aggressive,
}

impl Policy {
    /// The interface whose traffic the SAs carry, in place of flows: `iface`, unless that only takes
    /// the addresses that the rule requests. A sec(4) or if_ipsec(4) can do both.
    pub fn sa_iface(&self) -> Option<&String> {
        let carries = |name: &&String| {
            let requests = self.wanted.iter().any(|wanted| wanted.option == CfgOption::Address);
            !requests || name.starts_with("sec") || name.starts_with("ipsec")
        };
        self.iface.as_ref().filter(carries)
    }

    /// Whether a peer that reaches us at this address may mean it.
    pub fn is_reached_at(&self, local: IpAddr) -> bool {
        self.local_by_route || self.local.is_none_or(|prefix| prefix.contains(local))
    }

    /// Whether nothing but the name is different.
    pub fn is_but_for_its_name(&self, other: &Self) -> bool {
        *self == Self { name: self.name.clone(), ..other.clone() }
    }
}

/// Who starts the negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// At once, and again whenever the SA is lost.
    Active,
    /// The peer does.
    Passive,
    /// Traffic does: the flows are installed and the kernel's ACQUIRE starts it (`ondemand`).
    OnDemand,
}

/// The IPsec protocol of a child SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SaProtocol {
    /// RFC 4303.
    Esp,
    /// RFC 4302.
    Ah,
}

/// How a child SA encapsulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// A whole packet within a packet.
    Tunnel,
    /// The payload between two hosts.
    Transport,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

/// One `from … to …` of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// IP protocol; 0 is any.
    pub ip_protocol: u8,
    /// `from`: our side.
    pub local: FlowEnd,
    /// `to`: the peer's side.
    pub remote: FlowEnd,
    /// The address in parentheses after `from`: what the source is translated to before it
    /// enters the tunnel.
    pub srcnat: Option<Prefix>,
}

/// One side of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlowEnd {
    /// The addresses, or `dynamic` (an address that is assigned during the negotiation).
    pub addresses: FlowAddresses,
    /// The ports, inclusive; (0, 65535) is any.
    pub ports: (u16, u16),
}

/// The addresses of one side of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FlowAddresses {
    /// A prefix.
    Prefix(Prefix),
    /// `dynamic`: assigned by configuration payload.
    Dynamic,
}

/// One `ikesa` or `childsa` clause: alternatives of each transform type, each in order of
/// preference. Either all ciphers are AEAD and `integrity` is empty, or none is and it is not
/// (a clause that mixes both becomes two proposals).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proposal {
    /// Ciphers, with the key length in bits where the cipher has several. Empty for AH.
    pub encryption: Vec<(EncryptionId, Option<u16>)>,
    /// PRFs; empty for a child SA.
    pub prf: Vec<PrfId>,
    /// Integrity algorithms; empty with AEAD ciphers.
    pub integrity: Vec<IntegrityId>,
    /// Key exchange groups. For a child SA none at all leaves it to the peer (IKEv2) or means no PFS
    /// (IKEv1), and [`GroupId::NONE`] alone means none in either.
    pub groups: Vec<GroupId>,
    /// For a child SA: extended sequence numbers allowed, and plain ones allowed.
    pub esn: EsnChoice,
}

/// Which sequence numbers a child proposal takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EsnChoice {
    /// `noesn`: 32 bits only.
    No,
    /// `esn`: 64 bits only.
    Yes,
    /// Both offered, 64 bits preferred where the kernel can.
    Either,
}

/// Lifetime of a child SA; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lifetime {
    /// Seconds from establishment.
    pub seconds: u32,
    /// Octets protected.
    pub bytes: u64,
}

/// Who somebody says he is: type and the octets of the ID payload (RFC 7296 section 3.5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The ID type.
    pub id_type: IdType,
    /// The identification data: 4 or 16 octets of an address, a name, DER of a DN, …
    pub data: Vec<u8>,
}
