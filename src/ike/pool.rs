//! Addresses for peers that ask for one: pools, and who has (or had) which.
//!
//! An address stays with the identity that had it until somebody else needs it, so that a peer that
//! comes back finds its own again. Taking and giving back cost the same however many are out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::conf::Policy;
use crate::wire::v2::Id;

/// Of how many addresses that nobody has now it is remembered who had them.
const MOST_REMEMBERED: usize = 1 << 17;

/// The longest identity of which it is remembered which address it had, in octets.
const LONGEST_HOLDER: usize = 1024;

/// Who has an address: an identity's type and octets, names without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder(Arc<[u8]>);

impl Holder {
    /// The holder of an identity.
    pub fn of(id: &Id) -> Self {
        use crate::wire::iana::v2::IdType;
        let mut octets = vec![id.id_type.0];
        octets.extend(&id.data);
        if matches!(id.id_type, IdType::ID_FQDN | IdType::ID_RFC822_ADDR) {
            octets.make_ascii_lowercase();
        }
        Self(octets.into())
    }

    /// From octets that [`Holder::octets`] gave.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        (1..=LONGEST_HOLDER).contains(&octets.len()).then(|| Self(octets.into()))
    }

    /// Its octets, to be kept.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// An address and who has it or had it last: what outlives the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// The holder.
    pub holder: Holder,
}

/// What is asked of the pools.
pub struct Wish<'a> {
    /// The pools that may serve, of one family, in order.
    pub pools: &'a [Range],
    /// Addresses that belong to somebody else.
    pub reserved: &'a [IpAddr],
    /// Who asks.
    pub holder: Holder,
    /// The address that it would like.
    pub preferred: Option<IpAddr>,
    /// Whether it may have an address that it holds already by another IKE SA.
    pub take_over: bool,
}

/// The addresses of a pool, inclusive; both of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
}

impl Range {
    /// Whether an address is among them.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }
}

/// The pools of a policy.
pub fn ranges(policy: &Policy) -> impl Iterator<Item = Range> {
    policy.provision.addresses.iter().map(|pool| {
        let (first, last) = pool.range();
        Range { first, last }
    })
}

/// No pool has an address left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

/// All pools, and every address that is out or remembered.
#[derive(Debug, Default)]
pub struct Pools {
    pools: BTreeMap<Range, Pool>,
    entries: HashMap<IpAddr, Entry>,
    held_by: HashMap<Holder, Vec<IpAddr>>,
    sequence: u64,
    free: usize,
}

#[derive(Debug)]
struct Entry {
    holder: Holder,
    pool: Range,
    /// How many IKE SAs have it.
    count: u32,
    /// When it was given back; 0 as long as it is out.
    freed: u64,
}

#[derive(Debug)]
struct Pool {
    last: u128,
    /// Every address before this one has been out (or is none to give).
    next: Option<u128>,
    /// What was given back, the longest ago first.
    free: BTreeSet<(u64, IpAddr)>,
    /// Addresses before `next` of which nothing is remembered.
    forgotten: bool,
}

impl Pools {
    /// Takes an address: the one that the holder had, else the one it would like, else one that was
    /// never out, else the one that was given back the longest ago. The second value says whether
    /// it is news who holds it.
    ///
    /// # Errors
    ///
    /// All are out.
    pub fn take(&mut self, wish: &Wish<'_>) -> Result<(IpAddr, bool), Exhausted> {
        for pool in wish.pools {
            self.pools.entry(*pool).or_insert_with(|| Pool::new(pool));
        }
        if let Some(address) = self.earlier(wish) {
            self.hold(address);
            return Ok((address, false));
        }
        let preferred = wish.preferred.filter(|address| self.is_free(wish, *address));
        let found = preferred
            .and_then(|address| Some((pool_of(wish.pools, address)?, address)))
            .or_else(|| wish.pools.iter().find_map(|pool| self.unused(*pool, wish)))
            .or_else(|| wish.pools.iter().find_map(|pool| self.oldest(*pool, wish)));
        let (pool, address) = found.ok_or(Exhausted)?;
        self.assign(address, pool, wish.holder.clone(), 1);
        Ok((address, true))
    }

