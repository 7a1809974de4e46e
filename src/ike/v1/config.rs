//! Mode Config within the transaction exchange (draft-ietf-ipsec-isakmp-mode-cfg): a client asks for an address
//! and what goes with it (pull), or a gateway says it unasked (push).

use std::net::IpAddr;

use crate::conf::{CfgOption, Family, Prefix, Provision, Wanted};
use crate::ike::provide::{Granted, domain, mask, mask_length};
use crate::wire::attribute::AttributeValue;
use crate::wire::iana::v1::{ConfigAttribute, ConfigType};
use crate::wire::v1::Attributes;

/// The most values of a kind that are taken from a peer.
const MOST: usize = 16;

/// Octets of a network in Cisco's list of what is reached through the tunnel: address, mask, and six octets of
/// protocol and ports.
const SPLIT_LEN: usize = 14;

/// What a client asks for: what its policy wants. `unity`: the peer knows Cisco's attributes.
pub fn request(wanted: &[Wanted], unity: bool, identifier: u16) -> Attributes {
    let mut attributes = Vec::new();
    for wish in wanted {
        let Some(class) = attribute(wish.option, wish.family) else { continue };
        attributes.push(match wish.address {
            Some(address) => class.with_address(address),
            None => class.empty(),
        });
    }
    let asked = |class: ConfigAttribute| {
        wanted.iter().any(|wish| attribute(wish.option, wish.family) == Some(class))
    };
    let v4 = asked(ConfigAttribute::INTERNAL_IP4_ADDRESS);
    if v4 && !asked(ConfigAttribute::INTERNAL_IP4_NETMASK) {
        attributes.push(ConfigAttribute::INTERNAL_IP4_NETMASK.empty());
    }
    if unity && asked(ConfigAttribute::INTERNAL_IP4_SUBNET) {
        attributes.push(ConfigAttribute::UNITY_SPLIT_INCLUDE.empty());
    }
    Attributes { config_type: ConfigType::REQUEST, identifier, attributes }
}

/// Which families a peer asks an address of, and the one that it would like.
pub fn asked(request: &Attributes, family: Family) -> Option<Option<IpAddr>> {
    let class = attribute(CfgOption::Address, family)?;
    let found = request.find(class)?;
    Some(found.to_address().filter(|address| !address.is_unspecified()))
}

/// What a gateway gives: `addresses` from its pools, and what the policy has for all. With `asked`
/// (pull) only what was asked for, without (push) everything.
pub fn grant(
    provision: &Provision,
    addresses: &[IpAddr],
    asked: Option<&Attributes>,
    identifier: u16,
) -> Attributes {
    let config_type = if asked.is_some() { ConfigType::REPLY } else { ConfigType::SET };
    let wants = |class: ConfigAttribute| asked.is_none_or(|request| request.has(class));
    let mut attributes = Vec::new();
    let mut lists = |v4: ConfigAttribute, v6: Option<ConfigAttribute>, all: &[IpAddr]| {
        for address in all.iter().take(MOST) {
            let class = if address.is_ipv4() { Some(v4) } else { v6 };
            let class = class.filter(|class| wants(*class));
            attributes.extend(class.map(|class| class.with_address(*address)));
        }
    };
    use ConfigAttribute as A;
    lists(A::INTERNAL_IP4_ADDRESS, Some(A::INTERNAL_IP6_ADDRESS), addresses);
    lists(A::INTERNAL_IP4_DNS, Some(A::INTERNAL_IP6_DNS), &provision.name_servers);
    lists(A::INTERNAL_IP4_NBNS, Some(A::INTERNAL_IP6_NBNS), &provision.netbios_servers);
    lists(A::INTERNAL_IP4_DHCP, Some(A::INTERNAL_IP6_DHCP), &provision.dhcp_servers);
    if let Some(mask) = provision.netmask.filter(|_| wants(A::INTERNAL_IP4_NETMASK)) {
        attributes.push(A::INTERNAL_IP4_NETMASK.with_address(mask.into()));
    }
    let networks = provision.subnets.iter().take(MOST);
    let networks: Vec<_> = networks.filter_map(network).collect();
    if wants(A::INTERNAL_IP4_SUBNET) {
        attributes.extend(networks.iter().map(|octets| A::INTERNAL_IP4_SUBNET.with(octets)));
    }
    if asked.is_some_and(|request| request.has(A::UNITY_SPLIT_INCLUDE)) && !networks.is_empty() {
        let entries: Vec<u8> =
            networks.iter().flat_map(|octets| [&octets[..], &[0; 6]].concat()).collect();
        attributes.push(A::UNITY_SPLIT_INCLUDE.with(&entries));
    }
    if let Some(domain) = provision.domains.first().filter(|_| wants(A::UNITY_DEF_DOMAIN)) {
        attributes.push(A::UNITY_DEF_DOMAIN.with(domain.as_bytes()));
    }
    Attributes { config_type, identifier, attributes }
}

