//! IKEv1: Main and Aggressive Mode, Quick Mode, deletions, rekeying.

use crate::pair::*;
use oakd::conf::*;
use oakd::ike::event::*;
use oakd::ike::report::Event;
use oakd::wire::iana::v2::{EncryptionId, GroupId, IntegrityId, PrfId};

/// A policy of IKEv1: AES and SHA-1, PFS.
pub fn ikev1(side: usize, mode: Phase1) -> Policy {
    Policy {
        version: Version::V1(mode),
        ike_proposals: vec![Proposal {
            prf: vec![PrfId::PRF_HMAC_SHA1],
            integrity: vec![],
            ..cbc(&[GroupId::MODP_1024])
        }],
        child_proposals: vec![child(cbc(&[GroupId::MODP_1024]))],
        ..policy(side)
    }
}

/// Both sides with the plain policy changed; the passive one first.
pub fn v1_pair(mode: Phase1, mut change: impl FnMut(usize, &mut Policy)) -> Pair {
    let mut pair = Pair::new();
    for side in [B, A] {
        let mut it = ikev1(side, mode);
        change(side, &mut it);
        pair.configure(side, vec![it]);
    }
    pair
}

/// Both sides, the active one behind a NAT, each with dead peer detection after so many seconds.
pub fn behind_nat(mode: Phase1, dpd_check_interval: u32) -> Pair {
    let mut pair = Pair::new();
    pair.nat = Some(ip("198.51.100.9"));
    for side in [B, A] {
        let mut policy = ikev1(side, mode);
        if side == B {
            policy.peer = None;
        }
        let globals = Globals { dpd_check_interval, ..Globals::default() };
        let config = std::sync::Arc::new(Config { globals, policies: vec![policy] });
        pair.input(side, Input::Configure(config));
    }
    pair
}

#[test]
fn main_mode_then_quick_mode() {
    let mut pair = v1_pair(Phase1::Main, |_, _| ());
    pair.pass(2).assert_up();
    let sas = pair.sides[A].engine.sas(pair.now);
    assert_eq!(sas[0].version, 1);
    pair.end();
}

#[test]
fn aggressive_mode_then_quick_mode() {
    let mut pair = v1_pair(Phase1::Aggressive, |_, _| ());
    pair.pass(2).assert_up();
    pair.end();
}

#[test]
fn without_pfs_and_with_several_flows_each_has_its_quick_mode() {
    let mut pair = v1_pair(Phase1::Main, |side, policy| {
        policy.child_proposals = vec![child(cbc(&[]))];
        let nets = ["10.3.0.0/24", "10.4.0.0/24"];
        policy.flows.push(flow(nets[side], nets[1 - side]));
    });
    pair.pass(2);
    pair.assert_ike(1);
    pair.assert_children(2);
    pair.end();
}

#[test]
fn every_message_may_be_lost_once() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        for lost in 0..9 {
            let mut pair = Pair::new();
            pair.network = Box::new(move |number, _| match number == lost {
                true => Fate::Lose,
                false => Fate::Deliver,
            });
            for side in [B, A] {
                pair.configure(side, vec![ikev1(side, mode)]);
            }
            pair.pass(20).assert_up();
            pair.end();
        }
    }
}

#[test]
fn duplicates_change_nothing() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        let mut pair = Pair::new();
        pair.network = Box::new(|_, _| Fate::Twice);
        for side in [B, A] {
            pair.configure(side, vec![ikev1(side, mode)]);
        }
        pair.pass(20).assert_up();
        pair.end();
    }
}

#[test]
fn other_keys_are_told_on_both_sides() {
    let mut pair = v1_pair(Phase1::Main, |_, _| ());
    pair.sides[B].psk = oakd::crypto::Secret::from(&b"another"[..]);
    let mut fresh = v1_pair(Phase1::Aggressive, |_, _| ());
    fresh.pass(1);
    pair.pass(100);
    assert!(pair.reported(B, |event| matches!(event, Event::ProofUnreadable { .. })));
    assert!(pair.told(B, "most likely the pre-shared keys differ, ours for ID_FQDN b"));
    assert!(pair.told(A, "do the pre-shared keys differ"));
    pair.assert_children(0);
    pair.end();
}

