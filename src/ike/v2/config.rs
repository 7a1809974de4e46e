//! The configuration payload (RFC 7296 §2.19, §3.15; RFC 8598): what a peer is given, what we ask for.

use std::net::IpAddr;

use super::established::Established;
use super::rules::Bag;
use super::tasks::Task;
use crate::conf::{CfgOption, Family, Policy, Prefix, Provision};
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::inner::{Configured, Given, Inner};
use crate::ike::pool::{Exhausted, Holder, ranges};
pub use crate::ike::provide::apply;
use crate::ike::provide::{
    Granted, domain, family, give, mask, mask_length, no_address, none_given,
};
use crate::ike::report::{Disagreement, Event, Gone};
use crate::wire::iana::v2::{CfgAttribute, CfgType, NotifyType};
use crate::wire::v2::{Config, ConfigAttribute, Id, Notify, Payload};

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
    if let Some(family) = request.and_then(asks_address)
        && policy.provision.addresses.is_empty()
    {
        let nothing = no_address(core, &policy.provision, family);
        frame.report(core, Event::Disagreed(nothing));
    }
    let Some(request) = request.filter(|_| !policy.provision.is_empty()) else { return Ok(None) };
    let take_over = bag.has(NotifyType::INITIAL_CONTACT)
        || core.globals.sticky_address
        || core.globals.enforce_single_ike_sa;
    let asked = |attribute| request.attributes.iter().find(|it| it.attribute == attribute);
    let v4 = asked(CfgAttribute::INTERNAL_IP4_ADDRESS);
    let v6 = asked(CfgAttribute::INTERNAL_IP6_ADDRESS);
    let like = |attribute: &ConfigAttribute| attribute.to_address().map(|(address, _)| address);
    let rows = [(Family::Inet, v4), (Family::Inet6, v6)];
    let wanted = rows.into_iter().filter_map(|(family, asked)| Some((family, like(asked?))));
    let wanted: Vec<_> = wanted.collect();
    let given = give(frame, core, &Holder::of(who), &wanted, take_over)
        .map_err(|Exhausted| NotifyType::INTERNAL_ADDRESS_FAILURE)?;
    let domains = asked(CfgAttribute::INTERNAL_DNS_DOMAIN).is_some();
    let attributes = attributes(&policy.provision, given, domains);
    Ok(Some(Payload::Config(Config { cfg_type: CfgType::CFG_REPLY, attributes })))
}

/// Of which family the peer asks for an address.
fn asks_address(request: &Config) -> Option<Family> {
    request.attributes.iter().find_map(|it| match it.attribute {
        CfgAttribute::INTERNAL_IP4_ADDRESS => Some(Family::Inet),
        CfgAttribute::INTERNAL_IP6_ADDRESS => Some(Family::Inet6),
        _ => None,
    })
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
            let value = [address.octets(), mask(prefix.length()).octets()].concat();
            ConfigAttribute { attribute: CfgAttribute::INTERNAL_IP4_SUBNET, value }
        }
        IpAddr::V6(address) => {
            let attribute = CfgAttribute::INTERNAL_IP6_SUBNET;
            ConfigAttribute::prefix(attribute, address, prefix.length())
        }
    }
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

/// Takes the peer's reply; from now on `dynamic` stands for the addresses that it gives.
///
/// # Errors
///
/// Why there can be no child SA.
pub fn accept(frame: &mut Frame, bag: &Bag) -> Result<Granted, Box<Disagreement>> {
    let policy = frame.policy.clone();
    let reply = bag.cp.as_ref().filter(|cp| cp.cfg_type == CfgType::CFG_REPLY);
    let reply = reply.map(|config| read(config).wanted(&policy)).unwrap_or_default();
    if let Some(Inner::Asked { v4, v6 }) = Inner::asked(&policy) {
        if reply.given.is_empty() {
            frame.config = None;
            return Err(none_given((v4, v6), allowed(bag)));
        }
        frame.config = Some(Configured::new(Inner::Ours(reply.given)));
    }
    Ok(reply)
}

/// The peer gives no child SA because it has no address of a family that we ask for, and says which
/// it has (RFC 8983).
pub fn refused(policy: &Policy, bag: &Bag) -> Option<Box<Disagreement>> {
    let Some(Inner::Asked { v4, v6 }) = Inner::asked(policy) else { return None };
    let has = allowed(bag);
    let other = has != (false, false) && !(has.0 && v4) && !(has.1 && v6);
    other.then(|| none_given((v4, v6), has))
}

/// Of which families the peer says that it has addresses: IPv4, IPv6.
fn allowed(bag: &Bag) -> (bool, bool) {
    (bag.has(NotifyType::IP4_ALLOWED), bag.has(NotifyType::IP6_ALLOWED))
}

impl Established {
    /// Addresses are only given with IKE_AUTH: an IKE SA that was to have some and has none is of no
    /// use. It is tried again later.
    pub fn end_without_address(&mut self, frame: &mut Frame, core: &mut Core) {
        self.want(Task::DeleteIke(Gone::Failed));
        self.advance(frame, core);
    }
}

/// What the peer's reply says.
fn read(config: &Config) -> Granted {
    let mut granted = Granted::default();
    for attribute in &config.attributes {
        match (attribute.attribute, attribute.to_address()) {
            (CfgAttribute::INTERNAL_IP4_ADDRESS, Some((IpAddr::V4(v4), _))) => {
                granted.given.v4.get_or_insert(v4);
            }
            (CfgAttribute::INTERNAL_IP6_ADDRESS, Some((IpAddr::V6(v6), _))) => {
                granted.given.v6.get_or_insert(v6);
            }
            (CfgAttribute::INTERNAL_IP4_NETMASK, Some((IpAddr::V4(mask), None))) => {
                granted.netmask = mask_length(mask);
            }
            (
                CfgAttribute::INTERNAL_IP4_DNS | CfgAttribute::INTERNAL_IP6_DNS,
                Some((address, None)),
            ) => granted.name_servers.push(address),
            (
                CfgAttribute::INTERNAL_IP4_SUBNET | CfgAttribute::INTERNAL_IP6_SUBNET,
                Some((address, Some(length))),
            ) => granted.subnets.extend(Prefix::new(address, length)),
            (CfgAttribute::INTERNAL_DNS_DOMAIN, _) => {
                granted.domains.extend(domain(&attribute.value));
            }
            _ => (),
        }
    }
    granted
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
    fn a_subnet_goes_and_comes_back() {
        for text in ["10.1.0.0/16", "0.0.0.0/0", "10.0.0.1/32", "2001:db8::/32"] {
            let prefix = prefix(text);
            let wanted = Some((prefix.address(), Some(prefix.length())));
            assert_eq!(subnet(&prefix).to_address(), wanted, "{text}");
        }
    }
}
