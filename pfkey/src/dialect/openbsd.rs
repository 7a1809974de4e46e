//! OpenBSD, `net/pfkeyv2.h` 1.95 (7.4 and later).

use super::behaviour::{TCP, UDP};
use crate::alg::{Authentication, Encryption, KeySizes, Protocol};
use crate::dialect::{
    AddressStyle, Behaviour, Dialect, DumpBy, EmptyDump, ExtType, FlowStyle, Interface,
    MessageType, Moves, ReplayStyle, Row, SockaddrStyle, Tables, UdpEncapsulation, index, number,
    rfc2367, row,
};
use crate::layout;

/// The dialect.
pub(crate) static DIALECT: Dialect = Dialect {
    name: "openbsd",
    behaviour: BEHAVIOUR,
    tables: TABLES,
    ext_index: index(TABLES.extensions),
    layouts: &[layout::COMMON, layout::OPENBSD],
    sockaddr: SockaddrStyle::Bsd { inet6: 24 },
    address: AddressStyle::Reserved,
    flows: FlowStyle::Flows,
    replay: ReplayStyle::Packets { most: 64 },
    copies_claim: 0,
    esn_flag: Some(FLAG_ESN),
    inner_by_proxy: false,
    null_key: false,
    unlisted: &[
        KeySizes { algorithm: Encryption::AesGcm16, min: 20, max: 36 },
        KeySizes { algorithm: Encryption::AesGmac, min: 20, max: 36 },
        KeySizes { algorithm: Encryption::ChaCha20Poly1305, min: 36, max: 36 },
    ],
};

/// The tables of this dialect.
pub(crate) const TABLES: Tables = Tables {
    messages: &[rfc2367::MESSAGES, MESSAGES],
    sa_types: &[rfc2367::SA_TYPES, SA_TYPES],
    authentication: &[rfc2367::AUTHENTICATION, AUTHENTICATION],
    encryption: &[rfc2367::ENCRYPTION, ENCRYPTION],
    compression: &[rfc2367::COMPRESSION],
    extensions: &[rfc2367::EXTENSIONS, EXTENSIONS],
    constants: &[rfc2367::CONSTANTS, CONSTANTS],
};

/// How this kernel behaves.
const BEHAVIOUR: Behaviour = Behaviour {
    larval_seconds: 60,
    spi_range: (0x100, 0xffff_ffff),
    spi_exact: true,
    registers_again: true,
    reqids: false,
    reqid_max: u32::MAX,
    lifetimes_in_pairs: false,
    soft_deletes_unused: false,
    hard_expire_told: true,
    update_live: true,
    groups: true,
    interface: Interface::Unit { name: "sec" },
    moves: Moves::Update { encap: false },
    failed_update_destroys: false,
    larval_keeps_reqid: false,
    update_same_pid: false,
    enobufs_may_be_done: false,
    message_max: 4096,
    receive_buffer: 256 * 1024,
    replies_broadcast: true,
    errors_echo_request: false,
    dump: DumpBy::Sysctl,
    empty_dump: EmptyDump::Silence,
    dump_wakes_reader: true,
    catches_neighbour_discovery: false,
    ports_of: &[TCP, UDP],
    port_masks: true,
    one_inner_family: false,
    old_sa_preferred: false,
    tells_new_mapping: false,
    flush_takes_flows: true,
    no_such_sa: &[ESRCH],
    no_such_flow: &[ESRCH],
    udp_encapsulation: UdpEncapsulation::ByPort,
};

/// Message types.
pub(crate) const MESSAGES: &[Row<MessageType>] = &[
    row("SADB_X_ADDFLOW", 12, MessageType::AddFlow),
    row("SADB_X_DELFLOW", 13, MessageType::DelFlow),
    row("SADB_X_GRPSPIS", 14, MessageType::GrpSpis),
    row("SADB_X_ASKPOLICY", 15, MessageType::AskPolicy),
    row("SADB_X_SPDDUMP", 16, MessageType::SpdDump),
];

/// SA types.
pub(crate) const SA_TYPES: &[Row<Protocol>] = &[
    row("SADB_SATYPE_AH", 1, Protocol::Ah),
    row("SADB_SATYPE_ESP", 2, Protocol::Esp),
    row("SADB_X_SATYPE_IPIP", 7, Protocol::IpIp),
    row("SADB_X_SATYPE_TCPSIGNATURE", 8, Protocol::TcpSignature),
];

/// Authentication algorithms.
pub(crate) const AUTHENTICATION: &[Row<Authentication>] = &[
    row("SADB_X_AALG_SHA2_256", 5, Authentication::HmacSha256),
    row("SADB_X_AALG_SHA2_384", 6, Authentication::HmacSha384),
    row("SADB_X_AALG_SHA2_512", 7, Authentication::HmacSha512),
    row("SADB_X_AALG_AES128GMAC", 9, Authentication::AesGmac128),
    row("SADB_X_AALG_AES192GMAC", 10, Authentication::AesGmac192),
    row("SADB_X_AALG_AES256GMAC", 11, Authentication::AesGmac256),
    row("SADB_X_AALG_CHACHA20POLY1305", 12, Authentication::ChaCha20Poly1305),
];

