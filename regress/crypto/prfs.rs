//! RFC 2202 and RFC 4231: HMAC. `prf+` against its definition.

use crate::hex;
use oakd::crypto::{Prf, Secret, psk_auth, psk_verify};
use oakd::wire::iana::v2::PrfId;

fn check(id: PrfId, key: &[u8], data: &[u8], wanted: &str) {
    let prf = Prf::new(id).unwrap();
    let (head, tail) = data.split_at(data.len() / 3);
    assert_eq!(prf.prf(key, &[head, tail]).octets(), hex(wanted), "{id}");
}

#[test]
fn rfc2202_sha1() {
    let id = PrfId::PRF_HMAC_SHA1;
    check(id, &[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00");
    check(id, b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    check(
        id,
        &[0xaa; 80],
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "aa4ae5e15272d00e95705637ce8a3b55ed402112",
    );
}

#[test]
fn rfc4231_sha2() {
    let jefe: (&[u8], &[u8]) = (b"Jefe", b"what do ya want for nothing?");
    let wanted = [
        (
            PrfId::PRF_HMAC_SHA2_256,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            PrfId::PRF_HMAC_SHA2_384,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e
             8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            PrfId::PRF_HMAC_SHA2_512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ];
    for (id, mac) in wanted {
        check(id, jefe.0, jefe.1, mac);
    }
    check(
        PrfId::PRF_HMAC_SHA2_256,
        &[0xaa; 131],
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    );
}

#[test]
fn rfc4231_sha2_cases_1_and_6() {
    let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
    let ids = [PrfId::PRF_HMAC_SHA2_256, PrfId::PRF_HMAC_SHA2_384, PrfId::PRF_HMAC_SHA2_512];
    let case_1 = [
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c
         faea9ea9076ede7f4af152e8b2fa9cb6",
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde
         daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
    ];
    let case_6 = [
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6
         0c2ef6ab4030fe8296248df163f44952",
        "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352
         6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
    ];
    for (i, id) in ids.into_iter().enumerate() {
        check(id, &[0x0b; 20], b"Hi There", case_1[i]);
        check(id, &[0xaa; 131], long, case_6[i]);
    }
}

#[test]
fn prf_plus_is_the_chain_of_rfc7296() {
    let prf = Prf::new(PrfId::PRF_HMAC_SHA2_256).unwrap();
    let t1 = prf.prf(b"key", &[b"seed", &[1]]);
    let t2 = prf.prf(b"key", &[t1.octets(), b"seed", &[2]]);
    let t3 = prf.prf(b"key", &[t2.octets(), b"seed", &[3]]);
    let chain = [t1.octets(), t2.octets(), t3.octets()].concat();
    assert_eq!(prf.plus(b"key", &[b"se", b"ed"], 80).octets(), &chain[..80]);
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    let refused = Prf::new(PrfId::PRF_AES128_XCBC).err().unwrap().to_string();
    assert!(refused.contains("PRF_AES128_XCBC"), "{refused}");
}

#[test]
fn the_auth_value_of_a_shared_key_is_two_prfs_deep() {
    let (id, psk) = (PrfId::PRF_HMAC_SHA2_256, Secret::from(&b"mekmitasdigoat"[..]));
    let prf = Prf::new(id).unwrap();
    let inner = prf.prf(psk.octets(), &[b"Key Pad for IKEv2"]);
    let wanted = prf.prf(inner.octets(), &[b"signed octets"]);
    let auth = psk_auth(id, &psk, b"signed octets").unwrap();
    assert_eq!(auth, wanted.octets());
    assert!(psk_verify(id, &psk, b"signed octets", &auth).unwrap());
    assert!(!psk_verify(id, &psk, b"signed octet", &auth).unwrap());
    assert!(!psk_verify(id, &psk, b"signed octets", &auth[..31]).unwrap());
    assert!(!psk_verify(id, &Secret::from(&b"other"[..]), b"signed octets", &auth).unwrap());
}
