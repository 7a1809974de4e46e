//! Addresses within the tunnel that one side gave the other: what `dynamic` stands for, and what of it
//! the host is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::core::Core;
use super::event::Output;
use crate::conf::{CfgOption, Family, Policy, PolicyName, Prefix};

/// What `dynamic` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Inner {
    /// The outer address: nobody gave anything.
    #[default]
    Outer,
    /// On our side any address of these families: we asked for some and do not know them yet.
    Asked {
        /// IPv4.
        v4: bool,
        /// IPv6.
        v6: bool,
    },
    /// On our side what the peer gave us.
    Ours(Given),
    /// On the peer's side what we gave it.
    Peers(Given),
}

/// The addresses that one side gave the other: one of a family at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Given {
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl Given {
    /// The addresses.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let v6 = self.v6.map(IpAddr::from);
        self.v4.map(IpAddr::from).into_iter().chain(v6)
    }

    /// The addresses as prefixes.
    fn hosts(self) -> [Option<Prefix>; 2] {
        [self.v4.map(IpAddr::from), self.v6.map(IpAddr::from)].map(|it| it.map(Prefix::host))
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl Inner {
    /// What `dynamic` is as long as a policy waits for addresses; `None` if it asks for none.
    pub fn asked(policy: &Policy) -> Option<Self> {
        let of = |family| {
            let mut all = policy.wanted.iter();
            all.any(|wanted| wanted.option == CfgOption::Address && wanted.family == family)
        };
        let (v4, v6) = (of(Family::Inet), of(Family::Inet6));
        (v4 || v6).then_some(Inner::Asked { v4, v6 })
    }

    /// What was given to whom, in words.
    pub fn printed(self) -> Option<String> {
        let (whose, given) = match self {
            Inner::Outer | Inner::Asked { .. } => return None,
            Inner::Ours(given) => ("ours", given),
            Inner::Peers(given) => ("the peer's", given),
        };
        let addresses: Vec<_> = given.addresses().map(|address| address.to_string()).collect();
        Some(format!("{} ({whose})", addresses.join(" ")))
    }

    /// What `dynamic` is on our side: one of a family at most.
    pub fn local(self, outer: IpAddr) -> [Option<Prefix>; 2] {
        match self {
            Inner::Outer | Inner::Peers(_) => [Some(Prefix::host(outer)), None],
            Inner::Ours(given) => given.hosts(),
            Inner::Asked { v4, v6 } => {
                let any = |address| Prefix::new(address, 0);
                let v4 = v4.then_some(IpAddr::from(Ipv4Addr::UNSPECIFIED));
                let v6 = v6.then_some(IpAddr::from(Ipv6Addr::UNSPECIFIED));
                [v4.and_then(any), v6.and_then(any)]
            }
        }
    }

    /// What `dynamic` is on the peer's side; likewise.
    pub fn remote(self, outer: IpAddr) -> [Option<Prefix>; 2] {
        match self {
            Inner::Peers(given) => given.hosts(),
            _ => [Some(Prefix::host(outer)), None],
        }
    }
}

/// What the configuration payload did for an IKE SA.
#[derive(Debug)]
pub struct Configured {
    /// The addresses.
    pub inner: Inner,
    /// Whether it ends with this IKE SA. It does not once a successor has it.
    pub held: bool,
    /// The name under which the host was told of it.
    pub applied: Option<u64>,
}

impl Configured {
    /// Something that ends with the IKE SA that has it.
    pub fn new(inner: Inner) -> Box<Self> {
        Box::new(Self { inner, held: true, applied: None })
    }

    /// The same for a successor, which takes it over later.
    pub fn shared(&self) -> Box<Self> {
        Box::new(Self { inner: self.inner, held: false, applied: None })
    }

    /// Gives back what ends with this IKE SA.
    pub fn give_back(&mut self, core: &mut Core) {
        if !std::mem::take(&mut self.held) {
            return;
        }
        if let Inner::Peers(given) = self.inner {
            given.addresses().for_each(|address| core.pools.give_back(address));
        }
        if let Some(key) = self.applied.take() {
            core.outputs.push_back(Output::Host(HostChange::Withdraw(key)));
        }
    }

    /// A successor takes it over from its predecessor.
    pub fn inherit(&mut self, from: &mut Self) {
        self.held |= std::mem::take(&mut from.held);
        self.applied = self.applied.take().or(from.applied.take());
    }
}

/// What the host is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostChange {
    /// Set this.
    Apply(Box<HostConfig>),
    /// Take back what was set under this name.
    Withdraw(u64),
}

/// What a peer gave us, for the host to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostConfig {
    /// Its name; never used again while the engine lives.
    pub key: u64,
    /// The policy that asked for it.
    pub policy: PolicyName,
    /// The interface that the policy names.
    pub iface: Option<String>,
    /// The peer's outer address.
    pub peer: IpAddr,
    /// Our addresses within the tunnel, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// What is reached through the tunnel.
    pub routes: Vec<Prefix>,
    /// Whom to ask for names.
    pub name_servers: Vec<IpAddr>,
    /// The only domains to ask them for, where there are any.
    pub domains: Vec<String>,
}
