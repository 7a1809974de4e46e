//! What the configuration payload carries (RFC 7296 §3.15): the `config` and `request` options of
//! iked.conf(5).

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{Family, Prefix};
use crate::wire::iana::v2::CfgAttribute;

/// What may be given to a peer or asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CfgOption {
    /// `address`: an address in the inner network.
    Address,
    /// `netmask` of the inner network, IPv4 only.
    Netmask,
    /// `name-server`: DNS.
    NameServer,
    /// `netbios-server`: WINS.
    NetbiosServer,
    /// `dhcp-server`.
    DhcpServer,
    /// `protected-subnet`: a network that is reached through the gateway.
    ProtectedSubnet,
    /// `access-server`: an attribute that iked knows and RFC 7296 does not.
    AccessServer,
    /// `domain`: a DNS name that the name servers are for (RFC 8598).
    Domain,
}

/// One row: the option, its word, its attribute in each family.
type Row = (CfgOption, &'static str, Option<CfgAttribute>, Option<CfgAttribute>);

/// The options, in the order of iked.conf(5).
const OPTIONS: &[Row] = {
    use CfgAttribute as A;
    &[
        (
            CfgOption::Address,
            "address",
            Some(A::INTERNAL_IP4_ADDRESS),
            Some(A::INTERNAL_IP6_ADDRESS),
        ),
        (CfgOption::Netmask, "netmask", Some(A::INTERNAL_IP4_NETMASK), None),
        (
            CfgOption::NameServer,
            "name-server",
            Some(A::INTERNAL_IP4_DNS),
            Some(A::INTERNAL_IP6_DNS),
        ),
        (
            CfgOption::NetbiosServer,
            "netbios-server",
            Some(A::INTERNAL_IP4_NBNS),
            Some(A::INTERNAL_IP6_NBNS),
        ),
        (
            CfgOption::DhcpServer,
            "dhcp-server",
            Some(A::INTERNAL_IP4_DHCP),
            Some(A::INTERNAL_IP6_DHCP),
        ),
        (
            CfgOption::ProtectedSubnet,
            "protected-subnet",
            Some(A::INTERNAL_IP4_SUBNET),
            Some(A::INTERNAL_IP6_SUBNET),
        ),
        (
            CfgOption::AccessServer,
            "access-server",
            Some(A::INTERNAL_IP4_SERVER),
            Some(A::INTERNAL_IP6_SERVER),
        ),
        (CfgOption::Domain, "domain", Some(A::INTERNAL_DNS_DOMAIN), Some(A::INTERNAL_DNS_DOMAIN)),
    ]
};

impl CfgOption {
    /// The option of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        OPTIONS.iter().find(|row| row.1 == word).map(|row| row.0)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        OPTIONS.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// All words.
    pub fn words() -> impl Iterator<Item = &'static str> {
        OPTIONS.iter().map(|row| row.1)
    }

    /// The attribute that carries it, if there is one in this family.
    pub fn attribute(self, family: Family) -> Option<CfgAttribute> {
        let row = OPTIONS.iter().find(|row| row.0 == self)?;
        if family == Family::Inet { row.2 } else { row.3 }
    }
}

/// `config`: what peers of a policy are given. All lists are in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Provision {
    /// Single addresses and pools.
    pub addresses: Vec<AddressPool>,
    /// The IPv4 netmask.
    pub netmask: Option<Ipv4Addr>,
    /// DNS servers.
    pub name_servers: Vec<IpAddr>,
    /// WINS servers.
    pub netbios_servers: Vec<IpAddr>,
    /// DHCP servers.
    pub dhcp_servers: Vec<IpAddr>,
    /// Networks behind us beyond those of the flows.
    pub subnets: Vec<Prefix>,
    /// Access servers.
    pub access_servers: Vec<IpAddr>,
    /// DNS names that the name servers are for.
    pub domains: Vec<String>,
}

impl Provision {
    /// Whether there is nothing to give.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Addresses to give to peers: one, or those of a network from a certain one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AddressPool {
    first: IpAddr,
    network: Prefix,
}

impl AddressPool {
    /// The pool that `config address ADDRESS/LENGTH` means; `None` if the length exceeds the
    /// family's.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        Some(Self { first: address, network: Prefix::new(address, length)? })
    }

    /// The network.
    pub fn network(&self) -> Prefix {
        self.network
    }

    /// The address as it was written.
    pub fn written(&self) -> IpAddr {
        self.first
    }

    /// The first and the last address to give, inclusive. In a network of more than two addresses
    /// its own and the broadcast address (IPv4), or its own alone (IPv6), are left out.
    pub fn range(&self) -> (IpAddr, IpAddr) {
        match (self.first, self.network.address(), self.network.last()) {
            (IpAddr::V4(first), IpAddr::V4(low), IpAddr::V4(high)) => {
                let spare = u32::from(self.network.length() < 31);
                let low = u32::from(low).saturating_add(spare).max(u32::from(first));
                let high = u32::from(high).saturating_sub(spare);
                (Ipv4Addr::from(low.min(high)).into(), Ipv4Addr::from(high).into())
            }
            (IpAddr::V6(first), IpAddr::V6(low), high) => {
                let spare = u128::from(self.network.length() < 127);
                let low = u128::from(low).saturating_add(spare).max(u128::from(first));
                (IpAddr::V6(low.into()), high)
            }
            (_, low, high) => (low, high),
        }
    }
}

/// `request`: one thing that we ask of the peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wanted {
    /// What.
    pub option: CfgOption,
    /// In which family.
    pub family: Family,
    /// Which we would like; `None` takes any.
    pub address: Option<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(address: &str, length: u8) -> (String, String) {
        let pool = AddressPool::new(address.parse().unwrap(), length).unwrap();
        let (first, last) = pool.range();
        (first.to_string(), last.to_string())
    }

    #[test]
    fn a_pool_leaves_out_what_is_no_host() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(range("10.0.0.5", 32), pair("10.0.0.5", "10.0.0.5"));
        assert_eq!(range("10.0.0.0", 24), pair("10.0.0.1", "10.0.0.254"));
        assert_eq!(range("10.0.0.100", 24), pair("10.0.0.100", "10.0.0.254"));
        assert_eq!(range("10.0.0.255", 24), pair("10.0.0.254", "10.0.0.254"));
        assert_eq!(range("10.0.0.4", 31), pair("10.0.0.4", "10.0.0.5"));
        assert_eq!(range("2001:db8::", 126), pair("2001:db8::1", "2001:db8::3"));
        assert_eq!(range("2001:db8::9", 128), pair("2001:db8::9", "2001:db8::9"));
    }
}
