//! RFC 7748, RFC 5903, RFC 7027: key exchange; RFC 6989: what is refused.

use crate::hex;
use oakd::crypto::kex::{public_len, supported};
use oakd::crypto::{KeyExchange, SeededRandom};
use oakd::wire::iana::v2::GroupId;

const COMPUTED: [GroupId; 18] = [
    GroupId::MODP_768,
    GroupId::MODP_1024,
    GroupId::MODP_1536,
    GroupId::MODP_2048,
    GroupId::MODP_3072,
    GroupId::MODP_4096,
    GroupId::MODP_6144,
    GroupId::MODP_8192,
    GroupId::ECP_256,
    GroupId::ECP_384,
    GroupId::ECP_521,
    GroupId::ECP_224,
    GroupId::BRAINPOOL_P224R1,
    GroupId::BRAINPOOL_P256R1,
    GroupId::BRAINPOOL_P384R1,
    GroupId::BRAINPOOL_P512R1,
    GroupId::CURVE25519,
    GroupId::CURVE448,
];

#[test]
fn rfc7748_x25519() {
    let bob = hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let alice = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    let half = KeyExchange::from_private(GroupId::CURVE25519, &bob).unwrap();
    assert_eq!(
        half.public(),
        hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    );
    assert_eq!(
        half.shared(&alice).unwrap().octets(),
        hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    );
}

