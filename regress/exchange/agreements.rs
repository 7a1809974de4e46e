//! What the two sides agree on: traffic of every kind, one of several proposals, lifetimes in octets.

use crate::pair::*;
use oakd::conf::*;
use oakd::crypto::ChildSuite;
use oakd::ike::event::*;
use oakd::ike::proposal::{self, Kind};
use oakd::ike::report::{Event, Gone, Report};
use oakd::wire::iana::v2::{EncryptionId, GroupId, IntegrityId, PrfId, TransformType};
use oakd::wire::v2::sa::Transform;
use oakd::wire::{EspSpi, Header, Spi};

const SCTP: u8 = 132;
const TCP: u8 = 6;
const ICMP: u8 = 1;

/// The flow of both sides with this protocol and these ports, A's first.
fn selecting(ip_protocol: u8, ports: [(u16, u16); 2]) -> Pair {
    Pair::each(|side, policy| {
        let flow = &mut policy.flows[0];
        flow.ip_protocol = ip_protocol;
        (flow.local.ports, flow.remote.ports) = (ports[side], ports[1 - side]);
    })
}

/// The outbound flows of a side: protocol and ports.
fn flows(pair: &Pair, side: usize) -> Vec<(u8, u16, u16)> {
    let all = pair.sides[side].kernel.flows.keys();
    let outbound = all.filter(|(direction, _)| *direction == Direction::Out);
    let port = |ports: Ports| match ports {
        Ports::ANY => 0,
        Ports { value, mask } => {
            assert_eq!(mask, u16::MAX, "{ports}");
            value
        }
    };
    let mut all: Vec<_> =
        outbound.map(|(_, it)| (it.ip_protocol, port(it.src_port), port(it.dst_port))).collect();
    all.sort_unstable();
    all
}

#[test]
fn sctp_tcp_and_icmp_are_selected_on_both_sides() {
    const ANY: (u16, u16) = (0, 65535);
    let rows = [
        (SCTP, [ANY, (36412, 36412)], (SCTP, 0, 36412), (SCTP, 36412, 0)),
        (SCTP, [ANY, ANY], (SCTP, 0, 0), (SCTP, 0, 0)),
        (TCP, [(443, 443), (8443, 8443)], (TCP, 443, 8443), (TCP, 8443, 443)),
        // The type is the type, whichever way the packet goes.
        (ICMP, [(0x0800, 0x08ff), (0x0800, 0x08ff)], (ICMP, 8, 0), (ICMP, 8, 0)),
    ];
    for (protocol, ports, ours, theirs) in rows {
        let mut pair = selecting(protocol, ports);
        pair.pass(1).assert_up();
        assert_eq!(flows(&pair, A), [ours]);
        assert_eq!(flows(&pair, B), [theirs]);
        pair.end();
    }
}

#[test]
fn one_protocol_of_a_wider_offer_is_taken() {
    let mut pair = Pair::each(|side, policy| {
        if side == B {
            policy.flows[0].ip_protocol = SCTP;
            policy.flows[0].local.ports = (5000, 5000);
        }
    });
    pair.pass(1).assert_children(1);
    assert_eq!(flows(&pair, B), [(SCTP, 5000, 0)]);
    assert!(flows(&pair, A).contains(&(SCTP, 0, 5000)));
    pair.end();
}

#[test]
fn a_short_range_of_ports_becomes_a_flow_for_each() {
    let mut pair = selecting(TCP, [(0, 65535), (8000, 8063)]);
    pair.pass(1).assert_up();
    let each: Vec<_> = (8000..=8063).map(|port| (TCP, 0, port)).collect();
    assert_eq!(flows(&pair, A), each);
    pair.end();
    // One more is more than a child SA may have.
    let mut pair = selecting(TCP, [(0, 65535), (8000, 8064)]);
    pair.pass(2).assert_children(0);
    assert!(pair.told(B, "the range of ports is too wide"));
    pair.end();
}