/// What a client is given, in a reply or unasked.
///
/// # Errors
///
/// A value that cannot be, in words.
pub fn granted(from: &Attributes) -> Result<Granted, String> {
    let mut granted = Granted::default();
    for attribute in &from.attributes {
        let class = ConfigAttribute(attribute.attribute_type);
        let octets = match &attribute.value {
            AttributeValue::Long(octets) if !octets.is_empty() => octets.as_slice(),
            _ => continue,
        };
        let address = |octets: &[u8]| {
            let v6 = class.name().is_some_and(|name| name.contains("IP6"));
            let found = class.with(octets).to_address().filter(|found| found.is_ipv6() == v6);
            found.ok_or_else(|| format!("{class} of {} octets is no address", octets.len()))
        };
        match class {
            ConfigAttribute::INTERNAL_IP4_ADDRESS | ConfigAttribute::INTERNAL_IP6_ADDRESS => {
                // Some gateways have the prefix length behind an IPv6 address, as IKEv2 has.
                let alone = match octets {
                    [head @ .., _] if head.len() == 16 => head,
                    _ => octets,
                };
                match address(alone)? {
                    IpAddr::V4(v4) => granted.given.v4 = granted.given.v4.or(Some(v4)),
                    IpAddr::V6(v6) => granted.given.v6 = granted.given.v6.or(Some(v6)),
                }
            }
            ConfigAttribute::INTERNAL_IP4_NETMASK => {
                if let IpAddr::V4(mask) = address(octets)? {
                    granted.netmask = mask_length(mask);
                }
            }
            ConfigAttribute::INTERNAL_IP4_DNS | ConfigAttribute::INTERNAL_IP6_DNS => {
                granted.name_servers.push(address(octets)?);
            }
            ConfigAttribute::INTERNAL_IP4_SUBNET => {
                granted.subnets.extend(octets.chunks_exact(8).filter_map(prefix));
            }
            ConfigAttribute::UNITY_SPLIT_INCLUDE => {
                granted.subnets.extend(octets.chunks_exact(SPLIT_LEN).filter_map(prefix));
            }
            ConfigAttribute::UNITY_DEF_DOMAIN => granted.domains.extend(domain(octets)),
            _ => (),
        }
    }
    Ok(granted)
}

/// The network of which address and mask stand in front; none if the mask has holes.
fn prefix(octets: &[u8]) -> Option<Prefix> {
    let [a, b, c, d, e, f, g, h, ..] = *octets else { return None };
    Prefix::new([a, b, c, d].into(), mask_length([e, f, g, h].into())?)
}

/// The client's acknowledgement of what it was told unasked: what it took, without values.
pub fn acknowledgement(set: &Attributes) -> Attributes {
    let taken = set.attributes.iter().map(|it| ConfigAttribute(it.attribute_type).empty());
    let (config_type, identifier) = (ConfigType::ACK, set.identifier);
    Attributes { config_type, identifier, attributes: taken.collect() }
}

/// The attribute of an option.
fn attribute(option: CfgOption, family: Family) -> Option<ConfigAttribute> {
    use ConfigAttribute as A;
    Some(match (option, family) {
        (CfgOption::Address, Family::Inet) => A::INTERNAL_IP4_ADDRESS,
        (CfgOption::Address, Family::Inet6) => A::INTERNAL_IP6_ADDRESS,
        (CfgOption::Netmask, Family::Inet) => A::INTERNAL_IP4_NETMASK,
        (CfgOption::NameServer, Family::Inet) => A::INTERNAL_IP4_DNS,
        (CfgOption::NameServer, Family::Inet6) => A::INTERNAL_IP6_DNS,
        (CfgOption::NetbiosServer, Family::Inet) => A::INTERNAL_IP4_NBNS,
        (CfgOption::NetbiosServer, Family::Inet6) => A::INTERNAL_IP6_NBNS,
        (CfgOption::DhcpServer, Family::Inet) => A::INTERNAL_IP4_DHCP,
        (CfgOption::DhcpServer, Family::Inet6) => A::INTERNAL_IP6_DHCP,
        (CfgOption::ProtectedSubnet, Family::Inet) => A::INTERNAL_IP4_SUBNET,
        (CfgOption::Domain, Family::Inet) => A::UNITY_DEF_DOMAIN,
        _ => return None,
    })
}

