//! Identities of every kind, constraints on them, and uses.

use crate::certs::*;
use crate::{host_id, said, why, x509};
use oakd::conf::{Identity, dn};
use oakd::crypto::signature::{self, HASHES};
use oakd::ike::auth::{Manner, Proof, Request, Sign, Wish};
use oakd::pki::authority::{NewKey, Role};
use oakd::pki::{Keyring, Options};
use oakd::wire::iana::v2::{AuthMethod, IdType};
use oakd::wire::v2::SignatureData;

fn address(octets: &[u8]) -> Identity {
    let id_type = if octets.len() == 4 { IdType::ID_IPV4_ADDR } else { IdType::ID_IPV6_ADDR };
    Identity { id_type, data: octets.to_vec() }
}

#[test]
fn every_kind_of_identity_is_matched_exactly() {
    let root = Holder::root("Root", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    let six = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let names = [
        host_id("gw.example"),
        name(IdType::ID_RFC822_ADDR, "admin@example"),
        address(&[192, 0, 2, 1]),
        address(&six),
    ];
    let host = root.issue("gw", NewKey::P256, Oddity::none(&names));
    let subject = Identity {
        id_type: IdType::ID_DER_ASN1_DN,
        data: host.cert.subject_name().to_der().unwrap(),
    };
    let key_id = Identity {
        id_type: IdType::ID_KEY_ID,
        data: openssl::sha::sha1(&public_bits(&host)).to_vec(),
    };
    for identity in names.iter().chain([&subject, &key_id]) {
        let asked = said(&host, identity.clone(), vec![x509(&host)]);
        let proved = ring.judge(&asked).unwrap_or_else(|why| panic!("{why}"));
        assert!(proved.by.contains("CN=gw"), "{}", proved.by);
    }
    let same =
        Identity { id_type: IdType::ID_DER_ASN1_DN, data: dn::parse("/O=cases/CN=GW").unwrap() };
    ring.judge(&said(&host, same, vec![x509(&host)])).unwrap();
    ring.judge(&said(&host, host_id("GW.Example"), vec![x509(&host)])).unwrap();
    for (other, wanted) in [
        (host_id("gw"), "ID_FQDN gw"),
        (host_id("example"), "ID_FQDN example"),
        (host_id("gw.example\0.evil"), "ID_FQDN"),
        (host_id(""), "ID_FQDN"),
        (host_id("admin@example"), "ID_FQDN admin@example"),
        (name(IdType::ID_RFC822_ADDR, "gw.example"), "ID_RFC822_ADDR"),
        (address(&[192, 0, 2, 2]), "ID_IPV4_ADDR 192.0.2.2"),
        (
            Identity { id_type: IdType::ID_DER_ASN1_DN, data: dn::parse("/CN=gw").unwrap() },
            "DN CN=gw",
        ),
        (Identity { id_type: IdType::ID_KEY_ID, data: vec![] }, "ID_KEY_ID"),
        (Identity { id_type: IdType(200), data: b"gw.example".to_vec() }, "ID_200"),
    ] {
        let why = why(&ring, &said(&host, other, vec![x509(&host)]));
        assert!(why.contains("it is not for the identity of the peer"), "{why}");
        assert!(why.contains(&format!("wanted {wanted}")), "{why}");
        assert!(
            why.contains("FQDN gw.example, user FQDN admin@example, address 192.0.2.1"),
            "{why}"
        );
    }
}

/// The octets of the public key itself, of which the key identifier is made.
fn public_bits(host: &Holder) -> Vec<u8> {
    let der = host.key.public_key_to_der().unwrap();
    // The last 65 octets are the point of P-256.
    der[der.len() - 65..].to_vec()
}

#[test]
fn name_constraints_of_the_authority_hold() {
    let root = Holder::root("Root", NewKey::P256);
    // Permitted: dNSName within inside.example.
    let inside = b"inside.example";
    let mut der = vec![0x30, 6 + inside.len() as u8, 0xa0, 4 + inside.len() as u8];
    der.extend([0x30, 2 + inside.len() as u8, 0x82, inside.len() as u8]);
    der.extend(inside);
    let mut odd = Oddity::none(&[]);
    odd.role = Role::Authority(None);
    odd.extensions = vec![extension("2.5.29.30", true, &der)];
    let middle = root.issue("Middle", NewKey::P256, odd);
    let ring = ring(&[file("ca/ca.crt", root.pem()), file("certs/middle.crt", middle.pem())]);
    let host = middle.host("gw.inside.example", NewKey::P256);
    ring.judge(&said(&host, host_id("gw.inside.example"), vec![x509(&host)])).unwrap();
    let host = middle.host("gw.outside.example", NewKey::P256);
    let why = why(&ring, &said(&host, host_id("gw.outside.example"), vec![x509(&host)]));
    assert!(why.contains("permitted subtree violation"), "{why}");
}

#[test]
fn a_path_that_is_too_long_is_refused() {
    let root = Holder::root("Root", NewKey::P256);
    let first = root.below("First", NewKey::P256);
    let second = first.below("Second", NewKey::P256);
    let host = second.host("gw", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    let certs = vec![x509(&host), x509(&second), x509(&first)];
    let why = why(&ring, &said(&host, host_id("gw"), certs));
    assert!(why.contains("path length constraint exceeded"), "{why}");
}

#[test]
fn a_critical_extension_that_nobody_knows_is_refused() {
    let root = Holder::root("Root", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    for (critical, good) in [(false, true), (true, false)] {
        let mut odd = Oddity::none(&[host_id("gw")]);
        odd.extensions = vec![extension("1.3.6.1.4.1.99999.1", critical, &[5, 0])];
        let host = root.issue("gw", NewKey::P256, odd);
        let judged = ring.judge(&said(&host, host_id("gw"), vec![x509(&host)]));
        assert_eq!(judged.is_ok(), good);
        if let Err(why) = judged {
            assert!(why.check.contains("unhandled critical extension"), "{why}");
        }
    }
}

#[test]
fn a_certificate_for_something_else_is_refused() {
    let root = Holder::root("Root", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    // A usage of its own replaces the usual ones: codeSigning; then keyEncipherment alone.
    for (oid, der, wanted) in [
        ("2.5.29.37", &[0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 3][..], "extended key usage"),
        ("2.5.29.15", &[3, 2, 5, 0x20][..], "key usage"),
    ] {
        let mut odd = Oddity::none(&[host_id("gw")]);
        odd.extensions = vec![extension(oid, false, der)];
        let host = root.issue("gw", NewKey::P256, odd);
        // It stands twice now, which nobody may take for either.
        let why = why(&ring, &said(&host, host_id("gw"), vec![x509(&host)]));
        assert!(why.contains(wanted), "{why}");
    }
}

#[test]
fn what_is_signed_with_another_key_is_refused() {
    let root = Holder::root("Root", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    let (host, other) = (root.host("gw", NewKey::P256), root.host("gw", NewKey::P256));
    let why = why(&ring, &said(&other, host_id("gw"), vec![x509(&host)]));
    assert!(why.contains("the signature is not of its key"), "{why}");
}

#[test]
fn a_partial_chain_is_a_choice() {
    let root = Holder::root("Root", NewKey::P256);
    let middle = root.below("Middle", NewKey::P256);
    let host = middle.host("gw", NewKey::P256);
    let files = [file("ca/ca.crt", middle.pem())];
    let asked = said(&host, host_id("gw"), vec![x509(&host)]);
    let strict = ring(&files);
    let reason = why(&strict, &asked);
    assert!(reason.contains("its issuer is not known here"), "{reason}");
    let options = Options { partial_chain: true, ..Default::default() };
    let ring = Keyring::load(&files, &Default::default(), options).unwrap();
    ring.judge(&asked).unwrap();
}

#[test]
fn an_rsa_key_signs_in_the_form_that_is_set() {
    let root = Holder::root("Root", NewKey::P256);
    let host = root.host("gw", NewKey::Rsa(2048));
    let peer = ring(&[file("ca/ca.crt", root.pem())]);
    for (rsa_pss, name) in [(false, "RSA with SHA2-256"), (true, "RSA-PSS with SHA2-256")] {
        let options = Options { rsa_pss, ..Options::default() };
        let files = own_files(&host, &[&root]);
        let ring = Keyring::load(&files, &Default::default(), options).unwrap();
        let sign = |hashes| {
            let manner = Manner::V2 { wish: Wish::Any, hashes };
            let (identity, octets) = (host_id("gw"), b"what is signed".to_vec());
            ring.sign(&Sign { identity, octets, manner, requests: vec![Request::Any] }).unwrap()
        };
        let made = sign(Some(HASHES.to_vec()));
        let data = SignatureData::parse(&made.data).unwrap();
        assert_eq!(signature::named(&data.algorithm).unwrap().name, name);
        let mut asked = said(&host, host_id("gw"), made.certs);
        let (method, data) = (made.method, made.data);
        asked.proof = Proof::V2 { method, data, wish: Wish::Any };
        peer.judge(&asked).unwrap();
        // Who does not speak RFC 7427 gets what it always got.
        assert_eq!(sign(None).method, AuthMethod::RSA_SIGNATURE);
    }
}
