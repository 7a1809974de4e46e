//! Signatures of others: RFC 4754, RFC 8032, and Wycheproof's for the forms that are our own (r and s side
//! by side, an AlgorithmIdentifier before the signature).

use oakd::crypto::signature::{
    self, Family, SCHEMES, Scheme, named, public_half, sign, verify, verify_classic, verify_hash,
};
use oakd::wire::iana::v2::{AuthMethod, HashId};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use crate::certs::Holder;
use oakd::pki::authority::NewKey;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

#[test]
fn rfc_4754_section_8_1() {
    let x = "2442A5CC 0ECD015F A3CA31DC 8E2BBC70 BF42D60C BCA20085 E0822CB0 4235E970";
    let y = "6FC98BD7 E50211A4 A27102FA 3549DF79 EBCB4BF2 46B80945 CDDFE7D5 09BBFD7D";
    let r = "CB28E099 9B9C7715 FD0A80D8 E47A7707 9716CBBF 917DD72E 97566EA1 C066957C";
    let s = "86FA3BB4 E26CAD5B F90B7F81 899256CE 7594BB1E A0C89212 748BFF3B 3D5B0315";
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let number = |text| BigNum::from_slice(&hex(text)).unwrap();
    let key = EcKey::from_public_key_affine_coordinates(&group, &number(x), &number(y)).unwrap();
    let key = PKey::from_ec_key(key).unwrap();
    let signature = [hex(r), hex(s)].concat();
    let method = AuthMethod::ECDSA_SHA256_P256;
    assert!(verify_classic(&key, method, b"abc", &signature).unwrap());
    assert!(!verify_classic(&key, method, b"abd", &signature).unwrap());
    // In IKEv1 it is over the hash itself.
    assert!(verify_hash(&key, &openssl::sha::sha256(b"abc"), &signature).unwrap());
}

#[test]
fn rfc_8032_section_7_1() {
    let secret = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let wanted = hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    let key = PKey::private_key_from_raw_bytes(&secret, Id::ED25519).unwrap();
    let scheme = by(Family::Ed25519, HashId::IDENTITY);
    assert_eq!(sign(&key, scheme, &[0x72]).unwrap(), wanted);
    assert!(verify(&public_half(&key).unwrap(), scheme, &[0x72], &wanted).unwrap());
}

fn by(family: Family, hash: HashId) -> &'static Scheme {
    SCHEMES.iter().find(|scheme| (scheme.family, scheme.hash) == (family, hash)).unwrap()
}

/// The names of RFC 7427 are those that the library writes into certificates.
#[test]
fn algorithm_identifiers_are_the_librarys_own() {
    for kind in [NewKey::Rsa(2048), NewKey::P256, NewKey::P384, NewKey::P521, NewKey::Ed25519] {
        let holder = Holder::root("Root", kind);
        let der = holder.cert.to_der().unwrap();
        let kind = signature::KeyKind::of(&holder.key).unwrap();
        let scheme = signature::choose(kind, signature::HASHES).unwrap();
        let times = der.windows(scheme.algorithm.len()).filter(|w| *w == scheme.algorithm).count();
        // Inside and outside of what is signed; EdDSA's key goes by the same name.
        let wanted = if scheme.family == Family::Ed25519 { 3 } else { 2 };
        assert_eq!(times, wanted, "{}", scheme.name);
    }
    for scheme in SCHEMES {
        assert_eq!(named(scheme.algorithm).unwrap(), *scheme);
    }
}

/// A verdict must be what the case says, and a key that is refused counts as a refusal.
fn agrees(verdict: Result<bool, oakd::crypto::Error>, result: TestResult, case: &str) {
    let accepted = verdict.unwrap_or(false);
    match result {
        TestResult::Valid => assert!(accepted, "{case} is right"),
        TestResult::Invalid => assert!(!accepted, "{case} is wrong"),
        TestResult::Acceptable => (),
    }
}

fn key(der: &[u8]) -> PKey<Public> {
    PKey::public_key_from_der(der).unwrap()
}

#[test]
fn ecdsa_side_by_side_and_in_der() {
    use ecdsa::TestName::*;
    let rows = [
        (
            EcdsaSecp256r1Sha256P1363,
            EcdsaSecp256r1Sha256,
            AuthMethod::ECDSA_SHA256_P256,
            HashId::SHA2_256,
        ),
        (
            EcdsaSecp384r1Sha384P1363,
            EcdsaSecp384r1Sha384,
            AuthMethod::ECDSA_SHA384_P384,
            HashId::SHA2_384,
        ),
        (
            EcdsaSecp521r1Sha512P1363,
            EcdsaSecp521r1Sha512,
            AuthMethod::ECDSA_SHA512_P521,
            HashId::SHA2_512,
        ),
    ];
    for (raw, der, method, hash) in rows {
        let mut count = 0;
        for group in ecdsa::TestSet::load(raw).unwrap().test_groups {
            let key = key(&group.der);
            for case in group.tests {
                let verdict = verify_classic(&key, method, &case.msg, &case.sig);
                agrees(verdict, case.result, &format!("{method} {}", case.tc_id));
                count += 1;
            }
        }
        assert!(count > 100, "{count} cases for {method}");
        for group in ecdsa::TestSet::load(der).unwrap().test_groups {
            let key = key(&group.der);
            for case in group.tests {
                let verdict = verify(&key, by(Family::Ecdsa, hash), &case.msg, &case.sig);
                agrees(verdict, case.result, &format!("{hash} {}", case.tc_id));
            }
        }
    }
}

#[test]
fn eddsa() {
    for (name, family) in
        [(eddsa::TestName::Ed25519, Family::Ed25519), (eddsa::TestName::Ed448, Family::Ed448)]
    {
        for group in eddsa::TestSet::load(name).unwrap().test_groups {
            let key = key(&group.der);
            for case in group.tests {
                let verdict = verify(&key, by(family, HashId::IDENTITY), &case.msg, &case.sig);
                agrees(verdict, case.result, &format!("{family:?} {}", case.tc_id));
            }
        }
    }
}

#[test]
fn rsa() {
    use rsa_pkcs1_verify::TestName::*;
    for (name, hash) in [
        (Rsa2048Sha256, HashId::SHA2_256),
        (Rsa2048Sha384, HashId::SHA2_384),
        (Rsa2048Sha512, HashId::SHA2_512),
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let key = key(&group.der);
            for case in group.tests {
                let verdict = verify(&key, by(Family::Pkcs1, hash), &case.msg, &case.sig);
                agrees(verdict, case.result, &format!("RSA {hash} {}", case.tc_id));
            }
        }
    }
    use rsa_pss_verify::TestName::*;
    for (name, hash) in [
        (RsaPss2048Sha256Mgf1SaltLen32, HashId::SHA2_256),
        (RsaPss2048Sha384Mgf1SaltLen48, HashId::SHA2_384),
        (RsaPss4096Sha512Mgf1SaltLen64, HashId::SHA2_512),
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = key(&group.der);
            for case in group.tests {
                let verdict = verify(&key, by(Family::Pss, hash), &case.msg, &case.sig);
                agrees(verdict, case.result, &format!("RSA-PSS {hash} {}", case.tc_id));
            }
        }
    }
}
