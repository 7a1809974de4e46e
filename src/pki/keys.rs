//! Our own keys: which one speaks for an identity, signatures, and what is decrypted with them.

use std::cmp::Reverse;

use openssl::encrypt::Encrypter;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Padding;
use openssl::sign::Signer;
use openssl::x509::X509;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::Keyring;
use super::subject;
use crate::conf::Identity;
use crate::crypto::signature::{self, KeyKind};
use crate::crypto::{Secret, sha1};
use crate::ike::auth::{Cert, Manner, Open, Request, Seal, Sealed, Sign, Signature, Wish};
use crate::wire::iana::v1;
use crate::wire::iana::v2::{AuthMethod, HashId};
use crate::wire::v2::SignatureData;

/// The longest chain that is sent.
const MOST_SENT: usize = 8;

/// The most ciphertexts of one question.
const MOST_SEALED: usize = 8;

/// A private key with the certificates for it.
pub struct OwnKey {
    key: PKey<Private>,
    pub(super) kind: KeyKind,
    public: Vec<u8>,
    pub(super) file: String,
    pub(super) certs: Vec<X509>,
}

impl OwnKey {
    /// Takes a key.
    ///
    /// # Errors
    ///
    /// A kind or size that is not taken.
    pub fn new(key: PKey<Private>, file: &str) -> Result<Self, String> {
        let kind = KeyKind::of(&key).map_err(|error| error.to_string())?;
        let public = key.public_key_to_der().map_err(|error| error.to_string())?;
        Ok(Self { key, kind, public, file: file.to_owned(), certs: Vec::new() })
    }

    /// Takes those certificates that are for this key.
    pub fn find_certs<'a>(&mut self, pool: impl Iterator<Item = &'a X509>) {
        let is_ours = |cert: &&X509| {
            let public = cert.public_key().and_then(|key| key.public_key_to_der());
            public.is_ok_and(|public| public == self.public)
        };
        self.certs = pool.filter(is_ours).cloned().collect();
    }

    /// How it signs in the manner that is wanted, if it can; an RSA key by PSS where there is a choice and
    /// that is preferred.
    fn method(&self, manner: &Manner, pss: bool) -> Option<Method> {
        let kind = self.kind;
        let named_as = if pss && kind == KeyKind::Rsa { KeyKind::RsaPss } else { kind };
        match manner {
            Manner::V1(v1::AuthMethod::RSA_SIGNATURES) => {
                (kind == KeyKind::Rsa).then_some(Method::Hash)
            }
            Manner::V1(method) => {
                let own = kind.method().map(|it| u16::from(it.0));
                (own == Some(method.0)).then_some(Method::Hash)
            }
            Manner::V2 { wish, hashes } => {
                let named = || signature::choose(named_as, hashes.as_deref()?).map(Method::Named);
                let classic = || kind.method().map(|_| Method::Classic);
                match wish {
                    Wish::Any => named().or_else(classic),
                    Wish::Rfc7427 => named(),
                    wish => classic().filter(|_| kind.method().is_some_and(|it| wish.takes(it))),
                }
            }
        }
    }
}

/// How a signature is made.
#[derive(Debug, Clone, Copy)]
enum Method {
    Named(&'static signature::Scheme),
    Classic,
    Hash,
}

impl Keyring {
    /// Signs as one of our identities.
    ///
    /// # Errors
    ///
    /// That no key here can, and what there is, in a sentence.
    pub fn sign(&self, asked: &Sign) -> Result<Signature, String> {
        let (key, cert, method) = self.speaker(asked)?;
        let words = |error: crate::crypto::Error| format!("{}: {error}", key.file);
        let (method, data) = match method {
            Method::Classic => signature::sign_classic(&key.key, &asked.octets).map_err(words)?,
            Method::Hash => {
                let data = signature::sign_hash(&key.key, &asked.octets).map_err(words)?;
                (AuthMethod::RSA_SIGNATURE, data)
            }
            Method::Named(scheme) => {
                let signature = signature::sign(&key.key, scheme, &asked.octets).map_err(words)?;
                let algorithm = scheme.algorithm.to_vec();
                (AuthMethod::DIGITAL_SIGNATURE, SignatureData { algorithm, signature }.emit())
            }
        };
        Ok(Signature { method, data, certs: self.sent(key, cert, &asked.requests) })
    }

