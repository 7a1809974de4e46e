//! What is encrypted for a peer, and decrypted of one (IKEv1's public key encryption).

use openssl::hash::MessageDigest;

use crate::certs::*;
use oakd::crypto::Secret;
use oakd::ike::auth::{Answer, Open, Question, Seal};
use oakd::pki::Keyring;
use oakd::pki::authority::NewKey;
use oakd::wire::iana::v2::IdType;

/// Ciphertexts, and the hash of the certificate whose key it was.
type Sealed = (Vec<Vec<u8>>, Option<Vec<u8>>);

fn sealed(ring: &Keyring, host: &str, plain: &[&[u8]]) -> Result<Sealed, String> {
    let identity = name(IdType::ID_FQDN, host);
    let plain = plain.iter().map(|octets| Secret::from(*octets)).collect();
    let seal = Seal { identity, certs: Vec::new(), plain, own: None };
    match ring.answer(&Question::Seal(Box::new(seal))) {
        Some(Answer::Sealed(it)) => Ok((it.sealed, it.key_hash)),
        Some(Answer::Refused(why)) => Err(why),
        other => panic!("{other:?}"),
    }
}

fn opened(
    ring: &Keyring,
    key_hash: Option<Vec<u8>>,
    sealed: Vec<Vec<u8>>,
) -> Result<Vec<Vec<u8>>, String> {
    match ring.answer(&Question::Open(Box::new(Open { key_hash, sealed }))) {
        Some(Answer::Opened(opened)) => Ok(opened.iter().map(|it| it.octets().to_vec()).collect()),
        Some(Answer::Refused(why)) => Err(why),
        other => panic!("{other:?}"),
    }
}

struct Hosts {
    root: Holder,
    ours: Holder,
    peers: Holder,
}

fn hosts() -> Hosts {
    let root = Holder::root("Root", NewKey::P256);
    let host = |host| root.host(host, NewKey::Rsa(2048));
    Hosts { ours: host("a.example"), peers: host("b.example"), root }
}

#[test]
fn what_is_sealed_for_a_peer_it_opens() {
    let Hosts { root, ours, peers } = hosts();
    let theirs = own(&peers, &[&root]);
    let mut files = own_files(&ours, &[&root]);
    files.push(file("certs/b.crt", peers.pem()));
    let by_certificate = ring(&files);
    let mut files = own_files(&ours, &[&root]);
    files.push(file("pubkeys/fqdn/b.example", peers.public_pem()));
    let by_raw_key = ring(&files);
    for ours in [by_certificate, by_raw_key] {
        let (boxes, hash) = sealed(&ours, "b.example", &[b"identity", b"", &[7; 245]]).unwrap();
        assert!(boxes.iter().all(|it| it.len() == 256));
        let again = sealed(&ours, "b.example", &[b"identity"]).unwrap().0;
        assert_ne!(boxes[0], again[0], "two of the same are not to be recognised");
        let plain = opened(&theirs, hash, boxes).unwrap();
        assert_eq!(plain, [b"identity".to_vec(), Vec::new(), vec![7; 245]]);
    }
}

#[test]
fn what_does_not_open_is_noise_and_the_same_each_time() {
    let Hosts { root, ours, .. } = hosts();
    let mine = own(&ours, &[&root]);
    let rows = [vec![], vec![0; 1], vec![1; 256], vec![0xff; 256], vec![3; 4096]];
    let once = opened(&mine, None, rows.to_vec()).unwrap();
    assert_eq!(once, opened(&mine, None, rows.to_vec()).unwrap());
    for (at, noise) in once.iter().enumerate() {
        assert!(noise.len() >= 8, "{noise:?}");
        assert!(once[at + 1..].iter().all(|other| other != noise));
    }
    // Another key, another noise.
    let other = own(&hosts().ours, &[]);
    assert_ne!(once[2], opened(&other, None, rows.to_vec()).unwrap()[2]);
}

#[test]
fn the_hash_says_which_key_is_meant() {
    let Hosts { root, ours, peers } = hosts();
    // Two keys of ours: the peer means the one whose certificate it has.
    let second = root.host("c.example", NewKey::Rsa(2048));
    let mut files = own_files(&ours, &[&root]);
    files.extend([
        file("certs/second.crt", second.pem()),
        file("private/second.key", second.key_pem()),
    ]);
    let both = ring(&files);
    let mut files = own_files(&peers, &[&root]);
    files.extend([file("certs/a.crt", ours.pem()), file("certs/c.crt", second.pem())]);
    let peers = ring(&files);
    for host in ["a.example", "c.example"] {
        let (boxes, hash) = sealed(&peers, host, &[host.as_bytes()]).unwrap();
        assert!(hash.is_some());
        assert_eq!(opened(&both, hash, boxes.clone()).unwrap(), [host.as_bytes()], "{host}");
    }
    // By any hash that can be negotiated.
    let (boxes, _) = sealed(&peers, "c.example", &[b"by SHA2"]).unwrap();
    for kind in [MessageDigest::md5(), MessageDigest::sha256(), MessageDigest::sha512()] {
        let hash = openssl::hash::hash(kind, &second.cert.to_der().unwrap()).unwrap().to_vec();
        assert_eq!(opened(&both, Some(hash), boxes.clone()).unwrap(), [b"by SHA2"]);
    }
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let root = Holder::root("Root", NewKey::P256);
    let ours = root.host("a.example", NewKey::P256);
    let curve = root.host("b.example", NewKey::P256);
    let (valid, names) =
        ((now() - 20 * 86400, now() - 86400), [name(IdType::ID_FQDN, "c.example")]);
    let expired = root.issue("c", NewKey::Rsa(2048), Oddity { valid, ..Oddity::none(&names) });
    let mut files = own_files(&ours, &[&root]);
    files.extend([file("certs/b.crt", curve.pem()), file("certs/c.crt", expired.pem())]);
    let mine = ring(&files);
    let words = opened(&mine, None, vec![vec![1; 256]]).unwrap_err();
    assert_eq!(words, "there is no RSA key to decrypt with");
    let words = sealed(&mine, "nobody.example", &[b"x"]).unwrap_err();
    assert!(words.contains("no public key of") && words.contains("nobody.example"), "{words}");
    let words = sealed(&mine, "b.example", &[b"x"]).unwrap_err();
    assert!(words.contains("is no RSA key"), "{words}");
    let words = sealed(&mine, "c.example", &[b"x"]).unwrap_err();
    assert!(words.contains("the certificate of") && words.contains("expired"), "{words}");
}

#[test]
fn questions_have_a_bound() {
    let Hosts { root, ours, .. } = hosts();
    let mine = own(&ours, &[&root]);
    let many = opened(&mine, None, vec![vec![1; 256]; 100]).unwrap();
    assert!(many.len() <= 8, "{}", many.len());
}
