//! The directories of isakmpd(8) and iked(8), with keys and certificates made by the commands of their
//! manuals, are taken as they are.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::issuer::files;
use oakd::conf::Identity;
use oakd::ike::auth::{Cert, Manner, Proof, Request, Sign, Verify, Wish};
use oakd::pki::{CertView, Keyring, Options, Part};
use oakd::wire::iana::v1;
use oakd::wire::iana::v2::{HashId, IdType};

/// A directory that goes away with its case.
struct Place(PathBuf);

impl Place {
    /// With the folders that the daemons' installation makes; `None` where there is no openssl(1).
    fn new(name: &str) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: there is no openssl(1) to make keys");
            return None;
        }
        let place = std::env::temp_dir().join(format!("oakd-layout-{name}-{}", std::process::id()));
        for host in ["a", "b"] {
            for folder in ["ca", "certs", "crls", "keynote", "private", "ocsp"] {
                fs::create_dir_all(place.join(host).join(folder)).unwrap();
            }
            for folder in ["ipv4", "ipv6", "fqdn", "ufqdn"] {
                fs::create_dir_all(place.join(host).join("pubkeys").join(folder)).unwrap();
            }
        }
        Some(Self(place))
    }

    /// Runs openssl(1) there.
    fn ssl(&self, words: &str) {
        let output = Command::new("openssl").current_dir(&self.0).args(words.split(' ')).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn copy(&self, from: &str, to: &str) {
        fs::copy(self.0.join(from), self.0.join(to)).unwrap();
    }

    fn ring(&self, host: &str) -> Keyring {
        let read = files(&self.0.join(host));
        let ring = Keyring::load(&read, &Default::default(), Options::default()).unwrap();
        assert!(ring.remarks().is_empty(), "{:?}", ring.remarks());
        ring
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn address(last: u8) -> Identity {
    Identity { id_type: IdType::ID_IPV4_ADDR, data: vec![10, 0, 0, last] }
}

fn fqdn(name: &str) -> Identity {
    Identity { id_type: IdType::ID_FQDN, data: name.into() }
}

/// One signs as this identity, the other judges it; with what certificates, and by what.
fn proves(
    from: &Keyring,
    to: &Keyring,
    identity: &Identity,
    manner: Manner,
) -> (Vec<Cert>, String) {
    let octets = vec![7; 32];
    let (octets, requests) = (octets, vec![Request::Any]);
    let v1 = match manner {
        Manner::V1(method) => Some(method),
        Manner::V2 { .. } => None,
    };
    let asked = Sign { identity: identity.clone(), octets: octets.clone(), manner, requests };
    let made = from.sign(&asked).unwrap();
    let proof = match v1 {
        Some(method) => Proof::V1 { method, data: made.data },
        None => Proof::V2 { method: made.method, data: made.data, wish: Wish::Any },
    };
    let certs = made.certs.clone();
    let asked = Verify { identity: identity.clone(), octets, proof, certs: made.certs };
    (certs, to.judge(&asked).unwrap_or_else(|why| panic!("{why}")).by)
}

fn v2() -> Manner {
    Manner::V2 { wish: Wish::Any, hashes: Some(vec![HashId::SHA2_256, HashId::IDENTITY]) }
}

fn v1_rsa() -> Manner {
    Manner::V1(v1::AuthMethod::RSA_SIGNATURES)
}

#[test]
fn raw_keys_of_isakmpd() {
    let Some(place) = Place::new("raw") else { return };
    for host in ["a", "b"] {
        place.ssl(&format!("genrsa -traditional -out {host}/private/local.key 2048"));
        place.ssl(&format!("rsa -out {host}/local.pub -in {host}/private/local.key -pubout"));
        place.write(&format!("{host}/isakmpd.conf"), "[General]\nRetransmits= 5\n");
        place.write(&format!("{host}/isakmpd.policy"), "Authorizer: \"POLICY\"\n");
    }
    // The other one's key, under its address or its name.
    place.copy("a/local.pub", "b/pubkeys/ipv4/10.0.0.1");
    place.copy("b/local.pub", "a/pubkeys/fqdn/b.example");
    let (a, b) = (place.ring("a"), place.ring("b"));
    for manner in [v1_rsa(), v2()] {
        let (certs, by) = proves(&a, &b, &address(1), manner.clone());
        assert!(certs.is_empty());
        assert_eq!(by, "the key in pubkeys/ipv4/10.0.0.1");
        let (_, by) = proves(&b, &a, &fqdn("b.example"), manner);
        assert_eq!(by, "the key in pubkeys/fqdn/b.example");
    }
}

/// An authority by `openssl req`, and a host's request signed by it with its address and name.
fn certify(place: &Place, host: &str, names: &str) {
    let key = format!("{host}/private/local.key");
    place.ssl(&format!("req -new -key {key} -subj /C=DE/O=Example/CN={host} -out {host}.csr"));
    place.write("ext", &format!("subjectAltName={names}\n"));
    place.ssl(&format!(
        "x509 -req -days 365 -in {host}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile ext \
         -out {host}/certs/{host}.crt"
    ));
    place.copy("ca.crt", &format!("{host}/ca/ca.crt"));
}

fn authority(place: &Place) {
    place.ssl(
        "req -x509 -days 365 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /C=DE/CN=CA",
    );
    place.write(
        "conf",
        "[ca]\ndefault_ca=it\n[it]\ndatabase=index\ndefault_md=sha256\ndefault_crl_days=30\n",
    );
    place.write("index", "");
    place.ssl("ca -gencrl -config conf -keyfile ca.key -cert ca.crt -out ca.crl");
}

fn states(ring: &Keyring) -> Vec<(Part, String, Option<String>)> {
    let view = ring.view().into_iter();
    view.map(|CertView { part, file, fault, .. }| (part, file, fault)).collect()
}

#[test]
fn certificates_of_isakmpd() {
    let Some(place) = Place::new("isakmpd") else { return };
    authority(&place);
    for (host, last) in [("a", 1), ("b", 2)] {
        place.ssl(&format!("genrsa -traditional -out {host}/private/local.key 2048"));
        certify(&place, host, &format!("IP:10.0.0.{last}"));
        // isakmpd finds lists by the hash of their issuer; any name serves here.
        place.copy("ca.crl", &format!("{host}/crls/5f1c2a3b.r0"));
    }
    let (a, b) = (place.ring("a"), place.ring("b"));
    for (from, to, last, cn) in [(&a, &b, 1, "CN=a"), (&b, &a, 2, "CN=b")] {
        for manner in [v1_rsa(), v2()] {
            let (certs, by) = proves(from, to, &address(last), manner);
            assert_eq!(certs.len(), 1, "the self-signed authority is not sent");
            assert!(by.contains(cn) && by.ends_with("authority C=DE, CN=CA"), "{by}");
        }
    }
    let wanted = [
        (Part::Authority, "ca/ca.crt"),
        (Part::Own, "certs/a.crt"),
        (Part::Revocation, "crls/5f1c2a3b.r0"),
    ];
    assert_eq!(states(&a), wanted.map(|(part, file)| (part, file.to_owned(), None)));
}

#[test]
fn certificates_of_iked() {
    let Some(place) = Place::new("iked") else { return };
    authority(&place);
    for host in ["a", "b"] {
        // What rc(8) makes at the first start of OpenBSD.
        place.ssl(&format!("ecparam -genkey -name prime256v1 -out {host}/private/local.key"));
        place.ssl(&format!("ec -in {host}/private/local.key -pubout -out {host}/local.pub"));
        certify(&place, host, &format!("DNS:{host}.example,email:admin@{host}.example"));
        place.copy("ca.crl", &format!("{host}/crls/ca.crl"));
        place.copy("ca.crt", &format!("{host}/ocsp/issuer.crt"));
        place.copy("ca.crt", &format!("{host}/ocsp/responder.crt"));
    }
    place.copy("b/local.pub", "a/pubkeys/ipv4/10.0.0.2");
    let (a, b) = (place.ring("a"), place.ring("b"));
    let user = Identity { id_type: IdType::ID_RFC822_ADDR, data: b"admin@a.example".to_vec() };
    for identity in [fqdn("a.example"), user] {
        let (_, by) = proves(&a, &b, &identity, v2());
        assert!(by.contains("CN=a"), "{by}");
    }
    let (_, by) = proves(&b, &a, &fqdn("b.example"), v2());
    assert!(by.contains("CN=b"), "{by}");
    // A key is for one identity; a certificate that is for another is not asked for then.
    let asked =
        Sign { identity: address(2), octets: vec![1], manner: v2(), requests: vec![Request::Any] };
    let refused = b.sign(&asked).unwrap_err();
    assert!(refused.contains("no certificate of ours is for"), "{refused}");
}
