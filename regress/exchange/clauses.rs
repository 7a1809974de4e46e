//! Clauses of RFC 7296 that no other story is about.

use crate::insider::*;
use crate::pair::*;
use oakd::crypto::KeyExchange;
use oakd::ike::event::*;
use oakd::ike::frame::Frame;
use oakd::ike::proposal::{self, Kind};
use oakd::ike::report::{Event, Gone};
use oakd::ike::table::SaId;
use oakd::ike::v2::keys;
use oakd::wire::iana::v2::{ExchangeType, GroupId, NotifyType, PayloadType};
use oakd::wire::v2::*;
use oakd::wire::{Flags, Header, IkeSpi, Spi};
use std::sync::Arc;

fn notify(of: NotifyType) -> Payload {
    Payload::Notify(Notify::new(of))
}

fn unknown(payload_type: PayloadType, critical: bool) -> Payload {
    Payload::Unknown { payload_type, critical, body: b"something".to_vec() }
}

/// Side B, and the peer that has an IKE SA with it and a child SA.
fn answered() -> (Pair, Insider) {
    let mut pair = Pair::new();
    pair.configure(B, vec![policy(B)]);
    let insider = Insider::established(&mut pair, &[]);
    (pair, insider)
}

/// §2.5: who knows the type of a payload pays no attention to its critical bit; who does not refuses it.
#[test]
fn a_critical_payload_of_unknown_type_is_refused_and_nothing_is_lost() {
    let refused = Notify::with_data(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![200]);
    let (mut pair, mut insider) = answered();
    for (payload, answer) in [
        (unknown(PayloadType(200), true), vec![Payload::Notify(refused.clone())]),
        (unknown(PayloadType(200), false), vec![]),
        (unknown(PayloadType::V, true), vec![]),
    ] {
        let said = insider.say(&mut pair, ExchangeType::INFORMATIONAL, &[payload]).unwrap();
        let told = said.into_iter().filter(|it| *it != window_size());
        assert_eq!(told.collect::<Vec<_>>(), answer);
    }
    assert_eq!(pair.sides[B].kernel.sas.len(), 2);
    pair.end();
    // As well before anything is protected.
    let mut pair = Pair::new();
    pair.configure(B, vec![policy(B)]);
    let mut plain = Pair::plain();
    plain.input(A, Input::Timeout);
    let (header, mut payloads) = parse_message(&plain.flying.remove(0).octets).unwrap();
    payloads.push(unknown(PayloadType(200), true));
    let answer = exchange_with_b(&mut pair, &emit_message(&header, &payloads)).unwrap();
    assert_eq!(parse_message(&answer).unwrap().1, [Payload::Notify(refused)]);
    assert_eq!(pair.sides[B].engine.stats().half_open, 0);
    pair.end();
}

/// What a side says once of how many requests it takes.
fn window_size() -> Payload {
    let data = 4u32.to_be_bytes().to_vec();
    Payload::Notify(Notify::with_data(NotifyType::SET_WINDOW_SIZE, data))
}

/// §2.21.1: what answers IKE_SA_INIT and is of no use is not acted upon at once, as anybody may have sent it.
#[test]
fn an_unprotected_refusal_does_not_keep_the_true_answer_out() {
    let errors = [NotifyType::NO_PROPOSAL_CHOSEN, NotifyType::INVALID_SYNTAX];
    for error in errors.map(Some).into_iter().chain([None]) {
        let mut pair = Pair::plain();
        pair.input(A, Input::Timeout);
        let request = Header::parse(&pair.flying[0].octets).unwrap();
        let (own, exchange, id) = (request.initiator, request.exchange, request.message_id);
        let header = Header::v2(own, IkeSpi([3; 8]), exchange, Flags::v2(false, true), id);
        let (payloads, told) = match error {
            Some(error) => (vec![notify(error)], "the peer refused IKE_SA_INIT"),
            None => {
                let (_, asked) = parse_message(&pair.flying[0].octets).unwrap();
                let others = asked.into_iter().filter(|it| !matches!(it, Payload::Sa(_)));
                (others.chain([other_suite()]).collect(), "the peer broke the protocol")
            }
        };
        let octets = emit_message(&header, &payloads);
        let (local, remote) = (pair.sides[A].address, pair.sides[B].address);
        pair.input(A, Input::Datagram { local, remote, octets: &octets });
        assert!(pair.told(A, told));
        pair.pass(1).assert_up();
        pair.end();
    }
}

