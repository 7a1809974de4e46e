//! The configuration payload: addresses given, kept, taken over, given back.

use oakd::conf::*;
use oakd::ike::event::{Command, Direction, Input};
use oakd::ike::inner::{HostChange, HostConfig};
use oakd::ike::report::Event;

use crate::pair::*;

/// A roadwarrior (A) that asks for an address, and a gateway (B) that has a pool.
fn roadwarrior(change: impl Fn(usize, &mut Policy)) -> Pair {
    let mut pair = Pair::new();
    configure(&mut pair, B, Globals::default(), &change);
    configure(&mut pair, A, Globals::default(), &change);
    pair
}

fn configure(pair: &mut Pair, side: usize, globals: Globals, change: &impl Fn(usize, &mut Policy)) {
    let mut it = policy(side);
    let dynamic = FlowEnd { addresses: FlowAddresses::Dynamic, ports: (0, 65535) };
    if side == A {
        it.flows = vec![Flow { local: dynamic, ..flow("10.1.0.0/24", "10.2.0.0/24") }];
        it.wanted = vec![wanted(CfgOption::Address), wanted(CfgOption::NameServer)];
        it.iface = Some("lo1".into());
    } else {
        it.flows = vec![Flow { remote: dynamic, ..flow("10.2.0.0/24", "10.1.0.0/24") }];
        it.provision.addresses = vec![pool("10.99.0.0", 24)];
        it.provision.name_servers = vec![ip("10.2.0.53")];
        it.provision.netbios_servers = vec![ip("10.2.0.54")];
        it.peer = None;
    }
    change(side, &mut it);
    let globals = Globals { dpd_check_interval: 0, ..globals };
    pair.input(side, Input::Configure(Config { globals, policies: vec![it] }.into()));
}

fn pool(address: &str, length: u8) -> AddressPool {
    AddressPool::new(ip(address), length).unwrap()
}

fn wanted(option: CfgOption) -> Wanted {
    Wanted { option, family: Family::Inet, address: None }
}

/// What the host of A is told, in order.
pub fn applied(pair: &Pair) -> Vec<&HostConfig> {
    let host = &pair.sides[A].host;
    host.iter()
        .filter_map(|change| match change {
            HostChange::Apply(config) => Some(&**config),
            HostChange::Withdraw(_) => None,
        })
        .collect()
}

pub fn withdrawn(pair: &Pair) -> usize {
    let host = &pair.sides[A].host;
    host.iter().filter(|change| matches!(change, HostChange::Withdraw(_))).count()
}

/// The outbound flows of a side, printed.
pub fn flows(pair: &Pair, side: usize) -> Vec<String> {
    let all = pair.sides[side].kernel.flows.keys();
    let outbound = all.filter(|(direction, _)| *direction == Direction::Out);
    let mut all: Vec<_> =
        outbound.map(|(_, flow)| format!("{} -> {}", flow.src, flow.dst)).collect();
    all.sort();
    all
}

#[test]
fn an_address_is_given_and_the_host_is_told() {
    let mut pair = roadwarrior(|_, _| ());
    pair.pass(2).assert_up();
    assert_eq!(flows(&pair, A), ["10.99.0.1 -> 10.2.0.0/24"]);
    assert_eq!(flows(&pair, B), ["10.2.0.0/24 -> 10.99.0.1"]);
    let config = applied(&pair)[0];
    assert_eq!(config.addresses, [(ip("10.99.0.1"), 32)]);
    assert_eq!(config.routes, [prefix("10.2.0.0/24")]);
    // The WINS server was not asked for.
    assert_eq!(config.name_servers, [ip("10.2.0.53")]);
    assert_eq!(config.iface.as_deref(), Some("lo1"));
    let lease = &pair.sides[B].leases[0];
    assert_eq!(lease.address, ip("10.99.0.1"));
    assert_eq!((pair.sides[B].leases.len(), withdrawn(&pair)), (1, 0));
    pair.command(A, Command::Shutdown);
    pair.pass(3);
    assert_eq!(withdrawn(&pair), 1);
    pair.end();
}

#[test]
fn rekeying_keeps_the_address_and_a_new_ike_sa_gets_it_again() {
    let mut pair = roadwarrior(|_, policy| policy.ike_lifetime = 600);
    pair.pass(2).assert_up();
    pair.pass(1500).assert_up();
    assert!(pair.reported(A, |event| matches!(event, Event::IkeRekeyed { .. })));
    assert_eq!((applied(&pair).len(), withdrawn(&pair)), (1, 0));
    pair.command(A, Command::ResetAll);
    pair.pass(5).assert_up();
    assert_eq!((applied(&pair).len(), withdrawn(&pair)), (2, 1));
    assert_eq!(applied(&pair)[1].addresses, [(ip("10.99.0.1"), 32)]);
    // The same holder: nothing new to be kept.
    assert_eq!(pair.sides[B].leases.len(), 1);
    pair.end();
}

