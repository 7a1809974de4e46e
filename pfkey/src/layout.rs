//! Where the fields of each structure lie: one table, from which the codec reads and writes and
//! which the proof compares with what compilers said of each system's headers.

/// A field of `N` octets at an offset from the beginning of its structure. Host byte order.
#[derive(Clone, Copy)]
pub(crate) struct Field<const N: usize>(usize);

impl<const N: usize> Field<N> {
    /// The octets of the field; zeros for what lies beyond the end.
    pub(crate) fn octets(self, from: &[u8]) -> [u8; N] {
        let mut out = [0; N];
        if let Some(b) = from.get(self.0..self.0 + N) {
            out.copy_from_slice(b);
        }
        out
    }

    /// Writes the field; `to` holds the whole structure.
    pub(crate) fn put_octets(self, to: &mut [u8], octets: [u8; N]) {
        if let Some(b) = to.get_mut(self.0..self.0 + N) {
            b.copy_from_slice(&octets);
        }
    }
}

macro_rules! number_fields {
    ($($size:literal $type:ident);* $(;)?) => {$(
        impl Field<$size> {
            /// Reads the number.
            pub(crate) fn get(self, from: &[u8]) -> $type {
                $type::from_ne_bytes(self.octets(from))
            }

            /// Writes the number.
            pub(crate) fn put(self, to: &mut [u8], value: $type) {
                self.put_octets(to, value.to_ne_bytes());
            }
        }
    )*};
}
number_fields!(1 u8; 2 u16; 4 u32; 8 u64);

/// A structure of a header file, as the proof sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Name in the header.
    pub name: &'static str,
    /// Octets.
    pub size: usize,
    /// Name, offset and size of each field.
    pub fields: &'static [(&'static str, usize, usize)],
}

macro_rules! layout {
    ($module:ident, $name:literal, $size:literal { $($field:ident = $fname:literal $off:literal $len:literal;)* }) => {
        #[doc = concat!("`struct ", $name, "`")]
        #[allow(dead_code)] // length and type are written by the codec at one place for all
        pub(crate) mod $module {
            use super::{Field, Layout};
            $(pub(crate) const $field: Field<$len> = Field($off);)*
            pub(crate) const SIZE: usize = $size;
            pub(crate) const LAYOUT: Layout =
                Layout { name: $name, size: SIZE, fields: &[$(($fname, $off, $len)),*] };
        }
    };
}

