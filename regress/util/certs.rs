//! Authorities, certificates and keys for the cases, made on the spot.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use oakd::conf::Identity;
use oakd::crypto::Secret;
use oakd::pki::authority::{self, NewKey, Role, Wanted};
use oakd::pki::files::KeyFile;
use oakd::pki::{Keyring, Options};
use oakd::wire::iana::v2::IdType;
use openssl::asn1::{Asn1Object, Asn1OctetString};
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509Extension};

pub const DAY: i64 = 86_400;

pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A key with its certificate.
#[derive(Clone)]
pub struct Holder {
    pub key: PKey<Private>,
    pub cert: X509,
}

/// What is unusual about a certificate.
pub struct Oddity {
    pub valid: (i64, i64),
    pub role: Role,
    pub names: Vec<Identity>,
    pub extensions: Vec<X509Extension>,
}

impl Oddity {
    pub fn none(names: &[Identity]) -> Self {
        let valid = (now() - DAY, now() + 365 * DAY);
        Self { valid, role: Role::Host, names: names.to_vec(), extensions: Vec::new() }
    }
}

pub fn name(id_type: IdType, text: &str) -> Identity {
    Identity { id_type, data: text.as_bytes().to_vec() }
}

impl Holder {
    /// An authority of its own.
    pub fn root(name: &str, kind: NewKey) -> Self {
        let key = kind.make().unwrap();
        let subject = authority::subject(&[("O", "Cases"), ("CN", name)]).unwrap();
        let valid = (now() - DAY, now() + 3650 * DAY);
        let (names, extensions) = (&[][..], Vec::new());
        let role = Role::Authority(None);
        let wanted = Wanted { subject: &subject, names, valid, role, extensions };
        let cert = authority::certify(&key, wanted, (None, &key)).unwrap();
        Self { key, cert }
    }

    pub fn issue(&self, name: &str, kind: NewKey, odd: Oddity) -> Self {
        let key = kind.make().unwrap();
        let subject = authority::subject(&[("O", "Cases"), ("CN", name)]).unwrap();
        let Oddity { valid, role, names, extensions } = odd;
        let wanted = Wanted { subject: &subject, names: &names, valid, role, extensions };
        let cert = authority::certify(&key, wanted, (Some(&self.cert), &self.key)).unwrap();
        Self { key, cert }
    }

    /// An authority below this one.
    pub fn below(&self, name: &str, kind: NewKey) -> Self {
        let mut odd = Oddity::none(&[]);
        odd.role = Role::Authority(Some(0));
        self.issue(name, kind, odd)
    }

    /// A host's certificate.
    pub fn host(&self, host: &str, kind: NewKey) -> Self {
        self.issue(host, kind, Oddity::none(&[name(IdType::ID_FQDN, host)]))
    }

    pub fn pem(&self) -> Vec<u8> {
        self.cert.to_pem().unwrap()
    }

    pub fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().unwrap()
    }

    pub fn public_pem(&self) -> Vec<u8> {
        self.key.public_key_to_pem().unwrap()
    }
}

pub fn file(name: &str, octets: impl Into<Vec<u8>>) -> KeyFile {
    KeyFile { name: name.to_owned(), octets: Secret::new(octets.into()) }
}

pub fn ring(files: &[KeyFile]) -> Keyring {
    Keyring::load(files, &BTreeMap::new(), Options::default()).unwrap()
}

/// The ring of a host: its own key and certificate, and the authorities that it trusts.
pub fn own(holder: &Holder, authorities: &[&Holder]) -> Keyring {
    ring(&own_files(holder, authorities))
}

pub fn own_files(holder: &Holder, authorities: &[&Holder]) -> Vec<KeyFile> {
    let all: Vec<u8> = authorities.iter().flat_map(|it| it.pem()).collect();
    vec![
        file("ca/ca.crt", all),
        file("certs/own.crt", holder.pem()),
        file("private/local.key", holder.key_pem()),
    ]
}

/// An OCSP answer by openssl(1): by whom, about whom, what, with which words; `None` where there is no such program.
pub fn ocsp_answer(
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

/// An extension as it stands there.
pub fn extension(oid: &str, critical: bool, der: &[u8]) -> X509Extension {
    let oid = Asn1Object::from_str(oid).unwrap();
    let value = Asn1OctetString::new_from_bytes(der).unwrap();
    X509Extension::new_from_der(&oid, critical, &value).unwrap()
}
