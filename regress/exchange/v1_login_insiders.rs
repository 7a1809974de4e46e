//! IKEv1: transaction exchanges with a peer that has the group's key and says what it should not.

use crate::pair::*;
use crate::v1_insider::{Insider, hand, heard};
use crate::v1_login::users;
use crate::v1_phases::ikev1;
use oakd::conf::*;
use oakd::ike::event::Input;
use oakd::ike::report::Event;
use oakd::wire::attribute::Attribute;
use oakd::wire::iana::v1::{ConfigAttribute as A1, ConfigType, ExchangeType, NotifyType};
use oakd::wire::v1::*;
use oakd::wire::{Flags, Header};

/// A gateway that has a pool, and an insider; with a login, or without.
fn opened(login: bool) -> (Pair, Insider, Policy) {
    let of = |side| {
        let mut it = Policy {
            start: Start::Passive,
            child_proposals: vec![child(cbc(&[]))],
            ..ikev1(side, Phase1::Aggressive)
        };
        let who = if side == A { Xauth::As("alice".into()) } else { Xauth::Peer };
        it.ike1.xauth = login.then_some(who);
        if side == B {
            it.provision.addresses = vec![AddressPool::new(ip("10.99.0.0"), 24).unwrap()];
            it.peer = None;
        }
        it
    };
    let mut pair = Pair::new();
    users(&mut pair, "open sesame");
    pair.configure(B, vec![of(B)]);
    let insider = Insider::open(&mut pair, &of(A));
    (pair, insider, of(A))
}

fn attributes(config_type: ConfigType, attributes: Vec<Attribute>) -> Payload {
    Payload::Attributes(Attributes { config_type, identifier: 1, attributes })
}

fn said(insider: &Insider, octets: &[u8]) -> Attributes {
    let (_, payloads) = insider.read(octets);
    let found = payloads.into_iter().find_map(|payload| match payload {
        Payload::Attributes(attributes) => Some(attributes),
        _ => None,
    });
    found.expect("attributes")
}

/// What B sent in transaction exchanges.
fn transactions(pair: &mut Pair) -> Vec<Vec<u8>> {
    let is_one = |octets: &Vec<u8>| {
        Header::parse(octets).unwrap().exchange_v1() == ExchangeType::TRANSACTION
    };
    heard(pair).into_iter().filter(is_one).collect()
}

fn credentials(name: &[u8], password: &[u8]) -> Payload {
    let both = vec![A1::XAUTH_USER_NAME.with(name), A1::XAUTH_USER_PASSWORD.with(password)];
    attributes(ConfigType::REPLY, both)
}

#[test]
fn names_and_passwords_out_of_bounds_are_told_and_counted() {
    let rows: [(Payload, &str); 5] = [
        (credentials(&[b'a'; 129], b"x"), "a name of 129 octets"),
        (credentials(b"alice", &[b'x'; 600]), "a password of 600"),
        (credentials(b"ali\nce", b"x"), "a name with control characters"),
        (attributes(ConfigType::REPLY, vec![A1::XAUTH_USER_NAME.with(b"alice")]), "no password"),
        (credentials(&[0xff, 0xfe], b"x"), "a name that is not UTF-8"),
    ];
    for (answer, words) in rows {
        let (mut pair, insider, _) = opened(true);
        for number in 1..=3 {
            let request = transactions(&mut pair).pop().expect("a request");
            let asked = said(&insider, &request);
            assert_eq!(asked.config_type, ConfigType::REQUEST);
            insider.reply(&mut pair, &request, answer.clone());
            assert!(pair.told(B, words), "{words}");
            assert!(pair.told(B, &format!("(try {number} of 3)")));
        }
        let verdict = transactions(&mut pair).pop().expect("a verdict");
        let set = said(&insider, &verdict);
        assert_eq!(set.config_type, ConfigType::SET);
        assert_eq!(oakd::ike::v1::xauth::status(&set), Some(false));
        insider.reply(&mut pair, &verdict, attributes(ConfigType::ACK, Vec::new()));
        assert!(pair.sides[B].engine.sas(pair.now).is_empty());
    }
}

