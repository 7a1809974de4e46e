//! The child part of IKE_AUTH and CREATE_CHILD_SA: what we offer, what we answer, what comes of it.

use std::net::IpAddr;

mod disagree;
pub mod pfs;
mod reserve;
mod traffic;

use super::keys::{self, Protection};
use super::rules::Bag;
use crate::conf::{Mode, SaProtocol};
use crate::crypto::{ChildSuite, Secret, kex};
use crate::ike::bundle::Bundle;
use crate::ike::child::{self, Agreement, Child, ChildId, DirectionKeys};
use crate::ike::core::Core;
use crate::ike::event::{Cpi, Direction};
use crate::ike::frame::Frame;
use crate::ike::proposal::{self, Chosen, Kind};
use crate::ike::report::Event;
use crate::ike::selector::{Hosts, Traffic};
use crate::wire::iana::v2::{GroupId, NotifyType};
use crate::wire::v2::sa::{Proposal as Offer, Transform};
use crate::wire::v2::{Notify, Payload, Sa as SaPayload, Ts};
use crate::wire::{EspSpi, Spi};

pub use reserve::{compresses, unreserve};
use reserve::{ipcomp_supported, offered_cpi, reserve_both};
use traffic::{as_seen_here, considered, wanting};

/// A child SA that we offer.
#[derive(Debug)]
pub struct Offering {
    /// ESP or AH.
    pub protocol: SaProtocol,
    /// Tunnel or transport, as the policy has it.
    pub mode: Mode,
    /// The proposals, still without our SPI.
    pub offered: Vec<Offer>,
    /// The traffic.
    pub traffic: Traffic,
    /// The outer addresses.
    pub hosts: Hosts,
    /// The child that it is to replace.
    pub rekeys: Option<ChildId>,
    /// Our CPI, if packets are to be compressed and the kernel has one.
    pub cpi: Option<Cpi>,
}

/// A child SA that the peer offered and that we take.
#[derive(Debug)]
pub struct Answering {
    /// What is agreed on; our SPI comes with the next stage.
    agreement: Agreement,
    /// The chosen proposal.
    answer: Offer,
    /// Both nonces of the exchange, initiator's first.
    nonces: (Vec<u8>, Vec<u8>),
    /// The fresh shared secret, with PFS.
    shared: Option<Secret>,
    /// Our nonce and public value, where the exchange has them.
    extra: Vec<Payload>,
    /// The addresses of our end and the peer's as the peer gave them, where a NAT made others of them:
    /// the answer names them so (RFC 7296 §2.23.1).
    as_told: Option<Box<(Option<IpAddr>, Option<IpAddr>)>>,
    /// The peer's CPI, if packets may be compressed.
    cpi: Option<Cpi>,
    /// Another child SA can be had for the rest of what was offered.
    more: bool,
    /// The child that it replaces.
    pub rekeys: Option<ChildId>,
    /// Both sides replace it, and ours, which stands already, is to stay.
    pub loses: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    AwaitSpi,
    AwaitInbound(ChildId, DirectionKeys),
    Ready(ChildId, DirectionKeys),
}

impl Offering {
    /// What the policy wants of a child SA (or what the child has that is to be replaced), by these groups
    /// where it leaves them open; `None`, with a report, if the kernel can do nothing of it.
    pub fn new(
        frame: &Frame,
        core: &mut Core,
        first: bool,
        rekeys: Option<ChildId>,
        open: &[GroupId],
    ) -> Option<Self> {
        let policy = &*frame.policy;
        let old = rekeys.and_then(|id| frame.children.iter().find(|child| child.id == id));
        let protocol = policy.protocol;
        let kind = if first { Kind::FirstChild(protocol) } else { Kind::Child(protocol) };
        let ours = pfs::closed(frame.feasible(core, policy)?, open);
        let offered = proposal::offer(&ours, kind, &Spi::None);
        let hosts = frame.hosts();
        Some(Self {
            protocol,
            mode: old.map_or(policy.mode, |old| old.agreement.mode),
            offered,
            traffic: old
                .map_or_else(|| wanting(frame, core, hosts), |old| old.agreement.traffic.clone()),
            hosts,
            rekeys,
            cpi: None,
        })
    }

    /// The group to begin the key exchange with, if it offers any.
    pub fn group(&self) -> Option<GroupId> {
        let mut transforms = self.offered.iter().flat_map(|offer| &offer.transforms);
        transforms.find_map(|transform| match transform {
            Transform::Ke(group) if kex::supported(*group) => Some(*group),
            _ => None,
        })
    }

