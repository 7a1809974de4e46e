//! The directory of keys and certificates, as iked(8) and isakmpd(8) have it: which file is what, and
//! what stands in it.
//!
//! ```text
//! ca/                       authorities that are trusted (others help to build chains)
//! certs/                    certificates: ours, intermediates, peers'
//! crls/                     revocation lists
//! ocsp/                     OCSP answers about our own certificates; responders that are trusted
//! private/                  private keys
//! pubkeys/{ipv4,ipv6,fqdn,ufqdn}/ID   raw public keys of peers
//! ```

use std::net::IpAddr;

use openssl::ocsp::OcspResponse;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private, Public};
use openssl::x509::{X509, X509Crl};
use serde::{Deserialize, Serialize};

use crate::conf::Identity;
use crate::crypto::Secret;
use crate::wire::iana::v2::IdType;

/// The folders that are read.
pub const FOLDERS: &[&str] = &[
    "ca",
    "certs",
    "crls",
    "ocsp",
    "private",
    "pubkeys/ipv4",
    "pubkeys/ipv6",
    "pubkeys/fqdn",
    "pubkeys/ufqdn",
];

/// The largest file that is read, in octets; and the most files.
pub const LARGEST: usize = 8 << 20;
/// How many files are read at most.
pub const MOST: usize = 10_000;

/// A file of the directory, on its way to the process that holds the keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyFile {
    /// Its path below the directory, such as `private/local.key`.
    pub name: String,
    /// What stands in it; it may be a private key.
    pub octets: Secret,
}

/// What a file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// In `ca/`.
    Authority,
    /// In `certs/`.
    Certificate,
    /// In `crls/`.
    Crl,
    /// In `ocsp/`: an answer, or the certificate of a responder.
    Ocsp,
    /// In `private/`.
    Private,
    /// In `pubkeys/`: whose.
    PublicKey(Identity),
}

impl Kind {
    /// What a file of this name is for.
    ///
    /// # Errors
    ///
    /// A name that says nothing, in a sentence.
    pub fn of(name: &str) -> Result<Self, String> {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let address = |v4| match file.parse::<IpAddr>() {
            Ok(IpAddr::V4(it)) if v4 => Ok((IdType::ID_IPV4_ADDR, it.octets().to_vec())),
            Ok(IpAddr::V6(it)) if !v4 => Ok((IdType::ID_IPV6_ADDR, it.octets().to_vec())),
            _ => Err(format!("{name}: its name is not the address of a peer")),
        };
        let folded = || file.to_ascii_lowercase().into_bytes();
        let (id_type, data) = match folder {
            "ca" => return Ok(Self::Authority),
            "certs" => return Ok(Self::Certificate),
            "crls" => return Ok(Self::Crl),
            // iked(8) has the certificate beside it by which its requests are made. It signs nothing.
            "ocsp" if file == "issuer.crt" => return Ok(Self::Certificate),
            "ocsp" => return Ok(Self::Ocsp),
            "private" => return Ok(Self::Private),
            "pubkeys/ipv4" => address(true)?,
            "pubkeys/ipv6" => address(false)?,
            "pubkeys/fqdn" => (IdType::ID_FQDN, folded()),
            "pubkeys/ufqdn" => (IdType::ID_RFC822_ADDR, folded()),
            _ => return Err(format!("{name}: nothing is read from there")),
        };
        Ok(Self::PublicKey(Identity { id_type, data }))
    }
}

/// What was found in a file.
#[derive(Default)]
pub struct Found {
    /// Certificates.
    pub certs: Vec<X509>,
    /// Revocation lists.
    pub crls: Vec<X509Crl>,
    /// OCSP answers, in DER.
    pub answers: Vec<Vec<u8>>,
    /// Private keys.
    pub keys: Vec<PKey<Private>>,
    /// Public keys.
    pub public: Vec<PKey<Public>>,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.certs.is_empty()
            && self.crls.is_empty()
            && self.keys.is_empty()
            && self.public.is_empty()
    }
}

/// Whether a file holds something that only a passphrase opens.
pub fn wants_passphrase(octets: &[u8]) -> bool {
    let has = |mark: &[u8]| octets.windows(mark.len()).any(|window| window == mark);
    if is_pem(octets) {
        return has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED");
    }
    // A PKCS #12 file begins with a sequence and version 3.
    let bag = octets.first() == Some(&0x30) && octets.iter().take(12).any(|octet| *octet == 3);
    bag && Pkcs12::from_der(octets).is_ok_and(|bag| bag.parse2("").is_err())
}