/// A kernel that can do all that the policies name, and selects so.
fn selects_by(protocols: &[u8], masks: bool) -> Capabilities {
    Capabilities {
        encryption: vec![(EncryptionId::ENCR_AES_GCM_16, vec![128, 256])],
        selects: Selects { protocols: protocols.into(), masks },
        ..Capabilities::default()
    }
}

/// A call about all ports of A and these of B, for kernels that can do this.
fn about(ports: (u16, u16), able: [Capabilities; 2]) -> Pair {
    let mut pair = Pair::new();
    for (side, able) in [A, B].into_iter().zip(able) {
        pair.input(side, Input::Capabilities(able));
    }
    for side in [B, A] {
        let mut it = policy(side);
        it.flows[0].ip_protocol = TCP;
        let end = &mut it.flows[0];
        (if side == A { &mut end.remote } else { &mut end.local }).ports = ports;
        pair.configure(side, vec![it]);
    }
    pair
}

#[test]
fn a_wide_range_of_ports_is_put_into_masks_where_the_kernel_takes_them() {
    let mut pair = about((1024, 65535), [selects_by(&[TCP], true), selects_by(&[TCP], true)]);
    pair.pass(1).assert_up();
    let outbound: Vec<_> = pair.sides[A].kernel.flows.keys().collect();
    let outbound: Vec<_> = outbound.iter().filter(|(to, _)| *to == Direction::Out).collect();
    assert_eq!(outbound.len(), 6);
    for port in [0, 1023, 1024, 4095, 4096, 40000, 65535] {
        let taken = outbound.iter().filter(|(_, it)| it.dst_port.contains(Ports::exactly(port)));
        assert_eq!(taken.count(), usize::from(port >= 1024), "{port}");
    }
    pair.end();
}

#[test]
fn a_kernel_that_takes_single_ports_refuses_a_wide_range_and_says_what_it_takes() {
    let mut pair = about((1024, 65535), [selects_by(&[TCP], true), selects_by(&[TCP], false)]);
    pair.pass(2).assert_children(0);
    assert!(pair.told(B, "this kernel takes one port or all of them in a flow"));
    pair.end();
}

#[test]
fn ports_of_a_protocol_at_which_the_kernel_does_not_look_are_told_at_once() {
    let mut pair = about((80, 80), [selects_by(&[SCTP], false), selects_by(&[TCP], false)]);
    assert!(pair.told(A, "do not tell packets of IP protocol 6 by port"));
    pair.pass(2);
    assert_eq!(pair.sides[A].kernel.count(Direction::Out), 0);
    pair.end();
}

/// All proposals of one kind: several, each with several transforms of each type.
fn several() -> Vec<Proposal> {
    let aead = Proposal {
        encryption: vec![
            (EncryptionId::ENCR_AES_GCM_16, Some(256)),
            (EncryptionId::ENCR_AES_GCM_16, Some(128)),
        ],
        prf: vec![PrfId::PRF_HMAC_SHA2_512, PrfId::PRF_HMAC_SHA2_256],
        integrity: vec![],
        groups: vec![GroupId::CURVE25519, GroupId::ECP_384, GroupId::MODP_2048],
        esn: EsnChoice::Either,
    };
    let classic = Proposal {
        encryption: vec![
            (EncryptionId::ENCR_AES_CBC, Some(256)),
            (EncryptionId::ENCR_AES_CBC, Some(128)),
        ],
        integrity: vec![IntegrityId::AUTH_HMAC_SHA2_512_256, IntegrityId::AUTH_HMAC_SHA2_256_128],
        ..aead.clone()
    };
    vec![aead, classic]
}

fn suites(pair: &Pair) -> (String, String) {
    let sas = pair.sides[A].engine.sas(pair.now);
    (sas[0].suite.clone().unwrap(), sas[0].children[0].suite.clone())
}

