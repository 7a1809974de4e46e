//! IKE SAs by their policy, the peer's address and its identity, for what would else be a walk through
//! all of them.
//!
//! What is kept of a key is a short hash, as there are very many SAs: whoever looks asks the SAs that
//! are found whether they are meant.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use super::SaId;
use crate::conf::Policy;
use crate::ike::id;
use crate::ike::sa::Sa;
use crate::wire::IkeSpi;
use crate::wire::v2::Id;

/// By what IKE SAs are found.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    /// The policy.
    Policy(&'a Arc<Policy>),
    /// The peer's address.
    Remote(IpAddr),
    /// Who the peer is, once it has proved that.
    Peer(&'a Id),
}

impl Key<'_> {
    fn short(self) -> u32 {
        let mut hasher = DefaultHasher::new();
        match self {
            Key::Policy(policy) => (0u8, Arc::as_ptr(policy)).hash(&mut hasher),
            Key::Remote(address) => (1u8, address).hash(&mut hasher),
            Key::Peer(id) => (2u8, id.id_type, id::folded(id)).hash(&mut hasher),
        }
        // 0 stands for none.
        u32::try_from(hasher.finish() >> 32).unwrap_or_default().max(1)
    }
}

/// The keys by which an IKE SA is found at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keys([u32; 3]);

impl Keys {
    /// Of this one.
    pub fn of(sa: &Sa) -> Self {
        let peer = sa.standing().map_or(0, |standing| Key::Peer(&standing.ids.1).short());
        let remote = Key::Remote(sa.frame.remote.ip()).short();
        Self([Key::Policy(&sa.frame.policy).short(), remote, peer])
    }
}

/// The index.
#[derive(Debug, Default)]
pub struct Index(BTreeSet<(u32, SaId)>);

impl Index {
    /// An IKE SA has other keys now.
    pub fn change(&mut self, id: SaId, old: Keys, new: Keys) {
        for (old, new) in old.0.into_iter().zip(new.0) {
            if old != new && old != 0 {
                self.0.remove(&(old, id));
            }
            if old != new && new != 0 {
                self.0.insert((new, id));
            }
        }
    }

    /// Those that may have this key.
    pub fn of(&self, key: Key<'_>) -> impl Iterator<Item = SaId> {
        let short = key.short();
        let least = (short, SaId(IkeSpi([0; 8])));
        let most = (short, SaId(IkeSpi([0xff; 8])));
        self.0.range(least..=most).map(|(_, id)| *id)
    }
}
