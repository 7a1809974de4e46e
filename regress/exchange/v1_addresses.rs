//! IKEv1: Mode Config, by which a client is given an address, asked for or not.

use crate::addresses::{applied, flows, withdrawn};
use crate::pair::*;
use crate::v1_login::{users, with_login};
use crate::v1_phases::ikev1;
use oakd::conf::*;
use oakd::ike::event::Command;
use oakd::ike::report::Event;
use oakd::wire::Header;
use oakd::wire::iana::v1::ExchangeType;

/// A client (A) that asks for an address, and a gateway (B) that has a pool.
fn client(side: usize, policy: &mut Policy) {
    let dynamic = FlowEnd { addresses: FlowAddresses::Dynamic, ports: (0, 65535) };
    let wanted = |option| Wanted { option, family: Family::Inet, address: None };
    if side == A {
        policy.flows = vec![Flow { local: dynamic, ..flow("10.1.0.0/24", "10.2.0.0/16") }];
        policy.wanted = vec![wanted(CfgOption::Address), wanted(CfgOption::NameServer)];
        policy.iface = Some("lo1".into());
    } else {
        policy.flows = vec![Flow { remote: dynamic, ..flow("10.2.0.0/16", "10.1.0.0/24") }];
        policy.provision.addresses = vec![AddressPool::new(ip("10.99.0.0"), 24).unwrap()];
        policy.provision.name_servers = vec![ip("10.2.0.53")];
        policy.peer = None;
    }
}

fn roadwarrior(change: impl Fn(usize, &mut Policy)) -> Pair {
    let mut pair = Pair::new();
    start(&mut pair, change);
    pair
}

fn start(pair: &mut Pair, change: impl Fn(usize, &mut Policy)) {
    for side in [B, A] {
        let mut it = ikev1(side, Phase1::Main);
        client(side, &mut it);
        change(side, &mut it);
        pair.configure(side, vec![it]);
    }
}

fn transactions(datagram: &Datagram) -> bool {
    Header::parse(&datagram.octets)
        .is_ok_and(|header| header.exchange_v1() == ExchangeType::TRANSACTION)
}

#[test]
fn an_address_is_asked_for_before_phase_2_and_given_back() {
    let mut pair = roadwarrior(|_, _| ());
    pair.pass(3).assert_up();
    assert_eq!(flows(&pair, A), ["10.99.0.1 -> 10.2.0.0/16"]);
    assert_eq!(flows(&pair, B), ["10.2.0.0/16 -> 10.99.0.1"]);
    let config = applied(&pair)[0];
    assert_eq!(config.addresses, [(ip("10.99.0.1"), 32)]);
    assert_eq!(config.routes, [prefix("10.2.0.0/16")]);
    assert_eq!(config.name_servers, [ip("10.2.0.53")]);
    assert_eq!(config.iface.as_deref(), Some("lo1"));
    assert_eq!(pair.sides[B].leases[0].address, ip("10.99.0.1"));
    pair.command(A, Command::Shutdown);
    pair.pass(3);
    assert_eq!(withdrawn(&pair), 1);
    pair.end();
}

#[test]
fn after_a_login_the_lease_is_the_users() {
    let mut pair = Pair::new();
    users(&mut pair, "open sesame");
    start(&mut pair, with_login);
    pair.pass(3).assert_up();
    let holder = pair.sides[B].leases[0].holder.octets().to_vec();
    assert!(holder.ends_with(b"alice"), "{holder:?}");
    assert!(pair.reported(B, |event| matches!(event, Event::AddressesGiven { .. })));
    pair.end();
}

#[test]
fn a_successor_of_phase_1_keeps_the_address() {
    let mut pair = roadwarrior(|_, policy| policy.ike_lifetime = 600);
    pair.pass(3).assert_up();
    pair.pass(1500).assert_up();
    assert!(pair.reported(A, |event| matches!(event, Event::IkeRekeyed { .. })));
    assert!(applied(&pair).iter().all(|it| it.addresses == [(ip("10.99.0.1"), 32)]));
    // Whatever was replaced is taken back; the last stays.
    assert_eq!(withdrawn(&pair) + 1, applied(&pair).len());
    assert_eq!(pair.sides[B].leases.len(), 1);
    pair.command(A, Command::ResetAll);
    pair.pass(5).assert_up();
    assert_eq!(flows(&pair, B), ["10.2.0.0/16 -> 10.99.0.1"]);
    pair.end();
}

