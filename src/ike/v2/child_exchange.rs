//! CREATE_CHILD_SA for child SAs (RFC 7296 §1.3.1, §1.3.3): new ones and successors, both roles.

use super::create::{Answering, Offering};
use super::established::{Established, PAUSE};
use super::init::NONCE_LEN;
use super::rules::Bag;
use super::tasks::Active;
use super::{broken, refused, reply, send_request};
use crate::crypto::{KeyExchange, kex};
use crate::ike::child::{Agreement, Child, ChildId, Stage};
use crate::ike::core::{Core, Deed};
use crate::ike::frame::Frame;
use crate::ike::proposal::protocol_id;
use crate::ike::report::{Event, Gone};
use crate::wire::EspSpi;
use crate::wire::iana::v2::{ExchangeType, GroupId, NotifyType};
use crate::wire::v2::sa::Transform;
use crate::wire::v2::{Ke, Nonce, Notify, Payload};

/// How many deletions of unknown SPIs are remembered during one request.
const MOST_DELETED: usize = 8;

/// Our request for a child SA.
pub struct ChildRequest {
    offering: Offering,
    spi: EspSpi,
    nonce: Vec<u8>,
    kex: Option<KeyExchange>,
    tried: Tried,
    /// The peer rekeyed the same child meanwhile: the lowest nonce of that exchange, and the
    /// successor that it made.
    collision: Option<(Vec<u8>, ChildId)>,
    /// What the peer deleted and we do not know: perhaps what its answer, still on its way, tells of.
    deleted: Vec<EspSpi>,
}

/// What was asked for before, and refused.
#[derive(Default)]
struct Tried {
    groups: Vec<GroupId>,
    /// With a key exchange, and without.
    both_ways: bool,
}

impl std::fmt::Debug for ChildRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildRequest").field("offering", &self.offering).finish_non_exhaustive()
    }
}

impl ChildRequest {
    /// Whether it is for a new child rather than a successor.
    pub fn is_new(&self) -> bool {
        self.offering.rekeys.is_none()
    }

    /// The peer deletes an SPI that no child of ours has.
    pub fn deleted(&mut self, spi: EspSpi) {
        if self.deleted.len() < MOST_DELETED {
            self.deleted.push(spi);
        }
    }

    /// The child that it is to replace.
    pub fn rekeys(&self) -> Option<ChildId> {
        self.offering.rekeys
    }

    /// Gives back what the kernel reserved for it.
    pub fn abandon(self, core: &mut Core) {
        self.offering.abandon(core, self.spi);
    }
}

impl Established {
    /// The kernel reserved the SPI for our request, or did not.
    pub fn reserved(&mut self, frame: &mut Frame, core: &mut Core, spi: Option<EspSpi>) {
        let Some(mut offering) = self.awaits_spi.take() else { return };
        offering.cpi = frame.cpis[0].take();
        let Some(spi) = spi else {
            self.postpone(frame, core, offering.rekeys, PAUSE);
            return self.advance(frame, core);
        };
        let wanted = |id| {
            frame.children.iter().any(|child| child.id == id && child.stage == Stage::Rekeying)
        };
        // The peer may have rekeyed or deleted it meanwhile.
        if offering.rekeys.is_some_and(|id| !wanted(id)) || self.successor.is_some() {
            offering.abandon(core, spi);
            return self.advance(frame, core);
        }
        let group = offering.group();
        self.ask_child(frame, core, (*offering, spi), group, Tried::default());
        self.advance(frame, core);
    }

    fn ask_child(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        (offering, spi): (Offering, EspSpi),
        group: Option<GroupId>,
        mut tried: Tried,
    ) {
        let nonce = core.octets(NONCE_LEN);
        let kex = group.and_then(|group| KeyExchange::generate(group, &mut *core.random).ok());
        tried.groups.extend(group);
        let mut payloads = Vec::new();
        let old = offering.rekeys;
        if let Some(old) = frame.children.iter().find(|child| Some(child.id) == old) {
            let (protocol, spi) = (old.agreement.protocol, old.agreement.spi_in);
            let rekeys = Notify::about_child(NotifyType::REKEY_SA, protocol_id(protocol), spi);
            payloads.push(Payload::Notify(rekeys));
        }
        let (sa, rest) = offering.payloads(spi);
        payloads.push(sa);
        payloads.push(Payload::Nonce(Nonce(nonce.clone())));
        if let Some(kex) = &kex {
            payloads.push(Payload::Ke(Ke { group: kex.group(), data: kex.public().to_vec() }));
        }
        payloads.extend(rest);
        let exchange = ExchangeType::CREATE_CHILD_SA;
        let request =
            ChildRequest { offering, spi, nonce, kex, tried, collision: None, deleted: Vec::new() };
        if send_request(frame, core, &mut self.protection, exchange, &payloads) {
            self.under_way(frame, Active::Child(Box::new(request)));
        } else {
            request.abandon(core);
        }
    }

