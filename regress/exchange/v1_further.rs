//! IKEv1: what happens after phase 1 and 2 stand, and what goes wrong.

use std::sync::Arc;

use crate::pair::*;
use crate::v1_phases::{ikev1, v1_pair};
use oakd::conf::*;
use oakd::ike::event::*;
use oakd::ike::report::Event;
use oakd::ike::view::IkeKeys;
use oakd::wire::iana::v2::{IntegrityId, PrfId};

/// Policies that go over one phase 1: each with traffic of its own.
pub fn both(side: usize, others: &[&str]) -> Vec<Policy> {
    let own = ikev1(side, Phase1::Main);
    let more = others.iter().map(|name| Policy {
        name: PolicyName((*name).into()),
        flows: vec![match side {
            A => flow(&format!("10.3.{}.0/24", name.len()), &format!("10.4.{}.0/24", name.len())),
            _ => flow(&format!("10.4.{}.0/24", name.len()), &format!("10.3.{}.0/24", name.len())),
        }],
        ..own.clone()
    });
    std::iter::once(own.clone()).chain(more.collect::<Vec<_>>()).collect()
}

#[test]
fn a_policy_that_goes_takes_only_its_own_children_along() {
    let mut pair = Pair::new();
    for side in [B, A] {
        pair.configure(side, both(side, &["more"]));
    }
    pair.pass(3).assert_ike(1);
    pair.assert_children(2);
    let kept = both(A, &[]);
    pair.configure(A, kept);
    pair.pass(3).assert_up();
    pair.end();
}

#[test]
fn the_policy_that_opened_may_go_and_the_others_stay() {
    let mut pair = Pair::new();
    for side in [B, A] {
        pair.configure(side, both(side, &["more"]));
    }
    pair.pass(3).assert_children(2);
    let spis = pair.sides[A].engine.sas(pair.now)[0].spis.clone();
    let kept: Vec<_> = both(A, &["more"]).into_iter().skip(1).collect();
    pair.configure(A, kept);
    pair.pass(3).assert_up();
    let sas = pair.sides[A].engine.sas(pair.now);
    assert_eq!(sas[0].spis, spis, "phase 1 is the same");
    assert_eq!(sas[0].policy, Some(PolicyName("more".into())));
    pair.end();
}

#[test]
fn another_proposal_of_phase_1_is_negotiated_at_once_and_children_stay() {
    let mut pair = v1_pair(Phase1::Main, |_, _| ());
    pair.pass(2).assert_up();
    let (before, spis) = (pair.inbound(A), pair.sides[A].engine.sas(pair.now)[0].spis.clone());
    for side in [B, A] {
        let mut policy = ikev1(side, Phase1::Main);
        policy.ike_proposals[0].prf = vec![PrfId::PRF_HMAC_SHA2_256];
        pair.configure(side, vec![policy]);
    }
    pair.pass(90).assert_up();
    let sas = pair.sides[A].engine.sas(pair.now);
    assert_ne!(sas[0].spis, spis);
    assert!(sas[0].suite.as_ref().unwrap().contains("SHA2_256"));
    assert_eq!(pair.inbound(A), before);
    pair.end();
}

#[test]
fn another_proposal_of_phase_2_rekeys_what_is_its_own() {
    let mut pair = Pair::new();
    let with = |side: usize, integrity: IntegrityId| {
        let mut policies = both(side, &["more"]);
        policies[1].child_proposals[0].integrity = vec![integrity];
        policies
    };
    for side in [B, A] {
        pair.configure(side, with(side, IntegrityId::AUTH_HMAC_SHA2_256_128));
    }
    pair.pass(3).assert_children(2);
    let integrity = |pair: &Pair| {
        let sas = pair.sides[A].kernel.sas.values().filter(|sa| sa.direction == Direction::In);
        let mut all: Vec<_> = sas.filter_map(|sa| sa.integrity.as_ref().map(|it| it.0)).collect();
        all.sort_unstable();
        all
    };
    for side in [B, A] {
        pair.configure(side, with(side, IntegrityId::AUTH_HMAC_SHA2_512_256));
        pair.pass(15);
    }
    pair.assert_ike(1);
    pair.assert_children(2);
    let (sha256, sha512) =
        (IntegrityId::AUTH_HMAC_SHA2_256_128, IntegrityId::AUTH_HMAC_SHA2_512_256);
    assert_eq!(integrity(&pair), [sha256, sha512]);
    pair.end();
}

