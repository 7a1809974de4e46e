//! IKEv2 with peers, and strangers on the way, that do what they can.

use crate::insider::*;
use crate::pair::*;
use oakd::conf::SaProtocol;
use oakd::crypto::{KeyExchange, SeededRandom};
use oakd::ike::Settings;
use oakd::ike::event::*;
use oakd::ike::frame::Frame;
use oakd::ike::proposal::{self, Kind};
use oakd::ike::table::SaId;
use oakd::ike::v2::{keys, seal};
use oakd::wire::iana::v2::{ExchangeType, GroupId, NotifyType, PayloadType, ProtocolId};
use oakd::wire::v2::*;
use oakd::wire::{EspSpi, Header, IkeSpi, MessageId, Spi};
use std::net::SocketAddr;
use std::sync::Arc;

/// Side B, which waits.
fn waiting() -> Pair {
    let mut pair = Pair::new();
    pair.configure(B, vec![policy(B)]);
    pair
}

/// §2.5: also where nothing is established yet.
#[test]
fn a_critical_payload_of_unknown_type_in_ike_auth_is_named() {
    let mut pair = waiting();
    let (mut insider, proofs, request, nr) = Insider::open(&mut pair, 1);
    let mut payloads = auth_payloads(own_octets(&proofs, &request, &nr));
    let body = b"something".to_vec();
    payloads.push(Payload::Unknown { payload_type: PayloadType(200), critical: true, body });
    let answer = insider.say(&mut pair, ExchangeType::IKE_AUTH, &payloads).unwrap();
    let named = Notify::with_data(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![200]);
    assert_eq!(answer, [Payload::Notify(named)]);
    assert!(pair.told(B, "critical payload of unknown type 200"));
    assert!(pair.sides[B].engine.sas(pair.now).is_empty());
    pair.pass(60);
    pair.end();
}

/// Who tries in vain to prove who it is counts as half open as long as anything of that is kept.
#[test]
fn proofs_that_fail_count_as_half_open() {
    let mut pair = waiting();
    for seed in 1..=5 {
        let (mut insider, ..) = Insider::open(&mut pair, seed);
        let payloads = auth_payloads(b"not what is to be proved".to_vec());
        let answer = insider.say(&mut pair, ExchangeType::IKE_AUTH, &payloads).unwrap();
        let failed = Notify::new(NotifyType::AUTHENTICATION_FAILED);
        assert_eq!(answer, [Payload::Notify(failed)]);
        assert_eq!(pair.sides[B].engine.stats().half_open, seed);
    }
    pair.pass(30);
    assert_eq!(pair.sides[B].engine.stats().half_open, 0);
    Insider::established(&mut pair, &[]);
    assert_eq!(pair.sides[B].engine.stats().half_open, 0);
}

/// §2.1: whoever sees a first message may send another with its SPI, before it or after it.
#[test]
fn a_strangers_message_with_the_same_spi_keeps_nobody_out() {
    for before in [true, false] {
        let mut pair = Pair::plain();
        let first = pair.flying[0].octets.clone();
        let (header, mut payloads) = parse_message(&first).unwrap();
        for payload in &mut payloads {
            if let Payload::Nonce(nonce) = payload {
                nonce.0 = vec![7; 32];
            }
        }
        let other = emit_message(&header, &payloads);
        let strange = |pair: &mut Pair| {
            let (local, remote) = (pair.sides[B].address, SocketAddr::from(([192, 0, 2, 1], 1234)));
            pair.input(B, Input::Datagram { local, remote, octets: &other });
            pair.flying.retain(|it| it.to == B || Header::parse(&it.octets).is_err());
        };
        if before {
            strange(&mut pair);
            assert_eq!(pair.sides[B].engine.stats().half_open, 1);
        }
        pair.deliver(0);
        let answer = pair.flying.clone();
        if !before {
            strange(&mut pair);
        }
        pair.flying = answer;
        assert_eq!(pair.sides[B].engine.stats().half_open, 2);
        pair.pass(1).assert_children(1);
        assert_eq!(pair.sides[A].engine.sas(pair.now).len(), 1);
        assert_eq!(pair.sides[B].engine.stats().half_open, 1);
        pair.pass(31).assert_up();
        pair.end();
    }
}

