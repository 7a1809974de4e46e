//! The layout of encrypted messages, proven by opening captured ones with the keys which the captured
//! daemon had logged: the tag only fits if associated data, IV, ciphertext and tag are cut right.

use std::ops::Range;

use openssl::symm::{Cipher, decrypt_aead};

use oakd::wire::error::Reason;
use oakd::wire::iana::v2::{ExchangeType, NotifyType, PayloadType};
use oakd::wire::v2::sk::{self, Fragment, Sealed};
use oakd::wire::v2::{Notify, Payload, emit_message, emit_payloads};
use oakd::wire::{Flags, Header, IkeSpi, MessageId, Place};

use crate::corpus::{cases, hex, octets};

/// SK_ei and SK_er: 32 octets of key, 4 of salt (RFC 5282 §7.1).
const INITIATOR_KEY: &str =
    "ddc3e87ccc833ffef6623c61b20386977f89e0f3fa65a593fc473684af3c222f6110edc9";
const RESPONDER_KEY: &str =
    "f2c86dc23e3b3a031da0256ff4e952579d8df28bda32091144499a85a50105fab1c6c79f";

const IV_LEN: usize = 8;
const ICV_LEN: usize = 16;

/// Decrypts a captured message and checks its tag.
fn open(datagram: &[u8], sealed: &Sealed, key: &str) -> Vec<u8> {
    let part = |range: &Range<usize>| &datagram[range.clone()];
    let layout = &sealed.layout;
    let key = hex(key);
    let nonce = [&key[32..], part(&layout.iv)].concat();
    let (aad, cipher, icv) = (part(&layout.aad), part(&layout.cipher), part(&layout.icv));
    decrypt_aead(Cipher::aes_256_gcm(), &key[..32], Some(&nonce), aad, cipher, icv).unwrap()
}

fn split_and_open(name: &str) -> (Sealed, Vec<u8>) {
    let datagram = octets(name);
    let header = Header::parse(&datagram).unwrap();
    let sealed = sk::split(&datagram, &header, IV_LEN, ICV_LEN).unwrap();
    let key = if header.from_initiator() { INITIATOR_KEY } else { RESPONDER_KEY };
    let opened = open(&datagram, &sealed, key);
    let inner = sk::strip_padding(&opened).unwrap().to_vec();
    (sealed, inner)
}

