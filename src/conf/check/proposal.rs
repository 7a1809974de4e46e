//! `ikesa` and `childsa`: words to registry numbers, defaults, and what may stand together.

use super::{Checker, Place, Problem, SaProtocol};
use crate::conf::syntax::{Spanned, Transforms};
use crate::conf::{EsnChoice, Proposal};
use crate::crypto::{Cipher, Prf, kex};
use crate::wire::iana::Row;
use crate::wire::iana::v2::{EncryptionId, GroupId, IntegrityId, PrfId};

type Enc = (EncryptionId, Option<u16>);

/// AEAD ciphers of the default: RFC 8247 and RFC 8221 recommend these.
const AEAD: &[Enc] = &[
    (EncryptionId::ENCR_AES_GCM_16, Some(256)),
    (EncryptionId::ENCR_AES_GCM_16, Some(128)),
    (EncryptionId::ENCR_CHACHA20_POLY1305, None),
];

/// Ciphers of the default that want integrity beside them.
const CBC: &[Enc] = &[
    (EncryptionId::ENCR_AES_CBC, Some(256)),
    (EncryptionId::ENCR_AES_CBC, Some(192)),
    (EncryptionId::ENCR_AES_CBC, Some(128)),
];

const PRFS: &[PrfId] =
    &[PrfId::PRF_HMAC_SHA2_256, PrfId::PRF_HMAC_SHA2_384, PrfId::PRF_HMAC_SHA2_512];

const IKE_INTEGRITY: &[IntegrityId] = &[
    IntegrityId::AUTH_HMAC_SHA2_256_128,
    IntegrityId::AUTH_HMAC_SHA2_384_192,
    IntegrityId::AUTH_HMAC_SHA2_512_256,
];

/// For a child SA the longest first: every kernel that has SHA2-512 does it right.
const CHILD_INTEGRITY: &[IntegrityId] = &[
    IntegrityId::AUTH_HMAC_SHA2_512_256,
    IntegrityId::AUTH_HMAC_SHA2_384_192,
    IntegrityId::AUTH_HMAC_SHA2_256_128,
];

const GROUPS: &[GroupId] = &[
    GroupId::CURVE25519,
    GroupId::ECP_256,
    GroupId::ECP_384,
    GroupId::ECP_521,
    GroupId::MODP_2048,
    GroupId::MODP_3072,
    GroupId::MODP_4096,
];

