//! IKEv2 with peers, and strangers on the way, that do what they can.

use crate::insider::*;
use crate::pair::*;
use oakd::ike::event::*;
use oakd::wire::Header;
use oakd::wire::iana::v2::{ExchangeType, NotifyType, PayloadType};
use oakd::wire::v2::*;
use std::net::SocketAddr;

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
