//! RFC 2202 and RFC 4231: HMAC. `prf+` against its definition.

use crate::hex;
use oakd::crypto::Prf;
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
