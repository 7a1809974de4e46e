//! Keys and certificates: whom we trust, who we are, and the proofs of both.
//!
//! ```text
//! files ──> Keyring ──┬── sign     our signature, and the certificates that go with it
//!                     ├── judge    is the peer who it says it is?
//!                     ├── trust    what certificate requests are made of
//!                     └── view     what `oakctl show certs` shows
//! ```
//!
//! It holds private keys and lives in the `ca` process alone. Questions come and answers go in the
//! words of [`crate::ike::auth`]; nothing here knows a process or a descriptor. Chains are built and
//! checked by the library's own store; names and identities are read with x509-parser.

pub mod authority;
pub mod files;
mod judge;
mod keys;
mod revocation;
pub mod subject;
mod view;

use std::collections::BTreeMap;

use openssl::hash::MessageDigest;
use openssl::pkey::{HasPublic, PKey, PKeyRef, Public};
use openssl::x509::X509;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

pub use judge::{LARGEST_CERT, MOST_CERTS};
pub use subject::{CertView, Part};

use crate::conf::{Identity, Ocsp};
use crate::crypto::signature::KeyKind;
use crate::crypto::{Secret, sha1};
use crate::ike::auth::{Answer, Question, Trust};
use crate::wire::iana::v2::IdType;
use files::{Found, KeyFile, Kind};
use keys::OwnKey;
use revocation::List;

/// The longest chain, the certificate itself and the anchor included.
const DEPTH: i32 = 8;

/// How the files are to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Options {
    /// `set cert_partial_chain`: whatever is in `ca/` is trusted, also an intermediate.
    pub partial_chain: bool,
    /// What expires within so many days is reported.
    pub warn_days: u32,
    /// `set rsa_pss`: RSA keys sign by RSASSA-PSS where RFC 7427 is spoken.
    pub rsa_pss: bool,
    /// `set ocsp`: peers are asked for an OCSP answer, and how its dates are judged.
    pub ocsp: Option<Ocsp>,
    /// Judge as of this time, in seconds since 1970; `None` is now.
    pub at: Option<i64>,
}

/// Something about a file that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Which.
    pub file: String,
    /// What, as a sentence.
    pub text: String,
}

/// A public key of a peer, from a file.
struct RawKey {
    key: PKey<Public>,
    file: String,
    print: String,
}

/// Everything that is in the directory.
pub struct Keyring {
    options: Options,
    anchors: Vec<(X509, String)>,
    /// Intermediates and peers' certificates, and ours.
    pool: Vec<(X509, String)>,
    store: X509Store,
    lists: Vec<List>,
    /// OCSP answers about our own certificates, in DER.
    answers: Vec<(Vec<u8>, String)>,
    /// Who may answer by OCSP besides the authorities and those that they name.
    responders: Vec<X509>,
    keys: Vec<OwnKey>,
    /// What is above each of our own certificates, by its DER.
    chains: BTreeMap<Vec<u8>, Vec<X509>>,
    raw: BTreeMap<(IdType, Vec<u8>), RawKey>,
    remarks: Vec<Remark>,
}

impl Keyring {
    /// A ring without keys, which trusts nobody.
    ///
    /// # Errors
    ///
    /// The library's.
    pub fn empty() -> Result<Self, String> {
        Self::load(&[], &BTreeMap::new(), Options::default())
    }

    /// Reads files; `passphrases` by file name. A file that is wrong is left out and remarked on.
    ///
    /// # Errors
    ///
    /// The library's.
    pub fn load(
        files: &[KeyFile],
        passphrases: &BTreeMap<String, Secret>,
        options: Options,
    ) -> Result<Self, String> {
        let store = X509StoreBuilder::new().map_err(|error| error.to_string())?.build();
        let mut ring = Self {
            options,
            anchors: Vec::new(),
            pool: Vec::new(),
            store,
            lists: Vec::new(),
            answers: Vec::new(),
            responders: Vec::new(),
            keys: Vec::new(),
            chains: BTreeMap::new(),
            raw: BTreeMap::new(),
            remarks: Vec::new(),
        };
        for file in files {
            let passphrase = passphrases.get(&file.name);
            let read = Kind::of(&file.name)
                .and_then(|kind| Ok((kind, files::read(file.octets.octets(), passphrase)?)));
            match read {
                Ok((kind, found)) => ring.take(&file.name, kind, found),
                Err(text) => ring.remark(&file.name, text),
            }
        }
        ring.store = ring.trusted().map_err(|error| error.to_string())?;
        ring.marry();
        ring.find_chains();
        Ok(ring)
    }

    fn remark(&mut self, file: &str, text: impl Into<String>) {
        self.remarks.push(Remark { file: file.to_owned(), text: text.into() });
    }

    fn take(&mut self, file: &str, kind: Kind, found: Found) {
        for crl in found.crls {
            match List::new(crl, file) {
                Ok(list) => self.lists.push(list),
                Err(text) => self.remark(file, text),
            }
        }
        self.answers.extend(found.answers.into_iter().map(|answer| (answer, file.to_owned())));
        for cert in found.certs {
            match kind {
                Kind::Authority => self.anchors.push((cert, file.to_owned())),
                Kind::Ocsp => self.responders.push(cert),
                _ => self.pool.push((cert, file.to_owned())),
            }
        }
        for key in found.keys {
            match (OwnKey::new(key, file), &kind) {
                (_, Kind::Authority | Kind::Crl | Kind::Ocsp | Kind::PublicKey(_)) => {
                    self.remark(file, "a private key does not belong there: it is left out");
                }
                (Ok(key), _) => self.keys.push(key),
                (Err(text), _) => self.remark(file, text),
            }
        }
        let Kind::PublicKey(identity) = kind else { return };
        match <[PKey<Public>; 1]>::try_from(found.public) {
            Ok([key]) if KeyKind::of(&key).is_ok() => {
                let (print, file) = (fingerprint(&key), file.to_owned());
                self.raw.insert(folded(&identity), RawKey { key, file, print });
            }
            Ok(_) => self.remark(file, "its key is of a kind or size that is not taken"),
            Err(_) => self.remark(file, "it must hold one public key and nothing else"),
        }
    }

