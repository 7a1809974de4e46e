//! IKE_SA_INIT and IKE_AUTH.

use crate::pair::*;
use oakd::conf::{EsnChoice, Mode, Start};
use oakd::ike::Settings;
use oakd::ike::event::*;
use oakd::ike::report::Event;
use oakd::wire::iana::v2::{EncryptionId, GroupId, IntegrityId, PrfId};
use std::time::Duration;

#[test]
fn a_tunnel_comes_up_and_goes_down() {
    let mut pair = Pair::plain();
    pair.pass(1).assert_up();
    assert_eq!(pair.sent, 4);
    // The trap's flows are the child's.
    assert_eq!(pair.sides[A].kernel.flows.len(), 2);
    assert_eq!(pair.sides[B].kernel.flows.len(), 2);
    let view = &pair.sides[A].engine.sas(pair.now)[0];
    assert_eq!(view.state, "established");
    assert_eq!(view.children[0].state, "up");
    pair.end();
}

#[test]
fn every_cipher_and_prf_serves() {
    let aead = [
        (EncryptionId::ENCR_AES_GCM_16, Some(128)),
        (EncryptionId::ENCR_AES_GCM_16, Some(192)),
        (EncryptionId::ENCR_AES_GCM_16, Some(256)),
        (EncryptionId::ENCR_CHACHA20_POLY1305, None),
    ];
    let plain = [
        (EncryptionId::ENCR_AES_CBC, Some(128)),
        (EncryptionId::ENCR_AES_CBC, Some(256)),
        (EncryptionId::ENCR_AES_CTR, Some(128)),
        (EncryptionId::ENCR_AES_CTR, Some(256)),
    ];
    let hashes = [
        (IntegrityId::AUTH_HMAC_SHA1_96, PrfId::PRF_HMAC_SHA1),
        (IntegrityId::AUTH_HMAC_SHA2_256_128, PrfId::PRF_HMAC_SHA2_256),
        (IntegrityId::AUTH_HMAC_SHA2_384_192, PrfId::PRF_HMAC_SHA2_384),
        (IntegrityId::AUTH_HMAC_SHA2_512_256, PrfId::PRF_HMAC_SHA2_512),
    ];
    let mut rows: Vec<_> = aead.iter().map(|it| (*it, None, PrfId::PRF_HMAC_SHA2_256)).collect();
    for cipher in plain {
        rows.extend(hashes.iter().map(|(hash, prf)| (cipher, Some(*hash), *prf)));
    }
    for (cipher, integrity, prf) in rows {
        let mut pair = Pair::of(|policy| {
            let proposal = &mut policy.ike_proposals[0];
            proposal.encryption = vec![cipher];
            proposal.integrity = integrity.into_iter().collect();
            proposal.prf = vec![prf];
            policy.child_proposals = vec![child(proposal.clone())];
            policy.child_proposals[0].groups.clear();
        });
        pair.pass(1).assert_up();
        pair.end();
    }
}

#[test]
fn every_group_serves() {
    let groups = (14..=21).chain(31..=32).map(GroupId);
    for group in groups {
        let mut pair = Pair::of(|policy| policy.ike_proposals = vec![gcm(&[group])]);
        pair.pass(1).assert_up();
        pair.end();
    }
}

#[test]
fn extended_sequence_numbers_are_agreed_on() {
    let mut pair = Pair::of(|policy| policy.child_proposals[0].esn = EsnChoice::Either);
    pair.pass(1).assert_up();
    assert!(pair.sides[A].kernel.sas.values().all(|sa| sa.esn));
    pair.end();
}

#[test]
fn another_group_is_demanded_and_given() {
    let mut pair = Pair::each(|side, policy| {
        let groups = [GroupId::CURVE25519, GroupId::ECP_256];
        policy.ike_proposals = vec![gcm(if side == A { &groups } else { &groups[1..] })];
    });
    pair.pass(1).assert_up();
    assert_eq!(pair.sent, 6);
    pair.end();
}

#[test]
fn a_demand_for_a_group_not_offered_leads_nowhere() {
    let mut pair = Pair::each(|side, policy| {
        let group = if side == A { GroupId::CURVE25519 } else { GroupId::ECP_256 };
        policy.ike_proposals = vec![gcm(&[group])];
    });
    pair.pass(5).assert_children(0);
    assert!(pair.told(B, "GROUP") || pair.told(B, "KE"), "{:?}", pair.sides[B].reports);
    assert!(pair.told(B, "Curve25519") && pair.told(B, "256-bit random ECP group"));
    assert!(pair.reported(A, |event| matches!(event, Event::Refused { .. })));
    pair.end();
}

