//! Cases for IKEv2.

use crate::insider::*;
use crate::pair::*;
use oakd::ike::proposal::{self, Kind};
use oakd::wire::iana::v2::{ExchangeType, GroupId, NotifyType, ProtocolId};
use oakd::wire::v2::*;
use oakd::wire::{EspSpi, Flags, Header, IkeSpi, MessageId, Spi};

fn responder() -> Pair {
    let mut pair = Pair::new();
    pair.configure(B, vec![policy(B)]);
    pair.sides[A].dead = true;
    pair
}

fn authenticated(pair: &mut Pair) -> Insider {
    let (mut insider, proofs, request, nr) = Insider::open(pair, 1);
    let octets = own_octets(&proofs, &request, &nr);
    insider.say(pair, ExchangeType::IKE_AUTH, &auth_payloads(octets)).unwrap();
    assert_eq!(pair.sides[B].kernel.sas.len(), 2);
    insider
}

fn child_payloads() -> Vec<Payload> {
    let mut payloads = auth_payloads(Vec::new());
    payloads.drain(..2);
    for payload in &mut payloads {
        if let Payload::Sa(sa) = payload {
            sa.proposals[0].spi = Spi::Child(EspSpi(0x7777));
        }
    }
    payloads.push(Payload::Nonce(Nonce(vec![1; 32])));
    payloads
}

fn error(answer: Option<Vec<Payload>>) -> Option<NotifyType> {
    answer?.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.notify_type.is_error() => Some(notify.notify_type),
        _ => None,
    })
}

#[test]
fn nothing_is_rekeyed_before_it_is_authenticated() {
    let mut pair = responder();
    let (mut insider, ..) = Insider::open(&mut pair, 1);
    let offered = proposal::offer(&policy(A).ike_proposals, Kind::Ike, &Spi::Ike(IkeSpi([9; 8])));
    let payloads = [
        Payload::Sa(Sa { proposals: offered }),
        Payload::Nonce(Nonce(vec![2; 32])),
        Payload::Ke(Ke { group: GroupId::CURVE25519, data: vec![9; 32] }),
    ];
    let answer = insider.say(&mut pair, ExchangeType::CREATE_CHILD_SA, &payloads);
    assert!(answer.is_none());
    let answer = insider.say(&mut pair, ExchangeType::CREATE_CHILD_SA, &child_payloads());
    assert!(answer.is_none());
    assert!(pair.sides[B].kernel.sas.is_empty());
    assert_eq!(pair.sides[B].engine.stats().established, 0);
    pair.end();
}

#[test]
fn a_group_nobody_offered_is_refused() {
    let mut pair = responder();
    let offered = proposal::offer(&policy(A).ike_proposals, Kind::Ike, &Spi::None);
    let payloads = [
        Payload::Sa(Sa { proposals: offered }),
        Payload::Ke(Ke { group: GroupId(1025), data: vec![1; 128] }),
        Payload::Nonce(Nonce(vec![3; 32])),
    ];
    let flags = Flags::v2(true, false);
    let (exchange, id) = (ExchangeType::IKE_SA_INIT, MessageId(0));
    let header = Header::v2(IkeSpi([5; 8]), IkeSpi::ZERO, exchange, flags, id);
    let answer = exchange_with_b(&mut pair, &emit_message(&header, &payloads)).unwrap();
    let (_, payloads) = parse_message(&answer).unwrap();
    assert_eq!(error(Some(payloads)), Some(NotifyType::INVALID_KE_PAYLOAD));
    assert_eq!(pair.sides[B].engine.stats().half_open, 0);
    pair.end();
}

