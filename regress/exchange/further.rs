//! Several child SAs of one IKE SA: one per family where the kernel needs that, the rest after the peer
//! narrowed, both sides asking at once.

use crate::pair::*;
use oakd::conf::{Policy, Start};
use oakd::ike::event::*;
use oakd::ike::report::Event;
use oakd::wire::iana::v2::{EncryptionId, GroupId};

const NETS: [[&str; 2]; 3] = [
    ["10.1.0.0/24", "10.2.0.0/24"],
    ["2001:db8:1::/64", "2001:db8:2::/64"],
    ["10.3.0.0/24", "10.4.0.0/24"],
];

fn flows(policy: &mut Policy, side: usize, which: &[usize]) {
    let pair = |at: &usize| flow(NETS[*at][side], NETS[*at][1 - side]);
    policy.flows = which.iter().map(pair).collect();
}

pub fn one_family() -> Capabilities {
    Capabilities {
        encryption: vec![(EncryptionId::ENCR_AES_GCM_16, vec![128, 256])],
        one_family: true,
        ..Capabilities::default()
    }
}

/// Both sides have an IPv4 and an IPv6 flow; these sides' kernels carry one family per SA.
fn mixed(limited: &[usize], start: [Start; 2]) -> Pair {
    let mut pair = Pair::new();
    for side in limited {
        pair.input(*side, Input::Capabilities(one_family()));
    }
    for side in [B, A] {
        let mut it = policy(side);
        it.start = start[side];
        flows(&mut it, side, &[0, 1]);
        pair.configure(side, vec![it]);
    }
    pair
}

fn children(pair: &Pair, side: usize) -> Vec<Vec<String>> {
    let sas = pair.sides[side].engine.sas(pair.now);
    let printed = |flow: &KernelSelector| flow.src.to_string();
    let of = |flows: &Vec<KernelSelector>| flows.iter().map(printed).collect::<Vec<_>>();
    let mut all: Vec<_> =
        sas.iter().flat_map(|sa| &sa.children).map(|child| of(&child.flows)).collect();
    all.sort();
    all
}

#[test]
fn a_child_for_each_family_where_the_kernel_wants_that() {
    for limited in [&[A][..], &[B], &[A, B]] {
        let mut pair = mixed(limited, [Start::Active, Start::Passive]);
        pair.pass(2).assert_ike(1);
        pair.assert_children(2);
        for side in [A, B] {
            let nets = [NETS[0][side].to_string(), NETS[1][side].to_string()];
            assert_eq!(children(&pair, side), nets.map(|net| vec![net]));
        }
        // Each is rekeyed as it is.
        for side in [A, B] {
            pair.command(side, Command::Rekey { name: "test".into(), ike: false });
            pair.pass(2).assert_children(2);
            assert_eq!(children(&pair, side).len(), 2);
        }
        pair.command(B, Command::Rekey { name: "test".into(), ike: true });
        pair.pass(2).assert_ike(1);
        pair.assert_children(2);
        pair.end();
    }
    let mut pair = mixed(&[], [Start::Active, Start::Passive]);
    pair.pass(2).assert_up();
    pair.end();
}

#[test]
fn what_the_peer_leaves_out_is_asked_for_and_a_no_is_taken() {
    let mut pair = Pair::each(|side, policy| match side {
        A => flows(policy, A, &[0, 1, 2]),
        _ => flows(policy, B, &[0, 2]),
    });
    pair.pass(60).assert_ike(1);
    pair.assert_children(1);
    // One refusal, and no more.
    let refused =
        pair.sides[A].reports.iter().filter(|it| matches!(it.event, Event::Refused { .. }));
    assert_eq!(refused.count(), 1);
    pair.pass(300).assert_children(1);
    pair.end();
}

#[test]
fn a_deleted_one_of_several_comes_back() {
    let mut pair = mixed(&[A, B], [Start::Active, Start::Passive]);
    pair.pass(2).assert_children(2);
    pair.expire(B, true);
    pair.pass(20).assert_ike(1);
    pair.assert_children(2);
    pair.end();
}

fn traffic(pair: &mut Pair, side: usize, net: usize) {
    let (src, dst) = (prefix(NETS[net][side]), prefix(NETS[net][1 - side]));
    let packet = KernelSelector {
        src,
        dst,
        ip_protocol: 17,
        src_port: Ports::exactly(1),
        dst_port: Ports::exactly(1),
    };
    let hosts = [ip("192.0.2.1"), ip("192.0.2.2")];
    let (local, remote) = (hosts[side], hosts[1 - side]);
    pair.input(
        side,
        Input::Acquire(Acquire { local, remote, reqid: None, selector: Some(packet) }),
    );
}

#[test]
fn both_sides_ask_for_the_same_child_at_once_and_one_remains() {
    for delay in 0..12 {
        let mut pair = mixed(&[A, B], [Start::OnDemand, Start::OnDemand]);
        traffic(&mut pair, A, 0);
        pair.pass(5).assert_children(1);
        traffic(&mut pair, A, 1);
        for _ in 0..delay {
            pair.now = pair.now.after(std::time::Duration::from_millis(3));
        }
        traffic(&mut pair, B, 1);
        pair.pass(5).assert_ike(1);
        pair.assert_children(2);
        pair.pass(100).assert_children(2);
        pair.end();
    }
}

#[test]
fn another_group_is_demanded_for_a_further_child_by_either_side() {
    for (side, kernel) in [(A, A), (B, B)] {
        let mut pair = Pair::new();
        pair.input(kernel, Input::Capabilities(one_family()));
        for at in [B, A] {
            let mut it = policy(at);
            flows(&mut it, at, &[0, 1]);
            let both = [GroupId::CURVE25519, GroupId::ECP_256];
            let groups = if at == side { &both[..] } else { &both[1..] };
            it.child_proposals = vec![child(gcm(groups))];
            pair.configure(at, vec![it]);
        }
        pair.pass(2).assert_ike(1);
        pair.assert_children(2);
        pair.end();
    }
}

#[test]
fn compression_is_agreed_on_where_both_want_it_and_can() {
    for wanting in [&[A, B][..], &[A], &[B], &[]] {
        let mut pair = Pair::each(|side, policy| policy.ipcomp = wanting.contains(&side));
        pair.pass(1).assert_up();
        for turn in 0..3 {
            let compressed = wanting.len() == 2;
            for side in [A, B] {
                let (own, peers) = (&pair.sides[side].kernel, &pair.sides[1 - side].kernel);
                for sa in own.sas.values() {
                    assert_eq!(sa.ipcomp.is_some(), compressed);
                    let twin = &peers.sas[&(sa.key.spi.0, sa.key.dst)];
                    assert_eq!(sa.ipcomp, twin.ipcomp);
                }
                assert!(own.flows.values().all(|flow| flow.ipcomp == compressed));
            }
            pair.command(turn % 2, Command::Rekey { name: "test".into(), ike: false });
            pair.pass(2).assert_up();
        }
        pair.end();
    }
}
