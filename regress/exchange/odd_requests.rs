//! IKEv2: requests that no peer should send, each with what it is answered, and that nothing else comes of it.

use crate::insider::*;
use crate::pair::*;
use oakd::conf::SaProtocol;
use oakd::crypto::{KeyExchange, SeededRandom};
use oakd::ike::proposal::{self, Kind};
use oakd::wire::attribute::Attribute;
use oakd::wire::iana::v2::*;
use oakd::wire::v2::*;
use oakd::wire::{EspSpi, Flags, Header, IkeSpi, MessageId, Spi};

fn notify(of: NotifyType, data: &[u8]) -> Payload {
    Payload::Notify(Notify::with_data(of, data.to_vec()))
}

fn raw(payload_type: PayloadType, body: &[u8]) -> Payload {
    Payload::Unknown { payload_type, critical: false, body: body.to_vec() }
}

fn error(answer: &[Payload]) -> Option<NotifyType> {
    answer.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.notify_type.is_error() => Some(notify.notify_type),
        _ => None,
    })
}

fn failures(pair: &Pair) -> usize {
    pair.sides[B].reports.iter().filter(|report| report.explains_failure()).count()
}

/// A request for a child SA, with each payload changed as wanted.
fn child_request(change: impl Fn(Payload) -> Option<Payload>) -> Vec<Payload> {
    let kind = Kind::Child(SaProtocol::Esp);
    let spi = Spi::Child(EspSpi(0x7777));
    let proposals = proposal::offer(&policy(A).child_proposals, kind, &spi);
    let mut payloads = vec![Payload::Sa(Sa { proposals }), Payload::Nonce(Nonce(vec![9; 32]))];
    payloads.extend(auth_payloads(Vec::new()).split_off(3));
    payloads.into_iter().filter_map(change).collect()
}

fn with_sa(change: impl Fn(&mut Sa)) -> Vec<Payload> {
    child_request(|mut payload| {
        if let Payload::Sa(sa) = &mut payload {
            change(sa);
        }
        Some(payload)
    })
}

fn with_body(of: PayloadType, body: &[u8]) -> Vec<Payload> {
    child_request(|payload| match payload.payload_type() == of {
        true => Some(raw(of, body)),
        false => Some(payload),
    })
}

/// The body of a payload with so many selectors.
fn selectors(count: u8, first: [u8; 4], last: [u8; 4]) -> Vec<u8> {
    let one = [&[7, 0, 0, 16, 0, 0, 255, 255][..], &first, &last].concat();
    let mut body = vec![count, 0, 0, 0];
    (0..count).for_each(|_| body.extend(&one));
    body
}

