//! The flows that are in the kernel, counted: a trap, a child SA and its successor share one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use super::event::{Direction, KernelFlow, KernelRequest, KernelSelector};
use crate::conf::{Mode, SaProtocol};

/// What the kernel is to be asked after a claim or a release.
pub type Change = Option<KernelRequest>;

/// The flows in the kernel with those who claim them. There are very many, and nearly always one claim
/// for each.
#[derive(Debug, Default)]
pub struct FlowTable {
    /// What was claimed last: this is in the kernel.
    present: BTreeMap<Selects, Claim>,
    /// What was claimed before, the oldest first; nowhere empty.
    covered: BTreeMap<Selects, Vec<Claim>>,
}

/// What a flow selects: the kernel holds one flow for it.
type Selects = (Direction, KernelSelector);

/// Who wants what for one selector.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    uses: Uses,
    count: u32,
}

/// A flow without what it selects.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Uses {
    protocol: SaProtocol,
    mode: Mode,
    ipcomp: bool,
    around: bool,
    local: IpAddr,
    remote: IpAddr,
    reqid: u32,
    rdomain: Option<u32>,
}

impl FlowTable {
    /// One more wants this flow. A flow with the same selectors and another SA is replaced.
    pub fn claim(&mut self, flow: &KernelFlow) -> Change {
        let (selects, uses) = ((flow.direction, flow.selector), Uses::of(flow));
        let mut claim = Claim { uses, count: 1 };
        if let Some(present) = self.present.get_mut(&selects) {
            if present.uses == claim.uses {
                present.count += 1;
                return None;
            }
            let covered = self.covered.entry(selects).or_default();
            if let Some(at) = covered.iter().position(|it| it.uses == claim.uses) {
                claim.count += covered.remove(at).count;
            }
            covered.push(present.clone());
        }
        self.present.insert(selects, claim);
        Some(KernelRequest::AddFlow(Box::new(flow.clone())))
    }

    /// One fewer wants it. The flow goes with the last, or gives way to what was claimed before.
    pub fn release(&mut self, flow: &KernelFlow) -> Change {
        let (selects, uses) = ((flow.direction, flow.selector), Uses::of(flow));
        let present = self.present.get_mut(&selects)?;
        if present.uses != uses {
            self.release_covered(selects, &uses);
            return None;
        }
        present.count -= 1;
        if present.count > 0 {
            return None;
        }
        let Some(successor) = self.uncover(selects) else {
            self.present.remove(&selects);
            return Some(KernelRequest::DeleteFlow(Box::new(flow.clone())));
        };
        let flow = successor.uses.flow(selects);
        self.present.insert(selects, successor);
        Some(KernelRequest::AddFlow(Box::new(flow)))
    }

    fn release_covered(&mut self, selects: Selects, uses: &Uses) {
        let Entry::Occupied(mut covered) = self.covered.entry(selects) else { return };
        let claims = covered.get_mut();
        claims.iter_mut().filter(|it| it.uses == *uses).for_each(|it| it.count -= 1);
        claims.retain(|it| it.count > 0);
        if claims.is_empty() {
            covered.remove();
        }
    }

    /// Takes what was claimed before the present one.
    fn uncover(&mut self, selects: Selects) -> Option<Claim> {
        let Entry::Occupied(mut covered) = self.covered.entry(selects) else { return None };
        let claim = covered.get_mut().pop();
        if covered.get().is_empty() {
            covered.remove();
        }
        claim
    }

    /// The reqid, and the peer's outer address, of the newest claim that gave way to what the kernel has
    /// for this selector.
    pub fn covered(&self, direction: Direction, selector: KernelSelector) -> Option<(u32, IpAddr)> {
        let covered = self.covered.get(&(direction, selector))?;
        covered.last().map(|claim| (claim.uses.reqid, claim.uses.remote))
    }

    /// The flows that are in the kernel, in no order.
    pub fn iter(&self) -> impl Iterator<Item = KernelFlow> {
        self.present.iter().map(|(selects, claim)| claim.uses.flow(*selects))
    }
}

impl Uses {
    fn of(flow: &KernelFlow) -> Self {
        let KernelFlow { protocol, mode, ipcomp, around, local, remote, reqid, rdomain, .. } =
            *flow;
        Self { protocol, mode, ipcomp, around, local, remote, reqid, rdomain }
    }

    fn flow(&self, (direction, selector): Selects) -> KernelFlow {
        let Self { protocol, mode, ipcomp, around, local, remote, reqid, rdomain } = *self;
        KernelFlow {
            direction,
            selector,
            protocol,
            mode,
            ipcomp,
            around,
            local,
            remote,
            reqid,
            rdomain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::Prefix;
    use crate::ike::event::Ports;
    use std::net::Ipv4Addr;

    fn flow(reqid: u32) -> KernelFlow {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let prefix = Prefix::host(address);
        let selector = KernelSelector {
            src: prefix,
            dst: prefix,
            ip_protocol: 0,
            src_port: Ports::ANY,
            dst_port: Ports::ANY,
        };
        KernelFlow {
            direction: Direction::Out,
            selector,
            protocol: SaProtocol::Esp,
            mode: Mode::Tunnel,
            ipcomp: false,
            around: false,
            local: address,
            remote: address,
            reqid,
            rdomain: None,
        }
    }

    #[test]
    fn a_shared_flow_goes_with_its_last_owner() {
        let mut table = FlowTable::default();
        assert!(matches!(table.claim(&flow(1)), Some(KernelRequest::AddFlow(_))));
        assert!(table.claim(&flow(1)).is_none());
        assert!(table.release(&flow(1)).is_none());
        assert!(matches!(table.release(&flow(1)), Some(KernelRequest::DeleteFlow(_))));
        assert!(table.release(&flow(1)).is_none());
    }

    #[test]
    fn what_was_claimed_before_comes_back() {
        let mut table = FlowTable::default();
        assert!(table.claim(&flow(1)).is_some());
        assert!(matches!(table.claim(&flow(2)), Some(KernelRequest::AddFlow(f)) if f.reqid == 2));
        assert!(matches!(table.release(&flow(2)), Some(KernelRequest::AddFlow(f)) if f.reqid == 1));
        assert_eq!(table.iter().collect::<Vec<_>>(), [flow(1)]);
    }

    #[test]
    fn one_that_is_not_in_the_kernel_goes_without_a_word_to_it() {
        let mut table = FlowTable::default();
        for reqid in [1, 2, 3, 2] {
            table.claim(&flow(reqid));
        }
        assert!(table.release(&flow(3)).is_none());
        assert!(table.release(&flow(2)).is_none());
        assert!(matches!(table.release(&flow(2)), Some(KernelRequest::AddFlow(f)) if f.reqid == 1));
        assert!(matches!(table.release(&flow(1)), Some(KernelRequest::DeleteFlow(_))));
    }
}
