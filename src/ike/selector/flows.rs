//! Which flows a kernel needs for a pair of traffic selectors: ranges become aligned blocks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::conf::Prefix;
use crate::ike::event::{KernelSelector, Ports, Selects};
use crate::wire::v2::TrafficSelector;

/// The most flows that one child SA may have: traffic that needs more is refused.
pub const MAX_FLOWS: usize = 64;

/// Why there are no flows for some traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoFlows {
    /// It and the policy's have nothing in common.
    NothingInCommon,
    /// The kernel does not look at the ports (or ICMP types) of this IP protocol.
    Unseen(u8),
    /// The kernel takes single ports, and the range is too wide for one flow each.
    TooWide,
    /// The kernel takes port 0 for all of them, and the range begins with it.
    PortZero,
    /// The kernel takes one ICMP type, or one type and code, and not this.
    Icmp,
    /// They would be more than [`MAX_FLOWS`].
    TooMany,
}

impl NoFlows {
    /// What to change.
    pub fn advice(self) -> &'static str {
        match self {
            Self::NothingInCommon => "make `from` and `to` of one side the mirror of the other's",
            _ => {
                "write traffic on both sides that the kernel here can choose: PORTS AND THE KERNEL in \
                 oakd.conf(5)"
            }
        }
    }
}

impl fmt::Display for NoFlows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingInCommon => f.write_str("they have no traffic in common that makes a flow"),
            Self::Unseen(protocol) => write!(
                f,
                "the flows of this kernel do not tell packets of IP protocol {protocol} by {}: take \
                 all of it, and let the packet filter choose",
                if TrafficSelector::ICMP.contains(protocol) { "type" } else { "port" }
            ),
            Self::TooWide => write!(
                f,
                "the range of ports is too wide: this kernel takes one port or all of them in a \
                 flow, and there may be {MAX_FLOWS} flows; take fewer ports, or all and let the \
                 packet filter choose"
            ),
            Self::PortZero => f.write_str(
                "the range begins with port 0, which this kernel takes for all ports: begin with 1",
            ),
            Self::Icmp => f.write_str(
                "the kernel takes all ICMP messages, one type, or one type and code, and not type 0 \
                 alone",
            ),
            Self::TooMany => write!(
                f,
                "it makes more flows than the {MAX_FLOWS} that a child SA may have: ranges of \
                 addresses and ports make the fewest if they begin and end at powers of two"
            ),
        }
    }
}

/// The kernel's selectors for a pair of ranges. Of a kernel that is not known yet everything is
/// believed but masks.
pub fn kernel_selectors(
    local: &TrafficSelector,
    remote: &TrafficSelector,
    selects: Option<&Selects>,
) -> Result<Vec<KernelSelector>, NoFlows> {
    let ip_protocol = local.protocol.max(remote.protocol);
    let any = [local.ports, remote.ports] == [TrafficSelector::ANY_PORTS; 2];
    let seen = selects.is_none_or(|it| ip_protocol == 0 || it.protocols.contains(&ip_protocol));
    if !any && !seen {
        return Err(NoFlows::Unseen(ip_protocol));
    }
    let masks = selects.is_some_and(|it| it.masks);
    let port_pairs = match TrafficSelector::ICMP.contains(&ip_protocol) {
        true => icmp_ports(local.ports, remote.ports)?,
        false => pairs(&ports(local.ports, masks)?, &ports(remote.ports, masks)?).collect(),
    };
    let (sources, destinations) = (prefixes(local.addresses)?, prefixes(remote.addresses)?);
    let count = sources.len() * destinations.len() * port_pairs.len();
    if count > MAX_FLOWS {
        return Err(NoFlows::TooMany);
    }
    let mut all = Vec::with_capacity(count);
    for (src, dst) in pairs(&sources, &destinations) {
        all.extend(port_pairs.iter().map(|&(src_port, dst_port)| KernelSelector {
            src,
            dst,
            ip_protocol,
            src_port,
            dst_port,
        }));
    }
    Ok(all)
}

/// Each with each.
fn pairs<A: Copy, B: Copy>(these: &[A], those: &[B]) -> impl Iterator<Item = (A, B)> {
    these.iter().flat_map(|one| those.iter().map(move |other| (*one, *other)))
}

/// A range of ports as a kernel takes it: in blocks, or one by one.
fn ports(range: (u16, u16), masks: bool) -> Result<Vec<Ports>, NoFlows> {
    match range {
        TrafficSelector::ANY_PORTS => Ok(vec![Ports::ANY]),
        _ if masks => Ok(port_blocks(range)),
        (0, _) => Err(NoFlows::PortZero),
        (first, last) if usize::from(last.saturating_sub(first)) < MAX_FLOWS => {
            Ok((first..=last).map(Ports::exactly).collect())
        }
        _ => Err(NoFlows::TooWide),
    }
}

/// The fewest masks that make up a range of ports: 30 at most.
pub fn port_blocks((first, last): (u16, u16)) -> Vec<Ports> {
    let block = |(value, free): (u128, u32)| Ports {
        value: u16::try_from(value).unwrap_or(u16::MAX),
        mask: u16::MAX.checked_shl(free).unwrap_or(0),
    };
    blocks((first.into(), last.into()), u16::BITS).map(block).collect()
}

