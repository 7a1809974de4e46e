//! The configuration payload (RFC 7296 §2.19, §3.15; RFC 8598): what a peer is given, what we ask for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::established::{Established, Task};
use super::rules::Bag;
use crate::conf::{CfgOption, Family, Policy, Prefix, Provision};
use crate::ike::core::Core;
use crate::ike::event::{KernelSelector, Output};
use crate::ike::inner::{Configured, Given, HostChange, HostConfig, Inner};
use crate::ike::pool::{Exhausted, Holder, Lease, Range, Wish, ranges};
use crate::ike::report::{Disagreement, Event, Gone};
use crate::ike::sa::Frame;
use crate::wire::iana::v2::{CfgAttribute, CfgType, NotifyType};
use crate::wire::v2::{Config, ConfigAttribute, Id, Notify, Payload};

/// The most name servers, networks or domains that we take from a peer, each.
const MOST_TAKEN: usize = 32;

/// The longest domain name, in octets (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;

// ---- what a peer is given ----

/// Answers the peer's request for configuration. The addresses it gets are kept with the IKE SA.
///
/// # Errors
///
/// What to tell the peer instead of giving it a child SA; it is reported already.
pub fn serve(
    frame: &mut Frame,
    core: &mut Core,
    who: &Id,
    bag: &Bag,
) -> Result<Option<Payload>, NotifyType> {
    let request = bag.cp.as_ref().filter(|cp| cp.cfg_type == CfgType::CFG_REQUEST);
    let policy = frame.policy.clone();
    let Some(request) = request.filter(|_| !policy.provision.is_empty()) else { return Ok(None) };
    let take_over = bag.has(NotifyType::INITIAL_CONTACT)
        || core.globals.sticky_address
        || core.globals.enforce_single_ike_sa;
    let asked = |attribute| request.attributes.iter().find(|it| it.attribute == attribute);
    let v4 = asked(CfgAttribute::INTERNAL_IP4_ADDRESS);
    let v6 = asked(CfgAttribute::INTERNAL_IP6_ADDRESS);
    let mut given = Given::default();
    let mut refused = None;
    for wanted in [v4, v6].into_iter().flatten() {
        match assign(core, &policy, who, wanted, take_over) {
            Ok(Some(IpAddr::V4(address))) => given.v4 = Some(address),
            Ok(Some(IpAddr::V6(address))) => given.v6 = Some(address),
            Ok(None) => (),
            Err(Exhausted) => refused = Some(Exhausted),
        }
    }
    let asks = v4.is_some() || v6.is_some();
    if !given.is_empty() {
        frame.config = Some(Configured::new(Inner::Peers(given)));
        let addresses = given.addresses().map(|address| address.to_string()).collect();
        frame.report(core, Event::AddressesGiven { addresses });
    } else if asks && (refused.is_some() || !policy.provision.addresses.is_empty()) {
        let event = Event::Disagreed(no_address(core, &policy.provision, v4.is_some()));
        frame.report(core, event);
        return Err(NotifyType::INTERNAL_ADDRESS_FAILURE);
    }
    let domains = asked(CfgAttribute::INTERNAL_DNS_DOMAIN).is_some();
    let attributes = attributes(&policy.provision, given, domains);
    Ok(Some(Payload::Config(Config { cfg_type: CfgType::CFG_REPLY, attributes })))
}

/// Which address families a peer that asks for an address can be given here (RFC 8983 §5).
pub fn families(policy: &Policy, bag: &Bag) -> Vec<Payload> {
    let request = bag.cp.as_ref().filter(|cp| cp.cfg_type == CfgType::CFG_REQUEST);
    let attributes = request.map(|cp| &*cp.attributes).unwrap_or_default();
    let addresses = [CfgAttribute::INTERNAL_IP4_ADDRESS, CfgAttribute::INTERNAL_IP6_ADDRESS];
    if !attributes.iter().any(|it| addresses.contains(&it.attribute)) {
        return Vec::new();
    }
    let has = |ipv4| ranges(policy).any(|range| range.first.is_ipv4() == ipv4);
    let rows = [(true, NotifyType::IP4_ALLOWED), (false, NotifyType::IP6_ALLOWED)];
    let allowed = rows.into_iter().filter(|(ipv4, _)| has(*ipv4));
    allowed.map(|(_, notify)| Payload::Notify(Notify::new(notify))).collect()
}

