//! RFC 7748, RFC 5903: key exchange; RFC 6989: what is refused.

use crate::hex;
use oakd::crypto::kex::public_len;
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

#[test]
fn both_sides_agree_in_every_group() {
    for group in COMPUTED {
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
    for group in COMPUTED {
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
