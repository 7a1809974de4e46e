//! A small certification authority in a directory, as ikectl(8) keeps one: keys, certificates and lists
//! are files, and what goes to a host is laid out as its daemon wants it.
//!
//! ```text
//! NAME/ca.crt  ca.crl  ikeca.passwd  index      the authority; what it has revoked
//! NAME/private/ca.key                           its key, encrypted with the password
//! NAME/HOST.crt  private/HOST.key               a host's
//! ```

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::X509;

use crate::conf::Identity;
use crate::crypto::Secret;
use crate::pki::authority::{self, NewKey, Role, Wanted};
use crate::wire::iana::v2::IdType;

mod export;

/// How long an authority's own certificate is valid, in days; ikectl's.
const AUTHORITY_DAYS: u32 = 4500;
/// How long a host's certificate and a revocation list are valid.
const DAYS: u32 = 365;

/// An authority's directory.
pub struct Issuer {
    name: String,
    path: PathBuf,
}

/// What a host's certificate is for.
pub use crate::pki::authority::Role as Use;

fn said(path: &Path) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("{}: {error}", path.display())
}

fn library(error: openssl::error::ErrorStack) -> String {
    format!("the cryptographic library failed: {error}")
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

/// A file that must not be there yet; for its owner alone if it is secret.
fn write_new(path: &Path, octets: &[u8], secret: bool) -> Result<(), String> {
    let mode = if secret { 0o600 } else { 0o644 };
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(octets)).map_err(said(path))
}

/// A file in another's place, whole or not at all.
fn replace(path: &Path, octets: &[u8], secret: bool) -> Result<(), String> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    // One that was left half written is of no use.
    let _ = fs::remove_file(&fresh);
    write_new(&fresh, octets, secret)?;
    fs::rename(&fresh, path).map_err(said(path))
}

fn make_folder(path: &Path, mode: u32) -> Result<(), String> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(said(path))
}

/// A name that cannot lead out of the directory.
fn plain(name: &str) -> Result<&str, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-:@".contains(c);
    match !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.chars().all(fits)
    {
        true => Ok(name),
        false => Err(format!(
            "\"{name}\" cannot be a name here: letters, digits and . _ - : @, not beginning with a dot"
        )),
    }
}

/// What goes into the subjectAltName of a host of this name; `local` is this machine.
fn identity(host: &str) -> Result<Identity, String> {
    use std::net::IpAddr;
    let own = match host {
        "local" => nix::unistd::gethostname().map_err(|error| format!("my own name: {error}"))?,
        other => other.into(),
    };
    let host = own.to_str().ok_or("my own name is no text")?;
    let (id_type, data) = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => (IdType::ID_IPV4_ADDR, v4.octets().to_vec()),
        Ok(IpAddr::V6(v6)) => (IdType::ID_IPV6_ADDR, v6.octets().to_vec()),
        Err(_) if host.contains('@') => (IdType::ID_RFC822_ADDR, host.as_bytes().to_vec()),
        Err(_) => (IdType::ID_FQDN, host.as_bytes().to_vec()),
    };
    Ok(Identity { id_type, data })
}

