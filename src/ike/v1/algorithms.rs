//! The registries of IKEv1 and the ones that suites are written in (IKEv2's), side by side.

use crate::wire::iana::{v1, v2};

/// Ciphers of phase 1.
const IKE_CIPHERS: &[(v1::EncryptionId, v2::EncryptionId)] = &[
    (v1::EncryptionId::DES_CBC, v2::EncryptionId::ENCR_DES),
    (v1::EncryptionId::BLOWFISH_CBC, v2::EncryptionId::ENCR_BLOWFISH),
    (v1::EncryptionId::TRIPLE_DES_CBC, v2::EncryptionId::ENCR_3DES),
    (v1::EncryptionId::CAST_CBC, v2::EncryptionId::ENCR_CAST),
    (v1::EncryptionId::AES_CBC, v2::EncryptionId::ENCR_AES_CBC),
    (v1::EncryptionId::CAMELLIA_CBC, v2::EncryptionId::ENCR_CAMELLIA_CBC),
];

/// Hashes of phase 1; with HMAC they are its PRFs.
const HASHES: &[(v1::HashId, v2::PrfId)] = &[
    (v1::HashId::MD5, v2::PrfId::PRF_HMAC_MD5),
    (v1::HashId::SHA, v2::PrfId::PRF_HMAC_SHA1),
    (v1::HashId::SHA2_256, v2::PrfId::PRF_HMAC_SHA2_256),
    (v1::HashId::SHA2_384, v2::PrfId::PRF_HMAC_SHA2_384),
    (v1::HashId::SHA2_512, v2::PrfId::PRF_HMAC_SHA2_512),
];

/// Ciphers of ESP.
const ESP_CIPHERS: &[(v1::EspTransform, v2::EncryptionId)] = &[
    (v1::EspTransform::ESP_DES, v2::EncryptionId::ENCR_DES),
    (v1::EspTransform::ESP_3DES, v2::EncryptionId::ENCR_3DES),
    (v1::EspTransform::ESP_CAST, v2::EncryptionId::ENCR_CAST),
    (v1::EspTransform::ESP_BLOWFISH, v2::EncryptionId::ENCR_BLOWFISH),
    (v1::EspTransform::ESP_NULL, v2::EncryptionId::ENCR_NULL),
    (v1::EspTransform::ESP_AES_CBC, v2::EncryptionId::ENCR_AES_CBC),
    (v1::EspTransform::ESP_AES_CTR, v2::EncryptionId::ENCR_AES_CTR),
    (v1::EspTransform::ESP_AES_CCM_8, v2::EncryptionId::ENCR_AES_CCM_8),
    (v1::EspTransform::ESP_AES_CCM_12, v2::EncryptionId::ENCR_AES_CCM_12),
    (v1::EspTransform::ESP_AES_CCM_16, v2::EncryptionId::ENCR_AES_CCM_16),
    (v1::EspTransform::ESP_AES_GCM_8, v2::EncryptionId::ENCR_AES_GCM_8),
    (v1::EspTransform::ESP_AES_GCM_12, v2::EncryptionId::ENCR_AES_GCM_12),
    (v1::EspTransform::ESP_AES_GCM_16, v2::EncryptionId::ENCR_AES_GCM_16),
    (v1::EspTransform::ESP_CAMELLIA, v2::EncryptionId::ENCR_CAMELLIA_CBC),
    (v1::EspTransform::ESP_NULL_AUTH_AES_GMAC, v2::EncryptionId::ENCR_NULL_AUTH_AES_GMAC),
];

/// Integrity algorithms of ESP and AH, with the transform of AH that goes with each.
const INTEGRITY: &[(v1::IntegrityId, v1::AhTransform, v2::IntegrityId)] = &[
    (v1::IntegrityId::HMAC_MD5, v1::AhTransform::AH_MD5, v2::IntegrityId::AUTH_HMAC_MD5_96),
    (v1::IntegrityId::HMAC_SHA, v1::AhTransform::AH_SHA, v2::IntegrityId::AUTH_HMAC_SHA1_96),
    (
        v1::IntegrityId::HMAC_SHA2_256,
        v1::AhTransform::AH_SHA2_256,
        v2::IntegrityId::AUTH_HMAC_SHA2_256_128,
    ),
    (
        v1::IntegrityId::HMAC_SHA2_384,
        v1::AhTransform::AH_SHA2_384,
        v2::IntegrityId::AUTH_HMAC_SHA2_384_192,
    ),
    (
        v1::IntegrityId::HMAC_SHA2_512,
        v1::AhTransform::AH_SHA2_512,
        v2::IntegrityId::AUTH_HMAC_SHA2_512_256,
    ),
    (
        v1::IntegrityId::AES_XCBC_MAC,
        v1::AhTransform::AH_AES_XCBC_MAC,
        v2::IntegrityId::AUTH_AES_XCBC_96,
    ),
];

