//! Time passing for SAs.

use super::{Kernel, Sa, To, head};
use crate::dialect::{FlowStyle, MessageType};
use crate::ext::{self, Ext};
use crate::layout;
use crate::request::Lifetime;

impl Kernel {
    /// Larval SAs vanish; lifetimes end as each kernel ends them.
    pub(super) fn tick(&mut self) {
        let now = self.now;
        let larval = u64::from(self.dialect.behaviour.larval_seconds);
        self.sas.retain(|sa| !sa.larval || now.saturating_sub(sa.born) <= larval);
        let netbsd = self.dialect.behaviour.soft_deletes_unused;
        let mut gone = Vec::new();
        let mut tell = Vec::new();
        for at in 0..self.sas.len() {
            let sa = &self.sas[at];
            let over = |number: u16| sa.exts.get(&number).is_some_and(|raw| is_over(sa, raw, now));
            let (hard, soft) = (over(3), over(4));
            if hard && !netbsd {
                tell.push((at, true));
                gone.push(at);
            } else if soft && netbsd && sa.used == 0 || hard && netbsd && sa.dying {
                gone.push(at);
            } else if soft && !sa.dying {
                tell.push((at, false));
            }
        }
        for (at, hard) in tell {
            self.sas[at].dying = true;
            let drop = if hard { 4 } else { 3 };
            let mut exts = self.sas[at].exts.clone();
            exts.insert(2, self.current(&self.sas[at]));
            exts.remove(&drop);
            if self.dialect.flows != FlowStyle::Flows
                && let Some(raw) = exts.get_mut(&1)
            {
                layout::sa::STATE.put(raw, if hard { 3 } else { 2 });
            }
            if self.dialect.flows == FlowStyle::Flows && !hard && exts.contains_key(&4) {
                // The soft limits are wiped before they are told, and stay so.
                let mut zero = vec![0; layout::lifetime::SIZE];
                head(&mut zero, 4);
                exts.insert(4, zero.clone());
                self.sas[at].exts.insert(4, zero);
            }
            let sa = &self.sas[at];
            let seq = if self.dialect.flows == FlowStyle::Flows { self.seq + 1 } else { sa.seq };
            self.seq = if self.dialect.flows == FlowStyle::Flows { seq } else { self.seq };
            let order = self.rules.expire;
            let sa_type = sa.sa_type;
            let octets = self.own(MessageType::Expire, sa_type, seq, self.pick(&exts, order));
            let to = if self.rules.broadcasts_all { To::All } else { To::Registered(sa_type) };
            self.send(to, octets);
        }
        for at in gone.into_iter().rev() {
            self.sas.remove(at);
        }
    }

    /// What it has counted, and since when.
    pub(super) fn current(&self, sa: &Sa) -> Vec<u8> {
        let life = Lifetime {
            allocations: 0,
            bytes: sa.bytes,
            add_seconds: sa.born,
            use_seconds: sa.used,
        };
        let mut raw = Vec::new();
        ext::emit(self.dialect, 2, &Ext::Lifetime(life), &mut raw);
        raw
    }
}

/// Whether a lifetime's limits are reached. Counting by KAME is "more than".
fn is_over(sa: &Sa, limits: &[u8], now: u64) -> bool {
    use layout::lifetime as l;
    let add = l::ADDTIME.get(limits);
    let bytes = l::BYTES.get(limits);
    let used = l::USETIME.get(limits);
    add != 0 && now.saturating_sub(sa.born) > add
        || bytes != 0 && sa.bytes >= bytes
        || used != 0 && sa.used != 0 && now.saturating_sub(sa.used) > used
}
