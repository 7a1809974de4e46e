//! The path of an IKE SA, as what happens changes it.

use super::established::Established;
use super::tasks::Task;
use crate::ike::child::ChildId;
use crate::ike::core::Core;
use crate::ike::event::{Direction, KernelAnswer, SaKey};
use crate::ike::frame::Frame;
use crate::ike::natt::{Nat, Path};
use crate::ike::report::{Event, Gone};

impl Established {
    /// An authentic message that is no repetition came by this path.
    pub fn follow(&mut self, frame: &mut Frame, core: &mut Core, path: Path) {
        if frame.follows(path) {
            self.move_to(frame, core, path, frame.nat);
        }
    }

    /// The IKE SA and its child SAs go by this path from now on.
    pub fn move_to(&mut self, frame: &mut Frame, core: &mut Core, path: Path, nat: Nat) {
        if nat != frame.nat {
            frame.nat = nat;
            frame.report(core, Event::NatFound { local: nat.local, remote: nat.remote });
        }
        frame.take_path(core, path);
        self.move_children(frame, core);
    }

    /// Child SAs that are elsewhere than the IKE SA go where it is.
    pub fn move_children(&mut self, frame: &mut Frame, core: &mut Core) {
        self.leave(frame.move_children(core));
    }

    /// These child SAs cannot go where the IKE SA is.
    fn leave(&mut self, bound: Vec<ChildId>) {
        for child in bound {
            self.want(Task::DeleteChild(child, Gone::Failed));
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
        self.leave(frame.child_moved(core, id, sa, answer));
        self.advance(frame, core);
    }
}
