//! Informational exchanges (RFC 2409 §5.7): deletions, notifications, dead peer detection.
//!
//! Peers read RFC 3706 in different ways. Taken here: any sequence number in R-U-THERE is answered
//! with the same number, so that a peer which repeats one, starts anew or counts down is content; an
//! answer counts if its number is one that we sent; ours is repeated in the same octets, because some
//! ignore a number that they have seen in another message, and others one that skips ahead.

use super::children::remove;
use super::established::Established;
use super::offer::{Spis, cpi};
use super::protect::Plain;
use super::rules::{Bag, Message, sort};
use super::{State, message, with_hash};
use crate::conf::{Lifetime, SaProtocol};
use crate::ike::child::{Agreement, Child, Stage};
use crate::ike::core::{Core, Deed};
use crate::ike::frame::Frame;
use crate::ike::outstanding::Outstanding;
use crate::ike::report::{Event, Gone, Way};
use crate::ike::sa::{Body, Sa};
use crate::wire::iana::v1::{Doi, ExchangeType, NotifyType, ProtocolId};
use crate::wire::v1::{Content, Delete, Notify, Payload, parse_message};
use crate::wire::{EspSpi, Header, MessageId, Spi};

/// How far an answer's number may lie behind the one that we sent last.
const SEQUENCE_WINDOW: u32 = 8;

/// A notification in clear while phase 1 goes on. Anybody can send one: it is told, and only a refusal
/// of our first message ends anything, as there is nothing yet that it could hurt.
pub fn in_clear(sa: &mut Sa, core: &mut Core, header: &Header, datagram: &[u8]) {
    let parsed = match parse_message(datagram) {
        Ok((_, Content::Clear(payloads))) => {
            let (local, remote) = (sa.frame.local, sa.frame.remote);
            core.ladder(Way::In, local, remote, || message::rung(header, &payloads));
            sort(Message::Informational, payloads)
        }
        Ok((_, Content::Encrypted(_))) => return,
        Err(error) => Err(error.to_string()),
    };
    let Body::V1(state) = &mut sa.body else { return };
    let bag = match parsed {
        Ok(bag) => bag,
        Err(why) => return sa.frame.report(core, Event::Dropped { why }),
    };
    let Some(error) = bag.error() else { return };
    let notify = error.notify_type;
    let first = sa.frame.initiator && sa.frame.peer_spi.is_zero();
    if !first {
        let told = format!("{notify} in clear came in its place");
        if let super::Stage::AwaitProof(ready) = &mut state.stage {
            ready.doubt(&sa.frame, core, told);
        }
        let why = format!("{notify} in clear while {}", state.word());
        return sa.frame.report(core, Event::Dropped { why });
    }
    let what = state.unanswered().to_string();
    let offered = state.offered();
    let advice = advice(notify);
    sa.frame.report(core, Event::Refused { what, notify: notify.to_string(), offered, advice });
    super::drop_sa(sa, core, Gone::Failed);
}

/// What to look at when the peer refuses with this.
pub fn advice(notify: NotifyType) -> String {
    match notify {
        NotifyType::NO_PROPOSAL_CHOSEN | NotifyType::BAD_PROPOSAL_SYNTAX => {
            "compare the proposals (main, aggressive, quick) of the two sides; the peer's log names \
             its own"
        }
        NotifyType::INVALID_ID_INFORMATION => {
            "compare `from` and `to` with the peer's, one must be the mirror of the other, and \
             srcid with its idea of who we are"
        }
        NotifyType::AUTHENTICATION_FAILED
        | NotifyType::INVALID_HASH_INFORMATION
        | NotifyType::PAYLOAD_MALFORMED => {
            "compare the pre-shared keys and the identities (srcid, dstid) of the two sides"
        }
        _ => "see the peer's log",
    }
    .into()
}

impl State {
    /// What we offered in our first message, a line each.
    fn offered(&self) -> Vec<String> {
        match &self.stage {
            super::Stage::AwaitSa(state) => super::offer::printed(&state.offered),
            super::Stage::AwaitAnswer(state) => super::offer::printed(&state.offered),
            _ => Vec::new(),
        }
    }
}

impl Established {
    /// A message of phase 2.
    pub fn receive(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        header: &Header,
        datagram: &[u8],
    ) {
        if !message::is_encrypted(header) {
            let why = format!("{} in clear within an ISAKMP SA", header.exchange_v1());
            return frame.report(core, Event::Dropped { why });
        }
        match header.exchange_v1() {
            ExchangeType::QUICK_MODE => self.quick(frame, core, header, datagram),
            ExchangeType::INFORMATIONAL => self.inform(frame, core, header, datagram),
            ExchangeType::TRANSACTION => self.configure(frame, core, header, datagram),
            other => {
                // Only a genuine message is worth an answer.
                if self.once(frame, core, header, datagram).is_some() {
                    let what = format!("{other}, which is not spoken here");
                    frame.report(core, Event::Misbehaved { what });
                    let notify = Notify::new(NotifyType::UNSUPPORTED_EXCHANGE_TYPE);
                    self.notify(frame, core, notify);
                }
            }
        }
        if frame.gone.is_none() {
            self.begin_queued(frame, core);
        }
    }

