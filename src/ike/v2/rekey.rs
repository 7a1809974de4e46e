//! CREATE_CHILD_SA for the IKE SA itself (RFC 7296 §1.3.2, §2.8): a successor inherits the children.

use std::time::Duration;

use super::State;
use super::established::{Established, PAUSE};
use super::init::NONCE_LEN;
use super::keys::{Seeds, expand, rekey_seed};
use super::rules::Bag;
use super::tasks::{Active, Task};
use super::{broken, refused, send_request};
use crate::crypto::{IkeSuite, KeyExchange, Secret, kex};
use crate::ike::core::{Core, Deed};
use crate::ike::frame::Frame;
use crate::ike::proposal::{self, Kind};
use crate::ike::report::{Event, Gone};
use crate::ike::sa::{Body, Sa};
use crate::ike::table::SaId;
use crate::ike::timer::jitter;
use crate::wire::iana::v2::{ExchangeType, GroupId, NotifyType};
use crate::wire::v2::sa::{Proposal as Offer, Transform};
use crate::wire::v2::{Ke, Nonce, Notify, Payload, Sa as SaPayload};
use crate::wire::{IkeSpi, Spi};

/// How long a successor stays that takes nothing over: longer than a request is sent again.
const UNCLAIMED: Duration = Duration::from_secs(90);

/// Our request for a successor of the IKE SA.
pub struct IkeRequest {
    spi: IkeSpi,
    nonce: Vec<u8>,
    kex: KeyExchange,
    offered: Vec<Offer>,
    tried: Vec<GroupId>,
    /// The peer asked for one too: the lowest nonce of that exchange, and the successor it made.
    collision: Option<(Vec<u8>, SaId)>,
}

impl std::fmt::Debug for IkeRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IkeRequest").field("spi", &self.spi).finish_non_exhaustive()
    }
}

/// What a successor is made of.
struct Seed<'a> {
    suite: IkeSuite,
    shared: &'a Secret,
    nonces: (&'a [u8], &'a [u8]),
    own: IkeSpi,
    peers: IkeSpi,
    initiator: bool,
}

impl Established {
    /// Asks the peer for a successor.
    pub fn rekey(&mut self, frame: &mut Frame, core: &mut Core) {
        // The group that served once is the one to propose with, if it still may be.
        let mut groups = frame.policy.ike_proposals.iter().flat_map(|it| it.groups.iter().copied());
        let used = self.protection.suite.group;
        let first = groups.clone().find(|group| kex::supported(*group)).unwrap_or(used);
        let group = if groups.any(|group| group == used) { used } else { first };
        self.ask_ike(frame, core, group, Vec::new());
    }

    fn ask_ike(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        group: GroupId,
        mut tried: Vec<GroupId>,
    ) {
        let kex = match KeyExchange::generate(group, &mut *core.random) {
            Ok(kex) => kex,
            Err(error) => {
                frame.report(core, Event::Internal { what: error.to_string() });
                self.rekey_at = Some(core.now.after(jitter(PAUSE * 8, &mut *core.random)));
                return;
            }
        };
        tried.push(group);
        let (spi, nonce) = (core.ike_spi(), core.octets(NONCE_LEN));
        let offered = proposal::offer(&frame.policy.ike_proposals, Kind::Ike, &Spi::Ike(spi));
        let payloads = [
            Payload::Sa(SaPayload { proposals: offered.clone() }),
            Payload::Nonce(Nonce(nonce.clone())),
            Payload::Ke(Ke { group, data: kex.public().to_vec() }),
        ];
        let exchange = ExchangeType::CREATE_CHILD_SA;
        if send_request(frame, core, &mut self.protection, exchange, &payloads) {
            let request = IkeRequest { spi, nonce, kex, offered, tried, collision: None };
            self.under_way(frame, Active::Ike(Box::new(request)));
        }
    }

