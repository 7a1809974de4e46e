//! The child SAs of an ISAKMP SA: which are asked for, when each has a successor, and where they go.

use std::sync::Arc;

use super::established::{Established, GRACE};
use super::quick::received_on;
use super::{Task, traffic};
use crate::conf::{Phase1, Policy, Start, Version};
use crate::ike::child::{Child, ChildId, Stage};
use crate::ike::core::Core;
use crate::ike::event::{Direction, KernelAnswer, KernelSelector, SaKey, Time};
use crate::ike::frame::Frame;
use crate::ike::natt::Path;
use crate::ike::report::{Event, Gone};
use crate::ike::selector::{Traffic, covers};

impl Established {
    /// Others have taken note of it: the child SAs are asked for.
    pub fn advance(&mut self, frame: &mut Frame, core: &mut Core) {
        // Of two that were opened at once the other one has the children.
        if !std::mem::take(&mut self.fresh) || self.superseded_at.is_some() {
            return;
        }
        let all = core.policies.iter().map(|running| Arc::clone(&running.policy));
        let wanted: Vec<_> = all
            .filter(|policy| super::shares(policy, &frame.policy))
            .filter(|policy| policy.start == Start::Active || Arc::ptr_eq(policy, &frame.policy))
            .collect();
        for policy in wanted {
            self.fill(frame, core, &policy, None);
        }
        // Nobody answers the last message of Aggressive Mode. Where it was lost the peer, which hears something
        // under keys that it has not seen proved, repeats its answer, and so gets it again: let it hear something.
        let aggressive = frame.policy.version == Version::V1(Phase1::Aggressive);
        if aggressive && self.abilities.dpd && self.exchanges.is_empty() && self.probe.is_none() {
            self.send_probe(frame, core);
        }
    }

    /// Sees that a policy has its child SAs, or the one for a packet.
    pub fn fill(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        policy: &Arc<Policy>,
        packet: Option<&KernelSelector>,
    ) {
        if self.taken_over {
            return;
        }
        let hosts = frame.hosts();
        for flow in &policy.flows {
            let wanted = traffic::of_flow(policy, flow, hosts);
            let flows = wanted.flows(policy, hosts, core.able.as_ref()).unwrap_or_default();
            let concerned =
                packet.is_none_or(|packet| flows.iter().any(|flow| covers(flow, packet)));
            let served = frame
                .children
                .iter()
                .any(|child| child.stage != Stage::Ending && *child.agreement.flows == *flows);
            let coming = self.exchanges.iter().any(|it| it.is_for(&wanted));
            if concerned && !served && !coming {
                self.offer(frame, core, policy, wanted, None);
            }
        }
    }

    /// Deletes all of them, with notice to the peer.
    pub fn delete_children(&mut self, frame: &mut Frame, core: &mut Core) {
        let children = frame.children.iter().map(|child| received_on(&child.agreement));
        let ends: Vec<_> = children.collect();
        self.send_deletes(frame, core, &ends);
    }

    /// Time has passed: those that grew old get a successor, or go.
    pub fn check_children(&mut self, frame: &mut Frame, core: &mut Core) {
        let now = core.now;
        let mut tasks = Vec::new();
        let newest = newest(frame);
        for child in &mut frame.children {
            if child.hard.take_if(|hard| *hard <= now).is_some() {
                let replaced = child.stage == Stage::Ending;
                let why = if replaced { Gone::Replaced } else { Gone::Expired };
                tasks.push(Task::DeleteChild(child.id, why));
            } else if child.stage == Stage::Up && child.soft.take_if(|it| *it <= now).is_some() {
                match newest.contains(&child.id) {
                    true => tasks.push(Task::RekeyChild(child.id)),
                    false => child.soft = child.hard.and_then(|hard| halfway(now, hard)),
                }
            }
        }
        tasks.into_iter().for_each(|task| self.start(frame, core, task));
    }

    /// An authentic message, or packets of a child SA, came by this path.
    pub fn follow(&mut self, frame: &mut Frame, core: &mut Core, path: Path) {
        if frame.follows(path) {
            frame.take_path(core, path);
            let bound = frame.move_children(core);
            self.leave(frame, core, bound);
        }
    }

    /// These child SAs cannot go where the ISAKMP SA is.
    fn leave(&mut self, frame: &mut Frame, core: &mut Core, bound: Vec<ChildId>) {
        for child in bound {
            self.start(frame, core, Task::DeleteChild(child, Gone::Failed));
        }
    }

    /// The kernel moved an SA of a child, or could not.
    pub fn moved(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        id: ChildId,
        sa: (Direction, SaKey),
        answer: &KernelAnswer,
    ) {
        let bound = frame.child_moved(core, id, sa, answer);
        self.leave(frame, core, bound);
    }
}

/// Of the children that carry the same traffic, those that came to be last. Both sides may negotiate at once, and
/// peers differ in which of two they keep: neither is deleted, and only one has a successor.
pub fn newest(frame: &Frame) -> Vec<ChildId> {
    let up = frame.children.iter().filter(|child| child.stage == Stage::Up);
    let mut newest: Vec<&Child> = Vec::new();
    for child in up {
        match newest.iter_mut().find(|it| it.agreement.traffic == child.agreement.traffic) {
            Some(other) if other.created <= child.created => *other = child,
            Some(_) => (),
            None => newest.push(child),
        }
    }
    newest.into_iter().map(|child| child.id).collect()
}

/// Children came that were made to take the place of some that are here.
pub fn retire_predecessors(frame: &mut Frame, core: &mut Core) {
    let up = frame.children.iter_mut().filter(|child| child.stage == Stage::Up);
    let old: Vec<_> = up.filter_map(|child| child.replaces.take()).collect();
    for child in frame.children.iter_mut().filter(|child| old.contains(&child.id)) {
        child.retire(core, GRACE);
    }
}

/// When to look again at one that is not to have a successor: the other may be gone by then.
fn halfway(now: Time, end: Time) -> Option<Time> {
    let left = end.since(now);
    (left > GRACE * 2).then(|| now.after(left / 2))
}

/// A child goes; a policy that lost it hears of it.
pub fn remove(frame: &mut Frame, core: &mut Core, at: usize, why: Gone) {
    let mut child = frame.part_with(at);
    let policy = policy_of(frame, core, &child.agreement.traffic);
    child.remove(core);
    if why != Gone::Replaced {
        let spis = child.printed_spis();
        frame.report(core, Event::ChildDeleted { spis, why });
        core.lost(&policy.name, why);
    }
}

/// The policy that traffic belongs to, among those that go over this SA.
pub fn policy_of(frame: &Frame, core: &Core, wanted: &Traffic) -> Arc<Policy> {
    let hosts = frame.hosts();
    let wants = |policy: &Policy| traffic::is_wanted(wanted, policy, hosts);
    if wants(&frame.policy) {
        return Arc::clone(&frame.policy);
    }
    let all = core.policies.iter().map(|running| &running.policy);
    let mut ours =
        all.filter(|it| matches!(it.version, Version::V1(_)) && super::shares(it, &frame.policy));
    ours.find(|policy| wants(policy)).unwrap_or(&frame.policy).clone()
}