#[test]
fn a_client_that_crashed_takes_its_address_over() {
    let mut pair = roadwarrior(|_, _| ());
    pair.pass(2).assert_up();
    let settings = oakd::ike::Settings::default();
    let fresh = Pair::with(settings, 7).sides.into_iter().next().unwrap();
    pair.sides[A] = fresh;
    configure(&mut pair, A, Globals::default(), &|_, _| ());
    pair.pass(5).assert_up();
    assert_eq!(applied(&pair)[0].addresses, [(ip("10.99.0.1"), 32)]);
    assert_eq!(flows(&pair, B), ["10.2.0.0/24 -> 10.99.0.1"]);
    pair.end();
}

#[test]
fn a_gateway_that_restarts_gives_the_same_addresses_when_told_of_them() {
    let mut pair = roadwarrior(|_, _| ());
    pair.pass(2).assert_up();
    let leases = pair.sides[B].leases.clone();
    let settings = oakd::ike::Settings::default();
    pair.sides[B] = Pair::with(settings, 7).sides.into_iter().nth(1).unwrap();
    // Another pool comes first: only what was kept leads to the old address.
    let both = |side: usize, policy: &mut Policy| {
        if side == B {
            policy.provision.addresses = vec![pool("10.98.0.0", 24), pool("10.99.0.0", 24)];
        }
    };
    configure(&mut pair, B, Globals::default(), &both);
    for lease in leases {
        pair.input(B, Input::Lease(lease));
    }
    pair.command(A, Command::ResetAll);
    pair.pass(300).assert_up();
    let last = applied(&pair).last().unwrap().addresses.clone();
    assert_eq!(last, [(ip("10.99.0.1"), 32)]);
}

#[test]
fn both_families_at_once() {
    let mut pair = roadwarrior(|side, policy| {
        if side == A {
            let v6 = Wanted { family: Family::Inet6, ..wanted(CfgOption::Address) };
            policy.wanted.push(v6);
            let mut other = policy.flows[0].clone();
            other.remote.addresses = FlowAddresses::Prefix(prefix("2001:db8:2::/48"));
            policy.flows.push(other);
        } else {
            policy.provision.addresses.push(pool("2001:db8:99::", 64));
            let mut other = policy.flows[0].clone();
            other.local.addresses = FlowAddresses::Prefix(prefix("2001:db8:2::/48"));
            policy.flows.push(other);
        }
    });
    pair.pass(2).assert_up();
    let wanted = ["10.99.0.1 -> 10.2.0.0/24", "2001:db8:99::1 -> 2001:db8:2::/48"];
    assert_eq!(flows(&pair, A), wanted);
    let config = applied(&pair)[0];
    assert_eq!(config.addresses, [(ip("10.99.0.1"), 32), (ip("2001:db8:99::1"), 128)]);
    pair.end();
}

#[test]
fn subnets_and_domains_are_taken_where_asked_for() {
    let mut pair = roadwarrior(|side, policy| {
        if side == A {
            policy.flows[0].remote.addresses = FlowAddresses::Prefix(prefix("0.0.0.0/0"));
            policy.wanted.push(wanted(CfgOption::ProtectedSubnet));
            policy.wanted.push(wanted(CfgOption::Domain));
            policy.wanted.push(wanted(CfgOption::Netmask));
        } else {
            policy.flows[0].local.addresses = FlowAddresses::Prefix(prefix("0.0.0.0/0"));
            policy.provision.subnets = vec![prefix("10.2.0.0/16"), prefix("10.3.0.0/16")];
            policy.provision.domains = vec!["corp.example.net".into()];
            policy.provision.netmask = Some("255.255.255.0".parse().unwrap());
        }
    });
    pair.pass(2).assert_up();
    let config = applied(&pair)[0];
    assert_eq!(config.addresses, [(ip("10.99.0.1"), 24)]);
    assert_eq!(config.routes, [prefix("10.2.0.0/16"), prefix("10.3.0.0/16")]);
    assert_eq!(config.domains, ["corp.example.net"]);
    assert_eq!(flows(&pair, A), ["10.99.0.1 -> 0.0.0.0/0"]);
    pair.end();
}