    /// The answer to our request came.
    pub fn ike_response(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        request: IkeRequest,
        bag: &Bag,
    ) {
        if bag.sa.is_none() || bag.error().is_some() {
            return self.ike_refused(frame, core, request, bag);
        }
        let collision = request.collision.clone();
        let (successor, lowest) = match self.agree(frame, core, request, bag) {
            Ok(agreed) => agreed,
            Err(what) => {
                frame.report(core, Event::Misbehaved { what });
                return self.want(Task::DeleteIke(Gone::Failed));
            }
        };
        let mut successor = successor;
        core.stats.rekeys += 1;
        // Of two at once the one with the lowest nonce goes, by the hand that made it (§2.8.1).
        let lost = collision.filter(|(peers, _)| lowest < *peers);
        if let Some((_, winner)) = lost {
            let Body::V2(State::Established(state)) = &mut successor.body else { return };
            state.want(Task::DeleteIke(Gone::Replaced));
            self.successor = Some(winner);
            core.deeds.push_back(Deed::Open(successor));
            core.deeds.push_back(Deed::Inherit(frame.id, winner));
            return;
        }
        frame.report(core, Event::IkeRekeyed { spis: successor.frame.printed_spis() });
        self.successor = Some(successor.frame.id);
        let (from, to) = (frame.id, successor.frame.id);
        core.deeds.push_back(Deed::Open(successor));
        core.deeds.push_back(Deed::Inherit(from, to));
        self.want(Task::DeleteIke(Gone::Replaced));
    }

    fn agree(
        &mut self,
        frame: &Frame,
        core: &mut Core,
        request: IkeRequest,
        bag: &Bag,
    ) -> Result<(Box<Sa>, Vec<u8>), String> {
        let (Some(sa), Some(ke), Some(nonce)) = (&bag.sa, &bag.ke, &bag.nonce) else {
            return Err("an answer without SA, KE or Nonce".into());
        };
        let (suite, spi) = proposal::accept_ike(&request.offered, &sa.proposals)?;
        let peers = spi.ike().filter(|spi| !spi.is_zero());
        let peers = peers.ok_or("an answer without an SPI for the new IKE SA")?;
        if suite.group != ke.group || ke.group != request.kex.group() {
            return Err("an answer whose KE does not suit its proposal".into());
        }
        let shared = request.kex.shared(&ke.data).map_err(|error| error.to_string())?;
        let nonces = (&*request.nonce, &**nonce);
        let seed =
            Seed { suite, shared: &shared, nonces, own: request.spi, peers, initiator: true };
        let successor = self.successor(frame, core, &seed)?;
        Ok((successor, request.nonce.min(nonce.clone())))
    }

    fn successor(
        &self,
        frame: &Frame,
        core: &mut Core,
        seed: &Seed<'_>,
    ) -> Result<Box<Sa>, String> {
        let spis = match seed.initiator {
            true => (seed.own, seed.peers),
            false => (seed.peers, seed.own),
        };
        let seeds = Seeds { nonces: seed.nonces, spis };
        let skeyseed = rekey_seed(&self.protection, &seeds, &[seed.shared]);
        let (protection, _) = expand(seed.suite, &skeyseed, &seeds, seed.initiator)
            .map_err(|error| error.to_string())?;
        let (local, remote) = (frame.local, frame.remote);
        let policy = frame.policy.clone();
        let mut new = Frame::new(SaId(seed.own), seed.initiator, local, remote, policy, core.now);
        (new.peer_spi, new.nat) = (seed.peers, frame.nat);
        new.config = frame.config.as_ref().map(|config| config.shared());
        (new.fragments, new.is_authenticated) = (frame.fragments.successor(), true);
        new.mobility = frame.mobility.as_ref().map(|mobility| mobility.successor());
        new.window = frame.window.successor();
        new.window.widen(core.settings.window);
        let mut state = Self::standing(&new, core, protection, self.ids.clone());
        (state.unclaimed, state.pfs) = (Some(core.now.after(UNCLAIMED)), self.pfs);
        state.predecessor = Some(frame.id);
        if self.reauth {
            // New keys are no new proof.
            (state.reauth, state.rekey_at, state.ends_at) = (true, self.rekey_at, self.ends_at);
        }
        if new.mobility.as_ref().is_some_and(|mobility| mobility.owes_update(new.path())) {
            state.urge(Task::UpdateAddresses);
        }
        Ok(Box::new(Sa { frame: new, body: Body::V2(State::Established(state)) }))
    }

    fn ike_refused(&mut self, frame: &mut Frame, core: &mut Core, request: IkeRequest, bag: &Bag) {
        let error = bag.error().map(|notify| (notify.notify_type, notify.data.as_slice()));
        if let Some((_, winner)) = request.collision {
            // The peer never noticed: its own successor stands.
            self.successor = Some(winner);
            core.deeds.push_back(Deed::Inherit(frame.id, winner));
            return;
        }
        if let Some((NotifyType::INVALID_KE_PAYLOAD, &[high, low])) = error {
            let group = GroupId(u16::from_be_bytes([high, low]));
            let mut offered = request.offered.iter();
            let offers = offered.any(|offer| offer.transforms.contains(&Transform::Ke(group)));
            if offers && kex::supported(group) && !request.tried.contains(&group) {
                return self.ask_ike(frame, core, group, request.tried);
            }
        }
        let pause = match error.map(|(error, _)| error) {
            Some(NotifyType::TEMPORARY_FAILURE) => PAUSE,
            _ => {
                let offered = proposal::printed(&request.offered);
                frame.report(core, refused("rekeying of the IKE SA", bag.error(), offered));
                self.takes_no_more(frame, core, bag.error());
                PAUSE * 8
            }
        };
        self.rekey_at = Some(core.now.after(jitter(pause, &mut *core.random)));
    }