#[test]
fn nothing_is_given_before_the_login() {
    let (mut pair, mut insider, policy) = opened(true);
    transactions(&mut pair);
    let (quick, ..) = insider.quick(&policy, 0x2000, Flags::default());
    hand(&mut pair, &quick);
    let id = insider.fresh();
    let header = insider.header(ExchangeType::TRANSACTION, id, Flags::default());
    let wish = attributes(ConfigType::REQUEST, vec![A1::INTERNAL_IP4_ADDRESS.empty()]);
    let (octets, _) = insider.seal(&header, &[], vec![wish]);
    hand(&mut pair, &octets);
    // It may not say that it passed, either.
    let id = insider.fresh();
    let header = insider.header(ExchangeType::TRANSACTION, id, Flags::default());
    let passed = attributes(ConfigType::SET, vec![Attribute::short(A1::XAUTH_STATUS.0, 1)]);
    let (octets, _) = insider.seal(&header, &[], vec![passed]);
    hand(&mut pair, &octets);
    let spis = (insider.cookies.0, insider.cookies.1);
    let contact = Notify::about_ike(NotifyType::INITIAL_CONTACT, spis.0, spis.1, Vec::new());
    insider.tell(&mut pair, Payload::Notify(contact));
    assert!(heard(&mut pair).is_empty());
    assert!(pair.sides[B].leases.is_empty() && pair.sides[B].kernel.larval.is_empty());
    let event = |event: &Event| matches!(event, Event::IkeEstablished { .. });
    assert!(!pair.reported(B, event));
    assert!(pair.told(B, "Quick Mode while awaiting the user's name and password"));
}

#[test]
fn a_name_and_a_password_asked_again_count_once() {
    let (mut pair, insider, _) = opened(true);
    let request = transactions(&mut pair).pop().unwrap();
    insider.reply(&mut pair, &request, credentials(b"alice", b"open sesame\0"));
    insider.reply(&mut pair, &request, credentials(b"alice", b"open sesame\0"));
    let verdict = transactions(&mut pair).pop().unwrap();
    assert_eq!(oakd::ike::v1::xauth::status(&said(&insider, &verdict)), Some(true));
    // An answer in the wrong word is one, as some peers have it.
    insider.reply(&mut pair, &verdict, attributes(ConfigType::REPLY, Vec::new()));
    assert!(pair.told(B, "the peer logged in as alice"));
    let sas = pair.sides[B].engine.sas(pair.now);
    assert_eq!(sas[0].login.as_deref(), Some("alice (the peer)"));
    insider.reply(&mut pair, &request, credentials(b"alice", b"open sesame"));
    assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1);
}

#[test]
fn many_wishes_get_one_answer_of_what_there_is() {
    let (mut pair, mut insider, _) = opened(false);
    heard(&mut pair);
    let id = insider.fresh();
    let header = insider.header(ExchangeType::TRANSACTION, id, Flags::default());
    let mut wishes = vec![A1::INTERNAL_IP4_ADDRESS.empty(); 4000];
    wishes.push(A1::INTERNAL_IP4_ADDRESS.with(&[1; 2000]));
    let (octets, iv) = insider.seal(&header, &[], vec![attributes(ConfigType::REQUEST, wishes)]);
    hand(&mut pair, &octets);
    let answer = transactions(&mut pair).pop().unwrap();
    assert!(answer.len() < 200, "{}", answer.len());
    let Payload::Attributes(reply) = &insider.answered(&answer, &iv)[1] else { panic!("none") };
    assert_eq!(reply.attributes, [A1::INTERNAL_IP4_ADDRESS.with(&[10, 99, 0, 1])]);
    // The same again is the same address; the same octets are the same answer.
    hand(&mut pair, &octets);
    assert_eq!(transactions(&mut pair), [answer]);
    assert_eq!(pair.sides[B].leases.len(), 1);
}