#[test]
fn odd_requests_for_a_child_sa() {
    let syntax = Some(NotifyType::INVALID_SYNTAX);
    let (none, traffic) = (Some(NotifyType::NO_PROPOSAL_CHOSEN), Some(NotifyType::TS_UNACCEPTABLE));
    let inside = ([10, 1, 0, 0], [10, 1, 0, 255]);
    let without = |of| child_request(move |it| Some(it).filter(|it| it.payload_type() != of));
    let unknown = |sa: &mut Sa| {
        // Our transform with an attribute that nobody knows is another one.
        for transform in &mut sa.proposals[0].transforms {
            let attributes = vec![Attribute::short(99, 1)];
            let (transform_type, id) = (transform.transform_type(), transform.id());
            *transform = Transform::Unknown { transform_type, id, attributes };
        }
    };
    let rekey = |protocol, spi| {
        let mut payloads = child_request(Some);
        let spi = EspSpi(spi);
        payloads.push(Payload::Notify(Notify::about_child(NotifyType::REKEY_SA, protocol, spi)));
        payloads
    };
    let rows: Vec<(&str, Vec<Payload>, Option<NotifyType>)> = vec![
        ("as it should be", child_request(Some), None),
        ("nonce of 15", with_body(PayloadType::NONCE, &[1; 15]), syntax),
        ("nonce of 16", with_body(PayloadType::NONCE, &[1; 16]), None),
        ("nonce of 256", with_body(PayloadType::NONCE, &[1; 256]), None),
        ("nonce of 257", with_body(PayloadType::NONCE, &[1; 257]), syntax),
        ("no nonce", without(PayloadType::NONCE), syntax),
        ("no SA", without(PayloadType::SA), syntax),
        ("no TSi", without(PayloadType::TSI), syntax),
        ("no selector", with_body(PayloadType::TSI, &[0, 0, 0, 0]), traffic),
        ("one selector less", with_body(PayloadType::TSI, &[1, 0, 0, 0]), syntax),
        (
            "a range that ends before it begins",
            with_body(PayloadType::TSI, &selectors(1, inside.1, inside.0)),
            syntax,
        ),
        ("255 selectors", with_body(PayloadType::TSI, &selectors(255, inside.0, inside.1)), None),
        ("other traffic", with_body(PayloadType::TSI, &selectors(1, [1; 4], [2; 4])), traffic),
        ("SPI 0", with_sa(|sa| sa.proposals[0].spi = Spi::Child(EspSpi(0))), none),
        ("SPI 255", with_sa(|sa| sa.proposals[0].spi = Spi::Child(EspSpi(255))), none),
        (
            "SPI of the first child",
            with_sa(|sa| sa.proposals[0].spi = Spi::Child(EspSpi(0x9999))),
            none,
        ),
        ("no transforms", with_sa(|sa| sa.proposals[0].transforms.clear()), none),
        ("unknown attributes", with_sa(unknown), none),
        (
            "transforms twice",
            with_sa(|sa| {
                let again = sa.proposals[0].transforms.clone();
                sa.proposals[0].transforms.extend(again);
            }),
            None,
        ),
        (
            "numbers out of order",
            with_sa(|sa| {
                let mut other = sa.proposals[0].clone();
                (other.number, other.protocol) = (1, ProtocolId::AH);
                sa.proposals[0].number = 7;
                sa.proposals.push(other);
            }),
            None,
        ),
        (
            "transport mode",
            {
                let mut payloads = child_request(Some);
                payloads.push(notify(NotifyType::USE_TRANSPORT_MODE, &[]));
                payloads
            },
            none,
        ),
        (
            "an unknown error",
            {
                let mut payloads = child_request(Some);
                payloads.push(notify(NotifyType(8191), &[1]));
                payloads
            },
            None,
        ),
        (
            "an unknown status",
            {
                let mut payloads = child_request(Some);
                payloads.push(notify(NotifyType(40000), &[1; 300]));
                payloads
            },
            None,
        ),
        ("a successor for AH", rekey(ProtocolId::AH, 0x9999), Some(NotifyType::CHILD_SA_NOT_FOUND)),
        (
            "a successor for nothing",
            rekey(ProtocolId::ESP, 0x1),
            Some(NotifyType::CHILD_SA_NOT_FOUND),
        ),
        ("a successor", rekey(ProtocolId::ESP, 0x9999), None),
        (
            "a key exchange that nobody offered",
            {
                let mut payloads = child_request(Some);
                payloads.push(Payload::Ke(Ke { group: GroupId(1025), data: vec![1; 9] }));
                payloads
            },
            None,
        ),
        ("no payload", Vec::new(), syntax),
    ];
    for (what, request, wanted) in rows {
        let mut pair = Pair::new();
        pair.configure(B, vec![policy(B)]);
        let mut insider = Insider::established(&mut pair, &[]);
        let answer = insider.say(&mut pair, ExchangeType::CREATE_CHILD_SA, &request);
        let answer = answer.unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(error(&answer), wanted, "{what}");
        // Each failure is told of, once; that an SA is gone already is none.
        let fails = wanted.is_some_and(|it| it != NotifyType::CHILD_SA_NOT_FOUND);
        assert_eq!(failures(&pair), usize::from(fails), "{what}");
        let made = usize::from(wanted.is_none());
        let inbound = pair.sides[B].kernel.count(oakd::ike::event::Direction::In);
        assert_eq!(inbound, 1 + made, "{what}");
        // The IKE SA stands, and answers what comes next.
        assert!(insider.say(&mut pair, ExchangeType::INFORMATIONAL, &[]).is_some(), "{what}");
        pair.end();
    }
}

