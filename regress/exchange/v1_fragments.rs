//! IKEv1: messages in fragments.

use std::sync::{Arc, Mutex};

use crate::pair::*;
use crate::v1_phases::ikev1;
use oakd::conf::*;
use oakd::ike::event::*;
use oakd::ike::report::{Event, Way};
use oakd::wire::Header;
use oakd::wire::iana::v1::PayloadType;
use oakd::wire::iana::v2::IdType;

/// Both sides with identities of so many octets; the active one is yet to be configured.
fn large(mode: Phase1, len: usize, fragmentation: [bool; 2]) -> (Pair, Arc<Config>) {
    let mut pair = Pair::new();
    let [active, passive] = [A, B].map(|side| {
        let long = |letter| Identity { id_type: IdType::ID_FQDN, data: vec![letter; len] };
        let (own, peer) = if side == A { (b'a', b'b') } else { (b'b', b'a') };
        let mut policy = ikev1(side, mode);
        policy.local_id = Some(long(own));
        policy.remote_id = Some(long(peer));
        let mut config = (*config(vec![policy])).clone();
        config.globals.fragmentation = fragmentation[side];
        Arc::new(config)
    });
    pair.input(B, Input::Configure(passive));
    (pair, active)
}

fn is_fragment(datagram: &Datagram) -> bool {
    let header = Header::parse(&datagram.octets).unwrap();
    header.next_payload_v1() == PayloadType::FRAGMENT && header.flags.0 == 0
}

#[test]
fn large_messages_are_cut_and_put_together() {
    let (mut pair, active) = large(Phase1::Main, 3000, [true, true]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sizes = Arc::clone(&seen);
    pair.network = Box::new(move |_, datagram| {
        sizes.lock().unwrap().push((datagram.octets.len(), is_fragment(datagram)));
        Fate::Deliver
    });
    pair.input(A, Input::Configure(active));
    pair.pass(2).assert_up();
    assert!(pair.reported(A, |event| matches!(event, Event::Fragmented { way: Way::Out })));
    assert!(pair.reported(B, |event| matches!(event, Event::Fragmented { way: Way::In })));
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|(size, _)| *size <= 1280 - 32), "{seen:?}");
    assert!(seen.iter().filter(|(_, fragment)| *fragment).count() >= 6, "{seen:?}");
}

#[test]
fn a_lost_fragment_comes_again_with_its_message() {
    let (mut pair, active) = large(Phase1::Main, 3000, [true, true]);
    let mut count = 0;
    pair.network = Box::new(move |_, datagram| {
        count += u32::from(is_fragment(datagram));
        match is_fragment(datagram) && [2, 5].contains(&count) {
            true => Fate::Lose,
            false => Fate::Deliver,
        }
    });
    pair.input(A, Input::Configure(active));
    pair.pass(20).assert_up();
}

#[test]
fn aggressive_mode_answers_in_fragments() {
    // The first message says that its sender can; it is itself whole.
    let (mut pair, active) = large(Phase1::Aggressive, 2000, [true, true]);
    pair.input(A, Input::Configure(active));
    pair.pass(2).assert_up();
    assert!(pair.reported(A, |event| matches!(event, Event::Fragmented { way: Way::In })));
}

#[test]
fn both_sides_must_say_that_they_can() {
    for can in [[true, false], [false, true], [false, false]] {
        let (mut pair, active) = large(Phase1::Main, 3000, can);
        pair.network = Box::new(|_, datagram| {
            assert!(!is_fragment(datagram));
            Fate::Deliver
        });
        pair.input(A, Input::Configure(active));
        pair.pass(2).assert_up();
    }
}