#[test]
fn a_cookie_is_demanded_and_returned() {
    let mut pair = Pair::with(Settings { cookies_from: 0, ..Settings::default() }, 1);
    pair.configure(B, vec![policy(B)]);
    pair.configure(A, vec![policy(A)]);
    pair.pass(1).assert_up();
    assert_eq!(pair.sides[B].engine.stats().cookies, 1);
    assert_eq!(pair.sent, 6);
    pair.end();
}

#[test]
fn a_cookie_and_another_group_together() {
    let mut pair = Pair::with(Settings { cookies_from: 0, ..Settings::default() }, 1);
    for side in [B, A] {
        let groups = [GroupId::CURVE25519, GroupId::ECP_256];
        let mut it = policy(side);
        it.ike_proposals = vec![gcm(if side == A { &groups } else { &groups[1..] })];
        pair.configure(side, vec![it]);
    }
    pair.pass(1).assert_up();
    pair.end();
}

#[test]
fn keys_that_differ_are_reported_by_the_responder() {
    let mut pair = Pair::new();
    pair.sides[A].psk = oakd::crypto::Secret::from(&b"other"[..]);
    pair.configure(B, vec![policy(B)]);
    pair.configure(A, vec![policy(A)]);
    pair.pass(5).assert_children(0);
    assert!(pair.reported(B, |event| matches!(event, Event::PeerNotAuthenticated { .. })));
    assert!(pair.told(A, "AUTHENTICATION_FAILED"));
    pair.end();
}

#[test]
fn nothing_in_common_is_explained() {
    let mut pair = Pair::each(|side, policy| {
        if side == A {
            policy.ike_proposals = vec![cbc(&[GroupId::CURVE25519])];
        }
    });
    pair.pass(5).assert_children(0);
    assert!(pair.told(B, "ENCR_AES_CBC-128") && pair.told(B, "ENCR_AES_GCM_16-256"));
    assert!(pair.told(A, "NO_PROPOSAL_CHOSEN"));
    pair.end();
}

#[test]
fn a_child_that_cannot_be_leaves_the_ike_sa_up() {
    let mut pair = Pair::each(|side, policy| {
        if side == A {
            policy.child_proposals = vec![child(cbc(&[]))];
        }
    });
    pair.pass(2);
    pair.assert_ike(1);
    pair.assert_children(0);
    assert!(pair.told(B, "the child SA proposal"));
    let mut other = Pair::each(|side, policy| {
        if side == A {
            policy.flows = vec![flow("10.8.0.0/24", "10.9.0.0/24")];
        }
    });
    other.pass(2);
    other.assert_ike(1);
    other.assert_children(0);
    assert!(other.told(A, "TS_UNACCEPTABLE") && other.told(B, "traffic selectors"));
    pair.end();
    other.end();
}

#[test]
fn selectors_are_narrowed() {
    let mut pair = Pair::each(|side, policy| match side {
        A => policy.flows = vec![flow("10.0.0.0/8", "10.2.0.0/16")],
        _ => policy.flows = vec![flow("10.2.0.0/24", "10.1.0.0/24")],
    });
    pair.pass(1).assert_up();
    let flows = &pair.sides[A].kernel.flows;
    let narrowed = KernelSelector {
        src: prefix("10.1.0.0/24"),
        dst: prefix("10.2.0.0/24"),
        ip_protocol: 0,
        src_port: Ports::ANY,
        dst_port: Ports::ANY,
    };
    let flow = &flows[&(Direction::Out, narrowed)];
    let sa = pair.sides[A].kernel.sas.values().next().unwrap();
    assert_eq!(flow.reqid, sa.reqid);
    // The trap stays, and does not lead into the narrower SA.
    let trap = flows.values().find(|it| it.selector.src == prefix("10.0.0.0/8")).unwrap();
    assert_ne!(trap.reqid, sa.reqid);
    pair.end();
}

#[test]
fn several_flows_make_one_child() {
    let flows = [("10.1.0.0/24", "10.2.0.0/24"), ("10.3.0.0/24", "10.4.0.0/24")];
    let mut pair = Pair::each(|side, policy| {
        let turned = |(one, other): &(&'static str, &'static str)| match side {
            A => flow(one, other),
            _ => flow(other, one),
        };
        policy.flows = flows.iter().map(turned).collect();
    });
    pair.pass(1).assert_up();
    assert_eq!(pair.sides[B].kernel.flows.len(), 4);
    pair.end();
}