#[test]
fn of_several_proposals_the_first_of_the_responder_is_chosen() {
    let all = several();
    let only = |proposal: usize, encryption: usize, prf: usize, group: usize| {
        let mut it = all[proposal].clone();
        it.encryption = vec![it.encryption[encryption]];
        it.prf = vec![it.prf[prf]];
        it.groups = vec![it.groups[group]];
        it.integrity.truncate(1);
        it
    };
    // What the responder allows, in its order, and what comes of it with everything offered.
    let rows: [(Vec<Proposal>, &str); 5] = [
        (all.clone(), "ENCR_AES_GCM_16-256 PRF_HMAC_SHA2_512 Curve25519"),
        (vec![all[1].clone(), all[0].clone()], "ENCR_AES_CBC-256"),
        (vec![only(0, 1, 1, 2)], "ENCR_AES_GCM_16-128 PRF_HMAC_SHA2_256 2048-bit MODP"),
        (vec![only(1, 1, 0, 1)], "ENCR_AES_CBC-128"),
        (vec![only(1, 0, 1, 1), only(0, 1, 0, 0)], "ENCR_AES_CBC-256"),
    ];
    for (ours, wanted) in rows {
        let mut pair = Pair::each(|side, policy| {
            let proposals = if side == A { all.clone() } else { ours.clone() };
            policy.child_proposals = proposals.iter().cloned().map(child).collect();
            policy.ike_proposals = proposals;
        });
        pair.pass(1).assert_up();
        let (ike, first) = suites(&pair);
        assert!(ike.starts_with(wanted), "{ike} instead of {wanted}");
        let cipher = wanted.split(' ').next().unwrap();
        assert!(first.starts_with(cipher) && first.ends_with("ESN"), "{first}");
        // Later ones have a key exchange of their own, by the order of who answers then.
        for side in [A, B] {
            pair.command(side, Command::Rekey { name: "test".into(), ike: false });
            pair.pass(30).assert_up();
        }
        pair.end();
    }
}

#[test]
fn sequence_numbers_are_extended_where_both_allow_it() {
    use EsnChoice::{Either, No, Yes};
    let rows = [
        (Yes, Yes, Some(true)),
        (Yes, Either, Some(true)),
        (Either, Yes, Some(true)),
        (Either, Either, Some(true)),
        (Either, No, Some(false)),
        (No, Either, Some(false)),
        (No, No, Some(false)),
        (Yes, No, None),
        (No, Yes, None),
    ];
    for (a, b, wanted) in rows {
        let mut pair = Pair::each(|side, policy| {
            policy.child_proposals[0].esn = if side == A { a } else { b };
        });
        pair.pass(1);
        match wanted {
            Some(esn) => {
                pair.assert_up();
                let sas = pair.sides.iter().flat_map(|side| side.kernel.sas.values());
                assert!(sas.into_iter().all(|sa| sa.esn == esn), "{a:?} with {b:?}");
            }
            None => {
                pair.assert_children(0);
                assert!(pair.told(B, "ESN") || pair.told(B, "Sequence"), "{a:?} with {b:?}");
            }
        }
        pair.end();
    }
    let plain = ChildSuite { encryption: None, integrity: None, group: None, esn: true };
    assert_eq!(plain.to_string(), " ESN");
}

#[test]
fn octets_end_an_sa_in_time() {
    let limit = 1_000_000;
    let octets = |_: usize, policy: &mut Policy| {
        policy.child_lifetime = Lifetime { seconds: 0, bytes: limit };
    };
    let mut pair = Pair::each(octets);
    pair.pass(1).assert_up();
    for side in &pair.sides {
        for sa in side.kernel.sas.values() {
            assert_eq!(sa.hard.bytes, limit);
            assert!((800_000..=900_000).contains(&sa.soft.bytes), "{:?}", sa.soft);
        }
    }
    // The kernel says that it is time, of either direction.
    for side in [A, B] {
        let before = pair.inbound(side);
        pair.expire(side, false);
        pair.pass(30).assert_up();
        assert_ne!(pair.inbound(side), before);
        let outbound = pair.sides[side].kernel.sas.values();
        let key = outbound.filter(|sa| sa.direction == Direction::Out).map(|sa| sa.key).next();
        let key = key.unwrap();
        pair.input(side, Input::Expire(Expire { key, hard: false }));
        pair.pass(30).assert_up();
        assert!(!pair.sides[side].kernel.sas.contains_key(&(key.spi.0, key.dst)));
    }
    // It is too late: the SA is gone, and another comes.
    pair.expire(A, true);
    pair.pass(30).assert_up();
    let expired = |event: &Event| matches!(event, Event::ChildDeleted { why: Gone::Expired, .. });
    assert!(pair.reported(A, expired));
    pair.end();
}

