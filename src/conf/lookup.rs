//! The policy for a peer, found without walking all of them.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::{Config, Identity, Policy, Prefix};

/// Where policies stand by the prefixes of their peers: one look for each length that occurs.
#[derive(Debug, Clone, Default)]
pub struct Index {
    by_peer: HashMap<Prefix, Vec<usize>>,
    lengths: BTreeSet<(bool, u8)>,
    any: Vec<usize>,
}

impl Index {
    /// The index of policies in the order of the configuration.
    pub fn new<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> Self {
        let mut index = Self::default();
        for (at, policy) in policies.into_iter().enumerate() {
            let Some(peer) = policy.peer else {
                index.any.push(at);
                continue;
            };
            index.lengths.insert((peer.address().is_ipv4(), peer.length()));
            index.by_peer.entry(peer).or_default().push(at);
        }
        index
    }

    /// Where the policies stand whose `peer` takes this address, in order.
    pub fn candidates(&self, remote: IpAddr) -> Vec<usize> {
        let family = (remote.is_ipv4(), 0)..=(remote.is_ipv4(), u8::MAX);
        let prefixes = self.lengths.range(family).filter_map(|(_, l)| Prefix::new(remote, *l));
        let lists = prefixes.filter_map(|prefix| self.by_peer.get(&prefix));
        let mut found: Vec<usize> = lists.flatten().chain(&self.any).copied().collect();
        found.sort_unstable();
        found
    }

    /// The policy for a peer: of those that take both addresses and fulfil the condition the last,
    /// unless one before it is `quick`; one that is `default` only if there is no other. One that
    /// is `skip` is not for peers that call.
    pub fn select<'a>(
        &self,
        policy: impl Fn(usize) -> Option<&'a Policy>,
        local: IpAddr,
        remote: IpAddr,
        condition: impl Fn(&Policy) -> bool,
    ) -> Option<(usize, &'a Policy)> {
        let (mut last, mut fallback) = (None, None);
        for at in self.candidates(remote) {
            let Some(policy) = policy(at) else { continue };
            let here = policy.is_reached_at(local);
            if policy.skip || !here || !condition(policy) {
                continue;
            }
            if policy.default {
                fallback = Some((at, policy));
                continue;
            }
            last = Some((at, policy));
            if policy.quick {
                break;
            }
        }
        last.or(fallback)
    }
}

impl Config {
    /// The policy for a peer, and for what it calls itself if it has said so. Whoever asks often
    /// keeps an [`Index`].
    pub fn policy_for(
        &self,
        local: IpAddr,
        remote: IpAddr,
        said: Option<&Identity>,
    ) -> Option<&Policy> {
        let accepts = |policy: &Policy| match (&policy.remote_id, said) {
            (Some(wanted), Some(said)) => wanted == said,
            _ => true,
        };
        let policy = |at| self.policies.get(at);
        Index::new(&self.policies).select(policy, local, remote, accepts).map(|(_, it)| it)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryFiles, NumericNames, load};
    use super::*;

    fn config(text: &str) -> Config {
        let files = MemoryFiles::default().with("c", text);
        load("c", &[], &files, &NumericNames).unwrap().config
    }

    fn named(config: &Config, remote: &str) -> Option<String> {
        let local = "192.0.2.1".parse().unwrap();
        config.policy_for(local, remote.parse().unwrap(), None).map(|p| p.name.0.clone())
    }

    #[test]
    fn the_last_match_wins_and_quick_ends() {
        let config = config(
            "ikev2 all default from any to any psk x\n\
             ikev2 wide from any to any peer 10.0.0.0/8 psk x\n\
             ikev2 first quick from any to any peer 10.1.0.0/16 psk x\n\
             ikev2 one from any to any peer 10.1.1.1 psk x\n\
             ikev2 two from any to any peer 10.2.2.2 psk x\n\
             ikev2 here from any to any local 192.0.2.9 peer 10.2.2.2 psk x\n",
        );
        assert_eq!(named(&config, "10.9.9.9").as_deref(), Some("wide"));
        assert_eq!(named(&config, "10.1.1.1").as_deref(), Some("first"));
        assert_eq!(named(&config, "10.2.2.2").as_deref(), Some("two"));
        assert_eq!(named(&config, "172.16.0.1").as_deref(), Some("all"));
        assert_eq!(named(&config, "2001:db8::1").as_deref(), Some("all"));
    }

    #[test]
    fn the_index_finds_what_a_walk_finds() {
        let mut text = String::new();
        let mut state = 7u32;
        let mut next = |limit: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % limit
        };
        for number in 0..400 {
            let word = ["", "quick", "default", "skip", ""][next(5) as usize];
            let length = [8, 16, 24, 30, 32][next(5) as usize];
            let (a, b) = (next(4), next(8));
            text.push_str(&format!(
                "ikev2 p{number} {word} from any to any peer 10.{a}.0.{b}/{length} psk x\n"
            ));
        }
        let config = config(&text);
        let index = Index::new(&config.policies);
        for a in 0..4u8 {
            for b in 0..16u8 {
                let remote = IpAddr::from([10, a, 0, b]);
                let takes =
                    |p: &&Policy| !p.skip && p.peer.is_none_or(|prefix| prefix.contains(remote));
                let mut walked = None;
                for policy in config.policies.iter().filter(takes).filter(|p| !p.default) {
                    walked = Some(policy);
                    if policy.quick {
                        break;
                    }
                }
                let fallback = || config.policies.iter().filter(takes).rfind(|p| p.default);
                let walked = walked.or_else(fallback).map(|p| &p.name);
                let policy = |at| config.policies.get(at);
                let found = index.select(policy, remote, remote, |_| true);
                assert_eq!(found.map(|(_, p)| &p.name), walked, "{remote}");
            }
        }
    }
}