#[test]
fn both_sides_may_rekey_at_once() {
    let mut pair = v1_pair(Phase1::Main, |_, policy| policy.child_lifetime.seconds = 1200);
    pair.pass(2).assert_up();
    for side in [A, B] {
        pair.command(side, Command::Rekey { name: "test".into(), ike: true });
    }
    // Neither takes itself for the one that is to delete the old one.
    pair.pass(90).assert_up();
    for side in [A, B] {
        pair.command(side, Command::Rekey { name: "test".into(), ike: false });
    }
    pair.pass(20);
    // Peers differ in which of the two they keep: both stay, and one of them is rekeyed.
    pair.assert_children(2);
    pair.pass(1200).assert_up();
    pair.pass(3600).assert_up();
    pair.end();
}

#[test]
fn a_quick_mode_without_answer_fails_alone() {
    let mut pair = Pair::new();
    for side in [B, A] {
        pair.configure(side, both(side, &[]));
    }
    pair.pass(2).assert_up();
    let before = pair.inbound(A);
    // The peer drops Quick Modes without a word, and answers everything else.
    pair.network = Box::new(|_, datagram| match datagram.octets.get(18) {
        Some(32) => Fate::Lose,
        _ => Fate::Deliver,
    });
    pair.configure(A, both(A, &["more"]));
    pair.pass(120).assert_ike(1);
    assert_eq!(pair.inbound(A), before);
    assert!(pair.told(A, "no answer to Quick Mode"));
    pair.network = Box::new(|_, _| Fate::Deliver);
    pair.configure(B, both(B, &["more"]));
    pair.pass(600);
    pair.assert_ike(1);
    pair.assert_children(2);
    pair.end();
}

#[test]
fn a_peer_that_forgot_everything_is_found_by_a_quick_mode() {
    let mut pair = v1_pair(Phase1::Main, |_, policy| policy.child_lifetime.seconds = 600);
    pair.pass(2).assert_up();
    pair.sides[B].dead = true;
    pair.pass(800);
    assert!(pair.told(A, "no answer to Quick Mode"));
    assert!(pair.told(A, "no answer to R-U-THERE"));
    assert_eq!(pair.sides[A].kernel.count(Direction::In), 0);
}

#[test]
fn the_keys_of_phase_1_are_there_for_who_asks() {
    let mut pair = v1_pair(Phase1::Main, |_, _| ());
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let wire = std::rc::Rc::clone(&seen);
    pair.network = Box::new(move |_, datagram| {
        wire.borrow_mut().push(datagram.octets.clone());
        Fate::Deliver
    });
    pair.pass(2).assert_up();
    let spis = pair.sides[A].engine.sas(pair.now)[0].spis.clone();
    let last = seen.borrow().last().unwrap().clone();
    let keys = [A, B].map(|side| pair.sides[side].engine.keys(&last).unwrap());
    assert_eq!(keys[0], keys[1]);
    let IkeKeys::V1 { cookie, key } = &keys[0] else { panic!("{keys:?}") };
    assert_eq!((cookie, key.octets().len()), (&spis.0, 16));
    pair.network = Box::new(|_, _| Fate::Deliver);
    pair.end();
}

#[test]
fn a_first_message_that_comes_again_later_opens_nothing_that_lasts() {
    let mut pair = v1_pair(Phase1::Main, |_, _| ());
    let first = pair.flying[0].clone();
    pair.pass(2).assert_up();
    let before = pair.inbound(A);
    pair.input(
        B,
        Input::Datagram { local: first.local, remote: first.remote, octets: &first.octets },
    );
    assert_eq!(pair.sides[B].engine.stats().half_open, 1);
    pair.pass(120).assert_up();
    assert_eq!(pair.sides[B].engine.stats().half_open, 0);
    assert_eq!(pair.inbound(A), before);
    pair.end();
}

#[test]
fn phase_2_on_a_phase_1_that_is_gone_is_told_and_changes_nothing() {
    let mut pair = v1_pair(Phase1::Main, |_, _| ());
    let quick = std::rc::Rc::new(std::cell::RefCell::new(None));
    let wire = std::rc::Rc::clone(&quick);
    pair.network = Box::new(move |_, datagram| {
        if datagram.octets.get(18) == Some(&32) && datagram.to == B {
            wire.borrow_mut().get_or_insert_with(|| datagram.clone());
        }
        Fate::Deliver
    });
    pair.pass(2).assert_up();
    pair.command(B, Command::ResetSa);
    pair.pass(20).assert_up();
    let quick = quick.borrow().clone().unwrap();
    pair.input(
        B,
        Input::Datagram { local: quick.local, remote: quick.remote, octets: &quick.octets },
    );
    assert!(pair.told(B, "Quick Mode for an IKE SA that is not (any more)"));
    pair.pass(2).assert_up();
    pair.end();
}

