//! What an established IKE SA has to do: the list, what of it may be under way at once, and how each begins.

use std::time::Duration;

use super::child_exchange::ChildRequest;
use super::create::{Offering, pfs};
use super::established::{Established, PAUSE};
use super::mobike::Moving;
use super::rekey::IkeRequest;
use crate::conf::SaProtocol;
use crate::ike::child::{Child, ChildId, Stage};
use crate::ike::core::Core;
use crate::ike::event::KernelSelector;
use crate::ike::frame::Frame;
use crate::ike::proposal::protocol_id;
use crate::ike::report::Gone;
use crate::ike::selector::Traffic;
use crate::ike::timer::jitter;
use crate::wire::v2::{Delete, Payload};
use crate::wire::{EspSpi, MessageId};

/// Something that takes an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A child SA as the policy has it.
    CreateChild,
    /// A child SA for a single pair of addresses, those of this packet.
    CreatePair(KernelSelector),
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
    /// We are elsewhere (RFC 4555).
    UpdateAddresses,
    /// Is the peer where it says?
    CheckPath,
    /// Our further addresses.
    TellAddresses,
}

/// An exchange that we are in.
#[derive(Debug)]
pub enum Active {
    /// CREATE_CHILD_SA for a child.
    Child(Box<ChildRequest>),
    /// CREATE_CHILD_SA for the IKE SA.
    Ike(Box<IkeRequest>),
    /// INFORMATIONAL that deletes this child.
    DeleteChild(ChildId, Gone),
    /// INFORMATIONAL that deletes the IKE SA.
    DeleteIke(Gone),
    /// INFORMATIONAL that deletes an SPI that never became a child here.
    DeleteSpi,
    /// INFORMATIONAL of which only the answer matters.
    Inform,
    /// INFORMATIONAL that says where we are.
    Update(Moving),
    /// INFORMATIONAL that asks whether the peer is where it says.
    Check(Moving),
}

impl Active {
    /// Whether it has to do with a child SA other than this one, or with none in particular, so that
    /// something else may be asked for beside it.
    fn leaves_alone(&self, child: Option<ChildId>) -> bool {
        match self {
            Active::Child(request) => child.is_none() || request.rekeys() != child,
            Active::DeleteChild(id, _) => child != Some(*id),
            Active::DeleteSpi => true,
            Active::Ike(_)
            | Active::DeleteIke(_)
            | Active::Inform
            | Active::Update(_)
            | Active::Check(_) => false,
        }
    }
}

impl Established {
    /// A request went out just now: this is what it is for.
    pub fn under_way(&mut self, frame: &Frame, active: Active) {
        self.active.push((frame.window.latest(), active));
    }

    /// What the request with this message ID, which is answered now, was for.
    pub fn is_answered(&mut self, id: MessageId) -> Option<Active> {
        let at = self.active.iter().position(|(of, _)| *of == id)?;
        let (_, active) = self.active.remove(at);
        self.active.shrink_to_fit();
        Some(active)
    }

    /// Whether nothing is under way, neither an exchange nor a question to the kernel.
    pub(super) fn is_idle(&self, frame: &Frame) -> bool {
        frame.window.is_idle() && self.is_alone() && !self.asked_traffic
    }

    fn is_alone(&self) -> bool {
        self.active.is_empty() && self.awaits_spi.is_none()
    }

    /// Wants something done, unless it is already on the list.
    pub fn want(&mut self, task: Task) {
        if !self.queue.contains(&task) {
            self.queue.push(task);
        }
    }

    /// Wants something done before all else.
    pub fn urge(&mut self, task: Task) {
        self.queue.retain(|other| *other != task);
        self.queue.insert(0, task);
    }

    /// A child SA that the peer thinks stands and that we cannot have: it is told.
    pub fn reject(&mut self, frame: &mut Frame, core: &mut Core, offering: Offering, spi: EspSpi) {
        let protocol = offering.protocol;
        offering.abandon(core, spi);
        self.want(Task::DeleteSpi(protocol, spi));
        core.lost(&frame.policy.name, Gone::Failed);
    }

    /// Starts what is next on the list, as far as it may be under way beside what is.
    pub fn advance(&mut self, frame: &mut Frame, core: &mut Core) {
        while self.awaits_spi.is_none() && frame.window.is_free() && frame.gone.is_none() {
            let Some(at) = self.next_task(frame) else {
                if self.queue.is_empty() {
                    self.queue.shrink_to_fit();
                }
                return;
            };
            let task = self.queue.remove(at);
            self.start(frame, core, task);
        }
    }

