//! One peer and its IKE SAs: reauthentication, one IKE SA for each identity, other addresses.

use crate::pair::*;
use oakd::conf::{Config, Globals, PolicyName, Start};
use oakd::ike::event::*;
use oakd::ike::report::{Event, Gone};
use oakd::wire::iana::v2::GroupId;

fn established(pair: &Pair, side: usize) -> usize {
    let reports = pair.sides[side].reports.iter();
    reports.filter(|report| matches!(report.event, Event::IkeEstablished { .. })).count()
}

/// Both sides can send at any time, on an SA that the other has, unless it is being told of it.
fn pass_without_gap(pair: &mut Pair, seconds: u64) {
    for _ in 0..seconds {
        pair.pass(1);
        for side in [A, B] {
            let (own, peers) = (&pair.sides[side].kernel, &pair.sides[1 - side].kernel);
            assert!(own.count(Direction::Out) > 0, "side {side} cannot send");
            let known = pair.flying.is_empty();
            for sa in own.sas.values().filter(|sa| known && sa.direction == Direction::Out) {
                assert!(peers.sas.contains_key(&(sa.key.spi.0, sa.key.dst)), "{:?}", sa.key);
            }
        }
    }
}

#[test]
fn the_caller_proves_anew_who_it_is_before_the_old_ike_sa_goes() {
    let mut pair = Pair::each(|side, policy| {
        if side == A {
            (policy.ike_lifetime, policy.reauth) = (300, true);
        }
    });
    pair.pass(1).assert_up();
    pass_without_gap(&mut pair, 1500);
    pair.assert_up();
    let times = established(&pair, A);
    assert!((5..=8).contains(&times), "{times}");
    assert!(!pair.reported(A, |event| matches!(event, Event::IkeRekeyed { .. })));
    pair.end();
}

#[test]
fn the_called_side_asks_for_that() {
    let mut pair = Pair::each(|side, policy| {
        if side == B {
            (policy.ike_lifetime, policy.reauth) = (300, true);
        }
    });
    pair.pass(1).assert_up();
    pass_without_gap(&mut pair, 1500);
    pair.assert_up();
    assert!((5..=8).contains(&established(&pair, B)));
    // New keys meanwhile change nothing of that.
    let before = established(&pair, B);
    for _ in 0..10 {
        pair.command(B, Command::Rekey { name: "test".into(), ike: true });
        pass_without_gap(&mut pair, 60);
    }
    assert!(established(&pair, B) >= before + 2);
    pair.assert_up();
    pair.end();
}

#[test]
fn a_peer_that_does_not_prove_itself_anew_is_let_go() {
    let mut pair = Pair::each(|side, policy| {
        if side == B {
            (policy.ike_lifetime, policy.reauth) = (300, true);
        }
    });
    pair.pass(1).assert_up();
    let hears_nothing_new = |_: usize, datagram: &Datagram| {
        let first = oakd::wire::Header::parse(&datagram.octets).unwrap();
        match first.responder.is_zero() {
            true => Fate::Lose,
            false => Fate::Deliver,
        }
    };
    pair.network = Box::new(hears_nothing_new);
    pair.pass(340).assert_children(0);
    assert!(pair.sides[B].engine.sas(pair.now).is_empty());
    let expired = |event: &Event| matches!(event, Event::IkeDeleted { why: Gone::Expired });
    assert!(pair.reported(B, expired));
    pair.network = Box::new(|_, _| Fate::Deliver);
    pair.pass(120).assert_up();
    pair.end();
}

#[test]
fn several_children_move_to_the_new_ike_sa() {
    let mut pair = Pair::new();
    for side in [B, A] {
        pair.input(side, Input::Capabilities(crate::further::one_family()));
        let mut it = policy(side);
        let nets = ["2001:db8:1::/64", "2001:db8:2::/64"];
        it.flows.push(flow(nets[side], nets[1 - side]));
        (it.ike_lifetime, it.reauth) = (300, side == A);
        pair.configure(side, vec![it]);
    }
    pair.pass(2).assert_children(2);
    pass_without_gap(&mut pair, 900);
    pair.assert_ike(1);
    pair.assert_children(2);
    pair.end();
}