    /// An IKE SA no longer has this address.
    pub fn give_back(&mut self, address: IpAddr) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        entry.count = entry.count.saturating_sub(1);
        if entry.count > 0 || entry.freed > 0 {
            return;
        }
        self.sequence += 1;
        entry.freed = self.sequence;
        let place = (entry.freed, address);
        let pool = entry.pool;
        self.free += 1;
        if let Some(pool) = self.pools.get_mut(&pool) {
            pool.free.insert(place);
        }
        self.forget_some(pool);
    }

    /// Who had an address before the engine began.
    pub fn recall(&mut self, lease: Lease, pools: &[Range]) {
        let Lease { address, holder } = lease;
        let Some(pool) = pool_of(pools, address) else { return };
        if self.entries.contains_key(&address) || holder.0.len() > LONGEST_HOLDER {
            return;
        }
        self.pools.entry(pool).or_insert_with(|| Pool::new(&pool));
        self.assign(address, pool, holder, 1);
        self.give_back(address);
    }

    /// Whether an IKE SA has this address.
    pub fn is_held(&self, address: IpAddr) -> bool {
        self.entries.get(&address).is_some_and(|entry| entry.count > 0)
    }

    /// How many addresses are out.
    pub fn held(&self) -> usize {
        self.entries.len() - self.free
    }

    /// An address that the holder has had and may have again.
    fn earlier(&self, wish: &Wish<'_>) -> Option<IpAddr> {
        let known = self.held_by.get(&wish.holder)?;
        let fits = |address: &&IpAddr| {
            pool_of(wish.pools, **address).is_some() && !wish.reserved.contains(address)
        };
        let mut fitting = known.iter().filter(fits);
        let free = fitting.clone().find(|address| !self.is_held(**address));
        free.or_else(|| fitting.next().filter(|_| wish.take_over)).copied()
    }

    fn hold(&mut self, address: IpAddr) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        entry.count += 1;
        let freed = std::mem::take(&mut entry.freed);
        if freed > 0 {
            self.free -= 1;
            if let Some(pool) = self.pools.get_mut(&entry.pool) {
                pool.free.remove(&(freed, address));
            }
        }
    }

    fn assign(&mut self, address: IpAddr, pool: Range, holder: Holder, count: u32) {
        self.forget(address);
        self.held_by.entry(holder.clone()).or_default().push(address);
        self.entries.insert(address, Entry { holder, pool, count, freed: 0 });
    }

    /// Whether nobody has or had an address that may be given.
    fn is_free(&self, wish: &Wish<'_>, address: IpAddr) -> bool {
        pool_of(wish.pools, address).is_some()
            && !wish.reserved.contains(&address)
            && !self.entries.contains_key(&address)
    }

    /// The next address that was never out.
    fn unused(&mut self, range: Range, wish: &Wish<'_>) -> Option<(Range, IpAddr)> {
        let pool = self.pools.get_mut(&range)?;
        if pool.next.is_none() && std::mem::take(&mut pool.forgotten) {
            pool.next = Some(number(range.first));
        }
        while let Some(next) = pool.next {
            pool.next = next.checked_add(1).filter(|next| *next <= pool.last);
            let address = address(next, range.first.is_ipv4());
            if !self.entries.contains_key(&address) && !wish.reserved.contains(&address) {
                return Some((range, address));
            }
        }
        None
    }

    /// The address that was given back the longest ago.
    fn oldest(&self, range: Range, wish: &Wish<'_>) -> Option<(Range, IpAddr)> {
        let free = &self.pools.get(&range)?.free;
        let mut free = free.iter().map(|(_, address)| *address);
        free.find(|address| !wish.reserved.contains(address)).map(|address| (range, address))
    }

    /// Forgets who had an address.
    fn forget(&mut self, address: IpAddr) {
        let Some(entry) = self.entries.remove(&address) else { return };
        if entry.freed > 0 {
            self.free -= 1;
            if let Some(pool) = self.pools.get_mut(&entry.pool) {
                pool.free.remove(&(entry.freed, address));
            }
        }
        if let Some(known) = self.held_by.get_mut(&entry.holder) {
            known.retain(|other| *other != address);
            if known.is_empty() {
                self.held_by.remove(&entry.holder);
            }
        }
    }

    fn forget_some(&mut self, range: Range) {
        while self.free > MOST_REMEMBERED {
            let Some(pool) = self.pools.get_mut(&range) else { return };
            let Some((_, address)) = pool.free.first().copied() else { return };
            pool.forgotten = true;
            self.forget(address);
        }
    }
}

impl Pool {
    fn new(range: &Range) -> Self {
        let (first, last) = (number(range.first), number(range.last));
        Self {
            last,
            next: (first <= last).then_some(first),
            free: BTreeSet::new(),
            forgotten: false,
        }
    }
}

