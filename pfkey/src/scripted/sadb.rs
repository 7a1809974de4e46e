//! Security associations.

use super::{
    EAFNOSUPPORT, EEXIST, EINVAL, ENOENT, EOPNOTSUPP, Fail, Kernel, Sa, SocketId, To, finish, head,
    raws,
};
use crate::alg::Protocol;
use crate::codec::Sockaddr;
use crate::dialect::{AddressStyle, ExtType, FlowStyle};
use crate::ext::{self, Address, Ext};
use crate::layout::{self, msg};
use crate::message::Message;
use crate::policy::Prefix;
use crate::request::Lifetime;
use std::net::SocketAddr;

impl Kernel {
    pub(super) fn get_spi(&mut self, socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        let sa_type = self.sa_type(m)?;
        let (_, dst) = self.endpoints(m)?;
        let (mut min, max) = match m.get(ExtType::SpiRange) {
            Some(Ext::SpiRange { min, max }) => (min, max),
            _ => self.dialect.behaviour.spi_range,
        };
        let flows = self.dialect.flows == FlowStyle::Flows;
        if flows {
            let comp = self.dialect.protocol(sa_type) == Some(Protocol::IpComp);
            if min > max || max <= 255 || comp && max > 0xefff {
                return Err(Fail::Write(EINVAL));
            }
            min = min.max(256);
        } else if self.dialect.name == "freebsd" && min != max && (max <= 255 || min > max) {
            return Err(Fail::Reply(EINVAL));
        }
        let taken =
            |k: &Kernel, spi| k.sas.iter().any(|sa| sa.spi == spi && sa.dst.ip() == dst.ip());
        let spi = if min == max {
            if !self.dialect.behaviour.spi_exact || taken(self, min) || min == 0 {
                return Err(Fail::Reply(self.rules.spi_taken));
            }
            if self.spis.front() == Some(&min) {
                self.spis.pop_front();
            }
            min
        } else {
            match self.spis.pop_front() {
                Some(spi) => spi,
                None => {
                    self.next_spi = self.next_spi.wrapping_mul(1_664_525).wrapping_add(0x3c6e_f35f);
                    let wide = u64::from(max.wrapping_sub(min)).max(1);
                    let mut spi = min.wrapping_add((u64::from(self.next_spi) % wide) as u32);
                    while taken(self, spi) && spi < max {
                        spi += 1;
                    }
                    spi
                }
            }
        };
        let mut exts = raws(m);
        let mut sa = vec![0; layout::sa::SIZE];
        layout::sa::SPI.put_octets(&mut sa, spi.to_be_bytes());
        if flows {
            layout::sa::STATE.put(&mut sa, 1);
        }
        head(&mut sa, 1);
        exts.insert(1, sa);
        let reply = self.reply(m, self.pick(&exts, &[1, 5, 6]));
        let (src, dst) = self.endpoints(m)?;
        if flows {
            if let Some(raw) = exts.get_mut(&1) {
                layout::sa::STATE.put(raw, 0);
            }
            let seconds = self.dialect.behaviour.larval_seconds.into();
            let life = Lifetime { add_seconds: seconds, ..Lifetime::default() };
            let mut raw = Vec::new();
            ext::emit(self.dialect, 3, &Ext::Lifetime(life), &mut raw);
            exts.insert(3, raw);
            super::values::counters(&mut exts);
        }
        if !flows {
            let sa = exts.get(&1).cloned().unwrap_or_default();
            exts = self.kept(m);
            exts.insert(1, sa);
        }
        self.sas.push(Sa {
            sa_type: if flows { 0 } else { sa_type },
            spi,
            src,
            dst,
            larval: true,
            dying: false,
            seq: m.header.seq,
            pid: m.header.pid,
            born: self.now,
            used: 0,
            bytes: 0,
            exts,
        });
        self.send(if flows { To::All } else { To::One(socket) }, reply);
        Ok(())
    }

