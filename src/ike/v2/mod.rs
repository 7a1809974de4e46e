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
pub mod config;
pub mod cookie;
pub mod create;
pub mod door;
pub mod established;
mod events;
pub mod fragment;
pub mod inform;
pub mod init;
mod installed;
pub mod keys;
mod message;
pub mod mobike;
pub mod path;
mod receive;
pub mod rekey;
pub mod rules;
pub mod seal;
pub mod stray;
pub mod tasks;
mod upkeep;

use std::time::Duration;

use super::core::Core;
use super::event::{KernelSelector, Time};
use super::frame::Frame;
use super::report::Gone;
use super::sa::{Body, Sa};
use super::timer::earliest;
use crate::conf::diff::Effect;
use crate::wire::Header;
use crate::wire::iana::v2::ExchangeType;
use established::Established;
pub use events::{answer, installed, reserved, timeout};
use keys::Protection;
use message::{broken, hear_window, read_sealed, refused, reply, send_request};
pub use receive::{receive, take_turns};
use tasks::Task;

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

    /// What protects the message that is to go out again.
    fn protection_mut(&mut self) -> Option<&mut Protection> {
        match self {
            State::AwaitAuthResponse(state) => Some(&mut state.protection),
            State::Established(state) => Some(&mut state.protection),
            State::Lingering(state) => Some(&mut state.protection),
            _ => None,
        }
    }

    /// What protects its messages, in whatever state, if there are keys yet.
    pub fn keys(&self) -> Option<&Protection> {
        match self {
            State::AwaitOwnAuth(state) => Some(&state.protection),
            State::AwaitAuthResponse(state) => Some(&state.protection),
            State::AwaitResponderVerdict(state) => Some(&state.protection),
            State::AwaitInitiatorVerdict(state) => Some(&state.protection),
            State::AwaitOwnProof(state) => Some(&state.protection),
            State::AwaitInitResponse(_)
            | State::AwaitAuthRequest(_)
            | State::Established(_)
            | State::Lingering(_)
            | State::Gone => self.protection(),
        }
    }

    /// When it is to be looked at next.
    pub fn next_timeout(&self, frame: &Frame, core: &Core) -> Option<Time> {
        let fragments = frame.fragments.deadline();
        match self {
            State::Established(state) => earliest([state.next_timeout(frame, core), fragments]),
            State::Lingering(state) => Some(state.until),
            State::Gone => None,
            _ => {
                let limit = match frame.initiator {
                    true => None,
                    false => Some(frame.created.after(core.settings.half_open)),
                };
                earliest([limit, frame.window.deadline(), fragments])
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
    if let Body::V2(state) = &mut sa.body {
        state.abandon(core);
        *state = State::Gone;
    }
    sa.frame.close(core, why);
}

/// Works on the established state, if it is one.
pub fn established(
    sa: &mut Sa,
    core: &mut Core,
    work: impl FnOnce(&mut Established, &mut Frame, &mut Core),
) {
    let Body::V2(state) = &mut sa.body else { return };
    if let Some(state) = state.established_mut() {
        work(state, &mut sa.frame, core);
    }
}

/// Wants something done by an established SA, as soon as it can.
pub fn want(sa: &mut Sa, core: &mut Core, task: Task) {
    established(sa, core, |state, frame, core| {
        state.want(task);
        state.advance(frame, core);
    });
}

/// Negotiates a successor of the IKE SA.
pub fn rekey(sa: &mut Sa, core: &mut Core) {
    established(sa, core, |state, frame, core| {
        if state.successor.is_none() && !state.is_ending() {
            state.want(Task::RekeyIke);
            state.advance(frame, core);
        }
    });
}

/// Its policy is another now: lifetimes are counted again, and what the peer refused may be asked
/// for again.
pub fn reconfigured(sa: &mut Sa, core: &mut Core, effect: Effect) {
    established(sa, core, |state, frame, core| {
        if effect.flows || effect.children || effect.recreate {
            state.rest_refused = false;
        }
        if effect.lifetimes && state.successor.is_none() && state.superseded_at.is_none() {
            state.recount(frame, core);
        }
    });
}

/// What was still to be done for the children of one is to be done by the other.
pub fn inherit(from: &mut State, to: &mut State) {
    let tasks = from.established_mut().map(Established::hand_over).unwrap_or_default();
    if let Some(state) = to.established_mut() {
        state.unclaimed = None;
        tasks.into_iter().for_each(|task| state.want(task));
    }
}

/// Negotiates one more child SA, unless one is on its way: for this packet alone, if the peer wants it
/// so.
pub fn create_child(sa: &mut Sa, core: &mut Core, packet: Option<&KernelSelector>) {
    established(sa, core, |state, frame, core| {
        let pair = packet.filter(|_| state.single_pairs);
        if let Some(pair) = pair {
            state.want(Task::CreatePair(*pair));
            state.advance(frame, core);
        } else if !state.is_creating() {
            state.want(Task::CreateChild);
            state.advance(frame, core);
        }
    });
}

/// Works on the state, which is consumed and comes back as the next one.
fn step(sa: &mut Sa, work: impl FnOnce(&mut Frame, State) -> State) {
    let Body::V2(state) = &mut sa.body else { return };
    let taken = std::mem::replace(state, State::Gone);
    *state = work(&mut sa.frame, taken);
}

/// Whether a datagram is a first message of IKEv2.
pub fn is_first(header: &Header) -> bool {
    header.exchange == ExchangeType::IKE_SA_INIT
        && header.responder.is_zero()
        && header.from_initiator()
        && !header.is_response()
}
