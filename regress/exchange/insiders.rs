//! Side A played by hand: answers that no oakd gives.

use crate::insider::*;
use crate::pair::*;
use oakd::conf::{Policy, Start};
use oakd::ike::event::*;
use oakd::ike::proposal::{self, Kind};
use oakd::ike::report::Event;
use oakd::wire::iana::v2::{ExchangeType, NotifyType, ProtocolId};
use oakd::wire::v2::*;
use oakd::wire::{EspSpi, Header, Spi};

/// Side B, and the peer that has an IKE SA with it and a child SA.
fn answered() -> (Pair, Insider) {
    let mut pair = Pair::new();
    pair.configure(B, vec![policy(B)]);
    let insider = Insider::established(&mut pair, &[]);
    assert_eq!(pair.sides[B].kernel.count(Direction::In), 1);
    (pair, insider)
}

fn rekey(pair: &mut Pair, ike: bool) {
    pair.command(B, Command::Rekey { name: "test".into(), ike });
}

/// A plausible answer to a request for a child SA: the first proposal, the same traffic.
fn agrees(request: &[Payload], spi: u32) -> Vec<Payload> {
    let mut payloads = Vec::new();
    for payload in request {
        match payload {
            Payload::Sa(sa) => {
                let mut chosen = sa.proposals[0].clone();
                chosen.spi = Spi::Child(EspSpi(spi));
                payloads.push(Payload::Sa(Sa { proposals: vec![chosen] }));
            }
            Payload::Nonce(_) => payloads.push(Payload::Nonce(Nonce(vec![9; 32]))),
            Payload::TsI(_) | Payload::TsR(_) => payloads.push(payload.clone()),
            _ => (),
        }
    }
    payloads
}

fn notify(of: NotifyType) -> Payload {
    Payload::Notify(Notify::new(of))
}