#[test]
fn odd_informational_requests() {
    let nothing: &[Payload] = &[];
    let syntax = [notify(NotifyType::INVALID_SYNTAX, &[])];
    let delete = |protocol: u8, size: u8, count: u16, spis: &[u8]| {
        let body = [&[protocol, size][..], &count.to_be_bytes(), spis].concat();
        raw(PayloadType::D, &body)
    };
    let many: Vec<u8> = (0..2000u32).flat_map(|spi| (0x5000_0000 + spi).to_be_bytes()).collect();
    let config = |attribute: u16, len: u16, value: &[u8]| {
        let parts = [&[1, 0, 0, 0][..], &attribute.to_be_bytes(), &len.to_be_bytes(), value];
        raw(PayloadType::CP, &parts.concat())
    };
    let rows: Vec<(&str, Vec<Payload>, &[Payload])> = vec![
        ("nothing", vec![], nothing),
        ("an unknown exchange's payload", vec![raw(PayloadType(250), &[1; 9])], nothing),
        ("an unknown error", vec![notify(NotifyType(8191), &[])], nothing),
        ("an unknown status", vec![notify(NotifyType(40000), &[7; 9])], nothing),
        ("a cookie without mobility", vec![notify(NotifyType::COOKIE2, &[7; 16])], nothing),
        ("a move without mobility", vec![notify(NotifyType::UPDATE_SA_ADDRESSES, &[])], nothing),
        ("a window of nothing", vec![notify(NotifyType::SET_WINDOW_SIZE, &[0; 4])], nothing),
        ("a window of all", vec![notify(NotifyType::SET_WINDOW_SIZE, &[255; 4])], nothing),
        ("a window of three octets", vec![notify(NotifyType::SET_WINDOW_SIZE, &[1; 3])], nothing),
        ("many deletions of nothing", vec![delete(3, 4, 2000, &many)], nothing),
        ("a deletion of AH", vec![delete(2, 4, 1, &0x9999u32.to_be_bytes())], nothing),
        ("one that is of no protocol", vec![delete(9, 4, 1, &0x9999u32.to_be_bytes())], nothing),
        ("one that miscounts", vec![delete(3, 4, 2, &0x9999u32.to_be_bytes())], &syntax),
        ("one of an odd size", vec![delete(3, 3, 1, &[1, 2, 3])], &syntax),
        ("one of the IKE SA with an SPI", vec![delete(1, 8, 1, &[1; 8])], &syntax),
        ("configuration too short", vec![config(1, 4, &[10, 0])], &syntax),
        ("configuration of odd lengths", vec![config(1, 3, &[10, 0, 0])], nothing),
        ("an SA", vec![raw(PayloadType::SA, &[])], &syntax),
        ("a payload of nothing", vec![raw(PayloadType::N, &[])], &syntax),
    ];
    let mut pair = Pair::new();
    pair.configure(B, vec![policy(B)]);
    let mut insider = Insider::established(&mut pair, &[]);
    insider.say(&mut pair, ExchangeType::INFORMATIONAL, &[]).unwrap();
    for (what, request, wanted) in rows {
        let answer = insider.say(&mut pair, ExchangeType::INFORMATIONAL, &request);
        assert_eq!(answer.as_deref(), Some(wanted), "{what}");
        assert_eq!(pair.sides[B].kernel.sas.len(), 2, "{what}");
    }
    for exchange in [ExchangeType::IKE_SA_INIT, ExchangeType::IKE_AUTH, ExchangeType(99)] {
        let answer = insider.say(&mut pair, exchange, &[]);
        assert_eq!(answer.as_deref(), Some(&syntax[..]), "{exchange}");
    }
    assert_eq!(pair.sides[B].kernel.sas.len(), 2);
    pair.end();
}

