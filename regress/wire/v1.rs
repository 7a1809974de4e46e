//! IKEv1: captured messages, payloads from the pictures of the RFCs.

use oakd::wire::attribute::{Attribute, AttributeValue};
use oakd::wire::iana::v1::*;
use oakd::wire::v1::*;
use oakd::wire::{EspSpi, Flags, Header, IkeSpi, MessageId, Spi};

use crate::captures::compare;
use crate::corpus::{Case, Kind, cases_v1, hex};

fn first_of(kind: Kind) -> PayloadType {
    match kind {
        Kind::Inside(first) => PayloadType(first.0),
        Kind::Datagram => PayloadType::NONE,
    }
}

fn shown(case: &Case) -> String {
    match case.kind {
        Kind::Datagram => {
            let (header, content) = parse_message(&case.octets).unwrap();
            let summary = dump::summary_of(&header, &content);
            match content {
                Content::Clear(payloads) => {
                    format!("{summary}\n{}", dump::dump(&header, &payloads))
                }
                Content::Encrypted(_) => format!("{summary}\n{}", dump::dump(&header, &[])),
            }
        }
        kind => {
            let opened = parse_padded(first_of(kind), &case.octets).unwrap();
            opened.payloads.iter().map(|payload| dump::line(payload) + "\n").collect()
        }
    }
}

#[test]
fn captures_parse_to_what_their_cases_say() {
    compare(cases_v1(), shown);
}

#[test]
fn captures_are_emitted_octet_for_octet() {
    for case in cases_v1() {
        match case.kind {
            Kind::Datagram => {
                let (header, content) = parse_message(&case.octets).unwrap();
                let emitted = match content {
                    Content::Clear(payloads) => emit_message(&header, &payloads),
                    Content::Encrypted(octets) => {
                        emit_content(&header, header.next_payload_v1(), &octets)
                    }
                };
                assert_eq!(emitted, case.octets, "{}", case.name);
            }
            kind => {
                let opened = parse_padded(first_of(kind), &case.octets).unwrap();
                let (first, octets) = emit_payloads(&opened.payloads);
                assert_eq!(first, first_of(kind), "{}", case.name);
                assert_eq!(octets, case.octets[..opened.used], "{}", case.name);
                assert!(case.octets.len() - opened.used <= 16, "{}", case.name);
            }
        }
    }
}

#[test]
fn truncated_captures_are_refused() {
    for case in cases_v1() {
        let end = match case.kind {
            Kind::Datagram => case.octets.len(),
            kind => parse_padded(first_of(kind), &case.octets).unwrap().used,
        };
        for length in 0..end {
            let cut = &case.octets[..length];
            let refused = match case.kind {
                Kind::Datagram => parse_message(cut).is_err(),
                kind => parse_padded(first_of(kind), cut).is_err(),
            };
            assert!(refused, "{} cut to {length} octets", case.name);
        }
    }
}

#[test]
fn what_hashes_cover_is_found() {
    let case = cases_v1().into_iter().find(|case| case.name == "07-quick-mode-1-opened").unwrap();
    let opened = parse_padded(PayloadType::HASH, &case.octets).unwrap();
    let rest = after_first(&case.octets, opened.used);
    // The hash payload takes 36 octets; the SA payload begins behind it.
    assert_eq!(rest, &case.octets[36..opened.used]);
    assert_eq!(body_of(PayloadType::HASH, &case.octets, PayloadType::SA).unwrap().len(), 52);
    assert_eq!(body_of(PayloadType::HASH, &case.octets, PayloadType::CERT), None);
    assert_eq!(after_first(&[], 0), []);
    assert_eq!(after_first(&[0, 0, 0xff, 0xff], 4), []);
}

/// Checks that the octets (generic header included) parse to the payload, are emitted the same, and
/// print as told.
fn same(octets: &str, payload: Payload, line: &str) {
    let octets = hex(octets);
    let first = payload.payload_type();
    assert_eq!(parse_payloads(first, &octets), Ok(vec![payload.clone()]));
    assert_eq!(payload.body(), octets[4..]);
    assert_eq!(dump::line(&payload), line);
    assert_eq!(emit_payloads(&[payload]), (first, octets));
}

