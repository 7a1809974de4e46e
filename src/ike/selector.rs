//! Traffic selectors: what we offer, how they are narrowed (RFC 7296 §2.9), which flows they mean.

mod flows;

use std::net::IpAddr;

use self::flows::kernel_selectors;
pub use self::flows::{MAX_FLOWS, NoFlows, port_blocks, prefixes};
use super::event::{Capabilities, KernelSelector, Ports};
use super::inner::Inner;
use crate::conf::{Flow, FlowAddresses, FlowEnd, Policy, Prefix};
use crate::wire::v2::TrafficSelector;

/// The most pairs of selectors that traffic is made of, before those that lie within others are left out.
const MOST_PAIRS: usize = 16 * MAX_FLOWS;

/// The traffic of a child SA as both sides agreed on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// Our side.
    pub local: Box<[TrafficSelector]>,
    /// The peer's side.
    pub remote: Box<[TrafficSelector]>,
}

/// The outer addresses, and what `dynamic` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hosts {
    /// Ours.
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
    /// The addresses within the tunnel, where one side was given some.
    pub inner: Inner,
}

impl Traffic {
    /// All that a policy wants.
    pub fn wanted(policy: &Policy, hosts: Hosts) -> Self {
        Self::of_flows(policy, hosts, |_| true)
    }

    /// What a policy wants by some of its flows, chosen by their places.
    pub fn of_flows(policy: &Policy, hosts: Hosts, chosen: impl Fn(usize) -> bool) -> Self {
        let room = || Vec::with_capacity(policy.flows.len());
        let mut traffic = Collected { local: room(), remote: room() };
        for (_, (local, remote)) in pairs(policy, hosts).enumerate().filter(|(at, _)| chosen(*at)) {
            traffic.add(local, remote);
        }
        traffic.into()
    }

    /// What a policy wants of the traffic between the two ends of a packet; nothing if these are not
    /// single addresses.
    pub fn of_packet(packet: &KernelSelector, policy: &Policy, hosts: Hosts) -> Self {
        let end = |prefix: &Prefix| -> Box<[TrafficSelector]> {
            let (first, last) = (prefix.address(), prefix.last());
            let ports = TrafficSelector::ANY_PORTS;
            let selector = TrafficSelector { protocol: 0, ports, addresses: (first, last) };
            (first == last).then_some(selector).into_iter().collect()
        };
        let ends = Self { local: end(&packet.src), remote: end(&packet.dst) };
        let nothing = || Self { local: Box::default(), remote: Box::default() };
        ends.narrowed(policy, hosts).unwrap_or_else(|_| nothing())
    }

    /// The part of it that is IPv4, or IPv6.
    pub fn of_family(&self, ipv4: bool) -> Self {
        let part = |selectors: &[TrafficSelector]| {
            let of_it = |selector: &&TrafficSelector| selector.addresses.0.is_ipv4() == ipv4;
            selectors.iter().filter(of_it).copied().collect()
        };
        Self { local: part(&self.local), remote: part(&self.remote) }
    }

    /// Whether it has both IPv4 and IPv6.
    pub fn is_mixed(&self) -> bool {
        let is_ipv4 = |selector: &TrafficSelector| selector.addresses.0.is_ipv4();
        self.local.iter().any(is_ipv4) && !self.local.iter().all(is_ipv4)
    }

    /// A peer may write the unspecified address for the one that it will be given, as OpenIKED does.
    pub fn with_given(mut self, inner: Inner) -> Self {
        let Inner::Peers(given) = inner else { return self };
        for selector in &mut self.remote {
            let (first, last) = selector.addresses;
            let mut addresses = given.addresses().filter(|it| it.is_ipv4() == first.is_ipv4());
            if first.is_unspecified()
                && first == last
                && let Some(address) = addresses.next()
            {
                selector.addresses = (address, address);
            }
        }
        self
    }