#[test]
fn a_specific_address_is_asked_for_and_given() {
    let mut pair = roadwarrior(|side, policy| {
        if side == A {
            policy.wanted[0].address = Some(ip("10.99.0.77"));
        }
    });
    pair.pass(2).assert_up();
    assert_eq!(applied(&pair)[0].addresses, [(ip("10.99.0.77"), 32)]);
    pair.end();
}

#[test]
fn an_exhausted_pool_is_told_on_both_sides_and_tried_again() {
    // The only address of the pool is a server's.
    let mut pair = roadwarrior(|side, policy| {
        if side == B {
            policy.provision.addresses = vec![pool("10.99.0.1", 32)];
            policy.provision.name_servers = vec![ip("10.99.0.1")];
        }
    });
    pair.pass(2).assert_ike(0);
    pair.assert_children(0);
    assert!(pair.told(A, "trying again"));
    assert!(pair.told(B, "no IPv4 address is left"));
    assert!(pair.told(A, "INTERNAL_ADDRESS_FAILURE"));
    assert!(applied(&pair).is_empty());
    pair.end();
}

#[test]
fn no_address_although_one_is_asked_for_is_told() {
    let mut pair = roadwarrior(|side, policy| {
        if side == B {
            policy.provision = Provision::default();
            policy.flows = vec![flow("10.2.0.0/24", "10.1.0.0/24")];
        }
    });
    pair.pass(2).assert_ike(0);
    pair.assert_children(0);
    assert!(pair.told(A, "no agreement on an address for us"));
    pair.end();
}

#[test]
fn sticky_addresses_end_the_older_ike_sa() {
    let sticky = Globals { sticky_address: true, ..Globals::default() };
    let mut pair = Pair::new();
    configure(&mut pair, B, sticky, &|_, _| ());
    configure(&mut pair, A, Globals::default(), &|_, _| ());
    pair.pass(2).assert_up();
    // The client begins anew and does not say INITIAL_CONTACT: it calls from elsewhere too.
    let settings = oakd::ike::Settings::default();
    pair.sides[A] = Pair::with(settings, 9).sides.into_iter().next().unwrap();
    configure(&mut pair, A, Globals::default(), &|_, _| ());
    pair.pass(200);
    assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1);
    assert_eq!(applied(&pair)[0].addresses, [(ip("10.99.0.1"), 32)]);
    assert_eq!(flows(&pair, B), ["10.2.0.0/24 -> 10.99.0.1"]);
}

/// Whether A was told of these families (RFC 8983), by the ladder of IKE_AUTH.
fn allowed(pair: &Pair) -> (bool, bool) {
    let says = |words: &str| {
        let mut reports = pair.sides[A].reports.iter();
        reports.any(|report| match &report.event {
            Event::Message { payloads, .. } => payloads.iter().any(|it| it.contains(words)),
            _ => false,
        })
    };
    (says("IP4_ALLOWED"), says("IP6_ALLOWED"))
}

/// A asks for these families, B has pools of those.
fn families(asked: &[Family], pools: &[(&str, u8)]) -> Pair {
    let mut pair = Pair::new();
    pair.command(A, Command::Trace(true));
    let change = |side: usize, it: &mut Policy| match side {
        A => {
            let address = |family| Wanted { option: CfgOption::Address, family, address: None };
            it.wanted = asked.iter().map(|family| address(*family)).collect();
        }
        _ => {
            it.provision.addresses =
                pools.iter().map(|(address, length)| pool(address, *length)).collect();
        }
    };
    configure(&mut pair, B, Globals::default(), &change);
    configure(&mut pair, A, Globals::default(), &change);
    pair.pass(2);
    pair
}

#[test]
fn which_families_there_are_is_said_and_understood() {
    let (v4, v6) = (("10.99.0.0", 24), ("2001:db8:99::", 120));
    let both = families(&[Family::Inet], &[v4, v6]);
    assert_eq!(allowed(&both), (true, true));
    both.assert_up();
    let one = families(&[Family::Inet, Family::Inet6], &[v4]);
    assert_eq!(allowed(&one), (true, false));
    one.assert_up();
    let other = families(&[Family::Inet6], &[v4]);
    assert_eq!(allowed(&other), (true, false));
    other.assert_children(0);
    assert!(other.told(A, "we ask for an address of IPv6, and the peer has some of IPv4 only"));
    assert!(other.told(A, "write `request address 0.0.0.0`"));
}