#[test]
fn ah_has_no_cipher() {
    let mut pair = v1_pair(Phase1::Main, |_, policy| {
        policy.protocol = SaProtocol::Ah;
        policy.child_proposals[0].encryption.clear();
    });
    pair.pass(2).assert_up();
    let sas = pair.sides[A].kernel.sas.values();
    assert!(sas.clone().all(|sa| sa.encryption.is_none() && sa.integrity.is_some()));
    assert!(sas.clone().all(|sa| sa.key.protocol == SaProtocol::Ah));
    pair.end();
}

#[test]
fn the_shorter_lifetime_counts_whoever_has_it() {
    let (long, short) =
        (Lifetime { seconds: 7200, bytes: 64 << 20 }, Lifetime { seconds: 1200, bytes: 16 << 20 });
    for lifetimes in [[long, short], [short, long]] {
        let mut pair = v1_pair(Phase1::Main, |side, it| it.child_lifetime = lifetimes[side]);
        pair.pass(2).assert_up();
        for side in [A, B] {
            for sa in pair.sides[side].kernel.sas.values() {
                let hard = (sa.hard.seconds, sa.hard.bytes);
                assert_eq!(hard, (1200, 16 << 20), "side {side}, {lifetimes:?}");
                assert!(sa.soft.bytes < 16 << 20 && sa.soft.bytes > 0);
            }
        }
        // The kernel counts octets, and says when there are enough.
        let before = pair.inbound(A);
        pair.expire(A, false);
        pair.pass(10).assert_up();
        assert_ne!(pair.inbound(A), before);
        pair.end();
    }
}

#[test]
fn a_peer_that_answers_in_the_other_version_is_told_as_such() {
    for (ours, theirs) in [(1, 2), (2, 1)] {
        let mut pair = Pair::new();
        let mut policy = policy(A);
        if ours == 1 {
            policy = ikev1(A, Phase1::Main);
        }
        pair.configure(A, vec![policy]);
        let first = pair.flying.remove(0);
        // As a daemon that speaks nothing else would say.
        let mut answer = first.octets[..28].to_vec();
        answer[8..16].copy_from_slice(&[7; 8]);
        answer[16..20].copy_from_slice(&match theirs {
            2 => [0, 0x20, 34, 0x20],
            _ => [0, 0x10, 5, 0],
        });
        answer[24..28].copy_from_slice(&28u32.to_be_bytes());
        let (local, remote) = (first.remote, first.local);
        pair.input(A, Input::Datagram { local, remote, octets: &answer });
        let event = |event: &Event| *event == Event::OtherVersion { ours, theirs };
        assert!(pair.reported(A, event), "{ours} {theirs}");
        let word = if theirs == 1 { "an `ike` rule" } else { "an `ikev2` rule" };
        assert!(pair.told(A, word));
        // Also where it is taken apart.
        assert!(Event::OtherVersion { ours, theirs }.explained().advice.contains(word));
    }
}

#[test]
fn several_quick_modes_go_on_and_no_more_at_once_than_peers_remember() {
    let mut pair = Pair::new();
    let names = ["f", "fo", "foo", "four", "fives", "sixsix"];
    for side in [B, A] {
        pair.configure(side, both(side, &names));
    }
    // strongSwan keeps the state of three exchanges, and what else is told is one of them.
    let mut most = 0;
    for _ in 0..400 {
        pair.pass_millis(5);
        // Offers and answers; the third messages are short.
        let under_way =
            pair.flying.iter().filter(|it| it.octets[18] == 32 && it.octets.len() > 100);
        most = most.max(under_way.count());
    }
    assert_eq!(most, 2);
    pair.assert_ike(1);
    pair.assert_children(1 + names.len());
    pair.end();
}

#[test]
fn phase_2_that_is_rekeyed_while_phase_1_is_comes_to_rest_and_is_rekeyed_again() {
    // Each side begins something, the second one so many milliseconds after the first.
    for (first, second) in [(A, B), (B, A), (A, A)] {
        for ike_first in [true, false] {
            for millis in (0..200).step_by(10) {
                let mut pair = v1_pair(Phase1::Main, |_, it| it.child_lifetime.seconds = 600);
                pair.pass(2).assert_up();
                pair.command(first, Command::Rekey { name: "test".into(), ike: ike_first });
                pair.pass_millis(millis);
                pair.command(second, Command::Rekey { name: "test".into(), ike: !ike_first });
                let which = format!("{first} {second} {ike_first} {millis}");
                pair.pass(60);
                let ages = [A, B].map(|side| pair.sides[side].engine.sas(pair.now).len());
                assert_eq!(ages, [1, 1], "{which}");
                // Nothing ends for want of a successor.
                pair.pass(1500);
                for side in [A, B] {
                    assert!(!pair.told(side, "lifetime ended"), "{which} {side}");
                    assert!(!pair.told(side, "gone: failed"), "{which} {side}");
                }
                pair.end();
            }
        }
    }
}