    pub(super) fn update(&mut self, _socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        self.sa_type(m)?;
        self.pairs(m)?;
        let Some(Ext::Sa(sa)) = m.get(ExtType::Sa) else { return Err(Fail::Reply(EINVAL)) };
        if self.rules.broadcasts_all {
            self.openbsd_values(m, &sa)?;
        }
        let (src, dst) = self.endpoints(m)?;
        let missing = Fail::Reply(self.rules.no_sa.0);
        let Some(at) = self.find(m, sa.spi, dst) else { return Err(missing) };
        if self.dialect.behaviour.update_same_pid && self.sas[at].pid != m.header.pid {
            return Err(Fail::Reply(EINVAL));
        }
        if self.dialect.flows != FlowStyle::Flows && ip(self.sas[at].src) != ip(src) {
            return Err(Fail::Reply(if self.dialect.name == "netbsd" {
                EINVAL
            } else {
                super::ESRCH
            }));
        }
        let heads = self.sas[at].larval || self.dialect.name == "freebsd";
        if heads && self.rules.echoes_refused && self.other_head(m, &self.sas[at]) {
            return Err(Fail::Reply(self.rules.no_sa.1));
        }
        let keyed = m.get(ExtType::KeyEncrypt).is_some() || m.get(ExtType::KeyAuth).is_some();
        let live = !self.sas[at].larval;
        if live && keyed && self.dialect.behaviour.update_live {
            return Err(self.bad(EINVAL));
        }
        if (!live || !self.dialect.behaviour.update_live)
            && let Err(fail) = self.algorithms(m)
        {
            if self.dialect.behaviour.failed_update_destroys {
                self.sas.remove(at);
            }
            return Err(fail);
        }
        let reply = self.reply(m, self.echo(m));
        let now = self.now;
        let kept = self.kept(m);
        let old = &mut self.sas[at];
        if live && self.dialect.behaviour.update_live {
            super::moves::moved(old, m, &kept);
        } else {
            *old = Sa {
                sa_type: m.header.sa_type,
                larval: false,
                dying: false,
                born: now,
                exts: kept,
                ..old.clone()
            };
        }
        self.send(To::All, reply);
        Ok(())
    }

    pub(super) fn add(&mut self, _socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        let sa_type = self.sa_type(m)?;
        self.pairs(m)?;
        let Some(Ext::Sa(sa)) = m.get(ExtType::Sa) else { return Err(Fail::Reply(EINVAL)) };
        let (src, dst) = self.endpoints(m)?;
        let openbsd = self.dialect.flows == FlowStyle::Flows;
        if openbsd {
            self.openbsd_values(m, &sa)?;
        }
        let six = [17u16, 18, 19, 20, 21, 22];
        let exts = raws(m);
        let there = six.iter().filter(|n| exts.contains_key(n)).count();
        if openbsd && there != 0 && there != six.len() {
            return Err(Fail::Write(EINVAL));
        }
        if !openbsd && sa.spi <= 255 && self.dialect.protocol(sa_type) != Some(Protocol::IpComp) {
            return Err(Fail::Reply(EINVAL));
        }
        let everywhere = self.dialect.name == "freebsd";
        let same = |s: &Sa| {
            s.spi == sa.spi
                && (everywhere || s.dst.ip() == dst.ip())
                && (everywhere || s.sa_type == sa_type || s.sa_type == 0)
        };
        if self.sas.iter().any(same) {
            return Err(Fail::Reply(EEXIST));
        }
        self.algorithms(m)?;
        let reply = self.reply(m, self.echo(m));
        let exts = self.kept(m);
        self.sas.push(Sa {
            sa_type,
            spi: sa.spi,
            src,
            dst,
            larval: false,
            dying: false,
            seq: m.header.seq,
            pid: m.header.pid,
            born: self.now,
            used: 0,
            bytes: 0,
            exts,
        });
        if openbsd && raws(m).keys().any(|n| [36, 39, 32].contains(n)) {
            // Put in, but the answer cannot be made.
            return Err(Fail::Write(1));
        }
        self.send(To::All, reply);
        Ok(())
    }

    pub(super) fn delete(&mut self, _socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        let sa_type = self.sa_type(m)?;
        let (src, dst) = self.endpoints(m)?;
        match m.get(ExtType::Sa) {
            Some(Ext::Sa(sa)) => {
                let at = self
                    .find(m, sa.spi, dst)
                    .filter(|&at| ip(src).is_none() || ip(self.sas[at].src) == ip(src))
                    .ok_or(Fail::Reply(self.rules.no_sa.1))?;
                self.sas.remove(at);
            }
            _ => self.sas.retain(|sa| {
                sa.larval
                    || sa.sa_type != sa_type
                    || ip(sa.src) != ip(src)
                    || sa.dst.ip() != dst.ip()
            }),
        }
        let order: &[u16] =
            if self.dialect.flows == FlowStyle::Flows { &[1, 5, 6, 37] } else { &[1, 5, 6] };
        let reply = self.reply(m, self.pick(&raws(m), order));
        self.send(To::All, reply);
        Ok(())
    }