/// An address of a pool; `None` if there is no pool of this family.
fn assign(
    core: &mut Core,
    policy: &Policy,
    who: &Id,
    wanted: &ConfigAttribute,
    take_over: bool,
) -> Result<Option<IpAddr>, Exhausted> {
    let ipv4 = wanted.attribute == CfgAttribute::INTERNAL_IP4_ADDRESS;
    let pools: Vec<Range> = ranges(policy).filter(|range| range.first.is_ipv4() == ipv4).collect();
    if pools.is_empty() {
        return Ok(None);
    }
    let holder = Holder::of(who);
    let reserved = reserved(&policy.provision);
    let preferred = wanted.to_address().map(|(address, _)| address);
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

/// Everything that a peer is told.
fn attributes(provision: &Provision, given: Given, domains: bool) -> Vec<ConfigAttribute> {
    let mut all = Vec::new();
    if let Some(address) = given.v4 {
        all.push(ConfigAttribute::address(CfgAttribute::INTERNAL_IP4_ADDRESS, address.into()));
        all.extend(
            provision.netmask.map(|mask| {
                ConfigAttribute::address(CfgAttribute::INTERNAL_IP4_NETMASK, mask.into())
            }),
        );
    }
    if let Some(address) = given.v6 {
        all.push(ConfigAttribute::prefix(CfgAttribute::INTERNAL_IP6_ADDRESS, address, 128));
    }
    let servers = [
        (CfgOption::NameServer, &provision.name_servers),
        (CfgOption::NetbiosServer, &provision.netbios_servers),
        (CfgOption::DhcpServer, &provision.dhcp_servers),
        (CfgOption::AccessServer, &provision.access_servers),
    ];
    for (option, addresses) in servers {
        all.extend(addresses.iter().filter_map(|address| {
            let attribute = option.attribute(family(*address))?;
            Some(ConfigAttribute::address(attribute, *address))
        }));
    }
    all.extend(provision.subnets.iter().map(subnet));
    if domains {
        all.extend(provision.domains.iter().map(|domain| ConfigAttribute {
            attribute: CfgAttribute::INTERNAL_DNS_DOMAIN,
            value: domain.as_bytes().to_vec(),
        }));
    }
    all
}

/// INTERNAL_IP4_SUBNET is an address and a netmask, INTERNAL_IP6_SUBNET an address and a length.
fn subnet(prefix: &Prefix) -> ConfigAttribute {
    match prefix.address() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.length())).unwrap_or(0);
            let value = [address.octets(), mask.to_be_bytes()].concat();
            ConfigAttribute { attribute: CfgAttribute::INTERNAL_IP4_SUBNET, value }
        }
        IpAddr::V6(address) => {
            let attribute = CfgAttribute::INTERNAL_IP6_SUBNET;
            ConfigAttribute::prefix(attribute, address, prefix.length())
        }
    }
}

