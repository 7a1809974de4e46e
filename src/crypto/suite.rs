//! Suites: what a negotiation ends in, and the lengths of the keys that follow from it.

use serde::{Deserialize, Serialize};

use super::block::Block;
use super::cipher::Cipher;
use super::prf::{Prf, integrity};
use super::{Error, kex};
use crate::wire::iana::v2::{EncryptionId, GroupId, IntegrityId, PrfId};

/// The algorithms of an IKE SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IkeSuite {
    /// The cipher and its key length in bits.
    pub encryption: (EncryptionId, Option<u16>),
    /// The integrity algorithm; none with AEAD.
    pub integrity: Option<IntegrityId>,
    /// The PRF.
    pub prf: PrfId,
    /// The key exchange group.
    pub group: GroupId,
}

/// The algorithms of a child SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChildSuite {
    /// The cipher and its key length in bits; none for AH.
    pub encryption: Option<(EncryptionId, Option<u16>)>,
    /// The integrity algorithm; none with AEAD.
    pub integrity: Option<IntegrityId>,
    /// The group of a fresh key exchange; none without PFS (and for the first child).
    pub group: Option<GroupId>,
    /// Extended sequence numbers.
    pub esn: bool,
}

impl IkeSuite {
    /// The protection of its messages.
    ///
    /// # Errors
    ///
    /// What is not computed here, by name.
    pub fn cipher(&self) -> Result<Cipher, Error> {
        Cipher::new(self.encryption.0, self.encryption.1, self.integrity)
    }

    /// The cipher of its messages where nothing but a cipher protects them (IKEv1).
    ///
    /// # Errors
    ///
    /// What is not computed here, by name.
    pub fn block(&self) -> Result<Block, Error> {
        Block::new(self.encryption.0, self.encryption.1)
    }

    /// Its PRF.
    ///
    /// # Errors
    ///
    /// What is not computed here, by name.
    pub fn prf(&self) -> Result<Prf, Error> {
        Prf::new(self.prf)
    }

    /// Whether all of it is computed here.
    ///
    /// # Errors
    ///
    /// What is not, by name.
    pub fn check(&self) -> Result<(), Error> {
        self.cipher()?;
        self.prf()?;
        if !kex::supported(self.group) {
            return Err(Error::Unsupported(self.group.to_string()));
        }
        Ok(())
    }
}

impl ChildSuite {
    /// Whether the lengths of its keys are known and its group is computed here. The algorithms
    /// themselves are the kernel's business.
    ///
    /// # Errors
    ///
    /// What is not known or does not fit together, by name.
    pub fn check(&self) -> Result<(), Error> {
        let integrity = self.integrity.filter(|id| *id != IntegrityId::NONE);
        if let Some((id, bits)) = self.encryption {
            let named = || cipher_name(id, bits);
            cipher_key_len(id, bits).ok_or_else(|| Error::Unsupported(named()))?;
            match integrity {
                Some(mac) if id.is_aead() => {
                    return Err(Error::Unsupported(format!("{} with {mac}", named())));
                }
                None if !id.is_aead() => {
                    return Err(Error::Unsupported(format!("{} without integrity", named())));
                }
                _ => {}
            }
        }
        if let Some(id) = integrity {
            integrity_key_len(id).ok_or_else(|| Error::Unsupported(id.to_string()))?;
        }
        match self.group.filter(|group| *group != GroupId::NONE && !kex::supported(*group)) {
            Some(group) => Err(Error::Unsupported(group.to_string())),
            None => Ok(()),
        }
    }

    /// Octets of key material for the cipher of one direction, with the salt.
    pub fn encryption_len(&self) -> usize {
        self.encryption
            .map_or(0, |(id, bits)| cipher_key_len(id, bits).map_or(0, |len| len + salt_len(id)))
    }

    /// Octets of key material for integrity of one direction.
    pub fn integrity_len(&self) -> usize {
        self.integrity.and_then(integrity_key_len).unwrap_or(0)
    }
}

/// Octets of a cipher's key without its salt; `None` for a cipher or a length that is not known. A
/// cipher that kernels have need not be one that is computed here.
fn cipher_key_len(id: EncryptionId, bits: Option<u16>) -> Option<usize> {
    match (id, bits) {
        (EncryptionId::ENCR_NULL, None | Some(0)) => Some(0),
        (EncryptionId::ENCR_3DES, None | Some(192)) => Some(24),
        (EncryptionId::ENCR_CHACHA20_POLY1305, None | Some(256)) => Some(32),
        // RFC 2451 section 2.1: the default where no length is given.
        (EncryptionId::ENCR_CAST | EncryptionId::ENCR_BLOWFISH, None) => Some(16),
        (EncryptionId::ENCR_CAST | EncryptionId::ENCR_BLOWFISH, Some(bits @ 40..=448)) => {
            Some(usize::from(bits) / 8)
        }
        (
            EncryptionId::ENCR_AES_CBC
            | EncryptionId::ENCR_AES_CTR
            | EncryptionId::ENCR_AES_CCM_8
            | EncryptionId::ENCR_AES_CCM_12
            | EncryptionId::ENCR_AES_CCM_16
            | EncryptionId::ENCR_AES_GCM_8
            | EncryptionId::ENCR_AES_GCM_12
            | EncryptionId::ENCR_AES_GCM_16
            | EncryptionId::ENCR_NULL_AUTH_AES_GMAC
            | EncryptionId::ENCR_CAMELLIA_CBC,
            Some(bits @ (128 | 192 | 256)),
        ) => Some(usize::from(bits) / 8),
        _ => None,
    }
}

