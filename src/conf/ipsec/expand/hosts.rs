//! Hosts of a rule to addresses, and sources to destinations.

use std::net::IpAddr;

use super::super::{Address, DYNAMIC, Ends};
use super::{Context, Failure};
use crate::conf::source::{is_link_local, literal};
use crate::conf::syntax::{Host, Side, Spanned};

/// The most entries one rule may become.
const ENTRY_LIMIT: usize = 1 << 20;

type Pair = (Address, Address);

impl Context<'_> {
    /// `local`, and `peer`: nothing if none is written, `Some(None)` for `any`.
    #[allow(clippy::type_complexity)]
    pub(super) fn tunnel(
        &self,
        ends: &Ends,
    ) -> Result<(Option<Address>, Option<Option<Address>>), String> {
        let first = |host: &Spanned<Host>| -> Result<Option<Address>, String> {
            match &host.value {
                Host::Named { .. } => Ok(self.addresses(&host.value)?.into_iter().next()),
                Host::Any | Host::Dynamic => Ok(None),
            }
        };
        let local = ends.local.as_ref().map(first).transpose()?.flatten();
        Ok((local, ends.peer.as_ref().map(first).transpose()?))
    }

    /// Every source with every destination of its family.
    pub(super) fn pairs(&self, from: &Side, to: &Side) -> Result<Vec<Pair>, Failure> {
        let (sources, targets) = (self.side(from)?, self.side(to)?);
        let open = |side: &Side| side.hosts.iter().any(|h| h.host.value == Host::Any);
        let has = |list: &[Address], v4: bool| list.iter().any(|a| a.ip.is_ipv4() == v4);
        let differ = |v4| has(&sources, v4) != has(&targets, v4);
        if !open(from) && !open(to) && differ(true) && differ(false) {
            return Err(Failure::Expands(
                "source/destination address families do not match".to_owned(),
            ));
        }
        let mut pairs = Vec::new();
        for src in &sources {
            for dst in targets.iter().filter(|dst| dst.ip.is_ipv4() == src.ip.is_ipv4()) {
                if pairs.len() >= ENTRY_LIMIT {
                    let sentence = format!("rule expands to more than {ENTRY_LIMIT} combinations");
                    return Err(Failure::Says(sentence));
                }
                pairs.push((src.clone(), dst.clone()));
            }
        }
        if pairs.is_empty() {
            return Err(Failure::Expands("rule expands to no valid combination".to_owned()));
        }
        Ok(pairs)
    }

    fn side(&self, side: &Side) -> Result<Vec<Address>, String> {
        let mut found = Vec::new();
        for item in &side.hosts {
            let nat = item.srcnat.as_ref().map(|nat| &nat.value);
            found.extend(self.side_host(&item.host.value, nat)?);
        }
        Ok(found)
    }

    /// The addresses of a host. Only the first of several is translated.
    pub(super) fn side_host(
        &self,
        host: &Host,
        nat: Option<&Host>,
    ) -> Result<Vec<Address>, String> {
        match host {
            Host::Any => return Ok(vec![any(true), any(false)]),
            // An address that Mode Config assigns is of IPv4.
            Host::Dynamic => {
                return Ok(vec![Address {
                    length: 32,
                    name: DYNAMIC.to_owned(),
                    network: false,
                    ..any(true)
                }]);
            }
            Host::Named { .. } => {}
        }
        let nat = match nat {
            Some(nat) => self.addresses(nat)?.into_iter().next(),
            None => None,
        };
        let mut found = self.addresses(host)?;
        if let (Some(first), Some(nat)) = (found.first_mut(), nat) {
            if nat.ip.is_ipv4() != first.ip.is_ipv4() {
                return Err("Flow NAT address family mismatch".to_owned());
            }
            first.srcnat = Some(Box::new(nat));
        }
        Ok(found)
    }

    /// The addresses of a host word. An IPv4 address is called as it is written, an interface by
    /// its name, others in their usual form.
    pub(super) fn addresses(&self, host: &Host) -> Result<Vec<Address>, String> {
        let Host::Named { word, length } = host else { return Ok(Vec::new()) };
        let full = |ip: &IpAddr| if ip.is_ipv4() { 32 } else { 128 };
        let plain = |ip: IpAddr, name: String| {
            let length = full(&ip);
            Address { ip, length, name, network: false, srcnat: None }
        };
        let found: Vec<Address> = match self.names.interface(word) {
            Some(found) => {
                let found = found.into_iter().filter(|it| !is_link_local(it.address));
                found.map(|it| plain(it.address, it.interface)).collect()
            }
            None => match length.map(u8::try_from).transpose() {
                Err(_) => Vec::new(),
                Ok(length) => match written(word, length) {
                    Some(address) => vec![address],
                    None if length.is_some() => Vec::new(),
                    None => {
                        let found = self.names.host(word).into_iter();
                        found.map(|ip| plain(ip, ip.to_string())).collect()
                    }
                },
            },
        };
        match found.is_empty() {
            true => Err("could not parse host specification".to_owned()),
            false => Ok(found),
        }
    }
}

/// An address in digits, with the length of its network perhaps. Only an IPv4 network may leave
/// out octets.
fn written(word: &str, length: Option<u8>) -> Option<Address> {
    let (ip, bits) = literal(word)?;
    if bits.is_some() && length.is_none() {
        return None;
    }
    let full = if ip.is_ipv4() { 32 } else { 128 };
    let bits = length.or(bits).unwrap_or(full);
    let network = if ip.is_ipv4() { length.is_some() } else { bits != full };
    let called = if ip.is_ipv4() { word.to_owned() } else { ip.to_string() };
    let name = if network { format!("{called}/{bits}") } else { called };
    (bits <= full).then_some(Address { ip, length: bits, name, network, srcnat: None })
}

pub(super) fn any(v4: bool) -> Address {
    let (ip, name) = match v4 {
        true => (std::net::Ipv4Addr::UNSPECIFIED.into(), "0.0.0.0/0"),
        false => (std::net::Ipv6Addr::UNSPECIFIED.into(), "::/0"),
    };
    Address { ip, length: 0, name: name.to_owned(), network: true, srcnat: None }
}