/// Encryption algorithms.
pub(crate) const ENCRYPTION: &[Row<Encryption>] = &[
    row("SADB_X_EALG_CAST", 6, Encryption::CastCbc),
    row("SADB_X_EALG_BLF", 7, Encryption::BlowfishCbc),
    row("SADB_X_EALG_AES", 12, Encryption::AesCbc),
    row("SADB_X_EALG_AESGCM8", 18, Encryption::AesGcm8),
    row("SADB_X_EALG_AESGCM12", 19, Encryption::AesGcm12),
    row("SADB_X_EALG_AESGCM16", 20, Encryption::AesGcm16),
    row("SADB_X_EALG_AESGMAC", 21, Encryption::AesGmac),
    row("SADB_X_EALG_CHACHA20POLY1305", 22, Encryption::ChaCha20Poly1305),
];

/// Extensions.
pub(crate) const EXTENSIONS: &[Row<ExtType>] = &[
    row("SADB_X_EXT_SRC_MASK", 17, ExtType::SrcMask),
    row("SADB_X_EXT_DST_MASK", 18, ExtType::DstMask),
    row("SADB_X_EXT_PROTOCOL", 19, ExtType::Protocol),
    row("SADB_X_EXT_FLOW_TYPE", 20, ExtType::FlowType),
    row("SADB_X_EXT_SRC_FLOW", 21, ExtType::SrcFlow),
    row("SADB_X_EXT_DST_FLOW", 22, ExtType::DstFlow),
    row("SADB_X_EXT_SA2", 23, ExtType::Sa2OpenBsd),
    row("SADB_X_EXT_DST2", 24, ExtType::Dst2),
    row("SADB_X_EXT_POLICY", 25, ExtType::PolicyOpenBsd),
    row("SADB_X_EXT_LOCAL_CREDENTIALS", 26, ExtType::LocalCredentials),
    row("SADB_X_EXT_REMOTE_CREDENTIALS", 27, ExtType::RemoteCredentials),
    row("SADB_X_EXT_LOCAL_AUTH", 28, ExtType::LocalAuth),
    row("SADB_X_EXT_REMOTE_AUTH", 29, ExtType::RemoteAuth),
    row("SADB_X_EXT_SUPPORTED_COMP", 30, ExtType::SupportedComp),
    row("SADB_X_EXT_UDPENCAP", 31, ExtType::UdpEncap),
    row("SADB_X_EXT_LIFETIME_LASTUSE", 32, ExtType::LifetimeLastUse),
    row("SADB_X_EXT_TAG", 33, ExtType::Tag),
    row("SADB_X_EXT_TAP", 34, ExtType::Tap),
    row("SADB_X_EXT_SATYPE2", 35, ExtType::SaType2),
    row("SADB_X_EXT_COUNTER", 36, ExtType::Counter),
    row("SADB_X_EXT_RDOMAIN", 37, ExtType::Rdomain),
    row("SADB_X_EXT_MTU", 38, ExtType::Mtu),
    row("SADB_X_EXT_REPLAY", 39, ExtType::Replay),
    row("SADB_X_EXT_IFACE", 40, ExtType::Iface),
];

/// Numbers of other kinds: flags, states, modes, limits.
pub(crate) const CONSTANTS: &[Row<()>] = &[
    row("_OPENBSD_IPSEC_API_VERSION", 2, ()),
    row("SADB_MAX", 16, ()),
    row("SADB_EXT_MAX", 40, ()),
    row("SADB_SATYPE_RSVP", 3, ()),
    row("SADB_SATYPE_OSPFV2", 4, ()),
    row("SADB_SATYPE_RIPV2", 5, ()),
    row("SADB_SATYPE_MIP", 6, ()),
    row("SADB_SATYPE_MAX", 9, ()),
    row("SADB_AALG_MAX", 12, ()),
    row("SADB_EALG_MAX", 22, ()),
    row("SADB_X_CALG_MAX", 2, ()),
    row("SADB_X_SAFLAGS_TUNNEL", 4, ()),
    row("SADB_X_SAFLAGS_CHAINDEL", 8, ()),
    row("SADB_X_SAFLAGS_UDPENCAP", 512, ()),
    row("SADB_X_SAFLAGS_ESN", 1024, ()),
    row("SADB_X_POLICYFLAGS_POLICY", 1, ()),
    row("SADB_IDENTTYPE_ASN1_DN", 4, ()),
    row("SADB_IDENTTYPE_MAX", 4, ()),
    row("SADB_KEY_FLAGS_MAX", 0, ()),
    row("SADB_X_FLOW_TYPE_USE", 1, ()),
    row("SADB_X_FLOW_TYPE_ACQUIRE", 2, ()),
    row("SADB_X_FLOW_TYPE_REQUIRE", 3, ()),
    row("SADB_X_FLOW_TYPE_BYPASS", 4, ()),
    row("SADB_X_FLOW_TYPE_DENY", 5, ()),
    row("SADB_X_FLOW_TYPE_DONTACQ", 6, ()),
    row("AF_KEY", 30, ()),
    row("PF_KEY", 30, ()),
    row("IPSEC_LEVEL_BYPASS", 0, ()),
    row("IPSEC_LEVEL_DEFAULT", 1, ()),
    row("IPSEC_LEVEL_USE", 2, ()),
    row("IPSEC_LEVEL_REQUIRE", 3, ()),
    row("IPSEC_LEVEL_UNIQUE", 4, ()),
    row("IP_AUTH_LEVEL", 20, ()),
    row("IP_ESP_TRANS_LEVEL", 21, ()),
    row("IP_ESP_NETWORK_LEVEL", 22, ()),
    row("IP_IPCOMP_LEVEL", 29, ()),
    row("IPV6_AUTH_LEVEL", 53, ()),
    row("IPV6_ESP_TRANS_LEVEL", 54, ()),
    row("IPV6_ESP_NETWORK_LEVEL", 55, ()),
    row("IPV6_IPCOMP_LEVEL", 60, ()),
    row("IPPROTO_IPCOMP", 108, ()),
    row("IPPROTO_IPV4", 4, ()),
];