    /// What a policy wants of this.
    ///
    /// # Errors
    ///
    /// That this is nothing, or more than any flows can say.
    pub fn narrowed(&self, policy: &Policy, hosts: Hosts) -> Result<Self, NoFlows> {
        let common = self.common(policy, hosts)?;
        let traffic = Self {
            local: widest(common.iter().map(|(local, _)| *local)),
            remote: widest(common.iter().map(|(_, remote)| *remote)),
        };
        if traffic.local.is_empty() { Err(NoFlows::NothingInCommon) } else { Ok(traffic) }
    }

    /// The packet for which a peer wants a child SA: the first selector of each side, where these are
    /// single addresses and others follow (RFC 7296 §2.9).
    pub fn packet(&self) -> Option<Self> {
        let single = |it: &&TrafficSelector| it.addresses.0 == it.addresses.1;
        let local = self.local.first().filter(single)?;
        let remote = self.remote.first().filter(single)?;
        let leads = self.local.len() + self.remote.len() > 2;
        leads.then(|| Self { local: [*local].into(), remote: [*remote].into() })
    }

    /// What of this lies within an offer; `None` if nothing does. A peer may narrow what it is
    /// offered; of one that answers with more, only what was offered counts.
    pub fn within(&self, offer: &Self) -> Option<Self> {
        let part = |answered: &[TrafficSelector], offered: &[TrafficSelector]| {
            let pairs = answered.iter().flat_map(|one| offered.iter().map(move |it| (it, one)));
            widest(pairs.filter_map(|(offered, one)| intersect(offered, one)))
        };
        let common = Self {
            local: part(&self.local, &offer.local),
            remote: part(&self.remote, &offer.remote),
        };
        (!common.local.is_empty() && !common.remote.is_empty()).then_some(common)
    }

    /// The same with other addresses in place of single hosts: what a NAT between makes of the two ends of
    /// a transport mode SA (RFC 7296 §2.23.1).
    pub fn translated(mut self, local: Option<IpAddr>, remote: Option<IpAddr>) -> Self {
        for (side, host) in [(&mut self.local, local), (&mut self.remote, remote)] {
            let Some(host) = host else { continue };
            for selector in side.iter_mut() {
                let (first, last) = selector.addresses;
                if first == last && first.is_ipv4() == host.is_ipv4() {
                    selector.addresses = (host, host);
                }
            }
        }
        self
    }

    /// The single host of each side, ours first, where there is one.
    pub fn single_hosts(&self) -> (Option<IpAddr>, Option<IpAddr>) {
        let host = |side: &[TrafficSelector]| {
            let first = side.first().map(|selector| selector.addresses.0)?;
            side.iter().all(|it| it.addresses == (first, first)).then_some(first)
        };
        (host(&self.local), host(&self.remote))
    }

    /// The outbound flows by which a policy uses this traffic in a kernel that can do this much, as far
    /// as that is known.
    pub fn flows(
        &self,
        policy: &Policy,
        hosts: Hosts,
        able: Option<&Capabilities>,
    ) -> Result<Box<[KernelSelector]>, NoFlows> {
        let selects = able.map(|able| &able.selects);
        let mut flows = Vec::new();
        for (local, remote) in self.common(policy, hosts)? {
            for flow in kernel_selectors(&local, &remote, selects)? {
                if !flows.contains(&flow) {
                    flows.push(flow);
                }
            }
            if flows.len() > MAX_FLOWS {
                return Err(NoFlows::TooMany);
            }
        }
        if flows.is_empty() { Err(NoFlows::NothingInCommon) } else { Ok(flows.into()) }
    }