impl Checker<'_> {
    /// The proposals of the `ikesa` clauses, or the default ones.
    pub(super) fn ike_proposals(&mut self, clauses: &[Transforms]) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        let standard = Transforms::default();
        let clauses = if clauses.is_empty() { std::slice::from_ref(&standard) } else { clauses };
        for clause in clauses {
            if let Some(esn) = clause.esn.first() {
                self.error(esn.place, Problem::says("esn and noesn belong to \"childsa\""));
            }
            let prf = or_default(self.prfs(&clause.prf), clause.prf.is_empty(), PRFS);
            let groups = self.groups(&clause.group, true);
            let groups = or_default(groups, clause.group.is_empty(), GROUPS);
            let base = Proposal {
                encryption: Vec::new(),
                prf,
                integrity: Vec::new(),
                groups,
                esn: EsnChoice::No,
            };
            self.split(clause, true, IKE_INTEGRITY, &base, &mut proposals);
        }
        proposals
    }

    /// The proposals of the `childsa` clauses, or the default ones.
    pub(super) fn child_proposals(
        &mut self,
        clauses: &[Transforms],
        protocol: SaProtocol,
    ) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        let standard = Transforms::default();
        let clauses = if clauses.is_empty() { std::slice::from_ref(&standard) } else { clauses };
        for clause in clauses {
            if let Some(prf) = clause.prf.first() {
                self.error(prf.place, Problem::says("a PRF belongs to \"ikesa\""));
            }
            let groups = self.groups(&clause.group, false);
            let esn =
                match (clause.esn.iter().any(|e| e.value), clause.esn.iter().any(|e| !e.value)) {
                    (true, false) => EsnChoice::Yes,
                    (false, true) => EsnChoice::No,
                    _ => EsnChoice::Either,
                };
            let empty = Vec::new();
            let base =
                Proposal { encryption: Vec::new(), prf: empty, integrity: Vec::new(), groups, esn };
            match protocol {
                SaProtocol::Esp => {
                    self.split(clause, false, CHILD_INTEGRITY, &base, &mut proposals)
                }
                SaProtocol::Ah => {
                    if let Some(enc) = clause.enc.first() {
                        let sentence = "AH does not encrypt: leave \"enc\" out, or write esp";
                        self.error(enc.place, Problem::says(sentence));
                    }
                    let integrity = self.integrity(&clause.auth);
                    let integrity = or_default(integrity, clause.auth.is_empty(), CHILD_INTEGRITY);
                    proposals.push(Proposal { integrity, ..base });
                }
            }
        }
        proposals
    }

    /// AEAD ciphers and others cannot stand in one proposal: one clause becomes two.
    fn split(
        &mut self,
        clause: &Transforms,
        ike: bool,
        integrity: &[IntegrityId],
        base: &Proposal,
        proposals: &mut Vec<Proposal>,
    ) {
        let chosen = self.ciphers(&clause.enc, ike);
        let auth = self.integrity(&clause.auth);
        let written = !clause.enc.is_empty();
        let aead: Vec<Enc> = match written {
            true => chosen.iter().copied().filter(|(id, _)| id.is_aead()).collect(),
            false if clause.auth.is_empty() => AEAD.to_vec(),
            false => Vec::new(),
        };
        let plain: Vec<Enc> = match written {
            true => chosen.iter().copied().filter(|(id, _)| !id.is_aead()).collect(),
            false => CBC.to_vec(),
        };
        if let (Some(word), true, true) = (clause.auth.first(), plain.is_empty(), !aead.is_empty())
        {
            let sentence = "these ciphers authenticate by themselves: leave \"auth\" out";
            self.error(word.place, Problem::says(sentence));
        }
        let first_is_aead = chosen.first().is_none_or(|(id, _)| id.is_aead());
        let with_aead = (!aead.is_empty()).then(|| Proposal { encryption: aead, ..base.clone() });
        let integrity = or_default(auth, clause.auth.is_empty(), integrity);
        let with_mac =
            (!plain.is_empty()).then(|| Proposal { encryption: plain, integrity, ..base.clone() });
        match first_is_aead {
            true => proposals.extend(with_aead.into_iter().chain(with_mac)),
            false => proposals.extend(with_mac.into_iter().chain(with_aead)),
        }
    }

    fn ciphers(&mut self, words: &[Spanned<String>], ike: bool) -> Vec<Enc> {
        let mut found = Vec::new();
        for word in words {
            let spelled = match word.value.as_str() {
                "3des-cbc" => "3des",
                spelled => full(spelled, EncryptionId::TABLE),
            };
            let Some((id, bits)) = EncryptionId::from_keyword(spelled) else {
                self.unknown(word, "a cipher", EncryptionId::TABLE);
                continue;
            };
            let mac = (!id.is_aead()).then_some(IntegrityId::AUTH_HMAC_SHA2_256_128);
            let null = !ike && id == EncryptionId::ENCR_NULL;
            if !null && Cipher::new(id, bits, mac).is_err() {
                self.unsupported(word, id);
                continue;
            }
            if null {
                self.warn(word.place, "null does not encrypt: write aes-256-gcm, or ah");
            }
            if matches!(id, EncryptionId::ENCR_AES_GCM_8) {
                self.warn(word.place, "an ICV of 8 octets is short: write aes-256-gcm");
            }
            found.push((id, bits));
        }
        found
    }

    fn prfs(&mut self, words: &[Spanned<String>]) -> Vec<PrfId> {
        let mut found = Vec::new();
        for word in words {
            match PrfId::from_keyword(full(&word.value, PrfId::TABLE)) {
                Some((id, _)) if Prf::new(id).is_ok() => found.push(id),
                Some((id, _)) => self.unsupported(word, id),
                None => self.unknown(word, "a PRF", PrfId::TABLE),
            }
        }
        found
    }

    fn integrity(&mut self, words: &[Spanned<String>]) -> Vec<IntegrityId> {
        let mut found = Vec::new();
        for word in words {
            let Some((id, _)) = IntegrityId::from_keyword(full(&word.value, IntegrityId::TABLE))
            else {
                self.unknown(word, "an integrity algorithm", IntegrityId::TABLE);
                continue;
            };
            if Cipher::new(EncryptionId::ENCR_AES_CBC, Some(128), Some(id)).is_err() {
                self.unsupported(word, id);
                continue;
            }
            if id == IntegrityId::AUTH_HMAC_SHA1_96 {
                self.warn(word.place, "hmac-sha1 is weak: write hmac-sha2-256");
            }
            found.push(id);
        }
        found
    }

    fn groups(&mut self, words: &[Spanned<String>], ike: bool) -> Vec<GroupId> {
        let mut found = Vec::new();
        for word in words {
            let Some((id, _)) = GroupId::from_keyword(full(&word.value, GroupId::TABLE)) else {
                self.unknown(word, "a group", GroupId::TABLE);
                continue;
            };
            if id == GroupId::NONE && ike {
                self.error(word.place, Problem::says("an IKE SA cannot do without a group"));
                continue;
            }
            if id != GroupId::NONE && !kex::supported(id) {
                self.unsupported(word, id);
                continue;
            }
            found.push(id);
        }
        found
    }

    fn unsupported(&mut self, word: &Spanned<String>, name: impl std::fmt::Display) {
        let sentence = format!("\"{}\" ({name}) is known and not supported", word.value);
        self.error(word.place, Problem::says(sentence));
    }

    fn unknown(&mut self, word: &Spanned<String>, what: &str, table: &[Row]) {
        let known: Vec<&str> =
            table.iter().flat_map(|row| row.keywords.iter().map(|k| k.word)).collect();
        let place: Place = word.place;
        let found = format!("\"{}\"", word.value);
        self.error(place, Problem::unknown(found, &word.value, what, &known));
    }
}