#[test]
fn one_ike_sa_for_each_identity_even_from_another_address() {
    for enforced in [false, true] {
        let mut pair = Pair::new();
        let mut there = policy(B);
        there.peer = None;
        there.start = Start::Passive;
        let globals = Globals {
            enforce_single_ike_sa: enforced,
            dpd_check_interval: 0,
            mobike: false,
            ..Globals::default()
        };
        let config = Config { globals, policies: vec![there] };
        pair.input(B, Input::Configure(config.into()));
        pair.configure(A, vec![policy(A)]);
        pair.pass(1).assert_up();
        // The peer's host moves, forgets, and calls again.
        let fresh = Pair::with(oakd::ike::Settings::default(), 77);
        let [side, _] = fresh.sides;
        pair.sides[A] = side;
        pair.sides[A].kernel.last_spi = 500;
        pair.sides[A].address.set_ip(ip("192.0.2.77"));
        let mut moved = policy(A);
        moved.local = Some(oakd::conf::Prefix::host(ip("192.0.2.77")));
        pair.configure(A, vec![moved]);
        pair.pass(100);
        // INITIAL_CONTACT does it, from wherever.
        assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1, "enforced: {enforced}");
        pair.assert_children(1);
        pair.end();
    }
}

#[test]
fn one_ike_sa_for_each_identity_where_that_is_enforced() {
    for enforced in [false, true] {
        let mut pair = Pair::new();
        // Two tunnels of the same two identities: the second says no INITIAL_CONTACT.
        let two = |side: usize| {
            let numbered = |number: usize| {
                let mut it = policy(side);
                it.name = PolicyName(format!("t{number}"));
                it.start = if side == A { Start::OnDemand } else { Start::Passive };
                let net = |side: usize| format!("10.{}.{number}.0/24", side + 1);
                it.flows = vec![flow(&net(side), &net(1 - side))];
                // The suite tells B which of them is meant.
                let groups = [GroupId::CURVE25519, GroupId::ECP_256];
                it.ike_proposals = vec![gcm(&[groups[number]])];
                it
            };
            vec![numbered(0), numbered(1)]
        };
        let globals = Globals {
            enforce_single_ike_sa: enforced,
            dpd_check_interval: 0,
            ..Globals::default()
        };
        let config = Config { globals, policies: two(B) };
        pair.input(B, Input::Configure(config.into()));
        pair.configure(A, two(A));
        for number in 0..2 {
            let packet = KernelSelector {
                src: prefix(&format!("10.1.{number}.5/32")),
                dst: prefix(&format!("10.2.{number}.5/32")),
                ip_protocol: 17,
                src_port: Ports::exactly(1),
                dst_port: Ports::exactly(2),
            };
            let (local, remote) = (ip("192.0.2.1"), ip("192.0.2.2"));
            let acquire = Acquire { local, remote, reqid: None, selector: Some(packet) };
            pair.input(A, Input::Acquire(acquire));
            pair.pass(5);
        }
        let left = if enforced { 1 } else { 2 };
        pair.assert_ike(left);
        pair.assert_children(left);
        if enforced {
            let sas = pair.sides[B].engine.sas(pair.now);
            assert_eq!(sas[0].policy.as_ref().map(|name| &*name.0), Some("t1"));
        }
        pair.end();
    }
}

#[test]
fn two_peers_with_the_same_network_are_told_who_gets_the_traffic() {
    let mut pair = Pair::new();
    let both = |side: usize| {
        let of = |name: &str, who: &str| {
            let mut it = policy(side);
            it.name = PolicyName(name.into());
            match side {
                A => it.local_id = Some(fqdn(who)),
                _ => (it.remote_id, it.peer) = (Some(fqdn(who)), None),
            }
            it
        };
        vec![of("first", "first.example"), of("second", "second.example")]
    };
    pair.configure(B, both(B));
    pair.configure(A, both(A));
    pair.pass(3);
    let covered = |event: &Event| matches!(event, Event::FlowCovered { .. });
    assert!(pair.reported(B, covered) && !pair.reported(A, covered));
    assert!(pair.told(B, "10.2.0.0/24 -> 10.1.0.0/24 goes to this peer now, and no longer to"));
    pair.sides[B].reports.clear();
    // New keys are no news.
    for ike in [false, true] {
        pair.command(A, Command::Rekey { name: "second".into(), ike });
    }
    pair.pass(3);
    assert!(!pair.reported(B, covered));
}
