//! IKEv2 (RFC 7296): states named for what they await.
//!
//! ```text
//! initiator                                   responder
//! AwaitInitResponse      <- IKE_SA_INIT ->    AwaitAuthRequest
//! AwaitOwnAuth           (ca, kernel)
//! AwaitAuthResponse      -- IKE_AUTH -->      AwaitInitiatorVerdict   (ca)
//!                                             AwaitOwnProof           (ca, kernel)
//! AwaitResponderVerdict  <-- IKE_AUTH --      Established
//! Established
//! ```
//!
//! An exchange between IKE_SA_INIT and IKE_AUTH (RFC 9242), further key exchanges (RFC 9370) and rounds
//! of EAP are states to be put between these.

pub mod auth;
pub mod child_exchange;
pub mod cookie;
pub mod create;
pub mod established;
pub mod inform;
pub mod init;
pub mod keys;
pub mod rekey;
pub mod rules;
pub mod seal;

use std::net::SocketAddr;
use std::time::Duration;

use super::auth::{Answer, QuestionId};
use super::child::ChildId;
use super::core::{Core, Part};
use super::event::{KernelAnswer, Time};
use super::report::{Event, Gone, Way};
use super::sa::{Body, Frame, Sa};
use super::timer::earliest;
use super::window::{Arrival, Due};
use crate::wire::iana::v2::{ExchangeType, NotifyType, ProtocolId};
use crate::wire::v2::{Notify, Payload};
use crate::wire::{EspSpi, Header, dump};
use established::{Active, Established};
use inform::After;
use keys::Protection;
use rules::{Message, sort};

/// How long an IKE SA that is over still repeats its last answer.
const LINGER: Duration = Duration::from_secs(20);

/// The states.
#[derive(Debug)]
pub enum State {
    /// See [`init::AwaitInitResponse`].
    AwaitInitResponse(Box<init::AwaitInitResponse>),
    /// See [`auth::AwaitOwnAuth`].
    AwaitOwnAuth(Box<auth::AwaitOwnAuth>),
    /// See [`auth::AwaitAuthResponse`].
    AwaitAuthResponse(Box<auth::AwaitAuthResponse>),
    /// See [`auth::AwaitResponderVerdict`].
    AwaitResponderVerdict(Box<auth::AwaitResponderVerdict>),
    /// See [`auth::AwaitAuthRequest`].
    AwaitAuthRequest(Box<auth::AwaitAuthRequest>),
    /// See [`auth::AwaitInitiatorVerdict`].
    AwaitInitiatorVerdict(Box<auth::AwaitInitiatorVerdict>),
    /// See [`auth::AwaitOwnProof`].
    AwaitOwnProof(Box<auth::AwaitOwnProof>),
    /// See [`Established`].
    Established(Box<Established>),
    /// See [`Lingering`].
    Lingering(Box<Lingering>),
    /// It is over.
    Gone,
}

/// An IKE SA that is over, and repeats its last answer should that have been lost.
#[derive(Debug)]
pub struct Lingering {
    protection: Protection,
    until: Time,
}

impl Lingering {
    /// From now on.
    pub fn new(core: &Core, protection: Protection) -> Self {
        Self { protection, until: core.now.after(LINGER) }
    }
}

impl State {
    /// The established state.
    pub fn established(&self) -> Option<&Established> {
        match self {
            State::Established(state) => Some(state),
            _ => None,
        }
    }

    /// The established state.
    pub fn established_mut(&mut self) -> Option<&mut Established> {
        match self {
            State::Established(state) => Some(state),
            _ => None,
        }
    }

    /// Whether the negotiation is still going on.
    pub fn is_opening(&self) -> bool {
        !matches!(self, State::Established(_) | State::Lingering(_) | State::Gone)
    }

