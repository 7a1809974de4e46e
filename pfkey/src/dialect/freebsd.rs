//! FreeBSD, `net/pfkeyv2.h` and `netipsec/ipsec.h` of 14 and 15; 12.1 has fewer of the same.

use super::behaviour::{ICMPV6, TCP, UDP};
use crate::alg::{Authentication, Encryption};
use crate::dialect::{
    AddressStyle, Behaviour, Dialect, DumpBy, EmptyDump, ExtType, FlowStyle, Interface, Moves,
    PolicyStyle, ReplayStyle, Row, SockaddrStyle, Tables, UdpEncapsulation, index, kame, number,
    rfc2367, row,
};
use crate::layout;

/// The dialect.
pub(crate) static DIALECT: Dialect = Dialect {
    name: "freebsd",
    behaviour: BEHAVIOUR,
    tables: TABLES,
    ext_index: index(TABLES.extensions),
    layouts: &[layout::COMMON, layout::KAME, layout::FREEBSD],
    sockaddr: SockaddrStyle::Bsd { inet6: 28 },
    address: AddressStyle::ProtoPrefix,
    flows: FlowStyle::Policies(PolicyStyle { wide: false, forward: false, priority: true }),
    replay: ReplayStyle::Octets { extension: true },
    copies_claim: 0,
    esn_flag: Some(FLAG_ESN),
    inner_by_proxy: false,
    null_key: true,
    unlisted: &[],
};

/// The tables of this dialect.
pub(crate) const TABLES: Tables = Tables {
    messages: &[rfc2367::MESSAGES, kame::MESSAGES],
    sa_types: &[rfc2367::SA_TYPES, kame::SA_TYPES, kame::BSD_SA_TYPES],
    authentication: &[
        rfc2367::AUTHENTICATION,
        kame::AUTHENTICATION,
        kame::BSD_AUTHENTICATION,
        AUTHENTICATION,
    ],
    encryption: &[rfc2367::ENCRYPTION, kame::ENCRYPTION, kame::BSD_ENCRYPTION, ENCRYPTION],
    compression: &[rfc2367::COMPRESSION, kame::COMPRESSION],
    extensions: &[rfc2367::EXTENSIONS, kame::EXTENSIONS, kame::BSD_EXTENSIONS, EXTENSIONS],
    constants: &[rfc2367::CONSTANTS, kame::CONSTANTS, kame::BSD_CONSTANTS, CONSTANTS],
};

/// How this kernel behaves.
const BEHAVIOUR: Behaviour = Behaviour {
    larval_seconds: 30,
    spi_range: (0x100, 0x0fff_ffff),
    spi_exact: false,
    registers_again: false,
    reqids: true,
    reqid_max: kame::REQID_MAX,
    lifetimes_in_pairs: true,
    soft_deletes_unused: false,
    hard_expire_told: true,
    update_live: true,
    groups: false,
    interface: Interface::Reqid { name: "ipsec" },
    moves: Moves::Update { encap: true },
    failed_update_destroys: false,
    larval_keeps_reqid: true,
    update_same_pid: true,
    enobufs_may_be_done: false,
    message_max: 2048,
    receive_buffer: 200_000,
    replies_broadcast: true,
    errors_echo_request: true,
    dump: DumpBy::Message,
    empty_dump: EmptyDump::Errno(ENOENT),
    dump_wakes_reader: true,
    catches_neighbour_discovery: false,
    ports_of: &[TCP, UDP, ICMPV6],
    port_masks: false,
    one_inner_family: false,
    old_sa_preferred: true,
    tells_new_mapping: false,
    flush_takes_flows: false,
    no_such_sa: &[ESRCH, EINVAL],
    no_such_flow: &[EINVAL, ENOENT],
    udp_encapsulation: UdpEncapsulation::ByOption(1),
};

/// Authentication algorithms.
pub(crate) const AUTHENTICATION: &[Row<Authentication>] =
    &[row("SADB_X_AALG_CHACHA20POLY1305", 14, Authentication::ChaCha20Poly1305)];

/// Encryption algorithms.
pub(crate) const ENCRYPTION: &[Row<Encryption>] = &[
    row("SADB_X_EALG_AESCBC", 12, Encryption::AesCbc),
    row("SADB_X_EALG_CHACHA20POLY1305", 15, Encryption::ChaCha20Poly1305),
];

/// Extensions.
pub(crate) const EXTENSIONS: &[Row<ExtType>] = &[
    row("SADB_X_EXT_SA_REPLAY", 26, ExtType::SaReplay),
    row("SADB_X_EXT_NEW_ADDRESS_SRC", 27, ExtType::NewAddressSrc),
    row("SADB_X_EXT_NEW_ADDRESS_DST", 28, ExtType::NewAddressDst),
    row("SADB_X_EXT_LFT_CUR_SW_OFFL", 29, ExtType::LifetimeSwOffload),
    row("SADB_X_EXT_LFT_CUR_HW_OFFL", 30, ExtType::LifetimeHwOffload),
    row("SADB_X_EXT_IF_HW_OFFL", 31, ExtType::IfHwOffload),
];

/// Numbers of other kinds: flags, states, modes, limits.
pub(crate) const CONSTANTS: &[Row<()>] = &[
    row("SADB_MAX", 22, ()),
    row("SADB_EXT_MAX", 31, ()),
    row("SADB_X_SAFLAGS_ESN", 1024, ()),
    row("SADB_AALG_MAX", 252, ()),
    row("SADB_EALG_MAX", 23, ()),
    row("IPSEC_POLICYSCOPE_ANY", 0, ()),
    row("IPSEC_POLICYSCOPE_GLOBAL", 1, ()),
    row("IPSEC_POLICYSCOPE_IFNET", 2, ()),
    row("IPSEC_POLICYSCOPE_PCB", 4, ()),
    row("PF_KEY", 27, ()),
    row("pseudo_AF_KEY", 27, ()),
    row("IP_IPSEC_POLICY", 21, ()),
];

/// Socket option.
pub(crate) const IP_IPSEC_POLICY: u32 = number(CONSTANTS, "IP_IPSEC_POLICY");
/// Extended sequence numbers (13.0 and later).
pub(crate) const FLAG_ESN: u32 = number(CONSTANTS, "SADB_X_SAFLAGS_ESN");
/// errno of this system.
const EINVAL: u8 = 22;
/// errno of this system.
const ENOENT: u8 = 2;
/// errno of this system.
const ESRCH: u8 = 3;
