//! What somebody could send who means harm: too much, too deep, in circles, malformed.

use std::time::{Duration, Instant};

use crate::certs::*;
use crate::{host_id, said, why, x509};
use oakd::crypto::{Random, SeededRandom};
use oakd::ike::auth::{Cert, Proof};
use oakd::pki::authority::{self, NewKey, Role, Wanted};
use oakd::pki::{LARGEST_CERT, MOST_CERTS};

/// Whatever it is, it is judged within this time on a busy machine.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn too_many_and_too_large_certificates_are_not_looked_at() {
    let root = Holder::root("Root", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    let host = root.host("gw", NewKey::P256);
    let asked = said(&host, host_id("gw"), vec![x509(&host); 100]);
    let reason = why(&ring, &asked);
    assert!(reason.contains(&format!("100 certificates came, at most {MOST_CERTS}")), "{reason}");
    let large = vec![x509(&host), Cert::X509(vec![0x30; LARGEST_CERT + 1])];
    let reason = why(&ring, &said(&host, host_id("gw"), large));
    assert!(reason.contains("certificate 2 of the peer: it has 32769 octets"), "{reason}");
}

#[test]
fn a_deep_chain_and_a_circle_end() {
    let root = Holder::root("Root", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    let start = Instant::now();
    let mut chain = vec![root.clone()];
    for depth in 0..14 {
        let mut odd = Oddity::none(&[]);
        odd.role = Role::Authority(None);
        let above = chain.last().unwrap().clone();
        chain.push(above.issue(&format!("Level {depth}"), NewKey::P256, odd));
    }
    let host = chain.last().unwrap().host("gw", NewKey::P256);
    let mut certs = vec![x509(&host)];
    certs.extend(chain.iter().skip(1).map(x509));
    let reason = why(&ring, &said(&host, host_id("gw"), certs));
    assert!(
        reason.contains("certificate chain too long") || reason.contains("not known"),
        "{reason}"
    );
    // Two that sign each other.
    let (one, two) = (Holder::root("One", NewKey::P256), Holder::root("Two", NewKey::P256));
    let cross = |of: &Holder, by: &Holder| {
        let subject = of.cert.subject_name().to_owned().unwrap();
        let role = Role::Authority(None);
        let valid = (now() - DAY, now() + DAY);
        let wanted = Wanted { subject: &subject, names: &[], valid, role, extensions: vec![] };
        let cert = authority::certify(&of.key, wanted, (Some(&by.cert), &by.key)).unwrap();
        Holder { key: of.key.clone(), cert }
    };
    let circle = [cross(&one, &two), cross(&two, &one)];
    let host = circle[0].host("gw", NewKey::P256);
    let certs = vec![x509(&host), x509(&circle[0]), x509(&circle[1])];
    why(&ring, &said(&host, host_id("gw"), certs));
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn changed_certificates_signatures_and_keys_are_refused_or_harmless() {
    let root = Holder::root("Root", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    let host = root.host("gw", NewKey::P256);
    let good = host.cert.to_der().unwrap();
    let mut random = SeededRandom::new(5);
    let start = Instant::now();
    let mut accepted = 0;
    for _ in 0..3000 {
        let mut dice = [0; 8];
        random.fill(&mut dice);
        let mut der = good.clone();
        let at = usize::from(u16::from_be_bytes([dice[0], dice[1]])) % der.len();
        match dice[2] % 4 {
            0 => der[at] ^= dice[3] | 1,
            1 => der.truncate(at),
            2 => der.insert(at, dice[3]),
            _ => der[at] = if dice[3] & 1 == 0 { 0 } else { 0xff },
        }
        let same = der == good;
        let mut asked = said(&host, host_id("gw"), vec![Cert::X509(der)]);
        asked.identity = host_id("gw");
        accepted += usize::from(ring.judge(&asked).is_ok() && !same);
    }
    assert_eq!(accepted, 0, "changed certificates were accepted");
    let asked = said(&host, host_id("gw"), vec![x509(&host)]);
    for round in 0..2000usize {
        let mut asked = asked.clone();
        let Proof::V2 { data, .. } = &mut asked.proof else { unreachable!() };
        let mut dice = [0; 2];
        random.fill(&mut dice);
        let at = round % data.len();
        match dice[0] % 3 {
            0 => data[at] ^= dice[1] | 1,
            1 => data.truncate(at),
            _ => data.insert(at, dice[1]),
        }
        assert!(ring.judge(&asked).is_err(), "accepted with {dice:?} at {at}");
    }
    for len in 0..200 {
        let mut junk = vec![0; len];
        random.fill(&mut junk);
        for cert in [Cert::PublicKey(junk.clone()), Cert::RsaKey(junk.clone()), Cert::X509(junk)] {
            why(&ring, &said(&host, host_id("gw"), vec![cert]));
        }
    }
    assert!(start.elapsed() < 6 * SOON, "{:?}", start.elapsed());
}

#[test]
fn names_cannot_write_into_the_log() {
    let root = Holder::root("Root", NewKey::P256);
    let ring = ring(&[]);
    let nasty = "gw\n2026-01-01 oakd: everything is fine\x1b[2J\0";
    let host = root.issue(nasty, NewKey::P256, Oddity::none(&[host_id("gw")]));
    let reason = why(&ring, &said(&host, host_id("gw"), vec![x509(&host)]));
    assert!(!reason.chars().any(char::is_control), "{reason:?}");
}

#[test]
fn hash_and_url_is_known_and_answered_for() {
    let root = Holder::root("Root", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    let host = root.host("gw", NewKey::P256);
    let reason = why(&ring, &said(&host, host_id("gw"), vec![Cert::Other(12)]));
    assert!(reason.contains("the peer sent its certificate as hash and URL"), "{reason}");
}

#[test]
fn files_of_any_kind_are_read_or_remarked_on() {
    let root = Holder::root("Root", NewKey::P256);
    let mut random = SeededRandom::new(9);
    let words = root
        .key
        .private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_256_cbc(), b"open sesame");
    let encrypted = words.unwrap();
    let mut junk = vec![0; 300];
    random.fill(&mut junk);
    let files = [
        file("ca/junk", junk.clone()),
        file("ca/ca.der", root.cert.to_der().unwrap()),
        file("certs/cut.pem", root.pem()[..200].to_vec()),
        file("private/key", encrypted.clone()),
        file("pubkeys/ipv4/nobody", root.public_pem()),
        file("pubkeys/fqdn/gw", junk),
        file("crls/key", root.key_pem()),
        file("elsewhere/x", root.pem()),
    ];
    let load = |words: &[(&str, &[u8])]| {
        let words = words.iter().map(|(file, words)| ((*file).to_owned(), (*words).into()));
        oakd::pki::Keyring::load(&files, &words.collect(), Default::default()).unwrap()
    };
    let ring = load(&[]);
    let remarks: Vec<String> =
        ring.remarks().iter().map(|it| format!("{}: {}", it.file, it.text)).collect();
    assert_eq!(remarks.len(), 7, "{remarks:#?}");
    assert!(remarks.iter().any(|it| it.contains("private/key: its passphrase is not known")));
    assert!(remarks.iter().any(|it| it.contains("elsewhere/x: nothing is read from there")));
    assert_eq!(ring.trust().authorities.len(), 1);
    assert!(oakd::pki::files::wants_passphrase(&encrypted));
    let ring = load(&[("private/key", b"open sesame")]);
    assert_eq!(ring.remarks().len(), 6);
    let ring = load(&[("private/key", b"wrong")]);
    assert!(ring.remarks().iter().any(|it| it.text.contains("its passphrase is another one")));
    // PKCS #12 holds key, certificate and authority.
    let host = root.host("gw", NewKey::P256);
    let mut bag = openssl::pkcs12::Pkcs12::builder();
    bag.pkey(&host.key).cert(&host.cert);
    let bag = bag.build2("open sesame").unwrap().to_der().unwrap();
    assert!(oakd::pki::files::wants_passphrase(&bag));
    let found = oakd::pki::files::read(&bag, Some(&(&b"open sesame"[..]).into())).unwrap();
    assert_eq!((found.keys.len(), found.certs.len()), (1, 1));
}

/// Sequences within each other, so many deep.
fn nested(levels: usize) -> Vec<u8> {
    // From the inside to the outside, written backwards.
    let mut der = Vec::new();
    for _ in 0..levels {
        let len = der.len();
        match u8::try_from(len) {
            Ok(short) if short < 0x80 => der.push(short),
            _ => der.extend([len as u8, (len >> 8) as u8, 0x82]),
        }
        der.push(0x30);
    }
    der.reverse();
    der
}

#[test]
fn hostile_lengths_and_depth_are_refused() {
    let root = Holder::root("Root", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    let host = root.host("gw", NewKey::P256);
    let good = host.cert.to_der().unwrap();
    let start = Instant::now();
    let mut junk =
        vec![nested(7000), nested(100), vec![0x30; 20_000], vec![0x30, 0x80], vec![0x30]];
    // Lengths that promise more than there is, in every form, at every place where an element begins.
    for (at, octet) in good.iter().enumerate() {
        if matches!(octet, 0x30 | 0x31 | 6 | 2 | 3 | 4 | 0xa0 | 0xa3) {
            for length in [
                &[0x80][..],
                &[0xff],
                &[0x84, 0xff, 0xff, 0xff, 0xff],
                &[0x84, 0x7f, 0xff, 0xff, 0xff],
                &[0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                &[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            ] {
                junk.push([&good[..=at], length, good.get(at + 2..).unwrap_or_default()].concat());
            }
        }
    }
    for der in junk {
        let mut rng = vec![Cert::X509(der.clone())];
        why(&ring, &said(&host, host_id("gw"), rng.clone()));
        // Behind a certificate that is right nothing may change.
        rng.insert(0, x509(&host));
        let _ = ring.judge(&said(&host, host_id("gw"), rng));
        for cert in [Cert::Crl(der.clone()), Cert::Ocsp(der.clone()), Cert::PublicKey(der)] {
            let _ = ring.judge(&said(&host, host_id("gw"), vec![x509(&host), cert]));
        }
    }
    // One that is signed, with depth where nobody looks and where names are looked for.
    for (oid, critical, good) in [("1.3.6.1.4.1.99999.1", false, true), ("2.5.29.30", true, false)]
    {
        let mut odd = Oddity::none(&[host_id("gw")]);
        odd.extensions = vec![extension(oid, critical, &nested(3000))];
        let host = root.issue("gw", NewKey::P256, odd);
        let judged = ring.judge(&said(&host, host_id("gw"), vec![x509(&host)]));
        assert_eq!(judged.is_ok(), good, "{judged:?}");
    }
    assert!(start.elapsed() < 6 * SOON, "{:?}", start.elapsed());
}

#[test]
fn names_end_where_they_end() {
    let root = Holder::root("Root", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    // A NUL ends no name, a wildcard stands for nothing, white space is not overlooked.
    for sly in
        ["gw.example\0.evil.example", "*.example", "gw.example ", " gw.example", "gw.example."]
    {
        let host = root.issue("gw", NewKey::P256, Oddity::none(&[host_id(sly)]));
        let reason = why(&ring, &said(&host, host_id("gw.example"), vec![x509(&host)]));
        assert!(reason.contains("not for the identity of the peer"), "{reason}");
        assert!(!reason.chars().any(char::is_control), "{reason:?}");
    }
    // What stands in the common name is no identity.
    let host = root.issue("gw.example", NewKey::P256, Oddity::none(&[host_id("x.example")]));
    why(&ring, &said(&host, host_id("gw.example"), vec![x509(&host)]));
}

#[test]
fn thousands_of_names_are_read_in_time() {
    let root = Holder::root("Root", NewKey::P256);
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    let names: Vec<_> = (0..1500).map(|number| host_id(&format!("h{number}.example"))).collect();
    let host = root.issue("gw", NewKey::P256, Oddity::none(&names));
    assert!(host.cert.to_der().unwrap().len() < LARGEST_CERT);
    let start = Instant::now();
    ring.judge(&said(&host, host_id("h1499.example"), vec![x509(&host)])).unwrap();
    let reason = why(&ring, &said(&host, host_id("h1500.example"), vec![x509(&host)]));
    assert!(reason.contains("FQDN h31.example, 1468 more, DN"), "{reason}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert!(reason.len() < 10_000, "a reason of {} octets", reason.len());
}

#[test]
fn lists_that_are_forged_or_strange_revoke_nobody() {
    let root = Holder::root("Root", NewKey::P256);
    let host = root.host("gw", NewKey::P256);
    let serial = host.cert.serial_number().to_bn().unwrap();
    let dates = (now() - DAY, now() + DAY);
    let list = authority::revoke(&root.cert, &root.key, &[(serial, now())], 1, dates).unwrap();
    let list = list.to_der().unwrap();
    let ring = ring(&[file("ca/ca.crt", root.pem())]);
    let judged =
        |list: Vec<u8>| ring.judge(&said(&host, host_id("gw"), vec![x509(&host), Cert::Crl(list)]));
    judged(list.clone()).unwrap_err();
    for at in (0..list.len()).step_by(3) {
        let mut forged = list.clone();
        forged[at] ^= 0x20;
        // Whether it counts is known by its signature alone.
        judged(forged).unwrap();
    }
}
