//! Fragmentation (RFC 7383): loss, order, repetition, paths that take only small datagrams, hostile pieces.

use crate::pair::*;
use oakd::conf::*;
use oakd::crypto::SeededRandom;
use oakd::ike::event::*;
use oakd::ike::report::{Event, Way};
use oakd::wire::Header;
use oakd::wire::iana::v2::{ExchangeType, IdType, PayloadType};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

/// An identity that makes IKE_AUTH as large as certificates do.
fn long(letter: u8, len: usize) -> Identity {
    Identity { id_type: IdType::ID_FQDN, data: vec![letter; len] }
}

/// Both sides with identities of so many octets; the passive one is configured, the active one comes
/// with the second value.
fn large(len: usize, fragmentation: [bool; 2]) -> (Pair, Arc<Config>) {
    let mut pair = Pair::new();
    let configured = [A, B].map(|side| {
        let mut policy = policy(side);
        let (own, peer) = if side == A { (b'a', b'b') } else { (b'b', b'a') };
        policy.local_id = Some(long(own, len));
        policy.remote_id = Some(long(peer, len));
        let mut config = (*config(vec![policy])).clone();
        config.globals.fragmentation = fragmentation[side];
        Arc::new(config)
    });
    let [active, passive] = configured;
    pair.input(B, Input::Configure(passive));
    (pair, active)
}

fn exchange(datagram: &Datagram) -> ExchangeType {
    Header::parse(&datagram.octets).unwrap().exchange
}

fn is_fragment(datagram: &Datagram) -> bool {
    Header::parse(&datagram.octets).unwrap().next_payload == PayloadType::SKF
}

#[test]
fn large_messages_are_cut_and_put_together() {
    let (mut pair, active) = large(3000, [true, true]);
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sizes);
    pair.network = Box::new(move |_, datagram| {
        seen.lock().unwrap().push(datagram.octets.len());
        Fate::Deliver
    });
    pair.input(A, Input::Configure(active));
    pair.pass(2);
    pair.assert_up();
    assert!(pair.reported(A, |event| matches!(event, Event::Fragmented { way: Way::Out })));
    assert!(pair.reported(B, |event| matches!(event, Event::Fragmented { way: Way::In })));
    let most = *sizes.lock().unwrap().iter().max().unwrap();
    // 1280 without the headers of IPv4 and UDP and the non-ESP marker.
    assert!((1200..=1280 - 32).contains(&most), "{most}");
    let view = &pair.sides[A].engine.sas(pair.now)[0];
    assert!(view.path.contains(&"fragments of 1280 octets, used both ways".to_string()));
    pair.end();
}

#[test]
fn both_sides_must_say_that_they_can() {
    for can in [[true, false], [false, true], [false, false]] {
        let (mut pair, active) = large(3000, can);
        pair.network = Box::new(|_, datagram| {
            assert!(!is_fragment(datagram));
            Fate::Deliver
        });
        pair.input(A, Input::Configure(active));
        pair.pass(2);
        pair.assert_up();
        pair.end();
    }
}

#[test]
fn fragments_are_lost_doubled_and_late_in_every_mixture() {
    for seed in 0..60 {
        let (mut pair, active) = large(5000, [true, true]);
        let mut random = SeededRandom::new(seed);
        pair.network = Box::new(move |_, _| {
            use oakd::crypto::Random;
            match random.below(10) {
                0 | 1 => Fate::Lose,
                2 => Fate::Twice,
                3 | 4 => Fate::Late(Duration::from_millis(random.below(300))),
                _ => Fate::Deliver,
            }
        });
        pair.input(A, Input::Configure(active));
        pair.pass(400);
        pair.network = Box::new(|_, _| Fate::Deliver);
        pair.pass(120);
        pair.assert_up();
        pair.end();
    }
}

#[test]
fn a_repetition_is_octet_for_octet_the_same() {
    let (mut pair, active) = large(3000, [true, true]);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sent);
    pair.network = Box::new(move |_, datagram| {
        if datagram.to != B || !is_fragment(datagram) {
            return Fate::Deliver;
        }
        let mut seen = seen.lock().unwrap();
        seen.push(datagram.octets.clone());
        // All but the last fragment of the first round are lost.
        if seen.len() <= 2 { Fate::Lose } else { Fate::Deliver }
    });
    pair.input(A, Input::Configure(active));
    pair.pass(10);
    pair.assert_up();
    let sent = sent.lock().unwrap();
    let distinct: BTreeSet<_> = sent.iter().collect();
    assert_eq!(sent.len(), 2 * distinct.len());
}

/// Both directions of a path that swallows what is larger than 576 octets.
#[test]
fn a_path_that_takes_only_small_datagrams_is_probed_down() {
    for direction in [None, Some(A), Some(B)] {
        let (mut pair, active) = large(1500, [true, true]);
        pair.network = Box::new(move |_, datagram| {
            let narrow = direction.is_none_or(|to| to == datagram.to);
            match narrow
                && datagram.octets.len() > 576 - 32
                && exchange(datagram) != ExchangeType::IKE_SA_INIT
            {
                true => Fate::Lose,
                false => Fate::Deliver,
            }
        });
        pair.input(A, Input::Configure(active));
        pair.pass(29);
        pair.assert_up();
        let shrinks = |event: &Event| matches!(event, Event::FragmentsShrink { octets: 576 });
        assert!(pair.reported(A, shrinks) || pair.reported(B, shrinks));
        pair.end();
    }
}

#[test]
fn loss_of_small_messages_does_not_shrink_anything() {
    let (mut pair, active) = large(20, [true, true]);
    pair.network = Box::new(|number, _| if number < 5 { Fate::Lose } else { Fate::Deliver });
    pair.input(A, Input::Configure(active));
    pair.pass(60);
    pair.assert_up();
    assert!(!pair.told(A, "datagrams of 576"));
    pair.end();
}

#[test]
fn of_a_duplicate_in_fragments_only_the_first_calls_for_the_answer() {
    let (mut pair, active) = large(3000, [true, true]);
    let answers = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&answers);
    pair.network = Box::new(move |_, datagram| {
        let auth = exchange(datagram) == ExchangeType::IKE_AUTH;
        if auth && datagram.to == A {
            *seen.lock().unwrap() += 1;
        }
        if auth && datagram.to == B { Fate::Twice } else { Fate::Deliver }
    });
    pair.input(A, Input::Configure(active));
    pair.pass(2);
    pair.assert_up();
    let answers = *answers.lock().unwrap();
    // Three fragments in the answer, and at most once more.
    assert!(answers == 3 || answers == 6, "{answers}");
    pair.end();
}

#[test]
fn pieces_of_strangers_are_not_kept() {
    let (mut pair, active) = large(3000, [true, true]);
    let mut random = SeededRandom::new(7);
    pair.network = Box::new(move |_, datagram| {
        use oakd::crypto::Random;
        if !is_fragment(datagram) || random.below(2) == 0 {
            return Fate::Deliver;
        }
        let mut octets = datagram.octets.clone();
        let at = 28 + usize::try_from(random.below(octets.len() as u64 - 28)).unwrap();
        octets[at] ^= 1 << random.below(8);
        Fate::Instead(octets)
    });
    pair.input(A, Input::Configure(active));
    pair.pass(400);
    pair.network = Box::new(|_, _| Fate::Deliver);
    pair.pass(100);
    pair.assert_up();
    assert!(pair.sides[B].engine.stats().forged > 0);
    pair.end();
}
