//! What a kernel makes of an SA's values: whether they will do, and what it keeps.

use super::{Fail, Kernel, head, raws, rules};
use crate::alg::{Encryption, Protocol};
use crate::codec::Sockaddr;
use crate::dialect::{AddressStyle, ExtType, FlowStyle, kame};
use crate::ext::{self, Address, Ext};
use crate::layout;
use crate::message::Message;
use crate::policy::Prefix;
use std::net::SocketAddr;

impl Kernel {
    /// Judges algorithms and keys.
    pub(super) fn algorithms(&self, m: &Message<'_>) -> Result<(), Fail> {
        let Some(Ext::Sa(sa)) = m.get(ExtType::Sa) else { return Ok(()) };
        let bits = |kind| match m.get(kind) {
            Some(Ext::Key(key)) => Some(key.bits),
            _ => None,
        };
        let (auth, enc) = (bits(ExtType::KeyAuth), bits(ExtType::KeyEncrypt));
        let openbsd = self.dialect.flows == FlowStyle::Flows;
        let fits = |list: u16, id: u8, bits: u16| {
            let rows = self.rules.supported.iter().filter(|(n, _)| *n == list);
            let all = rows
                .flat_map(|(_, rows)| rows.iter())
                .chain(self.rules.unlisted.iter().filter(|_| list == 15));
            let mut all = all.filter(|row| row[0] == u16::from(id));
            all.any(|row: &rules::Listed| {
                let salt = match self.dialect.encryption(id) {
                    Some(e) if list == 15 && row[2].is_multiple_of(64) => e.salt_len() as u16 * 8,
                    _ => 0,
                };
                (row[2] + salt..=row[3] + salt).contains(&bits)
            })
        };
        match self.dialect.protocol(m.header.sa_type) {
            Some(Protocol::Esp) => {
                let algorithm = self.dialect.encryption(sa.encrypt);
                let aead = algorithm.is_some_and(Encryption::is_aead);
                let needs = !openbsd || algorithm != Some(Encryption::Null);
                let size = match (enc, needs) {
                    (None, true) => return Err(self.bad(self.rules.bad_algorithm)),
                    (bits, _) => bits.unwrap_or(0),
                };
                let aes = matches!(
                    algorithm,
                    Some(Encryption::AesCbc | Encryption::AesCtr | Encryption::AesGcm16)
                );
                let salt = algorithm.map_or(0, |a| a.salt_len() as u16 * 8);
                let aes = if openbsd { aead } else { aes };
                let odd = aes && !size.saturating_sub(salt).is_multiple_of(64);
                if !fits(15, sa.encrypt, size) || odd {
                    return Err(self.bad(self.rules.bad_algorithm));
                }
                if aead && !openbsd && (sa.auth != 0 || auth.is_some()) {
                    return Err(self.bad(self.rules.bad_algorithm));
                }
                if !aead && sa.auth != 0 && !fits(14, sa.auth, auth.unwrap_or(0)) {
                    return Err(self.bad(self.rules.bad_algorithm));
                }
                Ok(())
            }
            Some(Protocol::Ah) if !fits(14, sa.auth, auth.unwrap_or(0)) => {
                Err(self.bad(self.rules.bad_algorithm))
            }
            _ => Ok(()),
        }
    }

    /// What the kernel keeps of a request.
    pub(super) fn kept(&self, m: &Message<'_>) -> super::Exts {
        let mut exts = raws(m);
        let d = self.dialect;
        if let Some(Ext::Sa(sa)) = m.get(ExtType::Sa)
            && let Some(raw) = exts.get_mut(&1)
        {
            layout::sa::STATE.put(raw, 1);
            // Beside a combined-mode algorithm the kernel names the authentication itself.
            if let (Some(e), Some(Ext::Key(key))) =
                (d.encryption(sa.encrypt), m.get(ExtType::KeyEncrypt))
                && e.is_aead()
                && let Some(auth) = combined(d, e, key.bits)
            {
                layout::sa::AUTH.put(raw, auth);
                if d.flows == FlowStyle::Flows
                    && let Some(mut key) = exts.get(&9).cloned()
                {
                    head(&mut key, 8);
                    exts.insert(8, key);
                }
            }
        }
        if d.address == AddressStyle::ProtoPrefix {
            let all_natt = [20, 21, 22].iter().all(|n| exts.contains_key(n));
            for (number, kind, natt) in [
                (5, ExtType::AddressSrc, ExtType::NatTSport),
                (6, ExtType::AddressDst, ExtType::NatTDport),
            ] {
                if let Some(Ext::Address(a)) = m.get(kind)
                    && let Some(addr) = a.addr.socket()
                {
                    let mut raw = Vec::new();
                    let prefix = Prefix::host(addr.ip()).len;
                    let proto = kame::PROTO_ANY as u8;
                    // NetBSD shows the ports of NAT-T in the addresses too.
                    let port = match m.get(natt) {
                        Some(Ext::NatTPort(port)) if d.name == "netbsd" && all_natt => port,
                        _ => 0,
                    };
                    let addr = Sockaddr::Ip(SocketAddr::new(addr.ip(), port));
                    ext::emit(d, number, &Ext::Address(Address { proto, prefix, addr }), &mut raw);
                    exts.insert(number, raw);
                }
            }
        } else {
            counters(&mut exts);
            exts.entry(5).or_insert_with(|| {
                let mut bare = vec![0; layout::address_openbsd::SIZE];
                head(&mut bare, 5);
                bare
            });
        }
        if d.ext_number(ExtType::Sa2).is_some() {
            exts.entry(19).or_insert_with(|| {
                let mut bare = vec![0; layout::x_sa2::SIZE];
                head(&mut bare, 19);
                bare
            });
            // Two of the three are none.
            if ![20, 21, 22].iter().all(|n| exts.contains_key(n)) {
                exts.retain(|n, _| !(20..=22).contains(n));
                if d.name == "netbsd" {
                    // Which NetBSD tells by a type of 0.
                    let mut none = vec![0; layout::x_nat_t_type::SIZE];
                    head(&mut none, 20);
                    exts.insert(20, none);
                }
            }
        }
        if let (Some(Ext::ReplayWindow(packets)), Some(raw)) =
            (m.get(ExtType::SaReplay), exts.get_mut(&1))
        {
            layout::sa::REPLAY.put(raw, (packets / 8).min(255) as u8);
            if packets <= 255 * 8 {
                exts.remove(&26);
            }
        }
        exts
    }
}

/// What OpenBSD always tells.
pub(super) fn counters(exts: &mut super::Exts) {
    for (number, size) in [(36, layout::x_counter::SIZE), (39, layout::x_replay::SIZE)] {
        let mut raw = vec![0; size];
        head(&mut raw, number);
        exts.insert(number, raw);
    }
}

fn combined(dialect: &crate::Dialect, e: Encryption, bits: u16) -> Option<u8> {
    use crate::alg::Authentication as A;
    dialect.authentication_number(match (e, bits) {
        (Encryption::ChaCha20Poly1305, _) => A::ChaCha20Poly1305,
        (_, 160) => A::AesGmac128,
        (_, 224) => A::AesGmac192,
        (_, 288) => A::AesGmac256,
        _ => return None,
    })
}