    /// What is to be started now. What single children need goes on side by side; what concerns the
    /// IKE SA waits until it is alone, and nothing new overtakes it meanwhile.
    fn next_task(&self, frame: &Frame) -> Option<usize> {
        for (at, task) in
            self.queue.iter().enumerate().filter(|(_, task)| self.may_start(frame, task))
        {
            let beside = match task {
                Task::CreateChild | Task::CreatePair(_) | Task::DeleteSpi(..) => Some(None),
                Task::RekeyChild(id) | Task::DeleteChild(id, _) => Some(Some(*id)),
                _ => None,
            };
            let Some(child) = beside else {
                return self.is_alone().then_some(at);
            };
            if self.active.iter().all(|(_, active)| active.leaves_alone(child)) {
                return Some(at);
            }
        }
        None
    }

    /// What concerns children waits for the successor, if there is one; the IKE SA is rekeyed when no
    /// child is half negotiated: also none of which the peer may not have read our answer.
    fn may_start(&self, frame: &Frame, task: &Task) -> bool {
        let half = || {
            let unread = |child: &Child| child.deferred.is_some();
            self.answering.is_some() || frame.children.iter().any(unread)
        };
        match task {
            Task::DeleteIke(_) | Task::Probe => true,
            Task::RekeyIke => self.successor.is_none() && !half(),
            _ => self.successor.is_none(),
        }
    }

    /// What is still to be done about the children, for the successor.
    pub fn hand_over(&mut self) -> Vec<Task> {
        self.rekey_at = None;
        let ours = |task: &Task| matches!(task, Task::DeleteIke(_) | Task::Probe | Task::RekeyIke);
        let (kept, children): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(ours);
        self.queue = kept;
        self.queue.retain(|task| *task != Task::RekeyIke);
        children
    }

    fn start(&mut self, frame: &mut Frame, core: &mut Core, task: Task) {
        match task {
            Task::CreateChild => self.offer(frame, core, None, None),
            Task::CreatePair(packet) => self.offer(frame, core, None, Some(&packet)),
            Task::RekeyChild(id) => {
                let child = frame.children.iter_mut().find(|child| child.id == id);
                let Some(child) = child.filter(|child| child.stage == Stage::Up) else { return };
                if let Some(deferred) = &child.deferred {
                    // The peer may not know it yet.
                    child.soft = Some(deferred.at);
                    return;
                }
                child.stage = Stage::Rekeying;
                self.offer(frame, core, Some(id), None);
            }
            Task::DeleteChild(id, why) => {
                Self::give_way(frame, core, id);
                let Some(child) = frame.children.iter_mut().find(|child| child.id == id) else {
                    return;
                };
                child.stage = Stage::Ending;
                child.remove_outbound(core);
                let (protocol, spi) = (child.agreement.protocol, child.agreement.spi_in);
                if self.send_delete(frame, core, protocol, spi) {
                    self.under_way(frame, Active::DeleteChild(id, why));
                }
            }
            Task::DeleteSpi(protocol, spi) => {
                if self.send_delete(frame, core, protocol, spi) {
                    self.under_way(frame, Active::DeleteSpi);
                }
            }
            Task::RekeyIke => self.rekey(frame, core),
            Task::DeleteIke(why) => {
                if why != Gone::Replaced {
                    frame.children.iter_mut().for_each(|child| child.remove_outbound(core));
                }
                if self.inform(frame, core, &[Payload::Delete(Delete::Ike)]) {
                    self.under_way(frame, Active::DeleteIke(why));
                }
            }
            Task::Probe => {
                if self.inform(frame, core, &Self::probe_payloads(frame)) {
                    self.under_way(frame, Active::Inform);
                }
            }
            Task::UpdateAddresses => self.send_update(frame, core),
            Task::CheckPath => self.send_check(frame, core),
            Task::TellAddresses => self.send_addresses(frame, core),
        }
    }

    fn offer(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        rekeys: Option<ChildId>,
        packet: Option<&KernelSelector>,
    ) {
        let open = match self.pfs {
            true => pfs::wanted(&frame.policy, &self.protection),
            false => Vec::new(),
        };
        let mut offering = Offering::new(frame, core, false, rekeys, &open);
        if let (Some(offering), Some(packet)) = (&mut offering, packet) {
            offering.traffic = Traffic::of_packet(packet, &frame.policy, offering.hosts);
        }
        let offering = match offering {
            // Meanwhile the peer asked for it.
            Some(offering) if offering.traffic.local.is_empty() => return,
            other => other,
        };
        match offering {
            Some(offering) => {
                offering.reserve(frame, core);
                self.awaits_spi = Some(Box::new(offering));
            }
            None => self.postpone(frame, core, rekeys, PAUSE * 8),
        }
    }

    /// What could not be had now is tried again later.
    pub fn postpone(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        rekeys: Option<ChildId>,
        pause: Duration,
    ) {
        let again = core.now.after(jitter(pause, &mut *core.random));
        let Some(id) = rekeys else {
            match pause == PAUSE {
                true => self.create_at = Some(again),
                false => core.lost(&frame.policy.name, Gone::Failed),
            }
            return;
        };
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
}
