//! IKE SAs of peers that have proved nothing yet: found by the message that made them, and counted.
//!
//! They are counted by how they began. What costs a stranger nothing is not to keep out who has shown that its
//! address is its own: a flood of IKEv1, where nothing shows that, leaves room for IKEv2.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Network, SaId};
use crate::crypto::sha1;
use crate::wire::IkeSpi;

/// The exchange that an IKE SA begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum First {
    /// IKEv2: IKE_SA_INIT. A cookie shows whose the address is.
    Init,
    /// IKEv1: Main Mode.
    Main,
    /// IKEv1: Aggressive Mode, which costs a key exchange at once.
    Aggressive,
}

/// A first message: two that have the peer's SPI in common are the same only if they say the same (RFC 7296
/// §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Message(IkeSpi, [u8; 20]);

impl Message {
    fn new(initiator: IkeSpi, octets: &[u8]) -> Self {
        Self(initiator, sha1(&[octets]))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct HalfOpen {
    by_message: HashMap<Message, SaId>,
    all: HashMap<SaId, (Message, Network, First)>,
    /// How many there are of each kind, and of those in each network.
    counts: HashMap<(First, Option<Network>), usize>,
}

impl HalfOpen {
    /// That which this first message made.
    pub fn of(&self, initiator: IkeSpi, octets: &[u8]) -> Option<SaId> {
        self.by_message.get(&Message::new(initiator, octets)).copied()
    }

    /// One whose peer has this SPI.
    pub fn named(&self, initiator: IkeSpi) -> Option<SaId> {
        let mut all = self.all.iter();
        all.find(|(_, (message, ..))| message.0 == initiator).map(|(id, _)| *id)
    }

    /// A first message made this one.
    pub fn opened(
        &mut self,
        (initiator, octets): (IkeSpi, &[u8]),
        id: SaId,
        remote: IpAddr,
        first: First,
    ) {
        self.closed(id);
        let (message, network) = (Message::new(initiator, octets), Network::of(remote));
        self.by_message.insert(message, id);
        self.all.insert(id, (message, network, first));
        for of in [None, Some(network)] {
            *self.counts.entry((first, of)).or_default() += 1;
        }
    }

    /// It is no longer half open (established or gone).
    pub fn closed(&mut self, id: SaId) {
        let Some((message, network, first)) = self.all.remove(&id) else { return };
        if self.by_message.get(&message) == Some(&id) {
            self.by_message.remove(&message);
        }
        for of in [None, Some(network)] {
            if let Some(count) = self.counts.get_mut(&(first, of)) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.counts.remove(&(first, of));
                }
            }
        }
        if self.all.is_empty() {
            *self = Self::default();
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// How many began so, in all and in the network of this address.
    pub fn counts(&self, first: First, remote: IpAddr) -> (usize, usize) {
        let count = |of| self.counts.get(&(first, of)).copied().unwrap_or(0);
        (count(None), count(Some(Network::of(remote))))
    }

    /// Those that began so, of one network or of all.
    pub fn list(&self, first: First, network: Option<Network>) -> impl Iterator<Item = SaId> {
        let all = self.all.iter();
        all.filter(move |(_, (_, near, began))| {
            *began == first && network.is_none_or(|network| network == *near)
        })
        .map(|(id, _)| *id)
    }
}
