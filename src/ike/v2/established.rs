//! An established IKE SA: what it knows, and when its time is up. What it has to do is in `tasks`.

use std::time::Duration;

use super::child_exchange::ChildRequest;
use super::create::{Answering, Offering};
use super::keys::Protection;
use super::rekey::IkeRequest;
use super::rules::Bag;
use super::send_request;
use super::tasks::{Active, Task};
use crate::ike::core::Core;
use crate::ike::event::Time;
use crate::ike::frame::Frame;
use crate::ike::report::Event;
use crate::ike::table::SaId;
use crate::ike::timer::soft;
use crate::wire::MessageId;
use crate::wire::iana::v2::{ExchangeType, NotifyType};
use crate::wire::v2::{Id, Notify, Payload};

/// How long to wait after TEMPORARY_FAILURE and the like (RFC 7296 §2.25).
pub const PAUSE: Duration = Duration::from_secs(8);

/// How long an IKE SA outlives its lifetime, or its replacement, while it waits to be deleted.
pub const GRACE: Duration = Duration::from_secs(30);

/// The shortest time after which we prove anew who we are, whatever a peer wants (RFC 4478).
const LEAST_PROVED: Duration = Duration::from_secs(10);

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
    /// The one whose children it took over.
    pub predecessor: Option<SaId>,
    /// The kernel was asked whether traffic proves the peer alive.
    pub asked_traffic: bool,
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
            predecessor: None,
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
        let span = Duration::from_secs(seconds.into()).max(LEAST_PROVED);
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
