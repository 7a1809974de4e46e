//! Whether a peer is who it says it is: its key, the chain above it, its identity, its signature.
//!
//! The order is that of what is most useful to hear: a certificate for somebody else is refused for
//! that, before anybody asks who signed it.

use openssl::asn1::Asn1Time;
use openssl::pkey::{PKey, Public};
use openssl::stack::Stack;
use openssl::x509::store::X509StoreRef;
use openssl::x509::{X509, X509Crl, X509Ref, X509StoreContext};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::revocation::{self, List, Responders};
use super::subject::{self, clean};
use super::{Keyring, fingerprint};
use crate::conf::Identity;
use crate::crypto::signature::{self, KeyKind};
use crate::ike::auth::{Cert, Proof, Proved, Rejection, Verify, Wish};
use crate::wire::iana::v1;
use crate::wire::iana::v2::AuthMethod;
use crate::wire::v2::SignatureData;

/// The most certificates of one message that are looked at.
pub const MOST_CERTS: usize = 16;
/// The largest certificate that is looked at, in octets.
pub const LARGEST_CERT: usize = 32 * 1024;
/// The most revocation lists of one message that are looked at.
const MOST_LISTS: usize = 4;

/// What the library says of a chain, where more can be said than its own words.
mod verdict {
    pub const NO_ISSUER: i32 = 2;
    pub const NOT_YET_VALID: i32 = 9;
    pub const EXPIRED: i32 = 10;
    pub const SELF_SIGNED: i32 = 18;
    pub const SELF_SIGNED_IN_CHAIN: i32 = 19;
    pub const NO_LOCAL_ISSUER: i32 = 20;
    pub const UNVERIFIABLE: i32 = 21;
}

/// A complaint that grows into a rejection.
struct Complaint {
    certificate: String,
    check: String,
    advice: &'static str,
}

impl Complaint {
    fn new(certificate: impl Into<String>, check: impl Into<String>, advice: &'static str) -> Self {
        Self { certificate: certificate.into(), check: check.into(), advice }
    }
}

impl Keyring {
    /// Judges a peer's signature and whose it is.
    ///
    /// # Errors
    ///
    /// The check that failed, about which certificate, with what was wanted and found.
    pub fn judge(&self, asked: &Verify) -> Result<Proved, Rejection> {
        let mut found = Vec::new();
        self.consider(asked, &mut found).map_err(|complaint| Rejection {
            certificate: complaint.certificate,
            check: complaint.check,
            wanted: subject::printed(&asked.identity),
            found,
            advice: complaint.advice.into(),
        })
    }

    fn consider(&self, asked: &Verify, found: &mut Vec<String>) -> Result<Proved, Complaint> {
        let certs: Vec<&[u8]> = asked.certs.iter().filter_map(x509).collect();
        let pinned = self.raw_key(&asked.identity);
        if let Some(pinned) = pinned {
            let wrong = match proves(&pinned.key, asked) {
                Ok(true) => return Ok(Proved { by: format!("the key in {}", pinned.file) }),
                Ok(false) => format!("the signature is not of this key ({})", pinned.print),
                Err(why) => why,
            };
            if certs.is_empty() {
                let sent = asked.certs.iter().find_map(raw);
                found.extend(sent.map(|key| format!("a key {}", fingerprint(&key))));
                let advice = "the peer has another key: put its new public key into that file";
                return Err(Complaint::new(pinned.file.clone(), wrong, advice));
            }
        }
        if let Some(key) = asked.certs.iter().find_map(raw).filter(|_| certs.is_empty()) {
            let name = format!("the raw key {}", fingerprint(&key));
            let advice = "put its public key into pubkeys/, in the folder of the kind of its \
                          identity";
            return Err(Complaint::new(name, "it is not known here", advice));
        }
        match certs.as_slice() {
            [] => self.by_own_copies(asked, found),
            certs if certs.len() > MOST_CERTS => {
                let check = format!(
                    "{} certificates came, at most {MOST_CERTS} are looked at",
                    certs.len()
                );
                Err(Complaint::new("", check, ""))
            }
            certs => self.by_chain(certs, asked, found),
        }
    }

