//! What comes from elsewhere than the peer: answers of the holder of the secrets and of the kernel, time.

use super::tasks::Active;
use super::{State, drop_sa, established, fragment, mobike, step};
use crate::ike::auth::{Answer, QuestionId};
use crate::ike::child::ChildId;
use crate::ike::core::{Core, Part};
use crate::ike::event::KernelAnswer;
use crate::ike::outstanding::Due;
use crate::ike::report::{Event, Gone};
use crate::ike::sa::{Body, Sa};
use crate::wire::EspSpi;

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
                false => state.awaits_spi.is_some(),
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
        return established(sa, core, |state, frame, core| {
            state.counted(frame, core, id, counters);
        });
    }
    if let Part::Move(direction, old, _) = part {
        return established(sa, core, |state, frame, core| {
            state.moved(frame, core, id, (direction, old), &answer);
        });
    }
    let failed = sa.frame.kernel_failed(core, id, part, answer).map(|reason| (part, reason));
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

/// How often a peer is told at most that an IKE SA ends: what takes its place waits for the answer, and
/// a peer that has forgotten the SA gives none.
const FAREWELLS: u32 = 3;

/// How often a request is sent at most to a peer that may have forgotten the IKE SA.
const DOUBTED: u32 = 3;

/// Time has passed.
pub fn timeout(sa: &mut Sa, core: &mut Core) {
    let (now, mut backoff) = (core.now, core.settings.backoff);
    let Body::V2(state) = &sa.body else { return };
    let most = match state {
        State::Established(state) if state.is_ending() => FAREWELLS,
        State::Established(state) if state.doubted => DOUBTED,
        State::AwaitInitResponse(state) if state.is_refused() => 1,
        _ => backoff.sendings,
    };
    backoff.sendings = backoff.sendings.min(most);
    loop {
        match sa.frame.window.due(now, &backoff, &mut *core.random) {
            (_, Due::Nothing) => break,
            (sent, Due::Again(octets)) => {
                let octets = octets.to_vec();
                core.stats.retransmits += 1;
                again(sa, core, octets, sent);
            }
            (_, Due::GiveUp(sent)) => return give_up(sa, core, sent),
        }
    }
    let half_open = sa.frame.created.after(core.settings.half_open);
    let initiator = sa.frame.initiator;
    sa.frame.fragments.expire(now);
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
    let Body::V2(state) = &sa.body else { return };
    if !initiator && state.is_opening() && half_open <= now {
        core.door.ran_out(now);
        let unmet = match state {
            State::AwaitAuthRequest(state) => state.opening.unmet().map(|it| it.to_string()),
            _ => None,
        };
        sa.frame.report(core, Event::HalfOpenExpired { unmet });
        drop_sa(sa, core, Gone::Failed);
    }
}

/// The peer does not answer a request, which was sent so often.
fn give_up(sa: &mut Sa, core: &mut Core, sent: u32) {
    let frame = &sa.frame;
    let Body::V2(state) = &sa.body else { return };
    if let State::AwaitInitResponse(state) = state
        && state.is_told()
    {
        return drop_sa(sa, core, Gone::Failed);
    }
    let exchange = match state {
        State::AwaitInitResponse(_) => "IKE_SA_INIT".to_string(),
        State::AwaitAuthResponse(_) => "IKE_AUTH".to_string(),
        _ => "a request".to_string(),
    };
    let active = state.established().map(|state| &*state.active).unwrap_or_default();
    let ending = active.iter().find_map(|(_, active)| match active {
        Active::DeleteIke(why) => Some(*why),
        _ => None,
    });
    // A successor stands already: whether the peer heard of the old one's end is no news.
    if ending != Some(Gone::Replaced) {
        frame.report(core, Event::NoAnswer { exchange, sent });
    }
    let doubted = state.established().is_some_and(|state| state.doubted);
    let why = if doubted { Gone::Forgotten } else { Gone::PeerVanished };
    drop_sa(sa, core, ending.unwrap_or(why));
}

/// Sends our request again: as it was, unless it seems to be too large for the path.
fn again(sa: &mut Sa, core: &mut Core, mut octets: Vec<u8>, sent: u32) {
    let Body::V2(state) = &mut sa.body else { return };
    let frame = &mut sa.frame;
    if frame.fragments.repeats_in_vain(true)
        && let Some(keys) = state.protection_mut()
        && let Some(smaller) = fragment::smaller(frame, core, keys, &octets)
    {
        frame.window.reword(&octets, &smaller);
        octets = smaller;
    }
    let path = mobike::route(frame, core, sent);
    core.send(path.local, path.remote, octets);
}
