//! Flows of OpenBSD and policies of the others.

use super::{EEXIST, EINVAL, ENOENT, ESRCH, Entry, Fail, Kernel, SocketId, To, raws};
use crate::dialect::{ExtType, MessageType, kame};
use crate::ext::{self, Ext, IpsecRequest};
use crate::layout::msg;
use crate::message::Message;
use crate::request::Lifetime;
use std::net::{IpAddr, SocketAddr};

impl Kernel {
    pub(super) fn openbsd_flows(&mut self, _socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        use MessageType as M;
        let mut exts = raws(m);
        match m.header.message {
            M::AddFlow | M::DelFlow => {}
            M::AskPolicy => return self.ask_policy(m),
            M::GrpSpis => self.group(m)?,
            M::Expire => {}
            _ => return Err(Fail::Write(EINVAL)),
        }
        if matches!(m.header.message, M::GrpSpis | M::Expire) {
            let reply = self.reply(m, exts.into_values());
            self.send(To::All, reply);
            return Ok(());
        }
        let Some(Ext::Protocol { proto: kind, direction, .. }) = m.get(ExtType::FlowType) else {
            return Err(Fail::Write(EINVAL));
        };
        if !(1..=2).contains(&direction) {
            return Err(Fail::Write(EINVAL));
        }
        let mut families = Vec::new();
        for (flow, mask) in [(21u16, 17u16), (22, 18)] {
            let masks = exts.get(&mask).cloned().unwrap_or_default();
            let Some(raw) = exts.get_mut(&flow) else { return Err(Fail::Write(EINVAL)) };
            families.push((raw.get(9).copied(), masks.get(9).copied()));
            // The address is masked where it lies: octets 4 to 7, or 8 to 23, of the sockaddr.
            let octets = if raw.len() == 24 { 10..16 } else { 10..32 };
            for (byte, bits) in raw.iter_mut().zip(&masks).skip(octets.start).take(octets.len()) {
                *byte &= bits;
            }
        }
        let first = families.first().and_then(|f| f.0);
        if families.iter().any(|f| f.0 != first || f.1 != first) {
            return Err(Fail::Write(EINVAL));
        }
        let mut key: Vec<u8> = [17u16, 18, 19, 21, 22]
            .iter()
            .flat_map(|n| match (exts.get(n), n) {
                (None, 19) => vec![1, 0, 19, 0, 0, 0, 0, 0],
                (raw, _) => raw.cloned().unwrap_or_default(),
            })
            .collect();
        key.push(direction);
        let at = self.flows.iter().position(|f| f.key == key);
        let mut reply = self.reply(m, exts.values().cloned());
        if m.header.sa_type == 0 {
            // Nothing said is ESP, and the answer says so.
            msg::SATYPE.put(&mut reply, 2);
        }
        match (m.header.message, at) {
            (M::AddFlow, at) => {
                if let Some(at) = at {
                    self.flows.remove(at);
                }
                if !(1..=6).contains(&kind) {
                    return Err(Fail::Write(EINVAL));
                }
                let sa_type = msg::SATYPE.get(&reply);
                self.flows.push(Entry { id: 0, sa_type, key, exts });
            }
            (_, Some(at)) => {
                self.flows.remove(at);
            }
            (_, None) => return Err(Fail::Reply(ESRCH)),
        }
        self.send(To::All, reply);
        Ok(())
    }

    /// The first SA is applied before the second, unless that leads back to it.
    fn group(&mut self, m: &Message<'_>) -> Result<(), Fail> {
        let spi = |kind| match m.get(kind) {
            Some(Ext::Sa(sa)) => Ok(sa.spi),
            _ => Err(Fail::Write(EINVAL)),
        };
        let (first, next) = (spi(ExtType::Sa)?, spi(ExtType::Sa2OpenBsd)?);
        let there = |spi| self.sas.iter().any(|sa| sa.spi == spi);
        let mut end = next;
        while let Some(&(_, after)) = self.groups.iter().find(|g| g.0 == end) {
            end = after;
        }
        if !there(first) || !there(next) || end == first {
            return Err(Fail::Reply(ESRCH));
        }
        self.groups.push((first, next));
        Ok(())
    }

