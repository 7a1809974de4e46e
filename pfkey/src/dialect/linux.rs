//! Linux, `linux/pfkeyv2.h` and `linux/ipsec.h`.

use super::behaviour::{DCCP, ICMP, ICMPV6, SCTP, TCP, UDP, UDP_LITE};
use crate::alg::{Authentication, Compression, Encryption};
use crate::dialect::{
    AddressStyle, Behaviour, Dialect, DumpBy, EmptyDump, ExtType, FlowStyle, Interface,
    MessageType, Moves, PolicyStyle, ReplayStyle, Row, SockaddrStyle, Tables, UdpEncapsulation,
    index, kame, number, rfc2367, row,
};
use crate::layout;

/// The dialect.
pub(crate) static DIALECT: Dialect = Dialect {
    name: "linux",
    behaviour: BEHAVIOUR,
    tables: TABLES,
    ext_index: index(TABLES.extensions),
    layouts: &[layout::COMMON, layout::KAME, layout::LINUX],
    sockaddr: SockaddrStyle::Linux { inet6: 10 },
    address: AddressStyle::ProtoPrefix,
    flows: FlowStyle::Policies(PolicyStyle { wide: true, forward: true, priority: true }),
    replay: ReplayStyle::Packets { most: 32 },
    copies_claim: 0,
    esn_flag: None,
    inner_by_proxy: true,
    null_key: true,
    unlisted: &[],
};

/// The tables of this dialect.
pub(crate) const TABLES: Tables = Tables {
    messages: &[rfc2367::MESSAGES, kame::MESSAGES, MESSAGES],
    sa_types: &[rfc2367::SA_TYPES, kame::SA_TYPES],
    authentication: &[rfc2367::AUTHENTICATION, kame::AUTHENTICATION, AUTHENTICATION],
    encryption: &[rfc2367::ENCRYPTION, kame::ENCRYPTION, ENCRYPTION],
    compression: &[rfc2367::COMPRESSION, kame::COMPRESSION, COMPRESSION],
    extensions: &[rfc2367::EXTENSIONS, kame::EXTENSIONS, EXTENSIONS],
    constants: &[rfc2367::CONSTANTS, kame::CONSTANTS, CONSTANTS],
};

/// How this kernel behaves.
const BEHAVIOUR: Behaviour = Behaviour {
    larval_seconds: 30,
    spi_range: (0x100, 0x0fff_ffff),
    spi_exact: true,
    registers_again: false,
    reqids: true,
    reqid_max: kame::REQID_MAX,
    lifetimes_in_pairs: false,
    soft_deletes_unused: false,
    hard_expire_told: true,
    update_live: false,
    groups: false,
    interface: Interface::None,
    moves: Moves::Migrate,
    failed_update_destroys: false,
    larval_keeps_reqid: false,
    update_same_pid: false,
    enobufs_may_be_done: false,
    message_max: 65536,
    receive_buffer: 1 << 20,
    replies_broadcast: true,
    errors_echo_request: false,
    dump: DumpBy::Message,
    empty_dump: EmptyDump::Errno(ENOENT),
    dump_wakes_reader: true,
    catches_neighbour_discovery: true,
    ports_of: &[ICMP, TCP, UDP, DCCP, ICMPV6, SCTP, UDP_LITE],
    port_masks: false,
    one_inner_family: true,
    old_sa_preferred: false,
    tells_new_mapping: true,
    flush_takes_flows: false,
    no_such_sa: &[ESRCH],
    no_such_flow: &[ENOENT],
    udp_encapsulation: UdpEncapsulation::ByOption(100),
};

/// Message types.
pub(crate) const MESSAGES: &[Row<MessageType>] = &[
    row("SADB_X_NAT_T_NEW_MAPPING", 23, MessageType::NatTNewMapping),
    row("SADB_X_MIGRATE", 24, MessageType::Migrate),
];

