//! Messages going out and coming in: headers, ladder, protection.

use super::established::Established;
use super::fragment;
use super::protect::{self, Fault, Iv, Plain};
use crate::crypto::sha1;
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::outstanding::{Due, Outstanding};
use crate::ike::report::{Event, Gone, Way};
use crate::wire::dump::Rung;
use crate::wire::header::HEADER_LEN;
use crate::wire::iana::v1::ExchangeType;
use crate::wire::v1::{Payload, dump, emit_message};
use crate::wire::{Flags, Header, MessageId};

/// The header of a message of ours.
pub fn header(frame: &Frame, exchange: ExchangeType, id: MessageId) -> Header {
    let (initiator, responder) = frame.spis();
    Header::v1(initiator, responder, exchange, Flags::default(), id)
}

/// A message as a rung of the ladder.
pub fn rung(header: &Header, payloads: &[Payload]) -> Rung {
    Rung {
        summary: dump::summary(header, payloads),
        payloads: payloads.iter().map(dump::line).collect(),
    }
}

/// Sends a message in clear; gives back its octets.
pub fn send_clear(
    frame: &Frame,
    core: &mut Core,
    exchange: ExchangeType,
    payloads: &[Payload],
) -> Vec<u8> {
    let header = header(frame, exchange, MessageId(0));
    core.ladder(Way::Out, frame.local, frame.remote, || rung(&header, payloads));
    let octets = cut(frame, emit_message(&header, payloads));
    core.send(frame.local, frame.remote, octets.clone());
    octets
}

/// What was sealed goes out; gives back its octets and the IV that follows. A fault of our own closes
/// the SA.
pub fn send_sealed(
    frame: &mut Frame,
    core: &mut Core,
    header: &Header,
    payloads: &[Payload],
    sealed: Result<(Vec<u8>, Iv), crate::crypto::Error>,
) -> Option<(Vec<u8>, Iv)> {
    core.ladder(Way::Out, frame.local, frame.remote, || rung(header, payloads));
    match sealed {
        Ok((octets, next)) => {
            let whole = octets.len();
            let octets = cut(frame, octets);
            if octets.len() > whole && !std::mem::replace(&mut frame.fragments.used.0, true) {
                frame.report(core, Event::Fragmented { way: Way::Out });
            }
            core.send(frame.local, frame.remote, octets.clone());
            Some((octets, next))
        }
        Err(error) => {
            frame.report(core, Event::Internal { what: error.to_string() });
            frame.close(core, Gone::Failed);
            None
        }
    }
}

/// A message as it goes out: one after the other the fragments that it is cut into where it is too
/// large and the peer puts them together.
fn cut(frame: &Frame, message: Vec<u8>) -> Vec<u8> {
    let Some(room) = frame.fragments.room(frame.local) else { return message };
    // All fragments of a message have the same ID, and those of the next one another.
    let [high, low, ..] = sha1(&[&message]);
    fragment::cut(message, room, u16::from_be_bytes([high, low]).max(1)).concat()
}

/// Sends what waits for an answer again if it is time for that; gives back how often it was sent if nobody
/// will answer any more.
pub fn send_again(out: Option<&mut Outstanding>, frame: &Frame, core: &mut Core) -> Option<u32> {
    let backoff = core.settings.backoff;
    match out?.due(core.now, &backoff, &mut *core.random) {
        Due::Nothing => None,
        Due::Again(octets) => {
            let octets = octets.to_vec();
            core.stats.retransmits += 1;
            core.send(frame.local, frame.remote, octets);
            None
        }
        Due::GiveUp(sent) => Some(sent),
    }
}

/// The encrypted octets of a message.
pub fn content<'a>(header: &Header, datagram: &'a [u8]) -> &'a [u8] {
    header.message(datagram).get(HEADER_LEN..).unwrap_or_default()
}

/// Whether what follows the header is encrypted.
pub fn is_encrypted(header: &Header) -> bool {
    header.flags.contains(Flags::ENCRYPTION)
}

impl Established {
    /// Sends a protected message of phase 2 with its hash in front; the sender's half of
    /// [`Established::open`].
    pub fn send(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        (exchange, id, iv): (ExchangeType, MessageId, &Iv),
        before: &[u8],
        payloads: Vec<Payload>,
    ) -> Option<(Vec<u8>, Iv)> {
        let header = header(frame, exchange, id);
        self.sent = core.now;
        let shown = payloads.clone();
        let sealed = protect::seal_hashed(&self.keys, iv, &header, before, payloads);
        self.count(frame, core.now, sealed.as_ref().map_or(0, |(octets, _)| octets.len()));
        send_sealed(frame, core, &header, &shown, sealed)
    }

    /// Opens a message of phase 2 and verifies its hash. What is not genuine is reported and dropped.
    pub fn open(
        &mut self,
        frame: &Frame,
        core: &mut Core,
        (header, datagram): (&Header, &[u8]),
        iv: &Iv,
        before: &[u8],
    ) -> Option<Plain> {
        let content = content(header, datagram);
        let opened = protect::open_hashed(&self.keys, iv, header, content, before);
        self.believed(frame, core, header, opened)
    }

    /// Takes note of a message that was opened, or of why it was not.
    pub fn believed(
        &mut self,
        frame: &Frame,
        core: &mut Core,
        header: &Header,
        opened: Result<Plain, Fault>,
    ) -> Option<Plain> {
        match opened {
            Ok(plain) => {
                core.ladder(Way::In, frame.local, frame.remote, || rung(header, &plain.payloads));
                self.heard = core.now;
                self.unbelieved = false;
                self.count(frame, core.now, usize::try_from(header.length).unwrap_or(0));
                // Whatever is genuine proves that the peer lives.
                self.probe = None;
                Some(plain)
            }
            Err(fault) => {
                core.stats.forged += 1;
                let why = format!("{} {}: {fault}", header.exchange_v1(), header.message_id);
                frame.report(core, Event::Dropped { why });
                None
            }
        }
    }

    /// The IV of an exchange that begins.
    pub fn iv_of(&self, id: MessageId) -> Iv {
        self.iv.phase2(self.keys.prf, id)
    }
}

/// A message ID for an exchange of ours: random, never zero.
pub fn fresh_id(core: &mut Core) -> MessageId {
    loop {
        let mut octets = [0; 4];
        core.random.fill(&mut octets);
        let id = MessageId(u32::from_be_bytes(octets));
        if id != MessageId(0) {
            return id;
        }
    }
}
