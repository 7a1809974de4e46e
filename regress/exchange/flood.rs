//! Floods of first messages: cookies, limits for one network and in all, and peers that get through.

use crate::pair::*;
use crate::v1_phases::ikev1;
use oakd::conf::{Phase1, Policy, Start, Version};
use oakd::ike::Settings;
use oakd::ike::event::*;
use oakd::wire::Header;
use std::net::SocketAddr;
use std::time::Duration;

/// A side that answers everybody.
fn open_house(settings: Settings) -> Pair {
    let mut pair = Pair::with(settings, 1);
    pair.configure(B, vec![Policy { peer: None, local: None, ..policy(B) }]);
    pair
}

/// What the first message of a real initiator looks like.
fn first_message() -> Vec<u8> {
    let mut pair = Pair::plain();
    pair.input(A, Input::Timeout);
    pair.flying.remove(0).octets
}

fn settings() -> Settings {
    Settings { half_open_most: 60, half_open_one: 20, ..Settings::default() }
}

/// Sends a first message from an address; gives back what is answered.
fn knock(pair: &mut Pair, first: &[u8], number: u64, from: &str) -> Vec<Vec<u8>> {
    let mut octets = first.to_vec();
    octets[..8].copy_from_slice(&(number + 1).to_be_bytes());
    let remote = SocketAddr::new(ip(from), 500);
    let local = match remote {
        SocketAddr::V4(_) => pair.sides[B].address,
        SocketAddr::V6(_) => SocketAddr::new(ip("2001:db8::2"), 500),
    };
    let now = pair.now;
    let engine = &mut pair.sides[B].engine;
    engine.handle(now, Input::Datagram { local, remote, octets: &octets });
    let mut answers = Vec::new();
    while let Some(output) = engine.poll() {
        if let Output::Datagram { remote: to, octets, .. } = output {
            assert_eq!(to, remote);
            answers.push(octets);
        }
    }
    answers
}

/// An answer that leaves nothing behind is short: a notification alone.
fn demands_cookie(answers: &[Vec<u8>]) -> bool {
    answers.iter().all(|answer| Header::parse(answer).unwrap().responder.is_zero())
}

fn half_open(pair: &Pair) -> u64 {
    pair.sides[B].engine.stats().half_open
}

#[test]
fn one_network_is_asked_for_cookies_before_others_are() {
    let (mut pair, first) = (open_house(settings()), first_message());
    for number in 0..100 {
        let from = format!("198.51.100.{number}");
        let answers = knock(&mut pair, &first, number, &from);
        assert_eq!(answers.len(), 1);
        assert_eq!(demands_cookie(&answers), number >= 8, "{number}");
    }
    assert_eq!(half_open(&pair), 8);
    assert!(!demands_cookie(&knock(&mut pair, &first, 200, "203.0.113.1")));
    // The same with IPv6: one site is one network.
    for number in 0..20 {
        knock(&mut pair, &first, 300 + number, &format!("2001:db8:7:{number:x}::1"));
    }
    assert_eq!(half_open(&pair), 9 + 8);
}

#[test]
fn a_flood_from_everywhere_keeps_little_and_the_peer_gets_through() {
    let (mut pair, first) = (open_house(settings()), first_message());
    for number in 0..5000_u64 {
        let from = format!("100.{}.{}.7", number / 250, number % 250);
        knock(&mut pair, &first, number, &from);
    }
    assert_eq!(half_open(&pair), 32);
    assert!(pair.sides[B].engine.stats().cookies > 4900);
    // A real peer returns its cookie.
    pair.configure(A, vec![policy(A)]);
    pair.pass(1);
    assert_eq!(pair.sides[A].engine.sas(pair.now)[0].state, "established");
    pair.assert_children(1);
}

#[test]
fn what_was_begun_and_never_proved_makes_wary_for_a_while() {
    let (mut pair, first) = (open_house(settings()), first_message());
    // Few at a time, from many networks, and none goes on.
    for number in 0..20_u64 {
        let from = format!("100.{number}.0.7");
        assert!(!demands_cookie(&knock(&mut pair, &first, number, &from)));
    }
    pair.pass(31);
    assert_eq!(half_open(&pair), 0);
    assert!(demands_cookie(&knock(&mut pair, &first, 100, "203.0.113.1")));
    pair.configure(A, vec![policy(A)]);
    pair.pass(1).assert_children(1);
    // It passes.
    pair.pass(180);
    assert!(!demands_cookie(&knock(&mut pair, &first, 101, "203.0.113.1")));
}

#[test]
fn cookies_do_not_let_one_network_take_all() {
    let (mut pair, first) = (open_house(settings()), first_message());
    let header_len = 28;
    for number in 0..60_u64 {
        let from = format!("198.51.100.{number}");
        let answers = knock(&mut pair, &first, number, &from);
        if number < 8 {
            continue;
        }
        // The cookie comes back as the first payload (a notification is 8 octets and the cookie).
        let answer = &answers[0];
        let mut again = first.clone();
        let next = std::mem::replace(&mut again[16], answer[16]);
        let mut notify = answer[header_len..].to_vec();
        notify[0] = next;
        again.splice(header_len..header_len, notify);
        let len = u32::try_from(again.len()).unwrap();
        again[24..28].copy_from_slice(&len.to_be_bytes());
        let answers = knock(&mut pair, &again, number, &from);
        assert_eq!(answers.len(), usize::from(number < 20), "{number}");
    }
    assert_eq!(half_open(&pair), 20);
    pair.pass(Duration::from_secs(31).as_secs());
    assert_eq!(half_open(&pair), 0);
}

#[test]
fn first_messages_in_the_name_of_a_peer_do_not_keep_us_from_calling_it() {
    for version in [Version::V2, Version::V1(Phase1::Main)] {
        let of = |side| Policy {
            start: Start::Active,
            ..match version {
                Version::V1(mode) => ikev1(side, mode),
                Version::V2 => policy(side),
            }
        };
        let mut peer = Pair::new();
        peer.configure(B, vec![of(B)]);
        peer.input(B, Input::Timeout);
        let first = peer.flying.remove(0).octets;
        let mut pair = Pair::new();
        pair.configure(B, vec![Policy { start: Start::Passive, ..of(B) }]);
        pair.configure(A, vec![of(A)]);
        pair.pass(2).assert_up();
        pair.command(A, Command::ResetId("test".into()));
        for number in 0..20_u64 {
            let mut octets = first.clone();
            octets[..8].copy_from_slice(&(number + 1).to_be_bytes());
            let (local, remote) = (pair.sides[A].address, pair.sides[B].address);
            pair.input(A, Input::Datagram { local, remote, octets: &octets });
            pair.pass_millis(500);
        }
        pair.assert_children(1);
        pair.pass(60).assert_up();
        pair.end();
    }
}
