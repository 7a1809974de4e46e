//! The registries of IKEv1: the numbers of ISAKMP itself, "Internet Key Exchange (IKE) Attributes", and in
//! `ipsec` those of its domain of interpretation.
//!
//! Groups are the same numbers as IKEv2's [`GroupId`](super::v2::GroupId) up to 30 and have no table here.

mod ipsec;

pub use ipsec::*;

use super::registry;

registry! {
    /// ISAKMP Exchange Types. Numbers from 34 on belong to IKEv2.
    ExchangeType(u8) "EXCHANGE" {
        1 BASE ("Base") "RFC 2408";
        2 IDENTITY_PROTECTION ("Identity Protection") "RFC 2408";
        3 AUTHENTICATION_ONLY ("Authentication Only") "RFC 2408";
        4 AGGRESSIVE ("Aggressive") "RFC 2408";
        5 INFORMATIONAL ("Informational") "RFC 2408";
        6 TRANSACTION ("Transaction Exchange") "draft-ietf-ipsec-isakmp-mode-cfg";
        32 QUICK_MODE ("Quick Mode") "RFC 2409";
        33 NEW_GROUP_MODE ("New Group Mode") "RFC 2409";
    }
}

registry! {
    /// ISAKMP Next Payload Types, by their notation.
    PayloadType(u8) "PAYLOAD" {
        0 NONE "RFC 2408";
        1 SA "RFC 2408";
        2 P "RFC 2408";
        3 T "RFC 2408";
        4 KE "RFC 2408";
        5 ID "RFC 2408";
        6 CERT "RFC 2408";
        7 CR "RFC 2408";
        8 HASH "RFC 2408";
        9 SIG "RFC 2408";
        10 NONCE "RFC 2408";
        11 N "RFC 2408";
        12 D "RFC 2408";
        13 VID "RFC 2408";
        14 ATTRIBUTE "draft-ietf-ipsec-isakmp-mode-cfg";
        15 SAK "RFC 6407";
        16 SAT "RFC 6407";
        17 KD "RFC 6407";
        18 SEQ "RFC 6407";
        19 POP "RFC 6407";
        20 NAT_D ("NAT-D") "RFC 3947";
        21 NAT_OA ("NAT-OA") "RFC 3947";
        22 GAP "RFC 6407";
        130 NAT_D_DRAFT ("NAT-D (draft)") "draft-ietf-ipsec-nat-t-ike-03";
        131 NAT_OA_DRAFT ("NAT-OA (draft)") "draft-ietf-ipsec-nat-t-ike-03";
        132 FRAGMENT ("Fragment") "MS-IKEE";
    }
}

/// A domain of interpretation: whose numbers a payload speaks (RFC 2408 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Doi(pub u32);

impl Doi {
    /// ISAKMP's own (RFC 2408 §3.4).
    pub const ISAKMP: Doi = Doi(0);
    /// IPsec (RFC 2407 §4.2).
    pub const IPSEC: Doi = Doi(1);
}

impl std::fmt::Display for Doi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Doi::ISAKMP => f.write_str("ISAKMP"),
            Doi::IPSEC => f.write_str("IPSEC"),
            Doi(number) => write!(f, "DOI_{number} (unknown)"),
        }
    }
}

impl std::fmt::Debug for Doi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

registry! {
    /// Attribute classes of phase 1 (RFC 2409 appendix A).
    IkeAttribute(u16) "IKE_ATTRIBUTE" {
        1 ENCRYPTION_ALGORITHM ("Encryption Algorithm") "RFC 2409";
        2 HASH_ALGORITHM ("Hash Algorithm") "RFC 2409";
        3 AUTHENTICATION_METHOD ("Authentication Method") "RFC 2409";
        4 GROUP_DESCRIPTION ("Group Description") "RFC 2409";
        5 GROUP_TYPE ("Group Type") "RFC 2409";
        6 GROUP_PRIME ("Group Prime/Irreducible Polynomial") "RFC 2409";
        7 GROUP_GENERATOR_ONE ("Group Generator One") "RFC 2409";
        8 GROUP_GENERATOR_TWO ("Group Generator Two") "RFC 2409";
        9 GROUP_CURVE_A ("Group Curve A") "RFC 2409";
        10 GROUP_CURVE_B ("Group Curve B") "RFC 2409";
        11 LIFE_TYPE ("Life Type") "RFC 2409";
        12 LIFE_DURATION ("Life Duration") "RFC 2409";
        13 PRF "RFC 2409";
        14 KEY_LENGTH ("Key Length") "RFC 2409";
        15 FIELD_SIZE ("Field Size") "RFC 2409";
        16 GROUP_ORDER ("Group Order") "RFC 2409";
    }
}

