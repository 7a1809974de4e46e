//! What a reload changes: which policy of the new configuration was which of the old one, and what
//! that asks of its SAs.

use std::collections::HashMap;

use super::{Config, Flow, Identity, Policy, PolicyName, Prefix};

/// What a change of a policy asks of its SAs, the least that makes them what the policy says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effect {
    /// Peer, identity, authentication or something else is different that only a new negotiation
    /// can bring: the IKE SA is deleted.
    pub anew: bool,
    /// The IKE SA is rekeyed (`ikesa`).
    pub ike: bool,
    /// Each child SA is rekeyed (`childsa`, `tag`, `tap`, `bytes`).
    pub children: bool,
    /// The traffic is different: child SAs that carry none of it are deleted, missing ones
    /// negotiated.
    pub flows: bool,
    /// No child SA can stay: each is deleted and negotiated again (`esp`, `transport`, …).
    pub recreate: bool,
    /// Lifetimes are counted again.
    pub lifetimes: bool,
    /// The routes lead from another address of ours: IKE SAs that cannot go there are negotiated anew.
    pub moved: bool,
}

impl Effect {
    /// What the step from one policy to another asks. What is not named here concerns only later
    /// negotiations: who starts, the search for a policy, what is given to peers.
    fn of(old: &Policy, new: &Policy) -> Self {
        let (was, is) = (old.child_lifetime, new.child_lifetime);
        let by_route = old.local_by_route && new.local_by_route;
        // All that is not looked at below; whatever else a policy may get is negotiated anew.
        let rest = Policy {
            name: old.name.clone(),
            start: old.start,
            quick: old.quick,
            skip: old.skip,
            default: old.default,
            childless: old.childless,
            local: if by_route { old.local } else { new.local },
            provision: old.provision.clone(),
            ike_proposals: old.ike_proposals.clone(),
            child_proposals: old.child_proposals.clone(),
            child_proposals_explicit: old.child_proposals_explicit,
            tag: old.tag.clone(),
            tap: old.tap,
            flows: old.flows.clone(),
            protocol: old.protocol,
            mode: old.mode,
            ipcomp: old.ipcomp,
            around: old.around,
            ike_lifetime: old.ike_lifetime,
            child_lifetime: old.child_lifetime,
            ..new.clone()
        };
        Self {
            anew: rest != *old,
            ike: old.ike_proposals != new.ike_proposals,
            children: old.child_proposals != new.child_proposals
                || old.tag != new.tag
                || old.tap != new.tap
                || was.bytes != is.bytes,
            flows: old.flows != new.flows,
            recreate: old.protocol != new.protocol
                || old.mode != new.mode
                || old.ipcomp != new.ipcomp
                || old.around != new.around,
            lifetimes: old.ike_lifetime != new.ike_lifetime || was.seconds != is.seconds,
            moved: by_route && old.local != new.local,
        }
    }

    /// Whether SAs need not know of it.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Nothing but the routes is different.
const MOVED: Effect = Effect {
    anew: false,
    ike: false,
    children: false,
    flows: false,
    recreate: false,
    lifetimes: false,
    moved: true,
};

/// Where a policy of the new configuration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is new.
    Added,
    /// It is the old one of this number, unchanged.
    Same(usize),
    /// It was the old one of this number.
    Changed(usize, Effect),
}

/// How one configuration comes from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// For each new policy.
    pub origins: Vec<Origin>,
    /// The old policies that are no more, by their numbers.
    pub removed: Vec<usize>,
}

/// By what policies are recognised whose names come from their places in the file.
type Face<'a> = (Option<Prefix>, Option<Prefix>, Option<&'a Flow>, Option<&'a Identity>);

fn face(policy: &Policy) -> Face<'_> {
    (policy.local, policy.peer, policy.flows.first(), policy.remote_id.as_ref())
}

