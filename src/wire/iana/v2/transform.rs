//! The registries of what is negotiated: transforms by their types, and their attributes.

use crate::wire::iana::registry;

registry! {
    /// Transform Type Values.
    TransformType(u8) "TRANSFORM" {
        1 ENCR ("Encryption Algorithm") "RFC 7296";
        2 PRF ("Pseudorandom Function") "RFC 7296";
        3 INTEG ("Integrity Algorithm") "RFC 7296";
        4 KE ("Key Exchange Method") "RFC 7296, RFC 9370";
        5 ESN ("Sequence Numbers") "RFC 7296, RFC 9827";
        6 ADDKE1 ("Additional Key Exchange 1") "RFC 9370";
        7 ADDKE2 ("Additional Key Exchange 2") "RFC 9370";
        8 ADDKE3 ("Additional Key Exchange 3") "RFC 9370";
        9 ADDKE4 ("Additional Key Exchange 4") "RFC 9370";
        10 ADDKE5 ("Additional Key Exchange 5") "RFC 9370";
        11 ADDKE6 ("Additional Key Exchange 6") "RFC 9370";
        12 ADDKE7 ("Additional Key Exchange 7") "RFC 9370";
        13 KWA ("Key Wrap Algorithm") "RFC 9838";
        14 GCAUTH ("Group Controller Authentication Method") "RFC 9838";
    }
}

registry! {
    /// Transform Attribute Types.
    TransformAttribute(u16) "ATTRIBUTE" {
        14 KEY_LENGTH ("Key Length (in bits)") "RFC 7296";
        18 SIGNATURE_ALGORITHM ("Signature Algorithm Identifier") "RFC 9838";
    }
}

registry! {
    /// Transform Type 1: Encryption Algorithm Transform IDs.
    EncryptionId(u16) "ENCR" {
        1 ENCR_DES_IV64 "RFC 1827";
        2 ENCR_DES "RFC 2405";
        3 ENCR_3DES "RFC 2451" ["3des"];
        4 ENCR_RC5 "RFC 2451";
        5 ENCR_IDEA "RFC 2451";
        6 ENCR_CAST "RFC 2451" ["cast" 128];
        7 ENCR_BLOWFISH "RFC 2451" ["blowfish" 160];
        8 ENCR_3IDEA "RFC 2451";
        9 ENCR_DES_IV32 "RFC 7296";
        11 ENCR_NULL "RFC 2410" ["null"];
        12 ENCR_AES_CBC "RFC 3602" ["aes-128" 128, "aes-192" 192, "aes-256" 256];
        13 ENCR_AES_CTR "RFC 3686" ["aes-128-ctr" 128, "aes-192-ctr" 192, "aes-256-ctr" 256];
        14 ENCR_AES_CCM_8 "RFC 4309" ["aes-128-ccm-8" 128, "aes-192-ccm-8" 192, "aes-256-ccm-8" 256];
        15 ENCR_AES_CCM_12 "RFC 4309"
            ["aes-128-ccm-12" 128, "aes-192-ccm-12" 192, "aes-256-ccm-12" 256];
        16 ENCR_AES_CCM_16 "RFC 4309" ["aes-128-ccm" 128, "aes-192-ccm" 192, "aes-256-ccm" 256];
        18 ENCR_AES_GCM_8 "RFC 4106" ["aes-128-gcm-8" 128, "aes-192-gcm-8" 192, "aes-256-gcm-8" 256];
        19 ENCR_AES_GCM_12 "RFC 4106"
            ["aes-128-gcm-12" 128, "aes-192-gcm-12" 192, "aes-256-gcm-12" 256];
        20 ENCR_AES_GCM_16 "RFC 4106" ["aes-128-gcm" 128, "aes-192-gcm" 192, "aes-256-gcm" 256];
        21 ENCR_NULL_AUTH_AES_GMAC "RFC 4543"
            ["aes-128-gmac" 128, "aes-192-gmac" 192, "aes-256-gmac" 256];
        23 ENCR_CAMELLIA_CBC "RFC 5529" ["camellia-128" 128, "camellia-192" 192, "camellia-256" 256];
        24 ENCR_CAMELLIA_CTR "RFC 5529";
        25 ENCR_CAMELLIA_CCM_8 "RFC 5529";
        26 ENCR_CAMELLIA_CCM_12 "RFC 5529";
        27 ENCR_CAMELLIA_CCM_16 "RFC 5529";
        28 ENCR_CHACHA20_POLY1305 "RFC 7634" ["chacha20-poly1305"];
        29 ENCR_AES_CCM_8_IIV "RFC 8750";
        30 ENCR_AES_GCM_16_IIV "RFC 8750";
        31 ENCR_CHACHA20_POLY1305_IIV "RFC 8750";
        32 ENCR_KUZNYECHIK_MGM_KTREE "RFC 9227";
        33 ENCR_MAGMA_MGM_KTREE "RFC 9227";
        34 ENCR_KUZNYECHIK_MGM_MAC_KTREE "RFC 9227";
        35 ENCR_MAGMA_MGM_MAC_KTREE "RFC 9227";
    }
}