fn left<A: Copy, B: Copy + PartialEq>(table: &[(A, B)], wanted: B) -> Option<A> {
    table.iter().find(|(_, right)| *right == wanted).map(|(left, _)| *left)
}

fn right<A: Copy + PartialEq, B: Copy>(table: &[(A, B)], wanted: A) -> Option<B> {
    table.iter().find(|(left, _)| *left == wanted).map(|(_, right)| *right)
}

/// A cipher of phase 1, by its number in IKEv1.
pub fn ike_cipher(id: v1::EncryptionId) -> Option<v2::EncryptionId> {
    right(IKE_CIPHERS, id)
}

/// The number in IKEv1 of a cipher of phase 1.
pub fn ike_cipher_id(id: v2::EncryptionId) -> Option<v1::EncryptionId> {
    left(IKE_CIPHERS, id)
}

/// A hash of phase 1, by its number in IKEv1.
pub fn hash(id: v1::HashId) -> Option<v2::PrfId> {
    right(HASHES, id)
}

/// The number in IKEv1 of a hash of phase 1.
pub fn hash_id(id: v2::PrfId) -> Option<v1::HashId> {
    left(HASHES, id)
}

/// A cipher of ESP, by its number in IKEv1.
pub fn esp_cipher(id: v1::EspTransform) -> Option<v2::EncryptionId> {
    right(ESP_CIPHERS, id)
}

/// The number in IKEv1 of a cipher of ESP.
pub fn esp_cipher_id(id: v2::EncryptionId) -> Option<v1::EspTransform> {
    left(ESP_CIPHERS, id)
}

/// An integrity algorithm, by its number in IKEv1.
pub fn integrity(id: v1::IntegrityId) -> Option<v2::IntegrityId> {
    INTEGRITY.iter().find(|row| row.0 == id).map(|row| row.2)
}

/// The numbers in IKEv1 of an integrity algorithm: the attribute's value and the transform of AH.
pub fn integrity_ids(id: v2::IntegrityId) -> Option<(v1::IntegrityId, v1::AhTransform)> {
    INTEGRITY.iter().find(|row| row.2 == id).map(|row| (row.0, row.1))
}

/// The key length that a transform means: what is said, where the cipher has several lengths.
pub fn key_bits(id: v2::EncryptionId, said: Option<u16>) -> Option<u16> {
    match (id, said) {
        // One length only, which some peers say nevertheless.
        (v2::EncryptionId::ENCR_3DES | v2::EncryptionId::ENCR_DES, _) => None,
        (v2::EncryptionId::ENCR_NULL, _) => None,
        (v2::EncryptionId::ENCR_CAST, Some(128)) => None,
        // RFC 2451 §2.4, RFC 3602 §4: the default where nothing is said.
        (v2::EncryptionId::ENCR_BLOWFISH, None) => Some(128),
        (
            v2::EncryptionId::ENCR_AES_CBC
            | v2::EncryptionId::ENCR_AES_CTR
            | v2::EncryptionId::ENCR_CAMELLIA_CBC,
            None,
        ) => Some(128),
        (_, said) => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_out_comes_back() {
        for (_, id) in IKE_CIPHERS {
            assert_eq!(ike_cipher_id(*id).and_then(ike_cipher), Some(*id));
        }
        for (_, id) in ESP_CIPHERS {
            assert_eq!(esp_cipher_id(*id).and_then(esp_cipher), Some(*id));
        }
        for (_, id) in HASHES {
            assert_eq!(hash_id(*id).and_then(hash), Some(*id));
        }
        for (.., id) in INTEGRITY {
            assert_eq!(integrity_ids(*id).and_then(|(id, _)| integrity(id)), Some(*id));
        }
    }

    #[test]
    fn lengths_that_need_not_be_said() {
        let rows = [
            (v2::EncryptionId::ENCR_3DES, Some(192), None),
            (v2::EncryptionId::ENCR_AES_CBC, None, Some(128)),
            (v2::EncryptionId::ENCR_AES_CBC, Some(256), Some(256)),
            (v2::EncryptionId::ENCR_AES_GCM_16, None, None),
        ];
        for (id, said, meant) in rows {
            assert_eq!(key_bits(id, said), meant, "{id}");
        }
    }
}
