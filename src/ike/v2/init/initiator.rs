//! The side that calls: its request, sent again with a cookie or another group, and what the answer makes of it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{NONCE_LEN, Opening, nat_notifications, own_ke};
use crate::conf::Policy;
use crate::crypto::{IkeSuite, KeyExchange, kex};
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::natt::{self, Nat};
use crate::ike::proposal::{self, Kind};
use crate::ike::report::{Event, Gone, Way};
use crate::ike::sa::{Body, Sa};
use crate::ike::v2::auth::begin_initiator;
use crate::ike::v2::auth::proof::{self, Heard};
use crate::ike::v2::keys::{Seeds, expand, first_seed};
use crate::ike::v2::rules::{Bag, Message, sort};
use crate::ike::v2::{State, fragment, mobike, refused};
use crate::wire::iana::v2::{ExchangeType, GroupId, NotifyType};
use crate::wire::iana::vendor;
use crate::wire::v2::sa::Proposal as Offer;
use crate::wire::v2::{Nonce, Notify, Payload, Sa as SaPayload, emit_message, parse_message};
use crate::wire::{Flags, Header, IkeSpi, MessageId, Spi, dump};

/// How often a request may be answered by a demand for a cookie or another group.
const MOST_ROUNDS: u8 = 6;

/// An initiator that sent its IKE_SA_INIT request.
pub struct AwaitInitResponse {
    kex: KeyExchange,
    nonce: Vec<u8>,
    offered: Vec<Offer>,
    cookie: Option<Vec<u8>>,
    tried: Vec<GroupId>,
    rounds: u8,
    /// That the peer wants what it cannot have was reported.
    told: bool,
    /// It was refused, or answered by what does not fit: it is not sent again, as the true answer, if
    /// there is another, is on its way.
    refused: bool,
    /// We do not know our own address yet: whoever looks takes that for a NAT.
    unknown_source: bool,
}

impl std::fmt::Debug for AwaitInitResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwaitInitResponse").field("tried", &self.tried).finish_non_exhaustive()
    }
}

/// Calls a peer.
pub fn initiate(
    core: &mut Core,
    policy: Arc<Policy>,
    local: SocketAddr,
    remote: SocketAddr,
    first_contact: bool,
) -> Option<Box<Sa>> {
    let usable = |group: &GroupId| kex::supported(*group);
    let groups = policy.ike_proposals.iter().flat_map(|proposal| proposal.groups.iter().copied());
    let Some(group) = groups.clone().find(usable) else {
        let groups = groups.map(|group| group.to_string()).collect();
        core.report(Some(remote), Some(&policy.name), Event::NoGroup { groups });
        return None;
    };
    let kex = match KeyExchange::generate(group, &mut *core.random) {
        Ok(kex) => kex,
        Err(error) => {
            let what = error.to_string();
            core.report(Some(remote), Some(&policy.name), Event::Internal { what });
            return None;
        }
    };
    let mut frame = Frame::calling(core, Arc::clone(&policy), local, remote, first_contact);
    let state = AwaitInitResponse {
        kex,
        nonce: core.octets(NONCE_LEN),
        offered: proposal::offer(&policy.ike_proposals, Kind::Ike, &Spi::None),
        cookie: None,
        tried: vec![group],
        rounds: 0,
        told: false,
        refused: false,
        unknown_source: local.ip().is_unspecified(),
    };
    state.send(&mut frame, core);
    let state = State::AwaitInitResponse(Box::new(state));
    Some(Box::new(Sa { frame, body: Body::V2(state) }))
}

impl AwaitInitResponse {
    fn send(&self, frame: &mut Frame, core: &mut Core) {
        let mut payloads = Vec::new();
        if let Some(cookie) = &self.cookie {
            payloads.push(Payload::Notify(Notify::with_data(NotifyType::COOKIE, cookie.clone())));
        }
        payloads.push(Payload::Sa(SaPayload { proposals: self.offered.clone() }));
        payloads.push(own_ke(&self.kex));
        payloads.push(Payload::Nonce(Nonce(self.nonce.clone())));
        payloads.extend(nat_notifications(frame));
        if frame.policy.auth.signs() {
            payloads.push(proof::hashes());
        }
        payloads.extend(fragment::notification(core));
        payloads.extend(vendor_id(core));
        let (initiator, responder) = (frame.id.0, IkeSpi::ZERO);
        let (exchange, flags) = (ExchangeType::IKE_SA_INIT, Flags::v2(true, false));
        let header = Header::v2(initiator, responder, exchange, flags, MessageId(0));
        let octets = emit_message(&header, &payloads);
        let rung = || dump::rung(&header, &payloads);
        core.ladder(Way::Out, frame.local, frame.remote, rung);
        frame.window.sent(&octets, core.now, &core.settings.backoff, &mut *core.random);
        core.send(frame.local, frame.remote, octets);
    }

