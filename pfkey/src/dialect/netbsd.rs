//! NetBSD, `net/pfkeyv2.h` 1.35 and `netipsec/ipsec.h` of 10.

use super::behaviour::{ICMPV6, TCP, UDP};
use crate::alg::Encryption;
use crate::dialect::{
    AddressStyle, Behaviour, Dialect, DumpBy, EmptyDump, FlowStyle, Interface, MessageType, Moves,
    PolicyStyle, ReplayStyle, Row, SockaddrStyle, Tables, UdpEncapsulation, index, kame, number,
    rfc2367, row,
};
use crate::layout;

/// The dialect.
pub(crate) static DIALECT: Dialect = Dialect {
    name: "netbsd",
    behaviour: BEHAVIOUR,
    tables: TABLES,
    ext_index: index(TABLES.extensions),
    layouts: &[layout::COMMON, layout::KAME, layout::NETBSD],
    sockaddr: SockaddrStyle::Bsd { inet6: 24 },
    address: AddressStyle::ProtoPrefix,
    flows: FlowStyle::Policies(PolicyStyle { wide: false, forward: false, priority: false }),
    replay: ReplayStyle::Octets { extension: false },
    copies_claim: 16,
    esn_flag: None,
    inner_by_proxy: false,
    null_key: true,
    unlisted: &[],
};

/// The tables of this dialect.
pub(crate) const TABLES: Tables = Tables {
    messages: &[rfc2367::MESSAGES, kame::MESSAGES, MESSAGES],
    sa_types: &[rfc2367::SA_TYPES, kame::SA_TYPES, kame::BSD_SA_TYPES],
    authentication: &[rfc2367::AUTHENTICATION, kame::AUTHENTICATION, kame::BSD_AUTHENTICATION],
    encryption: &[rfc2367::ENCRYPTION, kame::ENCRYPTION, kame::BSD_ENCRYPTION, ENCRYPTION],
    compression: &[rfc2367::COMPRESSION, kame::COMPRESSION],
    extensions: &[rfc2367::EXTENSIONS, kame::EXTENSIONS, kame::BSD_EXTENSIONS],
    constants: &[rfc2367::CONSTANTS, kame::CONSTANTS, kame::BSD_CONSTANTS, CONSTANTS],
};

/// How this kernel behaves.
const BEHAVIOUR: Behaviour = Behaviour {
    larval_seconds: 30,
    spi_range: (0x100, 0x0fff_ffff),
    spi_exact: true,
    registers_again: false,
    reqids: true,
    reqid_max: kame::REQID_MAX,
    lifetimes_in_pairs: true,
    soft_deletes_unused: true,
    hard_expire_told: false,
    update_live: false,
    groups: false,
    interface: Interface::None,
    moves: Moves::Never,
    failed_update_destroys: true,
    larval_keeps_reqid: true,
    update_same_pid: true,
    enobufs_may_be_done: true,
    message_max: 2048,
    receive_buffer: 200_000,
    replies_broadcast: true,
    errors_echo_request: true,
    dump: DumpBy::Message,
    empty_dump: EmptyDump::Errno(ENOENT),
    dump_wakes_reader: false,
    catches_neighbour_discovery: false,
    ports_of: &[TCP, UDP, ICMPV6],
    port_masks: false,
    one_inner_family: false,
    old_sa_preferred: false,
    tells_new_mapping: false,
    flush_takes_flows: false,
    no_such_sa: &[ENOENT, EINVAL],
    no_such_flow: &[EINVAL, ENOENT],
    udp_encapsulation: UdpEncapsulation::ByOption(100),
};

/// Message types.
pub(crate) const MESSAGES: &[Row<MessageType>] =
    &[row("SADB_X_NAT_T_NEW_MAPPING", 23, MessageType::NatTNewMapping)];

/// Encryption algorithms.
pub(crate) const ENCRYPTION: &[Row<Encryption>] =
    &[row("SADB_X_EALG_SKIPJACK", 250, Encryption::SkipjackCbc)];

/// Numbers of other kinds: flags, states, modes, limits.
pub(crate) const CONSTANTS: &[Row<()>] = &[
    row("SADB_MAX", 23, ()),
    row("IPSEC_POLICY_FLAG_ORIGIN_KERNEL", 128, ()),
    row("SADB_EXT_MAX", 25, ()),
    row("SADB_AALG_MAX", 251, ()),
    row("SADB_EALG_MAX", 250, ()),
    row("PF_KEY", 29, ()),
    row("pseudo_AF_KEY", 29, ()),
    row("IP_IPSEC_POLICY", 22, ()),
];

/// Socket option.
pub(crate) const IP_IPSEC_POLICY: u32 = number(CONSTANTS, "IP_IPSEC_POLICY");
/// errno of this system.
const EINVAL: u8 = 22;
/// errno of this system.
const ENOENT: u8 = 2;
