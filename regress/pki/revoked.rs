//! Revocation lists and stapled OCSP answers: right, stale, forged, of others.

use std::path::Path;
use std::process::Command;

use crate::certs::*;
use crate::{host_id, said, why, x509};
use oakd::ike::auth::Cert;
use oakd::pki::authority::{self, NewKey};
use openssl::bn::BigNum;
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

/// An OCSP answer by openssl(1): by whom, about whom, what; `None` where there is no such program.
fn answered(
    place: &Path,
    by: &Holder,
    issuer: &Holder,
    about: &Holder,
    revoked: bool,
    extra: &[&str],
) -> Option<Vec<u8>> {
    std::fs::create_dir_all(place).unwrap();
    let write = |name: &str, octets: &[u8]| std::fs::write(place.join(name), octets).unwrap();
    write("by.crt", &by.pem());
    write("by.key", &by.key_pem());
    write("ca.crt", &issuer.pem());
    write("about.crt", &about.pem());
    let serial = about.cert.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string();
    let (state, when) = if revoked { ("R", "250101000000Z") } else { ("V", "") };
    write(
        "index",
        format!("{state}\t350101000000Z\t{when}\t{serial}\tunknown\t/CN=x\n").as_bytes(),
    );
    let mut command = Command::new("openssl");
    command.current_dir(place).args(["ocsp", "-issuer", "ca.crt", "-cert", "about.crt"]);
    command.args(["-no_nonce", "-reqout", "request"]);
    if !command.output().ok()?.status.success() {
        return None;
    }
    let mut command = Command::new("openssl");
    command.current_dir(place).args(["ocsp", "-index", "index", "-CA", "ca.crt", "-rsigner"]);
    command.args(["by.crt", "-rkey", "by.key", "-reqin", "request", "-respout", "answer"]);
    let output = command.args(extra).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer = std::fs::read(place.join("answer")).unwrap();
    std::fs::remove_dir_all(place).unwrap();
    Some(answer)
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
    let Some(good) = answered(&place, &root, &root, &host, false, &day) else {
        eprintln!("skipped: there is no openssl(1) to answer");
        return;
    };
    judged(good.clone()).unwrap();
    let get = |by: &Holder, about: &Holder, revoked, extra: &[&str]| {
        answered(&place, by, &root, about, revoked, extra).unwrap()
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
