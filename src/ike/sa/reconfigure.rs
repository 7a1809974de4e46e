//! The configuration has changed: the least that makes an IKE SA and its children what it says now.

use std::sync::Arc;

use super::{Body, Sa};
use crate::conf::diff::Effect;
use crate::conf::{Policy, Start};
use crate::ike::child::{Agreement, ChildId};
use crate::ike::core::Core;
use crate::ike::report::Gone;
use crate::ike::v2;

impl Sa {
    /// Its policy is another now: does the least that makes it, and these children, what that one says.
    pub fn reconfigure(
        &mut self,
        core: &mut Core,
        policy: Arc<Policy>,
        effect: Effect,
        children: &[ChildId],
    ) {
        self.frame.policy = Arc::clone(&policy);
        if !self.is_established() {
            let Effect { ike, children, flows, recreate, .. } = effect;
            // What it has offered is not wanted any more.
            if ike || children || flows || recreate {
                self.abandon(core, Gone::ByConfiguration);
            }
            return;
        }
        if let Body::V2(_) = self.body {
            v2::reconfigured(self, core, effect);
        }
        let mut missing = false;
        for id in children {
            missing |= !self.reconfigure_child(core, *id, &policy, effect);
        }
        if missing && policy.start == Start::Active && !core.globals.passive {
            self.create_child(core, &policy, None);
        }
        if effect.ike {
            self.rekey(core, true);
        }
    }

    /// The same for a child. `false` if it cannot stay.
    pub fn reconfigure_child(
        &mut self,
        core: &mut Core,
        id: ChildId,
        policy: &Arc<Policy>,
        effect: Effect,
    ) -> bool {
        let children = &mut self.frame.children;
        let Some(child) = children.iter_mut().find(|child| child.id == id) else { return true };
        if effect.lifetimes {
            child.recount(core, policy);
        }
        let Agreement { traffic, flows, hosts, .. } = &child.agreement;
        let able = core.able.as_ref();
        let fits = !effect.flows || traffic.flows(policy, *hosts, able).as_ref() == Ok(flows);
        let stays = !effect.recreate && fits;
        if !stays {
            self.delete_child(core, id, Gone::ByConfiguration);
        } else if effect.children {
            self.rekey_child(core, id);
        }
        stays
    }
}
