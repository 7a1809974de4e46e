//! Payloads which the captures lack, written down from the pictures of RFC 7296 §3 and its companions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use oakd::wire::attribute::{Attribute, AttributeValue};
use oakd::wire::iana::v2::*;
use oakd::wire::v2::*;
use oakd::wire::{EspSpi, IkeSpi, Spi, dump};

use crate::corpus::hex;

/// Checks that the octets (generic header included) parse to the payload, are emitted the same, and
/// print as told.
fn same(octets: &str, payload: Payload, line: &str) {
    let octets = hex(octets);
    let first = payload.payload_type();
    assert_eq!(parse_payloads(first, &octets), Ok(vec![payload.clone()]));
    assert_eq!(dump::line(&payload), line);
    assert_eq!(emit_payloads(&[payload]), (first, octets));
}

#[test]
fn certificates_and_requests() {
    let cert = Cert { encoding: CertEncoding::X509_SIGNATURE, data: vec![0x30, 0x82] };
    same("00000007 04 3082", Payload::Cert(cert), "CERT X.509 Certificate - Signature, 2 octets");
    let authorities = [[0xaa; 20], [0xbb; 20]].concat();
    let request = CertReq { encoding: CertEncoding::X509_SIGNATURE, authorities };
    assert_eq!(request.hashes().collect::<Vec<_>>(), [[0xaa; 20], [0xbb; 20]]);
    let octets = format!("0000002d 04 {} {}", "aa".repeat(20), "bb".repeat(20));
    let line = "CERTREQ X.509 Certificate - Signature, 2 authorities";
    same(&octets, Payload::CertReq(request), line);
}

#[test]
fn digital_signature_of_rfc_7427() {
    // Ed25519's AlgorithmIdentifier (RFC 8410): SEQUENCE { OID 1.3.101.112 }.
    let octets = hex("07 300506032b6570 0102030405");
    let data = SignatureData::parse(&octets).unwrap();
    assert_eq!(data.algorithm, hex("300506032b6570"));
    assert_eq!(data.signature, [1, 2, 3, 4, 5]);
    assert_eq!(data.emit(), octets);
    assert!(SignatureData::parse(&[8, 1, 2]).is_err());
    assert!(SignatureData::parse(&[]).is_err());
    let auth = Auth { method: AuthMethod::DIGITAL_SIGNATURE, data: vec![1] };
    same("00000009 0e000000 01", Payload::Auth(auth), "AUTH Digital Signature, 1 octets");
}

