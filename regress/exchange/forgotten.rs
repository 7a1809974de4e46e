//! A peer that started anew and has forgotten an IKE SA: it says so, and is asked (RFC 7296 §1.5, §2.4).

use crate::insider::{Insider, exchange_with_b};
use crate::pair::*;
use oakd::ike::Settings;
use oakd::ike::event::*;
use oakd::ike::report::{Event, Gone};
use oakd::ike::v2::seal;
use oakd::wire::iana::v2::{ExchangeType, NotifyType, PayloadType};
use oakd::wire::v2::*;
use oakd::wire::{EspSpi, Flags, Header, IkeSpi, MessageId};

/// Side B forgets everything and starts anew.
fn restart_b(pair: &mut Pair) {
    let [_, fresh] = Pair::with(Settings::default(), 7).sides;
    pair.sides[B] = fresh;
    pair.configure(B, vec![policy(B)]);
}

/// How many seconds side A needs, after a rekey that the restarted peer cannot answer, until the tunnel is
/// back.
fn seconds_until_back(network: impl FnMut(usize, &Datagram) -> Fate + 'static) -> u64 {
    let mut pair = Pair::plain();
    pair.pass(30).assert_up();
    restart_b(&mut pair);
    pair.network = Box::new(network);
    pair.command(A, Command::Rekey { name: "test".into(), ike: true });
    let back = (1..200).find(|_| {
        pair.pass(1);
        !pair.sides[B].kernel.sas.is_empty()
    });
    pair.assert_up();
    pair.end();
    back.expect("the tunnel comes back")
}

#[test]
fn the_tunnel_is_back_in_seconds_rather_than_in_a_minute() {
    let told = seconds_until_back(|_, _| Fate::Deliver);
    let untold = seconds_until_back(|_, datagram| {
        let header = Header::parse(&datagram.octets).unwrap();
        let notifies = header.next_payload == PayloadType::N;
        if notifies { Fate::Lose } else { Fate::Deliver }
    });
    assert!(told <= 10, "{told}");
    assert!(untold >= 60, "{untold}");
}

#[test]
fn what_is_said_names_the_request_and_its_reason_is_reported() {
    let mut pair = Pair::new();
    pair.configure(B, vec![policy(B)]);
    pair.sides[A].dead = true;
    let Insider { frame, mut protection, mut random, .. } = Insider::established(&mut pair, &[]);
    restart_b(&mut pair);
    for exchange in [ExchangeType::INFORMATIONAL, ExchangeType::CREATE_CHILD_SA] {
        let header = seal::header(&frame, exchange, false, MessageId(9));
        let request = seal::seal(&mut protection, &header, &[], None, &mut random).unwrap();
        let answer = exchange_with_b(&mut pair, &request).unwrap();
        assert!(answer.len() <= request.len());
        let (answer, payloads) = parse_message(&answer).unwrap();
        assert_eq!((answer.initiator, answer.responder), (header.initiator, header.responder));
        assert_eq!((answer.exchange, answer.message_id), (exchange, header.message_id));
        assert_eq!(answer.flags, Flags::v2(false, true));
        let invalid = Notify::new(NotifyType::INVALID_IKE_SPI);
        assert_eq!(payloads, [Payload::Notify(invalid)]);
    }
    assert!(pair.told(B, "for an IKE SA that is not (any more)"));
    pair.end();
}

#[test]
fn an_unknown_spi_of_esp_makes_the_peer_be_asked() {
    let mut pair = Pair::plain();
    pair.pass(30).assert_up();
    restart_b(&mut pair);
    let outbound = pair.sides[A].kernel.sas.values().find(|sa| sa.direction == Direction::Out);
    let EspSpi(spi) = outbound.unwrap().key.spi;
    let notify = Notify::with_data(NotifyType::INVALID_SPI, spi.to_be_bytes().to_vec());
    let (own, none) = (IkeSpi([9; 8]), IkeSpi::ZERO);
    let (exchange, flags) = (ExchangeType::INFORMATIONAL, Flags::v2(true, false));
    let header = Header::v2(own, none, exchange, flags, MessageId(0));
    let octets = emit_message(&header, &[Payload::Notify(notify)]);
    let (local, remote) = (pair.sides[A].address, pair.sides[B].address);
    pair.input(A, Input::Datagram { local, remote, octets: &octets });
    assert!(pair.reported(A, |event| matches!(event, Event::Doubted { child: true })));
    pair.pass(12).assert_up();
    let forgotten = |event: &Event| matches!(event, Event::IkeDeleted { why: Gone::Forgotten });
    assert!(pair.reported(A, forgotten));
    pair.end();
}