/// The only request that side B has sent.
fn only(pair: &mut Pair, insider: &mut Insider) -> (Header, Vec<Payload>) {
    let mut requests = insider.hears(pair);
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

#[test]
fn an_answer_in_the_other_mode_is_a_disagreement() {
    let (mut pair, mut insider) = answered();
    rekey(&mut pair, false);
    let (header, request) = only(&mut pair, &mut insider);
    let mut answer = agrees(&request, 0x7777);
    answer.push(notify(NotifyType::USE_TRANSPORT_MODE));
    insider.answer(&mut pair, &header, &answer);
    assert!(pair.told(B, "no agreement on the mode of the child SA"));
    assert!(!pair.reported(B, |event| matches!(event, Event::Misbehaved { .. })));
    // What the peer thinks stands is deleted.
    let (_, request) = only(&mut pair, &mut insider);
    let spis = request.iter().find_map(|payload| match payload {
        Payload::Delete(Delete::Child { protocol: ProtocolId::ESP, spis }) => Some(spis.len()),
        _ => None,
    });
    assert_eq!(spis, Some(1));
}

#[test]
fn an_answer_with_other_traffic_is_a_disagreement() {
    let (mut pair, mut insider) = answered();
    rekey(&mut pair, false);
    let (header, request) = only(&mut pair, &mut insider);
    let mut answer = agrees(&request, 0x7777);
    answer.retain(|payload| !matches!(payload, Payload::TsI(_)));
    let other = ("10.77.0.0".parse().unwrap(), "10.77.0.255".parse().unwrap());
    let selector = TrafficSelector { protocol: 0, ports: (0, 65535), addresses: other };
    answer.push(Payload::TsI(Ts::new(vec![selector])));
    insider.answer(&mut pair, &header, &answer);
    assert!(pair.told(B, "the peer answers with traffic that was not offered"));
    assert!(pair.told(B, "10.77.0.0"));
}

#[test]
fn a_peer_that_takes_one_pair_of_addresses_gets_requests_for_such() {
    let (mut pair, mut insider) = answered();
    let spi = {
        let sas = pair.sides[B].kernel.sas.values();
        let outbound = sas.filter(|sa| sa.direction == Direction::Out);
        outbound.map(|sa| sa.key.spi).next().unwrap()
    };
    let delete = Delete::Child { protocol: ProtocolId::ESP, spis: vec![spi] };
    insider.say(&mut pair, ExchangeType::INFORMATIONAL, &[Payload::Delete(delete)]);
    let mut it = policy(B);
    it.start = Start::OnDemand;
    pair.configure(B, vec![it]);
    let packet = |from: &str, to: &str| Acquire {
        local: ip("192.0.2.2"),
        remote: ip("192.0.2.1"),
        reqid: None,
        selector: Some(KernelSelector {
            src: prefix(from),
            dst: prefix(to),
            ip_protocol: 17,
            src_port: Ports::exactly(1000),
            dst_port: Ports::exactly(53),
        }),
    };
    pair.input(B, Input::Acquire(packet("10.2.0.7/32", "10.1.0.9/32")));
    let (header, _) = only(&mut pair, &mut insider);
    insider.answer(&mut pair, &header, &[notify(NotifyType::SINGLE_PAIR_REQUIRED)]);
    assert!(pair.told(B, "SINGLE_PAIR_REQUIRED"));
    for (number, peer) in [(1, "10.1.0.9/32"), (2, "10.1.0.10/32")] {
        pair.input(B, Input::Acquire(packet("10.2.0.7/32", peer)));
        let (header, request) = only(&mut pair, &mut insider);
        let asked: Vec<_> = request
            .iter()
            .filter_map(|payload| match payload {
                Payload::TsI(ts) | Payload::TsR(ts) => Some(ts.selectors.clone()),
                _ => None,
            })
            .collect();
        let host = |text: &str| (prefix(text).address(), prefix(text).address());
        assert_eq!((asked[0].len(), asked[1].len()), (1, 1));
        assert_eq!(asked[0][0].addresses, host("10.2.0.7/32"));
        assert_eq!(asked[1][0].addresses, host(peer));
        insider.answer(&mut pair, &header, &agrees(&request, 0x7770 + number));
        assert_eq!(pair.sides[B].kernel.count(Direction::Out), number as usize);
    }
}

#[test]
fn a_nat_where_the_peer_forbids_it_is_refused() {
    let (a, b) = ("192.0.2.1", "192.0.2.2");
    // What it says of its addresses and ports: theirs, ours.
    let said = |source: &str, port: u16| {
        let octets = |text: &str| match ip(text) {
            std::net::IpAddr::V4(v4) => v4.octets(),
            std::net::IpAddr::V6(_) => unreachable!(),
        };
        let mut data = [octets(source), octets(b)].concat();
        data.extend(port.to_be_bytes());
        data.extend(500u16.to_be_bytes());
        Payload::Notify(Notify::with_data(NotifyType::NO_NATS_ALLOWED, data))
    };
    for (source, port, fits) in [(a, 500, true), ("10.0.0.9", 500, false), (a, 1024, false)] {
        let mut pair = Pair::new();
        pair.configure(B, vec![policy(B)]);
        let (mut insider, proofs, request, nr) = Insider::open(&mut pair, 1);
        let mut payloads = auth_payloads(own_octets(&proofs, &request, &nr));
        payloads.push(said(source, port));
        let answer = insider.say(&mut pair, ExchangeType::IKE_AUTH, &payloads).unwrap();
        let refusal = answer.contains(&notify(NotifyType::UNEXPECTED_NAT_DETECTED));
        assert_eq!(refusal, !fits, "{source} {port}");
        assert_eq!(pair.sides[B].kernel.count(Direction::In), usize::from(fits));
        assert_eq!(pair.told(B, "NO_NATS_ALLOWED"), !fits);
    }
}

fn ts(protocol: u8, ports: (u16, u16), first: &str, last: &str) -> TrafficSelector {
    TrafficSelector { protocol, ports, addresses: (ip(first), ip(last)) }
}

/// What side B answers to a child SA that is asked for with these selectors; its flows are then these.
fn asked_for(
    mut pair: Pair,
    b: Policy,
    (own, peers): (&[TrafficSelector], &[TrafficSelector]),
) -> (Pair, Vec<Ts>) {
    pair.configure(B, vec![b]);
    let (mut insider, proofs, request, nr) = Insider::open(&mut pair, 1);
    let mut payloads = auth_payloads(own_octets(&proofs, &request, &nr));
    for payload in &mut payloads {
        match payload {
            Payload::TsI(ts) => ts.selectors = own.to_vec(),
            Payload::TsR(ts) => ts.selectors = peers.to_vec(),
            _ => (),
        }
    }
    let answer = insider.say(&mut pair, ExchangeType::IKE_AUTH, &payloads).unwrap();
    let told = answer.into_iter().filter_map(|payload| match payload {
        Payload::TsI(ts) | Payload::TsR(ts) => Some(ts),
        _ => None,
    });
    let told = told.collect();
    (pair, told)
}

const ANY: (u16, u16) = TrafficSelector::ANY_PORTS;

#[test]
fn the_packet_that_a_child_sa_is_for_makes_no_flow_beside_the_one_that_has_it() {
    let own = [ts(6, (40000, 40000), "10.1.0.9", "10.1.0.9"), ts(0, ANY, "10.1.0.0", "10.1.0.255")];
    let peers = [ts(6, (443, 443), "10.2.0.7", "10.2.0.7"), ts(0, ANY, "10.2.0.0", "10.2.0.255")];
    let (pair, told) = asked_for(Pair::new(), policy(B), (&own, &peers));
    assert_eq!(told, [Ts::new(vec![own[1]]), Ts::new(vec![peers[1]])]);
    let outbound = pair.sides[B].kernel.flows.values();
    assert_eq!(outbound.filter(|flow| flow.direction == Direction::Out).count(), 1);
    pair.end();
}

#[test]
fn what_is_narrowed_has_the_packet_that_it_is_for() {
    // More than a kernel can have.
    let own = [
        ts(6, (40000, 40000), "10.1.0.9", "10.1.0.9"),
        ts(6, (1000, 9000), "10.1.0.0", "10.1.0.255"),
    ];
    let peers =
        [ts(6, (443, 443), "10.2.0.7", "10.2.0.7"), ts(6, (2, 999), "10.2.0.0", "10.2.0.255")];
    let (pair, told) = asked_for(Pair::new(), policy(B), (&own, &peers));
    assert_eq!(told, [Ts::new(vec![own[0]]), Ts::new(vec![peers[0]])]);
    pair.end();
    // Where nothing is first it is refused.
    let (pair, told) = asked_for(Pair::new(), policy(B), (&own[1..], &peers[1..]));
    assert!(told.is_empty() && pair.told(B, "the range of ports is too wide"));
    pair.end();
    // Of two families, where one child SA has one.
    let own = [ts(0, ANY, "2001:db8:1::9", "2001:db8:1::9"), ts(0, ANY, "10.1.0.0", "10.1.0.255")];
    let peers =
        [ts(0, ANY, "2001:db8:2::7", "2001:db8:2::7"), ts(0, ANY, "10.2.0.0", "10.2.0.255")];
    let mut pair = Pair::new();
    pair.input(B, Input::Capabilities(crate::further::one_family()));
    let mut both = policy(B);
    both.flows.push(flow("2001:db8:2::/64", "2001:db8:1::/64"));
    let (pair, told) = asked_for(pair, both, (&own, &peers));
    assert_eq!(told, [Ts::new(vec![own[0]]), Ts::new(vec![peers[0]])]);
    pair.end();
}

/// §2.9.2: a successor is for no less than what it replaces.
#[test]
fn a_successor_is_not_narrowed_to_a_packet() {
    let (mut pair, mut insider) = answered();
    let own = vec![
        ts(6, (40000, 40000), "10.1.0.9", "10.1.0.9"),
        ts(6, (1000, 9000), "10.1.0.0", "10.1.0.255"),
    ];
    let peers =
        vec![ts(6, (443, 443), "10.2.0.7", "10.2.0.7"), ts(6, (2, 999), "10.2.0.0", "10.2.0.255")];
    let kind = Kind::Child(oakd::conf::SaProtocol::Esp);
    let spi = Spi::Child(EspSpi(0x7777));
    let proposals = proposal::offer(&policy(A).child_proposals, kind, &spi);
    let of = EspSpi(0x9999);
    let rekeyed = Notify::about_child(NotifyType::REKEY_SA, ProtocolId::ESP, of);
    let payloads = [
        Payload::Notify(rekeyed),
        Payload::Sa(Sa { proposals }),
        Payload::Nonce(Nonce(vec![9; 32])),
        Payload::TsI(Ts::new(own)),
        Payload::TsR(Ts::new(peers)),
    ];
    let answer = insider.say(&mut pair, ExchangeType::CREATE_CHILD_SA, &payloads).unwrap();
    assert!(answer.contains(&notify(NotifyType::TS_UNACCEPTABLE)), "{answer:?}");
    assert_eq!(pair.sides[B].kernel.sas.len(), 2);
    pair.end();
}

/// Both replaced the child SA as it expired, and the peer's successor stays; the peer deletes that before we
/// can delete ours: what is about to go carries nothing, and another is asked for.
#[test]
fn the_loser_of_two_that_replaced_a_child_does_not_stand_for_it() {
    let (mut pair, mut insider) = answered();
    // The peer takes one request at a time.
    pair.configure(B, vec![Policy { start: Start::Active, ..policy(B) }]);
    let old = pair.inbound(B);
    rekey(&mut pair, false);
    let (ours, request) = only(&mut pair, &mut insider);
    let kind = Kind::Child(oakd::conf::SaProtocol::Esp);
    let proposals = proposal::offer(&policy(A).child_proposals, kind, &Spi::Child(EspSpi(0x8888)));
    let of = EspSpi(0x9999);
    let theirs = [
        Payload::Notify(Notify::about_child(NotifyType::REKEY_SA, ProtocolId::ESP, of)),
        Payload::Sa(Sa { proposals }),
        Payload::Nonce(Nonce(vec![0xff; 32])),
        Payload::TsI(Ts::new(vec![ts(0, ANY, "10.1.0.0", "10.1.0.255")])),
        Payload::TsR(Ts::new(vec![ts(0, ANY, "10.2.0.0", "10.2.0.255")])),
    ];
    insider.say(&mut pair, ExchangeType::CREATE_CHILD_SA, &theirs).unwrap();
    let mut answer = agrees(&request, 0x7777);
    for payload in &mut answer {
        if let Payload::Nonce(nonce) = payload {
            nonce.0 = vec![0; 32];
        }
    }
    pair.sides[B].kernel.sas.remove(&(old.spi.0, old.dst));
    pair.input(B, Input::Expire(Expire { key: old, hard: true }));
    insider.answer(&mut pair, &ours, &answer);
    let (deletes_old, _) = only(&mut pair, &mut insider);
    let gone = Delete::Child { protocol: ProtocolId::ESP, spis: vec![EspSpi(0x8888)] };
    insider.say(&mut pair, ExchangeType::INFORMATIONAL, &[Payload::Delete(gone)]).unwrap();
    assert!(pair.told(B, "trying again"));
    pair.network = Box::new(|_, _| Fate::Lose);
    pair.pass(3);
    pair.network = Box::new(|_, _| Fate::Deliver);
    insider.answer(&mut pair, &deletes_old, &[]);
    let (deletes_ours, _) = only(&mut pair, &mut insider);
    assert_eq!(deletes_ours.exchange, ExchangeType::INFORMATIONAL);
    insider.answer(&mut pair, &deletes_ours, &[]);
    let (asks, _) = only(&mut pair, &mut insider);
    assert_eq!(asks.exchange, ExchangeType::CREATE_CHILD_SA);
    pair.end();
}