#[test]
fn a_selector_that_lies_about_its_length_is_refused() {
    let mut pair = responder();
    let mut insider = authenticated(&mut pair);
    for length in [0u16, 3, 4, 15, 17, 40, 0xffff] {
        let mut payloads = child_payloads();
        payloads.retain(|payload| !matches!(payload, Payload::TsI(_)));
        let mut body = vec![1, 0, 0, 0, 7, 0];
        body.extend(length.to_be_bytes());
        body.extend([0, 0, 0xff, 0xff, 10, 1, 0, 0, 10, 1, 0, 255]);
        let payload_type = oakd::wire::iana::v2::PayloadType::TSI;
        payloads.push(Payload::Unknown { payload_type, critical: false, body });
        let answer = insider.say(&mut pair, ExchangeType::CREATE_CHILD_SA, &payloads);
        assert_eq!(error(answer), Some(NotifyType::INVALID_SYNTAX), "{length}");
    }
    assert_eq!(pair.sides[B].kernel.sas.len(), 2);
    pair.end();
}

#[test]
fn rekeying_by_a_wrong_protocol_is_refused() {
    let mut pair = responder();
    let mut insider = authenticated(&mut pair);
    for protocol in [ProtocolId::NONE, ProtocolId::IKE, ProtocolId(200)] {
        let mut payloads = child_payloads();
        let notify = Notify {
            protocol,
            spi: Spi::None,
            notify_type: NotifyType::REKEY_SA,
            data: Vec::new(),
        };
        payloads.insert(0, Payload::Notify(notify));
        let answer = insider.say(&mut pair, ExchangeType::CREATE_CHILD_SA, &payloads);
        let refused = error(answer).unwrap();
        let right = [NotifyType::CHILD_SA_NOT_FOUND, NotifyType::INVALID_SYNTAX];
        assert!(right.contains(&refused), "{refused}");
    }
    // The SPI of a child SA, by a protocol that it does not have.
    let mut payloads = child_payloads();
    let notify = Notify::about_child(NotifyType::REKEY_SA, ProtocolId::AH, EspSpi(0x9999));
    payloads.insert(0, Payload::Notify(notify));
    let answer = insider.say(&mut pair, ExchangeType::CREATE_CHILD_SA, &payloads);
    assert_eq!(error(answer), Some(NotifyType::CHILD_SA_NOT_FOUND));
    assert_eq!(pair.sides[B].kernel.sas.len(), 2);
    pair.end();
}

#[test]
fn answers_to_strangers_do_not_amplify() {
    let mut pair = responder();
    let offered = proposal::offer(&policy(A).ike_proposals, Kind::Ike, &Spi::None);
    let payloads = [
        Payload::Sa(Sa { proposals: offered }),
        Payload::Ke(Ke { group: GroupId::CURVE25519, data: vec![9; 32] }),
        Payload::Nonce(Nonce(vec![3; 32])),
    ];
    let flags = Flags::v2(true, false);
    let (exchange, id) = (ExchangeType::IKE_SA_INIT, MessageId(0));
    let header = Header::v2(IkeSpi([5; 8]), IkeSpi::ZERO, exchange, flags, id);
    let request = emit_message(&header, &payloads);
    let answer = exchange_with_b(&mut pair, &request).unwrap();
    assert!(answer.len() <= request.len() + 16);
    // It is never sent again of our own accord: retransmission is the initiator's (RFC 7296 §2.1).
    let sent = pair.sent;
    pair.pass(120);
    assert_eq!(pair.sent, sent);
    pair.end();
}

/// An unprotected notification with the SPIs of the peer's IKE SA, as from the peer.
fn spoofed(insider: &Insider, notify: Notify, response: bool) -> Vec<u8> {
    let (exchange, flags) = (ExchangeType::INFORMATIONAL, Flags::v2(true, response));
    let (initiator, responder) = insider.frame.spis();
    let header = Header::v2(initiator, responder, exchange, flags, MessageId(0));
    emit_message(&header, &[Payload::Notify(notify)])
}

