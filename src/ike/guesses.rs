//! How often passwords are tried, over all SAs: whoever opens one after the other has no more tries than in one.
//!
//! Each try takes from what its address may have, and from what the user may have; both come back with
//! time, and at once if the password was right. Who has nothing left waits, and is judged then: so
//! a user whose name somebody else guesses with still gets in. At an address where the user got in before,
//! only what the address has counts.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use super::event::Time;
use crate::conf::Prefix;

/// How many are remembered of addresses, of users, and of users with their addresses.
const REMEMBERED: usize = 4096;

/// How many tries in a row there are, and what time brings one back.
#[derive(Debug)]
struct Measure {
    burst: u32,
    every: Duration,
}

/// Of an address, or of a network of IPv6 that one host may have.
const OF_ADDRESS: Measure = Measure { burst: 6, every: Duration::from_secs(10) };

/// Of a user: more, so that one address alone does not use up what others have.
const OF_USER: Measure = Measure { burst: 20, every: Duration::from_secs(2) };

/// Tries of passwords.
#[derive(Debug, Default)]
pub struct Guesses {
    addresses: Meters<IpAddr>,
    users: Meters<String>,
    /// Where users got in, and when last.
    known: HashMap<(String, IpAddr), Time>,
}

/// What comes of asking for a try.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may be judged.
    Now,
    /// Not before then. Whether it is the first of those that have to wait, in a while.
    Later(Time, bool),
}

/// When each has all its tries again, if it has not; and whether somebody had to wait.
#[derive(Debug)]
struct Meters<K>(HashMap<K, (Time, bool)>);

impl<K> Default for Meters<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Meters<K> {
    /// When there is a try, if there is none now.
    fn wait(&self, now: Time, key: &K, measure: &Measure) -> Option<Time> {
        let (whole, _) = *self.0.get(key)?;
        let most = measure.every * (measure.burst - 1);
        (whole.since(now) > most).then(|| now.after(whole.since(now) - most))
    }

    fn take(&mut self, now: Time, key: &K, measure: &Measure) {
        if self.0.len() >= REMEMBERED && !self.0.contains_key(key) {
            self.0.retain(|_, (whole, _)| *whole > now);
            // Whoever has most left is forgotten first.
            if self.0.len() >= REMEMBERED {
                let first = self.0.iter().min_by_key(|(_, (whole, _))| *whole);
                let first = first.map(|(key, _)| key.clone());
                first.and_then(|first| self.0.remove(&first));
            }
        }
        let (whole, waits) = self.0.get(key).copied().unwrap_or((now, false));
        let left = whole.since(now);
        let waits = waits && !left.is_zero();
        self.0.insert(key.clone(), (now.after(left + measure.every), waits));
    }

    fn give_back(&mut self, now: Time, key: &K, measure: &Measure) {
        let Some((whole, _)) = self.0.get_mut(key) else { return };
        *whole = now.after(whole.since(now).saturating_sub(measure.every));
    }

    /// Somebody has to wait: whether that is new.
    fn tell(&mut self, key: &K) -> bool {
        self.0.get_mut(key).is_some_and(|(_, waits)| !std::mem::replace(waits, true))
    }
}

impl Guesses {
    /// Asks for a try to log in as a user from an address; if there is one, it is taken.
    pub fn ask(&mut self, now: Time, user: &str, address: IpAddr) -> Turn {
        let (user, address) = (user.to_owned(), network(address));
        let known = self.known.contains_key(&(user.clone(), address));
        let by_address = self.addresses.wait(now, &address, &OF_ADDRESS);
        let by_user = self.users.wait(now, &user, &OF_USER).filter(|_| !known);
        if let Some(then) = by_address.max(by_user) {
            let address_tells = by_address.is_some() && self.addresses.tell(&address);
            let user_tells = by_user.is_some() && self.users.tell(&user);
            return Turn::Later(then, address_tells || user_tells);
        }
        self.addresses.take(now, &address, &OF_ADDRESS);
        if !known {
            self.users.take(now, &user, &OF_USER);
        }
        Turn::Now
    }