/// Public values that are none (RFC 6989, RFC 8031), before anybody is authenticated and after.
#[test]
fn public_values_that_are_none() {
    let modp = |last: u8| [vec![0; 255], vec![last]].concat();
    let on = KeyExchange::generate(GroupId::ECP_256, &mut SeededRandom::new(5)).unwrap();
    let off = [&on.public()[..63], &[on.public()[63] ^ 1]].concat();
    let rows = [
        (GroupId::CURVE25519, vec![0; 32], true),
        (GroupId::CURVE25519, [vec![1], vec![0; 31]].concat(), true),
        (GroupId::CURVE25519, vec![9; 31], true),
        (GroupId::CURVE25519, Vec::new(), true),
        (GroupId::CURVE25519, [vec![9], vec![0; 31]].concat(), false),
        (GroupId::ECP_256, vec![0; 64], true),
        (GroupId::ECP_256, off, true),
        (GroupId::ECP_256, on.public().to_vec(), false),
        (GroupId::MODP_2048, modp(0), true),
        (GroupId::MODP_2048, modp(1), true),
        (GroupId::MODP_2048, vec![255; 256], true),
        (GroupId::MODP_2048, modp(2), false),
    ];
    for (group, data, bad) in rows {
        let it = oakd::conf::Policy { ike_proposals: vec![gcm(&[group])], ..policy(B) };
        let mut pair = Pair::new();
        pair.configure(B, vec![it.clone()]);
        let offered = |spi: &Spi| proposal::offer(&it.ike_proposals, Kind::Ike, spi);
        let payloads = |spi: &Spi, data: &[u8]| {
            vec![
                Payload::Sa(Sa { proposals: offered(spi) }),
                Payload::Ke(Ke { group, data: data.to_vec() }),
                Payload::Nonce(Nonce(vec![3; 32])),
            ]
        };
        let (exchange, flags) = (ExchangeType::IKE_SA_INIT, Flags::v2(true, false));
        let header = Header::v2(IkeSpi([5; 8]), IkeSpi::ZERO, exchange, flags, MessageId(0));
        let octets = emit_message(&header, &payloads(&Spi::None, &data));
        let answer = exchange_with_b(&mut pair, &octets).unwrap();
        let answer = parse_message(&answer).unwrap().1;
        let wanted = bad.then_some(NotifyType::INVALID_SYNTAX);
        assert_eq!(error(&answer), wanted, "{group} {data:?}");
        assert_eq!(pair.sides[B].engine.stats().half_open, u64::from(!bad));
        assert_eq!(
            pair.told(B, &format!("public value for {group} is refused")),
            bad,
            "{group} {data:?}"
        );
        // In place of an IKE SA that stands.
        let mut pair = Pair::new();
        let both = vec![gcm(&[GroupId::CURVE25519]), gcm(&[group])];
        pair.configure(B, vec![oakd::conf::Policy { ike_proposals: both, ..policy(B) }]);
        let mut insider = Insider::established(&mut pair, &[]);
        let request = payloads(&Spi::Ike(IkeSpi([6; 8])), &data);
        let answer = insider.say(&mut pair, ExchangeType::CREATE_CHILD_SA, &request).unwrap();
        assert_eq!(error(&answer), wanted, "{group} {data:?}");
        assert_eq!(failures(&pair), usize::from(bad), "{group} {data:?}");
        pair.end();
    }
}

