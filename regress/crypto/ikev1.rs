//! IKEv1 (RFC 2409): NIST's key derivation, and whole exchanges of other daemons recomputed from the
//! first datagram to the keys of the last SA.

use std::collections::HashMap;

use oakd::crypto::{Block, ChildSuite, IkeSuite, Prf, Secret};
use oakd::ike::v1::hash::{self, Phase1};
use oakd::ike::v1::keys::{self, Cookies, Destination, Keys};
use oakd::ike::v1::protect::{Fault, Iv, open, open_hashed, seal, seal_hashed};
use oakd::wire::iana::v1::{PayloadType, ProtocolId};
use oakd::wire::iana::v2::{EncryptionId, GroupId, IntegrityId, PrfId};
use oakd::wire::v1::{Content, Payload, body_of, parse_message, parse_payloads};
use oakd::wire::{Header, IkeSpi};

use crate::hex;

fn spi(octets: &[u8]) -> IkeSpi {
    IkeSpi(octets.try_into().unwrap())
}

fn secret(octets: &[u8]) -> Secret {
    Secret::from(octets)
}

fn suite(encryption: EncryptionId, bits: Option<u16>, prf: PrfId) -> IkeSuite {
    IkeSuite { encryption: (encryption, bits), integrity: None, prf, group: GroupId::MODP_1024 }
}

#[test]
fn nist_key_derivation_with_signatures() {
    let (mut prf, mut case, mut checked) = (None, HashMap::new(), 0);
    for line in include_str!("ikev1/sig.rsp").lines() {
        prf = match line {
            "[SHA-1]" => Some(PrfId::PRF_HMAC_SHA1),
            "[SHA-256]" => Some(PrfId::PRF_HMAC_SHA2_256),
            _ => prf,
        };
        let Some((name, value)) = line.split_once(" = ") else { continue };
        case.insert(name, if name == "COUNT" { Vec::new() } else { hex(value) });
        if name != "SKEYID_e" {
            continue;
        }
        let of = |name: &str| case[name].as_slice();
        let cookies = Cookies(spi(of("CKY_I")), spi(of("CKY_R")));
        let id = prf.unwrap();
        let shared = secret(of("g^xy"));
        let skeyid = keys::skeyid_signatures(Prf::new(id).unwrap(), (of("Ni"), of("Nr")), &shared);
        assert_eq!(skeyid.octets(), of("SKEYID"));
        // AES with 128 bits takes the head of SKEYID_e.
        let suite = suite(EncryptionId::ENCR_AES_CBC, Some(128), id);
        let keys = keys::derive(&suite, &skeyid, &shared, cookies).unwrap();
        assert_eq!(keys.derive.octets(), of("SKEYID_d"));
        assert_eq!(keys.authenticate.octets(), of("SKEYID_a"));
        assert_eq!(keys.cipher.octets(), &of("SKEYID_e")[..16]);
        checked += 1;
    }
    assert!(checked > 0);
}