#[test]
fn certificates_requests_and_signatures() {
    let cert = Cert { encoding: CertEncoding::X509_SIGNATURE, data: vec![0x30, 0x82] };
    same("00000007 04 3082", Payload::Cert(cert), "CERT X.509 Certificate - Signature, 2 octets");
    let request = CertReq { encoding: CertEncoding::X509_SIGNATURE, authority: vec![0x30, 0x00] };
    let line = "CR X.509 Certificate - Signature, authority 3000";
    same("00000007 04 3000", Payload::CertReq(request), line);
    same("00000006 a1b2", Payload::Sig(vec![0xa1, 0xb2]), "SIG 2 octets");
}

#[test]
fn a_bundle_of_ah_esp_and_ipcomp() {
    let mode = Attribute::short(IpsecAttribute::ENCAPSULATION_MODE.0, EncapsulationMode::TUNNEL.0);
    let auth =
        Attribute::short(IpsecAttribute::AUTHENTICATION_ALGORITHM.0, IntegrityId::HMAC_SHA.0);
    let proposal = |protocol, spi, id, attributes: &[&Attribute]| Proposal {
        number: 1,
        protocol,
        spi,
        transforms: vec![Transform {
            number: 1,
            id,
            attributes: attributes.iter().copied().cloned().collect(),
        }],
    };
    let spi = |number| Spi::Child(EspSpi(number));
    let cpi = Spi::Other(vec![0x12, 0x34]);
    let sa = Sa {
        proposals: vec![
            proposal(ProtocolId::IPSEC_AH, spi(1), AhTransform::AH_SHA.0, &[&auth, &mode]),
            proposal(ProtocolId::IPSEC_ESP, spi(2), EspTransform::ESP_3DES.0, &[&auth, &mode]),
            proposal(ProtocolId::IPCOMP, cpi, IpcompTransform::IPCOMP_DEFLATE.0, &[&mode]),
        ],
    };
    let octets = "0000005a 00000001 00000001
        0200001c 01020401 00000001 00000010 01030000 80050002 80040001
        0200001c 01030401 00000002 00000010 01030000 80050002 80040001
        00000016 01040201 1234 0000000c 01020000 80040001";
    let line = "SA 1 PROTO_IPSEC_AH SPI 0x00000001 [1 AH_SHA, HMAC-SHA, Tunnel]; \
        1 PROTO_IPSEC_ESP SPI 0x00000002 [1 ESP_3DES, HMAC-SHA, Tunnel]; \
        1 PROTO_IPCOMP SPI 1234 [1 IPCOMP_DEFLATE, Tunnel]";
    same(octets, Payload::Sa(sa), line);
}

#[test]
fn attributes_short_and_long() {
    let long = |octets: &[u8]| Attribute {
        attribute_type: IkeAttribute::LIFE_DURATION.0,
        value: AttributeValue::Long(octets.to_vec()),
    };
    assert_eq!(long(&[0, 1, 0x51, 0x80]).to_number(), Some(86400));
    assert_eq!(long(&[0; 12]).to_number(), Some(0));
    assert_eq!(long(&[0, 0, 1, 2, 3, 4, 5, 6, 7, 8]).to_number(), Some(0x0102_0304_0506_0708));
    assert_eq!(long(&[1; 9]).to_number(), None);
    assert_eq!(long(&[]).to_number(), None);
    let attribute_type = IkeAttribute::LIFE_DURATION.0;
    assert_eq!(Attribute::number(attribute_type, 3600), Attribute::short(attribute_type, 3600));
    assert_eq!(Attribute::number(attribute_type, 86400), long(&[0, 1, 0x51, 0x80]));
    let huge = Attribute::number(attribute_type, 1 << 40);
    assert_eq!(huge.to_number(), Some(1 << 40));

    let seconds = Attribute::short(IkeAttribute::LIFE_TYPE.0, LifeType::SECONDS.0);
    let kilobytes = Attribute::short(IkeAttribute::LIFE_TYPE.0, LifeType::KILOBYTES.0);
    let attributes =
        vec![kilobytes, long(&[0, 1, 0, 0]), seconds, Attribute::number(attribute_type, 60)];
    let transform = Transform { number: 1, id: 1, attributes };
    let wanted = [(LifeType::KILOBYTES, 65536), (LifeType::SECONDS, 60)];
    assert_eq!(transform.ike_lifetimes(), wanted);
    assert_eq!(transform.ike(IkeAttribute::LIFE_TYPE), Some(2));
    assert_eq!(transform.ike(IkeAttribute::KEY_LENGTH), None);
}

