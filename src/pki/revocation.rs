//! Whether a certificate was taken back: revocation lists (RFC 5280 §6.3) and OCSP answers that came with
//! it (RFC 6960, RFC 4806). Nobody is connected to.

use std::cmp::Ordering;

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::ocsp::{OcspCertId, OcspCertStatus, OcspFlag, OcspResponse, OcspResponseStatus};
use openssl::stack::StackRef;
use openssl::x509::store::X509StoreRef;
use openssl::x509::{CrlStatus, X509, X509Crl, X509Ref};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::conf::{OCSP_TOLERATE, Ocsp};

/// By whom OCSP answers may be signed, and how old they may be.
pub struct Responders<'a> {
    /// The authorities.
    pub store: &'a X509StoreRef,
    /// Others that the operator trusts.
    pub others: &'a StackRef<X509>,
    /// How the dates are judged.
    pub dates: Dates,
}

/// How the dates of OCSP answers are judged, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Dates {
    /// By how much the clocks of others may differ.
    pub tolerate: u32,
    /// How old an answer may be, whatever it says itself.
    pub maxage: Option<u32>,
}

impl From<Option<&Ocsp>> for Dates {
    fn from(ocsp: Option<&Ocsp>) -> Self {
        ocsp.map_or(Self { tolerate: OCSP_TOLERATE, maxage: None }, |ocsp| Self {
            tolerate: ocsp.tolerate,
            maxage: ocsp.maxage,
        })
    }
}

/// A list that can be used: nothing critical in it is unknown.
pub struct List {
    crl: X509Crl,
    /// Where it came from, for the operator.
    pub file: String,
}

impl List {
    /// Takes a list.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn new(crl: X509Crl, file: &str) -> Result<Self, String> {
        let der = crl.to_der().map_err(|error| error.to_string())?;
        let (_, parsed) = CertificateRevocationList::from_der(&der)
            .map_err(|_| "the revocation list cannot be read".to_owned())?;
        // A list of some reasons, some certificates or some other issuer's; a delta.
        if let Some(unknown) = parsed.extensions().iter().find(|extension| extension.critical) {
            let oid = unknown.oid.to_id_string();
            return Err(format!(
                "the revocation list has a critical extension ({oid}) that is not handled"
            ));
        }
        Ok(Self { crl, file: file.to_owned() })
    }

    /// The list itself.
    pub fn crl(&self) -> &X509Crl {
        &self.crl
    }

    /// Whether it is for certificates of this issuer, and signed by it.
    fn is_of(&self, issuer: &X509Ref) -> bool {
        let named = self.crl.issuer_name().try_cmp(issuer.subject_name());
        let may_sign = issuer.key_usage_allows_crl();
        named.is_ok_and(Ordering::is_eq)
            && may_sign
            && issuer.public_key().is_ok_and(|key| self.crl.verify(&key).unwrap_or(false))
    }

    /// Whether it is too old, or from the future.
    pub fn is_stale(&self, now: &Asn1Time) -> bool {
        let later = |time: &openssl::asn1::Asn1TimeRef| {
            time.compare(now).is_ok_and(|order| order == Ordering::Greater)
        };
        later(self.crl.last_update()) || !self.crl.next_update().is_none_or(later)
    }
}

/// What an issuer's own key usage says.
trait MayList {
    fn key_usage_allows_crl(&self) -> bool;
}

impl MayList for X509Ref {
    fn key_usage_allows_crl(&self) -> bool {
        let Ok(der) = self.to_der() else { return false };
        let Ok((_, cert)) = x509_parser::certificate::X509Certificate::from_der(&der) else {
            return false;
        };
        cert.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.crl_sign()))
    }
}

/// Judges a certificate by the lists of its issuer. Where there is none, nothing is known against it.
///
/// # Errors
///
/// That it was revoked, or that the lists are too old to tell.
pub fn listed<'a>(
    lists: impl Iterator<Item = &'a List>,
    cert: &X509,
    issuer: &X509Ref,
    now: &Asn1Time,
) -> Result<(), String> {
    let (mut fresh, mut stale) = (false, None);
    for list in lists.filter(|list| list.is_of(issuer)) {
        if let CrlStatus::Revoked(entry) = list.crl.get_by_cert(cert) {
            let when = entry.revocation_date();
            return Err(format!("it was revoked on {when}, says {}", list.file));
        }
        match list.is_stale(now) {
            true => stale = Some(list),
            false => fresh = true,
        }
    }
    match stale {
        Some(list) if !fresh => {
            let until = list.crl.next_update().map_or("?".into(), ToString::to_string);
            Err(format!(
                "whether it was revoked is not known: the revocation list {} is not valid now (it is \
                 from {} until {until})",
                list.file,
                list.crl.last_update()
            ))
        }
        _ => Ok(()),
    }
}

/// Judges a certificate by an OCSP answer about it.
///
/// # Errors
///
/// That it was revoked, or what is wrong with the answer.
pub fn answered(
    answer: &[u8],
    cert: &X509Ref,
    issuer: &X509Ref,
    chain: &StackRef<X509>,
    by: &Responders<'_>,
) -> Result<(), String> {
    let malformed = |_| "the OCSP answer is malformed".to_owned();
    let response = OcspResponse::from_der(answer).map_err(malformed)?;
    if response.status() != OcspResponseStatus::SUCCESSFUL {
        return Err("the OCSP answer is an error message".into());
    }
    let basic = response.basic().map_err(malformed)?;
    let by_others = || basic.verify(by.others, by.store, OcspFlag::TRUST_OTHER).is_ok();
    if basic.verify(chain, by.store, OcspFlag::empty()).is_err() && !by_others() {
        return Err("the OCSP answer is not signed by whom it should".into());
    }
    // Responders name the certificate by SHA-1 mostly, newer ones by SHA2-256.
    for digest in [MessageDigest::sha1(), MessageDigest::sha256()] {
        let id = OcspCertId::from_cert(digest, cert, issuer).map_err(malformed)?;
        let Some(status) = basic.find_status(&id) else { continue };
        if status.check_validity(by.dates.tolerate, by.dates.maxage).is_err() {
            return Err("the OCSP answer is out of date".into());
        }
        return match status.status {
            OcspCertStatus::GOOD => Ok(()),
            OcspCertStatus::REVOKED => Err("it was revoked, says the OCSP answer".into()),
            _ => Err("the OCSP responder does not know it".into()),
        };
    }
    Err("the OCSP answer is about another certificate".into())
}