fn error(answer: &[Payload]) -> Option<NotifyType> {
    answer.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.notify_type.is_error() => Some(notify.notify_type),
        _ => None,
    })
}

/// A request for a child SA with this SPI; in place of another, if that is named.
fn child_of(spi: u32, old: Option<u32>) -> Vec<Payload> {
    let kind = Kind::Child(SaProtocol::Esp);
    let spi = Spi::Child(EspSpi(spi));
    let proposals = proposal::offer(&policy(A).child_proposals, kind, &spi);
    let mut payloads = auth_payloads(Vec::new()).split_off(3);
    payloads.push(Payload::Sa(Sa { proposals }));
    payloads.push(Payload::Nonce(Nonce(vec![9; 32])));
    payloads.extend(old.map(|old| {
        let old = EspSpi(old);
        Payload::Notify(Notify::about_child(NotifyType::REKEY_SA, ProtocolId::ESP, old))
    }));
    payloads
}

#[test]
fn child_sas_of_one_peer_have_a_bound() {
    let mut pair = waiting();
    let mut insider = Insider::established(&mut pair, &[]);
    let exchange = ExchangeType::CREATE_CHILD_SA;
    let mut made = 1;
    for number in 0..1000 {
        let answer = insider.say(&mut pair, exchange, &child_of(0x1_0000 + number, None)).unwrap();
        match error(&answer) {
            None => made += 1,
            error => assert_eq!(error, Some(NotifyType::NO_ADDITIONAL_SAS)),
        }
    }
    assert_eq!(made, 256 + 4);
    assert_eq!(pair.sides[B].kernel.count(Direction::In), made);
    assert!(pair.told(B, "no agreement on one more child SA: there are 260 already"));
    // A successor would be one more, for a while.
    let request = child_of(0x2_0000, Some(0x1_0000));
    let answer = insider.say(&mut pair, exchange, &request).unwrap();
    assert_eq!(error(&answer), Some(NotifyType::TEMPORARY_FAILURE));
    let spis = vec![EspSpi(0x1_0001)];
    let delete = Payload::Delete(Delete::Child { protocol: ProtocolId::ESP, spis });
    insider.say(&mut pair, ExchangeType::INFORMATIONAL, &[delete]).unwrap();
    let answer = insider.say(&mut pair, exchange, &request).unwrap();
    assert_eq!(error(&answer), None);
    pair.end();
}

/// The insider's IKE SA in place of this one, which it does not delete.
fn rekeyed(pair: &mut Pair, insider: &mut Insider, own: IkeSpi) -> Option<Insider> {
    let policy = Arc::clone(&insider.frame.policy);
    let offered = proposal::offer(&policy.ike_proposals, Kind::Ike, &Spi::Ike(own));
    let kex = KeyExchange::generate(GroupId::CURVE25519, &mut insider.random).unwrap();
    let ni = vec![8; 32];
    let request = [
        Payload::Sa(Sa { proposals: offered.clone() }),
        Payload::Nonce(Nonce(ni.clone())),
        Payload::Ke(Ke { group: kex.group(), data: kex.public().to_vec() }),
    ];
    let answer = insider.say(pair, ExchangeType::CREATE_CHILD_SA, &request)?;
    let (mut chosen, mut ke, mut nr) = (Vec::new(), Vec::new(), Vec::new());
    for payload in answer {
        match payload {
            Payload::Sa(sa) => chosen = sa.proposals,
            Payload::Ke(it) => ke = it.data,
            Payload::Nonce(it) => nr = it.0,
            _ => (),
        }
    }
    let (suite, spi) = proposal::accept_ike(&offered, &chosen).ok()?;
    let responder = spi.ike().unwrap();
    let shared = kex.shared(&ke).unwrap();
    let seeds = keys::Seeds { nonces: (&ni, &nr), spis: (own, responder) };
    let seed = keys::rekey_seed(&insider.protection, &seeds, &[&shared]);
    let (protection, _) = keys::expand(suite, &seed, &seeds, true).unwrap();
    let (local, remote) = (insider.frame.local, insider.frame.remote);
    let mut frame = Frame::new(SaId(own), true, local, remote, policy, pair.now);
    frame.peer_spi = responder;
    let random = SeededRandom::new(u64::from_be_bytes(own.0));
    Some(Insider { frame, protection, random, next: 0 })
}

