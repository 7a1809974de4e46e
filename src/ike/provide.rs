//! What one side gives the other for the inside of the tunnel, alike in both versions: addresses of pools,
//! servers, networks; and what of it the host is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::core::Core;
use super::event::{KernelSelector, Output};
use super::frame::Frame;
use super::inner::{Configured, Given, HostChange, HostConfig, Inner};
use super::pool::{Exhausted, Holder, Lease, Range, Wish, ranges};
use super::report::{Disagreement, Event};
use crate::conf::{CfgOption, Family, Policy, Prefix, Provision};

/// The most name servers, networks or domains that we take from a peer, each.
const MOST_TAKEN: usize = 32;

/// The longest domain name, in octets (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;

// ---- what a peer is given ----

/// Gives a peer the addresses that it asks for, each with the one that it would like; they are kept with
/// the IKE SA. None at all where the policy has no pool.
///
/// # Errors
///
/// None is left, or none of that family; it is reported.
pub fn give(
    frame: &mut Frame,
    core: &mut Core,
    holder: &Holder,
    asked: &[(Family, Option<IpAddr>)],
    take_over: bool,
) -> Result<Given, Exhausted> {
    let policy = frame.policy.clone();
    let mut given = Given::default();
    let mut refused = false;
    for (family, preferred) in asked {
        match assign(core, &policy, holder, (*family, *preferred), take_over) {
            Ok(Some(IpAddr::V4(address))) => given.v4 = Some(address),
            Ok(Some(IpAddr::V6(address))) => given.v6 = Some(address),
            Ok(None) => (),
            Err(Exhausted) => refused = true,
        }
    }
    if !given.is_empty() {
        frame.config = Some(Configured::new(Inner::Peers(given)));
        let addresses = given.addresses().map(|address| address.to_string()).collect();
        frame.report(core, Event::AddressesGiven { addresses });
    } else if let Some((family, _)) = asked.first()
        && (refused || !policy.provision.addresses.is_empty())
    {
        let event = Event::Disagreed(no_address(core, &policy.provision, *family));
        frame.report(core, event);
        return Err(Exhausted);
    }
    Ok(given)
}

/// An address of a pool; `None` if there is no pool of this family.
fn assign(
    core: &mut Core,
    policy: &Policy,
    holder: &Holder,
    (family, preferred): (Family, Option<IpAddr>),
    take_over: bool,
) -> Result<Option<IpAddr>, Exhausted> {
    let ipv4 = family == Family::Inet;
    let pools: Vec<Range> = ranges(policy).filter(|range| range.first.is_ipv4() == ipv4).collect();
    if pools.is_empty() {
        return Ok(None);
    }
    let holder = holder.clone();
    let reserved = reserved(&policy.provision);
    let wish =
        Wish { pools: &pools, reserved: &reserved, holder: holder.clone(), preferred, take_over };
    let (address, news) = core.pools.take(&wish)?;
    if news {
        core.outputs.push_back(Output::Lease(Lease { address, holder }));
    }
    Ok(Some(address))
}

/// What stands in the policy by itself belongs to a server, even if it lies within a pool.
fn reserved(provision: &Provision) -> Vec<IpAddr> {
    let Provision { name_servers, netbios_servers, dhcp_servers, access_servers, .. } = provision;
    let all = [name_servers, netbios_servers, dhcp_servers, access_servers];
    all.into_iter().flatten().copied().collect()
}

