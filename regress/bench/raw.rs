//! The cryptography of a handshake, alone.

use oakd::crypto::cipher::{Keys, Parts};
use oakd::crypto::{
    ChildSuite, Cipher, IkeSuite, KeyExchange, Prf, Random, Secret, SystemRandom, psk_auth,
    psk_verify, sha1,
};
use oakd::wire::iana::v2::{EncryptionId as Encr, GroupId, IntegrityId as Integ, PrfId};
use openssl::derive::Deriver;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use crate::time::{head, micros, row};

/// Octets of the messages, as they are on the wire with a suite of today and two subnets.
const INIT_LEN: usize = 272;
const AUTH_TEXT_LEN: usize = 208;
const AUTH_HEADER_LEN: usize = 32;
const NONCE_LEN: usize = 32;
const ID_LEN: usize = 24;

/// The suites that the tables show.
pub fn suites() -> Vec<IkeSuite> {
    let aes =
        |id, group, prf| IkeSuite { encryption: (id, Some(256)), integrity: None, prf, group };
    let cbc = |group| IkeSuite {
        encryption: (Encr::ENCR_AES_CBC, Some(256)),
        integrity: Some(Integ::AUTH_HMAC_SHA2_256_128),
        prf: PrfId::PRF_HMAC_SHA2_256,
        group,
    };
    vec![
        aes(Encr::ENCR_AES_GCM_16, GroupId::CURVE25519, PrfId::PRF_HMAC_SHA2_256),
        IkeSuite {
            encryption: (Encr::ENCR_CHACHA20_POLY1305, None),
            ..aes(Encr::ENCR_AES_GCM_16, GroupId::CURVE25519, PrfId::PRF_HMAC_SHA2_256)
        },
        aes(Encr::ENCR_AES_GCM_16, GroupId::ECP_256, PrfId::PRF_HMAC_SHA2_256),
        cbc(GroupId::ECP_256),
        cbc(GroupId::MODP_2048),
        aes(Encr::ENCR_AES_GCM_16, GroupId::ECP_384, PrfId::PRF_HMAC_SHA2_384),
    ]
}