    pub(super) fn get(&mut self, socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        self.sa_type(m)?;
        let Some(Ext::Sa(sa)) = m.get(ExtType::Sa) else { return Err(Fail::Reply(EINVAL)) };
        let (src, dst) = self.endpoints(m)?;
        let at = self
            .find(m, sa.spi, dst)
            .filter(|&at| ip(src).is_none() || ip(self.sas[at].src) == ip(src))
            .ok_or(Fail::Reply(self.rules.no_sa.1))?;
        if self.groups.iter().any(|g| g.0 == sa.spi) {
            // A group's extensions have no place in the answer.
            return Err(Fail::Write(1));
        }
        let mut reply = self.reply(m, self.told(&self.sas[at]));
        self.count_references(&mut reply);
        let to = if self.rules.broadcasts_all { To::All } else { To::One(socket) };
        self.send(to, reply);
        Ok(())
    }

    pub(super) fn flush(&mut self, _socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        let sa_type = m.header.sa_type;
        if sa_type != 0 && self.dialect.protocol(sa_type).is_none() {
            return Err(self.bad(EINVAL));
        }
        self.sas.retain(|sa| sa_type != 0 && sa.sa_type != sa_type);
        if sa_type == 0 && self.dialect.behaviour.flush_takes_flows {
            self.flows.clear();
        }
        let reply = self.reply(m, []);
        self.send(To::All, reply);
        Ok(())
    }

    pub(super) fn dump(&mut self, socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        let want = m.header.sa_type;
        if want != 0 && self.dialect.protocol(want).is_none() {
            return Err(self.bad(EINVAL));
        }
        let told: Vec<(u8, Vec<Vec<u8>>)> = self
            .sas
            .iter()
            .filter(|sa| want == 0 || sa.sa_type == want)
            .map(|sa| (sa.sa_type, self.told(sa)))
            .collect();
        if told.is_empty() && self.dialect.flows != FlowStyle::Flows {
            return Err(Fail::Reply(ENOENT));
        }
        let mut left = told.len() as u32;
        for (sa_type, exts) in told {
            left -= 1;
            let mut reply = self.reply(m, exts);
            msg::SATYPE.put(&mut reply, sa_type);
            if left == 0 || !self.rules.broadcasts_all {
                msg::SEQ.put(&mut reply, left);
            }
            self.count_references(&mut reply);
            self.send(To::One(socket), reply);
        }
        Ok(())
    }

    fn find(&self, m: &Message<'_>, spi: u32, dst: SocketAddr) -> Option<usize> {
        let sa_type = m.header.sa_type;
        self.sas.iter().position(|sa| {
            sa.spi == spi && sa.dst.ip() == dst.ip() && (sa.sa_type == sa_type || sa.sa_type == 0)
        })
    }

    /// The header's SA type, if one can have SAs of it.
    fn sa_type(&self, m: &Message<'_>) -> Result<u8, Fail> {
        let number = m.header.sa_type;
        let bsd = self.rules.echoes_refused || self.rules.broadcasts_all;
        match self.dialect.protocol(number) {
            Some(Protocol::IpComp) if !self.ipcomp => Err(Fail::Reply(EOPNOTSUPP)),
            Some(_) => Ok(number),
            None if bsd && (3..=8).contains(&number) => Err(Fail::Reply(EOPNOTSUPP)),
            // For a search OpenBSD takes what it does not know as IP in IP.
            None if self.rules.broadcasts_all && m.get(ExtType::SpiRange).is_some() => {
                Err(Fail::Reply(EOPNOTSUPP))
            }
            None if self.rules.broadcasts_all => Ok(number),
            None => Err(Fail::Reply(EINVAL)),
        }
    }

