//! Signatures of others: RFC 4754, RFC 7427, RFC 8032, and Wycheproof's for the forms that are our own (r and s side
//! by side, an AlgorithmIdentifier before the signature).

use oakd::crypto::signature::{
    self, Family, SCHEMES, Scheme, named, public_half, sign, verify, verify_classic, verify_hash,
};
use oakd::wire::iana::v2::{AuthMethod, HashId};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
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

/// A public key and the signature of "abc" by it: x, y, r, s.
fn rfc_4754(curve: Nid, method: AuthMethod, hash: MessageDigest, [x, y, r, s]: [&str; 4]) {
    let group = EcGroup::from_curve_name(curve).unwrap();
    let number = |text| BigNum::from_slice(&hex(text)).unwrap();
    let key = EcKey::from_public_key_affine_coordinates(&group, &number(x), &number(y)).unwrap();
    let key = PKey::from_ec_key(key).unwrap();
    let signature = [hex(r), hex(s)].concat();
    assert!(verify_classic(&key, method, b"abc", &signature).unwrap(), "{method}");
    assert!(!verify_classic(&key, method, b"abd", &signature).unwrap(), "{method}");
    // In IKEv1 it is over the hash itself.
    let digest = openssl::hash::hash(hash, b"abc").unwrap();
    assert!(verify_hash(&key, &digest, &signature).unwrap(), "{method}");
}

#[test]
fn rfc_4754_section_8() {
    let p256 = [
        "2442A5CC 0ECD015F A3CA31DC 8E2BBC70 BF42D60C BCA20085 E0822CB0 4235E970",
        "6FC98BD7 E50211A4 A27102FA 3549DF79 EBCB4BF2 46B80945 CDDFE7D5 09BBFD7D",
        "CB28E099 9B9C7715 FD0A80D8 E47A7707 9716CBBF 917DD72E 97566EA1 C066957C",
        "86FA3BB4 E26CAD5B F90B7F81 899256CE 7594BB1E A0C89212 748BFF3B 3D5B0315",
    ];
    let p384 = [
        "96281BF8 DD5E0525 CA049C04 8D345D30 82968D10 FEDF5C5A CA0C64E6 465A97EA 5CE10C9D \
         FEC21797 41571072 1F437922",
        "447688BA 94708EB6 E2E4D59F 6AB6D7ED FF9301D2 49FE49C3 3096655F 5D502FAD 3D383B91 \
         C5E7EDAA 2B714CC9 9D5743CA",
        "FB017B91 4E291494 32D8BAC2 9A514640 B46F53DD AB2C6994 8084E293 0F1C8F7E 08E07C9C \
         63F2D21A 07DCB56A 6AF56EB3",
        "B263A130 5E057F98 4D38726A 1B468741 09F417BC A112674C 528262A4 0A629AF1 CBB9F516 \
         CE0FA7D2 FF630863 A00E8B9F",
    ];
    let p521 = [
        "0151518F 1AF0F563 517EDD54 85190DF9 5A4BF57B 5CBA4CF2 A9A3F647 4725A35F 7AFE0A6D \
         DEB8BEDB CD6A197E 592D4018 8901CECD 650699C9 B5E456AE A5ADD190 52A8",
        "006F3B14 2EA1BFFF 7E2837AD 44C9E4FF 6D2D34C7 3184BBAD 90026DD5 E6E85317 D9DF45CA \
         D7803C6C 20035B2F 3FF63AFF 4E1BA64D 1C077577 DA3F4286 C58F0AEA E643",
        "0154FD38 36AF92D0 DCA57DD5 341D3053 988534FD E8318FC6 AAAAB68E 2E6F4339 B19F2F28 \
         1A7E0B22 C269D93C F8794A92 78880ED7 DBB8D936 2CAEACEE 54432055 2251",
        "017705A7 030290D1 CEB605A9 A1BB03FF 9CDD521E 87A696EC 926C8C10 C8362DF4 97536710 \
         1F67D1CF 9BCCBF2F 3D239534 FA509E70 AAC851AE 01AAC68D 62F86647 2660",
    ];
    let [sha256, sha384, sha512] =
        [MessageDigest::sha256(), MessageDigest::sha384(), MessageDigest::sha512()];
    rfc_4754(Nid::X9_62_PRIME256V1, AuthMethod::ECDSA_SHA256_P256, sha256, p256);
    rfc_4754(Nid::SECP384R1, AuthMethod::ECDSA_SHA384_P384, sha384, p384);
    rfc_4754(Nid::SECP521R1, AuthMethod::ECDSA_SHA512_P521, sha512, p521);
}