#[test]
fn successors_of_the_ike_sa_that_cannot_be() {
    let rows = [
        (Spi::None, Some(NotifyType::INVALID_SYNTAX)),
        (Spi::Ike(IkeSpi::ZERO), Some(NotifyType::INVALID_SYNTAX)),
        (Spi::Ike(IkeSpi([7; 8])), None),
    ];
    for (spi, wanted) in rows {
        let mut pair = Pair::new();
        pair.configure(B, vec![policy(B)]);
        let mut insider = Insider::established(&mut pair, &[]);
        let kex = KeyExchange::generate(GroupId::CURVE25519, &mut insider.random).unwrap();
        let request = [
            Payload::Sa(Sa {
                proposals: proposal::offer(&policy(A).ike_proposals, Kind::Ike, &spi),
            }),
            Payload::Nonce(Nonce(vec![9; 32])),
            Payload::Ke(Ke { group: kex.group(), data: kex.public().to_vec() }),
        ];
        let answer = insider.say(&mut pair, ExchangeType::CREATE_CHILD_SA, &request).unwrap();
        assert_eq!(error(&answer), wanted, "{spi}");
        assert_eq!(failures(&pair), usize::from(wanted.is_some()), "{spi}");
        pair.end();
    }
}

/// An identity of nothing, or of as much as a message holds; certificates likewise.
#[test]
fn identities_and_certificates_of_any_length() {
    let auth = |payload: Payload| {
        let mut pair = Pair::new();
        pair.configure(B, vec![policy(B)]);
        let (mut insider, proofs, request, nr) = Insider::open(&mut pair, 1);
        let mut payloads = auth_payloads(own_octets(&proofs, &request, &nr));
        match payload {
            Payload::IdI(_) => payloads[0] = payload,
            _ => payloads.push(payload),
        }
        let answer = insider.say(&mut pair, ExchangeType::IKE_AUTH, &payloads).unwrap();
        pair.pass(40);
        pair.end();
        error(&answer)
    };
    let failed = Some(NotifyType::AUTHENTICATION_FAILED);
    for len in [0, 60_000] {
        for id_type in [IdType::ID_FQDN, IdType::ID_KEY_ID, IdType::ID_DER_ASN1_DN, IdType(99)] {
            assert_eq!(auth(Payload::IdI(Id { id_type, data: vec![b'a'; len] })), failed);
        }
    }
    let id = Id { id_type: IdType::ID_IPV4_ADDR, data: vec![1; 5] };
    assert_eq!(auth(Payload::IdI(id)), Some(NotifyType::INVALID_SYNTAX));
    let encoding = CertEncoding::X509_SIGNATURE;
    let cert = |len| Payload::Cert(Cert { encoding, data: vec![0x30; len] });
    // Of no use with a shared key, unless there is too much of it.
    assert_eq!(auth(cert(0)), None);
    assert_eq!(auth(cert(50_000)), None);
    assert_eq!(auth(cert(60_000)), failed);
}

/// As many selectors as can be counted, each another: one message is not to keep us busy, nor to take all memory.
#[test]
fn traffic_in_very_many_pieces_is_refused_at_once() {
    let hosts = |net: u8| {
        let host = |last: u8| std::net::IpAddr::from([10, net, 0, last]);
        let one = |last| TrafficSelector {
            protocol: 0,
            ports: TrafficSelector::ANY_PORTS,
            addresses: (host(last), host(last)),
        };
        Ts::new((0..255).map(one).collect())
    };
    let mut it = policy(B);
    it.flows = vec![it.flows[0].clone(); 200];
    let mut pair = Pair::new();
    pair.configure(B, vec![it]);
    let mut insider = Insider::established(&mut pair, &[]);
    let request = child_request(|payload| {
        Some(match payload {
            Payload::TsI(_) => Payload::TsI(hosts(1)),
            Payload::TsR(_) => Payload::TsR(hosts(2)),
            other => other,
        })
    });
    let begun = std::time::Instant::now();
    let answer = insider.say(&mut pair, ExchangeType::CREATE_CHILD_SA, &request).unwrap();
    // The first of each side may be the packet that it is for.
    assert_eq!(error(&answer), None);
    assert_eq!(pair.sides[B].kernel.flows.len(), 4, "{:?}", pair.sides[B].kernel.flows);
    // Where every pair is worked out, one takes minutes and a gigabyte.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    pair.end();
}