registry! {
    /// Transform Type 2: Pseudorandom Function Transform IDs.
    PrfId(u16) "PRF" {
        1 PRF_HMAC_MD5 "RFC 2104" ["hmac-md5"];
        2 PRF_HMAC_SHA1 "RFC 2104" ["hmac-sha1"];
        3 PRF_HMAC_TIGER "RFC 2104";
        4 PRF_AES128_XCBC "RFC 4434" ["aes-xcbc"];
        5 PRF_HMAC_SHA2_256 "RFC 4868" ["hmac-sha2-256"];
        6 PRF_HMAC_SHA2_384 "RFC 4868" ["hmac-sha2-384"];
        7 PRF_HMAC_SHA2_512 "RFC 4868" ["hmac-sha2-512"];
        8 PRF_AES128_CMAC "RFC 4615" ["aes-cmac"];
        9 PRF_HMAC_STREEBOG_512 "RFC 9385";
    }
}

registry! {
    /// Transform Type 3: Integrity Algorithm Transform IDs.
    IntegrityId(u16) "AUTH" {
        0 NONE "RFC 7296";
        1 AUTH_HMAC_MD5_96 "RFC 2403" ["hmac-md5"];
        2 AUTH_HMAC_SHA1_96 "RFC 2404" ["hmac-sha1"];
        3 AUTH_DES_MAC "RFC 7296";
        4 AUTH_KPDK_MD5 "RFC 7296";
        5 AUTH_AES_XCBC_96 "RFC 3566" ["aes-xcbc"];
        6 AUTH_HMAC_MD5_128 "RFC 4595";
        7 AUTH_HMAC_SHA1_160 "RFC 4595";
        8 AUTH_AES_CMAC_96 "RFC 4494" ["aes-cmac"];
        9 AUTH_AES_128_GMAC "RFC 4543";
        10 AUTH_AES_192_GMAC "RFC 4543";
        11 AUTH_AES_256_GMAC "RFC 4543";
        12 AUTH_HMAC_SHA2_256_128 "RFC 4868" ["hmac-sha2-256"];
        13 AUTH_HMAC_SHA2_384_192 "RFC 4868" ["hmac-sha2-384"];
        14 AUTH_HMAC_SHA2_512_256 "RFC 4868" ["hmac-sha2-512"];
    }
}

