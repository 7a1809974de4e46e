//! What a reload changes.

use std::collections::{HashMap, HashSet};

use super::{Config, Policy, PolicyName};

/// The policies of two configurations by what became of them, each in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The same in both: their SAs stay untouched.
    pub unchanged: Vec<PolicyName>,
    /// What only concerns later negotiations is different (lifetimes, proposals, who starts): the
    /// SAs may stay until they are rekeyed.
    pub adjusted: Vec<PolicyName>,
    /// Peer, identity, authentication or traffic is different: to be negotiated anew.
    pub changed: Vec<PolicyName>,
    /// Only in the new one.
    pub added: Vec<PolicyName>,
    /// Only in the old one: their SAs are deleted.
    pub removed: Vec<PolicyName>,
}

impl Changes {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.adjusted, &self.changed, &self.added, &self.removed];
        lists.iter().all(|list| list.is_empty())
    }
}

/// Compares two configurations by the names of their policies. (A secret that changed is not seen
/// here: it is not in the configuration.)
pub fn changes(old: &Config, new: &Config) -> Changes {
    let before: HashMap<&PolicyName, &Policy> =
        old.policies.iter().map(|policy| (&policy.name, policy)).collect();
    let mut changes = Changes::default();
    for policy in &new.policies {
        let list = match before.get(&policy.name) {
            None => &mut changes.added,
            Some(earlier) if *earlier == policy => &mut changes.unchanged,
            Some(earlier) if same_sas(earlier, policy) => &mut changes.adjusted,
            Some(_) => &mut changes.changed,
        };
        list.push(policy.name.clone());
    }
    let after: HashSet<&PolicyName> = new.policies.iter().map(|policy| &policy.name).collect();
    let gone = old.policies.iter().map(|policy| &policy.name).filter(|n| !after.contains(n));
    changes.removed = gone.cloned().collect();
    changes
}

/// Whether SAs of the one are what the other would have too.
fn same_sas(one: &Policy, other: &Policy) -> bool {
    let later = Policy {
        start: one.start,
        quick: one.quick,
        default: one.default,
        ike_proposals: one.ike_proposals.clone(),
        child_proposals: one.child_proposals.clone(),
        child_proposals_explicit: one.child_proposals_explicit,
        ike_lifetime: one.ike_lifetime,
        child_lifetime: one.child_lifetime,
        ..other.clone()
    };
    *one == later
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryFiles, NumericNames, load};
    use super::*;

    fn config(text: &str) -> Config {
        let files = MemoryFiles::default().with("c", text);
        load("c", &[], &files, &NumericNames).unwrap().config
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
        assert!(changes(&new, &new).is_empty());
    }
}
