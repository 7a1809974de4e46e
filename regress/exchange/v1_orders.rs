//! IKEv1: every order in which the messages of exchanges that collide can arrive (see [`crate::orders`]).

use crate::orders::Act::*;
use crate::orders::{Act, Mishap, Story, all, depth};
use crate::pair::{A, B};
use crate::v1_phases::v1_pair;
use oakd::conf::Phase1;
use oakd::ike::event::Command;

fn with_mishaps(a: &[Act], b: &[Act]) {
    let run = |mishap, depth, slow: &'static [usize]| {
        let mut story = Story::new(a, b, mishap, depth, false);
        (story.ikev1, story.slow) = (true, slow);
        all(&story)
    };
    assert!(run(Mishap::None, depth(8), &[]) > 1);
    // What deletes goes out once, and nobody answers it.
    if a.iter().chain(b).all(|act| matches!(act, RekeyChild | RekeyIke)) {
        assert!(run(Mishap::Lost, depth(5), &[]) > 1);
    }
    assert!(run(Mishap::Doubled, depth(4), &[]) > 1);
    for slow in [&[A][..], &[B], &[A, B]] {
        assert!(run(Mishap::None, depth(3), slow) > 1);
    }
}

#[test]
fn two_rekeys_of_a_child() {
    with_mishaps(&[RekeyChild], &[RekeyChild]);
}

#[test]
fn two_rekeys_of_the_ike_sa() {
    with_mishaps(&[RekeyIke], &[RekeyIke]);
}

#[test]
fn a_rekey_of_the_ike_sa_and_one_of_a_child() {
    with_mishaps(&[RekeyIke], &[RekeyChild]);
    with_mishaps(&[RekeyIke, RekeyChild], &[]);
    with_mishaps(&[RekeyChild, RekeyIke], &[]);
}

#[test]
fn a_child_is_deleted_meanwhile() {
    for b in [RekeyChild, RekeyIke, DeleteChild, DeleteIke] {
        with_mishaps(&[DeleteChild], &[b]);
    }
}

#[test]
fn the_ike_sa_is_deleted_meanwhile() {
    for b in [RekeyChild, RekeyIke, DeleteIke] {
        with_mishaps(&[DeleteIke], &[b]);
    }
}

#[test]
fn what_was_made_while_phase_1_was_rekeyed_is_made_anew_on_the_new_one() {
    // The peer may take children over as soon as it has the fifth message, and count those that come
    // later among the old ISAKMP SA, with which they go.
    let mut pair = v1_pair(Phase1::Main, |_, _| ());
    pair.pass(1).assert_up();
    let name = || "test".to_string();
    pair.command(A, Command::Rekey { name: name(), ike: true });
    for _ in 0..5 {
        pair.deliver(0);
    }
    pair.command(A, Command::Rekey { name: name(), ike: false });
    for _ in 0..3 {
        pair.deliver(1);
    }
    assert!(!pair.told(A, "0x00001002"), "the old child is in use for a moment still");
    pair.deliver(0);
    pair.pass(10).assert_up();
    assert!(pair.told(A, "child SA in 0x00001002 rekeyed"));
    pair.end();
}
