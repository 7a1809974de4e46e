//! The policies: which one is for a peer, and how each fares.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::event::{Acquire, Capabilities, Direction, KernelFlow, Time};
use super::id;
use super::inner::Inner;
use super::selector::{Hosts, NoFlows, Traffic, covers, reversed};
use crate::conf::{Index, Policy, PolicyName, Start};
use crate::wire::v2::Id;

/// How many policies are named that a peer could have meant.
const MOST_CANDIDATES: usize = 8;

/// All policies, in the order of the configuration, found without a walk through them.
#[derive(Debug, Default)]
pub struct Policies {
    all: Vec<Running>,
    by_peer: Index,
    by_name: HashMap<PolicyName, u32>,
    by_reqid: HashMap<u32, u32>,
}

/// A policy at work.
#[derive(Debug)]
pub struct Running {
    /// What is configured.
    pub policy: Arc<Policy>,
    /// Binds its flows to its SAs.
    pub reqid: u32,
    /// The flows that are in the kernel from the start, outbound and inbound.
    pub traps: Vec<KernelFlow>,
    /// How often in a row it could not get what it wants.
    pub failures: u32,
    /// When it is tried next.
    pub due: Option<Time>,
    /// It does not call for now, as the peer seems to.
    pub gives_way: bool,
    /// It is to call as soon as it is its turn.
    pub waits: bool,
}

impl Running {
    /// The peer's address, if it is one that can be called.
    pub fn callable(&self) -> Option<IpAddr> {
        self.policy.peer.and_then(|peer| peer.as_host())
    }

