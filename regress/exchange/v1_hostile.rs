//! IKEv1 with peers, and strangers on the way, that do what they can.

use crate::pair::*;
use crate::v1_insider::{Insider, hand, heard, offered};
use crate::v1_insiders::opened_with;
use crate::v1_phases::ikev1;
use oakd::conf::{Config, Globals, Phase1, Policy, PolicyName};
use oakd::ike::Settings;
use oakd::ike::event::*;
use oakd::ike::v1::{keys::Cookies, offer};
use oakd::wire::iana::v1::{AuthMethod, ExchangeType, IkeAttribute, NotifyType};
use oakd::wire::v1::*;
use oakd::wire::{Flags, Header, IkeSpi, MessageId};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

/// Side A behind a NAT, and its messages of Quick Mode: the last of them is lost once.
fn quick_modes() -> (Pair, Rc<RefCell<Vec<Datagram>>>) {
    let mut pair = Pair::new();
    pair.nat = Some(ip("198.51.100.9"));
    let seen = Rc::new(RefCell::new(Vec::<Datagram>::new()));
    let wire = Rc::clone(&seen);
    pair.network = Box::new(move |_, datagram| {
        let header = Header::parse(&datagram.octets).unwrap();
        if datagram.to == B && header.exchange_v1() == ExchangeType::QUICK_MODE {
            wire.borrow_mut().push(datagram.clone());
            if wire.borrow().len() == 2 {
                return Fate::Lose;
            }
        }
        Fate::Deliver
    });
    for side in [B, A] {
        let mut policy = ikev1(side, Phase1::Main);
        if side == B {
            policy.peer = None;
        }
        pair.configure(side, vec![policy]);
    }
    (pair, seen)
}

/// Whoever sees the last message of Quick Mode can change its last block and send it from elsewhere: it still
/// decrypts to a hash.
#[test]
fn a_hash_that_is_wrong_moves_nobody() {
    let (mut pair, seen) = quick_modes();
    while seen.borrow().len() < 2 {
        pair.pass_millis(10);
    }
    let before = pair.sides[B].engine.sas(pair.now)[0].remote;
    let Datagram { local, mut octets, .. } = seen.borrow()[1].clone();
    *octets.last_mut().unwrap() ^= 1;
    let remote = SocketAddr::from(([203, 0, 113, 66], 4500));
    pair.input(B, Input::Datagram { local, remote, octets: &octets });
    assert!(pair.told(B, "its hash is wrong"));
    assert_eq!(pair.sides[B].engine.sas(pair.now)[0].remote, before);
    assert!(!pair.told(B, "moved: from"));
    pair.pass(10).assert_up();
    pair.end();
}

/// An offer of so many transforms, the last of which is the first.
fn stretched(mut sa: Sa, count: u8) -> Sa {
    let right = sa.proposals[0].transforms[0].clone();
    sa.proposals[0].transforms = (1..=count)
        .map(|number| {
            let mut it = Transform { number, ..right.clone() };
            if number < count {
                // A key length that nobody has.
                for attribute in &mut it.attributes {
                    if [6, 14].contains(&attribute.attribute_type) {
                        *attribute = oakd::wire::attribute::Attribute::short(
                            attribute.attribute_type,
                            1000 + u16::from(number),
                        );
                    }
                }
            }
            it
        })
        .collect();
    sa
}

#[test]
fn as_many_transforms_come_as_can_be_numbered() {
    for count in [254, 255] {
        // Phase 1, from anybody.
        let mut pair = Pair::new();
        pair.configure(B, vec![ikev1(B, Phase1::Main)]);
        let sa = offer::phase1(&ikev1(A, Phase1::Main), AuthMethod::PRE_SHARED_KEY);
        assert!(sa.proposals[0].transforms[0].ike(IkeAttribute::KEY_LENGTH).is_some());
        let exchange = ExchangeType::IDENTITY_PROTECTION;
        let (own, id) = (IkeSpi([5; 8]), MessageId(0));
        let header = Header::v1(own, IkeSpi::ZERO, exchange, Flags::default(), id);
        hand(&mut pair, &emit_message(&header, &[Payload::Sa(stretched(sa, count))]));
        let answer = heard(&mut pair).pop().unwrap();
        let (_, Content::Clear(payloads)) = parse_message(&answer).unwrap() else { panic!() };
        let Payload::Sa(chosen) = &payloads[0] else { panic!("{payloads:?}") };
        assert_eq!(chosen.proposals[0].transforms[0].number, count);
        // Phase 2.
        let (mut pair, mut insider, policy) = opened_with(|_, _| ());
        let (octets, header, iv) =
            insider.offer(stretched(offered(&policy, 0x2000), count), Flags::default());
        hand(&mut pair, &octets);
        let answer = heard(&mut pair).pop().unwrap();
        hand(&mut pair, &insider.conclude(&header, &iv, &answer));
        assert_eq!(pair.sides[B].kernel.count(Direction::Out), 1);
    }
}