    /// The response came. Nothing proves yet that the peer sent it.
    pub fn response(
        self: Box<Self>,
        frame: &mut Frame,
        core: &mut Core,
        (header, datagram, local): (&Header, &[u8], SocketAddr),
    ) -> State {
        let bag = match read(core, Message::InitResponse, datagram, (local, frame.remote)) {
            Ok(bag) => bag,
            Err(why) => {
                core.stats.malformed += 1;
                frame.report(core, Event::Dropped { why });
                return State::AwaitInitResponse(self);
            }
        };
        let wants_more = [NotifyType::COOKIE, NotifyType::INVALID_KE_PAYLOAD];
        let demand = bag.notifies.iter().find(|n| wants_more.contains(&n.notify_type));
        if let (None, Some(demand)) = (&bag.sa, demand) {
            return self.again(frame, core, demand);
        }
        if let Some(error) = bag.error() {
            let offered = proposal::printed(&self.offered);
            return self.useless(frame, core, refused("IKE_SA_INIT", Some(error), offered));
        }
        let suite = match self.fits(header, &bag) {
            Ok(suite) => suite,
            Err(what) => return self.useless(frame, core, Event::Misbehaved { what }),
        };
        match self.agree(frame, core, (header, suite, bag), (datagram, local)) {
            Ok(state) => state,
            Err(what) => {
                frame.report(core, Event::Misbehaved { what });
                frame.close(core, Gone::Failed);
                State::Gone
            }
        }
    }

    /// A cookie or another group is wanted.
    fn again(mut self: Box<Self>, frame: &mut Frame, core: &mut Core, demand: &Notify) -> State {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds > MOST_ROUNDS {
            return self.not_met(frame, core, demand);
        }
        if demand.notify_type == NotifyType::COOKIE {
            if demand.data.is_empty() || demand.data.len() > 64 {
                return State::AwaitInitResponse(self);
            }
            self.cookie = Some(demand.data.clone());
        } else {
            let group = match demand.data.as_slice() {
                [high, low] => GroupId(u16::from_be_bytes([*high, *low])),
                _ => return State::AwaitInitResponse(self),
            };
            let offers = |offer: &Offer| {
                offer.transforms.contains(&crate::wire::v2::sa::Transform::Ke(group))
            };
            // Only what we offered, and each once: nobody can drive us round or down.
            if !self.offered.iter().any(offers) || self.tried.contains(&group) {
                return self.not_met(frame, core, demand);
            }
            let Ok(kex) = KeyExchange::generate(group, &mut *core.random) else {
                return self.not_met(frame, core, demand);
            };
            self.tried.push(group);
            self.kex = kex;
        }
        frame.window.withdraw();
        self.refused = false;
        self.send(frame, core);
        State::AwaitInitResponse(self)
    }

    /// The demand is not met. Anybody could have sent it: we go on as if it had not come, but say so, once.
    fn not_met(self: Box<Self>, frame: &mut Frame, core: &mut Core, demand: &Notify) -> State {
        let offered = proposal::printed(&self.offered);
        let event = refused("IKE_SA_INIT, again and again", Some(demand), offered);
        self.told(frame, core, event)
    }

    /// The answer is of no use. Anybody could have sent that as well: for a while another is waited for
    /// (RFC 7296 §2.21.1).
    fn useless(mut self: Box<Self>, frame: &mut Frame, core: &mut Core, event: Event) -> State {
        self.refused = true;
        self.told(frame, core, event)
    }

    fn told(mut self: Box<Self>, frame: &mut Frame, core: &mut Core, event: Event) -> State {
        if !std::mem::replace(&mut self.told, true) {
            frame.report(core, event);
        }
        State::AwaitInitResponse(self)
    }