    /// The flow pairs of a policy, each cut down to this traffic. A peer may send 255 selectors for each side:
    /// what would be more pairs than flows can ever come of is not worked out.
    fn common(
        &self,
        policy: &Policy,
        hosts: Hosts,
    ) -> Result<Vec<(TrafficSelector, TrafficSelector)>, NoFlows> {
        let mut common = Vec::new();
        for (ours, theirs) in pairs(policy, hosts) {
            let (locals, remotes) = (parts(&ours, &self.local), parts(&theirs, &self.remote));
            for local in &locals {
                for remote in remotes.iter().filter(|remote| same_protocol(local, remote)) {
                    if common.len() == MOST_PAIRS {
                        return Err(NoFlows::TooMany);
                    }
                    common.push((*local, *remote));
                }
            }
        }
        Ok(common)
    }
}

/// What a selector has in common with each of these, each once.
fn parts(whole: &TrafficSelector, selectors: &[TrafficSelector]) -> Vec<TrafficSelector> {
    let mut parts = Vec::new();
    for part in selectors.iter().filter_map(|selector| intersect(whole, selector)) {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts
}

/// Selectors in their order, without those that lie within others: one that a packet was the reason for
/// (RFC 7296 §2.9) makes no flow of its own beside the one that has it.
fn widest(selectors: impl Iterator<Item = TrafficSelector>) -> Box<[TrafficSelector]> {
    let within = |part: &TrafficSelector, whole: &_| intersect(whole, part) == Some(*part);
    let mut kept: Vec<TrafficSelector> = Vec::new();
    for selector in selectors {
        if !kept.iter().any(|whole| within(&selector, whole)) {
            kept.retain(|part| !within(part, &selector));
            kept.push(selector);
        }
    }
    kept.into()
}

struct Collected {
    local: Vec<TrafficSelector>,
    remote: Vec<TrafficSelector>,
}

impl Collected {
    fn add(&mut self, local: TrafficSelector, remote: TrafficSelector) {
        if !self.local.contains(&local) {
            self.local.push(local);
        }
        if !self.remote.contains(&remote) {
            self.remote.push(remote);
        }
    }
}

impl From<Collected> for Traffic {
    fn from(collected: Collected) -> Self {
        Self { local: collected.local.into(), remote: collected.remote.into() }
    }
}

/// The places of the policy's flows of which none of this traffic is a part, each with whether it
/// is IPv4.
pub fn unserved<'a>(
    policy: &Policy,
    hosts: Hosts,
    carried: impl Iterator<Item = &'a Traffic> + Clone,
) -> Vec<(usize, bool)> {
    let serves = |traffic: &Traffic, (ours, theirs): (TrafficSelector, TrafficSelector)| {
        traffic.local.iter().any(|local| intersect(&ours, local).is_some())
            && traffic.remote.iter().any(|remote| intersect(&theirs, remote).is_some())
    };
    pairs(policy, hosts)
        .enumerate()
        .filter(|(_, pair)| !carried.clone().any(|traffic| serves(traffic, *pair)))
        .map(|(at, (local, _))| (at, local.addresses.0.is_ipv4()))
        .collect()
}

/// A kernel selector the other way round: inbound for outbound.
pub fn reversed(flow: &KernelSelector) -> KernelSelector {
    let icmp = TrafficSelector::ICMP.contains(&flow.ip_protocol);
    let (src_port, dst_port) = match icmp {
        true => (flow.src_port, flow.dst_port),
        false => (flow.dst_port, flow.src_port),
    };
    KernelSelector { src: flow.dst, dst: flow.src, src_port, dst_port, ..*flow }
}

/// Whether a packet (or a flow) lies within a flow.
pub fn covers(flow: &KernelSelector, packet: &KernelSelector) -> bool {
    let prefix = |whole: &Prefix, part: &Prefix| {
        whole.length() <= part.length() && whole.contains(part.address())
    };
    prefix(&flow.src, &packet.src)
        && prefix(&flow.dst, &packet.dst)
        && (flow.ip_protocol == 0 || flow.ip_protocol == packet.ip_protocol)
        && flow.src_port.contains(packet.src_port)
        && flow.dst_port.contains(packet.dst_port)
}