    /// Opens a message that is all of its exchange. One that comes again, or ours that somebody sends back (both
    /// sides have the same keys), proves nothing: neither that the peer lives, nor where it is.
    fn once(
        &mut self,
        frame: &Frame,
        core: &mut Core,
        header: &Header,
        datagram: &[u8],
    ) -> Option<Plain> {
        let id = header.message_id;
        if self.used.contains(&id) {
            core.stats.duplicates += 1;
            // Our answer may have been lost.
            if let Some(acked) = self.acked.as_ref().filter(|acked| acked.0 == id) {
                let octets = acked.1.clone();
                core.send(frame.local, frame.remote, octets);
            }
            return None;
        }
        let iv = self.iv_of(id);
        let plain = self.open(frame, core, (header, datagram), &iv, &[])?;
        self.remember(id);
        Some(plain)
    }

    /// An informational exchange.
    pub fn inform(&mut self, frame: &mut Frame, core: &mut Core, header: &Header, datagram: &[u8]) {
        if let Some(notify) = self.said_instead(header, datagram) {
            return self.disbelieved(frame, core, notify);
        }
        let Some(plain) = self.once(frame, core, header, datagram) else { return };
        let bag = match sort(Message::Informational, with_hash(plain.payloads)) {
            Ok(bag) => bag,
            Err(what) => return frame.report(core, Event::Misbehaved { what }),
        };
        self.take_notifies(frame, core, header.message_id, &bag);
        for delete in &bag.deletes {
            self.take_delete(frame, core, delete);
        }
    }

    /// Notifications, of an informational exchange or beside other payloads, under this message ID.
    pub fn take_notifies(&mut self, frame: &mut Frame, core: &mut Core, id: MessageId, bag: &Bag) {
        for notify in &bag.notifies {
            match notify.notify_type {
                NotifyType::R_U_THERE => {
                    let (initiator, responder) = frame.spis();
                    let ack = NotifyType::R_U_THERE_ACK;
                    let data = notify.data.clone();
                    let ack = Notify::about_ike(ack, initiator, responder, data);
                    let sent = self.tell(frame, core, Payload::Notify(ack));
                    self.acked = sent.map(|octets| Box::new((id, octets)));
                }
                NotifyType::R_U_THERE_ACK => {
                    let back = notify.sequence().map(|said| self.sequence.wrapping_sub(said));
                    if back.is_some_and(|back| back <= SEQUENCE_WINDOW) {
                        self.probe = None;
                    }
                }
                NotifyType::INITIAL_CONTACT => {
                    self.initial_contact = true;
                    core.deeds.push_back(Deed::Established(frame.id, true));
                }
                NotifyType::RESPONDER_LIFETIME if notify.protocol == ProtocolId::ISAKMP => {
                    let Lifetime { seconds, bytes } = super::offer::lifetime(&notify.lifetimes());
                    let hard = std::time::Duration::from_secs(seconds.into());
                    let at = self.since.after(hard * 8 / 10);
                    if bytes != 0 {
                        self.octets_left = Some(self.octets_left.map_or(bytes, |it| it.min(bytes)));
                    }
                    if seconds != 0 && self.rekey_at.is_some_and(|mine| mine > at) {
                        self.rekey_at = Some(at);
                    }
                }
                NotifyType::RESPONDER_LIFETIME => {
                    let said = super::offer::lifetime(&notify.lifetimes()).seconds;
                    let spi = notify.spi.child();
                    let of = |it: &&mut Child| spi.is_some_and(|spi| it.agreement.sends(spi));
                    let hard = std::time::Duration::from_secs(said.into());
                    if let Some(child) = frame.children.iter_mut().find(of)
                        && said != 0
                    {
                        let at = child.created.after(hard * 8 / 10);
                        child.soft = Some(child.soft.map_or(at, |mine| mine.min(at)));
                    }
                }
                NotifyType::CONNECTED => self.connected(frame, core, notify.spi.child()),
                error if error.is_error() => self.refused(frame, core, notify),
                _ => (),
            }
        }
    }

    fn take_delete(&mut self, frame: &mut Frame, core: &mut Core, delete: &Delete) {
        let (initiator, responder) = frame.spis();
        let own = [initiator.0, responder.0].concat();
        match delete.protocol {
            ProtocolId::ISAKMP => {
                let names = |spi: &Spi| spi.octets() == own;
                if delete.spis.iter().any(names) && !self.deleted {
                    self.deleted = true;
                    self.abandon(frame, core);
                    core.deeds.push_back(Deed::Bequeath(frame.id));
                }
            }
            protocol => {
                for spi in &delete.spis {
                    self.child_deleted(frame, core, protocol, spi);
                }
            }
        }
    }