/// A first message of side A with this policy.
fn first_message(policy: Policy) -> Vec<u8> {
    let mut pair = Pair::new();
    pair.configure(A, vec![policy]);
    pair.flying.remove(0).octets
}

/// Nothing shows that who opens Main Mode has the address that it names: that keeps nobody out who shows it, nor
/// those whose openings are counted by what they cost.
#[test]
fn a_flood_of_main_mode_leaves_room_for_others() {
    let settings = Settings { half_open_most: 100, ..Settings::default() };
    let mut pair = Pair::with(settings, 1);
    let open = |policy: Policy, name: &str| Policy {
        name: PolicyName(name.into()),
        peer: None,
        remote_id: None,
        ..policy
    };
    let (main, aggressive) = (ikev1(B, Phase1::Main), ikev1(B, Phase1::Aggressive));
    let policies =
        vec![open(main, "main"), open(aggressive, "aggressive"), open(policy(B), "ikev2")];
    pair.configure(B, policies);
    let local = pair.sides[B].address;
    let knock = |pair: &mut Pair, octets: &[u8], number: u32| {
        let before = pair.sides[B].engine.stats().datagrams_out;
        let mut octets = octets.to_vec();
        octets[..4].copy_from_slice(&number.to_be_bytes());
        let [_, a, b, c] = number.to_be_bytes();
        let remote = SocketAddr::from(([100, b, c, a + 1], 500));
        pair.input(B, Input::Datagram { local, remote, octets: &octets });
        pair.sides[B].engine.stats().datagrams_out - before
    };
    let main = first_message(ikev1(A, Phase1::Main));
    for number in 1..=500 {
        assert_eq!(knock(&mut pair, &main, number), 1);
    }
    assert_eq!(pair.sides[B].engine.stats().half_open, 100);
    let aggressive = first_message(ikev1(A, Phase1::Aggressive));
    assert_eq!(knock(&mut pair, &aggressive, 1000), 1);
    let ikev2 = first_message(policy(A));
    assert_eq!(knock(&mut pair, &ikev2, 2000), 1);
    assert_eq!(pair.sides[B].engine.stats().half_open, 102);
    assert_eq!(pair.sides[B].engine.stats().cookies, 0);
    pair.pass(40);
    assert_eq!(pair.sides[B].engine.stats().half_open, 0);
}

#[test]
fn child_sas_of_one_peer_have_a_bound() {
    let (mut pair, mut insider, policy) = opened_with(|_, _| ());
    let mut made = 0;
    for number in 0..400 {
        let (first, header, iv) = insider.quick(&policy, 0x1_0000 + number, Flags::default());
        hand(&mut pair, &first);
        let answer = heard(&mut pair).pop().unwrap();
        if Header::parse(&answer).unwrap().exchange_v1() == ExchangeType::QUICK_MODE {
            made += 1;
            hand(&mut pair, &insider.conclude(&header, &iv, &answer));
        }
    }
    assert_eq!(made, 256 + 4);
    assert!(pair.told(B, "no agreement on one more child SA: there are 260 already"));
    assert_eq!(pair.sides[B].kernel.count(Direction::In), made);
    // What was replaced goes, and there is room again.
    pair.pass(10);
    assert_eq!(pair.sides[B].kernel.count(Direction::In), 1);
    let (first, ..) = insider.quick(&policy, 0x2_0000, Flags::default());
    hand(&mut pair, &first);
    assert_eq!(pair.sides[B].kernel.count(Direction::In), 2);
}

/// A message that was recorded long ago, from elsewhere.
#[test]
fn an_old_message_that_comes_again_moves_nobody() {
    let (mut pair, mut insider, _) = opened_with(|_, _| ());
    let probe = |insider: &mut Insider, sequence: u32| {
        let Cookies(initiator, responder) = insider.cookies;
        let data = sequence.to_be_bytes().to_vec();
        let probe = Notify::about_ike(NotifyType::R_U_THERE, initiator, responder, data);
        let id = insider.fresh();
        let header = insider.header(ExchangeType::INFORMATIONAL, id, Flags::default());
        insider.seal(&header, &[], vec![Payload::Notify(probe)]).0
    };
    let recorded = probe(&mut insider, 0);
    hand(&mut pair, &recorded);
    // Ten hours of a probe each ten seconds.
    for sequence in 1..3600 {
        let probe = probe(&mut insider, sequence);
        hand(&mut pair, &probe);
        assert_eq!(heard(&mut pair).len(), 1 + usize::from(sequence == 1));
    }
    let duplicates = pair.sides[B].engine.stats().duplicates;
    hand(&mut pair, &recorded);
    assert!(heard(&mut pair).is_empty());
    assert_eq!(pair.sides[B].engine.stats().duplicates, duplicates + 1);
}