registry! {
    /// Encryption algorithms of phase 1.
    EncryptionId(u16) "ENCR" {
        1 DES_CBC ("DES-CBC") "RFC 2405";
        2 IDEA_CBC ("IDEA-CBC") "RFC 2409";
        3 BLOWFISH_CBC ("Blowfish-CBC") "RFC 2409";
        4 RC5_R16_B64_CBC ("RC5-R16-B64-CBC") "RFC 2409";
        5 TRIPLE_DES_CBC ("3DES-CBC") "RFC 2409" ["3des"];
        6 CAST_CBC ("CAST-CBC") "RFC 2409";
        7 AES_CBC ("AES-CBC") "RFC 3602" ["aes-128" 128, "aes-192" 192, "aes-256" 256];
        8 CAMELLIA_CBC ("CAMELLIA-CBC") "RFC 4312"
            ["camellia-128" 128, "camellia-192" 192, "camellia-256" 256];
    }
}

registry! {
    /// Hash algorithms of phase 1.
    HashId(u16) "HASH" {
        1 MD5 "RFC 1321" ["hmac-md5"];
        2 SHA "FIPS 180" ["hmac-sha1"];
        3 TIGER ("Tiger") "RFC 2409";
        4 SHA2_256 ("SHA2-256") "RFC 4868" ["hmac-sha2-256"];
        5 SHA2_384 ("SHA2-384") "RFC 4868" ["hmac-sha2-384"];
        6 SHA2_512 ("SHA2-512") "RFC 4868" ["hmac-sha2-512"];
    }
}

registry! {
    /// Authentication methods of phase 1.
    AuthMethod(u16) "AUTH_METHOD" {
        1 PRE_SHARED_KEY ("pre-shared key") "RFC 2409";
        2 DSS_SIGNATURES ("DSS signatures") "RFC 2409";
        3 RSA_SIGNATURES ("RSA signatures") "RFC 2409";
        4 RSA_ENCRYPTION ("Encryption with RSA") "RFC 2409";
        5 RSA_REVISED_ENCRYPTION ("Revised encryption with RSA") "RFC 2409";
        9 ECDSA_SHA256_P256 ("ECDSA with SHA-256 on the P-256 curve") "RFC 4754";
        10 ECDSA_SHA384_P384 ("ECDSA with SHA-384 on the P-384 curve") "RFC 4754";
        11 ECDSA_SHA512_P521 ("ECDSA with SHA-512 on the P-521 curve") "RFC 4754";
        64221 HYBRID_INIT_RSA ("HybridInitRSA") "draft-ietf-ipsec-isakmp-hybrid-auth";
        64222 HYBRID_RESP_RSA ("HybridRespRSA") "draft-ietf-ipsec-isakmp-hybrid-auth";
        65001 XAUTH_INIT_PRE_SHARED ("XAUTHInitPreShared") "draft-beaulieu-ike-xauth";
        65002 XAUTH_RESP_PRE_SHARED ("XAUTHRespPreShared") "draft-beaulieu-ike-xauth";
        65003 XAUTH_INIT_DSS ("XAUTHInitDSS") "draft-beaulieu-ike-xauth";
        65004 XAUTH_RESP_DSS ("XAUTHRespDSS") "draft-beaulieu-ike-xauth";
        65005 XAUTH_INIT_RSA ("XAUTHInitRSA") "draft-beaulieu-ike-xauth";
        65006 XAUTH_RESP_RSA ("XAUTHRespRSA") "draft-beaulieu-ike-xauth";
    }
}

