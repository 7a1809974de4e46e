//! Warnings about rules as a whole: those that can never match, and traffic that two rules give to
//! different peers. Each rule is held against those that can concern it, not against all others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Parsed, Place, Problem, Severity};
use crate::conf::{Flow, FlowAddresses, Identity, Policy, Prefix};

/// How many flows one flow is held against at most.
const COMPARED: usize = 1000;

/// Remarks on the policies; `places` are theirs.
pub(super) fn warn(parsed: &mut Parsed, policies: &[Policy], places: &[Place]) {
    shadowed(parsed, policies, places);
    overlapping(parsed, policies, places);
}

/// Rules behind a `quick` one that takes every peer that they take.
fn shadowed(parsed: &mut Parsed, policies: &[Policy], places: &[Place]) {
    type Key<'a> = (Option<Prefix>, Option<&'a Identity>);
    let mut quick: HashMap<Key<'_>, Vec<&Policy>> = HashMap::new();
    let mut lengths = Lengths::default();
    for (policy, place) in policies.iter().zip(places) {
        let peers = policy.peer.into_iter().flat_map(|peer| lengths.around(peer)).map(Some);
        let keys = peers.chain([None]).flat_map(|peer| {
            let own = policy.remote_id.as_ref().map(|id| (peer, Some(id)));
            own.into_iter().chain([(peer, None)])
        });
        let mut earlier = keys.filter_map(|key| quick.get(&key)).flatten();
        let earlier = earlier.find(|earlier| takes_the_rest_of(earlier, policy)).copied();
        if let Some(earlier) = earlier {
            let sentence = format!(
                "this rule never matches: \"{}\" above is quick and takes all its peers; \
                 put this rule above it",
                earlier.name.0
            );
            parsed.remark(Severity::Warning, *place, Problem::says(sentence));
        } else if policy.quick && !policy.skip {
            policy.peer.iter().for_each(|peer| lengths.note(*peer));
            quick.entry((policy.peer, policy.remote_id.as_ref())).or_default().push(policy);
        }
    }
}

/// Whether each peer that `later` takes is taken by `earlier`, whose `peer` and `dstid` do.
fn takes_the_rest_of(earlier: &Policy, later: &Policy) -> bool {
    let version = earlier.version.major() == later.version.major();
    let family = earlier.family.is_none() || earlier.family == later.family;
    let local = match (earlier.local, later.local) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(outer), Some(inner)) => covers(outer, inner),
    };
    version && family && local
}

fn covers(outer: Prefix, inner: Prefix) -> bool {
    outer.length() <= inner.length() && outer.contains(inner.address())
}

/// The lengths that occur among prefixes.
#[derive(Default)]
struct Lengths(BTreeSet<(bool, u8)>);

impl Lengths {
    fn note(&mut self, prefix: Prefix) {
        self.0.insert((prefix.address().is_ipv4(), prefix.length()));
    }

    /// The prefixes of these lengths that cover this one.
    fn around(&self, prefix: Prefix) -> Vec<Prefix> {
        let family = prefix.address().is_ipv4();
        let lengths = self.0.range((family, 0)..=(family, prefix.length()));
        lengths.filter_map(|(_, length)| Prefix::new(prefix.address(), *length)).collect()
    }
}

/// A flow between two prefixes, and whose it is.
#[derive(Clone, Copy)]
struct Traffic<'a> {
    flow: &'a Flow,
    local: Prefix,
    remote: Prefix,
    /// The number of its policy.
    of: usize,
}

/// How the traffic of one flow and that of another have something in common. In order of gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Overlap {
    /// It is the same.
    Same,
    /// Each has something that the other has not.
    Crossing,
    /// It lies within the other's.
    Within,
}

impl Traffic<'_> {
    /// How this one's remote prefix being covered by the other's, the two have something in common.
    fn overlaps(&self, other: &Self) -> Option<Overlap> {
        let protocols = (self.flow.ip_protocol, other.flow.ip_protocol);
        let ports = [
            (self.flow.local.ports, other.flow.local.ports),
            (self.flow.remote.ports, other.flow.remote.ports),
        ];
        let meets = |(a, b): ((u16, u16), (u16, u16))| a.0 <= b.1 && b.0 <= a.1;
        let protocols_meet = protocols.0 == protocols.1 || protocols.0 == 0 || protocols.1 == 0;
        let locals_meet = covers(self.local, other.local) || covers(other.local, self.local);
        if !protocols_meet || !locals_meet || !ports.into_iter().all(meets) {
            return None;
        }
        let holds =
            |(inner, outer): ((u16, u16), (u16, u16))| outer.0 <= inner.0 && inner.1 <= outer.1;
        let within = covers(other.local, self.local)
            && (protocols.1 == 0 || protocols.0 == protocols.1)
            && ports.into_iter().all(holds);
        let same = within
            && (self.local, self.remote) == (other.local, other.remote)
            && protocols.0 == protocols.1
            && ports.into_iter().all(|(a, b)| a == b);
        Some(match (same, within) {
            (true, _) => Overlap::Same,
            (false, true) => Overlap::Within,
            (false, false) => Overlap::Crossing,
        })
    }

    /// What both have in common, as addresses.
    fn common(&self, other: &Self) -> String {
        let narrower = |a: Prefix, b: Prefix| if covers(a, b) { b } else { a };
        let (local, remote) =
            (narrower(self.local, other.local), narrower(self.remote, other.remote));
        format!("from {local} to {remote}")
    }
}

