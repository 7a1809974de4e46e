//! Writing extensions.

use super::{Ext, Policy, policy};
use crate::codec::{padded, write_sockaddr};
use crate::dialect::{AddressStyle, Dialect, ExtType, FlowStyle, kame};
use crate::layout;

/// As much as the largest structure of one size takes.
type Room = [u8; layout::comb::SIZE];

/// Writes the extension behind what `to` holds, padded.
pub(crate) fn emit(dialect: &Dialect, number: u16, ext: &Ext<'_>, to: &mut Vec<u8>) {
    let start = to.len();
    let mut room: Room = [0; layout::comb::SIZE];
    match ext {
        Ext::Address(address) => {
            use layout::address_kame as l;
            if dialect.address == AddressStyle::ProtoPrefix {
                l::PROTO.put(&mut room, address.proto);
                l::PREFIXLEN.put(&mut room, address.prefix);
            }
            to.extend_from_slice(&room[..l::SIZE]);
            write_sockaddr(dialect, &address.addr, to);
        }
        Ext::Key(key) => {
            layout::key::BITS.put(&mut room, key.bits);
            to.extend_from_slice(&room[..layout::key::SIZE]);
            to.extend_from_slice(key.octets);
        }
        Ext::Identity(ident) => {
            layout::ident::TYPE.put(&mut room, ident.kind);
            layout::ident::ID.put(&mut room, ident.id);
            to.extend_from_slice(&room[..layout::ident::SIZE]);
            to.extend_from_slice(ident.name);
        }
        Ext::Proposal(prop) => {
            match dialect.address {
                AddressStyle::Reserved => {
                    layout::prop_openbsd::NUM.put(&mut room, prop.num);
                    layout::prop_openbsd::REPLAY.put(&mut room, prop.replay);
                }
                AddressStyle::ProtoPrefix => layout::prop_kame::REPLAY.put(&mut room, prop.replay),
            }
            to.extend_from_slice(&room[..layout::prop_kame::SIZE]);
            to.extend_from_slice(prop.combs);
        }
        Ext::Supported(supported) => {
            to.extend_from_slice(&room[..layout::supported::SIZE]);
            for alg in supported.algorithms() {
                use layout::alg as l;
                let mut room = [0; l::SIZE];
                l::ID.put(&mut room, alg.id);
                l::IVLEN.put(&mut room, alg.ivlen);
                l::MINBITS.put(&mut room, alg.min_bits);
                l::MAXBITS.put(&mut room, alg.max_bits);
                to.extend_from_slice(&room);
            }
        }
        Ext::Policy(policy) => policy::emit(dialect, policy, to),
        Ext::Tag(tag) => {
            layout::x_tag::TAGLEN.put(&mut room, tag.len() as u32);
            to.extend_from_slice(&room[..layout::x_tag::SIZE]);
            to.extend_from_slice(tag);
        }
        Ext::IfHwOffload { flags, name } => {
            use layout::x_if_hw_offl as l;
            l::FLAGS.put(&mut room, *flags);
            let name = &name[..name.len().min(l::SIZE - 8)];
            room[8..8 + name.len()].copy_from_slice(name);
            to.extend_from_slice(&room[..l::SIZE]);
        }
        Ext::SecCtx { alg, doi, context } => {
            use layout::x_sec_ctx as l;
            l::CTX_ALG.put(&mut room, *alg);
            l::CTX_DOI.put(&mut room, *doi);
            l::CTX_LEN.put(&mut room, context.len() as u16);
            to.extend_from_slice(&room[..l::SIZE]);
            to.extend_from_slice(context);
        }
        Ext::Raw(body) => {
            to.extend_from_slice(&room[..layout::ext::SIZE]);
            to.extend_from_slice(body);
        }
        fixed => {
            let size = fill_fixed(fixed, &mut room);
            to.extend_from_slice(&room[..size]);
        }
    }
    to.resize(start + padded(to.len() - start), 0);
    let words = ((to.len() - start) / 8) as u16;
    if let Some(head) = to.get_mut(start..) {
        layout::ext::LEN.put(head, words);
        layout::ext::TYPE.put(head, number);
    }
}

