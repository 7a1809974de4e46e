//! Which traffic a child SA is to carry: what we want, and what we take of the peer's offer.

use super::disagree;
use crate::conf::{Mode, Policy};
use crate::ike::child::ChildId;
use crate::ike::core::Core;
use crate::ike::event::KernelSelector;
use crate::ike::frame::Frame;
use crate::ike::report::Event;
use crate::ike::selector::{Hosts, NoFlows, Traffic};
use crate::wire::iana::v2::NotifyType;

/// What the policy wants and no child SA carries yet: of one family, where the kernel has no SA for
/// both.
pub fn wanting(frame: &Frame, core: &Core, hosts: Hosts) -> Traffic {
    let policy = &*frame.policy;
    let mut missing = frame.unserved(hosts);
    if one_family(core, policy)
        && let Some(&(_, first)) = missing.first()
    {
        missing.retain(|(_, ipv4)| *ipv4 == first);
    }
    Traffic::of_flows(policy, hosts, |at| missing.iter().any(|(place, _)| *place == at))
}

fn one_family(core: &Core, policy: &Policy) -> bool {
    policy.mode == Mode::Tunnel && core.able.as_ref().is_some_and(|able| able.one_family)
}

/// What of the peer's offer is to be considered: where the kernel has no SA for both families, the
/// family of the child that is replaced, of the packet that it is for, or one that no child carries yet.
/// Says whether that left something out.
pub fn considered(
    frame: &Frame,
    core: &Core,
    offered: Traffic,
    rekeys: Option<ChildId>,
    hosts: Hosts,
) -> (Traffic, bool) {
    if !one_family(core, &frame.policy) || !offered.is_mixed() {
        return (offered, false);
    }
    let old = frame.children.iter().find(|child| Some(child.id) == rekeys);
    let packet = offered.packet();
    let first = old.map(|old| &old.agreement.traffic).or(packet.as_ref());
    let family = match first.and_then(|traffic| traffic.local.first()) {
        Some(selector) => selector.addresses.0.is_ipv4(),
        None => frame.unserved(hosts).first().is_none_or(|(_, ipv4)| *ipv4),
    };
    (offered.of_family(family), true)
}

/// In transport mode the ends of an SA are the hosts themselves: where a NAT translates one of them, what
/// the peer says of it is put into the address that we know it by (RFC 7296 §2.23.1).
pub fn as_seen_here(frame: &Frame, mode: Mode, traffic: Traffic) -> Traffic {
    if mode != Mode::Transport || !frame.nat.found() {
        return traffic;
    }
    let Hosts { local, remote, .. } = frame.hosts();
    traffic.translated(frame.nat.local.then_some(local), frame.nat.remote.then_some(remote))
}

/// What we take of the peer's offer, and the flows that it means.
///
/// # Errors
///
/// What to tell the peer; it is reported already.
pub fn taken(
    frame: &Frame,
    core: &mut Core,
    (peers, rekeys): (&Traffic, Option<ChildId>),
    hosts: Hosts,
) -> Result<(Traffic, Box<[KernelSelector]>), NotifyType> {
    let policy = &*frame.policy;
    let with_flows = |peers: &Traffic| {
        let traffic = peers.narrowed(policy, hosts)?;
        let flows = traffic.flows(policy, hosts, core.able.as_ref())?;
        Ok((traffic, flows))
    };
    // Of more than can be had, the packet that it is for; a successor is never narrower (RFC 7296 §2.9.2).
    let taken = with_flows(peers).or_else(|why: NoFlows| {
        let packet = peers.packet().filter(|_| rekeys.is_none()).ok_or(why)?;
        with_flows(&packet).map_err(|_| why)
    });
    taken.map_err(|why| {
        let ours = Traffic::wanted(policy, hosts);
        let disagreement = disagree::traffic(&ours, peers, why);
        frame.report(core, Event::Disagreed(disagreement));
        NotifyType::TS_UNACCEPTABLE
    })
}
