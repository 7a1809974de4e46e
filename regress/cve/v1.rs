//! Cases for IKEv1.

use openssl::bn::BigNum;
use openssl::rsa::Padding;

use crate::certs::{Holder, own};
use oakd::conf::{self, MemoryFiles, NumericNames};
use oakd::crypto::{Block, Prf, Secret};
use oakd::ike::auth::{Answer, Open, Question};
use oakd::ike::event::Time;
use oakd::ike::v1::fragment::{LONGEST, Reassembly};
use oakd::ike::v1::keys::{self, Cookies};
use oakd::ike::v1::pke::{self, Ephemeral};
use oakd::ike::v1::protect::{Fault, Iv, open_hashed, seal_hashed};
use oakd::ike::v1::rules::{Bag, Method};
use oakd::ike::v1::xauth;
use oakd::pki::authority::NewKey;
use oakd::wire::iana::v1::*;
use oakd::wire::iana::v2::{EncryptionId, GroupId, PrfId};
use oakd::wire::v1::*;
use oakd::wire::{Flags, Header, IkeSpi, MessageId};

/// Ciphertexts for a key: one that is right, and those that an attacker learns from where the answers to them
/// differ.
fn ciphertexts(holder: &Holder) -> Vec<Vec<u8>> {
    let rsa = holder.key.rsa().unwrap();
    let size = usize::try_from(rsa.size()).unwrap();
    let encrypt = |plain: &[u8], padding| {
        let mut sealed = vec![0; size];
        let len = rsa.public_encrypt(plain, &mut sealed, padding).unwrap();
        assert_eq!(len, size);
        sealed
    };
    let raw = |head: &[u8], zero_at: Option<usize>| {
        let mut block = vec![0x5a; size];
        block[..head.len()].copy_from_slice(head);
        if let Some(at) = zero_at {
            block[at] = 0;
        }
        encrypt(&block, Padding::NONE)
    };
    let mut too_large = rsa.n().to_vec();
    too_large[size - 1] |= 1;
    vec![
        encrypt(&[7; 20], Padding::PKCS1),
        raw(&[0, 1], Some(size - 21)),
        raw(&[0, 2], None),
        raw(&[0, 2], Some(5)),
        raw(&[1, 2], Some(size - 21)),
        too_large,
        vec![0; size],
        vec![1; size - 1],
        vec![1; size + 1],
        Vec::new(),
        BigNum::from_u32(2).unwrap().to_vec(),
    ]
}

#[test]
fn a_ciphertext_that_is_none_is_answered_like_any_other() {
    let root = Holder::root("root", NewKey::Rsa(2048));
    let holder = root.host("gw.example.net", NewKey::Rsa(2048));
    let ring = own(&holder, &[&root]);
    let ask = |sealed: Vec<u8>| {
        let asked = Open { key_hash: None, sealed: vec![sealed] };
        match ring.answer(&Question::Open(Box::new(asked))) {
            Some(Answer::Opened(opened)) => opened,
            other => panic!("an answer that tells: {other:?}"),
        }
    };
    let all = ciphertexts(&holder);
    assert_eq!(ask(all[0].clone()), [Secret::from(&[7; 20][..])]);
    let mut seen = Vec::new();
    for sealed in &all[1..] {
        let opened = ask(sealed.clone());
        let [noise] = opened.as_slice() else { panic!("{opened:?}") };
        // A nonce's length, never the plaintext, the same each time, and another for another.
        assert!((8..=256).contains(&noise.len()), "{}", noise.len());
        assert_eq!(ask(sealed.clone()), opened);
        assert!(!seen.contains(noise));
        seen.push(noise.clone());
    }
}

#[test]
fn what_was_encrypted_for_us_is_read_the_same_whether_it_was_or_not() {
    let block = Block::new(EncryptionId::ENCR_AES_CBC, Some(128)).unwrap();
    let prf = Prf::new(PrfId::PRF_HMAC_SHA1).unwrap();
    let with = Ephemeral { prf, block, cookie: IkeSpi([1; 8]) };
    let closed = [(PayloadType::NONCE, 256), (PayloadType::KE, 272), (PayloadType::ID, 16)];
    let closed = closed.map(|(payload_type, len)| (payload_type, vec![9; len])).to_vec();
    let bag = Bag { closed, ke: Some(vec![3; 256]), ..Bag::default() };
    for noise in [&[][..], &[1], &[2; 32], &[3; 300]] {
        let noise = Secret::from(noise);
        let revised = pke::read(Method::Revised, with, &bag, vec![noise.clone()]).unwrap();
        assert_eq!(revised.nonce, noise);
        let plain = vec![noise.clone(), noise.clone()];
        let plain = pke::read(Method::Encryption, with, &bag, plain).unwrap();
        assert_eq!((&plain.nonce, plain.id.as_slice()), (&noise, noise.octets()));
    }
}