/// And a demand that is met begins anew.
#[test]
fn a_cookie_that_is_demanded_after_a_refusal_is_sent_until_it_arrives() {
    let settings = oakd::ike::Settings { cookies_from: 0, ..Default::default() };
    let mut pair = Pair::with(settings, 1);
    let mut to_b = 0;
    pair.network = Box::new(move |_, datagram| {
        to_b += usize::from(datagram.to == B);
        if datagram.to == B && to_b == 2 { Fate::Lose } else { Fate::Deliver }
    });
    pair.configure(B, vec![policy(B)]);
    pair.configure(A, vec![policy(A)]);
    let request = Header::parse(&pair.flying[0].octets).unwrap();
    let (own, exchange, id) = (request.initiator, request.exchange, request.message_id);
    let header = Header::v2(own, IkeSpi::ZERO, exchange, Flags::v2(false, true), id);
    let octets = emit_message(&header, &[notify(NotifyType::NO_PROPOSAL_CHOSEN)]);
    let (local, remote) = (pair.sides[A].address, pair.sides[B].address);
    pair.input(A, Input::Datagram { local, remote, octets: &octets });
    pair.pass(5).assert_up();
    pair.end();
}

/// A choice that nobody offered.
fn other_suite() -> Payload {
    let never = [cbc(&[GroupId::ECP_521])];
    Payload::Sa(Sa { proposals: proposal::offer(&never, Kind::Ike, &Spi::None) })
}

/// Where it stays at that, the peer is left alone soon, and called again later.
#[test]
fn a_peer_that_refuses_is_not_asked_on_and_on() {
    let mut pair = Pair::each(|side, policy| {
        if side == B {
            policy.ike_proposals = vec![cbc(&[GroupId::ECP_384])];
        }
    });
    pair.pass(3);
    assert!(pair.sides[A].engine.sas(pair.now).is_empty());
    let refused = |event: &&Event| matches!(event, Event::Refused { .. });
    let events = pair.sides[A].reports.iter().map(|report| &report.event);
    assert_eq!(events.filter(refused).count(), 1);
    assert!(!pair.reported(A, |event| matches!(event, Event::NoAnswer { .. })));
    assert!(pair.reported(A, |event| matches!(event, Event::WillRetry { .. })));
    pair.end();
}

/// §2.21.3: a peer that did not understand a request may have ended the IKE SA by saying so.
#[test]
fn a_peer_that_understood_nothing_is_asked_whether_it_is_there() {
    for alive in [true, false] {
        let (mut pair, mut insider) = answered();
        pair.command(B, Command::Rekey { name: "test".into(), ike: false });
        let (header, _) = insider.hears(&mut pair).remove(0);
        insider.answer(&mut pair, &header, &[notify(NotifyType::INVALID_SYNTAX)]);
        let (header, probe) = insider.hears(&mut pair).remove(0);
        assert_eq!((header.exchange, probe), (ExchangeType::INFORMATIONAL, vec![]));
        if alive {
            insider.answer(&mut pair, &header, &[]);
        }
        pair.sides[A].dead = true;
        pair.pass(10);
        assert_eq!(pair.sides[B].engine.sas(pair.now).len(), usize::from(alive));
        let forgotten = |event: &Event| matches!(event, Event::IkeDeleted { why: Gone::Forgotten });
        assert_eq!(pair.reported(B, forgotten), !alive);
        pair.end();
    }
}

