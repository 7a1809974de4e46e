//! What is here, for people: `oakctl show certs`, and what will soon expire.

use openssl::x509::{X509, X509Crl};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::subject::{self, CertView, Part, clean};
use super::{Keyring, judge};
use crate::conf::{Identity, counted};
use crate::crypto::signature::KeyKind;

/// The most that is shown.
const MOST: usize = 1000;

impl Keyring {
    /// In a few words how much there is.
    pub fn summary(&self) -> String {
        [
            counted(self.keys.len(), "private key", "private keys"),
            counted(self.anchors.len(), "authority", "authorities"),
            counted(self.pool.len(), "other certificate", "other certificates"),
            counted(self.lists.len(), "revocation list", "revocation lists"),
            counted(self.raw.len(), "raw key", "raw keys"),
        ]
        .join(", ")
    }

    /// Everything that is here, authorities first.
    pub fn view(&self) -> Vec<CertView> {
        let anchors = self.anchors.iter().map(|it| (Part::Authority, it));
        let own = |cert: &X509| {
            let der = cert.to_der().ok();
            self.keys.iter().flat_map(|key| &key.certs).any(|own| own.to_der().ok() == der)
        };
        let pool =
            self.pool.iter().map(|it| (if own(&it.0) { Part::Own } else { Part::Other }, it));
        let certs = anchors.chain(pool);
        let mut views: Vec<CertView> =
            certs.filter_map(|(part, (cert, file))| self.cert_view(part, cert, file)).collect();
        views.extend(self.lists.iter().filter_map(|list| list_view(list.crl(), &list.file)));
        views.extend(self.raw.iter().map(|((id_type, data), raw)| CertView {
            part: Part::RawKey,
            file: raw.file.clone(),
            subject: raw.print.clone(),
            issuer: String::new(),
            serial: String::new(),
            identities: vec![subject::printed(&Identity { id_type: *id_type, data: data.clone() })],
            key: KeyKind::of(&raw.key).map_or_else(|_| "?".into(), |kind| kind.to_string()),
            not_before: 0,
            not_after: 0,
            fault: None,
            chain: Vec::new(),
        }));
        views.sort_by_key(|view| view.part);
        views.truncate(MOST);
        views
    }

    fn cert_view(&self, part: Part, cert: &X509, file: &str) -> Option<CertView> {
        let der = cert.to_der().ok()?;
        let (_, facts) = X509Certificate::from_der(&der).ok()?;
        let kind = cert.public_key().ok().and_then(|key| KeyKind::of(&key).ok());
        let (fault, chain) = self.standing(cert);
        Some(CertView {
            part,
            file: file.to_owned(),
            subject: clean(&facts.subject().to_string()),
            issuer: clean(&facts.issuer().to_string()),
            serial: facts.raw_serial().iter().map(|octet| format!("{octet:02x}")).collect(),
            identities: subject::identities(&facts),
            key: kind.map_or_else(|| "another".into(), |kind| kind.to_string()),
            not_before: facts.validity().not_before.timestamp(),
            not_after: facts.validity().not_after.timestamp(),
            fault,
            chain,
        })
    }

    /// What expired or will soon, and OCSP answers that no peer gets, in sentences.
    pub fn expiring(&self) -> Vec<String> {
        let now = self.seconds();
        let soon = now + i64::from(self.options.warn_days) * 86_400;
        let near = self.view().into_iter().filter(|view| {
            let dated = !matches!(view.part, Part::RawKey) && view.not_after > 0;
            dated && view.not_after < soon
        });
        let near = near.map(|view| {
            let CertView { file, subject, not_after, part, .. } = view;
            let verb = if not_after < now { "expired" } else { "expires" };
            let date = judge::date(not_after);
            format!("{file}: {subject} ({part}) {verb} on {date}: have it renewed, then reload")
        });
        let idle = self.idle_answers().into_iter();
        near.chain(idle.map(|(file, why)| format!("{file}: {why}: no peer gets it"))).collect()
    }
}

fn list_view(crl: &X509Crl, file: &str) -> Option<CertView> {
    let der = crl.to_der().ok()?;
    let (_, facts) = CertificateRevocationList::from_der(&der).ok()?;
    let count = facts.iter_revoked_certificates().count();
    Some(CertView {
        part: Part::Revocation,
        file: file.to_owned(),
        subject: format!("{count} revoked"),
        issuer: clean(&facts.issuer().to_string()),
        serial: facts.crl_number().map(ToString::to_string).unwrap_or_default(),
        identities: Vec::new(),
        key: String::new(),
        not_before: facts.last_update().timestamp(),
        not_after: facts.next_update().map_or(0, |time| time.timestamp()),
        fault: None,
        chain: Vec::new(),
    })
}
