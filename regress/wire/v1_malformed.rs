//! IKEv1: octets that are wrong, what is said of them, and what the peer is told.

use crate::corpus::{cases_v1, hex};
use oakd::wire::error::{Place, Reason};
use oakd::wire::iana::v1::*;
use oakd::wire::v1::*;
use oakd::wire::{Flags, Header, IkeSpi, MessageId};

/// What is said of a payload body that is wrong, and the answer to it.
fn said(payload_type: PayloadType, body: &str) -> (String, NotifyType) {
    let body = hex(body);
    let length = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
    let octets = [&[0, 0], &length[..], &body[..]].concat();
    let error = parse_payloads(payload_type, &octets).unwrap_err();
    assert_eq!((error.place, error.offset), (Place::PayloadV1(payload_type), 0));
    let text = error.to_string();
    let reason = text.split_once(" at octet 0: ").unwrap().1.to_string();
    (reason, Notify::answering(&error).notify_type)
}

#[test]
fn each_lie_has_its_sentence_and_its_answer() {
    let rows = [
        (
            PayloadType::SA,
            "00000002 00000001",
            "DOI DOI_2 (unknown) is not spoken here",
            NotifyType::DOI_NOT_SUPPORTED,
        ),
        (
            PayloadType::SA,
            "00000001 00000003",
            "situation SIT_IDENTITY_ONLY SIT_SECRECY is not spoken here",
            NotifyType::SITUATION_NOT_SUPPORTED,
        ),
        (
            PayloadType::SA,
            "00000001 00000001",
            "proposal length needs 1 octets, 0 are left",
            NotifyType::BAD_PROPOSAL_SYNTAX,
        ),
        (
            PayloadType::SA,
            "00000001 00000001 00000007 01010000",
            "proposal length is 7, wanted 8 or more",
            NotifyType::BAD_PROPOSAL_SYNTAX,
        ),
        (
            PayloadType::SA,
            "00000001 00000001 00000008 01010001",
            "1 transforms announced, 0 found",
            NotifyType::BAD_PROPOSAL_SYNTAX,
        ),
        (
            PayloadType::SA,
            "00000001 00000001 0000000a 01030200 1234",
            "SPI size is 2, wanted 4",
            NotifyType::BAD_PROPOSAL_SYNTAX,
        ),
        (
            PayloadType::SA,
            "00000001 00000001 02000008 01010000",
            "mark 2 of the proposal is wrong in this place",
            NotifyType::BAD_PROPOSAL_SYNTAX,
        ),
        (
            PayloadType::SA,
            "00000001 00000001 00000011 01010001 00000009 01010000 80",
            "attribute type needs 2 octets, 1 are left",
            NotifyType::BAD_PROPOSAL_SYNTAX,
        ),
        (
            PayloadType::SA,
            "00000001 00000001 00000014 01010001 0000000c 01010000 000c0009",
            "attribute length 9 exceeds the 0 octets left",
            NotifyType::BAD_PROPOSAL_SYNTAX,
        ),
        (
            PayloadType::ID,
            "04000000 0a000000 ff00ff00",
            "subnet mask is malformed",
            NotifyType::INVALID_ID_INFORMATION,
        ),
        (
            PayloadType::NONCE,
            "01020304050607",
            "nonce length is 7, wanted 8 to 256",
            NotifyType::PAYLOAD_MALFORMED,
        ),
        (
            PayloadType::CERT,
            "",
            "certificate encoding needs 1 octets, 0 are left",
            NotifyType::INVALID_CERT_ENCODING,
        ),
        (
            PayloadType::N,
            "00000001 01ff0001 00",
            "SPI size 255 exceeds the 1 octets left",
            NotifyType::PAYLOAD_MALFORMED,
        ),
        (
            PayloadType::D,
            "00000001 01000001",
            "SPI size is 0, wanted 16",
            NotifyType::PAYLOAD_MALFORMED,
        ),
        (
            PayloadType::D,
            "00000001 03000001",
            "SPI size is 0, wanted 4",
            NotifyType::PAYLOAD_MALFORMED,
        ),
        (
            PayloadType::D,
            "00000001 99000001",
            "SPI size is 0, wanted 1 or more",
            NotifyType::PAYLOAD_MALFORMED,
        ),
        (
            PayloadType::D,
            "00000001 0304ffff 00000001",
            "65535 SPIs announced, 1 found",
            NotifyType::PAYLOAD_MALFORMED,
        ),
        (
            PayloadType::ATTRIBUTE,
            "01000000 000100ff 00",
            "attribute length 255 exceeds the 1 octets left",
            NotifyType::PAYLOAD_MALFORMED,
        ),
        (
            PayloadType::NAT_OA,
            "01000000 0a0000",
            "original address is 3, wanted 4",
            NotifyType::PAYLOAD_MALFORMED,
        ),
        (
            PayloadType::NAT_OA,
            "02000000 0a000001",
            "ID type of an original address is malformed",
            NotifyType::PAYLOAD_MALFORMED,
        ),
        (
            PayloadType::FRAGMENT,
            "00010001 00",
            "fragment number 0 is malformed",
            NotifyType::PAYLOAD_MALFORMED,
        ),
    ];
    for (payload_type, body, sentence, answer) in rows {
        assert_eq!(said(payload_type, body), (sentence.to_string(), answer), "{body}");
    }
}

