//! What comes in place of the peer's proof, while that is awaited: a refusal of ours, or something from a peer
//! that is further than we know.

use super::established::Established;
use super::message::{content, rung};
use super::proof::Ready;
use super::protect;
use super::rules::{Bag, Message, sort};
use super::{Stage, answer_again, drop_sa, inform, with_hash};
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::id;
use crate::ike::report::{Event, Gone, Way};
use crate::ike::sa::{Body, Sa};
use crate::ike::v1::phase1::{neutral, own_id};
use crate::wire::Header;
use crate::wire::iana::v1::NotifyType;
use crate::wire::v1::Payload;

impl Ready {
    /// Notifications under the keys that await their proof. Where the peer's chain of IVs stands is not known.
    fn opened(&self, header: &Header, datagram: &[u8]) -> Option<Vec<Payload>> {
        let iv = self.iv.phase2(self.keys.prf, header.message_id);
        protect::open_refusal(&self.keys, &iv, header, content(header, datagram))
    }

    /// The initiator seems to have other keys. Nothing protects that: it is told, once. To an initiator the lack of
    /// an answer tells it.
    pub fn doubt(&mut self, frame: &Frame, core: &mut Core, why: String) {
        if frame.initiator {
            return;
        }
        if self.opening.choice.method.is_shared_key() && !std::mem::replace(&mut self.doubted, true)
        {
            let event = Event::ProofUnreadable {
                local_id: neutral(&own_id(frame)).to_string(),
                remote_id: id::expected(&frame.policy).map(|id| id.to_string()),
                why,
            };
            frame.report(core, event);
        }
    }
}

impl Established {
    /// The error that a peer tells which does not take our last message of phase 1. Its chain of IVs stands before
    /// that message, or (libreswan) nowhere.
    pub fn said_instead(&self, header: &Header, datagram: &[u8]) -> Option<NotifyType> {
        let (content, iv) = (content(header, datagram), self.iv_of(header.message_id));
        // What goes on from that message is about what came since.
        if !self.unbelieved || protect::open_hashed(&self.keys, &iv, header, content, &[]).is_ok() {
            return None;
        }
        let opened = protect::open_refusal(&self.keys, &iv, header, content)?;
        let bag = sort(Message::Informational, with_hash(opened)).ok()?;
        bag.error().map(|error| error.notify_type)
    }

    /// The peer does not believe our proof: for it there is no ISAKMP SA.
    pub fn disbelieved(&mut self, frame: &mut Frame, core: &mut Core, kind: NotifyType) {
        refused(frame, core, kind);
        if frame.children.is_empty() {
            self.abandon(frame, core);
            frame.close(core, Gone::Failed);
        }
    }
}

/// Tells that the peer does not believe who we are.
fn refused(frame: &Frame, core: &mut Core, kind: NotifyType) {
    let (what, notify) = ("our proof of identity".into(), kind.to_string());
    let offered = vec![neutral(&own_id(frame)).to_string()];
    let advice = match kind {
        NotifyType::INVALID_ID_INFORMATION => {
            "compare srcid with who the peer takes us for; its log names that".into()
        }
        kind => inform::advice(kind),
    };
    frame.report(core, Event::Refused { what, notify, offered, advice });
}

/// An encrypted informational exchange came.
pub fn informed(sa: &mut Sa, core: &mut Core, header: &Header, datagram: &[u8]) {
    let Body::V1(state) = &mut sa.body else { return };
    let Stage::AwaitProof(ready) = &mut state.stage else { return };
    let opened = ready.opened(header, datagram);
    if opened.is_none() && !protect::reads_behind_hash(&ready.keys, content(header, datagram)) {
        let why = "an encrypted notification came in its place, by other keys than ours".into();
        return ready.doubt(&sa.frame, core, why);
    }
    let (local, remote) = (sa.frame.local, sa.frame.remote);
    let bag = opened.and_then(|payloads| {
        core.ladder(Way::In, local, remote, || rung(header, &payloads));
        sort(Message::Informational, with_hash(payloads)).ok()
    });
    match bag.as_ref().and_then(Bag::error).map(|error| error.notify_type) {
        Some(kind) => {
            refused(&sa.frame, core, kind);
            drop_sa(sa, core, Gone::Failed);
        }
        // The initiator of Aggressive Mode goes on: its last message must have been lost.
        None if !sa.frame.initiator => answer_again(state, &sa.frame, core),
        None => (),
    }
}
