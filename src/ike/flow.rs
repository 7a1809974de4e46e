//! The flows that are in the kernel, counted: a trap, a child SA and its successor share one.

use std::collections::HashMap;

use super::event::{Direction, KernelFlow, KernelRequest, KernelSelector};

/// What the kernel is to be asked after a claim or a release.
pub type Change = Option<KernelRequest>;

/// The flows in the kernel with those who claim them.
#[derive(Debug, Default)]
pub struct FlowTable(HashMap<(Direction, KernelSelector), Claims>);

/// Who wants what for one selector: the kernel holds one flow for it, the one claimed last.
#[derive(Debug, Default)]
struct Claims(Vec<(KernelFlow, u32)>);

impl FlowTable {
    /// One more wants this flow. A flow with the same selectors and another SA is replaced.
    pub fn claim(&mut self, flow: &KernelFlow) -> Change {
        let claims = self.0.entry((flow.direction, flow.selector)).or_default();
        let known = claims.0.iter().position(|(claimed, _)| claimed == flow);
        let was_last = known.is_some_and(|at| at + 1 == claims.0.len());
        let (kept, count) = match known {
            Some(at) => claims.0.remove(at),
            None => (flow.clone(), 0),
        };
        claims.0.push((kept, count + 1));
        (!was_last).then(|| KernelRequest::AddFlow(Box::new(flow.clone())))
    }

    /// One fewer wants it. The flow goes with the last, or gives way to what was claimed before.
    pub fn release(&mut self, flow: &KernelFlow) -> Change {
        let key = (flow.direction, flow.selector);
        let claims = self.0.get_mut(&key)?;
        let at = claims.0.iter().position(|(claimed, _)| claimed == flow)?;
        claims.0[at].1 -= 1;
        if claims.0[at].1 > 0 {
            return None;
        }
        let was_last = at + 1 == claims.0.len();
        claims.0.remove(at);
        let Some((before, _)) = claims.0.last() else {
            self.0.remove(&key);
            return Some(KernelRequest::DeleteFlow(Box::new(flow.clone())));
        };
        was_last.then(|| KernelRequest::AddFlow(Box::new(before.clone())))
    }

    /// The flows that are in the kernel, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &KernelFlow> {
        self.0.values().filter_map(|claims| claims.0.last()).map(|(flow, _)| flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{Mode, Prefix, SaProtocol};
    use std::net::{IpAddr, Ipv4Addr};

    fn flow(reqid: u32) -> KernelFlow {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let prefix = Prefix::host(address);
        let selector =
            KernelSelector { src: prefix, dst: prefix, ip_protocol: 0, src_port: 0, dst_port: 0 };
        KernelFlow {
            direction: Direction::Out,
            selector,
            protocol: SaProtocol::Esp,
            mode: Mode::Tunnel,
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
        assert_eq!(table.iter().count(), 1);
    }
}
