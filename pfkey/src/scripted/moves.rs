//! Live SAs that get other addresses or ports.

use super::{EINVAL, ENOENT, Fail, Kernel, Sa, To, head};
use crate::dialect::{AddressStyle, ExtType, MessageType, kame};
use crate::ext::Ext;
use crate::message::Message;
use crate::policy::Prefix;
use crate::{codec::Sockaddr, ext, layout};
use std::net::SocketAddr;

impl Kernel {
    /// Linux's MIGRATE: the flow by its selector, the SAs by pairs of requests, old and new.
    pub(super) fn migrate(&mut self, m: &Message<'_>) -> Result<(), Fail> {
        use layout::x_sa2 as l;
        let exts = super::raws(m);
        let (Some(Ext::Policy(policy)), Some(src), Some(dst)) =
            (m.get(ExtType::Policy), exts.get(&5), exts.get(&6))
        else {
            return Err(Fail::Reply(EINVAL));
        };
        let key: Vec<u8> =
            [&src[4..], &dst[4..], &[policy.direction]].iter().flat_map(|s| s.to_vec()).collect();
        if self.flows.iter().all(|flow| flow.key != key) {
            return Err(Fail::Reply(ENOENT));
        }
        let requests: Vec<_> = policy.requests().collect();
        for pair in requests.chunks(2) {
            let [old, new] = pair else { return Err(Fail::Reply(EINVAL)) };
            let (Some(src), Some(dst)) = (new.src.ip(), new.dst.ip()) else {
                return Err(Fail::Reply(EINVAL));
            };
            let protocol = |sa: &Sa| m.dialect().protocol(sa.sa_type)?.ip_protocol();
            let same = |sa: &&mut Sa| {
                let (mode, reqid) =
                    sa.exts.get(&19).map_or((0, 0), |raw| (l::MODE.get(raw), l::REQID.get(raw)));
                sa.src.map(|src| src.ip()) == old.src.ip()
                    && Some(sa.dst.ip()) == old.dst.ip()
                    && (mode, reqid) == (old.mode, old.reqid)
                    && protocol(sa).map(u16::from) == Some(old.protocol)
            };
            // Of several that fit, one: the newest, whichever was meant.
            if let Some(sa) = self.sas.iter_mut().rev().find(same) {
                sa.src = Some(SocketAddr::new(src, 0));
                sa.dst = SocketAddr::new(dst, 0);
                for (number, addr) in [(5, src), (6, dst)] {
                    let (proto, prefix) = (kame::PROTO_ANY as u8, Prefix::host(addr).len);
                    let addr = Sockaddr::Ip(SocketAddr::new(addr, 0));
                    let mut raw = Vec::new();
                    let address = ext::Address { proto, prefix, addr };
                    ext::emit(self.dialect, number, &Ext::Address(address), &mut raw);
                    sa.exts.insert(number, raw);
                }
            }
        }
        let told = self.own(MessageType::Migrate, 0, 0, self.pick(&exts, &[5, 6, 18]));
        self.send(To::All, told);
        Ok(())
    }
}

/// UPDATE of a live SA: limits, ports, addresses (MOBIKE).
pub(super) fn moved(sa: &mut Sa, m: &Message<'_>, kept: &super::Exts) {
    let address = |kind| match m.get(kind) {
        Some(Ext::Address(a)) => a.addr.socket(),
        _ => None,
    };
    let kame = m.dialect().address == AddressStyle::ProtoPrefix;
    if kame {
        // What is not said again is switched off.
        sa.exts.retain(|n, _| ![3, 4, 20, 21, 22, 23, 24].contains(n));
    }
    let news = kept.iter().filter(|(n, _)| ![1, 7, 19, 27, 28, 36, 39].contains(*n));
    sa.exts.extend(news.map(|(n, raw)| (*n, raw.clone())));
    let (new_src, new_dst) = if kame { (27, 28) } else { (5, 7) };
    for (from, to) in [(new_src, 5), (new_dst, 6)] {
        if let Some(raw) = kept.get(&from) {
            let mut raw = raw.clone();
            head(&mut raw, to);
            if kame {
                // Any protocol, whatever was said.
                raw[4] = kame::PROTO_ANY as u8;
            }
            sa.exts.insert(to, raw);
        }
    }
    if !kame {
        sa.src = address(ExtType::AddressSrc).or(sa.src);
        sa.dst = address(ExtType::AddressProxy).unwrap_or(sa.dst);
    }
    sa.src = address(ExtType::NewAddressSrc).or(sa.src);
    sa.dst = address(ExtType::NewAddressDst).unwrap_or(sa.dst);
}