registry! {
    /// Certificate encodings (RFC 2408 §3.9).
    CertEncoding(u8) "CERT" {
        0 NONE ("none") "RFC 2408";
        1 PKCS7 ("PKCS #7 wrapped X.509 certificate") "RFC 2408";
        2 PGP ("PGP Certificate") "RFC 2408";
        3 DNS_SIGNED_KEY ("DNS Signed Key") "RFC 2408";
        4 X509_SIGNATURE ("X.509 Certificate - Signature") "RFC 2408";
        5 X509_KEY_EXCHANGE ("X.509 Certificate - Key Exchange") "RFC 2408";
        6 KERBEROS_TOKENS ("Kerberos Tokens") "RFC 2408";
        7 CRL ("Certificate Revocation List (CRL)") "RFC 2408";
        8 ARL ("Authority Revocation List (ARL)") "RFC 2408";
        9 SPKI ("SPKI Certificate") "RFC 2408";
        10 X509_ATTRIBUTE ("X.509 Certificate - Attribute") "RFC 2408";
    }
}

registry! {
    /// Messages of the transaction exchange.
    ConfigType(u8) "CFG" {
        1 REQUEST ("ISAKMP_CFG_REQUEST") "draft-ietf-ipsec-isakmp-mode-cfg";
        2 REPLY ("ISAKMP_CFG_REPLY") "draft-ietf-ipsec-isakmp-mode-cfg";
        3 SET ("ISAKMP_CFG_SET") "draft-ietf-ipsec-isakmp-mode-cfg";
        4 ACK ("ISAKMP_CFG_ACK") "draft-ietf-ipsec-isakmp-mode-cfg";
    }
}

registry! {
    /// Attributes of the transaction exchange: configuration, XAUTH, and those of Cisco's Unity clients.
    ConfigAttribute(u16) "CFG_ATTRIBUTE" {
        1 INTERNAL_IP4_ADDRESS "draft-ietf-ipsec-isakmp-mode-cfg";
        2 INTERNAL_IP4_NETMASK "draft-ietf-ipsec-isakmp-mode-cfg";
        3 INTERNAL_IP4_DNS "draft-ietf-ipsec-isakmp-mode-cfg";
        4 INTERNAL_IP4_NBNS "draft-ietf-ipsec-isakmp-mode-cfg";
        5 INTERNAL_ADDRESS_EXPIRY "draft-ietf-ipsec-isakmp-mode-cfg";
        6 INTERNAL_IP4_DHCP "draft-ietf-ipsec-isakmp-mode-cfg";
        7 APPLICATION_VERSION "draft-ietf-ipsec-isakmp-mode-cfg";
        8 INTERNAL_IP6_ADDRESS "draft-ietf-ipsec-isakmp-mode-cfg";
        9 INTERNAL_IP6_NETMASK "draft-ietf-ipsec-isakmp-mode-cfg";
        10 INTERNAL_IP6_DNS "draft-ietf-ipsec-isakmp-mode-cfg";
        11 INTERNAL_IP6_NBNS "draft-ietf-ipsec-isakmp-mode-cfg";
        12 INTERNAL_IP6_DHCP "draft-ietf-ipsec-isakmp-mode-cfg";
        13 INTERNAL_IP4_SUBNET "draft-ietf-ipsec-isakmp-mode-cfg";
        14 SUPPORTED_ATTRIBUTES "draft-ietf-ipsec-isakmp-mode-cfg";
        15 INTERNAL_IP6_SUBNET "draft-ietf-ipsec-isakmp-mode-cfg";
        16520 XAUTH_TYPE ("XAUTH-TYPE") "draft-beaulieu-ike-xauth";
        16521 XAUTH_USER_NAME ("XAUTH-USER-NAME") "draft-beaulieu-ike-xauth";
        16522 XAUTH_USER_PASSWORD ("XAUTH-USER-PASSWORD") "draft-beaulieu-ike-xauth";
        16523 XAUTH_PASSCODE ("XAUTH-PASSCODE") "draft-beaulieu-ike-xauth";
        16524 XAUTH_MESSAGE ("XAUTH-MESSAGE") "draft-beaulieu-ike-xauth";
        16525 XAUTH_CHALLENGE ("XAUTH-CHALLENGE") "draft-beaulieu-ike-xauth";
        16526 XAUTH_DOMAIN ("XAUTH-DOMAIN") "draft-beaulieu-ike-xauth";
        16527 XAUTH_STATUS ("XAUTH-STATUS") "draft-beaulieu-ike-xauth";
        16528 XAUTH_NEXT_PIN ("XAUTH-NEXT-PIN") "draft-beaulieu-ike-xauth";
        16529 XAUTH_ANSWER ("XAUTH-ANSWER") "draft-beaulieu-ike-xauth";
        28672 UNITY_BANNER "Cisco Unity";
        28673 UNITY_SAVE_PASSWD "Cisco Unity";
        28674 UNITY_DEF_DOMAIN "Cisco Unity";
        28675 UNITY_SPLITDNS_NAME "Cisco Unity";
        28676 UNITY_SPLIT_INCLUDE "Cisco Unity";
        28677 UNITY_NATT_PORT "Cisco Unity";
        28678 UNITY_LOCAL_LAN "Cisco Unity";
        28679 UNITY_PFS "Cisco Unity";
        28680 UNITY_FW_TYPE "Cisco Unity";
        28681 UNITY_BACKUP_SERVERS "Cisco Unity";
        28682 UNITY_DDNS_HOSTNAME "Cisco Unity";
    }
}