    fn trusted(&self) -> Result<X509Store, openssl::error::ErrorStack> {
        let mut builder = X509StoreBuilder::new()?;
        let mut param = X509VerifyParam::new()?;
        param.set_depth(DEPTH);
        if self.options.partial_chain {
            param.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        }
        if let Some(at) = self.options.at {
            param.set_time(at);
        }
        builder.set_param(&param)?;
        for (cert, _) in &self.anchors {
            builder.add_cert(cert.clone())?;
        }
        Ok(builder.build())
    }

    /// Finds the certificates of our keys.
    fn marry(&mut self) {
        let Self { keys, pool, .. } = self;
        for key in keys {
            key.find_certs(pool.iter().map(|(cert, _)| cert));
        }
    }

    /// What is wrong with which file.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Whether there is nothing to sign with and nobody to trust.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.anchors.is_empty() && self.raw.is_empty()
    }

    /// Answers what is asked about signatures; `None` if the question is about something else.
    pub fn answer(&self, question: &Question) -> Option<Answer> {
        Some(match question {
            Question::Sign(asked) => match self.sign(asked) {
                Ok(signature) => Answer::Signature(Box::new(signature)),
                Err(reason) => Answer::Refused(reason),
            },
            Question::Verify(asked) => match self.judge(asked) {
                Ok(proved) => Answer::Proved(Box::new(proved)),
                Err(rejection) => Answer::Rejected(Box::new(rejection)),
            },
            Question::Open(asked) => match self.open(asked) {
                Ok(opened) => Answer::Opened(opened),
                Err(reason) => Answer::Refused(reason),
            },
            Question::Seal(asked) => match self.seal(asked) {
                Ok(sealed) => Answer::Sealed(Box::new(sealed)),
                Err(reason) => Answer::Refused(reason),
            },
            Question::SharedKeySign { .. }
            | Question::SharedKeyVerify { .. }
            | Question::Skeyid { .. }
            | Question::Login { .. }
            | Question::Password { .. } => return None,
        })
    }

    /// Whom we trust.
    pub fn trust(&self) -> Trust {
        let mut authorities = Vec::new();
        for (cert, _) in &self.anchors {
            let name = cert.subject_name().to_der();
            let key = cert.public_key().and_then(|key| key.public_key_to_der());
            if let (Ok(name), Ok(key)) = (name, key) {
                let authority = (sha1(&[&key]), name);
                if !authorities.contains(&authority) {
                    authorities.push(authority);
                }
            }
        }
        let ocsp = self.options.ocsp.as_ref().map(|_| {
            let keys = self.responders.iter().filter_map(|cert| cert.public_key().ok());
            keys.filter_map(|key| Some(sha1(&[&key.public_key_to_der().ok()?]))).collect()
        });
        Trust { authorities, raw_keys: !self.raw.is_empty(), ocsp }
    }

    fn anchors(&self) -> &[(X509, String)] {
        &self.anchors
    }

    fn pool(&self) -> impl Iterator<Item = &X509> {
        self.pool.iter().map(|(cert, _)| cert)
    }

    fn store(&self) -> &X509Store {
        &self.store
    }

    fn lists(&self) -> &[List] {
        &self.lists
    }

    fn raw_key(&self, identity: &Identity) -> Option<&RawKey> {
        self.raw.get(&folded(identity))
    }

    /// Certificates in `certs/` that are for an identity, in DER.
    fn copies_for(&self, identity: &Identity) -> Vec<Vec<u8>> {
        let ders = self.pool().filter_map(|cert| cert.to_der().ok());
        ders.filter(|der| {
            let parsed = X509Certificate::from_der(der);
            parsed.is_ok_and(|(_, facts)| subject::is_for(&facts, identity))
        })
        .collect()
    }

    /// The time as of which is judged, in seconds since 1970.
    fn seconds(&self) -> i64 {
        self.options.at.unwrap_or_else(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.ok().and_then(|it| i64::try_from(it.as_secs()).ok()).unwrap_or(0)
        })
    }
}

/// Names in the form in which they are looked up.
fn folded(identity: &Identity) -> (IdType, Vec<u8>) {
    let data = match identity.id_type {
        IdType::ID_FQDN | IdType::ID_RFC822_ADDR => identity.data.to_ascii_lowercase(),
        _ => identity.data.clone(),
    };
    (identity.id_type, data)
}

/// A short name of a key: SHA2-256 of its SubjectPublicKeyInfo, the first half.
fn fingerprint<T: HasPublic>(key: &PKeyRef<T>) -> String {
    let der = key.public_key_to_der().unwrap_or_default();
    let digest = openssl::hash::hash(MessageDigest::sha256(), &der);
    digest
        .map_or_else(|_| "?".into(), |it| it.iter().take(16).map(|o| format!("{o:02x}")).collect())
}