#[test]
fn transport_mode_ipv6_and_mixed() {
    let mut transport = Pair::each(|side, policy| {
        policy.mode = Mode::Transport;
        let hosts = ["192.0.2.1/32", "192.0.2.2/32"];
        policy.flows = vec![flow(hosts[side], hosts[1 - side])];
    });
    transport.pass(1).assert_up();
    assert!(transport.sides[B].kernel.sas.values().all(|sa| sa.mode == Mode::Transport));
    transport.end();
    let mut mixed = Pair::each(|side, policy| {
        let nets = ["2001:db8:1::/48", "2001:db8:2::/48"];
        policy.flows.push(flow(nets[side], nets[1 - side]));
    });
    mixed.pass(1).assert_up();
    assert_eq!(mixed.sides[B].kernel.flows.len(), 4);
    mixed.end();
}

#[test]
fn each_datagram_may_be_lost_doubled_or_late() {
    for lost in 0..4 {
        let mut pair = Pair::new();
        pair.network = Box::new(move |n, _| if n == lost { Fate::Lose } else { Fate::Deliver });
        pair.configure(B, vec![policy(B)]);
        pair.configure(A, vec![policy(A)]);
        pair.pass(5).assert_up();
        pair.end();
    }
    let mut doubled = Pair::new();
    doubled.network = Box::new(|_, _| Fate::Twice);
    doubled.configure(B, vec![policy(B)]);
    doubled.configure(A, vec![policy(A)]);
    doubled.pass(5).assert_up();
    doubled.end();
    let mut late = Pair::new();
    late.network = Box::new(|n, _| match n % 2 {
        0 => Fate::Late(Duration::from_millis(1500)),
        _ => Fate::Deliver,
    });
    late.configure(B, vec![policy(B)]);
    late.configure(A, vec![policy(A)]);
    late.pass(40).assert_up();
    late.end();
}

#[test]
fn a_peer_that_is_away_is_called_until_it_is_there() {
    let mut pair = Pair::plain();
    pair.sides[B].dead = true;
    pair.flying.clear();
    pair.pass(70);
    assert!(pair.reported(A, |event| matches!(event, Event::NoAnswer { .. })));
    assert!(pair.reported(A, |event| matches!(event, Event::WillRetry { .. })));
    pair.sides[B].dead = false;
    pair.pass(40).assert_up();
    pair.end();
}

#[test]
fn both_open_at_once_and_one_remains() {
    for seed in 0..8 {
        let mut pair = Pair::with(Settings::default(), seed);
        for side in [A, B] {
            let mut it = policy(side);
            it.start = Start::Active;
            pair.configure(side, vec![it]);
        }
        pair.pass(10).assert_up();
        pair.pass(100).assert_up();
        pair.end();
    }
}

#[test]
fn a_nat_moves_everything_to_port_4500() {
    let mut pair = Pair::new();
    pair.nat = Some(ip("203.0.113.9"));
    let mut responder = policy(B);
    responder.peer = None;
    pair.configure(B, vec![responder]);
    pair.configure(A, vec![policy(A)]);
    pair.pass(1).assert_up();
    let sa = pair.sides[B].kernel.sas.values().find(|sa| sa.direction == Direction::Out).unwrap();
    assert_eq!(sa.encap, Some((4500, 14500)));
    pair.pass(65);
    assert!(pair.sides[A].keepalives >= 3);
    assert_eq!(pair.sides[B].keepalives, 0);
    pair.end();
}

#[test]
fn encapsulation_can_be_forced() {
    let mut pair = Pair::each(|side, policy| policy.force_natt = side == A);
    pair.pass(1).assert_up();
    assert!(pair.sides[B].kernel.sas.values().all(|sa| sa.encap == Some((4500, 4500))));
    pair.end();
}

#[test]
fn the_identity_chooses_the_policy() {
    let mut pair = Pair::new();
    let named = |name: &str, id: &str, skip| {
        let mut it = policy(B);
        it.name = oakd::conf::PolicyName(name.into());
        (it.remote_id, it.skip) = (Some(fqdn(id)), skip);
        it
    };
    let others = vec![
        named("other", "c.example", false),
        named("right", "a.example", false),
        named("last", "d.example", false),
    ];
    let skipped = vec![named("right", "a.example", false), named("no", "a.example", true)];
    pair.configure(B, others);
    pair.configure(A, vec![policy(A)]);
    pair.pass(1).assert_up();
    assert_eq!(pair.sides[B].engine.sas(pair.now)[0].policy.as_ref().unwrap().0, "right");
    pair.end();
    let mut pair = Pair::new();
    pair.configure(B, skipped);
    pair.configure(A, vec![policy(A)]);
    pair.pass(1).assert_up();
    // One that is skipped is not for who calls.
    assert_eq!(pair.sides[B].engine.sas(pair.now)[0].policy.as_ref().unwrap().0, "right");
    pair.end();
}