/// RFC 7748 §6.2.
#[test]
fn rfc7748_x448() {
    if !supported(GroupId::CURVE448) {
        eprintln!("skipped: this library has no X448");
        return;
    }
    let alice = hex("9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28dd9c9baf5
         74a9419744897391006382a6f127ab1d9ac2d8c0a598726b");
    let bob = hex("3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b43027d8b972
         fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609");
    let half = KeyExchange::from_private(GroupId::CURVE448, &alice).unwrap();
    assert_eq!(
        half.public(),
        hex("9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c22c5d9bb
             c836647241d953d40c5b12da88120d53177f80e532c41fa0")
    );
    assert_eq!(
        half.shared(&bob).unwrap().octets(),
        hex("07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282bb60c0b56
             fd2464c335543936521c24403085d59a449a5037514a879d")
    );
}

struct Ecp {
    group: GroupId,
    /// The two private values and the initiator's public value.
    i: &'static str,
    r: &'static str,
    gi: &'static str,
    /// The shared secret: the x coordinate.
    girx: &'static str,
}

/// RFC 5903 §8.1 to §8.3.
const RFC5903: [Ecp; 3] = [
    Ecp {
        group: GroupId::ECP_256,
        i: "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
        r: "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
        gi: "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180
             5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
        girx: "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
    },
    Ecp {
        group: GroupId::ECP_384,
        i: "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655
            e35b538041e649ee3faef896783ab194",
        r: "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942
            e0308312916b8ed2960e4bd55a7448fc",
        gi: "667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6
             de3ac808acb4bdb4c88732aee95f41aa
             9482ed1fc0eeb9cafc4984625ccfc23f65032149e0e144ada024181535a0f38e
             eb9fcff3c2c947dae69b4c634573a81c",
        girx: "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4
               d603135569b9e9d09cf5d4a270f59746",
    },
    Ecp {
        group: GroupId::ECP_521,
        i: "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a0
            95aa85a30fe1c2952c6771d937ba9777f5957b2639bab072462f68c27a57382d4a52",
        r: "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e
            9c677d600b343757a3bdbf2a3163e4c2f869cca7458aa4a4effc311f5cb151685eb9",
        gi: "0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbe
             e1e3bf42e00b8e380aeae57c2d107564941885942af5a7f4601723c4195d176ced3e
             017cae20b6641d2eeb695786d8c946146239d099e18e1d5a514c739d7cb4a10a
             d8a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb6ca3926f9582",
        girx: "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04
               d1427e73ca4baa240a34786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea",
    },
];

#[test]
fn rfc5903_ecp() {
    for Ecp { group, i, r, gi, girx } in RFC5903 {
        let initiator = KeyExchange::from_private(group, &hex(i)).unwrap();
        let responder = KeyExchange::from_private(group, &hex(r)).unwrap();
        assert_eq!(initiator.public(), hex(gi), "{group}");
        let gr = responder.public().to_vec();
        assert_eq!(initiator.shared(&gr).unwrap().octets(), hex(girx), "{group}");
        assert_eq!(responder.shared(&hex(gi)).unwrap().octets(), hex(girx), "{group}");
    }
}

/// RFC 7027 §A.1, if the library was built with the curve.
#[test]
fn rfc7027_brainpool() {
    let group = GroupId::BRAINPOOL_P256R1;
    if !supported(group) {
        eprintln!("skipped: this library has no {group}");
        return;
    }
    let a = hex("81db1ee100150ff2ea338d708271be38300cb54241d79950f77b063039804f1d");
    let b = hex("55e40bc41e37e3e2ad25c3c6654511ffa8474a91a0032087593852d3e7d76bd3");
    let a = KeyExchange::from_private(group, &a).unwrap();
    let b = KeyExchange::from_private(group, &b).unwrap();
    assert_eq!(
        a.shared(b.public()).unwrap().octets(),
        hex("89afc39d41d3b327814b80940b042590f96556ec91e6ae7939bce31f3a18bf2b")
    );
}

/// SHA-256 of the padded public and shared values for the private values `a` = 0x0102..1f20 and `a` plus
/// the second column. The primes were made by the formulas of RFC 2409 §6 and RFC 3526 (powers of two and
/// digits of pi) and the powers taken by another big-number arithmetic, so neither the library's tables
/// nor its exponentiation are trusted here. For MODP_2048 the shared value begins with a zero octet.
#[rustfmt::skip]
const MODP: [(GroupId, u8, &str, &str); 8] = [
    (GroupId::MODP_768, 1, "983f65c1780576f288fcef2024c395c3012bcb2ca1894b8d1c7021869db87968", "6ed71fc5bfbbbad56f1cc0decb0f4c1d6b0af133e20c221ffb40448c18f4a24a"),
    (GroupId::MODP_1024, 1, "3e5e53f04e5eeec9a4732ead2dc7f2ffad5d7f6aab19395b4a8130e8ec660251", "2473cee858f450584220bb8215c858bb2455cd1593a478f8211f7803a8eab933"),
    (GroupId::MODP_1536, 1, "9a5ea5c17387a96223486d00a3d3437a4622bc0c790f48f01a1cebca6ce67221", "aa11677e02c76f4eee7884a007b507c1b551576861af09e9bf54f27969530f11"),
    (GroupId::MODP_2048, 170, "0b9cb9036d2a594a7e3b43169bdf47ee9c7b64a2292203f1bb137b0b648d7e3c", "74e9a8697c93f16680f4e1ef88773de1d6693cef24dfca9ca437c361bb093f61"),
    (GroupId::MODP_3072, 1, "b74e630be90eb9d4b19affaa173864f62b7b5408127da1bbe6614ff3b3d96c4d", "8df4121814e77220911d12581299335bbcbbf9cefdfa7ac2aedfba965caadf3f"),
    (GroupId::MODP_4096, 1, "0587822953fd21e5d74b2e8d6b068da2bf44c4793b7955aaa0d8ea4a5d3fceee", "f5000907003293aabc56fa8868111bd795daccb56c2301b7661567f8863ab93b"),
    (GroupId::MODP_6144, 1, "b59a1fdd9ea5a2e0b9ba03805a744504315892715900c6b39cc32f9f36a04f8c", "50b4910c865d2a036afcd4a19abcfaac98b2d7c60e501be2912cfecd4d0ff28f"),
    (GroupId::MODP_8192, 1, "5198b265547120332a823f75cb69fe8df34fff6cf8070f3d44b8ca64f1af5190", "5ffe7c4ae3af55d10fa1ceda6200efbde565c851690c0d46009309aac1d87856"),
];

#[test]
fn modp_by_another_arithmetic() {
    let digest = |octets: &[u8]| openssl::sha::sha256(octets).to_vec();
    for (group, more, public, shared) in MODP {
        let a: Vec<u8> = (1..=32).collect();
        let mut b = a.clone();
        b[31] += more;
        let a = KeyExchange::from_private(group, &a).unwrap();
        let b = KeyExchange::from_private(group, &b).unwrap();
        assert_eq!(digest(a.public()), hex(public), "{group}");
        let b = b.public().to_vec();
        let secret = a.shared(&b).unwrap();
        assert_eq!(digest(secret.octets()), hex(shared), "{group}");
        assert_eq!(secret.octets()[0] == 0, group == GroupId::MODP_2048, "{group}");
    }
}

#[test]
fn both_sides_agree_in_every_group() {
    for group in COMPUTED.into_iter().filter(|group| supported(*group)) {
        let ours = KeyExchange::generate(group, &mut SeededRandom::new(1)).unwrap();
        let theirs = KeyExchange::generate(group, &mut SeededRandom::new(2)).unwrap();
        assert_eq!(Some(ours.public().len()), public_len(group), "{group}");
        assert_ne!(ours.public(), theirs.public(), "{group}");
        let (public, peer) = (ours.public().to_vec(), theirs.public().to_vec());
        assert!(ours.shared(&peer).unwrap() == theirs.shared(&public).unwrap(), "{group}");
    }
}

#[test]
fn bad_public_values_are_refused() {
    for group in COMPUTED.into_iter().filter(|group| supported(*group)) {
        let len = public_len(group).unwrap();
        let refuse = |peer: &[u8]| {
            let ours = KeyExchange::generate(group, &mut SeededRandom::new(3)).unwrap();
            let error = ours.shared(peer).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("refused"), "{group}: {error:?}");
        };
        refuse(&vec![1; len - 1]);
        refuse(&vec![1; len + 1]);
        refuse(&vec![0; len]);
        if group != GroupId::CURVE25519 && group != GroupId::CURVE448 {
            refuse(&vec![0xff; len]);
            let mut one = vec![0; len];
            one[len - 1] = 1;
            refuse(&one);
        }
    }
}

#[test]
fn other_groups_are_refused_by_name() {
    let error =
        KeyExchange::generate(GroupId::ML_KEM_768, &mut SeededRandom::new(4)).err().unwrap();
    assert!(error.to_string().contains("ml-kem-768"), "{error}");
}

/// RFC 6989 §2.3: coordinates are below the field's prime, even where the point would be on the curve.
#[test]
fn a_coordinate_beyond_the_field_is_refused() {
    // P-256 has a point with x = 5; x plus the prime names the same point in a form no peer may send.
    let x = hex("ffffffff00000001000000000000000000000001000000000000000000000004");
    let y = hex("459243b9aa581806fe913bce99817ade11ca503c64d9a3c533415c083248fbcc");
    let ours = KeyExchange::generate(GroupId::ECP_256, &mut SeededRandom::new(5)).unwrap();
    let mut five = vec![0; 32];
    five[31] = 5;
    ours.shared(&[five, y.clone()].concat()).unwrap();
    let ours = KeyExchange::generate(GroupId::ECP_256, &mut SeededRandom::new(5)).unwrap();
    let error = ours.shared(&[x, y].concat()).err().unwrap().to_string();
    assert!(error.contains("not on the curve"), "{error}");
}

#[test]
fn a_private_value_out_of_range_is_refused() {
    assert!(KeyExchange::from_private(GroupId::ECP_256, &[0; 32]).is_err());
    assert!(KeyExchange::from_private(GroupId::CURVE25519, &[1; 31]).is_err());
}

#[test]
fn small_subgroup_moduli_of_rfc5114_are_refused_by_name() {
    for group in [GroupId::MODP_1024_160, GroupId::MODP_2048_224, GroupId::MODP_2048_256] {
        assert!(!supported(group), "{group}");
        let error = KeyExchange::generate(group, &mut SeededRandom::new(6)).err().unwrap();
        assert!(error.to_string().contains(&group.to_string()), "{error}");
    }
}