fn pool_of(pools: &[Range], address: IpAddr) -> Option<Range> {
    pools.iter().find(|pool| pool.contains(address)).copied()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn address(number: u128, ipv4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if ipv4 => Ipv4Addr::from(number).into(),
        _ => Ipv6Addr::from(number).into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::iana::v2::IdType;

    fn range(text: &str) -> Range {
        let (first, last) = text.split_once('-').unwrap();
        Range { first: first.parse().unwrap(), last: last.parse().unwrap() }
    }

    fn holder(name: &str) -> Holder {
        Holder::of(&Id { id_type: IdType::ID_FQDN, data: name.as_bytes().to_vec() })
    }

    fn take(pools: &mut Pools, pool: &str, name: &str) -> Option<String> {
        wish(pools, pool, name, None, false)
    }

    fn wish(
        pools: &mut Pools,
        pool: &str,
        name: &str,
        preferred: Option<&str>,
        take_over: bool,
    ) -> Option<String> {
        let wish = Wish {
            pools: &[range(pool)],
            reserved: &["10.0.0.2".parse().unwrap()],
            holder: holder(name),
            preferred: preferred.map(|text| text.parse().unwrap()),
            take_over,
        };
        pools.take(&wish).ok().map(|(address, _)| address.to_string())
    }

    fn back(pools: &mut Pools, address: &str) {
        pools.give_back(address.parse().unwrap());
    }

    #[test]
    fn each_gets_another_until_none_is_left_and_who_returns_gets_his_own() {
        let mut pools = Pools::default();
        let pool = "10.0.0.1-10.0.0.6";
        // Not the reserved one.
        let all: Vec<_> = (0..6).map(|n| take(&mut pools, pool, &format!("h{n}"))).collect();
        let given: Vec<_> = all.iter().flatten().map(String::as_str).collect();
        assert_eq!(given, ["10.0.0.1", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert_eq!((all[5].as_deref(), pools.held()), (None, 5));
        back(&mut pools, "10.0.0.4");
        back(&mut pools, "10.0.0.1");
        assert_eq!(take(&mut pools, pool, "H0").as_deref(), Some("10.0.0.1"));
        assert_eq!(take(&mut pools, pool, "new").as_deref(), Some("10.0.0.4"));
        assert_eq!(take(&mut pools, pool, "h2"), None);
    }

    #[test]
    fn one_identity_twice_has_two_addresses_unless_it_takes_over() {
        let mut pools = Pools::default();
        let pool = "10.0.0.1-10.0.0.254";
        assert_eq!(take(&mut pools, pool, "a").as_deref(), Some("10.0.0.1"));
        assert_eq!(take(&mut pools, pool, "a").as_deref(), Some("10.0.0.3"));
        assert_eq!(wish(&mut pools, pool, "a", None, true).as_deref(), Some("10.0.0.1"));
        // The first IKE SA ends; the one that took over still has the address.
        back(&mut pools, "10.0.0.1");
        assert!(pools.is_held("10.0.0.1".parse().unwrap()));
        back(&mut pools, "10.0.0.1");
        assert!(!pools.is_held("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_wish_is_granted_if_it_costs_nobody_anything() {
        let mut pools = Pools::default();
        let pool = "10.0.0.1-10.0.0.254";
        let wants = |pools: &mut Pools, name: &str, address| {
            wish(pools, pool, name, Some(address), false).unwrap()
        };
        assert_eq!(wants(&mut pools, "a", "10.0.0.77"), "10.0.0.77");
        assert_eq!(wants(&mut pools, "b", "10.0.0.77"), "10.0.0.1");
        assert_eq!(wants(&mut pools, "c", "10.0.1.1"), "10.0.0.3");
        assert_eq!(wants(&mut pools, "d", "10.0.0.0"), "10.0.0.4");
        assert_eq!(wants(&mut pools, "e", "10.0.0.2"), "10.0.0.5");
    }

    #[test]
    fn what_was_kept_is_known_again() {
        let mut pools = Pools::default();
        let lease = Lease { address: "2001:db8::7".parse().unwrap(), holder: holder("a") };
        pools.recall(lease.clone(), &[range("10.0.0.1-10.0.0.254")]);
        assert_eq!(
            take(&mut pools, "2001:db8::1-2001:db8::ffff", "b").as_deref(),
            Some("2001:db8::1")
        );
        pools.recall(lease, &[range("2001:db8::1-2001:db8::ffff")]);
        assert_eq!(
            take(&mut pools, "2001:db8::1-2001:db8::ffff", "a").as_deref(),
            Some("2001:db8::7")
        );
        assert_eq!(take(&mut pools, "10.0.0.9-10.0.0.9", "a").as_deref(), Some("10.0.0.9"));
    }

    #[test]
    fn a_hundred_thousand_are_no_burden() {
        let mut pools = Pools::default();
        let pool = "10.0.0.1-10.1.255.254";
        let begun = std::time::Instant::now();
        let mut given = Vec::new();
        for n in 0..100_000 {
            given.push(take(&mut pools, pool, &format!("h{n}")).unwrap());
        }
        for address in &given {
            back(&mut pools, address);
        }
        for (n, address) in given.iter().enumerate() {
            assert_eq!(take(&mut pools, pool, &format!("h{n}")).as_ref(), Some(address));
        }
        // With a cost that grows with their number this takes minutes.
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
        assert_eq!(pools.held(), 100_000);
    }
}