    fn endpoints(&self, m: &Message<'_>) -> Result<(Option<SocketAddr>, SocketAddr), Fail> {
        let one = |kind| match m.get(kind) {
            Some(Ext::Address(Address { addr, .. })) => addr.socket(),
            _ => None,
        };
        let src = one(ExtType::AddressSrc);
        for kind in [ExtType::AddressSrc, ExtType::AddressDst] {
            if let Some(Ext::Address(Address { addr: Sockaddr::Other(_), .. })) = m.get(kind) {
                return Err(Fail::Reply(EAFNOSUPPORT));
            }
        }
        let dst = one(ExtType::AddressDst).ok_or(Fail::Reply(EINVAL))?;
        if self.dialect.address == AddressStyle::ProtoPrefix {
            let Some(src) = src else { return Err(Fail::Reply(EINVAL)) };
            for kind in [ExtType::AddressSrc, ExtType::AddressDst] {
                if let Some(Ext::Address(a)) = m.get(kind)
                    && a.addr.ip().is_some_and(|ip| Prefix::new(ip, a.prefix).is_none())
                {
                    return Err(Fail::Reply(EINVAL));
                }
            }
            let proto = |kind| match m.get(kind) {
                Some(Ext::Address(a)) => a.proto,
                _ => 0,
            };
            let other = proto(ExtType::AddressSrc) != proto(ExtType::AddressDst);
            if src.is_ipv4() != dst.is_ipv4() || other && self.rules.echoes_refused {
                return Err(Fail::Reply(EINVAL));
            }
        }
        Ok((src, dst))
    }

    /// What OpenBSD looks at in ADD and UPDATE.
    fn openbsd_values(&self, m: &Message<'_>, sa: &ext::Sa) -> Result<(), Fail> {
        let rdomain = match m.get(ExtType::Rdomain) {
            Some(Ext::Rdomain(outer, inner)) => {
                [outer, inner].iter().any(|domain| !self.rdomains.contains(domain))
            }
            _ => false,
        };
        if sa.state != 1 || sa.replay > 64 || rdomain {
            return Err(Fail::Write(EINVAL));
        }
        Ok(())
    }

    /// Whether an UPDATE names another mode or reqid than the GETSPI did. NetBSD takes a reqid of
    /// 0 for any and does not look at the mode.
    fn other_head(&self, m: &Message<'_>, sa: &Sa) -> bool {
        use layout::x_sa2 as l;
        let head = |exts: &super::Exts| {
            exts.get(&19).map_or((0, 0), |raw| (l::MODE.get(raw), l::REQID.get(raw)))
        };
        let ((mode, reqid), (larval_mode, larval_reqid)) = (head(&raws(m)), head(&sa.exts));
        if self.dialect.name == "netbsd" {
            return reqid != 0 && larval_reqid != 0 && reqid != larval_reqid;
        }
        (mode, reqid) != (larval_mode, larval_reqid)
    }

    fn pairs(&self, m: &Message<'_>) -> Result<(), Fail> {
        let one = m.get(ExtType::LifetimeHard).is_some() != m.get(ExtType::LifetimeSoft).is_some();
        if one && self.dialect.behaviour.lifetimes_in_pairs {
            return Err(Fail::Reply(EINVAL));
        }
        Ok(())
    }

    /// OpenBSD tells of a bad value by write(2), the others by an answer.
    pub(super) fn bad(&self, errno: u8) -> Fail {
        if self.rules.broadcasts_all { Fail::Write(errno) } else { Fail::Reply(errno) }
    }

    /// What an answer to ADD and UPDATE repeats: no keys.
    fn echo(&self, m: &Message<'_>) -> Vec<Vec<u8>> {
        self.pick(&raws(m), self.rules.add)
    }

    /// What GET and DUMP tell.
    fn told(&self, sa: &Sa) -> Vec<Vec<u8>> {
        let mut exts = sa.exts.clone();
        if !sa.larval || self.dialect.name != "netbsd" {
            exts.insert(2, self.current(sa));
        }
        if sa.larval && self.dialect.flows != FlowStyle::Flows {
            exts.remove(&16);
        }
        if sa.dying
            && self.dialect.flows != FlowStyle::Flows
            && let Some(raw) = exts.get_mut(&1)
        {
            layout::sa::STATE.put(raw, 2);
        }
        self.pick(&exts, self.rules.get)
    }

    /// KAME's kernels show how often an entry is held in the header's reserved field.
    pub(super) fn count_references(&self, octets: &mut [u8]) {
        if self.rules.echoes_refused {
            msg::RESERVED.put(octets, 1);
        }
        finish(octets);
    }
}

fn ip(addr: Option<SocketAddr>) -> Option<std::net::IpAddr> {
    addr.map(|a| a.ip())
}