/// What was chosen, or the default where nothing was written.
fn or_default<T: Copy>(chosen: Vec<T>, absent: bool, default: &[T]) -> Vec<T> {
    if absent { default.to_vec() } else { chosen }
}

/// The first known word that begins with this one, as iked looks it up (`aes` is `aes-128`).
fn full<'a>(word: &'a str, table: &[Row]) -> &'a str
where
    'static: 'a,
{
    let known = || table.iter().flat_map(|row| row.keywords.iter().map(|keyword| keyword.word));
    if word.is_empty() || known().any(|known| known == word) {
        return word;
    }
    let Some(first) = known().find(|known| known.starts_with(word)) else { return word };
    // Of aes-128-gcm-8 and aes-128-gcm the latter.
    let shorter = known().filter(|known| known.starts_with(word) && first.starts_with(known));
    shorter.min_by_key(|known| known.len()).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_may_be_cut() {
        assert_eq!(full("aes", EncryptionId::TABLE), "aes-128");
        assert_eq!(full("aes-256-g", EncryptionId::TABLE), "aes-256-gcm");
        assert_eq!(full("modp", GroupId::TABLE), "modp768");
        assert_eq!(full("grp1", GroupId::TABLE), "grp1");
        assert_eq!(full("curve", GroupId::TABLE), "curve25519");
        assert_eq!(full("nonsense", GroupId::TABLE), "nonsense");
    }
}
