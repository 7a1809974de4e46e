//! Where the messages and packets of an IKE SA go, and how all of it goes elsewhere.

use std::net::SocketAddr;

use super::child::ChildId;
use super::core::Core;
use super::event::{Direction, KernelAnswer, SaKey};
use super::frame::Frame;
use super::natt::Path;
use super::report::Event;

impl Path {
    /// Both ends, ours first.
    pub fn ends(self) -> (SocketAddr, SocketAddr) {
        (self.local, self.remote)
    }
}

impl Frame {
    /// Whether to go where an authentic message that is no repetition came from: the mapping of a NAT
    /// before the peer may have changed (RFC 7296 §2.23, RFC 3947 §4). Not if there is a NAT before
    /// ourselves, for anybody on the way could then break the connection with one packet; and not where
    /// the two sides tell each other their moves (RFC 4555).
    pub fn follows(&self, path: Path) -> bool {
        let may = self.nat.remote && !self.nat.local && self.mobility.is_none();
        may && path.local == self.local && path.remote != self.remote
    }

    /// Messages go by this path from now on.
    pub fn take_path(&mut self, core: &mut Core, path: Path) {
        let old = self.path();
        (self.local, self.remote) = path.ends();
        if old != path {
            self.report(core, Event::PathMoved { from: old.ends(), to: path.ends() });
        }
    }

    /// Child SAs that are elsewhere than the IKE SA go where it is. Gives back those that cannot.
    pub fn move_children(&mut self, core: &mut Core) -> Vec<ChildId> {
        let (id, hosts, encap) = (self.id, self.hosts(), self.encap());
        let children = self.children.iter_mut();
        let bound = children.filter_map(|child| {
            let moves = child.relocate(core, id, hosts, encap);
            (!moves).then_some(child.id)
        });
        bound.collect()
    }

    /// The kernel moved an SA of a child, or could not. Where it could not, or the sequence numbers
    /// begin anew, a successor is to take the child's place. After the last of its SAs the ends may be
    /// elsewhere again: gives back what [`Frame::move_children`] does.
    pub fn child_moved(
        &mut self,
        core: &mut Core,
        id: ChildId,
        (direction, old): (Direction, SaKey),
        answer: &KernelAnswer,
    ) -> Vec<ChildId> {
        let Some(child) = self.children.iter_mut().find(|child| child.id == id) else {
            return Vec::new();
        };
        let last = child.relocated(core);
        let reason = match answer {
            KernelAnswer::Moved { counts_on: true } => None,
            KernelAnswer::Failed(reason) => {
                core.delete_sa(old);
                child.vanished(core, direction);
                Some(reason.clone())
            }
            _ => Some("its sequence numbers begin anew".into()),
        };
        if let Some(reason) = reason {
            // As soon as it can be, that is when it is up.
            child.soft = Some(core.now);
            self.report(core, Event::MovedByRekey { reason });
        }
        match last {
            true => self.move_children(core),
            false => Vec::new(),
        }
    }
}