    fn ask_policy(&mut self, m: &Message<'_>) -> Result<(), Fail> {
        let Some(Ext::AskedPolicy(seq)) = m.get(ExtType::PolicyOpenBsd) else {
            return Err(Fail::Write(EINVAL));
        };
        let Some((_, flow)) = self.acquired.iter().find(|(s, _)| *s == seq) else {
            return Err(Fail::Reply(ESRCH));
        };
        let mut exts = flow.exts.clone();
        // The answer has the IP protocol where a flow has its kind.
        let protocol = exts.get(&19).and_then(|raw| raw.get(4)).copied().unwrap_or(0);
        if let Some(kind) = exts.get_mut(&20).and_then(|raw| raw.get_mut(4)) {
            *kind = protocol;
        }
        exts.extend(raws(m));
        let reply = self.reply(m, self.pick(&exts, &[17, 18, 20, 21, 22, 25]));
        self.send(To::All, reply);
        Ok(())
    }

    /// What sysctl(2) tells of the flows on OpenBSD, message by message.
    pub fn flow_dump(&self) -> Vec<u8> {
        let order = [5, 6, 20, 19, 21, 17, 22, 18, 10, 11];
        self.flows
            .iter()
            .flat_map(|f| {
                let number = MessageType::Unknown(16);
                self.own(number, f.sa_type, 0, self.pick(&f.exts, &order))
            })
            .collect()
    }

    /// How many flows of OpenBSD take a packet towards us, or from us, with this IP protocol: those
    /// whose addresses and ports agree with its own where their masks have a one. Ports at which the
    /// kernel does not look are 0.
    pub fn takers(&self, direction: u8, protocol: u8, src: SocketAddr, dst: SocketAddr) -> usize {
        let ported = self.dialect.behaviour.ports_of.contains(&protocol);
        let sockaddr = |number, packet: SocketAddr| {
            let port = if ported { packet.port() } else { 0 };
            let addr = crate::codec::Sockaddr::Ip(SocketAddr::new(packet.ip(), port));
            let mut raw = Vec::new();
            let address = ext::Address { proto: 0, prefix: 0, addr };
            ext::emit(self.dialect, number, &Ext::Address(address), &mut raw);
            raw
        };
        let side = |entry: &Entry, flow: u16, packet: SocketAddr| {
            let mask = entry.exts.get(&(flow - 4)).map_or(&[][..], Vec::as_slice);
            let held = entry.exts.get(&flow).map_or(&[][..], Vec::as_slice);
            let packet = sockaddr(flow, packet);
            // Behind the extension's head, and the sockaddr's length and family.
            held.len() == packet.len()
                && mask.len() == packet.len()
                && (10..held.len()).all(|at| packet[at] & mask[at] == held[at])
        };
        let takes = |entry: &&Entry| {
            let kind = entry.exts.get(&20).and_then(|raw| raw.get(5)).copied();
            let only = entry.exts.get(&19).and_then(|raw| raw.get(4)).copied().unwrap_or(0);
            kind == Some(direction)
                && (only == 0 || only == protocol)
                && side(entry, 21, src)
                && side(entry, 22, dst)
        };
        self.flows.iter().filter(takes).count()
    }

    pub(super) fn policies(&mut self, socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        use MessageType as M;
        let message = m.header.message;
        if m.header.sa_type != 0 && message != M::SpdDump {
            return Err(Fail::Reply(EINVAL));
        }
        match message {
            M::SpdAdd | M::SpdUpdate | M::SpdDelete => self.change(m),
            M::SpdSetIdx if self.dialect.name == "netbsd" => self.change(m),
            M::SpdGet | M::SpdDelete2 => self.by_id(socket, m),
            M::SpdDump => self.dump_policies(socket, m),
            M::SpdFlush => {
                self.flows.clear();
                let reply = self.reply(m, []);
                self.send(To::All, reply);
                Ok(())
            }
            M::SpdSetIdx => Err(Fail::Reply(ENOENT)),
            _ => Err(Fail::Reply(EINVAL)),
        }
    }

