//! A child SA as the kernel takes it in, comes up, and gives way to its successor.

use std::time::Duration;

use super::established::{Established, PAUSE};
use super::tasks::Task;
use crate::conf::Start;
use crate::ike::child::{Child, ChildId, Stage};
use crate::ike::core::{Core, Deed, Part};
use crate::ike::frame::Frame;
use crate::ike::report::{Event, Gone};
use crate::ike::timer::jitter;

/// Child SAs for the same flows that came to be within this time were asked for at once.
const ASKED_AT_ONCE: Duration = Duration::from_secs(10);

impl Established {
    /// The kernel put a part of a child in, or did not.
    pub fn installed(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        id: ChildId,
        failed: Option<(Part, String)>,
    ) {
        let Some(at) = frame.children.iter().position(|child| child.id == id) else { return };
        if frame.children[at].stage == Stage::Ending {
            return;
        }
        let answers = self.answering.as_ref().is_some_and(|it| it.child() == Some(id));
        if let Some((part, _)) = failed {
            if let Part::Sa(direction) = part {
                frame.children[at].not_installed(direction);
            }
            if answers {
                let mut child = frame.part_with(at);
                child.remove(core);
                return self.answer_refused(frame, core);
            }
            frame.children[at].stage = Stage::Ending;
            Self::revive(frame, core, id);
            self.want(Task::DeleteChild(id, Gone::Failed));
            return self.advance(frame, core);
        }
        if frame.children[at].pending > 0 || frame.children[at].stage != Stage::Installing {
            return;
        }
        if answers {
            return self.answer_ready(frame, core);
        }
        self.up(frame, core, at);
    }

    /// It carries traffic, or will as soon as the peer is ready.
    pub fn up(&mut self, frame: &mut Frame, core: &mut Core, at: usize) {
        let child = &mut frame.children[at];
        child.stage = Stage::Up;
        let (old, victim) = (child.replaces, child.victim.take());
        if victim == Some(child.id) {
            // Should the winner go meanwhile, another is asked for: this one stands for nothing.
            child.stage = Stage::Ending;
            self.want(Task::DeleteChild(child.id, Gone::Replaced));
            return self.advance(frame, core);
        }
        core.stats.children += 1;
        let spis = child.printed_spis();
        let event = match old {
            Some(_) => {
                core.stats.rekeys += 1;
                let of = frame.children.iter().find(|child| Some(child.id) == old);
                let old = of.map(|old| old.printed_spis().0).unwrap_or_default();
                Event::ChildRekeyed { spis, old }
            }
            None => {
                let (suite, flows) = (child.agreement.printed_suite(), child.printed_flows());
                Event::ChildEstablished { spis, suite, flows }
            }
        };
        frame.report(core, event);
        // The path may have changed while it was made.
        self.move_children(frame, core);
        core.policies.succeeded(&frame.policy.name);
        if let Some(victim) = victim {
            self.want(Task::DeleteChild(victim, Gone::Replaced));
        }
        if old.is_none() {
            core.deeds.push_back(Deed::Cover(frame.id, frame.children[at].id));
            self.one_of_two(frame, core, at);
            self.want_rest(frame, core);
            if !self.queue.contains(&Task::CreateChild) {
                core.deeds.extend(frame.succeeds.take().map(Deed::Retire));
            }
        }
        self.advance(frame, core);
    }

    /// Both sides asked for the same child at once: of the two the one on which the initiator of the
    /// IKE SA receives with the lower SPI goes, by the hand that made it.
    fn one_of_two(&mut self, frame: &mut Frame, core: &mut Core, at: usize) {
        let new = &frame.children[at];
        let twin = frame.children.iter().find(|other| {
            other.initiated != new.initiated
                && other.stage == Stage::Up
                && other.replaces.is_none()
                && other.agreement.flows == new.agreement.flows
                && new.created.since(other.created) < ASKED_AT_ONCE
        });
        let Some(twin) = twin else { return };
        let spi = |child: &Child| match frame.initiator {
            true => child.agreement.spi_in.0,
            false => child.agreement.spi_out.0,
        };
        let loser = if spi(twin) < spi(new) { twin } else { new };
        if loser.initiated {
            let id = loser.id;
            self.want(Task::DeleteChild(id, Gone::Replaced));
            self.advance(frame, core);
        }
    }

    /// The side that opened the IKE SA sees that every flow of an active policy gets a child.
    fn want_rest(&mut self, frame: &Frame, core: &Core) {
        let ours = frame.initiator && frame.policy.start == Start::Active && !core.globals.passive;
        if ours && !self.rest_refused && !frame.unserved(frame.hosts()).is_empty() {
            self.want(Task::CreateChild);
        }
    }

    /// A child goes: those that wait to take its place send from now on.
    pub fn give_way(frame: &mut Frame, core: &mut Core, old: ChildId) {
        let (policy, sa) = (frame.policy.clone(), frame.id);
        let heirs = frame.children.iter_mut().filter(|child| child.replaces == Some(old));
        for heir in heirs.filter(|heir| heir.stage != Stage::Ending) {
            heir.switch(core, sa, &policy);
        }
    }

    /// A successor did not come to be: the child that it was to replace goes on, unless another
    /// successor is there.
    pub fn revive(frame: &mut Frame, core: &mut Core, successor: ChildId) {
        let find = |id| frame.children.iter().find(|child| Some(child.id) == id);
        let Some(old) = find(Some(successor)).and_then(|child| find(child.replaces)) else {
            return;
        };
        let old = old.id;
        let others = frame.children.iter().filter(|child| child.replaces == Some(old));
        if others.into_iter().any(|other| other.id != successor && other.stage != Stage::Ending) {
            return;
        }
        let again = core.now.after(jitter(PAUSE, &mut *core.random));
        let old = frame.children.iter_mut().find(|child| child.id == old && child.sends());
        if let Some(old) = old {
            (old.stage, old.soft) = (Stage::Up, Some(again));
        }
    }
}