impl Issuer {
    /// The authority of this name below a directory; it need not be there yet.
    ///
    /// # Errors
    ///
    /// A name that cannot be one.
    pub fn new(base: &Path, name: &str) -> Result<Self, String> {
        Ok(Self { name: name.to_owned(), path: base.join(plain(name)?) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn cert_path(&self, host: &str) -> Result<PathBuf, String> {
        Ok(self.path.join(format!("{}.crt", plain(host)?)))
    }

    fn key_path(&self, host: &str) -> Result<PathBuf, String> {
        Ok(self.path.join("private").join(format!("{}.key", plain(host)?)))
    }

    /// Makes the authority, its key encrypted with the password.
    ///
    /// # Errors
    ///
    /// That it is there already, or what went wrong.
    pub fn create(&self, password: &Secret, kind: NewKey) -> Result<String, String> {
        if self.path.join("ca.crt").exists() {
            return Err(format!(
                "the authority {} exists already: {}",
                self.name,
                self.path.display()
            ));
        }
        make_folder(&self.path, 0o755)?;
        make_folder(&self.path.join("private"), 0o700)?;
        let key = kind.make().map_err(library)?;
        let subject = authority::subject(&[("O", "oakd"), ("CN", &format!("{} CA", self.name))]);
        let subject = subject.map_err(library)?;
        let valid = authority::days(now(), AUTHORITY_DAYS);
        let role = Role::Authority(None);
        let wanted = Wanted { subject: &subject, names: &[], valid, role, extensions: Vec::new() };
        let cert = authority::certify(&key, wanted, (None, &key)).map_err(library)?;
        let pem = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), password.octets());
        write_new(&self.key_path("ca")?, &pem.map_err(library)?, true)?;
        let words = [password.octets(), b"\n"].concat();
        write_new(&self.path.join("ikeca.passwd"), &words, true)?;
        write_new(&self.path.join("ca.crt"), &cert.to_pem().map_err(library)?, false)?;
        self.list()?;
        Ok(format!("authority {} created in {}", self.name, self.path.display()))
    }

    /// Removes the authority with all keys and certificates.
    ///
    /// # Errors
    ///
    /// That it is none, or what went wrong.
    pub fn delete(&self) -> Result<String, String> {
        self.cert()?;
        fs::remove_dir_all(&self.path).map_err(said(&self.path))?;
        Ok(format!("authority {} deleted", self.name))
    }

    fn cert(&self) -> Result<X509, String> {
        let path = self.path.join("ca.crt");
        let pem = fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("there is no authority {}: create it", self.name)
            }
            _ => said(&path)(error),
        })?;
        X509::from_pem(&pem).map_err(|_| format!("{}: it is no certificate", path.display()))
    }

    /// The authority's key, by the password that was saved.
    fn key(&self) -> Result<PKey<Private>, String> {
        let words = self.path.join("ikeca.passwd");
        let password = zeroize::Zeroizing::new(fs::read(&words).map_err(said(&words))?);
        let password = password.split(|octet| *octet == b'\n').next().unwrap_or_default();
        let path = self.key_path("ca")?;
        let pem = zeroize::Zeroizing::new(fs::read(&path).map_err(said(&path))?);
        PKey::private_key_from_pem_passphrase(&pem, password).map_err(|_| {
            format!("{}: the password in {} does not open it", path.display(), words.display())
        })
    }

    /// Makes a key for a host, if it has none.
    ///
    /// # Errors
    ///
    /// What went wrong.
    pub fn create_key(&self, host: &str, kind: NewKey) -> Result<String, String> {
        self.cert()?;
        let path = self.key_path(host)?;
        if path.exists() {
            return Ok(format!("{host} has a key already: it is kept"));
        }
        let pem = kind.make().and_then(|key| key.private_key_to_pem_pkcs8()).map_err(library)?;
        write_new(&path, &zeroize::Zeroizing::new(pem), true)?;
        Ok(format!("key for {host} created"))
    }

    /// Takes a key from a file.
    ///
    /// # Errors
    ///
    /// That the host has one, that the file holds none, or what went wrong.
    pub fn import_key(&self, host: &str, file: &Path) -> Result<String, String> {
        self.cert()?;
        let pem = zeroize::Zeroizing::new(fs::read(file).map_err(said(file))?);
        PKey::private_key_from_pem(&pem)
            .map_err(|_| format!("{}: it holds no private key that can be read", file.display()))?;
        write_new(&self.key_path(host)?, &pem, true)?;
        Ok(format!("key for {host} imported"))
    }

    /// Removes a host's key.
    ///
    /// # Errors
    ///
    /// What went wrong.
    pub fn delete_key(&self, host: &str) -> Result<String, String> {
        let path = self.key_path(not_ca(host)?)?;
        fs::remove_file(&path).map_err(said(&path))?;
        Ok(format!("key of {host} deleted"))
    }

    /// Makes a certificate for a host, and a key if it has none.
    ///
    /// # Errors
    ///
    /// That it has a certificate already, or what went wrong.
    pub fn create_certificate(
        &self,
        host: &str,
        role: Role,
        kind: NewKey,
    ) -> Result<String, String> {
        let (issuer, signer) = (self.cert()?, self.key()?);
        let path = self.cert_path(not_ca(host)?)?;
        if path.exists() {
            return Err(format!("{host} has a certificate already: revoke or delete it first"));
        }
        self.create_key(host, kind)?;
        let key = self.host_key(host)?;
        let subject = authority::subject(&[("O", "oakd"), ("CN", host)]);
        let subject = subject.map_err(|_| format!("{host} is too long for a certificate"))?;
        let (names, valid) = ([identity(host)?], authority::days(now(), DAYS));
        let wanted =
            Wanted { subject: &subject, names: &names, valid, role, extensions: Vec::new() };
        let cert = authority::certify(&key, wanted, (Some(&issuer), &signer)).map_err(library)?;
        write_new(&path, &cert.to_pem().map_err(library)?, false)?;
        Ok(format!("certificate for {host} created, valid until {}", cert.not_after()))
    }

    fn host_key(&self, host: &str) -> Result<PKey<Private>, String> {
        let path = self.key_path(not_ca(host)?)?;
        let pem = zeroize::Zeroizing::new(fs::read(&path).map_err(said(&path))?);
        PKey::private_key_from_pem(&pem).map_err(|_| format!("{}: it is no key", path.display()))
    }

    fn host_cert(&self, host: &str) -> Result<X509, String> {
        let path = self.cert_path(not_ca(host)?)?;
        let pem = fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("{host} has no certificate of {}", self.name),
            _ => said(&path)(error),
        })?;
        X509::from_pem(&pem).map_err(|_| format!("{}: it is no certificate", path.display()))
    }

    /// Removes a host's certificate and key. Who has a copy can go on using it: see [`Issuer::revoke`].
    ///
    /// # Errors
    ///
    /// What went wrong.
    pub fn delete_certificate(&self, host: &str) -> Result<String, String> {
        let path = self.cert_path(not_ca(host)?)?;
        fs::remove_file(&path).map_err(said(&path))?;
        // It may have been deleted before.
        let _ = fs::remove_file(self.key_path(host)?);
        Ok(format!(
            "certificate and key of {host} deleted; copies of them stay valid unless revoked"
        ))
    }

    /// Revokes a host's certificate, and makes the list anew.
    ///
    /// # Errors
    ///
    /// That it has none, or what went wrong.
    pub fn revoke(&self, host: &str) -> Result<String, String> {
        let cert = self.host_cert(host)?;
        let serial =
            cert.serial_number().to_bn().and_then(|it| it.to_hex_str().map(|s| s.to_string()));
        let serial = serial.map_err(library)?;
        let path = self.path.join("index");
        let mut index = fs::read_to_string(&path).unwrap_or_default();
        if index.lines().any(|line| line.starts_with(&serial)) {
            return Err(format!("the certificate of {host} is revoked already"));
        }
        index.push_str(&format!("{serial} {} {host}\n", now()));
        replace(&path, index.as_bytes(), false)?;
        self.list()?;
        // Its place is free for another.
        let old = self.path.join(format!("{host}.{serial}.revoked"));
        fs::rename(self.cert_path(host)?, &old).map_err(said(&old))?;
        Ok(format!(
            "certificate of {host} revoked: install {}/ca.crl everywhere",
            self.path.display()
        ))
    }

    /// Makes the revocation list from the index.
    fn list(&self) -> Result<(), String> {
        let path = self.path.join("index");
        let index = fs::read_to_string(&path).unwrap_or_default();
        let mut revoked = Vec::new();
        for line in index.lines() {
            let mut words = line.split(' ');
            let serial = words.next().and_then(|hex| BigNum::from_hex_str(hex).ok());
            let when = words.next().and_then(|when| when.parse().ok());
            let (Some(serial), Some(when)) = (serial, when) else {
                return Err(format!("{}: a line that is none of ours: {line}", path.display()));
            };
            revoked.push((serial, when));
        }
        let number = u32::try_from(revoked.len()).unwrap_or(u32::MAX - 1) + 1;
        let valid = authority::days(now(), DAYS);
        let (cert, key) = (self.cert()?, self.key()?);
        let list = authority::revoke(&cert, &key, &revoked, number, valid);
        let pem = list.and_then(|list| list.to_pem()).map_err(library)?;
        replace(&self.path.join("ca.crl"), &pem, false)
    }

    /// Puts the authority's certificate and revocation list where a daemon looks for them.
    ///
    /// # Errors
    ///
    /// What went wrong.
    pub fn install(&self, to: &Path) -> Result<String, String> {
        self.cert()?;
        for (from, folder) in [("ca.crt", "ca"), ("ca.crl", "crls")] {
            let from = self.path.join(from);
            make_folder(&to.join(folder), 0o755)?;
            let name = from.extension().and_then(|it| it.to_str()).unwrap_or("crt");
            let target = to.join(folder).join(format!("{}.{name}", self.name));
            replace(&target, &fs::read(&from).map_err(said(&from))?, false)?;
        }
        Ok(format!("authority {} installed in {}", self.name, to.display()))
    }

    /// Puts a host's key where its daemon looks for it, and its certificate unless that is not wanted.
    ///
    /// # Errors
    ///
    /// That another key is there, or what went wrong.
    pub fn install_host(&self, host: &str, to: &Path, with_cert: bool) -> Result<String, String> {
        let key = self.host_key(host)?;
        make_folder(&to.join("private"), 0o700)?;
        let target = to.join("private/local.key");
        let pem = zeroize::Zeroizing::new(key.private_key_to_pem_pkcs8().map_err(library)?);
        match fs::read(&target).map(zeroize::Zeroizing::new) {
            Ok(there) if *there == *pem => (),
            Ok(_) => {
                let target = target.display();
                return Err(format!("{target}: another key is there: move it away first"));
            }
            Err(_) => write_new(&target, &pem, true)?,
        }
        replace(&to.join("local.pub"), &key.public_key_to_pem().map_err(library)?, false)?;
        if with_cert {
            make_folder(&to.join("certs"), 0o755)?;
            let cert = self.host_cert(host)?.to_pem().map_err(library)?;
            replace(&to.join("certs").join(format!("{host}.crt")), &cert, false)?;
        }
        Ok(format!("{host} installed in {}", to.display()))
    }

    /// The certificates that the authority has issued and not revoked, in words.
    ///
    /// # Errors
    ///
    /// What went wrong.
    pub fn show(&self, host: Option<&str>) -> Result<String, String> {
        if let Some(host) = host {
            let text = self.host_cert(host)?.to_text().map_err(library)?;
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        self.cert()?;
        let mut lines = Vec::new();
        let entries = fs::read_dir(&self.path).map_err(said(&self.path))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|it| it != "crt") {
                continue;
            }
            let pem = fs::read(&path).map_err(said(&path))?;
            let Ok(cert) = X509::from_pem(&pem) else { continue };
            let subject = crate::conf::dn::text(cert.subject_name());
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let print = cert.digest(MessageDigest::sha256()).map_err(library)?;
            let print: Vec<String> = print.iter().map(|octet| format!("{octet:02X}")).collect();
            lines.push(format!(
                "{name}: {subject}, {} to {}, SHA256 {}",
                cert.not_before(),
                cert.not_after(),
                print.join(":")
            ));
        }
        lines.sort();
        Ok(lines.join("\n"))
    }
}

/// A host's name that is not the authority's own.
fn not_ca(host: &str) -> Result<&str, String> {
    match host {
        "ca" => Err("ca is the authority itself: give the host another name".into()),
        host => Ok(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_kind_of_identity_it_is() {
        for (host, id_type) in [
            ("192.0.2.1", IdType::ID_IPV4_ADDR),
            ("2001:db8::1", IdType::ID_IPV6_ADDR),
            ("me@example.org", IdType::ID_RFC822_ADDR),
            ("gw.example.org", IdType::ID_FQDN),
            ("local", IdType::ID_FQDN),
        ] {
            assert_eq!(identity(host).unwrap().id_type, id_type, "{host}");
        }
        let own = nix::unistd::gethostname().unwrap();
        assert_eq!(identity("local").unwrap().data, own.as_encoded_bytes());
    }

    #[test]
    fn names_stay_inside() {
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a b", "x\n"] {
            assert!(plain(name).is_err(), "{name:?}");
        }
        for name in ["gw.example.org", "192.0.2.1", "2001:db8::1", "me@example.org"] {
            assert_eq!(plain(name), Ok(name));
        }
    }
}
