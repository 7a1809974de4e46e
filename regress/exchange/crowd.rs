//! Very many policies and IKE SAs: calls are paced, and nothing is a walk through all of them.

use std::time::Instant;

use crate::pair::*;
use oakd::conf::{Policy, PolicyName, Prefix};
use oakd::ike::Settings;
use oakd::ike::event::*;

/// As many active policies of side A, each for another peer.
fn many(count: u32) -> Vec<Policy> {
    let numbered = |number: u32| {
        let mut it = policy(A);
        it.name = PolicyName(format!("p{number}"));
        let peer = std::net::Ipv4Addr::from(0xc633_0000 + number);
        it.peer = Some(Prefix::host(peer.into()));
        it.remote_id = Some(fqdn(&format!("{number}.example")));
        it.flows = vec![flow("10.1.0.0/24", &format!("{peer}/32"))];
        it
    };
    (0..count).map(numbered).collect()
}

fn calling(pair: &Pair) -> usize {
    pair.sides[A].engine.sas(pair.now).len()
}

#[test]
fn calls_that_are_not_answered_let_others_have_their_turn() {
    let mut pair = Pair::with(Settings { calls: 10, ..Settings::default() }, 1);
    pair.configure(A, many(35));
    assert_eq!(calling(&pair), 10);
    pair.pass_millis(700);
    assert_eq!(calling(&pair), 10);
    // Nobody is there: what was sent again keeps nobody waiting.
    pair.pass_millis(500);
    assert_eq!(calling(&pair), 20);
    pair.pass(3);
    assert_eq!(calling(&pair), 35);
    pair.command(A, Command::Shutdown);
    assert!(pair.sides[A].finished);
}

#[test]
fn calls_that_are_answered_make_room_at_once() {
    let mut pair = Pair::with(Settings { calls: 1, ..Settings::default() }, 1);
    let policies = |side: usize| {
        let numbered = |number: u32| {
            let mut it = policy(side);
            it.name = PolicyName(format!("p{number}"));
            let name = fqdn(&format!("{number}.example"));
            let net = |side: usize| format!("10.{}.{number}.0/24", side + 1);
            it.flows = vec![flow(&net(side), &net(1 - side))];
            if side == A {
                it.local_id = Some(name)
            } else {
                it.remote_id = Some(name)
            }
            it
        };
        (0..20).map(numbered).collect::<Vec<_>>()
    };
    pair.configure(B, policies(B));
    pair.configure(A, policies(A));
    assert_eq!(calling(&pair), 1);
    pair.pass(2).assert_ike(20);
    pair.assert_children(20);
    pair.end();
}

#[test]
fn a_reload_keeps_the_turn_of_those_that_wait() {
    let mut pair = Pair::with(Settings { calls: 2, ..Settings::default() }, 1);
    pair.configure(A, many(6));
    let mut less = many(6);
    less.remove(5);
    less.remove(0);
    pair.configure(A, less);
    pair.pass(4);
    let sas = pair.sides[A].engine.sas(pair.now);
    let mut names: Vec<_> = sas.iter().filter_map(|sa| sa.policy.clone()).map(|it| it.0).collect();
    names.sort();
    assert_eq!(names, ["p1", "p2", "p3", "p4"]);
}

#[test]
fn the_time_of_many_calls_grows_with_their_number_only() {
    let spent = |count: u32| {
        let mut pair = Pair::with(Settings { calls: usize::MAX, ..Settings::default() }, 1);
        let policies = many(count);
        let begun = Instant::now();
        pair.configure(A, policies);
        assert_eq!(calling(&pair), count as usize);
        begun.elapsed()
    };
    // A machine that does other work meanwhile is not to count.
    let few = (0..4).map(|_| spent(200)).max();
    let many = (0..3).map(|_| spent(3000)).min();
    let (few, many) = (few.unwrap(), many.unwrap());
    // A walk for each call would make it 225 times as much.
    assert!(many < few * 60, "{few:?} for 200, {many:?} for 3000");
}
