//! What of ours in the kernel nothing there tells as ours: what has no reqid (all on OpenBSD) or that
//! of an interface (route-based SAs on FreeBSD). The parent keeps a record of it for after a crash.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use pfkey::{SaId, SaInfo};
use serde::{Deserialize, Serialize};

use super::translate;
use crate::ike::event::KernelFlow;

/// By how many seconds two clocks may differ that are one: the kernel's and the record's.
const CLOCK: u64 = 60;

/// Something of ours in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kept {
    /// An SA.
    Sa {
        /// ESP (50), AH (51) or IPComp (108).
        protocol: u8,
        /// Its SPI or CPI.
        spi: u32,
        /// Source of the outer header.
        src: IpAddr,
        /// Destination of the outer header.
        dst: IpAddr,
    },
    /// A flow.
    Flow(Box<KernelFlow>),
}

impl Kept {
    fn sa(id: &SaId) -> Option<Self> {
        let protocol = match id.protocol {
            pfkey::Protocol::Esp => 50,
            pfkey::Protocol::Ah => 51,
            pfkey::Protocol::IpComp => 108,
            _ => return None,
        };
        Some(Self::Sa { protocol, spi: id.spi.0, src: id.src, dst: id.dst })
    }

    /// Whether the kernel, which told these flows, still holds it; an SA it may.
    pub fn may_be_held(&self, flows: &[pfkey::Flow]) -> bool {
        let Self::Flow(flow) = self else { return true };
        let flow = translate::flow(flow, 0);
        let peer = |flow: &pfkey::Flow| flow.transforms.first()?.endpoints;
        flows.iter().any(|held| {
            held.direction == flow.direction
                && held.kind == flow.kind
                && held.selector == flow.selector
                && peer(held) == peer(&flow)
        })
    }
}

/// A change of what is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Whether it is there, or no longer.
    pub there: bool,
    /// What.
    pub what: Kept,
}

/// What an earlier run has kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// What.
    pub what: Kept,
    /// When it became ours, in seconds since 1970.
    pub since: u64,
}

/// What is kept, and what is to be told of it.
#[derive(Debug, Default)]
pub struct Record {
    kept: HashSet<Kept>,
    left: HashMap<Kept, u64>,
    notes: VecDeque<Note>,
}

impl Record {
    /// What an earlier run has kept.
    pub fn earlier(&mut self, left: Vec<Left>) {
        self.left.extend(left.into_iter().map(|Left { what, since }| (what, since)));
    }

    /// Whether an SA that the kernel tells is one that an earlier run has kept. One that is younger
    /// than the record of it is somebody else's under the same name.
    pub fn left_sa(&self, info: &SaInfo) -> bool {
        let since = Kept::sa(&info.id).and_then(|kept| self.left.get(&kept));
        let made = info.current.map(|current| current.add_seconds);
        since.zip(made).is_some_and(|(since, made)| made <= since.saturating_add(CLOCK))
    }

    /// The flows that an earlier run has kept.
    pub fn left_flows(&self) -> Vec<KernelFlow> {
        let flow = |kept: &Kept| match kept {
            Kept::Flow(flow) => Some((**flow).clone()),
            Kept::Sa { .. } => None,
        };
        self.left.keys().filter_map(flow).collect()
    }

    /// An SA is to be there.
    pub fn add_sa(&mut self, id: &SaId) {
        Kept::sa(id).into_iter().for_each(|kept| self.add(kept));
    }

    /// An SA is gone, or its record at least.
    pub fn remove_sa(&mut self, id: &SaId) {
        Kept::sa(id).into_iter().for_each(|kept| self.remove(kept));
    }

    /// A flow is to be there.
    pub fn add_flow(&mut self, flow: &KernelFlow) {
        self.add(Kept::Flow(Box::new(flow.clone())));
    }

    /// A flow is gone.
    pub fn remove_flow(&mut self, flow: &KernelFlow) {
        self.remove(Kept::Flow(Box::new(flow.clone())));
    }

    /// Nothing of an earlier run is there any more.
    pub fn forget_earlier(&mut self) {
        let left: Vec<Kept> = self.left.keys().cloned().collect();
        left.into_iter().for_each(|kept| self.remove(kept));
    }

    /// The next change, to be kept beyond this process.
    pub fn note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    fn add(&mut self, what: Kept) {
        self.left.remove(&what);
        if self.kept.insert(what.clone()) {
            self.notes.push_back(Note { there: true, what });
        }
    }

    fn remove(&mut self, what: Kept) {
        let left = self.left.remove(&what).is_some();
        if self.kept.remove(&what) || left {
            self.notes.push_back(Note { there: false, what });
        }
    }
}
