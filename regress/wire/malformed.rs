//! Octets that are wrong: each fault has its sentence and its answer.

use oakd::wire::error::{Error, Place, Reason};
use oakd::wire::iana::v2::{NotifyType, PayloadType, ProtocolId};
use oakd::wire::payload::MAX_PAYLOADS;
use oakd::wire::v2::{Notify, parse_message, parse_payloads};
use oakd::wire::{Header, Version};

use crate::corpus::{hex, octets};

/// Parses one payload body that must fail, and gives the error.
fn refused(payload_type: PayloadType, body: &str) -> Error {
    let body = hex(body);
    let length = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
    let octets = [&[0, 0], &length[..], &body[..]].concat();
    let error = parse_payloads(payload_type, &octets).unwrap_err();
    assert_eq!((error.place, error.offset), (Place::Payload(payload_type), 0));
    assert_eq!(Notify::answering(&error), Notify::new(NotifyType::INVALID_SYNTAX));
    error
}

fn said(payload_type: PayloadType, body: &str) -> String {
    let text = refused(payload_type, body).to_string();
    text.split_once(" at octet 0: ").unwrap().1.to_string()
}

#[test]
fn an_error_names_payload_octet_and_reason() {
    let mut message = octets("04-ike-sa-init-response");
    let (_, payloads) = parse_message(&message).unwrap();
    // The first Notify follows SA, KE and Nonce; its SPI size is the sixth octet.
    let (_, before) = oakd::wire::v2::emit_payloads(&payloads[..3]);
    let at = 28 + before.len();
    message[at + 5] = 200;
    let error = parse_message(&message).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("Notify payload at octet {at}: SPI size 200 exceeds the 20 octets left")
    );
}

#[test]
fn headers() {
    let message = octets("01-ike-sa-init-request");
    let error = Header::parse(&message[..27]).unwrap_err();
    assert_eq!(error.to_string(), "header at octet 0: header needs 28 octets, 27 are left");

    let mut short = message.clone();
    short[24..28].copy_from_slice(&27u32.to_be_bytes());
    let error = Header::parse(&short).unwrap_err();
    assert_eq!(error.to_string(), "header at octet 0: message length is 27, wanted 28 or more");

    let mut long = message.clone();
    long[24..28].copy_from_slice(&u32::MAX.to_be_bytes());
    let error = Header::parse(&long).unwrap_err();
    let left = message.len();
    let reason = Reason::Exceeds { field: "message length", size: 4294967295, left };
    assert_eq!(error.reason, reason);

    let mut version3 = message.clone();
    version3[17] = 0x30;
    let header = Header::parse(&version3).unwrap();
    assert_eq!(header.check_version().unwrap_err().reason, Reason::MajorVersion(Version(0x30)));
    let error = parse_message(&version3).unwrap_err();
    let answer = Notify::with_data(NotifyType::INVALID_MAJOR_VERSION, vec![2]);
    assert_eq!(Notify::answering(&error), answer);

    let mut minor = message.clone();
    minor[17] = 0x2f;
    assert!(parse_message(&minor).is_ok(), "a minor version is ignored");
    let mut trailed = message.clone();
    trailed.extend([0; 3]);
    assert_eq!(parse_message(&trailed), parse_message(&message));
}

#[test]
fn chains() {
    let parse = |first, text: &str| parse_payloads(first, &hex(text)).unwrap_err();
    let error = parse(PayloadType::V, "00000003");
    assert_eq!(
        error.to_string(),
        "Vendor ID payload at octet 0: payload length is 3, wanted 4 or more"
    );
    let error = parse(PayloadType::V, "29000004 0000000c 000040");
    assert_eq!((error.place, error.offset), (Place::Payload(PayloadType::N), 4));
    assert_eq!(error.reason, Reason::Exceeds { field: "payload length", size: 12, left: 7 });
    let error = parse(PayloadType::V, "29000004 0000");
    assert_eq!(error.reason, Reason::Short { field: "payload header", needed: 4, left: 2 });
    let error = parse(PayloadType::V, "00000004 ff");
    assert_eq!((error.offset, error.reason), (4, Reason::Trailing { left: 1 }));
    let error = parse(PayloadType::NONE, "00");
    assert_eq!(error.reason, Reason::Trailing { left: 1 });
    let error = parse(PayloadType::SK, "29000005 00 00000008 00004000");
    assert_eq!((error.offset, error.reason), (5, Reason::AfterEncrypted));
}

#[test]
fn a_message_has_at_most_so_many_payloads() {
    let chain = |count: usize| hex(&("2b000004".repeat(count - 1) + "00000004"));
    let most = parse_payloads(PayloadType::V, &chain(MAX_PAYLOADS)).unwrap();
    assert_eq!(most.len(), MAX_PAYLOADS);
    let error = parse_payloads(PayloadType::V, &chain(MAX_PAYLOADS + 1)).unwrap_err();
    assert_eq!(error.reason, Reason::TooMany { field: "payloads", limit: MAX_PAYLOADS });
}

#[test]
fn critical_payloads_of_unknown_type() {
    let error = parse_payloads(PayloadType(200), &hex("00800005 00")).unwrap_err();
    assert_eq!(error.reason, Reason::CriticalUnknown(PayloadType(200)));
    let answer = Notify::with_data(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![200]);
    assert_eq!(Notify::answering(&error), answer);
    // A payload type of IKEv1 is unknown here too.
    let error = parse_payloads(PayloadType(1), &hex("00800004")).unwrap_err();
    assert_eq!(error.reason, Reason::CriticalUnknown(PayloadType(1)));
}

