//! Traffic as Quick Mode has it: one identity for each side (RFC 2407 §4.6.2).
//!
//! Unlike IKEv2 nothing is narrowed: the responder takes what is offered, or refuses it.

use std::net::IpAddr;

use crate::conf::{Flow, Mode, Policy, Prefix};
use crate::ike::selector::{Hosts, Traffic};
use crate::wire::iana::v1::IdType;
use crate::wire::v1::Id;
use crate::wire::v2::TrafficSelector;

/// Most of what a traffic selector may say of ports.
const ANY_PORTS: (u16, u16) = (0, u16::MAX);

/// The traffic of one flow of a policy.
pub fn of_flow(policy: &Policy, flow: &Flow, hosts: Hosts) -> Traffic {
    let single = Policy { flows: vec![flow.clone()], ..policy.clone() };
    Traffic::wanted(&single, hosts)
}

/// The identity of one side of the traffic; none if one identity cannot say it.
pub fn id(selector: &TrafficSelector) -> Option<Id> {
    let (first, last) = selector.addresses;
    let mut id = match prefix_of(first, last) {
        Some(prefix) => match prefix.as_host() {
            Some(address) => Id::of_address(address),
            None => Id::of_subnet(prefix.address(), prefix.length()),
        },
        None => of_range(first, last)?,
    };
    id.protocol = selector.protocol;
    id.port = match selector.ports {
        ANY_PORTS => 0,
        // Zero is any, so one that is zero cannot be said.
        (first, last) if first == last && first != 0 => first,
        _ => return None,
    };
    Some(id)
}

/// The traffic of one side that an identity stands for; none if it is not one of addresses.
pub fn selector(id: &Id) -> Option<TrafficSelector> {
    let range = id.range()?;
    let ports = if id.port == 0 { ANY_PORTS } else { (id.port, id.port) };
    Some(TrafficSelector { protocol: id.protocol, ports, addresses: (range.first, range.last) })
}

/// What the identities of a Quick Mode mean, ours and the peer's: the hosts themselves where none
/// are sent (RFC 2409 §5.5).
///
/// # Errors
///
/// The identity that names no traffic.
pub fn of_ids(ids: Option<(&Id, &Id)>, hosts: Hosts) -> Result<Traffic, String> {
    let host = |address: IpAddr| TrafficSelector {
        protocol: 0,
        ports: ANY_PORTS,
        addresses: (address, address),
    };
    let (local, remote) = match ids {
        None => (host(hosts.local), host(hosts.remote)),
        Some((ours, peers)) => {
            let read = |id: &Id| selector(id).ok_or_else(|| format!("{id} names no traffic"));
            (read(ours)?, read(peers)?)
        }
    };
    Ok(Traffic { local: [local].into(), remote: [remote].into() })
}

/// Between hosts behind a NAT each calls itself by its own address, which the other does not see:
/// transport mode is about the addresses that packets have here (RFC 3947 §5.2).
pub fn seen(traffic: Traffic, mode: Mode, hosts: Hosts, nat: bool) -> Traffic {
    if mode != Mode::Transport || !nat {
        return traffic;
    }
    let at = |list: &[TrafficSelector], host: IpAddr| -> Box<[TrafficSelector]> {
        list.iter().map(|it| TrafficSelector { addresses: (host, host), ..*it }).collect()
    };
    Traffic { local: at(&traffic.local, hosts.local), remote: at(&traffic.remote, hosts.remote) }
}

/// Whether all of it lies within what a policy wants.
pub fn is_wanted(traffic: &Traffic, policy: &Policy, hosts: Hosts) -> bool {
    traffic.within(&Traffic::wanted(policy, hosts)).as_ref() == Some(traffic)
}

fn of_range(first: IpAddr, last: IpAddr) -> Option<Id> {
    let (id_type, data) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            (IdType::ID_IPV4_ADDR_RANGE, [first.octets(), last.octets()].concat())
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            (IdType::ID_IPV6_ADDR_RANGE, [first.octets(), last.octets()].concat())
        }
        _ => return None,
    };
    Some(Id { id_type, protocol: 0, port: 0, data })
}

fn prefix_of(first: IpAddr, last: IpAddr) -> Option<Prefix> {
    let (bits, differing) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let differing = u32::from(first) ^ u32::from(last);
            (32, 32 - differing.leading_zeros())
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let differing = u128::from(first) ^ u128::from(last);
            (128, 128 - differing.leading_zeros())
        }
        _ => return None,
    };
    let prefix = Prefix::new(first, u8::try_from(bits - differing).ok()?)?;
    (prefix.address() == first && prefix.last() == last).then_some(prefix)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ts(protocol: u8, ports: (u16, u16), first: &str, last: &str) -> TrafficSelector {
        let addresses = (first.parse().unwrap(), last.parse().unwrap());
        TrafficSelector { protocol, ports, addresses }
    }

    #[test]
    fn identities_say_the_traffic_and_come_back() {
        let rows = [
            (ts(0, ANY_PORTS, "10.0.0.0", "10.0.0.255"), "ID_IPV4_ADDR_SUBNET"),
            (ts(0, ANY_PORTS, "0.0.0.0", "255.255.255.255"), "ID_IPV4_ADDR_SUBNET"),
            (ts(17, (1701, 1701), "192.0.2.1", "192.0.2.1"), "ID_IPV4_ADDR"),
            (ts(0, ANY_PORTS, "10.0.0.1", "10.0.0.9"), "ID_IPV4_ADDR_RANGE"),
            (ts(6, (80, 80), "2001:db8::", "2001:db8::ffff"), "ID_IPV6_ADDR_SUBNET"),
            (ts(0, ANY_PORTS, "2001:db8::1", "2001:db8::1"), "ID_IPV6_ADDR"),
            (ts(0, ANY_PORTS, "2001:db8::1", "2001:db8::4"), "ID_IPV6_ADDR_RANGE"),
        ];
        for (selector_, name) in rows {
            let id = id(&selector_).unwrap();
            assert_eq!(id.id_type.to_string(), name);
            assert_eq!(selector(&id), Some(selector_));
        }
    }

    #[test]
    fn ranges_of_ports_cannot_be_said() {
        assert_eq!(id(&ts(6, (80, 81), "10.0.0.1", "10.0.0.1")), None);
    }
}
