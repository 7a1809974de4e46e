//! What the configuration asks of the world: files, names, interfaces. Handed in, so that the
//! language itself is pure.

use std::net::IpAddr;

use super::Prefix;

/// A file as it was read, with what decides whether it may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileText {
    /// Its octets.
    pub octets: Vec<u8>,
    /// Permission bits (`st_mode & 0o7777`).
    pub mode: u32,
    /// The owner's user ID.
    pub uid: u32,
}

/// Permission bits that a file with secrets must not have; the group may read, as iked has it.
pub(super) const SECRET_MODE: u32 = 0o037;

/// Where files come from.
pub trait Files {
    /// Reads a whole file; the error in words. `-` is the standard input where there is one.
    fn read(&self, path: &str) -> Result<FileText, String>;

    /// Whether this user may own a file with secrets: root and whoever runs the program.
    fn may_own_secrets(&self, uid: u32) -> bool;
}

/// An address that an interface has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface's own name, also where a group was asked for.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// The prefix length of its network.
    pub length: u8,
}

/// Where names are looked up.
pub trait Names {
    /// The addresses of a host name; empty if it does not resolve.
    fn host(&self, name: &str) -> Vec<IpAddr>;

    /// The addresses of an interface, or of all interfaces of a group; `None` if there is neither.
    fn interface(&self, name: &str) -> Option<Vec<InterfaceAddress>>;

    /// The port of a service for tcp or udp (services(5)).
    fn service(&self, name: &str) -> Option<u16>;

    /// The number of an IP protocol (protocols(5)).
    fn protocol(&self, name: &str) -> Option<u8>;

    /// The name of a port, for tcp (6) or udp (17).
    fn service_name(&self, port: u16, protocol: u8) -> Option<String>;

    /// The name of an IP protocol.
    fn protocol_name(&self, number: u8) -> Option<String>;

    /// This host's name: the identity of rules that have neither `srcid` nor `psk`.
    fn hostname(&self) -> Option<String>;
}

/// Looks nothing up but the well-known protocols and services below: for tests, and where
/// configuration must not depend on the network.
#[derive(Debug, Clone, Copy, Default)]
pub struct NumericNames;

/// IP protocols that every system knows (IANA's protocol numbers).
const PROTOCOLS: &[(&str, u8)] = &[
    ("ip", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ipencap", 4),
    ("tcp", 6),
    ("udp", 17),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("icmp6", 58),
    ("ospf", 89),
    ("etherip", 97),
    ("ipcomp", 108),
    ("carp", 112),
    ("l2tp", 115),
    ("sctp", 132),
];

/// Services that every system knows.
const SERVICES: &[(&str, u16)] = &[
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("tftp", 69),
    ("http", 80),
    ("www", 80),
    ("ntp", 123),
    ("snmp", 161),
    ("bgp", 179),
    ("https", 443),
    ("isakmp", 500),
    ("syslog", 514),
    ("l2tp", 1701),
    ("radius", 1812),
    ("ipsec-nat-t", 4500),
];

impl Names for NumericNames {
    fn host(&self, _name: &str) -> Vec<IpAddr> {
        Vec::new()
    }

    fn interface(&self, _name: &str) -> Option<Vec<InterfaceAddress>> {
        None
    }

    fn service(&self, name: &str) -> Option<u16> {
        SERVICES.iter().find(|(n, _)| *n == name).map(|(_, port)| *port)
    }

    fn protocol(&self, name: &str) -> Option<u8> {
        PROTOCOLS.iter().find(|(n, _)| *n == name).map(|(_, number)| *number)
    }

    fn service_name(&self, port: u16, _protocol: u8) -> Option<String> {
        SERVICES.iter().find(|(_, p)| *p == port).map(|(name, _)| (*name).to_owned())
    }

    fn protocol_name(&self, number: u8) -> Option<String> {
        PROTOCOLS.iter().find(|(_, n)| *n == number).map(|(name, _)| (*name).to_owned())
    }

    fn hostname(&self) -> Option<String> {
        None
    }
}

/// Files that exist in memory only: for tests and for text from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles(pub Vec<(String, FileText)>);

impl MemoryFiles {
    /// One more file, private to its owner.
    pub fn with(mut self, path: &str, text: impl Into<Vec<u8>>) -> Self {
        let file = FileText { octets: text.into(), mode: 0o600, uid: 0 };
        self.0.push((path.to_owned(), file));
        self
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &str) -> Result<FileText, String> {
        let found = self.0.iter().find(|(name, _)| name == path);
        found.map(|(_, file)| file.clone()).ok_or_else(|| "no such file".to_owned())
    }

    fn may_own_secrets(&self, uid: u32) -> bool {
        uid == 0
    }
}

/// What a word of the language means as addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Addresses {
    /// These prefixes; never empty.
    Prefixes(Vec<Prefix>),
    /// A name that has no address now.
    Unresolved,
    /// Neither address nor name; the reason.
    Bad(String),
}