    /// The state in a word.
    pub fn word(&self) -> &'static str {
        match self {
            State::AwaitInitResponse(_) => "awaiting IKE_SA_INIT response",
            State::AwaitOwnAuth(_) => "awaiting own proof and SPI",
            State::AwaitAuthResponse(_) => "awaiting IKE_AUTH response",
            State::AwaitResponderVerdict(_) | State::AwaitInitiatorVerdict(_) => {
                "awaiting verdict on the peer's proof"
            }
            State::AwaitAuthRequest(_) => "awaiting IKE_AUTH request",
            State::AwaitOwnProof(_) => "awaiting own proof and kernel",
            State::Established(_) => "established",
            State::Lingering(_) | State::Gone => "over",
        }
    }

    fn protection(&self) -> Option<&Protection> {
        match self {
            State::AwaitAuthRequest(state) => Some(&state.protection),
            State::Established(state) => Some(&state.protection),
            State::Lingering(state) => Some(&state.protection),
            _ => None,
        }
    }

    /// When it is to be looked at next.
    pub fn next_timeout(&self, frame: &Frame, core: &Core) -> Option<Time> {
        match self {
            State::Established(state) => state.next_timeout(frame, core),
            State::Lingering(state) => Some(state.until),
            State::Gone => None,
            _ => {
                let limit = match frame.initiator {
                    true => None,
                    false => Some(frame.created.after(core.settings.half_open)),
                };
                earliest([limit, frame.window.deadline()])
            }
        }
    }

    /// Gives back whatever is reserved, before the SA goes.
    fn abandon(&mut self, core: &mut Core) {
        match self {
            State::AwaitOwnAuth(state) => state.abandon(core),
            State::AwaitAuthResponse(state) => state.abandon(core),
            State::AwaitResponderVerdict(state) => state.abandon(core),
            State::Established(state) => state.abandon(core),
            _ => (),
        }
    }
}

/// Takes an SA down at once, without a word to the peer.
pub fn drop_sa(sa: &mut Sa, core: &mut Core, why: Gone) {
    let Body::V2(state) = &mut sa.body;
    state.abandon(core);
    *state = State::Gone;
    sa.frame.close(core, why);
}

/// Works on the state, which is consumed and comes back as the next one.
fn step(sa: &mut Sa, work: impl FnOnce(&mut Frame, State) -> State) {
    let Body::V2(state) = &mut sa.body;
    let taken = std::mem::replace(state, State::Gone);
    *state = work(&mut sa.frame, taken);
}

/// A message for this SA.
pub fn receive(
    sa: &mut Sa,
    core: &mut Core,
    header: &Header,
    datagram: &[u8],
    (local, remote): (SocketAddr, SocketAddr),
) {
    if header.from_initiator() == sa.frame.initiator {
        return drop_message(sa, core, "the initiator flag is ours");
    }
    if header.is_response() {
        receive_response(sa, core, header, datagram, local);
    } else {
        receive_request(sa, core, header, datagram, (local, remote));
    }
}

fn receive_response(
    sa: &mut Sa,
    core: &mut Core,
    header: &Header,
    datagram: &[u8],
    local: SocketAddr,
) {
    if !sa.frame.window.awaits(header.message_id) {
        return drop_message(sa, core, "a response to nothing");
    }
    let exchange = header.exchange;
    step(sa, |frame, state| match state {
        State::AwaitInitResponse(state) if exchange == ExchangeType::IKE_SA_INIT => {
            state.response(frame, core, (header, datagram, local))
        }
        State::AwaitAuthResponse(state) if exchange == ExchangeType::IKE_AUTH => {
            state.response(frame, core, header, datagram)
        }
        State::Established(state) => established_response(state, frame, core, header, datagram),
        other => {
            let why = format!("{exchange} response while {}", other.word());
            frame.report(core, Event::Dropped { why });
            other
        }
    });
}

fn receive_request(
    sa: &mut Sa,
    core: &mut Core,
    header: &Header,
    datagram: &[u8],
    (local, remote): (SocketAddr, SocketAddr),
) {
    match sa.frame.window.arrival(header.message_id) {
        Arrival::New => (),
        Arrival::InProgress => {
            core.stats.duplicates += 1;
            return;
        }
        Arrival::OutOfWindow => return drop_message(sa, core, "out of window"),
        Arrival::Duplicate(answer) => {
            let answer = answer.to_vec();
            let Body::V2(state) = &sa.body;
            let opened = state.protection().map(|keys| seal::open(keys, header, datagram));
            let genuine = match header.exchange {
                ExchangeType::IKE_SA_INIT => match state {
                    State::AwaitAuthRequest(state) => *state.opening.messages.0 == *datagram,
                    _ => false,
                },
                _ => !matches!(opened, None | Some(Err(seal::Fault::Forged(_)))),
            };
            if genuine {
                core.stats.duplicates += 1;
                core.send(local, remote, answer);
            }
            return;
        }
    }
    let exchange = header.exchange;
    step(sa, |frame, state| match state {
        State::AwaitAuthRequest(state) if exchange == ExchangeType::IKE_AUTH => {
            let before = (frame.local, frame.remote);
            let ours = frame.window.answering();
            (frame.local, frame.remote) = (local, remote);
            let state = state.request(frame, core, header, datagram);
            // Only an authenticated message moves the SA (RFC 7296 §2.23).
            if frame.window.answering() == ours {
                (frame.local, frame.remote) = before;
            }
            state
        }
        State::Established(state) => established_request(state, frame, core, header, datagram),
        other => {
            let why = format!("{exchange} request while {}", other.word());
            frame.report(core, Event::Dropped { why });
            other
        }
    });
}