/// Fragments for SAs that anybody may have opened.
#[test]
fn fragments_of_strangers_have_a_bound_in_all() {
    let mut pair = Pair::new();
    let open = Policy { peer: None, remote_id: None, ..ikev1(B, Phase1::Main) };
    let globals = Globals { fragmentation: true, ..Globals::default() };
    let config = Config { globals, policies: vec![open] };
    pair.input(B, Input::Configure(std::sync::Arc::new(config)));
    let first = first_message(ikev1(A, Phase1::Main));
    let local = pair.sides[B].address;
    let refused = |pair: &Pair| {
        let full = "too many incomplete messages of this network wait already";
        let told = pair.sides[B].reports.iter().filter(|it| it.to_string().contains(full));
        told.count()
    };
    let fill = |pair: &mut Pair, number: u8| {
        let mut octets = first.clone();
        octets[..8].copy_from_slice(&[number; 8]);
        let remote = SocketAddr::from(([203, 0, 113, number], 500));
        pair.input(B, Input::Datagram { local, remote, octets: &octets });
        // One by which the SA is found: by our cookie, which only whoever has the address knows.
        let sas = pair.sides[B].engine.sas(pair.now);
        let of = sas.iter().find(|sa| sa.remote == remote).unwrap();
        let cookie = u64::from_str_radix(&of.spis.1.replace("0x", ""), 16).unwrap();
        let (own, theirs) = (IkeSpi([number; 8]), IkeSpi(cookie.to_be_bytes()));
        let exchange = ExchangeType::IDENTITY_PROTECTION;
        let header = Header::v1(own, theirs, exchange, Flags::default(), MessageId(0));
        let piece = Fragment { id: 1, number: 1, last: false, data: vec![0; 31 * 1024] };
        let octets = emit_message(&header, &[Payload::Fragment(piece)]);
        pair.input(B, Input::Datagram { local, remote, octets: &octets });
    };
    for number in 1..=40 {
        fill(&mut pair, number);
    }
    assert_eq!(refused(&pair), 40 - 16);
    pair.pass(16);
    fill(&mut pair, 41);
    assert_eq!(refused(&pair), 40 - 16);
}

#[test]
fn what_quick_mode_refuses_is_told_of_once() {
    let failures = |pair: &Pair| {
        pair.sides[B].reports.iter().filter(|report| report.explains_failure()).count()
    };
    let notified = |pair: &mut Pair, insider: &Insider| {
        let (_, payloads) = insider.read(&heard(pair)[0]);
        payloads.into_iter().find_map(|payload| match payload {
            Payload::Notify(notify) => Some(notify.notify_type),
            _ => None,
        })
    };
    // A group without a public value, or with one that is none.
    for ke in [None, Some(vec![0; 128]), Some(vec![9; 127])] {
        let group = oakd::wire::iana::v2::GroupId::MODP_1024;
        let (mut pair, mut insider, policy) = opened_with(|_, policy| {
            policy.child_proposals = vec![child(cbc(&[group]))];
        });
        let (_, header, _) = insider.quick(&policy, 0x2000, Flags::default());
        let mut payloads = vec![
            Payload::Sa(offered(&policy, 0x2000)),
            Payload::Nonce(Nonce(vec![5; 16])),
            Payload::Id(Id::of_subnet(ip("10.1.0.0"), 24)),
            Payload::Id(Id::of_subnet(ip("10.2.0.0"), 24)),
        ];
        payloads.extend(ke.map(Payload::Ke));
        let (octets, _) = insider.seal(&header, &[], payloads);
        hand(&mut pair, &octets);
        let wanted = Some(NotifyType::INVALID_KEY_INFORMATION);
        assert_eq!(notified(&mut pair, &insider), wanted);
        assert_eq!(failures(&pair), 1);
        assert!(pair.sides[B].kernel.sas.is_empty());
    }
    // An SPI that cannot be, or that another child SA has.
    let (mut pair, mut insider, policy) = opened_with(|_, _| ());
    let (octets, ..) = insider.quick(&policy, 0x2000, Flags::default());
    hand(&mut pair, &octets);
    heard(&mut pair);
    for (spi, wanted) in [
        (0, NotifyType::NO_PROPOSAL_CHOSEN),
        (255, NotifyType::NO_PROPOSAL_CHOSEN),
        (0x2000, NotifyType::INVALID_SPI),
    ] {
        let before = failures(&pair);
        let (octets, ..) = insider.quick(&policy, spi, Flags::default());
        hand(&mut pair, &octets);
        assert_eq!(notified(&mut pair, &insider), Some(wanted), "{spi}");
        assert_eq!(failures(&pair), before + 1, "{spi}");
    }
    assert_eq!(pair.sides[B].kernel.count(Direction::In), 1);
    assert!(pair.sides[B].kernel.larval.is_empty());
}