fn no_address(core: &Core, provision: &Provision, ipv4: bool) -> Box<Disagreement> {
    let pools = provision.addresses.iter().map(|pool| {
        let (first, last) = pool.range();
        format!("config address {} ({first} to {last})", pool.network())
    });
    let family = if ipv4 { "IPv4" } else { "IPv6" };
    let has_pool = provision.addresses.iter().any(|pool| pool.written().is_ipv4() == ipv4);
    let (mismatch, advice) = match has_pool {
        true => (
            format!("no {family} address is left: {} are out", core.pools.held()),
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

// ---- what we ask for ----

/// Our request, if the policy has one.
pub fn request(policy: &Policy) -> Option<Payload> {
    let attributes: Vec<_> = policy
        .wanted
        .iter()
        .filter_map(|wanted| {
            let attribute = wanted.option.attribute(wanted.family)?;
            Some(match wanted.address {
                None => ConfigAttribute::empty(attribute),
                Some(IpAddr::V6(address)) if wanted.option == CfgOption::Address => {
                    ConfigAttribute::prefix(attribute, address, 128)
                }
                Some(address) => ConfigAttribute::address(attribute, address),
            })
        })
        .collect();
    let cfg_type = CfgType::CFG_REQUEST;
    (!attributes.is_empty()).then_some(Payload::Config(Config { cfg_type, attributes }))
}

/// What the peer gave us, of what we asked for.
#[derive(Debug, Default)]
pub struct Reply {
    given: Given,
    netmask: Option<u8>,
    name_servers: Vec<IpAddr>,
    subnets: Vec<Prefix>,
    domains: Vec<String>,
}

/// Takes the peer's reply; from now on `dynamic` stands for the addresses that it gives.
///
/// # Errors
///
/// Why there can be no child SA.
pub fn accept(frame: &mut Frame, bag: &Bag) -> Result<Reply, Box<Disagreement>> {
    let policy = frame.policy.clone();
    let reply = bag.cp.as_ref().filter(|cp| cp.cfg_type == CfgType::CFG_REPLY);
    let reply = reply.map(|config| read(config, &policy)).unwrap_or_default();
    if let Some(Inner::Asked { v4, v6 }) = Inner::asked(&policy) {
        if reply.given.is_empty() {
            frame.config = None;
            return Err(none_given((v4, v6), bag));
        }
        frame.config = Some(Configured::new(Inner::Ours(reply.given)));
    }
    Ok(reply)
}

/// The peer gives no child SA because it has no address of a family that we ask for, and says which
/// it has (RFC 8983).
pub fn refused(policy: &Policy, bag: &Bag) -> Option<Box<Disagreement>> {
    let Some(Inner::Asked { v4, v6 }) = Inner::asked(policy) else { return None };
    let allowed = [NotifyType::IP4_ALLOWED, NotifyType::IP6_ALLOWED].map(|it| bag.has(it));
    let other = allowed != [false, false] && !(allowed[0] && v4) && !(allowed[1] && v6);
    other.then(|| none_given((v4, v6), bag))
}

impl Established {
    /// Addresses are only given with IKE_AUTH: an IKE SA that was to have some and has none is of no
    /// use. It is tried again later.
    pub fn end_without_address(&mut self, frame: &mut Frame, core: &mut Core) {
        self.want(Task::DeleteIke(Gone::Failed));
        self.advance(frame, core);
    }
}

/// Has the host use what the peer gave us for this traffic.
pub fn apply(frame: &mut Frame, core: &mut Core, flows: &[KernelSelector], reply: Reply) {
    let Reply { given, netmask, name_servers, subnets, domains } = reply;
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

/// Only what was asked for is taken, and only what can be right.
fn read(config: &Config, policy: &Policy) -> Reply {
    let wants = |option| policy.wanted.iter().any(|wanted| wanted.option == option);
    let wants_address = |address: IpAddr| {
        let mut all = policy.wanted.iter();
        usable(address)
            && all.any(|it| it.option == CfgOption::Address && it.family == family(address))
    };
    let mut reply = Reply::default();
    for attribute in &config.attributes {
        let address = attribute.to_address();
        match (attribute.attribute, address) {
            (CfgAttribute::INTERNAL_IP4_ADDRESS, Some((IpAddr::V4(v4), _)))
                if wants_address(v4.into()) =>
            {
                reply.given.v4.get_or_insert(v4);
            }
            (CfgAttribute::INTERNAL_IP6_ADDRESS, Some((IpAddr::V6(v6), _)))
                if wants_address(v6.into()) =>
            {
                reply.given.v6.get_or_insert(v6);
            }
            (CfgAttribute::INTERNAL_IP4_NETMASK, Some((IpAddr::V4(mask), None)))
                if wants(CfgOption::Netmask) =>
            {
                let bits = u32::from(mask);
                let length = u8::try_from(bits.leading_ones()).ok();
                reply.netmask = length.filter(|_| bits.leading_ones() == bits.count_ones());
            }
            (
                CfgAttribute::INTERNAL_IP4_DNS | CfgAttribute::INTERNAL_IP6_DNS,
                Some((address, None)),
            ) if wants(CfgOption::NameServer) && usable(address) => {
                reply.name_servers.push(address);
            }
            (
                CfgAttribute::INTERNAL_IP4_SUBNET | CfgAttribute::INTERNAL_IP6_SUBNET,
                Some((address, Some(length))),
            ) if wants(CfgOption::ProtectedSubnet) => {
                reply.subnets.extend(Prefix::new(address, length));
            }
            (CfgAttribute::INTERNAL_DNS_DOMAIN, _) if wants(CfgOption::Domain) => {
                reply.domains.extend(domain(&attribute.value));
            }
            _ => (),
        }
    }
    reply.name_servers.truncate(MOST_TAKEN);
    reply.subnets.truncate(MOST_TAKEN);
    reply.domains.truncate(MOST_TAKEN);
    reply
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
fn domain(octets: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(octets).ok()?.trim_end_matches('.');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(plain);
    (name.len() <= LONGEST_NAME && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::Inet } else { Family::Inet6 }
}

fn none_given((v4, v6): (bool, bool), bag: &Bag) -> Box<Disagreement> {
    let families = |v4, v6| match (v4, v6) {
        (true, true) => "IPv4 and IPv6",
        (true, false) => "IPv4",
        _ => "IPv6",
    };
    let asked = families(v4, v6);
    let (has_v4, has_v6) = (bag.has(NotifyType::IP4_ALLOWED), bag.has(NotifyType::IP6_ALLOWED));
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
    fn a_subnet_goes_and_comes_back() {
        for text in ["10.1.0.0/16", "0.0.0.0/0", "10.0.0.1/32", "2001:db8::/32"] {
            let prefix = prefix(text);
            let wanted = Some((prefix.address(), Some(prefix.length())));
            assert_eq!(subnet(&prefix).to_address(), wanted, "{text}");
        }
    }

    #[test]
    fn only_names_are_taken_for_domains() {
        assert_eq!(domain(b"Corp.Example.net.").as_deref(), Some("corp.example.net"));
        for wrong in [&b"a\nnameserver 1.2.3.4"[..], b"", b"a..b", b"a b", b"\xff", b"$(id).x"] {
            assert_eq!(domain(wrong), None);
        }
    }
}