#[test]
fn lists_are_bounded() {
    // 1025 transforms of eight octets, in proposals of 205.
    let transforms = 205;
    let proposal = |mark: u8| {
        let mut octets = vec![mark, 0, 0, 0, 1, 1, 0, u8::try_from(transforms).unwrap()];
        for index in 1..=transforms {
            octets.extend([if index == transforms { 0 } else { 3 }, 0, 0, 8, 1, 1, 0, 0]);
        }
        let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
        octets[2..4].copy_from_slice(&length);
        octets
    };
    let mut body = hex("00000001 00000001");
    [2, 2, 2, 2, 0].into_iter().for_each(|mark| body.extend(proposal(mark)));
    let length = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
    let octets = [&[0, 0], &length[..], &body[..]].concat();
    let error = parse_payloads(PayloadType::SA, &octets).unwrap_err();
    assert_eq!(error.reason, Reason::TooMany { field: "transforms", limit: 1024 });
    let chain = hex(&("0d000004".repeat(64) + "00000004"));
    let error = parse_payloads(PayloadType::VID, &chain).unwrap_err();
    assert_eq!(error.reason, Reason::TooMany { field: "payloads", limit: 64 });
}

#[test]
fn padding_has_its_bound_and_garbage_is_no_message() {
    let padded = |count: usize| [hex("00000004"), vec![0xee; count]].concat();
    assert_eq!(parse_padded(PayloadType::VID, &padded(255)).unwrap().used, 4);
    let error = parse_padded(PayloadType::VID, &padded(256)).unwrap_err();
    assert_eq!(error.reason, Reason::Trailing { left: 256 });
    assert!(parse_payloads(PayloadType::VID, &padded(1)).is_err());
    assert!(parse_padded(PayloadType::NONE, &[0; 16]).is_err(), "a message has payloads");
    // Decrypted with a wrong key: lengths lie.
    assert!(parse_padded(PayloadType::HASH, &hex("d1f3 a9b7 00112233")).is_err());
}

#[test]
fn the_other_version_is_refused() {
    let mut octets = cases_v1()[0].octets.clone();
    octets[17] = 0x20;
    let error = parse_message(&octets).unwrap_err();
    let answer = Notify::answering(&error).notify_type;
    assert_eq!(answer, NotifyType::INVALID_MAJOR_VERSION);
}

#[test]
fn a_message_in_clear_may_be_filled_up_to_a_multiple_of_four() {
    let header = Header::v1(
        IkeSpi([1; 8]),
        IkeSpi([2; 8]),
        ExchangeType::IDENTITY_PROTECTION,
        Flags::default(),
        MessageId(0),
    );
    let payloads = vec![Payload::Vendor(vec![7; 5])];
    for filling in 0..5u8 {
        let mut octets = emit_message(&header, &payloads);
        octets.extend(vec![0; filling.into()]);
        let length = u32::try_from(octets.len()).unwrap();
        octets[24..28].copy_from_slice(&length.to_be_bytes());
        let read = parse_message(&octets).map(|(_, content)| content);
        assert_eq!(read.is_ok(), filling < 4, "{filling} octets: {read:?}");
    }
}