fn established_response(
    mut state: Box<Established>,
    frame: &mut Frame,
    core: &mut Core,
    header: &Header,
    datagram: &[u8],
) -> State {
    let payloads = match read_sealed(frame, core, &state.protection, header, datagram) {
        Ok(payloads) => payloads,
        Err(None) => return State::Established(state),
        Err(Some(what)) => {
            frame.report(core, Event::Misbehaved { what });
            Vec::new()
        }
    };
    state.heard = core.now;
    frame.window.answered();
    let Some(active) = state.active.take() else { return State::Established(state) };
    let message = match header.exchange {
        ExchangeType::CREATE_CHILD_SA => Message::CreateResponse,
        _ => Message::Informational,
    };
    let bag = sort(message, payloads).unwrap_or_else(|what| {
        frame.report(core, Event::Misbehaved { what });
        rules::Bag::default()
    });
    match *active {
        Active::Child(request) => state.child_response(frame, core, request, &bag),
        Active::Ike(request) => state.ike_response(frame, core, request, &bag),
        other => state.inform_response(frame, core, other),
    }
    state.advance(frame, core);
    State::Established(state)
}

fn established_request(
    mut state: Box<Established>,
    frame: &mut Frame,
    core: &mut Core,
    header: &Header,
    datagram: &[u8],
) -> State {
    let payloads = match seal::open(&state.protection, header, datagram) {
        Ok(payloads) => payloads,
        Err(seal::Fault::Forged(why)) => {
            core.stats.forged += 1;
            frame.report(core, Event::Dropped { why });
            return State::Established(state);
        }
        Err(seal::Fault::Malformed(error)) => {
            frame.window.accepted();
            core.stats.malformed += 1;
            frame.report(core, Event::Misbehaved { what: error.to_string() });
            let payloads = [Payload::Notify(Notify::answering(&error))];
            reply(frame, core, &mut state.protection, header.exchange, &payloads);
            return State::Established(state);
        }
    };
    core.ladder(Way::In, frame.local, frame.remote, || dump::summary(header, &payloads));
    state.heard = core.now;
    frame.window.accepted();
    let message = match header.exchange {
        ExchangeType::CREATE_CHILD_SA => Message::CreateRequest,
        _ => Message::Informational,
    };
    let bag = match sort(message, payloads) {
        Ok(bag) => bag,
        Err(what) => {
            frame.report(core, Event::Misbehaved { what });
            let payloads = [Payload::Notify(Notify::new(NotifyType::INVALID_SYNTAX))];
            reply(frame, core, &mut state.protection, header.exchange, &payloads);
            return State::Established(state);
        }
    };
    match header.exchange {
        ExchangeType::CREATE_CHILD_SA => {
            let protocol = bag.sa.as_ref().and_then(|sa| sa.proposals.first());
            match protocol.map(|proposal| proposal.protocol) {
                Some(ProtocolId::IKE) => state.ike_request(frame, core, &bag),
                _ => state.child_request(frame, core, &bag),
            }
        }
        ExchangeType::INFORMATIONAL => {
            if state.inform_request(frame, core, &bag) == After::Deleted {
                return deleted(state, frame, core);
            }
        }
        other => {
            let what = format!("{other} within an established IKE SA");
            frame.report(core, Event::Misbehaved { what });
            let payloads = [Payload::Notify(Notify::new(NotifyType::INVALID_SYNTAX))];
            reply(frame, core, &mut state.protection, other, &payloads);
        }
    }
    state.advance(frame, core);
    State::Established(state)
}

/// The peer deleted the IKE SA: the children go with it, unless a successor takes them.
fn deleted(mut state: Box<Established>, frame: &mut Frame, core: &mut Core) -> State {
    state.abandon(core);
    let why = if state.successor.is_some() { Gone::Replaced } else { Gone::ByPeer };
    if state.successor.is_none() {
        for mut child in std::mem::take(&mut frame.children) {
            child.remove(core);
            let spis = child.printed_spis();
            frame.report(core, Event::ChildDeleted { spis, why });
        }
        frame.report(core, Event::IkeDeleted { why });
        core.lost(&frame.policy.name, why);
    }
    let Established { protection, .. } = *state;
    State::Lingering(Box::new(Lingering::new(core, protection)))
}