/// Compares two configurations. Policies are recognised by their names; those without a name of
/// their own are called by their place, so they are looked for by what they say first, that a rule
/// put before them does not change them all.
pub fn plan(old: &[&Policy], new: &[Policy]) -> Plan {
    let by_name: HashMap<&PolicyName, usize> =
        old.iter().enumerate().map(|(at, policy)| (&policy.name, at)).collect();
    let mut taken = vec![false; old.len()];
    let mut origins = vec![Origin::Added; new.len()];
    let mut open = Vec::new();
    for (at, policy) in new.iter().enumerate() {
        let namesake = by_name.get(&policy.name).copied();
        match namesake.filter(|was| old.get(*was).is_some_and(|old| **old == *policy)) {
            Some(was) => (origins[at], taken[was]) = (Origin::Same(was), true),
            None => open.push(at),
        }
    }
    let mut by_face: HashMap<Face<'_>, Vec<usize>> = HashMap::new();
    for (at, policy) in old.iter().enumerate().rev().filter(|(at, _)| !taken[*at]) {
        if policy.name.is_by_place() {
            by_face.entry(face(policy)).or_default().push(at);
        }
    }
    // First what moved, then what kept its name.
    open.retain(|at| {
        let policy = &new[*at];
        if !policy.name.is_by_place() {
            return true;
        }
        let Some(alike) = by_face.get_mut(&face(policy)) else { return true };
        let same = |was: &usize| old[*was].is_but_for_its_name(policy);
        let Some(place) = alike.iter().rposition(same) else { return true };
        let was = alike.remove(place);
        (origins[*at], taken[was]) = (Origin::Changed(was, Effect::default()), true);
        false
    });
    for at in open {
        let policy = &new[at];
        let Some(was) = by_name.get(&policy.name).copied().filter(|was| !taken[*was]) else {
            continue;
        };
        let effect = Effect::of(old[was], policy);
        (origins[at], taken[was]) = (Origin::Changed(was, effect), true);
    }
    let removed = (0..old.len()).filter(|at| !taken[*at]).collect();
    Plan { origins, removed }
}

/// The policies of two configurations by what became of them, each in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The same in both, or different in what SAs need not know.
    pub unchanged: Vec<PolicyName>,
    /// The IKE SAs stay, and are brought to what the policy says.
    pub adjusted: Vec<PolicyName>,
    /// To be negotiated anew.
    pub changed: Vec<PolicyName>,
    /// Only in the new one.
    pub added: Vec<PolicyName>,
    /// Only in the old one: their SAs are deleted.
    pub removed: Vec<PolicyName>,
}