#[test]
fn who_does_not_ask_is_told_unasked() {
    // The request never arrives: the gateway pushes, and that is taken for the answer.
    let mut pair = Pair::new();
    let mut lost = 0;
    pair.network = Box::new(move |_, datagram| match transactions(datagram) && datagram.to == B {
        true if lost < 2 => {
            lost += 1;
            Fate::Lose
        }
        _ => Fate::Deliver,
    });
    start(&mut pair, |_, _| ());
    pair.pass(15).assert_up();
    assert_eq!(flows(&pair, A), ["10.99.0.1 -> 10.2.0.0/16"]);
    assert_eq!(applied(&pair).len(), 1);
    pair.end();
}

#[test]
fn a_gateway_that_calls_tells_the_address_before_phase_2() {
    let mut pair = roadwarrior(|side, policy| {
        policy.start = if side == B { Start::Active } else { Start::Passive };
        policy.peer = Some(Prefix::host(ip(["192.0.2.2", "192.0.2.1"][side])));
    });
    pair.pass(5).assert_up();
    // The flow to its outer address only keeps packets from leaking.
    assert!(flows(&pair, B).contains(&"10.2.0.0/16 -> 10.99.0.1".to_string()));
    assert_eq!(flows(&pair, A), ["10.99.0.1 -> 10.2.0.0/16"]);
    pair.end();
}

#[test]
fn a_client_without_wishes_is_left_alone() {
    let mut pair = roadwarrior(|side, policy| {
        if side == A {
            policy.wanted.clear();
            policy.iface = None;
        }
    });
    pair.pass(30).assert_up();
    assert_eq!(flows(&pair, A), ["192.0.2.1 -> 10.2.0.0/16"]);
    assert!(applied(&pair).is_empty());
    pair.end();
}

#[test]
fn no_address_left_is_told_on_both_sides() {
    let mut pair = roadwarrior(|side, policy| {
        if side == B {
            policy.provision.addresses = vec![AddressPool::new(ip("10.2.0.53"), 32).unwrap()];
        }
    });
    pair.pass(4);
    assert!(pair.told(B, "no IPv4 address is left"));
    assert!(pair.told(A, "the peer's answer has no address of a family that we asked for"));
    pair.assert_children(0);
    pair.end();
}

#[test]
fn every_message_may_be_lost_or_doubled() {
    for lost in 0..12 {
        let mut pair = Pair::new();
        pair.network = Box::new(move |number, _| match number == lost {
            true => Fate::Lose,
            false => Fate::Deliver,
        });
        start(&mut pair, |_, _| ());
        pair.pass(30).assert_up();
        assert_eq!(flows(&pair, B), ["10.2.0.0/16 -> 10.99.0.1"]);
        pair.end();
    }
    let mut pair = Pair::new();
    pair.network = Box::new(|_, _| Fate::Twice);
    start(&mut pair, |_, _| ());
    pair.pass(30).assert_up();
    assert_eq!(applied(&pair).len(), 1);
    pair.end();
}

#[test]
fn a_gateway_that_is_silent_about_addresses_is_given_up() {
    let mut pair = Pair::new();
    pair.network = Box::new(|_, datagram| match transactions(datagram) {
        true => Fate::Lose,
        false => Fate::Deliver,
    });
    start(&mut pair, |_, _| ());
    pair.pass(100);
    assert!(pair.told(A, "no answer to Mode Config"));
    pair.assert_children(0);
}

#[test]
fn two_clients_of_one_group_are_two_peers() {
    // Both call themselves a.example, as the members of a group do; B sees two users.
    let mut pair = Pair::new();
    users(&mut pair, "open sesame");
    start(&mut pair, with_login);
    pair.pass(3).assert_up();
    let settings = oakd::ike::Settings::default();
    let old = std::mem::replace(
        &mut pair.sides[A],
        Pair::with(settings, 9).sides.into_iter().next().unwrap(),
    );
    let password = oakd::crypto::Secret::from(&b"another"[..]);
    for side in [A, B] {
        pair.sides[side].users.insert("bob".into(), password.clone());
    }
    let mut it = ikev1(A, Phase1::Main);
    client(A, &mut it);
    it.ike1.xauth = Some(Xauth::As("bob".into()));
    pair.configure(A, vec![it]);
    pair.pass(3);
    assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 2);
    let mut all = flows(&pair, B);
    all.sort();
    assert_eq!(all, ["10.2.0.0/16 -> 10.99.0.1", "10.2.0.0/16 -> 10.99.0.2"]);
    drop(old);
}
