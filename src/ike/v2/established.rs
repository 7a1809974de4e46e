//! An established IKE SA: what it wants to do, one request at a time, and what time does to it.

use std::collections::VecDeque;
use std::time::Duration;

use super::child_exchange::ChildRequest;
use super::create::{Answering, Offering, reserve};
use super::keys::Protection;
use super::rekey::IkeRequest;
use super::send_request;
use crate::conf::SaProtocol;
use crate::ike::child::{ChildId, Stage};
use crate::ike::core::{Core, Owner, Part};
use crate::ike::event::Output;
use crate::ike::event::{Direction, KernelRequest, SaCounters, Time};
use crate::ike::natt::KEEPALIVE;
use crate::ike::proposal::protocol_id;
use crate::ike::report::{Event, Gone};
use crate::ike::sa::Frame;
use crate::ike::selector::Hosts;
use crate::ike::table::SaId;
use crate::ike::timer::{earliest, jitter, soft};
use crate::wire::EspSpi;
use crate::wire::iana::v2::ExchangeType;
use crate::wire::v2::{Delete, Id, Payload};

/// How long to wait after TEMPORARY_FAILURE and the like (RFC 7296 §2.25).
pub const PAUSE: Duration = Duration::from_secs(8);

/// How long an IKE SA outlives its lifetime, or its replacement, while it waits to be deleted.
const GRACE: Duration = Duration::from_secs(30);

/// An established IKE SA.
#[derive(Debug)]
pub struct Established {
    /// Protects its messages.
    pub protection: Protection,
    /// Our identity and the peer's.
    pub ids: Box<(Id, Id)>,
    /// When it became so.
    pub since: Time,
    /// When it is to be rekeyed.
    pub rekey_at: Option<Time>,
    /// When it ends whatever happens.
    pub ends_at: Option<Time>,
    /// When we delete it because another does its work.
    pub superseded_at: Option<Time>,
    /// When the peer last proved to be alive.
    pub heard: Time,
    /// When we last sent something.
    pub sent: Time,
    /// What is to be done, in order.
    pub queue: VecDeque<Task>,
    /// What is being done.
    pub active: Option<Box<Active>>,
    /// The peer's request for a child SA, while the kernel is asked.
    pub answering: Option<Box<Answering>>,
    /// The IKE SA that takes over the children.
    pub successor: Option<SaId>,
    /// The kernel was asked whether traffic proves the peer alive.
    pub asked_traffic: bool,
}

/// Something that takes an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A child SA as the policy has it.
    CreateChild,
    /// A successor for this child.
    RekeyChild(ChildId),
    /// The end of this child, and why.
    DeleteChild(ChildId, Gone),
    /// The end of an SPI that never became a child here.
    DeleteSpi(SaProtocol, EspSpi),
    /// A successor for the IKE SA.
    RekeyIke,
    /// The end of the IKE SA, and why.
    DeleteIke(Gone),
    /// Is the peer alive?
    Probe,
}

/// The exchange that we are in.
#[derive(Debug)]
pub enum Active {
    /// CREATE_CHILD_SA for a child, as soon as there is an SPI.
    AwaitSpi(Offering),
    /// CREATE_CHILD_SA for a child.
    Child(ChildRequest),
    /// CREATE_CHILD_SA for the IKE SA.
    Ike(IkeRequest),
    /// INFORMATIONAL that deletes this child.
    DeleteChild(ChildId, Gone),
    /// INFORMATIONAL that deletes the IKE SA.
    DeleteIke(Gone),
    /// INFORMATIONAL of which only the answer matters.
    Inform,
}

impl Established {
    /// The IKE SA stands.
    pub fn new(
        frame: &mut Frame,
        core: &mut Core,
        protection: Protection,
        local_id: Id,
        remote_id: Id,
    ) -> Box<Self> {
        core.stats.established += 1;
        frame.is_authenticated = true;
        frame.report(
            core,
            Event::IkeEstablished {
                spis: frame.printed_spis(),
                local_id: local_id.to_string(),
                remote_id: remote_id.to_string(),
                suite: protection.suite.to_string(),
            },
        );
        Self::standing(frame, core, protection, Box::new((local_id, remote_id)))
    }