/// Authentication algorithms.
pub(crate) const AUTHENTICATION: &[Row<Authentication>] = &[
    row("SADB_X_AALG_SHA2_256HMAC", 5, Authentication::HmacSha256Cut96),
    row("SADB_X_AALG_SHA2_384HMAC", 6, Authentication::HmacSha384),
    row("SADB_X_AALG_SHA2_512HMAC", 7, Authentication::HmacSha512),
    row("SADB_X_AALG_SM3_256HMAC", 10, Authentication::HmacSm3),
];

/// Encryption algorithms.
pub(crate) const ENCRYPTION: &[Row<Encryption>] = &[
    row("SADB_X_EALG_CASTCBC", 6, Encryption::CastCbc),
    row("SADB_X_EALG_AESCBC", 12, Encryption::AesCbc),
    row("SADB_X_EALG_AES_CCM_ICV8", 14, Encryption::AesCcm8),
    row("SADB_X_EALG_AES_CCM_ICV12", 15, Encryption::AesCcm12),
    row("SADB_X_EALG_AES_CCM_ICV16", 16, Encryption::AesCcm16),
    row("SADB_X_EALG_AES_GCM_ICV8", 18, Encryption::AesGcm8),
    row("SADB_X_EALG_AES_GCM_ICV12", 19, Encryption::AesGcm12),
    row("SADB_X_EALG_AES_GCM_ICV16", 20, Encryption::AesGcm16),
    row("SADB_X_EALG_NULL_AES_GMAC", 23, Encryption::AesGmac),
    row("SADB_X_EALG_SM4CBC", 24, Encryption::Sm4Cbc),
    row("SADB_X_EALG_SERPENTCBC", 252, Encryption::SerpentCbc),
    row("SADB_X_EALG_TWOFISHCBC", 253, Encryption::TwofishCbc),
];

/// Compression algorithms.
pub(crate) const COMPRESSION: &[Row<Compression>] =
    &[row("SADB_X_CALG_LZJH", 4, Compression::Lzjh)];

/// Extensions.
pub(crate) const EXTENSIONS: &[Row<ExtType>] = &[
    row("SADB_X_EXT_SEC_CTX", 24, ExtType::SecCtx),
    row("SADB_X_EXT_KMADDRESS", 25, ExtType::KmAddress),
    row("SADB_X_EXT_FILTER", 26, ExtType::Filter),
];

/// Numbers of other kinds: flags, states, modes, limits.
pub(crate) const CONSTANTS: &[Row<()>] = &[
    row("SADB_MAX", 24, ()),
    row("SADB_SAFLAGS_NOPMTUDISC", 536870912, ()),
    row("SADB_SAFLAGS_DECAP_DSCP", 1073741824, ()),
    row("SADB_SAFLAGS_NOECN", 2147483648, ()),
    row("SADB_SATYPE_MAX", 9, ()),
    row("SADB_AALG_MAX", 251, ()),
    row("SADB_EALG_MAX", 253, ()),
    row("SADB_EXT_MAX", 26, ()),
    row("SADB_IDENTTYPE_MAX", 3, ()),
    row("IPSEC_MODE_BEET", 3, ()),
    row("IPSEC_MODE_IPTFS", 4, ()),
    row("IPSEC_DIR_FWD", 3, ()),
    row("IPSEC_DIR_MAX", 4, ()),
    row("IPSEC_DIR_INVALID", 5, ()),
    row("AF_KEY", 15, ()),
    row("PF_KEY", 15, ()),
    row("IP_IPSEC_POLICY", 16, ()),
    row("IPV6_IPSEC_POLICY", 34, ()),
];

/// Socket option.
pub(crate) const IP_IPSEC_POLICY: u32 = number(CONSTANTS, "IP_IPSEC_POLICY");
/// Socket option.
pub(crate) const IPV6_IPSEC_POLICY: u32 = number(CONSTANTS, "IPV6_IPSEC_POLICY");
/// Forwarded packets.
pub(crate) const DIR_FORWARD: u32 = number(CONSTANTS, "IPSEC_DIR_FWD");
/// errno of this system.
const ENOENT: u8 = 2;
/// errno of this system.
const ESRCH: u8 = 3;