    /// The peer wants a successor.
    pub fn ike_request(&mut self, frame: &mut Frame, core: &mut Core, bag: &Bag) {
        let payloads = match self.consider_ike(frame, core, bag) {
            Ok(payloads) => payloads,
            Err(notify) => vec![Payload::Notify(notify)],
        };
        self.answer(frame, core, &payloads);
    }

    fn consider_ike(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        bag: &Bag,
    ) -> Result<Vec<Payload>, Notify> {
        // What is half open with a child cannot be handed over (RFC 7296 §2.25.2).
        let of_a_child = |active: &Active| {
            matches!(active, Active::Child(_) | Active::DeleteChild(..) | Active::DeleteSpi)
        };
        let busy = self.awaits_spi.is_some() || self.active.iter().any(|(_, it)| of_a_child(it));
        if busy || self.is_ending() || self.successor.is_some() {
            return Err(Notify::new(NotifyType::TEMPORARY_FAILURE));
        }
        let (Some(sa), Some(ke), Some(peers)) = (&bag.sa, &bag.ke, &bag.nonce) else {
            return Err(broken(
                frame,
                core,
                "it wants to rekey the IKE SA without SA, KE or Nonce",
            ));
        };
        let ours = &frame.policy.ike_proposals;
        let chosen = proposal::choose_ike(ours, &sa.proposals, Some(ke.group));
        let mut chosen = chosen.map_err(|disagreement| {
            frame.report(core, Event::Disagreed(disagreement));
            Notify::new(NotifyType::NO_PROPOSAL_CHOSEN)
        })?;
        let group = chosen.suite.group;
        if group != ke.group {
            let wanted = group.0.to_be_bytes().to_vec();
            return Err(Notify::with_data(NotifyType::INVALID_KE_PAYLOAD, wanted));
        }
        let peer_spi = chosen.spi.ike().filter(|spi| !spi.is_zero());
        let no_spi = "it wants to rekey the IKE SA and gives no SPI for the new one";
        let peer_spi = peer_spi.ok_or_else(|| broken(frame, core, no_spi))?;
        let kex = KeyExchange::generate(group, &mut *core.random);
        let kex = kex.map_err(|error| broken(frame, core, error.to_string()))?;
        let (own, nonce) = (core.ike_spi(), core.octets(NONCE_LEN));
        chosen.answer.spi = Spi::Ike(own);
        let payloads = vec![
            Payload::Sa(SaPayload { proposals: vec![chosen.answer] }),
            Payload::Nonce(Nonce(nonce.clone())),
            Payload::Ke(Ke { group, data: kex.public().to_vec() }),
        ];
        let shared = kex.shared(&ke.data);
        let shared = shared.map_err(|error| broken(frame, core, error.to_string()))?;
        let nonces = (&**peers, &*nonce);
        let (suite, shared) = (chosen.suite, &shared);
        let seed = Seed { suite, shared, nonces, own, peers: peer_spi, initiator: false };
        let successor = self.successor(frame, core, &seed);
        let successor = successor.map_err(|what| broken(frame, core, what))?;
        let id = successor.frame.id;
        core.deeds.push_back(Deed::Open(successor));
        if let Some(request) = self.ike_exchange() {
            request.collision = Some((peers.clone().min(nonce), id));
        } else {
            let (initiator, responder) = (peer_spi.to_string(), own.to_string());
            frame.report(core, Event::IkeRekeyed { spis: (initiator, responder) });
            self.replaced_by(core, frame.id, id);
        }
        Ok(payloads)
    }

    /// The children go over to a successor; the peer deletes this IKE SA.
    pub fn replaced_by(&mut self, core: &mut Core, own: SaId, successor: SaId) {
        self.successor = Some(successor);
        self.ends_at = Some(core.now.after(PAUSE * 8));
        core.deeds.push_back(Deed::Inherit(own, successor));
    }

    /// The successor that the peer made while we asked for one ourselves.
    pub fn peers_successor(&mut self) -> Option<SaId> {
        let request = self.ike_exchange()?;
        request.collision.as_ref().map(|(_, id)| *id)
    }
}
