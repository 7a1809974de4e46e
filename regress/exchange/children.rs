//! Life after the handshake: rekeying, deletion, liveness, acquire, expire, shutdown.

use crate::pair::*;
use oakd::conf::{Lifetime, Policy, Start};
use oakd::ike::event::*;
use oakd::ike::report::{Event, Gone};
use oakd::wire::iana::v2::GroupId;
use std::time::Duration;

fn rekeyed(pair: &Pair, side: usize) -> usize {
    let reports = pair.sides[side].reports.iter();
    reports.filter(|report| matches!(report.event, Event::ChildRekeyed { .. })).count()
}

#[test]
fn a_soft_expiry_rekeys_from_either_side_with_and_without_pfs() {
    for side in [A, B] {
        for groups in [&[][..], &[GroupId::CURVE25519], &[GroupId::ECP_384]] {
            let mut pair = Pair::of(|policy| policy.child_proposals = vec![child(gcm(groups))]);
            pair.pass(1).assert_up();
            let before = pair.inbound(side);
            pair.expire(side, false);
            pair.pass(1).assert_up();
            assert_ne!(pair.inbound(side), before);
            assert_eq!(rekeyed(&pair, side), 1);
            pair.end();
        }
    }
}

#[test]
fn two_hundred_rekeys_in_a_row() {
    let mut pair = Pair::plain();
    pair.pass(1);
    for turn in 0..200 {
        pair.expire(turn % 2, false);
        pair.pass(1).assert_up();
    }
    pair.end();
}

#[test]
fn another_group_for_a_child_is_demanded_and_given() {
    let mut pair = Pair::each(|side, policy| {
        let groups = [GroupId::CURVE25519, GroupId::ECP_256];
        policy.child_proposals = vec![child(gcm(if side == A { &groups } else { &groups[1..] }))];
    });
    pair.pass(1).assert_up();
    pair.expire(A, false);
    pair.pass(1).assert_up();
    assert_eq!(rekeyed(&pair, A), 1);
    pair.end();
}

#[test]
fn both_rekey_the_child_at_once_and_one_remains() {
    for skew in 0..12 {
        let mut pair = Pair::plain();
        pair.pass(1).assert_up();
        pair.expire(A, false);
        let until = pair.now.after(Duration::from_millis(skew * 3));
        while pair.now < until {
            pair.now = pair.now.after(Duration::from_millis(3));
        }
        let key = pair.inbound(B);
        pair.input(B, Input::Expire(Expire { key, hard: false }));
        pair.pass(30).assert_up();
        pair.end();
    }
}

#[test]
fn colliding_rekeys_survive_the_loss_of_each_datagram() {
    for lost in 0..8 {
        let mut pair = Pair::plain();
        pair.pass(1).assert_up();
        let first = pair.sent;
        pair.network = Box::new(move |n, _| match n == first + lost {
            true => Fate::Lose,
            false => Fate::Deliver,
        });
        pair.expire(A, false);
        let key = pair.inbound(B);
        pair.input(B, Input::Expire(Expire { key, hard: false }));
        pair.pass(60).assert_up();
        pair.end();
    }
}

#[test]
fn lifetimes_rekey_by_themselves() {
    let mut pair = Pair::of(|policy| {
        policy.child_lifetime = Lifetime { seconds: 60, bytes: 0 };
        policy.ike_lifetime = 200;
    });
    for _ in 0..100 {
        pair.pass(10);
    }
    pair.assert_up();
    assert!(rekeyed(&pair, A) + rekeyed(&pair, B) > 12);
    let reports = pair.sides[A].reports.iter();
    let ike = reports.filter(|report| matches!(report.event, Event::IkeRekeyed { .. })).count();
    assert!(ike >= 4, "{ike}");
    pair.end();
}

