//! The numbers of the KAME family: FreeBSD, NetBSD and Linux; then (`BSD_`) those of the BSDs alone.

use crate::alg::{Authentication, Compression, Encryption, Protocol};
use crate::dialect::{ExtType, MessageType, Row, number, row};

/// Message types.
pub(crate) const MESSAGES: &[Row<MessageType>] = &[
    row("SADB_X_PCHANGE", 12, MessageType::PChange),
    row("SADB_X_SPDUPDATE", 13, MessageType::SpdUpdate),
    row("SADB_X_SPDADD", 14, MessageType::SpdAdd),
    row("SADB_X_SPDDELETE", 15, MessageType::SpdDelete),
    row("SADB_X_SPDGET", 16, MessageType::SpdGet),
    row("SADB_X_SPDACQUIRE", 17, MessageType::SpdAcquire),
    row("SADB_X_SPDDUMP", 18, MessageType::SpdDump),
    row("SADB_X_SPDFLUSH", 19, MessageType::SpdFlush),
    row("SADB_X_SPDSETIDX", 20, MessageType::SpdSetIdx),
    row("SADB_X_SPDEXPIRE", 21, MessageType::SpdExpire),
    row("SADB_X_SPDDELETE2", 22, MessageType::SpdDelete2),
];

/// SA types.
pub(crate) const SA_TYPES: &[Row<Protocol>] =
    &[row("SADB_SATYPE_AH", 2, Protocol::Ah), row("SADB_SATYPE_ESP", 3, Protocol::Esp)];

/// Authentication algorithms.
pub(crate) const AUTHENTICATION: &[Row<Authentication>] = &[
    row("SADB_X_AALG_AES_XCBC_MAC", 9, Authentication::AesXcbc),
    row("SADB_X_AALG_NULL", 251, Authentication::Null),
];

/// Encryption algorithms.
pub(crate) const ENCRYPTION: &[Row<Encryption>] = &[
    row("SADB_EALG_DESCBC", 2, Encryption::DesCbc),
    row("SADB_X_EALG_BLOWFISHCBC", 7, Encryption::BlowfishCbc),
    row("SADB_X_EALG_CAMELLIACBC", 22, Encryption::CamelliaCbc),
];

/// Compression algorithms.
pub(crate) const COMPRESSION: &[Row<Compression>] = &[row("SADB_X_CALG_LZS", 3, Compression::Lzs)];

/// Extensions.
pub(crate) const EXTENSIONS: &[Row<ExtType>] = &[
    row("SADB_X_EXT_KMPRIVATE", 17, ExtType::KmPrivate),
    row("SADB_X_EXT_POLICY", 18, ExtType::Policy),
    row("SADB_X_EXT_SA2", 19, ExtType::Sa2),
    row("SADB_X_EXT_NAT_T_TYPE", 20, ExtType::NatTType),
    row("SADB_X_EXT_NAT_T_SPORT", 21, ExtType::NatTSport),
    row("SADB_X_EXT_NAT_T_DPORT", 22, ExtType::NatTDport),
    row("SADB_X_EXT_NAT_T_OA", 23, ExtType::NatTOa),
];

/// Numbers of other kinds: flags, states, modes, limits.
pub(crate) const CONSTANTS: &[Row<()>] = &[
    row("SADB_SATYPE_RSVP", 5, ()),
    row("SADB_SATYPE_OSPFV2", 6, ()),
    row("SADB_SATYPE_RIPV2", 7, ()),
    row("SADB_SATYPE_MIP", 8, ()),
    row("SADB_X_CALG_MAX", 4, ()),
    row("IPSEC_PORT_ANY", 0, ()),
    row("IPSEC_ULPROTO_ANY", 255, ()),
    row("IPSEC_PROTO_ANY", 255, ()),
    row("IPSEC_MODE_ANY", 0, ()),
    row("IPSEC_MODE_TRANSPORT", 1, ()),
    row("IPSEC_MODE_TUNNEL", 2, ()),
    row("IPSEC_DIR_ANY", 0, ()),
    row("IPSEC_DIR_INBOUND", 1, ()),
    row("IPSEC_DIR_OUTBOUND", 2, ()),
    row("IPSEC_POLICY_DISCARD", 0, ()),
    row("IPSEC_POLICY_NONE", 1, ()),
    row("IPSEC_POLICY_IPSEC", 2, ()),
    row("IPSEC_POLICY_ENTRUST", 3, ()),
    row("IPSEC_POLICY_BYPASS", 4, ()),
    row("IPSEC_LEVEL_DEFAULT", 0, ()),
    row("IPSEC_LEVEL_USE", 1, ()),
    row("IPSEC_LEVEL_REQUIRE", 2, ()),
    row("IPSEC_LEVEL_UNIQUE", 3, ()),
    row("IPSEC_MANUAL_REQID_MAX", 16383, ()),
    row("IPSEC_REPLAYWSIZE", 32, ()),
];

/// SA types.
pub(crate) const BSD_SA_TYPES: &[Row<Protocol>] =
    &[row("SADB_X_SATYPE_TCPSIGNATURE", 11, Protocol::TcpSignature)];

/// Authentication algorithms.
pub(crate) const BSD_AUTHENTICATION: &[Row<Authentication>] = &[
    row("SADB_X_AALG_SHA2_256", 5, Authentication::HmacSha256),
    row("SADB_X_AALG_SHA2_384", 6, Authentication::HmacSha384),
    row("SADB_X_AALG_SHA2_512", 7, Authentication::HmacSha512),
    row("SADB_X_AALG_AES128GMAC", 11, Authentication::AesGmac128),
    row("SADB_X_AALG_AES192GMAC", 12, Authentication::AesGmac192),
    row("SADB_X_AALG_AES256GMAC", 13, Authentication::AesGmac256),
    row("SADB_X_AALG_MD5", 249, Authentication::KeyedMd5),
    row("SADB_X_AALG_SHA", 250, Authentication::KeyedSha1),
    row("SADB_X_AALG_TCP_MD5", 252, Authentication::TcpMd5),
];