    fn change(&mut self, m: &Message<'_>) -> Result<(), Fail> {
        use MessageType as M;
        let mut exts = raws(m);
        let (Some(Ext::Policy(policy)), Some(src), Some(dst)) =
            (m.get(ExtType::Policy), exts.get(&5), exts.get(&6))
        else {
            return Err(Fail::Reply(EINVAL));
        };
        if self.dialect.name == "netbsd" && policy.direction == 3 {
            return Ok(()); // seen: no answer at all
        }
        for kind in [ExtType::AddressSrc, ExtType::AddressDst] {
            if let Some(Ext::Address(a)) = m.get(kind)
                && a.addr.ip().is_some_and(|ip| crate::policy::Prefix::new(ip, a.prefix).is_none())
            {
                return Err(Fail::Reply(EINVAL));
            }
        }
        let most = if self.dialect.name == "linux" { 3 } else { 2 };
        if !(1..=most).contains(&policy.direction) || policy.kind > 2 {
            return Err(Fail::Reply(EINVAL));
        }
        let key: Vec<u8> =
            [&src[4..], &dst[4..], &[policy.direction]].iter().flat_map(|s| s.to_vec()).collect();
        let at = self.flows.iter().position(|f| f.key == key);
        if m.header.message == M::SpdDelete {
            let at = at.ok_or(Fail::Reply(self.rules.no_flow))?;
            let id = self.flows.remove(at).id;
            if let Some(raw) = exts.get_mut(&18) {
                put_id(raw, id);
            }
            let reply = self.reply(m, self.pick(&exts, &[18, 5, 6]));
            self.send(To::All, reply);
            return Ok(());
        }
        for request in policy.requests() {
            if !(50..=51).contains(&request.protocol) && request.protocol != 108 {
                return Err(Fail::Reply(43));
            }
            let tunnel = u32::from(request.mode) == kame::MODE_TUNNEL;
            let bare = tunnel && request.src.ip().is_none() && self.dialect.name != "netbsd";
            if request.mode == 0 || request.mode > 2 || request.level > 3 || bare {
                return Err(Fail::Reply(EINVAL));
            }
        }
        let index_only = m.header.message == M::SpdSetIdx;
        if !index_only
            && u32::from(policy.kind) == kame::POLICY_IPSEC
            && policy.requests().next().is_none()
        {
            return Err(Fail::Reply(EINVAL));
        }
        match (at, m.header.message) {
            (Some(_), M::SpdAdd | M::SpdSetIdx) => return Err(Fail::Reply(EEXIST)),
            (Some(at), _) => {
                self.flows.remove(at);
            }
            (None, _) => {}
        }
        self.next_id += 1;
        let id = match self.dialect.name {
            // The lowest three bits tell the direction, counted from 0.
            "linux" => self.next_id << 3 | u32::from(policy.direction - 1),
            _ => self.next_id,
        };
        let answered = self.assign(&policy, &mut exts, id);
        let mut told = exts.clone();
        told.insert(18, answered);
        let reply = self.reply(m, self.pick(&told, &[18, 3, 5, 6]));
        if self.dialect.name != "freebsd" {
            exts.remove(&3);
        }
        if exts.contains_key(&3) {
            let now = Lifetime { add_seconds: self.now, ..Lifetime::default() };
            let mut current = Vec::new();
            ext::emit(self.dialect, 2, &Ext::Lifetime(now), &mut current);
            exts.insert(2, current);
        }
        self.flows.push(Entry { id, sa_type: 0, key, exts });
        self.send(To::All, reply);
        Ok(())
    }

    /// Gives the policy its number, and reqids where "unique" leaves them to the kernel; gives
    /// back the extension as the answer has it (NetBSD: with the reqids asked for).
    fn assign(&mut self, policy: &ext::Policy<'_>, exts: &mut super::Exts, id: u32) -> Vec<u8> {
        let mut requests: Vec<IpsecRequest<'_>> = policy.requests().collect();
        let mut as_asked = Vec::new();
        let scope = if self.dialect.name == "freebsd" { 1 } else { policy.scope };
        let mut numbered = *policy;
        (numbered.id, numbered.scope) = (id, scope);
        let mut asked = numbered.with(&requests);
        asked.scope = policy.scope;
        ext::emit(self.dialect, 18, &Ext::Policy(asked), &mut as_asked);
        let mut assigned = false;
        for request in &mut requests {
            if u32::from(request.level) == kame::LEVEL_UNIQUE
                && (request.reqid == 0 || request.reqid > kame::REQID_MAX)
            {
                request.reqid = self.next_reqid;
                self.next_reqid += 1;
                assigned = true;
            }
        }
        let mut raw = Vec::new();
        ext::emit(self.dialect, 18, &Ext::Policy(numbered.with(&requests)), &mut raw);
        exts.insert(18, raw);
        if assigned && self.dialect.name == "freebsd" {
            // FreeBSD tells the number it chose at once.
            as_asked.clear();
            let mut told = numbered.with(&requests);
            told.scope = policy.scope;
            ext::emit(self.dialect, 18, &Ext::Policy(told), &mut as_asked);
        }
        as_asked
    }

