//! Ciphers: published vectors in the form of an Encrypted payload, and what must be refused.

use crate::hex;
use oakd::crypto::cipher::{Keys, Parts};
use oakd::crypto::{Cipher, Error, Secret};
use oakd::wire::iana::v2::{EncryptionId as Encr, IntegrityId as Integ};

fn all() -> Vec<(Encr, Option<u16>, Option<Integ>)> {
    let mut all = vec![(Encr::ENCR_CHACHA20_POLY1305, None, None)];
    for bits in [128, 192, 256] {
        for id in [Encr::ENCR_AES_GCM_8, Encr::ENCR_AES_GCM_12, Encr::ENCR_AES_GCM_16] {
            all.push((id, Some(bits), None));
        }
        for mac in [
            Integ::AUTH_HMAC_SHA1_96,
            Integ::AUTH_HMAC_SHA2_256_128,
            Integ::AUTH_HMAC_SHA2_384_192,
            Integ::AUTH_HMAC_SHA2_512_256,
        ] {
            all.push((Encr::ENCR_3DES, None, Some(mac)));
            all.push((Encr::ENCR_AES_CBC, Some(bits), Some(mac)));
            all.push((Encr::ENCR_AES_CTR, Some(bits), Some(mac)));
        }
    }
    all
}

#[test]
fn open_undoes_seal_and_every_changed_octet_is_noticed() {
    for (id, bits, mac) in all() {
        let cipher = Cipher::new(id, bits, mac).unwrap();
        let keys = Keys {
            encryption: Secret::new((0..).take(cipher.key_len()).collect()),
            integrity: Secret::new((100..).take(cipher.integrity_key_len()).collect()),
        };
        let aad = b"header and payload header".to_vec();
        let iv = vec![7; cipher.iv_len()];
        let plain = b"0123456789abcdef0123456789abcdef".to_vec();
        let mut text = plain.clone();
        let mut icv = vec![0; cipher.icv_len()];
        let mut parts = Parts { aad: &aad, iv: &iv, text: &mut text };
        cipher.seal(&keys, &mut parts, &mut icv).unwrap();
        assert_ne!(text, plain, "{id}");

        let open = |aad: &[u8], iv: &[u8], text: &[u8], icv: &[u8]| {
            let mut text = text.to_vec();
            let opened = cipher.open(&keys, &mut Parts { aad, iv, text: &mut text }, icv);
            opened.map(|()| text)
        };
        assert_eq!(open(&aad, &iv, &text, &icv).as_ref(), Ok(&plain), "{id} {mac:?}");
        let changed = |octets: &[u8]| {
            let mut octets = octets.to_vec();
            octets[3] ^= 1;
            octets
        };
        let wrong = Err(Error::NotAuthentic);
        assert_eq!(open(&changed(&aad), &iv, &text, &icv), wrong, "{id}: associated data");
        assert_eq!(open(&aad, &changed(&iv), &text, &icv), wrong, "{id}: IV");
        assert_eq!(open(&aad, &iv, &changed(&text), &icv), wrong, "{id}: text");
        assert_eq!(open(&aad, &iv, &text, &changed(&icv)), wrong, "{id}: checksum");
    }
}

/// McGrew and Viega's test case 4, 60 octets of text and 20 of associated data.
#[test]
fn gcm_test_case_4() {
    let cipher = Cipher::new(Encr::ENCR_AES_GCM_16, Some(128), None).unwrap();
    let keys = Keys {
        encryption: Secret::new(hex("feffe9928665731c6d6a8f9467308308 cafebabe")),
        integrity: Secret::new(Vec::new()),
    };
    let mut text = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
    let mut icv = [0; 16];
    let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let iv = hex("facedbaddecaf888");
    cipher.seal(&keys, &mut Parts { aad: &aad, iv: &iv, text: &mut text }, &mut icv).unwrap();
    assert_eq!(
        text,
        hex("42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091")
    );
    assert_eq!(icv.to_vec(), hex("5bc94fbc3221a5db94fae95ae7121a47"));
}

/// RFC 3686, test vector 1.
#[test]
fn ctr_rfc3686() {
    let cipher =
        Cipher::new(Encr::ENCR_AES_CTR, Some(128), Some(Integ::AUTH_HMAC_SHA1_96)).unwrap();
    let keys = Keys {
        encryption: Secret::new(hex("ae6852f8121067cc4bf7a5765577f39e 00000030")),
        integrity: Secret::new(vec![1; 20]),
    };
    let mut text = b"Single block msg".to_vec();
    let iv = [0; 8];
    let mut icv = [0; 12];
    cipher.seal(&keys, &mut Parts { aad: b"", iv: &iv, text: &mut text }, &mut icv).unwrap();
    assert_eq!(text, hex("e4095d4fb7a7b3792d6175a3261311b8"));
}