    /// The password was right: the try counts for nothing.
    pub fn succeeded(&mut self, now: Time, user: &str, address: IpAddr) {
        let (user, address) = (user.to_owned(), network(address));
        self.addresses.give_back(now, &address, &OF_ADDRESS);
        if !self.known.contains_key(&(user.clone(), address)) {
            self.users.give_back(now, &user, &OF_USER);
            if self.known.len() >= REMEMBERED {
                let first = self.known.iter().min_by_key(|(_, last)| **last);
                let first = first.map(|(key, _)| key.clone());
                first.and_then(|first| self.known.remove(&first));
            }
        }
        self.known.insert((user, address), now);
    }
}

/// What one host may choose its addresses from.
fn network(address: IpAddr) -> IpAddr {
    let length = if address.is_ipv4() { 32 } else { 64 };
    Prefix::new(address, length).map_or(address, |prefix| prefix.address())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::at(Duration::from_secs(seconds))
    }

    /// How many tries there are in so many seconds, with one each second.
    fn tries(guesses: &mut Guesses, seconds: u64, whom: impl Fn(u64) -> (String, IpAddr)) -> u64 {
        let judged = |second: &u64| {
            let (user, address) = whom(*second);
            guesses.ask(at(*second), &user, address) == Turn::Now
        };
        (0..seconds).filter(judged).count() as u64
    }

    #[test]
    fn an_address_has_few_tries_whatever_users_it_names() {
        let mut guesses = Guesses::default();
        let attacker = "192.0.2.66".parse().unwrap();
        assert_eq!(tries(&mut guesses, 600, |second| (format!("user{second}"), attacker)), 65);
        assert_eq!(guesses.ask(at(600), "bob", "192.0.2.1".parse().unwrap()), Turn::Now);
    }

    #[test]
    fn a_host_has_as_many_with_all_its_addresses_of_ipv6() {
        let mut guesses = Guesses::default();
        let address = |second| format!("2001:db8::{second:x}").parse().unwrap();
        assert_eq!(tries(&mut guesses, 600, |second| ("alice".into(), address(second))), 65);
    }

    #[test]
    fn a_user_has_few_tries_from_everywhere_and_is_not_locked_out() {
        let mut guesses = Guesses::default();
        let (home, away) = ("198.51.100.1".parse().unwrap(), "198.51.100.2".parse().unwrap());
        assert_eq!(guesses.ask(at(0), "alice", home), Turn::Now);
        guesses.succeeded(at(0), "alice", home);
        let address =
            |second: u64| IpAddr::from([203, 0, (second / 200) as u8, (second % 200) as u8]);
        assert_eq!(tries(&mut guesses, 600, |second| ("alice".into(), address(second))), 319);
        assert_eq!(guesses.ask(at(600), "alice", home), Turn::Now, "where she got in before");
        assert!((600..603).any(|second| guesses.ask(at(second), "alice", away) == Turn::Now));
    }

    #[test]
    fn what_is_right_costs_nothing_and_who_waits_is_told_once() {
        let mut guesses = Guesses::default();
        let address = "192.0.2.1".parse().unwrap();
        for _ in 0..100 {
            assert_eq!(guesses.ask(at(1), "alice", address), Turn::Now);
            guesses.succeeded(at(1), "alice", address);
        }
        let told =
            (0..100).filter(|_| guesses.ask(at(1), "bob", address) == Turn::Later(at(11), true));
        assert_eq!(told.count(), 1);
        // What was told before holds until all tries are there again.
        for second in [30, 1000, 1001, 1002, 1003, 1004, 1005] {
            assert_eq!(guesses.ask(at(second), "bob", address), Turn::Now);
        }
        assert!(matches!(guesses.ask(at(1005), "bob", address), Turn::Later(_, true)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut guesses = Guesses::default();
        for number in 0..20_000u32 {
            let address = IpAddr::from(number.to_be_bytes());
            let name = number.to_string();
            assert_eq!(guesses.ask(at(1), &name, address), Turn::Now);
            guesses.succeeded(at(1), &name, address);
        }
        let Guesses { addresses, users, known } = guesses;
        assert!([addresses.0.len(), users.0.len(), known.len()].iter().all(|it| *it <= REMEMBERED));
    }
}
