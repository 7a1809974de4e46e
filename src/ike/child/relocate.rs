//! A child SA goes where its IKE SA is: other addresses, other ports.

use super::{Agreement, Child};
use crate::conf::Mode;
use crate::ike::core::{Core, Owner, Part};
use crate::ike::event::{Direction, KernelRequest, SaMove};
use crate::ike::selector::{Hosts, reversed};
use crate::ike::table::SaId;

impl Child {
    /// The outer addresses or ports are others: the SAs go there, and when they have, the flows
    /// ([`Child::relocated`]). What is on its way already goes on from there. `false` for one in
    /// transport mode whose addresses would be others: it is bound to them.
    pub fn relocate(
        &mut self,
        core: &mut Core,
        sa: SaId,
        hosts: Hosts,
        encap: Option<(u16, u16)>,
    ) -> bool {
        let Agreement { hosts: old, encap: old_encap, mode, .. } = self.agreement;
        // What is within the tunnel stays as it was agreed on.
        let hosts = Hosts { inner: old.inner, ..hosts };
        if self.moving.is_some() || (old, old_encap) == (hosts, encap) {
            return true;
        }
        if mode == Mode::Transport && old != hosts {
            return false;
        }
        let both = [(Direction::In, self.in_kernel.0), (Direction::Out, self.in_kernel.1)];
        let there = both.into_iter().filter(|(_, there)| *there).map(|(direction, _)| direction);
        let keys: Vec<_> = there.map(|direction| (direction, self.key(direction))).collect();
        (self.agreement.hosts, self.agreement.encap) = (hosts, encap);
        let first = self.agreement.flows.first().copied();
        for (direction, key) in &keys {
            let new = self.key(*direction);
            let selector = match direction {
                Direction::In => first.as_ref().map(reversed),
                Direction::Out => first,
            };
            let to = SaMove {
                key: *key,
                direction: *direction,
                src: new.src,
                dst: new.dst,
                encap: self.encap(*direction),
                selector,
            };
            let owner = self.owner(sa, Part::Move(*direction, *key, new));
            core.kernel(owner, KernelRequest::MoveSa(Box::new(to)));
        }
        self.moving = Some(Box::new((old, u8::try_from(keys.len()).unwrap_or(2))));
        if keys.is_empty() {
            self.relocate_flows(core);
        }
        true
    }

    /// The kernel answered about one of the SAs to be moved. Whether that was the last.
    pub fn relocated(&mut self, core: &mut Core) -> bool {
        let Some(moving) = &mut self.moving else { return false };
        moving.1 = moving.1.saturating_sub(1);
        let done = moving.1 == 0;
        if done {
            self.relocate_flows(core);
        }
        done
    }

    fn relocate_flows(&mut self, core: &mut Core) {
        let both = [(Direction::In, self.flows_claimed.0), (Direction::Out, self.flows_claimed.1)];
        let claimed = both.into_iter().filter(|(_, claimed)| *claimed);
        let directions: Vec<_> = claimed.map(|(direction, _)| direction).collect();
        let flows = |child: &Self| -> Vec<_> {
            directions.iter().flat_map(|direction| child.kernel_flows(*direction)).collect()
        };
        let old = flows(self);
        self.moving = None;
        let new = flows(self);
        if old != new {
            for flow in &new {
                core.claim(Owner::Nobody("move a flow"), flow);
            }
            old.iter().for_each(|flow| core.release(flow));
        }
    }
}