    /// Asks the kernel for what the request names.
    pub fn reserve(&self, frame: &Frame, core: &mut Core) {
        reserve_both(frame, core, self.protocol, false, frame.policy.ipcomp);
    }

    /// The payloads of the request, except nonce and public value.
    pub fn payloads(&self, spi: EspSpi) -> (Payload, Vec<Payload>) {
        let mut proposals = self.offered.clone();
        proposals.iter_mut().for_each(|offer| offer.spi = Spi::Child(spi));
        let mut rest = vec![
            Payload::TsI(Ts::new(self.traffic.local.to_vec())),
            Payload::TsR(Ts::new(self.traffic.remote.to_vec())),
        ];
        rest.extend(mode_notifications(self.mode));
        rest.extend(self.cpi.map(ipcomp_supported));
        (Payload::Sa(SaPayload { proposals }), rest)
    }

    /// What of it a refusal is about, a line each.
    pub fn printed(&self, error: Option<&Notify>) -> Vec<String> {
        let about_traffic = [NotifyType::TS_UNACCEPTABLE, NotifyType::SINGLE_PAIR_REQUIRED];
        match error.is_some_and(|error| about_traffic.contains(&error.notify_type)) {
            true => disagree::lines(&self.traffic),
            false => proposal::printed(&self.offered),
        }
    }

    /// Checks the peer's answer.
    ///
    /// # Errors
    ///
    /// How it breaks the protocol, or what we cannot agree to: to be reported.
    pub fn accept(
        &self,
        frame: &Frame,
        core: &mut Core,
        bag: &Bag,
        spi_in: EspSpi,
    ) -> Result<Agreement, Box<Event>> {
        let broken = |what: String| Box::new(Event::Misbehaved { what });
        let (Some(sa), Some(tsi), Some(tsr)) = (&bag.sa, &bag.tsi, &bag.tsr) else {
            return Err(broken("an answer without SA, TSi or TSr".into()));
        };
        let chosen = proposal::accept_child(&self.offered, &sa.proposals);
        let (suite, spi_out) = chosen.map_err(broken)?;
        if in_use(frame, spi_out) {
            return Err(broken(format!("the SPI {spi_out}, which another child SA has")));
        }
        let traffic =
            Traffic { local: tsi.selectors.clone().into(), remote: tsr.selectors.clone().into() };
        let answered = as_seen_here(frame, self.mode, traffic);
        let disagreed = |it| Box::new(Event::Disagreed(it));
        let Some(traffic) = answered.within(&self.traffic) else {
            let why = "the peer answers with traffic that was not offered";
            return Err(disagreed(Box::new(disagree::other(&self.traffic, &answered, why))));
        };
        if bag.has(NotifyType::USE_TRANSPORT_MODE) != (self.mode == Mode::Transport) {
            return Err(disagreed(disagree::mode(self.mode)));
        }
        let flows = traffic
            .flows(&frame.policy, self.hosts, core.able.as_ref())
            .map_err(|why| disagreed(disagree::traffic(&self.traffic, &answered, why)))?;
        let reqid = reqid(frame, core, self.rekeys, &flows, self.hosts);
        Ok(Agreement {
            protocol: self.protocol,
            mode: self.mode,
            suite,
            spi_in,
            spi_out,
            traffic,
            flows,
            hosts: self.hosts,
            encap: frame.encap(),
            bundle: Bundle::of(self.cpi.zip(offered_cpi(bag)), None),
            reqid,
        })
    }

    /// What was agreed on goes into the kernel: both directions, or of one that is to be deleted at
    /// once only what the peer may already send on.
    pub fn install(
        &self,
        frame: &mut Frame,
        core: &mut Core,
        protection: &Protection,
        agreement: Agreement,
        (nonces, shared): ((&[u8], &[u8]), Option<&Secret>),
        stays: bool,
    ) -> ChildId {
        let shared = shared.as_slice();
        let keys = keys::child(protection, &agreement.suite, nonces, shared, true);
        let policy = frame.policy.clone();
        if agreement.ipcomp().is_none() {
            self.drop_cpi(core);
        }
        let mut child = Child::new(core, frame.id, agreement, &policy);
        child.install(core, frame.id, Direction::In, &keys.inbound, &policy);
        child.initiated = true;
        if stays {
            child.install(core, frame.id, Direction::Out, &keys.outbound, &policy);
        }
        let id = child.id;
        frame.adopt(child);
        id
    }
}

impl Offering {
    /// Gives back what the kernel reserved for it.
    pub fn abandon(self, core: &mut Core, spi: EspSpi) {
        unreserve(core, self.protocol, self.hosts, spi);
        self.drop_cpi(core);
    }