    fn by_id(&mut self, socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        let Some(Ext::Policy(policy)) = m.get(ExtType::Policy) else {
            return Err(Fail::Reply(EINVAL));
        };
        let at = self.flows.iter().position(|f| f.id == policy.id);
        if m.header.message == MessageType::SpdDelete2 {
            let at = at.ok_or(Fail::Reply(EINVAL))?;
            let gone = self.flows.remove(at);
            let kept = self.pick(&gone.exts, &[18]);
            let whole = self.dialect.name == "linux";
            let reply = if whole {
                self.reply(m, self.pick(&gone.exts, &[5, 6, 18]))
            } else {
                self.reply(m, if kept.is_empty() { kept } else { self.pick(&raws(m), &[18]) })
            };
            self.send(To::All, reply);
            return Ok(());
        }
        let at = at.ok_or(Fail::Reply(ENOENT))?;
        let mut reply = self.reply(m, self.pick(&self.flows[at].exts, &[5, 6, 18, 2, 3]));
        self.count_references(&mut reply);
        self.send(To::One(socket), reply);
        Ok(())
    }

    fn dump_policies(&mut self, socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        // FreeBSD: 0 any, 1 the global ones, 2 those of interfaces, 4 those of sockets.
        let scope = m.header.sa_type;
        if self.flows.is_empty() || scope != 0 && scope & 1 == 0 {
            return Err(Fail::Reply(ENOENT));
        }
        let mut left = self.flows.len() as u32;
        for at in 0..self.flows.len() {
            left -= 1;
            let mut reply = self.reply(m, self.pick(&self.flows[at].exts, &[5, 6, 18, 2, 3]));
            msg::SEQ.put(&mut reply, left);
            msg::SATYPE.put(&mut reply, 0);
            self.count_references(&mut reply);
            self.send(To::One(socket), reply);
        }
        Ok(())
    }

    /// Lets a packet ask for an SA: an ACQUIRE for the policy with this number (0: the only one
    /// of OpenBSD), from and to these addresses. Gives back its sequence number.
    pub fn acquire(&mut self, policy: u32, sa_type: u8, src: IpAddr, dst: IpAddr) -> u32 {
        self.seq += 1;
        let seq = self.seq;
        let mut exts = Vec::new();
        let full = crate::policy::Prefix::host(src).len;
        for (number, addr) in [(5, src), (6, dst)] {
            let addr = crate::codec::Sockaddr::Ip(SocketAddr::new(addr, 0));
            let address = ext::Address { proto: kame::PROTO_ANY as u8, prefix: full, addr };
            let mut raw = Vec::new();
            ext::emit(self.dialect, number, &Ext::Address(address), &mut raw);
            exts.push(raw);
        }
        if self.dialect.ext_number(ExtType::Policy).is_some() {
            let mut told = ext::Policy::plain(kame::POLICY_IPSEC as u16, kame::DIR_OUT as u8);
            told.id = policy;
            let mut raw = Vec::new();
            ext::emit(self.dialect, 18, &Ext::Policy(told), &mut raw);
            exts.push(raw);
        }
        let octets = self.own(MessageType::Acquire, sa_type, seq, exts);
        if let Some(flow) = self.flows.iter().find(|f| f.id == policy) {
            self.acquired.push((seq, flow.clone()));
        }
        self.send(To::Registered(sa_type), octets);
        seq
    }
}

fn put_id(raw: &mut [u8], id: u32) {
    crate::layout::x_policy_freebsd::ID.put(raw, id);
}