/// Compares two configurations, by the names of the new one. (A secret that changed is not seen
/// here: it is not in the configuration.)
pub fn changes(old: &Config, new: &Config) -> Changes {
    let before: Vec<&Policy> = old.policies.iter().collect();
    let plan = plan(&before, &new.policies);
    let mut changes = Changes::default();
    for (origin, policy) in plan.origins.iter().zip(&new.policies) {
        let list = match origin {
            Origin::Added => &mut changes.added,
            Origin::Same(_) => &mut changes.unchanged,
            Origin::Changed(_, MOVED) => &mut changes.unchanged,
            Origin::Changed(_, effect) if effect.anew => &mut changes.changed,
            Origin::Changed(..) => &mut changes.adjusted,
        };
        list.push(policy.name.clone());
    }
    changes.removed = plan.removed.iter().map(|at| old.policies[*at].name.clone()).collect();
    changes
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryFiles, NumericNames, load};
    use super::*;

    fn config(text: &str) -> Config {
        let files = MemoryFiles::default().with("c", text);
        load("c", &[], &files, &NumericNames).unwrap().config
    }

    fn planned(old: &Config, new: &Config) -> Plan {
        plan(&old.policies.iter().collect::<Vec<_>>(), &new.policies)
    }

    #[test]
    fn each_policy_is_in_one_list() {
        let old = config(
            "ikev2 a from 10.1.0.0/16 to 10.2.0.0/16 peer 192.0.2.1 psk x\n\
             ikev2 b from 10.1.0.0/16 to 10.3.0.0/16 peer 192.0.2.2 psk x\n\
             ikev2 c from 10.1.0.0/16 to 10.4.0.0/16 peer 192.0.2.3 psk x\n\
             ikev2 d from 10.1.0.0/16 to 10.5.0.0/16 peer 192.0.2.4 psk x\n",
        );
        let new = config(
            "ikev2 e from 10.1.0.0/16 to 10.6.0.0/16 peer 192.0.2.5 psk x\n\
             ikev2 a from 10.1.0.0/16 to 10.2.0.0/16 peer 192.0.2.1 psk x\n\
             ikev2 b from 10.1.0.0/16 to 10.3.0.0/16 peer 192.0.2.2 lifetime 1h psk x\n\
             ikev2 c from 10.1.0.0/16 to 10.4.0.0/16 peer 192.0.2.33 psk x\n",
        );
        let names = |list: &[PolicyName]| -> Vec<String> {
            list.iter().map(|name| name.0.clone()).collect()
        };
        let found = changes(&old, &new);
        assert_eq!(names(&found.unchanged), ["a"]);
        assert_eq!(names(&found.adjusted), ["b"]);
        assert_eq!(names(&found.changed), ["c"]);
        assert_eq!(names(&found.added), ["e"]);
        assert_eq!(names(&found.removed), ["d"]);
        let same = planned(&new, &new);
        assert!(same.origins.iter().all(|origin| matches!(origin, Origin::Same(_))));
    }

    #[test]
    fn an_address_found_by_route_is_no_change_of_the_rule() {
        let text = "ikev2 a from 10.1.0.0/16 to 10.2.0.0/16 peer 192.0.2.1 psk x\n";
        let at = |address: &str| {
            let mut config = config(text);
            let policy = &mut config.policies[0];
            policy.local = Some(Prefix::host(address.parse().unwrap()));
            policy.local_by_route = true;
            config
        };
        let (here, there) = (at("198.51.100.1"), at("198.51.100.2"));
        assert_eq!(planned(&here, &there).origins, [Origin::Changed(0, MOVED)]);
        assert_eq!(changes(&here, &there).unchanged.len(), 1);
        let mut named = there;
        named.policies[0].local_by_route = false;
        assert_eq!(changes(&here, &named).changed.len(), 1);
    }

    #[test]
    fn rules_without_names_are_known_by_what_they_say() {
        let old = config(
            "ikev2 from 10.1.0.0/16 to 10.2.0.0/16 peer 192.0.2.1 psk x\n\
             ikev2 from 10.1.0.0/16 to 10.3.0.0/16 peer 192.0.2.2 psk x\n",
        );
        let new = config(
            "ikev2 from 10.1.0.0/16 to 10.9.0.0/16 peer 192.0.2.9 psk x\n\
             ikev2 from 10.1.0.0/16 to 10.2.0.0/16 peer 192.0.2.1 psk x\n\
             ikev2 from 10.1.0.0/16 to 10.3.0.0/16 peer 192.0.2.2 psk x\n",
        );
        let nothing = Effect::default();
        let origins = [Origin::Added, Origin::Changed(0, nothing), Origin::Changed(1, nothing)];
        assert_eq!(planned(&old, &new), Plan { origins: origins.into(), removed: Vec::new() });
        // One that is different and stands where it stood is the same rule changed.
        let other = config(
            "ikev2 from 10.1.0.0/16 to 10.2.0.0/16 peer 192.0.2.1 tag t psk x\n\
             ikev2 from 10.1.0.0/16 to 10.3.0.0/16 peer 192.0.2.2 psk x\n",
        );
        let effect = Effect { children: true, ..nothing };
        let origins = [Origin::Changed(0, effect), Origin::Same(1)];
        assert_eq!(planned(&old, &other).origins, origins);
    }

    #[test]
    fn each_clause_asks_for_no_more_than_it_must() {
        let base = "ikev2 a from 10.1.0.0/16 to 10.2.0.0/16 peer 192.0.2.1";
        let none = Effect::default();
        let cases = [
            ("ikelifetime 1h psk x", Effect { lifetimes: true, ..none }),
            ("lifetime 1h psk x", Effect { lifetimes: true, ..none }),
            ("lifetime 3h bytes 1M psk x", Effect { children: true, ..none }),
            ("childsa enc aes-256 psk x", Effect { children: true, ..none }),
            ("ikesa enc aes-256 psk x", Effect { ike: true, ..none }),
            ("tag t psk x", Effect { children: true, ..none }),
            ("active psk x", none),
            ("quick psk x", none),
            ("transport psk x", Effect { recreate: true, ..none }),
            ("from 10.3.0.0/16 to 10.2.0.0/16 psk x", Effect { flows: true, ..none }),
            ("srcid a.example psk x", Effect { anew: true, ..none }),
            ("dstid a.example psk x", Effect { anew: true, ..none }),
            ("local 192.0.2.9 psk x", Effect { anew: true, ..none }),
            ("natt psk x", Effect { anew: true, ..none }),
            ("rdomain 1 psk x", Effect { anew: true, ..none }),
            ("iface sec1 psk x", Effect { anew: true, ..none }),
        ];
        let old = config(&format!("{base} psk x\n"));
        for (clauses, effect) in cases {
            let new = config(&format!("{base} {clauses}\n"));
            assert_eq!(planned(&old, &new).origins, [Origin::Changed(0, effect)], "{clauses}");
        }
    }
}