    fn drop_cpi(&self, core: &mut Core) {
        if let Some(cpi) = self.cpi {
            core.drop_cpi(cpi, self.hosts.remote, self.hosts.local);
        }
    }
}

/// Chooses one of the peer's proposals; with it comes the peer's SPI.
fn choose(
    frame: &Frame,
    core: &mut Core,
    offered: &SaPayload,
    ke: Option<GroupId>,
    first: bool,
) -> Result<(Chosen<ChildSuite>, EspSpi), NotifyType> {
    let policy = &*frame.policy;
    let kind = match first {
        true => Kind::FirstChild(policy.protocol),
        false => Kind::Child(policy.protocol),
    };
    let ours = frame.feasible(core, policy).ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
    let ours = pfs::closed(ours, &pfs::either(policy));
    let chosen = proposal::choose_child(&ours, &offered.proposals, kind, ke);
    let (chosen, spi_out) = chosen.map_err(|disagreement| {
        frame.report(core, Event::Disagreed(disagreement));
        NotifyType::NO_PROPOSAL_CHOSEN
    })?;
    if in_use(frame, spi_out) {
        let what = format!("offered the SPI {spi_out}, which another child SA has");
        frame.report(core, Event::Misbehaved { what });
        return Err(NotifyType::NO_PROPOSAL_CHOSEN);
    }
    Ok((chosen, spi_out))
}

impl Answering {
    /// Judges what the peer offers.
    ///
    /// # Errors
    ///
    /// What to tell the peer; it is reported already.
    pub fn consider(
        frame: &Frame,
        core: &mut Core,
        bag: &Bag,
        first: bool,
        rekeys: Option<ChildId>,
    ) -> Result<(Self, Option<GroupId>), NotifyType> {
        let (Some(sa), Some(tsi), Some(tsr)) = (&bag.sa, &bag.tsi, &bag.tsr) else {
            let what = "it asks for a child SA without SA, TSi or TSr".into();
            frame.report(core, Event::Misbehaved { what });
            return Err(NotifyType::INVALID_SYNTAX);
        };
        let policy = &*frame.policy;
        let (chosen, spi_out) = choose(frame, core, sa, bag.ke.as_ref().map(|ke| ke.group), first)?;
        let peers =
            Traffic { local: tsr.selectors.clone().into(), remote: tsi.selectors.clone().into() };
        let told = peers.single_hosts();
        let peers = as_seen_here(frame, policy.mode, peers);
        let as_told = (told != peers.single_hosts()).then(|| Box::new(told));
        let hosts = frame.hosts();
        let peers = peers.with_given(hosts.inner);
        let (peers, more) = considered(frame, core, peers, rekeys, hosts);
        let (traffic, flows) = traffic::taken(frame, core, (&peers, rekeys), hosts)?;
        let asks_transport = bag.has(NotifyType::USE_TRANSPORT_MODE);
        if asks_transport != (policy.mode == Mode::Transport) {
            frame.report(core, Event::Disagreed(disagree::mode(policy.mode)));
            return Err(NotifyType::NO_PROPOSAL_CHOSEN);
        }
        let reqid = reqid(frame, core, rekeys, &flows, hosts);
        let group = chosen.suite.group;
        let agreement = Agreement {
            protocol: policy.protocol,
            mode: policy.mode,
            suite: chosen.suite,
            spi_in: EspSpi(0),
            spi_out,
            traffic,
            flows,
            hosts,
            encap: frame.encap(),
            bundle: None,
            reqid,
        };
        let answering = Self {
            agreement,
            answer: chosen.answer,
            nonces: (Vec::new(), Vec::new()),
            shared: None,
            extra: Vec::new(),
            as_told,
            more,
            cpi: offered_cpi(bag).filter(|_| policy.ipcomp),
            rekeys,
            loses: false,
            stage: Stage::AwaitSpi,
        };
        Ok((answering, group))
    }

    /// The nonces and the shared secret that its keys are made of, and what of ours goes into the
    /// answer.
    pub fn with_seeds(
        mut self,
        nonces: (Vec<u8>, Vec<u8>),
        shared: Option<Secret>,
        extra: Vec<Payload>,
    ) -> Self {
        (self.nonces, self.shared, self.extra) = (nonces, shared, extra);
        self
    }

    /// Asks the kernel for what we answer with.
    pub fn reserve(&self, frame: &Frame, core: &mut Core) {
        reserve_both(frame, core, self.agreement.protocol, true, self.cpi.is_some());
    }