/// The holder of the secrets answered.
pub fn answer(sa: &mut Sa, core: &mut Core, question: QuestionId, answer: Answer) {
    step(sa, |frame, state| match state {
        State::AwaitOwnAuth(state) => state.answer(frame, core, question, answer),
        State::AwaitResponderVerdict(state) => state.answer(frame, core, question, answer),
        State::AwaitInitiatorVerdict(state) => state.answer(frame, core, question, answer),
        State::AwaitOwnProof(state) => state.answer(frame, core, question, answer),
        other => other,
    });
}

/// The kernel answered a request for an SPI. Gives the SPI back if nobody wants it any more.
pub fn reserved(sa: &mut Sa, core: &mut Core, peers: bool, spi: Option<EspSpi>) -> Option<EspSpi> {
    let mut unwanted = None;
    step(sa, |frame, state| match (state, spi) {
        (State::AwaitOwnAuth(state), Some(spi)) => state.reserved(frame, core, spi),
        (State::AwaitOwnAuth(mut state), None) => {
            state.abandon(core);
            frame.close(core, Gone::Failed);
            State::Gone
        }
        (State::AwaitOwnProof(state), spi) => state.reserved(frame, core, spi),
        (State::Established(mut state), spi) => {
            let wanted = match peers {
                true => state.answering.is_some(),
                false => matches!(state.active.as_deref(), Some(Active::AwaitSpi(_))),
            };
            match (wanted, peers) {
                (false, _) => unwanted = spi,
                (true, true) => state.reserved_for_peer(frame, core, spi),
                (true, false) => state.reserved(frame, core, spi),
            }
            State::Established(state)
        }
        (other, spi) => {
            unwanted = spi;
            other
        }
    });
    unwanted
}

/// The kernel answered a request about a part of a child.
pub fn installed(sa: &mut Sa, core: &mut Core, id: ChildId, part: Part, answer: KernelAnswer) {
    if part == Part::Counters {
        let counters = match answer {
            KernelAnswer::Counters(counters) => Some(counters),
            _ => None,
        };
        let Body::V2(state) = &mut sa.body;
        if let Some(state) = state.established_mut() {
            state.counted(&mut sa.frame, core, id, counters);
        }
        return;
    }
    let failed = match answer {
        KernelAnswer::Failed(reason) => {
            let request = match part {
                Part::Sa(_) => "install an SA",
                Part::Flow | Part::Counters => "install a flow",
            };
            let event = Event::KernelFailed { request: request.into(), reason: reason.clone() };
            sa.frame.report(core, event);
            Some((part, reason))
        }
        _ => None,
    };
    let child = sa.frame.children.iter_mut().find(|child| child.id == id);
    let Some(child) = child else { return };
    child.pending = child.pending.saturating_sub(1);
    let pending = child.pending;
    step(sa, |frame, state| match state {
        State::AwaitOwnProof(state) => match failed {
            Some(_) => {
                if let Some(at) = frame.children.iter().position(|child| child.id == id) {
                    frame.part_with(at).remove(core);
                }
                state.inbound(frame, core, false)
            }
            None if pending == 0 => state.inbound(frame, core, true),
            None => State::AwaitOwnProof(state),
        },
        State::Established(mut state) => {
            state.installed(frame, core, id, failed);
            State::Established(state)
        }
        other => other,
    });
}

/// Time has passed.
pub fn timeout(sa: &mut Sa, core: &mut Core) {
    let (now, backoff) = (core.now, core.settings.backoff);
    let frame = &mut sa.frame;
    match frame.window.due(now, &backoff, &mut *core.random) {
        Due::Nothing => (),
        Due::Again(octets) => {
            let octets = octets.to_vec();
            core.stats.retransmits += 1;
            core.send(frame.local, frame.remote, octets);
        }
        Due::GiveUp(sent) => {
            let Body::V2(state) = &sa.body;
            let exchange = match state {
                State::AwaitInitResponse(_) => "IKE_SA_INIT".to_string(),
                State::AwaitAuthResponse(_) => "IKE_AUTH".to_string(),
                _ => "a request".to_string(),
            };
            let ending = match state.established().and_then(|state| state.active.as_deref()) {
                Some(Active::DeleteIke(why)) => Some(*why),
                _ => None,
            };
            frame.report(core, Event::NoAnswer { exchange, sent });
            return drop_sa(sa, core, ending.unwrap_or(Gone::PeerVanished));
        }
    }
    let half_open = frame.created.after(core.settings.half_open);
    let initiator = frame.initiator;
    step(sa, |frame, state| match state {
        State::Established(mut state) => {
            state.timeout(frame, core);
            State::Established(state)
        }
        State::Lingering(state) if state.until <= now => {
            frame.close(core, Gone::Replaced);
            State::Gone
        }
        other => other,
    });
    let Body::V2(state) = &sa.body;
    if !initiator && state.is_opening() && half_open <= now {
        sa.frame.report(core, Event::HalfOpenExpired);
        drop_sa(sa, core, Gone::Failed);
    }
}

