//! The transaction exchange (draft-ietf-ipsec-isakmp-mode-cfg §3): a message with attributes and its answer,
//! under a message ID of their own. XAUTH and Mode Config are both told in it.
//!
//! ```text
//! {HASH, ATTR(REQUEST)} -->          {HASH, ATTR(SET)} -->
//!                       <-- {HASH, ATTR(REPLY)}        <-- {HASH, ATTR(ACK)}
//! ```
//!
//! Each side has one exchange of its own at a time. The IV goes on within a message ID: some gateways
//! use that of their request for what follows, too.

use std::collections::VecDeque;

use super::established::Established;
use super::message::send_again;
use super::protect::Iv;
use super::rules::{Message, sort};
use super::with_hash;
use crate::crypto::sha1;
use crate::ike::core::Core;
use crate::ike::event::Time;
use crate::ike::frame::Frame;
use crate::ike::outstanding::Outstanding;
use crate::ike::report::Event;
use crate::wire::iana::v1::{ConfigType, ExchangeType};
use crate::wire::v1::{Attributes, Payload};
use crate::wire::{Header, MessageId};

/// Of how many exchanges of the peer the answer is kept, should it have been lost.
const KEPT: usize = 4;

/// The exchanges of an ISAKMP SA.
#[derive(Debug, Default)]
pub struct Transactions {
    own: Option<Box<Own>>,
    peers: VecDeque<Peers>,
    last_identifier: u16,
}

/// A message of ours that waits for its answer.
#[derive(Debug)]
struct Own {
    id: MessageId,
    iv: Iv,
    out: Outstanding,
}

/// A message of the peer's, and our answer; none yet where that takes time.
#[derive(Debug)]
struct Peers {
    id: MessageId,
    iv: Iv,
    digest: [u8; 20],
    answer: Vec<u8>,
}

/// What came.
#[derive(Debug)]
pub enum Told {
    /// The answer to our message.
    Answer(Attributes),
    /// A request, or something set: [`Established::answer`] it under this ID.
    Asked(MessageId, Attributes),
}

impl Transactions {
    /// Whether a message of ours waits for its answer.
    pub fn is_waiting(&self) -> bool {
        self.own.is_some()
    }

    /// Our message is of no interest any more.
    pub fn drop_own(&mut self) {
        self.own = None;
    }

    /// An identifier for a message of ours.
    pub fn identifier(&mut self) -> u16 {
        self.last_identifier = self.last_identifier.wrapping_add(1);
        self.last_identifier
    }

    /// When our message goes again.
    pub fn next_timeout(&self) -> Option<Time> {
        self.own.as_ref().map(|own| own.out.deadline())
    }
}

impl Established {
    /// Sends a request, or sets something. What waited before is given up.
    pub fn ask(&mut self, frame: &mut Frame, core: &mut Core, attributes: Attributes) {
        let id = self.own_id(core);
        let iv = self.iv_of(id);
        let message = (ExchangeType::TRANSACTION, id, &iv);
        let sent = self.send(frame, core, message, &[], vec![Payload::Attributes(attributes)]);
        self.transactions.own = sent.map(|(octets, iv)| {
            let backoff = core.settings.backoff;
            let out = Outstanding::new(&octets, core.now, &backoff, &mut *core.random);
            Box::new(Own { id, iv, out })
        });
    }

    /// Answers a message of the peer's.
    pub fn answer(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        id: MessageId,
        attributes: Attributes,
    ) {
        let Some(at) = self.transactions.peers.iter().position(|it| it.id == id) else { return };
        let iv = self.transactions.peers[at].iv;
        let message = (ExchangeType::TRANSACTION, id, &iv);
        let sent = self.send(frame, core, message, &[], vec![Payload::Attributes(attributes)]);
        if let Some((octets, next)) = sent {
            let it = &mut self.transactions.peers[at];
            (it.iv, it.answer) = (next, octets);
        }
    }

    /// A message of a transaction exchange.
    pub fn transaction(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        header: &Header,
        datagram: &[u8],
    ) -> Option<Told> {
        let id = header.message_id;
        let digest = sha1(&[datagram]);
        let known = self.transactions.peers.iter().find(|it| it.id == id);
        if let Some(same) = known.filter(|it| it.digest == digest) {
            core.stats.duplicates += 1;
            let answer = same.answer.clone();
            if !answer.is_empty() {
                core.send(frame.local, frame.remote, answer);
            }
            return None;
        }
        let own = self.transactions.own.as_ref().filter(|own| own.id == id);
        let iv = own.map(|own| own.iv).or(known.map(|it| it.iv));
        if iv.is_none() && (self.used.contains(&id) || id == MessageId(0)) {
            core.stats.duplicates += 1;
            return None;
        }
        let iv = iv.unwrap_or_else(|| self.iv_of(id));
        let plain = self.open(frame, core, (header, datagram), &iv, &[])?;
        let attributes = match sort(Message::Transaction, with_hash(plain.payloads)) {
            Ok(bag) => bag.attributes?,
            Err(what) => {
                frame.report(core, Event::Misbehaved { what });
                return None;
            }
        };
        let awaited = self.transactions.own.as_ref().is_some_and(|own| own.id == id);
        match attributes.config_type {
            ConfigType::REQUEST | ConfigType::SET => {
                self.keep(Peers { id, iv: plain.next, digest, answer: Vec::new() });
                Some(Told::Asked(id, attributes))
            }
            // Some reply where they should acknowledge.
            ConfigType::REPLY | ConfigType::ACK if awaited => {
                self.transactions.own = None;
                self.remember(id);
                Some(Told::Answer(attributes))
            }
            kind => {
                let what = format!("{kind} that answers nothing");
                frame.report(core, Event::Misbehaved { what });
                None
            }
        }
    }

    /// Remembers a message of the peer's; of the one that is forgotten for it the ID stays used up.
    fn keep(&mut self, new: Peers) {
        let peers = &mut self.transactions.peers;
        peers.retain(|it| it.id != new.id);
        let forgotten = if peers.len() < KEPT { None } else { peers.pop_front() };
        peers.push_back(new);
        if let Some(forgotten) = forgotten {
            self.remember(forgotten.id);
        }
    }

    /// Time has passed: our message is sent again. How often it was sent, if nobody will answer any more.
    pub fn check_transaction(&mut self, frame: &Frame, core: &mut Core) -> Option<u32> {
        let own = self.transactions.own.as_mut().map(|own| &mut own.out);
        let sent = send_again(own, frame, core)?;
        self.transactions.own = None;
        Some(sent)
    }
}