registry! {
    /// Ways of extended authentication: the values of XAUTH-TYPE.
    XauthType(u16) "XAUTH_TYPE" {
        0 GENERIC ("Generic") "draft-beaulieu-ike-xauth";
        1 RADIUS_CHAP ("RADIUS-CHAP") "draft-beaulieu-ike-xauth";
        2 OTP "draft-beaulieu-ike-xauth";
        3 SKEY ("S/KEY") "draft-beaulieu-ike-xauth";
    }
}

registry! {
    /// Life types, of phase 1 and of the IPsec DOI alike.
    LifeType(u16) "LIFE_TYPE" {
        1 SECONDS ("seconds") "RFC 2409, RFC 2407";
        2 KILOBYTES ("kilobytes") "RFC 2409, RFC 2407";
    }
}

registry! {
    /// Notify Message Types of ISAKMP and of the IPsec DOI.
    NotifyType(u16) "NOTIFY" {
        1 INVALID_PAYLOAD_TYPE ("INVALID-PAYLOAD-TYPE") "RFC 2408";
        2 DOI_NOT_SUPPORTED ("DOI-NOT-SUPPORTED") "RFC 2408";
        3 SITUATION_NOT_SUPPORTED ("SITUATION-NOT-SUPPORTED") "RFC 2408";
        4 INVALID_COOKIE ("INVALID-COOKIE") "RFC 2408";
        5 INVALID_MAJOR_VERSION ("INVALID-MAJOR-VERSION") "RFC 2408";
        6 INVALID_MINOR_VERSION ("INVALID-MINOR-VERSION") "RFC 2408";
        7 INVALID_EXCHANGE_TYPE ("INVALID-EXCHANGE-TYPE") "RFC 2408";
        8 INVALID_FLAGS ("INVALID-FLAGS") "RFC 2408";
        9 INVALID_MESSAGE_ID ("INVALID-MESSAGE-ID") "RFC 2408";
        10 INVALID_PROTOCOL_ID ("INVALID-PROTOCOL-ID") "RFC 2408";
        11 INVALID_SPI ("INVALID-SPI") "RFC 2408";
        12 INVALID_TRANSFORM_ID ("INVALID-TRANSFORM-ID") "RFC 2408";
        13 ATTRIBUTES_NOT_SUPPORTED ("ATTRIBUTES-NOT-SUPPORTED") "RFC 2408";
        14 NO_PROPOSAL_CHOSEN ("NO-PROPOSAL-CHOSEN") "RFC 2408";
        15 BAD_PROPOSAL_SYNTAX ("BAD-PROPOSAL-SYNTAX") "RFC 2408";
        16 PAYLOAD_MALFORMED ("PAYLOAD-MALFORMED") "RFC 2408";
        17 INVALID_KEY_INFORMATION ("INVALID-KEY-INFORMATION") "RFC 2408";
        18 INVALID_ID_INFORMATION ("INVALID-ID-INFORMATION") "RFC 2408";
        19 INVALID_CERT_ENCODING ("INVALID-CERT-ENCODING") "RFC 2408";
        20 INVALID_CERTIFICATE ("INVALID-CERTIFICATE") "RFC 2408";
        21 CERT_TYPE_UNSUPPORTED ("CERT-TYPE-UNSUPPORTED") "RFC 2408";
        22 INVALID_CERT_AUTHORITY ("INVALID-CERT-AUTHORITY") "RFC 2408";
        23 INVALID_HASH_INFORMATION ("INVALID-HASH-INFORMATION") "RFC 2408";
        24 AUTHENTICATION_FAILED ("AUTHENTICATION-FAILED") "RFC 2408";
        25 INVALID_SIGNATURE ("INVALID-SIGNATURE") "RFC 2408";
        26 ADDRESS_NOTIFICATION ("ADDRESS-NOTIFICATION") "RFC 2408";
        27 NOTIFY_SA_LIFETIME ("NOTIFY-SA-LIFETIME") "RFC 2408";
        28 CERTIFICATE_UNAVAILABLE ("CERTIFICATE-UNAVAILABLE") "RFC 2408";
        29 UNSUPPORTED_EXCHANGE_TYPE ("UNSUPPORTED-EXCHANGE-TYPE") "RFC 2408";
        30 UNEQUAL_PAYLOAD_LENGTHS ("UNEQUAL-PAYLOAD-LENGTHS") "RFC 2408";
        16384 CONNECTED "RFC 2408";
        24576 RESPONDER_LIFETIME ("RESPONDER-LIFETIME") "RFC 2407";
        24577 REPLAY_STATUS ("REPLAY-STATUS") "RFC 2407";
        24578 INITIAL_CONTACT ("INITIAL-CONTACT") "RFC 2407";
        36136 R_U_THERE ("R-U-THERE") "RFC 3706";
        36137 R_U_THERE_ACK ("R-U-THERE-ACK") "RFC 3706";
    }
}

