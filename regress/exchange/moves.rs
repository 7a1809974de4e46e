//! MOBIKE: peers that move, and addresses that die.

use crate::pair::*;
use crate::paths::{flows_go_to, goes_to, moved, sides};
use oakd::conf::*;
use oakd::ike::event::*;
use oakd::ike::report::Event;
use oakd::wire::Header;
use oakd::wire::iana::v2::ExchangeType;
use std::sync::{Arc, Mutex};

fn roaming(dpd: u32) -> Pair {
    roaming_with(dpd, |_| ())
}

fn roaming_with(dpd: u32, mut change: impl FnMut(&mut Policy)) -> Pair {
    let (mut pair, active) = sides(dpd, true, |policy| {
        change(policy);
        if policy.start == Start::Passive {
            policy.peer = None;
        }
    });
    pair.addresses(A, &["192.0.2.1"]);
    pair.addresses(B, &["192.0.2.2"]);
    pair.input(A, Input::Configure(active));
    pair.pass(2).assert_up();
    pair
}

#[test]
fn a_client_that_gets_another_address_takes_its_tunnel_along() {
    for moves in [Some(true), Some(false), None] {
        let mut pair = roaming(0);
        for side in [A, B] {
            pair.sides[side].kernel.moves = moves;
        }
        let spi = pair.inbound(A).spi;
        pair.addresses(A, &["198.51.100.1"]);
        pair.pass(3).assert_up();
        assert_eq!(goes_to(&pair, B), (ip("198.51.100.1"), None));
        flows_go_to(&pair, B, "192.0.2.2", "198.51.100.1");
        assert_eq!(pair.inbound(A).dst, ip("198.51.100.1"));
        flows_go_to(&pair, A, "198.51.100.1", "192.0.2.2");
        assert_eq!((moved(&pair, A), moved(&pair, B)), (1, 1));
        assert_eq!(pair.inbound(A).spi == spi, moves == Some(true));
        pair.end();
    }
}

#[test]
fn it_may_move_again_and_again_while_the_last_move_is_under_way() {
    for pause in 0..8 {
        let mut pair = roaming(0);
        for turn in 1..20 {
            pair.addresses(A, &[&format!("198.51.100.{turn}")]);
            pair.pass_millis(pause * 7);
        }
        pair.pass(60).assert_up();
        assert_eq!(goes_to(&pair, B), (ip("198.51.100.19"), None), "{pause}");
        flows_go_to(&pair, A, "198.51.100.19", "192.0.2.2");
        pair.end();
    }
}

#[test]
fn it_moves_from_behind_a_nat_and_back() {
    let mut pair = roaming(0);
    pair.nat = Some(ip("203.0.113.7"));
    pair.addresses(A, &["10.9.9.9"]);
    pair.pass(5).assert_up();
    assert_eq!(goes_to(&pair, B), (ip("203.0.113.7"), Some(14500)));
    assert!(pair.reported(A, |event| matches!(event, Event::NatFound { local: true, .. })));
    pair.nat = None;
    pair.addresses(A, &["198.51.100.1"]);
    pair.pass(5).assert_up();
    assert_eq!(goes_to(&pair, B), (ip("198.51.100.1"), None));
    pair.end();
}

#[test]
fn without_any_address_it_waits_for_one() {
    let mut pair = roaming(0);
    pair.input(A, Input::Addresses(Vec::new()));
    pair.pass(20);
    pair.addresses(A, &["198.51.100.1"]);
    pair.pass(3).assert_up();
    assert_eq!(goes_to(&pair, B), (ip("198.51.100.1"), None));
    pair.end();
}