    /// The lower of the exchange's nonces, which decides collisions (RFC 7296 §2.8.1).
    pub fn lowest_nonce(&self) -> &[u8] {
        (&*self.nonces.0).min(&*self.nonces.1)
    }

    /// Our SPI is there: the inbound half goes into the kernel.
    pub fn reserved(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        protection: &Protection,
        spi: EspSpi,
    ) {
        self.agreement.spi_in = spi;
        self.agreement.bundle = Bundle::of(frame.cpis[1].take().zip(self.cpi), None);
        self.answer.spi = Spi::Child(spi);
        let (ni, nr) = (&*self.nonces.0, &*self.nonces.1);
        let suite = &self.agreement.suite;
        let shared = self.shared.as_ref();
        let keys = keys::child(protection, suite, (ni, nr), shared.as_slice(), false);
        let policy = frame.policy.clone();
        let mut child = Child::new(core, frame.id, self.agreement.clone(), &policy);
        child.install(core, frame.id, Direction::In, &keys.inbound, &policy);
        self.stage = Stage::AwaitInbound(child.id, keys.outbound);
        frame.adopt(child);
    }

    /// The child whose inbound half is being put into the kernel.
    pub fn child(&self) -> Option<ChildId> {
        match &self.stage {
            Stage::AwaitSpi => None,
            Stage::AwaitInbound(id, _) | Stage::Ready(id, _) => Some(*id),
        }
    }

    /// The kernel has the inbound half.
    pub fn inbound_done(mut self: Box<Self>) -> Box<Self> {
        self.stage = match self.stage {
            Stage::AwaitInbound(id, keys) => Stage::Ready(id, keys),
            other => other,
        };
        self
    }

    /// Whether the answer can go out.
    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready(..))
    }

    /// The payloads of the answer.
    pub fn payloads(&self) -> Vec<Payload> {
        let mut payloads = vec![Payload::Sa(SaPayload { proposals: vec![self.answer.clone()] })];
        payloads.extend(self.extra.iter().cloned());
        let (local, remote) = self.as_told.as_deref().copied().unwrap_or_default();
        let traffic = self.agreement.traffic.clone().translated(local, remote);
        payloads.push(Payload::TsI(Ts::new(traffic.remote.to_vec())));
        payloads.push(Payload::TsR(Ts::new(traffic.local.to_vec())));
        payloads.extend(mode_notifications(self.agreement.mode));
        payloads.extend(self.agreement.ipcomp().map(|(ours, _)| ipcomp_supported(ours)));
        if self.more {
            payloads.push(Payload::Notify(Notify::new(NotifyType::ADDITIONAL_TS_POSSIBLE)));
        }
        payloads
    }

    /// The answer is out: the outbound half goes into the kernel; that of a successor waits until
    /// the peer deletes the old one, since before that the peer may not have read the answer.
    pub fn answered(self, frame: &mut Frame, core: &mut Core) -> Option<ChildId> {
        let Stage::Ready(id, keys) = self.stage else { return None };
        let policy = frame.policy.clone();
        let old = |child: &Child| Some(child.id) == self.rekeys && child.sends();
        let waits = frame.children.iter().any(old);
        let child = frame.children.iter_mut().find(|child| child.id == id)?;
        match waits {
            _ if self.loses => (),
            true => child.defer(core, keys),
            false => child.install(core, frame.id, Direction::Out, &keys, &policy),
        }
        Some(id)
    }
}

/// Whether the peer gave this SPI to another child SA.
fn in_use(frame: &Frame, spi_out: EspSpi) -> bool {
    frame.children.iter().any(|child| child.agreement.spi_out == spi_out)
}

/// A rekeyed child's flows stay bound as they are, unless they changed.
fn reqid(
    frame: &Frame,
    core: &mut Core,
    rekeys: Option<ChildId>,
    flows: &[crate::ike::event::KernelSelector],
    hosts: Hosts,
) -> u32 {
    let old = rekeys.and_then(|id| frame.children.iter().find(|child| child.id == id));
    match old.map(|old| &old.agreement).filter(|old| *old.flows == *flows) {
        Some(old) => old.reqid,
        None => child::reqid(core, &frame.policy, flows, hosts),
    }
}

fn mode_notifications(mode: Mode) -> Vec<Payload> {
    let mut notifies = vec![Notify::new(NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED)];
    if mode == Mode::Transport {
        notifies.push(Notify::new(NotifyType::USE_TRANSPORT_MODE));
    }
    notifies.into_iter().map(Payload::Notify).collect()
}