/// The addresses of a host word: a literal with or without prefix length, an interface (`name`, or
/// `name:network` for its networks), or a host name.
pub(super) fn addresses(word: &str, length: Option<i64>, names: &dyn Names) -> Addresses {
    if let Some((address, bits)) = literal(word) {
        let full = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(i64::from(bits.unwrap_or(full)));
        let prefix = u8::try_from(length).ok().and_then(|l| Prefix::new(address, l));
        return match prefix {
            Some(prefix) => Addresses::Prefixes(vec![prefix]),
            None => Addresses::Bad(format!("a prefix length of 0 to {full}")),
        };
    }
    let (name, network) = match word.strip_suffix(":network") {
        Some(name) => (name, true),
        None => (word, false),
    };
    if let Some(found) = names.interface(name) {
        let prefixes: Vec<Prefix> = found
            .into_iter()
            .filter(|it| !is_link_local(it.address))
            .filter_map(|it| match (network, length) {
                (true, _) => Prefix::new(it.address, it.length),
                (false, Some(length)) => Prefix::new(it.address, u8::try_from(length).ok()?),
                (false, None) => Some(Prefix::host(it.address)),
            })
            .collect();
        return if prefixes.is_empty() {
            Addresses::Unresolved
        } else {
            Addresses::Prefixes(prefixes)
        };
    }
    if !is_host_name(word) {
        return Addresses::Bad("an address, a host name or an interface".to_owned());
    }
    let found = names.host(word);
    if found.is_empty() {
        return Addresses::Unresolved;
    }
    let prefix = |address| match length {
        Some(length) => Prefix::new(address, u8::try_from(length).ok()?),
        None => Some(Prefix::host(address)),
    };
    let prefixes: Vec<Prefix> = found.into_iter().filter_map(prefix).collect();
    match prefixes.is_empty() {
        true => Addresses::Bad("a prefix length of that address".to_owned()),
        false => Addresses::Prefixes(prefixes),
    }
}

/// An address as inet_net_pton(3) takes it: missing octets of an IPv4 network are zero, and then
/// the length follows from their number.
pub(super) fn literal(word: &str) -> Option<(IpAddr, Option<u8>)> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some((address, None));
    }
    let parts: Vec<&str> = word.split('.').collect();
    if parts.len() > 3 {
        return None;
    }
    let mut octets = [0u8; 4];
    for (octet, part) in octets.iter_mut().zip(&parts) {
        *octet = part.parse().ok()?;
    }
    Some((IpAddr::from(octets), Some(8 * parts.len() as u8)))
}

pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80)
}

/// Letters, digits, hyphens and dots; not all digits and dots.
fn is_host_name(word: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !word.is_empty()
        && word.len() <= 255
        && word.chars().all(allowed)
        && word.chars().any(|c| c.is_ascii_alphabetic())
}
