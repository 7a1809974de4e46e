//! Revocation lists and stapled OCSP answers: right, stale, forged, of others.

use std::collections::BTreeMap;

use crate::certs::*;
use crate::{host_id, said, why, x509};
use oakd::conf::Ocsp;
use oakd::crypto::sha1;
use oakd::crypto::signature::HASHES;
use oakd::ike::auth::{Cert, Manner, Request, Sign, Wish};
use oakd::pki::authority::{self, NewKey, Role};
use oakd::pki::files::KeyFile;
use oakd::pki::{Keyring, Options};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::sign::Signer;
use openssl::x509::X509Crl;

fn list(by: &Holder, signer: &Holder, revoked: &[&Holder], valid: (i64, i64)) -> X509Crl {
    let serial = |holder: &&Holder| holder.cert.serial_number().to_bn().unwrap();
    let revoked: Vec<(BigNum, i64)> = revoked.iter().map(|it| (serial(it), now() - 60)).collect();
    authority::revoke(&by.cert, &signer.key, &revoked, 1, valid).unwrap()
}

fn fresh() -> (i64, i64) {
    (now() - DAY, now() + DAY)
}

#[test]
fn a_list_counts_when_it_is_the_issuers_and_fresh() {
    let root = Holder::root("Root", NewKey::P256);
    let other = Holder::root("Root", NewKey::P256);
    let (host, good) = (root.host("gw", NewKey::P256), root.host("good", NewKey::P256));
    let judged = |crl: X509Crl, host: &Holder| {
        let files = [file("ca/ca.crt", root.pem()), file("crls/ca.crl", crl.to_pem().unwrap())];
        let cn = host.cert.subject_name().entries().last().unwrap();
        let id = host_id(std::str::from_utf8(cn.data().as_slice()).unwrap());
        let asked = said(host, id, vec![x509(host)]);
        ring(&files).judge(&asked).map(|_| ()).map_err(|why| why.to_string())
    };
    judged(list(&root, &root, &[&good], fresh()), &host).unwrap();
    let why = judged(list(&root, &root, &[&host], fresh()), &host).unwrap_err();
    assert!(why.contains("it was revoked on "), "{why}");
    assert!(why.contains("says crls/ca.crl"), "{why}");
    let stale = (now() - 9 * DAY, now() - DAY);
    let why = judged(list(&root, &root, &[&good], stale), &host).unwrap_err();
    assert!(why.contains("the revocation list crls/ca.crl is not valid now"), "{why}");
    // Somebody else's list under the same name revokes nobody.
    judged(list(&other, &other, &[&host], fresh()), &host).unwrap();
}