    /// Our address for it; unspecified where only the system's routes can tell.
    pub fn local(&self, remote: IpAddr) -> IpAddr {
        let unspecified = match remote {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        self.policy.local.and_then(|local| local.as_host()).unwrap_or(unspecified)
    }

    /// What `dynamic` is without an SA. Where we will be given an address there is no traffic from
    /// it yet; only where traffic starts the negotiation, that from the outer address has to do.
    fn inner(&self) -> Inner {
        match Inner::asked(&self.policy) {
            Some(_) if self.policy.start != Start::OnDemand => {
                Inner::Asked { v4: false, v6: false }
            }
            _ => Inner::Outer,
        }
    }

    /// Whether the kernel has flows for what the policy is to protect, whoever the peer is.
    pub fn check_flows(&self, able: Option<&Capabilities>) -> Result<(), NoFlows> {
        let remote = self.callable().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let hosts = Hosts { local: self.local(remote), remote, inner: Inner::Outer };
        match Traffic::wanted(&self.policy, hosts).flows(&self.policy, hosts, able) {
            // What is assigned in the negotiation is not there before.
            Ok(_) | Err(NoFlows::NothingInCommon) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// The flows that are to be in the kernel even without an SA: traffic must wait, not leak, and
    /// for `ondemand` it starts the negotiation. Where routes lead to an interface there are none.
    pub fn wanted_traps(&self, able: Option<&Capabilities>) -> Vec<KernelFlow> {
        let Some(remote) = self.callable() else { return Vec::new() };
        if self.policy.start == Start::Passive || self.policy.sa_iface().is_some() {
            return Vec::new();
        }
        let hosts = Hosts { local: self.local(remote), remote, inner: self.inner() };
        let traffic = Traffic::wanted(&self.policy, hosts);
        let flows = traffic.flows(&self.policy, hosts, able).unwrap_or_default();
        let both = flows.iter().flat_map(|outbound| {
            [(Direction::Out, *outbound), (Direction::In, reversed(outbound))]
        });
        both.map(|(direction, selector)| KernelFlow {
            direction,
            selector,
            protocol: self.policy.protocol,
            mode: self.policy.mode,
            ipcomp: false,
            around: false,
            local: hosts.local,
            remote,
            reqid: self.reqid,
            rdomain: self.policy.rdomain,
        })
        .collect()
    }
}

impl Policies {
    /// These policies.
    pub fn new(all: Vec<Running>) -> Self {
        let numbered = || (0..).zip(&all);
        let by_peer = Index::new(all.iter().map(|running| &*running.policy));
        let by_name = numbered().map(|(at, it)| (it.policy.name.clone(), at)).collect();
        let by_reqid = numbered().map(|(at, it)| (it.reqid, at)).collect();
        Self { all, by_peer, by_name, by_reqid }
    }

    /// Takes them all away.
    pub fn take(&mut self) -> Vec<Running> {
        std::mem::take(self).all
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Running> {
        self.all.iter()
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    /// The policy of this number.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Running> {
        self.all.get_mut(usize::try_from(number).ok()?)
    }

    /// The policy of this name.
    pub fn named(&mut self, name: &PolicyName) -> Option<(u32, &mut Running)> {
        let number = *self.by_name.get(name)?;
        Some((number, self.get_mut(number)?))
    }

    /// A policy has what it wants.
    pub fn succeeded(&mut self, name: &PolicyName) {
        if let Some((_, running)) = self.named(name) {
            running.failures = 0;
        }
    }

    /// The policy for a peer that speaks this major version: of those that fulfil the condition the
    /// last, unless one before it is `quick`; one that is `default` only if there is no other.
    pub fn select(
        &self,
        major: u8,
        local: SocketAddr,
        remote: SocketAddr,
        condition: impl Fn(&Policy) -> bool,
    ) -> Option<Arc<Policy>> {
        let policy = |at: usize| self.all.get(at).map(|running| &*running.policy);
        let fits = |policy: &Policy| policy.version.major() == major && condition(policy);
        let (at, _) = self.by_peer.select(policy, local.ip(), remote.ip(), fits)?;
        self.all.get(at).map(|running| Arc::clone(&running.policy))
    }

    /// All policies for a peer at this address that speaks this major version.
    pub fn for_addresses(
        &self,
        major: u8,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> impl Iterator<Item = &Arc<Policy>> {
        let near = self.by_peer.candidates(remote.ip()).into_iter();
        let policies = near.filter_map(|at| self.all.get(at)).map(|running| &running.policy);
        policies.filter(move |it| elsewhere(it, major, local.ip(), remote.ip()).is_none())
    }

    /// The policy for a peer that has said who it is (and perhaps whom it wants).
    pub fn select_by_id(
        &self,
        major: u8,
        local: SocketAddr,
        remote: SocketAddr,
        said: &Id,
        wanted: Option<&Id>,
        condition: impl Fn(&Policy) -> bool,
    ) -> Option<Arc<Policy>> {
        self.select(major, local, remote, |policy| {
            id::accepts(policy, said)
                && wanted.is_none_or(|wanted| id::same(&id::ours(policy, local.ip()), wanted))
                && condition(policy)
        })
    }

    /// The policies that could have been meant by a peer, each with the reason why it was not:
    /// what `why` says of those for its addresses, and the addresses of others. Only the first few; those
    /// that are `close` come before others for its addresses.
    pub fn passed_over(
        &self,
        major: u8,
        (local, remote): (SocketAddr, SocketAddr),
        close: impl Fn(&Policy) -> bool,
        why: impl Fn(&Policy) -> String,
    ) -> Vec<String> {
        let near = self.by_peer.candidates(remote.ip());
        let others = (0..self.all.len()).filter(|at| near.binary_search(at).is_err());
        let is_close = |at: &usize| self.all.get(*at).is_some_and(|it| close(&it.policy));
        let (first, rest): (Vec<_>, Vec<_>) = near.iter().copied().partition(is_close);
        let named =
            first.into_iter().chain(rest).chain(others).take(MOST_CANDIDATES).filter_map(|at| {
                let policy = &*self.all.get(at)?.policy;
                let reason = elsewhere(policy, major, local.ip(), remote.ip());
                Some(format!("{}: {}", policy.name.0, reason.unwrap_or_else(|| why(policy))))
            });
        let mut named: Vec<_> = named.collect();
        let rest = self.all.len().saturating_sub(named.len());
        if rest > 0 {
            named.push(format!("and {rest} more"));
        }
        named
    }

    /// What was looked for in vain, when no policy is for these addresses in this major version.
    pub fn sought(&self, major: u8, local: SocketAddr, remote: SocketAddr) -> String {
        let mut wanted = format!("the addresses {} and {}", local.ip(), remote.ip());
        let other = 3 - major;
        if let Some(policy) = self.select(other, local, remote, |_| true) {
            let name = &policy.name.0;
            wanted.push_str(&format!(" in IKEv{major}; policy {name} is for IKEv{other}"));
        }
        wanted
    }

    /// The policy whose flow the traffic met.
    pub fn of_acquire(&self, acquire: &Acquire) -> Option<u32> {
        let reqid = acquire.reqid.filter(|reqid| *reqid != 0);
        let by_reqid = reqid.and_then(|reqid| self.by_reqid.get(&reqid).copied());
        by_reqid.or_else(|| {
            let packet = acquire.selector?;
            let meets = |running: &Running| {
                let outbound = running.traps.iter().filter(|flow| flow.direction == Direction::Out);
                let mut outbound = outbound.filter(|flow| flow.remote == acquire.remote);
                outbound.any(|flow| covers(&flow.selector, &packet))
            };
            // Those whose peer this is are few.
            let near = self.by_peer.candidates(acquire.remote).into_iter();
            let mut near = near.filter_map(|at| Some((u32::try_from(at).ok()?, self.all.get(at)?)));
            near.find(|(_, running)| meets(running)).map(|(at, _)| at)
        })
    }
}

/// Why a policy is not for these addresses in this major version, if it is not.
fn elsewhere(policy: &Policy, major: u8, local: IpAddr, remote: IpAddr) -> Option<String> {
    if policy.version.major() != major {
        return Some(format!("it is for IKEv{}", policy.version.major()));
    }
    match (policy.peer, policy.local) {
        _ if policy.skip => Some("it is `skip`: not for peers that call".into()),
        (Some(peer), _) if !peer.contains(remote) => Some(format!("peer is {peer}, not {remote}")),
        (_, Some(ours)) if !policy.is_reached_at(local) => {
            Some(format!("local is {ours}, not {local}"))
        }
        _ => None,
    }
}