    /// The key and certificate for an identity: of those that can do what is wanted, one that the
    /// peer's authorities have signed and that is valid.
    fn speaker(&self, asked: &Sign) -> Result<(&OwnKey, Option<&X509>, Method), String> {
        let mut able = Vec::new();
        let mut for_it = None;
        for key in &self.keys {
            for cert in &key.certs {
                if !is_for(cert, &asked.identity) {
                    continue;
                }
                for_it = Some(key);
                if let Some(method) = key.method(&asked.manner, self.options.rsa_pss) {
                    able.push((key, Some(cert), method));
                }
            }
        }
        let rank = |(_, cert, _): &(&OwnKey, Option<&X509>, Method)| {
            let Some(cert) = cert else { return (false, false, 0) };
            let wanted = self.is_wanted(cert, &asked.requests);
            let until = until(cert);
            (wanted, self.standing(cert).0.is_none(), until)
        };
        able.sort_by_cached_key(|it| Reverse(rank(it)));
        if let Some(best) = able.into_iter().next() {
            return Ok(best);
        }
        let who = subject::printed(&asked.identity);
        if let Some(key) = for_it {
            return Err(self.unable(key, &who, &asked.manner));
        }
        // A key without certificate speaks for whoever we say we are: the peer has it in a file.
        let mut bare = self.keys.iter().filter(|key| key.certs.is_empty());
        let bare: Vec<&OwnKey> = bare.by_ref().collect();
        let able = bare
            .iter()
            .find_map(|key| Some((*key, None, key.method(&asked.manner, self.options.rsa_pss)?)));
        match (able, bare.first()) {
            (Some(able), _) => Ok(able),
            (None, Some(key)) => Err(self.unable(key, &who, &asked.manner)),
            (None, None) => Err(self.nobody(&who)),
        }
    }

    fn unable(&self, key: &OwnKey, who: &str, manner: &Manner) -> String {
        let (file, kind) = (&key.file, key.kind);
        match manner {
            Manner::V1(method) => {
                format!("the key for {who} ({file}) is {kind}, the negotiated method is {method}")
            }
            Manner::V2 { hashes: None, wish: Wish::Any | Wish::Rfc7427 } => format!(
                "the key for {who} ({file}) is {kind}: it needs RFC 7427, of which the peer says nothing \
                 (no SIGNATURE_HASH_ALGORITHMS)"
            ),
            Manner::V2 { hashes: Some(hashes), wish: Wish::Any | Wish::Rfc7427 } => {
                let hashes: Vec<String> = hashes.iter().map(HashId::to_string).collect();
                let hashes = hashes.join(", ");
                format!(
                    "the key for {who} ({file}) is {kind}: the peer takes no hash that goes with it, \
                     only {hashes}"
                )
            }
            Manner::V2 { wish, .. } => {
                format!(
                    "the key for {who} ({file}) is {kind}, the policy wants ikeauth {}",
                    wish.word()
                )
            }
        }
    }

    fn nobody(&self, who: &str) -> String {
        if self.keys.is_empty() {
            return format!("there is no private key to sign with as {who}: private/ holds none");
        }
        let certs = self.keys.iter().flat_map(|key| &key.certs);
        let ders = certs.filter_map(|cert| cert.to_der().ok());
        let found: Vec<String> = ders
            .filter_map(|der| {
                let (_, facts) = X509Certificate::from_der(&der).ok()?;
                Some(subject::identities(&facts).join(", "))
            })
            .collect();
        format!(
            "no certificate of ours is for {who}: those in certs/ are for {}; set srcid to one of these, \
             or have a certificate issued",
            found.join("; ")
        )
    }

    /// Whether a certificate hangs on an authority that the peer asked for.
    fn is_wanted(&self, cert: &X509, requests: &[Request]) -> bool {
        let chain = self.above(cert);
        let some = |request: &Request| matches!(request, Request::KeyHash(_) | Request::Name(_));
        let any = requests.contains(&Request::Any) || !requests.iter().any(some);
        any || chain.iter().any(|cert| {
            let key = cert.public_key().and_then(|key| key.public_key_to_der());
            let hash = key.map(|key| sha1(&[&key])).ok();
            let name = cert.subject_name().to_der().ok();
            let issuer = cert.issuer_name().to_der().ok();
            requests.iter().any(|request| match request {
                Request::KeyHash(wanted) => hash.as_ref() == Some(wanted),
                Request::Name(wanted) => {
                    [&name, &issuer].into_iter().flatten().any(|it| subject::same_name(it, wanted))
                }
                _ => false,
            })
        })
    }

    /// A certificate and those above it, as far as they are here; the anchor included. It takes a
    /// verified signature for each, so those of our own certificates are found once.
    fn above(&self, cert: &X509) -> Vec<X509> {
        let known = cert.to_der().ok().and_then(|der| self.chains.get(&der));
        known.cloned().unwrap_or_else(|| self.find_above(cert))
    }

    /// Finds what is above our own certificates.
    pub(super) fn find_chains(&mut self) {
        let certs = self.keys.iter().flat_map(|key| &key.certs);
        let chains = certs.filter_map(|cert| Some((cert.to_der().ok()?, self.find_above(cert))));
        self.chains = chains.collect();
    }