#[test]
fn a_list_that_the_peer_sends_counts_against_it_only_if_it_is_right() {
    let root = Holder::root("Root", NewKey::P256);
    let other = Holder::root("Root", NewKey::P256);
    let host = root.host("gw", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    let with = |crl: X509Crl| {
        said(&host, host_id("gw"), vec![x509(&host), Cert::Crl(crl.to_der().unwrap())])
    };
    let reason = why(&ring, &with(list(&root, &root, &[&host], fresh())));
    assert!(reason.contains("it was revoked on "), "{reason}");
    ring.judge(&with(list(&other, &other, &[&host], fresh()))).unwrap();
    let junk = said(&host, host_id("gw"), vec![x509(&host), Cert::Crl(vec![0x30, 0x80, 1])]);
    ring.judge(&junk).unwrap();
}

#[test]
fn a_stapled_answer_is_looked_at() {
    let place = std::env::temp_dir().join(format!("oakd-pki-{}", std::process::id()));
    let root = Holder::root("Root", NewKey::P256);
    let other = Holder::root("Other", NewKey::P256);
    let (host, another) = (root.host("gw", NewKey::P256), root.host("x", NewKey::P256));
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    let day = ["-ndays", "1"];
    let judged = |answer: Vec<u8>| {
        let asked = said(&host, host_id("gw"), vec![x509(&host), Cert::Ocsp(answer)]);
        ring.judge(&asked).map(|_| ()).map_err(|why| why.to_string())
    };
    let Some(good) = ocsp_answer(&place, &root, &root, &host, false, &day) else {
        eprintln!("skipped: there is no openssl(1) to answer");
        return;
    };
    judged(good.clone()).unwrap();
    let get = |by: &Holder, about: &Holder, revoked, extra: &[&str]| {
        ocsp_answer(&place, by, &root, about, revoked, extra).unwrap()
    };
    let reason = judged(get(&root, &host, true, &day)).unwrap_err();
    assert!(reason.contains("it was revoked, says the OCSP answer"), "{reason}");
    let reason = judged(get(&other, &host, false, &day)).unwrap_err();
    assert!(reason.contains("not signed by whom it should"), "{reason}");
    // A host's certificate does not make a responder.
    let reason = judged(get(&another, &host, false, &day)).unwrap_err();
    assert!(reason.contains("not signed by whom it should"), "{reason}");
    let reason = judged(get(&root, &another, false, &day)).unwrap_err();
    assert!(reason.contains("about another certificate"), "{reason}");
    for cut in [0, 1, 10, good.len() / 2, good.len() - 1] {
        let reason = judged(good[..cut].to_vec()).unwrap_err();
        assert!(reason.contains("OCSP answer"), "{reason}");
    }
    for at in (0..good.len()).step_by(7) {
        let mut forged = good.clone();
        forged[at] ^= 0x10;
        // Whatever it says now, it is not what was signed; a change of what is not signed may pass.
        if let Err(reason) = judged(forged) {
            assert!(reason.contains("OCSP") || reason.contains("revoked"), "{reason}");
        }
    }
}

/// How a ring judges a host that sends this answer.
fn judged(ring: &Keyring, host: &Holder, answer: &[u8]) -> Result<String, String> {
    let asked = said(host, host_id("gw"), vec![x509(host), Cert::Ocsp(answer.to_vec())]);
    ring.judge(&asked).map(|proved| proved.by).map_err(|why| why.to_string())
}

fn ring_with(files: &[KeyFile], tolerate: u32, maxage: Option<u32>) -> Keyring {
    let url = "http://ocsp.example".into();
    let ocsp = Some(Ocsp { url, tolerate, maxage });
    Keyring::load(files, &BTreeMap::new(), Options { ocsp, ..Options::default() }).unwrap()
}

#[test]
fn a_responder_may_be_named_by_the_issuer_or_by_the_operator() {
    let place = std::env::temp_dir().join(format!("oakd-pki-by-{}", std::process::id()));
    let root = Holder::root("Root", NewKey::P256);
    let stranger = Holder::root("Stranger", NewKey::P256);
    let host = root.host("gw", NewKey::P256);
    let mut odd = Oddity::none(&[]);
    odd.role = Role::Responder;
    let responder = root.issue("Responder", NewKey::P256, odd);
    let day = ["-ndays", "1"];
    let Some(named) = ocsp_answer(&place, &responder, &root, &host, false, &day) else {
        eprintln!("skipped: there is no openssl(1) to answer");
        return;
    };
    let plain = ring(&[file("ca/ca.crt", root.pem())]);
    assert!(judged(&plain, &host, &named).unwrap().ends_with(", good by OCSP"));
    assert_eq!(plain.trust().ocsp, None);
    let by_stranger = ocsp_answer(&place, &stranger, &root, &host, false, &day).unwrap();
    let reason = judged(&plain, &host, &by_stranger).unwrap_err();
    assert!(reason.contains("not signed by whom it should"), "{reason}");
    let files = [
        file("ca/ca.crt", root.pem()),
        file("ocsp/responder.crt", stranger.pem()),
        file("ocsp/issuer.crt", root.pem()),
    ];
    let trusting = ring_with(&files, 300, None);
    assert!(trusting.remarks().is_empty(), "{:?}", trusting.remarks());
    judged(&trusting, &host, &by_stranger).unwrap();
    let key = stranger.key.public_key_to_der().unwrap();
    assert_eq!(trusting.trust().ocsp, Some(vec![sha1(&[&key])]));
    // It speaks of certificates; it makes none.
    let other = stranger.host("gw", NewKey::P256);
    let reason = why(&trusting, &said(&other, host_id("gw"), vec![x509(&other)]));
    assert!(reason.contains("its issuer is not known here"), "{reason}");
    let none = said(&host, host_id("gw"), vec![x509(&host)]);
    let by = trusting.judge(&none).unwrap().by;
    assert!(by.ends_with(", without an OCSP answer"), "{by}");
}

/// Where the contents of the DER element at a place lie.
fn contents(der: &[u8], at: usize) -> std::ops::Range<usize> {
    let (size, from) = match der[at + 1] {
        long @ 0x81.. => {
            let octets = &der[at + 2..at + 2 + usize::from(long & 0x7f)];
            (octets.iter().fold(0, |size, octet| size << 8 | usize::from(*octet)), octets.len())
        }
        short => (usize::from(short), 0),
    };
    at + 2 + from..at + 2 + from + size
}

/// An answer with other dates, signed again by the RSA key that signed it. It holds no certificates.
fn redated(answer: &[u8], by: &Holder, this: &[u8; 15], next: &[u8; 15]) -> Vec<u8> {
    let mut answer = answer.to_vec();
    // OCSPResponse: status, then [0] of a sequence: OID, then an OCTET STRING of BasicOCSPResponse.
    let status = contents(&answer, contents(&answer, 0).start);
    let bytes = contents(&answer, contents(&answer, status.end).start);
    let octets = contents(&answer, contents(&answer, bytes.start).end);
    let tbs = contents(&answer, octets.start).start;
    let signed = tbs..contents(&answer, tbs).end;
    let dates: Vec<usize> =
        (signed.clone()).filter(|at| answer[*at] == 0x18 && answer[*at + 1] == 15).collect();
    let [_produced, this_at, next_at] = dates[..] else { panic!("{dates:?}") };
    answer[this_at + 2..this_at + 17].copy_from_slice(this);
    answer[next_at + 2..next_at + 17].copy_from_slice(next);
    let mut signer = Signer::new(MessageDigest::sha256(), &by.key).unwrap();
    signer.update(&answer[signed]).unwrap();
    let signature = signer.sign_to_vec().unwrap();
    let from = answer.len() - signature.len();
    answer[from..].copy_from_slice(&signature);
    answer
}

#[test]
fn old_answers_count_as_long_as_the_operator_says() {
    let place = std::env::temp_dir().join(format!("oakd-pki-age-{}", std::process::id()));
    let root = Holder::root("Root", NewKey::Rsa(2048));
    let host = root.host("gw", NewKey::P256);
    let day = ["-ndays", "1", "-resp_no_certs"];
    let Some(answer) = ocsp_answer(&place, &root, &root, &host, false, &day) else {
        eprintln!("skipped: there is no openssl(1) to answer");
        return;
    };
    let files = [file("ca/ca.crt", root.pem())];
    let usual = ring(&files);
    judged(&usual, &host, &answer).unwrap();
    judged(&usual, &host, &redated(&answer, &root, b"20250101000000Z", b"20990101000000Z"))
        .unwrap();
    let stale = redated(&answer, &root, b"20250101000000Z", b"20250102000000Z");
    let future = redated(&answer, &root, b"20980101000000Z", b"20990101000000Z");
    for (answer, ring) in [
        (&stale, &usual),
        (&future, &usual),
        // Without tolerance what is out of date is out of date, and not unchecked.
        (&stale, &ring_with(&files, 0, None)),
        (
            &redated(&answer, &root, b"20250101000000Z", b"20990101000000Z"),
            &ring_with(&files, 300, Some(3600)),
        ),
    ] {
        let reason = judged(ring, &host, answer).unwrap_err();
        assert!(reason.contains("the OCSP answer is out of date"), "{reason}");
    }
    judged(&ring_with(&files, u32::MAX / 2, None), &host, &stale).unwrap();
}

#[test]
fn our_own_answer_goes_to_who_asks_while_it_is_good() {
    let place = std::env::temp_dir().join(format!("oakd-pki-own-{}", std::process::id()));
    let root = Holder::root("Root", NewKey::P256);
    let (host, other) = (root.host("gw", NewKey::P256), root.host("x", NewKey::P256));
    let day = ["-ndays", "1"];
    let Some(good) = ocsp_answer(&place, &root, &root, &host, false, &day) else {
        eprintln!("skipped: there is no openssl(1) to answer");
        return;
    };
    let about_other = ocsp_answer(&place, &root, &root, &other, false, &day).unwrap();
    let bad = ocsp_answer(&place, &root, &root, &host, true, &day).unwrap();
    let ring_of = |answers: &[(&str, &[u8])]| {
        let mut files = own_files(&host, &[&root]);
        files.extend(answers.iter().map(|(name, octets)| file(name, *octets)));
        ring(&files)
    };
    let sent = |ring: &Keyring, requests: &[Request]| {
        let manner = Manner::V2 { wish: Wish::Any, hashes: Some(HASHES.to_vec()) };
        let (identity, octets) = (host_id("gw"), vec![1]);
        let asked = Sign { identity, octets, manner, requests: requests.to_vec() };
        let certs = ring.sign(&asked).unwrap().certs;
        certs.into_iter().find_map(|cert| match cert {
            Cert::Ocsp(answer) => Some(answer),
            _ => None,
        })
    };
    let all = ring_of(&[("ocsp/a.der", &about_other), ("ocsp/b.der", &bad), ("ocsp/c.der", &good)]);
    assert_eq!(sent(&all, &[Request::Any, Request::Ocsp]), Some(good));
    assert_eq!(sent(&all, &[Request::Any]), None);
    let said = all.expiring();
    let tells = |what: &str| said.iter().any(|line| line.contains(what));
    assert!(tells("ocsp/a.der: the OCSP answer is about another certificate"), "{said:?}");
    assert!(tells("ocsp/b.der: it was revoked, says the OCSP answer: no peer gets it"), "{said:?}");
    assert!(!tells("ocsp/c.der"), "{said:?}");
    let none = ring_of(&[("ocsp/a.der", &about_other), ("ocsp/b.der", &bad)]);
    assert_eq!(sent(&none, &[Request::Ocsp]), None);
}
