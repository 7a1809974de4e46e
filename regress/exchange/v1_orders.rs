//! IKEv1: every order in which the messages of exchanges that collide can arrive (see [`crate::orders`]).

use crate::orders::Act::*;
use crate::orders::{Act, Mishap, Story, all, depth};
use crate::pair::{A, B};

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
