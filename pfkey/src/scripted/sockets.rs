//! Who hears of what: the sockets, their queues and what is copied to the promiscuous.

use super::{Kernel, SocketId};
use crate::codec::Packet;
use crate::dialect::{FlowStyle, MessageType};
use crate::layout::msg;
use std::collections::{BTreeSet, VecDeque};

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) pid: u32,
    pub(super) registered: BTreeSet<u8>,
    pub(super) promisc: bool,
    pub(super) queue: VecDeque<Packet>,
    /// Octets that fit the queue.
    pub(super) room: usize,
}

/// Who hears a message.
#[derive(Clone, Copy)]
pub(super) enum To {
    One(SocketId),
    All,
    /// Those who registered for the type; KAME: for any.
    Registered(u8),
    /// The one who asked, and those who registered.
    OneAndRegistered(SocketId),
}

impl Kernel {
    pub(super) fn send(&mut self, to: To, octets: Vec<u8>) {
        let any_type = self.dialect.flows != FlowStyle::Flows;
        let hears = |i: usize, s: &Socket| match to {
            To::One(id) => i == id.0,
            To::All => true,
            To::Registered(t) if any_type => t != 255 && !s.registered.is_empty(),
            To::Registered(t) => s.registered.contains(&t),
            To::OneAndRegistered(id) => i == id.0 || !s.registered.is_empty(),
        };
        let full = |s: &Socket| s.held() + octets.len() > s.room;
        if self.dialect.behaviour.enobufs_may_be_done
            && matches!(to, To::All)
            && self.sockets.iter().any(full)
        {
            self.lost = true;
            return;
        }
        // KAME wraps everything for the promiscuous; OpenBSD what they would not hear otherwise.
        let wrap = any_type || !matches!(to, To::All);
        let copy = self.copy(&octets, 0);
        for (i, s) in self.sockets.iter_mut().enumerate() {
            if wrap && s.promisc {
                enqueue(s, &copy);
            }
            if hears(i, s) {
                enqueue(s, &octets);
            }
        }
    }

    /// OpenBSD shows requests to the promiscuous.
    pub(super) fn copy_request(&mut self, octets: &[u8], pid: u32) {
        if self.dialect.flows == FlowStyle::Flows {
            let copy = self.copy(octets, pid);
            for s in self.sockets.iter_mut().filter(|s| s.promisc) {
                enqueue(s, &copy);
            }
        }
    }

    fn copy(&self, octets: &[u8], seq: u32) -> Vec<u8> {
        let mut out = self.own(MessageType::Promisc, 0, seq, vec![octets.to_vec()]);
        let words = ((out.len() + self.dialect.copies_claim) / 8) as u16;
        msg::LEN.put(&mut out, words);
        out
    }
}

impl Socket {
    /// Octets in the queue.
    fn held(&self) -> usize {
        self.queue.iter().map(|p| p.len()).sum()
    }
}

fn enqueue(socket: &mut Socket, octets: &[u8]) {
    if socket.held().saturating_add(octets.len()) <= socket.room {
        socket.queue.push_back(Packet::new(octets.to_vec()));
    }
}
