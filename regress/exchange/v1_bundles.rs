//! SA bundles of IKEv1: AH around ESP, IPComp within either, between two sides and with an insider.

use std::collections::BTreeSet;

use crate::pair::*;
use crate::v1_insider::{Insider, hand, heard, offered};
use crate::v1_phases::{ikev1, v1_pair};
use oakd::conf::{Mode, Phase1, Policy, SaProtocol, Start};
use oakd::ike::event::*;
use oakd::ike::report::Event;
use oakd::wire::iana::v1::{Doi, IpcompTransform, IpsecAttribute, NotifyType, ProtocolId};
use oakd::wire::iana::v2::IntegrityId;
use oakd::wire::v1::*;
use oakd::wire::{EspSpi, Flags, Spi};

const SHA2: IntegrityId = IntegrityId::AUTH_HMAC_SHA2_256_128;

/// The bundles: their name in a rule, and what they make of a policy.
type Bundle = (&'static str, fn(&mut Policy));

const BUNDLES: &[Bundle] = &[
    ("ah esp", |policy| policy.around = Some(SHA2)),
    ("ipcomp esp", |policy| policy.ipcomp = true),
    ("ipcomp ah", |policy| {
        policy.ipcomp = true;
        alone(policy, SaProtocol::Ah);
    }),
    ("ipcomp ah esp", |policy| {
        policy.ipcomp = true;
        policy.around = Some(SHA2);
    }),
];

fn alone(policy: &mut Policy, protocol: SaProtocol) {
    policy.protocol = protocol;
    if protocol == SaProtocol::Ah {
        policy.child_proposals.iter_mut().for_each(|it| it.encryption.clear());
    }
}

/// How many SAs a kernel holds for a policy's child SA in one direction, besides the one in the middle.
fn beside(policy: &Policy) -> (bool, bool) {
    (policy.ipcomp, policy.around.is_some())
}

fn assert_bundle(pair: &Pair, wanted: (bool, bool)) {
    pair.assert_up();
    for side in [A, B] {
        let kernel = &pair.sides[side].kernel;
        for sa in kernel.sas.values() {
            assert_eq!((sa.ipcomp.is_some(), sa.around.is_some()), wanted);
            if let Some(around) = &sa.around {
                let own = sa.integrity.as_ref().expect("integrity of ESP");
                assert!(around.integrity.1 != own.1, "keys are each protocol's own");
            }
        }
        let cpis = kernel.sas.values().filter(|sa| sa.direction == Direction::In);
        let cpis: BTreeSet<u16> = cpis.filter_map(|sa| sa.ipcomp).map(|cpi| cpi.0).collect();
        assert_eq!(kernel.cpis, cpis, "side {side} keeps a CPI");
        assert!(kernel.flows.values().all(|flow| (flow.ipcomp, flow.around) == wanted));
    }
}

#[test]
fn bundles_stand_are_rekeyed_and_go() {
    for (name, change) in BUNDLES {
        for mode in [Mode::Tunnel, Mode::Transport] {
            let mut wanted = (false, false);
            let mut pair = v1_pair(Phase1::Main, |side, policy| {
                change(policy);
                policy.mode = mode;
                if mode == Mode::Transport {
                    let hosts = ["192.0.2.1/32", "192.0.2.2/32"];
                    policy.flows = vec![flow(hosts[side], hosts[1 - side])];
                }
                wanted = beside(policy);
            });
            pair.pass(2);
            assert_bundle(&pair, wanted);
            assert!(!wanted.1 || pair.told(A, "within AH AUTH_HMAC_SHA2_256_128"), "{name}");
            assert!(
                !wanted.0 || pair.told(B, "IPCOMP_DEFLATE within ENCR") || *name == "ipcomp ah"
            );
            for turn in 0..3 {
                let before = pair.inbound(A);
                pair.command(turn % 2, Command::Rekey { name: "test".into(), ike: false });
                pair.pass(20);
                assert_bundle(&pair, wanted);
                assert_ne!(pair.inbound(A), before, "{name}");
            }
            pair.end();
        }
    }
}

#[test]
fn every_message_of_a_bundle_may_be_lost_or_come_twice() {
    for lost in 0..9 {
        for twice in [false, true] {
            let mut pair = Pair::new();
            pair.network = Box::new(move |number, _| match number == lost {
                true if twice => Fate::Twice,
                true => Fate::Lose,
                false => Fate::Deliver,
            });
            for side in [B, A] {
                let mut policy = ikev1(side, Phase1::Main);
                (BUNDLES[3].1)(&mut policy);
                pair.configure(side, vec![policy]);
            }
            pair.pass(20);
            assert_bundle(&pair, (true, true));
            pair.end();
        }
    }
}

#[test]
fn a_kernel_that_fails_at_any_step_keeps_nothing() {
    let whole = |side: usize, number: Option<usize>| {
        let mut pair = Pair::new();
        pair.sides[side].kernel.fails = number.into_iter().collect();
        for side in [B, A] {
            let mut policy = ikev1(side, Phase1::Main);
            (BUNDLES[3].1)(&mut policy);
            pair.configure(side, vec![policy]);
        }
        pair.pass(100);
        pair
    };
    for side in [A, B] {
        let requests = whole(side, None).sides[side].kernel.requests;
        for number in 0..requests {
            let pair = whole(side, Some(number));
            for (at, it) in pair.sides.iter().enumerate() {
                let larval = &it.kernel.larval;
                assert!(larval.is_empty(), "request {number} of {side}: {at} leaks {larval:?}");
                let inbound = it.kernel.count(Direction::In);
                assert_eq!(it.kernel.cpis.len(), inbound, "request {number} of {side}: {at}");
            }
            pair.end();
        }
    }
}

#[test]
fn what_is_no_bundle_for_both_is_explained() {
    let two = |ours: Bundle, theirs: Bundle| {
        v1_pair(
            Phase1::Main,
            |side, policy| if side == A { ours.1(policy) } else { theirs.1(policy) },
        )
    };
    let none: Bundle = ("esp", |_| ());
    let other: Bundle = ("ah esp", |policy| policy.around = Some(IntegrityId::AUTH_HMAC_SHA1_96));
    let (ah, ipcomp, all) = (BUNDLES[0], BUNDLES[1], BUNDLES[3]);
    let (esp_name, ah_name) = ("PROTO_IPSEC_ESP", "PROTO_IPSEC_AH");
    let with_ah = format!("{ah_name} with {esp_name}");
    let with_ipcomp = format!("{esp_name} with PROTO_IPCOMP");
    let rows = [
        (ah, none, format!("we want {esp_name}, the peer {with_ah}")),
        (none, ah, format!("we want {with_ah}, the peer {esp_name}")),
        (ipcomp, none, format!("we want {esp_name}, the peer {with_ipcomp}")),
        (none, ipcomp, format!("we want {with_ipcomp}, the peer {esp_name}")),
        (all, ah, format!("we want {with_ah}, the peer {ah_name} with {with_ipcomp}")),
        (
            ah,
            other,
            format!("{ah_name}: Integrity Algorithm: we allow AUTH_HMAC_SHA1_96, the peer offers"),
        ),
    ];
    for (ours, theirs, words) in rows {
        let mut pair = two(ours, theirs);
        pair.pass(5);
        assert!(pair.told(B, &words), "{} and {}: {words}", ours.0, theirs.0);
        pair.assert_children(0);
        for side in [A, B] {
            assert!(pair.sides[side].kernel.cpis.is_empty());
        }
        pair.end();
    }
}

#[test]
fn ah_is_neither_offered_nor_taken_through_a_nat() {
    for (offers, tells) in [(true, A), (false, B)] {
        let mut pair = Pair::new();
        pair.nat = Some(ip("203.0.113.7"));
        for side in [B, A] {
            let mut policy = ikev1(side, Phase1::Main);
            policy.around = (side == B || offers).then_some(SHA2);
            if side == B {
                (policy.peer, policy.remote_id) = (None, None);
            }
            pair.configure(side, vec![policy]);
        }
        pair.pass(5);
        assert!(pair.told(tells, "AH passes no NAT"));
        pair.assert_children(0);
    }
}

/// Side B with this change of its policy, and an insider that has done Aggressive Mode with it.
fn opened(change: fn(&mut Policy)) -> (Pair, Insider, Policy) {
    let of = |side| {
        let mut policy = Policy {
            start: Start::Passive,
            child_proposals: vec![child(cbc(&[]))],
            ..ikev1(side, Phase1::Aggressive)
        };
        change(&mut policy);
        policy
    };
    let mut pair = Pair::new();
    pair.configure(B, vec![of(B)]);
    let insider = Insider::open(&mut pair, &of(A));
    heard(&mut pair);
    (pair, insider, of(A))
}

/// What B's kernel holds: inbound SAs, reserved SPIs, CPIs.
fn held(pair: &Pair) -> (usize, usize, usize) {
    let kernel = &pair.sides[B].kernel;
    (kernel.count(Direction::In), kernel.larval.len(), kernel.cpis.len())
}

/// A change of what is offered, and how B tells of it.
type Lie = (fn(&mut Sa), &'static str);

#[test]
fn bundles_that_lie_are_reported_and_leave_nothing() {
    // AH, ESP and IPComp in this order.
    let lies: &[Lie] = &[
        (
            |sa| sa.proposals = vec![sa.proposals[1].clone(); 3],
            "the peer PROTO_IPSEC_ESP with PROTO",
        ),
        (|sa| sa.proposals.truncate(2), "the peer PROTO_IPSEC_AH with PROTO_IPSEC_ESP"),
        (|sa| sa.proposals[0].number = 2, "PROTO_IPSEC_AH, or PROTO_IPSEC_ESP with PROTO_IPCOMP"),
        (|sa| sa.proposals[0].spi = Spi::Child(EspSpi(7)), "the SPI"),
        (|sa| sa.proposals[1].spi = Spi::Child(EspSpi(0)), "the SPI"),
        (|sa| sa.proposals[0].spi = Spi::Other(vec![1; 6]), "SPI size"),
        (|sa| sa.proposals[2].spi = Spi::Other(vec![0, 0]), "the CPI 0000 is not allowed"),
        (|sa| sa.proposals[2].spi = Spi::Other(vec![0, 200]), "the CPI 00c8 is not allowed"),
        (|sa| sa.proposals[2].spi = Spi::Child(EspSpi(0x1_0200)), "is not allowed"),
        (|sa| sa.proposals[2].spi = Spi::Other(vec![1; 3]), "SPI size"),
        (
            |sa| sa.proposals[2].transforms[0].id = IpcompTransform::IPCOMP_LZS.0,
            "PROTO_IPCOMP: we allow IPCOMP_DEFLATE, the peer offers IPCOMP_LZS",
        ),
        (|sa| mode(&mut sa.proposals[2], 2), "PROTO_IPCOMP: mode: we want"),
        (|sa| mode(&mut sa.proposals[0], 9), "PROTO_IPSEC_AH: mode: we want"),
        (|sa| sa.proposals[0].transforms.clear(), "PROTO_IPSEC_AH: mode: we want"),
    ];
    for (lie, words) in lies {
        let (mut pair, mut insider, policy) = opened(BUNDLES[3].1);
        let mut sa = offered(&policy, 0x2000);
        lie(&mut sa);
        let (octets, ..) = insider.offer(sa, Flags::default());
        hand(&mut pair, &octets);
        assert!(pair.told(B, words), "{words}: {:#?}", pair.sides[B].reports);
        assert_eq!(held(&pair), (0, 0, 0), "{words}");
        assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1, "{words}");
    }
}

fn mode(proposal: &mut Proposal, mode: u16) {
    let class = IpsecAttribute::ENCAPSULATION_MODE.0;
    let attributes = &mut proposal.transforms[0].attributes;
    attributes.retain(|it| it.attribute_type != class);
    if mode != 0 {
        attributes.push(oakd::wire::attribute::Attribute::short(class, mode));
    }
}

#[test]
fn other_ways_to_say_the_same_bundle_are_taken() {
    let ways: &[fn(&mut Sa)] = &[
        |_| (),
        |sa| sa.proposals.reverse(),
        // AH and IPComp may say transport or nothing where the rule says tunnel, by their places.
        |sa| mode(&mut sa.proposals[0], 2),
        |sa| mode(&mut sa.proposals[0], 0),
        |sa| mode(&mut sa.proposals[2], 0),
        |sa| mode(&mut sa.proposals[1], 2),
        |sa| sa.proposals[2].spi = Spi::Child(EspSpi(0x4321)),
        |sa| {
            let esp = Proposal { number: 7, ..sa.proposals[1].clone() };
            sa.proposals.insert(0, esp);
        },
    ];
    for way in ways {
        let (mut pair, mut insider, policy) = opened(BUNDLES[3].1);
        let mut sa = offered(&policy, 0x4320);
        way(&mut sa);
        let protocols = |sa: &Sa| -> Vec<_> { sa.proposals.iter().map(|it| it.protocol).collect() };
        let wanted: Vec<_> = sa.proposals.iter().filter(|it| it.number == 1).cloned().collect();
        let wanted = protocols(&Sa { proposals: wanted });
        let (octets, header, iv) = insider.offer(sa, Flags::default());
        hand(&mut pair, &octets);
        assert_eq!(held(&pair), (1, 0, 1), "{:#?}", pair.sides[B].reports);
        let answer = heard(&mut pair).pop().unwrap();
        let chosen = insider.answered(&answer, &iv).into_iter().find_map(|it| match it {
            Payload::Sa(sa) => Some(sa),
            _ => None,
        });
        assert_eq!(protocols(&chosen.unwrap()), wanted, "in the peer's order");
        hand(&mut pair, &insider.conclude(&header, &iv, &answer));
        assert!(pair.told(B, "child SA in"));
    }
}

#[test]
fn a_rule_without_a_bundle_takes_the_offer_without_one() {
    for alone in [false, true] {
        let (mut pair, mut insider, policy) = opened(|_| ());
        let bundle = Policy { around: Some(SHA2), ..policy.clone() };
        let mut sa = offered(&bundle, 0x2000);
        let last = offered(&policy, 0x3000).proposals.remove(0);
        sa.proposals.extend(alone.then_some(Proposal { number: 2, ..last }));
        let (octets, ..) = insider.offer(sa, Flags::default());
        hand(&mut pair, &octets);
        assert_eq!(held(&pair), (usize::from(alone), 0, 0));
        let words = "we want PROTO_IPSEC_ESP, the peer PROTO_IPSEC_AH with PROTO_IPSEC_ESP";
        assert_eq!(pair.told(B, words), !alone);
    }
}

#[test]
fn a_bundle_goes_with_any_of_its_sas() {
    let delete =
        |protocol, spi: Spi| Payload::Delete(Delete { doi: Doi::IPSEC, protocol, spis: vec![spi] });
    let esp = || delete(ProtocolId::IPSEC_ESP, Spi::Child(EspSpi(0x4320)));
    let ah = || delete(ProtocolId::IPSEC_AH, Spi::Child(EspSpi(0x4321)));
    let ipcomp = || delete(ProtocolId::IPCOMP, Spi::Other(vec![0x43, 0x20]));
    let wide = || delete(ProtocolId::IPCOMP, Spi::Child(EspSpi(0x4320)));
    for notices in [[esp(), ah(), ipcomp()], [ah(), ipcomp(), esp()], [wide(), esp(), ah()]] {
        let (mut pair, mut insider, policy) = opened(BUNDLES[3].1);
        let (octets, header, iv) = insider.offer(offered(&policy, 0x4320), Flags::default());
        hand(&mut pair, &octets);
        let answer = heard(&mut pair).pop().unwrap();
        hand(&mut pair, &insider.conclude(&header, &iv, &answer));
        assert_eq!(held(&pair), (1, 0, 1));
        // SPIs of no protocol of the bundle.
        insider.tell(&mut pair, delete(ProtocolId::IPSEC_AH, Spi::Child(EspSpi(0x4320))));
        assert_eq!(held(&pair), (1, 0, 1));
        for (number, notice) in notices.into_iter().enumerate() {
            insider.tell(&mut pair, notice);
            assert_eq!(held(&pair), (0, 0, 0), "after notice {number}");
        }
        let deleted = |report: &&oakd::ike::report::Report| {
            matches!(report.event, Event::ChildDeleted { .. })
        };
        assert_eq!(pair.sides[B].reports.iter().filter(deleted).count(), 1);
    }
}

#[test]
fn connected_may_name_any_sa_of_the_bundle() {
    for (protocol, spi) in [(ProtocolId::IPSEC_ESP, 0x4320), (ProtocolId::IPSEC_AH, 0x4321)] {
        let (mut pair, mut insider, policy) = opened(BUNDLES[0].1);
        let (octets, header, iv) = insider.offer(offered(&policy, 0x4320), Flags::COMMIT);
        hand(&mut pair, &octets);
        let answer = heard(&mut pair).pop().unwrap();
        hand(&mut pair, &insider.conclude(&header, &iv, &answer));
        let count = |pair: &Pair| pair.sides[B].kernel.count(Direction::Out);
        assert_eq!(count(&pair), 0, "it must wait");
        let kind = NotifyType::CONNECTED;
        let connected = Notify::about_child(kind, protocol, EspSpi(spi), Vec::new());
        insider.tell(&mut pair, Payload::Notify(connected));
        assert_eq!(count(&pair), 1);
    }
}

const STANDS: &str = "child SA in";

/// The insider's answer to what B offers, changed; how B tells of it.
#[test]
fn answers_that_lie_are_reported_and_leave_nothing() {
    let lies: &[Lie] = &[
        (
            |sa| drop(sa.proposals.remove(0)),
            "the peer chose PROTO_IPSEC_ESP with PROTO_IPCOMP where",
        ),
        (
            |sa| drop(sa.proposals.remove(1)),
            "the peer chose PROTO_IPSEC_AH with PROTO_IPCOMP where",
        ),
        (|sa| sa.proposals.truncate(2), "the peer chose PROTO_IPSEC_AH with PROTO_IPSEC_ESP where"),
        (
            |sa| sa.proposals = vec![sa.proposals[1].clone(); 3],
            "PROTO_IPSEC_ESP with PROTO_IPSEC_ESP",
        ),
        (
            |sa| sa.proposals[2].number = 2,
            "the peer chose PROTO_IPSEC_AH with PROTO_IPSEC_ESP where",
        ),
        (|sa| sa.proposals[0].spi = Spi::Child(EspSpi(0)), "the SPI"),
        (|sa| sa.proposals[2].spi = Spi::Other(vec![0, 0]), "the CPI 0000 is not allowed"),
        (|sa| sa.proposals[2].spi = Spi::Other(vec![0, 63]), "the CPI 003f is not allowed"),
        (
            |sa| sa.proposals[2].transforms[0].id = IpcompTransform::IPCOMP_LZJH.0,
            "the peer chose IPCOMP IPCOMP_LZJH, which we did not offer",
        ),
        (
            |sa| {
                let integrity = IpsecAttribute::AUTHENTICATION_ALGORITHM.0;
                let all = sa.proposals[0].transforms[0].attributes.iter_mut();
                let its = all.filter(|it| it.attribute_type == integrity);
                its.for_each(|it| *it = oakd::wire::attribute::Attribute::short(integrity, 2));
            },
            "which we did not offer",
        ),
        (
            |sa| {
                let again = sa.proposals[1].transforms[0].clone();
                sa.proposals[1].transforms.push(again);
            },
            "2 transforms in the answer instead of one",
        ),
        (|sa| sa.proposals[0].transforms.clear(), "0 transforms in the answer instead of one"),
    ];
    // strongSwan says what protects the packets again, alone.
    let again: fn(&mut Sa) = |sa| {
        let esp = Proposal { number: 2, ..sa.proposals[1].clone() };
        sa.proposals.push(esp);
    };
    let truths: &[Lie] = &[(|_| (), STANDS), (again, STANDS)];
    for (lie, words) in lies.iter().chain(truths) {
        let (mut pair, mut insider, _) = opened(|policy| {
            (BUNDLES[3].1)(policy);
            policy.start = Start::OnDemand;
        });
        let prefix = |text| prefix(text);
        let selector = KernelSelector {
            src: prefix("10.2.0.7/32"),
            dst: prefix("10.1.0.7/32"),
            ip_protocol: 1,
            src_port: Ports::ANY,
            dst_port: Ports::ANY,
        };
        let (local, remote) = (ip("192.0.2.2"), ip("192.0.2.1"));
        let acquire = Acquire { local, remote, reqid: None, selector: Some(selector) };
        pair.input(B, Input::Acquire(acquire));
        assert_eq!(held(&pair), (0, 2, 1), "{words}");
        let offer = heard(&mut pair).pop().unwrap();
        let answer = insider.accept(&offer, |sa| {
            for (proposal, spi) in sa.proposals.iter_mut().zip([0x5001, 0x5000]) {
                proposal.spi = Spi::Child(EspSpi(spi));
            }
            sa.proposals[2].spi = Spi::Other(vec![0x50, 0]);
            lie(sa);
        });
        hand(&mut pair, &answer);
        assert!(pair.told(B, words), "{words}: {:#?}", pair.sides[B].reports);
        let stands = *words == STANDS;
        assert_eq!(held(&pair), (usize::from(stands), 0, usize::from(stands)), "{words}");
    }
}