    /// The peer sent nothing: its certificate may be among ours.
    fn by_own_copies(&self, asked: &Verify, found: &mut Vec<String>) -> Result<Proved, Complaint> {
        let copies = self.copies_for(&asked.identity);
        let Some(copy) = copies.first() else {
            let other = asked.certs.iter().find_map(|cert| match cert {
                Cert::Other(12 | 13) => Some("hash and URL, which is not fetched here"),
                Cert::Other(_) => Some("an encoding that is not taken here"),
                _ => None,
            });
            let check = match other {
                Some(what) => format!("the peer sent its certificate as {what}"),
                None => {
                    "the peer sent no certificate, and none of it is in certs/, no key in pubkeys/"
                        .into()
                }
            };
            let advice = "have the peer send its certificate (strongSwan: send_cert = always), or put \
                          its public key into pubkeys/";
            return Err(Complaint::new("", check, advice));
        };
        self.by_chain(&[copy.as_slice()], asked, found)
    }

    fn by_chain(
        &self,
        certs: &[&[u8]],
        asked: &Verify,
        found: &mut Vec<String>,
    ) -> Result<Proved, Complaint> {
        let (leaf, top) = self.believe(certs, &asked.identity, &asked.certs, found)?;
        let name = named(&leaf);
        let key = leaf
            .public_key()
            .map_err(|_| Complaint::new(name.clone(), "its public key cannot be read", ""))?;
        match proves(&key, asked) {
            Ok(true) => (),
            Ok(false) => {
                let check = "the signature is not of its key";
                let advice = "the peer's private key is not that of its certificate, or somebody is in \
                              the middle";
                return Err(Complaint::new(name, check, advice));
            }
            Err(why) => return Err(Complaint::new(name, why, "")),
        }
        let stapled = asked.certs.iter().any(|cert| matches!(cert, Cert::Ocsp(_)));
        let ocsp = match (stapled, &self.options.ocsp) {
            (true, _) => ", good by OCSP",
            (false, Some(_)) => ", without an OCSP answer",
            (false, None) => "",
        };
        Ok(Proved { by: format!("certificate {name}, authority {top}{ocsp}") })
    }

    /// The certificate among these that is for an identity and that a trusted authority stands behind, where
    /// nothing is signed: `None` if none came. What it says of the peer holds for whoever has its key.
    pub(super) fn vouch(&self, identity: &Identity, sent: &[Cert]) -> Option<Result<X509, String>> {
        let certs: Vec<&[u8]> = sent.iter().filter_map(x509).take(MOST_CERTS).collect();
        if certs.is_empty() {
            return None;
        }
        let believed = self.believe(&certs, identity, sent, &mut Vec::new());
        Some(believed.map(|(leaf, _)| leaf).map_err(|complaint| complaint.check))
    }

    /// The certificate of an identity, and the name of the authority at the top of its chain. `sent` is all
    /// that came, revocation lists among it.
    fn believe(
        &self,
        certs: &[&[u8]],
        identity: &Identity,
        sent: &[Cert],
        found: &mut Vec<String>,
    ) -> Result<(X509, String), Complaint> {
        let mut parsed = Vec::new();
        for (at, der) in certs.iter().enumerate() {
            let which = || match at {
                0 => "the peer's certificate".to_owned(),
                at => format!("certificate {} of the peer", at + 1),
            };
            if der.len() > LARGEST_CERT {
                let check =
                    format!("it has {} octets, at most {LARGEST_CERT} are taken", der.len());
                return Err(Complaint::new(which(), check, ""));
            }
            let malformed = |_| Complaint::new(which(), "it is malformed", "");
            let (rest, facts) = X509Certificate::from_der(der).map_err(|_| malformed(()))?;
            let cert = X509::from_der(der).map_err(|_| malformed(()))?;
            if !rest.is_empty() {
                return Err(malformed(()));
            }
            parsed.push((cert, facts));
        }
        // The first is the peer's own (RFC 7296 §3.6); who mixes them up is helped.
        let own = parsed.iter().position(|(_, facts)| subject::is_for(facts, identity));
        let Some((leaf, facts)) = parsed.get(own.unwrap_or(0)) else {
            return Err(Complaint::new("", "no certificate came", ""));
        };
        let name = clean(&facts.subject().to_string());
        found.extend(subject::identities(facts));
        if own.is_none() {
            let advice = "the certificate needs a subjectAltName with the identity that the peer uses, \
                          or the peer the identity that its certificate is for";
            return Err(Complaint::new(name, "it is not for the identity of the peer", advice));
        }
        if let Some(misuse) = subject::misuse(facts) {
            return Err(Complaint::new(name, misuse, "a certificate for IPsec is needed"));
        }
        let others = parsed.iter().map(|(cert, _)| cert);
        let chain = self.build(leaf, others)?;
        self.check_hashes(&chain)?;
        self.check_revocation(&chain, sent)?;
        let top = chain.last().map_or_else(String::new, |top| named(top));
        Ok((leaf.clone(), top))
    }

