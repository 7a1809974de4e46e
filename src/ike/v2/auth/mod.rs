//! IKE_AUTH (RFC 7296 §1.2, §2.15): who we are, who the peer is, and the first child SA.

mod initiator;
pub mod proof;
mod responder;

pub use initiator::{AwaitAuthResponse, AwaitOwnAuth, AwaitResponderVerdict, begin_initiator};
pub use responder::{AwaitAuthRequest, AwaitInitiatorVerdict, AwaitOwnProof};

use super::keys::Protection;
use super::{Lingering, State, reply, send_request};
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::view::Stats;
use crate::wire::iana::v2::{ExchangeType, NotifyType};
use crate::wire::v2::{Notify, Payload};

/// The responder refuses; it stays a while to say so again, should the answer get lost.
fn fail(
    frame: &mut Frame,
    core: &mut Core,
    mut protection: Protection,
    error: impl Into<Notify>,
) -> State {
    let Stats { failed, .. } = &mut core.stats;
    *failed += 1;
    let payloads = [Payload::Notify(error.into())];
    if !reply(frame, core, &mut protection, ExchangeType::IKE_AUTH, &payloads) {
        return State::Gone;
    }
    for mut child in std::mem::take(&mut frame.children) {
        child.remove(core);
    }
    frame.give_back(core);
    State::Lingering(Box::new(Lingering::new(core, protection)))
}

/// The initiator tells the responder, once and without waiting, that it did not prove itself
/// (RFC 7296 §2.21.2).
fn tell_failed(frame: &mut Frame, core: &mut Core, protection: &mut Protection) {
    let payloads = [Payload::Notify(Notify::new(NotifyType::AUTHENTICATION_FAILED))];
    send_request(frame, core, protection, ExchangeType::INFORMATIONAL, &payloads);
}