    fn find_above(&self, cert: &X509) -> Vec<X509> {
        let mut chain = vec![cert.clone()];
        while let Some(last) = chain.last().filter(|_| chain.len() < MOST_SENT) {
            let issued = |issuer: &&X509| {
                use openssl::x509::X509VerifyResult;
                issuer.issued(last) == X509VerifyResult::OK
                    && issuer.public_key().is_ok_and(|key| last.verify(&key).unwrap_or(false))
            };
            let known = self.pool().chain(self.anchors().iter().map(|(cert, _)| cert));
            let Some(issuer) = known.into_iter().find(issued).cloned() else { break };
            let same = |other: &X509| other.to_der().ok() == issuer.to_der().ok();
            if chain.iter().any(same) {
                break;
            }
            chain.push(issuer);
        }
        chain
    }

    /// What goes to the peer with a signature: the chain without its self-signed top, or a raw key
    /// where it was asked for.
    fn sent(&self, key: &OwnKey, cert: Option<&X509>, requests: &[Request]) -> Vec<Cert> {
        let Some(cert) = cert else {
            let rsa = || {
                let rsa = key.key.rsa().ok()?;
                Some(Cert::RsaKey(rsa.public_key_to_der_pkcs1().ok()?))
            };
            if requests.contains(&Request::PublicKey) {
                return vec![Cert::PublicKey(key.public.clone())];
            }
            if requests.contains(&Request::IkedKey)
                && key.kind.method() != Some(AuthMethod::RSA_SIGNATURE)
            {
                return vec![Cert::IkedKey(key.public.clone())];
            }
            return match requests.contains(&Request::RsaKey) {
                true => rsa().into_iter().collect(),
                false => Vec::new(),
            };
        };
        let chain = self.above(cert);
        let top = |cert: &X509| {
            let (subject, issuer) = (cert.subject_name().to_der(), cert.issuer_name().to_der());
            subject.ok() == issuer.ok()
        };
        let sent = chain.iter().enumerate().filter(|(at, cert)| *at == 0 || !top(cert));
        let answer = requests.contains(&Request::Ocsp).then(|| {
            let good = |answer: &&(Vec<u8>, _)| self.check_answer(&answer.0, &chain).is_ok();
            self.answers.iter().find(good).map(|(answer, _)| Cert::Ocsp(answer.clone()))
        });
        let sent = sent.filter_map(|(_, cert)| Some(Cert::X509(cert.to_der().ok()?)));
        sent.chain(answer.flatten()).collect()
    }

    /// What is wrong with our OCSP answers: which file, and why no peer gets it.
    pub(super) fn idle_answers(&self) -> Vec<(&str, String)> {
        let certs: Vec<&X509> = self.keys.iter().flat_map(|key| &key.certs).collect();
        let idle = self.answers.iter().filter_map(|(answer, file)| {
            let mut whys = Vec::new();
            for cert in &certs {
                match self.check_answer(answer, &self.above(cert)) {
                    Ok(()) => return None,
                    Err(why) => whys.push(why),
                }
            }
            let other = "the OCSP answer is about another certificate";
            let why = whys.into_iter().min_by_key(|why| why.as_str() == other);
            Some((file.as_str(), why.unwrap_or_else(|| "there is no certificate of ours".into())))
        });
        idle.collect()
    }

    /// Decrypts with our RSA key. What does not decrypt comes back as octets that nobody can foretell
    /// and that are the same each time: how it fails teaches the sender nothing.
    ///
    /// # Errors
    ///
    /// That there is no RSA key.
    pub fn open(&self, asked: &Open) -> Result<Vec<Secret>, String> {
        let mut keys = self.keys.iter().filter(|key| key.kind == KeyKind::Rsa);
        let named = |key: &&OwnKey| {
            asked.key_hash.as_ref().is_some_and(|wanted| {
                let ders = key.certs.iter().filter_map(|cert| cert.to_der().ok());
                ders.into_iter().any(|der| hashes(&der).contains(wanted))
            })
        };
        let key = self.keys.iter().filter(|key| key.kind == KeyKind::Rsa).find(named);
        let key = key.or_else(|| keys.next()).ok_or("there is no RSA key to decrypt with")?;
        let private = key.key.rsa().map_err(|error| error.to_string())?;
        let size = usize::try_from(private.size()).unwrap_or(0);
        let mut opened = Vec::new();
        for sealed in asked.sealed.iter().take(MOST_SEALED) {
            let mut plain = zeroize::Zeroizing::new(vec![0; size]);
            let len = private.private_decrypt(sealed, &mut plain, Padding::PKCS1);
            let dummy = self.unforetold(key, sealed)?;
            opened.push(match len {
                Ok(len) => Secret::from(plain.get(..len).unwrap_or_default()),
                Err(_) => dummy,
            });
        }
        Ok(opened)
    }