#[test]
fn notifications_and_deletions() {
    let (initiator, responder) = (IkeSpi([0x11; 8]), IkeSpi([0x22; 8]));
    let cookies = format!("{}{}", "11".repeat(8), "22".repeat(8));
    let alive = NotifyType::R_U_THERE;
    let notify = Notify::about_ike(alive, initiator, responder, vec![0, 0, 1, 0]);
    assert_eq!(notify.sequence(), Some(256));
    let octets = format!("00000020 00000001 01108d28 {cookies} 00000100");
    let line = format!("N(R-U-THERE) PROTO_ISAKMP SPI {cookies} 00000100");
    same(&octets, Payload::Notify(notify), &line);

    let lifetime = [
        Attribute::short(IpsecAttribute::SA_LIFE_TYPE.0, LifeType::SECONDS.0),
        Attribute::number(IpsecAttribute::SA_LIFE_DURATION.0, 900),
    ];
    let data = hex("80010001 80020384");
    let kind = NotifyType::RESPONDER_LIFETIME;
    let notify = Notify::about_child(kind, ProtocolId::IPSEC_ESP, EspSpi(7), data);
    assert_eq!(notify.attributes(), lifetime);
    assert_eq!(notify.lifetimes(), [(LifeType::SECONDS, 900)]);
    let octets = "00000018 00000001 03046000 00000007 80010001 80020384";
    let line = "N(RESPONDER-LIFETIME) PROTO_IPSEC_ESP SPI 0x00000007 8001000180020384";
    same(octets, Payload::Notify(notify), line);

    let delete = Delete::ike(initiator, responder);
    assert_eq!(delete.cookies().collect::<Vec<_>>(), [(initiator, responder)]);
    let octets = format!("0000001c 00000001 01100001 {cookies}");
    same(&octets, Payload::Delete(delete), &format!("D PROTO_ISAKMP {cookies}"));
    let delete = Delete::child(ProtocolId::IPSEC_ESP, [EspSpi(1), EspSpi(2)]);
    assert_eq!(delete.cookies().count(), 0);
    let line = "D PROTO_IPSEC_ESP 0x00000001 0x00000002";
    same("00000014 00000001 03040002 00000001 00000002", Payload::Delete(delete), line);
}

#[test]
fn transaction_attributes() {
    let attributes = Attributes {
        config_type: ConfigType::REPLY,
        identifier: 0x1234,
        attributes: vec![
            Attribute::short(ConfigAttribute::XAUTH_TYPE.0, XauthType::GENERIC.0),
            ConfigAttribute::XAUTH_USER_NAME.with(b"me"),
            ConfigAttribute::XAUTH_USER_PASSWORD.with(b"s3cret"),
            ConfigAttribute::INTERNAL_IP4_ADDRESS.with_address([10, 0, 0, 1].into()),
            ConfigAttribute::INTERNAL_IP4_DNS.empty(),
        ],
    };
    assert_eq!(attributes.octets(ConfigAttribute::XAUTH_USER_NAME), Some(b"me".to_vec()));
    assert_eq!(attributes.octets(ConfigAttribute::XAUTH_TYPE), Some(vec![0, 0]));
    assert!(!attributes.has(ConfigAttribute::XAUTH_STATUS));
    let address = attributes.find(ConfigAttribute::INTERNAL_IP4_ADDRESS).unwrap().to_address();
    assert_eq!(address, Some([10, 0, 0, 1].into()));
    let octets = "00000028 02001234 c0880000 40890002 6d65 408a0006 733363726574
        00010004 0a000001 00030000";
    let line = "ATTRIBUTE(ISAKMP_CFG_REPLY) XAUTH-TYPE=0 XAUTH-USER-NAME=6d65 \
        XAUTH-USER-PASSWORD (not shown) INTERNAL_IP4_ADDRESS=10.0.0.1 INTERNAL_IP4_DNS";
    same(octets, Payload::Attributes(attributes), line);
}

