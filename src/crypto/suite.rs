//! Suites: what a negotiation ends in, and the lengths of the keys that follow from it.

use serde::{Deserialize, Serialize};

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
    /// Octets of key material for the cipher of one direction, with the salt.
    pub fn encryption_len(&self) -> usize {
        let Some((id, bits)) = self.encryption else { return 0 };
        let bits = usize::from(bits.unwrap_or(match id {
            EncryptionId::ENCR_CHACHA20_POLY1305 => 256,
            EncryptionId::ENCR_3DES => 192,
            _ => 0,
        }));
        bits / 8 + salt_len(id)
    }

    /// Octets of key material for integrity of one direction.
    pub fn integrity_len(&self) -> usize {
        self.integrity.and_then(integrity).map_or(0, |(hash, _)| hash.size())
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

fn write_cipher(
    f: &mut std::fmt::Formatter<'_>,
    (id, bits): (EncryptionId, Option<u16>),
) -> std::fmt::Result {
    match bits {
        Some(bits) => write!(f, "{id}-{bits}"),
        None => write!(f, "{id}"),
    }
}

impl std::fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_cipher(f, self.encryption)?;
        if let Some(integrity) = self.integrity {
            write!(f, " {integrity}")?;
        }
        write!(f, " {} {}", self.prf, self.group)
    }
}

impl std::fmt::Display for ChildSuite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sep = "";
        if let Some(encryption) = self.encryption {
            write_cipher(f, encryption)?;
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
