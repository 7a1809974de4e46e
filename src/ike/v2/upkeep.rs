//! What time does to an established IKE SA: rekeying, liveness (RFC 7296 §2.4), keepalives, lifetimes.

use std::time::Duration;

use super::established::{Established, GRACE, PAUSE};
use super::tasks::Task;
use crate::ike::child::{Child, ChildId, Stage};
use crate::ike::core::{Core, Deed, Owner, Part};
use crate::ike::event::{Direction, KernelRequest, Output, SaCounters, Time};
use crate::ike::frame::Frame;
use crate::ike::natt::KEEPALIVE;
use crate::ike::report::Gone;
use crate::ike::timer::{earliest, jitter};

impl Established {
    /// When it is to be looked at next.
    pub fn next_timeout(&self, frame: &Frame, core: &Core) -> Option<Time> {
        let interval = Duration::from_secs(core.globals.dpd_check_interval.into());
        let idle = self.is_idle(frame) && !interval.is_zero();
        let children = frame.children.iter().map(|child| child.next_timeout());
        let own = [
            frame.window.deadline(),
            self.rekey_at,
            self.ends_at,
            self.superseded_at,
            self.unclaimed,
            self.create_at.filter(|_| self.successor.is_none()),
            idle.then(|| self.heard.after(interval)),
            frame.nat.local.then(|| self.sent.after(KEEPALIVE)),
        ];
        earliest(own.into_iter().chain(children))
    }

    /// Time has passed; our outstanding request was looked after already.
    pub fn timeout(&mut self, frame: &mut Frame, core: &mut Core) {
        let now = core.now;
        let due = |time: &mut Option<Time>| time.take_if(|time| *time <= now).is_some();
        if due(&mut self.rekey_at) && self.successor.is_none() && !self.is_ending() {
            if self.reauth {
                core.deeds.push_back(Deed::Reauthenticate(frame.id));
                self.rekey_at = Some(now.after(jitter(PAUSE * 8, &mut *core.random)));
            } else {
                self.want(Task::RekeyIke);
            }
        }
        if self.unclaimed.is_some_and(|at| at <= now) {
            return frame.close(core, Gone::Replaced);
        }
        if due(&mut self.superseded_at) {
            self.want(Task::DeleteIke(Gone::Replaced));
        }
        if self.successor.is_none() && due(&mut self.create_at) {
            self.want(Task::CreateChild);
        }
        if due(&mut self.ends_at) {
            if self.is_ending() || self.successor.is_some() {
                return frame.close(core, Gone::Replaced);
            }
            self.ends_at = Some(now.after(GRACE));
            self.want(Task::DeleteIke(Gone::Expired));
        }
        if frame.nat.local && self.sent.after(KEEPALIVE) <= now {
            self.sent = now;
            let (local, remote) = (frame.local, frame.remote);
            core.outputs.push_back(Output::Keepalive { local, remote });
        }
        self.check_alive(frame, core);
        self.check_children(frame, core);
        self.advance(frame, core);
    }

    /// Liveness (RFC 7296 §2.4): traffic that came in proves it as well as an answer does.
    fn check_alive(&mut self, frame: &mut Frame, core: &mut Core) {
        let interval = Duration::from_secs(core.globals.dpd_check_interval.into());
        let idle = self.is_idle(frame) && !interval.is_zero();
        if !idle || self.heard.after(interval) > core.now {
            return;
        }
        match frame.children.iter().find(|child| child.stage == Stage::Up) {
            Some(child) => {
                self.asked_traffic = true;
                let owner = Owner::Child { sa: frame.id, child: child.id, part: Part::Counters };
                core.kernel(owner, KernelRequest::QuerySa(child.key(Direction::In)));
            }
            None => self.want(Task::Probe),
        }
    }

    /// The kernel told what a child received, or could not.
    pub fn counted(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        id: ChildId,
        counters: Option<SaCounters>,
    ) {
        self.asked_traffic = false;
        let limit = frame.policy.child_lifetime;
        let child = frame.children.iter_mut().find(|child| child.id == id);
        if counters.is_some_and(|it| Child::is_full(it, limit)) {
            self.want(Task::RekeyChild(id));
        }
        let progressed =
            child.zip(counters).is_some_and(|(child, counters)| child.progressed(counters));
        match progressed {
            true => self.is_heard(core.now),
            false => self.want(Task::Probe),
        }
        self.advance(frame, core);
    }

    fn check_children(&mut self, frame: &mut Frame, core: &mut Core) {
        let now = core.now;
        let (policy, sa) = (frame.policy.clone(), frame.id);
        for child in &mut frame.children {
            let id = child.id;
            if child.deferred.as_ref().is_some_and(|deferred| deferred.at <= now) {
                child.switch(core, sa, &policy);
            }
            if child.hard.take_if(|hard| *hard <= now).is_some() {
                let replaced = child.stage == Stage::Ending;
                let why = if replaced { Gone::Replaced } else { Gone::Expired };
                self.want(Task::DeleteChild(id, why));
            } else if child.stage == Stage::Up && child.soft.take_if(|soft| *soft <= now).is_some()
            {
                self.want(Task::RekeyChild(id));
            }
        }
    }
}
