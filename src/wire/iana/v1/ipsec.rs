//! The registries of the IPsec domain of interpretation (RFC 2407): "Magic Numbers for ISAKMP Protocol".

use crate::wire::iana::registry;

/// IPSEC Situation Definition: a set of bits (RFC 2407 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Situation(pub u32);

impl Situation {
    /// The SA is identified by the identities of the peers; the only one that is spoken here.
    pub const IDENTITY_ONLY: Situation = Situation(1);
}

impl std::fmt::Display for Situation {
    /// The names of the bits, as RFC 2407 §4.2 spells them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [(1, "SIT_IDENTITY_ONLY"), (2, "SIT_SECRECY"), (4, "SIT_INTEGRITY")];
        let known: Vec<_> = names.iter().filter(|(bit, _)| self.0 & bit != 0).collect();
        match self.0 & !7 {
            0 if self.0 != 0 => {
                let known: Vec<_> = known.iter().map(|(_, name)| *name).collect();
                f.write_str(&known.join(" "))
            }
            _ => write!(f, "{:#x}", self.0),
        }
    }
}

impl std::fmt::Debug for Situation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

registry! {
    /// IPSEC Security Protocol Identifiers.
    ProtocolId(u8) "PROTO" {
        1 ISAKMP ("PROTO_ISAKMP") "RFC 2407";
        2 IPSEC_AH ("PROTO_IPSEC_AH") "RFC 2407";
        3 IPSEC_ESP ("PROTO_IPSEC_ESP") "RFC 2407";
        4 IPCOMP ("PROTO_IPCOMP") "RFC 2407";
    }
}

registry! {
    /// IPSEC ISAKMP Transform Identifiers.
    IsakmpTransform(u8) "ISAKMP_TRANSFORM" {
        1 KEY_IKE "RFC 2407";
    }
}

registry! {
    /// IPSEC AH Transform Identifiers.
    AhTransform(u8) "AH" {
        2 AH_MD5 "RFC 2403" ["hmac-md5"];
        3 AH_SHA "RFC 2404" ["hmac-sha1"];
        4 AH_DES "RFC 2407";
        5 AH_SHA2_256 "RFC 4868" ["hmac-sha2-256"];
        6 AH_SHA2_384 "RFC 4868" ["hmac-sha2-384"];
        7 AH_SHA2_512 "RFC 4868" ["hmac-sha2-512"];
        8 AH_RIPEMD "RFC 2857" ["hmac-ripemd160"];
        9 AH_AES_XCBC_MAC ("AH_AES-XCBC-MAC") "RFC 3566" ["aes-xcbc"];
        11 AH_AES_128_GMAC ("AH_AES-128-GMAC") "RFC 4543";
        12 AH_AES_192_GMAC ("AH_AES-192-GMAC") "RFC 4543";
        13 AH_AES_256_GMAC ("AH_AES-256-GMAC") "RFC 4543";
    }
}

registry! {
    /// IPSEC ESP Transform Identifiers.
    EspTransform(u8) "ESP" {
        1 ESP_DES_IV64 "RFC 2407";
        2 ESP_DES "RFC 2405";
        3 ESP_3DES "RFC 2451" ["3des"];
        4 ESP_RC5 "RFC 2451";
        5 ESP_IDEA "RFC 2451";
        6 ESP_CAST "RFC 2451" ["cast" 128];
        7 ESP_BLOWFISH "RFC 2451" ["blowfish" 160];
        8 ESP_3IDEA "RFC 2407";
        9 ESP_DES_IV32 "RFC 2407";
        10 ESP_RC4 "RFC 2407";
        11 ESP_NULL "RFC 2410" ["null"];
        12 ESP_AES_CBC ("ESP_AES-CBC") "RFC 3602" ["aes-128" 128, "aes-192" 192, "aes-256" 256];
        13 ESP_AES_CTR ("ESP_AES-CTR") "RFC 3686"
            ["aes-128-ctr" 128, "aes-192-ctr" 192, "aes-256-ctr" 256];
        14 ESP_AES_CCM_8 ("ESP_AES-CCM_8") "RFC 4309";
        15 ESP_AES_CCM_12 ("ESP_AES-CCM_12") "RFC 4309";
        16 ESP_AES_CCM_16 ("ESP_AES-CCM_16") "RFC 4309"
            ["aes-128-ccm" 128, "aes-192-ccm" 192, "aes-256-ccm" 256];
        18 ESP_AES_GCM_8 ("ESP_AES-GCM_8") "RFC 4106";
        19 ESP_AES_GCM_12 ("ESP_AES-GCM_12") "RFC 4106"
            ["aes-128-gcm-12" 128, "aes-192-gcm-12" 192, "aes-256-gcm-12" 256];
        20 ESP_AES_GCM_16 ("ESP_AES-GCM_16") "RFC 4106"
            ["aes-128-gcm" 128, "aes-192-gcm" 192, "aes-256-gcm" 256];
        21 ESP_SEED_CBC "RFC 4196";
        22 ESP_CAMELLIA "RFC 4312" ["camellia-128" 128, "camellia-192" 192, "camellia-256" 256];
        23 ESP_NULL_AUTH_AES_GMAC ("ESP_NULL_AUTH_AES-GMAC") "RFC 4543"
            ["aes-128-gmac" 128, "aes-192-gmac" 192, "aes-256-gmac" 256];
    }
}

