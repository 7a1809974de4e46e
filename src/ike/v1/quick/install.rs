//! Child SAs in the kernel: what Quick Mode does when they are there, or cannot be.

use super::{LINGER, Quick, Step, Waiting, received_on, with_lifetime};
use crate::ike::child::{Child, ChildId, Stage};
use crate::ike::core::{Core, Deed, Part};
use crate::ike::event::Direction;
use crate::ike::frame::Frame;
use crate::ike::report::{Event, Gone};
use crate::ike::selector::Traffic;
use crate::ike::timer::jitter;
use crate::ike::v1::children::policy_of;
use crate::ike::v1::established::{Established, GRACE, PAUSE};
use crate::wire::EspSpi;
use crate::wire::iana::v1::NotifyType;
use crate::wire::v1::Notify;

impl Established {
    /// The kernel put a part of a child in, or did not.
    pub fn installed(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        id: ChildId,
        failed: Option<Part>,
    ) {
        let Some(at) = frame.children.iter().position(|child| child.id == id) else { return };
        if frame.children[at].stage != Stage::Installing {
            return;
        }
        let quick = self.exchanges.iter().position(|quick| quick.child() == Some(id));
        if let Some(part) = failed {
            if let Part::Sa(direction) = part {
                frame.children[at].not_installed(direction);
            }
            let agreement = &frame.children[at].agreement;
            let ends = received_on(agreement);
            let (old, traffic) = (frame.children[at].replaces, agreement.traffic.clone());
            frame.part_with(at).remove(core);
            match quick.map(|at| self.exchanges.swap_remove(at)) {
                Some(quick) if matches!(quick.step, Step::AwaitInbound(_)) => {
                    self.remember(quick.id);
                    self.notify(frame, core, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN));
                }
                _ => {
                    self.send_deletes(frame, core, &[ends]);
                    postpone(frame, core, old, &traffic);
                }
            }
            return;
        }
        if frame.children[at].pending > 0 {
            return;
        }
        match quick.map(|at| &self.exchanges[at].step) {
            Some(Step::AwaitInbound(_)) => self.send_answer(frame, core, id),
            Some(Step::AwaitEnd(_) | Step::AwaitConnected(..)) => (),
            _ => self.up(frame, core, at),
        }
    }

    /// A child carries traffic.
    pub fn up(&self, frame: &mut Frame, core: &mut Core, at: usize) {
        up(frame, core, at);
        if self.taken_over {
            core.deeds.push_back(Deed::HandOver(frame.id));
        }
    }

    /// The peer says that its side stands: what we send no longer waits.
    pub fn connected(&mut self, frame: &mut Frame, core: &mut Core, spi: Option<EspSpi>) {
        let sends_by = |id: ChildId, spi: EspSpi| {
            let child = frame.children.iter().find(|child| child.id == id);
            child.is_some_and(|child| child.agreement.sends(spi))
        };
        let waits = |quick: &Quick| match &quick.step {
            Step::AwaitConnected(waiting) => spi.is_none_or(|spi| sends_by(waiting.child, spi)),
            _ => false,
        };
        let Some(at) = self.exchanges.iter().position(|quick| waits(quick)) else { return };
        let quick = &mut self.exchanges[at];
        let done = Step::Done(core.now.after(LINGER));
        let Step::AwaitConnected(waiting) = std::mem::replace(&mut quick.step, done) else {
            return;
        };
        let policy = with_lifetime(&quick.policy, waiting.lifetime);
        let Waiting { child, keys, .. } = *waiting;
        if let Some(child) = frame.children.iter_mut().find(|it| it.id == child) {
            child.install(core, frame.id, Direction::Out, &keys, &policy);
        }
    }
}

fn up(frame: &mut Frame, core: &mut Core, at: usize) {
    let child = &mut frame.children[at];
    child.stage = Stage::Up;
    core.stats.children += 1;
    let spis = child.printed_spis();
    let (old, traffic) = (child.replaces, child.agreement.traffic.clone());
    let old = old.and_then(|old| frame.children.iter().position(|child| child.id == old));
    let event = match old {
        Some(old) => {
            core.stats.rekeys += 1;
            frame.children[at].replaces = None;
            let before = frame.children[old].id;
            let event = Event::ChildRekeyed { spis, old: frame.children[old].printed_spis().0 };
            frame.children[old].retire(core, GRACE);
            // What both sides negotiated at once with the old one, or before it, is of no use either.
            let useless = |it: &&mut Child| {
                it.stage == Stage::Up && it.id < before && it.agreement.traffic == traffic
            };
            frame.children.iter_mut().filter(useless).for_each(|it| it.retire(core, GRACE));
            event
        }
        None => {
            // The first one, or whose predecessor did not live to see it.
            let child = &frame.children[at];
            let (suite, flows) = (child.agreement.printed_suite(), child.printed_flows());
            Event::ChildEstablished { spis, suite, flows }
        }
    };
    frame.report(core, event);
    let policy = policy_of(frame, core, &traffic);
    core.policies.succeeded(&policy.name);
}

/// What could not be had now is tried again later.
pub fn postpone(frame: &mut Frame, core: &mut Core, rekeys: Option<ChildId>, traffic: &Traffic) {
    let Some(id) = rekeys else {
        let policy = policy_of(frame, core, traffic);
        return core.lost(&policy.name, Gone::Failed);
    };
    let again = core.now.after(jitter(PAUSE, &mut *core.random));
    if let Some(old) = frame.children.iter_mut().find(|child| child.id == id) {
        old.resume(again);
    }
}