#[test]
fn identities() {
    let id = |id_type, data: &[u8]| Id { id_type, data: data.to_vec() };
    let fqdn = id(IdType::ID_FQDN, b"gw.example.org");
    assert_eq!(fqdn.body(), [&[2, 0, 0, 0][..], b"gw.example.org"].concat());
    assert_eq!(Id::parse(&fqdn.body()), Ok(fqdn.clone()));
    let octets = "00000016 02000000 67772e6578616d706c652e6f7267";
    same(octets, Payload::IdI(fqdn), "IDi ID_FQDN gw.example.org");
    let v6 = id(IdType::ID_IPV6_ADDR, &Ipv6Addr::LOCALHOST.octets());
    assert_eq!(v6.address(), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    let octets = "00000018 05000000 00000000000000000000000000000001";
    same(octets, Payload::IdR(v6), "IDr ID_IPV6_ADDR ::1");
    same(
        "0000000a 0b000000 1b5b",
        Payload::IdR(id(IdType::ID_KEY_ID, b"\x1b[")),
        "IDr ID_KEY_ID 1b5b",
    );
}

#[test]
fn deletes() {
    same("00000008 01000000", Payload::Delete(Delete::Ike), "D IKE");
    let spis = vec![EspSpi(0xc0ffee), EspSpi(1)];
    let delete = Delete::Child { protocol: ProtocolId::ESP, spis };
    let octets = "00000010 03040002 00c0ffee 00000001";
    same(octets, Payload::Delete(delete), "D ESP 0x00c0ffee 0x00000001");
}

#[test]
fn notifications_with_and_without_spi() {
    let rekey = Notify::about_child(NotifyType::REKEY_SA, ProtocolId::ESP, EspSpi(0x01020304));
    let octets = "0000000c 03044009 01020304";
    same(octets, Payload::Notify(rekey), "N(REKEY_SA) ESP SPI 0x01020304");
    let hashes = [HashId::SHA2_256, HashId::IDENTITY];
    let notify = Notify::hash_algorithms(&hashes);
    assert_eq!(notify.hashes(), hashes);
    let line = "N(SIGNATURE_HASH_ALGORITHMS) 00020005";
    same("0000000c 0000402f 00020005", Payload::Notify(notify), line);
    let odd = Notify {
        protocol: ProtocolId(77),
        spi: Spi::Other(vec![1, 2]),
        notify_type: NotifyType(40000),
        data: Vec::new(),
    };
    let line = "N(NOTIFY_40000 (unknown)) PROTO_77 (unknown) SPI 0102";
    same("0000000a 4d029c40 0102", Payload::Notify(odd), line);
}

#[test]
fn traffic_selectors_of_every_kind() {
    let v6 = TrafficSelector {
        protocol: 58,
        ports: TrafficSelector::OPAQUE_PORTS,
        addresses: (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
    };
    let v4 = TrafficSelector {
        protocol: 17,
        ports: (500, 4500),
        addresses: (Ipv4Addr::new(192, 0, 2, 0).into(), Ipv4Addr::new(192, 0, 2, 255).into()),
    };
    let label = OtherSelector { ts_type: TsType::TS_SECLABEL, protocol: 0, body: b"l".to_vec() };
    let ts = Ts { selectors: vec![v6, v4], others: vec![label] };
    let octets = "00000045 03000000 \
        083a0028 ffff0000 00000000000000000000000000000000 00000000000000000000000000000001 \
        07110010 01f41194 c0000200 c00002ff 0a000005 6c";
    let line = "TSi ::-::1 proto 58 port opaque, 192.0.2.0-192.0.2.255 proto 17 port 500-4500, \
                TS_SECLABEL";
    same(octets, Payload::TsI(ts), line);
}

#[test]
fn configuration_and_eap() {
    let config = Config {
        cfg_type: CfgType::CFG_REQUEST,
        attributes: vec![
            ConfigAttribute::empty(CfgAttribute::INTERNAL_DNS_DOMAIN),
            ConfigAttribute::address(CfgAttribute::INTERNAL_IP4_DNS, Ipv4Addr::LOCALHOST.into()),
            ConfigAttribute::prefix(CfgAttribute::INTERNAL_IP6_ADDRESS, Ipv6Addr::LOCALHOST, 64),
            ConfigAttribute {
                attribute: CfgAttribute::INTERNAL_IP4_SUBNET,
                value: vec![10, 0, 0, 0, 255, 128, 0, 0],
            },
        ],
    };
    let octets = "00000035 01000000 00190000 00030004 7f000001 \
        00080011 00000000000000000000000000000001 40 000d0008 0a000000ff800000";
    let line = "CP(CFG_REQUEST) INTERNAL_DNS_DOMAIN INTERNAL_IP4_DNS=127.0.0.1 \
                INTERNAL_IP6_ADDRESS=::1/64 INTERNAL_IP4_SUBNET=10.0.0.0/9";
    same(octets, Payload::Config(config), line);
    let eap = Eap { code: EapCode::REQUEST, identifier: 5, data: vec![1] };
    same("00000009 01050005 01", Payload::Eap(eap), "EAP(Request) 5 1 octets");
    let eap = Eap { code: EapCode::SUCCESS, identifier: 6, data: Vec::new() };
    same("00000008 03060004", Payload::Eap(eap), "EAP(Success) 6 0 octets");
}

#[test]
fn transforms_that_must_not_be_chosen_are_kept_apart() {
    let key_length = Attribute::short(TransformAttribute::KEY_LENGTH.0, 256);
    let odd = Attribute { attribute_type: 99, value: AttributeValue::Long(vec![1, 2, 3]) };
    let unknown =
        |transform_type, id, attributes| Transform::Unknown { transform_type, id, attributes };
    let transforms = vec![
        Transform::Encr { id: EncryptionId::ENCR_AES_GCM_16, key_bits: Some(256) },
        Transform::Encr { id: EncryptionId::ENCR_CHACHA20_POLY1305, key_bits: None },
        unknown(TransformType::ENCR, 12, vec![key_length.clone(), odd.clone()]),
        unknown(TransformType::PRF, 5, vec![key_length]),
        unknown(TransformType(200), 7, vec![odd]),
        Transform::AddKe { round: 1, id: GroupId::ML_KEM_768 },
        Transform::AddKe { round: 7, id: GroupId::NONE },
        Transform::Esn(EsnId::ESN),
    ];
    let spi = Spi::Ike(IkeSpi([7; 8]));
    let proposal = Proposal { number: 1, protocol: ProtocolId::IKE, spi, transforms };
    let octets = "0000006e 0000006a 01010808 0707070707070707 \
        0300000c 01000014 800e0100 03000008 0100001c \
        03000013 0100000c 800e0100 00630003 010203 0300000c 02000005 800e0100 \
        0300000f c8000007 00630003 010203 03000008 06000024 03000008 0c000000 00000008 05000001";
    let line = "SA 1 IKE SPI 0707070707070707 ENCR_AES_GCM_16/256 ENCR_CHACHA20_POLY1305 \
        encr 12 with 2 attributes Pseudorandom Function 5 with 1 attributes \
        TRANSFORM_200 (unknown) 7 with 1 attributes ADDKE1=ml-kem-768 ADDKE7=NONE esn";
    same(octets, Payload::Sa(Sa { proposals: vec![proposal] }), line);
}

#[test]
fn unknown_payloads_pass_through_and_what_is_reserved_is_ignored() {
    let payload =
        Payload::Unknown { payload_type: PayloadType(200), critical: false, body: vec![1, 2, 3] };
    same("00000007 010203", payload, "PAYLOAD_200 (unknown) 010203");
    // Reserved bits of the generic header, and the critical bit of a payload that we know.
    let nonce = Payload::Nonce(Nonce(vec![5; 16]));
    let octets = hex(&format!("00ff0014 {}", "05".repeat(16)));
    assert_eq!(parse_payloads(PayloadType::NONCE, &octets), Ok(vec![nonce]));
}