/// RFC 3602, case 1.
#[test]
fn cbc_rfc3602() {
    let mac = Some(Integ::AUTH_HMAC_SHA2_256_128);
    let cipher = Cipher::new(Encr::ENCR_AES_CBC, Some(128), mac).unwrap();
    let keys = Keys {
        encryption: Secret::new(hex("06a9214036b8a15b512e03d534120006")),
        integrity: Secret::new(vec![1; 32]),
    };
    let mut text = b"Single block msg".to_vec();
    let iv = hex("3dafba429d9eb430b422da802c9fac41");
    let mut icv = [0; 16];
    cipher.seal(&keys, &mut Parts { aad: b"", iv: &iv, text: &mut text }, &mut icv).unwrap();
    assert_eq!(text, hex("e353779c1079aeb82708942dbe77181a"));
}

/// RFC 8439 §2.8.2: its nonce is a salt and an IV as RFC 7634 puts them together.
#[test]
fn chacha20_poly1305_rfc8439() {
    let cipher = Cipher::new(Encr::ENCR_CHACHA20_POLY1305, None, None).unwrap();
    let key: Vec<u8> = (0x80..=0x9f).chain([7, 0, 0, 0]).collect();
    let keys = Keys { encryption: Secret::new(key), integrity: Secret::new(Vec::new()) };
    let mut text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
                     for the future, sunscreen would be it."
        .to_vec();
    let aad = hex("50515253c0c1c2c3c4c5c6c7");
    let iv = hex("4041424344454647");
    let mut icv = [0; 16];
    cipher.seal(&keys, &mut Parts { aad: &aad, iv: &iv, text: &mut text }, &mut icv).unwrap();
    assert_eq!(
        text,
        hex("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
             3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
             92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
             3ff4def08e4b7a9de576d26586cec64b6116")
    );
    assert_eq!(icv.to_vec(), hex("1ae10b594f09e26a7e902ecbd0600691"));
}

/// What is longer than one piece of the stack comes out as if it were worked on at once.
#[test]
fn long_texts_in_cbc_are_one_chain() {
    let mac = Some(Integ::AUTH_HMAC_SHA2_256_128);
    let cipher = Cipher::new(Encr::ENCR_AES_CBC, Some(256), mac).unwrap();
    let keys = Keys { encryption: Secret::new(vec![3; 32]), integrity: Secret::new(vec![4; 32]) };
    for len in [16, 496, 512, 528, 1024, 2064] {
        let plain: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let mut text = plain.clone();
        let mut icv = [0; 16];
        let iv = [9; 16];
        cipher.seal(&keys, &mut Parts { aad: b"a", iv: &iv, text: &mut text }, &mut icv).unwrap();
        let raw = openssl::symm::Cipher::aes_256_cbc();
        let whole = openssl::symm::encrypt(raw, &[3; 32], Some(&iv), &plain).unwrap();
        assert_eq!(text, whole[..len], "{len}");
        cipher.open(&keys, &mut Parts { aad: b"a", iv: &iv, text: &mut text }, &icv).unwrap();
        assert_eq!(text, plain, "{len}");
    }
}

#[test]
fn wrong_lengths_are_refused_with_both_numbers() {
    let cipher = Cipher::new(Encr::ENCR_AES_GCM_16, Some(128), None).unwrap();
    let keys = Keys { encryption: Secret::new(vec![0; 16]), integrity: Secret::new(Vec::new()) };
    let mut text = [0; 4];
    let mut parts = Parts { aad: b"", iv: &[0; 8], text: &mut text };
    let error = cipher.open(&keys, &mut parts, &[0; 16]).unwrap_err();
    assert_eq!(error.to_string(), "the encryption key takes 20 octets, not 16");
}

#[test]
fn combinations_without_sense_are_refused() {
    let refused = |id, bits, mac| Cipher::new(id, bits, mac).err().unwrap().to_string();
    assert!(refused(Encr::ENCR_AES_CBC, Some(128), None).contains("without integrity"));
    assert!(refused(Encr::ENCR_AES_GCM_16, Some(100), None).contains("AES_GCM_16-100"));
    let with = refused(Encr::ENCR_AES_GCM_16, Some(128), Some(Integ::AUTH_HMAC_SHA1_96));
    assert!(with.contains("AUTH_HMAC_SHA1_96"), "{with}");
    assert!(refused(Encr::ENCR_CAMELLIA_CBC, Some(128), None).contains("CAMELLIA"));
}