    /// The answer to our request came.
    pub fn child_response(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        mut request: ChildRequest,
        bag: &Bag,
    ) {
        if bag.sa.is_none() || bag.error().is_some() {
            return self.child_refused(frame, core, request, bag);
        }
        let old = request.offering.rekeys;
        let spi = request.spi;
        let accepted = request.offering.accept(frame, core, bag, spi).and_then(|agreement| {
            let broken = |what: String| Box::new(Event::Misbehaved { what });
            let nonce =
                bag.nonce.clone().ok_or_else(|| broken("an answer without Nonce".into()))?;
            let shared = match (agreement.suite.group, request.kex.take(), &bag.ke) {
                (None, _, _) => None,
                (Some(group), Some(kex), Some(ke)) if kex.group() == group && ke.group == group => {
                    Some(kex.shared(&ke.data).map_err(|error| broken(error.to_string()))?)
                }
                _ => return Err(broken("an answer whose KE does not suit its proposal".into())),
            };
            Ok((agreement, nonce, shared))
        });
        let (agreement, nonce, shared) = match accepted {
            Ok(accepted) => accepted,
            Err(event) => {
                frame.report(core, *event);
                self.postpone(frame, core, old, PAUSE * 8);
                return self.reject(frame, core, request.offering, spi);
            }
        };
        if request.deleted.contains(&agreement.spi_out) {
            request.abandon(core);
            return self.postpone(frame, core, old, PAUSE);
        }
        self.pfs = agreement.suite.group.is_some();
        // Of two at once the one with the lowest nonce goes, by the hand that made it (§2.8.1). We may
        // not have answered the peer yet, for the kernel takes its time.
        let lowest = (&*request.nonce).min(&*nonce);
        let same = |answering: &&mut Box<Answering>| old.is_some() && answering.rekeys == old;
        let answering = self.answering.as_mut().filter(same);
        let peers = match (&request.collision, &answering) {
            (Some((peers, _)), _) => Some(&**peers),
            (None, Some(answering)) => Some(answering.lowest_nonce()),
            (None, None) => None,
        };
        let lost = peers.is_some_and(|peers| lowest < peers);
        if let Some(answering) = answering {
            answering.loses = !lost;
        }
        let seeds = ((&*request.nonce, &*nonce), shared.as_ref());
        let offering = &request.offering;
        let id = offering.install(frame, core, &self.protection, agreement, seeds, !lost);
        for child in &mut frame.children {
            if Some(child.id) == old {
                child.replaced(core);
            } else if child.id == id {
                (child.replaces, child.victim) = (old, if lost { Some(id) } else { old });
            } else if !lost && request.collision.as_ref().is_some_and(|(_, it)| *it == child.id) {
                child.deferred = None;
                child.replaced(core);
            }
        }
    }

