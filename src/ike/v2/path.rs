//! Where the messages and packets of an IKE SA go, and how all of it goes elsewhere.

use std::net::SocketAddr;

use super::established::{Established, Task};
use crate::ike::child::ChildId;
use crate::ike::core::Core;
use crate::ike::event::{Direction, KernelAnswer, SaKey};
use crate::ike::natt::{Nat, Path};
use crate::ike::report::{Event, Gone};
use crate::ike::sa::Frame;

impl Established {
    /// An authentic message that is no repetition came by this path. The mapping of a NAT before the
    /// peer may have changed: then we go where the peer is now (RFC 7296 §2.23). Not if there is a NAT
    /// before ourselves, for anybody on the way could then break the connection with one packet; and
    /// not where the two sides tell each other their moves (RFC 4555).
    pub fn follow(&mut self, frame: &mut Frame, core: &mut Core, path: Path) {
        let follows = frame.nat.remote && !frame.nat.local && frame.mobility.is_none();
        if !follows || path.local != frame.local || path.remote == frame.remote {
            return;
        }
        let nat = frame.nat;
        self.move_to(frame, core, path, nat);
    }

    /// The IKE SA and its child SAs go by this path from now on.
    pub fn move_to(&mut self, frame: &mut Frame, core: &mut Core, path: Path, nat: Nat) {
        let old = frame.path();
        (frame.local, frame.remote) = (path.local, path.remote);
        if nat != frame.nat {
            frame.nat = nat;
            frame.report(core, Event::NatFound { local: nat.local, remote: nat.remote });
        }
        if old != path {
            frame.report(core, Event::PathMoved { from: old.ends(), to: path.ends() });
        }
        self.move_children(frame, core);
    }

    /// Child SAs that are elsewhere than the IKE SA go where it is.
    pub fn move_children(&mut self, frame: &mut Frame, core: &mut Core) {
        let (id, hosts, encap) = (frame.id, frame.hosts(), frame.encap());
        let mut bound = Vec::new();
        for child in &mut frame.children {
            if !child.relocate(core, id, hosts, encap) {
                bound.push(child.id);
            }
        }
        for child in bound {
            self.want(Task::DeleteChild(child, Gone::Failed));
        }
    }

    /// The kernel moved an SA of a child, or could not. Where it could not, or the sequence numbers
    /// begin anew, a successor takes the child's place.
    pub fn moved(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        id: ChildId,
        (direction, old): (Direction, SaKey),
        answer: &KernelAnswer,
    ) {
        let Some(child) = frame.children.iter_mut().find(|child| child.id == id) else { return };
        let rekey = !matches!(answer, KernelAnswer::Moved { counts_on: true });
        let last = child.relocated(core);
        if rekey {
            // As soon as it can be, that is when it is up.
            child.soft = Some(core.now);
        }
        match answer {
            KernelAnswer::Moved { counts_on: true } => (),
            KernelAnswer::Failed(reason) => {
                core.delete_sa(old);
                child.vanished(core, direction);
                let reason = reason.clone();
                frame.report(core, Event::MovedByRekey { reason });
            }
            _ => {
                let reason = "its sequence numbers begin anew".into();
                frame.report(core, Event::MovedByRekey { reason });
            }
        }
        if last {
            // We may be elsewhere again meanwhile.
            self.move_children(frame, core);
        }
        self.advance(frame, core);
    }
}

impl Path {
    /// Both ends, ours first.
    pub fn ends(self) -> (SocketAddr, SocketAddr) {
        (self.local, self.remote)
    }
}