#[test]
fn captured_messages_open() {
    let mut count = 0;
    for case in cases().iter().filter(|case| case.name.ends_with("-sealed")) {
        let (sealed, inner) = split_and_open(&case.name);
        assert_eq!(inner, octets(&case.name.replace("-sealed", "-opened")), "{}", case.name);
        assert_eq!(sealed.fragment, None);
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn captured_fragments_open_and_join() {
    let exchanges = [
        ("05-ike-auth-request-fragment1", "06-ike-auth-request-fragment2", PayloadType::IDI),
        ("07-ike-auth-response-fragment1", "08-ike-auth-response-fragment2", PayloadType::IDR),
    ];
    for (one, two, first) in exchanges {
        let (sealed_one, mut inner) = split_and_open(one);
        let (sealed_two, rest) = split_and_open(two);
        inner.extend(rest);
        let opened = one.replace("-fragment1", "-opened");
        assert_eq!(inner, octets(&opened), "{opened}");
        assert_eq!(sealed_one.first, first);
        assert_eq!(sealed_two.first, PayloadType::NONE);
        assert_eq!(sealed_one.fragment, Some(Fragment { number: 1, total: 2 }));
        assert_eq!(sealed_two.fragment, Some(Fragment { number: 2, total: 2 }));
    }
}

#[test]
fn a_frame_is_laid_out_as_a_captured_message() {
    for case in cases().iter().filter(|case| case.name.ends_with("-sealed")) {
        let header = Header::parse(&case.octets).unwrap();
        let sealed = sk::split(&case.octets, &header, IV_LEN, ICV_LEN).unwrap();
        let blank = Header { next_payload: PayloadType::NONE, length: 0, ..header };
        let padded = sealed.layout.cipher.len();
        let (framed, layout) = sk::frame(&blank, sealed.first, IV_LEN, padded, ICV_LEN);
        assert_eq!(layout, sealed.layout, "{}", case.name);
        assert_eq!(framed.len(), case.octets.len());
        assert_eq!(framed[layout.aad.clone()], case.octets[layout.aad]);
    }
}

#[test]
fn a_fragment_frame_is_laid_out_as_a_captured_one() {
    for case in cases().iter().filter(|case| case.name.contains("-fragment")) {
        let header = Header::parse(&case.octets).unwrap();
        let sealed = sk::split(&case.octets, &header, IV_LEN, ICV_LEN).unwrap();
        let fragment = sealed.fragment.unwrap();
        let padded = sealed.layout.cipher.len();
        let (framed, layout) =
            sk::frame_fragment(&header, sealed.first, fragment, IV_LEN, padded, ICV_LEN);
        assert_eq!(layout, sealed.layout, "{}", case.name);
        assert_eq!(framed.len(), sk::overhead(true, IV_LEN, ICV_LEN) + padded);
        assert_eq!(framed[layout.aad.clone()], case.octets[layout.aad]);
    }
}

fn header() -> Header {
    let (initiator, responder) = (IkeSpi([1; 8]), IkeSpi([2; 8]));
    let exchange = ExchangeType::INFORMATIONAL;
    Header::v2(initiator, responder, exchange, Flags::v2(true, false), MessageId(7))
}

#[test]
fn what_is_filled_in_is_found_again_behind_cleartext_payloads() {
    let (first, inner) =
        emit_payloads(&[Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT))]);
    let padded = sk::padded_len(inner.len(), 16);
    assert_eq!(padded, 16);
    let (mut framed, layout) = sk::frame(&header(), first, 16, padded, 12);
    sk::fill(&mut framed, &layout, &inner);
    assert_eq!(framed[layout.cipher.end - 1], 7);
    assert_eq!(layout.authenticated(), 0..layout.icv.start);

    // The same message with a cleartext payload before the encrypted one: a peer may do so.
    let (_, mut payloads) = oakd::wire::v2::parse_message(&framed).unwrap();
    payloads.insert(0, Payload::Vendor(vec![9; 5]));
    let message = emit_message(&header(), &payloads);
    let sealed = sk::split(&message, &Header::parse(&message).unwrap(), 16, 12).unwrap();
    assert_eq!(sealed.first, first);
    assert_eq!(sealed.layout.aad, 0..28 + 9 + 4);
    assert_eq!(sealed.layout.iv, 41..57);
    assert_eq!(sk::strip_padding(&message[sealed.layout.cipher]).unwrap(), inner);
}

#[test]
fn messages_without_room_or_without_encrypted_payload_are_refused() {
    let (framed, _) = sk::frame(&header(), PayloadType::N, 8, 1, 16);
    let parsed = Header::parse(&framed).unwrap();
    assert!(sk::split(&framed, &parsed, 8, 16).is_ok());
    let error = sk::split(&framed, &parsed, 16, 16).unwrap_err();
    assert_eq!((error.place, error.offset), (Place::Payload(PayloadType::SK), 28));
    assert_eq!(
        error.to_string(),
        "SK payload at octet 28: IV, pad length and checksum needs 33 octets, 25 are left"
    );

    let clear = emit_message(&header(), &[Payload::Vendor(vec![1])]);
    let error = sk::split(&clear, &Header::parse(&clear).unwrap(), 8, 16).unwrap_err();
    assert_eq!(error.reason, Reason::NotEncrypted);

    let error = sk::strip_padding(&[1, 2, 3]).unwrap_err();
    assert_eq!(error.reason, Reason::Exceeds { field: "pad length", size: 3, left: 2 });
    assert!(sk::strip_padding(&[]).is_err());
    assert_eq!(sk::strip_padding(&[0]).unwrap(), []);
}
