//! IKEv1 (RFC 2407, 2408, 2409): states named for what they await.

pub mod algorithms;
pub mod config;
pub mod fragment;
pub mod hash;
pub mod keys;
pub mod offer;
pub mod pke;
pub mod protect;
pub mod rules;
pub mod traffic;
pub mod vendor;
pub mod xauth;

use std::net::SocketAddr;
use std::sync::Arc;

use super::auth::{Answer, QuestionId};
use super::child::ChildId;
use super::core::{Core, Negotiation, Part};
use super::event::{KernelAnswer, Time};
use super::report::{Event, Gone};
use super::sa::{Body, Frame, Sa, Standing};
use super::table::Table;
use crate::conf::{Policy, SaProtocol};
use crate::crypto::IkeSuite;
use crate::wire::iana::v1::ExchangeType;
use crate::wire::{EspSpi, Header};

/// The states.
#[derive(Debug)]
pub enum State {
    /// It is over.
    Gone,
}

/// Something that takes an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A child SA as the policy has it.
    CreateChild,
    /// A successor for this child.
    RekeyChild(ChildId),
    /// The end of this child, and why.
    DeleteChild(ChildId, Gone),
    /// The end of the ISAKMP SA, and why.
    DeleteIke(Gone),
}

impl State {
    /// What is known of it if it is established.
    pub fn standing(&self) -> Option<Standing<'_>> {
        None
    }

    /// Whether the negotiation is still going on.
    pub fn is_opening(&self) -> bool {
        false
    }

    /// The state in a word.
    pub fn word(&self) -> &'static str {
        "over"
    }

    /// The algorithms, once it is established.
    pub fn suite(&self) -> Option<&IkeSuite> {
        None
    }

    /// When it is to be looked at next.
    pub fn next_timeout(&self, _frame: &Frame, _core: &Core) -> Option<Time> {
        None
    }
}

/// Whether a datagram is a first message of phase 1.
pub fn is_first(header: &Header) -> bool {
    let exchange = ExchangeType(header.exchange.0);
    let opens = [ExchangeType::IDENTITY_PROTECTION, ExchangeType::AGGRESSIVE].contains(&exchange);
    opens && header.responder.is_zero()
}

/// Calls a peer.
pub fn initiate(
    core: &mut Core,
    policy: Arc<Policy>,
    _local: SocketAddr,
    remote: SocketAddr,
    _first_contact: bool,
) -> Option<Box<Sa>> {
    let what = "IKEv1 is not available".into();
    core.report(Some(remote), Some(&policy.name), Event::Internal { what });
    None
}

/// A first message of a peer.
pub fn first(
    core: &mut Core,
    _table: &mut Table,
    _header: &Header,
    _datagram: &[u8],
    (local, remote): (SocketAddr, SocketAddr),
) {
    let wanted = core.policies.sought(1, local, remote);
    core.report(Some(remote), None, Event::NoPolicy { wanted });
}

/// A message for this SA.
pub fn receive(
    sa: &mut Sa,
    core: &mut Core,
    _header: &Header,
    _datagram: &[u8],
    _path: (SocketAddr, SocketAddr),
) {
    sa.frame.report(core, Event::Dropped { why: "it is over".into() });
}

/// Wants something done by an established SA, as soon as it can.
pub fn want(_sa: &mut Sa, _core: &mut Core, _task: Task) {}

/// Ends it at this time, because another does its work.
pub fn supersede(_sa: &mut Sa, _core: &mut Core, _at: Time) {}

/// Takes an SA down at once, without a word to the peer.
pub fn drop_sa(sa: &mut Sa, core: &mut Core, why: Gone) {
    sa.body = Body::V1(State::Gone);
    sa.frame.close(core, why);
}

/// Goes on with what waits to be done.
pub fn advance(_sa: &mut Sa, _core: &mut Core) {}

/// Time has passed.
pub fn timeout(_sa: &mut Sa, _core: &mut Core) {}

/// The holder of the secrets answered.
pub fn answer(_sa: &mut Sa, _core: &mut Core, _question: QuestionId, _answer: Answer) {}

/// The kernel reserved an SPI, or did not. Gives it back if nobody wants it any more.
pub fn reserved(
    _sa: &mut Sa,
    _core: &mut Core,
    _negotiation: Negotiation,
    _protocol: SaProtocol,
    spi: Option<EspSpi>,
) -> Option<EspSpi> {
    spi
}

/// The kernel answered a request about a part of a child.
pub fn installed(_sa: &mut Sa, _core: &mut Core, _id: ChildId, _part: Part, _answer: KernelAnswer) {
}