#[test]
fn ike_sas_that_were_replaced_and_not_deleted_have_a_bound() {
    let mut pair = waiting();
    let mut insider = Insider::established(&mut pair, &[]);
    for number in 1..=100u64 {
        let own = IkeSpi((number << 32).to_be_bytes());
        insider = rekeyed(&mut pair, &mut insider, own).expect("a successor");
        assert!(pair.sides[B].engine.sas(pair.now).len() <= 3);
    }
    // The last of them is the one that stands, with the child SA.
    assert_eq!(
        insider.say(&mut pair, ExchangeType::INFORMATIONAL, &[]).map(|it| it.len()),
        Some(1)
    );
    assert_eq!(pair.sides[B].kernel.count(Direction::In), 1);
    pair.pass(200);
    assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1);
    assert!(!pair.told(B, "IKE SA gone"));
    pair.end();
}

/// RFC 4478: a peer that wants proofs without end gets them at a walk.
#[test]
fn a_peer_that_wants_to_be_proved_to_all_the_time_does_not_make_us_spin() {
    let mut pair = Pair::each(|side, policy| {
        if side == B {
            (policy.reauth, policy.ike_lifetime) = (true, 1);
        }
    });
    pair.pass(60);
    let established = pair.sides[A].engine.stats().established;
    assert!((5..=9).contains(&established), "{established}");
    pair.assert_children(1);
    pair.end();
}

/// Says something from another address; what B answers there.
fn say_from(pair: &mut Pair, insider: &mut Insider, from: &str, payloads: &[Payload]) -> Header {
    let id = MessageId(insider.next);
    insider.next += 1;
    let header = seal::header(&insider.frame, ExchangeType::INFORMATIONAL, false, id);
    let sealed =
        seal::seal(&mut insider.protection, &header, payloads, None, &mut insider.random).unwrap();
    let (local, remote) = (pair.sides[B].address, from.parse().unwrap());
    pair.sides[A].others = vec![remote].into_iter().map(|it: SocketAddr| it.ip()).collect();
    pair.input(B, Input::Datagram { local, remote, octets: &sealed });
    header
}

/// RFC 4555 §3.5, §3.7: who moves has to show it; a wrong cookie ends the IKE SA.
#[test]
fn a_move_that_is_not_shown_moves_nothing() {
    for (what, ends) in [("right", false), ("none", false), ("wrong", true), ("long", true)] {
        let mut pair = waiting();
        let supported = Payload::Notify(Notify::new(NotifyType::MOBIKE_SUPPORTED));
        let mut insider = Insider::established(&mut pair, &[supported]);
        let update = Notify::new(NotifyType::UPDATE_SA_ADDRESSES);
        let cookie = Notify::with_data(NotifyType::COOKIE2, vec![1; 8]);
        let payloads = [update, cookie.clone()].map(Payload::Notify);
        pair.flying.clear();
        say_from(&mut pair, &mut insider, "192.0.2.77:500", &payloads);
        // The answer, with its cookie, and then the question, both to where the update came from.
        let sent = pair.flying.clone();
        assert!(sent.iter().all(|it| it.local == "192.0.2.77:500".parse().unwrap()), "{sent:?}");
        let open = |insider: &Insider, octets: &[u8]| {
            let header = Header::parse(octets).unwrap();
            (header, seal::open(&insider.protection, &header, octets).unwrap())
        };
        let (_, answer) = open(&insider, &sent[0].octets);
        assert!(answer.contains(&Payload::Notify(cookie)), "{answer:?}");
        let (question, asked) = open(&insider, &sent[1].octets);
        let asked: Vec<_> = asked
            .into_iter()
            .filter(|it| matches!(it, Payload::Notify(it) if it.notify_type == NotifyType::COOKIE2))
            .collect();
        let said = match what {
            "right" => asked,
            "none" => Vec::new(),
            "wrong" => vec![Payload::Notify(Notify::with_data(NotifyType::COOKIE2, vec![9; 16]))],
            _ => vec![Payload::Notify(Notify::with_data(NotifyType::COOKIE2, vec![9; 900]))],
        };
        let header = seal::header(&insider.frame, question.exchange, true, question.message_id);
        let sealed = seal::seal(&mut insider.protection, &header, &said, None, &mut insider.random);
        let (local, remote) = (pair.sides[B].address, "192.0.2.77:500".parse().unwrap());
        pair.input(B, Input::Datagram { local, remote, octets: &sealed.unwrap() });
        let at = pair.sides[B].engine.sas(pair.now)[0].remote;
        assert_eq!(at == remote, what == "right", "{what}");
        assert_eq!(pair.told(B, "another COOKIE2 than it was sent"), ends, "{what}");
        assert_eq!(pair.told(B, "but does not answer there"), what == "none", "{what}");
        pair.sides[A].dead = true;
        pair.pass(60);
        assert_eq!(pair.sides[B].kernel.sas.len(), if ends { 0 } else { 2 }, "{what}");
    }
}