registry! {
    /// IPSEC IPCOMP Transform Identifiers.
    IpcompTransform(u8) "IPCOMP" {
        1 IPCOMP_OUI "RFC 2407";
        2 IPCOMP_DEFLATE "RFC 2407";
        3 IPCOMP_LZS "RFC 2407";
        4 IPCOMP_LZJH "RFC 3051";
    }
}

registry! {
    /// IPSEC Security Association Attributes.
    IpsecAttribute(u16) "IPSEC_ATTRIBUTE" {
        1 SA_LIFE_TYPE ("SA Life Type") "RFC 2407";
        2 SA_LIFE_DURATION ("SA Life Duration") "RFC 2407";
        3 GROUP_DESCRIPTION ("Group Description") "RFC 2407";
        4 ENCAPSULATION_MODE ("Encapsulation Mode") "RFC 2407";
        5 AUTHENTICATION_ALGORITHM ("Authentication Algorithm") "RFC 2407";
        6 KEY_LENGTH ("Key Length") "RFC 2407";
        7 KEY_ROUNDS ("Key Rounds") "RFC 2407";
        8 COMPRESS_DICTIONARY_SIZE ("Compress Dictionary Size") "RFC 2407";
        9 COMPRESS_PRIVATE_ALGORITHM ("Compress Private Algorithm") "RFC 2407";
        10 ECN_TUNNEL ("ECN Tunnel") "RFC 3168";
        11 EXTENDED_SEQUENCE_NUMBER ("Extended (64-bit) Sequence Number") "RFC 4304";
        12 AUTHENTICATION_KEY_LENGTH ("Authentication Key Length") "RFC 4359";
        13 SIGNATURE_ENCODING_ALGORITHM ("Signature Encoding Algorithm") "RFC 4359";
    }
}

registry! {
    /// Encapsulation Mode, a value of an IPSEC SA attribute.
    EncapsulationMode(u16) "ENCAPSULATION" {
        1 TUNNEL ("Tunnel") "RFC 2407";
        2 TRANSPORT ("Transport") "RFC 2407";
        3 UDP_TUNNEL ("UDP-Encapsulated-Tunnel") "RFC 3947";
        4 UDP_TRANSPORT ("UDP-Encapsulated-Transport") "RFC 3947";
        61443 UDP_TUNNEL_DRAFT ("UDP-Encapsulated-Tunnel (draft)") "draft-ietf-ipsec-nat-t-ike-03";
        61444 UDP_TRANSPORT_DRAFT ("UDP-Encapsulated-Transport (draft)")
            "draft-ietf-ipsec-nat-t-ike-03";
    }
}

registry! {
    /// Authentication Algorithm, a value of an IPSEC SA attribute.
    IntegrityId(u16) "AUTH" {
        1 HMAC_MD5 ("HMAC-MD5") "RFC 2403" ["hmac-md5"];
        2 HMAC_SHA ("HMAC-SHA") "RFC 2404" ["hmac-sha1"];
        3 DES_MAC ("DES-MAC") "RFC 2407";
        4 KPDK "RFC 2407";
        5 HMAC_SHA2_256 ("HMAC-SHA2-256") "RFC 4868" ["hmac-sha2-256"];
        6 HMAC_SHA2_384 ("HMAC-SHA2-384") "RFC 4868" ["hmac-sha2-384"];
        7 HMAC_SHA2_512 ("HMAC-SHA2-512") "RFC 4868" ["hmac-sha2-512"];
        8 HMAC_RIPEMD ("HMAC-RIPEMD") "RFC 2857" ["hmac-ripemd160"];
        9 AES_XCBC_MAC ("AES-XCBC-MAC") "RFC 3566" ["aes-xcbc"];
        10 SIG_RSA ("SIG-RSA") "RFC 4359";
        11 AES_128_GMAC ("AES-128-GMAC") "RFC 4543";
        12 AES_192_GMAC ("AES-192-GMAC") "RFC 4543";
        13 AES_256_GMAC ("AES-256-GMAC") "RFC 4543";
    }
}

registry! {
    /// IPSEC Identification Type.
    IdType(u8) "ID" {
        1 ID_IPV4_ADDR "RFC 2407";
        2 ID_FQDN "RFC 2407";
        3 ID_USER_FQDN "RFC 2407";
        4 ID_IPV4_ADDR_SUBNET "RFC 2407";
        5 ID_IPV6_ADDR "RFC 2407";
        6 ID_IPV6_ADDR_SUBNET "RFC 2407";
        7 ID_IPV4_ADDR_RANGE "RFC 2407";
        8 ID_IPV6_ADDR_RANGE "RFC 2407";
        9 ID_DER_ASN1_DN "RFC 2407";
        10 ID_DER_ASN1_GN "RFC 2407";
        11 ID_KEY_ID "RFC 2407";
        12 ID_LIST "RFC 3554";
    }
}
