//! The registries of "Internet Key Exchange Version 2 (IKEv2) Parameters"; `transform` has those of what is
//! negotiated.

mod transform;

pub use transform::*;

use super::registry;

registry! {
    /// IKEv2 Exchange Types. Numbers up to 33 belong to IKEv1.
    ExchangeType(u8) "EXCHANGE" {
        34 IKE_SA_INIT "RFC 7296";
        35 IKE_AUTH "RFC 7296";
        36 CREATE_CHILD_SA "RFC 7296";
        37 INFORMATIONAL "RFC 7296";
        38 IKE_SESSION_RESUME "RFC 5723";
        39 GSA_AUTH "RFC 9838";
        40 GSA_REGISTRATION "RFC 9838";
        41 GSA_REKEY "RFC 9838";
        42 GSA_INBAND_REKEY "RFC 9838";
        43 IKE_INTERMEDIATE "RFC 9242";
        44 IKE_FOLLOWUP_KE "RFC 9370";
    }
}

registry! {
    /// IKEv2 Payload Types, by their notation. Numbers 1 to 32 belong to IKEv1.
    PayloadType(u8) "PAYLOAD" {
        0 NONE ("No Next Payload") "RFC 7296";
        33 SA "RFC 7296";
        34 KE "RFC 7296";
        35 IDI ("IDi") "RFC 7296";
        36 IDR ("IDr") "RFC 7296";
        37 CERT "RFC 7296";
        38 CERTREQ "RFC 7296";
        39 AUTH "RFC 7296";
        40 NONCE ("Nonce") "RFC 7296";
        41 N "RFC 7296";
        42 D "RFC 7296";
        43 V "RFC 7296";
        44 TSI ("TSi") "RFC 7296";
        45 TSR ("TSr") "RFC 7296";
        46 SK "RFC 7296";
        47 CP "RFC 7296";
        48 EAP "RFC 7296";
        49 GSPM ("GSPM") "RFC 6467";
        50 IDG ("IDg") "RFC 9838";
        51 GSA "RFC 9838";
        52 KD "RFC 9838";
        53 SKF "RFC 7383";
        54 PS "RFC 8019";
    }
}

registry! {
    /// Security Protocol Identifiers.
    ProtocolId(u8) "PROTO" {
        0 NONE "RFC 7296";
        1 IKE "RFC 7296";
        2 AH "RFC 7296";
        3 ESP "RFC 7296";
        4 FC_ESP_HEADER "RFC 4595";
        5 FC_CT_AUTHENTICATION "RFC 4595";
        6 GIKE_UPDATE "RFC 9838";
    }
}

registry! {
    /// Identification Payload ID Types.
    IdType(u8) "ID" {
        1 ID_IPV4_ADDR "RFC 7296";
        2 ID_FQDN "RFC 7296";
        3 ID_RFC822_ADDR "RFC 7296";
        5 ID_IPV6_ADDR "RFC 7296";
        9 ID_DER_ASN1_DN "RFC 7296";
        10 ID_DER_ASN1_GN "RFC 7296";
        11 ID_KEY_ID "RFC 7296";
        12 ID_FC_NAME "RFC 4595";
        13 ID_NULL "RFC 7619";
    }
}

registry! {
    /// Certificate Encodings.
    CertEncoding(u8) "CERT" {
        1 PKCS7_X509 ("PKCS #7 wrapped X.509 certificate") "RFC 7296";
        2 PGP ("PGP Certificate") "RFC 7296";
        3 DNS_SIGNED_KEY ("DNS Signed Key") "RFC 7296";
        4 X509_SIGNATURE ("X.509 Certificate - Signature") "RFC 7296";
        6 KERBEROS_TOKENS ("Kerberos Tokens") "RFC 7296";
        7 CRL ("Certificate Revocation List (CRL)") "RFC 7296";
        8 ARL ("Authority Revocation List (ARL)") "RFC 7296";
        9 SPKI ("SPKI Certificate") "RFC 7296";
        10 X509_ATTRIBUTE ("X.509 Certificate - Attribute") "RFC 7296";
        11 RAW_RSA_KEY ("Raw RSA Key") "RFC 7296, deprecated by RFC 7670";
        12 HASH_URL_X509 ("Hash and URL of X.509 certificate") "RFC 7296";
        13 HASH_URL_BUNDLE ("Hash and URL of X.509 bundle") "RFC 7296";
        14 OCSP_CONTENT ("OCSP Content") "RFC 4806";
        15 RAW_PUBLIC_KEY ("Raw Public Key") "RFC 7670";
        201 OPENIKED_KEY ("OpenIKED's ECDSA key") "private use";
    }
}

