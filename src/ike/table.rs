//! Which IKE SA a message belongs to.

mod index;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::Settings;
use super::event::Time;
use super::sa::Sa;
use crate::conf::Prefix;
use crate::wire::IkeSpi;
use index::Index;
pub use index::{Key, Keys};

/// Names an IKE SA within the engine: the SPI that we chose for it, which is unique here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaId(pub IkeSpi);

/// Whether there is room for one more half-open SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowd {
    /// There is.
    Admit,
    /// If this one, the oldest, goes.
    Evict(SaId),
    /// There is not.
    Refuse,
}

/// All IKE SAs.
#[derive(Debug, Default)]
pub struct Table {
    sas: BTreeMap<SaId, Box<Sa>>,
    /// Half-open SAs by the peer's SPI: a first message sent again names no SPI of ours.
    half_open: HashMap<IkeSpi, (SaId, Network)>,
    /// How many of them each network has.
    networks: HashMap<Network, usize>,
    index: Index,
    /// The SAs by which we call peers, as long as they count ([`Sa::is_calling`]).
    calls: BTreeSet<SaId>,
}

/// The network that a peer calls from: those who hold one address of it mostly hold them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// That of this address.
    pub fn of(address: IpAddr) -> Self {
        let length = if address.is_ipv4() { 24 } else { 48 };
        Self(Prefix::new(address, length).map_or(address, |prefix| prefix.address()))
    }
}

impl Table {
    /// The SA of this name.
    pub fn get(&self, id: SaId) -> Option<&Sa> {
        self.sas.get(&id).map(|sa| &**sa)
    }

    /// Takes an SA out to work on it; [`Table::put`] brings it back, or [`Table::forget`] follows.
    pub fn take(&mut self, id: SaId) -> Option<Box<Sa>> {
        self.sas.remove(&id)
    }

    /// Brings an SA (back) in.
    pub fn put(&mut self, now: Time, mut sa: Box<Sa>) {
        let id = sa.id();
        let keys = Keys::of(&sa);
        self.index.change(id, std::mem::replace(&mut sa.frame.keys, keys), keys);
        match sa.is_calling(now) {
            true => self.calls.insert(id),
            false => self.calls.remove(&id),
        };
        self.sas.insert(id, sa);
    }

    /// An SA that was taken out does not come back.
    pub fn forget(&mut self, sa: &mut Sa) {
        let keys = std::mem::take(&mut sa.frame.keys);
        self.index.change(sa.id(), keys, Keys::default());
        self.calls.remove(&sa.id());
    }

    /// How many calls of ours count at the moment.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// The names of the SAs that have this key and fulfil a condition, in a stable order.
    pub fn found(&self, key: Key<'_>, mut condition: impl FnMut(&Sa) -> bool) -> Vec<SaId> {
        let all = self.index.of(key);
        all.filter(|id| self.get(*id).is_some_and(&mut condition)).collect()
    }

    /// The SA that this first message of a peer made, if it is still half open.
    pub fn half_open(&self, initiator: IkeSpi) -> Option<SaId> {
        self.half_open.get(&initiator).map(|(id, _)| *id)
    }

    /// A peer's first message made this SA.
    pub fn opened(&mut self, initiator: IkeSpi, id: SaId, remote: IpAddr) {
        self.closed(initiator);
        let network = Network::of(remote);
        self.half_open.insert(initiator, (id, network));
        *self.networks.entry(network).or_default() += 1;
    }

    /// Whether one more peer that has proved nothing may open (IKEv1, where no cookie proves an
    /// address). There are bounds for all of them and for those of one network; beyond them the
    /// oldest gives way. Where each costs a key exchange the bound is far lower, and the new one is
    /// refused: otherwise a flood would still make us compute.
    pub fn crowd(&self, remote: IpAddr, settings: &Settings, costly: bool) -> Crowd {
        let (total, near) = (self.half_open_count(), self.half_open_near(remote));
        let (most, most_near) = match costly {
            true => (settings.half_open_costly, settings.half_open_costly.div_ceil(2)),
            false => (settings.half_open_most, settings.half_open_one),
        };
        if total < most && near < most_near {
            return Crowd::Admit;
        }
        if costly {
            return Crowd::Refuse;
        }
        let network = Network::of(remote);
        let all = self.half_open.values();
        let crowded = all.filter(|(_, of)| near < most_near || *of == network);
        let sas = crowded.filter_map(|(id, _)| self.get(*id));
        let oldest = sas.min_by_key(|sa| (sa.frame.created, sa.id()));
        oldest.map_or(Crowd::Admit, |sa| Crowd::Evict(sa.id()))
    }

    /// The SA is no longer half open (established or gone).
    pub fn closed(&mut self, initiator: IkeSpi) {
        let Some((_, network)) = self.half_open.remove(&initiator) else { return };
        if let Some(count) = self.networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
        if self.half_open.is_empty() {
            self.half_open.shrink_to_fit();
            self.networks.shrink_to_fit();
        }
    }

    /// How many SAs of peers are half open.
    pub fn half_open_count(&self) -> usize {
        self.half_open.len()
    }

    /// How many of them are from the network of this address.
    pub fn half_open_near(&self, remote: IpAddr) -> usize {
        self.networks.get(&Network::of(remote)).copied().unwrap_or(0)
    }

    /// All SAs, in a stable order.
    pub fn iter(&self) -> impl Iterator<Item = &Sa> {
        self.sas.values().map(|sa| &**sa)
    }

    /// The names of the SAs that fulfil a condition, in a stable order.
    pub fn ids(&self, mut condition: impl FnMut(&Sa) -> bool) -> Vec<SaId> {
        self.sas.values().filter(|sa| condition(sa)).map(|sa| sa.id()).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sas.is_empty()
    }

    /// Whether this SPI of ours is in use.
    pub fn contains(&self, id: SaId) -> bool {
        self.sas.contains_key(&id)
    }
}