#[test]
fn a_wrong_identity_is_explained_on_both_sides() {
    let mut pair = Pair::each(|side, policy| {
        if side == B {
            policy.remote_id = Some(fqdn("c.example"));
        }
    });
    pair.pass(2).assert_children(0);
    assert!(pair.told(B, "a.example") && pair.told(B, "c.example"));
    assert!(pair.told(A, "AUTHENTICATION_FAILED"));
    pair.end();
}

#[test]
fn what_the_kernel_cannot_do_is_neither_offered_nor_taken() {
    let able = Capabilities {
        encryption: vec![(EncryptionId::ENCR_AES_CBC, vec![128, 256])],
        integrity: vec![IntegrityId::AUTH_HMAC_SHA2_256_128],
        esn: false,
        one_family: false,
        selects: Selects::default(),
        remarks: vec!["no AEAD".into()],
    };
    for limited in [A, B] {
        let mut pair = Pair::new();
        pair.input(limited, Input::Capabilities(able.clone()));
        for side in [B, A] {
            let mut it = policy(side);
            it.child_proposals = vec![child(gcm(&[])), child(cbc(&[]))];
            pair.configure(side, vec![it]);
        }
        pair.pass(1).assert_up();
        pair.end();
    }
    let mut pair = Pair::new();
    pair.input(A, Input::Capabilities(able));
    pair.configure(B, vec![policy(B)]);
    pair.configure(A, vec![policy(A)]);
    pair.pass(5).assert_children(0);
    assert!(pair.told(A, "no AEAD"));
    pair.end();
}

#[test]
fn each_kernel_request_may_fail_and_nothing_leaks() {
    for side in [A, B] {
        for failing in 0..12 {
            let mut pair = Pair::new();
            pair.sides[side].kernel.fails.insert(failing);
            pair.configure(B, vec![policy(B)]);
            pair.configure(A, vec![policy(A)]);
            pair.pass(3);
            pair.sides[side].kernel.complaints.clear();
            pair.pass(60);
            pair.end();
        }
    }
}

#[test]
fn the_ladder_names_each_message() {
    let mut pair = Pair::new();
    for side in [A, B] {
        pair.command(side, Command::Trace(true));
    }
    pair.configure(B, vec![policy(B)]);
    pair.configure(A, vec![policy(A)]);
    pair.pass(1).assert_up();
    for side in [A, B] {
        let reports = pair.sides[side].reports.iter();
        let steps: Vec<_> = reports
            .filter_map(|report| match &report.event {
                Event::Message { summary, .. } => Some(summary.split(' ').take(2)),
                _ => None,
            })
            .map(|words| words.collect::<Vec<_>>().join(" "))
            .collect();
        let wanted = ["IKE_SA_INIT request", "IKE_SA_INIT response", "IKE_AUTH request"];
        assert_eq!(steps[..3], wanted, "side {side}");
        assert_eq!(steps[3..], ["IKE_AUTH response"], "side {side}");
    }
    pair.end();
}

#[test]
fn other_versions_are_answered_or_dropped() {
    let mut pair = Pair::plain();
    pair.pass(1);
    let (local, remote) = (pair.sides[B].address, pair.sides[A].address);
    let sent = pair.sent;
    let mut octets = vec![0u8; 28];
    (octets[0], octets[17], octets[18], octets[19], octets[27]) = (1, 0x30, 34, 8, 28);
    pair.input(B, Input::Datagram { local, remote, octets: &octets });
    assert_eq!(pair.sent, sent + 1);
    octets[17] = 0x10;
    pair.input(B, Input::Datagram { local, remote, octets: &octets });
    octets[17] = 0x20;
    octets[27] = 29;
    pair.input(B, Input::Datagram { local, remote, octets: &octets });
    assert_eq!(pair.sent, sent + 1);
    assert_eq!(pair.sides[B].engine.stats().malformed, 2);
    pair.pass(5).assert_up();
    pair.end();
}