registry! {
    /// IKEv2 Authentication Method.
    AuthMethod(u8) "AUTH_METHOD" {
        1 RSA_SIGNATURE ("RSA Digital Signature") "RFC 7296";
        2 SHARED_KEY_MIC ("Shared Key Message Integrity Code") "RFC 7296";
        3 DSS_SIGNATURE ("DSS Digital Signature") "RFC 7296";
        9 ECDSA_SHA256_P256 ("ECDSA with SHA-256 on the P-256 curve") "RFC 4754";
        10 ECDSA_SHA384_P384 ("ECDSA with SHA-384 on the P-384 curve") "RFC 4754";
        11 ECDSA_SHA512_P521 ("ECDSA with SHA-512 on the P-521 curve") "RFC 4754";
        12 GSPM ("Generic Secure Password Authentication Method") "RFC 6467";
        13 NULL ("NULL Authentication") "RFC 7619";
        14 DIGITAL_SIGNATURE ("Digital Signature") "RFC 7427";
    }
}

registry! {
    /// Notify Message Types: errors below 16384, status types from there on.
    NotifyType(u16) "NOTIFY" {
        1 UNSUPPORTED_CRITICAL_PAYLOAD "RFC 7296";
        4 INVALID_IKE_SPI "RFC 7296";
        5 INVALID_MAJOR_VERSION "RFC 7296";
        7 INVALID_SYNTAX "RFC 7296";
        9 INVALID_MESSAGE_ID "RFC 7296";
        11 INVALID_SPI "RFC 7296";
        14 NO_PROPOSAL_CHOSEN "RFC 7296";
        17 INVALID_KE_PAYLOAD "RFC 7296";
        24 AUTHENTICATION_FAILED "RFC 7296";
        34 SINGLE_PAIR_REQUIRED "RFC 7296";
        35 NO_ADDITIONAL_SAS "RFC 7296";
        36 INTERNAL_ADDRESS_FAILURE "RFC 7296";
        37 FAILED_CP_REQUIRED "RFC 7296";
        38 TS_UNACCEPTABLE "RFC 7296";
        39 INVALID_SELECTORS "RFC 7296";
        40 UNACCEPTABLE_ADDRESSES "RFC 4555";
        41 UNEXPECTED_NAT_DETECTED "RFC 4555";
        42 USE_ASSIGNED_HOA ("USE_ASSIGNED_HoA") "RFC 5026";
        43 TEMPORARY_FAILURE "RFC 7296";
        44 CHILD_SA_NOT_FOUND "RFC 7296";
        45 INVALID_GROUP_ID "RFC 9838";
        46 AUTHORIZATION_FAILED "RFC 9838";
        47 STATE_NOT_FOUND "RFC 9370";
        48 TS_MAX_QUEUE "RFC 9611";
        49 REGISTRATION_FAILED "RFC 9838";
        16384 INITIAL_CONTACT "RFC 7296";
        16385 SET_WINDOW_SIZE "RFC 7296";
        16386 ADDITIONAL_TS_POSSIBLE "RFC 7296";
        16387 IPCOMP_SUPPORTED "RFC 7296";
        16388 NAT_DETECTION_SOURCE_IP "RFC 7296";
        16389 NAT_DETECTION_DESTINATION_IP "RFC 7296";
        16390 COOKIE "RFC 7296";
        16391 USE_TRANSPORT_MODE "RFC 7296";
        16392 HTTP_CERT_LOOKUP_SUPPORTED "RFC 7296";
        16393 REKEY_SA "RFC 7296";
        16394 ESP_TFC_PADDING_NOT_SUPPORTED "RFC 7296";
        16395 NON_FIRST_FRAGMENTS_ALSO "RFC 7296";
        16396 MOBIKE_SUPPORTED "RFC 4555";
        16397 ADDITIONAL_IP4_ADDRESS "RFC 4555";
        16398 ADDITIONAL_IP6_ADDRESS "RFC 4555";
        16399 NO_ADDITIONAL_ADDRESSES "RFC 4555";
        16400 UPDATE_SA_ADDRESSES "RFC 4555";
        16401 COOKIE2 "RFC 4555";
        16402 NO_NATS_ALLOWED "RFC 4555";
        16403 AUTH_LIFETIME "RFC 4478";
        16404 MULTIPLE_AUTH_SUPPORTED "RFC 4739";
        16405 ANOTHER_AUTH_FOLLOWS "RFC 4739";
        16406 REDIRECT_SUPPORTED "RFC 5685";
        16407 REDIRECT "RFC 5685";
        16408 REDIRECTED_FROM "RFC 5685";
        16409 TICKET_LT_OPAQUE "RFC 5723";
        16410 TICKET_REQUEST "RFC 5723";
        16411 TICKET_ACK "RFC 5723";
        16412 TICKET_NACK "RFC 5723";
        16413 TICKET_OPAQUE "RFC 5723";
        16414 LINK_ID "RFC 5739";
        16415 USE_WESP_MODE "RFC 5840";
        16416 ROHC_SUPPORTED "RFC 5857";
        16417 EAP_ONLY_AUTHENTICATION "RFC 5998";
        16418 CHILDLESS_IKEV2_SUPPORTED "RFC 6023";
        16419 QUICK_CRASH_DETECTION "RFC 6290";
        16420 IKEV2_MESSAGE_ID_SYNC_SUPPORTED "RFC 6311";
        16421 IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED "RFC 6311";
        16422 IKEV2_MESSAGE_ID_SYNC "RFC 6311";
        16423 IPSEC_REPLAY_COUNTER_SYNC "RFC 6311";
        16424 SECURE_PASSWORD_METHODS "RFC 6467";
        16425 PSK_PERSIST "RFC 6631";
        16426 PSK_CONFIRM "RFC 6631";
        16427 ERX_SUPPORTED "RFC 6867";
        16428 IFOM_CAPABILITY "3GPP TS 24.303";
        16429 GROUP_SENDER "RFC 9838";
        16430 IKEV2_FRAGMENTATION_SUPPORTED "RFC 7383";
        16431 SIGNATURE_HASH_ALGORITHMS "RFC 7427";
        16432 CLONE_IKE_SA_SUPPORTED "RFC 7791";
        16433 CLONE_IKE_SA "RFC 7791";
        16434 PUZZLE "RFC 8019";
        16435 USE_PPK "RFC 8784";
        16436 PPK_IDENTITY "RFC 8784";
        16437 NO_PPK_AUTH "RFC 8784";
        16438 INTERMEDIATE_EXCHANGE_SUPPORTED "RFC 9242";
        16439 IP4_ALLOWED "RFC 8983";
        16440 IP6_ALLOWED "RFC 8983";
        16441 ADDITIONAL_KEY_EXCHANGE "RFC 9370";
        16442 USE_AGGFRAG "RFC 9347";
        16443 SUPPORTED_AUTH_METHODS "RFC 9593";
        16444 SA_RESOURCE_INFO "RFC 9611";
        16445 USE_PPK_INT "RFC 9867";
        16446 PPK_IDENTITY_KEY "RFC 9867";
        16447 IKE_SA_INIT_FULL_TRANSCRIPT_AUTH "draft-ietf-ipsecme-ikev2-downgrade-prevention";
    }
}

