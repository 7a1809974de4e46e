//! Warnings about rules as a whole: those that can never match, and flows that stand twice.

use std::collections::HashMap;

use super::{Parsed, Place, Problem, Severity};
use crate::conf::{Flow, FlowAddresses, Policy, Prefix};

/// Remarks on the policies; `places` are theirs.
pub(super) fn warn(parsed: &mut Parsed, policies: &[Policy], places: &[Place]) {
    shadowed(parsed, policies, places);
    twice(parsed, policies, places);
}

/// Rules behind a `quick` one that takes every peer that they take.
fn shadowed(parsed: &mut Parsed, policies: &[Policy], places: &[Place]) {
    let mut quick: Vec<&Policy> = Vec::new();
    for (policy, place) in policies.iter().zip(places) {
        if let Some(earlier) = quick.iter().find(|earlier| takes_all_of(earlier, policy)) {
            let sentence = format!(
                "this rule never matches: \"{}\" above is quick and takes all its peers; \
                 put this rule above it",
                earlier.name.0
            );
            parsed.remark(Severity::Warning, *place, Problem::says(sentence));
        }
        if policy.quick && !policy.skip && quick.len() < 64 {
            quick.push(policy);
        }
    }
}

/// Whether each peer that `later` takes is taken by `earlier`.
fn takes_all_of(earlier: &Policy, later: &Policy) -> bool {
    let version = earlier.version.major() == later.version.major();
    let ids = earlier.remote_id.is_none() || earlier.remote_id == later.remote_id;
    let family = earlier.family.is_none() || earlier.family == later.family;
    version
        && ids
        && family
        && covers(earlier.local, later.local)
        && covers(earlier.peer, later.peer)
}

fn covers(outer: Option<Prefix>, inner: Option<Prefix>) -> bool {
    match (outer, inner) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(outer), Some(inner)) => {
            outer.length() <= inner.length() && outer.contains(inner.address())
        }
    }
}

/// The same flow in two rules for different peers: the kernel can hold only one of them.
fn twice(parsed: &mut Parsed, policies: &[Policy], places: &[Place]) {
    let mut seen: HashMap<&Flow, usize> = HashMap::new();
    for (index, (policy, place)) in policies.iter().zip(places).enumerate() {
        for flow in &policy.flows {
            let fixed = !matches!(flow.remote.addresses, FlowAddresses::Dynamic);
            let first = *seen.entry(flow).or_insert(index);
            let Some(other) = policies.get(first).filter(|_| first != index && fixed) else {
                continue;
            };
            if other.peer == policy.peer || other.peer.is_none() || policy.peer.is_none() {
                continue;
            }
            let sentence = format!(
                "a flow of this rule stands in \"{}\" too, for another peer: \
                 the kernel takes one of them; narrow from or to",
                other.name.0
            );
            parsed.remark(Severity::Warning, *place, Problem::says(sentence));
            break;
        }
    }
}