/// Moves without end to places where nobody is: what is sent there is no more than what came.
#[test]
fn moves_without_end_make_no_more_than_an_answer_and_a_question_each() {
    let mut pair = waiting();
    let supported = Payload::Notify(Notify::new(NotifyType::MOBIKE_SUPPORTED));
    let mut insider = Insider::established(&mut pair, &[supported]);
    let before = pair.sides[B].engine.stats().datagrams_out;
    for number in 0..200 {
        let update = Payload::Notify(Notify::new(NotifyType::UPDATE_SA_ADDRESSES));
        let from = format!("198.51.100.{}:500", number + 1);
        say_from(&mut pair, &mut insider, &from, &[update]);
        pair.pass_millis(20);
    }
    let sent = pair.sides[B].engine.stats().datagrams_out - before;
    assert!(sent <= 400, "{sent}");
    let child = pair.sides[B].engine.sas(pair.now);
    assert_eq!(child[0].remote, pair.sides[A].address, "nothing moved");
    // Nobody answers for any of them: the IKE SA ends as any whose peer is silent.
    pair.sides[A].dead = true;
    pair.pass(120);
    assert!(pair.sides[B].engine.sas(pair.now).is_empty());
    let after = pair.sides[B].engine.stats().datagrams_out - before;
    assert!(after <= 400 + 8, "{after}");
}

#[test]
fn first_messages_are_kept_and_so_have_a_bound() {
    let plain = Pair::plain().flying.remove(0).octets;
    let (header, payloads) = parse_message(&plain).unwrap();
    for (filling, taken) in [(15_000, 1), (17_000, 0)] {
        let mut pair = waiting();
        let mut payloads = payloads.clone();
        payloads.push(Payload::Vendor(vec![7; filling]));
        let answer = exchange_with_b(&mut pair, &emit_message(&header, &payloads));
        assert_eq!(answer.is_some(), taken == 1);
        assert_eq!(pair.sides[B].engine.stats().half_open, taken);
    }
}

#[test]
fn ike_sas_of_one_peer_have_a_bound() {
    let mut pair = Pair::with(Settings { of_one_peer: 5, ..Settings::default() }, 1);
    pair.configure(B, vec![policy(B)]);
    for seed in 1..=20 {
        let (mut insider, proofs, request, nr) = Insider::open(&mut pair, seed);
        let mut payloads = auth_payloads(own_octets(&proofs, &request, &nr));
        let kind = Kind::FirstChild(SaProtocol::Esp);
        let spi = Spi::Child(EspSpi(0x9000 + u32::try_from(seed).unwrap()));
        payloads[2] =
            Payload::Sa(Sa { proposals: proposal::offer(&policy(A).child_proposals, kind, &spi) });
        // The answer, or what another of them is told after it.
        insider.say(&mut pair, ExchangeType::IKE_AUTH, &payloads);
        let sas = pair.sides[B].engine.sas(pair.now).into_iter();
        assert!(sas.filter(|sa| sa.state == "established").count() <= 5);
    }
    // Deletions that nobody answers end, too.
    pair.sides[A].dead = true;
    pair.pass(20);
    assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 5);
    assert_eq!(pair.sides[B].kernel.count(Direction::In), 5);
    assert!(!pair.told(B, "gone"));
    pair.end();
}