layout!(msg, "sadb_msg", 16 {
    VERSION = "sadb_msg_version" 0 1;
    TYPE = "sadb_msg_type" 1 1;
    ERRNO = "sadb_msg_errno" 2 1;
    SATYPE = "sadb_msg_satype" 3 1;
    LEN = "sadb_msg_len" 4 2;
    RESERVED = "sadb_msg_reserved" 6 2;
    SEQ = "sadb_msg_seq" 8 4;
    PID = "sadb_msg_pid" 12 4;
});
layout!(ext, "sadb_ext", 4 {
    LEN = "sadb_ext_len" 0 2;
    TYPE = "sadb_ext_type" 2 2;
});
layout!(sa, "sadb_sa", 16 {
    LEN = "sadb_sa_len" 0 2;
    EXTTYPE = "sadb_sa_exttype" 2 2;
    SPI = "sadb_sa_spi" 4 4;
    REPLAY = "sadb_sa_replay" 8 1;
    STATE = "sadb_sa_state" 9 1;
    AUTH = "sadb_sa_auth" 10 1;
    ENCRYPT = "sadb_sa_encrypt" 11 1;
    FLAGS = "sadb_sa_flags" 12 4;
});
layout!(lifetime, "sadb_lifetime", 32 {
    LEN = "sadb_lifetime_len" 0 2;
    EXTTYPE = "sadb_lifetime_exttype" 2 2;
    ALLOCATIONS = "sadb_lifetime_allocations" 4 4;
    BYTES = "sadb_lifetime_bytes" 8 8;
    ADDTIME = "sadb_lifetime_addtime" 16 8;
    USETIME = "sadb_lifetime_usetime" 24 8;
});
layout!(address_openbsd, "sadb_address", 8 {
    LEN = "sadb_address_len" 0 2;
    EXTTYPE = "sadb_address_exttype" 2 2;
    RESERVED = "sadb_address_reserved" 4 4;
});
layout!(key, "sadb_key", 8 {
    LEN = "sadb_key_len" 0 2;
    EXTTYPE = "sadb_key_exttype" 2 2;
    BITS = "sadb_key_bits" 4 2;
    RESERVED = "sadb_key_reserved" 6 2;
});
layout!(ident, "sadb_ident", 16 {
    LEN = "sadb_ident_len" 0 2;
    EXTTYPE = "sadb_ident_exttype" 2 2;
    TYPE = "sadb_ident_type" 4 2;
    RESERVED = "sadb_ident_reserved" 6 2;
    ID = "sadb_ident_id" 8 8;
});
layout!(sens, "sadb_sens", 16 {
    LEN = "sadb_sens_len" 0 2;
    EXTTYPE = "sadb_sens_exttype" 2 2;
    DPD = "sadb_sens_dpd" 4 4;
    SENS_LEVEL = "sadb_sens_sens_level" 8 1;
    SENS_LEN = "sadb_sens_sens_len" 9 1;
    INTEG_LEVEL = "sadb_sens_integ_level" 10 1;
    INTEG_LEN = "sadb_sens_integ_len" 11 1;
    RESERVED = "sadb_sens_reserved" 12 4;
});
layout!(prop_openbsd, "sadb_prop", 8 {
    LEN = "sadb_prop_len" 0 2;
    EXTTYPE = "sadb_prop_exttype" 2 2;
    NUM = "sadb_prop_num" 4 1;
    REPLAY = "sadb_prop_replay" 5 1;
    RESERVED = "sadb_prop_reserved" 6 2;
});
layout!(comb, "sadb_comb", 72 {
    AUTH = "sadb_comb_auth" 0 1;
    ENCRYPT = "sadb_comb_encrypt" 1 1;
    FLAGS = "sadb_comb_flags" 2 2;
    AUTH_MINBITS = "sadb_comb_auth_minbits" 4 2;
    AUTH_MAXBITS = "sadb_comb_auth_maxbits" 6 2;
    ENCRYPT_MINBITS = "sadb_comb_encrypt_minbits" 8 2;
    ENCRYPT_MAXBITS = "sadb_comb_encrypt_maxbits" 10 2;
    RESERVED = "sadb_comb_reserved" 12 4;
    SOFT_ALLOCATIONS = "sadb_comb_soft_allocations" 16 4;
    HARD_ALLOCATIONS = "sadb_comb_hard_allocations" 20 4;
    SOFT_BYTES = "sadb_comb_soft_bytes" 24 8;
    HARD_BYTES = "sadb_comb_hard_bytes" 32 8;
    SOFT_ADDTIME = "sadb_comb_soft_addtime" 40 8;
    HARD_ADDTIME = "sadb_comb_hard_addtime" 48 8;
    SOFT_USETIME = "sadb_comb_soft_usetime" 56 8;
    HARD_USETIME = "sadb_comb_hard_usetime" 64 8;
});
layout!(supported, "sadb_supported", 8 {
    LEN = "sadb_supported_len" 0 2;
    EXTTYPE = "sadb_supported_exttype" 2 2;
    RESERVED = "sadb_supported_reserved" 4 4;
});
layout!(alg, "sadb_alg", 8 {
    ID = "sadb_alg_id" 0 1;
    IVLEN = "sadb_alg_ivlen" 1 1;
    MINBITS = "sadb_alg_minbits" 2 2;
    MAXBITS = "sadb_alg_maxbits" 4 2;
    RESERVED = "sadb_alg_reserved" 6 2;
});
layout!(spirange, "sadb_spirange", 16 {
    LEN = "sadb_spirange_len" 0 2;
    EXTTYPE = "sadb_spirange_exttype" 2 2;
    MIN = "sadb_spirange_min" 4 4;
    MAX = "sadb_spirange_max" 8 4;
    RESERVED = "sadb_spirange_reserved" 12 4;
});
layout!(protocol, "sadb_protocol", 8 {
    LEN = "sadb_protocol_len" 0 2;
    EXTTYPE = "sadb_protocol_exttype" 2 2;
    PROTO = "sadb_protocol_proto" 4 1;
    DIRECTION = "sadb_protocol_direction" 5 1;
    FLAGS = "sadb_protocol_flags" 6 1;
    RESERVED2 = "sadb_protocol_reserved2" 7 1;
});
layout!(x_policy_openbsd, "sadb_x_policy", 8 {
    LEN = "sadb_x_policy_len" 0 2;
    EXTTYPE = "sadb_x_policy_exttype" 2 2;
    SEQ = "sadb_x_policy_seq" 4 4;
});
layout!(x_udpencap, "sadb_x_udpencap", 8 {
    LEN = "sadb_x_udpencap_len" 0 2;
    EXTTYPE = "sadb_x_udpencap_exttype" 2 2;
    PORT = "sadb_x_udpencap_port" 4 2;
    RESERVED = "sadb_x_udpencap_reserved" 6 2;
});
layout!(x_tag, "sadb_x_tag", 8 {
    LEN = "sadb_x_tag_len" 0 2;
    EXTTYPE = "sadb_x_tag_exttype" 2 2;
    TAGLEN = "sadb_x_tag_taglen" 4 4;
});
layout!(x_replay, "sadb_x_replay", 16 {
    LEN = "sadb_x_replay_len" 0 2;
    EXTTYPE = "sadb_x_replay_exttype" 2 2;
    RESERVED = "sadb_x_replay_reserved" 4 4;
    COUNT = "sadb_x_replay_count" 8 8;
});
layout!(x_rdomain, "sadb_x_rdomain", 8 {
    LEN = "sadb_x_rdomain_len" 0 2;
    EXTTYPE = "sadb_x_rdomain_exttype" 2 2;
    DOM1 = "sadb_x_rdomain_dom1" 4 2;
    DOM2 = "sadb_x_rdomain_dom2" 6 2;
});
layout!(x_tap, "sadb_x_tap", 8 {
    LEN = "sadb_x_tap_len" 0 2;
    EXTTYPE = "sadb_x_tap_exttype" 2 2;
    UNIT = "sadb_x_tap_unit" 4 4;
});
layout!(x_counter, "sadb_x_counter", 72 {
    LEN = "sadb_x_counter_len" 0 2;
    EXTTYPE = "sadb_x_counter_exttype" 2 2;
    PAD = "sadb_x_counter_pad" 4 4;
    IPACKETS = "sadb_x_counter_ipackets" 8 8;
    OPACKETS = "sadb_x_counter_opackets" 16 8;
    IBYTES = "sadb_x_counter_ibytes" 24 8;
    OBYTES = "sadb_x_counter_obytes" 32 8;
    IDROPS = "sadb_x_counter_idrops" 40 8;
    ODROPS = "sadb_x_counter_odrops" 48 8;
    IDECOMPBYTES = "sadb_x_counter_idecompbytes" 56 8;
    OUNCOMPBYTES = "sadb_x_counter_ouncompbytes" 64 8;
});
layout!(x_mtu, "sadb_x_mtu", 8 {
    LEN = "sadb_x_mtu_len" 0 2;
    EXTTYPE = "sadb_x_mtu_exttype" 2 2;
    MTU = "sadb_x_mtu_mtu" 4 4;
});
layout!(x_iface, "sadb_x_iface", 16 {
    LEN = "sadb_x_iface_len" 0 2;
    EXTTYPE = "sadb_x_iface_exttype" 2 2;
    UNIT = "sadb_x_iface_unit" 4 4;
    DIRECTION = "sadb_x_iface_direction" 8 1;
    RESERVED = "sadb_x_iface_reserved" 9 7;
});
layout!(address_kame, "sadb_address", 8 {
    LEN = "sadb_address_len" 0 2;
    EXTTYPE = "sadb_address_exttype" 2 2;
    PROTO = "sadb_address_proto" 4 1;
    PREFIXLEN = "sadb_address_prefixlen" 5 1;
    RESERVED = "sadb_address_reserved" 6 2;
});
layout!(prop_kame, "sadb_prop", 8 {
    LEN = "sadb_prop_len" 0 2;
    EXTTYPE = "sadb_prop_exttype" 2 2;
    REPLAY = "sadb_prop_replay" 4 1;
    RESERVED = "sadb_prop_reserved" 5 3;
});
layout!(x_kmprivate, "sadb_x_kmprivate", 8 {
    LEN = "sadb_x_kmprivate_len" 0 2;
    EXTTYPE = "sadb_x_kmprivate_exttype" 2 2;
    RESERVED = "sadb_x_kmprivate_reserved" 4 4;
});
layout!(x_sa2, "sadb_x_sa2", 16 {
    LEN = "sadb_x_sa2_len" 0 2;
    EXTTYPE = "sadb_x_sa2_exttype" 2 2;
    MODE = "sadb_x_sa2_mode" 4 1;
    RESERVED1 = "sadb_x_sa2_reserved1" 5 1;
    RESERVED2 = "sadb_x_sa2_reserved2" 6 2;
    SEQUENCE = "sadb_x_sa2_sequence" 8 4;
    REQID = "sadb_x_sa2_reqid" 12 4;
});
layout!(x_policy_freebsd, "sadb_x_policy", 16 {
    LEN = "sadb_x_policy_len" 0 2;
    EXTTYPE = "sadb_x_policy_exttype" 2 2;
    TYPE = "sadb_x_policy_type" 4 2;
    DIR = "sadb_x_policy_dir" 6 1;
    SCOPE = "sadb_x_policy_scope" 7 1;
    ID = "sadb_x_policy_id" 8 4;
    PRIORITY = "sadb_x_policy_priority" 12 4;
});
layout!(x_ipsecrequest_kame, "sadb_x_ipsecrequest", 8 {
    LEN = "sadb_x_ipsecrequest_len" 0 2;
    PROTO = "sadb_x_ipsecrequest_proto" 2 2;
    MODE = "sadb_x_ipsecrequest_mode" 4 1;
    LEVEL = "sadb_x_ipsecrequest_level" 5 1;
    REQID = "sadb_x_ipsecrequest_reqid" 6 2;
});
layout!(x_nat_t_type, "sadb_x_nat_t_type", 8 {
    LEN = "sadb_x_nat_t_type_len" 0 2;
    EXTTYPE = "sadb_x_nat_t_type_exttype" 2 2;
    TYPE = "sadb_x_nat_t_type_type" 4 1;
    RESERVED = "sadb_x_nat_t_type_reserved" 5 3;
});
layout!(x_nat_t_port, "sadb_x_nat_t_port", 8 {
    LEN = "sadb_x_nat_t_port_len" 0 2;
    EXTTYPE = "sadb_x_nat_t_port_exttype" 2 2;
    PORT = "sadb_x_nat_t_port_port" 4 2;
    RESERVED = "sadb_x_nat_t_port_reserved" 6 2;
});
layout!(x_nat_t_frag, "sadb_x_nat_t_frag", 8 {
    LEN = "sadb_x_nat_t_frag_len" 0 2;
    EXTTYPE = "sadb_x_nat_t_frag_exttype" 2 2;
    FRAGLEN = "sadb_x_nat_t_frag_fraglen" 4 2;
    RESERVED = "sadb_x_nat_t_frag_reserved" 6 2;
});
layout!(x_sa_replay, "sadb_x_sa_replay", 8 {
    LEN = "sadb_x_sa_replay_len" 0 2;
    EXTTYPE = "sadb_x_sa_replay_exttype" 2 2;
    REPLAY = "sadb_x_sa_replay_replay" 4 4;
});
layout!(x_if_hw_offl, "sadb_x_if_hw_offl", 40 {
    LEN = "sadb_x_if_hw_offl_len" 0 2;
    EXTTYPE = "sadb_x_if_hw_offl_exttype" 2 2;
    FLAGS = "sadb_x_if_hw_offl_flags" 4 4;
    IF = "sadb_x_if_hw_offl_if" 8 32;
});
layout!(x_policy_netbsd, "sadb_x_policy", 16 {
    LEN = "sadb_x_policy_len" 0 2;
    EXTTYPE = "sadb_x_policy_exttype" 2 2;
    TYPE = "sadb_x_policy_type" 4 2;
    DIR = "sadb_x_policy_dir" 6 1;
    FLAGS = "sadb_x_policy_flags" 7 1;
    ID = "sadb_x_policy_id" 8 4;
    RESERVED2 = "sadb_x_policy_reserved2" 12 4;
});
layout!(x_policy_linux, "sadb_x_policy", 16 {
    LEN = "sadb_x_policy_len" 0 2;
    EXTTYPE = "sadb_x_policy_exttype" 2 2;
    TYPE = "sadb_x_policy_type" 4 2;
    DIR = "sadb_x_policy_dir" 6 1;
    RESERVED = "sadb_x_policy_reserved" 7 1;
    ID = "sadb_x_policy_id" 8 4;
    PRIORITY = "sadb_x_policy_priority" 12 4;
});
layout!(x_ipsecrequest_linux, "sadb_x_ipsecrequest", 16 {
    LEN = "sadb_x_ipsecrequest_len" 0 2;
    PROTO = "sadb_x_ipsecrequest_proto" 2 2;
    MODE = "sadb_x_ipsecrequest_mode" 4 1;
    LEVEL = "sadb_x_ipsecrequest_level" 5 1;
    RESERVED1 = "sadb_x_ipsecrequest_reserved1" 6 2;
    REQID = "sadb_x_ipsecrequest_reqid" 8 4;
    RESERVED2 = "sadb_x_ipsecrequest_reserved2" 12 4;
});
layout!(x_sec_ctx, "sadb_x_sec_ctx", 8 {
    SEC_LEN = "sadb_x_sec_len" 0 2;
    SEC_EXTTYPE = "sadb_x_sec_exttype" 2 2;
    CTX_ALG = "sadb_x_ctx_alg" 4 1;
    CTX_DOI = "sadb_x_ctx_doi" 5 1;
    CTX_LEN = "sadb_x_ctx_len" 6 2;
});
layout!(x_kmaddress, "sadb_x_kmaddress", 8 {
    LEN = "sadb_x_kmaddress_len" 0 2;
    EXTTYPE = "sadb_x_kmaddress_exttype" 2 2;
    RESERVED = "sadb_x_kmaddress_reserved" 4 4;
});
layout!(x_filter, "sadb_x_filter", 40 {
    LEN = "sadb_x_filter_len" 0 2;
    EXTTYPE = "sadb_x_filter_exttype" 2 2;
    SADDR = "sadb_x_filter_saddr" 4 16;
    DADDR = "sadb_x_filter_daddr" 20 16;
    FAMILY = "sadb_x_filter_family" 36 2;
    SPLEN = "sadb_x_filter_splen" 38 1;
    DPLEN = "sadb_x_filter_dplen" 39 1;
});

