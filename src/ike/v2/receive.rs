//! Messages that come: which state they are for, and duplicates (RFC 7296 §2.1, §2.2).

use std::net::SocketAddr;

use super::established::Established;
use super::inform::After;
use super::keys::Protection;
use super::message::{hear_window, read_sealed, reply};
use super::rules::{self, Message, sort};
use super::tasks::Active;
use super::{Lingering, State, fragment, seal, step};
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::natt::Path;
use crate::ike::report::{Event, Gone, Way};
use crate::ike::sa::{Body, Sa};
use crate::ike::window::{Arrival, Held};
use crate::wire::iana::v2::{ExchangeType, NotifyType, ProtocolId};
use crate::wire::v2::{Notify, Payload};
use crate::wire::{Header, dump};

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
        receive_response(sa, core, header, datagram, (local, remote));
    } else {
        receive_request(sa, core, header, datagram, (local, remote));
    }
}

fn receive_response(
    sa: &mut Sa,
    core: &mut Core,
    header: &Header,
    datagram: &[u8],
    (local, remote): (SocketAddr, SocketAddr),
) {
    if !sa.frame.window.awaits(header.message_id) {
        sa.frame.window.answered_again(header.message_id);
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
        State::Established(state) => {
            let path = Path { local, remote };
            established_response(state, frame, core, (header, datagram, path))
        }
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
        Arrival::Early => {
            let Body::V2(state) = &sa.body else { return };
            let keys = state.protection();
            let genuine = keys.is_some_and(|keys| !is_forged(keys, header, datagram));
            if genuine {
                sa.frame.window.hold(header.message_id, Path { local, remote }, datagram);
            }
            return;
        }
        Arrival::Duplicate(answer) => {
            let answer = answer.to_vec();
            let Body::V2(state) = &sa.body else { return };
            let genuine = match header.exchange {
                ExchangeType::IKE_SA_INIT => match state {
                    State::AwaitAuthRequest(state) => *state.opening.messages.0 == *datagram,
                    _ => false,
                },
                _ => state.protection().is_some_and(|keys| asks_again(keys, header, datagram)),
            };
            if genuine {
                core.stats.duplicates += 1;
                answer_again(sa, core, header, answer, (local, remote));
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
        State::Established(state) => {
            let path = Path { local, remote };
            established_request(state, frame, core, (header, datagram, path))
        }
        other => {
            let why = format!("{exchange} request while {}", other.word());
            frame.report(core, Event::Dropped { why });
            other
        }
    });
}

/// The requests of the peer that came early and whose turn it is now.
pub fn take_turns(sa: &mut Sa, core: &mut Core) {
    while let Some(Held { path, octets, .. }) = sa.frame.window.take_due() {
        let Ok(header) = Header::parse(&octets) else { continue };
        // A NAT may have another mapping by now, which the requests before this one came by.
        let path = if sa.frame.mobility.is_some() { path } else { sa.frame.path() };
        receive_request(sa, core, &header, &octets, (path.local, path.remote));
    }
}

fn is_forged(keys: &Protection, header: &Header, datagram: &[u8]) -> bool {
    matches!(seal::unseal(keys, header, datagram), Err(seal::Fault::Forged(_)))
}

/// Whether a duplicate is authentic and calls for the answer: of one in fragments the first does
/// (RFC 7383 §2.6.1).
fn asks_again(keys: &Protection, header: &Header, datagram: &[u8]) -> bool {
    match seal::unseal(keys, header, datagram) {
        Ok(piece) => piece.fragment.is_none_or(|fragment| fragment.number == 1),
        Err(seal::Fault::Malformed(_)) => true,
        Err(seal::Fault::Forged(_) | seal::Fault::Incomplete) => false,
    }
}

/// Sends the answer again: as it was, unless it seems to be too large for the path.
fn answer_again(
    sa: &mut Sa,
    core: &mut Core,
    header: &Header,
    mut answer: Vec<u8>,
    (local, remote): (SocketAddr, SocketAddr),
) {
    let Body::V2(state) = &mut sa.body else { return };
    let frame = &mut sa.frame;
    if header.exchange != ExchangeType::IKE_SA_INIT
        && frame.fragments.repeats_in_vain(false)
        && let Some(keys) = state.protection_mut()
        && let Some(smaller) = fragment::smaller(frame, core, keys, &answer)
    {
        frame.window.reword_answer(&answer, &smaller);
        answer = smaller;
    }
    core.send(local, remote, answer);
}

fn established_response(
    mut state: Box<Established>,
    frame: &mut Frame,
    core: &mut Core,
    (header, datagram, path): (&Header, &[u8], Path),
) -> State {
    let payloads = match read_sealed(frame, core, &state.protection, header, datagram) {
        Ok(payloads) => payloads,
        Err(None) => return State::Established(state),
        Err(Some(error)) => {
            frame.report(core, Event::Misbehaved { what: error.to_string() });
            Vec::new()
        }
    };
    state.is_heard(core.now);
    frame.window.answered(header.message_id, core.now);
    state.follow(frame, core, path);
    state.answered_by(frame, core, path);
    let Some(active) = state.is_answered(header.message_id) else {
        return State::Established(state);
    };
    let message = match header.exchange {
        ExchangeType::CREATE_CHILD_SA => Message::CreateResponse,
        _ => Message::Informational,
    };
    let bag = sort(message, payloads).unwrap_or_else(|what| {
        frame.report(core, Event::Misbehaved { what });
        rules::Bag::default()
    });
    hear_window(frame, &bag);
    if bag.has(NotifyType::INVALID_SYNTAX) {
        // For the peer the IKE SA may be over by that (RFC 7296 §2.21.3).
        state.may_be_forgotten();
    }
    match active {
        Active::Child(request) => state.child_response(frame, core, *request, &bag),
        Active::Ike(request) => state.ike_response(frame, core, *request, &bag),
        other => state.inform_response(frame, core, other, (&bag, path)),
    }
    state.advance(frame, core);
    State::Established(state)
}

fn established_request(
    mut state: Box<Established>,
    frame: &mut Frame,
    core: &mut Core,
    (header, datagram, path): (&Header, &[u8], Path),
) -> State {
    let opened = fragment::open(frame, core, &state.protection, header, datagram);
    let payloads = match opened {
        Ok(payloads) => payloads,
        Err(seal::Fault::Incomplete) => return State::Established(state),
        Err(seal::Fault::Forged(why)) => {
            core.stats.forged += 1;
            frame.report(core, Event::Dropped { why });
            return State::Established(state);
        }
        Err(seal::Fault::Malformed(error)) => {
            frame.window.accepted();
            frame.asked_by = (path != frame.path()).then(|| Box::new(path));
            core.stats.malformed += 1;
            let (what, notify) = (error.to_string(), Notify::answering(&error));
            misbehaved(&mut state, frame, core, header, what, notify);
            return State::Established(state);
        }
    };
    core.ladder(Way::In, frame.local, frame.remote, || dump::rung(header, &payloads));
    state.is_heard(core.now);
    frame.window.accepted();
    state.follow(frame, core, path);
    frame.asked_by = (path != frame.path()).then(|| Box::new(path));
    let message = match header.exchange {
        ExchangeType::CREATE_CHILD_SA => Message::CreateRequest,
        _ => Message::Informational,
    };
    let bag = match sort(message, payloads) {
        Ok(bag) => bag,
        Err(what) => {
            misbehaved(&mut state, frame, core, header, what, invalid_syntax());
            return State::Established(state);
        }
    };
    hear_window(frame, &bag);
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
            misbehaved(&mut state, frame, core, header, what, invalid_syntax());
        }
    }
    state.advance(frame, core);
    State::Established(state)
}

fn invalid_syntax() -> Notify {
    Notify::new(NotifyType::INVALID_SYNTAX)
}

/// A request that breaks the protocol: we are told, and so is the peer.
fn misbehaved(
    state: &mut Established,
    frame: &mut Frame,
    core: &mut Core,
    header: &Header,
    what: String,
    notify: Notify,
) {
    frame.report(core, Event::Misbehaved { what });
    let payloads = [Payload::Notify(notify)];
    reply(frame, core, &mut state.protection, header.exchange, &payloads);
}

/// The peer deleted the IKE SA: the children go with it, unless a successor takes them.
fn deleted(mut state: Box<Established>, frame: &mut Frame, core: &mut Core) -> State {
    state.abandon(core);
    let why = match state.unclaimed.is_some() || state.successor.is_some() {
        true => Gone::Replaced,
        false => Gone::ByPeer,
    };
    if why != Gone::Replaced {
        frame.give_back(core);
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

fn drop_message(sa: &Sa, core: &mut Core, why: &str) {
    sa.frame.report(core, Event::Dropped { why: why.into() });
}
