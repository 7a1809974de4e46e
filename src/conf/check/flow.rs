//! `from`, `to`, ports and protocols: names to numbers, lists multiplied out.

use std::collections::HashSet;
use std::net::IpAddr;

use super::{Checker, Place, Problem};
use crate::conf::source::{Addresses, addresses};
use crate::conf::syntax::{FlowClause, Host, Ikev2Rule, Side, Spanned, Word};
use crate::conf::{Family, Flow, FlowAddresses, FlowEnd, Prefix};
use crate::wire::v2::TrafficSelector;

impl Checker<'_> {
    /// All flows of the rule: every protocol, every pair of the lists, both families of `any`.
    pub(super) fn flows(&mut self, rule: &Ikev2Rule, family: Option<Family>) -> Vec<Flow> {
        let mut protocols = Vec::new();
        for word in &rule.ip_protocols {
            protocols.extend(self.ip_protocol(word));
        }
        let wrong = protocols.len() < rule.ip_protocols.len();
        if protocols.is_empty() {
            protocols.push(0);
        }
        let mut flows: Vec<Flow> = Vec::new();
        let mut seen = HashSet::new();
        for clause in &rule.flows {
            if !wrong {
                self.weigh_ports(clause, &protocols);
            }
            for flow in self.pairs(clause, family) {
                for &ip_protocol in &protocols {
                    let flow = of_protocol(flow.clone(), ip_protocol);
                    if seen.insert(flow.clone()) {
                        flows.push(flow);
                    }
                }
            }
        }
        flows
    }

    fn pairs(&mut self, clause: &FlowClause, family: Option<Family>) -> Vec<Flow> {
        let from_ports = self.ports(clause.from.port.as_ref());
        let to_ports = self.ports(clause.to.port.as_ref());
        let sources = self.side(&clause.from, family);
        let targets = self.side(&clause.to, family);
        let mut flows = Vec::new();
        for (source, srcnat) in &sources {
            for (target, _) in &targets {
                if !same_family(source, target) {
                    continue;
                }
                flows.push(Flow {
                    ip_protocol: 0,
                    local: FlowEnd { addresses: *source, ports: from_ports },
                    remote: FlowEnd { addresses: *target, ports: to_ports },
                    srcnat: *srcnat,
                });
            }
        }
        if flows.is_empty() && !sources.is_empty() && !targets.is_empty() {
            let place = clause.to.hosts.first().map_or(Place::default(), |h| h.host.place);
            let problem = Problem::says("the two sides of this flow are of different families");
            self.error(place, problem);
        }
        flows
    }

    fn side(
        &mut self,
        side: &Side,
        family: Option<Family>,
    ) -> Vec<(FlowAddresses, Option<Prefix>)> {
        let mut found = Vec::new();
        for item in &side.hosts {
            match &item.host.value {
                Host::Dynamic => found.push((FlowAddresses::Dynamic, None)),
                Host::Any => {
                    let any = ["0.0.0.0", "::"].iter().filter_map(|a| a.parse::<IpAddr>().ok());
                    let any = any.filter(|a| fits(*a, family)).filter_map(|a| Prefix::new(a, 0));
                    found.extend(any.map(|p| (FlowAddresses::Prefix(p), None)));
                }
                Host::Named { .. } => {
                    let nat = item.srcnat.as_ref().and_then(|nat| self.prefixes(nat));
                    for prefix in self.prefixes(&item.host).unwrap_or_default() {
                        if !fits(prefix.address(), family) {
                            continue;
                        }
                        let v4 = prefix.address().is_ipv4();
                        let srcnat = nat.iter().flatten().find(|p| p.address().is_ipv4() == v4);
                        if let (Some(word), None, false) = (&item.srcnat, srcnat, self.unresolved) {
                            let sentence = "the translated address is of another family";
                            self.error(word.place, Problem::says(sentence));
                        }
                        found.push((FlowAddresses::Prefix(prefix), srcnat.copied()));
                    }
                }
            }
        }
        found
    }

    fn ports(&mut self, port: Option<&Spanned<Word>>) -> (u16, u16) {
        let Some(port) = port else { return (0, u16::MAX) };
        let number = match &port.value {
            Word::Number(number) => u16::try_from(*number).ok(),
            Word::Name(name) => match name.split_once(':') {
                Some((low, high)) => return self.port_range(port.place, low, high),
                None => self.names.service(name),
            },
        };
        match number {
            Some(0) => (0, u16::MAX),
            Some(number) => (number, number),
            None => {
                let found = describe(&port.value);
                let expected = "a port from 0 to 65535 or the name of a service";
                self.error(port.place, Problem::found(found, expected));
                (0, u16::MAX)
            }
        }
    }

    /// Ports select nothing where the protocol has none.
    fn weigh_ports(&mut self, clause: &FlowClause, protocols: &[u8]) {
        let Some(port) = clause.from.port.as_ref().or(clause.to.port.as_ref()) else { return };
        let select =
            |it: &u8| TrafficSelector::PORTED.contains(it) || TrafficSelector::ICMP.contains(it);
        let without = protocols.iter().find(|it| !select(it));
        match without {
            None => {}
            Some(0) => self.warn(port.place, "ports belong to a protocol: write proto tcp or udp"),
            Some(other) => self.warn(port.place, format!("IP protocol {other} has no ports")),
        }
    }

    fn port_range(&mut self, place: Place, low: &str, high: &str) -> (u16, u16) {
        match (low.parse(), high.parse()) {
            (Ok(low), Ok(high)) if low <= high => (low, high),
            _ => {
                let found = format!("\"{low}:{high}\"");
                self.error(place, Problem::found(found, "two ports, the lower one first"));
                (0, u16::MAX)
            }
        }
    }

    fn ip_protocol(&mut self, word: &Spanned<Word>) -> Option<u8> {
        let number = match &word.value {
            Word::Number(number) => u8::try_from(*number).ok(),
            Word::Name(name) => self.names.protocol(name),
        };
        if number.is_none() {
            let expected = "an IP protocol's name, or its number from 0 to 255";
            self.error(word.place, Problem::found(describe(&word.value), expected));
        }
        number
    }

    /// `local` or `peer`: `Some(None)` is any; `None` after an error.
    pub(super) fn peer_address(
        &mut self,
        host: Option<&Spanned<Host>>,
        family: Option<Family>,
    ) -> Option<Option<Prefix>> {
        let Some(host) = host else { return Some(None) };
        if host.value == Host::Any {
            return Some(None);
        }
        let found = self.prefixes(host)?;
        let Some(prefix) = found.iter().find(|p| fits(p.address(), family)) else {
            let problem = Problem::found("an address of the other family", "one of this rule's");
            self.error(host.place, problem);
            return None;
        };
        Some(Some(*prefix))
    }

    /// The prefixes that a host word means; `None` after an error.
    pub(super) fn prefixes(&mut self, host: &Spanned<Host>) -> Option<Vec<Prefix>> {
        let Host::Named { word, length } = &host.value else { return Some(Vec::new()) };
        match addresses(word, *length, self.names) {
            Addresses::Prefixes(prefixes) => Some(prefixes),
            Addresses::Unresolved => {
                let sentence =
                    format!("\"{word}\" has no address now: the rule waits until it has");
                self.warn(host.place, sentence);
                self.unresolved = true;
                None
            }
            Addresses::Bad(expected) => {
                let found = match length {
                    Some(length) => format!("\"{word}/{length}\""),
                    None => format!("\"{word}\""),
                };
                self.error(host.place, Problem::found(found, expected));
                None
            }
        }
    }
}