#[test]
fn nat_traversal_and_fragments() {
    let nat_d = |draft| Payload::NatD { draft, hash: vec![0xab; 2] };
    assert_eq!(nat_d(false).payload_type(), PayloadType(20));
    same("00000006 abab", nat_d(false), "NAT-D abab");
    assert_eq!(nat_d(true).payload_type(), PayloadType(130));
    same("00000006 abab", nat_d(true), "NAT-D (draft) abab");
    let address = NatOa([192, 0, 2, 7].into());
    let nat_oa = |draft| Payload::NatOa { draft, address };
    same("0000000c 01000000 c0000207", nat_oa(false), "NAT-OA 192.0.2.7");
    same("0000000c 01000000 c0000207", nat_oa(true), "NAT-OA (draft) 192.0.2.7");
    let address = NatOa("2001:db8::7".parse().unwrap());
    let octets = "00000018 05000000 20010db8000000000000000000000007";
    same(octets, Payload::NatOa { draft: false, address }, "NAT-OA 2001:db8::7");
    let fragment = Fragment { id: 1, number: 2, last: true, data: vec![9; 3] };
    same(
        "0000000b 00010201 090909",
        Payload::Fragment(fragment),
        "Fragment(1/2, the last) 3 octets",
    );
}

#[test]
fn payloads_encrypted_by_themselves_stay_closed() {
    let (first, octets) = emit_payloads(&[
        Payload::Opaque { payload_type: PayloadType::ID, body: vec![1; 512] },
        Payload::Opaque { payload_type: PayloadType::NONCE, body: vec![2; 512] },
        Payload::Hash(vec![3]),
    ]);
    assert!(parse_payloads(first, &octets).is_err(), "no such identity, no such nonce");
    let opaque = [PayloadType::ID, PayloadType::NONCE];
    let payloads = parse_opaque(first, &octets, &opaque).unwrap();
    assert_eq!(payloads[1].payload_type(), PayloadType::NONCE);
    assert_eq!(payloads[1].body(), [2; 512]);
    assert_eq!(payloads[2], Payload::Hash(vec![3]));
    same(
        "00000005 07",
        Payload::Opaque { payload_type: PayloadType(77), body: vec![7] },
        "PAYLOAD_77 (unknown) 1 octets",
    );
}

#[test]
fn a_header_says_encrypted_and_commit() {
    let header = Header::v1(
        IkeSpi([1; 8]),
        IkeSpi([2; 8]),
        ExchangeType::QUICK_MODE,
        Flags::ENCRYPTION | Flags::COMMIT,
        MessageId(0xdead_beef),
    );
    let octets = emit_content(&header, PayloadType::HASH, &[0; 16]);
    let (again, content) = parse_message(&octets).unwrap();
    assert_eq!(content, Content::Encrypted(vec![0; 16]));
    assert_eq!(again.next_payload_v1(), PayloadType::HASH);
    let summary = dump::summary_of(&again, &content);
    assert_eq!(summary, "Quick Mode deadbeef [ 16 octets encrypted ]");
    assert!(
        dump::dump(&again, &[]).starts_with("Quick Mode deadbeef encrypted commit, version 1.0")
    );
}