#[test]
fn a_path_that_dies_is_left_for_one_that_lives() {
    let (mut pair, active) = sides(10, true, |policy| {
        policy.peer = policy.peer.filter(|_| policy.start == Start::Active)
    });
    pair.addresses(A, &["192.0.2.1", "198.51.100.1"]);
    pair.addresses(B, &["192.0.2.2", "198.51.100.2"]);
    pair.input(A, Input::Configure(active));
    pair.pass(2).assert_up();
    let view = &pair.sides[A].engine.sas(pair.now)[0];
    assert!(view.path[0].contains("1 further"), "{:?}", view.path);
    // The first network is dead; the two do not mix.
    pair.network = Box::new(|_, datagram| {
        let second = |address: std::net::SocketAddr| address.ip().to_string().starts_with("198.");
        match second(datagram.local) && second(datagram.remote) {
            true => Fate::Deliver,
            false => Fate::Lose,
        }
    });
    pair.pass(90).assert_up();
    assert_eq!(goes_to(&pair, A), (ip("198.51.100.2"), None));
    assert_eq!(goes_to(&pair, B), (ip("198.51.100.1"), None));
    flows_go_to(&pair, A, "198.51.100.1", "198.51.100.2");
    pair.end();
}

#[test]
fn the_responder_tells_when_its_addresses_are_others() {
    let mut pair = roaming(10);
    pair.addresses(B, &["192.0.2.2", "198.51.100.2"]);
    pair.pass(2);
    let view = &pair.sides[A].engine.sas(pair.now)[0];
    assert!(view.path[0].contains("1 further"), "{:?}", view.path);
    // It loses the first: the initiator finds the other by itself.
    pair.addresses(B, &["198.51.100.2"]);
    pair.pass(90).assert_up();
    assert_eq!(goes_to(&pair, A), (ip("198.51.100.2"), None));
    pair.end();
}

/// An attacker on the way repeats A's update from elsewhere before the real one arrives.
#[test]
fn a_stolen_update_turns_no_traffic_away() {
    let mut pair = roaming(0);
    let thief = "198.51.100.66:4500".parse().unwrap();
    pair.network = Box::new(move |_, datagram| {
        let header = Header::parse(&datagram.octets).unwrap();
        let update = header.exchange == ExchangeType::INFORMATIONAL && !header.is_response();
        match (datagram.to, update) {
            (B, true) => Fate::From(thief),
            _ => Fate::Deliver,
        }
    });
    pair.addresses(A, &["198.51.100.1"]);
    pair.pass(3);
    assert_eq!(moved(&pair, B), 0);
    assert_ne!(goes_to(&pair, B).0, thief.ip());
    // The thief is gone: A says it again.
    pair.network = Box::new(|_, _| Fate::Deliver);
    pair.addresses(A, &["198.51.100.2"]);
    pair.pass(60).assert_up();
    assert_eq!(goes_to(&pair, B), (ip("198.51.100.2"), None));
    pair.end();
}

#[test]
fn loss_and_repetition_do_not_stop_a_move() {
    for seed in 0..40 {
        let mut pair = roaming(0);
        let mut random = oakd::crypto::SeededRandom::new(seed);
        pair.network = Box::new(move |_, _| {
            use oakd::crypto::Random;
            match random.below(10) {
                0 | 1 => Fate::Lose,
                2 => Fate::Twice,
                _ => Fate::Deliver,
            }
        });
        pair.addresses(A, &["198.51.100.1"]);
        pair.pass(120).assert_up();
        assert_eq!(goes_to(&pair, B), (ip("198.51.100.1"), None), "{seed}");
        pair.network = Box::new(|_, _| Fate::Deliver);
        pair.end();
    }
}

#[test]
fn a_move_amid_rekeying_leaves_one_of_each() {
    for delay in 0..12 {
        for ike in [false, true] {
            let mut pair = roaming_with(0, |policy| policy.ike_lifetime = 100);
            let rekeys = Arc::new(Mutex::new(false));
            let seen = Arc::clone(&rekeys);
            pair.network = Box::new(move |_, datagram| {
                let exchange = Header::parse(&datagram.octets).unwrap().exchange;
                *seen.lock().unwrap() |= exchange == ExchangeType::CREATE_CHILD_SA;
                Fate::Deliver
            });
            if !ike {
                pair.expire(B, false);
            }
            while !*rekeys.lock().unwrap() {
                pair.pass_millis(1);
            }
            pair.pass_millis(delay * 5);
            pair.addresses(A, &["198.51.100.1"]);
            pair.pass(100).assert_up();
            assert_eq!(goes_to(&pair, B), (ip("198.51.100.1"), None), "{delay} {ike}");
            flows_go_to(&pair, B, "192.0.2.2", "198.51.100.1");
            pair.end();
        }
    }
}