/// Structures of one size; gives back the size.
fn fill_fixed(ext: &Ext<'_>, room: &mut Room) -> usize {
    match *ext {
        Ext::Sa(ref sa) => {
            use layout::sa as l;
            l::SPI.put_octets(room, sa.spi.to_be_bytes());
            l::REPLAY.put(room, sa.replay);
            l::STATE.put(room, sa.state);
            l::AUTH.put(room, sa.auth);
            l::ENCRYPT.put(room, sa.encrypt);
            l::FLAGS.put(room, sa.flags);
            l::SIZE
        }
        Ext::Lifetime(ref life) => {
            use layout::lifetime as l;
            l::ALLOCATIONS.put(room, life.allocations);
            l::BYTES.put(room, life.bytes);
            l::ADDTIME.put(room, life.add_seconds);
            l::USETIME.put(room, life.use_seconds);
            l::SIZE
        }
        Ext::SpiRange { min, max } => {
            layout::spirange::MIN.put(room, min);
            layout::spirange::MAX.put(room, max);
            layout::spirange::SIZE
        }
        _ => fill_kame(ext, room).or_else(|| fill_openbsd(ext, room)).unwrap_or(layout::ext::SIZE),
    }
}

/// Those that KAME and its heirs have beside RFC 2367's.
fn fill_kame(ext: &Ext<'_>, room: &mut Room) -> Option<usize> {
    Some(match *ext {
        Ext::Sa2(sa2) => {
            layout::x_sa2::MODE.put(room, sa2.mode);
            layout::x_sa2::SEQUENCE.put(room, sa2.sequence);
            layout::x_sa2::REQID.put(room, sa2.reqid);
            layout::x_sa2::SIZE
        }
        Ext::NatTType(kind) => {
            layout::x_nat_t_type::TYPE.put(room, kind);
            layout::x_nat_t_type::SIZE
        }
        Ext::NatTPort(port) => {
            layout::x_nat_t_port::PORT.put_octets(room, port.to_be_bytes());
            layout::x_nat_t_port::SIZE
        }
        Ext::NatTFrag(len) => {
            layout::x_nat_t_frag::FRAGLEN.put(room, len);
            layout::x_nat_t_frag::SIZE
        }
        Ext::ReplayWindow(packets) => {
            layout::x_sa_replay::REPLAY.put(room, packets);
            layout::x_sa_replay::SIZE
        }
        _ => return None,
    })
}

/// Those that OpenBSD has beside RFC 2367's.
fn fill_openbsd(ext: &Ext<'_>, room: &mut Room) -> Option<usize> {
    Some(match *ext {
        Ext::Protocol { proto, direction, flags } => {
            layout::protocol::PROTO.put(room, proto);
            layout::protocol::DIRECTION.put(room, direction);
            layout::protocol::FLAGS.put(room, flags);
            layout::protocol::SIZE
        }
        Ext::AskedPolicy(seq) => {
            layout::x_policy_openbsd::SEQ.put(room, seq);
            layout::x_policy_openbsd::SIZE
        }
        Ext::UdpEncap(port) => {
            layout::x_udpencap::PORT.put_octets(room, port.to_be_bytes());
            layout::x_udpencap::SIZE
        }
        Ext::Tap(unit) => {
            layout::x_tap::UNIT.put(room, unit);
            layout::x_tap::SIZE
        }
        Ext::Counter(c) => {
            use layout::x_counter as l;
            l::IPACKETS.put(room, c.packets_in);
            l::OPACKETS.put(room, c.packets_out);
            l::IBYTES.put(room, c.bytes_in);
            l::OBYTES.put(room, c.bytes_out);
            l::IDROPS.put(room, c.drops_in);
            l::ODROPS.put(room, c.drops_out);
            l::IDECOMPBYTES.put(room, c.decompressed_bytes);
            l::OUNCOMPBYTES.put(room, c.uncompressed_bytes);
            l::SIZE
        }
        Ext::Rdomain(outer, inner) => {
            layout::x_rdomain::DOM1.put(room, outer);
            layout::x_rdomain::DOM2.put(room, inner);
            layout::x_rdomain::SIZE
        }
        Ext::Mtu(mtu) => {
            layout::x_mtu::MTU.put(room, mtu);
            layout::x_mtu::SIZE
        }
        Ext::ReplayCount(count) => {
            layout::x_replay::COUNT.put(room, count);
            layout::x_replay::SIZE
        }
        Ext::Iface { unit, direction } => {
            layout::x_iface::UNIT.put(room, unit);
            layout::x_iface::DIRECTION.put(room, direction);
            layout::x_iface::SIZE
        }
        _ => return None,
    })
}

/// A policy without requests that lets a socket's packets pass, for setsockopt(2).
pub(crate) fn bypass_policy(dialect: &Dialect, direction: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let policy = Policy::plain(kame::POLICY_BYPASS as u16, direction as u8);
    if let (Some(number), FlowStyle::Policies(_)) =
        (dialect.ext_number(ExtType::Policy), dialect.flows)
    {
        emit(dialect, number, &Ext::Policy(policy), &mut out);
    }
    out
}
