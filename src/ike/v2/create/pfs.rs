//! Whether a child SA has a key exchange of its own (perfect forward secrecy), where `childsa` names no
//! group and so leaves it to the peer.
//!
//! Asked, we take what the peer wants: none, or a group that is good enough for the IKE SA. We ask as the peer
//! did last, at first for none; where that is refused, once more the other way.

use super::Offering;
use crate::conf::{Policy, Proposal};
use crate::crypto::kex;
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::proposal::{self, Kind};
use crate::ike::v2::keys::Protection;
use crate::wire::Spi;
use crate::wire::iana::v2::GroupId;
use crate::wire::v2::sa::Proposal as Offer;

/// Whether a policy leaves it to the peer.
pub fn is_open(policy: &Policy) -> bool {
    policy.child_proposals.iter().any(|proposal| proposal.groups.is_empty())
}

/// Proposals with these groups where they name none; `group none` alone is none.
pub fn closed(mut proposals: Vec<Proposal>, open: &[GroupId]) -> Vec<Proposal> {
    for proposal in &mut proposals {
        match proposal.groups.is_empty() {
            true => proposal.groups = open.to_vec(),
            false if proposal.groups.iter().all(|group| *group == GroupId::NONE) => {
                proposal.groups.clear();
            }
            false => (),
        }
    }
    proposals
}

/// What a peer may ask for that is left the choice.
pub fn either(policy: &Policy) -> Vec<GroupId> {
    std::iter::once(GroupId::NONE).chain(of_ike(policy)).collect()
}

/// What we ask for with a key exchange of its own: the IKE SA's group first.
pub fn wanted(policy: &Policy, protection: &Protection) -> Vec<GroupId> {
    let used = protection.suite.group;
    std::iter::once(used).chain(of_ike(policy).filter(|group| *group != used)).collect()
}

fn of_ike(policy: &Policy) -> impl Iterator<Item = GroupId> {
    let groups = policy.ike_proposals.iter().flat_map(|it| it.groups.iter().copied());
    groups.filter(|group| kex::supported(*group))
}

impl Offering {
    /// What to offer instead, as the peer has refused it: a key exchange of its own if there was none, or none.
    /// `None` where that is not left open.
    pub fn turned(
        &self,
        frame: &Frame,
        core: &mut Core,
        protection: &Protection,
    ) -> Option<Vec<Offer>> {
        let policy = &*frame.policy;
        if !is_open(policy) {
            return None;
        }
        let open = match self.group() {
            None => wanted(policy, protection),
            Some(_) => Vec::new(),
        };
        let ours = closed(frame.feasible(core, policy)?, &open);
        let offered = proposal::offer(&ours, Kind::Child(self.protocol), &Spi::None);
        (offered != self.offered).then_some(offered)
    }
}