    /// As [`Established::new`], without a word.
    pub fn standing(
        frame: &Frame,
        core: &mut Core,
        protection: Protection,
        ids: Box<(Id, Id)>,
    ) -> Box<Self> {
        let now = core.now;
        let hard = Duration::from_secs(frame.policy.ike_lifetime.into());
        let limited = !hard.is_zero();
        Box::new(Self {
            protection,
            ids,
            since: now,
            rekey_at: limited.then(|| now.after(soft(hard, &mut *core.random))),
            ends_at: limited.then(|| now.after(hard).after(GRACE)),
            superseded_at: None,
            heard: now,
            sent: now,
            queue: VecDeque::new(),
            active: None,
            answering: None,
            successor: None,
            asked_traffic: false,
        })
    }

    /// Whether we are deleting it.
    pub fn is_ending(&self) -> bool {
        matches!(self.active.as_deref(), Some(Active::DeleteIke(_)))
            || self.queue.iter().any(|task| matches!(task, Task::DeleteIke(_)))
    }

    /// Whether a new child SA is on its way.
    pub fn is_creating(&self) -> bool {
        let active = match self.active.as_deref() {
            Some(Active::AwaitSpi(offering)) => offering.rekeys.is_none(),
            Some(Active::Child(request)) => request.is_new(),
            _ => false,
        };
        active || self.answering.is_some()
    }

    fn is_idle(&self, frame: &Frame) -> bool {
        frame.window.is_free() && self.active.is_none() && !self.asked_traffic
    }

    /// Wants something done, unless it is already on the list.
    pub fn want(&mut self, task: Task) {
        if !self.queue.contains(&task) {
            self.queue.push_back(task);
        }
    }

    /// A child SA that the peer thinks stands and that we cannot have: it is told.
    pub fn reject(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        protocol: SaProtocol,
        hosts: Hosts,
        spi: EspSpi,
    ) {
        super::create::unreserve(core, protocol, hosts, spi);
        self.want(Task::DeleteSpi(protocol, spi));
        core.lost(&frame.policy.name, Gone::Failed);
    }

    /// Starts what is next on the list, if nothing is under way.
    pub fn advance(&mut self, frame: &mut Frame, core: &mut Core) {
        while self.active.is_none() && frame.window.is_free() && frame.gone.is_none() {
            let Some(task) = self.queue.pop_front() else {
                self.queue.shrink_to_fit();
                return;
            };
            self.start(frame, core, task);
        }
    }

    fn start(&mut self, frame: &mut Frame, core: &mut Core, task: Task) {
        match task {
            Task::CreateChild => self.offer(frame, core, None),
            Task::RekeyChild(id) => {
                let child = frame.children.iter_mut().find(|child| child.id == id);
                let Some(child) = child.filter(|child| child.stage == Stage::Up) else { return };
                child.stage = Stage::Rekeying;
                self.offer(frame, core, Some(id));
            }
            Task::DeleteChild(id, why) => {
                let Some(child) = frame.children.iter_mut().find(|child| child.id == id) else {
                    return;
                };
                child.stage = Stage::Ending;
                child.remove_outbound(core);
                let (protocol, spi) = (child.agreement.protocol, child.agreement.spi_in);
                if self.send_delete(frame, core, protocol, spi) {
                    self.active = Some(Box::new(Active::DeleteChild(id, why)));
                }
            }
            Task::DeleteSpi(protocol, spi) => {
                if self.send_delete(frame, core, protocol, spi) {
                    self.active = Some(Box::new(Active::Inform));
                }
            }
            Task::RekeyIke => self.rekey(frame, core),
            Task::DeleteIke(why) => {
                if why != Gone::Replaced {
                    frame.children.iter_mut().for_each(|child| child.remove_outbound(core));
                }
                if self.inform(frame, core, &[Payload::Delete(Delete::Ike)]) {
                    self.active = Some(Box::new(Active::DeleteIke(why)));
                }
            }
            Task::Probe => {
                if self.inform(frame, core, &[]) {
                    self.active = Some(Box::new(Active::Inform));
                }
            }
        }
    }