    /// The chain from a certificate to a trusted one, that one included.
    fn build<'a>(
        &self,
        leaf: &X509Ref,
        others: impl Iterator<Item = &'a X509>,
    ) -> Result<Vec<X509>, Complaint> {
        let internal = |error: openssl::error::ErrorStack| {
            Complaint::new(named(leaf), format!("the library failed: {error}"), "")
        };
        let mut pool = Stack::new().map_err(internal)?;
        for cert in others.cloned().chain(self.pool().cloned()) {
            pool.push(cert).map_err(internal)?;
        }
        if self.anchors().is_empty() {
            let advice = "put the certificate of its authority into ca/";
            return Err(Complaint::new(named(leaf), "no authority is trusted here", advice));
        }
        let mut context = X509StoreContext::new().map_err(internal)?;
        let store: &X509StoreRef = self.store();
        let outcome = context.init(store, leaf, &pool, |context| {
            if context.verify_cert()? {
                let chain = context.chain();
                return Ok(Ok(chain.into_iter().flatten().map(ToOwned::to_owned).collect()));
            }
            let at = context.current_cert().unwrap_or(leaf);
            Ok(Err(broken(at, context.error(), leaf)))
        });
        outcome.map_err(internal)?
    }

    fn check_hashes(&self, chain: &[X509]) -> Result<(), Complaint> {
        // Nobody needs a signature to trust an anchor.
        for cert in chain.iter().take(chain.len().saturating_sub(1)) {
            let der = cert.to_der().unwrap_or_default();
            let Ok((_, facts)) = X509Certificate::from_der(&der) else { continue };
            if let Some(hash) = subject::weak_hash(&facts) {
                let check = format!("it is signed with {hash}, which is too weak");
                return Err(Complaint::new(named(cert), check, "have it issued again"));
            }
        }
        Ok(())
    }

    fn check_revocation(&self, chain: &[X509], sent: &[Cert]) -> Result<(), Complaint> {
        let now = self.now().map_err(|why| Complaint::new("", why, ""))?;
        let lists = sent.iter().filter_map(|cert| match cert {
            Cert::Crl(der) => List::new(X509Crl::from_der(der).ok()?, "the peer's own copy").ok(),
            _ => None,
        });
        let sent_lists: Vec<List> = lists.take(MOST_LISTS).collect();
        for pair in chain.windows(2) {
            let [cert, issuer] = pair else { continue };
            let lists = self.lists().iter().chain(&sent_lists);
            revocation::listed(lists, cert, issuer, &now)
                .map_err(|check| Complaint::new(named(cert), check, ""))?;
        }
        let answer = sent.iter().find_map(|cert| match cert {
            Cert::Ocsp(der) => Some(der),
            _ => None,
        });
        if let (Some(answer), [cert, ..]) = (answer, chain) {
            self.check_answer(answer, chain)
                .map_err(|check| Complaint::new(named(cert), check, ""))?;
        }
        Ok(())
    }

    /// Judges the first certificate of a chain by an OCSP answer.
    pub(super) fn check_answer(&self, answer: &[u8], chain: &[X509]) -> Result<(), String> {
        let [cert, issuer, ..] = chain else { return Err("its issuer is not known".into()) };
        let (chain, others) = (stack(chain)?, stack(&self.responders)?);
        let dates = self.options.ocsp.as_ref().into();
        let by = Responders { store: self.store(), others: &others, dates };
        revocation::answered(answer, cert, issuer, &chain, &by)
    }

    /// What is wrong with one of our own certificates, and the chain above it.
    pub(super) fn standing(&self, cert: &X509) -> (Option<String>, Vec<String>) {
        match self.build(cert, std::iter::empty()) {
            Ok(chain) => {
                let now = self.now();
                let mut fault = None;
                for pair in chain.windows(2) {
                    if let ([cert, issuer], Ok(now), None) = (pair, &now, &fault) {
                        fault = revocation::listed(self.lists().iter(), cert, issuer, now).err();
                    }
                }
                (fault, chain.iter().skip(1).map(|cert| named(cert)).collect())
            }
            Err(complaint) => (Some(complaint.check), Vec::new()),
        }
    }

    fn now(&self) -> Result<Asn1Time, String> {
        Asn1Time::from_unix(self.seconds()).map_err(|error| error.to_string())
    }
}

