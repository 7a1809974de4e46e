//! The small authority: what it makes is accepted, what it revokes is not, and nothing is overwritten.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::certs::*;
use crate::{said, x509};
use oakd::crypto::Secret;
use oakd::ike::auth::Cert;
use oakd::issuer::{Issuer, Use};
use oakd::pki::authority::NewKey;
use oakd::pki::files::{FOLDERS, KeyFile};
use oakd::wire::iana::v2::IdType;
use openssl::pkey::PKey;
use openssl::x509::X509;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oakd-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the daemon would read from a directory.
pub fn files(from: &Path) -> Vec<KeyFile> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(from.join(folder)).into_iter().flatten().flatten() {
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            found.push(file(&name, fs::read(entry.path()).unwrap()));
        }
    }
    found
}

fn holder(at: &Path, host: &str) -> Holder {
    let key = fs::read(at.join("private/local.key")).unwrap();
    let cert = fs::read(at.join(format!("certs/{host}.crt"))).unwrap();
    Holder { key: PKey::private_key_from_pem(&key).unwrap(), cert: X509::from_pem(&cert).unwrap() }
}

#[test]
fn hosts_of_an_authority_believe_each_other_until_one_is_revoked() {
    let place = Place::new("issuer");
    let issuer = Issuer::new(&place.0, "vpn").unwrap();
    let password = Secret::from(&b"secret words"[..]);
    let (a, b) = (place.0.join("a"), place.0.join("b"));
    assert!(issuer.create_certificate("gw.example", Use::Host, NewKey::P256).is_err());
    issuer.create(&password, NewKey::P256).unwrap();
    let again = issuer.create(&password, NewKey::P256).unwrap_err();
    assert!(again.contains("exists already"), "{again}");
    let rows = [
        ("gw.example", IdType::ID_FQDN, NewKey::P256),
        ("192.0.2.1", IdType::ID_IPV4_ADDR, NewKey::Ed25519),
        ("me@example.org", IdType::ID_RFC822_ADDR, NewKey::P384),
    ];
    issuer.install(&b).unwrap();
    for (host, id_type, kind) in rows {
        let _ = fs::remove_dir_all(&a);
        issuer.create_certificate(host, Use::Host, kind).unwrap();
        let again = issuer.create_certificate(host, Use::Host, kind).unwrap_err();
        assert!(again.contains("has a certificate already"), "{again}");
        issuer.install_host(host, &a, true).unwrap();
        let mode = fs::metadata(a.join("private/local.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let one = holder(&a, host);
        let data = match id_type {
            IdType::ID_IPV4_ADDR => vec![192, 0, 2, 1],
            _ => host.as_bytes().to_vec(),
        };
        let identity = oakd::conf::Identity { id_type, data };
        let asked = said(&one, identity, vec![x509(&one)]);
        ring(&files(&b)).judge(&asked).unwrap_or_else(|why| panic!("{why}"));
        issuer.revoke(host).unwrap();
        issuer.install(&b).unwrap();
        let why = ring(&files(&b)).judge(&asked).unwrap_err();
        assert!(why.check.contains("it was revoked on"), "{why}");
    }
    // The place of what was revoked is free; its key is kept.
    issuer.create_certificate("gw.example", Use::Server, NewKey::P256).unwrap();
    let shown = issuer.show(None).unwrap();
    assert!(shown.contains("gw.example: /O=oakd/CN=gw.example"), "{shown}");
    assert!(!shown.contains("192.0.2.1"), "{shown}");
    let other = issuer.install_host("gw.example", &a, true).unwrap_err();
    assert!(other.contains("another key is there"), "{other}");
    assert!(issuer.create_certificate("ca", Use::Host, NewKey::P256).is_err());
    assert!(issuer.create_certificate("../x", Use::Host, NewKey::P256).is_err());
    // Serials are random.
    let serial = |host: &str| {
        let pem = fs::read(issuer.path().join(format!("{host}.crt"))).unwrap();
        X509::from_pem(&pem).unwrap().serial_number().to_bn().unwrap()
    };
    assert!(serial("gw.example").num_bits() > 64);
    issuer.delete().unwrap();
    assert!(!issuer.path().exists());
}

#[test]
fn a_host_that_is_to_answer_by_ocsp_does_not_sign_for_ike() {
    let place = Place::new("responder");
    let issuer = Issuer::new(&place.0, "vpn").unwrap();
    issuer.create(&Secret::from(&b"words"[..]), NewKey::Ed25519).unwrap();
    issuer.create_certificate("gw", Use::Responder, NewKey::P256).unwrap();
    let at = place.0.join("at");
    issuer.install(&at).unwrap();
    issuer.install_host("gw", &at, true).unwrap();
    let one = holder(&at, "gw");
    let certs = vec![Cert::X509(one.cert.to_der().unwrap())];
    let asked = said(&one, name(IdType::ID_FQDN, "gw"), certs);
    let why = ring(&files(&at)).judge(&asked).unwrap_err();
    assert!(why.check.contains("extended key usage"), "{why}");
}

#[test]
fn what_is_exported_is_laid_out_for_a_daemon_and_for_pkcs12() {
    let place = Place::new("export");
    let issuer = Issuer::new(&place.0, "vpn").unwrap();
    issuer.create(&Secret::from(&b"words"[..]), NewKey::P256).unwrap();
    let host = "2001:db8::1";
    issuer.create_certificate(host, Use::Host, NewKey::Ed25519).unwrap();
    let password = Secret::from(&b"export words"[..]);
    issuer.export(&place.0, Some(host), Some("gw.example"), Some(&password)).unwrap();
    let archive = place.0.join("2001_db8__1.tgz");
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);
    let again = issuer.export(&place.0, Some(host), None, None).unwrap_err();
    assert!(again.contains("exists already"), "{again}");
    let unpack = |archive: &Path, name: &str| {
        let to = place.0.join(name);
        fs::create_dir_all(&to).unwrap();
        let mut tar = std::process::Command::new("tar");
        assert!(tar.arg("-xzf").arg(archive).arg("-C").arg(&to).status().unwrap().success());
        to
    };
    let at = unpack(&archive, "at");
    let one = holder(&at, host);
    let id_type = IdType::ID_IPV6_ADDR;
    let data = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
    let asked = said(&one, oakd::conf::Identity { id_type, data }, vec![x509(&one)]);
    ring(&files(&at)).judge(&asked).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(fs::read_to_string(at.join("export/peer.txt")).unwrap(), "gw.example\n");
    let opened = |name: &str| {
        let der = fs::read(at.join("export").join(name)).unwrap();
        let bag = openssl::pkcs12::Pkcs12::from_der(&der).unwrap();
        assert!(bag.parse2("other words").is_err());
        bag.parse2("export words").unwrap()
    };
    let bag = opened("2001_db8__1.pfx");
    assert_eq!(bag.cert.unwrap().to_der().unwrap(), one.cert.to_der().unwrap());
    assert!(bag.pkey.is_some() && bag.ca.is_some());
    let bag = opened("ca.pfx");
    assert!(bag.pkey.is_none() && bag.ca.is_some_and(|ca| ca.len() == 1));
    // The authority's own key leaves by no archive.
    issuer.export(&place.0, None, None, None).unwrap();
    let at = unpack(&place.0.join("ca.tgz"), "ca-at");
    assert!(at.join("ca/vpn.crt").exists() && at.join("crls/vpn.crl").exists());
    assert!(!at.join("private").exists());
    assert!(fs::read_dir(at.join("export")).unwrap().next().is_none());
}