    /// Octets in place of what does not decrypt: a MAC of it, keyed by the private key.
    fn unforetold(&self, key: &OwnKey, sealed: &[u8]) -> Result<Secret, String> {
        let words = |error: openssl::error::ErrorStack| error.to_string();
        let private = zeroize::Zeroizing::new(key.key.private_key_to_der().map_err(words)?);
        let mac = PKey::hmac(&private).map_err(words)?;
        let mut signer = Signer::new(MessageDigest::sha256(), &mac).map_err(words)?;
        signer.update(sealed).map_err(words)?;
        Ok(Secret::new(signer.sign_to_vec().map_err(words)?))
    }

    /// Encrypts for a peer whose public key is here.
    ///
    /// # Errors
    ///
    /// That it is not, or is no RSA key.
    pub fn seal(&self, asked: &Seal) -> Result<Sealed, String> {
        let who = subject::printed(&asked.identity);
        let words = |error: openssl::error::ErrorStack| error.to_string();
        let (key, hash) = match self.raw_key(&asked.identity) {
            Some(raw) => (raw.key.clone(), None),
            None => {
                let copies = self.copies_for(&asked.identity);
                let (cert, der) = match copies.first() {
                    Some(der) => (X509::from_der(der).map_err(words)?, der.clone()),
                    None => self.sent_by(asked, &who)?,
                };
                if let (Some(fault), _) = self.standing(&cert) {
                    return Err(format!("the certificate of {who}: {fault}"));
                }
                (cert.public_key().map_err(words)?, Some(sha1(&[&der]).to_vec()))
            }
        };
        if KeyKind::of(&key) != Ok(KeyKind::Rsa) {
            return Err(format!("the key of {who} is no RSA key"));
        }
        let mut sealed = Vec::new();
        for plain in asked.plain.iter().take(MOST_SEALED) {
            let mut encrypter = Encrypter::new(&key).map_err(words)?;
            encrypter.set_rsa_padding(Padding::PKCS1).map_err(words)?;
            let mut out = vec![0; encrypter.encrypt_len(plain.octets()).map_err(words)?];
            let len = encrypter.encrypt(plain.octets(), &mut out).map_err(words)?;
            out.truncate(len);
            sealed.push(out);
        }
        let own = asked.own.as_ref().and_then(|own| self.certificate_for(own));
        Ok(Sealed { sealed, key_hash: hash, own })
    }

    /// The certificate that the peer sent for its identity, where there is no copy of ours.
    fn sent_by(&self, asked: &Seal, who: &str) -> Result<(X509, Vec<u8>), String> {
        let Some(vouched) = self.vouch(&asked.identity, &asked.certs) else {
            return Err(format!(
                "no public key of {who} is here, and it sent no certificate: it belongs into pubkeys/ \
                 or certs/"
            ));
        };
        let cert = vouched.map_err(|why| format!("the certificate of {who}: {why}"))?;
        let der = cert.to_der().map_err(|error| error.to_string())?;
        Ok((cert, der))
    }

    /// A certificate of ours for this identity, with an RSA key.
    fn certificate_for(&self, identity: &Identity) -> Option<Vec<u8>> {
        let rsa = self.keys.iter().filter(|key| KeyKind::of(&key.key) == Ok(KeyKind::Rsa));
        let mut certs = rsa.flat_map(|key| &key.certs).filter(|cert| is_for(cert, identity));
        certs.find_map(|cert| cert.to_der().ok())
    }
}

/// The hashes by which a peer may name a certificate of ours.
fn hashes(der: &[u8]) -> Vec<Vec<u8>> {
    let kinds = [MessageDigest::md5(), MessageDigest::sha1(), MessageDigest::sha256()];
    let kinds = kinds.into_iter().chain([MessageDigest::sha384(), MessageDigest::sha512()]);
    kinds.filter_map(|kind| Some(openssl::hash::hash(kind, der).ok()?.to_vec())).collect()
}

fn is_for(cert: &X509, identity: &Identity) -> bool {
    let Ok(der) = cert.to_der() else { return false };
    X509Certificate::from_der(&der).is_ok_and(|(_, facts)| subject::is_for(&facts, identity))
}

/// Until when a certificate is valid, in seconds since 1970.
pub(super) fn until(cert: &X509) -> i64 {
    let Ok(der) = cert.to_der() else { return 0 };
    X509Certificate::from_der(&der).map_or(0, |(_, facts)| facts.validity().not_after.timestamp())
}