/// Tunnel mode.
pub(crate) const FLAG_TUNNEL: u32 = number(CONSTANTS, "SADB_X_SAFLAGS_TUNNEL");
/// ESP in UDP.
pub(crate) const FLAG_UDPENCAP: u32 = number(CONSTANTS, "SADB_X_SAFLAGS_UDPENCAP");
/// Extended sequence numbers.
pub(crate) const FLAG_ESN: u32 = number(CONSTANTS, "SADB_X_SAFLAGS_ESN");
/// Flow: protect if there is an SA.
pub(crate) const FLOW_USE: u32 = number(CONSTANTS, "SADB_X_FLOW_TYPE_USE");
/// Flow: pass in clear and ask.
pub(crate) const FLOW_ACQUIRE: u32 = number(CONSTANTS, "SADB_X_FLOW_TYPE_ACQUIRE");
/// Flow: drop and ask.
pub(crate) const FLOW_REQUIRE: u32 = number(CONSTANTS, "SADB_X_FLOW_TYPE_REQUIRE");
/// Flow: never protect.
pub(crate) const FLOW_BYPASS: u32 = number(CONSTANTS, "SADB_X_FLOW_TYPE_BYPASS");
/// Flow: drop.
pub(crate) const FLOW_DENY: u32 = number(CONSTANTS, "SADB_X_FLOW_TYPE_DENY");
/// Flow: drop and do not ask.
pub(crate) const FLOW_DONTACQ: u32 = number(CONSTANTS, "SADB_X_FLOW_TYPE_DONTACQ");
/// Socket level: bypass.
pub(crate) const LEVEL_BYPASS: u32 = number(CONSTANTS, "IPSEC_LEVEL_BYPASS");
/// Socket options of AH, ESP transport, ESP network and IPComp for IPv4.
pub(crate) const IP_LEVELS: [u32; 4] = [
    number(CONSTANTS, "IP_AUTH_LEVEL"),
    number(CONSTANTS, "IP_ESP_TRANS_LEVEL"),
    number(CONSTANTS, "IP_ESP_NETWORK_LEVEL"),
    number(CONSTANTS, "IP_IPCOMP_LEVEL"),
];
/// The same for IPv6.
pub(crate) const IPV6_LEVELS: [u32; 4] = [
    number(CONSTANTS, "IPV6_AUTH_LEVEL"),
    number(CONSTANTS, "IPV6_ESP_TRANS_LEVEL"),
    number(CONSTANTS, "IPV6_ESP_NETWORK_LEVEL"),
    number(CONSTANTS, "IPV6_IPCOMP_LEVEL"),
];
/// Directions of flows, IPSP_DIRECTION_IN and IPSP_DIRECTION_OUT of `netinet/ip_ipsp.h`.
pub(crate) const DIRECTION_IN: u8 = 1;
/// See [`DIRECTION_IN`].
pub(crate) const DIRECTION_OUT: u8 = 2;
/// An identity that is a distinguished name.
pub(crate) const IDENTITY_ASN1_DN: u32 = number(CONSTANTS, "SADB_IDENTTYPE_ASN1_DN");
/// errno of this system.
const ESRCH: u8 = 3;
/// sysctl(2) net.key: all SAs, NET_KEY_SADB_DUMP of `net/pfkeyv2.h`.
pub(crate) const SYSCTL_SADB_DUMP: i32 = 1;
/// sysctl(2) net.key: all flows, NET_KEY_SPD_DUMP.
pub(crate) const SYSCTL_SPD_DUMP: i32 = 2;