#[test]
fn octets_are_looked_at_with_the_liveness_check_should_the_kernels_word_get_lost() {
    let mut pair = Pair::new();
    for side in [B, A] {
        let mut it = policy(side);
        it.child_lifetime = Lifetime { seconds: 0, bytes: 1_000_000 };
        let mut config = (*config(vec![it])).clone();
        config.globals.dpd_check_interval = if side == A { 10 } else { 0 };
        pair.input(side, Input::Configure(config.into()));
    }
    pair.pass(1).assert_up();
    let first = pair.inbound(A);
    (pair.sides[A].kernel.packets, pair.sides[A].kernel.bytes) = (10, 100_000);
    pair.pass(30).assert_up();
    assert_eq!(pair.inbound(A), first);
    (pair.sides[A].kernel.packets, pair.sides[A].kernel.bytes) = (100, 950_000);
    pair.pass(11);
    (pair.sides[A].kernel.packets, pair.sides[A].kernel.bytes) = (0, 0);
    pair.pass(5).assert_up();
    assert_ne!(pair.inbound(A), first);
    pair.end();
}

/// Who names no group beside others leaves it to the peer, whichever side rekeys.
#[test]
fn a_key_exchange_of_the_child_sa_may_be_left_to_the_peer() {
    const X25519: GroupId = GroupId::CURVE25519;
    for optional in [[GroupId::NONE, X25519], [X25519, GroupId::NONE]] {
        for wish in [&[GroupId::NONE][..], &[X25519], &[GroupId::NONE, X25519]] {
            for side in [A, B] {
                let mut pair = Pair::each(|side, policy| {
                    let groups = if side == A { &optional[..] } else { wish };
                    policy.child_proposals = vec![child(gcm(groups))];
                });
                pair.pass(1).assert_up();
                let before = pair.inbound(side);
                pair.expire(side, false);
                pair.pass(5).assert_up();
                assert_ne!(pair.inbound(side), before, "{optional:?} with {wish:?}, {side}");
                let suite = &pair.sides[A].engine.sas(pair.now)[0].children[0].suite;
                let has_group = suite.contains("Curve25519");
                match wish {
                    [GroupId::NONE] => assert!(!has_group, "{suite}"),
                    [X25519] => assert!(has_group, "{suite}"),
                    _ => (),
                }
                pair.end();
            }
        }
    }
}

/// Side A names no group, side B these.
fn open_to(wish: &[GroupId]) -> Pair {
    let mut pair = Pair::each(|side, policy| {
        let groups = if side == A { &[][..] } else { wish };
        policy.child_proposals = vec![child(gcm(groups))];
    });
    pair.pass(1).assert_up();
    pair
}

/// Rekeys the child SA by one side; says whether it has a key exchange of its own then.
fn has_own_key_exchange(pair: &mut Pair, side: usize) -> bool {
    let before = pair.inbound(side);
    pair.expire(side, false);
    pair.pass(5).assert_up();
    assert_ne!(pair.inbound(side), before);
    let suite = &pair.sides[A].engine.sas(pair.now)[0].children[0].suite;
    suite.contains("Curve25519")
}

fn turned(pair: &Pair, side: usize) -> usize {
    let turned = |report: &&Report| matches!(report.event, Event::KeyExchangeTurned { .. });
    pair.sides[side].reports.iter().filter(turned).count()
}