/// What to say when a peer that asks for an address gets none.
pub fn no_address(core: &Core, provision: &Provision, family: Family) -> Box<Disagreement> {
    let ipv4 = family == Family::Inet;
    let pools = provision.addresses.iter().map(|pool| {
        let (first, last) = pool.range();
        format!("config address {} ({first} to {last})", pool.network())
    });
    let family = if ipv4 { "IPv4" } else { "IPv6" };
    let has_pool = provision.addresses.iter().any(|pool| pool.written().is_ipv4() == ipv4);
    let (mismatch, advice) = match has_pool {
        true => (
            format!("no {family} address is left; given out: {}", core.pools.held()),
            "give `config address` a larger network, or end IKE SAs that nobody uses (`oakctl reset \
             id`)",
        ),
        false => (
            format!("the peer asks for an {family} address, and this policy has none to give"),
            "add `config address` of that family here, or have the peer ask for the other one",
        ),
    };
    Box::new(Disagreement {
        about: "an address for the peer".into(),
        ours: pools.collect(),
        theirs: vec![format!("asks for an {family} address")],
        mismatch,
        advice: advice.into(),
    })
}

// ---- what we are given ----

/// What a peer gave us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// Addresses within the tunnel.
    pub given: Given,
    /// The length of the inner IPv4 network's prefix.
    pub netmask: Option<u8>,
    /// DNS servers.
    pub name_servers: Vec<IpAddr>,
    /// Networks that are reached through the tunnel; all, if none is named.
    pub subnets: Vec<Prefix>,
    /// The domains that the name servers are for.
    pub domains: Vec<String>,
}

impl Granted {
    /// Only what was asked for, and only what can be right.
    pub fn wanted(mut self, policy: &Policy) -> Self {
        let wants = |option| policy.wanted.iter().any(|wanted| wanted.option == option);
        let wants_address = |address: IpAddr| {
            let mut all = policy.wanted.iter();
            usable(address)
                && all.any(|it| it.option == CfgOption::Address && it.family == family(address))
        };
        self.given.v4 = self.given.v4.filter(|it| wants_address((*it).into()));
        self.given.v6 = self.given.v6.filter(|it| wants_address((*it).into()));
        self.netmask = self.netmask.filter(|_| wants(CfgOption::Netmask));
        let servers = wants(CfgOption::NameServer);
        self.name_servers.retain(|address| servers && usable(*address));
        let (subnets, domains) = (wants(CfgOption::ProtectedSubnet), wants(CfgOption::Domain));
        self.subnets.retain(|_| subnets);
        self.domains.retain(|_| domains);
        self.name_servers.truncate(MOST_TAKEN);
        self.subnets.truncate(MOST_TAKEN);
        self.domains.truncate(MOST_TAKEN);
        self
    }
}

/// The length of the prefix that a netmask stands for; none if it has holes.
pub fn mask_length(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let length = u8::try_from(bits.leading_ones()).ok();
    length.filter(|_| bits.leading_ones() == bits.count_ones())
}

/// The netmask of a prefix's length.
pub fn mask(length: u8) -> Ipv4Addr {
    let zeroes = 32u32.saturating_sub(length.into());
    u32::MAX.checked_shl(zeroes).unwrap_or(0).into()
}