/// All flows, by their remote and then by their local prefixes.
#[derive(Default)]
struct Flows<'a> {
    by_ends: HashMap<Prefix, BTreeMap<Prefix, Vec<Traffic<'a>>>>,
    remotes: Lengths,
    locals: Lengths,
}

impl<'a> Flows<'a> {
    fn new(all: impl Iterator<Item = Traffic<'a>>) -> Self {
        let mut flows = Self::default();
        for traffic in all {
            flows.remotes.note(traffic.remote);
            flows.locals.note(traffic.local);
            let by_local = flows.by_ends.entry(traffic.remote).or_default();
            by_local.entry(traffic.local).or_default().push(traffic);
        }
        flows
    }

    /// Those whose remote prefix covers this one's, and whose local prefix covers it or is covered;
    /// those with the same prefixes first.
    fn near(&self, traffic: Traffic<'a>) -> impl Iterator<Item = &Traffic<'a>> {
        let remotes = self.remotes.around(traffic.remote).into_iter().rev();
        let maps = remotes.filter_map(|remote| self.by_ends.get(&remote));
        maps.flat_map(move |by_local| {
            let around = self.locals.around(traffic.local).into_iter();
            let around = around.filter(move |local| *local != traffic.local);
            let within = traffic.local..=Prefix::host(traffic.local.last());
            let around = around.filter_map(|local| by_local.get(&local));
            by_local.range(within).map(|(_, list)| list).chain(around).flatten()
        })
    }
}

/// The traffic of a policy that the kernel will hold flows for.
fn traffic((of, policy): (usize, &Policy)) -> impl Iterator<Item = Traffic<'_>> {
    let flows =
        policy.flows.iter().filter(|_| policy.peer.is_some() && policy.sa_iface().is_none());
    flows.filter_map(move |flow| match (flow.local.addresses, flow.remote.addresses) {
        (FlowAddresses::Prefix(local), FlowAddresses::Prefix(remote)) => {
            Some(Traffic { flow, local, remote, of })
        }
        _ => None,
    })
}

/// Traffic that two rules give to different peers.
fn overlapping(parsed: &mut Parsed, policies: &[Policy], places: &[Place]) {
    let all = || policies.iter().enumerate();
    let flows = Flows::new(all().flat_map(traffic));
    // For each rule within which others lie: the first of them, and how many there are.
    let mut wide: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (index, policy) in all() {
        let rivals = |other: &Traffic<'_>| {
            let it = &policies[other.of];
            other.of != index && it.peer != policy.peer && it.rdomain == policy.rdomain
        };
        let found = traffic((index, policy)).flat_map(|own| {
            let others = flows.near(own).take(COMPARED).filter(|other| rivals(other));
            others.filter_map(move |other| {
                let overlap = own.overlaps(other)?;
                // Where each would find the other, the later one does.
                let twice = overlap != Overlap::Within && own.remote == other.remote;
                (!twice || other.of < index).then_some((overlap, own, *other))
            })
        });
        let Some((overlap, own, other)) = found.min_by_key(|(overlap, ..)| *overlap) else {
            continue;
        };
        let name = &policies[other.of].name.0;
        let sentence = match overlap {
            Overlap::Same => format!(
                "a flow of this rule stands in \"{name}\" too, for another peer: \
                 the kernel takes one of them; narrow from or to"
            ),
            Overlap::Crossing => format!(
                "what goes {} is in this rule and in \"{name}\", for another peer: \
                 it is open which of them takes it; narrow from or to",
                own.common(&other)
            ),
            Overlap::Within => {
                wide.entry(other.of).or_insert((index, 0)).1 += 1;
                continue;
            }
        };
        parsed.remark(Severity::Warning, places[index], Problem::says(sentence));
    }
    for (index, (first, count)) in wide {
        let more = match count {
            1 => String::new(),
            count => format!(" and of {} more", count - 1),
        };
        let sentence = format!(
            "traffic of \"{}\"{more} lies within this rule's, for another peer: the narrower flow \
             takes it, on NetBSD the one that comes first; narrow from or to if that is not meant",
            policies[first].name.0
        );
        parsed.remark(Severity::Warning, places[index], Problem::says(sentence));
    }
}