#[test]
fn who_names_no_group_does_as_the_peer_wants() {
    // By either side, and what was found out goes along with the IKE SA.
    for first in [A, B] {
        let mut pair = open_to(&[GroupId::CURVE25519]);
        for side in [first, 1 - first, A] {
            assert!(has_own_key_exchange(&mut pair, side));
        }
        pair.command(A, Command::Rekey { name: "test".into(), ike: true });
        pair.pass(5).assert_ike(1);
        assert!(has_own_key_exchange(&mut pair, A));
        assert_eq!((turned(&pair, A), turned(&pair, B)), (usize::from(first == A), 0));
        pair.end();
    }
    for wish in [&[][..], &[GroupId::NONE]] {
        let mut pair = open_to(wish);
        for side in [A, B, A] {
            assert!(!has_own_key_exchange(&mut pair, side));
        }
        assert_eq!((turned(&pair, A), turned(&pair, B)), (0, 0));
        pair.end();
    }
}

#[test]
fn a_peer_that_no_longer_wants_a_key_exchange_is_asked_without() {
    let mut pair = open_to(&[GroupId::CURVE25519]);
    assert!(has_own_key_exchange(&mut pair, B));
    pair.network = Box::new(|_, datagram| {
        let asks = !Header::parse(&datagram.octets).unwrap().is_response();
        if datagram.to == A && asks { Fate::Lose } else { Fate::Deliver }
    });
    let mut strict = policy(B);
    strict.child_proposals = vec![child(gcm(&[GroupId::NONE]))];
    pair.configure(B, vec![strict]);
    pair.expire(A, false);
    pair.pass(2);
    assert_eq!(turned(&pair, A), 1);
    assert!(pair.told(A, "without a key exchange"));
    pair.network = Box::new(|_, _| Fate::Deliver);
    pair.pass(10).assert_up();
    assert!(!has_own_key_exchange(&mut pair, A));
    pair.end();
}

#[test]
fn what_is_open_is_no_weaker_than_the_ike_sa_and_none_is_none() {
    let strict = [GroupId::NONE];
    for (ours, theirs) in [(&[][..], GroupId::ECP_384), (&strict, GroupId::CURVE25519)] {
        let mut pair = Pair::each(|side, policy| {
            let groups = if side == A { ours } else { &[theirs] };
            policy.child_proposals = vec![child(gcm(groups))];
        });
        pair.pass(1).assert_up();
        for side in [A, B] {
            let before = pair.inbound(side);
            pair.expire(side, false);
            pair.pass(5).assert_up();
            assert_eq!(pair.inbound(side), before);
            assert!(pair.told(side, "the peer refused CREATE_CHILD_SA: NO_PROPOSAL_CHOSEN"));
        }
        // Once each way, and not again at once.
        assert_eq!(turned(&pair, A), usize::from(ours.is_empty()));
        pair.end();
    }
}

#[test]
fn none_is_not_chosen_where_it_was_not_offered() {
    let ours = [child(cbc(&[GroupId::CURVE25519]))];
    let spi = Spi::Child(EspSpi(0x1000));
    let offered = proposal::offer(&ours, Kind::Child(SaProtocol::Esp), &spi);
    let [whole] = &offered[..] else { panic!("{offered:?}") };
    assert!(proposal::accept_child(&offered, &offered).is_ok());
    let none = [
        (TransformType::INTEG, Transform::Integ(IntegrityId::NONE)),
        (TransformType::KE, Transform::Ke(GroupId::NONE)),
    ];
    for (of, none) in none {
        let mut answer = whole.clone();
        answer.transforms.retain(|transform| transform.transform_type() != of);
        assert!(proposal::accept_child(&offered, &[answer.clone()]).is_err(), "without {of}");
        answer.transforms.push(none);
        let said = proposal::accept_child(&offered, &[answer]).unwrap_err();
        assert!(said.contains("which we did not offer"), "{said}");
    }
}