    /// The peer deletes an SA: with it goes the whole bundle. What else it says of that is of nobody then.
    fn child_deleted(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        protocol: ProtocolId,
        spi: &Spi,
    ) {
        let named = match (protocol, spi.child()) {
            (ProtocolId::IPSEC_ESP, Some(spi)) => Some((SaProtocol::Esp, spi)),
            (ProtocolId::IPSEC_AH, Some(spi)) => Some((SaProtocol::Ah, spi)),
            _ => None,
        };
        let names = |agreement: &Agreement| match (protocol, named) {
            (_, Some((protocol, spi))) => agreement.sends_by(protocol, spi),
            (ProtocolId::IPCOMP, _) => {
                cpi(spi).is_some_and(|cpi| agreement.ipcomp().is_some_and(|both| both.1 == cpi))
            }
            _ => false,
        };
        let at = frame.children.iter().position(|child| names(&child.agreement));
        let Some(at) = at else {
            // Children go from one ISAKMP SA to the next, and the peer may see them elsewhere.
            let deed = named.map(|(protocol, spi)| Deed::ChildDeleted(frame.id, protocol, spi));
            return core.deeds.extend(deed);
        };
        deleted(frame, core, at);
    }

    /// Sends a notification.
    pub fn notify(&mut self, frame: &mut Frame, core: &mut Core, notify: Notify) {
        self.tell(frame, core, Payload::Notify(notify));
    }

    fn tell(&mut self, frame: &mut Frame, core: &mut Core, payload: Payload) -> Option<Vec<u8>> {
        let id = self.own_id(core);
        self.remember(id);
        let iv = self.iv_of(id);
        let exchange = ExchangeType::INFORMATIONAL;
        let sent = self.send(frame, core, (exchange, id, &iv), &[], vec![payload]);
        sent.map(|(octets, _)| octets)
    }

    /// Deletes child SAs, by the SPIs of what the peer sends: a notice for each protocol. Nobody
    /// answers that. Of IPComp, which is nothing by itself, peers know no deletion: some take such a
    /// notice for malformed.
    pub fn send_deletes(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        ends: &[(SaProtocol, Spis)],
    ) {
        for protocol in [ProtocolId::IPSEC_ESP, ProtocolId::IPSEC_AH] {
            let of = |(main, spis): &(SaProtocol, Spis)| spis.of(*main, protocol);
            let spis: Vec<_> = ends.iter().filter_map(of).collect();
            if !spis.is_empty() {
                let delete = Delete { doi: Doi::IPSEC, protocol, spis };
                self.tell(frame, core, Payload::Delete(delete));
            }
        }
    }

    /// Deletes the ISAKMP SA.
    pub fn send_delete_ike(&mut self, frame: &mut Frame, core: &mut Core) {
        let (initiator, responder) = frame.spis();
        let spis = vec![Spi::Other([initiator.0, responder.0].concat())];
        let delete = Delete { doi: Doi::IPSEC, protocol: ProtocolId::ISAKMP, spis };
        self.tell(frame, core, Payload::Delete(delete));
    }

    /// Asks whether the peer is there.
    pub fn send_probe(&mut self, frame: &mut Frame, core: &mut Core) {
        self.sequence = self.sequence.wrapping_add(1);
        let (initiator, responder) = frame.spis();
        let data = self.sequence.to_be_bytes().to_vec();
        let notify = Notify::about_ike(NotifyType::R_U_THERE, initiator, responder, data);
        if let Some(octets) = self.tell(frame, core, Payload::Notify(notify)) {
            let backoff = core.settings.backoff;
            let probe = Outstanding::new(&octets, core.now, &backoff, &mut *core.random);
            self.probe = Some(Box::new(probe));
        }
    }
}

/// The peer deletes, by another ISAKMP SA, a child SA that is here.
pub fn child_deleted(sa: &mut Sa, core: &mut Core, protocol: SaProtocol, spi: EspSpi) {
    let mut children = sa.frame.children.iter();
    let at = children.position(|child| child.agreement.sends_by(protocol, spi));
    if let Some(at) = at {
        deleted(&mut sa.frame, core, at);
    }
}

fn deleted(frame: &mut Frame, core: &mut Core, at: usize) {
    // Both sides may have negotiated at once; which one has a successor they need not see alike.
    let child = &frame.children[at];
    let serves = |it: &Child| {
        it.id != child.id
            && it.stage == Stage::Up
            && it.agreement.traffic == child.agreement.traffic
    };
    let replaced = child.stage == Stage::Ending || frame.children.iter().any(serves);
    let why = if replaced { Gone::Replaced } else { Gone::ByPeer };
    remove(frame, core, at, why);
}