fn is_pem(octets: &[u8]) -> bool {
    octets.windows(11).any(|window| window == b"-----BEGIN ")
}

/// Reads a file of any encoding: PEM blocks in any order with any text between them, or DER.
///
/// # Errors
///
/// What is wrong with it, in a sentence. What is right in it is lost with it: half a chain misleads.
pub fn read(octets: &[u8], passphrase: Option<&Secret>) -> Result<Found, String> {
    let mut found = Found::default();
    if !is_pem(octets) {
        der(octets, passphrase, &mut found)?;
        return Ok(found);
    }
    let mut rest = octets;
    while let Some((label, block, after)) = next_block(rest) {
        rest = after;
        take(&label, block, passphrase, &mut found)?;
    }
    match found.is_empty() {
        true => Err("it holds neither certificate, revocation list nor key".into()),
        false => Ok(found),
    }
}

/// The next PEM block: its label, all of it, and what follows it.
fn next_block(octets: &[u8]) -> Option<(String, &[u8], &[u8])> {
    let find = |from: &[u8], what: &[u8]| from.windows(what.len()).position(|w| w == what);
    let start = find(octets, b"-----BEGIN ")?;
    let block = octets.get(start..)?;
    let label = block.get(11..)?;
    let label = std::str::from_utf8(label.get(..find(label, b"-----")?)?).ok()?;
    let end = format!("-----END {label}-----");
    let stop = find(block, end.as_bytes())? + end.len();
    Some((label.to_owned(), block.get(..stop)?, block.get(stop..)?))
}

fn take(
    label: &str,
    block: &[u8],
    passphrase: Option<&Secret>,
    found: &mut Found,
) -> Result<(), String> {
    let bad = |what: &str| format!("a {what} in it cannot be read");
    // The library wants its lines ended.
    let block = zeroize::Zeroizing::new([block, b"\n"].concat());
    match label {
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
            found.certs.push(X509::from_pem(&block).map_err(|_| bad("certificate"))?);
        }
        "X509 CRL" => {
            found.crls.push(X509Crl::from_pem(&block).map_err(|_| bad("revocation list"))?);
        }
        "PUBLIC KEY" => {
            found.public.push(PKey::public_key_from_pem(&block).map_err(|_| bad("public key"))?);
        }
        "RSA PUBLIC KEY" => {
            let rsa = openssl::rsa::Rsa::public_key_from_pem_pkcs1(&block);
            let key = rsa.and_then(PKey::from_rsa).map_err(|_| bad("public key"))?;
            found.public.push(key);
        }
        label if label.ends_with("PRIVATE KEY") => {
            let words = passphrase.map_or(&[][..], Secret::octets);
            let key = PKey::private_key_from_pem_passphrase(&block, words);
            found.keys.push(key.map_err(|_| match (wants_passphrase(&block), passphrase) {
                (true, None) => "its passphrase is not known: it is asked for at the start".into(),
                (true, Some(_)) => "its passphrase is another one".into(),
                (false, _) => bad("private key"),
            })?);
        }
        // Parameters of curves, and whatever else tools put there.
        _ => (),
    }
    Ok(())
}

fn der(octets: &[u8], passphrase: Option<&Secret>, found: &mut Found) -> Result<(), String> {
    if let Ok(cert) = X509::from_der(octets) {
        found.certs.push(cert);
    } else if let Ok(crl) = X509Crl::from_der(octets) {
        found.crls.push(crl);
    } else if OcspResponse::from_der(octets).is_ok() {
        found.answers.push(octets.to_vec());
    } else if let Ok(key) = PKey::private_key_from_der(octets) {
        found.keys.push(key);
    } else if let Ok(key) = PKey::public_key_from_der(octets) {
        found.public.push(key);
    } else if let Ok(bag) = Pkcs12::from_der(octets) {
        let words = passphrase.and_then(|it| std::str::from_utf8(it.octets()).ok());
        let opened = bag.parse2(words.unwrap_or_default()).map_err(|_| match passphrase {
            None => "its passphrase is not known: it is asked for at the start",
            Some(_) => "its passphrase is another one, or its ciphers are too old for the library",
        })?;
        found.keys.extend(opened.pkey);
        found.certs.extend(opened.cert);
        found.certs.extend(opened.ca.into_iter().flatten());
    } else {
        return Err("it is neither PEM nor DER of anything that belongs here".into());
    }
    Ok(())
}
