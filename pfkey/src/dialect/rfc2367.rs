//! The numbers on which all dialects agree: RFC 2367 and what everybody added alike.

use crate::alg::{Authentication, Compression, Encryption, Protocol};
use crate::dialect::{ExtType, MessageType, Row, row};

/// Message types.
pub(crate) const MESSAGES: &[Row<MessageType>] = &[
    row("SADB_GETSPI", 1, MessageType::GetSpi),
    row("SADB_UPDATE", 2, MessageType::Update),
    row("SADB_ADD", 3, MessageType::Add),
    row("SADB_DELETE", 4, MessageType::Delete),
    row("SADB_GET", 5, MessageType::Get),
    row("SADB_ACQUIRE", 6, MessageType::Acquire),
    row("SADB_REGISTER", 7, MessageType::Register),
    row("SADB_EXPIRE", 8, MessageType::Expire),
    row("SADB_FLUSH", 9, MessageType::Flush),
    row("SADB_DUMP", 10, MessageType::Dump),
    row("SADB_X_PROMISC", 11, MessageType::Promisc),
];

/// SA types.
pub(crate) const SA_TYPES: &[Row<Protocol>] = &[row("SADB_X_SATYPE_IPCOMP", 9, Protocol::IpComp)];

/// Authentication algorithms.
pub(crate) const AUTHENTICATION: &[Row<Authentication>] = &[
    row("SADB_AALG_MD5HMAC", 2, Authentication::HmacMd5),
    row("SADB_AALG_SHA1HMAC", 3, Authentication::HmacSha1),
    row("SADB_X_AALG_RIPEMD160HMAC", 8, Authentication::HmacRipemd160),
];

/// Encryption algorithms.
pub(crate) const ENCRYPTION: &[Row<Encryption>] = &[
    row("SADB_EALG_3DESCBC", 3, Encryption::TripleDesCbc),
    row("SADB_EALG_NULL", 11, Encryption::Null),
    row("SADB_X_EALG_AESCTR", 13, Encryption::AesCtr),
];

/// Compression algorithms.
pub(crate) const COMPRESSION: &[Row<Compression>] = &[
    row("SADB_X_CALG_OUI", 1, Compression::Oui),
    row("SADB_X_CALG_DEFLATE", 2, Compression::Deflate),
];

/// Extensions.
pub(crate) const EXTENSIONS: &[Row<ExtType>] = &[
    row("SADB_EXT_SA", 1, ExtType::Sa),
    row("SADB_EXT_LIFETIME_CURRENT", 2, ExtType::LifetimeCurrent),
    row("SADB_EXT_LIFETIME_HARD", 3, ExtType::LifetimeHard),
    row("SADB_EXT_LIFETIME_SOFT", 4, ExtType::LifetimeSoft),
    row("SADB_EXT_ADDRESS_SRC", 5, ExtType::AddressSrc),
    row("SADB_EXT_ADDRESS_DST", 6, ExtType::AddressDst),
    row("SADB_EXT_ADDRESS_PROXY", 7, ExtType::AddressProxy),
    row("SADB_EXT_KEY_AUTH", 8, ExtType::KeyAuth),
    row("SADB_EXT_KEY_ENCRYPT", 9, ExtType::KeyEncrypt),
    row("SADB_EXT_IDENTITY_SRC", 10, ExtType::IdentitySrc),
    row("SADB_EXT_IDENTITY_DST", 11, ExtType::IdentityDst),
    row("SADB_EXT_SENSITIVITY", 12, ExtType::Sensitivity),
    row("SADB_EXT_PROPOSAL", 13, ExtType::Proposal),
    row("SADB_EXT_SUPPORTED_AUTH", 14, ExtType::SupportedAuth),
    row("SADB_EXT_SUPPORTED_ENCRYPT", 15, ExtType::SupportedEncrypt),
    row("SADB_EXT_SPIRANGE", 16, ExtType::SpiRange),
];

/// Numbers of other kinds: flags, states, modes, limits.
pub(crate) const CONSTANTS: &[Row<()>] = &[
    row("PF_KEY_V2", 2, ()),
    row("PFKEYV2_REVISION", 199806, ()),
    row("SADB_RESERVED", 0, ()),
    row("SADB_EXT_RESERVED", 0, ()),
    row("SADB_SATYPE_UNSPEC", 0, ()),
    row("SADB_SASTATE_LARVAL", 0, ()),
    row("SADB_SASTATE_MATURE", 1, ()),
    row("SADB_SASTATE_DYING", 2, ()),
    row("SADB_SASTATE_DEAD", 3, ()),
    row("SADB_SASTATE_MAX", 3, ()),
    row("SADB_AALG_NONE", 0, ()),
    row("SADB_EALG_NONE", 0, ()),
    row("SADB_X_CALG_NONE", 0, ()),
    row("SADB_SAFLAGS_PFS", 1, ()),
    row("SADB_IDENTTYPE_RESERVED", 0, ()),
    row("SADB_IDENTTYPE_PREFIX", 1, ()),
    row("SADB_IDENTTYPE_FQDN", 2, ()),
    row("SADB_IDENTTYPE_USERFQDN", 3, ()),
    row("IPPROTO_ESP", 50, ()),
    row("IPPROTO_AH", 51, ()),
    row("IPPROTO_IPV6", 41, ()),
];