#[test]
fn what_nothing_protects_makes_us_ask_and_ends_nothing() {
    let mut pair = responder();
    let mut insider = authenticated(&mut pair);
    let child = Notify::with_data(NotifyType::INVALID_SPI, 0x9999u32.to_be_bytes().to_vec());
    let ike = Notify::new(NotifyType::INVALID_IKE_SPI);
    let mut asked = 0;
    for _ in 0..600 {
        pair.pass_millis(100);
        for notify in [&child, &ike] {
            for response in [true, false] {
                let octets = spoofed(&insider, notify.clone(), response);
                let (local, remote) = (pair.sides[B].address, pair.sides[A].address);
                pair.input(B, oakd::ike::event::Input::Datagram { local, remote, octets: &octets });
            }
        }
        for (request, payloads) in insider.hears(&mut pair) {
            assert_eq!(payloads, []);
            asked += 1;
            insider.answer(&mut pair, &request, &[]);
        }
    }
    assert!((6..=12).contains(&asked), "{asked}");
    assert_eq!(pair.sides[B].kernel.sas.len(), 2);
    assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1);
    pair.end();
}

#[test]
fn hints_from_elsewhere_or_about_nothing_are_passed_over() {
    let mut pair = responder();
    let insider = authenticated(&mut pair);
    pair.pass(20);
    let child = Notify::with_data(NotifyType::INVALID_SPI, 0x9998u32.to_be_bytes().to_vec());
    let (local, remote) = (pair.sides[B].address, pair.sides[A].address);
    let elsewhere = std::net::SocketAddr::new(ip("203.0.113.9"), 500);
    let ike = spoofed(&insider, Notify::new(NotifyType::INVALID_IKE_SPI), true);
    let mut other = ike.clone();
    other[3] ^= 1;
    let child = spoofed(&insider, child, false);
    for (remote, octets) in [(elsewhere, &ike), (remote, &other), (remote, &child)] {
        pair.input(B, oakd::ike::event::Input::Datagram { local, remote, octets });
        assert!(pair.flying.is_empty());
    }
    pair.end();
}

#[test]
fn a_flood_of_messages_for_no_ike_sa_is_answered_a_little() {
    let mut pair = responder();
    let flags = |response| Flags::v2(true, response);
    let stray = |number: u16, response: bool, protected: bool| {
        let own = IkeSpi([number.to_be_bytes(); 4].concat().try_into().unwrap());
        let exchange = ExchangeType::INFORMATIONAL;
        let header = Header::v2(own, IkeSpi([8; 8]), exchange, flags(response), MessageId(3));
        let mut octets = emit_message(&header, &[Payload::Nonce(Nonce(vec![0; 64]))]);
        if protected {
            octets[16] = oakd::wire::iana::v2::PayloadType::SK.0;
        }
        octets
    };
    for (response, protected) in [(true, true), (false, false), (true, false)] {
        assert_eq!(exchange_with_b(&mut pair, &stray(1, response, protected)), None);
    }
    let answered = |pair: &mut Pair, number| {
        let octets = stray(number, false, true);
        exchange_with_b(pair, &octets).is_some_and(|answer| answer.len() <= octets.len())
    };
    let near = (0..1000).filter(|number| answered(&mut pair, *number)).count();
    assert!((1..=8).contains(&near), "{near}");
    pair.pass(1);
    assert!(answered(&mut pair, 1));
    pair.end();
}

#[test]
fn a_flood_of_another_major_version_is_answered_a_little() {
    let mut pair = responder();
    let exchange = ExchangeType::IKE_SA_INIT;
    let header =
        Header::v2(IkeSpi([5; 8]), IkeSpi::ZERO, exchange, Flags::v2(true, false), MessageId(0));
    let mut octets = emit_message(&header, &[]);
    octets[17] = 0x30;
    let told = (0..1000).filter_map(|_| exchange_with_b(&mut pair, &octets));
    let answers: Vec<_> = told.collect();
    assert!((1..=8).contains(&answers.len()), "{}", answers.len());
    let (_, payloads) = parse_message(&answers[0]).unwrap();
    assert_eq!(error(Some(payloads)), Some(NotifyType::INVALID_MAJOR_VERSION));
    pair.end();
}
