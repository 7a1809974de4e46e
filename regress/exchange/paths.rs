//! Paths that change: NATs that forget their mappings, or come and go. Peers that move are in `moves`.

use crate::pair::*;
use oakd::conf::*;
use oakd::ike::event::*;
use oakd::ike::report::Event;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Both sides with a liveness check every `dpd` seconds, with or without MOBIKE.
pub fn sides(dpd: u32, mobike: bool, mut change: impl FnMut(&mut Policy)) -> (Pair, Arc<Config>) {
    let mut pair = Pair::new();
    let mut configured = |side| {
        let mut policy = policy(side);
        change(&mut policy);
        let mut config = (*config(vec![policy])).clone();
        (config.globals.dpd_check_interval, config.globals.mobike) = (dpd, mobike);
        Arc::new(config)
    };
    let (active, passive) = (configured(A), configured(B));
    pair.input(B, Input::Configure(passive));
    (pair, active)
}

/// Side A behind a NAT; B takes anybody, for it sees another address than A has.
fn behind_nat(dpd: u32, mobike: bool) -> Pair {
    let (mut pair, active) = sides(dpd, mobike, |policy| {
        if policy.start == Start::Passive {
            policy.peer = None;
        }
    });
    pair.nat = Some(ip("203.0.113.7"));
    pair.input(A, Input::Configure(active));
    pair.pass(2).assert_up();
    pair
}

/// Where a side sends its packets: the only outbound SA's destination and UDP port.
pub fn goes_to(pair: &Pair, side: usize) -> (IpAddr, Option<u16>) {
    let sas = pair.sides[side].kernel.sas.values();
    let sas: Vec<_> = sas.filter(|sa| sa.direction == Direction::Out).collect();
    assert_eq!(sas.len(), 1, "outbound SAs of side {side}");
    (sas[0].key.dst, sas[0].encap.map(|(_, port)| port))
}

pub fn flows_go_to(pair: &Pair, side: usize, local: &str, remote: &str) {
    let flows = &pair.sides[side].kernel.flows;
    assert_eq!(flows.len(), 2, "flows of side {side}");
    for flow in flows.values() {
        assert_eq!((flow.local, flow.remote), (ip(local), ip(remote)), "side {side}");
    }
}

pub fn moved(pair: &Pair, side: usize) -> usize {
    let reports = pair.sides[side].reports.iter();
    reports.filter(|report| matches!(report.event, Event::PathMoved { .. })).count()
}

pub fn rekeyed(pair: &Pair, side: usize) -> usize {
    let reports = pair.sides[side].reports.iter();
    reports.filter(|report| matches!(report.event, Event::ChildRekeyed { .. })).count()
}

#[test]
fn the_side_that_is_not_behind_a_nat_follows_the_mapping() {
    for mobike in [false, true] {
        let mut pair = behind_nat(10, mobike);
        assert_eq!(goes_to(&pair, B), (ip("203.0.113.7"), Some(14500)));
        // With MOBIKE the first liveness check tells A how it is seen.
        pair.pass(25);
        let before = moved(&pair, B);
        pair.nat_adds = 20000;
        pair.pass(25);
        assert_eq!(goes_to(&pair, B), (ip("203.0.113.7"), Some(24500)));
        assert_eq!(moved(&pair, B), before + 1, "{mobike}");
        assert_eq!(rekeyed(&pair, B), 0);
        pair.assert_up();
        pair.end();
    }
}

#[test]
fn the_mapping_moves_to_another_address_too() {
    let mut pair = behind_nat(10, false);
    pair.nat = Some(ip("203.0.113.9"));
    pair.pass(25);
    assert_eq!(goes_to(&pair, B), (ip("203.0.113.9"), Some(14500)));
    flows_go_to(&pair, B, "192.0.2.2", "203.0.113.9");
    pair.assert_up();
    pair.end();
}

#[test]
fn where_the_kernel_cannot_move_it_the_child_is_rekeyed() {
    for moves in [None, Some(false)] {
        let mut pair = behind_nat(10, false);
        pair.sides[B].kernel.moves = moves;
        pair.nat_adds = 20000;
        pair.pass(25);
        assert_eq!(goes_to(&pair, B), (ip("203.0.113.7"), Some(24500)));
        assert_eq!(rekeyed(&pair, B), 1);
        pair.assert_up();
        pair.end();
    }
}

#[test]
fn keepalives_come_only_from_behind_the_nat() {
    let mut pair = behind_nat(0, true);
    pair.pass(100);
    assert!((4..=5).contains(&pair.sides[A].keepalives), "{}", pair.sides[A].keepalives);
    assert_eq!(pair.sides[B].keepalives, 0);
}