/// Encryption algorithms.
pub(crate) const BSD_ENCRYPTION: &[Row<Encryption>] = &[
    row("SADB_X_EALG_CAST128CBC", 6, Encryption::CastCbc),
    row("SADB_X_EALG_RIJNDAELCBC", 12, Encryption::AesCbc),
    row("SADB_X_EALG_AES", 12, Encryption::AesCbc),
    row("SADB_X_EALG_AESGCM8", 18, Encryption::AesGcm8),
    row("SADB_X_EALG_AESGCM12", 19, Encryption::AesGcm12),
    row("SADB_X_EALG_AESGCM16", 20, Encryption::AesGcm16),
    row("SADB_X_EALG_AESGMAC", 23, Encryption::AesGmac),
];

/// Extensions.
pub(crate) const BSD_EXTENSIONS: &[Row<ExtType>] = &[
    row("SADB_X_EXT_NAT_T_OAI", 23, ExtType::NatTOai),
    row("SADB_X_EXT_NAT_T_OAR", 24, ExtType::NatTOar),
    row("SADB_X_EXT_NAT_T_FRAG", 25, ExtType::NatTFrag),
];

/// Numbers of other kinds: flags, states, modes, limits.
pub(crate) const BSD_CONSTANTS: &[Row<()>] = &[
    row("SADB_SATYPE_MAX", 12, ()),
    row("SADB_X_IDENTTYPE_ADDR", 4, ()),
    row("SADB_IDENTTYPE_MAX", 4, ()),
    row("SADB_X_EXT_NONE", 0, ()),
    row("SADB_X_EXT_OLD", 1, ()),
    row("SADB_X_EXT_IV4B", 16, ()),
    row("SADB_X_EXT_DERIV", 32, ()),
    row("SADB_X_EXT_CYCSEQ", 64, ()),
    row("SADB_X_EXT_PSEQ", 0, ()),
    row("SADB_X_EXT_PRAND", 256, ()),
    row("SADB_X_EXT_PZERO", 512, ()),
    row("SADB_X_EXT_PMASK", 768, ()),
    row("SADB_X_EXT_RAWCPI", 128, ()),
    row("SADB_KEY_FLAGS_MAX", 4095, ()),
    row("PFKEY_SPI_SIZE", 4, ()),
    row("SADB_X_LIFETIME_ALLOCATIONS", 0, ()),
    row("SADB_X_LIFETIME_BYTES", 1, ()),
    row("SADB_X_LIFETIME_ADDTIME", 2, ()),
    row("SADB_X_LIFETIME_USETIME", 3, ()),
    row("IPSEC_MODE_TCPMD5", 3, ()),
    row("IPSEC_DIR_MAX", 3, ()),
    row("IPSEC_DIR_INVALID", 4, ()),
    row("IPV6_IPSEC_POLICY", 28, ()),
    row("IPPROTO_IPCOMP", 108, ()),
    row("IPPROTO_IPV4", 4, ()),
];

/// Transport mode.
pub(crate) const MODE_TRANSPORT: u32 = number(CONSTANTS, "IPSEC_MODE_TRANSPORT");
/// Tunnel mode.
pub(crate) const MODE_TUNNEL: u32 = number(CONSTANTS, "IPSEC_MODE_TUNNEL");
/// Drop.
pub(crate) const POLICY_DISCARD: u32 = number(CONSTANTS, "IPSEC_POLICY_DISCARD");
/// Let pass in clear.
pub(crate) const POLICY_NONE: u32 = number(CONSTANTS, "IPSEC_POLICY_NONE");
/// Protect.
pub(crate) const POLICY_IPSEC: u32 = number(CONSTANTS, "IPSEC_POLICY_IPSEC");
/// Let a socket pass.
pub(crate) const POLICY_BYPASS: u32 = number(CONSTANTS, "IPSEC_POLICY_BYPASS");
/// Protect if there is an SA.
pub(crate) const LEVEL_USE: u32 = number(CONSTANTS, "IPSEC_LEVEL_USE");
/// Drop without SA.
pub(crate) const LEVEL_REQUIRE: u32 = number(CONSTANTS, "IPSEC_LEVEL_REQUIRE");
/// Drop without the SA of this reqid.
pub(crate) const LEVEL_UNIQUE: u32 = number(CONSTANTS, "IPSEC_LEVEL_UNIQUE");
/// Towards us.
pub(crate) const DIR_IN: u32 = number(CONSTANTS, "IPSEC_DIR_INBOUND");
/// From us.
pub(crate) const DIR_OUT: u32 = number(CONSTANTS, "IPSEC_DIR_OUTBOUND");
/// Any upper protocol.
pub(crate) const PROTO_ANY: u32 = number(CONSTANTS, "IPSEC_ULPROTO_ANY");
/// Largest reqid that is ours to choose.
pub(crate) const REQID_MAX: u32 = number(CONSTANTS, "IPSEC_MANUAL_REQID_MAX");
/// ESP in UDP, `UDP_ENCAP_ESPINUDP`: the one type of NAT traversal that kernels take.
pub(crate) const NAT_T_ESP_IN_UDP: u8 = 2;