/// Structures of every dialect.
pub(crate) const COMMON: &[Layout] = &[
    msg::LAYOUT,
    ext::LAYOUT,
    sa::LAYOUT,
    lifetime::LAYOUT,
    key::LAYOUT,
    ident::LAYOUT,
    sens::LAYOUT,
    comb::LAYOUT,
    supported::LAYOUT,
    alg::LAYOUT,
    spirange::LAYOUT,
];

/// Structures of OpenBSD alone.
pub(crate) const OPENBSD: &[Layout] = &[
    address_openbsd::LAYOUT,
    prop_openbsd::LAYOUT,
    protocol::LAYOUT,
    x_policy_openbsd::LAYOUT,
    x_udpencap::LAYOUT,
    x_tag::LAYOUT,
    x_replay::LAYOUT,
    x_rdomain::LAYOUT,
    x_tap::LAYOUT,
    x_counter::LAYOUT,
    x_mtu::LAYOUT,
    x_iface::LAYOUT,
];

/// Structures of FreeBSD, NetBSD and Linux.
pub(crate) const KAME: &[Layout] = &[
    address_kame::LAYOUT,
    prop_kame::LAYOUT,
    x_kmprivate::LAYOUT,
    x_sa2::LAYOUT,
    x_nat_t_type::LAYOUT,
    x_nat_t_port::LAYOUT,
];

/// Structures of FreeBSD.
pub(crate) const FREEBSD: &[Layout] = &[
    x_policy_freebsd::LAYOUT,
    x_ipsecrequest_kame::LAYOUT,
    x_nat_t_frag::LAYOUT,
    x_sa_replay::LAYOUT,
    x_if_hw_offl::LAYOUT,
];

/// Structures of NetBSD.
pub(crate) const NETBSD: &[Layout] =
    &[x_policy_netbsd::LAYOUT, x_ipsecrequest_kame::LAYOUT, x_nat_t_frag::LAYOUT];

/// Structures of Linux.
pub(crate) const LINUX: &[Layout] = &[
    x_policy_linux::LAYOUT,
    x_ipsecrequest_linux::LAYOUT,
    x_sec_ctx::LAYOUT,
    x_kmaddress::LAYOUT,
    x_filter::LAYOUT,
];