#[test]
fn proposals_that_differ_are_told_by_both_offers() {
    let mut pair = v1_pair(Phase1::Main, |side, policy| {
        if side == B {
            policy.ike_proposals[0].prf = vec![PrfId::PRF_HMAC_SHA2_256];
        }
    });
    pair.pass(5);
    let named = |event: &Event| match event {
        Event::Disagreed(it) => it.mismatch.contains("SHA1") && it.mismatch.contains("SHA2_256"),
        _ => false,
    };
    assert!(pair.reported(B, named));
    assert!(pair.reported(A, |event| matches!(event, Event::Refused { .. })));
    pair.end();
}

#[test]
fn what_is_judged_is_a_rule_of_the_peers_mode() {
    let mut pair = Pair::new();
    let named = |name: &str, mode, prf| Policy {
        name: PolicyName(name.into()),
        ike_proposals: vec![Proposal { prf: vec![prf], ..ikev1(B, mode).ike_proposals[0].clone() }],
        ..ikev1(B, mode)
    };
    let rules = vec![
        named("first", Phase1::Main, PrfId::PRF_HMAC_SHA2_512),
        named("second", Phase1::Main, PrfId::PRF_HMAC_SHA2_256),
        named("third", Phase1::Aggressive, PrfId::PRF_HMAC_SHA1),
    ];
    pair.configure(B, rules);
    pair.configure(A, vec![ikev1(A, Phase1::Main)]);
    pair.pass(5);
    assert!(pair.reported(B, |event| match event {
        Event::Disagreed(it) => {
            let of = |name: &str| it.ours.iter().any(|line| line.starts_with(name));
            it.mismatch.contains("SHA1")
                && it.mismatch.contains("SHA2_256")
                && of("first: IKE")
                && !of("third")
        }
        _ => false,
    }));
    assert!(!pair.told(B, "we allow aggressive"));
    pair.end();
}

/// CAST is there only where the library's configuration has its legacy.
#[test]
fn what_the_library_leaves_out_is_told_by_its_name() {
    let cast = |side: usize| {
        let mut it = ikev1(side, Phase1::Main);
        it.ike_proposals[0].encryption = vec![(EncryptionId::ENCR_CAST, Some(128))];
        it
    };
    let there = oakd::crypto::Block::new(EncryptionId::ENCR_CAST, Some(128)).is_ok();
    let mut pair = Pair::new();
    pair.configure(B, vec![cast(B)]);
    pair.configure(A, vec![cast(A)]);
    pair.pass(5);
    assert_eq!(
        pair.told(A, "nothing that this rule names for phase 1 can be used: ENCR_CAST-128"),
        !there
    );
    pair.end();
}

#[test]
fn other_quick_mode_proposals_and_traffic_are_told() {
    let mut pair = v1_pair(Phase1::Main, |side, policy| {
        if side == B {
            policy.child_proposals = vec![child(cbc(&[]))];
        }
    });
    pair.pass(5);
    assert!(pair.reported(B, |event| matches!(event, Event::Disagreed(_))));
    assert!(pair.reported(A, |event| matches!(event, Event::Refused { .. })));
    pair.end();
    let mut pair = v1_pair(Phase1::Main, |side, policy| {
        if side == B {
            policy.flows = vec![flow("10.2.0.0/24", "10.9.0.0/24")];
        }
    });
    pair.pass(5);
    assert!(pair.reported(B, |event| matches!(event, Event::Disagreed(_))));
    pair.end();
}

