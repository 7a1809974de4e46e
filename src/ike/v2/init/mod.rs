//! IKE_SA_INIT (RFC 7296 §1.2): proposals, key exchange, nonces; COOKIE, INVALID_KE_PAYLOAD.

mod initiator;
mod responder;

pub use initiator::{AwaitInitResponse, initiate};
pub use responder::request;

use std::net::SocketAddr;

use super::auth::proof::Heard;
use crate::crypto::KeyExchange;
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::natt;
use crate::ike::report::Way;
use crate::wire::iana::v2::NotifyType;
use crate::wire::v2::{Ke, Notify, Payload, emit_message, parse_message};
use crate::wire::{Flags, Header, dump};

/// Octets of our nonces: at least half the key of every PRF (RFC 7296 §2.10).
pub const NONCE_LEN: usize = 32;

/// What both roles know at the end of IKE_SA_INIT.
#[derive(Debug)]
pub struct Opening {
    /// Both messages as they went over the wire, request first.
    pub messages: (Box<[u8]>, Box<[u8]>),
    /// Both nonces, initiator's first.
    pub nonces: (Vec<u8>, Vec<u8>),
    /// What the peer says about signatures.
    pub heard: Heard,
    /// The peer takes an IKE SA without a child SA (RFC 6023).
    pub childless: bool,
}

impl Opening {
    /// What the peer, which began, announced that is not known here and that peers may insist on: a
    /// preshared key for after quantum computers (RFC 8784).
    pub fn unmet(&self) -> Option<NotifyType> {
        let (_, payloads) = parse_message(&self.messages.0).ok()?;
        payloads.iter().find_map(|payload| match payload {
            Payload::Notify(it) if it.notify_type == NotifyType::USE_PPK => Some(it.notify_type),
            _ => None,
        })
    }
}

/// Answers a message with a notification that nothing protects, keeping nothing.
pub fn refuse(
    core: &mut Core,
    header: &Header,
    notify: Notify,
    local: SocketAddr,
    remote: SocketAddr,
) {
    let flags = Flags::v2(!header.from_initiator(), true);
    let (initiator, responder) = (header.initiator, header.responder);
    let answer = Header::v2(initiator, responder, header.exchange, flags, header.message_id);
    let payloads = [Payload::Notify(notify)];
    core.ladder(Way::Out, local, remote, || dump::rung(&answer, &payloads));
    core.send(local, remote, emit_message(&answer, &payloads));
}

fn own_ke(kex: &KeyExchange) -> Payload {
    Payload::Ke(Ke { group: kex.group(), data: kex.public().to_vec() })
}

/// Where encapsulation is forced, a false source makes the peer see a NAT and encapsulate too.
fn nat_notifications(frame: &Frame) -> [Payload; 2] {
    let (initiator, responder) = frame.spis();
    let mut source = frame.local;
    if frame.policy.force_natt {
        source.set_port(0);
    }
    natt::notifications(initiator, responder, source, frame.remote)
}