/// Has the host use what the peer gave us for this traffic.
pub fn apply(frame: &mut Frame, core: &mut Core, flows: &[KernelSelector], granted: Granted) {
    let Granted { given, netmask, name_servers, subnets, domains } = granted;
    if given.is_empty() && name_servers.is_empty() {
        return;
    }
    let addresses: Vec<_> = given
        .addresses()
        .map(|address| match address {
            IpAddr::V4(_) => (address, netmask.unwrap_or(32)),
            IpAddr::V6(_) => (address, 128),
        })
        .collect();
    let printed = |all: &[IpAddr]| all.iter().map(ToString::to_string).collect();
    let event = Event::AddressesTaken {
        addresses: addresses.iter().map(|(address, _)| address.to_string()).collect(),
        name_servers: printed(&name_servers),
        iface: frame.policy.iface.clone(),
    };
    frame.report(core, event);
    let mut routes: Vec<Prefix> = Vec::new();
    for route in flows.iter().flat_map(|flow| within(flow.dst, &subnets)) {
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    let key = core.number();
    let config = HostConfig {
        key,
        policy: frame.policy.name.clone(),
        iface: frame.policy.iface.clone(),
        peer: frame.remote.ip(),
        addresses,
        routes,
        name_servers,
        domains,
    };
    let configured = frame.config.get_or_insert_with(|| Configured::new(Inner::Outer));
    configured.applied = Some(key);
    core.outputs.push_back(Output::Host(HostChange::Apply(Box::new(config))));
}

/// Where the peer names its networks, only these are sent through the tunnel (RFC 7296 §3.15.1).
fn within(flow: Prefix, subnets: &[Prefix]) -> Vec<Prefix> {
    let common = |subnet: &Prefix| match (flow.length() <= subnet.length(), subnet) {
        (true, subnet) if flow.contains(subnet.address()) => Some(*subnet),
        (false, subnet) if subnet.contains(flow.address()) => Some(flow),
        _ => None,
    };
    let parts: Vec<_> = subnets.iter().filter_map(common).collect();
    match parts.is_empty() {
        true => vec![flow],
        false => parts,
    }
}

/// An address that a host can have.
fn usable(address: IpAddr) -> bool {
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let none = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    !(none.contains(&address)
        || broadcast
        || link_local
        || address.is_loopback()
        || address.is_multicast())
}

/// A domain name that can go into a resolver's file.
pub fn domain(octets: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(octets).ok()?.trim_end_matches('.');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(plain);
    (name.len() <= LONGEST_NAME && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

/// The family of an address.
pub fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::Inet } else { Family::Inet6 }
}

/// What to say when the peer gives no address of the families that we asked for (IPv4, IPv6); `has`
/// are those of which it says that it has some.
pub fn none_given((v4, v6): (bool, bool), (has_v4, has_v6): (bool, bool)) -> Box<Disagreement> {
    let families = |v4, v6| match (v4, v6) {
        (true, true) => "IPv4 and IPv6",
        (true, false) => "IPv4",
        _ => "IPv6",
    };
    let asked = families(v4, v6);
    let only_others = (has_v4 || has_v6) && !(has_v4 && v4) && !(has_v6 && v6);
    let (theirs, mismatch, advice) = match only_others {
        true => {
            let has = families(has_v4, has_v6);
            let any = if has_v4 { "0.0.0.0" } else { "::" };
            (
                format!("gives {has} only"),
                format!("we ask for an address of {asked}, and the peer has some of {has} only"),
                format!("write `request address {any}`, or give the peer a pool of {asked}"),
            )
        }
        false => (
            "gives none".into(),
            "the peer's answer has no address of a family that we asked for".into(),
            "give the peer a pool for this client (oakd, OpenIKED: `config address`; strongSwan: \
             `pools`), or leave out `request address` here"
                .into(),
        ),
    };
    Box::new(Disagreement {
        about: "an address for us".into(),
        ours: vec![format!("request address ({asked})")],
        theirs: vec![theirs],
        mismatch,
        advice,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
    }

    #[test]
    fn networks_that_the_peer_names_narrow_what_is_routed() {
        let all = prefix("0.0.0.0/0");
        let named = [prefix("10.1.0.0/16"), prefix("2001:db8::/32")];
        assert_eq!(within(all, &[]), [all]);
        assert_eq!(within(all, &named), [prefix("10.1.0.0/16")]);
        assert_eq!(within(prefix("10.1.2.0/24"), &named), [prefix("10.1.2.0/24")]);
        assert_eq!(within(prefix("10.9.0.0/24"), &named), [prefix("10.9.0.0/24")]);
    }

    #[test]
    fn only_names_are_taken_for_domains() {
        assert_eq!(domain(b"Corp.Example.net.").as_deref(), Some("corp.example.net"));
        for wrong in [&b"a\nnameserver 1.2.3.4"[..], b"", b"a..b", b"a b", b"\xff", b"$(id).x"] {
            assert_eq!(domain(wrong), None);
        }
    }

    #[test]
    fn masks_are_lengths() {
        for length in 0..=32 {
            assert_eq!(mask_length(mask(length)), Some(length));
        }
        assert_eq!(mask_length([255, 0, 255, 0].into()), None);
    }
}