    fn child_refused(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        request: ChildRequest,
        bag: &Bag,
    ) {
        let error = bag.error().map(|notify| (notify.notify_type, notify.data.as_slice()));
        let old = request.offering.rekeys;
        if let Some((NotifyType::INVALID_KE_PAYLOAD, &[high, low])) = error
            && request.collision.is_none()
        {
            let group = GroupId(u16::from_be_bytes([high, low]));
            let mut offered = request.offering.offered.iter();
            let offers = offered.any(|offer| offer.transforms.contains(&Transform::Ke(group)));
            if offers && kex::supported(group) && !request.tried.groups.contains(&group) {
                let ChildRequest { offering, spi, tried, .. } = request;
                return self.ask_child(frame, core, (offering, spi), Some(group), tried);
            }
        }
        if let Some((NotifyType::NO_PROPOSAL_CHOSEN, _)) = error
            && request.collision.is_none()
            && !request.tried.both_ways
            && let Some(offered) = request.offering.turned(frame, core, &self.protection)
        {
            let ChildRequest { offering, spi, .. } = request;
            let offering = Offering { offered, ..offering };
            let group = offering.group();
            let printed = group.map(|group| group.to_string());
            frame.report(core, Event::KeyExchangeTurned { group: printed });
            let tried = Tried { both_ways: true, ..Tried::default() };
            return self.ask_child(frame, core, (offering, spi), group, tried);
        }
        let offered = request.offering.printed(bag.error());
        request.abandon(core);
        match error.map(|(error, _)| error) {
            Some(NotifyType::TEMPORARY_FAILURE) => {
                self.postpone(frame, core, old, PAUSE);
            }
            Some(NotifyType::CHILD_SA_NOT_FOUND) if old.is_some() => {
                let at = frame.children.iter().position(|child| Some(child.id) == old);
                let Some(at) = at else { return };
                let replaced = frame.children[at].stage == Stage::Ending;
                Self::give_way(frame, core, frame.children[at].id);
                let mut child = frame.part_with(at);
                child.remove(core);
                if !replaced {
                    let (spis, why) = (child.printed_spis(), Gone::ByPeer);
                    frame.report(core, Event::ChildDeleted { spis, why });
                    core.lost(&frame.policy.name, why);
                }
            }
            _ => {
                let error = bag.error();
                frame.report(core, refused("CREATE_CHILD_SA", error, offered));
                if self.pairs_required(error) {
                    return;
                }
                self.takes_no_more(frame, core, error);
                match old.is_none() && !frame.children.is_empty() {
                    true => self.rest_refused = true,
                    false => self.postpone(frame, core, old, PAUSE * 8),
                }
            }
        }
    }

    /// The peer takes no more than a pair of addresses in a child SA: what it wants is asked for as
    /// traffic comes (RFC 7296 §2.9).
    pub fn pairs_required(&mut self, error: Option<&Notify>) -> bool {
        let required = |it: &Notify| it.notify_type == NotifyType::SINGLE_PAIR_REQUIRED;
        let asked_too_much = error.is_some_and(required) && !self.single_pairs;
        self.single_pairs |= asked_too_much;
        asked_too_much
    }

    /// A peer that takes nothing beyond the initial exchanges (RFC 7296 §1.3): before what stands ends, it gets
    /// an IKE SA anew from whoever opened the old one.
    pub fn takes_no_more(&self, frame: &Frame, core: &mut Core, error: Option<&Notify>) {
        let no_more = |it: &Notify| it.notify_type == NotifyType::NO_ADDITIONAL_SAS;
        if error.is_some_and(no_more) && frame.initiator {
            core.deeds.push_back(Deed::Reauthenticate(frame.id));
        }
    }

    /// The peer wants a child SA, or a successor for one.
    pub fn child_request(&mut self, frame: &mut Frame, core: &mut Core, bag: &Bag) {
        match self.consider_child(frame, core, bag) {
            Ok(answering) => {
                answering.reserve(frame, core);
                self.answering = Some(Box::new(answering));
            }
            Err(notify) => self.answer(frame, core, &[Payload::Notify(notify)]),
        }
    }

