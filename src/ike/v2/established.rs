//! An established IKE SA: what it wants to do, one request at a time, and what time does to it.

use std::time::Duration;

use super::child_exchange::ChildRequest;
use super::create::{Answering, Offering, pfs};
use super::keys::Protection;
use super::mobike::Moving;
use super::rekey::IkeRequest;
use super::rules::Bag;
use super::send_request;
use crate::conf::SaProtocol;
use crate::ike::child::{Child, ChildId, Stage};
use crate::ike::core::Core;
use crate::ike::event::{KernelSelector, Time};
use crate::ike::frame::Frame;
use crate::ike::proposal::protocol_id;
use crate::ike::report::{Event, Gone};
use crate::ike::selector::Traffic;
use crate::ike::table::SaId;
use crate::ike::timer::{jitter, soft};
use crate::wire::iana::v2::{ExchangeType, NotifyType};
use crate::wire::v2::{Delete, Id, Notify, Payload};
use crate::wire::{EspSpi, MessageId};

/// How long to wait after TEMPORARY_FAILURE and the like (RFC 7296 §2.25).
pub const PAUSE: Duration = Duration::from_secs(8);

/// How long an IKE SA outlives its lifetime, or its replacement, while it waits to be deleted.
pub const GRACE: Duration = Duration::from_secs(30);

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
    /// At the end of its lifetime both sides prove anew who they are.
    pub reauth: bool,
    /// Made by rekeying, and nothing was handed over to it yet: perhaps the one too many of two that
    /// were made at once. If nobody deletes it, it goes at this time without a word.
    pub unclaimed: Option<Time>,
    /// The peer does not want what flows of the policy are without a child SA: do not ask again.
    pub rest_refused: bool,
    /// The peer takes one pair of addresses in a child SA (SINGLE_PAIR_REQUIRED).
    pub single_pairs: bool,
    /// The peer wants a key exchange for each child SA, where that is left to it.
    pub pfs: bool,
    /// When a child SA that could not be had is asked for again.
    pub create_at: Option<Time>,
    /// When the peer last proved to be alive.
    pub heard: Time,
    /// Something that nothing protects said that the peer has forgotten it, and the peer has not been
    /// heard of since.
    pub doubted: bool,
    /// When we last sent something.
    pub sent: Time,
    /// What is to be done, in order.
    pub queue: Vec<Task>,
    /// A child SA that we ask for as soon as there is an SPI.
    pub awaits_spi: Option<Box<Offering>>,
    /// The exchanges that we are in, by the message IDs of their requests.
    pub active: Vec<(MessageId, Active)>,
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
        // The initiator said so when it went to the other port.
        if frame.nat.found() && !frame.initiator {
            let event = Event::NatFound { local: frame.nat.local, remote: frame.nat.remote };
            frame.report(core, event);
        }
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
        let mut state = Box::new(Self {
            protection,
            ids,
            since: now,
            rekey_at: None,
            ends_at: None,
            superseded_at: None,
            reauth: false,
            unclaimed: None,
            rest_refused: false,
            single_pairs: false,
            pfs: false,
            create_at: None,
            heard: now,
            doubted: false,
            sent: now,
            queue: Vec::new(),
            awaits_spi: None,
            active: Vec::new(),
            answering: None,
            successor: None,
            asked_traffic: false,
        });
        state.recount(frame, core);
        state
    }

    /// When it is to be rekeyed and ends, as the policy has it.
    pub fn recount(&mut self, frame: &Frame, core: &mut Core) {
        let hard = Duration::from_secs(frame.policy.ike_lifetime.into());
        let limited = !hard.is_zero();
        let end = self.since.after(hard).max(core.now).after(GRACE);
        // To prove themselves anew is for the peers that call (RFC 4478).
        let ours = limited && (frame.initiator || !frame.policy.reauth);
        self.rekey_at = ours.then(|| self.since.after(soft(hard, &mut *core.random)));
        self.reauth |= frame.policy.reauth;
        self.ends_at = limited.then_some(end);
    }

    /// The peer has to prove anew who it is, within this time (RFC 4478).
    pub fn limit(frame: &Frame) -> Option<Payload> {
        let (reauth, seconds) = (frame.policy.reauth, frame.policy.ike_lifetime);
        let data = seconds.to_be_bytes().to_vec();
        let limit = || Payload::Notify(Notify::with_data(NotifyType::AUTH_LIFETIME, data));
        (reauth && seconds > 0).then(limit)
    }

    /// The peer wants us to prove anew who we are within this time (RFC 4478).
    pub fn limited(&mut self, core: &mut Core, bag: &Bag) {
        let notify = bag.notify(NotifyType::AUTH_LIFETIME);
        let octets = notify.and_then(|notify| notify.data.as_slice().try_into().ok());
        let Some(seconds) = octets.map(u32::from_be_bytes) else { return };
        let span = Duration::from_secs(seconds.into());
        let at = core.now.after(soft(span, &mut *core.random));
        self.rekey_at = Some(self.rekey_at.map_or(at, |own| own.min(at)));
        self.reauth = true;
    }

    /// Whether we are deleting it.
    pub fn is_ending(&self) -> bool {
        self.active.iter().any(|(_, active)| matches!(active, Active::DeleteIke(_)))
            || self.queue.iter().any(|task| matches!(task, Task::DeleteIke(_)))
    }

    /// Whether a new child SA is on its way.
    pub fn is_creating(&self) -> bool {
        self.awaits_spi.as_ref().is_some_and(|offering| offering.rekeys.is_none())
            || self.requests().any(ChildRequest::is_new)
            || self.answering.is_some()
    }

    /// Our requests for child SAs that are on their way.
    pub fn requests(&self) -> impl Iterator<Item = &ChildRequest> {
        self.active.iter().filter_map(|(_, active)| match active {
            Active::Child(request) => Some(&**request),
            _ => None,
        })
    }

    /// As [`Established::requests`].
    pub fn requests_mut(&mut self) -> impl Iterator<Item = &mut ChildRequest> {
        self.active.iter_mut().filter_map(|(_, active)| match active {
            Active::Child(request) => Some(&mut **request),
            _ => None,
        })
    }

    /// Our request for a successor of the IKE SA, if it is on its way.
    pub fn ike_exchange(&mut self) -> Option<&mut IkeRequest> {
        self.active.iter_mut().find_map(|(_, active)| match active {
            Active::Ike(request) => Some(&mut **request),
            _ => None,
        })
    }

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

    /// Sends an INFORMATIONAL request.
    pub fn inform(&mut self, frame: &mut Frame, core: &mut Core, payloads: &[Payload]) -> bool {
        self.sent = core.now;
        send_request(frame, core, &mut self.protection, ExchangeType::INFORMATIONAL, payloads)
    }

    /// Gives back whatever is reserved, before the SA goes.
    pub fn abandon(&mut self, core: &mut Core) {
        for (_, active) in std::mem::take(&mut self.active) {
            if let Active::Child(request) = active {
                request.abandon(core);
            }
        }
    }
}
