//! Dead peer detection (RFC 3706).

use std::time::Duration;

use super::Task;
use super::children::policy_of;
use super::established::Established;
use super::message::send_again;
use crate::ike::child::{Child, ChildId, Stage};
use crate::ike::core::{Core, Owner, Part};
use crate::ike::event::{Direction, KernelRequest, SaCounters};
use crate::ike::frame::Frame;
use crate::ike::report::{Event, Gone};

impl Established {
    /// How long the peer may be silent, where it can be asked whether it lives.
    pub fn interval(&self, core: &Core) -> Option<Duration> {
        let interval = Duration::from_secs(core.globals.dpd_check_interval.into());
        (self.abilities.dpd && !interval.is_zero()).then_some(interval)
    }

    /// Whether nobody is asked just now.
    pub fn is_idle(&self) -> bool {
        self.probe.is_none() && !self.asked_traffic
    }

    /// Dead peer detection (RFC 3706): traffic that came in proves life as well as an answer does.
    /// `false` if the peer is given up.
    pub fn check_alive(&mut self, frame: &mut Frame, core: &mut Core) -> bool {
        if let Some(sent) = send_again(self.probe.as_deref_mut(), frame, core) {
            let exchange = "R-U-THERE".into();
            frame.report(core, Event::NoAnswer { exchange, sent });
            self.abandon(frame, core);
            frame.close(core, Gone::PeerVanished);
            return false;
        }
        let Some(interval) = self.interval(core) else { return true };
        if !self.is_idle() || self.heard.after(interval) > core.now {
            return true;
        }
        match frame.children.iter().find(|child| child.stage == Stage::Up) {
            Some(child) => {
                self.asked_traffic = true;
                let owner = Owner::Child { sa: frame.id, child: child.id, part: Part::Counters };
                core.kernel(owner, KernelRequest::QuerySa(child.key(Direction::In)));
            }
            None => self.send_probe(frame, core),
        }
        true
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
        let at = frame.children.iter().position(|child| child.id == id);
        let progressed = at.zip(counters).is_some_and(|(at, counters)| {
            let policy = policy_of(frame, core, &frame.children[at].agreement.traffic);
            if Child::is_full(counters, policy.child_lifetime) {
                self.start(frame, core, Task::RekeyChild(id));
            }
            frame.children[at].progressed(counters)
        });
        match progressed {
            true => self.heard = core.now,
            false => self.send_probe(frame, core),
        }
    }
}