#[test]
fn both_rekey_the_ike_sa_at_once_and_one_remains() {
    for lost in 0..10 {
        let mut pair = Pair::of(|policy| policy.ike_lifetime = 1000);
        pair.pass(1).assert_up();
        // Both sides fall due in one silence of the network.
        pair.network = Box::new(|_, _| Fate::Lose);
        pair.pass(898);
        let first = pair.sent;
        pair.network = Box::new(move |n, _| match n == first + lost {
            true => Fate::Lose,
            false => Fate::Deliver,
        });
        pair.pass(60);
        if pair.sides[A].engine.sas(pair.now).len() == 1 {
            pair.assert_children(1);
        }
        pair.pass(90).assert_up();
        pair.end();
    }
}

#[test]
fn a_hard_expiry_is_told_and_made_good() {
    let mut pair = Pair::plain();
    pair.pass(1).assert_up();
    pair.expire(A, true);
    pair.pass(10).assert_up();
    assert!(pair.told(A, "lifetime ended"));
    pair.end();
}

#[test]
fn traffic_starts_an_ondemand_policy_once() {
    let mut pair = Pair::each(|side, policy| {
        if side == A {
            policy.start = Start::OnDemand;
        }
    });
    pair.pass(5).assert_ike(0);
    assert_eq!(pair.sides[A].kernel.flows.len(), 2);
    let trap = pair.sides[A].kernel.flows.values().next().unwrap();
    let (local, remote, reqid) = (trap.local, trap.remote, trap.reqid);
    let acquire = Acquire { local, remote, reqid: Some(reqid), selector: None };
    for _ in 0..3 {
        pair.input(A, Input::Acquire(acquire.clone()));
    }
    pair.pass(1).assert_up();
    assert_eq!(pair.sent, 4);
    pair.end();
}

#[test]
fn a_silent_peer_is_probed_and_given_up_and_called_again() {
    let mut pair = Pair::new();
    for side in [B, A] {
        let mut it = (*config(vec![policy(side)])).clone();
        it.globals.dpd_check_interval = 10;
        pair.input(side, Input::Configure(it.into()));
    }
    pair.pass(1).assert_up();
    pair.pass(60).assert_up();
    assert!(pair.sent > 8);
    pair.sides[B].dead = true;
    pair.pass(90);
    assert!(
        pair.reported(A, |event| {
            matches!(event, Event::IkeDeleted { why: Gone::PeerVanished })
        })
    );
    // The peer's host is back, with its memory.
    pair.sides[B].dead = false;
    pair.pass(120).assert_up();
    pair.end();
}

#[test]
fn traffic_proves_the_peer_alive() {
    let mut pair = Pair::new();
    let mut it = (*config(vec![policy(A)])).clone();
    it.globals.dpd_check_interval = 10;
    pair.configure(B, vec![policy(B)]);
    pair.input(A, Input::Configure(it.into()));
    pair.pass(1).assert_up();
    for _ in 0..10 {
        pair.sides[A].kernel.packets += 1;
        pair.pass(10);
    }
    assert_eq!(pair.sent, 4);
    pair.end();
}

#[test]
fn a_restarted_peer_says_so_and_the_old_sa_goes() {
    let mut pair = Pair::plain();
    pair.pass(10).assert_up();
    // A forgets everything, its kernel too, and starts anew.
    let fresh = Pair::with(oakd::ike::Settings::default(), 77);
    let [side, _] = fresh.sides;
    pair.sides[A] = side;
    pair.sides[A].kernel.last_spi = 500;
    pair.configure(A, vec![policy(A)]);
    pair.pass(2).assert_up();
    assert!(pair.reported(B, |event| matches!(event, Event::InitialContact { removed: 1 })));
    pair.end();
}

#[test]
fn resetting_comes_back_for_active_policies() {
    for side in [A, B] {
        let mut pair = Pair::plain();
        pair.pass(1).assert_up();
        let before = pair.sides[A].engine.sas(pair.now)[0].spis.clone();
        pair.command(side, Command::ResetId("test".into()));
        pair.pass(5).assert_up();
        assert_ne!(pair.sides[A].engine.sas(pair.now)[0].spis, before);
        pair.end();
    }
}