fn fits(address: IpAddr, family: Option<Family>) -> bool {
    match family {
        None => true,
        Some(Family::Inet) => address.is_ipv4(),
        Some(Family::Inet6) => address.is_ipv6(),
    }
}

/// A flow of this protocol. Of ICMP a port up to 255 is a type with all its codes; what is larger is
/// type and code, as TrafficSelectors have them (RFC 7296 §3.13.1).
fn of_protocol(flow: Flow, ip_protocol: u8) -> Flow {
    let types = |end: FlowEnd| match end.ports {
        (first, last @ ..=0xff) => FlowEnd { ports: (first << 8, last << 8 | 0xff), ..end },
        _ => end,
    };
    let (local, remote) = match TrafficSelector::ICMP.contains(&ip_protocol) {
        true => (types(flow.local), types(flow.remote)),
        false => (flow.local, flow.remote),
    };
    Flow { ip_protocol, local, remote, ..flow }
}

fn same_family(a: &FlowAddresses, b: &FlowAddresses) -> bool {
    match (a, b) {
        (FlowAddresses::Prefix(a), FlowAddresses::Prefix(b)) => {
            a.address().is_ipv4() == b.address().is_ipv4()
        }
        _ => true,
    }
}

fn describe(word: &Word) -> String {
    match word {
        Word::Name(name) => format!("\"{name}\""),
        Word::Number(number) => format!("\"{number}\""),
    }
}