registry! {
    /// IKEv2 Notification IPCOMP Transform IDs.
    IpcompId(u8) "IPCOMP" {
        1 IPCOMP_OUI "RFC 7296";
        2 IPCOMP_DEFLATE "RFC 2394";
        3 IPCOMP_LZS "RFC 2395";
        4 IPCOMP_LZJH "RFC 3051";
    }
}

registry! {
    /// Configuration Payload CFG Types.
    CfgType(u8) "CFG" {
        1 CFG_REQUEST "RFC 7296";
        2 CFG_REPLY "RFC 7296";
        3 CFG_SET "RFC 7296";
        4 CFG_ACK "RFC 7296";
    }
}

registry! {
    /// Configuration Payload Attribute Types.
    CfgAttribute(u16) "CFG_ATTRIBUTE" {
        1 INTERNAL_IP4_ADDRESS "RFC 7296";
        2 INTERNAL_IP4_NETMASK "RFC 7296";
        3 INTERNAL_IP4_DNS "RFC 7296";
        4 INTERNAL_IP4_NBNS "RFC 7296";
        6 INTERNAL_IP4_DHCP "RFC 7296";
        7 APPLICATION_VERSION "RFC 7296";
        8 INTERNAL_IP6_ADDRESS "RFC 7296";
        10 INTERNAL_IP6_DNS "RFC 7296";
        11 INTERNAL_IP6_NBNS "RFC 4306";
        12 INTERNAL_IP6_DHCP "RFC 7296";
        13 INTERNAL_IP4_SUBNET "RFC 7296";
        14 SUPPORTED_ATTRIBUTES "RFC 7296";
        15 INTERNAL_IP6_SUBNET "RFC 7296";
        16 MIP6_HOME_PREFIX "RFC 5026";
        17 INTERNAL_IP6_LINK "RFC 5739";
        18 INTERNAL_IP6_PREFIX "RFC 5739";
        19 HOME_AGENT_ADDRESS "3GPP TS 24.302";
        20 P_CSCF_IP4_ADDRESS "RFC 7651";
        21 P_CSCF_IP6_ADDRESS "RFC 7651";
        22 FTT_KAT "3GPP TS 24.302";
        23 EXTERNAL_SOURCE_IP4_NAT_INFO "3GPP TS 29.139";
        24 TIMEOUT_PERIOD_FOR_LIVENESS_CHECK "3GPP TS 24.302";
        25 INTERNAL_DNS_DOMAIN "RFC 8598";
        26 INTERNAL_DNSSEC_TA "RFC 8598";
        27 ENCDNS_IP4 "RFC 9464";
        28 ENCDNS_IP6 "RFC 9464";
        29 ENCDNS_DIGEST_INFO "RFC 9464";
        23456 INTERNAL_IP4_SERVER "MS-IKEE";
        23457 INTERNAL_IP6_SERVER "MS-IKEE";
    }
}