    fn offer(&mut self, frame: &mut Frame, core: &mut Core, rekeys: Option<ChildId>) {
        match Offering::new(frame, core, false, rekeys) {
            Some(offering) => {
                reserve(frame, core, offering.protocol, false);
                self.active = Some(Box::new(Active::AwaitSpi(offering)));
            }
            None => Self::postpone(frame, core, rekeys, PAUSE * 8),
        }
    }

    /// What could not be had now is tried again later.
    pub fn postpone(frame: &mut Frame, core: &mut Core, rekeys: Option<ChildId>, pause: Duration) {
        let Some(id) = rekeys else {
            core.lost(&frame.policy.name, Gone::Failed);
            return;
        };
        let again = core.now.after(jitter(pause, &mut *core.random));
        let old = frame.children.iter_mut().find(|child| child.id == id);
        if let Some(old) = old.filter(|old| old.stage == Stage::Rekeying) {
            old.stage = Stage::Up;
            old.soft = Some(again);
        }
    }

    fn send_delete(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        protocol: SaProtocol,
        spi: EspSpi,
    ) -> bool {
        let delete = Delete::Child { protocol: protocol_id(protocol), spis: vec![spi] };
        self.inform(frame, core, &[Payload::Delete(delete)])
    }

    fn inform(&mut self, frame: &mut Frame, core: &mut Core, payloads: &[Payload]) -> bool {
        self.sent = core.now;
        send_request(frame, core, &mut self.protection, ExchangeType::INFORMATIONAL, payloads)
    }

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
            self.want(Task::RekeyIke);
        }
        if due(&mut self.superseded_at) {
            self.want(Task::DeleteIke(Gone::Replaced));
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
        let child = frame.children.iter_mut().find(|child| child.id == id);
        let progressed = child.zip(counters).is_some_and(|(child, counters)| {
            std::mem::replace(&mut child.seen, counters.packets) < counters.packets
        });
        match progressed {
            true => self.heard = core.now,
            false => self.want(Task::Probe),
        }
        self.advance(frame, core);
    }

    fn check_children(&mut self, frame: &mut Frame, core: &mut Core) {
        let now = core.now;
        for child in &mut frame.children {
            let id = child.id;
            if child.hard.take_if(|hard| *hard <= now).is_some() {
                self.want(Task::DeleteChild(id, Gone::Expired));
            } else if child.stage == Stage::Up && child.soft.take_if(|soft| *soft <= now).is_some()
            {
                self.want(Task::RekeyChild(id));
            }
        }
    }

    /// The kernel put a part of a child in, or did not.
    pub fn installed(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        id: ChildId,
        failed: Option<(Part, String)>,
    ) {
        let Some(at) = frame.children.iter().position(|child| child.id == id) else { return };
        if frame.children[at].stage != Stage::Installing {
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
            let old = frame.children[at].replaces.take();
            Self::postpone(frame, core, old, PAUSE);
            self.want(Task::DeleteChild(id, Gone::Failed));
            return self.advance(frame, core);
        }
        if frame.children[at].pending > 0 {
            return;
        }
        if answers {
            return self.answer_ready(frame, core);
        }
        self.up(frame, core, at);
    }

    fn up(&mut self, frame: &mut Frame, core: &mut Core, at: usize) {
        let child = &mut frame.children[at];
        child.stage = Stage::Up;
        core.stats.children += 1;
        let spis = child.printed_spis();
        let (old, victim) = (child.replaces.take(), child.victim.take());
        let event = match old {
            Some(_) => {
                core.stats.rekeys += 1;
                let of = frame.children.iter().find(|child| Some(child.id) == old);
                let old = of.map(|old| old.printed_spis().0).unwrap_or_default();
                Event::ChildRekeyed { spis, old }
            }
            None => {
                let (suite, flows) = (child.agreement.suite.to_string(), child.printed_flows());
                Event::ChildEstablished { spis, suite, flows }
            }
        };
        frame.report(core, event);
        core.policies.succeeded(&frame.policy.name);
        if let Some(victim) = victim {
            self.want(Task::DeleteChild(victim, Gone::Replaced));
            self.advance(frame, core);
        }
    }

    /// Gives back whatever is reserved, before the SA goes.
    pub fn abandon(&mut self, core: &mut Core) {
        if let Some(Active::Child(request)) = self.active.as_deref_mut() {
            request.abandon(core);
        }
    }
}
