//! Memory for messages that are not whole yet: bounded for all IKE SAs together, and for peers of one network
//! that have proved nothing. What one message may take is said where it is put together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::table::Network;

/// What keeping a fragment costs besides its octets, roughly.
pub const OVERHEAD: usize = 64;

/// The most octets that wait in all IKE SAs together.
const ALL: usize = 8 * 1024 * 1024;

/// The most of peers that have not proved who they are: they leave room for those that have.
const UNPROVED: usize = ALL / 4 * 3;

/// The most of those of one network: they leave room for others.
const NETWORK: usize = ALL / 16;

/// All incomplete messages together.
#[derive(Debug, Clone, Default)]
pub struct Pool(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    unproved: HashMap<Network, usize>,
}

impl Pool {
    /// What waits now, in octets.
    pub fn octets(&self) -> usize {
        self.counts().all
    }

    /// Room for a message of a peer at this address, which may have proved who it is.
    pub fn room(&self, remote: IpAddr, proved: bool) -> Room {
        let network = (!proved).then(|| Network::of(remote));
        Room { pool: self.clone(), octets: 0, network }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one message, given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    pool: Pool,
    octets: usize,
    network: Option<Network>,
}

impl Room {
    /// It is so many octets now.
    ///
    /// # Errors
    ///
    /// Why it stays as it is, in words.
    pub fn resize(&mut self, octets: usize) -> Result<(), String> {
        let mut counts = self.pool.counts();
        let all = counts.all - self.octets + octets;
        let near = self.network.map(|network| {
            let near = counts.unproved.get(&network).copied().unwrap_or(0);
            (network, near - self.octets + octets)
        });
        let most = if near.is_some() { UNPROVED } else { ALL };
        if octets > self.octets && all > most {
            return Err("too many incomplete messages wait already".into());
        }
        if octets > self.octets && near.is_some_and(|(_, near)| near > NETWORK) {
            return Err("too many incomplete messages of this network wait already".into());
        }
        counts.all = all;
        match near {
            Some((network, 0)) => drop(counts.unproved.remove(&network)),
            Some((network, near)) => drop(counts.unproved.insert(network, near)),
            None => (),
        }
        drop(counts);
        self.octets = octets;
        Ok(())
    }

    /// Its octets.
    pub fn octets(&self) -> usize {
        self.octets
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What becomes less is never refused.
        let _ = self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn address(third: u8) -> IpAddr {
        IpAddr::from([192, 0, third, 1])
    }

    /// How many messages of 32 KB fit.
    fn fill(pool: &Pool, addresses: impl Iterator<Item = u8>, proved: bool) -> Vec<Room> {
        let rooms = addresses.map_while(|third| {
            let mut room = pool.room(address(third), proved);
            room.resize(32 * 1024).ok().map(|()| room)
        });
        rooms.collect()
    }

    #[test]
    fn one_network_leaves_room_for_others_and_strangers_for_peers() {
        let pool = Pool::default();
        let near = fill(&pool, std::iter::repeat(7), false);
        assert_eq!(near.len(), NETWORK / (32 * 1024));
        assert_eq!(pool.octets(), NETWORK);
        let others = fill(&pool, (0..=255).filter(|third| *third != 7), false);
        assert_eq!(pool.octets(), UNPROVED);
        let proved = fill(&pool, std::iter::repeat(7), true);
        assert_eq!(pool.octets(), ALL);
        drop((near, others, proved));
        assert_eq!((pool.octets(), pool.counts().unproved.len()), (0, 0));
    }

    #[test]
    fn room_grows_and_shrinks() {
        let pool = Pool::default();
        let mut room = pool.room(address(1), false);
        assert!(room.resize(NETWORK + 1).is_err());
        assert_eq!(pool.octets(), 0);
        for octets in [5, NETWORK, 7] {
            room.resize(octets).unwrap();
            assert_eq!((room.octets(), pool.octets()), (octets, octets));
        }
        drop(room);
        assert_eq!(pool.octets(), 0);
    }
}
