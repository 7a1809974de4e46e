//! IKEv1 with a peer that has the right key and does what RFCs allow and few do.

use crate::pair::*;
use crate::v1_insider::{Insider, hand, heard, offered};
use crate::v1_insiders::opened_with as opened;
use crate::v1_phases::ikev1;
use oakd::conf::{Identity, Mode, Phase1, Policy, Version};
use oakd::ike::event::*;
use oakd::ike::report::Event;
use oakd::wire::iana::v1::{Doi, ExchangeType, IdType, NotifyType, ProtocolId};
use oakd::wire::iana::v2;
use oakd::wire::v1::*;
use oakd::wire::{EspSpi, Flags, Header, MessageId, Spi};

/// Begins a Quick Mode with these payloads behind SA and nonce, and ends it if B answers. Whether it did.
fn quick(pair: &mut Pair, insider: &mut Insider, policy: &Policy, more: Vec<Payload>) -> bool {
    quick_as(pair, insider, policy, 0x2000, more)
}

/// As [`quick`], with this SPI.
fn quick_as(
    pair: &mut Pair,
    insider: &mut Insider,
    policy: &Policy,
    spi: u32,
    more: Vec<Payload>,
) -> bool {
    let mut payloads = vec![Payload::Sa(offered(policy, spi)), Payload::Nonce(Nonce(vec![5; 16]))];
    payloads.extend(more);
    let id = insider.fresh();
    let header = insider.header(ExchangeType::QUICK_MODE, id, Flags::default());
    let (octets, iv) = insider.seal(&header, &[], payloads);
    hand(pair, &octets);
    let answer = heard(pair).into_iter().find(|octets| {
        Header::parse(octets).is_ok_and(|it| it.exchange_v1() == ExchangeType::QUICK_MODE)
    });
    let Some(answer) = answer else { return false };
    hand(pair, &insider.conclude(&header, &iv, &answer));
    true
}

fn id(id_type: IdType, data: &[u8]) -> Payload {
    Payload::Id(Id { id_type, protocol: 0, port: 0, data: data.to_vec() })
}

#[test]
fn every_type_of_identity_that_names_addresses_names_traffic() {
    let range = |first: [u8; 4], last: [u8; 4]| [first, last].concat();
    let rows = [
        ("10.1.0.0/24", IdType::ID_IPV4_ADDR_SUBNET, range([10, 1, 0, 0], [255, 255, 255, 0])),
        ("10.1.0.0/24", IdType::ID_IPV4_ADDR_RANGE, range([10, 1, 0, 0], [10, 1, 0, 255])),
        ("10.1.0.7/32", IdType::ID_IPV4_ADDR, vec![10, 1, 0, 7]),
        ("10.1.0.7/32", IdType::ID_IPV4_ADDR_RANGE, range([10, 1, 0, 7], [10, 1, 0, 7])),
        ("10.1.0.7/32", IdType::ID_IPV4_ADDR_SUBNET, range([10, 1, 0, 7], [255; 4])),
    ];
    for (network, id_type, data) in rows {
        let (mut pair, mut insider, policy) = opened(|side, policy| {
            let nets = [network, "10.2.0.0/24"];
            policy.flows = vec![flow(nets[side], nets[1 - side])];
        });
        let ours = id(IdType::ID_IPV4_ADDR_SUBNET, &[10, 2, 0, 0, 255, 255, 255, 0]);
        let theirs = id(id_type, &data);
        assert!(quick(&mut pair, &mut insider, &policy, vec![theirs, ours]), "{id_type} {network}");
        assert_eq!(pair.sides[B].kernel.count(Direction::Out), 1, "{id_type}");
        assert!(pair.told(B, network.trim_end_matches("/32")), "{id_type}");
    }
}

#[test]
fn a_name_is_the_same_in_strings_of_another_type() {
    // /O=gw: UTF8String here, PrintableString with other capitals there.
    let name = |tag: u8, text: &[u8; 2]| {
        let octets = [&[0x30, 13, 0x31, 11, 0x30, 9, 6, 3, 0x55, 4, 10, tag, 2], &text[..]];
        Identity { id_type: v2::IdType::ID_DER_ASN1_DN, data: octets.concat() }
    };
    for version in [Version::V2, Version::V1(Phase1::Main), Version::V1(Phase1::Aggressive)] {
        for (said, up) in [(name(0x13, b"GW"), true), (name(0x13, b"GV"), false)] {
            let mut pair = Pair::new();
            for side in [B, A] {
                let mut it = match version {
                    Version::V1(mode) => ikev1(side, mode),
                    Version::V2 => policy(side),
                };
                match side {
                    A => it.local_id = Some(said.clone()),
                    _ => it.remote_id = Some(name(0x0c, b"gw")),
                }
                pair.configure(side, vec![it]);
            }
            pair.pass(5);
            pair.assert_children(usize::from(up));
            assert!(pair.told(B, if up { "ID_DER_ASN1_DN /O=GW" } else { "/O=GV" }), "{version:?}");
            pair.end();
        }
    }
}