#[test]
fn proposals() {
    let sa = |body: &str| said(PayloadType::SA, body);
    assert_eq!(sa(""), "proposal length needs 1 octets, 0 are left");
    assert_eq!(sa("00000007 010100"), "proposal length is 7, wanted 8 or more");
    assert_eq!(sa("0000000c 01010000"), "proposal length 12 exceeds the 8 octets left");
    assert_eq!(sa("02000008 01010000"), "mark 2 of the proposal is wrong in this place");
    assert_eq!(
        sa("00000008 01010000 00000008 02010000"),
        "mark 0 of the proposal is wrong in this place"
    );
    assert_eq!(sa("00000008 01010001"), "1 transforms announced, 0 found");
    assert_eq!(sa("00000008 0103ff00"), "SPI size 255 exceeds the 0 octets left");
    assert_eq!(sa("00000008 01030000"), "SPI size 0 does not suit protocol ESP");
    assert_eq!(sa("0000000c 01010400 01020304"), "SPI size 4 does not suit protocol IKE");
}

#[test]
fn transforms() {
    let sa = |transform: &str| {
        let length = 8 + hex(transform).len();
        said(PayloadType::SA, &format!("0000{length:04x} 01010001 {transform}"))
    };
    assert_eq!(sa("00000007 010000"), "transform length is 7, wanted 8 or more");
    assert_eq!(sa("00000009 01000014"), "transform length 9 exceeds the 8 octets left");
    assert_eq!(sa("03000008 01000014"), "mark 3 of the transform is wrong in this place");
    assert_eq!(
        sa("00000008 01000014 00000008 02000005"),
        "mark 0 of the transform is wrong in this place"
    );
    assert_eq!(sa("0000000a 01000014 800e"), "attribute value needs 2 octets, 0 are left");
    assert_eq!(sa("0000000d 01000014 000e0002 01"), "attribute length 2 exceeds the 1 octets left");
}

#[test]
fn the_transforms_of_a_payload_are_bounded() {
    let transforms = "03000008 01000014".repeat(254) + "00000008 01000014";
    let proposal =
        |last: bool| format!("{}000800 010100ff {transforms}", if last { "00" } else { "02" });
    let of = |count: usize| {
        let body = hex(&(proposal(false).repeat(count - 1) + &proposal(true)));
        let length = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
        parse_payloads(PayloadType::SA, &[&[0, 0], &length[..], &body].concat())
    };
    assert!(of(4).is_ok());
    assert_eq!(of(5).unwrap_err().reason, Reason::TooMany { field: "transforms", limit: 1024 });
}

#[test]
fn other_bodies() {
    assert_eq!(said(PayloadType::KE, "0013"), "reserved needs 2 octets, 0 are left");
    assert_eq!(said(PayloadType::NONCE, &"00".repeat(15)), "nonce length is 15, wanted 16 to 256");
    assert_eq!(said(PayloadType::NONCE, &"0".repeat(514)), "nonce length is 257, wanted 16 to 256");
    assert_eq!(said(PayloadType::IDI, "010000"), "reserved needs 3 octets, 2 are left");
    assert_eq!(said(PayloadType::IDR, "01000000 0a"), "IPv4 address length is 1, wanted 4");
    assert_eq!(said(PayloadType::IDR, "05000000"), "IPv6 address length is 0, wanted 16");
    assert_eq!(said(PayloadType::CERT, ""), "certificate encoding needs 1 octets, 0 are left");
    assert_eq!(said(PayloadType::CERTREQ, ""), "certificate encoding needs 1 octets, 0 are left");
    assert_eq!(said(PayloadType::AUTH, "02"), "reserved needs 3 octets, 0 are left");
    assert_eq!(said(PayloadType::N, "0000"), "notify message type needs 2 octets, 0 are left");
    assert_eq!(said(PayloadType::EAP, "01050006 01"), "EAP length is 6, wanted the payload's");
    assert_eq!(
        said(PayloadType::CP, "01000000 0001"),
        "attribute length needs 2 octets, 0 are left"
    );
    assert_eq!(
        said(PayloadType::CP, "01000000 00010004 0a"),
        "attribute length 4 exceeds the 1 octets left"
    );
    assert_eq!(said(PayloadType::SKF, "00000002"), "fragment 0 of 2");
    assert_eq!(said(PayloadType::SKF, "00030002"), "fragment 3 of 2");
    assert_eq!(said(PayloadType::SKF, "0001"), "total fragments needs 2 octets, 0 are left");
}

#[test]
fn deletes() {
    let error = refused(PayloadType::D, "03080001 0102030405060708");
    assert_eq!(error.reason, Reason::BadSpi { protocol: ProtocolId::ESP, size: 8 });
    assert_eq!(said(PayloadType::D, "03040002 01020304"), "2 SPIs announced, 1 found");
    assert_eq!(said(PayloadType::D, "03040001 0102"), "SPI needs 4 octets, 2 are left");
    assert_eq!(said(PayloadType::D, "01000001"), "1 SPIs announced, 0 found");
    assert_eq!(said(PayloadType::D, "01000000 00"), "1 octets after the last field");
}

#[test]
fn traffic_selectors() {
    let ts = |body: &str| said(PayloadType::TSI, body);
    assert_eq!(ts("01000000"), "1 traffic selectors announced, 0 found");
    assert_eq!(ts("01000000 07000003"), "selector length is 3, wanted 4 or more");
    assert_eq!(ts("01000000 07000010"), "selector length 16 exceeds the 4 octets left");
    assert_eq!(
        ts("01000000 0700000c 0000ffff 0a000000"),
        "selector length is 12, wanted 16 for IPv4, 40 for IPv6"
    );
    assert_eq!(
        ts("01000000 07000010 0000ffff 0a000001 0a000000"),
        "address range ends before it begins"
    );
    assert_eq!(
        ts("01000000 07000010 00020001 0a000000 0a000000"),
        "port range ends before it begins"
    );
}
