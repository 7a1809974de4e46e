//! What an earlier run of the daemon left in the kernel.
//!
//! After a crash or a kill the SAs go on carrying traffic, and that is wanted: they are removed only
//! when their successors stand (a little later, for packets on the way), or when nothing has taken
//! their place for a while.

use std::time::Duration;

use pfkey::{Flow, Request, SaId};

use crate::ike::event::Time;

/// How long leftovers wait for a successor.
const GRACE: Duration = Duration::from_secs(120);
/// How long packets may be on the way.
const ON_THE_WAY: Duration = Duration::from_secs(3);

/// Leftovers, each with the time of its removal.
#[derive(Debug, Default)]
pub struct Stale {
    end: Time,
    waits: bool,
    sas: Vec<(Time, SaId)>,
    flows: Vec<Flow>,
}

impl Stale {
    /// The search begins.
    pub fn begin(&mut self, now: Time) {
        self.end = now.after(GRACE);
        self.waits = true;
    }

    /// An SA of ours that we do not know.
    pub fn found_sa(&mut self, sa: SaId) {
        self.sas.push((self.end, sa));
    }

    /// A flow of ours that we do not know.
    pub fn found_flow(&mut self, flow: Flow) {
        self.flows.push(flow);
    }

    /// A flow is installed again: it is no leftover any more.
    pub fn adopt(&mut self, flow: &Flow) {
        self.flows
            .retain(|left| left.direction != flow.direction || left.selector != flow.selector);
    }

    /// An SA between these addresses stands: its predecessors may go.
    pub fn succeeded(&mut self, now: Time, sa: &SaId) {
        let soon = now.after(ON_THE_WAY);
        for (at, left) in &mut self.sas {
            let same = (left.src, left.dst) == (sa.src, sa.dst)
                || (left.dst, left.src) == (sa.src, sa.dst);
            if same && left.protocol == sa.protocol {
                *at = soon.min(*at);
            }
        }
    }

    /// When something is to be removed, or is over.
    pub fn next_timeout(&self) -> Option<Time> {
        self.sas.iter().map(|(at, _)| *at).chain(self.waits.then_some(self.end)).min()
    }

    /// Whether nothing waits for a successor any more; it is said once.
    pub fn is_over(&mut self, now: Time) -> bool {
        self.end <= now && std::mem::take(&mut self.waits)
    }

    /// What is to be removed now.
    pub fn due(&mut self, now: Time) -> Vec<Request> {
        let mut requests: Vec<Request> = Vec::new();
        self.sas.retain(|(at, sa)| {
            let due = *at <= now;
            if due {
                requests.push(Request::Delete(*sa));
            }
            !due
        });
        if self.end <= now {
            let flows = std::mem::take(&mut self.flows);
            requests.extend(flows.into_iter().map(|flow| Request::DeleteFlow(Box::new(flow))));
        }
        requests
    }

    /// Everything, now.
    pub fn all(&mut self) -> Vec<Request> {
        let sas = std::mem::take(&mut self.sas).into_iter().map(|(_, sa)| Request::Delete(sa));
        let flows = std::mem::take(&mut self.flows);
        sas.chain(flows.into_iter().map(|flow| Request::DeleteFlow(Box::new(flow)))).collect()
    }
}