/// The suite by the words of the configuration.
pub fn name(suite: &IkeSuite) -> String {
    let (id, bits) = suite.encryption;
    let integrity = suite.integrity.and_then(|id| id.keyword(None));
    let words = [id.keyword(bits), integrity, suite.prf.keyword(None), suite.group.keyword(None)];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The table of single computations; beside ours the library's generic interface, where it has one.
pub fn primitives() {
    head("one computation, us, best of many", &["oakd", "EVP"]);
    for group in [
        GroupId::CURVE25519,
        GroupId::CURVE448,
        GroupId::ECP_256,
        GroupId::ECP_384,
        GroupId::ECP_521,
        GroupId::MODP_2048,
        GroupId::MODP_3072,
    ] {
        let peer = KeyExchange::generate(group, &mut SystemRandom).unwrap().public().to_vec();
        let ours = micros(|| {
            let half = KeyExchange::generate(group, &mut SystemRandom).unwrap();
            half.shared(&peer).unwrap()
        });
        row(
            &format!("{}: generate, shared", group.keyword(None).unwrap_or_default()),
            &[Some(ours), evp_exchange(group)],
        );
    }
    let key = [7; 32];
    let parts: [&[u8]; 2] = [&[1; 32], &[2; 32]];
    for (id, digest) in [
        (PrfId::PRF_HMAC_SHA1, MessageDigest::sha1()),
        (PrfId::PRF_HMAC_SHA2_256, MessageDigest::sha256()),
        (PrfId::PRF_HMAC_SHA2_512, MessageDigest::sha512()),
    ] {
        let prf = Prf::new(id).unwrap();
        let ours = micros(|| prf.prf(&key, &parts));
        let evp = micros(|| {
            let key = PKey::hmac(&key).unwrap();
            let mut signer = Signer::new(digest, &key).unwrap();
            parts.iter().for_each(|part| signer.update(part).unwrap());
            signer.sign_to_vec().unwrap()
        });
        row(&format!("{id}: 64 octets"), &[Some(ours), Some(evp)]);
    }
    let ciphers = [
        (Encr::ENCR_AES_GCM_16, Some(256), None),
        (Encr::ENCR_CHACHA20_POLY1305, None, None),
        (Encr::ENCR_AES_CBC, Some(256), Some(Integ::AUTH_HMAC_SHA2_256_128)),
    ];
    for (id, bits, integrity) in ciphers {
        let mut direction = Direction::new(Cipher::new(id, bits, integrity).unwrap());
        row(
            &format!("{id}: seal, open {AUTH_TEXT_LEN} octets"),
            &[Some(micros(|| direction.seal_and_open())), None],
        );
    }
}

/// The table of whole handshakes, both roles together.
pub fn handshakes() {
    head("raw handshake, both roles, us, best of many", &["total", "exchange", "the rest"]);
    for suite in suites() {
        let total = micros(|| handshake(&suite));
        let exchange = micros(|| key_exchange(suite.group));
        let secrets = key_exchange(suite.group);
        let rest = micros(|| keys_and_messages(&suite, &secrets));
        row(&name(&suite), &[Some(total), Some(exchange), Some(rest)]);
    }
}

/// Everything that both roles must compute for an IKE SA and its first child.
pub fn handshake(suite: &IkeSuite) {
    keys_and_messages(suite, &key_exchange(suite.group));
}

/// What follows the key exchange: nonces, keys, AUTH on both sides, two protected messages, child keys.
fn keys_and_messages(suite: &IkeSuite, (i, r): &(Secret, Secret)) {
    let random = &mut SystemRandom;
    let (mut ni, mut nr, mut spis) = ([0; NONCE_LEN], [0; NONCE_LEN], [0; 16]);
    random.fill(&mut ni);
    random.fill(&mut nr);
    random.fill(&mut spis);
    let prf = suite.prf().unwrap();
    let message = [0x20; INIT_LEN];
    let mut sides = Vec::new();
    for shared in [i, r] {
        // NAT detection: two hashes sent, two compared.
        for _ in 0..4 {
            std::hint::black_box(sha1(&[&spis, &[192, 0, 2, 1, 1, 244]]));
        }
        sides.push(Side::derive(suite, prf, shared, [&ni, &nr, &spis]));
    }
    for (sender, receiver) in [(0, 1), (1, 0)] {
        let octets = sides[sender].signed_octets(prf, &message, &nr);
        let auth = psk_auth(suite.prf, &sides[sender].psk, &octets).unwrap();
        let mut direction = Direction {
            cipher: suite.cipher().unwrap(),
            keys: sides[sender].keys.clone(),
            text: [0x40; AUTH_TEXT_LEN],
        };
        direction.seal_and_open();
        let octets = sides[receiver].signed_octets(prf, &message, &nr);
        assert!(psk_verify(suite.prf, &sides[receiver].psk, &octets, &auth).unwrap());
    }
    let child = ChildSuite {
        encryption: Some((Encr::ENCR_AES_GCM_16, Some(256))),
        integrity: None,
        group: None,
        esn: false,
    };
    let len = 2 * (child.encryption_len() + child.integrity_len());
    for side in &sides {
        std::hint::black_box(prf.plus(side.sk_d.octets(), &[&ni, &nr], len));
    }
}

/// The keys of one role.
struct Side {
    sk_d: Secret,
    sk_p: Secret,
    keys: Keys,
    psk: Secret,
}

impl Side {
    fn derive(suite: &IkeSuite, prf: Prf, shared: &Secret, [ni, nr, spis]: [&[u8]; 3]) -> Self {
        let cipher = suite.cipher().unwrap();
        let skeyseed = prf.prf(&[ni, nr].concat(), &[shared.octets()]);
        let (integrity, encryption) = (cipher.integrity_key_len(), cipher.key_len());
        let len = 3 * prf.len() + 2 * (integrity + encryption);
        let stream = prf.plus(skeyseed.octets(), &[ni, nr, spis], len);
        let mut rest = stream.octets();
        let mut take = |len| {
            let (head, tail) = rest.split_at(len);
            rest = tail;
            Secret::from(head)
        };
        Self {
            sk_d: take(prf.len()),
            keys: Keys { integrity: take(integrity), encryption: take(encryption) },
            sk_p: take(prf.len()),
            psk: Secret::from(&b"a shared key of some length"[..]),
        }
    }

    fn signed_octets(&self, prf: Prf, message: &[u8], nonce: &[u8]) -> Vec<u8> {
        let id = prf.prf(self.sk_p.octets(), &[&[1; ID_LEN]]);
        [message, nonce, id.octets()].concat()
    }
}

/// One protected message and its keys.
struct Direction {
    cipher: Cipher,
    keys: Keys,
    text: [u8; AUTH_TEXT_LEN],
}

impl Direction {
    fn new(cipher: Cipher) -> Self {
        let keys = Keys {
            encryption: Secret::new(vec![1; cipher.key_len()]),
            integrity: Secret::new(vec![2; cipher.integrity_key_len()]),
        };
        Self { cipher, keys, text: [0x40; AUTH_TEXT_LEN] }
    }

    fn seal_and_open(&mut self) {
        let (mut iv, mut icv) = ([0; 16], [0; 32]);
        let (iv, icv) = (&mut iv[..self.cipher.iv_len()], &mut icv[..self.cipher.icv_len()]);
        if self.cipher.wants_random_iv() {
            SystemRandom.fill(iv);
        }
        let aad = [3; AUTH_HEADER_LEN];
        let mut parts = Parts { aad: &aad, iv, text: &mut self.text };
        self.cipher.seal(&self.keys, &mut parts, icv).unwrap();
        self.cipher.open(&self.keys, &mut parts, icv).unwrap();
    }
}

fn key_exchange(group: GroupId) -> (Secret, Secret) {
    let i = KeyExchange::generate(group, &mut SystemRandom).unwrap();
    let r = KeyExchange::generate(group, &mut SystemRandom).unwrap();
    let (public_i, public_r) = (i.public().to_vec(), r.public().to_vec());
    (i.shared(&public_r).unwrap(), r.shared(&public_i).unwrap())
}

/// Generation and derivation through `EVP_PKEY`, as a program would do it that keeps nothing.
fn evp_exchange(group: GroupId) -> Option<f64> {
    let curve = |nid| {
        let group = EcGroup::from_curve_name(nid).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    };
    let generate = || {
        Some(match group {
            GroupId::CURVE25519 => PKey::generate_x25519().unwrap(),
            GroupId::ECP_256 => curve(Nid::X9_62_PRIME256V1),
            GroupId::ECP_384 => curve(Nid::SECP384R1),
            GroupId::ECP_521 => curve(Nid::SECP521R1),
            _ => return None,
        })
    };
    let peer = generate()?;
    Some(micros(|| {
        let key = generate().unwrap();
        let mut deriver = Deriver::new(&key).unwrap();
        deriver.set_peer(&peer).unwrap();
        deriver.derive_to_vec().unwrap()
    }))
}
