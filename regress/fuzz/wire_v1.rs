//! As `wire`, for IKEv1.

use oakd::wire::Header;
use oakd::wire::iana::v1::PayloadType;
use oakd::wire::v1::{self, Content, dump};

use crate::corpus::{Case, Kind, cases_v1};
use crate::wire::{Random, mutations, set_length};

/// The types that public key encryption leaves closed.
const CLOSED: &[PayloadType] = &[PayloadType::ID, PayloadType::NONCE, PayloadType::KE];

/// Whether the octets parse. Panics if what parses does not come back the same.
fn try_inside(first: PayloadType, octets: &[u8]) -> bool {
    let _ = v1::body_of(first, octets, PayloadType::SA);
    let _ = v1::after_first(octets, octets.len());
    if let Ok(payloads) = v1::parse_opaque(first, octets, CLOSED) {
        let (first, emitted) = v1::emit_payloads(&payloads);
        assert_eq!(v1::parse_opaque(first, &emitted, CLOSED), Ok(payloads));
    }
    let Ok(opened) = v1::parse_padded(first, octets) else { return false };
    assert!(opened.used <= octets.len());
    let (first, emitted) = v1::emit_payloads(&opened.payloads);
    assert_eq!(emitted.len(), opened.used);
    assert_eq!(v1::parse_payloads(first, &emitted), Ok(opened.payloads.clone()));
    for payload in &opened.payloads {
        drop(dump::line(payload));
        if let v1::Payload::Notify(notify) = payload {
            let _ = (notify.sequence(), notify.lifetimes());
        }
        if let v1::Payload::Id(id) = payload {
            let range = id.range();
            assert!(range.is_none_or(|range| range.first <= range.last));
        }
    }
    true
}

fn try_datagram(octets: &[u8]) -> bool {
    let _ = Header::parse(octets);
    let Ok((header, content)) = v1::parse_message(octets) else { return false };
    drop(dump::summary_of(&header, &content));
    let emitted = match &content {
        Content::Clear(payloads) => v1::emit_message(&header, payloads),
        Content::Encrypted(closed) => v1::emit_content(&header, header.next_payload_v1(), closed),
    };
    // What fills a message up to a multiple of four is not emitted.
    let length = Header::parse(&emitted).map_or(0, |header| header.length);
    let filling = header.length - length;
    assert!(filling < 4, "{filling} octets are missing");
    assert_eq!(v1::parse_message(&emitted), Ok((Header { length, ..header }, content)));
    true
}

fn attempt(case: &Case, octets: &mut [u8]) -> bool {
    match case.kind {
        Kind::Datagram => {
            set_length(octets);
            try_datagram(octets)
        }
        Kind::Inside(first) => try_inside(PayloadType(first.0), octets),
    }
}

#[test]
fn mutated_messages_never_panic_and_come_back_the_same() {
    mutations(&cases_v1(), 0x6a09_e667_f3bc_c908, attempt);
}

#[test]
fn noise_never_panics() {
    let mut random = Random(0xbb67_ae85_84ca_a73b);
    let types: Vec<u8> = (1..=21).chain([130, 131, 132]).collect();
    for round in 0..20_000 {
        let length = random.below(200);
        let mut octets: Vec<u8> = (0..length).map(|_| random.octet()).collect();
        try_inside(PayloadType(types[round % types.len()]), &octets);
        set_length(&mut octets);
        try_datagram(&octets);
    }
}