#[test]
fn a_gateway_takes_no_address() {
    let (mut pair, mut insider, _) = opened(false);
    heard(&mut pair);
    let id = insider.fresh();
    let header = insider.header(ExchangeType::TRANSACTION, id, Flags::default());
    let set = vec![A1::INTERNAL_IP4_ADDRESS.with(&[10, 1, 1, 1])];
    let (octets, iv) = insider.seal(&header, &[], vec![attributes(ConfigType::SET, set)]);
    hand(&mut pair, &octets);
    let answer = transactions(&mut pair).pop().unwrap();
    let Payload::Attributes(ack) = &insider.answered(&answer, &iv)[1] else { panic!("none") };
    assert_eq!((ack.config_type, ack.attributes.len()), (ConfigType::ACK, 0));
    assert!(pair.sides[B].host.is_empty());
}

#[test]
fn answers_to_nothing_are_told() {
    let (mut pair, mut insider, _) = opened(false);
    heard(&mut pair);
    for kind in [ConfigType::REPLY, ConfigType::ACK, ConfigType(9)] {
        let id = insider.fresh();
        let header = insider.header(ExchangeType::TRANSACTION, id, Flags::default());
        let (octets, _) = insider.seal(&header, &[], vec![attributes(kind, Vec::new())]);
        hand(&mut pair, &octets);
    }
    assert!(heard(&mut pair).is_empty());
    assert!(pair.told(B, "that answers nothing"));
    assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1);
}

/// Logs in as Alice and asks for an address; gives back the answer.
fn address(pair: &mut Pair, insider: &mut Insider) -> Vec<Attribute> {
    let request = transactions(pair).pop().expect("a request");
    insider.reply(pair, &request, credentials(b"alice", b"open sesame"));
    let verdict = transactions(pair).pop().expect("a verdict");
    insider.reply(pair, &verdict, attributes(ConfigType::ACK, Vec::new()));
    let id = insider.fresh();
    let header = insider.header(ExchangeType::TRANSACTION, id, Flags::default());
    let wish = attributes(ConfigType::REQUEST, vec![A1::INTERNAL_IP4_ADDRESS.empty()]);
    let (octets, iv) = insider.seal(&header, &[], vec![wish]);
    hand(pair, &octets);
    let answer = transactions(pair).pop().expect("an answer");
    let Payload::Attributes(reply) = &insider.answered(&answer, &iv)[1] else { panic!("none") };
    reply.attributes.clone()
}

#[test]
fn an_address_that_sticks_is_in_one_isakmp_sa() {
    for sticky in [true, false] {
        let (mut pair, mut first, policy) = opened(true);
        let one = address(&mut pair, &mut first);
        assert_eq!(one, [A1::INTERNAL_IP4_ADDRESS.with(&[10, 99, 0, 1])]);
        let globals =
            Globals { dpd_check_interval: 0, sticky_address: sticky, ..Globals::default() };
        let mut gateway = Policy { name: policy.name.clone(), ..ikev1(B, Phase1::Aggressive) };
        gateway.child_proposals = policy.child_proposals.clone();
        gateway.ike1.xauth = Some(Xauth::Peer);
        gateway.start = Start::Passive;
        gateway.peer = None;
        gateway.provision.addresses = vec![AddressPool::new(ip("10.99.0.0"), 24).unwrap()];
        let config = Config { globals, policies: vec![gateway] };
        pair.input(B, Input::Configure(config.into()));
        pair.pass(1);
        // She comes from elsewhere and says nothing of beginning anew.
        pair.sides[A].address.set_ip(ip("192.0.2.9"));
        let mut second = Insider::open_with(&mut pair, &policy, 78);
        let other = address(&mut pair, &mut second);
        let wanted =
            if sticky { one } else { vec![A1::INTERNAL_IP4_ADDRESS.with(&[10, 99, 0, 2])] };
        assert_eq!(other, wanted);
        assert_eq!(pair.sides[B].engine.sas(pair.now).len(), if sticky { 1 } else { 2 });
    }
}