/// Address and mask of an IPv4 network.
fn network(prefix: &Prefix) -> Option<[u8; 8]> {
    let IpAddr::V4(address) = prefix.address() else { return None };
    let mut octets = [0; 8];
    octets[..4].copy_from_slice(&address.octets());
    octets[4..].copy_from_slice(&mask(prefix.length()).octets());
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ike::inner::Given;

    fn provision() -> Provision {
        Provision {
            netmask: Some([255, 255, 255, 0].into()),
            name_servers: vec![[10, 0, 0, 53].into(), "fd00::53".parse().unwrap()],
            subnets: vec![Prefix::new([10, 1, 0, 0].into(), 16).unwrap()],
            domains: vec!["example.net".into()],
            ..Provision::default()
        }
    }

    fn wish(option: CfgOption) -> Wanted {
        Wanted { option, family: Family::Inet, address: None }
    }

    #[test]
    fn what_is_asked_for_is_granted_and_no_more() {
        let wanted = [wish(CfgOption::Address), wish(CfgOption::NameServer)];
        let request = request(&wanted, false, 3);
        assert_eq!(asked(&request, Family::Inet), Some(None));
        assert_eq!(asked(&request, Family::Inet6), None);
        let reply = grant(&provision(), &[[10, 9, 9, 1].into()], Some(&request), 3);
        assert_eq!((reply.config_type, reply.identifier), (ConfigType::REPLY, 3));
        let granted = granted(&reply).unwrap();
        let wanted = Granted {
            given: Given { v4: Some([10, 9, 9, 1].into()), v6: None },
            netmask: Some(24),
            name_servers: vec![[10, 0, 0, 53].into()],
            ..Granted::default()
        };
        assert_eq!(granted, wanted);
    }

    #[test]
    fn a_client_of_cisco_gets_its_networks() {
        let wanted = [wish(CfgOption::Address), wish(CfgOption::ProtectedSubnet)];
        let request = request(&wanted, true, 3);
        let reply = grant(&provision(), &[[10, 9, 9, 1].into()], Some(&request), 3);
        let split = reply.octets(ConfigAttribute::UNITY_SPLIT_INCLUDE).unwrap();
        assert_eq!(split, [10, 1, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
        // Once by each attribute.
        assert_eq!(
            granted(&reply).unwrap().subnets,
            [provision().subnets, provision().subnets].concat()
        );
    }

    #[test]
    fn unasked_everything_is_said() {
        let set = grant(&provision(), &[[10, 9, 9, 1].into()], None, 4);
        assert_eq!(set.config_type, ConfigType::SET);
        let granted = granted(&set).unwrap();
        assert_eq!(granted.name_servers.len(), 2);
        assert_eq!(granted.domains, ["example.net"]);
        let ack = acknowledgement(&set);
        assert_eq!(ack.attributes.len(), set.attributes.len());
        assert!(ack.attributes.iter().all(|it| it.value == AttributeValue::Long(Vec::new())));
    }

    #[test]
    fn lies_are_told_or_left_out() {
        let of = |class: ConfigAttribute, octets: &[u8]| {
            let (config_type, identifier) = (ConfigType::REPLY, 1);
            granted(&Attributes { config_type, identifier, attributes: vec![class.with(octets)] })
        };
        let words = of(ConfigAttribute::INTERNAL_IP4_ADDRESS, &[1, 2, 3]).unwrap_err();
        assert_eq!(words, "INTERNAL_IP4_ADDRESS of 3 octets is no address");
        assert!(
            of(ConfigAttribute::INTERNAL_IP4_ADDRESS, &[0; 16]).is_err(),
            "of the other family"
        );
        let holes = [10, 0, 0, 0, 255, 0, 255, 0];
        assert_eq!(of(ConfigAttribute::INTERNAL_IP4_SUBNET, &holes), Ok(Granted::default()));
        let named = of(ConfigAttribute::UNITY_DEF_DOMAIN, b"a\x1b[0m.example").unwrap();
        assert_eq!(named, Granted::default());
    }
}