#[test]
fn traffic_that_the_kernel_cannot_select_is_refused_with_that_reason() {
    let mut pair = v1_pair(Phase1::Main, |side, policy| {
        let flow = &mut policy.flows[0];
        flow.ip_protocol = 17;
        let end = if side == A { &mut flow.remote } else { &mut flow.local };
        end.ports = (53, 53);
    });
    let able = Capabilities {
        encryption: vec![(EncryptionId::ENCR_AES_CBC, vec![128])],
        integrity: vec![IntegrityId::AUTH_HMAC_SHA1_96, IntegrityId::AUTH_HMAC_SHA2_256_128],
        ..Capabilities::default()
    };
    pair.input(B, Input::Capabilities(able));
    pair.pass(5);
    assert!(pair.told(B, "do not tell packets of IP protocol 17 by port"));
    assert!(pair.reported(A, |event| matches!(event, Event::Refused { .. })));
    pair.end();
}

#[test]
fn the_other_mode_and_the_other_version_are_told() {
    let mut pair = v1_pair(Phase1::Main, |side, policy| {
        if side == B {
            policy.version = Version::V1(Phase1::Aggressive);
        }
    });
    pair.pass(5);
    assert!(pair.told(B, "the peer opens with Identity Protection"));
    pair.end();
    let mut pair = Pair::new();
    pair.configure(B, vec![policy(B)]);
    pair.configure(A, vec![ikev1(A, Phase1::Main)]);
    pair.pass(5);
    assert!(pair.told(B, "is for IKEv2"));
    pair.end();
}

#[test]
fn children_are_rekeyed_in_time() {
    let mut pair = v1_pair(Phase1::Main, |_, policy| policy.child_lifetime.seconds = 600);
    pair.pass(2).assert_up();
    let before = pair.inbound(A);
    pair.pass(598).assert_up();
    assert_ne!(pair.inbound(A), before);
    pair.end();
}

#[test]
fn children_survive_the_rekeying_of_phase_1() {
    for lifetimes in [[1000, 1000], [1000, 86400], [86400, 1000]] {
        let mut pair = v1_pair(Phase1::Main, |side, policy| policy.ike_lifetime = lifetimes[side]);
        pair.pass(2).assert_up();
        let before = (pair.inbound(A), pair.sides[A].engine.sas(pair.now)[0].spis.clone());
        pair.pass(1098).assert_up();
        assert_eq!(pair.inbound(A), before.0, "{lifetimes:?}");
        assert_ne!(pair.sides[A].engine.sas(pair.now)[0].spis, before.1, "{lifetimes:?}");
        pair.pass(4000).assert_up();
        pair.end();
    }
}

#[test]
fn a_dead_peer_is_found_and_called_again() {
    let mut pair = v1_pair(Phase1::Main, |_, _| ());
    let globals = Globals { dpd_check_interval: 20, ..Globals::default() };
    for side in [B, A] {
        let policies = vec![ikev1(side, Phase1::Main)];
        let config = std::sync::Arc::new(Config { globals: globals.clone(), policies });
        pair.input(side, Input::Configure(config));
    }
    pair.pass(200).assert_up();
    pair.sides[B].dead = true;
    pair.pass(150);
    assert!(pair.told(A, "no answer to R-U-THERE"));
    assert_eq!(pair.sides[A].kernel.count(Direction::In), 0);
}

#[test]
fn behind_a_nat_everything_goes_in_udp() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        let mut pair = behind_nat(mode, 0);
        pair.pass(5).assert_up();
        assert!(pair.sides[A].kernel.sas.values().all(|sa| sa.encap.is_some()), "{mode:?}");
        pair.pass(60);
        assert!(pair.sides[A].keepalives > 0);
        pair.end();
    }
}

#[test]
fn the_operator_ends_it_and_it_comes_again() {
    let mut pair = v1_pair(Phase1::Main, |_, _| ());
    pair.pass(2).assert_up();
    pair.command(B, Command::ResetSa);
    pair.pass(20).assert_up();
    pair.end();
}