/// Octets of an integrity algorithm's key; `None` if it is not known.
fn integrity_key_len(id: IntegrityId) -> Option<usize> {
    match id {
        // RFC 2403, RFC 3566, RFC 4494.
        IntegrityId::AUTH_HMAC_MD5_96
        | IntegrityId::AUTH_AES_XCBC_96
        | IntegrityId::AUTH_AES_CMAC_96 => Some(16),
        _ => integrity(id).map(|(hash, _)| hash.size()),
    }
}

/// Octets that stand behind the key in a cipher's key material: RFC 4106 §8.1, RFC 3686 §5.1,
/// RFC 4309 §7.1, RFC 7634 §2.
pub fn salt_len(id: EncryptionId) -> usize {
    match id {
        EncryptionId::ENCR_AES_CTR
        | EncryptionId::ENCR_AES_GCM_8
        | EncryptionId::ENCR_AES_GCM_12
        | EncryptionId::ENCR_AES_GCM_16
        | EncryptionId::ENCR_CHACHA20_POLY1305
        | EncryptionId::ENCR_NULL_AUTH_AES_GMAC => 4,
        EncryptionId::ENCR_AES_CCM_8
        | EncryptionId::ENCR_AES_CCM_12
        | EncryptionId::ENCR_AES_CCM_16 => 3,
        _ => 0,
    }
}

fn cipher_name(id: EncryptionId, bits: Option<u16>) -> String {
    match bits {
        Some(bits) => format!("{id}-{bits}"),
        None => id.to_string(),
    }
}

impl std::fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", cipher_name(self.encryption.0, self.encryption.1))?;
        if let Some(integrity) = self.integrity {
            write!(f, " {integrity}")?;
        }
        write!(f, " {} {}", self.prf, self.group)
    }
}

impl std::fmt::Display for ChildSuite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sep = "";
        if let Some((id, bits)) = self.encryption {
            write!(f, "{}", cipher_name(id, bits))?;
            sep = " ";
        }
        if let Some(integrity) = self.integrity {
            write!(f, "{sep}{integrity}")?;
        }
        if let Some(group) = self.group {
            write!(f, " {group}")?;
        }
        if self.esn { write!(f, " ESN") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn esp(id: EncryptionId, bits: Option<u16>, integrity: Option<IntegrityId>) -> ChildSuite {
        ChildSuite { encryption: Some((id, bits)), integrity, group: None, esn: false }
    }

    #[test]
    fn key_lengths_of_children() {
        let sha2 = Some(IntegrityId::AUTH_HMAC_SHA2_512_256);
        let rows = [
            (esp(EncryptionId::ENCR_AES_CBC, Some(256), sha2), 32, 64),
            (esp(EncryptionId::ENCR_AES_CTR, Some(128), sha2), 20, 64),
            (esp(EncryptionId::ENCR_AES_GCM_16, Some(128), None), 20, 0),
            (esp(EncryptionId::ENCR_AES_CCM_16, Some(256), None), 35, 0),
            (esp(EncryptionId::ENCR_CHACHA20_POLY1305, None, None), 36, 0),
            (esp(EncryptionId::ENCR_3DES, None, Some(IntegrityId::AUTH_HMAC_MD5_96)), 24, 16),
            (esp(EncryptionId::ENCR_NULL, None, Some(IntegrityId::AUTH_AES_CMAC_96)), 0, 16),
        ];
        for (suite, encryption, integrity) in rows {
            assert_eq!(suite.check(), Ok(()), "{suite}");
            assert_eq!(suite.encryption_len(), encryption, "{suite}");
            assert_eq!(suite.integrity_len(), integrity, "{suite}");
        }
    }

    #[test]
    fn children_that_cannot_be_keyed_are_refused_by_name() {
        let refused = |suite: ChildSuite| suite.check().err().map(|error| error.to_string());
        let sha1 = Some(IntegrityId::AUTH_HMAC_SHA1_96);
        let rows = [
            (esp(EncryptionId::ENCR_AES_CBC, None, sha1), "ENCR_AES_CBC is not supported"),
            (
                esp(EncryptionId::ENCR_AES_CBC, Some(128), None),
                "ENCR_AES_CBC-128 without integrity is not supported",
            ),
            (
                esp(EncryptionId::ENCR_AES_GCM_16, Some(128), sha1),
                "ENCR_AES_GCM_16-128 with AUTH_HMAC_SHA1_96 is not supported",
            ),
            (
                esp(EncryptionId::ENCR_NULL, None, Some(IntegrityId::AUTH_DES_MAC)),
                "AUTH_DES_MAC is not supported",
            ),
        ];
        for (suite, words) in rows {
            assert_eq!(refused(suite).as_deref(), Some(words));
        }
        let pfs = ChildSuite {
            group: Some(GroupId::ML_KEM_768),
            ..esp(EncryptionId::ENCR_AES_GCM_16, Some(128), None)
        };
        assert_eq!(refused(pfs).as_deref(), Some("ml-kem-768 is not supported"));
    }
}