registry! {
    /// Traffic Selector Types.
    TsType(u8) "TS" {
        7 TS_IPV4_ADDR_RANGE "RFC 7296";
        8 TS_IPV6_ADDR_RANGE "RFC 7296";
        9 TS_FC_ADDR_RANGE "RFC 4595";
        10 TS_SECLABEL "RFC 9478";
    }
}

registry! {
    /// IKEv2 Hash Algorithms.
    HashId(u16) "HASH" {
        1 SHA1 "RFC 7427";
        2 SHA2_256 ("SHA2-256") "RFC 7427";
        3 SHA2_384 ("SHA2-384") "RFC 7427";
        4 SHA2_512 ("SHA2-512") "RFC 7427";
        5 IDENTITY ("Identity") "RFC 8420";
        6 STREEBOG_256 "RFC 9385";
        7 STREEBOG_512 "RFC 9385";
    }
}

registry! {
    /// Extensible Authentication Protocol packet codes.
    EapCode(u8) "EAP" {
        1 REQUEST ("Request") "RFC 3748";
        2 RESPONSE ("Response") "RFC 3748";
        3 SUCCESS ("Success") "RFC 3748";
        4 FAILURE ("Failure") "RFC 3748";
        5 INITIATE ("Initiate") "RFC 6696";
        6 FINISH ("Finish") "RFC 6696";
    }
}

impl NotifyType {
    /// The first status type; numbers below are errors (RFC 7296 §3.10.1).
    pub const FIRST_STATUS: NotifyType = NotifyType(16384);

    /// Whether this number reports an error rather than a status.
    pub fn is_error(self) -> bool {
        self < Self::FIRST_STATUS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::iana::Row;

    const TABLES: &[&[Row]] = &[
        ExchangeType::TABLE,
        PayloadType::TABLE,
        TransformType::TABLE,
        TransformAttribute::TABLE,
        EncryptionId::TABLE,
        PrfId::TABLE,
        IntegrityId::TABLE,
        GroupId::TABLE,
        EsnId::TABLE,
        ProtocolId::TABLE,
        IdType::TABLE,
        CertEncoding::TABLE,
        AuthMethod::TABLE,
        NotifyType::TABLE,
        IpcompId::TABLE,
        CfgType::TABLE,
        CfgAttribute::TABLE,
        TsType::TABLE,
        HashId::TABLE,
        EapCode::TABLE,
    ];

    #[test]
    fn numbers_rise_and_keywords_are_not_used_twice() {
        for table in TABLES {
            assert!(table.is_sorted_by(|a, b| a.number < b.number), "{:?}", table[0]);
            let mut words: Vec<_> =
                table.iter().flat_map(|row| row.keywords).map(|keyword| keyword.word).collect();
            words.sort_unstable();
            assert!(words.windows(2).all(|pair| pair[0] != pair[1]), "{words:?}");
        }
    }

    #[test]
    fn names_are_ianas_and_unknown_numbers_print() {
        assert_eq!(EncryptionId::ENCR_AES_GCM_16.to_string(), "ENCR_AES_GCM_16");
        assert_eq!(EncryptionId(77).to_string(), "ENCR_77 (unknown)");
        assert_eq!(EncryptionId(77).name(), None);
        assert_eq!(GroupId(31).to_string(), "Curve25519");
        assert_eq!(PayloadType(35).to_string(), "IDi");
        assert_eq!(NotifyType(16388).to_string(), "NAT_DETECTION_SOURCE_IP");
    }

    #[test]
    fn notify_types_below_16384_are_errors() {
        assert!(NotifyType::CHILD_SA_NOT_FOUND.is_error());
        assert!(NotifyType(16383).is_error());
        assert!(!NotifyType::INITIAL_CONTACT.is_error());
    }
}