    fn consider_child(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        bag: &Bag,
    ) -> Result<Answering, Notify> {
        let busy = self.ike_exchange().is_some();
        if busy || self.is_ending() || self.successor.is_some() {
            return Err(Notify::new(NotifyType::TEMPORARY_FAILURE));
        }
        let rekeys = match bag.notify(NotifyType::REKEY_SA) {
            Some(notify) => Some(self.to_be_rekeyed(frame, notify)?),
            None => None,
        };
        if let Some(full) = frame.is_full(frame.policy.flows.len()) {
            frame.report(core, Event::Disagreed(full));
            // One that is replaced goes soon.
            let later = rekeys.map(|_| NotifyType::TEMPORARY_FAILURE);
            return Err(Notify::new(later.unwrap_or(NotifyType::NO_ADDITIONAL_SAS)));
        }
        let considered = Answering::consider(frame, core, bag, false, rekeys);
        let (answering, group) = considered.map_err(Notify::new)?;
        let nonce = core.octets(NONCE_LEN);
        let mut extra = vec![Payload::Nonce(Nonce(nonce.clone()))];
        let shared = match (group, &bag.ke) {
            (None, _) => None,
            (Some(group), Some(ke)) if ke.group == group => {
                let kex = KeyExchange::generate(group, &mut *core.random);
                let kex = kex.map_err(|_| Notify::new(NotifyType::NO_PROPOSAL_CHOSEN))?;
                extra.push(Payload::Ke(Ke { group, data: kex.public().to_vec() }));
                let shared = kex.shared(&ke.data);
                Some(shared.map_err(|error| broken(frame, core, error.to_string()))?)
            }
            (Some(group), _) => {
                let wanted = group.0.to_be_bytes().to_vec();
                return Err(Notify::with_data(NotifyType::INVALID_KE_PAYLOAD, wanted));
            }
        };
        let peers = bag.nonce.clone();
        let peers = peers.ok_or_else(|| broken(frame, core, "a request without Nonce"))?;
        self.pfs = group.is_some();
        Ok(answering.with_seeds((peers, nonce), shared, extra))
    }

    /// The child that the peer wants to replace: it names it by the SPI that it receives on.
    fn to_be_rekeyed(&self, frame: &Frame, notify: &Notify) -> Result<ChildId, Notify> {
        let named = |child: &&Child| {
            let Agreement { protocol, spi_out, .. } = child.agreement;
            (notify.protocol, notify.spi.child()) == (protocol_id(protocol), Some(spi_out))
        };
        let child = frame.children.iter().find(named);
        match child {
            Some(child) if child.stage == Stage::Ending => {
                Err(Notify::new(NotifyType::TEMPORARY_FAILURE))
            }
            Some(child) => Ok(child.id),
            // It may be the one that the peer's answer, still on its way, tells of.
            None if self.requests().next().is_some() => {
                Err(Notify::new(NotifyType::TEMPORARY_FAILURE))
            }
            None => Err(Notify {
                notify_type: NotifyType::CHILD_SA_NOT_FOUND,
                data: Vec::new(),
                ..notify.clone()
            }),
        }
    }

    /// The kernel reserved the SPI for the peer's request, or did not.
    pub fn reserved_for_peer(&mut self, frame: &mut Frame, core: &mut Core, spi: Option<EspSpi>) {
        match (&mut self.answering, spi) {
            (Some(answering), Some(spi)) => {
                answering.reserved(frame, core, &self.protection, spi);
            }
            (Some(_), None) => self.answer_refused(frame, core),
            (None, _) => (),
        }
    }

    /// The kernel has the inbound half of what the peer asked for: the answer goes out.
    pub fn answer_ready(&mut self, frame: &mut Frame, core: &mut Core) {
        let Some(answering) = self.answering.take() else { return };
        let answering = answering.inbound_done();
        self.answer(frame, core, &answering.payloads());
        let old = answering.rekeys;
        let (lowest, loses) = (answering.lowest_nonce().to_vec(), answering.loses);
        let id = answering.answered(frame, core);
        let Some(id) = id else { return };
        let mut ready = None;
        for (at, child) in frame.children.iter_mut().enumerate() {
            if Some(child.id) == old {
                child.replaced(core);
            } else if child.id == id {
                child.replaces = old;
                ready = child.deferred.is_some().then_some(at);
                if loses {
                    // The peer deletes it; ours stands already.
                    child.replaced(core);
                }
            }
        }
        let request = self.requests_mut().find(|request| old.is_some() && request.rekeys() == old);
        if let Some(request) = request {
            request.collision = Some((lowest, id));
        }
        if let Some(at) = ready {
            self.up(frame, core, at);
        }
    }

    /// The kernel does not take what the peer asked for.
    pub fn answer_refused(&mut self, frame: &mut Frame, core: &mut Core) {
        self.answering = None;
        let notify = Notify::new(NotifyType::NO_PROPOSAL_CHOSEN);
        self.answer(frame, core, &[Payload::Notify(notify)]);
    }

    /// Answers a CREATE_CHILD_SA request.
    pub fn answer(&mut self, frame: &mut Frame, core: &mut Core, payloads: &[Payload]) {
        self.sent = core.now;
        reply(frame, core, &mut self.protection, ExchangeType::CREATE_CHILD_SA, payloads);
    }
}