#[test]
fn callers_from_anywhere_with_one_key_are_told_apart_by_who_they_are() {
    for (mode, mark, up) in
        [(Phase1::Main, 7, true), (Phase1::Main, 8, false), (Phase1::Aggressive, 8, true)]
    {
        let mut pair = Pair::new();
        let of = |name: &str, id: &str, key_mark: u64, net: &str| Policy {
            name: PolicyName(name.into()),
            peer: None,
            remote_id: Some(fqdn(id)),
            key_mark,
            flows: vec![flow("10.2.0.0/24", net)],
            ..ikev1(B, mode)
        };
        // The last that matches is taken as long as nothing is known but the address.
        let rules = vec![
            of("two", "a.example", mark, "10.1.0.0/24"),
            of("one", "c.example", 7, "10.9.0.0/24"),
        ];
        pair.configure(B, rules);
        pair.configure(A, vec![ikev1(A, mode)]);
        pair.pass(3);
        let sas = pair.sides[B].engine.sas(pair.now);
        match up {
            true => {
                pair.assert_up();
                assert_eq!(sas[0].policy, Some(PolicyName("two".into())));
            }
            false => {
                pair.assert_children(0);
                assert!(pair.told(B, "a peer that calls itself ID_FQDN a.example"), "{mode:?}");
            }
        }
        pair.end();
    }
}

#[test]
fn peers_call_themselves_by_identities_of_every_type() {
    use oakd::wire::iana::v2::IdType;
    let name = |id_type, data: &[u8]| Identity { id_type, data: data.to_vec() };
    let dn = [0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 0x06, 0x03, 0x55, 4, 3, 0x0c, 1, b'a'];
    let rows = [
        name(IdType::ID_IPV4_ADDR, &[10, 0, 0, 1]),
        name(IdType::ID_IPV6_ADDR, &[0xfe; 16]),
        name(IdType::ID_RFC822_ADDR, b"a@a.example"),
        name(IdType::ID_KEY_ID, &[0, 1, 0xff]),
        name(IdType::ID_DER_ASN1_DN, &dn),
    ];
    for id in rows {
        for mode in [Phase1::Main, Phase1::Aggressive] {
            let mut pair = v1_pair(mode, |side, policy| match side {
                A => policy.local_id = Some(id.clone()),
                _ => policy.remote_id = Some(id.clone()),
            });
            pair.pass(3).assert_up();
            pair.end();
        }
    }
}

#[test]
fn a_probe_whose_answers_get_lost_is_answered_again() {
    let mut pair = Pair::new();
    // Of what B says in informational exchanges every fourth message gets through.
    let mut said = 0;
    pair.network = Box::new(move |_, datagram| match datagram.octets.get(18) {
        Some(5) if datagram.to == A => {
            said += 1;
            if said % 4 == 0 { Fate::Deliver } else { Fate::Lose }
        }
        _ => Fate::Deliver,
    });
    for side in [B, A] {
        let policies = vec![ikev1(side, Phase1::Main)];
        let dpd_check_interval = if side == A { 20 } else { 0 };
        let globals = Globals { dpd_check_interval, ..Globals::default() };
        pair.input(side, Input::Configure(Arc::new(Config { globals, policies })));
    }
    pair.pass(300).assert_up();
    assert!(!pair.told(A, "no answer to R-U-THERE"));
    assert!(pair.sides[B].engine.stats().duplicates > 5);
    pair.network = Box::new(|_, _| Fate::Deliver);
    pair.end();
}

#[test]
fn a_policy_found_by_the_identity_allows_what_was_agreed_on() {
    for allows in [true, false] {
        let mut pair = Pair::new();
        let of = |name: &str, id: &str| Policy {
            name: PolicyName(name.into()),
            peer: None,
            remote_id: Some(fqdn(id)),
            ..ikev1(B, Phase1::Main)
        };
        let mut strict = of("strict", "a.example");
        strict.ike_proposals[0].prf = vec![PrfId::PRF_HMAC_SHA2_256];
        if allows {
            strict.ike_proposals[0].prf.push(PrfId::PRF_HMAC_SHA1);
        }
        pair.configure(B, vec![strict, of("lax", "c.example")]);
        pair.configure(A, vec![ikev1(A, Phase1::Main)]);
        pair.pass(3);
        pair.assert_children(usize::from(allows));
        pair.end();
    }
}
