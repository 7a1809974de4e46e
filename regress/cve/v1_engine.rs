//! Cases for the engine of IKEv1.

use crate::pair::*;
use oakd::conf::*;
use oakd::crypto::Secret;
use oakd::ike::event::*;
use oakd::ike::report::Event;
use oakd::wire::iana::v2::{GroupId, PrfId};

fn ikev1(side: usize, mode: Phase1) -> Policy {
    Policy {
        version: Version::V1(mode),
        ike_proposals: vec![Proposal {
            prf: vec![PrfId::PRF_HMAC_SHA1],
            integrity: vec![],
            ..cbc(&[GroupId::MODP_1024])
        }],
        child_proposals: vec![child(cbc(&[]))],
        ..policy(side)
    }
}

/// The first message of an initiator that B would answer.
fn first_message(mode: Phase1) -> (Pair, Vec<u8>) {
    let mut pair = Pair::new();
    pair.configure(B, vec![Policy { peer: None, remote_id: None, ..ikev1(B, mode) }]);
    pair.network = Box::new(|_, _| Fate::Deliver);
    pair.configure(A, vec![ikev1(A, mode)]);
    let octets = pair.flying[0].octets.clone();
    pair.flying.clear();
    pair.sides[A].dead = true;
    (pair, octets)
}

fn open(pair: &mut Pair, octets: &[u8], number: u32, network: u8) {
    let mut octets = octets.to_vec();
    octets[..4].copy_from_slice(&number.to_be_bytes());
    let local = pair.sides[B].address;
    let remote = std::net::SocketAddr::from(([203, network, 113, (number % 250) as u8 + 1], 500));
    pair.input(B, Input::Datagram { local, remote, octets: &octets });
}

/// Many openings, and nothing that follows: how much is kept has a bound.
#[test]
fn openings_of_main_mode_are_bounded() {
    let (mut pair, octets) = first_message(Phase1::Main);
    for number in 1..=600 {
        open(&mut pair, &octets, number, 0);
    }
    assert_eq!(pair.sides[B].engine.stats().half_open, 256);
    for number in 601..=800 {
        open(&mut pair, &octets, number, 1);
    }
    assert_eq!(pair.sides[B].engine.stats().half_open, 456);
    pair.pass(40);
    assert_eq!(pair.sides[B].engine.stats().half_open, 0);
}

/// Each opening of Aggressive Mode costs a key exchange: what exceeds a low bound is dropped unread.
#[test]
fn floods_of_aggressive_mode_cost_little() {
    let (mut pair, octets) = first_message(Phase1::Aggressive);
    let before = pair.sides[B].engine.stats().datagrams_out;
    for number in 1..=500 {
        open(&mut pair, &octets, number, (number % 250) as u8);
    }
    assert!(pair.sides[B].engine.stats().half_open <= 64);
    // An answer for each that was taken, and none unasked.
    assert!(pair.sides[B].engine.stats().datagrams_out - before <= 64);
    let sent = pair.sides[B].engine.stats().datagrams_out;
    pair.pass(60);
    assert_eq!(pair.sides[B].engine.stats().datagrams_out, sent);
    assert_eq!(pair.sides[B].engine.stats().half_open, 0);
}

/// VU#419128, CVE-2016-5361: a responder that repeats its answer to whoever was named as the sender.
#[test]
fn answers_of_phase_1_are_not_repeated_unasked() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        let (mut pair, octets) = first_message(mode);
        let before = pair.sides[B].engine.stats().datagrams_out;
        open(&mut pair, &octets, 7, 0);
        assert_eq!(pair.sides[B].engine.stats().datagrams_out, before + 1);
        pair.pass(60);
        assert_eq!(
            pair.sides[B].engine.stats().datagrams_out,
            before + 1,
            "{mode:?}: sent unasked"
        );
        let (mut pair, octets) = first_message(mode);
        let before = pair.sides[B].engine.stats().datagrams_out;
        for _ in 0..50 {
            open(&mut pair, &octets, 7, 0);
        }
        assert!(
            pair.sides[B].engine.stats().datagrams_out - before <= 6,
            "{mode:?}: {} answers",
            pair.sides[B].engine.stats().datagrams_out - before
        );
    }
}

/// Aggressive Mode shows a hash of the pre-shared key: it is not answered unless a rule says so.
#[test]
fn aggressive_mode_is_answered_only_where_it_is_configured() {
    let (_, octets) = first_message(Phase1::Aggressive);
    let mut pair = Pair::new();
    pair.configure(B, vec![Policy { peer: None, remote_id: None, ..ikev1(B, Phase1::Main) }]);
    open(&mut pair, &octets, 1, 0);
    assert_eq!(pair.sides[B].engine.stats().half_open, 0);
    assert!(pair.told(B, "the peer opens with Aggressive"));
}