#[test]
fn identities_that_name_no_traffic_are_refused_and_told() {
    let rows: [(IdType, &[u8]); 8] = [
        (IdType::ID_FQDN, b"a.example"),
        (IdType::ID_USER_FQDN, b"a@a.example"),
        (IdType::ID_KEY_ID, b"key"),
        (IdType::ID_DER_ASN1_DN, &[0x30, 0]),
        // From the last address to the first, and masks with holes.
        (IdType::ID_IPV4_ADDR_RANGE, &[10, 1, 0, 9, 10, 1, 0, 1]),
        (IdType::ID_IPV4_ADDR_SUBNET, &[10, 1, 0, 0, 255, 0, 255, 0]),
        // Another family on the other side.
        (IdType::ID_IPV6_ADDR, &[0; 16]),
        (IdType::ID_IPV4_ADDR_SUBNET, &[10, 0, 0, 0, 255, 0, 0, 0]),
    ];
    for (id_type, data) in rows {
        let (mut pair, mut insider, policy) = opened(|_, _| ());
        let ours = id(IdType::ID_IPV4_ADDR_SUBNET, &[10, 2, 0, 0, 255, 255, 255, 0]);
        let theirs = id(id_type, data);
        assert!(!quick(&mut pair, &mut insider, &policy, vec![theirs, ours]), "{id_type}");
        assert_eq!(pair.sides[B].kernel.count(Direction::In), 0, "{id_type}");
        let why = |event: &Event| {
            matches!(event, Event::Disagreed(_) | Event::Misbehaved { .. } | Event::Dropped { .. })
        };
        assert!(pair.reported(B, why), "{id_type} {:?}", pair.sides[B].reports.last());
        assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1, "{id_type}");
    }
}

#[test]
fn without_identities_it_is_about_the_hosts_themselves() {
    for mode in [Mode::Transport, Mode::Tunnel] {
        let (mut pair, mut insider, policy) = opened(|side, policy| {
            policy.mode = mode;
            let hosts = ["192.0.2.1/32", "192.0.2.2/32"];
            policy.flows = vec![flow(hosts[side], hosts[1 - side])];
        });
        assert!(quick(&mut pair, &mut insider, &policy, vec![]), "{mode:?}");
        assert_eq!(pair.sides[B].kernel.count(Direction::Out), 1, "{mode:?}");
    }
    // Where that is not what the policy is for, it is told.
    let (mut pair, mut insider, policy) = opened(|_, _| ());
    assert!(!quick(&mut pair, &mut insider, &policy, vec![]));
    assert!(pair.reported(B, |event| matches!(event, Event::Disagreed(_))));
}

#[test]
fn nothing_in_clear_is_obeyed_once_there_are_keys() {
    let (mut pair, mut insider, policy) = opened(|_, _| ());
    let subnets = |a: u8, b: u8| {
        vec![
            id(IdType::ID_IPV4_ADDR_SUBNET, &[10, a, 0, 0, 255, 255, 255, 0]),
            id(IdType::ID_IPV4_ADDR_SUBNET, &[10, b, 0, 0, 255, 255, 255, 0]),
        ]
    };
    assert!(quick(&mut pair, &mut insider, &policy, subnets(1, 2)));
    let (initiator, responder) = (insider.cookies.0, insider.cookies.1);
    let own = vec![Spi::Other([initiator.0, responder.0].concat())];
    let child = vec![Spi::Child(EspSpi(0x2000))];
    let notify = |kind| Payload::Notify(Notify::about_ike(kind, initiator, responder, Vec::new()));
    let rows = [
        Payload::Delete(Delete { doi: Doi::IPSEC, protocol: ProtocolId::ISAKMP, spis: own }),
        Payload::Delete(Delete { doi: Doi::IPSEC, protocol: ProtocolId::IPSEC_ESP, spis: child }),
        notify(NotifyType::INITIAL_CONTACT),
        notify(NotifyType::INVALID_COOKIE),
        notify(NotifyType::R_U_THERE),
        notify(NotifyType::AUTHENTICATION_FAILED),
    ];
    for payload in rows {
        let exchange = ExchangeType::INFORMATIONAL;
        let header = Header::v1(initiator, responder, exchange, Flags::default(), MessageId(77));
        hand(&mut pair, &emit_message(&header, std::slice::from_ref(&payload)));
        assert_eq!(heard(&mut pair), Vec::<Vec<u8>>::new(), "{payload:?}");
        assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1, "{payload:?}");
        assert_eq!(pair.sides[B].kernel.count(Direction::Out), 1, "{payload:?}");
    }
}

#[test]
fn initial_contact_ends_what_was_before_wherever_it_is_said() {
    for in_quick_mode in [true, false] {
        let (mut pair, mut first, policy) = opened(|_, _| ());
        let traffic = || {
            vec![
                id(IdType::ID_IPV4_ADDR_SUBNET, &[10, 1, 0, 0, 255, 255, 255, 0]),
                id(IdType::ID_IPV4_ADDR_SUBNET, &[10, 2, 0, 0, 255, 255, 255, 0]),
            ]
        };
        assert!(quick(&mut pair, &mut first, &policy, traffic()));
        pair.pass(10);
        let mut second = Insider::open_with(&mut pair, &policy, 99);
        heard(&mut pair);
        let cookies = (second.cookies.0, second.cookies.1);
        let contact = NotifyType::INITIAL_CONTACT;
        let contact = Payload::Notify(Notify::about_ike(contact, cookies.0, cookies.1, Vec::new()));
        match in_quick_mode {
            true => {
                let mut payloads = traffic();
                payloads.push(contact);
                assert!(quick_as(&mut pair, &mut second, &policy, 0x3000, payloads));
            }
            false => {
                second.tell(&mut pair, contact);
                assert!(quick_as(&mut pair, &mut second, &policy, 0x3000, traffic()));
            }
        }
        assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1, "{in_quick_mode}");
        assert_eq!(pair.sides[B].kernel.count(Direction::Out), 1, "{in_quick_mode}");
    }
}