/// The AlgorithmIdentifiers of RFC 7427 appendix A, and of RFC 8420 appendix A.
#[test]
fn rfc_7427_appendix_a() {
    for (identifier, wanted) in [
        // A.1: PKCS #1 v1.5.
        ("300d 0609 2a86 4886 f70d 0101 0505 00", Err("SHA-1")),
        ("300d 0609 2a86 4886 f70d 0101 0b05 00", Ok("RSA with SHA2-256")),
        ("300d 0609 2a86 4886 f70d 0101 0c05 00", Ok("RSA with SHA2-384")),
        ("300d 0609 2a86 4886 f70d 0101 0d05 00", Ok("RSA with SHA2-512")),
        // A.2: DSA.
        ("3009 0607 2a86 48ce 3804 03", Err("1.2.840.10040.4.3")),
        ("300b 0609 6086 4801 6503 0403 02", Err("2.16.840.1.101.3.4.3.2")),
        // A.3: ECDSA.
        ("3009 0607 2a86 48ce 3d04 01", Err("SHA-1")),
        ("300a 0608 2a86 48ce 3d04 0302", Ok("ECDSA with SHA2-256")),
        ("300a 0608 2a86 48ce 3d04 0303", Ok("ECDSA with SHA2-384")),
        ("300a 0608 2a86 48ce 3d04 0304", Ok("ECDSA with SHA2-512")),
        // A.4: RSASSA-PSS with empty parameters, with the default ones, with SHA2-256.
        ("300d 0609 2a86 4886 f70d 0101 0a30 00", Err("SHA-1")),
        (
            "303e 0609 2a86 4886 f70d 0101 0a30 31a0 0b30 0906 052b 0e03 021a 0500 a118 3016 0609 \
             2a86 4886 f70d 0101 0830 0906 052b 0e03 021a 0500 a203 0201 14a3 0302 0101",
            Err("SHA-1"),
        ),
        (
            "3046 0609 2a86 4886 f70d 0101 0a30 39a0 0f30 0d06 0960 8648 0165 0304 0201 0500 a11c \
             301a 0609 2a86 4886 f70d 0101 0830 0d06 0960 8648 0165 0304 0201 0500 a203 0201 20a3 \
             0302 0101",
            Ok("RSA-PSS with SHA2-256"),
        ),
        ("3005 0603 2b65 70", Ok("Ed25519")),
        ("3005 0603 2b65 71", Ok("Ed448")),
    ] {
        match (named(&hex(identifier)), wanted) {
            (Ok(scheme), Ok(name)) => assert_eq!(scheme.name, name),
            (Err(why), Err(wanted)) => assert!(why.contains(wanted), "{why}"),
            (came, wanted) => panic!("{identifier}: {came:?}, not {wanted:?}"),
        }
    }
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

#[test]
fn rfc_8032_section_7_4() {
    let secret = hex("6c82a562cb808d10d632be89c8513ebf6c929f34ddfa8c9f63c9960ef6e348a3\
         528c8a3fcc2f044e39a3fc5b94492f8f032e7549a20098f95b");
    let wanted = hex("533a37f6bbe457251f023c0d88f976ae2dfb504a843e34d2074fd823d41a591f\
         2b233f034f628281f2fd7a22ddd47d7828c59bd0a21bfd3980ff0d2028d4b18a\
         9df63e006c5d1c2d345b925d8dc00b4104852db99ac5c7cdda8530a113a0f4db\
         b61149f05a7363268c71d95808ff2e652600");
    // Not every version of the library has a constant for it.
    let key = PKey::private_key_from_raw_bytes(&secret, Id::from_raw(1088)).unwrap();
    let scheme = by(Family::Ed448, HashId::IDENTITY);
    assert_eq!(sign(&key, scheme, &[]).unwrap(), wanted);
    assert!(verify(&public_half(&key).unwrap(), scheme, &[], &wanted).unwrap());
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