#[test]
fn nomobike_is_honoured_on_either_side() {
    let (mut pair, active) = sides(0, false, |_| ());
    pair.input(A, Input::Configure(active));
    pair.pass(2).assert_up();
    let view = &pair.sides[A].engine.sas(pair.now)[0];
    assert!(view.path.is_empty(), "{:?}", view.path);
    // Nobody leaves port 500 for nothing.
    assert_eq!(view.local.port(), 500);
    pair.end();
}

#[test]
fn an_address_that_cannot_be_one_is_refused_and_the_leader_told() {
    let mut pair = roaming(0);
    // A's update comes from nowhere, when it comes first.
    let mut once = true;
    pair.network = Box::new(move |_, datagram| {
        let header = Header::parse(&datagram.octets).unwrap();
        let update = datagram.to == B && header.exchange == ExchangeType::INFORMATIONAL;
        match update && std::mem::replace(&mut once, false) {
            true => Fate::From("224.0.0.1:4500".parse().unwrap()),
            false => Fate::Deliver,
        }
    });
    pair.addresses(A, &["198.51.100.1"]);
    pair.pass(10);
    assert!(pair.told(A, "UNACCEPTABLE_ADDRESSES"), "{:#?}", pair.sides[A].reports);
    assert_eq!(moved(&pair, B), 0);
    assert_eq!(goes_to(&pair, B).0, ip("192.0.2.1"));
}

#[test]
fn a_reload_after_a_move_leaves_what_moved() {
    let by_route = |address: &str| {
        let mut it = policy(A);
        it.local = Some(Prefix::host(ip(address)));
        it.local_by_route = true;
        let mut config = (*config(vec![it])).clone();
        config.globals.mobike = true;
        Arc::new(config)
    };
    let (mut pair, _) = sides(0, true, |policy| policy.peer = None);
    pair.addresses(A, &["192.0.2.1"]);
    pair.addresses(B, &["192.0.2.2"]);
    pair.input(A, Input::Configure(by_route("192.0.2.1")));
    pair.pass(2).assert_up();
    pair.addresses(A, &["198.51.100.1"]);
    pair.pass(3).assert_up();
    let (spi, sent) = (pair.inbound(A).spi, pair.sent);
    pair.input(A, Input::Configure(by_route("198.51.100.1")));
    pair.pass(5).assert_up();
    assert_eq!((pair.inbound(A).spi, pair.sent), (spi, sent));
    // Should the address be one that the IKE SA cannot have, it is made anew.
    pair.end();
}

#[test]
fn no_nat_is_called_through_where_the_policy_forbids_it() {
    let no_nat = |policy: &mut Policy| policy.no_nat = policy.start == Start::Active;
    // Without one all is as ever, and a move says so again.
    let mut pair = roaming_with(0, no_nat);
    pair.addresses(A, &["198.51.100.1"]);
    pair.pass(3).assert_up();
    assert_eq!(goes_to(&pair, B).0, ip("198.51.100.1"));
    // A NAT comes between: the peer refuses to go along.
    pair.nat = Some(ip("203.0.113.7"));
    pair.addresses(A, &["10.0.0.5"]);
    pair.pass(10);
    assert!(pair.told(A, "UNEXPECTED_NAT_DETECTED"), "{:#?}", pair.sides[A].reports);
    assert_eq!(goes_to(&pair, B).0, ip("198.51.100.1"));
    // Through one from the start nothing begins.
    let (mut pair, active) = sides(0, true, |policy| {
        no_nat(policy);
        if policy.start == Start::Passive {
            policy.peer = None;
        }
    });
    pair.nat = Some(ip("203.0.113.7"));
    pair.input(A, Input::Configure(active));
    pair.pass(5).assert_children(0);
    assert!(pair.told(A, "a NAT is on the way, which `nonat` forbids"));
}