/// A flow for people: `10.0.1.0/24 -> 10.0.2.0/24 port 80 proto 6`.
pub fn printed(flow: &KernelSelector) -> String {
    let port = |port: Ports| match port.is_any() {
        true => String::new(),
        false => format!(" port {port}"),
    };
    let protocol = match flow.ip_protocol {
        0 => String::new(),
        number => format!(" proto {number}"),
    };
    let (src, dst) = (port(flow.src_port), port(flow.dst_port));
    format!("{}{src} -> {}{dst}{protocol}", flow.src, flow.dst)
}

fn pairs(
    policy: &Policy,
    hosts: Hosts,
) -> impl Iterator<Item = (TrafficSelector, TrafficSelector)> {
    policy.flows.iter().flat_map(move |flow| {
        let locals = match flow.srcnat {
            Some(translated) => [Some(translated), None],
            None => of_end(&flow.local, || hosts.inner.local(hosts.local)),
        };
        let remotes = of_end(&flow.remote, || hosts.inner.remote(hosts.remote));
        let dynamic =
            [flow.local.addresses, flow.remote.addresses].contains(&FlowAddresses::Dynamic);
        let each = locals.into_iter().flatten();
        let pairs = each.flat_map(move |local| {
            remotes.into_iter().flatten().map(move |remote| (local, remote))
        });
        // Of what `dynamic` stands for, only one family suits the other end.
        let suits = move |(local, remote): &(Prefix, Prefix)| {
            !dynamic || local.address().is_ipv4() == remote.address().is_ipv4()
        };
        pairs.filter(suits).map(|(local, remote)| {
            (of_prefix(flow, &flow.local, local), of_prefix(flow, &flow.remote, remote))
        })
    })
}

/// What an end of a flow stands for: several where it is `dynamic`, one of a family.
fn of_end(end: &FlowEnd, dynamic: impl FnOnce() -> [Option<Prefix>; 2]) -> [Option<Prefix>; 2] {
    match end.addresses {
        FlowAddresses::Prefix(prefix) => [Some(prefix), None],
        FlowAddresses::Dynamic => dynamic(),
    }
}

fn of_prefix(flow: &Flow, end: &FlowEnd, prefix: Prefix) -> TrafficSelector {
    TrafficSelector {
        protocol: flow.ip_protocol,
        ports: end.ports,
        addresses: (prefix.address(), prefix.last()),
    }
}

fn same_protocol(one: &TrafficSelector, other: &TrafficSelector) -> bool {
    one.protocol == other.protocol || one.protocol == 0 || other.protocol == 0
}

fn intersect(one: &TrafficSelector, other: &TrafficSelector) -> Option<TrafficSelector> {
    if one.addresses.0.is_ipv4() != other.addresses.0.is_ipv4() || !same_protocol(one, other) {
        return None;
    }
    let addresses =
        (one.addresses.0.max(other.addresses.0), one.addresses.1.min(other.addresses.1));
    let ports = (one.ports.0.max(other.ports.0), one.ports.1.min(other.ports.1));
    let protocol = one.protocol.max(other.protocol);
    (addresses.0 <= addresses.1 && ports.0 <= ports.1).then_some(TrafficSelector {
        protocol,
        ports,
        addresses,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_intersection_is_in_both() {
        let ts = |protocol, ports, first: &str, last: &str| TrafficSelector {
            protocol,
            ports,
            addresses: (first.parse().unwrap(), last.parse().unwrap()),
        };
        let wide = ts(0, (0, 65535), "10.0.0.0", "10.255.255.255");
        let narrow = ts(17, (53, 53), "10.1.0.0", "10.1.0.255");
        assert_eq!(intersect(&wide, &narrow), Some(narrow));
        assert_eq!(intersect(&narrow, &ts(6, (53, 53), "10.1.0.0", "10.1.0.1")), None);
        assert_eq!(intersect(&narrow, &ts(17, (0, 65535), "::", "::1")), None);
    }
}