#[test]
fn a_repetition_moves_nothing_and_neither_does_what_is_forged() {
    let mut pair = behind_nat(10, false);
    // What A sends is recorded.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    pair.network = Box::new(move |_, datagram| {
        if datagram.to == B {
            record.lock().unwrap().push(datagram.octets.clone());
        }
        Fate::Deliver
    });
    pair.pass(25);
    let recorded = std::mem::take(&mut *seen.lock().unwrap());
    assert!(!recorded.is_empty());
    let (local, remote) = ("192.0.2.2:4500".parse().unwrap(), "198.51.100.66:666".parse().unwrap());
    for octets in recorded {
        pair.input(B, Input::Datagram { local, remote, octets: &octets });
        let mut forged = octets.clone();
        // The next message ID, so that the window lets it in.
        forged[23] += 1;
        pair.input(B, Input::Datagram { local, remote, octets: &forged });
    }
    assert_eq!(moved(&pair, B), 0);
    assert_eq!(goes_to(&pair, B), (ip("203.0.113.7"), Some(14500)));
}

#[test]
fn what_the_kernel_sees_on_the_packets_is_followed_by_the_same_rule() {
    let mut pair = behind_nat(0, false);
    let remote = "203.0.113.7:24500".parse().unwrap();
    for side in [A, B] {
        let spi = pair.inbound(side).spi;
        pair.input(side, Input::Mapping { spi, remote });
    }
    pair.input(B, Input::Mapping { spi: oakd::wire::EspSpi(0xdead), remote });
    assert_eq!((moved(&pair, A), moved(&pair, B)), (0, 1));
    assert_eq!(goes_to(&pair, B), (ip("203.0.113.7"), Some(24500)));
}

#[test]
fn a_request_that_waited_for_its_turn_does_not_bring_an_old_mapping_back() {
    let mut pair = Pair::new();
    let configured = |side: usize| {
        let mut it = policy(side);
        let nets = ["2001:db8:1::/64", "2001:db8:2::/64"];
        it.flows.push(flow(nets[side], nets[1 - side]));
        if side == B {
            it.peer = None;
        }
        let mut config = (*config(vec![it])).clone();
        config.globals.mobike = false;
        Arc::new(config)
    };
    pair.nat = Some(ip("203.0.113.7"));
    for side in [B, A] {
        // A child SA for each family: two requests go out at once.
        pair.input(side, Input::Capabilities(crate::further::one_family()));
        pair.input(side, Input::Configure(configured(side)));
    }
    pair.pass(3).assert_children(2);
    pair.command(A, Command::Rekey { name: "test".into(), ike: false });
    assert_eq!(pair.flying.len(), 2);
    pair.deliver(1);
    // The first is lost, and comes again through another mapping.
    pair.flying.clear();
    pair.nat_adds = 20000;
    pair.pass_millis(1100);
    let ports: Vec<_> = {
        let sas = pair.sides[B].kernel.sas.values();
        let outbound = sas.filter(|sa| sa.direction == Direction::Out);
        outbound.filter_map(|sa| sa.encap.map(|(_, port)| port)).collect()
    };
    assert!(!ports.is_empty() && ports.iter().all(|port| *port == 24500), "{ports:?}");
    pair.pass(60).assert_children(2);
    pair.end();
}

#[test]
fn the_side_behind_the_nat_does_not_follow() {
    let mut pair = behind_nat(10, false);
    // Whatever B sends comes from elsewhere.
    pair.network = Box::new(|_, datagram| match datagram.to {
        A => Fate::From("198.51.100.66:4500".parse().unwrap()),
        _ => Fate::Deliver,
    });
    pair.pass(25);
    assert_eq!(moved(&pair, A), 0);
    assert_eq!(goes_to(&pair, A), (ip("192.0.2.2"), Some(4500)));
}

// ---- MOBIKE ----

// ---- transport mode behind a NAT ----

#[test]
fn transport_mode_goes_through_a_nat_with_each_side_naming_the_ends_as_it_sees_them() {
    for (behind, rekeys) in [(true, A), (true, B), (false, A)] {
        let mut pair = Pair::new();
        pair.nat = behind.then(|| ip("203.0.113.7"));
        for side in [B, A] {
            let mut policy = policy(side);
            policy.mode = Mode::Transport;
            // B knows A by the outer address of the NAT.
            let outer = if behind { "203.0.113.7/32" } else { "192.0.2.1/32" };
            let ends = [["192.0.2.1/32", "192.0.2.2/32"], ["192.0.2.2/32", outer]];
            policy.flows = vec![flow(ends[side][0], ends[side][1])];
            if side == B {
                policy.peer = None;
            }
            pair.configure(side, vec![policy]);
        }
        pair.pass(20).assert_up();
        let selects = |pair: &Pair, side: usize| {
            let mut flows: Vec<_> = pair.sides[side].kernel.flows.values().collect();
            flows.retain(|flow| flow.direction == Direction::Out);
            assert_eq!(flows.len(), 1);
            (flows[0].selector.src, flows[0].selector.dst)
        };
        for _ in 0..2 {
            assert_eq!(selects(&pair, A), (prefix("192.0.2.1/32"), prefix("192.0.2.2/32")));
            let outer = if behind { "203.0.113.7/32" } else { "192.0.2.1/32" };
            assert_eq!(selects(&pair, B), (prefix("192.0.2.2/32"), prefix(outer)));
            let before = pair.inbound(rekeys);
            pair.expire(rekeys, false);
            pair.pass(20).assert_up();
            assert_ne!(pair.inbound(rekeys), before);
        }
        pair.end();
    }
}