    /// Whether it was reported why the peer's answers are of no use: silence is no news then.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// Whether the request is not sent again.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether an answer fits what we offered.
    fn fits(&self, header: &Header, bag: &Bag) -> Result<IkeSuite, String> {
        let (Some(sa), Some(ke), Some(_)) = (&bag.sa, &bag.ke, &bag.nonce) else {
            return Err("an IKE_SA_INIT response without SA, KE or Nonce".into());
        };
        if header.responder.is_zero() {
            return Err("an IKE_SA_INIT response with a responder's SPI of zero".into());
        }
        let (suite, _) = proposal::accept_ike(&self.offered, &sa.proposals)?;
        match suite.group == self.kex.group() && ke.group == suite.group {
            true => Ok(suite),
            false => Err(format!(
                "chose {} while the public values are of {} and {}",
                suite.group,
                self.kex.group(),
                ke.group
            )),
        }
    }

    fn agree(
        self,
        frame: &mut Frame,
        core: &mut Core,
        (header, suite, bag): (&Header, IkeSuite, Bag),
        (datagram, local): (&[u8], SocketAddr),
    ) -> Result<State, String> {
        let heard = Heard::of(&bag);
        let (Some(ke), Some(nonce)) = (&bag.ke, bag.nonce) else {
            return Err("an IKE_SA_INIT response without KE or Nonce".into());
        };
        frame.peer_spi = header.responder;
        frame.local.set_ip(local.ip());
        let (initiator, responder) = frame.spis();
        let mut nat = natt::detect(&bag.notifies, initiator, responder, frame.local, frame.remote);
        if self.unknown_source {
            nat.get_or_insert_default().local = true;
        }
        if frame.policy.no_nat && nat.is_some_and(Nat::found) {
            frame.report(core, Event::NatForbidden);
            frame.close(core, Gone::Failed);
            return Ok(State::Gone);
        }
        float(frame, core, nat);
        frame.fragments.negotiated(core, &bag.notifies);
        let shared = self.kex.shared(&ke.data).map_err(|error| error.to_string())?;
        let seeds = Seeds { nonces: (&self.nonce, &nonce), spis: frame.spis() };
        let seed = first_seed(&suite, &seeds, &shared).map_err(|error| error.to_string())?;
        let (protection, proofs) =
            expand(suite, &seed, &seeds, true).map_err(|error| error.to_string())?;
        let request = frame.window.answered(header.message_id, core.now);
        let message = header.message(datagram);
        let messages = (request, message.into());
        let childless = bag
            .notifies
            .iter()
            .any(|notify| notify.notify_type == NotifyType::CHILDLESS_IKEV2_SUPPORTED);
        let opening = Opening { messages, nonces: (self.nonce, nonce), heard, childless };
        Ok(begin_initiator(frame, core, protection, proofs, opening))
    }
}

fn read(
    core: &mut Core,
    message: Message,
    datagram: &[u8],
    (local, remote): (SocketAddr, SocketAddr),
) -> Result<Bag, String> {
    let (header, payloads) = parse_message(datagram).map_err(|error| error.to_string())?;
    core.ladder(Way::In, local, remote, || dump::rung(&header, &payloads));
    sort(message, payloads)
}

/// Who made this program, for the peer that we call, unless the operator keeps that to himself (`set novendorid`).
fn vendor_id(core: &Core) -> Option<Payload> {
    let octets = || [vendor::OAKD, env!("CARGO_PKG_VERSION").as_bytes()].concat();
    core.globals.vendor_id.then(|| Payload::Vendor(octets()))
}

/// With a NAT (or as if there were one) everything goes on over the other port (RFC 7296 §2.23).
fn float(frame: &mut Frame, core: &mut Core, nat: Option<Nat>) {
    let Some(nat) = nat else { return };
    frame.nat = nat;
    if nat.found() {
        frame.report(core, Event::NatFound { local: nat.local, remote: nat.remote });
    }
    let (plain, encapsulated) = core.settings.ports;
    // Those who may move later go there at once (RFC 4555 §3.3).
    let floats = nat.found() || frame.policy.force_natt || mobike::allowed(core, &frame.policy);
    if floats && frame.remote.port() == plain {
        frame.local.set_port(encapsulated);
        frame.remote.set_port(encapsulated);
    }
}