/// A date for people.
pub(super) fn date(seconds: i64) -> String {
    Asn1Time::from_unix(seconds).map_or_else(|_| "?".into(), |time| time.to_string())
}

fn stack(certs: &[X509]) -> Result<Stack<X509>, String> {
    let mut stack = Stack::new().map_err(|error| error.to_string())?;
    for cert in certs {
        stack.push(cert.clone()).map_err(|error| error.to_string())?;
    }
    Ok(stack)
}

/// What is wrong with a chain, in our words where we have better ones.
fn broken(at: &X509Ref, error: openssl::x509::X509VerifyResult, leaf: &X509Ref) -> Complaint {
    let issuer = subject::distinguished(&at.issuer_name().to_der().unwrap_or_default());
    let (check, advice) = match error.as_raw() {
        verdict::EXPIRED => (format!("it expired on {}", at.not_after()), "have it renewed"),
        verdict::NOT_YET_VALID => {
            (format!("it is not valid before {}", at.not_before()), "are the clocks right?")
        }
        verdict::NO_ISSUER | verdict::NO_LOCAL_ISSUER | verdict::UNVERIFIABLE => (
            format!("its issuer is not known here: {issuer}"),
            "put the authority's certificate into ca/; an intermediate belongs into certs/, or the \
             peer has to send it",
        ),
        verdict::SELF_SIGNED | verdict::SELF_SIGNED_IN_CHAIN => (
            "it is its own issuer and not among those that are trusted".into(),
            "put it into ca/ if it is to be trusted",
        ),
        _ => (error.error_string().to_owned(), ""),
    };
    let name = match at.to_der().ok() == leaf.to_der().ok() {
        true => named(leaf),
        false => format!("{}, above {}", named(at), named(leaf)),
    };
    Complaint::new(name, check, advice)
}

/// A certificate's subject.
pub(super) fn named(cert: &X509Ref) -> String {
    subject::distinguished(&cert.subject_name().to_der().unwrap_or_default())
}

fn x509(cert: &Cert) -> Option<&[u8]> {
    match cert {
        Cert::X509(der) => Some(der),
        _ => None,
    }
}

/// A raw key in either form.
fn raw(cert: &Cert) -> Option<PKey<Public>> {
    match cert {
        Cert::PublicKey(der) | Cert::IkedKey(der) => PKey::public_key_from_der(der).ok(),
        Cert::RsaKey(der) => {
            openssl::rsa::Rsa::public_key_from_der_pkcs1(der).and_then(PKey::from_rsa).ok()
        }
        _ => None,
    }
}

/// Whether the signature is right; an error where it is not even one that is wanted.
fn proves(key: &PKey<Public>, asked: &Verify) -> Result<bool, String> {
    let octets = &asked.octets;
    let words = |error: crate::crypto::Error| error.to_string();
    let kind = KeyKind::of(key).map_err(words)?;
    match &asked.proof {
        Proof::V1 { method, data } => {
            let fits = match *method {
                v1::AuthMethod::RSA_SIGNATURES => kind == KeyKind::Rsa,
                method => Some(method.0) == kind.method().map(|it| u16::from(it.0)),
            };
            match fits {
                true => signature::verify_hash(key, octets, data).map_err(words),
                false => Err(format!("its key is {kind}, the method {method}")),
            }
        }
        Proof::V2 { method, data, wish } => {
            if !wish.takes(*method) {
                return Err(format!("the peer signs by {method}, which the policy does not take"));
            }
            if *wish == Wish::Rsa && !matches!(kind, KeyKind::Rsa | KeyKind::RsaPss) {
                return Err(format!("its key is {kind}, the policy wants RSA"));
            }
            if *method != AuthMethod::DIGITAL_SIGNATURE {
                return signature::verify_classic(key, *method, octets, data).map_err(words);
            }
            let signed = SignatureData::parse(data).map_err(|error| error.to_string())?;
            let scheme = signature::named(&signed.algorithm)
                .map_err(|what| format!("the peer used {what}"))?;
            signature::verify(key, &scheme, octets, &signed.signature).map_err(words)
        }
    }
}