/// ICMP's type and code, which are the two octets of a port (RFC 7296 §3.13.1). They are the packet's
/// own, so that what one side says holds for both.
fn icmp_ports(local: (u16, u16), remote: (u16, u16)) -> Result<Vec<(Ports, Ports)>, NoFlows> {
    let (first, last) = (local.0.max(remote.0), local.1.min(remote.1));
    if (first, last) == TrafficSelector::ANY_PORTS {
        return Ok(vec![(Ports::ANY, Ports::ANY)]);
    }
    let (types, codes) = ((first >> 8, last >> 8), (first & 0xff, last & 0xff));
    // The kernels take 0 for any: type 0 alone cannot be said to them, code 0 is any code.
    if first > last || types.0 == 0 {
        return Err(NoFlows::Icmp);
    }
    let with = |code| move |kind| (Ports::exactly(kind), code);
    match codes {
        (0, 0xff) => Ok((types.0..=types.1).map(with(Ports::ANY)).collect()),
        _ if types.0 != types.1 => Err(NoFlows::Icmp),
        (0, 0) => Ok(vec![with(Ports::ANY)(types.0)]),
        (code, other) if code == other => Ok(vec![with(Ports::exactly(code))(types.0)]),
        _ => Err(NoFlows::Icmp),
    }
}

/// The fewest prefixes that make up a range of addresses.
pub fn prefixes(range: (IpAddr, IpAddr)) -> Result<Vec<Prefix>, NoFlows> {
    let bits = if range.0.is_ipv4() { 32 } else { 128 };
    let number = |address| match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    };
    let prefix = |(first, free): (u128, u32)| {
        let address = match range.0 {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(first).ok()?)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(first)),
        };
        Prefix::new(address, u8::try_from(bits - free).ok()?)
    };
    let found: Vec<Prefix> = blocks((number(range.0), number(range.1)), bits)
        .map_while(prefix)
        .take(MAX_FLOWS + 1)
        .collect();
    if found.len() > MAX_FLOWS { Err(NoFlows::TooMany) } else { Ok(found) }
}

/// The fewest aligned blocks that make up a range of numbers of so many bits: the first number of
/// each, and how many of its low bits are free.
fn blocks((first, last): (u128, u128), bits: u32) -> impl Iterator<Item = (u128, u32)> {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let first = next.filter(|first| *first <= last)?;
        let span = last - first;
        let fitting = if span == u128::MAX { u128::BITS } else { (span + 1).ilog2() };
        let free = first.trailing_zeros().min(bits).min(fitting);
        let size = 1u128.checked_shl(free);
        next = size.and_then(|size| first.checked_add(size));
        Some((first, free))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cover(first: &str, last: &str) -> Vec<String> {
        let range = (first.parse().unwrap(), last.parse().unwrap());
        prefixes(range).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ranges_become_the_fewest_prefixes() {
        assert_eq!(cover("10.0.0.0", "10.0.0.255"), ["10.0.0.0/24"]);
        assert_eq!(cover("0.0.0.0", "255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(cover("10.0.0.1", "10.0.0.4"), ["10.0.0.1", "10.0.0.2/31", "10.0.0.4"]);
        assert_eq!(cover("255.255.255.254", "255.255.255.255"), ["255.255.255.254/31"]);
        assert_eq!(cover("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
        assert_eq!(cover("2001:db8::", "2001:db8::1"), ["2001:db8::/127"]);
        let many = ("::1".parse().unwrap(), "7fff:ffff::".parse().unwrap());
        assert_eq!(prefixes(many), Err(NoFlows::TooMany));
    }

    #[test]
    fn ranges_of_ports_become_the_fewest_masks() {
        let said = |range| port_blocks(range).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(said((0, 65535)), ["any"]);
        assert_eq!(said((80, 80)), ["80"]);
        assert_eq!(said((0, 0)), ["0"]);
        assert_eq!(said((0, 1023)), ["0:1023"]);
        assert_eq!(
            said((1024, 65535)),
            ["1024:2047", "2048:4095", "4096:8191", "8192:16383", "16384:32767", "32768:65535"]
        );
        assert_eq!(said((5000, 5002)), ["5000:5001", "5002"]);
        assert_eq!(port_blocks((1, 65534)).len(), 30);
    }

    #[test]
    fn each_port_of_a_range_is_in_one_block_and_no_other_is() {
        for range in [(1, 65534), (1, 65535), (0, 65534), (1023, 1025), (7, 32768), (65535, 65535)]
        {
            let blocks = port_blocks(range);
            for port in 0..=u16::MAX {
                let in_it = blocks.iter().filter(|it| it.contains(Ports::exactly(port))).count();
                assert_eq!(in_it, usize::from((range.0..=range.1).contains(&port)), "{port}");
            }
        }
    }

    #[test]
    fn icmp_is_selected_by_type_and_code() {
        const ANY: (u16, u16) = TrafficSelector::ANY_PORTS;
        let of = |kind| (Ports::exactly(kind), Ports::ANY);
        assert_eq!(icmp_ports(ANY, ANY), Ok(vec![(Ports::ANY, Ports::ANY)]));
        assert_eq!(icmp_ports((0x0800, 0x08ff), ANY), Ok(vec![of(8)]));
        assert_eq!(icmp_ports(ANY, (0x0800, 0x08ff)), Ok(vec![of(8)]));
        assert_eq!(icmp_ports((0x0300, 0x05ff), ANY), Ok(vec![of(3), of(4), of(5)]));
        let both = (Ports::exactly(3), Ports::exactly(4));
        assert_eq!(icmp_ports((0x0304, 0x0304), (0x0300, 0x03ff)), Ok(vec![both]));
        for (local, remote) in [
            ((0x0000, 0x00ff), ANY),
            ((0x0302, 0x0304), ANY),
            ((0x0302, 0x0402), ANY),
            ((0x0300, 0x03ff), (0x0400, 0x04ff)),
        ] {
            assert_eq!(icmp_ports(local, remote), Err(NoFlows::Icmp));
        }
    }
}
