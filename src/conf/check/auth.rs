//! Who the sides are and how they prove it: `srcid`, `dstid`, `ikeauth`, `user`.

use std::net::IpAddr;

use super::{Checker, NAME_LIMIT, Place, Problem};
use crate::conf::parse::hexadecimal;
use crate::conf::source::SECRET_MODE;
use crate::conf::syntax::{AuthClause, Ikev2Rule, Spanned, User};
use crate::conf::{Auth, Identity, Method, PolicyName, PolicySecret, Signature, UserSecret, dn};
use crate::crypto::Secret;
use crate::wire::iana::v2::IdType;

/// The largest key in a file, in octets as hexadecimal digits.
const KEY_FILE_LIMIT: usize = 1024;
/// What stands before the octets of an ID_KEY_ID.
const KEY_ID: &str = "keyid:";

impl Checker<'_> {
    pub(super) fn auth(
        &mut self,
        rule: &Ikev2Rule,
        name: &PolicyName,
        secrets: &mut Vec<PolicySecret>,
    ) -> Auth {
        let Some(clause) = &rule.auth else { return Auth::signature(Signature::Any) };
        let psk = match &clause.value {
            AuthClause::Eap(method) => return Auth::eap(*method),
            AuthClause::Signature(kind) => return Auth::signature(*kind),
            AuthClause::Psk(psk) => {
                self.exposed(clause.place, "a psk");
                Some(psk.clone())
            }
            AuthClause::PskFile(path) => self.key_file(path, clause.place),
        };
        secrets.extend(psk.map(|psk| PolicySecret { policy: name.clone(), psk }));
        Auth::PSK
    }

    pub(super) fn user(&mut self, user: &User, users: &mut Vec<UserSecret>) {
        let place = user.name.place;
        self.exposed(place, "a password");
        let name = &user.name.value;
        if name.is_empty() || name.len() > NAME_LIMIT || user.password.octets().is_empty() {
            let expected = format!("a name of 1 to {NAME_LIMIT} octets and a password");
            self.error(place, Problem::found("another user", expected));
        } else if users.iter().any(|known| known.name == *name) {
            let sentence = format!("a user with the name \"{name}\" stands above already");
            self.error(place, Problem::says(sentence));
        } else {
            users.push(UserSecret { name: name.clone(), password: user.password.clone() });
        }
    }

    /// A secret in a file that others can read is refused.
    pub(super) fn exposed(&mut self, place: Place, what: &str) {
        let source = self.parsed.sources.get(place.file as usize);
        let Some(reason) = source.and_then(|s| s.exposed.clone()) else { return };
        self.error(place, Problem::says(format!("this file holds {what} and {reason}")));
    }

    /// The key in a file: hexadecimal digits, with 0x or without, as iked takes it.
    fn key_file(&mut self, path: &str, place: Place) -> Option<Secret> {
        let file = match self.files.read(path) {
            Ok(file) => file,
            Err(reason) => {
                let sentence = format!("cannot read {path}: {reason}");
                self.error(place, Problem::says(sentence));
                return None;
            }
        };
        if file.mode & SECRET_MODE != 0 || !self.files.may_own_secrets(file.uid) {
            let sentence = format!(
                "{path} holds a key and others can read it or own it (mode {:03o}, user {})",
                file.mode, file.uid
            );
            self.error(place, Problem::says(sentence));
            return None;
        }
        let digits = std::str::from_utf8(&file.octets).unwrap_or("?").trim();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        let octets =
            hexadecimal(digits).filter(|o| !o.is_empty() && digits.len() <= KEY_FILE_LIMIT);
        if octets.is_none() {
            let expected =
                format!("an even number of hexadecimal digits, at most {KEY_FILE_LIMIT}");
            self.error(place, Problem::found(format!("other contents of {path}"), expected));
        }
        octets.map(Secret::new)
    }

    /// `srcid`. Without one a rule with a psk is known by its local address, as its peers expect
    /// of each other; otherwise by this host's name, as iked does.
    pub(super) fn local_id(&mut self, rule: &Ikev2Rule, auth: &Auth) -> Option<Identity> {
        if let Some(id) = &rule.srcid {
            return self.identity(id);
        }
        if auth.initiator == Method::Psk {
            return None;
        }
        let name = self.names.hostname()?;
        Some(Identity { id_type: IdType::ID_FQDN, data: name.into_bytes() })
    }

    /// An identity by its look: an address, `user@host`, `/C=…` (a DN), `keyid:…` (opaque octets), else
    /// a host's name.
    pub(super) fn identity(&mut self, word: &Spanned<String>) -> Option<Identity> {
        let text = word.value.as_str();
        if text.is_empty() || text.len() > NAME_LIMIT {
            let expected = format!("an identity of 1 to {NAME_LIMIT} octets");
            self.error(word.place, Problem::found(format!("{} octets", text.len()), expected));
            return None;
        }
        if text.starts_with('/') {
            return match dn::parse(text) {
                Ok(data) => Some(Identity { id_type: IdType::ID_DER_ASN1_DN, data }),
                Err(reason) => {
                    self.error(word.place, Problem::says(reason));
                    None
                }
            };
        }
        if let Some(octets) = text.strip_prefix(KEY_ID).filter(|octets| !octets.is_empty()) {
            return Some(Identity { id_type: IdType::ID_KEY_ID, data: octets.into() });
        }
        let (id_type, data) = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) => (IdType::ID_IPV4_ADDR, v4.octets().to_vec()),
            Ok(IpAddr::V6(v6)) => (IdType::ID_IPV6_ADDR, v6.octets().to_vec()),
            Err(_) if text.contains('@') => (IdType::ID_RFC822_ADDR, text.as_bytes().to_vec()),
            Err(_) => (IdType::ID_FQDN, text.as_bytes().to_vec()),
        };
        Some(Identity { id_type, data })
    }
}