/// One that was restarted knows nothing of the IKE SA, and does not answer.
#[test]
fn a_reset_comes_back_soon_though_the_peer_forgot_the_sa() {
    let mut pair = Pair::plain();
    pair.pass(1).assert_up();
    let before = pair.sides[A].engine.sas(pair.now)[0].spis.clone();
    pair.sides[B].dead = true;
    pair.command(A, Command::ResetAll);
    pair.pass(1);
    let [_, fresh] = Pair::plain().sides;
    pair.sides[B].engine = fresh.engine;
    pair.sides[B].dead = false;
    pair.pass(9);
    let sas = pair.sides[A].engine.sas(pair.now);
    assert!(sas.iter().any(|sa| sa.spis != before && !sa.children.is_empty()), "{sas:?}");
}

#[test]
fn a_shutdown_does_not_wait_for_a_dead_peer() {
    let mut pair = Pair::plain();
    pair.pass(1).assert_up();
    pair.sides[B].dead = true;
    pair.command(A, Command::Shutdown);
    assert!(!pair.sides[A].finished);
    pair.pass(3);
    assert!(pair.sides[A].finished);
    assert!(pair.sides[A].kernel.sas.is_empty() && pair.sides[A].kernel.flows.is_empty());
}

#[test]
fn a_configuration_that_comes_after_the_end_was_asked_for_is_not_acted_upon() {
    for up in [false, true] {
        let mut pair = Pair::plain();
        if up {
            pair.pass(1).assert_up();
        }
        pair.command(A, Command::Shutdown);
        let on_demand = Policy { start: Start::OnDemand, ..policy(A) };
        pair.configure(A, vec![on_demand]);
        pair.pass(3);
        assert!(pair.sides[A].finished && pair.sides[A].engine.sas(pair.now).is_empty());
        assert!(pair.sides[A].kernel.flows.is_empty());
    }
}

#[test]
fn the_ike_sa_is_opened_without_a_child_where_the_policy_says_so() {
    let mut pair = Pair::of(|policy| {
        policy.childless = true;
        policy.child_proposals = vec![child(gcm(&[GroupId::CURVE25519]))];
    });
    pair.pass(1).assert_up();
    // The first child SA has a key exchange of its own, hence two messages more.
    assert_eq!(pair.sent, 6);
    assert!(pair.sides[A].engine.sas(pair.now)[0].children[0].suite.contains("Curve25519"));
    pair.end();
    // What is refused is tried again, as one that goes along with IKE_AUTH.
    let mut pair = Pair::each(|side, policy| {
        policy.childless = true;
        if side == B {
            policy.child_proposals = vec![child(cbc(&[]))];
        }
    });
    pair.pass(2);
    pair.assert_ike(1);
    pair.assert_children(0);
    pair.configure(B, vec![policy(B)]);
    pair.pass(80).assert_up();
    pair.end();
}

/// The first requests are sent again, for nobody knows yet; of those the answers come twice.
#[test]
fn over_a_slow_path_rekeys_cost_no_more_datagrams() {
    let mut pair = Pair::plain();
    pair.network = Box::new(|_, _| Fate::Late(Duration::from_secs(2)));
    pair.pass(30).assert_up();
    let mut cost = Vec::new();
    for _ in 0..3 {
        let before = pair.sent;
        pair.expire(A, false);
        pair.pass(30).assert_up();
        cost.push(pair.sent - before);
    }
    assert_eq!(cost[1..], [4, 4], "{cost:?}");
    pair.command(A, Command::Rekey { name: "test".into(), ike: true });
    pair.pass(30).assert_up();
    let before = pair.sent;
    pair.expire(A, false);
    pair.pass(30).assert_up();
    assert_eq!(pair.sent - before, 4);
    pair.end();
}