#[test]
fn aggressive_mode_with_a_shared_key_is_warned_about() {
    let rule = "ike from 10.1.0.0/16 to 10.2.0.0/16 peer 192.0.2.1 aggressive psk \"secret\"\n";
    let files = MemoryFiles::default().with("oakd.conf", rule);
    let checked = conf::load("oakd.conf", &[], &files, &NumericNames).unwrap();
    let warned = |it: &conf::Diagnostic| it.message.contains("a hash of the psk");
    assert!(checked.diagnostics.iter().any(warned), "{:?}", checked.diagnostics);
}

#[test]
fn fragments_without_end_are_bounded() {
    let mut here = Reassembly::default();
    let cookies = (IkeSpi([1; 8]), IkeSpi([2; 8]));
    let mut most = 0;
    for round in 0u32..100_000 {
        let fragment = Fragment {
            id: u16::try_from(round / 1000).unwrap(),
            number: u8::try_from(255 - round % 255).unwrap(),
            last: false,
            data: vec![0; 200],
        };
        let _ = here.add(Time::default(), fragment, cookies);
        most = most.max(here.octets());
    }
    assert!(most <= LONGEST, "{most}");
}

#[test]
fn a_payload_of_no_length_ends_the_message() {
    for length in 0..4 {
        let octets = [0, 0, 0, length, 0, 0, 0, 0];
        for payload_type in (1..=13).chain([20, 21, 130, 131, 132]) {
            assert!(parse_payloads(PayloadType(payload_type), &octets).is_err());
            assert!(parse_padded(PayloadType(payload_type), &octets).is_err());
        }
    }
}

#[test]
fn an_identity_of_nothing_is_an_identity_of_nothing() {
    for id_type in 0..=u8::MAX {
        if let Ok(id) = Id::parse(&[id_type, 0, 0, 0]) {
            assert_eq!(id.range(), None);
            assert_eq!(id.to_string(), format!("{} ", id.id_type));
        }
    }
    let mut reply = xauth::request(1);
    reply.attributes = vec![
        ConfigAttribute::XAUTH_USER_NAME.empty(),
        ConfigAttribute::XAUTH_USER_PASSWORD.empty(),
    ];
    assert!(xauth::credentials(&reply).is_err(), "a user without a name");
}

#[test]
fn a_wrong_next_payload_after_decryption_counts_for_nothing() {
    let suite = oakd::crypto::IkeSuite {
        encryption: (EncryptionId::ENCR_AES_CBC, Some(256)),
        integrity: None,
        prf: PrfId::PRF_HMAC_SHA2_256,
        group: GroupId::MODP_2048,
    };
    let (skeyid, shared) = (Secret::from(&[1; 32][..]), Secret::from(&[2; 256][..]));
    let cookies = Cookies(IkeSpi([1; 8]), IkeSpi([2; 8]));
    let keys = keys::derive(&suite, &skeyid, &shared, cookies).unwrap();
    let id = MessageId(7);
    let header =
        Header::v1(cookies.0, cookies.1, ExchangeType::INFORMATIONAL, Flags::default(), id);
    let iv = Iv::phase1(keys.prf, keys.block, (&[1], &[2])).phase2(keys.prf, id);
    let delete = Payload::Delete(Delete::ike(cookies.0, cookies.1));
    let (datagram, _) = seal_hashed(&keys, &iv, &header, &[], vec![delete]).unwrap();
    let content = &datagram[28..];
    let genuine = Header::parse(&datagram).unwrap();
    assert!(open_hashed(&keys, &iv, &genuine, content, &[]).is_ok());
    // The header is not protected: whoever is on the way can change it.
    for next in 0..=u8::MAX {
        let header = genuine.with_next_v1(PayloadType(next));
        let opened = open_hashed(&keys, &iv, &header, content, &[]);
        assert_eq!(opened.is_ok(), next == PayloadType::HASH.0, "next payload {next}");
    }
    // Replayed under another message ID it is not readable either.
    let other = Header { message_id: MessageId(8), ..genuine };
    let iv = Iv::phase1(keys.prf, keys.block, (&[1], &[2])).phase2(keys.prf, other.message_id);
    let fault = open_hashed(&keys, &iv, &other, content, &[]).unwrap_err();
    assert!(matches!(fault, Fault::Forged | Fault::Unreadable(_)));
}