/// Octets changed at random in every message: nothing falls, and what was there stays.
#[test]
fn payloads_that_lie_end_nothing() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        for place in (0..400).step_by(3) {
            let mut pair = Pair::new();
            pair.network = Box::new(move |number, datagram| {
                let mut octets = datagram.octets.clone();
                if number < 12 && number % 2 == 0 {
                    let at = place % octets.len();
                    octets[at] ^= 0x55;
                    return Fate::Instead(octets);
                }
                Fate::Deliver
            });
            for side in [B, A] {
                pair.configure(side, vec![ikev1(side, mode)]);
            }
            pair.pass(400);
            for side in [A, B] {
                let complaints = &pair.sides[side].kernel.complaints;
                assert_eq!(*complaints, Vec::<String>::new(), "{mode:?} {place}");
                assert!(pair.sides[side].kernel.larval.len() <= 1);
            }
        }
    }
}

/// The messages of an old negotiation sent again: no second SA comes of them.
#[test]
fn replays_make_nothing() {
    let mut pair = Pair::new();
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let keep = std::rc::Rc::clone(&seen);
    pair.network = Box::new(move |_, datagram| {
        keep.borrow_mut().push(datagram.clone());
        Fate::Deliver
    });
    for side in [B, A] {
        pair.configure(side, vec![ikev1(side, Phase1::Main)]);
    }
    pair.pass(60).assert_up();
    let old: Vec<_> = seen.borrow().iter().filter(|it| it.to == B).cloned().collect();
    for datagram in old {
        let (local, remote) = (datagram.local, datagram.remote);
        pair.input(B, Input::Datagram { local, remote, octets: &datagram.octets });
    }
    pair.pass(60);
    pair.assert_children(1);
}

#[test]
fn passwords_are_not_guessed_by_opening_one_sa_after_the_other() {
    let mut pair = Pair::new();
    let client = |side: usize, mode| {
        let mut policy = ikev1(side, mode);
        policy.ike1.xauth = Some(if side == A { Xauth::As("alice".into()) } else { Xauth::Peer });
        policy
    };
    let is = |password: &str| [("alice".into(), Secret::from(password.as_bytes()))].into();
    (pair.sides[A].users, pair.sides[B].users) = (is("guess"), is("open sesame"));
    pair.configure(B, vec![client(B, Phase1::Aggressive)]);
    for _ in 0..100 {
        pair.configure(A, vec![client(A, Phase1::Aggressive)]);
        pair.pass(5);
        pair.configure(A, vec![]);
        pair.pass(1);
    }
    let count = |pair: &Pair, wanted: fn(&Event) -> bool| {
        pair.sides[B].reports.iter().filter(|report| wanted(&report.event)).count()
    };
    // What is judged, of three tries in each of a hundred SAs.
    let wrong = |event: &Event| match event {
        Event::LoginFailed { why, .. } => why.contains("password is wrong"),
        _ => false,
    };
    let judged = count(&pair, wrong);
    assert!((50..=70).contains(&judged), "{judged} tries in ten minutes");
    assert_eq!(count(&pair, |event| matches!(event, Event::TooManyTries { .. })), 1);
    // Alice is not locked out, not even where the guesses came from.
    pair.sides[A].users = is("open sesame");
    pair.configure(A, vec![client(A, Phase1::Aggressive)]);
    pair.pass(15).assert_up();
    pair.end();
}

#[test]
fn a_message_that_comes_again_or_back_moves_nobody() {
    let mut pair = Pair::new();
    pair.nat = Some(ip("198.51.100.9"));
    let seen = std::rc::Rc::new(std::cell::RefCell::new([Vec::new(), Vec::new()]));
    let wire = std::rc::Rc::clone(&seen);
    pair.network = Box::new(move |_, datagram| {
        // Informational.
        if datagram.octets.get(18) == Some(&5) {
            wire.borrow_mut()[datagram.to].push(datagram.octets.clone());
        }
        Fate::Deliver
    });
    for side in [B, A] {
        let mut policy = ikev1(side, Phase1::Main);
        if side == B {
            policy.peer = None;
        }
        let globals = Globals { dpd_check_interval: 20, ..Globals::default() };
        let config = std::sync::Arc::new(Config { globals, policies: vec![policy] });
        pair.input(side, Input::Configure(config));
    }
    pair.pass(300).assert_up();
    let [reflected, replayed] = seen.take();
    assert!(reflected.len() > 5 && replayed.len() > 5);
    let before = pair.sides[B].engine.sas(pair.now)[0].remote;
    for octets in [reflected, replayed].concat() {
        let remote = std::net::SocketAddr::from(([203, 0, 113, 66], 4500));
        let local = std::net::SocketAddr::new(pair.sides[B].address.ip(), 4500);
        pair.input(B, Input::Datagram { local, remote, octets: &octets });
    }
    assert_eq!(pair.sides[B].engine.sas(pair.now)[0].remote, before);
    assert!(!pair.told(B, "moved: from"));
}