/// Opens a response: `Err(None)` if it is not from the peer, `Err(Some)` if it does not parse.
fn read_sealed(
    frame: &Frame,
    core: &mut Core,
    protection: &Protection,
    header: &Header,
    datagram: &[u8],
) -> Result<Vec<Payload>, Option<String>> {
    match seal::open(protection, header, datagram) {
        Ok(payloads) => {
            let summary = || dump::summary(header, &payloads);
            core.ladder(Way::In, frame.local, frame.remote, summary);
            Ok(payloads)
        }
        Err(seal::Fault::Forged(why)) => {
            core.stats.forged += 1;
            frame.report(core, Event::Dropped { why });
            Err(None)
        }
        Err(seal::Fault::Malformed(error)) => {
            core.stats.malformed += 1;
            Err(Some(error.to_string()))
        }
    }
}

/// Sends a protected request. If that cannot be, the SA is closed.
fn send_request(
    frame: &mut Frame,
    core: &mut Core,
    protection: &mut Protection,
    exchange: ExchangeType,
    payloads: &[Payload],
) -> bool {
    let sealed = match frame.window.next_own() {
        Some(id) => {
            let header = seal::header(frame, exchange, false, id);
            core.ladder(Way::Out, frame.local, frame.remote, || dump::summary(&header, payloads));
            seal::seal(protection, &header, payloads, &mut *core.random)
        }
        None => Err("the message IDs are used up".into()),
    };
    match sealed {
        Ok(octets) => {
            frame.window.sent(&octets, core.now, &core.settings.backoff, &mut *core.random);
            core.send(frame.local, frame.remote, octets);
            true
        }
        Err(what) => {
            frame.report(core, Event::Internal { what });
            frame.close(core, Gone::Failed);
            false
        }
    }
}

/// Answers the peer's request. If that cannot be, the SA is closed.
fn reply(
    frame: &mut Frame,
    core: &mut Core,
    protection: &mut Protection,
    exchange: ExchangeType,
    payloads: &[Payload],
) -> bool {
    let header = seal::header(frame, exchange, true, frame.window.answering());
    core.ladder(Way::Out, frame.local, frame.remote, || dump::summary(&header, payloads));
    match seal::seal(protection, &header, payloads, &mut *core.random) {
        Ok(octets) => {
            frame.window.replied(&octets);
            core.send(frame.local, frame.remote, octets);
            true
        }
        Err(what) => {
            frame.report(core, Event::Internal { what });
            frame.close(core, Gone::Failed);
            false
        }
    }
}

/// What to look at when the peer refuses with this.
fn refusal_advice(error: NotifyType) -> String {
    match error {
        NotifyType::NO_PROPOSAL_CHOSEN => {
            "compare the proposals (ikesa, childsa) of the two sides; the peer's log names its own"
        }
        NotifyType::TS_UNACCEPTABLE => {
            "compare `from` and `to` with the peer's: one must be the mirror of the other"
        }
        NotifyType::AUTHENTICATION_FAILED => {
            "compare the pre-shared keys and the identities (srcid, dstid) of the two sides"
        }
        NotifyType::NO_ADDITIONAL_SAS => "the peer allows no more SAs",
        NotifyType::INVALID_SYNTAX => {
            "the peer did not understand the message: a fault of one side"
        }
        _ => "see the peer's log",
    }
    .into()
}

/// Whether a datagram is a first message of IKEv2.
pub fn is_first(header: &Header) -> bool {
    header.exchange == ExchangeType::IKE_SA_INIT
        && header.responder.is_zero()
        && header.from_initiator()
        && !header.is_response()
}

/// The children of one IKE SA go over to another.
pub fn inherit(from: &mut Sa, to: &mut Sa, core: &mut Core) {
    for child in std::mem::take(&mut from.frame.children) {
        core.by_spi.insert(child.agreement.spi_in, to.frame.id);
        to.frame.adopt(child);
    }
}

fn drop_message(sa: &Sa, core: &mut Core, why: &str) {
    sa.frame.report(core, Event::Dropped { why: why.into() });
}