/// §1.4.1, §2.21.2: deletions of what is not there are answered; a failed proof ends the IKE SA.
#[test]
fn deletions_of_nothing_are_answered_and_a_failed_proof_ends_it() {
    let (mut pair, mut insider) = answered();
    let delete = |spis: &[u32]| {
        let spis = spis.iter().map(|spi| oakd::wire::EspSpi(*spi)).collect();
        let protocol = oakd::wire::iana::v2::ProtocolId::ESP;
        Payload::Delete(Delete::Child { protocol, spis })
    };
    let mut say = |pair: &mut Pair, payload| {
        let answer = insider.say(pair, ExchangeType::INFORMATIONAL, &[payload]).unwrap();
        answer.into_iter().filter(|it| *it != window_size()).collect::<Vec<_>>()
    };
    assert_eq!(say(&mut pair, delete(&[0x4444, 0x5555])), []);
    assert_eq!(pair.sides[B].kernel.sas.len(), 2);
    assert_eq!(say(&mut pair, notify(NotifyType::INVALID_SELECTORS)), []);
    assert_eq!(say(&mut pair, Payload::Notify(Notify::new(NotifyType(16000)))), []);
    assert_eq!(pair.sides[B].kernel.sas.len(), 2);
    assert_eq!(say(&mut pair, notify(NotifyType::AUTHENTICATION_FAILED)), []);
    assert!(pair.sides[B].kernel.sas.is_empty());
    assert!(pair.reported(B, |event| matches!(event, Event::IkeDeleted { why: Gone::ByPeer })));
    pair.end();
}

/// The IKE SA that side B asks for in place of the insider's: made by it, and side B its initiator.
fn successor(pair: &mut Pair, insider: &mut Insider) -> Insider {
    pair.command(B, Command::Rekey { name: "test".into(), ike: true });
    let (header, request) = insider.hears(pair).remove(0);
    let (mut offered, mut theirs, mut nonce) = (None, None, None);
    for payload in request {
        match payload {
            Payload::Sa(sa) => offered = sa.proposals.into_iter().next(),
            Payload::Ke(ke) => theirs = Some(ke),
            Payload::Nonce(it) => nonce = Some(it.0),
            _ => (),
        }
    }
    let (mut chosen, theirs, ni) = (offered.unwrap(), theirs.unwrap(), nonce.unwrap());
    let (suite, spi) = proposal::accept_ike(&[chosen.clone()], &[chosen.clone()]).unwrap();
    let (initiator, own, nr) = (spi.ike().unwrap(), IkeSpi([0x77; 8]), vec![9; 32]);
    let kex = KeyExchange::generate(theirs.group, &mut insider.random).unwrap();
    chosen.spi = Spi::Ike(own);
    let answer = [
        Payload::Sa(Sa { proposals: vec![chosen] }),
        Payload::Nonce(Nonce(nr.clone())),
        Payload::Ke(Ke { group: theirs.group, data: kex.public().to_vec() }),
    ];
    let shared = kex.shared(&theirs.data).unwrap();
    let seeds = keys::Seeds { nonces: (&ni, &nr), spis: (initiator, own) };
    let seed = keys::rekey_seed(&insider.protection, &seeds, &[&shared]);
    let (protection, _) = keys::expand(suite, &seed, &seeds, false).unwrap();
    insider.answer(pair, &header, &answer);
    let (local, remote) = (insider.frame.local, insider.frame.remote);
    let policy = Arc::clone(&insider.frame.policy);
    let mut frame = Frame::new(SaId(own), false, local, remote, policy, pair.now);
    frame.peer_spi = initiator;
    let random = oakd::crypto::SeededRandom::new(77);
    Insider { frame, protection, random, next: 0 }
}

/// §1.3: a peer that takes no more than the initial exchanges make is called anew before what it has ends.
#[test]
fn a_peer_that_makes_no_further_child_sas_gets_an_ike_sa_anew() {
    let (mut pair, mut old) = answered();
    let mut insider = successor(&mut pair, &mut old);
    pair.flying.clear();
    for ike in [false, true] {
        pair.command(B, Command::Rekey { name: "test".into(), ike });
        let (header, _) = insider.hears(&mut pair).remove(0);
        assert_eq!(header.exchange, ExchangeType::CREATE_CHILD_SA);
        insider.answer(&mut pair, &header, &[notify(NotifyType::NO_ADDITIONAL_SAS)]);
        let calls = std::mem::take(&mut pair.flying).into_iter();
        let first = calls.filter(|it| Header::parse(&it.octets).unwrap().responder.is_zero());
        // One at a time.
        assert_eq!(first.count(), usize::from(!ike));
    }
    assert_eq!(pair.sides[B].kernel.count(Direction::Out), 1);
}
