//! Which IKE SA a message belongs to.

mod half_open;
mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Settings;
use super::event::Time;
use super::sa::Sa;
use crate::conf::Prefix;
use crate::wire::IkeSpi;
pub use half_open::First;
use half_open::HalfOpen;
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
    /// Those of peers that have proved nothing yet.
    pub half_open: HalfOpen,
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

    /// Whether one more peer that has proved nothing may open (IKEv1, where no cookie proves an
    /// address). There are bounds for all that begin so and for those of one network; beyond them the
    /// oldest gives way. Where each costs a key exchange the bound is far lower, and the new one is
    /// refused: otherwise a flood would still make us compute.
    pub fn crowd(&self, remote: IpAddr, settings: &Settings, first: First) -> Crowd {
        let (total, near) = self.half_open.counts(first, remote);
        let costly = first == First::Aggressive;
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
        let crowded = (near >= most_near).then(|| Network::of(remote));
        let sas = self.half_open.list(first, crowded).filter_map(|id| self.get(id));
        let oldest = sas.min_by_key(|sa| (sa.frame.created, sa.id()));
        oldest.map_or(Crowd::Admit, |sa| Crowd::Evict(sa.id()))
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