/// A recorded exchange: its datagrams, what was inside, and the keys.
struct Exchange(HashMap<&'static str, Vec<u8>>);

impl Exchange {
    fn read(text: &'static str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once(" = "));
        Self(pairs.map(|(name, value)| (name, hex(value))).collect())
    }

    fn of(&self, name: &str) -> &[u8] {
        self.0.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn cookies(&self, name: &str) -> Cookies {
        let header = Header::parse(self.of(name)).unwrap();
        Cookies(header.initiator, header.responder)
    }

    /// The body of a payload of a message in clear.
    fn body(&self, name: &str, wanted: PayloadType) -> &[u8] {
        let datagram = self.of(name);
        let first = Header::parse(datagram).unwrap().next_payload_v1();
        body_of(first, &datagram[28..], wanted).unwrap()
    }

    /// The header and the encrypted content of a message.
    fn sealed(&self, name: &str) -> (Header, Vec<u8>) {
        match parse_message(self.of(name)).unwrap() {
            (header, Content::Encrypted(content)) => (header, content),
            (_, Content::Clear(_)) => panic!("{name} is in clear"),
        }
    }

    /// Opens a message, seals the same again, and gives payloads, their octets and the next IV.
    fn through(&self, name: &str, keys: &Keys, iv: &Iv) -> (Vec<Payload>, Vec<u8>, Iv) {
        let (header, content) = self.sealed(name);
        let plain = open(keys, iv, &header, &content).unwrap();
        if let Some(opened) = self.0.get(format!("{name}-opened").as_str()) {
            assert!(opened.starts_with(&plain.octets), "{name}");
        }
        let (again, next) = seal(keys, iv, &header, &plain.payloads).unwrap();
        assert_eq!(again, self.of(name), "{name}");
        assert_eq!(next, plain.next, "{name}");
        (plain.payloads, plain.octets, plain.next)
    }

    /// Quick Mode with its hashes, from the IV that phase 1 left, and the keys it ends in.
    fn quick_mode(&self, keys: &Keys, phase1: &Iv, suite: &ChildSuite) {
        let (header, content) = self.sealed("quick-mode-1");
        let id = header.message_id;
        let iv = phase1.phase2(keys.prf, id);
        let first = open_hashed(keys, &iv, &header, &content, &[]).unwrap();
        let (again, _) = seal_hashed(keys, &iv, &header, &[], first.payloads.clone()).unwrap();
        assert_eq!(again, self.of("quick-mode-1"));
        let nonce = |payloads: &[Payload]| {
            let found = payloads.iter().find_map(|payload| match payload {
                Payload::Nonce(nonce) => Some(nonce.0.clone()),
                _ => None,
            });
            found.unwrap()
        };
        let spi = |payloads: &[Payload]| {
            let found = payloads.iter().find_map(|payload| match payload {
                Payload::Sa(sa) => Some(sa.proposals[0].spi.octets()),
                _ => None,
            });
            found.unwrap()
        };
        let ni = nonce(&first.payloads);

        let (header, content) = self.sealed("quick-mode-2");
        let forged = open_hashed(keys, &first.next, &header, &content, &[]).unwrap_err();
        assert_eq!(forged, Fault::Forged, "the second hash covers the nonce");
        let second = open_hashed(keys, &first.next, &header, &content, &ni).unwrap();
        let nr = nonce(&second.payloads);

        let (payloads, _, _) = self.through("quick-mode-3", keys, &second.next);
        assert_eq!(payloads[0], Payload::Hash(hash::third(keys, id, (&ni, &nr))));

        let shared = self.0.get("g(qm)^xy").map(|octets| secret(octets));
        let protocol = ProtocolId::IPSEC_ESP.0;
        for (whose, spi) in
            [("responder", spi(&second.payloads)), ("initiator", spi(&first.payloads))]
        {
            let destination = Destination { protocol, spi: &spi };
            let child = keys::child(keys, suite, destination, (&ni, &nr), shared.as_ref());
            // The logs name keys by who sends; an SPI is chosen by who receives.
            let sender = if whose == "responder" { "initiator" } else { "responder" };
            assert_eq!(child.encryption.octets(), self.of(&format!("encryption-{sender}")));
            assert_eq!(child.integrity.octets(), self.of(&format!("integrity-{sender}")));
        }

        let (header, content) = self.sealed("informational-1");
        let iv = phase1.phase2(keys.prf, header.message_id);
        let plain = open_hashed(keys, &iv, &header, &content, &[]).unwrap();
        assert!(matches!(&plain.payloads[..], [Payload::Notify(_)]), "{:?}", plain.payloads);
    }
}

#[test]
fn main_mode_and_pfs_of_strongswan() {
    let exchange = Exchange::read(include_str!("ikev1/main.exchange"));
    let suite = suite(EncryptionId::ENCR_AES_CBC, Some(256), PrfId::PRF_HMAC_SHA2_256);
    let prf = suite.prf().unwrap();
    let cookies = exchange.cookies("main-mode-2");
    let publics = (
        exchange.body("main-mode-3", PayloadType::KE),
        exchange.body("main-mode-4", PayloadType::KE),
    );
    let nonces = (
        exchange.body("main-mode-3", PayloadType::NONCE),
        exchange.body("main-mode-4", PayloadType::NONCE),
    );
    let skeyid = keys::skeyid_psk(prf, &secret(b"interop-secret"), nonces);
    assert_eq!(skeyid.octets(), exchange.of("SKEYID"));
    let keys = keys::derive(&suite, &skeyid, &secret(exchange.of("g^xy")), cookies).unwrap();
    assert_eq!(keys.derive.octets(), exchange.of("SKEYID_d"));
    assert_eq!(keys.authenticate.octets(), exchange.of("SKEYID_a"));
    assert_eq!(keys.cipher.octets(), exchange.of("Ka"));
    let iv = Iv::phase1(prf, keys.block, publics);
    assert_eq!(iv.octets(), exchange.of("IV"));
    // The log's first NAT-D is of where the initiator sends to.
    let responder = "10.9.0.2:500".parse().unwrap();
    assert_eq!(hash::nat_d(prf.hash(), cookies, responder), exchange.of("NAT-D"));

    let sa = exchange.body("main-mode-1", PayloadType::SA);
    let phase1 = Phase1 { publics, cookies, sa };
    let (_, octets, iv) = exchange.through("main-mode-5", &keys, &iv);
    let id = body_of(PayloadType::ID, &octets, PayloadType::ID).unwrap();
    assert_eq!(phase1.initiator(prf, &skeyid, id), exchange.of("HASH_I"));
    let theirs = body_of(PayloadType::ID, &octets, PayloadType::HASH).unwrap();
    assert_eq!(theirs, exchange.of("HASH_I"));
    let (_, octets, iv) = exchange.through("main-mode-6", &keys, &iv);
    let id = body_of(PayloadType::ID, &octets, PayloadType::ID).unwrap();
    assert_eq!(phase1.responder(prf, &skeyid, id), exchange.of("HASH_R"));
    let theirs = body_of(PayloadType::ID, &octets, PayloadType::HASH).unwrap();
    assert_eq!(theirs, exchange.of("HASH_R"));

    let child = ChildSuite {
        encryption: Some((EncryptionId::ENCR_AES_CBC, Some(256))),
        integrity: Some(IntegrityId::AUTH_HMAC_SHA2_512_256),
        group: Some(GroupId::MODP_1536),
        esn: false,
    };
    exchange.quick_mode(&keys, &iv, &child);
}

#[test]
fn aggressive_mode_with_a_stretched_key_of_strongswan() {
    let exchange = Exchange::read(include_str!("ikev1/aggressive.exchange"));
    // 3DES takes 24 octets, SHA-1 gives 20.
    let suite = suite(EncryptionId::ENCR_3DES, None, PrfId::PRF_HMAC_SHA1);
    let prf = suite.prf().unwrap();
    let cookies = exchange.cookies("aggressive-2");
    let both =
        |wanted| (exchange.body("aggressive-1", wanted), exchange.body("aggressive-2", wanted));
    let (publics, nonces) = (both(PayloadType::KE), both(PayloadType::NONCE));
    let skeyid = keys::skeyid_psk(prf, &secret(b"interop-secret"), nonces);
    assert_eq!(skeyid.octets(), exchange.of("SKEYID"));
    let keys = keys::derive(&suite, &skeyid, &secret(exchange.of("g^xy")), cookies).unwrap();
    assert_eq!(keys.cipher.octets(), exchange.of("Ka"));
    let iv = Iv::phase1(prf, keys.block, publics);
    assert_eq!(iv.octets(), exchange.of("IV"));

    let sa = exchange.body("aggressive-1", PayloadType::SA);
    let phase1 = Phase1 { publics, cookies, sa };
    let ids = both(PayloadType::ID);
    assert_eq!(phase1.initiator(prf, &skeyid, ids.0), exchange.of("HASH_I"));
    assert_eq!(phase1.responder(prf, &skeyid, ids.1), exchange.of("HASH_R"));
    let theirs = exchange.body("aggressive-2", PayloadType::HASH);
    assert_eq!(theirs, exchange.of("HASH_R"));
    let (_, octets, iv) = exchange.through("aggressive-3", &keys, &iv);
    let first = exchange.sealed("aggressive-3").0.next_payload_v1();
    let theirs = body_of(first, &octets, PayloadType::HASH).unwrap();
    assert_eq!(theirs, exchange.of("HASH_I"));

    let child = ChildSuite {
        encryption: Some((EncryptionId::ENCR_AES_CBC, Some(128))),
        integrity: Some(IntegrityId::AUTH_HMAC_SHA1_96),
        group: None,
        esn: false,
    };
    exchange.quick_mode(&keys, &iv, &child);
}

/// Main Mode by public key encryption, recorded between a test program and a Cisco router, from which
/// the initiator's keys were published. That router's SKEYID leaves out the inner hash of RFC 2409 §5
/// (`prf(Ni_b | Nr_b, CKY-I | CKY-R)`); all that follows from it is by the book.
#[test]
fn public_key_encryption_of_a_cisco_router() {
    let exchange = Exchange::read(include_str!("ikev1/encryption.exchange"));
    let suite = suite(EncryptionId::ENCR_AES_CBC, Some(128), PrfId::PRF_HMAC_SHA1);
    let prf = suite.prf().unwrap();
    let cookies = exchange.cookies("main-mode-2");
    let publics = (
        exchange.body("main-mode-3", PayloadType::KE),
        exchange.body("main-mode-4", PayloadType::KE),
    );
    let nonces = (exchange.of("Ni"), exchange.of("Nr"));
    let both = [nonces.0, nonces.1].concat();
    let seed = [&cookies.0.0[..], &cookies.1.0];
    let skeyid = prf.prf(&both, &seed);
    let (inner, len) = prf.hash().digest(&[&both]);
    let ours = keys::skeyid_encryption(prf, nonces, cookies);
    assert_eq!(ours, prf.prf(&inner[..len], &seed));
    let shared = secret(exchange.of("g^xy"));
    let keys = keys::derive(&suite, &skeyid, &shared, cookies).unwrap();
    let iv = Iv::phase1(prf, keys.block, publics);
    let sa = exchange.body("main-mode-1", PayloadType::SA);
    let phase1 = Phase1 { publics, cookies, sa };

    let (payloads, _, iv) = exchange.through("main-mode-5", &keys, &iv);
    let wanted = phase1.initiator(prf, &skeyid, exchange.of("IDii_b"));
    assert_eq!(payloads, [Payload::Hash(wanted)]);
    let (header, content) = exchange.sealed("main-mode-6");
    let plain = open(&keys, &iv, &header, &content).unwrap();
    let wanted = phase1.responder(prf, &skeyid, exchange.of("IDir_b"));
    assert_eq!(plain.payloads, [Payload::Hash(wanted)]);

    let (header, content) = exchange.sealed("quick-mode-1");
    let iv = plain.next.phase2(keys.prf, header.message_id);
    let first = open_hashed(&keys, &iv, &header, &content, &[]).unwrap();
    assert_eq!(first.payloads.len(), 4);
}

#[test]
fn a_key_is_stretched_by_feeding_back() {
    let prf = Prf::new(PrfId::PRF_HMAC_MD5).unwrap();
    let key = keys::stretch(prf, &secret(&[5; 16]), 40);
    let k1 = prf.prf(&[5; 16], &[&[0]]);
    let k2 = prf.prf(&[5; 16], &[k1.octets()]);
    let k3 = prf.prf(&[5; 16], &[k2.octets()]);
    let all = [k1.octets(), k2.octets(), k3.octets()].concat();
    assert_eq!(key.octets(), &all[..40]);
    assert_eq!(keys::stretch(prf, &secret(&[5; 16]), 16).octets(), [5; 16]);
}

#[test]
fn what_is_changed_on_the_way_is_not_believed() {
    let suite = suite(EncryptionId::ENCR_AES_CBC, Some(128), PrfId::PRF_HMAC_MD5);
    let cookies = Cookies(IkeSpi([1; 8]), IkeSpi([2; 8]));
    let keys = keys::derive(&suite, &secret(&[3; 16]), &secret(&[4; 96]), cookies).unwrap();
    let block = Block::new(EncryptionId::ENCR_AES_CBC, Some(128)).unwrap();
    let iv = Iv::phase1(keys.prf, block, (&[5], &[6]));
    let mut header = Header::parse(&hex(&format!(
        "{}{}08100500 01020304 0000001c",
        "01".repeat(8),
        "02".repeat(8)
    )))
    .unwrap();
    let iv = iv.phase2(keys.prf, header.message_id);
    let payloads = vec![Payload::Vendor(vec![7; 40])];
    let (datagram, _) = seal_hashed(&keys, &iv, &header, &[], payloads.clone()).unwrap();
    header.length = u32::try_from(datagram.len()).unwrap();
    let opened = open_hashed(&keys, &iv, &header, &datagram[28..], &[]).unwrap();
    assert_eq!(opened.payloads, payloads);
    for at in 28..datagram.len() {
        let mut changed = datagram.clone();
        changed[at] ^= 0x10;
        let result = open_hashed(&keys, &iv, &header, &changed[28..], &[]);
        // The last block is padding but for its head: RFC 2409 has no hash over padding.
        let padding = at >= datagram.len() - 16;
        assert!(padding || result.is_err(), "octet {at}");
    }
    // The last block is padding alone.
    for length in 0..datagram.len() - 28 - 16 {
        assert!(open_hashed(&keys, &iv, &header, &datagram[28..28 + length], &[]).is_err());
    }
    let mut other = header;
    other.message_id = oakd::wire::MessageId(1);
    assert!(open_hashed(&keys, &iv, &other, &datagram[28..], &[]).is_err());
    // Without a hash payload in front nothing is believed either.
    let (datagram, _) = seal(&keys, &iv, &header, &payloads).unwrap();
    let header = Header::parse(&datagram).unwrap();
    let fault = open_hashed(&keys, &iv, &header, &datagram[28..], &[]).unwrap_err();
    assert_eq!(fault, Fault::Forged);
    assert!(parse_payloads(PayloadType::VID, &[]).is_err());
}
