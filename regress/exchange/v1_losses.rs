//! IKEv1 over a bad line: what gets lost, and what both sides do at once.

use crate::pair::*;
use crate::v1_further::both;
use crate::v1_phases::v1_pair;
use oakd::conf::Phase1;
use oakd::ike::event::*;

#[test]
fn a_quick_mode_that_is_never_answered_does_not_keep_the_others() {
    let mut pair = Pair::new();
    let names = ["f", "fo", "foo", "four"];
    for side in [B, A] {
        pair.configure(side, both(side, &names));
    }
    // The first two of A's offers get lost, and all repetitions of them.
    let mut lost = Vec::new();
    pair.network = Box::new(move |_, datagram| {
        let quick = datagram.octets[18] == 32 && datagram.to == B;
        let id = datagram.octets[20..24].to_vec();
        if quick && lost.len() < 2 && !lost.contains(&id) {
            lost.push(id.clone());
        }
        match quick && lost.contains(&id) {
            true => Fate::Lose,
            false => Fate::Deliver,
        }
    });
    pair.pass(12);
    assert_eq!(pair.sides[A].kernel.count(Direction::Out), 1 + names.len() - 2);
    pair.end();
}

#[test]
fn rekeying_at_once_again_and_again_makes_no_crowd_of_children() {
    let mut pair = v1_pair(Phase1::Main, |_, _| ());
    pair.pass(2).assert_up();
    for _ in 0..5 {
        for side in [A, B] {
            pair.command(side, Command::Rekey { name: "test".into(), ike: false });
        }
        pair.pass(20);
        // Those of the last time only: what they succeeded went, of both.
        pair.assert_children(2);
    }
    pair.command(A, Command::Rekey { name: "test".into(), ike: false });
    pair.pass(20).assert_up();
    pair.end();
}

#[test]
fn the_third_message_of_aggressive_mode_may_be_lost_where_no_quick_mode_follows() {
    let mut pair = v1_pair(Phase1::Aggressive, |_, _| ());
    pair.pass(2).assert_up();
    // Of the second phase 1, whose child SAs are there: nothing else tells B that A has its answer.
    let mut thirds = 0;
    pair.network = Box::new(move |_, datagram| {
        let third = datagram.octets[18] == 4 && datagram.to == B && datagram.octets[19] & 1 == 1;
        thirds += u32::from(third);
        match third && thirds == 1 {
            true => Fate::Lose,
            false => Fate::Deliver,
        }
    });
    pair.command(A, Command::Rekey { name: "test".into(), ike: true });
    pair.pass(10);
    assert!(pair.told(B, "IKE SA rekeyed"));
    pair.pass(100).assert_up();
    pair.end();
}