registry! {
    /// Transform Type 4: Key Exchange Method Transform IDs.
    GroupId(u16) "GROUP" {
        0 NONE "RFC 7296" ["none"];
        1 MODP_768 ("768-bit MODP Group") "RFC 6989" ["modp768", "grp1"];
        2 MODP_1024 ("1024-bit MODP Group") "RFC 6989" ["modp1024", "grp2"];
        5 MODP_1536 ("1536-bit MODP Group") "RFC 3526" ["modp1536", "grp5"];
        14 MODP_2048 ("2048-bit MODP Group") "RFC 3526" ["modp2048", "grp14"];
        15 MODP_3072 ("3072-bit MODP Group") "RFC 3526" ["modp3072", "grp15"];
        16 MODP_4096 ("4096-bit MODP Group") "RFC 3526" ["modp4096", "grp16"];
        17 MODP_6144 ("6144-bit MODP Group") "RFC 3526" ["modp6144", "grp17"];
        18 MODP_8192 ("8192-bit MODP Group") "RFC 3526" ["modp8192", "grp18"];
        19 ECP_256 ("256-bit random ECP group") "RFC 5903" ["ecp256", "grp19"];
        20 ECP_384 ("384-bit random ECP group") "RFC 5903" ["ecp384", "grp20"];
        21 ECP_521 ("521-bit random ECP group") "RFC 5903" ["ecp521", "grp21"];
        22 MODP_1024_160 ("1024-bit MODP Group with 160-bit Prime Order Subgroup") "RFC 5114"
            ["modp1024-160", "grp22"];
        23 MODP_2048_224 ("2048-bit MODP Group with 224-bit Prime Order Subgroup") "RFC 5114"
            ["modp2048-224", "grp23"];
        24 MODP_2048_256 ("2048-bit MODP Group with 256-bit Prime Order Subgroup") "RFC 5114"
            ["modp2048-256", "grp24"];
        25 ECP_192 ("192-bit Random ECP Group") "RFC 5114" ["ecp192", "grp25"];
        26 ECP_224 ("224-bit Random ECP Group") "RFC 5114" ["ecp224", "grp26"];
        27 BRAINPOOL_P224R1 ("brainpoolP224r1") "RFC 6954" ["brainpool224", "grp27"];
        28 BRAINPOOL_P256R1 ("brainpoolP256r1") "RFC 6954" ["brainpool256", "grp28"];
        29 BRAINPOOL_P384R1 ("brainpoolP384r1") "RFC 6954" ["brainpool384", "grp29"];
        30 BRAINPOOL_P512R1 ("brainpoolP512r1") "RFC 6954" ["brainpool512", "grp30"];
        31 CURVE25519 ("Curve25519") "RFC 8031" ["curve25519", "grp31"];
        32 CURVE448 ("Curve448") "RFC 8031" ["curve448", "grp32"];
        33 GOST3410_2012_256 "RFC 9385";
        34 GOST3410_2012_512 "RFC 9385";
        35 ML_KEM_512 ("ml-kem-512") "draft-ietf-ipsecme-ikev2-mlkem" ["mlkem512"];
        36 ML_KEM_768 ("ml-kem-768") "draft-ietf-ipsecme-ikev2-mlkem" ["mlkem768"];
        37 ML_KEM_1024 ("ml-kem-1024") "draft-ietf-ipsecme-ikev2-mlkem" ["mlkem1024"];
    }
}

registry! {
    /// Transform Type 5: Sequence Numbers Transform IDs, once called Extended Sequence Numbers.
    EsnId(u16) "ESN" {
        0 NO_ESN ("32-bit Sequential Numbers") "RFC 7296, RFC 9827" ["noesn"];
        1 ESN ("Partially Transmitted 64-bit Sequential Numbers") "RFC 7296, RFC 9827" ["esn"];
        2 UNSPECIFIED_32 ("32-bit Unspecified Numbers") "RFC 9827";
    }
}

impl EncryptionId {
    /// Whether the cipher authenticates too (combined mode), so that no integrity algorithm goes with
    /// it (RFC 7296 §3.3.3, RFC 5282 §8).
    pub fn is_aead(self) -> bool {
        matches!(self.0, 14..=16 | 18..=21 | 25..=35)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_lead_to_numbers_and_back() {
        let gcm = EncryptionId::from_keyword("aes-256-gcm");
        assert_eq!(gcm, Some((EncryptionId::ENCR_AES_GCM_16, Some(256))));
        assert_eq!(EncryptionId::ENCR_AES_GCM_16.keyword(Some(256)), Some("aes-256-gcm"));
        assert_eq!(EncryptionId::ENCR_AES_GCM_16.keyword(None), None);
        let chacha = EncryptionId::from_keyword("chacha20-poly1305");
        assert_eq!(chacha, Some((EncryptionId::ENCR_CHACHA20_POLY1305, None)));
        assert_eq!(GroupId::from_keyword("grp14"), Some((GroupId::MODP_2048, None)));
        assert_eq!(GroupId::MODP_2048.keyword(None), Some("modp2048"));
        assert_eq!(EncryptionId::from_keyword("aes"), None);
    }

    #[test]
    fn combined_mode_ciphers_are_told_from_others() {
        assert!(EncryptionId::ENCR_AES_GCM_16.is_aead());
        assert!(EncryptionId::ENCR_CHACHA20_POLY1305.is_aead());
        assert!(!EncryptionId::ENCR_AES_CBC.is_aead());
        assert!(!EncryptionId::ENCR_NULL.is_aead());
        assert!(!EncryptionId::ENCR_CAMELLIA_CTR.is_aead());
    }
}