impl NotifyType {
    /// Whether it tells of an error rather than of a status (RFC 2408 §3.14.1).
    pub fn is_error(self) -> bool {
        self < Self::CONNECTED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::iana::Row;

    #[test]
    fn numbers_rise_and_names_are_not_used_twice() {
        let tables: &[&[Row]] = &[
            ExchangeType::TABLE,
            PayloadType::TABLE,
            IkeAttribute::TABLE,
            EncryptionId::TABLE,
            HashId::TABLE,
            AuthMethod::TABLE,
            CertEncoding::TABLE,
            ConfigType::TABLE,
            ConfigAttribute::TABLE,
            XauthType::TABLE,
            LifeType::TABLE,
            ProtocolId::TABLE,
            IsakmpTransform::TABLE,
            AhTransform::TABLE,
            EspTransform::TABLE,
            IpcompTransform::TABLE,
            IpsecAttribute::TABLE,
            EncapsulationMode::TABLE,
            IntegrityId::TABLE,
            IdType::TABLE,
            NotifyType::TABLE,
        ];
        for table in tables {
            assert!(table.is_sorted_by(|a, b| a.number < b.number), "{:?}", table[0]);
            let mut names: Vec<_> = table.iter().map(|row| row.name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        }
    }

    #[test]
    fn names_are_ianas_and_keywords_imply_key_lengths() {
        assert_eq!(ExchangeType(2).to_string(), "Identity Protection");
        assert_eq!(PayloadType(20).to_string(), "NAT-D");
        assert_eq!(NotifyType(36136).to_string(), "R-U-THERE");
        assert_eq!(EncryptionId(99).to_string(), "ENCR_99 (unknown)");
        let aes = EncryptionId::from_keyword("aes-192");
        assert_eq!(aes, Some((EncryptionId::AES_CBC, Some(192))));
    }
}
